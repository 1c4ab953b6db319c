"""What a person may ask of an execution, and when it is refused (reference §5.2 to §5.5).

Each operation looks at the state, refuses what does not apply with the error the API answers with, and returns the
message that asks the core. The core checks again: between the look and the message the execution may have moved on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace_engine.core.decide import SETTABLE
from headrace_engine.core.events import ExecutionCreated, Reopened
from headrace_engine.core.messages import (
    ChangeState,
    Create,
    ForceRun,
    Hold,
    Kill,
    Message,
    Restart,
    Resume,
    SetLabels,
)
from headrace_engine.core.restart import NothingToRestartError, Reopening, after_failure, copies, copy_id, from_task_run
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.attempt import Inline
from headrace_engine.model.ids import new_id
from headrace_engine.model.state import State

if TYPE_CHECKING:
    from headrace_engine.engine import Engine

RESUMES_TO = frozenset({State.RUNNING, State.SUCCESS, State.WARNING, State.FAILED, State.CANCELLED, State.KILLED})


_ENDS = frozenset({State.FAILED, State.CANCELLED, State.KILLED})


class IllegalStateError(ValueError):
    """The execution's state does not allow it (HTTP 409)."""


class NotEndedError(ValueError):
    """The execution must have ended for it (HTTP 400)."""


class UnprocessableError(ValueError):
    """What is asked makes no sense for this execution (HTTP 422)."""


