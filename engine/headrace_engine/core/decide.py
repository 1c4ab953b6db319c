"""State + message (or answer) -> events. The rules of orchestration, and nothing else.

A step is decided in small moves. `decide` takes one message, or the answer to one question, and returns the
events that follow from it at once, with the state after them. What depends on an expression it does not evaluate:
`next_question` names what is asked next, the executor answers, and the answer goes through `decide` like a
message. When no question is left (or the step has grown large enough) the events become one journal entry.

Whatever no longer applies (a report for an attempt that ended, a timer of a retry that began) gives no events.

How things end, from below to above: an attempt ends -> its task run ends, or waits for another attempt -> the scope
it belongs to opens what comes next, or has nothing left: then its errors, then its finally, then it ends
itself, which is the end of a child of the scope above, up to the execution.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from headrace_engine.core import flowable, restart
from headrace_engine.core.events import (
    ROOT,
    AttemptEnded,
    AttemptStarted,
    CalledAgain,
    ChildStarted,
    Closed,
    Event,
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
from headrace_engine.core.fold import (
    ASKING,
    CHECK,
    COLLECT,
    PAUSE,
    START_TIMER,
    apply,
    loop_timer,
    pause_timer,
    retry_timer,
    sleep_timer,
)
from headrace_engine.core.messages import (
    Abort,
    Answer,
    AskSlot,
    AttemptReported,
    ChangeState,
    ChildReady,
    Create,
    ForceRun,
    Given,
    Hold,
    ItemReported,
    ItemsReady,
    JobReady,
    Kill,
    LoopChecked,
    Message,
    Opened,
    Outputs,
    Pauses,
    Poke,
    Prepare,
    Question,
    Ran,
    RenderOutputs,
    Restart,
    Resume,
    SetLabels,
    Skipped,
    SlaViolated,
    Sleeps,
    Slot,
    SlotGranted,
    TimerFired,
    Unplannable,
)
from headrace_engine.core.retry import next_attempt
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import AttemptResult, ExecutionChange, Inline, Payload
from headrace_engine.model.definition import Kind, LimitBehavior, Retry, RetryBehavior, SlaBehavior
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State

PAUSE_ENDS = {"RESUME": State.RUNNING, "WARN": State.WARNING, "FAIL": State.FAILED, "CANCEL": State.CANCELLED}
"""Pause: its behavior, when its time is over, to how it goes on."""
LEAVES_UNDONE = frozenset({State.FAILED, State.CANCELLED})
"""Ends of an execution that leaves early after which a restart takes up what it left."""
SETTABLE = frozenset({State.SUCCESS, State.WARNING, State.FAILED, State.KILLED})
"""What a person may set by hand."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one message or answer: the events, and the state after them."""

    state: ExecutionState
    events: tuple[Event, ...]


def decide(state: ExecutionState, what: Message | Answer, now: datetime) -> Decision:
    """Return what follows from *what* at *now*. *state* must be inside an entry (fold.begin_entry).

    Raises nothing for late, repeated or unknown messages: they give no events.
    """
    step = _Step(state, now)
    match what:
        case Ran() | Given() | JobReady() | Sleeps() | Pauses() | LoopChecked() | ChildReady() | Skipped():
            step.answer(what)
        case ItemsReady() | Opened() | Unplannable() | Outputs() | Slot():
            step.answer(what)
        case _:
            step.message(what)
    step.settle()
    return Decision(step.state, tuple(step.events))


def next_question(state: ExecutionState) -> Question | None:
    """Return what must be known before the execution can go on, the longest-waiting first; None when nothing is."""
    if not state.exists or state.closed:
        return None
    if state.finishing is not None:  # also where its last task ended while it was held
        return RenderOutputs(state.finishing)
    if state.asking_slot is not None:  # not where a restart was called off: that is about to end
        return AskSlot(state.asking_slot)
    if state.held or state.state is State.QUEUED:
        return None
    if state.ready:
        return Prepare(state.ready[state.ready_head])
    return None


