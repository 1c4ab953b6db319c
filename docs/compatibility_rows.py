"""What the compatibility page has a row for: names from the registries of the code and from what Kestra has besides.

A row that is refused says so in the code's own words: it is asked with the smallest flow that uses the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import yaml
from compatibility_differences import DIFFERENCES, KESTRA
from compatibility_scan import MARKS, Fact
from pydantic import BaseModel

from headrace_engine.expressions import ExpressionError, Expressions, library
from headrace_engine.expressions import registry as declared
from headrace_engine.language import Registry, check, known_types
from headrace_engine.language.common import RETRIES, UNSUPPORTED_TASK_PROPERTIES, RetryProperties, TaskProperties
from headrace_engine.language.fields import FieldShape, branches, fields_of, is_list, is_model, is_runner
from headrace_engine.language.flow import (
    SLAS,
    UNSUPPORTED_FLOW_PROPERTIES,
    FlowProperties,
    PluginDefault,
    Sla,
)
from headrace_engine.language.flowables import DagTask, Flowable
from headrace_engine.language.inputs import INPUTS, InputProperties, OutputProperties
from headrace_engine.language.markers import Holds
from headrace_engine.language.triggers import UNSUPPORTED_TRIGGER_PROPERTIES, Trigger
from headrace_engine.model.trigger import FLOW_TRIGGER
from headrace_engine.plugin import Task

READ = "read and checked; triggers of this type do not fire yet"

LOG = {"id": "log", "type": "io.kestra.plugin.core.log.Log", "message": "x"}
FLOW_CONTROL = "io.kestra.plugin.core.flow."


@dataclass(frozen=True)
class Row:
    """A name, what holds of it, and what a test of it mentions."""

    section: str
    name: str
    says: str
    facts: tuple[Fact, ...]
    owner: Fact | None = None
    """The type that a property belongs to: tests that know only the property's name must mention it."""

    @property
    def key(self) -> str:
        """The last part of the name, as tests write it."""
        return self.name.rpartition(".")[2].removesuffix("[]") if len(self.name) > 2 else self.name

    @property
    def is_refused(self) -> bool:
        """Whether flows that use it are refused."""
        return self.says.startswith("refused: ")


class NotRefused(Exception):  # noqa: N818 - it names what is wrong
    """Something that Kestra has, and we do not, is taken in silence."""


# -- Asking -------------------------------------------------------------------------------------------


def refusal(flow: Mapping[str, Any]) -> str:
    """Return what the engine says of a flow that it does not run as it stands; "" when it runs."""
    found = check(yaml.safe_dump({"id": "a", "namespace": "b", "tasks": [LOG], **flow}))
    if found.errors:
        return found.errors[0].message
    (read,) = found.flows
    sentences = [*read.unsupported, *(task.unsupported for task in read.walk() if task.unsupported)]
    sentences += [each.message for each in found.warnings if "will not fire" in each.message]
    return " ".join(dict.fromkeys(sentences))


def refusal_of_task(task: Mapping[str, Any]) -> str:
    """Return what is said of a flow of one task."""
    return refusal({"tasks": [{"id": "t", **task}]})


def refusal_of_template(template: str) -> str:
    """Return what is said of a template."""
    try:
        Expressions().check(template)
    except ExpressionError as error:
        return re.sub(r" ?\(line \d+, column \d+\)$", "", error.message)
    return ""


FILLED: Mapping[str, Any] = {
    "cron": "@daily", "dates": ["2026-01-01"], "tasks": [{**LOG, "id": "inner"}], "then": [{**LOG, "id": "inner"}],
    "pattern": {"source": ["x"]}, "action": "NONE",
    "interval": "PT1M", "cases": {"a": [{**LOG, "id": "inner"}]}, "values": [1], "value": [1],
}  # fmt: skip
"""Values for required properties that "x" would not do for."""
ONE_OF: Mapping[str, Mapping[str, Any]] = {"io.kestra.plugin.aws.sqs.Trigger": {"maxRecords": 1}}
"""Of types that require one of several properties: that one."""


def least(cls: type[BaseModel]) -> dict[str, Any]:
    """Return a map with what *cls* requires."""
    found = {name: FILLED.get(name, "x") for name, shape in fields_of(cls).items() if shape.required}
    if any(shape.holds is Holds.DAG_TASKS for shape in fields_of(cls).values()):
        found["tasks"] = [{"task": task} for task in FILLED["tasks"]]
    kind = getattr(cls, "TYPE", "")
    return {**found, **ONE_OF.get(kind, {}), "type": kind} if kind else found


PROBES: Mapping[str, Any] = {
    "listeners": [{"tasks": [{**LOG, "id": "inner"}]}],
    "workerGroup": {"key": "x"},
    "workerSelector": {"tags": ["x"]},
    "policyRefs": ["x"],
    "logToFile": True,
    "failFast": True,
    "onChildFailure": "x",
    "assets": {"inputs": []},
    "outputs": [{"id": "x", "type": "STRING", "value": "x"}],
    "fetchType": "STORE",
    "transmitFailed": False,
    "breakWhen": "{{ true }}",
    "onMiss": {"behavior": "FAIL"},
    "dependsOn": [{"flowId": "x"}],
}
"""Values with which properties are asked for that are refused; "x" for others."""

