"""What a person asks of an execution (reference §14.3): that it stop, wait, go on, or begin again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from headrace_engine.api.execution_asking import BEGINS, Asking
from headrace_engine.api.execution_filters import revision_of
from headrace_engine.api.execution_starts import INPUTS, Validation, input_answers, inputs_given, refuse_breakpoints
from headrace_engine.api.execution_views import ExecutionView, Label, coming_view, view_for
from headrace_engine.api.http import Answer, ApiError, Later, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.core.messages import Create
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.model.state import State
from headrace_engine.operations import IllegalStateError, NotEndedError


class TaskRunState(TypedDict):
    """Which state a task run is to have."""

    taskRunId: str
    state: State


class ExecutionVerbs:
    """Answers requests that ask something of one execution."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        self._stores = engine.stores
        self._operations = asking.operations

    def routes(self) -> tuple[Route, ...]:
        """Return the routes: one row each."""
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
                f"{one}/resume-from-breakpoint",
                self.resume_from_breakpoint,
                role=Role.OPERATOR,
                changes=False,
                summary="Refused: no execution stops at a breakpoint",
                returns=(),
                refuses=(404, 409),
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

    def resume_from_breakpoint(self, _request: Request, execution_id: str) -> Response:
        """Raise IllegalStateError: an execution is created with none, so it is at none."""
        state = self._asking.state(execution_id).state
        raise IllegalStateError(f"Illegal state: execution is at no breakpoint, it is in state {state}; there are none")

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
                "inputs": input_answers(answers, declared),
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
        refuse_breakpoints(request)
        state = self._asking.state(execution_id)
        task_run, revision = request.one("taskRunId") or None, revision_of(request)
        return self._copied(request, self._operations.replay(state, task_run, revision=revision))

    def replay_with_inputs(self, request: Request, execution_id: str) -> Answer:
        """Begin a new execution with other inputs."""
        refuse_breakpoints(request)
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
            return json_response(view_for(request, self._engine, state))
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
        until = self._stores.clock.now() + BEGINS

        def look() -> Response | None:
            state = self._engine.platform.state(execution_id)
            if state is not None and state.seq > before:
                return json_response(view_for(request, self._engine, state))
            if self._stores.clock.now() < until:
                return None
            return json_response(otherwise if state is None else view_for(request, self._engine, state))

        return Later(look, (execution_id,))


_CASCADE = Query("isOnKillCascade", bool, "Whether what it started is killed, too; true unless told.")
_LABELS = Body(list[Label])


def labels_of(given: Sequence[Label]) -> dict[str, str]:
    """Return labels as a map. Raises ApiError 422 for what is none."""
    if any(not each["key"] or not each["value"] for each in given):
        raise ApiError(422, "Illegal argument: a label has a key and a value")
    return {each["key"]: each["value"] for each in given}


def state_asked(request: Request, name: str, default: State | None = None) -> State:
    """Return the state that a query names. Raises ApiError 400."""
    text = request.one(name) or default
    if text is None or text not in list(State):
        raise ApiError(400, f"Bad request: `{name}` is one of {', '.join(State)}")
    return State(text)