class _Step:
    """The draft of a decision: every event is folded as it is made, so later rules see what earlier ones did."""

    def __init__(self, state: ExecutionState, now: datetime) -> None:
        self.state = state
        self.now = now
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.state = apply(self.state, event)
        self.events.append(event)

    # -- Messages -----------------------------------------------------------------------------------

    def message(self, message: Message) -> None:  # noqa: C901, PLR0912 - one row per message
        if isinstance(message, Create):
            if not self.state.exists:
                self.emit(message.created)
                if message.created.refused is not None:
                    self.emit(ExecutionMoved(State.FAILED, message.created.refused))
                    self.emit(Closed())
                elif message.reopened is not None:
                    self.emit(Replayed(message.task_runs))
                    self.emit(ExecutionMoved(State.RESTARTED))
                    self.reopen(message.reopened)
                elif message.created.start_at is None or message.created.start_at <= self.now:
                    self.start()
            elif (
                (reply_to := message.created.reply_to) is not None
                and not self.state.state.is_terminal
                and message.created.is_called_after(self.state.created)
            ):
                self.emit(CalledAgain(reply_to))
            return
        if isinstance(message, Kill) and message.created is not None and not self.state.exists:
            self.emit(message.created)
        if isinstance(message, Restart | ChangeState) and self.state.exists:
            self.take_back(message)
        if isinstance(message, SetLabels) and self.state.exists and self.state.state.is_terminal:
            self.set_labels(message.labels)
        if not self.state.exists or self.state.closed:
            return
        match message:
            case AttemptReported():
                self.attempt_reported(message)
            case ItemReported():
                self.item_reported(message)
            case TimerFired():
                self.timer_fired(message.key)
            case Kill():
                self.kill(cascade=message.cascade)
            case Resume():
                self.resume(message)
            case ForceRun():
                self.force_run()
            case SlaViolated():
                self.sla_broken(message.id)
            case SlotGranted():
                is_meant = message.seq is None or message.seq >= self.state.queued_since
                if self.state.state is State.QUEUED and is_meant:
                    self.run()
            case Hold():
                # One without a slot has nothing to hold, and what is paused has its slot (reference §5.6).
                if self.state.state in (State.RUNNING, State.RETRYING) and not self.state.slot_left:
                    self.emit(Held(held=True))
                    self.emit(ExecutionMoved(State.PAUSED))
            case Abort():
                self.abort(message.reason)
            case Poke():
                for key in [key for key, (due, _) in self.state.timers.items() if due <= self.now]:
                    self.timer_fired(key)

    def set_labels(self, labels: Mapping[str, str]) -> None:
        now = dict(self.state.labels)
        changed = {key: value for key, value in labels.items() if now.get(key) != value}
        if changed:
            self.emit(LabelsSet(changed))

    def start(self, *, force: bool = False) -> None:
        """Begin, or go on after a restart; in a flow with a concurrency limit, with a slot."""
        if self.state.flow.definition.concurrency is not None:
            self.emit(SlotAsked(force))
        else:
            self.run()

    def run(self) -> None:
        """RUNNING: enter the tasks, or take up again what a restart opened."""
        self.emit(ExecutionMoved(State.RUNNING))
        if ROOT not in self.state.scopes:
            self.enter(ROOT, "tasks")
        else:
            self.catch_up_all()

    def slot_answered(self, answer: Slot) -> None:
        if self.state.asking_slot is None:
            return
        if self.state.slot_left:  # half through: whatever the behavior, it waits for its turn
            self.emit(ExecutionMoved(State.RUNNING if answer.granted else State.QUEUED))
        elif answer.granted:
            self.run()
        elif answer.behavior is LimitBehavior.QUEUE:
            self.emit(ExecutionMoved(State.QUEUED))
        elif answer.behavior is LimitBehavior.CANCEL:
            self.call_off(State.CANCELLED)
        else:
            self.call_off(State.FAILED, "The concurrency limit of the flow is reached")

    def call_off(self, end: State, error: str | None = None) -> None:
        """End before anything runs; the task runs that a restart opened end too."""
        if ROOT in self.state.scopes:
            self.wind_down(end, stop=True, cascade=False, error=error)
            self.unwind(ends=True)
        else:
            self.emit(ExecutionMoved(end, error))
            self.emit(Closed())

    def attempt_reported(self, message: AttemptReported) -> None:
        task_run = self.state.task_runs.get(message.task_run_id)
        attempt = task_run.open_attempt if task_run is not None else None
        if task_run is not None and attempt is not None and attempt.number == message.number:
            self.attempt_ended(task_run, message.result, message.finder)

    def timer_fired(self, key: str) -> None:
        timer = self.state.timers.get(key)
        if timer is None or timer[0] > self.now:
            return
        if key == START_TIMER:
            self.start()
            return
        if key.startswith("sla:"):
            self.sla_broken(key.removeprefix("sla:"))
            return
        task_run = self.state.task_runs[key.split(":")[1]]
        if sleep_timer(task_run) == key:
            self.sleep_ended(task_run)
        if key.startswith("items:"):
            self.items_go_on(task_run)
        if pause_timer(task_run) == key:
            self.pause_over(task_run)
        if loop_timer(task_run) == key:
            self.emit(RoundBegan(task_run.id, _next_round(task_run)))
            self.enter(task_run.id, "tasks")
        if retry_timer(task_run) == key:
            if self.state.slot_left and self.state.asking_slot is None:
                self.emit(SlotAsked())
            elif self.state.state is State.RETRYING and not self.state.slot_left:
                self.emit(ExecutionMoved(State.RUNNING))
            self.emit(TaskRunMoved(task_run.id, State.CREATED))

    def sla_broken(self, sla_id: str) -> None:
        """Labels always; FAIL and CANCEL also end the execution, stopping what runs; errors do not run (§5.7)."""
        sla = next((each for each in self.state.flow.definition.slas if each.id == sla_id), None)
        if sla is None or sla_id in self.state.broken_slas or self.state.state.is_terminal:
            return
        self.emit(SlaBroken(sla_id))
        if sla.labels:
            self.emit(LabelsSet(dict(sla.labels)))
        if sla.behavior is SlaBehavior.NONE or self.state.winding_down is not None:
            return
        end = State.FAILED if sla.behavior is SlaBehavior.FAIL else State.CANCELLED
        error = f"The SLA `{sla_id}` was broken"
        self.call_off(end, error)

    def sleep_ended(self, task_run: TaskRun) -> None:
        attempt = task_run.attempts[-1]
        error = attempt.job.value["error"] if isinstance(attempt.job, Inline) else None
        state = State.SUCCESS if error is None else State.FAILED
        self.attempt_ended(task_run, AttemptResult(state, attempt.started, self.now, error=error))

    def resume(self, message: Resume) -> None:
        """The first Pause that waits goes on (reference §5.5), or the one named; or an execution that was held."""
        named = message.task_run_id
        first = min(self.state.paused, key=self.order, default=None) if named is None else named
        if first is not None and first in self.state.paused:
            self.wake_up()
            self.pause_ended(self.state.task_runs[first], message.to, message.outputs)
        elif self.state.held and message.task_run_id is None:
            self.wake_up()

    def force_run(self) -> None:
        """Reference §5.5: a CREATED execution starts, one that was held goes on."""
        if self.state.state in (State.CREATED, State.QUEUED):
            self.start(force=True)
        elif self.state.state is State.PAUSED and self.state.held:
            self.wake_up()

    def take_back(self, message: Restart | ChangeState) -> None:
        """Restart, or a state set by hand: only where nothing runs (reference §5.2, §5.4)."""
        state = self.state.state
        if message.moves not in (None, len(self.state.histories)):
            return
        if isinstance(message, ChangeState) and message.task_run_id is None:
            self.change_end(message.to)
            return
        if self.state.open_attempts or state is State.RETRIED or not (self.state.closed or state is State.PAUSED):
            return
        if isinstance(message, ChangeState) and message.to not in SETTABLE:
            return
        try:
            if isinstance(message, Restart):
                found = restart.after_failure(self.state)
            else:
                found = restart.from_task_run(self.state, message.task_run_id or "", keep=True)
        except restart.NothingToRestartError:
            return
        reply_to = message.reply_to if isinstance(message, Restart) else None
        self.emit(ExecutionMoved(State.RESTARTED))
        if isinstance(message, Restart):
            self.emit(LabelsSet({"system.restarted": "true"}))
        by_hand = (message.task_run_id, message.to) if isinstance(message, ChangeState) else None
        # A paused execution has its slot still; what waits in it does not wait for another (reference §5.6).
        has_slot = state is State.PAUSED
        self.reopen(Reopened(found.restarted, found.reopened, found.removed, reply_to), by_hand, has_slot=has_slot)

    def change_end(self, to: State) -> None:
        """Take the execution out of the queue, or set its end state by hand."""
        state = self.state.state
        if state is State.QUEUED and to in (State.CANCELLED, State.FAILED):
            self.call_off(to)
        elif self.state.closed and state not in (to, State.RETRIED) and to in SETTABLE | {State.CANCELLED}:
            self.emit(ExecutionMoved(to))
            self.emit(Closed())

    def reopen(
        self, reopened: Reopened, by_hand: tuple[str | None, State] | None = None, *, has_slot: bool = False
    ) -> None:
        """Open again what *reopened* says, and start what a failure kept from starting."""
        if by_hand is not None and by_hand[0] is not None:
            # Before the scopes are counted, so that they count the new state.
            self.emit(StateSet(by_hand[0], by_hand[1]))
        self.emit(reopened)
        self.start(force=has_slot)

    def catch_up_all(self) -> None:
        """Every open scope takes up what its turn is, the innermost first."""
        depths = {
            scope_id: 1 + sum(1 for _ in self.state.ancestors(self.state.task_runs[scope_id]))
            for scope_id in self.state.scopes
            if scope_id != ROOT
        }
        below: dict[str, list[TaskRun]] = defaultdict(list)
        if self.state.winding_down is None:  # otherwise nothing starts any more
            for run in self.state.in_order():
                below[self.state.scope_of(run)].append(run)
        for scope_id in sorted(depths, key=lambda run_id: (-depths[run_id], self.order(run_id))):
            scope = self.state.scopes.get(scope_id)
            if scope is not None and scope.phase not in ASKING:
                self.catch_up(scope_id, below[scope_id])
        if not self.state.state.is_terminal and (self.state.finishing is None or self.state.winding_down is not None):
            self.catch_up(ROOT, below[ROOT])

    def catch_up(self, scope_id: str, members: Iterable[TaskRun]) -> None:
        """Start the tasks whose turn came while a failure elsewhere in the scope kept them from starting.

        *members* are its task runs as they were before any scope caught up: what has ended since has gone on by itself.
        """
        scope = self.state.scopes[scope_id]
        order = flowable.order_of(self.state, scope_id, scope.phase)
        if not scope.failed and self.state.winding_down is None and order.length > 1:
            last: dict[int, TaskRun] = {}
            for run in members:
                if run.phase == scope.phase:
                    last[run.lane] = run
            for lane, run in sorted(last.items()):
                if run.state.is_success and run.position + 1 < order.length:
                    self.emit(TaskRunsCreated(scope_id, scope.phase, lane, lane + 1, run.position + 1))
        self.advance(scope_id)

    def wake_up(self) -> None:
        """The way back from a pause is PAUSED, RESTARTED, RUNNING (reference §0.14)."""
        if self.state.held:
            self.emit(Held(held=False))
            for task_run_id in sorted(self.state.items, key=self.order):
                self.launch_items(task_run_id)
        if self.state.state is State.PAUSED:
            self.emit(ExecutionMoved(State.RESTARTED))
            self.emit(ExecutionMoved(State.RUNNING))

    def pause_over(self, task_run: TaskRun) -> None:
        """The time of a Pause is over: its timeout fails it; otherwise its behavior says how it ends."""
        is_timeout = self.state.paused[task_run.id]
        if not self.state.held:
            self.wake_up()
        if is_timeout:
            self.end_task_run(task_run, State.FAILED, "The pause was not resumed before its timeout")
            return
        behavior = self.state.flow.tasks[task_run.task_id].properties.get("behavior", "RESUME")
        self.pause_ended(task_run, PAUSE_ENDS[behavior], None)

    def pause_ended(self, task_run: TaskRun, to: State, outputs: Payload | None) -> None:
        self.emit(PauseEnded(task_run.id, outputs))
        task_run = self.state.task_runs[task_run.id]
        if to in (State.CANCELLED, State.KILLED) and self.state.state.is_terminal:  # in afterExecution
            self.move_to_end(task_run, to, None)
        elif to in (State.CANCELLED, State.KILLED):
            self.wind_down(to)
            self.move_to_end(task_run, to, None)
            self.unwind()
        elif to in (State.WARNING, State.FAILED):
            self.end_task_run(task_run, to)
        else:
            if task_run.id not in self.state.scopes:
                self.emit(FlowableOpened(task_run.id, "tasks"))
            self.enter(task_run.id, "tasks")

    def settle(self) -> None:
        """An execution is PAUSED when a Pause waits and nothing else goes on (reference §3.5).

        One that is RETRYING, and all of which waits for its next attempts, holds no concurrency slot (§5.6).
        """
        state = self.state
        if (
            not state.exists
            or state.state not in (State.RUNNING, State.RETRYING)
            or state.ready
            or state.open_attempts
            or state.finishing is not None
        ):
            return
        if state.paused:
            if all(key.startswith(("pause:", "sla:")) for key in state.timers):
                self.emit(ExecutionMoved(State.PAUSED))
        elif (
            state.state is State.RETRYING
            and state.flow.definition.concurrency is not None
            and not state.slot_left
            and state.winding_down is None
            and all(key.startswith(("retry:", "sla:")) for key in state.timers)
        ):
            self.emit(SlotLeft())

    def kill(self, *, cascade: bool) -> None:
        if self.state.state.is_terminal or self.state.state is State.KILLING:
            return
        if ROOT not in self.state.scopes:  # it has not begun
            self.call_off(State.KILLED)
            return
        self.wind_down(State.KILLED, cascade=cascade)
        self.unwind()

    def abort(self, reason: str) -> None:
        """End everything by bare moves: the rules above may be what goes wrong."""
        for task_run in reversed(self.state.in_order()):  # children before parents
            attempt = task_run.open_attempt
            if attempt is not None and task_run.state is not State.KILLING:
                self.emit(TaskRunMoved(task_run.id, State.KILLING))
            if attempt is not None:
                self.emit(AttemptEnded(task_run.id, attempt.number, State.KILLED, attempt.started, self.now))
            if not task_run.state.is_terminal:
                self.emit(TaskRunMoved(task_run.id, State.FAILED, reason))
        if not self.state.state.is_terminal:
            self.emit(ExecutionMoved(State.FAILED, reason))
        self.emit(Closed())

    # -- Answers ------------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:  # noqa: C901, PLR0912 - one row per answer
        if isinstance(answer, Outputs):
            self.outputs_rendered(answer)
            return
        if isinstance(answer, Slot):
            self.slot_answered(answer)
            return
        task_run = self.state.task_runs[answer.task_run_id]
        if task_run.ticket is None:
            return
        match answer:
            case Skipped():
                self.end_task_run(task_run, State.SKIPPED)
            case Unplannable() if task_run.id in self.state.scopes:
                self.flowable_failed(task_run, answer.error)
            case Unplannable():
                self.end_task_run(task_run, State.FAILED, answer.error)
            case Ran():
                self.attempt_ended(task_run, answer.result)
            case Given():
                self.given(task_run, answer.result)
            case Opened():
                self.emit(FlowableOpened(task_run.id, answer.branch, answer.values, answer.outputs))
                self.enter(task_run.id, "tasks")
            case JobReady():
                lease = timedelta(seconds=answer.lease_seconds) if answer.lease_seconds is not None else None
                deadline = self.now + lease if lease is not None else None
                number = len(task_run.attempts)
                self.emit(AttemptStarted(task_run.id, number, answer.kind, answer.job, answer.owner, deadline))
            case Pauses():
                self.pause(task_run, answer)
            case LoopChecked():
                self.loop_checked(task_run, answer)
            case ItemsReady():
                self.items_ready(task_run, answer)
            case ChildReady():
                number = len(task_run.attempts)
                created = replace(answer.created, depth=self.depth() + 1, chain=self.chain())
                self.emit(ChildStarted(task_run.id, number, answer.child_id, created))
                if not answer.wait:
                    outputs = Inline({"executionId": answer.child_id})
                    result = AttemptResult(State.SUCCESS, self.now, self.now, outputs)
                    self.attempt_ended(self.state.task_runs[task_run.id], result)
            case Sleeps():
                due = self.now + timedelta(seconds=answer.seconds)
                job = Inline({"error": answer.error})
                self.emit(AttemptStarted(task_run.id, len(task_run.attempts), Kind.SLEEP, job, None, due))

    # -- ForEachItem: one task run, an execution for each part ----------------------------------------

    def items_ready(self, task_run: TaskRun, answer: ItemsReady) -> None:
        number = len(task_run.attempts)
        task = self.state.flow.tasks[task_run.task_id]
        # Its later attempts restart the executions that failed, and hear of the others again.
        restarts = task.properties.get("restartBehavior", "RETRY_FAILED") == "RETRY_FAILED"
        self.emit(
            ItemsStarted(
                task_run.id,
                number,
                answer.total,
                answer.limit,
                answer.namespace,
                answer.flow_id,
                answer.revision,
                answer.folder,
                answer.wait,
                0 if restarts else number,
            )
        )
        if answer.total == 0:
            self.items_done(task_run.id)
        else:
            self.launch_items(task_run.id)

    def launch_items(self, task_run_id: str) -> None:
        """Begin as many executions as there is room for; without `wait`, a page of them."""
        items = self.state.items[task_run_id]
        last = min(items.started.total, items.launched + items.started.limit - len(items.open))
        if last > items.launched and not self.state.held and self.state.winding_down is None:
            self.emit(ItemsLaunched(task_run_id, items.launched, last))

    def item_reported(self, message: ItemReported) -> None:
        items = self.state.items.get(message.task_run_id)
        if items is None or items.started.number != message.number or message.index not in items.open:
            return
        self.emit(ItemEnded(message.task_run_id, message.index, message.state))
        self.launch_items(message.task_run_id)
        items = self.state.items[message.task_run_id]
        if not items.open and (items.launched == items.started.total or self.state.winding_down is not None):
            self.items_done(message.task_run_id)

    def items_go_on(self, task_run: TaskRun) -> None:
        """The page before is out: begin the next one, or end."""
        items = self.state.items.get(task_run.id)
        if items is not None and (items.launched == items.started.total or self.state.winding_down is not None):
            self.items_done(task_run.id)
        elif items is not None:
            self.launch_items(task_run.id)

    def items_done(self, task_run_id: str) -> None:
        """All executions have ended (or begun, without `wait`): the worst end counts, if it is transmitted at all."""
        task_run, items = self.state.task_runs[task_run_id], self.state.items[task_run_id]
        task = self.state.flow.tasks[task_run.task_id]
        counts = {state.value: items.ended[state] for state in State if state in items.ended}
        end, error = State.SUCCESS, None
        if task.properties.get("transmitFailed", True):
            end = next((state for state in (State.KILLED, State.FAILED, State.WARNING) if items.ended.get(state)), end)
        if end in (State.KILLED, State.FAILED):
            error = f"{counts[end.value]} of {items.started.total} executions ended {end}"
        outputs = None
        if items.started.total:
            # As Kestra counts: executions that nobody waited for have begun, and that is their success.
            told = {"CREATED": 0, "RUNNING": 0, **counts} if items.started.wait else {"SUCCESS": items.launched}
            outputs = Inline({"numberOfBatches": items.started.total, "iterations": told, "uri": items.started.folder})
        started = task_run.attempts[-1].started
        self.attempt_ended(task_run, AttemptResult(end, started, self.now, outputs, error))

    def depth(self) -> int:
        return self.state.created.depth if self.state.created is not None else 0

    def chain(self) -> int:
        return self.state.created.chain if self.state.created is not None else 0

    def pause(self, task_run: TaskRun, answer: Pauses) -> None:
        """A Pause's onPause task runs first, while the Pause is RUNNING."""
        if task_run.id not in self.state.scopes and self.state.flow.branch(task_run.task_id, "onPause"):
            self.emit(FlowableOpened(task_run.id, "tasks"))
            self.enter(task_run.id, "onPause")
            return
        due = self.now + timedelta(seconds=answer.seconds) if answer.seconds is not None else None
        self.emit(PauseBegan(task_run.id, due, answer.is_timeout))

    def loop_checked(self, task_run: TaskRun, answer: LoopChecked) -> None:
        """After a round: done, at a maximum (which may fail the loop), or the next round, at once or later."""
        if answer.done or answer.exceeded is not None:
            if answer.exceeded:
                self.flowable_failed(task_run, answer.exceeded)
            else:
                self.phase_done(task_run.id)
        elif answer.seconds > 0:
            self.emit(LoopWaits(task_run.id, self.now + timedelta(seconds=answer.seconds)))
        else:
            self.emit(RoundBegan(task_run.id, _next_round(task_run)))
            self.enter(task_run.id, "tasks")

    def flowable_failed(self, task_run: TaskRun, error: str) -> None:
        """An open flowable failed for a reason of its own; its errors and finally still run."""
        self.emit(ScopeFailed(task_run.id, error))
        self.phase_done(task_run.id)

    # -- Attempts -----------------------------------------------------------------------------------

    def given(self, task_run: TaskRun, result: AttemptResult) -> None:
        """Book the end of a task run that somebody else's word stands in for; it has one attempt, the result's."""
        number, error = len(task_run.attempts), result.error
        self.emit(AttemptEnded(task_run.id, number, result.state, result.started, result.ended, result.outputs, error))
        self.end_task_run(self.state.task_runs[task_run.id], result.state, error)

    def attempt_ended(self, task_run: TaskRun, result: AttemptResult, finder: str | None = None) -> None:
        """Book the end of an attempt: of a job that was out, or of an inline task that ran within this step."""
        attempt = task_run.open_attempt
        number = attempt.number if attempt is not None else len(task_run.attempts)
        error = result.error
        self.emit(AttemptEnded(task_run.id, number, result.state, result.started, result.ended, result.outputs, error))
        leaving = result.change is not None and self.change_execution(result.change)
        task_run = self.state.task_runs[task_run.id]
        if task_run.state is State.KILLING:
            to = self.state.winding_down
            self.move_to_end(task_run, to if to in (State.FAILED, State.CANCELLED) else State.KILLED, None)
        elif result.state is State.RESUBMITTED:
            self.attempt_lost(task_run, finder)
        elif task_run.id in self.state.scopes or self.kind(task_run) is Kind.WORKING_DIRECTORY:
            self.working_directory_job_ended(task_run, result)
        elif result.state is State.FAILED:
            self.attempt_failed(task_run, error)
        elif leaving and result.change is not None and result.change.exit is not None:
            self.move_to_end(task_run, result.change.exit, None)
        else:
            self.attempt_succeeded(task_run, result.state)
        if leaving:
            self.unwind()

    def attempt_succeeded(self, task_run: TaskRun, state: State) -> None:
        retry = self.state.flow.retries.get(task_run.task_id)
        if state is State.SUCCESS and retry is not None and retry.warning_on_retry and _made(task_run) > 1:
            state = State.WARNING
        self.end_task_run(task_run, state)

    def attempt_lost(self, task_run: TaskRun, finder: str | None) -> None:
        """Lost is not failed: try again at once with the same job; after so many in a row, fail (DESIGN §3.6).

        An execution that winds down does so too: what runs may end, and this ran.
        """
        task = self.state.flow.tasks[task_run.task_id]
        lost = task_run.attempts[-1]
        if task_run.lost <= task.resubmits and lost.job is not None:
            deadline = None
            if lost.deadline is not None:
                deadline = self.now + (lost.deadline - lost.started)
            number = len(task_run.attempts)
            self.emit(AttemptStarted(task_run.id, number, lost.kind, lost.job, finder or lost.owner, deadline))
        elif task_run.id in self.state.scopes:
            self.flowable_failed(task_run, task_run.error or "")
        elif task.kind is Kind.WORKING_DIRECTORY:
            self.end_task_run(task_run, State.FAILED, task_run.error)
        else:
            self.attempt_failed(task_run, task_run.error)

    def attempt_failed(self, task_run: TaskRun, error: str | None) -> None:
        retry = self.state.flow.retries.get(task_run.task_id)
        if retry is None or self.state.winding_down is not None:
            self.end_task_run(task_run, State.FAILED, error)
        elif retry.behavior is RetryBehavior.CREATE_NEW_EXECUTION:
            self.retry_execution(task_run, retry, error)
        else:
            last = task_run.attempts[-1].ended or self.now
            due = next_attempt(retry, _made(task_run), task_run.attempts[0].started, last, task_run.id)
            if due is None:
                self.end_task_run(task_run, State.FAILED, error)
                return
            self.emit(RetryScheduled(task_run.id, due))
            if self.state.state is State.RUNNING:
                self.emit(ExecutionMoved(State.RETRYING))

    def retry_execution(self, task_run: TaskRun, retry: Retry, error: str | None) -> None:
        """CREATE_NEW_EXECUTION: max_attempts counts executions; task run, parents and execution end RETRIED."""
        created = self.state.created
        assert created is not None, "a task run has an execution"  # noqa: S101 - for the type checker
        first = created.original_created or self.state.histories[0][1]
        last = task_run.attempts[-1].ended or self.now
        due = next_attempt(retry, created.attempt_number, first, last, self.state.id)
        if due is None or self.state.state.is_terminal:  # afterExecution changes nothing any more
            self.end_task_run(task_run, State.FAILED, error)
            return
        self.emit(Replaced(derived_id("retry", self.state.id, task_run.id), due))
        self.emit(WindingDown(State.RETRIED))
        self.end_task_run(task_run, State.RETRIED, error)
        self.unwind()

    def working_directory_job_ended(self, task_run: TaskRun, result: AttemptResult) -> None:
        """A WorkingDirectory has prepared its directory, or collected its files."""
        if task_run.id in self.state.scopes:
            self.phase_done(task_run.id)
        elif result.state is State.FAILED:
            self.end_task_run(task_run, State.FAILED, result.error)
        else:
            self.emit(FlowableOpened(task_run.id, "tasks"))
            self.enter(task_run.id, "tasks")

    def change_execution(self, change: ExecutionChange) -> bool:
        """Book what a task did to its own execution; True when it is the end of it."""
        if change.labels:
            self.emit(LabelsSet(change.labels))
        if change.variables or change.unset:
            self.emit(VariablesSet(change.variables, change.unset))
        if change.exit is None or self.state.winding_down is not None or self.state.state.is_terminal:
            return False
        self.wind_down(change.exit)
        return True

    # -- Scopes -------------------------------------------------------------------------------------

    def kind(self, task_run: TaskRun) -> Kind:
        return self.state.flow.tasks[task_run.task_id].kind

    def enter(self, scope_id: str, phase: str) -> None:
        self.emit(PhaseEntered(scope_id, phase))
        self.advance(scope_id)

    def advance(self, scope_id: str) -> None:
        """Open the lanes that may open; when nothing lives in the phase after that, it is done."""
        scope = self.state.scopes[scope_id]
        if not scope.failed and self.state.winding_down is None:
            order = flowable.order_of(self.state, scope_id, scope.phase)
            room = order.limit - scope.live if order.limit else order.lanes
            if order.is_graph:
                lanes = [lane for lane in range(order.lanes) if not order.waits(lane, scope)][: max(room, 0)]
                for lane in lanes:
                    self.emit(TaskRunsCreated(scope_id, scope.phase, lane, lane + 1))
            else:
                last = min(order.lanes, scope.opened + room)
                if last > scope.opened:
                    self.emit(TaskRunsCreated(scope_id, scope.phase, scope.opened, last))
        if self.state.scopes[scope_id].live == 0:
            self.phase_done(scope_id)

    def child_ended(self, task_run: TaskRun, state: State) -> None:
        """Go on in the child's lane, or, when the lane is through, open the next ones."""
        scope_id = self.state.scope_of(task_run)
        scope = self.state.scopes[scope_id]
        order = flowable.order_of(self.state, scope_id, scope.phase)
        position = task_run.position + 1
        if state.is_success and position < order.length and self.state.winding_down is None:
            self.emit(TaskRunsCreated(scope_id, scope.phase, task_run.lane, task_run.lane + 1, position))
        else:
            self.advance(scope_id)

    def phase_done(self, scope_id: str) -> None:
        """The list is through: go to the next one this scope owes, or end it."""
        scope = self.state.scopes[scope_id]
        if scope.phase == "afterExecution":
            self.emit(Closed())
            return
        if self.state.winding_down is not None:
            self.end_scope(scope_id, self.state.winding_down)
            return
        owner = ROOT if scope_id == ROOT else self.state.task_runs[scope_id].task_id
        branch = self.state.flow.branch
        asking = self.asking_phase(scope_id)
        if asking is not None:
            self.emit(PhaseEntered(scope_id, asking))
        elif scope.phase == PAUSE and not scope.failed:
            self.enter(scope_id, "tasks")
        elif scope.result is State.FAILED and not scope.tried & {"errors", "finally"} and branch(owner, "errors"):
            self.enter(scope_id, "errors")
        elif "finally" not in scope.tried and scope.result is not State.KILLED and branch(owner, "finally"):
            self.enter(scope_id, "finally")
        else:
            self.end_scope(scope_id, scope.result)

    def asking_phase(self, scope_id: str) -> str | None:
        """Return the phase that comes now if the flowable must be prepared once more, after its tasks or onPause."""
        if scope_id == ROOT:
            return None
        task = self.state.flow.tasks[self.state.task_runs[scope_id].task_id]
        scope = self.state.scopes[scope_id]
        match task.kind, scope.phase:
            case Kind.WORKING_DIRECTORY, "tasks" if "outputFiles" in task.properties or "cache" in task.properties:
                return COLLECT  # also after a failure
            case Kind.LOOP_UNTIL, "tasks" if not scope.failed:
                return CHECK
            case Kind.PAUSE, "onPause" if not scope.failed:
                return PAUSE
            case _:
                return None

    def end_scope(self, scope_id: str, result: State) -> None:
        if scope_id == ROOT:
            self.end_execution(result)
        elif self.state.winding_down is not None:  # the flags of a flowable do not soften a kill or an exit
            self.move_to_end(self.state.task_runs[scope_id], result, None)
        else:
            self.end_task_run(self.state.task_runs[scope_id], result)

    # -- Ends ---------------------------------------------------------------------------------------

    def end_task_run(self, task_run: TaskRun, result: State, error: str | None = None) -> None:
        """Move the task run to its end state, its flags applied, and tell the scope above."""
        self.move_to_end(task_run, flowable.final_state(self.state.flow.tasks[task_run.task_id], result), error)

    def move_to_end(self, task_run: TaskRun, result: State, error: str | None) -> None:
        self.emit(TaskRunMoved(task_run.id, result, error))
        self.child_ended(task_run, result)

    def end_execution(self, result: State) -> None:
        """All tasks are done. The flow's outputs come next, if it has any; a kill or a takeover renders none.

        With assertions, too, it ends only after this change of it was looked at.
        """
        looks = self.state.flow.has_assertions and self.state.winding_down is None
        asks = looks or self.state.flow.definition.outputs
        if asks and result not in (State.KILLED, State.RETRIED):
            self.emit(Finishing(result))
        else:
            self.close(result, None)

    def outputs_rendered(self, answer: Outputs) -> None:
        result = self.state.finishing
        if result is None:
            return
        if answer.error is not None:
            # Outputs that cannot render fail a finished execution (reference §0.17); a failed one keeps its reason,
            # and one that left early its end: what the outputs are made of may never have run.
            if result is State.FAILED or self.state.winding_down is not None:
                self.close(result, None)
            else:
                self.close(State.FAILED, answer.error)
            return
        self.emit(OutputsRendered(answer.outputs))
        self.close(result, None)

    def close(self, result: State, error: str | None) -> None:
        self.emit(ExecutionMoved(result, error))
        if self.state.flow.branch(ROOT, "afterExecution"):
            self.enter(ROOT, "afterExecution")
        else:
            self.emit(Closed())

    # -- Leaving early ------------------------------------------------------------------------------

    def wind_down(self, to: State, *, stop: bool = False, cascade: bool = True, error: str | None = None) -> None:
        """Kill, Exit, a broken SLA: nothing new starts; what runs may end, or is stopped; then all ends in *to*.

        Without *cascade*, executions that it has started and waits for go on: nobody waits for them any more.
        """
        if to is State.KILLED:
            self.emit(ExecutionMoved(State.KILLING))
        self.emit(WindingDown(to, error, cascade and to is State.KILLED))
        if to is not State.KILLED and not stop:
            return
        running = sorted(self.state.open_attempts, key=self.order)
        started = () if cascade else (*self.state.children, *self.state.items)
        spares = [task_run_id for task_run_id in running if task_run_id in started]
        for task_run_id in running:
            # Else: by an SLA that was broken before.
            if task_run_id not in spares and self.state.task_runs[task_run_id].state is not State.KILLING:
                self.emit(TaskRunMoved(task_run_id, State.KILLING))
        for task_run in [self.state.task_runs[task_run_id] for task_run_id in running]:
            if task_run.attempts[-1].kind is Kind.SLEEP:
                self.sleep_ended(task_run)
        for task_run in [self.state.task_runs[task_run_id] for task_run_id in spares]:
            number, begun = task_run.attempts[-1].number, task_run.attempts[-1].started
            self.emit(AttemptEnded(task_run.id, number, State.KILLED, begun, self.now))
            self.move_to_end(self.state.task_runs[task_run.id], to, None)

    def unwind(self, *, ends: bool = False) -> None:
        """After wind_down: what waits ends, and with it whatever is empty then.

        With *ends*, what has not begun ends as the execution does, and is not passed over.
        Nothing is left to do when the execution has ended by now: what waits then is its afterExecution.
        """
        if self.state.winding_down is not None:
            self.leave_nothing_waiting(ends=ends)
        if self.state.winding_down is not None and not self.state.open_attempts:
            self.catch_up_all()  # all had ended before: it was queued, or about to render its outputs

    def leave_nothing_waiting(self, *, ends: bool) -> None:
        """End every task run that has not begun, or waits to be tried again; then whatever is empty now ends itself."""
        to = self.state.winding_down
        killed = to is State.KILLED
        waiting = [self.state.ready[ticket] for ticket in sorted(self.state.ready)]
        waiting += [key.split(":")[1] for key in self.state.timers if key.startswith(("retry:", "loop:"))]
        waiting += list(self.state.paused)
        for task_run_id in sorted(waiting, key=self.order):
            task_run = self.state.task_runs[task_run_id]
            begins = task_run.state is State.RUNNING and task_run_id not in self.state.scopes  # a replay, at it
            if task_run.state is State.PAUSED and to in LEAVES_UNDONE:
                self.move_to_end(task_run, to, None)
            elif begins or task_run.state in (State.CREATED, State.RESTARTED, State.RETRYING, State.PAUSED):
                goes_on = task_run.attempts or task_run.state is State.RESTARTED
                if (begins and not killed) or (to in LEAVES_UNDONE and goes_on):
                    self.move_to_end(task_run, State.FAILED, None)  # so that a restart takes it up
                elif to in LEAVES_UNDONE and ends:
                    self.move_to_end(task_run, to, None)
                else:
                    self.end_task_run(task_run, State.KILLED if killed else State.SKIPPED)
            elif task_run.ticket is not None:  # a flowable about to be prepared once more, after its tasks
                self.phase_done(task_run.id)
        for task_run_id in sorted(self.state.items, key=self.order):
            if task_run_id in self.state.items and not self.state.items[task_run_id].open:
                self.items_done(task_run_id)

    def order(self, task_run_id: str) -> int:
        return self.state.task_runs[task_run_id].order


def _next_round(task_run: TaskRun) -> Payload:
    """Return a LoopUntil's outputs in its next round; iterationCount starts at 1 (reference §3.6)."""
    outputs = task_run.outputs
    count = outputs.value["iterationCount"] if isinstance(outputs, Inline) else 1
    return Inline({"iterationCount": count + 1})


def _made(task_run: TaskRun) -> int:
    """Return how many attempts count: those that were not lost, or the one that losing too often stands for."""
    return max(1, sum(attempt.state is not State.RESUBMITTED for attempt in task_run.attempts))