class Operations:
    """The operations on executions of one engine."""

    def __init__(self, engine: Engine, make_id: Callable[[], str] = new_id) -> None:
        """Take the engine; make_id names the executions that a replay makes."""
        self._engine = engine
        self._make_id = make_id

    def kill(self, state: ExecutionState, *, cascade: bool = True) -> Message:
        """Stop everything; with *cascade* what it started, too. Raises IllegalStateError when it has ended."""
        if state.state.is_terminal:
            raise IllegalStateError(f"Illegal state: execution is already finished, it is in state {state.state}")
        return Kill(cascade=cascade)

    def pause(self, state: ExecutionState) -> Message:
        """Start nothing new. Raises UnprocessableError unless it is RUNNING."""
        if state.state is not State.RUNNING:
            raise UnprocessableError(f"Illegal argument: the execution is not running, it is in state {state.state}")
        return Hold()

    def resume(
        self,
        state: ExecutionState,
        inputs: Mapping[str, Any] | None = None,
        *,
        task_run_id: str | None = None,
        to: State = State.RUNNING,
        by: str | None = None,
    ) -> Message:
        """Go on with the first Pause that waits, or the one named, with its onResume inputs.

        Who ends it there (FAILED, CANCELLED, KILLED) need not give any.
        Raises IllegalStateError unless it is PAUSED; InputError for the inputs; UnprocessableError for the rest.
        """
        # A Pause in afterExecution waits while the execution has its end state already.
        if state.state is not State.PAUSED and not (state.state.is_terminal and state.paused):
            raise IllegalStateError(f"Illegal state: execution is not paused, it is in state {state.state}")
        if to not in RESUMES_TO:
            raise UnprocessableError(f"Illegal argument: an execution cannot be resumed to {to}")
        waiting = sorted(state.paused, key=lambda run_id: state.task_runs[run_id].order)
        if task_run_id is not None and task_run_id not in waiting:
            raise UnprocessableError(f"Illegal argument: no task run `{task_run_id}` is paused")
        if not waiting and to is not State.RUNNING:
            raise UnprocessableError(
                f"Illegal argument: no Pause task waits that could be resumed to {to}; "
                "the execution was paused as a whole, and can be resumed to RUNNING, or killed"
            )
        if not waiting:
            return ForceRun()  # not Resume: coming twice, that would end the next Pause
        task_run = state.task_runs[task_run_id or waiting[0]]
        definitions = state.flow.tasks[task_run.task_id].inputs
        if to in _ENDS:
            definitions = tuple(replace(each, required=False) for each in definitions)
        read = self._engine.read_task_inputs(state, task_run, definitions, inputs or {})
        now = self._engine.stores.clock.now()
        outputs = {
            "onResume": read,
            "resumed": {"by": by, "on": now.isoformat().replace("+00:00", "Z"), "to": to.value},
        }
        return Resume(task_run.id, to, Inline(outputs))

    def force_run(self, state: ExecutionState) -> Message:
        """Run now; with the first Pause that waits, if one does. Raises UnprocessableError when it has ended."""
        if state.state.is_terminal:
            raise UnprocessableError(f"Illegal argument: the execution has ended, it is in state {state.state}")
        if state.state is State.PAUSED and state.paused:  # named, so that a message that comes twice resumes one
            return Resume(min(state.paused, key=lambda run_id: state.task_runs[run_id].order))
        return ForceRun()

    def unqueue(self, state: ExecutionState, to: State = State.RUNNING) -> Message:
        """Take it out of the queue: to run now, or to end. Raises UnprocessableError unless it is QUEUED."""
        if state.state is not State.QUEUED:
            raise UnprocessableError(f"Illegal argument: the execution is not queued, it is in state {state.state}")
        if to is State.RUNNING:
            return ForceRun()
        if to in (State.CANCELLED, State.FAILED):
            return ChangeState(to, moves=len(state.histories))
        raise UnprocessableError(f"Illegal argument: an execution cannot be unqueued to {to}")

    def restart(self, state: ExecutionState) -> Message:
        """Run again what failed. Raises IllegalStateError while it goes on, UnprocessableError when nothing failed."""
        self._must_rest(state)
        self._reopening(lambda: after_failure(state))
        return Restart(moves=len(state.histories))

    def change_state(self, state: ExecutionState, task_run_id: str, to: State) -> Message:
        """Set a task run's state and go on from there. Raises as restart."""
        self._must_rest(state)
        if to not in SETTABLE:
            raise UnprocessableError(f"Illegal argument: a task run cannot be set to {to}")
        self._reopening(lambda: from_task_run(state, task_run_id, keep=True))
        return ChangeState(to, task_run_id, len(state.histories))

    def change_status(self, state: ExecutionState, to: State) -> Message:
        """Set the end state by hand. Raises IllegalStateError unless both are ends."""
        if not state.state.is_terminal or not to.is_terminal:
            raise IllegalStateError(f"Illegal state: the state cannot be changed by hand from {state.state} to {to}")
        return ChangeState(to, moves=len(state.histories))

    def set_labels(self, state: ExecutionState, labels: Mapping[str, str]) -> Message:
        """Add labels, or override them.

        Raises NotEndedError until it has ended, UnprocessableError for the system's.
        """
        reserved = sorted(key for key in labels if key.startswith("system."))
        if reserved:
            raise UnprocessableError(f"Illegal argument: System labels can only be set by Kestra itself: {reserved[0]}")
        if not state.state.is_terminal:
            raise NotEndedError(f"The execution is not terminated, it is in state {state.state}")
        return SetLabels(dict(labels))

    def restart_on(self, state: ExecutionState, revision: int) -> tuple[str, Create]:
        """Run again what failed, as a new execution on another revision (reference §5.2)."""
        self._must_rest(state)
        return self._copy(state, self._reopening(lambda: after_failure(state)), revision, None)

    def replay(
        self,
        state: ExecutionState,
        task_run_id: str | None = None,
        *,
        revision: int | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> tuple[str, Create]:
        """Return the id and first message of a new execution that begins at *task_run_id*, or at the beginning.

        inputs, when given, replace those of the execution and are checked as for any new one.
        """
        self._must_rest(state)
        if task_run_id is None:
            execution_id = self._make_id()
            return execution_id, Create(self._follower(state, execution_id, revision, inputs))
        found = self._reopening(lambda: from_task_run(state, task_run_id))
        return self._copy(state, found, revision, inputs, task_run_id)

    def _copy(
        self,
        state: ExecutionState,
        found: Reopening,
        revision: int | None,
        inputs: Mapping[str, Any] | None,
        begins_at: str | None = None,
    ) -> tuple[str, Create]:
        execution_id = self._make_id()
        created = self._follower(state, execution_id, revision, inputs)
        is_same = state.created is not None and _runs(created) == _runs(state.created)
        same = state.flow if is_same else self._engine.flow_for(created)
        try:
            task_runs, moved = copies(state, found, execution_id, same)
        except NothingToRestartError as error:
            raise UnprocessableError(f"Illegal argument: {error}") from None
        first = None
        if begins_at is not None and state.flow.tasks[state.task_runs[begins_at].task_id].kind.is_flowable:
            first = copy_id(execution_id, begins_at)
        reopened = Reopened(moved.restarted, moved.reopened, (), begins_at=first)
        return execution_id, Create(created, task_runs, reopened)

    def _follower(
        self, state: ExecutionState, execution_id: str, revision: int | None, inputs: Mapping[str, Any] | None
    ) -> ExecutionCreated:
        created = state.created
        if created is None:
            raise UnprocessableError("Illegal argument: the execution has no entries yet")
        follower = replace(
            created,
            flow_revision=revision or created.flow_revision,
            labels=(*(pair for pair in created.labels if pair[0] != "system.replay"), ("system.replay", "true")),
            parent_id=state.id,
            original_id=created.original_id or state.id,
            start_at=None,
            reply_to=None,
        )
        definition = self._engine.flow_of(created.namespace, created.flow_id, follower.flow_revision).definition
        if revision:
            follower = replace(follower, templates=self._engine.pin(definition))
        if inputs is not None:
            follower = replace(follower, inputs=self._engine.read_flow_inputs(definition, execution_id, inputs))
        return replace(follower, variables=dict(definition.variables) if revision else created.variables)

    def _must_rest(self, state: ExecutionState) -> None:
        if not (state.closed or state.state is State.PAUSED) or state.open_attempts:
            raise IllegalStateError(
                f"Illegal state: execution must be terminated or paused to be restarted, it is in state {state.state}"
            )

    def _reopening(self, find: Callable[[], Reopening]) -> Reopening:
        try:
            return find()
        except NothingToRestartError as error:
            raise UnprocessableError(f"Illegal argument: {error}") from None


def _runs(created: ExecutionCreated) -> tuple[int, object]:
    return created.flow_revision, created.templates
