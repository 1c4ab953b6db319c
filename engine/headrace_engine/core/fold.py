"""State + event -> state. Nothing is decided here: fold only books what an event says and keeps the counters true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import reduce

from immutables import Map, MapMutation

from headrace_engine.core import flowable
from headrace_engine.core.commands import (
    Announce,
    Command,
    JoinQueue,
    KillExecution,
    KillItem,
    KillStarted,
    ReleaseSlot,
    ReleaseWorkspace,
    Reply,
    StartExecution,
    StartItems,
    StopAttempt,
)
from headrace_engine.core.events import (
    ROOT,
    AttemptEnded,
    AttemptStarted,
    CalledAgain,
    ChildStarted,
    Closed,
    Entry,
    Event,
    ExecutionCreated,
    ExecutionMoved,
    Finishing,
    FlowableOpened,
    Held,
    ItemEnded,
    ItemsLaunched,
    ItemsStarted,
    LabelsSet,
    LoopWaits,
    OutputsRendered,
    PauseBegan,
    PauseEnded,
    PhaseEntered,
    Reopened,
    Replaced,
    Replayed,
    RetryScheduled,
    RoundBegan,
    ScopeFailed,
    SlaBroken,
    SlotAsked,
    SlotLeft,
    StateSet,
    TaskRunMoved,
    TaskRunsCreated,
    VariablesSet,
    WindingDown,
)
from headrace_engine.core.evolve import evolve
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.state import ExecutionState, Items, Pending, Scope, empty
from headrace_engine.core.task_run import Attempt, TaskRun
from headrace_engine.core.transitions import EXECUTION, TASK_RUN, check
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import Kind
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State

COLLECT = "collect"
"""The phase in which a WorkingDirectory gathers its output files."""
PAUSE = "pause"
"""The phase in which a Pause waits, after its onPause task."""
CHECK = "check"
"""The phase in which a LoopUntil looks at its condition."""
ASKING = frozenset({COLLECT, PAUSE, CHECK})
"""Phases without tasks: the flowable itself is prepared once more."""
START_TIMER = "start"
"""The key of the timer that lets a delayed execution begin."""


def fold(execution_id: str, flow: FlowIndex, entries: Iterable[Entry]) -> ExecutionState:
    """Return the state that *entries*, in order from 0, add up to."""
    state = empty(execution_id, flow)
    for entry in entries:
        state = apply_entry(state, entry)
    return state


def begin_entry(state: ExecutionState, now: datetime) -> ExecutionState:
    """Return *state* ready for the events of entry seq + 1. Its instant is max(now, the last one's)."""
    at = now if state.at is None else max(now, state.at)
    return evolve(state, seq=state.seq + 1, at=at, ordinal=0)


def apply_entry(state: ExecutionState, entry: Entry) -> ExecutionState:
    """Return *state* after the whole of *entry*, which must be its next one."""
    if entry.seq != state.seq + 1:
        raise ValueError(f"entry {entry.seq} does not follow entry {state.seq}")
    state = begin_entry(state, entry.at)
    for event in entry.events:
        state = apply(state, event)
    return mark_issued(state, entry.issued_through)


def mark_issued(state: ExecutionState, through: int) -> ExecutionState:
    """Return *state* knowing that the commands of the entries up to *through* are out."""
    if through <= state.issued_through:
        return state
    pending = tuple(item for item in state.pending if item.since > through)
    return evolve(state, issued_through=through, pending=pending)


def apply(state: ExecutionState, event: Event) -> ExecutionState:  # noqa: C901, PLR0912 - one row per event
    """Return *state* after *event*. Raises IllegalTransitionError for a move the tables do not have."""
    match event:
        case TaskRunMoved():
            return _task_run_moved(state, event)
        case AttemptEnded():
            return _attempt_ended(state, event)
        case AttemptStarted():
            return _attempt_started(state, event)
        case TaskRunsCreated():
            return _task_runs_created(state, event)
        case PhaseEntered():
            return _phase_entered(state, event)
        case FlowableOpened():
            return _flowable_opened(state, event)
        case ExecutionMoved():
            return _execution_moved(state, event)
        case ExecutionCreated():
            return _execution_created(state, event)
        case RetryScheduled():
            return _retry_scheduled(state, event)
        case ChildStarted():
            return _child_started(state, event)
        case ItemsStarted():
            return _items_started(state, event)
        case ItemsLaunched():
            return _items_launched(state, event)
        case ItemEnded():
            items = state.items[event.task_run_id]
            ended = items.ended.set(event.state, items.ended.get(event.state, 0) + 1)
            items = evolve(items, open=items.open.delete(event.index), ended=ended)
            return evolve(state, items=state.items.set(event.task_run_id, items))
        case PauseBegan():
            return _pause_began(state, event)
        case PauseEnded():
            return _pause_ended(state, event)
        case LoopWaits():
            return _loop_waits(state, event)
        case RoundBegan():
            return _round_began(state, event)
        case ScopeFailed():
            scope = evolve(state.scopes[event.task_run_id], failed=True, result=State.FAILED)
            task_run = evolve(state.task_runs[event.task_run_id], error=event.error)
            return evolve(_put(state, task_run), scopes=state.scopes.set(event.task_run_id, scope))
        case SlotAsked():
            # A slot that was to be given back is wanted again.
            pending = tuple(item for item in state.pending if not isinstance(item.command, ReleaseSlot))
            return evolve(state, asking_slot=event.force, pending=pending)
        case SlotLeft():
            return _pend(evolve(state, slot_left=True), ReleaseSlot())
        case SlaBroken():
            key = sla_timer(event.id)
            timers = state.timers.delete(key) if key in state.timers else state.timers
            return evolve(state, broken_slas=state.broken_slas | {event.id}, timers=timers)
        case Held():
            return evolve(state, held=event.held)
        case Reopened():
            return _reopened(state, event)
        case CalledAgain():
            created = state.created
            return state if created is None else evolve(state, created=replace(created, reply_to=event.reply_to))
        case Replayed():
            return _replayed(state, event)
        case StateSet():
            state = _no_waiting(state, event.task_run_id)
            task_run = state.task_runs[event.task_run_id]
            check(TASK_RUN, f"Task run {task_run.id}", task_run.state, event.to)
            return _put(state, evolve(task_run, histories=(*task_run.histories, (event.to, _now(state)))))
        case LabelsSet():
            state = evolve(state, labels=_relabelled(state.labels, event.labels))
            # Before its end the summary is written anyway, sooner or later.
            return _pend(state, Announce(state.state)) if state.closed else state
        case VariablesSet():
            kept = {key: value for key, value in state.variables.items() if key not in event.unset}
            return evolve(state, variables=kept | dict(event.variables))
        case WindingDown():
            state = evolve(state, winding_down=event.to, error=event.error or state.error)
            return _pend(state, KillStarted()) if event.cascade and state.flow.leaves_behind else state
        case Replaced():
            return _replaced(state, event)
        case Finishing():
            return evolve(state, finishing=event.to)
        case OutputsRendered():
            return evolve(state, outputs=event.outputs)
        case Closed():
            return _closed(state)


def retry_timer(task_run: TaskRun) -> str:
    """Return the key of the timer that starts the task run's next attempt."""
    return f"retry:{task_run.id}:{len(task_run.attempts)}"


def sleep_timer(task_run: TaskRun) -> str:
    """Return the key of the timer that ends the task run's sleep."""
    return f"sleep:{task_run.id}:{len(task_run.attempts)}"


def pause_timer(task_run: TaskRun) -> str:
    """Return the key of the timer that ends the task run's pause."""
    return f"pause:{task_run.id}"


def loop_timer(task_run: TaskRun) -> str:
    """Return the key of the timer that begins the LoopUntil's next round."""
    return f"loop:{task_run.id}"


def items_timer(task_run_id: str, launched: int) -> str:
    """Return the key of the timer that has a ForEachItem that waits for no execution go on."""
    return f"items:{task_run_id}:{launched}"


def item_id(task_run_id: str, index: int, generation: int) -> str:
    """Return the id of the execution for part *index* of a ForEachItem."""
    return derived_id("item", task_run_id, index, generation)


def _relabelled(labels: tuple[tuple[str, str], ...], changes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Override in place, once a key; a key that stands there twice and is not named stays so (reference §0.19)."""
    left = dict(changes)
    kept = [(key, left.pop(key, None) if key in changes else value) for key, value in labels]
    return (*((key, value) for key, value in kept if value is not None), *left.items())


def sla_timer(sla_id: str) -> str:
    """Return the key of the timer that ends an SLA's longest duration."""
    return f"sla:{sla_id}"


def _pend(state: ExecutionState, command: Command) -> ExecutionState:
    return evolve(state, pending=(*state.pending, Pending(state.seq, command)))


def _put(state: ExecutionState, task_run: TaskRun) -> ExecutionState:
    return evolve(state, task_runs=state.task_runs.set(task_run.id, task_run))


def _later(state: ExecutionState, instant: datetime) -> datetime:
    return instant if state.at is None else max(state.at, instant)


def _now(state: ExecutionState) -> datetime:
    assert state.at is not None, "events are applied inside an entry"  # noqa: S101 - for the type checker
    return state.at


# -- The execution ----------------------------------------------------------------------------------


def _execution_created(state: ExecutionState, event: ExecutionCreated) -> ExecutionState:
    timers = state.timers
    if event.start_at is not None:
        timers = timers.set(START_TIMER, (event.start_at, state.seq))
    for sla in state.flow.definition.slas:
        if sla.duration is not None:
            timers = timers.set(sla_timer(sla.id), (_now(state) + sla.duration, state.seq))
    state = evolve(
        state,
        created=event,
        histories=((State.CREATED, _now(state)),),
        labels=event.labels,
        variables=event.variables,
        timers=timers,
    )
    return _pend(state, Announce(State.CREATED, 0))


def _execution_moved(state: ExecutionState, event: ExecutionMoved) -> ExecutionState:
    check(EXECUTION, f"Execution {state.id}", state.state, event.to)
    timers = state.timers.delete(START_TIMER) if START_TIMER in state.timers else state.timers
    if event.to.is_terminal:
        for key in [sla_timer(sla.id) for sla in state.flow.definition.slas]:
            timers = timers.delete(key) if key in timers else timers
    state = evolve(
        state,
        histories=(*state.histories, (event.to, _now(state))),
        error=event.error or state.error,
        timers=timers,
        finishing=None if event.to.is_terminal or event.to is State.KILLING else state.finishing,
        asking_slot=None,
        slot_left=False,
        queued_since=state.seq if event.to is State.QUEUED else state.queued_since,
        winding_down=None if event.to.is_terminal else state.winding_down,
        held=state.held and not event.to.is_terminal,
    )
    state = _pend(state, Announce(event.to, len(state.histories) - 1))
    if event.to is State.RETRIED and state.follower is not None:
        state = _pend(state, state.follower)
    if event.to.is_terminal and event.to is not State.RETRIED:  # killed meanwhile, it has no follower
        state = evolve(state, follower=None)
    if state.flow.definition.concurrency is not None:
        if event.to is State.QUEUED:
            state = _pend(state, JoinQueue())
        elif event.to.is_terminal:
            state = _pend(state, ReleaseSlot())
    reply_to = state.created.reply_to if state.created is not None else None
    if reply_to is not None and event.to.is_terminal and event.to is not State.RETRIED:
        state = _pend(state, Reply(reply_to, event.to))
    return state


def _closed(state: ExecutionState) -> ExecutionState:
    """Nothing waits any more, also where the engine gave up (Abort)."""
    state = evolve(state, closed=True, ready=Map(), ready_head=state.ready_tail, timers=Map(), paused=Map())
    state = evolve(state, open_attempts=Map(), leases=Map(), children=Map(), items=Map())
    return _pend(state, Announce(state.state))


def _replaced(state: ExecutionState, event: Replaced) -> ExecutionState:
    created = state.created
    assert created is not None, "only an execution that exists is replaced"  # noqa: S101 - for the type checker
    follower = replace(
        created,
        labels=state.labels,
        parent_id=state.id,
        original_id=created.original_id or state.id,
        attempt_number=created.attempt_number + 1,
        original_created=created.original_created or state.histories[0][1],
        start_at=event.due,
    )
    return evolve(state, follower=StartExecution(event.by, follower))


def _child_started(state: ExecutionState, event: ChildStarted) -> ExecutionState:
    state = _attempt_started(state, AttemptStarted(event.task_run_id, event.number, Kind.SUBFLOW, Inline(None)))
    task_run = state.task_runs[event.task_run_id]
    attempt = evolve(task_run.attempts[-1], job=None, child_id=event.child_id)
    state = _put(state, evolve(task_run, attempts=(*task_run.attempts[:-1], attempt)))
    state = evolve(state, children=state.children.set(task_run.id, (event.child_id, event.created)))
    # Pending, not only outstanding: without `wait` the attempt ends in the same entry.
    return _pend(state, StartExecution(event.child_id, event.created))


def _items_started(state: ExecutionState, event: ItemsStarted) -> ExecutionState:
    state = _attempt_started(state, AttemptStarted(event.task_run_id, event.number, Kind.ITEMS, Inline(None)))
    task_run = state.task_runs[event.task_run_id]
    attempts = (*task_run.attempts[:-1], evolve(task_run.attempts[-1], job=None))
    state = _put(state, evolve(task_run, attempts=attempts))
    return evolve(state, items=state.items.set(task_run.id, Items(event)))


def _items_launched(state: ExecutionState, event: ItemsLaunched) -> ExecutionState:
    items = state.items[event.task_run_id]
    before = items_timer(event.task_run_id, items.launched)
    if items.started.wait:
        still = items.open.update(dict.fromkeys(range(event.first, event.last), state.seq))
        items = evolve(items, launched=event.last, open=still)
        return evolve(state, items=state.items.set(event.task_run_id, items))
    timers = state.timers.delete(before) if before in state.timers else state.timers
    timers = timers.set(items_timer(event.task_run_id, event.last), (_now(state), state.seq))
    items = evolve(items, launched=event.last)
    state = evolve(state, items=state.items.set(event.task_run_id, items), timers=timers)
    return _pend(state, StartItems(event.task_run_id, event.first, event.last))


def _pause_began(state: ExecutionState, event: PauseBegan) -> ExecutionState:
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    histories = task_run.histories
    if task_run.state is not State.RUNNING:  # it runs already when its onPause task did
        check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.RUNNING)
        histories = (*histories, (State.RUNNING, _now(state)))
    check(TASK_RUN, f"Task run {task_run.id}", histories[-1][0], State.PAUSED)
    task_run = evolve(task_run, histories=(*histories, (State.PAUSED, _now(state))))
    timers = state.timers
    if event.due is not None:
        timers = timers.set(pause_timer(task_run), (event.due, state.seq))
    return evolve(_put(state, task_run), timers=timers, paused=state.paused.set(task_run.id, event.is_timeout))


def _pause_ended(state: ExecutionState, event: PauseEnded) -> ExecutionState:
    state = _no_pause(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.RUNNING)
    outputs = event.outputs if event.outputs is not None else task_run.outputs
    return _put(state, evolve(task_run, histories=(*task_run.histories, (State.RUNNING, _now(state))), outputs=outputs))


def _no_pause(state: ExecutionState, task_run_id: str) -> ExecutionState:
    if task_run_id not in state.paused:
        return state
    timer = pause_timer(state.task_runs[task_run_id])
    timers = state.timers.delete(timer) if timer in state.timers else state.timers
    return evolve(state, paused=state.paused.delete(task_run_id), timers=timers)


def _loop_waits(state: ExecutionState, event: LoopWaits) -> ExecutionState:
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.PAUSED)
    task_run = evolve(task_run, histories=(*task_run.histories, (State.PAUSED, _now(state))))
    timers = state.timers.set(loop_timer(task_run), (event.due, state.seq))
    return evolve(_put(state, task_run), timers=timers)


