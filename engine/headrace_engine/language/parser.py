"""From the text of a flow to what the engine runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from headrace_engine.language.flow_reader import FlowReader
from headrace_engine.language.nodes import Entries, Items, Node, Scalar, from_plain
from headrace_engine.language.problems import FlowError, Problem
from headrace_engine.language.registry import Registry
from headrace_engine.language.report import EnoughError, Report
from headrace_engine.language.templates import FindTemplate
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass

_ANY_TASK = "io.kestra.plugin.core.log.Log"


@dataclass(frozen=True)
class Validation:
    """What is known of a source after reading it."""

    flows: tuple[FlowDefinition, ...]
    """The flows, one a document; empty when there are errors."""
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    """Deprecated names and the like, and what is valid but refused when the flow is run."""


def parse_flow(
    source: str,
    *,
    file: str | None = None,
    revision: int = 1,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
    templates: FindTemplate | None = None,
) -> FlowDefinition:
    """Return the one flow that *source* holds.

    plugin_defaults are those of the configuration, nearest first: maps with ``type``, ``values`` and ``forced``.
    With *templates* a Template task has the tasks of its template; otherwise none. Raises FlowError with everything
    that is wrong with it.
    """
    found = check(
        source, file=file, revision=revision, registry=registry, plugin_defaults=plugin_defaults, templates=templates
    )
    if found.errors:
        raise FlowError(found.errors)
    if len(found.flows) > 1:
        second = read_documents(source, file)[1]
        message = f"One flow is expected here; the file holds {len(found.flows)}."
        raise FlowError([Problem("", message, second.line, second.column, file)])
    return found.flows[0]


def parse_flows(
    source: str,
    *,
    file: str | None = None,
    revision: int = 1,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
) -> list[FlowDefinition]:
    """Return the flows that *source* holds, one a document. Raises FlowError like parse_flow."""
    found = check(source, file=file, revision=revision, registry=registry, plugin_defaults=plugin_defaults)
    if found.errors:
        raise FlowError(found.errors)
    return list(found.flows)


def validate(
    source: str,
    *,
    file: str | None = None,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
) -> list[Problem]:
    """Return everything that is wrong with *source*, which may hold several flows; nothing for a valid one."""
    return list(check(source, file=file, registry=registry, plugin_defaults=plugin_defaults).errors)


def check(
    source: str,
    *,
    file: str | None = None,
    revision: int = 1,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
    templates: FindTemplate | None = None,
) -> Validation:
    """Return flows, errors and warnings of *source*, which may hold several flows. Raises nothing for a bad one."""
    report = Report(source, file)
    try:
        documents = _documents(source, file)
    except FlowError as error:
        return Validation((), error.problems, ())
    known = registry if registry is not None else Registry.load()
    flows: list[FlowDefinition | None] = []
    with suppress(EnoughError):
        flows.extend(
            FlowReader(known, report, plugin_defaults, templates).read(document, revision) for document in documents
        )
    errors, warnings = (
        tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))
        for found in (report.problems, report.warnings)
    )
    return Validation(() if errors else tuple(flow for flow in flows if flow is not None), errors, warnings)


def check_part(
    source: str,
    part: Literal["task", "trigger"],
    *,
    registry: Registry | None = None,
    plugin_defaults: Sequence[Mapping[str, Any]] = (),
) -> Validation:
    """Return errors and warnings of one task or trigger by itself, placed in *source*. Raises nothing for a bad one."""
    report = Report(source)
    try:
        documents = _documents(source, None)
        if len(documents) > 1:
            second = documents[1]
            raise FlowError([Problem("", f"One {part} is expected here.", second.line, second.column)])
    except FlowError as error:
        return Validation((), error.problems, ())
    task = {"id": "task-of-nobody", "type": _ANY_TASK, "message": ""}
    around = from_plain({"id": "flow", "namespace": "namespace", "tasks": [task]}, ())
    assert isinstance(around, Entries)  # noqa: S101  # made of a map
    around.entries[f"{part}s"] = Items((), 1, 1, [documents[0]])
    with suppress(EnoughError):
        FlowReader(registry if registry is not None else Registry.load(), report, plugin_defaults).read(around, 1)
    return Validation((), tuple(report.problems), tuple(report.warnings))


def _documents(source: str, file: str | None) -> list[Node]:
    documents = [node for node in read_documents(source, file) if not (isinstance(node, Scalar) and node.text == "")]
    if not documents:
        message = "The file is empty: a flow is expected, a map with `id`, `namespace` and `tasks`."
        raise FlowError([Problem("", message, 1, 1, file)])
    return documents
