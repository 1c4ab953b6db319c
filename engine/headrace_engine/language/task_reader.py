"""Reads tasks, which hold tasks: checks each against its class and compiles it for the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headrace_engine.language import known_types
from headrace_engine.language.checking import Checked
from headrace_engine.language.common import UNSUPPORTED_TASK_PROPERTIES, TaskProperties
from headrace_engine.language.fields import fields_of, names_of
from headrace_engine.language.flowables import DagTask, Flowable, Switch, WorkingDirectory
from headrace_engine.language.markers import Holds
from headrace_engine.language.nodes import Entries, Items, Node, Scalar, plain
from headrace_engine.language.rules import check_dependencies, is_literal
from headrace_engine.language.typed_reader import Ids, TypedReader, flag, not_supported
from headrace_engine.language.wording import show
from headrace_engine.model.definition import LOST_IN_A_ROW, InputDefinition, Kind, TaskCache, TaskDefinition
from headrace_engine.plugin import RunnableTask, Task, parse_duration

_COMMON = names_of(TaskProperties)
_STEERING = frozenset({"condition", "value", "values", "concurrent", "concurrencyLimit"})
"""Properties of flowables that have a field of their own in TaskDefinition."""

_FOR_EACH_ITEM = "io.kestra.plugin.core.flow.ForEachItem"
TEMPLATE = "io.kestra.plugin.core.flow.Template"
_CALLS_A_FLOW = frozenset({"io.kestra.plugin.core.flow.Subflow", _FOR_EACH_ITEM})


_CALLING = frozenset(
    {"namespace", "flowId", "revision", "inputs", "labels", "inheritLabels", "scheduleDate", "restartBehavior"}
)
"""What the executions of a ForEachItem are started with."""
ITEMS_SPLIT = "io.headrace.foreachitem.Split"
ITEMS_START = "io.headrace.foreachitem.Start"
ITEMS_MERGE = "io.headrace.foreachitem.Merge"


Expand = Callable[["TaskReader", Entries, str, str], dict[str, tuple[TaskDefinition, ...]]]
"""Returns the task lists of the template that a task names by namespace and id; tells the reader's report."""


@dataclass(slots=True)
class _Held:
    """What stands in a flowable."""

    branches: dict[str, tuple[TaskDefinition, ...]] = field(default_factory=dict)
    depends_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: tuple[InputDefinition, ...] = ()


