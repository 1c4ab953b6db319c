"""Flows: the list, and the page of one with its source, inputs and triggers."""

from __future__ import annotations

from typing import Any

from headrace_engine.api.execution_filters import of_exactly, revision_of
from headrace_engine.api.gate import within
from headrace_engine.api.http import Request, Response
from headrace_engine.api.route import Query, Route
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.identity import Role
from headrace_engine.language import FlowError
from headrace_engine.language.source import written
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.trigger import TriggerDefinition
from headrace_engine.pages.html import page, path
from headrace_engine.ports import TriggerRecord
from headrace_engine.schedule_records import is_schedules, kept_in

_SIZE = 100
_LATEST = 10


class FlowPages:
    """Answers requests about flows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flows = engine.stores.flows

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        query = (Query("q"), Query("namespace"), Query("page", int))
        return (
            Route("GET", "/flows", self.list, role=Role.VIEWER, each=True, query=query),
            Route("GET", "/flows/{namespace}/{flow_id}", self.show, role=Role.VIEWER, query=(Query("revision", int),)),
        )

    def list(self, request: Request) -> Response:
        """Show the flows, by namespace and id."""
        words = (request.one("q") or "").casefold().split()
        namespace = request.one("namespace") or ""
        number = request.number("page", 1)
        names = sorted(
            {
                name
                for prefix in within(request, Role.VIEWER, namespace)
                for name in self._flows.names(prefix)
                if all(word in f"{name[0]}.{name[1]}".casefold() for word in words)
            }
        )
        begin = (number - 1) * _SIZE
        given: dict[str, Any] = {"q": request.one("q") or "", "namespace": namespace}
        sources = self._flows.latest(names[begin : begin + _SIZE])
        principal = request.principal
        return page(
            "flows.html",
            flows=[
                {
                    "namespace": each.namespace,
                    "id": each.id,
                    "revision": each.revision,
                    "updated": each.updated,
                    "about": _said(each.source),
                    "may_start": principal is not None and principal.may(Role.EDITOR, each.namespace),
                }
                for each in sources
            ],
            total=len(names),
            given=given,
            next=path("flows", **given, page=number + 1) if begin + _SIZE < len(names) else "",
            previous=path("flows", **given, page=number - 1) if number > 1 else "",
            principal=principal,
        )

    def show(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Show a flow, in its latest revision or another."""
        stored = self._flows.get(namespace, flow_id, revision_of(request))
        if stored is None:
            raise NoSuchFlowError(f"there is no flow {namespace}.{flow_id}")
        definition, problem = self._compiled(namespace, flow_id, stored.revision)
        records = {each.trigger_id: each for each in self._engine.stores.triggers.list(namespace, flow_id)}
        latest = self._engine.stores.executions.search(of_exactly(namespace, flow_id), limit=_LATEST)
        principal = request.principal
        return page(
            "flow.html",
            stored=stored,
            flow=definition,
            problem=problem,
            about=_said(stored.source),
            triggers=[_shown(each, records.get(each.id)) for each in definition.triggers]
            if definition is not None
            else [],
            revisions=[each.revision for each in self._flows.revisions(namespace, flow_id)][::-1][:50],
            executions=latest.found,
            may_start=principal is not None and principal.may(Role.EDITOR, namespace) and not stored.deleted,
            principal=principal,
        )

    def _compiled(self, namespace: str, flow_id: str, revision: int) -> tuple[FlowDefinition | None, str]:
        try:
            return self._engine.flow_of(namespace, flow_id, revision).definition, ""
        except FlowError as error:  # written for another version
            return None, str(error)


def _shown(trigger: TriggerDefinition, record: TriggerRecord | None) -> dict[str, Any]:
    """Return what is shown of a trigger: nothing of its properties, among which a webhook's key may be."""
    coming = kept_in(record).state.next if record is not None and is_schedules(record) else None
    return {
        "id": trigger.id,
        "type": trigger.type,
        "disabled": trigger.disabled or (record is not None and record.disabled),
        "next": coming,
        "unsupported": trigger.unsupported or "",
    }


def _said(source: str) -> str:
    """Return what a flow's author says of it."""
    try:
        about = written(source).get("description")
    except FlowError:
        return ""
    return about if isinstance(about, str) else ""
