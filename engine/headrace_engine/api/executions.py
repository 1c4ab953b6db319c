"""Executions (reference §14.3): begun, looked at, followed, and what a person asks of one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import msgspec

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.execution_filters import EXECUTION_QUERY, execution_order, execution_query, instant_of
from headrace_engine.api.execution_views import (
    TASK_RUNS,
    ExecutionPageView,
    ExecutionView,
    Label,
    coming_view,
    execution_view,
    summary_view,
)
from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.flow_views import FlowView, flow_view, shown
from headrace_engine.api.gate import demand, within
from headrace_engine.api.graph import Graph, flow_graph
from headrace_engine.api.http import EVENTS, Answer, ApiError, Later, Request, Response, Stream, json_response, parts
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.core.messages import Create
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import CORRELATION_LABEL, Engine, NoSuchExecutionError, NoSuchFlowError
from headrace_engine.identity import Role
from headrace_engine.known import Known, read_journal
from headrace_engine.language.source import written
from headrace_engine.model.search import Condition, ExecutionQuery, Operation
from headrace_engine.model.state import State
from headrace_engine.operations import NotEndedError
from headrace_engine.ports import ExecutionSummary, FlowSource, SearchTooWideError

_BEGINS = timedelta(seconds=5)
"""How long an answer waits for what was asked to be on record."""
_WAITS = timedelta(seconds=25)
"""How long `wait` waits where API Gateway gives up after 30 seconds."""
_WAITS_HERE = timedelta(hours=1)
_ALIVE = timedelta(seconds=15)
"""Who follows hears something so often: what stands between takes silence for a broken connection."""
_MOST_NAMED = 100

INPUTS = Body(dict[str, Any], "multipart/form-data", required=False)
"""A part an input; a file's part has the input's id as its name, or the name `files` and the id as its file's."""


class InputAnswer(TypedDict):
    """What is to be said of an input that somebody would give."""

    input: dict[str, Any]
    value: Any
    enabled: bool
    isDefault: bool
    errors: list[dict[str, str]]


class CheckAnswer(TypedDict):
    """A check of the flow that the inputs fail."""

    message: str
    style: str
    behavior: str


class Validation(TypedDict):
    """What is to be said of inputs, before an execution has them."""

    id: str
    namespace: str
    inputs: list[InputAnswer]
    checks: list[CheckAnswer]