class TaskReader:
    """Reads the tasks of one flow."""

    def __init__(self, typed: TypedReader, namespace: str, flow_id: str = "", expand: Expand | None = None) -> None:
        """Take what reads the parts of tasks; expand puts templates in the places of the tasks that name them."""
        self._typed = typed
        self.report = self._report = typed.report
        self._namespace = namespace
        self._flow_id = flow_id
        self._expand = expand
        self.ids = Ids(typed.report)

    def inside(self, typed: TypedReader) -> TaskReader:
        """Return a reader for tasks that stand in the same flow, and in another source."""
        reader = TaskReader(typed, self._namespace, self._flow_id, self._expand)
        reader.ids = self.ids.inside(typed.report)
        return reader

    def tasks(self, node: Node | None, *, required: bool = False) -> tuple[TaskDefinition, ...]:
        """Read a list of tasks."""
        items = self._typed.items(node, Holds.TASKS.value)
        if required and isinstance(node, Items) and not items:
            self._report.problem(node, "Must have at least one task.")
        return tuple(task for item in items if (task := self.task(item)) is not None)

    def task(self, node: Node) -> TaskDefinition | None:
        """Read one task. None when it is so broken that its type is not known."""
        name = self._typed.type_of(node, "a task")
        if not isinstance(node, Entries):
            return None
        if name is None:
            self._common(node)
            return None
        cls = self._typed.registry.task(name)
        if cls is None or cls.INTERNAL:
            return self._without_class(node, name)
        self._typed.warn_of_old_name(node, name, cls.TYPE, cls.DEPRECATED)
        return self._with_class(node, name, cls)

    # -- one task

    def _without_class(self, node: Entries, name: str) -> TaskDefinition | None:
        canonical = self._typed.registry.canonical(name)
        node = self._typed.defaults.applied(node, name, None)
        if canonical in known_types.TASKS:
            task = self._common(node)
            reason = not_supported(f"`{canonical}`", known_types.reason(canonical))
            self._warn_of_refusals(node, task, [reason])
            own = {key: plain(value) for key, value in node.entries.items() if key not in _COMMON}
            return replace(task, type=canonical, kind=Kind.UNSUPPORTED, properties=own, unsupported=reason)
        self._typed.unknown_type(node, name, "task", known_types.TASKS)
        self._common(node)
        return None

    def _with_class(self, node: Entries, name: str, cls: type[Task]) -> TaskDefinition:
        own_names = names_of(cls)
        node = self._typed.defaults.applied(node, name, {**_COMMON, **own_names})
        task = self._common(node, besides=own_names)
        own = node.without(*(key for key in node.entries if key in _COMMON and key not in own_names))
        told_before = self._report.told
        checked = self._typed.checker.check(own, cls, what=f"`{name}`", also_known=_COMMON)
        runner_sentences = tuple(self._typed.unsupported)
        self._typed.unsupported.clear()
        is_sound = self._report.told == told_before
        held = self._held(checked.node, cls)
        data = checked.data
        if issubclass(cls, RunnableTask):
            properties, kind = data, self._kind(cls, data) if is_sound else cls.KIND
        else:
            properties, kind = {key: value for key, value in data.items() if key not in _STEERING}, cls.KIND
        there = {name: data.get(name) for name in checked.node.entries}
        refusals = self._refusals(cls, there) if is_sound else []
        self._warn_of_refusals(node, task, refusals or runner_sentences)
        sentences = [task.unsupported, *(refusals or runner_sentences)]
        self._check_special(node, cls, checked)
        if task.cache is not None and not issubclass(cls, RunnableTask):
            self._report.problem_at_key(
                node, "taskCache", "`taskCache` is for tasks that do work, not for those that steer others."
            )
        concurrent = data.get("concurrent", data.get("concurrencyLimit", _default_concurrency(cls)))
        if cls.TYPE == _FOR_EACH_ITEM:
            held.branches["tasks"] = self._parts_of(node, task, data)
            properties = {}
        if cls.TYPE == TEMPLATE and self._expand is not None and is_sound and not task.disabled:
            taken = self._expand(self, checked.node, data["namespace"], data["templateId"])
            held.branches = taken | {name: tasks for name, tasks in held.branches.items() if tasks}
        return replace(
            task,
            type=cls.TYPE,
            kind=kind,
            properties=properties,
            branches={name: tasks for name, tasks in held.branches.items() if tasks},
            depends_on=held.depends_on,
            inputs=held.inputs if cls.KIND is Kind.PAUSE else (),
            expression=_expression(kind, data),
            values=data.get("values", data.get("value")) if kind in (Kind.FOR_EACH, Kind.EACH_PARALLEL) else None,
            concurrency=_count(concurrent) if is_sound and not issubclass(cls, RunnableTask) else 0,
            resubmits=self._resubmits(task, data) if is_sound else task.resubmits,
            unsupported=" ".join(sentence for sentence in sentences if sentence) or None,
        )

    def _warn_of_refusals(self, node: Entries, task: TaskDefinition, sentences: Iterable[str]) -> None:
        """Warn of what a run refuses; a task that is switched off is never run."""
        for sentence in () if task.disabled else sentences:
            self._report.warn(node.entries["type"], sentence)

    def _parts_of(self, node: Entries, task: TaskDefinition, data: Mapping[str, Any]) -> tuple[TaskDefinition, ...]:
        """Return the three tasks that a ForEachItem consists of (reference §3.3)."""
        split, items, merge = (f"{task.id}_{part}" for part in ("split", "items", "merge"))
        for name in (split, items, merge):
            self.ids.reserve(node, name)
        batch = data.get("batch") or {}
        calling = {key: value for key, value in data.items() if key in _CALLING}
        for key in ("wait", "transmitFailed"):
            if key in data:
                calling[key] = flag(data, key)
        return (
            TaskDefinition(split, ITEMS_SPLIT, Kind.DISPATCHED, {"items": data.get("items"), **batch}),
            TaskDefinition(items, ITEMS_START, Kind.ITEMS, {**calling, "split": split}),
            TaskDefinition(merge, ITEMS_MERGE, Kind.DISPATCHED, {"items": items}),
        )

    def _kind(self, cls: type[RunnableTask], data: Mapping[str, Any]) -> Kind:
        return Kind.UNSUPPORTED if cls.UNSUPPORTED is not None else cls.kind_of(data)

    def _resubmits(self, task: TaskDefinition, data: Mapping[str, Any]) -> int:
        """Return how often a lost attempt begins again: as the task runner says, unless it is not to at all."""
        runner = data.get("taskRunner")
        cls = self._typed.registry.runner(str(runner.get("type"))) if isinstance(runner, Mapping) else None
        said = cls.resubmits(runner) if cls is not None and isinstance(runner, Mapping) else None
        return said if said is not None and task.resubmits else task.resubmits

    def _refusals(self, cls: type[Task], data: Mapping[str, Any]) -> list[str]:
        sentences = []
        why = cls.unsupported_use(data)
        if why is not None:
            what = f"`{cls.TYPE}`" if why == cls.UNSUPPORTED else f"This use of `{cls.TYPE}`"
            sentences.append(not_supported(what, why.rstrip(".")))
        if flag(data, "failFast") and issubclass(cls, Flowable):
            sentences.append(
                not_supported("`failFast: true`", "siblings of a failed task that still run are waited for")
            )
        if data.get("onChildFailure") is not None and issubclass(cls, Flowable):
            sentences.append(
                not_supported("`onChildFailure`", "siblings of a failed task that still run are waited for")
            )
        return sentences

    def _common(self, node: Entries, besides: Mapping[str, str] | None = None) -> TaskDefinition:
        """Read the properties that all tasks have, leaving out those named like one of the task's own."""
        strange = [key for key in node.entries if key not in _COMMON or (besides is not None and key in besides)]
        checked = self._typed.checker.check(node.without(*strange), TaskProperties)
        self.ids.add(checked.node)
        data = checked.data
        refused = {
            key: not_supported(f"`{key}`", why)
            for key, why in UNSUPPORTED_TASK_PROPERTIES.items()
            if data.get(key) not in (None, False, "false") and not _is_switched_off(data[key])
        }
        for key, sentence in {} if flag(data, "disabled") else refused.items():
            self._report.warn_at_key(checked.node, key, sentence)
        retry = self._typed.retry(checked.node.entries.get("retry"))
        return TaskDefinition(
            id=str(data.get("id", "")),
            type=str(data.get("type", "")),
            kind=Kind.UNSUPPORTED,
            disabled=flag(data, "disabled"),
            run_if=data.get("runIf"),
            allow_failure=flag(data, "allowFailure"),
            allow_warning=flag(data, "allowWarning"),
            timeout=data.get("timeout"),
            retry=retry,
            log_level=data.get("logLevel"),
            resubmits=0 if data.get("resubmit") == "NEVER" else LOST_IN_A_ROW - 1,
            cache=_cache(data.get("taskCache")),
            unsupported=" ".join(refused.values()) or None,
        )

    # -- what a flowable holds

    def _held(self, node: Entries, cls: type[Task]) -> _Held:
        held = _Held()
        for name, shape in fields_of(cls).items():
            value = node.entries.get(name)
            if value is None or shape.holds is None:
                continue
            match shape.holds:
                case Holds.TASKS:
                    held.branches[name] = self.tasks(value, required=shape.required)
                case Holds.TASKS_BY_CASE:
                    held.branches |= self._cases(value)
                case Holds.DAG_TASKS:
                    held.branches[name], held.depends_on = self._dag(value)
                case Holds.TASK:
                    task = self.task(value)
                    held.branches[name] = (task,) if task is not None else ()
                case Holds.INPUTS:
                    held.inputs = self._typed.inputs(value)
                case Holds.OUTPUTS:
                    self._typed.outputs(value)
                case _:
                    pass
        return held

    def _cases(self, node: Node) -> dict[str, tuple[TaskDefinition, ...]]:
        if not isinstance(node, Entries):
            if not (isinstance(node, Scalar) and node.value is None):
                self._report.problem(node, f"Expected a map of texts to lists of tasks, got {show(node)}.")
            return {}
        return {f"cases.{text}": self.tasks(value, required=True) for text, value in node.entries.items()}

    def _dag(self, node: Node) -> tuple[tuple[TaskDefinition, ...], dict[str, tuple[str, ...]]]:
        tasks: list[TaskDefinition] = []
        depends_on: dict[str, tuple[str, ...]] = {}
        places: dict[str, Node] = {}
        items = self._typed.items(node, Holds.DAG_TASKS.value)
        if isinstance(node, Items) and not items:
            self._report.problem(node, "Must have at least one task.")
        for item in items:
            if not isinstance(item, Entries):
                self._report.problem(item, f"Expected a map with `task` and `dependsOn`, got {show(item)}.")
                continue
            if "task" not in item.entries and "type" in item.entries:
                self._report.problem(item, "A task of a Dag stands under `task:`, and `dependsOn` beside it.")
                self.task(item)
                continue
            checked = self._typed.checker.check(item, DagTask, what="a task of a Dag")
            below = checked.node.entries.get("task")
            task = self.task(below) if below is not None else None
            if task is None:
                if below is not None and isinstance(below, Entries) and below.text("id"):
                    depends_on.setdefault(str(below.text("id")), ())
                    places.setdefault(str(below.text("id")), below)
                continue
            tasks.append(task)
            names = checked.data.get("dependsOn")
            depends_on[task.id] = tuple(map(str, names)) if isinstance(names, list) else ()
            places[task.id] = checked.node.entries.get("dependsOn", item)
        check_dependencies(depends_on, places, self._report, what="task", where="this Dag")
        return tuple(tasks), {name: names for name, names in depends_on.items() if names}

    # -- rules of single types

    def _check_special(self, node: Entries, cls: type[Task], checked: Checked) -> None:
        entries = checked.node.entries
        if cls is Switch and not _has_content(entries.get("cases")) and not _has_content(entries.get("defaults")):
            self._report.problem(node, "A Switch needs `cases` or `defaults`.")
        elif cls is WorkingDirectory:
            self._check_working_directory(entries.get("tasks"))
        elif (
            cls.TYPE in _CALLS_A_FLOW
            and is_literal(entries.get("flowId"), self._flow_id)
            and is_literal(entries.get("namespace"), self._namespace)
        ):
            self._report.problem(
                entries["flowId"],
                f"Recursive call to flow [{self._namespace}.{self._flow_id}]: a flow cannot call itself.",
            )

    def _check_working_directory(self, node: Node | None) -> None:
        for item in node.items if isinstance(node, Items) else ():
            name = item.text("type") if isinstance(item, Entries) else None
            cls = self._typed.registry.task(name) if name else None
            if cls is not None and not issubclass(cls, RunnableTask) and isinstance(item, Entries):
                self._report.problem(
                    item.entries["type"],
                    f"`{name}` cannot stand in a WorkingDirectory: its tasks run on a worker, one after the other.",
                )


