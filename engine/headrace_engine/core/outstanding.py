"""Which commands a state still calls for (DESIGN §3.3). Each is due until it is known to be out, and idempotent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace_engine.core.commands import Command, SetTimer, StartAttempt, StartExecution
from headrace_engine.core.events import AttemptStarted, Event, ExecutionCreated, LoopWaits, PauseBegan, RetryScheduled
from headrace_engine.core.fold import START_TIMER, loop_timer, pause_timer, retry_timer, sla_timer, sleep_timer
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.definition import Kind


def commands_of(state: ExecutionState, events: Iterable[Event]) -> Iterator[Command]:
    """Yield the commands of the entry that made *state*, given its events: what `outstanding` would yield above
    the entry before it, without looking at anything older."""
    for event in events:
        match event:
            case AttemptStarted() | RetryScheduled() if event.task_run_id not in state.task_runs:
                pass  # of a loop's round that is over
            case AttemptStarted():
                yield from _start(state, event.task_run_id, state.seq - 1)
                yield from _timer(state, sleep_timer(state.task_runs[event.task_run_id]))
            case PauseBegan():
                yield from _timer(state, pause_timer(state.task_runs[event.task_run_id]))
            case LoopWaits():
                # Gone again when the loop of the same step was ended by something else.
                if event.task_run_id in state.task_runs:
                    yield from _timer(state, loop_timer(state.task_runs[event.task_run_id]))
            case RetryScheduled():
                yield from _timer(state, retry_timer(state.task_runs[event.task_run_id]))
            case ExecutionCreated():
                yield from _timer(state, START_TIMER)
                for sla in state.flow.definition.slas:
                    yield from _timer(state, sla_timer(sla.id))
            case _:
                pass
    for pending in state.pending:
        if pending.since == state.seq:
            yield pending.command


def outstanding(state: ExecutionState, above: int = -1) -> Iterator[Command]:
    """Yield every command *state* still calls for that an entry later than *above* decided.

    With the watermark as *above*: what may not have gone out. With -1: all, for a runtime whose timers and
    workers died with its process.
    """
    for task_run_id in sorted(state.open_attempts, key=lambda run: state.task_runs[run].order):
        yield from _start(state, task_run_id, above)
    for key, (due, since) in sorted(state.timers.items()):
        if since > above:
            yield SetTimer(key, due)
    for pending in state.pending:
        if pending.since > above:
            yield pending.command


def _start(state: ExecutionState, task_run_id: str, above: int) -> Iterator[Command]:
    task_run = state.task_runs[task_run_id]
    attempt = task_run.open_attempt
    if attempt is None or attempt.kind is Kind.SLEEP:
        return
    if task_run_id in state.children:
        if attempt.since > above:
            yield StartExecution(*state.children[task_run_id])
    elif attempt.job is not None and attempt.since > above:
        yield StartAttempt(task_run.id, attempt.number, attempt.kind, attempt.job, attempt.owner, attempt.deadline)


def _timer(state: ExecutionState, key: str) -> Iterator[Command]:
    if key in state.timers:
        yield SetTimer(key, state.timers[key][0])