REFUSED_OF: Mapping[str, tuple[str, ...]] = {
    "Loop": ("breakWhen", "outputs", "fetchType", "transmitFailed"),
    "Parallel": ("failFast",),
    "Dag": ("failFast",),
    "Flow": ("onMiss",),
}
"""Properties whose use, or one use of which, a class refuses."""


# -- Rows ---------------------------------------------------------------------------------------------


def rows() -> list[Row]:
    """Return all rows. Raises NotRefused."""
    library.load()
    registry = Registry.load()
    return [*_flow(), *_tasks_in_general(), *_tasks(registry), *_triggers(registry), *_expressions()]


def _says(key: str, refused: str = "") -> str:
    if refused:
        return f"refused: {refused}"
    return f"differs: {DIFFERENCES[key]}" if key in DIFFERENCES else "works"


Ask = Callable[[str], str]


def _properties(
    section: str,
    cls: type[BaseModel],
    *,
    prefix: str = "",
    ask: Ask = lambda _name: "",
    owner: Fact | None = None,
    leave_out: Iterable[str] = (),
) -> Iterator[Row]:
    """Yield a row for each property, and for those of the maps in it."""
    skipped = frozenset(leave_out)
    for name, shape in fields_of(cls).items():
        if name in skipped or name == "type":
            continue
        refused = ask(name)
        yield Row(section, prefix + name, _says(f"{cls.__name__}.{name}", refused), ((cls.__name__, name),), owner)
        if not refused:
            for model, brackets in _models(shape):
                yield from _properties(section, model, prefix=f"{prefix}{name}{brackets}.", owner=owner)


def _models(shape: FieldShape) -> Iterator[tuple[type[BaseModel], str]]:
    if shape.holds is Holds.DAG_TASKS:
        yield DagTask, "[]"
    for branch in branches(shape.annotation) if shape.holds is None else ():
        if is_model(branch) and not is_runner(branch) and branch.__name__ != "Label":
            yield branch, ""
        if is_list(branch):
            inner = (model for item in get_args(branch) for model in branches(item))
            yield from ((model, "[]") for model in inner if is_model(model) and model.__name__ != "Label")


def _asked(names: Iterable[str], probe: Callable[[dict[str, Any]], str]) -> Ask:
    known = frozenset(names)

    def ask(name: str) -> str:
        if name not in known:
            return ""
        sentence = probe({name: PROBES.get(name, "x")})
        if f"`{name}" not in sentence:
            raise NotRefused(f"`{name}` should be refused by name, and this was said: {sentence}")
        return sentence

    return ask


def _flow() -> Iterator[Row]:
    ask = _asked(UNSUPPORTED_FLOW_PROPERTIES, refusal)
    yield from _properties("Flow", FlowProperties, ask=ask)
    yield from _properties("Flow", PluginDefault, prefix="pluginDefaults[].")
    yield from _properties("Flow", Sla, prefix="sla[].")
    yield from _kinds("Flow", "sla[].", "SLA", Sla, SLAS)
    yield from _properties("Inputs and outputs", InputProperties, prefix="inputs[].")
    yield from _kinds("Inputs and outputs", "inputs[].", "input", InputProperties, INPUTS)
    yield from _properties("Inputs and outputs", OutputProperties, prefix="outputs[].")


def _kinds(
    section: str, prefix: str, kind: str, base: type[BaseModel], classes: Mapping[str, type[BaseModel]]
) -> Iterator[Row]:
    """Yield a row for each class that a `type` chooses, and for what it has besides its base."""
    for name, cls in classes.items():
        yield Row(section, prefix + name, _says(f"{kind}.{name}"), ((kind, name),))
        own = f"{prefix}{name}."
        yield from _properties(section, cls, prefix=own, owner=(kind, name), leave_out=fields_of(base))


def _tasks_in_general() -> Iterator[Row]:
    ask = _asked(UNSUPPORTED_TASK_PROPERTIES, lambda probe: refusal_of_task({**LOG, "id": "t", **probe}))
    yield from _properties("Every task", TaskProperties, ask=ask)
    yield from _properties("Retry", RetryProperties, prefix="retry.")
    yield from _kinds("Retry", "retry.", "retry", RetryProperties, RETRIES)
    parallel = least(Registry.load().task(FLOW_CONTROL + "Parallel"))  # type: ignore[arg-type]  # it is there
    ask = _asked(("onChildFailure",), lambda probe: refusal_of_task({**parallel, **probe}))
    yield from _properties("Every flowable", Flowable, ask=ask)