def _count(value: Any) -> int:
    """Return a number that its class has accepted: ``3``, ``3.0`` or ``"3"``."""
    return int(float(value)) if isinstance(value, str) else int(value)


def _default_concurrency(cls: type[Task]) -> int:
    """Return what the class says; an EachSequential, where there is nothing to say, is a ForEach of one at once."""
    shape = cls.model_fields.get("concurrency_limit")
    if shape is not None:
        return int(shape.default)
    return 1 if cls.KIND is Kind.FOR_EACH else 0


def _expression(kind: Kind, data: Mapping[str, Any]) -> str | None:
    names = {Kind.IF: "condition", Kind.LOOP_UNTIL: "condition", Kind.SWITCH: "value"}
    found = data.get(names[kind]) if kind in names else None
    return found if isinstance(found, str) else None


def _has_content(node: Node | None) -> bool:
    return bool((isinstance(node, Entries) and node.entries) or (isinstance(node, Items) and node.items))


def _cache(data: Any) -> TaskCache | None:
    if not isinstance(data, Mapping) or not flag(data, "enabled"):
        return None
    try:
        return TaskCache(parse_duration(data["ttl"]) if data.get("ttl") is not None else None)
    except (ValueError, AttributeError):
        return None  # told of as a problem already


def _is_switched_off(value: Any) -> bool:
    """True for ``taskCache: {enabled: false}`` and the like."""
    return isinstance(value, Mapping) and value.get("enabled") is False
