"""How flows are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from headrace_engine.api.gate import within
from headrace_engine.api.http import Request
from headrace_engine.engine import NoSuchFlowError
from headrace_engine.identity import Role
from headrace_engine.language import FlowError
from headrace_engine.language.source import written
from headrace_engine.ports import Flows, FlowSource

Name = tuple[str, str]
"""Namespace and id."""
_LARGEST = 2**63


class FlowView(TypedDict):
    """A flow: what its author wrote, with what the store knows of it."""

    id: str
    namespace: str
    revision: int
    disabled: bool
    deleted: bool
    updated: datetime | None
    tasks: list[Any]
    source: NotRequired[str]
    exception: NotRequired[str]


class FlowPage(TypedDict):
    """Some flows of several."""

    results: list[FlowView]
    total: int


class FlowName(TypedDict):
    """Which flow is meant."""

    namespace: str
    id: str


class Count(TypedDict):
    """How many were changed."""

    count: int


class Invalid(TypedDict):
    """What one thing of several cannot have done to it."""

    value: str
    message: str


class Invalids(TypedDict):
    """Why nothing was done."""

    message: str
    invalids: list[Invalid]


def existing_flow(flows: Flows, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource:
    """Return a flow; with a revision also one that was deleted since. Raises NoSuchFlowError."""
    stored = flows.get(namespace, flow_id, revision)
    if stored is None or (stored.deleted and revision is None):
        raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
    return stored


def flow_view(flow: FlowSource, *, source: bool = False) -> FlowView:
    """Return a flow as JSON."""
    view = view_of(flow)
    view["disabled"] = view.get("disabled") in (True, "true")
    labels = view.get("labels")
    if isinstance(labels, dict):
        view["labels"] = [{"key": key, "value": str(value)} for key, value in labels.items()]
    if source:
        view["source"] = flow.source
    return view  # type: ignore[return-value]  # what its author wrote has more


def view_of(stored: FlowSource) -> dict[str, Any]:
    """Return what flows and templates are shown with; what cannot be read any more says so instead."""
    view: dict[str, Any]
    try:
        view = shown(written(stored.source))
    except FlowError as error:
        view = {"exception": str(error)}
    view |= {"id": stored.id, "namespace": stored.namespace, "revision": stored.revision, "deleted": stored.deleted}
    view["updated"] = stored.updated
    if not isinstance(view.get("tasks"), list):
        view["tasks"] = []
    return view


def namespaces_of(request: Request, names: Callable[[str], Iterable[Name]]) -> list[str]:
    """Return the namespaces that who asks may see, with ``q`` in them; *names* gives what lies in one and below it."""
    wanted = (request.one("q") or "").casefold()
    found = {namespace for prefix in within(request, Role.VIEWER) for namespace, _ in names(prefix)}
    return sorted(each for each in found if wanted in each.casefold())


def labels_of(view: FlowView) -> list[tuple[str, str]]:
    """Return the labels of a flow."""
    labels = view.get("labels")
    if not isinstance(labels, list):
        return []
    return [(str(each.get("key")), str(each.get("value"))) for each in labels if isinstance(each, dict)]


def shown(value: Any) -> Any:
    """Return plain data with numbers that fit into JSON: a whole one that is too large loses its last digits."""
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return float(value) if abs(value) < 10**300 else str(value)
    return value
