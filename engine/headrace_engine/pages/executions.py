"""The page of one execution: its task runs, times, logs, outputs and files; and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.http import Answer, Request, Response
from headrace_engine.api.route import Route
from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State
from headrace_engine.pages.forms import arrives
from headrace_engine.pages.gantt import WIDE, rows
from headrace_engine.pages.html import files_in, page
from headrace_engine.pages.posted import posted
from headrace_engine.pages.proof import Proof
from headrace_engine.ports import LogQuery

_RUNS = 200
"""Task runs of a page."""
_LINES = 500
"""Log lines of a page; the newest."""
_RESTARTED = frozenset({State.FAILED, State.KILLED, State.CANCELLED, State.WARNING})


@dataclass(frozen=True, slots=True)
class Action:
    """A button."""

    verb: str
    label: str
    about: str


_ACTIONS: tuple[tuple[Action, Callable[[ExecutionState], bool]], ...] = (
    (Action("kill", "Kill", "Stop everything"), lambda state: not state.state.is_terminal),
    (Action("pause", "Pause", "Start nothing new"), lambda state: state.state is State.RUNNING),
    (
        Action("resume", "Resume", "Go on"),
        lambda state: state.state is State.PAUSED and not state.paused,
    ),
    (
        Action("force-run", "Run now", "Run whatever it waits for"),
        lambda state: state.state in (State.CREATED, State.QUEUED),
    ),
    (
        Action("restart", "Restart", "Run again what failed"),
        lambda state: state.closed and state.state in _RESTARTED and not state.open_attempts,
    ),
    (Action("replay", "Replay", "Run again as a new execution"), lambda state: state.closed),
)


class ExecutionPages:
    """Answers requests about one execution."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one, operations = "/executions/{execution_id}", self._asking.operations
        asked: Mapping[str, Callable[[ExecutionState], Message]] = {
            "kill": operations.kill,
            "pause": operations.pause,
            "resume": operations.resume,
            "force-run": operations.force_run,
            "restart": operations.restart,
        }
        return (
            Route("GET", one, self.show, role=Role.VIEWER),
            *(
                Route("POST", f"{one}/{verb}", partial(self._ask, operation), role=Role.OPERATOR)
                for verb, operation in asked.items()
            ),
            Route("POST", f"{one}/replay", self.replay, role=Role.OPERATOR),
        )

    def show(self, request: Request, execution_id: str) -> Response:
        """Show an execution."""
        state = self._asking.state(execution_id)
        engine, now = self._engine, self._engine.stores.clock.now()
        begin = request.number("taskRunOffset", 0, least=0)
        runs = state.in_order()
        shown = runs[begin : begin + _RUNS]
        outputs = {run.id: self._loaded(run.outputs) for run in shown if run.outputs is not None}
        query = LogQuery(execution_id=execution_id)
        lines = list(engine.stores.logs.search(query, limit=_LINES).found)[::-1]
        definition, created = state.flow.definition, state.created
        principal = request.principal
        may_act = principal is not None and principal.may(Role.OPERATOR, definition.namespace)
        proof = Proof(request)
        inputs = self._loaded(created.inputs) if created is not None else {}
        ended = self._loaded(state.outputs)
        return page(
            "execution.html",
            200,
            proof.headers,
            flow=definition,
            execution=state,
            created=created,
            start=state.histories[0][1],
            end=state.histories[-1][1] if state.state.is_terminal else None,
            seconds=_seconds(state, now),
            inputs=inputs,
            outputs=ended,
            rows=rows(state, shown, outputs, now),
            wide=WIDE,
            offset=begin,
            size=_RUNS,
            total=len(runs),
            lines=lines,
            are_all_lines=len(lines) < _LINES,
            files=files_in([inputs, ended, list(outputs.values())]),
            waiting=sorted((state.task_runs[each] for each in state.paused), key=lambda run: run.order),
            actions=[action for action, applies in _ACTIONS if applies(state)] if may_act else [],
            may_act=may_act,
            may_start=principal is not None and principal.may(Role.EDITOR, definition.namespace),
            proof=proof,
            principal=principal,
        )

    def _loaded(self, payload: Any) -> Any:
        return self._engine.payloads.load(payload) if payload is not None else None

    def _ask(self, operation: Callable[[ExecutionState], Message], request: Request, execution_id: str) -> Answer:
        """Ask something of an execution, and show it when that is on record."""
        with posted(request) as form:
            Proof(request).demand(form.texts)
        before = self._asking.ask(execution_id, operation)
        return arrives(self._engine, execution_id, before.seq)

    def replay(self, request: Request, execution_id: str) -> Answer:
        """Begin a new execution with what this one was given; show that one."""
        with posted(request) as form:
            Proof(request).demand(form.texts)
            task_run_id = form.one("taskRunId") or None
        copy_id, create = self._asking.operations.replay(self._asking.state(execution_id), task_run_id)
        request.note(f"execution {copy_id}")
        self._asking.send(copy_id, create)
        return arrives(self._engine, copy_id)


def _seconds(state: ExecutionState, now: datetime) -> float:
    last_state, last = state.histories[-1]
    end = last if last_state.is_terminal or last_state is State.PAUSED else max(now, last)
    return max((end - state.histories[0][1]) / timedelta(seconds=1), 0.0)