def _round_began(state: ExecutionState, event: RoundBegan) -> ExecutionState:
    """The round before leaves no trace but its count (reference §3.6)."""
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    histories = task_run.histories
    if task_run.state is State.PAUSED:
        histories = (*histories, (State.RUNNING, _now(state)))
    timer = loop_timer(task_run)
    runs, index = state.task_runs.mutate(), state.index.mutate()
    for run in _below(state, task_run):
        del runs[run.id]
        del index[run.task_id, run.path]
    runs[task_run.id] = evolve(task_run, histories=histories, outputs=event.outputs)
    scope = evolve(
        state.scopes[task_run.id], tried=frozenset(), result=State.SUCCESS, done=frozenset(), created=frozenset()
    )
    return evolve(
        state,
        task_runs=runs.finish(),
        index=index.finish(),
        scopes=state.scopes.set(task_run.id, scope),
        timers=state.timers.delete(timer) if timer in state.timers else state.timers,
    )


def _below(state: ExecutionState, owner: TaskRun) -> Iterator[TaskRun]:
    """Yield the task runs in an open flowable by their places, so that what else there is costs nothing."""
    paths = [owner.path, *((*owner.path, value) for value in owner.values or ())]
    for name in state.flow.tasks[owner.task_id].branches:
        for task in state.flow.branch(owner.task_id, name):
            for path in paths:
                run = state.task_runs.get(state.index.get((task.id, path), ""))
                if run is not None:
                    yield from _below(state, run)
                    yield run


