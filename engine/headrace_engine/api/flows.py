"""Flows (reference §14.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.language import parse_flow
from headrace_engine.ports import FlowSource


class Flows:
    """Answers requests about flows."""

    def __init__(self, engine: Engine, settle_slots: Callable[[str, str], None]) -> None:
        self._engine = engine
        self._settle_slots = settle_slots

    def create(self, request: Request) -> Response:
        """POST /flows: the body is YAML."""
        source = request.text()
        definition = self._parsed(source)
        stored = self._engine.stores.flows.get(definition.namespace, definition.id)
        if stored is not None and not stored.deleted:
            raise ApiError(
                422, "Invalid entity: flow.id: Flow id already exists", [("Flow id already exists", "flow.id")]
            )
        return self._saved(source)

    def update(self, request: Request, namespace: str, flow_id: str) -> Response:
        """PUT /flows/{ns}/{id}: the body is YAML."""
        self._existing(namespace, flow_id)
        source = request.text()
        definition = self._parsed(source)
        if (definition.namespace, definition.id) != (namespace, flow_id):
            raise ApiError(422, f"Illegal argument: the body is the flow {definition.namespace}.{definition.id}")
        return self._saved(source)

    def get(self, request: Request, namespace: str, flow_id: str) -> Response:
        """GET /flows/{ns}/{id}."""
        revision = request.number("revision", 0) or None
        stored = self._existing(namespace, flow_id, revision, deleted=request.flag("allowDeleted"))
        return json_response(_view(stored, source=request.flag("source")))

    def of_namespace(self, _request: Request, namespace: str) -> Response:
        """GET /flows/{ns}."""
        flows = self._engine.stores.flows.list(namespace)
        return json_response([_view(flow, source=False) for flow in flows if flow.namespace == namespace])

    def delete(self, _request: Request, namespace: str, flow_id: str) -> Response:
        """DELETE /flows/{ns}/{id}."""
        if not self._engine.delete_flow(namespace, flow_id):
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        return Response(204)

    def _parsed(self, source: str) -> Any:
        engine = self._engine
        return parse_flow(source, registry=engine.registry, plugin_defaults=engine.settings.plugin_defaults)

    def _saved(self, source: str) -> Response:
        definition = self._engine.save_flow(source)
        self._settle_slots(definition.namespace, definition.id)  # its concurrency limit may be another
        return json_response(_view(self._existing(definition.namespace, definition.id), source=True))

    def _existing(
        self, namespace: str, flow_id: str, revision: int | None = None, *, deleted: bool = False
    ) -> FlowSource:
        stored = self._engine.stores.flows.get(namespace, flow_id, revision)
        if stored is None or (stored.deleted and not deleted):
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        return stored


def _view(flow: FlowSource, *, source: bool) -> dict[str, Any]:
    """Return a flow as JSON: what its author wrote, with what the store knows of it."""
    written = yaml.load(flow.source, Loader=_Texts)  # noqa: S506 - a SafeLoader, see below
    view = {**written, "id": flow.id, "namespace": flow.namespace, "revision": flow.revision, "deleted": flow.deleted}
    view.setdefault("disabled", False)
    view["updated"] = flow.updated
    return {**view, "source": flow.source} if source else view


class _Texts(yaml.SafeLoader):
    """Leaves dates as the texts they are written as: JSON has none."""


_Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
