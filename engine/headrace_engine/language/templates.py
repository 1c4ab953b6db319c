"""Templates: lists of tasks that flows take over where a Template task names them (reference §3).

A template is read twice: by itself, when it is saved, and in the place of each task that names it, when an execution
is about to begin. Only there is known which plugin defaults apply and which ids its tasks meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import Field

from headrace_engine.language.common import NamedProperties
from headrace_engine.language.defaults import PluginDefaults
from headrace_engine.language.markers import Flag, TaskList, Text
from headrace_engine.language.nodes import Entries, Node
from headrace_engine.language.problems import FlowError, Problem
from headrace_engine.language.registry import Registry
from headrace_engine.language.report import EnoughError, Report
from headrace_engine.language.task_reader import TaskReader
from headrace_engine.language.typed_reader import TypedReader
from headrace_engine.language.wording import show
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.model.definition import TaskDefinition, TemplateDefinition

FindTemplate = Callable[[str, str], str]
"""Returns the source of the template of a namespace and id. Raises ValueError when there is none."""
_LISTS = ("tasks", "errors", "finally")


class TemplateProperties(NamedProperties):
    """A template: tasks that flows take over."""

    deleted: Flag = Field(default=False, description="Whether the template is deleted; given by the server.")
    description: Text | None = Field(default=None, description="What the template is for, in Markdown.")
    tasks: TaskList = Field(min_length=1, description="What the template does, in order, until one fails.")
    errors: TaskList | None = Field(default=None, description="Tasks that run when one of its tasks has failed.")
    finally_: TaskList | None = Field(default=None, alias="finally", description="Tasks that run at its end.")


class Expansion:
    """Puts templates into one flow. Each may be there once: its tasks keep their ids."""

    def __init__(self, registry: Registry, defaults: PluginDefaults, find: FindTemplate) -> None:
        self._registry = registry
        self._defaults = defaults
        self._find = find
        self._open: list[str] = []
        self._there: set[str] = set()

    def branches(self, around: TaskReader, node: Entries, namespace: str, template_id: str) -> dict[str, _Tasks]:
        """Return the task lists of the template that the task *node* names; what is wrong is told to its report."""
        report, name = around.report, f"{namespace}.{template_id}"
        if name in self._open:
            ring = " → ".join(f"`{each}`" for each in (*self._open[self._open.index(name) :], name))
            report.problem_at_key(node, "templateId", f"These templates contain each other: {ring}.")
            return {}
        if name in self._there:
            message = f"The template `{name}` is in this flow already, and its tasks with their ids: use a Subflow."
            report.problem_at_key(node, "templateId", message)
            return {}
        self._there.add(name)
        try:
            document, inner = _document(self._find(namespace, template_id), f"template {name}")
        except FlowError as error:
            report.problems.extend(error.problems)
            return {}
        except ValueError as error:
            report.problem_at_key(node, "templateId", str(error))
            return {}
        self._open.append(name)
        try:
            return _read(document, self._registry, inner, self._defaults, around=around)[1]
        finally:
            self._open.pop()
            report.problems.extend(inner.problems)


_Tasks = tuple[TaskDefinition, ...]


def parse_template(
    source: str,
    *,
    file: str | None = None,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
) -> TemplateDefinition:
    """Return the one template that *source* holds. Raises FlowError with everything that is wrong with it."""
    known = registry if registry is not None else Registry.load()
    document, report = _document(source, file)
    data: dict[str, Any] = {}
    branches: dict[str, _Tasks] = {}
    with suppress(EnoughError):
        data, branches = _read(document, known, report, PluginDefaults(known, plugin_defaults))
    if report.problems:
        raise FlowError(sorted(report.problems, key=lambda problem: (problem.line, problem.column)))
    return TemplateDefinition(
        namespace=data["namespace"],
        id=data["id"],
        description=data.get("description"),
        tasks=branches["tasks"],
        errors=branches["errors"],
        finally_=branches["finally"],
    )


def _document(source: str, file: str | None) -> tuple[Entries, Report]:
    documents = read_documents(source, file)
    if len(documents) != 1 or not isinstance(documents[0], Entries):
        what = f"holds {len(documents)} documents" if len(documents) != 1 else f"is {show(documents[0])}"
        message = f"A template is one map with `id`, `namespace` and `tasks`; this {what}."
        place: Node | None = documents[-1] if documents else None
        raise FlowError([Problem("", message, place.line if place else 1, place.column if place else 1, file)])
    report = Report(source, file)
    report.fallback = documents[0]
    return documents[0], report


def _read(
    document: Entries, registry: Registry, report: Report, defaults: PluginDefaults, around: TaskReader | None = None
) -> tuple[dict[str, Any], dict[str, _Tasks]]:
    typed = TypedReader(registry, report, defaults)
    checked = typed.checker.check(document, TemplateProperties, what="a template")
    reader = around.inside(typed) if around is not None else TaskReader(typed, str(checked.data.get("namespace", "")))
    entries = checked.node.entries
    return checked.data, {name: reader.tasks(entries.get(name), required=name == "tasks") for name in _LISTS}