# -- Restart and replay ----------------------------------------------------------------------------


def _replayed(state: ExecutionState, event: Replayed) -> ExecutionState:
    runs, index = state.task_runs.mutate(), state.index.mutate()
    for order, run in enumerate(event.task_runs):
        runs[run.id] = evolve(run, order=order)
        _enter(index, run)
    # The clock may have been set back since they ran.
    at = max([_now(state), *(date for run in event.task_runs for _, date in run.histories)])
    return evolve(state, task_runs=runs.finish(), index=index.finish(), created_task_runs=len(event.task_runs), at=at)


def _enter(index: MapMutation[tuple[str, tuple[str, ...]], str], run: TaskRun) -> None:
    """Note the place of a task run's outputs, and the shorter paths that lead there."""
    for depth in range(len(run.path)):
        if (run.task_id, run.path[:depth]) not in index:
            index[run.task_id, run.path[:depth]] = ""
    index[run.task_id, run.path] = run.id


def _reopened(state: ExecutionState, event: Reopened) -> ExecutionState:
    """Take back ends: O(task runs), as a person does it. What waits elsewhere (it was held) goes on waiting."""
    for run_id in (*event.removed, *event.restarted, *event.reopened):
        state = _no_waiting(state, run_id)
    runs, index = state.task_runs.mutate(), state.index.mutate()
    for run_id in event.removed:
        run = runs.pop(run_id)
        if index.get((run.task_id, run.path)) == run_id:
            del index[run.task_id, run.path]
    ready, tail = state.ready.mutate(), state.ready_tail
    for run_id in event.restarted:
        run = runs[run_id]
        histories = run.histories
        to = State.RUNNING if run_id == event.begins_at else State.RESTARTED
        if run.state is not to:  # a replay takes one along that had not begun
            check(TASK_RUN, f"Task run {run_id}", run.state, to)
            histories = (*histories, (to, _now(state)))
        runs[run_id] = evolve(run, histories=histories, error=None, lost=0, retry_at=None, ticket=tail)
        ready[tail] = run_id
        tail += 1
    for run_id in event.reopened:
        run = runs[run_id]
        if run.state is not State.RUNNING:
            check(TASK_RUN, f"Task run {run_id}", run.state, State.RUNNING)
            runs[run_id] = evolve(run, histories=(*run.histories, (State.RUNNING, _now(state))), error=None)
    created = state.created
    if created is not None and event.reply_to is not None:
        created = replace(created, reply_to=event.reply_to)
    state = evolve(
        state,
        created=created,
        task_runs=runs.finish(),
        index=index.finish(),
        ready=ready.finish(),
        ready_tail=tail,
        held=False,
        finishing=None,
        outputs=None,
        error=None,
        closed=False,
    )
    return _scopes_again(state, event.reopened)


