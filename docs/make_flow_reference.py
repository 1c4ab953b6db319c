"""flow-reference.md, from the classes of the flow language and of the task library."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from page_parts import anchor, code, generated_by, table
from pydantic import BaseModel

from headrace_engine.language import Registry, known_types
from headrace_engine.language.common import (
    RETRIES,
    UNSUPPORTED_TASK_PROPERTIES,
    RetryProperties,
    TaskProperties,
)
from headrace_engine.language.fields import FieldShape, branches, describe, fields_of, is_list, is_model, is_runner
from headrace_engine.language.flow import (
    SLAS,
    UNSUPPORTED_FLOW_PROPERTIES,
    FlowProperties,
    Listener,
    PluginDefault,
    Sla,
)
from headrace_engine.language.flowables import DagTask, Flowable
from headrace_engine.language.inputs import INPUT_WARNINGS, INPUTS, InputProperties, OutputProperties
from headrace_engine.language.markers import Verbatim
from headrace_engine.language.triggers import Trigger
from headrace_engine.language.webhook_auth import AUTHS
from headrace_engine.model.definition import Kind
from headrace_engine.model.trigger import FIRED
from headrace_engine.plugin import Rendering, RunnableTask, Task, TaskRunnerProperties

INTERNAL = "io.headrace.workingdirectory."
"""Types that the engine itself puts in: the two halves of a WorkingDirectory. No flow names them."""

HEADER = ("property", "value", "default", "expressions", "meaning")

INTRODUCTION = """\
# Flow reference

All that a flow may say, from the classes that check it. `headrace tasks TYPE` prints the part on a task type, and
`headrace schema` gives the same to your editor.

How to read the tables:

- A property without a default is **required** or may be left out, as it says. `a.b` is the property `b` of the map `a`;
  `a[].b` is the property `b` of each item of the list `a`.
- *expressions* says whether `{{ … }}` in the value is rendered: *yes*, just before the task runs; *typed*, as the value
  itself and not its text; *by the task*, once for each item; *no*, an expression is refused or stays as it is.
- A duration is ISO-8601: `PT30S`, `PT5M`, `P1DT2H`. Months and years have no fixed length and are refused.
- **Not in this version** marks what is read and checked, so that a flow of Kestra's stays valid, and refused when the
  flow is run, with the sentence given here. Nothing is silently ignored.

A flow of the least size, and one with most of what there is:

```yaml
id: least
namespace: demo
tasks:
  - id: only
    type: io.kestra.plugin.core.log.Log
    message: Hello
```

```yaml
id: most
namespace: demo.reports
description: Counts what it is given.
labels: {team: data}
inputs:
  - id: items
    type: ARRAY
    itemType: STRING
    defaults: '["a", "b"]'
variables:
  unit: pieces
pluginDefaults:
  - type: io.kestra.plugin.core.log.Log
    values: {level: DEBUG}
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ inputs.items }}"
    concurrencyLimit: 0
    tasks:
      - id: check
        type: io.kestra.plugin.core.debug.Return
        format: "{{ taskrun.value | upper }}"
        retry: {type: constant, interval: PT1S, maxAttempts: 3}
        timeout: PT1M
errors:
  - id: tell
    type: io.kestra.plugin.core.log.Log
    level: ERROR
    message: "{{ flow.id }} failed"
finally:
  - id: always
    type: io.kestra.plugin.core.log.Log
    message: Cleaned up
outputs:
  - id: count
    type: INT
    value: "{{ outputs.check | length }}"
```
"""

WHERE: Mapping[Kind, str] = {
    Kind.INLINE: "Runs inside the engine, many in one write: it touches nothing outside the execution.",
    Kind.LIGHT: "Runs inside the engine under a lease, with a write of its own.",
    Kind.DISPATCHED: "Runs on a worker.",
    Kind.SLEEP: "Holds a timer and nothing else.",
}

NOTES: Mapping[str, str] = {
    "io.kestra.plugin.core.flow.Pause": (
        "**Not in this version**: there is no command that resumes an execution. Give a Pause a `pauseDuration`, or a "
        "`timeout` that fails it; without both it waits until the execution is killed."
    ),
}
"""What a class cannot know of the version it is used in."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("io.kestra.plugin.core.flow.", "Flow control"),
    ("io.kestra.plugin.core.log.", "Log"),
    ("io.kestra.plugin.core.debug.", "Debug"),
    ("io.kestra.plugin.core.execution.", "Execution"),
    ("io.kestra.plugin.core.output.", "Output values"),
    ("io.kestra.plugin.core.http.", "HTTP"),
    ("io.kestra.plugin.core.kv.", "Key-value store"),
    ("io.kestra.plugin.core.state.", "State"),
    ("io.kestra.plugin.core.storage.", "Internal storage"),
    ("io.kestra.plugin.core.namespace.", "Namespace files"),
    ("io.kestra.plugin.scripts.", "Scripts"),
    ("io.kestra.plugin.jdbc.", "Databases"),
    ("", "Others"),
)


