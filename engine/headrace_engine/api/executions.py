"""Executions (reference §14.3): looked at, searched, followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NotRequired, TypedDict

import msgspec

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.execution_filters import (
    EXECUTION_QUERY,
    execution_order,
    execution_query,
    of_exactly,
    revision_of,
)
from headrace_engine.api.execution_views import (
    TASK_RUNS,
    ExecutionPageView,
    ExecutionView,
    execution_view,
    summary_view,
    view_for,
)
from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.flow_views import FlowView, existing_flow, flow_view, shown
from headrace_engine.api.gate import demand, within
from headrace_engine.api.graph import Graph, flow_graph
from headrace_engine.api.http import EVENTS, Answer, ApiError, Request, Response, ServerEvent, Stream, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.known import Known, read_journal
from headrace_engine.language.source import written
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary, FlowSource, SearchTooWideError

_ALIVE = timedelta(seconds=15)
"""Who follows hears something so often: what stands between takes silence for a broken connection."""
_MOST_NAMED = 100


class Latest(TypedDict):
    """The latest execution of a flow."""

    id: str
    namespace: str
    flowId: str
    startDate: str
    status: State


class FlowAsked(TypedDict):
    """A flow whose latest execution is asked for."""

    namespace: str
    id: NotRequired[str]
    flowId: NotRequired[str]


class Executions:
    """Answers requests about executions as they stand."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        self._stores = engine.stores

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/executions/{execution_id}"
        task_runs = (
            Query("taskRunOffset", int, "From which of its task runs on."),
            Query("taskRunSize", int, "How many of them; where answers have a limit, no more than 2,000."),
        )
        flow = (Returns(200, FlowView),)
        reads = Role.VIEWER
        return (
            Route(
                "GET",
                "/executions/search",
                self.search,
                role=reads,
                each=True,
                summary="Search executions; the newest first unless told",
                query=(*PAGING, *EXECUTION_QUERY, Query("cursor", str, "The `next` of a page: what comes after it.")),
                returns=(Returns(200, ExecutionPageView),),
                refuses=(422,),
            ),
            Route(
                "GET",
                "/executions",
                self.of_flow,
                role=reads,
                each=True,
                summary="List the executions of a flow, the newest first",
                query=(*PAGING[:2], Query("namespace", str, required=True), Query("flowId", str, required=True)),
                returns=(Returns(200, ExecutionPageView),),
                refuses=(422,),
            ),
            Route(
                "POST",
                "/executions/latest",
                self.latest,
                role=reads,
                each=True,
                summary="Get the latest execution of each of these flows",
                bodies=(Body(list[FlowAsked]),),
                returns=(Returns(200, list[Latest]),),
                refuses=(422,),
            ),
            Route(
                "GET",
                "/executions/namespaces",
                self.namespaces,
                role=reads,
                each=True,
                summary="List the namespaces with flows that can be executed",
                returns=(Returns(200, list[str]),),
                refuses=(),
            ),
            Route(
                "GET",
                "/executions/namespaces/{namespace}/flows",
                self.flows,
                role=reads,
                summary="List the flows of a namespace that can be executed",
                returns=(Returns(200, list[FlowView]),),
                refuses=(),
            ),
            Route(
                "GET",
                "/executions/flows/{namespace}/{flow_id}",
                self.flow,
                role=reads,
                summary="Get a flow as executions see it",
                query=(Query("revision", int),),
                returns=flow,
                refuses=(404,),
            ),
            Route(
                "GET",
                one,
                self.get,
                role=reads,
                summary="Get an execution",
                query=task_runs,
                returns=(Returns(200, ExecutionView),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/flow",
                self.flow_of,
                role=reads,
                summary="Get the flow of an execution, in the revision it runs",
                returns=flow,
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/graph",
                self.graph,
                role=reads,
                summary="Get the flow of an execution as a graph, with task runs",
                query=(Query("subflows", list[str], "Not drawn here: the graph of a child is its own."),),
                returns=(Returns(200, Graph),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/follow",
                self.follow,
                role=reads,
                summary="Follow an execution by server-sent events, `progress` and `end`",
                returns=(
                    Returns(200, ServerEvent, EVENTS),
                    Returns(204, about="Whoever asks has heard the end already, as `Last-Event-ID` says."),
                ),
                refuses=(404,),
            ),
        )

    def get(self, request: Request, execution_id: str) -> Response:
        """Return an execution; one of very many task runs by pages, where a host cannot send it whole."""
        state = self._asking.state(execution_id)
        begin, size = self._task_runs(request)
        view = execution_view(self._engine, state, begin, size)
        headers = {}
        if size is not None and begin + size < len(state.task_runs):
            beyond = f"/api/v1/main/executions/{execution_id}?taskRunOffset={begin + size}&taskRunSize={size}"
            headers["link"] = f'<{beyond}>; rel="next"'
        return json_response(view, headers=headers)

    def search(self, request: Request) -> Response:
        """Return one page of what a query asks for."""
        query = execution_query(request, Role.VIEWER, self._stores.clock.now())
        return self._page(request, query)

    def of_flow(self, request: Request) -> Response:
        """Return one page of a flow's executions."""
        namespace, flow_id = request.one("namespace"), request.one("flowId")
        if not namespace or not flow_id:
            raise ApiError(400, "Bad request: `namespace` and `flowId` are needed")
        demand(request, Role.VIEWER, namespace)
        return self._page(request, of_exactly(namespace, flow_id))

    def _page(self, request: Request, query: ExecutionQuery) -> Response:
        page = page_of(request.without("sort"))
        after = request.one("cursor") or ""
        try:
            found = self._stores.executions.search(
                query,
                order=execution_order(request),
                limit=page.size,
                offset=0 if after else page.offset,
                after=after,
            )
        except SearchTooWideError as error:
            raise ApiError(422, f"Illegal argument: {error}") from None
        except ValueError:
            raise ApiError(400, "Bad request: `cursor` is what `next` of a page says") from None
        now = self._stores.clock.now()
        view: dict[str, Any] = {
            "results": [summary_view(each, now) for each in found.found],
            "total": found.total,
            "totalIsExact": found.is_exact,
        }
        if found.after:
            view["next"] = found.after
        return json_response(view)

    def latest(self, request: Request) -> Response:
        """Return the latest execution of each flow that has one."""
        asked = request.json(list[FlowAsked])
        if len(asked) > _MOST_NAMED:
            raise ApiError(422, f"Illegal argument: at most {_MOST_NAMED} flows can be asked for at once")
        found: list[ExecutionSummary] = []
        for each in asked:
            flow_id = each.get("id") or each.get("flowId")
            if flow_id is None:
                raise ApiError(422, "Illegal argument: a flow is named by `namespace` and `id`")
            demand(request, Role.VIEWER, each["namespace"])
            found += self._stores.executions.search(of_exactly(each["namespace"], flow_id), limit=1).found
        now = self._stores.clock.now()
        return json_response(
            [
                {
                    "id": each.id,
                    "namespace": each.namespace,
                    "flowId": each.flow_id,
                    "startDate": summary_view(each, now)["state"]["startDate"],
                    "status": each.state.value,
                }
                for each in found
            ]
        )

    def namespaces(self, request: Request) -> Response:
        """Return the namespaces that have flows."""
        names = {name[0] for prefix in within(request, Role.VIEWER) for name in self._stores.flows.names(prefix)}
        return json_response(sorted(names))

    def flows(self, _request: Request, namespace: str) -> Response:
        """Return a namespace's flows that are not disabled."""
        flows = self._stores.flows
        names = [name for name in flows.names(namespace) if name[0] == namespace]
        views = [flow_view(flow) for flow in flows.latest(names)]
        return json_response([view for view in views if not view["disabled"]])

    def flow(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return a flow."""
        return json_response(flow_view(existing_flow(self._stores.flows, namespace, flow_id, revision_of(request))))

    def flow_of(self, _request: Request, execution_id: str) -> Response:
        """Return the revision of its flow that an execution runs."""
        return json_response(flow_view(self._source_of(self._asking.state(execution_id))))

    def graph(self, _request: Request, execution_id: str) -> Response:
        """Return an execution's flow as a graph; a task's node has its latest run, and the states of all of them."""
        state = self._asking.state(execution_id)
        drawn = flow_graph(state.flow.definition, written(self._source_of(state).source))
        runs: dict[str, list[dict[str, Any]]] = {}
        for run in execution_view(self._engine, state)["taskRunList"]:
            runs.setdefault(run["taskId"], []).append({**run, "outputs": None})
        nodes = []
        for node in drawn["nodes"]:
            own = runs.get(node.get("task", {}).get("id", ""))
            states = [{"id": run["id"], "value": run["value"], "state": run["state"]} for run in own or ()]
            nodes.append({**node, "taskRun": own[-1], "taskRuns": states} if own else node)
        return json_response(shown({**drawn, "nodes": nodes}))

    def follow(self, request: Request, execution_id: str) -> Answer:
        """Return an execution as often as it changes, until it ends.

        Where a host cannot stream, an answer tells how it stands now and when to ask again.
        """
        if request.headers.get("last-event-id") == "end":
            return Response(204)  # tells a browser not to come back
        state = self._asking.state(execution_id)
        headers = {"content-type": EVENTS, "cache-control": "no-store", "x-accel-buffering": "no"}
        if not request.streams:
            retry = b"" if state.closed else b"retry: 1000\n"
            return Response(200, retry + self._event(request, state), headers)
        return Stream(200, self._events(request, execution_id), headers, (execution_id,))

    def _events(self, request: Request, execution_id: str) -> Iterator[bytes]:
        clock = self._stores.clock
        known: Known | None = None
        told = -1
        last = clock.now()
        while True:
            known = self._known(execution_id, known)
            if known is None:  # it was deleted
                return
            if known.state.seq > told:
                told, last = known.state.seq, clock.now()
                yield self._event(request, known.state)
            elif clock.now() - last >= _ALIVE:
                last = clock.now()
                yield b":\n\n"
            if known.state.closed:
                return
            yield b""

    def _known(self, execution_id: str, known: Known | None) -> Known | None:
        """Return what is known of an execution now, reading only what is new."""
        journal = self._stores.journal
        if known is None:
            return read_journal(
                journal,
                execution_id,
                self._engine.flow_for,
            )
        for entry in journal.entries(execution_id, after=known.state.seq):
            known = known.after(entry)
        return known

    def _event(self, request: Request, state: ExecutionState) -> bytes:
        name = "end" if state.closed else "progress"
        data = msgspec.json.encode(view_for(request, self._engine, state))
        return f"id: {name}\nevent: {name}\ndata: ".encode() + data + b"\n\n"

    # -- What they share --------------------------------------------------------------------------------

    def _task_runs(self, request: Request) -> tuple[int, int | None]:
        begin = request.number("taskRunOffset", 0, least=0)
        asked = request.number("taskRunSize", 0) or None
        return begin, asked if request.streams else min(asked or TASK_RUNS, TASK_RUNS)

    def _source_of(self, state: ExecutionState) -> FlowSource:
        definition = state.flow.definition
        return existing_flow(self._stores.flows, definition.namespace, definition.id, definition.revision)