def _scopes_again(state: ExecutionState, reopened: tuple[str, ...]) -> ExecutionState:
    """Open the scopes of the execution and of *reopened*, drop those of flowables that are gone or begin anew."""
    scopes = state.scopes.mutate()
    for scope_id in state.scopes:
        owner = state.task_runs.get(scope_id)
        if scope_id != ROOT and (owner is None or owner.state is not State.RUNNING):
            del scopes[scope_id]
    children: dict[str, list[TaskRun]] = {scope_id: [] for scope_id in (ROOT, *reopened)}
    for run in state.in_order():
        if (scope_id := state.scope_of(run)) in children:
            children[scope_id].append(run)
    for scope_id, members in children.items():
        scopes[scope_id] = _rebuilt(state, scope_id, members)
    return evolve(state, scopes=scopes.finish())


def _no_waiting(state: ExecutionState, task_run_id: str) -> ExecutionState:
    """Take the task run out of all it may wait in: the ready queue, the timers, the pauses."""
    state = _no_pause(_unready(state, task_run_id), task_run_id)
    task_run = state.task_runs[task_run_id]
    waits = [key for key in (retry_timer(task_run), loop_timer(task_run)) if key in state.timers]
    return evolve(state, timers=reduce(Map.delete, waits, state.timers)) if waits else state


