"""Reads one document of a source as a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from headrace_engine.language.checking import Checked
from headrace_engine.language.defaults import NEVER_DEFAULTS, PluginDefaults
from headrace_engine.language.flow import (
    UNSUPPORTED_FLOW_PROPERTIES,
    CheckProperties,
    ConcurrencyProperties,
    FlowProperties,
    Listener,
    PluginDefault,
)
from headrace_engine.language.markers import Holds
from headrace_engine.language.nodes import Entries, Items, Node, Scalar
from headrace_engine.language.registry import Registry
from headrace_engine.language.report import Report
from headrace_engine.language.task_reader import TaskReader
from headrace_engine.language.templates import Expansion, FindTemplate
from headrace_engine.language.typed_reader import TypedReader, flag, label_pairs, not_supported
from headrace_engine.language.wording import show
from headrace_engine.model.definition import (
    Check,
    CheckBehavior,
    Concurrency,
    FlowDefinition,
    LimitBehavior,
    TaskDefinition,
)


class FlowReader:
    """Reads one flow: checks everything, tells the report, and compiles it."""

    def __init__(
        self,
        registry: Registry,
        report: Report,
        plugin_defaults: Sequence[Mapping[str, Any]] = (),
        templates: FindTemplate | None = None,
    ) -> None:
        """Take what it reads with; *templates* are put in the places of the tasks that name them, or left out."""
        self._report = report
        self._defaults = PluginDefaults(registry, plugin_defaults)
        self._typed = TypedReader(registry, report, self._defaults)
        self._expand = Expansion(registry, self._defaults, templates).branches if templates is not None else None

    def read(self, document: Node, revision: int) -> FlowDefinition | None:
        """Return the flow; None, or a flow that must not be used, when the report has problems."""
        if not isinstance(document, Entries):
            what = "is empty" if isinstance(document, Scalar) and document.value is None else f"is {show(document)}"
            self._report.problem(document, f"A flow is a map with `id`, `namespace` and `tasks`; this document {what}.")
            return None
        self._report.fallback = document
        checked = self._typed.checker.check(document, FlowProperties)
        entries, data = checked.node.entries, checked.data
        self._plugin_defaults(entries.get("pluginDefaults"))
        reader = TaskReader(self._typed, str(data.get("namespace", "")), str(data.get("id", "")), self._expand)
        branches = self._tasks(entries, reader)
        named, triggers = self._typed.triggers(entries.get("triggers"))
        for node in named:
            reader.ids.add(node)
        self._listeners(entries.get("listeners"), reader)
        flow = FlowDefinition(
            namespace=str(data.get("namespace", "")),
            id=str(data.get("id", "")),
            revision=revision,
            tasks=branches["tasks"],
            errors=branches["errors"],
            finally_=branches["finally"],
            after_execution=branches["afterExecution"],
            inputs=self._typed.inputs(entries.get("inputs")),
            outputs=self._typed.outputs(entries.get("outputs")),
            variables=data.get("variables") or {},
            labels=label_pairs(data.get("labels")),
            retry=self._typed.retry(entries.get("retry")),
            concurrency=_concurrency(data.get("concurrency")),
            slas=self._typed.slas(entries.get("sla")),
            checks=_checks(data.get("checks")),
            triggers=triggers,
            disabled=flag(data, "disabled"),
            unsupported=self._unsupported(checked),
        )
        self._defaults.tell_unused(self._report)
        return flow

    def _tasks(self, entries: Mapping[str, Node], reader: TaskReader) -> dict[str, tuple[TaskDefinition, ...]]:
        return {
            name: reader.tasks(entries.get(name), required=name == "tasks")
            for name in ("tasks", "errors", "finally", "afterExecution")
        }

    def _plugin_defaults(self, node: Node | None) -> None:
        for item in self._typed.items(node, Holds.PLUGIN_DEFAULTS.value):
            if not isinstance(item, Entries):
                self._report.problem(item, f"Expected a map with `type` and `values`, got {show(item)}.")
                continue
            checked = self._typed.checker.check(item, PluginDefault, what="a plugin default")
            values = checked.node.entries.get("values")
            if isinstance(values, Entries):
                for key in NEVER_DEFAULTS & values.entries.keys():
                    self._report.problem_at_key(values, key, f"`{key}` cannot have a default.")
        self._defaults.read(node)

    def _listeners(self, node: Node | None, reader: TaskReader) -> None:
        for item in self._typed.items(node, Holds.LISTENERS.value):
            if not isinstance(item, Entries):
                self._report.problem(item, f"Expected a map with `tasks`, got {show(item)}.")
                continue
            checked = self._typed.checker.check(item, Listener, what="a listener")
            self._typed.conditions(checked.node.entries.get("conditions"))
            reader.tasks(checked.node.entries.get("tasks"), required=True)

    def _unsupported(self, checked: Checked) -> tuple[str, ...]:
        """Return, and warn of, a sentence for each property that is there and whose behaviour is not."""
        present = checked.node.entries
        found = {
            name: not_supported(f"`{name}`", why)
            for name, why in UNSUPPORTED_FLOW_PROPERTIES.items()
            if name in present and not _is_empty(present[name])
        }
        for name, sentence in found.items():
            self._report.warn_at_key(checked.node, name, sentence)
        return tuple(found.values())


def _checks(data: Any) -> tuple[Check, ...]:
    found = []
    for item in data if isinstance(data, list) else ():
        try:
            read = CheckProperties.model_validate(item)
        except ValidationError:
            continue  # told of as a problem already
        found.append(Check(read.condition, read.message, read.style, CheckBehavior(read.behavior)))
    return tuple(found)


def _concurrency(data: Any) -> Concurrency | None:
    try:
        read = ConcurrencyProperties.model_validate(data)
    except ValidationError:
        return None  # absent, or told of as a problem already
    return Concurrency(read.limit, LimitBehavior(read.behavior))


def _is_empty(node: Node) -> bool:
    return (
        (isinstance(node, Scalar) and node.value is None)
        or (isinstance(node, Items) and not node.items)
        or (isinstance(node, Entries) and not node.entries)
    )