def page() -> str:
    """Return the text of flow-reference.md."""
    registry = Registry.load()
    tasks = documented_tasks(registry)
    parts: list[str] = [generated_by("make_flow_reference.py"), INTRODUCTION, "## Contents\n", _contents(tasks)]
    parts += ["## The flow\n", _properties(FlowProperties)]
    parts += _refused("Properties", UNSUPPORTED_FLOW_PROPERTIES)
    parts += _subsections("SLAs", "A promise that every execution is measured by.", Sla, SLAS)
    parts += ["### Listeners\n", _properties(Listener)]
    parts += ["## Plugin defaults\n", f"{_doc(PluginDefault)}\n", _properties(PluginDefault)]
    parts += _subsections("Inputs", _doc(InputProperties), InputProperties, INPUTS, level=2, notes=_input_notes())
    parts += ["## Outputs\n", f"{_doc(OutputProperties)}\n", _properties(OutputProperties)]
    parts += ["## What every task has\n", _properties(TaskProperties)]
    parts += _refused("Properties", UNSUPPORTED_TASK_PROPERTIES)
    parts += _subsections("Retry", _RETRY, RetryProperties, RETRIES, level=2)
    parts += ["## What every flowable has besides\n", _properties(Flowable)]
    parts += [
        "**Not in this version**: `failFast: true` and `onChildFailure` are refused: siblings of a failed task that "
        "still run are waited for.\n"
    ]
    for family, members in _by_family(tasks).items():
        parts.append(f"## {family}\n")
        for cls in members:
            parts += _task(cls)
    parts += _runners(registry.runners())
    parts += _triggers(registry)
    parts += _known_only(registry)
    return "\n".join(parts)


_RETRY = "Whether and when a failed task run, or with `retry` at the flow a failed execution, is tried again."


def documented_tasks(registry: Registry) -> list[type[Task]]:
    """Return the task types that flows may name."""
    return [cls for cls in registry.tasks() if not cls.TYPE.startswith(INTERNAL)]


# -- Classes ------------------------------------------------------------------------------------------


def _doc(cls: type) -> str:
    """Return what a class says of itself, its examples as YAML."""
    return "\n".join(_blocks(inspect.getdoc(cls) or "")).strip()


def _blocks(text: str) -> Iterator[str]:
    example: list[str] = []
    text = re.sub(r"\s*\((reference|DESIGN) §[^)]*\)", "", text)
    for paragraph in [*text.replace("``", "`").split("\n\n"), ""]:
        if paragraph and (paragraph.startswith("    ") or (_is_yaml(paragraph) or (example and paragraph[0] == " "))):
            example.append(paragraph)
            continue
        if example:
            yield f"```yaml\n{inspect.cleandoc(chr(10) + (chr(10) * 2).join(example))}\n```\n"
            example = []
        if paragraph:
            yield f"{paragraph}\n"


def _is_yaml(paragraph: str) -> bool:
    """Tell whether a paragraph is an example that lost its indentation."""
    try:
        found = yaml.safe_load(paragraph)
    except yaml.YAMLError:
        return False
    return isinstance(found, dict) and "type" in found


def _properties(cls: type[BaseModel], leave_out: Iterable[str] = ()) -> str:
    rows = list(_rows(cls, "", frozenset(leave_out)))
    return table(HEADER, rows) if rows else "No properties of its own.\n"


def _rows(
    cls: type[BaseModel], prefix: str, leave_out: frozenset[str] = frozenset(), *, is_fixed: bool = False
) -> Iterator[list[str]]:
    for name, shape in fields_of(cls).items():
        if name in leave_out:
            continue
        expressions = "no" if is_fixed else _expressions(shape)
        yield [code(prefix + name), _value(shape), _default(shape), expressions, _meaning(shape)]
        for model, brackets in _models(shape):
            yield from _rows(model, f"{prefix}{name}{brackets}.", is_fixed=is_fixed or expressions == "no")