def _rebuilt(state: ExecutionState, scope_id: str, members: list[TaskRun]) -> Scope:
    """Return the scope of a flowable that is open again, counted from its task runs."""
    owner = state.task_runs.get(scope_id)
    scope = Scope(tried=frozenset({"tasks"}))
    if owner is not None:
        scope = evolve(scope, branch=owner.branch or "tasks", values=owner.values)
    graph = flowable.order_of(evolve(state, scopes=state.scopes.set(scope_id, scope)), scope_id, "tasks").is_graph
    ended = [run for run in members if run.state.is_terminal]
    for run in ended:
        scope = evolve(
            scope,
            failed=scope.failed or not run.state.is_success,
            result=flowable.worse(scope.result, run.state, "tasks"),
        )
    return evolve(
        scope,
        opened=max((run.lane + 1 for run in members), default=0),
        live=len(members) - len(ended),
        done=frozenset(run.task_id for run in ended) if graph else frozenset(),
        created=frozenset(run.task_id for run in members) if graph else frozenset(),
    )


# -- Scopes -----------------------------------------------------------------------------------------


def _phase_entered(state: ExecutionState, event: PhaseEntered) -> ExecutionState:
    if event.scope_id != ROOT:
        state = _unready(state, event.scope_id)
    scope = state.scopes.get(event.scope_id, Scope())
    scope = evolve(
        scope,
        phase=event.phase,
        opened=0,
        live=0,
        failed=False,
        tried=scope.tried | {event.phase},
    )
    state = evolve(state, scopes=state.scopes.set(event.scope_id, scope))
    return _ready(state, state.task_runs[event.scope_id]) if event.phase in ASKING else state