def _tasks(registry: Registry) -> Iterator[Row]:
    tasks = [cls for cls in registry.tasks() if not cls.TYPE.startswith("io.headrace.")]
    for cls in tasks:
        if cls.TYPE.startswith(FLOW_CONTROL):
            yield from _task(cls, "Flow control")
    for cls in tasks:
        if not cls.TYPE.startswith(FLOW_CONTROL):
            yield from _task(cls, "Tasks")
    for name in sorted(_besides("task", known_types.TASKS, {cls.TYPE for cls in tasks})):
        yield Row("Tasks", name, _says(name, _refused(name, refusal_of_task({"type": name}))), (("task", name),))
    for runner in registry.runners():
        yield _runner(runner.TYPE)
    for name in sorted(known_types.RUNNERS - {cls.TYPE for cls in registry.runners()}):
        yield _runner(name)


def _task(cls: type[Task], section: str) -> Iterator[Row]:
    refused = refusal_of_task(least(cls)) if cls.UNSUPPORTED is not None else ""
    yield Row(section, cls.TYPE, _says(cls.TYPE, refused), (("task", cls.TYPE),))
    if refused or section != "Flow control":
        return
    ask = _asked(REFUSED_OF.get(cls.__name__, ()), lambda probe: refusal_of_task({**least(cls), **probe}))
    short, shared = cls.TYPE.rpartition(".")[2], fields_of(Flowable)
    yield from _properties(
        section, cls, prefix=f"{short}.", ask=ask, owner=("task", cls.TYPE), leave_out={*shared, "tasks"}
    )


def _runner(name: str) -> Row:
    script = {"type": "io.kestra.plugin.scripts.shell.Commands", "commands": ["true"], "taskRunner": {"type": name}}
    return Row("Task runners", name, _says(name, refusal_of_task(script)), (("runner", name),))


def _triggers(registry: Registry) -> Iterator[Row]:
    listening = {"id": "t", "type": FLOW_TRIGGER}
    ask = _asked(UNSUPPORTED_TRIGGER_PROPERTIES, lambda given: refusal({"triggers": [{**listening, **given}]}))
    yield from _properties("Every trigger", Trigger, ask=ask, owner=("trigger", FLOW_TRIGGER))
    for cls in registry.triggers():
        not_fired = refusal({"triggers": [{**least(cls), "id": "t"}]})
        yield Row("Triggers", cls.TYPE, _says(cls.TYPE, not_fired), (("trigger", cls.TYPE),))
        yield from _of_trigger(cls, not_fired)
    for condition in registry.conditions():
        yield Row("Conditions", condition.TYPE, _says(condition.TYPE), (("condition", condition.TYPE),))


def _of_trigger(cls: type[Trigger], not_fired: str) -> Iterator[Row]:
    given = {**least(cls), "id": "t", "dependsOn": PROBES["dependsOn"]}
    ask = _asked(REFUSED_OF.get(cls.__name__, ()), lambda probe: refusal({"triggers": [{**given, **probe}]}))
    prefix = cls.TYPE.removeprefix("io.kestra.plugin.core.").removeprefix("trigger.") + "."
    owner, shared = ("trigger", cls.TYPE), fields_of(Trigger)
    for row in _properties("Triggers", cls, prefix=prefix, ask=ask, owner=owner, leave_out=shared):
        yield replace(row, says=READ) if not_fired else row


def _expressions() -> Iterator[Row]:
    for section, kind, known, template in (
        ("Filters", "filter", declared.FILTERS, "{{ 1 | %s }}"),
        ("Functions", "function", declared.FUNCTIONS, "{{ %s() }}"),
        ("Tests of expressions", "test", declared.TESTS, "{{ 1 is %s }}"),
    ):
        more = declared.UNSUPPORTED if kind == "function" else ()
        for name in sorted(known, key=str.lower):
            yield Row(section, name, _says(f"{kind}.{name}"), ((kind, name),))
        for name in sorted(_besides(kind, more, known)):
            refused = _refused(name, refusal_of_template(template % name))
            yield Row(section, name, _says(name, refused), ((kind, name),))
    for name in KESTRA["operator"]:
        yield Row("Operators", name, _says(f"operator.{name}"), (("operator", name.split()[0]),))
    for name in KESTRA["tag"]:
        yield Row("Tags", name, _says(f"tag.{name}"), (("tag", name),))
    yield from (Row("Tags", mark, "works", (("tag", mark),)) for mark in MARKS)
    for name in KESTRA["no tag"]:
        refused = _refused(name, refusal_of_template("{% " + name + " %}"))
        yield Row("Tags", name, _says(name, refused), (("tag", name),))


def _besides(kind: str, known_by_name: Iterable[str], ours: Iterable[str]) -> set[str]:
    """Return what Kestra has besides what we have."""
    return {*known_by_name, *KESTRA.get(kind, ())} - set(ours)


def _refused(name: str, sentence: str) -> str:
    if not sentence:
        raise NotRefused(f"`{name}` is Kestra's and not ours, and is not refused")
    return sentence