def _models(shape: FieldShape) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the classes of the maps that a property holds; brackets when it is a list of them."""
    if shape.holds is not None and shape.holds.name == "DAG_TASKS":
        yield DagTask, "[]"
        return
    for branch in branches(shape.annotation):
        if is_model(branch) and not is_runner(branch):
            yield branch, ""
        if is_list(branch):
            for inner in getattr(branch, "__args__", ()):
                yield from ((model, "[]") for model in branches(inner) if is_model(model))


def _value(shape: FieldShape) -> str:
    if shape.holds is not None:
        return shape.holds.value
    if any(is_runner(branch) for branch in branches(shape.annotation)):
        return "a task runner: a map with `type`"
    return describe(shape.annotation)


def _default(shape: FieldShape) -> str:
    if shape.required:
        return "**required**"
    info = shape.info
    value = None if info.default_factory_takes_validated_data else info.get_default(call_default_factory=True)
    if value is None or value in ((), {}, []) or isinstance(value, BaseModel):
        return ""
    is_plain = isinstance(value, str) and value == value.strip()
    return code(value) if is_plain else code(json.dumps(value, default=str))


def _expressions(shape: FieldShape) -> str:
    if shape.marker in (Rendering.STATIC, Verbatim.VERBATIM):
        return "no"
    if shape.holds is not None or any(_models(shape)):
        return ""
    match shape.marker:
        case Rendering.TYPED:
            return "typed"
        case Rendering.BY_TASK:
            return "by the task"
        case _:
            return "yes"


def _meaning(shape: FieldShape) -> str:
    parts = [shape.info.description or ""]
    if shape.other_names:
        parts.append(f"Also written {', '.join(map(code, shape.other_names))}.")
    if shape.deprecated:
        parts.append(f"**Deprecated**: {shape.deprecated}")
    return " ".join(part for part in parts if part)


def _refused(what: str, sentences: Mapping[str, str]) -> Iterator[str]:
    yield f"**Not in this version**. {what} that are read and checked, and then refused:\n"
    yield table(("property", "instead"), ((code(name), why) for name, why in sentences.items()))


def _subsections(
    title: str,
    text: str,
    base: type[BaseModel],
    classes: Mapping[str, type[BaseModel]],
    *,
    level: int = 3,
    notes: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield what all have, then what each has besides."""
    yield f"{'#' * level} {title}\n"
    yield f"{text}\n"
    yield _properties(base)
    for name, cls in classes.items():
        note = (notes or {}).get(name, "")
        yield f"{'#' * (level + 1)} {name}\n"
        yield f"`type: {name}`. {_doc(cls)}{note}\n"
        own = set(fields_of(cls)) - set(fields_of(base)) - {"type"}
        if own:
            yield _properties(cls, leave_out=set(fields_of(cls)) - own)


def _input_notes() -> dict[str, str]:
    return {name: f" **Deprecated**: use {code(new)}." for name, new in INPUT_WARNINGS.items()}


# -- Tasks --------------------------------------------------------------------------------------------


def _by_family(tasks: Iterable[type[Task]]) -> dict[str, list[type[Task]]]:
    families: dict[str, list[type[Task]]] = {}
    for prefix, title in FAMILIES:
        members = [cls for cls in tasks if cls.TYPE.startswith(prefix) and not _is_in(cls, families)]
        if members:
            families[title] = members
    return families


def _is_in(cls: type[Task], families: Mapping[str, list[type[Task]]]) -> bool:
    return any(cls in members for members in families.values())


def _contents(tasks: Iterable[type[Task]]) -> str:
    general = [
        "The flow", "Plugin defaults", "Inputs", "Outputs", "What every task has", "Retry",
        "What every flowable has besides",
    ]  # fmt: skip
    lines = [f"- [{title}](#{anchor(title)})" for title in general]
    for family, members in _by_family(tasks).items():
        names = ", ".join(f"[{short(cls.TYPE)}](#{anchor(cls.TYPE)})" for cls in members)
        lines.append(f"- [{family}](#{anchor(family)}): {names}")
    later = ("Task runners", "Triggers", "Conditions", "Types that are known by name only")
    lines += [f"- [{title}](#{anchor(title)})" for title in later]
    return "\n".join(lines) + "\n"


def short(name: str) -> str:
    """Return the end of a type's name that tells it from its neighbours."""
    parts = name.split(".")
    return (
        ".".join(parts[-2:]) if name.startswith(("io.kestra.plugin.jdbc.", "io.kestra.plugin.scripts.")) else parts[-1]
    )