def _flowable_opened(state: ExecutionState, event: FlowableOpened) -> ExecutionState:
    scopes = state.scopes.set(event.task_run_id, Scope(branch=event.branch, values=event.values))
    state = _unready(evolve(state, scopes=scopes), event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    histories = task_run.histories
    if task_run.state is not State.RUNNING:  # a WorkingDirectory runs already when its preparation is done
        check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.RUNNING)
        histories = (*histories, (State.RUNNING, _now(state)))
    outputs = event.outputs if event.outputs is not None else task_run.outputs
    return _put(state, evolve(task_run, histories=histories, outputs=outputs, branch=event.branch, values=event.values))


def _task_runs_created(state: ExecutionState, event: TaskRunsCreated) -> ExecutionState:
    scope = state.scopes[event.scope_id]
    parent = state.task_runs.get(event.scope_id)
    runs = state.task_runs.mutate()
    ready = state.ready.mutate()
    index = state.index.mutate()
    ordinal, created, tail = state.ordinal, state.created_task_runs, state.ready_tail
    order = flowable.order_of(state, event.scope_id, event.phase)
    names: list[str] = []
    for lane in range(event.first, event.last):
        task = order.task(lane, event.position)
        value, iteration = order.iteration(lane) or (None, None)
        path = parent.path if parent is not None else ()
        if value is not None:
            path = (*path, value)
        elif parent is not None and state.flow.tasks[parent.task_id].kind is Kind.WORKING_DIRECTORY:
            value = parent.value  # reference §3.4: children inherit it
        task_run = TaskRun(
            id=derived_id(state.id, state.seq, ordinal),
            task_id=task.id,
            parent_id=parent.id if parent is not None else None,
            phase=event.phase,
            lane=lane,
            position=event.position,
            order=created,
            value=value,
            iteration=iteration,
            path=path,
            histories=((State.CREATED, _now(state)),),
            ticket=tail,
        )
        runs[task_run.id] = task_run
        ready[tail] = task_run.id
        _enter(index, task_run)
        names.append(task.id)
        ordinal, created, tail = ordinal + 1, created + 1, tail + 1
    scope = evolve(
        scope,
        opened=max(scope.opened, event.last) if event.position == 0 else scope.opened,
        live=scope.live + event.last - event.first,
        created=scope.created.union(names) if order.is_graph else scope.created,
    )
    return evolve(
        state,
        task_runs=runs.finish(),
        ready=ready.finish(),
        index=index.finish(),
        scopes=state.scopes.set(event.scope_id, scope),
        ordinal=ordinal,
        created_task_runs=created,
        ready_tail=tail,
    )