class TaskRunState(TypedDict):
    """Which state a task run is to have."""

    taskRunId: str
    state: State


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
    """Answers requests about executions."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        self._stores = engine.stores
        self._operations = asking.operations

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (*self._beginning(), *self._looking(), *self._asked())

    def _beginning(self) -> tuple[Route, ...]:
        query = (
            Query("labels", list[str], "`key:value` of a label that the execution gets."),
            Query("wait", bool, "Whether to answer when it has ended."),
            Query("revision", int, "Which revision of the flow; the latest unless told."),
            Query("scheduleDate", str, "An ISO instant before which nothing runs."),
            Query("kind", str, "NORMAL: there are no others."),
        )
        returns = (
            Returns(200, ExecutionView),
            Returns(202, ExecutionView, about="It goes on longer than `wait` waits; `location` says where to look."),
        )
        begin = [
            Route(
                "POST",
                f"/executions{prefix}/{{namespace}}/{{flow_id}}",
                self.create,
                role=Role.EDITOR,
                summary=summary,
                query=query,
                bodies=(INPUTS,),
                returns=returns,
                refuses=(404, 422),
            )
            for prefix, summary in (("", "Start an execution"), ("/trigger", "Start an execution, by its old path"))
        ]
        return (
            *begin,
            Route(
                "POST",
                "/executions/{namespace}/{flow_id}/validate",
                self.validate,
                role=Role.EDITOR,
                changes=False,
                summary="Check the inputs of an execution that is not started",
                bodies=(INPUTS,),
                returns=(Returns(200, Validation),),
                refuses=(404, 422),
            ),
        )

    def _looking(self) -> tuple[Route, ...]:
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
                    Returns(200, str, EVENTS),
                    Returns(204, about="Whoever asks has heard the end already, as `Last-Event-ID` says."),
                ),
                refuses=(404,),
            ),
        )

    def _asked(self) -> tuple[Route, ...]:  # one row a route
        one = "/executions/{execution_id}"
        execution = (Returns(200, ExecutionView),)
        revision = Query("revision", int, "Which revision of the flow; that of the execution unless told.")
        task_run = Query("taskRunId", str, "Where it begins again; at the beginning unless told.")
        rows: tuple[tuple[str, str, Callable[..., Answer], str, tuple[Query, ...], tuple[Body, ...], Any], ...] = (
            ("DELETE", "kill", self.kill, "Kill an execution", (_CASCADE,), (), (Returns(202),)),
            ("POST", "pause", self.pause, "Start nothing new in an execution", (), (), execution),
            ("POST", "resume", self.resume, "Go on with what is paused", (), (INPUTS,), (Returns(204),)),
            ("POST", "restart", self.restart, "Run again what failed", (revision,), (), execution),
            ("POST", "replay", self.replay, "Run again as a new execution", (task_run, revision), (), execution),
            (
                "POST",
                "replay-with-inputs",
                self.replay_with_inputs,
                "Run again as a new execution, with other inputs",
                (task_run, revision),
                (INPUTS,),
                execution,
            ),
            ("POST", "force-run", self.force_run, "Run now, whatever it waits for", (), (), execution),
            (
                "POST",
                "unqueue",
                self.unqueue,
                "Take an execution out of the queue",
                (Query("state", State, "RUNNING, CANCELLED or FAILED; RUNNING unless told."),),
                (),
                execution,
            ),
            ("POST", "state", self.change_state, "Set the state of a task run", (), (Body(TaskRunState),), execution),
            (
                "POST",
                "change-status",
                self.change_status,
                "Set the end state of an execution",
                (Query("status", State, required=True),),
                (),
                execution,
            ),
            ("POST", "labels", self.set_labels, "Add labels to an execution that has ended", (), (_LABELS,), execution),
        )
        return (
            *(
                Route(
                    method,
                    f"{one}/{verb}",
                    answer,
                    role=Role.OPERATOR,
                    summary=summary,
                    query=query,
                    bodies=bodies,
                    returns=returns,
                )
                for method, verb, answer, summary, query, bodies, returns in rows
            ),
            Route(
                "POST",
                f"{one}/resume/validate",
                self.validate_resume,
                role=Role.OPERATOR,
                changes=False,
                summary="Check the inputs that what is paused would be resumed with",
                bodies=(INPUTS,),
                returns=(Returns(200, Validation),),
            ),
        )

    # -- Begun ----------------------------------------------------------------------------------------

    def create(self, request: Request, namespace: str, flow_id: str) -> Answer:
        """Start an execution; with `wait`, answer when it has ended."""
        if request.one("kind") not in (None, "", "NORMAL"):
            raise ApiError(422, "Illegal argument: every execution is of the kind NORMAL")
        if request.one("breakpoints"):
            raise ApiError(422, "Illegal argument: breakpoints are not supported")
        labels = labels_given(request)
        revision = revision_of(request)
        start_at = instant_of(request.one("scheduleDate"), "scheduleDate")
        waits = request.flag("wait")
        with inputs_given(request) as inputs:
            execution_id, created = self._engine.new_execution(
                namespace, flow_id, inputs, labels=labels, revision=revision
            )
        request.note(f"execution {execution_id}")
        self._asking.send(execution_id, Create(replace(created, start_at=start_at)))
        now = self._stores.clock.now()
        until = now + (_BEGINS if not waits else _WAITS_HERE if request.streams else _WAITS)
        location = {"location": f"/api/v1/main/executions/{execution_id}"}

        def look() -> Response | None:
            state = self._engine.platform.state(execution_id)
            is_over = self._stores.clock.now() >= until
            if state is not None and (state.closed or not waits or is_over):
                return json_response(self._view(request, state), 202 if waits and not state.closed else 200, location)
            if is_over:  # on its way: the mailbox has it
                return json_response(coming, 202, location)
            return None

        # Who asks a server that stops must not think that there is no execution, and make another.
        coming = coming_view(self._engine, execution_id, namespace, flow_id, created.flow_revision)
        return Later(look, (execution_id,), json_response(coming, 202, location))

    def validate(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Check inputs; nothing is stored."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        with inputs_given(request) as inputs:
            answers, failed = self._engine.validate_flow_inputs(definition, inputs)
        declared = written(self._existing(namespace, flow_id, definition.revision).source).get("inputs")
        checks = [
            {"message": each.message, "style": str(each.style), "behavior": str(each.behavior)} for each in failed
        ]
        return json_response(
            {
                "id": flow_id,
                "namespace": namespace,
                "inputs": _input_answers(answers, declared),
                "checks": checks,
            }
        )

    # -- Looked at ------------------------------------------------------------------------------------

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
        return json_response(flow_view(self._existing(namespace, flow_id, revision_of(request))))

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
                lambda created: self._engine.flow_of(created.namespace, created.flow_id, created.flow_revision),
            )
        for entry in journal.entries(execution_id, after=known.state.seq):
            known = known.after(entry)
        return known

    def _event(self, request: Request, state: ExecutionState) -> bytes:
        name = "end" if state.closed else "progress"
        data = msgspec.json.encode(self._view(request, state))
        return f"id: {name}\nevent: {name}\ndata: ".encode() + data + b"\n\n"

    # -- Asked of one -----------------------------------------------------------------------------------

    def kill(self, request: Request, execution_id: str) -> Answer:
        """Stop everything, and what it started."""
        cascade = request.flag("isOnKillCascade", default=True)
        self._asking.ask(execution_id, lambda state: self._operations.kill(state, cascade=cascade))
        return Response(202)

    def pause(self, request: Request, execution_id: str) -> Answer:
        """Start nothing new."""
        return self._asked_for(request, execution_id, self._operations.pause)

    def resume(self, request: Request, execution_id: str) -> Answer:
        """Go on with the first Pause that waits; the body holds its `onResume` inputs."""
        by = request.principal.name if request.principal is not None else None
        with inputs_given(request) as given:
            self._asking.ask(execution_id, lambda state: self._operations.resume(state, given, by=by))
        return Response(204)

    def validate_resume(self, request: Request, execution_id: str) -> Response:
        """Check the inputs of the first Pause that waits; nothing is stored."""
        state = self._asking.state(execution_id)
        definition = state.flow.definition
        answers: list[dict[str, Any]] = []
        declared: Any = None
        waiting = sorted(state.paused, key=lambda run_id: state.task_runs[run_id].order)
        if waiting:
            task_run = state.task_runs[waiting[0]]
            with inputs_given(request) as given:
                answers = self._engine.validate_task_inputs(state, task_run, given)
            declared = [
                {"id": each.id, "type": each.type, "required": each.required}
                for each in state.flow.tasks[task_run.task_id].inputs
            ]
        return json_response(
            {
                "id": definition.id,
                "namespace": definition.namespace,
                "inputs": _input_answers(answers, declared),
                "checks": [],
            }
        )

    def restart(self, request: Request, execution_id: str) -> Answer:
        """Run again what failed; with another revision, as a new execution."""
        revision = revision_of(request)
        if revision is None:
            return self._asked_for(request, execution_id, self._operations.restart)
        return self._copied(request, self._operations.restart_on(self._asking.state(execution_id), revision))

    def replay(self, request: Request, execution_id: str) -> Answer:
        """Begin a new execution with what this one was given, at a task run or at the beginning."""
        if request.one("breakpoints"):
            raise ApiError(422, "Illegal argument: breakpoints are not supported")
        state = self._asking.state(execution_id)
        task_run, revision = request.one("taskRunId") or None, revision_of(request)
        return self._copied(request, self._operations.replay(state, task_run, revision=revision))

    def replay_with_inputs(self, request: Request, execution_id: str) -> Answer:
        """Begin a new execution with other inputs."""
        state = self._asking.state(execution_id)
        task_run, revision = request.one("taskRunId") or None, revision_of(request)
        with inputs_given(request) as given:
            copied = self._operations.replay(state, task_run, revision=revision, inputs=given or None)
        return self._copied(request, copied)

    def force_run(self, request: Request, execution_id: str) -> Answer:
        """Run now."""
        return self._asked_for(request, execution_id, self._operations.force_run)

    def unqueue(self, request: Request, execution_id: str) -> Answer:
        """Take it out of the queue."""
        to = state_asked(request, "state", State.RUNNING)
        return self._asked_for(request, execution_id, lambda state: self._operations.unqueue(state, to))

    def change_state(self, request: Request, execution_id: str) -> Answer:
        """Set the state of a task run, and go on from there."""
        asked = request.json(TaskRunState)
        return self._asked_for(
            request,
            execution_id,
            lambda state: self._operations.change_state(state, asked["taskRunId"], asked["state"]),
        )

    def change_status(self, request: Request, execution_id: str) -> Answer:
        """Set the end state."""
        to = state_asked(request, "status")
        return self._asked_for(request, execution_id, lambda state: self._operations.change_status(state, to))

    def set_labels(self, request: Request, execution_id: str) -> Answer:
        """Add labels, or override them."""
        labels = labels_of(request.json(list[Label]))
        state = self._asking.state(execution_id)
        if dict(state.labels) | labels == dict(state.labels) and state.state.is_terminal:
            return json_response(self._view(request, state))
        try:
            return self._asked_for(request, execution_id, lambda state: self._operations.set_labels(state, labels))
        except NotEndedError as error:
            raise ApiError(400, f"Bad request: {error}") from None

    def _asked_for(self, request: Request, execution_id: str, operation: Callable[[ExecutionState], Any]) -> Later:
        """Ask an execution for something, and answer with how it stands once that is on record."""
        before = self._asking.ask(execution_id, operation)
        return self._on_record(request, execution_id, before.seq)

    def _copied(self, request: Request, copied: tuple[str, Create]) -> Later:
        """Create a new execution, and answer with it once it is on record."""
        execution_id, create = copied
        request.note(f"execution {execution_id}")
        self._asking.send(execution_id, create)
        created = create.created
        coming = coming_view(self._engine, execution_id, created.namespace, created.flow_id, created.flow_revision)
        return self._on_record(request, execution_id, -1, coming)

    def _on_record(
        self, request: Request, execution_id: str, before: int, otherwise: Mapping[str, Any] | None = None
    ) -> Later:
        until = self._stores.clock.now() + _BEGINS

        def look() -> Response | None:
            state = self._engine.platform.state(execution_id)
            if state is not None and state.seq > before:
                return json_response(self._view(request, state))
            if self._stores.clock.now() < until:
                return None
            return json_response(otherwise if state is None else self._view(request, state))

        return Later(look, (execution_id,))

    # -- What they share --------------------------------------------------------------------------------

    def _view(self, request: Request, state: ExecutionState) -> dict[str, Any]:
        return execution_view(self._engine, state, 0, None if request.streams else TASK_RUNS)

    def _task_runs(self, request: Request) -> tuple[int, int | None]:
        begin = request.number("taskRunOffset", 0, least=0)
        asked = request.number("taskRunSize", 0) or None
        return begin, asked if request.streams else min(asked or TASK_RUNS, TASK_RUNS)

    def _source_of(self, state: ExecutionState) -> FlowSource:
        definition = state.flow.definition
        return self._existing(definition.namespace, definition.id, definition.revision)

    def _existing(self, namespace: str, flow_id: str, revision: int | None) -> FlowSource:
        stored = self._stores.flows.get(namespace, flow_id, revision)
        if stored is None or (stored.deleted and revision is None):
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        return stored


_CASCADE = Query("isOnKillCascade", bool, "Whether what it started is killed, too; true unless told.")
_LABELS = Body(list[Label])


def of_exactly(namespace: str, flow_id: str) -> ExecutionQuery:
    """Return what means the executions of one flow."""
    exactly = (Condition("namespace", Operation.EQUALS, (namespace,)),)
    return ExecutionQuery((namespace,), flow_id, conditions=exactly)


@contextmanager
def inputs_given(request: Request) -> Iterator[dict[str, Any]]:
    """Give the inputs of a body, a part each; files as paths that are there until the block is left."""
    given: dict[str, Any] = {}
    with ExitStack() as made:
        folder = ""
        for number, part in enumerate(parts(request)):
            if part.filename is None:
                given[part.name] = part.content.decode("utf-8", "replace")
                continue
            # Most bodies hold no file, and making a folder takes its time.
            folder = folder or made.enter_context(tempfile.TemporaryDirectory(prefix="headrace-"))
            name = Path(part.filename.replace("\0", "")).name[-200:] or "file"
            path = Path(folder) / str(number) / name
            path.parent.mkdir()
            part.save(path)
            given[part.filename if part.name == "files" else part.name] = path
        yield given


def labels_given(request: Request) -> dict[str, str]:
    """Return the labels that a query gives an execution. Raises ApiError 422."""
    labels = {}
    for given in request.query.get("labels", ()):
        key, separator, value = given.partition(":")
        if not key or not separator:
            raise ApiError(422, f"Invalid entity: a label is `key:value`, not `{given[:100]}`")
        if key.startswith("system.") and key != CORRELATION_LABEL:
            raise ApiError(422, f"Illegal argument: System labels can only be set by Kestra itself: {key[:100]}")
        labels[key] = value
    return labels


def labels_of(given: Sequence[Label]) -> dict[str, str]:
    """Return labels as a map. Raises ApiError 422 for what is none."""
    if any(not each["key"] or not each["value"] for each in given):
        raise ApiError(422, "Illegal argument: a label has a key and a value")
    return {each["key"]: each["value"] for each in given}


def revision_of(request: Request) -> int | None:
    """Return the revision that a query names. Raises ApiError 400."""
    revision = request.number("revision", 0)
    if revision >= 2**31:
        raise ApiError(400, "Bad request: there are not so many revisions")
    return revision or None


def state_asked(request: Request, name: str, default: State | None = None) -> State:
    """Return the state that a query names. Raises ApiError 400."""
    text = request.one(name) or default
    if text is None or text not in list(State):
        raise ApiError(400, f"Bad request: `{name}` is one of {', '.join(State)}")
    return State(text)


def _input_answers(answers: Sequence[Mapping[str, Any]], declared: Any) -> list[dict[str, Any]]:
    """Return what is said of each input, with what its author wrote of it."""
    own = {each.get("id"): each for each in declared or () if isinstance(each, dict)}
    return [
        {"input": shown(own.get(answer["id"], {"id": answer["id"]})), **_without(answer, "id")} for answer in answers
    ]


def _without(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}


__all__ = ["Executions", "NoSuchExecutionError"]
