"""Reads the parts of a flow whose class is chosen by their ``type``: retries, inputs, SLAs, conditions,
triggers, task runners. Tasks, which hold other tasks, are read by task_reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from headrace_engine.language import known_types
from headrace_engine.language.checking import Checked, Checker, holds_expression
from headrace_engine.language.common import (
    RETRIES,
    ConstantRetry,
    ExponentialRetry,
    RandomRetry,
    RetryProperties,
)
from headrace_engine.language.defaults import PluginDefaults
from headrace_engine.language.fields import fields_of, names_of
from headrace_engine.language.flow import SLAS
from headrace_engine.language.markers import Holds
from headrace_engine.language.nodes import Entries, Items, Node, Scalar, plain
from headrace_engine.language.problems import did_you_mean, listed, nearest
from headrace_engine.language.registry import Registry
from headrace_engine.language.report import Report
from headrace_engine.language.rules import check_input_order
from headrace_engine.language.wording import show
from headrace_engine.model.definition import (
    InputDefinition,
    OutputDefinition,
    Retry,
    RetryBehavior,
    RetryKind,
    Sla,
    SlaBehavior,
)
from headrace_engine.model.trigger import FIRED, ConditionDefinition, TriggerDefinition
from headrace_engine.plugin import TaskRunnerProperties

NOT_FIRED = "triggers of its type start nothing in this version"
_PLUGINS = "io.kestra.plugin."
_CORE = f"{_PLUGINS}core."


def label_pairs(data: Any) -> tuple[tuple[str, str], ...]:
    """Return labels, written as a map or as a list of key and value, as pairs."""
    if isinstance(data, Mapping):
        return tuple((str(key), str(value)) for key, value in data.items())
    if isinstance(data, list):
        return tuple(
            (str(item.get("key", "")), str(item.get("value", ""))) for item in data if isinstance(item, Mapping)
        )
    return ()


def flag(data: Mapping[str, Any], name: str) -> bool:
    """Return whether the (checked) property *name* is there and true."""
    return str(data.get(name, "")).lower() == "true"


def not_supported(what: str, why: str) -> str:
    """Return the sentence with which a run refuses what this version cannot do."""
    return f"{what} is not supported by this version of Headrace: {why}."


if TYPE_CHECKING:
    from headrace_engine.language.inputs import OutputProperties
    from headrace_engine.language.triggers import Trigger


class TypedReader:
    """Reads what is chosen by a ``type``, and tells the report what is wrong with it."""

    def __init__(self, registry: Registry, report: Report, defaults: PluginDefaults) -> None:
        self.registry = registry
        self.report = report
        self.defaults = defaults
        self.checker = Checker(report, self.runner)
        self.unsupported: list[str] = []
        """Sentences about task runners that cannot be used, until the reader of their task takes them."""

    # -- helpers

    def items(self, node: Node | None, what: str) -> list[Node]:
        """Return the items of a list that may be left out; tell when it is something else."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return []
        if not isinstance(node, Items):
            self.report.problem(node, f"Expected {what}, got {show(node)}.")
            return []
        return node.items

    def type_of(self, node: Node, what: str) -> str | None:
        """Return the ``type`` of the map *node*, which is *what*; tell when there is none."""
        if not isinstance(node, Entries):
            self.report.problem(node, f"Expected {what}, a map with a `type`, got {show(node)}.")
            return None
        found = node.entries.get("type")
        if found is None:
            self.report.problem(node, "The property `type` is required.", below="type")
            return None
        if not isinstance(found, Scalar) or not isinstance(found.value, str) or not found.value:
            self.report.problem(found, f"Expected the name of a type, got {show(found)}.")
            return None
        return found.value

    def chosen(self, node: Node, classes: Mapping[str, type[BaseModel]], what: str, kind: str) -> Checked | None:
        """Check the map *node* against the class that its ``type`` names."""
        name = self.type_of(node, what)
        if name is None or not isinstance(node, Entries):
            return None
        cls = classes.get(name)
        if cls is None:
            expected = listed([f"`{known}`" for known in classes])
            place = node.entries["type"]
            self.report.problem(
                place, f"Unknown {kind} type `{name[:80]}`: expected {expected}.{did_you_mean(name, classes)}"
            )
            return None
        return self.checker.check(node, cls, what=f"the {kind} type `{name}`")

    def unknown_type(self, node: Entries, name: str, kind: str, known: Iterable[str] = ()) -> None:
        """Tell that *name* is no type of a task, trigger, condition or runner."""
        kinds: dict[str, Callable[[str], object]] = {
            "task": self.registry.task,
            "trigger": self.registry.trigger,
            "condition": self.registry.condition,
            "task runner": self.registry.runner,
        }
        place = node.entries["type"]
        for other, find in kinds.items():
            if other != kind and find(name) is not None:
                self.report.problem(place, f"`{name}` is a {other}; a {kind} is expected here.")
                return
        near = self.registry.nearest(name, kind={"task runner": "runner"}.get(kind, kind))
        if kind == "task" and not (near and near[0].startswith(_CORE)) and (plugin := self._missing_plugin(name)):
            self.report.problem(
                place,
                f"Unknown type `{name[:200]}`: Kestra's plugin `{plugin[:80]}` is not there."
                " `headrace tasks` lists what is; HTTP requests and scripts do the rest.",
            )
            return
        suggestion = f" Did you mean `{near[0]}`?" if near else did_you_mean(name, known)
        self.report.problem(place, f"Unknown type `{name[:200]}`.{suggestion}")

    def _missing_plugin(self, name: str) -> str | None:
        """Return the plugin of Kestra's that has the type, when nothing of it is there and it is no misspelt other."""
        if not name.startswith(_PLUGINS):
            return None
        plugin = name.removeprefix(_PLUGINS).partition(".")[0]
        there = {known.removeprefix(_PLUGINS).partition(".")[0] for known in self.registry.names()}
        return None if plugin in there or nearest(plugin, there) else plugin

    def warn_of_old_name(self, node: Entries, written: str, canonical: str, deprecated: str | None) -> None:
        """Warn of a type that is deprecated, or is written by an old name."""
        place = node.entries["type"]
        if deprecated is not None:
            self.report.warn(place, f"`{canonical}` is deprecated: {deprecated.rstrip('.')}.")
        elif written != canonical:
            self.report.warn(place, f"`{written}` is the old name of `{canonical}`.")

    # -- retries, SLAs

    def retry(self, node: Node | None) -> Retry | None:
        """Read a retry policy."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return None
        checked = self.chosen(node, RETRIES, "a retry policy", "retry")
        return _retry(checked.model) if checked is not None and checked.model is not None else None

    def slas(self, node: Node | None) -> tuple[Sla, ...]:
        """Read the SLAs of a flow."""
        ids = Ids(self.report)
        found = []
        for item in self.items(node, Holds.SLAS.value):
            checked = self.chosen(item, SLAS, "an SLA", "SLA")
            if checked is None:
                continue
            ids.add(item)
            data = checked.data
            if checked.model is not None:
                found.append(
                    Sla(
                        id=str(data["id"]),
                        behavior=SlaBehavior(data["behavior"]),
                        duration=getattr(checked.model, "duration", None),
                        assertion=getattr(checked.model, "assert_", None),
                        labels=label_pairs(data.get("labels")),
                    )
                )
        return tuple(found)

    # -- inputs and outputs

    def inputs(self, node: Node | None) -> tuple[InputDefinition, ...]:
        """Read inputs: of a flow, of a Pause."""
        items = list(self.items(node, Holds.INPUTS.value))
        if not items:
            return ()
        from headrace_engine.language.inputs import INPUT_WARNINGS, INPUTS  # noqa: PLC0415 - many flows have none

        found: list[tuple[InputDefinition, Entries]] = []
        ids = Ids(self.report)
        for item in items:
            checked = self.chosen(item, INPUTS, "an input", "input")
            if checked is None:
                continue
            ids.add(checked.node)
            name = str(plain(checked.node.entries["type"]))
            if name in INPUT_WARNINGS:
                self.report.warn(checked.node.entries["type"], f"`{name}` is deprecated: use `{INPUT_WARNINGS[name]}`.")
            if checked.model is not None:
                self._check_default(checked)
                found.append((_input(checked), checked.node))
        check_input_order(found, self.report)
        return tuple(definition for definition, _ in found)

    def _check_default(self, checked: Checked) -> None:
        """Refuse a literal default that can never be a value of the input."""
        default, model = checked.node.entries.get("defaults"), checked.model
        values = getattr(model, "values", None)
        if not isinstance(default, Scalar) or default.value is None or holds_expression(default):
            return
        if values and model.type in ("SELECT", "ENUM") and not getattr(model, "allow_custom_value", False):
            if default.text not in values:
                expected = listed([f"`{value}`" for value in values])
                self.report.problem(default, f"The default must be one of {expected}, got `{default.text[:80]}`.")
        elif model.type in ("INT", "FLOAT"):
            try:
                (int if model.type == "INT" else float)(default.text)
            except ValueError:
                words = "an integer" if model.type == "INT" else "a number"
                self.report.problem(default, f"Expected {words}, got {show(default)}.")

    def outputs(self, node: Node | None) -> tuple[OutputDefinition, ...]:
        """Read the outputs of a flow."""
        items = list(self.items(node, Holds.OUTPUTS.value))
        if not items:
            return ()
        from headrace_engine.language.inputs import OutputProperties  # noqa: PLC0415 - as above

        found = []
        ids = Ids(self.report)
        for item in items:
            if not isinstance(item, Entries):
                self.report.problem(item, f"Expected an output, a map with `id`, `type` and `value`, got {show(item)}.")
                continue
            checked = self.checker.check(item, OutputProperties, what="an output")
            ids.add(checked.node)
            if checked.model is not None:
                found.append(_output(checked))
        return tuple(found)

    # -- conditions, triggers, task runners

    def conditions(self, node: Node | None, *, only_dates: bool = False) -> tuple[ConditionDefinition, ...]:
        """Read a list of conditions; only_dates for those that choose the dates of a schedule."""
        read = (self._condition(item, only_dates=only_dates) for item in self.items(node, Holds.CONDITIONS.value))
        return tuple(condition for condition in read if condition is not None)

    def _condition(self, node: Node, *, only_dates: bool) -> ConditionDefinition | None:
        name = self.type_of(node, "a condition")
        if name is None or not isinstance(node, Entries):
            return None
        cls = self.registry.condition(name)
        if cls is None:
            self.unknown_type(node, name, "condition")
            return None
        self.warn_of_old_name(node, name, cls.TYPE, cls.DEPRECATED)
        if only_dates and not cls.OF_DATES:
            self.report.problem(
                node.entries["type"], f"`{name}` cannot choose dates: a schedule takes conditions of dates only."
            )
        merged = self.defaults.applied(node, name, names_of(cls))
        checked = self.checker.check(merged.without("type"), cls, what=f"`{name}`")
        from headrace_engine.language.trigger_compiler import compile_condition  # noqa: PLC0415 - see Registry

        if "conditions" not in fields_of(cls):
            return compile_condition(cls, checked.data)
        below = checked.node.entries.get("conditions")
        if fields_of(cls)["conditions"].holds is Holds.CONDITIONS:
            inner = self.conditions(below, only_dates=only_dates)
            return compile_condition(cls, checked.data, conditions=inner)
        named = {}
        for key, item in below.entries.items() if isinstance(below, Entries) else ():
            condition = self._condition(item, only_dates=only_dates)
            if condition is not None:
                named[key] = condition
        return compile_condition(cls, checked.data, named=named)

    def triggers(self, node: Node | None) -> tuple[list[Entries], tuple[TriggerDefinition, ...]]:
        """Read the triggers of a flow; return the maps of those that have an id, and those that could be read."""
        found, read = [], []
        for item in self.items(node, Holds.TRIGGERS.value):
            name = self.type_of(item, "a trigger")
            if name is None or not isinstance(item, Entries):
                continue
            if item.text("id") is not None:
                found.append(item)
            cls = self.registry.trigger(name)
            if cls is None:
                self.unknown_type(item, name, "trigger")
            else:
                read.append(self._trigger(item, name, cls))
        return found, tuple(read)

    def _trigger(self, node: Entries, name: str, cls: type[Trigger]) -> TriggerDefinition:
        told = len(self.report.problems)
        self.warn_of_old_name(node, name, cls.TYPE, cls.DEPRECATED)
        merged = self.defaults.applied(node, name, names_of(cls))
        checked = self.checker.check(merged, cls, what=f"`{name}`")
        conditions = self.conditions(checked.node.entries.get("conditions"), only_dates=cls.ONLY_DATE_CONDITIONS)
        if "auth" in fields_of(cls):
            self._auth(checked)
        from headrace_engine.language.trigger_compiler import compile_trigger  # noqa: PLC0415 - see Registry

        trigger = compile_trigger(cls, checked.data, conditions)
        if trigger.disabled:
            return trigger
        if trigger.type not in FIRED:
            self.report.warn(node, f"The trigger `{trigger.id}` will not fire: {NOT_FIRED}.")
        elif trigger.unsupported is not None:
            entries = checked.node.entries
            place = next((key for key in entries if trigger.unsupported.startswith(f"`{key}`")), None)
            refusal = f"The trigger `{trigger.id}` cannot fire: {trigger.unsupported}."
            if place is not None:
                self.report.problem_at_key(checked.node, place, refusal)
            elif len(self.report.problems) == told:  # else the reason has been told, at its place
                self.report.problem(node, refusal)
        return trigger

    def _auth(self, trigger: Checked) -> None:
        """Read how a webhook's caller proves who it is, and put it into the trigger's data."""
        node = trigger.node.entries.get("auth")
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return
        from headrace_engine.language.webhook_auth import AUTHS  # noqa: PLC0415 - most flows have none

        checked = self.chosen(node, AUTHS, "how the caller proves who it is", "auth")
        if checked is None:
            return
        for name in ("secret", "publicKey"):
            given = checked.node.entries.get(name)
            if name == "secret" and given is not None and not holds_expression(given):
                self.report.warn(given, "A secret stands in the flow; write it as `{{ secret('NAME') }}`.")
        trigger.data["auth"] = checked.data

    def runner(self, node: Node, classes: Sequence[type[TaskRunnerProperties]] = ()) -> Any:
        """Read a task runner, of the registry or one of *classes*; return its properties.

        The name of its type is the one it has today.
        """
        name = self.type_of(node, "a task runner")
        if name is None or not isinstance(node, Entries):
            return plain(node)
        cls = self.registry.runner(name) or next(
            (known for known in classes if "TYPE" in vars(known) and name in (known.TYPE, *known.ALIASES)), None
        )
        if cls is None:
            if name in known_types.RUNNERS:
                self.unsupported.append(not_supported(f"The task runner `{name}`", "it is known to Kestra only"))
            else:
                known = [known.TYPE for known in classes if "TYPE" in vars(known)]
                self.unknown_type(node, name, "task runner", [*known, *known_types.RUNNERS])
            return plain(node)
        if cls.UNSUPPORTED is not None:
            self.unsupported.append(not_supported(f"The task runner `{cls.TYPE}`", cls.UNSUPPORTED.rstrip(".")))
        merged = self.defaults.applied(node, name, names_of(cls))
        bare = merged if "type" in fields_of(cls) else merged.without("type")
        checked = self.checker.check(bare, cls, what=f"`{name}`")
        return checked.data | {"type": cls.TYPE}


class Ids:
    """The ids of things of one kind: each may be there once."""

    def __init__(self, report: Report, seen: dict[str, tuple[Node, Report]] | None = None) -> None:
        """Tell *report*; with *seen*, of those in other sources, too."""
        self._report = report
        self._seen = seen if seen is not None else {}

    def inside(self, report: Report) -> Ids:
        """Return the ids of what stands in another source, with its own *report*, and must differ from these."""
        return Ids(report, self._seen)

    def add(self, node: Node) -> None:
        """Take the ``id`` of the map *node*; tell when another one has it."""
        place = node.entries.get("id") if isinstance(node, Entries) else None
        if not isinstance(place, Scalar) or place.value is None:
            return
        first = self._seen.get(place.text)
        if first is None:
            self._seen[place.text] = place, self._report
        else:
            self._report.problem(place, f"The id `{place.text}` is already used on {self._place(*first)}.")

    def reserve(self, node: Node, name: str) -> None:
        """Take an id that follows from that of the map *node*."""
        place = node.entries.get("id") if isinstance(node, Entries) else None
        first = self._seen.setdefault(name, (place or node, self._report))
        if first[0] is not place and place is not None:
            message = f"The id `{name}`, which this task needs for itself, is used on {self._place(*first)}."
            self._report.problem(place, message)

    def _place(self, node: Node, report: Report) -> str:
        source = "" if report is self._report else f" of the {report.file or 'flow'}"
        return f"line {node.line}, column {node.column}{source}"


def _retry(model: RetryProperties) -> Retry:
    """Return the policy as the engine reads it."""
    shared: dict[str, Any] = {
        "max_attempts": model.max_attempts,
        "max_duration": model.max_duration,
        "warning_on_retry": model.warning_on_retry,
        "behavior": RetryBehavior(model.behavior),
    }
    match model:
        case ConstantRetry():
            return Retry(RetryKind.CONSTANT, interval=model.interval, **shared)
        case ExponentialRetry():
            return Retry(
                RetryKind.EXPONENTIAL,
                interval=model.interval,
                max_interval=model.max_interval,
                delay_factor=model.delay_factor or 2.0,
                **shared,
            )
        case RandomRetry():
            return Retry(RetryKind.RANDOM, interval=model.min_interval, max_interval=model.max_interval, **shared)
    raise TypeError(f"no retry policy: {model!r}")


def _input(checked: Checked) -> InputDefinition:
    from headrace_engine.language.inputs import InputProperties  # noqa: PLC0415 - see TypedReader.inputs

    model: InputProperties = checked.model
    common = names_of(InputProperties)
    dumped = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    kind = dumped["type"]
    proposed = {"prefill": model.prefill} if model.prefill is not None else {}
    return InputDefinition(
        id=model.id,
        type=kind,
        required=model.required,
        defaults=model.defaults,
        has_defaults=model.defaults is not None,
        display_name=model.display_name,
        description=model.description,
        depends_on=tuple(model.depends_on.inputs) if model.depends_on else (),
        condition=model.depends_on.condition if model.depends_on else None,
        options={key: value for key, value in dumped.items() if key not in common and key != "type"} | proposed,
    )


def _output(checked: Checked) -> OutputDefinition:
    model: OutputProperties = checked.model
    return OutputDefinition(
        id=model.id,
        type=model.type,
        value=model.value,
        required=model.required,
        description=model.description,
        options={
            key: value
            for key, value in {
                "displayName": model.display_name,
                "itemType": model.item_type,
                "values": model.values,
            }.items()
            if value is not None
        },
    )