# -- Task runs --------------------------------------------------------------------------------------


def _ready(state: ExecutionState, task_run: TaskRun) -> ExecutionState:
    """Put the task run at the end of the ready queue."""
    ticket = state.ready_tail
    ready = state.ready.set(ticket, task_run.id)
    return evolve(_put(state, evolve(task_run, ticket=ticket)), ready=ready, ready_tail=ticket + 1)


def _unready(state: ExecutionState, task_run_id: str) -> ExecutionState:
    """Take the task run out of the ready queue, if it waits there."""
    task_run = state.task_runs[task_run_id]
    if task_run.ticket is None:
        return state
    ready = state.ready.delete(task_run.ticket)
    head = state.ready_head
    while head < state.ready_tail and head not in ready:
        head += 1
    return evolve(
        state,
        ready=ready,
        ready_head=head,
        task_runs=state.task_runs.set(task_run_id, evolve(task_run, ticket=None)),
    )


def _attempt_started(state: ExecutionState, event: AttemptStarted) -> ExecutionState:
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    now = _now(state)
    histories = task_run.histories
    if task_run.state is not State.RUNNING:
        check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.RUNNING)
        histories = (*histories, (State.RUNNING, now))
    attempt = Attempt(
        number=event.number,
        state=State.RUNNING,
        started=now,
        kind=event.kind,
        job=event.job,
        owner=event.owner,
        deadline=event.deadline,
        since=state.seq,
    )
    earlier = task_run.attempts
    if earlier and earlier[-1].job is not None:
        earlier = (*earlier[:-1], evolve(earlier[-1], job=None))
    task_run = evolve(task_run, histories=histories, attempts=(*earlier, attempt))
    timers = state.timers
    if event.kind is Kind.SLEEP and event.deadline is not None:
        timers = timers.set(sleep_timer(task_run), (event.deadline, state.seq))
    return evolve(
        _put(state, task_run),
        open_attempts=state.open_attempts.set(task_run.id, None),
        leases=state.leases.set(task_run.id, None) if event.kind is Kind.LIGHT else state.leases,
        timers=timers,
    )


