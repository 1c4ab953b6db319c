"""Stands before the engine's Preparer in a test: a fixture answers in the place of the task run it is for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace_engine.core.commands import Reply
from headrace_engine.core.events import ExecutionCreated, LogRecord
from headrace_engine.core.messages import Given, Pauses, Prepare, Question, Skipped
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.engine import Engine, UnsupportedError
from headrace_engine.expressions import ExpressionError, truthy
from headrace_engine.model.attempt import AttemptResult, Payload
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.state import State
from headrace_engine.prepare import Prepared
from headrace_engine.testing.flow_tests.rendering import render
from headrace_engine.testing.flow_tests.suite import TaskFixture


class FixtureError(ValueError):
    """A fixture cannot be used: the test case cannot be run."""


class FixtureAnswerer:
    """An executor.Answerer: the engine's own, but for the task runs that have a fixture.

    The flow itself is what is tested, so a task's runIf is looked at first, and its flags apply to the state that the
    fixture says. A task type this version cannot run fails when its turn comes without a fixture.
    """

    def __init__(self, engine: Engine, fixtures: Sequence[TaskFixture], execution_id: str) -> None:
        self._engine = engine
        self._inner = engine.preparer
        self._fixtures = fixtures
        self._first = execution_id
        self.executions: dict[str, None] = {}
        """The executions under test in the order they began: more than one when a retry starts over."""
        self.waiting: list[tuple[str, str]] = []
        """The Pauses that wait for a person: the ids of execution and task run."""

    def answer(
        self, state: ExecutionState, question: Question, now: datetime, lines: Sequence[LogRecord] = ()
    ) -> Prepared:
        """See Preparer.answer. Raises FixtureError."""
        if self._is_under_test(state):
            self.executions[state.id] = None
        if isinstance(question, Prepare):
            stand_in = self._stand_in(state, state.task_runs[question.task_run_id], now)
            if stand_in is not None:
                return stand_in
        prepared = self._inner.answer(state, question, now, lines)
        if isinstance(prepared.answer, Pauses) and (prepared.answer.seconds is None or prepared.answer.is_timeout):
            self.waiting.append((state.id, prepared.answer.task_run_id))
        return prepared

    def item(self, state: ExecutionState, task_run_id: str, index: int, now: datetime) -> ExecutionCreated:
        """See Preparer.item."""
        return self._inner.item(state, task_run_id, index, now)

    def broken_sla(self, state: ExecutionState, now: datetime) -> str | None:
        """See Preparer.broken_sla."""
        return self._inner.broken_sla(state, now)

    def child_result(self, state: ExecutionState, reply: Reply, now: datetime) -> AttemptResult:
        """See Preparer.child_result."""
        return self._inner.child_result(state, reply, now)

    def _is_under_test(self, state: ExecutionState) -> bool:
        original = state.created.original_id if state.created is not None else None
        return self._first in (state.id, original)

    def _stand_in(self, state: ExecutionState, run: TaskRun, now: datetime) -> Prepared | None:
        """Return what answers in the place of the task run; None when it is to run."""
        fixture = self._fixture(run) if self._is_under_test(state) else None
        unsupported = state.flow.tasks[run.task_id].unsupported
        if (fixture is None and unsupported is None) or not self._would_run(state, run, now):
            return None
        if fixture is not None:
            return self._given(fixture, state, run, now)
        return _failed(run, f"{unsupported} In a test it needs a fixture.", now)

    def _fixture(self, run: TaskRun) -> TaskFixture | None:
        """Return the fixture for the value of the loop around the task run, else the one for all values."""
        value = run.value if run.value is not None else next(reversed(run.path), None)
        of_task = {fixture.value: fixture for fixture in self._fixtures if fixture.task_id == run.task_id}
        return of_task.get(value) or of_task.get(None)

    def _would_run(self, state: ExecutionState, run: TaskRun, now: datetime) -> bool:
        """Return whether runIf lets it; where it cannot be rendered, the engine's own answer says so."""
        condition = state.flow.tasks[run.task_id].run_if
        if condition is None:
            return True
        host = self._inner.host(state, now)
        try:
            return truthy(self._engine.expressions.render(condition, self._inner.variables(state, run, host), host))
        except ExpressionError:
            return False

    def _given(self, fixture: TaskFixture, state: ExecutionState, run: TaskRun, now: datetime) -> Prepared:
        if fixture.state is State.SKIPPED:
            return Prepared(Skipped(run.id))
        engine, size = self._engine, 200
        payload: Payload | None = None
        if fixture.outputs is not None:
            host = self._inner.host(state, now)
            variables = self._inner.variables(state, run, host)
            try:
                outputs = render(engine.expressions, fixture.outputs, variables, host)
            except ExpressionError as error:
                raise FixtureError(
                    f"The outputs of the fixture for the task `{fixture.task_id}` cannot be rendered: {error}"
                ) from None
            payload, size = engine.payloads.make(
                outputs, self._inner.folder(state), engine.settings.output_inline_limit
            )
        if fixture.state is State.FAILED:
            return _failed(run, "The test's fixture says FAILED", now, payload)
        return Prepared(Given(run.id, AttemptResult(fixture.state, now, now, payload)), size=size)


def _failed(run: TaskRun, error: str, now: datetime, outputs: Payload | None = None) -> Prepared:
    record = LogRecord(now, "ERROR", error, run.id, len(run.attempts))
    return Prepared(Given(run.id, AttemptResult(State.FAILED, now, now, outputs, error)), logs=(record,))


def refuse_in_a_test(definition: FlowDefinition) -> None:
    """Raise UnsupportedError for what no fixture can stand in for; tasks are refused when their turn comes."""
    if definition.unsupported:
        raise UnsupportedError("\n".join(definition.unsupported))