def _task(cls: type[Task]) -> Iterator[str]:
    yield f"### {cls.TYPE}\n"
    if cls.UNSUPPORTED:
        yield f"**Not in this version**: {cls.UNSUPPORTED}.\n"
    if cls.DEPRECATED:
        yield f"**Deprecated**: use {cls.DEPRECATED.removeprefix('use ').rstrip('.')}.\n"
    yield f"{_doc(cls)}\n"
    if cls.TYPE in NOTES:
        yield f"{NOTES[cls.TYPE]}\n"
    if cls.KIND in WHERE and not cls.UNSUPPORTED:
        yield f"{WHERE[cls.KIND]}\n"
    yield _properties(cls, leave_out=fields_of(Flowable) if issubclass(cls, Flowable) else ())
    if issubclass(cls, RunnableTask) and cls.Outputs.model_fields:
        rows = [
            [code(name), describe(shape.annotation), shape.info.description or ""]
            for name, shape in fields_of(cls.Outputs).items()
        ]
        yield "Outputs:\n"
        yield table(("output", "value", "meaning"), rows)
    if cls.ALIASES:
        yield f"Older names: {', '.join(map(code, cls.ALIASES))}\n"


def _runners(classes: Iterable[type[TaskRunnerProperties]]) -> Iterator[str]:
    yield "## Task runners\n"
    yield "They say where a script runs: `taskRunner: {type: …}`. Without one it is a process.\n"
    for cls in classes:
        yield f"### {cls.TYPE}\n"
        if cls.UNSUPPORTED:
            yield f"**Not in this version**: {cls.UNSUPPORTED}.\n"
        yield f"{_doc(cls)}\n"
        if not cls.UNSUPPORTED:
            yield _properties(cls, leave_out={"type"})
        if cls.ALIASES:
            yield f"Older names: {', '.join(map(code, cls.ALIASES))}\n"


def _triggers(registry: Registry) -> Iterator[str]:
    yield "## Triggers\n"
    yield (
        "[Schedules](schedules.md), [Flow triggers](triggers.md), [Webhooks](webhooks.md) and [events](events.md) have "
        "pages of their own.\n"
    )
    silent = ", ".join(code(each.TYPE) for each in registry.triggers() if each.TYPE not in FIRED)
    yield f"**Not in this version**: these are checked, but never fire: {silent}.\n"
    yield "Every trigger has:\n"
    yield _properties(Trigger)
    for trigger in registry.triggers():
        yield f"### {trigger.TYPE}\n"
        yield f"{_doc(trigger)}\n"
        yield _properties(trigger, leave_out=fields_of(Trigger))
        if trigger.ALIASES:
            yield f"Older names: {', '.join(map(code, trigger.ALIASES))}\n"
    yield "## Callers of a webhook\n"
    yield "The `auth` of a [Webhook](webhooks.md) is one of these.\n"
    for name, cls in AUTHS.items():
        yield f"### {name}\n"
        yield f"`type: {name}`. {_doc(cls)}\n"
        yield _properties(cls, leave_out={"type"})
    yield "## Conditions\n"
    yield "All of them work on a Flow trigger; a Schedule takes those of dates.\n"
    rows = [
        [code(cls.TYPE), _doc(cls), ", ".join(code(name) for name in fields_of(cls)), _or_none(cls.ALIASES)]
        for cls in registry.conditions()
    ]
    yield table(("condition", "holds", "properties", "older names"), rows)


def _or_none(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _known_only(registry: Registry) -> Iterator[str]:
    yield "## Types that are known by name only\n"
    yield (
        "**Not in this version**: a flow that names one of these is valid, its properties are not checked, and it is "
        "refused when it is run.\n"
    )
    names = sorted(name for name in known_types.TASKS if registry.task(name) is None)
    runners = sorted(name for name in known_types.RUNNERS if registry.runner(name) is None)
    yield "\n".join(f"- {code(name)}" for name in names) + "\n"
    yield "Task runners:\n"
    yield "\n".join(f"- {code(name)}" for name in runners) + "\n"


def all_properties() -> dict[str, Any]:
    """Return every property that the page must name, by class; for the tests."""
    registry = Registry.load()
    classes: list[Any] = [FlowProperties, TaskProperties, OutputProperties, PluginDefault]
    classes += [
        *INPUTS.values(),
        *RETRIES.values(),
        *SLAS.values(),
        *AUTHS.values(),
        *documented_tasks(registry),
        *registry.triggers(),
    ]
    return {cls.__name__: list(fields_of(cls)) for cls in classes}
