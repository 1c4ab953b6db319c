"""The loop: load, decide, append, issue, acknowledge (DESIGN §3).

One call of `Executor.handle` takes one execution from where its journal stands as far as it can go: it lets the
core decide, answers the core's questions, writes one entry a step, issues the entry's commands, and runs light
tasks in place. When it returns, the messages it was given may be acknowledged: whatever they called for is in the
journal and its commands are out.

Safety rests on the journal's conditional append alone. Whoever finds its seq taken forgets what it held, reads the
journal and starts over; what it prepared in vain has had no effect outside.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent import futures
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol, TypeVar

import msgspec

from headrace_engine.callers import caller_of
from headrace_engine.concurrency import SlotKeeper
from headrace_engine.core.codec import encode_entry, encode_message, encode_state
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
    SetTimer,
    StartAttempt,
    StartExecution,
    StartItems,
    StopAttempt,
)
from headrace_engine.core.decide import decide, next_question
from headrace_engine.core.events import (
    AttemptEnded,
    ChildStarted,
    Entry,
    Event,
    ExecutionCreated,
    LogRecord,
    MetricRecord,
    TaskRunMoved,
)
from headrace_engine.core.evolve import evolve
from headrace_engine.core.fold import begin_entry, item_id, mark_issued
from headrace_engine.core.messages import (
    Answer,
    AttemptReported,
    Create,
    ItemReported,
    JobReady,
    Kill,
    KillMore,
    Message,
    Poke,
    Prepare,
    Question,
    Restart,
    SlaViolated,
    TimerFired,
)
from headrace_engine.core.outstanding import commands_of, outstanding
from headrace_engine.core.restart import can_restart
from headrace_engine.core.state import ExecutionState, Items
from headrace_engine.known import FlowFor, Known, left_behind, read_journal
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.definition import FlowDefinition, Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.model.state import State
from headrace_engine.payloads import Payloads
from headrace_engine.ports import (
    AttemptId,
    Claim,
    ExecutionSummary,
    Job,
    JournalEntry,
    Level,
    LogLine,
    MetricPoint,
    PortError,
    SeqTakenError,
    StateChange,
)
from headrace_engine.prepare import ItemError, Prepared, job_of
from headrace_engine.services import Channels, Settings, Stores

_log = logging.getLogger(__name__)

_HELD_EXECUTIONS = 1024
_HELD_TASK_RUNS = 20_000
"""States held in memory, least recently used first to go: a journal is read again in milliseconds."""
_LIGHT_THREADS = 16
_LIGHTS_OPEN = 2 * _LIGHT_THREADS
"""So many light attempts of one execution are open here at once, about to run or running. The others of a wide loop
are begun as these end: they hold no lease meanwhile, and whoever stops here (yield_at) waits for few.
"""
_LINES_WAIT = timedelta(seconds=1)
"""How long log lines may wait for those of later steps to be copied with them."""
_LINES_TOGETHER = 200
"""How many may."""
_GRACE = timedelta(minutes=2)
"""How long after something was due the sweeper looks whether it happened."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A light attempt that ran, with the log lines and metrics that nobody has stored yet."""

    result: AttemptResult
    logs: tuple[LogRecord, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()


RunLight = Callable[[Job, timedelta], Ran]
"""Runs a light attempt here and now and returns how it ended; never raises."""
Record = TypeVar("Record", LogRecord, MetricRecord)


class Answerer(Protocol):
    """Answers the core's questions: prepare.Preparer, or what stands before it (a test's fixtures)."""

    def answer(
        self, state: ExecutionState, question: Question, now: datetime, lines: Sequence[LogRecord] = ()
    ) -> Prepared:
        """See Preparer.answer."""

    def child_result(self, state: ExecutionState, reply: Reply, now: datetime) -> AttemptResult:
        """See Preparer.child_result."""

    def item(self, state: ExecutionState, task_run_id: str, index: int, now: datetime) -> ExecutionCreated:
        """See Preparer.item."""

    def broken_sla(self, state: ExecutionState, now: datetime) -> str | None:
        """See Preparer.broken_sla."""


@dataclass(slots=True)
class _Step:
    """What one entry will hold, while it is being decided."""

    state: ExecutionState
    events: list[Event]
    logs: list[LogRecord]
    metrics: list[MetricRecord]
    size: int = 0
    questions: int = 0
    asked: dict[str, str] = field(default_factory=dict)
    """Task run id to task id of those that were asked about."""

    def add(self, state: ExecutionState, events: Sequence[Event]) -> None:
        self.state = state
        self.events.extend(events)


class Executor:
    """Advances executions. Safe to call from many threads for different executions, one at a time for each."""

    def __init__(
        self,
        stores: Stores,
        channels: Channels,
        settings: Settings,
        *,
        flow_for: FlowFor,
        preparer: Answerer,
        payloads: Payloads,
        run_light: RunLight,
        is_gone: Callable[[str], bool],
        on_step: Callable[[ExecutionState, Entry], None] = lambda _state, _entry: None,
        on_workspace: Callable[[str, str], None] = lambda _execution_id, _task_run_id: None,
        light_pool: futures.Executor | None = None,
        slots: SlotKeeper,
    ) -> None:
        """Take the ports.

        is_gone(owner) tells whether the holder of a lease is known to be dead, so that nobody need wait for its
        deadline. on_step is told every entry this executor wrote; on_workspace, that a WorkingDirectory's
        directory is free. light_pool runs light tasks; threads of this executor's own when None.
        """
        self.owner = new_id()
        """Names this executor in leases."""
        self._stores = stores
        self._channels = channels
        self._settings = settings
        self._flow_for = flow_for
        self._preparer = preparer
        self._payloads = payloads
        self._run_light = run_light
        self._is_gone = is_gone
        self._on_step = on_step
        self._on_workspace = on_workspace
        self._slots = slots
        self._held: OrderedDict[str, Known] = OrderedDict()
        self._held_task_runs = 0
        self._held_lock = threading.Lock()
        self._light_pool = light_pool or ThreadPoolExecutor(_LIGHT_THREADS, thread_name_prefix="headrace-light")

    # -- Loading ------------------------------------------------------------------------------------

    def load(self, execution_id: str) -> ExecutionState | None:
        """Return the execution's state, from what this executor holds or from the journal; None without a journal."""
        known = self._load(execution_id)
        return known.state if known is not None else None

    def seen(self, execution_id: str) -> ExecutionState | None:
        """Return how an execution stands, None when it has no entry, for somebody who only looks: nothing is held."""
        with self._held_lock:
            known = self._held.get(execution_id)
        if known is None:
            known = read_journal(self._stores.journal, execution_id, self._flow_for)
        # What is about to be created is held without an entry.
        return known.state if known is not None and known.state.exists else None

    def _load(self, execution_id: str, created: ExecutionCreated | None = None) -> Known | None:
        """Return what is known of the execution; *created* makes the empty state of one that does not exist yet."""
        return self._held_or_read(execution_id, created)[0]

    def _held_or_read(self, execution_id: str, created: ExecutionCreated | None) -> tuple[Known | None, bool]:
        """Return the same as _load, and whether it was read from the journal for this."""
        with self._held_lock:
            if execution_id in self._held:
                self._held.move_to_end(execution_id)
                return self._held[execution_id], False
        known = read_journal(self._stores.journal, execution_id, self._flow_for, created)
        # What has not begun is not held: whoever creates it the next time may do it with a later revision of the flow.
        return self._hold(known) if known is not None and known.state.exists else known, True

    def _hold(self, known: Known) -> Known:
        state = known.state
        with self._held_lock:
            self._drop(state.id)
            self._held[state.id] = known
            self._held_task_runs += state.created_task_runs
            while len(self._held) > 1 and (
                len(self._held) > _HELD_EXECUTIONS or self._held_task_runs > _HELD_TASK_RUNS
            ):
                self._drop(next(iter(self._held)))
        return known

    def _drop(self, execution_id: str) -> None:
        dropped = self._held.pop(execution_id, None)
        if dropped is not None:
            self._held_task_runs -= dropped.state.created_task_runs

    def forget(self, execution_id: str) -> None:
        """Drop what is held of an execution; the journal has it."""
        with self._held_lock:
            self._drop(execution_id)

    def close(self) -> None:
        """End the threads of light tasks."""
        self._light_pool.shutdown()

    # -- The loop -----------------------------------------------------------------------------------

    def handle(self, execution_id: str, messages: Sequence[Message], *, yield_at: datetime | None = None) -> None:
        """Take the execution as far as *messages* allow. Raises PortError when a store fails: then deliver again.

        From *yield_at* on nothing new begins here; a message to itself has the execution taken further elsewhere.
        FormatError: a newer version wrote its journal; only that can go on.
        """
        create = next((message for message in messages if isinstance(message, Create)), None)
        created = next((each.created for each in messages if isinstance(each, Create | Kill) and each.created), None)
        known, is_fresh = self._held_or_read(execution_id, created)
        if known is None:
            # Whoever sends to an execution has its id from its journal, or sends along what creates it: it was purged.
            _log.warning("Messages for execution %s, which has no journal, are dropped", execution_id)
            return
        if any(isinstance(message, Poke) for message in messages):
            known = known if is_fresh else self._newer(known) or known
            is_fresh = True
            if known.state.state.is_terminal:  # before the summary: who recovers looks only at what has not ended
                known = self._keep_lines(known)
            self._issue(known.state, outstanding(known.state))
            known = self._hold(known.issued()) if known.state.exists else known
            if known.state.exists:  # what changed without a change of state: labels, the next timer
                self._stores.executions.put(summary(known.state))
                if known.state.state is State.QUEUED:
                    self._slots.look_again(known.state)
        self._give_back_slot(known.state)
        state = known.state
        for message in messages:
            if isinstance(message, KillMore):
                self._kill_left_behind(state, message.asked)
        if (
            state.follower is not None
            and state.state is State.RETRIED
            and (kill := next((each for each in messages if isinstance(each, Kill)), None)) is not None
        ):
            # Who asks does not know that another execution took over.
            follower = state.follower
            again = Kill(follower.created, kill.cascade)
            self._channels.mailbox.send(follower.execution_id, encode_message(again))
        if create is not None and create.created.reply_to is not None and state.exists and state.state.is_terminal:
            reply_to = create.created.reply_to
            is_later = create.created.is_called_after(state.created)
            if is_later and state.closed and can_restart(state):
                # A later attempt of who started it: what failed runs again (reference §3.2, restartBehavior).
                messages = [*messages, Restart(reply_to)]
            elif is_later or state.state is not State.RETRIED:  # else the execution that took over replies
                # Whoever started it asks again: the reply may have been lost.
                self._reply(state, Reply(reply_to, state.state))
        self._advance(known, messages, created, yield_at, is_fresh=is_fresh)

    def _give_back_slot(self, state: ExecutionState) -> None:
        """Give back the slot of an execution that has ended, or left it: the next in the queue gets it.

        It was granted meanwhile, or taken by an executor that was too late with its entry.
        """
        is_without = state.exists and (state.state.is_terminal or state.slot_left)
        if state.flow.definition.concurrency is not None and is_without:
            self._slots.leave(state)

    def recover(self, execution_id: str) -> None:
        """Issue every command the execution still calls for: for a runtime whose timers and workers died with it."""
        self.handle(execution_id, [Poke()])

    def _advance(
        self,
        known: Known,
        messages: Iterable[Message],
        created: ExecutionCreated | None,
        yield_at: datetime | None,
        *,
        is_fresh: bool,
    ) -> None:
        """Step until nothing is left to do here; then make sure that what was decided before is out, too.

        is_fresh: *known* was read since the messages came, and whoever sent them knows no more.
        """
        execution_id = known.state.id
        running: set[Future[AttemptReported]] = set()
        said: dict[tuple[str, int], Ran] = {}
        """What the light attempts that ran here left to be stored, until an entry has it."""
        waiting = [*messages, *self._orphaned_leases(known.state)]
        ours: set[tuple[str, int]] = set()
        """Task runs and numbers of the light attempts that this call has run or runs."""
        begun = refused = False
        try:
            while True:
                before = known
                # Not before the first step: an invocation that began late must get on, too.
                yields = begun and yield_at is not None and self._stores.clock.now() >= yield_at
                begun = True
                try:
                    known, lights, stale = self._step(
                        known,
                        waiting,
                        0 if yields else self._settings.questions_per_step,
                        _LIGHTS_OPEN - len(running),
                        said,
                    )
                except SeqTakenError:
                    # Another executor was here. The light tasks that run here are still ours, and so is what they give.
                    self.forget(execution_id)
                    known = self._load_again(execution_id, created)
                    self._give_back_slot(known.state)
                    waiting += self._orphaned_leases(known.state, ours)
                    refused = True
                    continue
                is_old, is_fresh = not is_fresh, False
                if stale and known is before and is_old and (newer := self._newer(known)) is not None:
                    # What is held here was old: perhaps the message applies after all.
                    known = newer
                    waiting += self._orphaned_leases(known.state, ours)
                    continue
                self._set_again(before.state, known.state, waiting)
                self._keep_what_no_entry_has(known.state, waiting, said)
                waiting = []
                ours |= {(light.task_run_id, light.number) for light in lights}
                if refused or stale:
                    known = self._catch_up(known)
                    refused = False
                state = known.state
                if len(lights) == 1 and not (running or known.unkept) and next_question(state) is None:
                    waiting.append(self._report(state, lights[0], said))
                    continue
                running |= {self._light_pool.submit(self._report, state, light, said) for light in lights}
                goes_on = next_question(state) is not None and not yields
                if not (running or goes_on):
                    if next_question(state) is not None:
                        self._channels.mailbox.send(execution_id, encode_message(Poke()))
                    self._keep_lines(known)
                    return
                known, done, running = self._ended(known, running, goes_on=goes_on)
                waiting += [future.result() for future in done]
        finally:
            # After an error, too: whoever comes next takes leases of this executor for abandoned.
            wait(running)

    def _ended(
        self, known: Known, running: set[Future[AttemptReported]], *, goes_on: bool
    ) -> tuple[Known, set[Future[AttemptReported]], set[Future[AttemptReported]]]:
        """Return the light tasks that ended, which share the next entry, and the others.

        Where there is nothing else to do, or no room for more, wait for one; lines that wait do so for a while.
        """
        if goes_on and len(running) < _LIGHTS_OPEN:
            done = {future for future in running if future.done()}
            return known, done, running - done
        done, left = wait(running, _LINES_WAIT.total_seconds() if known.unkept else None, return_when=FIRST_COMPLETED)
        if not done:
            known = self._keep_lines(known)
            done, left = wait(running, return_when=FIRST_COMPLETED)
        return known, done, left

    def _load_again(self, execution_id: str, created: ExecutionCreated | None) -> Known:
        known = self._load(execution_id, created)
        if known is None:
            raise PortError(f"The journal of execution {execution_id} is gone")
        return known

    def _newer(self, known: Known) -> Known | None:
        """Return *known* with the entries that others wrote meanwhile; None when there are none."""
        stored = self._stores.journal.entries(known.state.id, after=known.state.seq)
        if not stored:
            return None
        for each in stored:
            known = known.after(each)
        return self._hold(known)

    def _catch_up(self, known: Known) -> Known:
        """Issue the commands that the writers of the last entries may have died before issuing.

        Called when a message was found applied already, or an append was refused (DESIGN §3.3).
        """
        state = known.state
        if state.issued_through == state.seq:
            return known
        self._issue(state, outstanding(state, above=state.issued_through))
        return self._hold(known.issued())

    def _set_again(self, before: ExecutionState, state: ExecutionState, messages: Iterable[Message]) -> None:
        """Set timers again that came before they were due: a clock may be set back meanwhile.

        Not those that the step itself has set, under the same key: a LoopUntil's next round.
        """
        for message in messages:
            if isinstance(message, TimerFired) and message.key in state.timers:
                timer = state.timers[message.key]
                if before.timers.get(message.key) == timer:
                    self._channels.timers.wake(state.id, message.key, timer[0])

    def _step(
        self, known: Known, messages: Iterable[Message], questions: int, room: int, said: dict[tuple[str, int], Ran]
    ) -> tuple[Known, list[StartAttempt], bool]:
        """Decide, answering so many *questions* at most, and write one entry and issue its commands.

        No more is answered once *room* light attempts have begun. The entry takes up what attempts whose reports it
        takes have *said*. Return what is known after it, the light tasks to run, and whether a message had been
        applied before.
        """
        clock, before = self._stores.clock, known.state
        at = clock.now()
        step = _Step(begin_entry(before, at), [], [], [])
        stale = False
        taken: list[tuple[str, int]] = []
        for message in messages:
            events = self._decide(step, message, at)
            if isinstance(message, TimerFired):
                step.logs += _failures(events, at)
            if isinstance(message, AttemptReported) and (key := (message.task_run_id, message.number)) in said:
                # Also of an attempt that somebody has ended meanwhile.
                step.logs += said[key].logs
                step.metrics += said[key].metrics
                taken.append(key)
            stale |= not events
        self._answer_questions(step, questions, room)
        if not step.events:
            return known, [], stale
        draft = self._issue_earlier(known, step.state)
        begun = at if before.at is None else max(at, before.at)
        entry = Entry(
            draft.seq,
            begun,
            tuple(step.events),
            before.seq,
            tuple(_named(step, record) for record in step.logs),
            tuple(_named(step, record) for record in step.metrics),
            known.kept_through,
        )
        size = self._append(draft.id, entry)
        for key in taken:
            del said[key]
        known = self._hold(known.appended(entry, draft, size))
        commands = list(commands_of(draft, entry.events))
        # Whoever hears of a new state finds the lines that led to it.
        if self._is_due(known, at) or any(isinstance(command, Announce | Reply) for command in commands):
            known = self._keep_lines(known)
        lights = self._issue(draft, commands)
        known = self._hold(self._snapshot(known.issued()))
        self._on_step(known.state, entry)
        return known, lights, stale

    def _issue_earlier(self, known: Known, draft: ExecutionState) -> ExecutionState:
        """Issue what entries before the *draft* decided, if that is not known to be done and the draft still needs it.

        So every entry can say that the commands of all before it are out, and whoever reads the journal afresh has
        the last one's to repeat at most. Return the draft, knowing it.
        """
        before = known.state
        if before.issued_through == before.seq:
            return draft
        self._issue(before, outstanding(draft, above=before.issued_through, through=before.seq))
        return mark_issued(draft, before.seq)

    def _snapshot(self, known: Known) -> Known:
        """Store a snapshot when what came since the last one has grown as large: the cost stays in proportion."""
        state = known.state
        since = state.seq - known.snapshot_seq
        if since < self._settings.snapshot_entries or known.grown < known.snapshot_size:
            return known
        known = self._keep_lines(known)  # whoever reads the snapshot does not read the entries before it
        data = encode_state(state)
        try:
            self._stores.journal.save_snapshot(state.id, state.seq, data)
        except PortError as error:
            _log.warning("No snapshot of execution %s was stored: %s", state.id, error)
            return known
        return replace(known, snapshot_seq=state.seq, snapshot_size=len(data), grown=0)

    def _answer_questions(self, step: _Step, limit: int, room: int) -> None:
        settings, clock = self._settings, self._stores.clock
        while step.questions < limit and step.size < settings.bytes_per_step and room > 0:
            question = next_question(step.state)
            if question is None:
                return
            now = clock.now()
            if isinstance(question, Prepare):
                step.asked[question.task_run_id] = step.state.task_runs[question.task_run_id].task_id
            prepared: Prepared = self._preparer.answer(step.state, question, now, step.logs)
            step.logs.extend(prepared.logs)
            step.metrics.extend(prepared.metrics)
            step.size += prepared.size
            step.questions += 1
            answer = prepared.answer
            if isinstance(answer, JobReady) and answer.kind is Kind.LIGHT:
                answer = replace(answer, owner=self.owner)
                room -= 1
            self._decide(step, answer, now)

    def _decide(self, step: _Step, what: Message | Answer, now: datetime) -> Sequence[Event]:
        """Have *what* decided, and look at the flow's assertions if it changed the execution (reference §5.7).

        Return the events of *what* alone. The first broken assertion acts; what it does is a change again.
        """
        decision = decide(step.state, what, now)
        step.add(decision.state, decision.events)
        while decision.events and not step.state.state.is_terminal and step.state.winding_down is None:
            broken = self._preparer.broken_sla(step.state, now)
            if broken is None:
                break
            acted = decide(step.state, SlaViolated(broken), now)
            step.add(acted.state, acted.events)
        return decision.events

    def _append(self, execution_id: str, entry: Entry) -> int:
        """Append *entry* and return its bytes."""
        writer = new_id()
        stored = JournalEntry(execution_id, entry.seq, writer, encode_entry(entry))
        try:
            self._stores.journal.append(stored)
        except SeqTakenError as taken:
            if taken.stored.writer != writer:  # else: ours, whose answer was lost
                raise
        return len(stored.data)

    def _keep_what_no_entry_has(
        self, state: ExecutionState, messages: Iterable[Message], said: dict[tuple[str, int], Ran]
    ) -> None:
        """Store what attempts said whose reports did not lead to an entry: others ended them meanwhile."""
        for message in messages:
            if not isinstance(message, AttemptReported):
                continue
            ran = said.pop((message.task_run_id, message.number), None)
            if ran is None:
                continue
            batch, definition = f"{message.task_run_id}/{message.number}/late", state.flow.definition
            if ran.logs:
                self._stores.logs.append(state.id, batch, log_lines(state.id, definition, ran.logs))
            if ran.metrics:
                self._stores.metrics.append(state.id, batch, metric_points(state.id, definition, ran.metrics))

    def _is_due(self, known: Known, now: datetime) -> bool:
        """Return whether log lines have waited long enough for others to be copied with them."""
        unkept = known.unkept
        return bool(unkept) and (
            now - unkept[0].at >= _LINES_WAIT or sum(len(entry.logs) for entry in unkept) >= _LINES_TOGETHER
        )

    def _keep_lines(self, known: Known) -> Known:
        """Copy the log lines and metrics of all entries to where they are read; the entries are their safe place.

        Each entry's are a batch of their own, whoever copies them and together with whichever others: once is enough.
        """
        if not known.unkept:
            return known
        state, definition = known.state, known.state.flow.definition
        lines = {f"#{entry.seq}": log_lines(state.id, definition, entry.logs) for entry in known.unkept if entry.logs}
        points = {
            f"#{entry.seq}": metric_points(state.id, definition, entry.metrics)
            for entry in known.unkept
            if entry.metrics
        }
        if lines:
            self._stores.logs.append_all(state.id, lines)
        if points:
            self._stores.metrics.append_all(state.id, points)
        return self._hold(replace(known, unkept=()))

    # -- Commands -----------------------------------------------------------------------------------

    def _issue(  # noqa: C901, PLR0912 - one row per command
        self, state: ExecutionState, commands: Iterable[Command]
    ) -> list[StartAttempt]:
        """Carry out *commands*; return the light attempts that this executor must run itself."""
        lights: list[StartAttempt] = []
        announced = False
        changes: list[StateChange] = []
        for command in commands:
            match command:
                case StartAttempt(kind=Kind.LIGHT):
                    lights.append(command)
                case StartAttempt():
                    self._channels.dispatch.start(self._job(state, command))
                case StopAttempt():
                    self._channels.dispatch.stop(AttemptId(state.id, command.task_run_id, command.number))
                case SetTimer():
                    self._channels.timers.wake(state.id, command.key, command.due)
                case StartExecution():
                    message = encode_message(Create(command.created))
                    self._channels.mailbox.send(command.execution_id, message)
                case StartItems():
                    self._start_items(state, command)
                case KillExecution():
                    self._channels.mailbox.send(command.execution_id, encode_message(Kill(command.created)))
                case KillItem():
                    self._kill_item(state, command)
                case KillStarted():
                    self._kill_left_behind(state, 0)
                case Reply():
                    self._reply(state, command)
                case JoinQueue():
                    self._slots.join(state)
                case ReleaseSlot():
                    self._slots.leave(state)
                case ReleaseWorkspace():
                    self._on_workspace(state.id, command.task_run_id)
                case Announce():
                    announced = True
                    if command.number is not None:
                        changes.append(state_change(state, command.number))
        if changes:
            self._channels.bus.publish(*changes)
        if announced:  # last: who recovers looks only at what has not ended
            self._stores.executions.put(summary(state))
        return lights

    def settle_slots(self, namespace: str, flow_id: str) -> None:
        """Give free concurrency slots of a flow to who waits longest."""
        self._slots.settle(namespace, flow_id)

    def _reply(self, state: ExecutionState, reply: Reply) -> None:
        """Report the end of this execution to the task run that started it."""
        to = reply.to
        if to.index is not None:
            if state.outputs is not None and to.folder is not None:
                line = msgspec.json.encode(self._payloads.load(state.outputs)) + b"\n"
                self._stores.storage.put(f"{to.folder}/{to.index}.ion", line)
            report = ItemReported(to.task_run_id, to.number, to.index, reply.state)
            self._channels.mailbox.send(to.execution_id, encode_message(report))
            return
        result = self._preparer.child_result(state, reply, self._stores.clock.now())
        message = AttemptReported(to.task_run_id, to.number, result)
        self._channels.mailbox.send(to.execution_id, encode_message(message))

    def _start_items(self, state: ExecutionState, command: StartItems) -> None:
        """Create the executions of some parts of a ForEachItem; one that cannot begin has failed."""
        if command.task_run_id not in state.items:
            return  # it has ended
        items = state.items[command.task_run_id].started
        task_run = state.task_runs[command.task_run_id]
        for index in range(command.first, command.last):
            now = self._stores.clock.now()
            try:
                created = self._preparer.item(state, task_run.id, index, now)
            except ItemError as error:
                text = f"The execution for part {index} cannot begin: {error}"
                record = LogRecord(now, "ERROR", text, task_run.id, items.number, task_run.task_id)
                batch = f"{task_run.id}/{items.number}/item-{index}"
                definition = state.flow.definition
                self._stores.logs.append(state.id, batch, log_lines(state.id, definition, [record]))
                if items.wait:
                    report = encode_message(ItemReported(task_run.id, items.number, index, State.FAILED))
                    self._channels.mailbox.send(state.id, report)
                continue
            child_id = item_id(task_run.id, index, items.generation)
            self._channels.mailbox.send(child_id, encode_message(Create(created)))

    def _kill_item(self, state: ExecutionState, command: KillItem) -> None:
        """Stop the execution of one part, or keep it from beginning."""
        created = None
        if command.task_run_id in state.items:
            with suppress(ItemError):  # then it could not begin, either
                now = self._stores.clock.now()
                created = self._preparer.item(state, command.task_run_id, command.index, now)
        self._channels.mailbox.send(command.execution_id, encode_message(Kill(created)))

    def _kill_left_behind(self, state: ExecutionState, asked: int) -> None:
        """Stop the executions that nobody waits for, or keep them from beginning: a page of them, after the first."""
        most = self._settings.kills_at_once
        page = list(islice(left_behind(self._stores.journal, state.id), asked, asked + most))
        for left in page:
            if isinstance(left, ChildStarted):
                self._channels.mailbox.send(left.child_id, encode_message(Kill(left.created)))
                continue
            run_id = left.started.task_run_id
            # A task run that is gone was of an earlier round of a loop: its executions have begun long ago.
            open_again = state.items.set(run_id, Items(left.started)) if run_id in state.task_runs else state.items
            child_id = item_id(run_id, left.index, left.started.generation)
            self._kill_item(evolve(state, items=open_again), KillItem(child_id, run_id, left.index))
        if len(page) == most:
            self._channels.mailbox.send(state.id, encode_message(KillMore(asked + len(page))))

    def _job(self, state: ExecutionState, command: StartAttempt) -> Job:
        return job_of(state, command.task_run_id, command.number, self._payloads.load(command.job))

    # -- Light tasks --------------------------------------------------------------------------------

    def _report(self, state: ExecutionState, light: StartAttempt, said: dict[tuple[str, int], Ran]) -> AttemptReported:
        # The whole lease from here on: of a wide loop's light tasks, some begin long after their step.
        ran = self._run_light(self._job(state, light), timedelta(seconds=self._settings.lease_seconds))
        said[light.task_run_id, light.number] = ran
        return AttemptReported(light.task_run_id, light.number, ran.result)

    def _orphaned_leases(self, state: ExecutionState, ours: Container[tuple[str, int]] = ()) -> list[Message]:
        """Return reports for light attempts that nobody runs any more: lost (DESIGN §3.6, §3.7).

        A lease of this executor that is still open here was left behind by a call that failed, unless it is among
        *ours*; another's is waited for until its deadline, unless its holder is known to be gone.
        """
        now = self._stores.clock.now()
        lost: list[Message] = []
        for task_run_id in state.leases:
            attempt = state.task_runs[task_run_id].open_attempt
            if attempt is None or (task_run_id, attempt.number) in ours:
                continue
            overdue = attempt.deadline is None or attempt.deadline <= now
            if overdue or attempt.owner is None or attempt.owner == self.owner or self._is_gone(attempt.owner):
                result = lost_result(attempt.started, now, "The executor that ran the task vanished")
                lost.append(AttemptReported(task_run_id, attempt.number, result, finder=self.owner))
            elif attempt.deadline is not None:
                self._channels.timers.wake(state.id, f"lease:{task_run_id}", attempt.deadline)
        return lost


def lost_result(started: datetime, now: datetime, reason: str) -> AttemptResult:
    """Return the result of an attempt whose worker vanished (DESIGN §3.6)."""
    return AttemptResult(State.RESUBMITTED, started, max(started, now), error=reason)


def ended_with_engine(claim: Claim, now: datetime, reason: str) -> AttemptResult:
    """Return the result of a claim whose owner is dead, and whose processes are: lost, or what a stop asked for."""
    if claim.stop_requested:
        return AttemptResult(State.KILLED, claim.claimed, max(claim.claimed, now), error="The attempt was stopped")
    return lost_result(claim.claimed, now, reason)


def _named(step: _Step, record: Record) -> Record:
    """Return *record* with its task's id: the state after the entry may not know the task run any more."""
    run_id = record.task_run_id
    if run_id is None or record.task_id:
        return record
    return replace(record, task_id=step.asked.get(run_id) or step.state.task_runs[run_id].task_id)


def log_lines(execution_id: str, definition: FlowDefinition, records: Iterable[LogRecord]) -> list[LogLine]:
    """Return *records* as the log store has them."""
    return [
        LogLine(
            execution_id,
            definition.namespace,
            definition.id,
            record.timestamp,
            Level(record.level),
            record.message,
            record.task_id,
            record.task_run_id,
            record.attempt,
        )
        for record in records
    ]


def metric_points(execution_id: str, definition: FlowDefinition, records: Iterable[MetricRecord]) -> list[MetricPoint]:
    """Return *records* as the store of metrics has them."""
    return [
        MetricPoint(
            execution_id,
            definition.namespace,
            definition.id,
            record.task_id,
            record.task_run_id,
            record.kind,
            record.name,
            record.value,
            record.timestamp,
            record.tags,
        )
        for record in records
    ]


def _failures(events: Sequence[Event], at: datetime) -> list[LogRecord]:
    """Return log lines for what failed because a time was over: no worker is there to log it."""
    found = {
        event.task_run_id: (event.error, event.number if isinstance(event, AttemptEnded) else None)
        for event in reversed(events)
        if isinstance(event, AttemptEnded | TaskRunMoved) and event.error
    }
    return [LogRecord(at, Level.ERROR, error, run_id, number) for run_id, (error, number) in found.items()]


def state_change(state: ExecutionState, number: int) -> StateChange:
    """Return the change that stands at *number* in the execution's history."""
    created = state.created
    if created is None:
        raise ValueError(f"Execution {state.id} has no entries yet")
    entered, at = state.histories[number]
    return StateChange(
        execution_id=state.id,
        namespace=created.namespace,
        flow_id=created.flow_id,
        flow_revision=created.flow_revision,
        number=number,
        state=entered,
        at=at,
        trigger_id=created.trigger.get("id") if created.trigger is not None else None,
        chain=created.chain,
    )


def summary(state: ExecutionState) -> ExecutionSummary:
    """Return what lists and the sweeper need of *state*."""
    created = state.created
    if created is None:
        raise ValueError(f"Execution {state.id} has no entries yet")
    ended = state.state.is_terminal
    caller = caller_of(created)
    return ExecutionSummary(
        id=state.id,
        namespace=created.namespace,
        flow_id=created.flow_id,
        flow_revision=created.flow_revision,
        state=state.state,
        seq=state.seq,
        start=state.histories[0][1],
        end=state.histories[-1][1] if ended else None,
        wake_by=_wake_by(state),
        labels=dict(reversed(state.labels)),
        parent_id=created.parent_id,
        trigger_id=created.trigger.get("id") if created.trigger is not None else None,
        caller_id=caller[0] if caller is not None else None,
        original_id=created.original_id,
    )


def _wake_by(state: ExecutionState) -> datetime | None:
    """Return when the sweeper must look; None where nothing is left to do, or a person must do it (DESIGN §3.12)."""
    if state.closed:
        return None
    dues = [due for due, _ in state.timers.values()]
    is_owed = (
        any(not _sleeps(state, task_run_id) for task_run_id in state.open_attempts)
        or (state.ready and not state.held)
        or state.state is State.QUEUED
        or not (dues or state.paused or state.held)
    )
    if is_owed:
        dues.append(state.histories[-1][1])
    return min(dues) + _GRACE if dues else None


def _sleeps(state: ExecutionState, task_run_id: str) -> bool:
    attempt = state.task_runs[task_run_id].open_attempt
    return attempt is not None and attempt.kind is Kind.SLEEP
