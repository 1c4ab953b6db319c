"""Which commands a state still calls for (DESIGN §3.3). Each is due until it is known to be out, and idempotent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace_engine.core.commands import Command, SetTimer, StartAttempt, StartExecution, StartItems
from headrace_engine.core.events import (
    AttemptStarted,
    Event,
    ExecutionCreated,
    ItemsLaunched,
    LoopWaits,
    PauseBegan,
    RetryScheduled,
)
from headrace_engine.core.fold import (
    START_TIMER,
    items_timer,
    loop_timer,
    pause_timer,
    retry_timer,
    sla_timer,
    sleep_timer,
)
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.definition import Kind


def commands_of(state: ExecutionState, events: Iterable[Event]) -> Iterator[Command]:
    """Yield the commands of the entry that made *state*, given its events: what `outstanding` would yield above
    the entry before it, without looking at anything older."""
    for event in events:
        if isinstance(event, ExecutionCreated):
            yield from _timer(state, START_TIMER)
            for sla in state.flow.definition.slas:
                yield from _timer(state, sla_timer(sla.id))
        elif (
            isinstance(event, AttemptStarted | PauseBegan | LoopWaits | RetryScheduled | ItemsLaunched)
            # Gone again when it belongs to a loop's round that is over, or was ended in the same step.
            and event.task_run_id in state.task_runs
        ):
            yield from _of_task_run(state, event)
    for pending in state.pending:
        if pending.since == state.seq:
            yield pending.command


def _of_task_run(
    state: ExecutionState, event: AttemptStarted | PauseBegan | LoopWaits | RetryScheduled | ItemsLaunched
) -> Iterator[Command]:
    task_run = state.task_runs[event.task_run_id]
    match event:
        case AttemptStarted():
            yield from _start(state, task_run.id, range(state.seq, state.seq + 1))
            yield from _timer(state, sleep_timer(task_run))
        case PauseBegan():
            yield from _timer(state, pause_timer(task_run))
        case LoopWaits():
            yield from _timer(state, loop_timer(task_run))
        case RetryScheduled():
            yield from _timer(state, retry_timer(task_run))
        case ItemsLaunched():
            if task_run.id in state.items and state.items[task_run.id].started.wait:
                yield StartItems(task_run.id, event.first, event.last)
            yield from _timer(state, items_timer(task_run.id, event.last))


def outstanding(state: ExecutionState, above: int = -1, through: int | None = None) -> Iterator[Command]:
    """Yield every command *state* still calls for that an entry above *above*, up to *through*, decided.

    With the watermark as *above*: what may not have gone out. With -1: all, for a runtime whose timers and
    workers died with its process.
    """
    decided = range(above + 1, (state.seq if through is None else through) + 1)
    for task_run_id in sorted(state.open_attempts, key=lambda run: state.task_runs[run].order):
        yield from _start(state, task_run_id, decided)
    for task_run_id in sorted(state.items, key=lambda run: state.task_runs[run].order):
        yield from _open_items(state, task_run_id, decided)
    for key, (due, since) in sorted(state.timers.items()):
        if since in decided:
            yield SetTimer(key, due)
    for pending in state.pending:
        if pending.since in decided:
            yield pending.command


def _start(state: ExecutionState, task_run_id: str, decided: range) -> Iterator[Command]:
    task_run = state.task_runs[task_run_id]
    attempt = task_run.open_attempt
    if attempt is None or attempt.kind is Kind.SLEEP:
        return
    if task_run_id in state.children:
        if attempt.since in decided:
            yield StartExecution(*state.children[task_run_id])
    elif attempt.job is not None and attempt.since in decided:
        yield StartAttempt(task_run.id, attempt.number, attempt.kind, attempt.job, attempt.owner, attempt.deadline)


def _open_items(state: ExecutionState, task_run_id: str, decided: range) -> Iterator[Command]:
    """Yield the starts of the executions that go on, parts that follow one another together."""
    first = last = -1
    for index in sorted(index for index, since in state.items[task_run_id].open.items() if since in decided):
        if index != last:
            if first != last:
                yield StartItems(task_run_id, first, last)
            first = index
        last = index + 1
    if first != last:
        yield StartItems(task_run_id, first, last)


def _timer(state: ExecutionState, key: str) -> Iterator[Command]:
    if key in state.timers:
        yield SetTimer(key, state.timers[key][0])