def _attempt_ended(state: ExecutionState, event: AttemptEnded) -> ExecutionState:
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    started, ended = event.started, _later(state, event.ended)
    histories, attempts, open_attempts = task_run.histories, task_run.attempts, state.open_attempts
    timers = state.timers
    if task_run.open_attempt is None:  # an inline task: this event is its whole attempt
        attempts = (*attempts, Attempt(event.number, State.RUNNING, started))
        if task_run.state is not State.RUNNING:
            check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.RUNNING)
            histories = (*histories, (State.RUNNING, max(started, histories[-1][1])))
    else:
        open_attempts = open_attempts.delete(task_run.id)
        if task_run.id in state.leases:
            state = evolve(state, leases=state.leases.delete(task_run.id))
        if attempts[-1].kind is Kind.SLEEP:
            timers = timers.delete(sleep_timer(task_run))
        if task_run.id in state.children:
            state = evolve(state, children=state.children.delete(task_run.id))
        if task_run.id in state.items:
            timer = items_timer(task_run.id, state.items[task_run.id].launched)
            timers = timers.delete(timer) if timer in timers else timers
            state = evolve(state, items=state.items.delete(task_run.id))
    # The job of a lost attempt serves the next one.
    job = attempts[-1].job if event.state is State.RESUBMITTED else None
    last = evolve(attempts[-1], state=event.state, ended=ended, job=job)
    task_run = evolve(
        task_run,
        histories=histories,
        attempts=(*attempts[:-1], last),
        lost=task_run.lost + 1 if event.state is State.RESUBMITTED else 0,
        outputs=event.outputs if event.outputs is not None else task_run.outputs,
        error=event.error,
    )
    scopes = state.scopes
    if event.state is State.FAILED and task_run.id in scopes:  # a WorkingDirectory could not collect its files
        scopes = scopes.set(task_run.id, evolve(scopes[task_run.id], failed=True, result=State.FAILED))
    return evolve(_put(state, task_run), open_attempts=open_attempts, scopes=scopes, timers=timers, at=ended)


def _retry_scheduled(state: ExecutionState, event: RetryScheduled) -> ExecutionState:
    """RUNNING, FAILED, RETRYING: the failure shows in the histories but is no end."""
    task_run = state.task_runs[event.task_run_id]
    check(TASK_RUN, f"Task run {task_run.id}", task_run.state, State.FAILED)
    check(TASK_RUN, f"Task run {task_run.id}", State.FAILED, State.RETRYING)
    now = _now(state)
    task_run = evolve(
        task_run,
        histories=(*task_run.histories, (State.FAILED, now), (State.RETRYING, now)),
        retry_at=event.due,
        lost=0,
    )
    timers = state.timers.set(retry_timer(task_run), (event.due, state.seq))
    return evolve(_put(state, task_run), timers=timers)


def _task_run_moved(state: ExecutionState, event: TaskRunMoved) -> ExecutionState:
    state = _unready(state, event.task_run_id)
    task_run = state.task_runs[event.task_run_id]
    check(TASK_RUN, f"Task run {task_run.id}", task_run.state, event.to)
    state = _no_pause(state, task_run.id)
    timers = state.timers
    if task_run.retry_at is not None:
        timers = timers.delete(retry_timer(task_run))
    if loop_timer(task_run) in timers:
        timers = timers.delete(loop_timer(task_run))
    task_run = evolve(
        task_run,
        histories=(*task_run.histories, (event.to, _now(state))),
        error=event.error if event.error is not None else task_run.error,
        retry_at=None,
    )
    state = evolve(_put(state, task_run), timers=timers)
    if event.to is State.CREATED:  # a retry is due
        return _ready(state, task_run)
    if event.to is State.KILLING:
        attempt = task_run.attempts[-1]
        if task_run.id in state.items:
            items = state.items[task_run.id]
            for index in sorted(items.open):
                child_id = item_id(task_run.id, index, items.started.generation)
                state = _pend(state, KillItem(child_id, task_run.id, index))
            return state
        if task_run.id in state.children:
            return _pend(state, KillExecution(*state.children[task_run.id]))
        return _pend(state, StopAttempt(task_run.id, attempt.number))
    return _child_ended(state, task_run, event.to) if event.to.is_terminal else state


def _child_ended(state: ExecutionState, task_run: TaskRun, to: State) -> ExecutionState:
    """Book the end of a task run on its scope."""
    scope_id = state.scope_of(task_run)
    scope = state.scopes[scope_id]
    graph = flowable.order_of(state, scope_id, task_run.phase).is_graph
    scope = evolve(
        scope,
        live=scope.live - 1,
        failed=scope.failed or not to.is_success,
        result=flowable.worse(scope.result, to, task_run.phase),
        done=scope.done | {task_run.task_id} if graph else scope.done,
    )
    scopes = state.scopes.set(scope_id, scope)
    if task_run.id in scopes:
        scopes = scopes.delete(task_run.id)
    state = evolve(state, scopes=scopes)
    if state.flow.tasks[task_run.task_id].kind is Kind.WORKING_DIRECTORY:
        state = _pend(state, ReleaseWorkspace(task_run.id))
    return state
