"""What a client asks of the server itself (reference §14.7), and who holds the slots of concurrency limits."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import NotRequired, TypedDict

from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.gate import within
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.names import SYSTEM
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.api.saving import Saving
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.identity import Role
from headrace_engine.language import FlowError

_LIMITED = re.compile(r"\bconcurrency\b")
"""What the source of every flow with a concurrency limit holds; the others need not be read."""


class Configuration(TypedDict):
    """What a client must know of the server."""

    version: str
    edition: str
    systemNamespace: str
    hiddenLabelsPrefixes: list[str]
    isTaskRunEnabled: bool
    isTemplateEnabled: bool
    isAnonymousUsageEnabled: bool
    isUiAnonymousUsageEnabled: bool
    isAiEnabled: bool
    isCustomDashboardsEnabled: bool
    isConcurrencyViewEnabled: bool


class ConcurrencyLimit(TypedDict):
    """How many executions of a flow hold a slot."""

    tenantId: str
    namespace: str
    flowId: str
    running: int
    queued: int
    limit: NotRequired[int]


class ConcurrencyLimits(TypedDict):
    """Some of several."""

    results: list[ConcurrencyLimit]
    total: int


class Running(TypedDict, total=False):
    """What Kestra's clients send to change the count."""

    running: int | None
    tenantId: str | None
    namespace: str | None
    flowId: str | None


class Misc:
    """Answers these."""

    def __init__(self, engine: Engine, saving: Saving) -> None:
        self._engine = engine
        self._saving = saving

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route(
                "GET",
                "/configs",
                self.configuration,
                role=Role.VIEWER,
                each=True,
                summary="Get what a client must know of the server",
                returns=(Returns(200, Configuration),),
                refuses=(),
            ),
            Route(
                "GET",
                "/concurrency-limit/search",
                self.limits,
                role=Role.VIEWER,
                each=True,
                summary="List the flows with a concurrency limit, and how many of their executions hold a slot",
                query=PAGING,
                returns=(Returns(200, ConcurrencyLimits),),
                refuses=(),
            ),
            Route(
                "PUT",
                "/concurrency-limit/{namespace}/{flow_id}",
                self.settle,
                role=Role.OPERATOR,
                summary="Give out the free slots of a flow; how many are held follows from its executions alone",
                bodies=(Body(Running),),
                returns=(Returns(200, ConcurrencyLimit),),
                refuses=(404, 422),
            ),
        )

    def configuration(self, _request: Request) -> Response:
        """Return what is so."""
        found: Configuration = {
            "version": version("headrace"),
            "edition": "OSS",
            "systemNamespace": SYSTEM,
            "hiddenLabelsPrefixes": ["system."],
            "isTaskRunEnabled": False,
            "isTemplateEnabled": True,
            "isAnonymousUsageEnabled": False,
            "isUiAnonymousUsageEnabled": False,
            "isAiEnabled": False,
            "isCustomDashboardsEnabled": False,
            "isConcurrencyViewEnabled": True,
        }
        return json_response(found)

    def limits(self, request: Request) -> Response:
        """Return flows with a limit by page."""
        page = page_of(request, ("namespace", "flowId"))
        found = []
        for prefix in within(request, Role.VIEWER):
            for flow in self._engine.stores.flows.list(prefix):
                if _LIMITED.search(flow.source) and self._limit(flow.namespace, flow.id) is not None:
                    found.append((flow.namespace, flow.id))
        found = page.sorted(sorted(found), lambda name, field: name[field == "flowId"])
        return json_response({"results": [self._view(*name) for name in page.of(found)], "total": len(found)})

    def settle(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Give out free slots. Raises ApiError 422 for another count than there is: nobody can set it."""
        sent: Running = request.json(Running)
        self._engine.flow_of(namespace, flow_id)
        self._saving.settle(namespace, flow_id)
        view = self._view(namespace, flow_id)
        if sent.get("running") not in (None, view["running"]):
            why = f"{view['running']} executions hold a slot; end one to make room"
            raise ApiError(422, f"Illegal argument: `running` cannot be set: {why}", [(why, "running")])
        return json_response(view)

    def _limit(self, namespace: str, flow_id: str) -> int | None:
        try:
            concurrency = self._engine.flow_of(namespace, flow_id).definition.concurrency
        except (FlowError, NoSuchFlowError):
            return None
        return concurrency.limit if concurrency is not None else None

    def _view(self, namespace: str, flow_id: str) -> ConcurrencyLimit:
        slots = self._engine.stores.slots.state(f"{namespace}/{flow_id}")
        view: ConcurrencyLimit = {
            "tenantId": "main",
            "namespace": namespace,
            "flowId": flow_id,
            "running": len(slots.holders),
            "queued": len(slots.queue),
        }
        limit = self._limit(namespace, flow_id)
        if limit is not None:
            view["limit"] = limit
        return view
