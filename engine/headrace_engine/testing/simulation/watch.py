"""The oracle: follows every entry, claim and message, and says what does not hold."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace_engine.core.codec import FormatError, decode_entry, decode_message
from headrace_engine.core.commands import Announce, Command, Reply, SetTimer, StartAttempt, StartExecution
from headrace_engine.core.decide import next_question
from headrace_engine.core.events import (
    AttemptEnded,
    Entry,
    Event,
    ExecutionCreated,
    ExecutionMoved,
    Reopened,
    SlaBroken,
)
from headrace_engine.core.fold import apply, begin_entry, fold, mark_issued
from headrace_engine.core.messages import AttemptReported, Create, ItemReported
from headrace_engine.core.outstanding import commands_of
from headrace_engine.core.state import ExecutionState, empty
from headrace_engine.executor import summary
from headrace_engine.model.definition import LOST_IN_A_ROW, Kind
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, JournalEntry, Level, PortError
from headrace_engine.testing.simulation.chance import FaultKind
from headrace_engine.testing.simulation.gate import current
from headrace_engine.testing.simulation.invariants import Invariant
from headrace_engine.testing.simulation.upgrade import older

if TYPE_CHECKING:
    from headrace_engine.testing.simulation.gate import Invocation
    from headrace_engine.testing.simulation.world import World

_ID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Za-z]{22}(?![0-9A-Za-z])(?:/\d+(?=/))?|(?<=sealed-sim-)\d+")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
MOST_ENTRIES = 600
_SKEW = timedelta(seconds=7)
"""So far two clocks may differ."""
Move = tuple[str, State, State]
"""What moved (task run or execution), from where, to where."""


@dataclass(frozen=True)
class Violation:
    """What does not hold."""

    invariant: Invariant
    what: str

    def __str__(self) -> str:
        return f"{self.invariant.name}: {self.what}  ({self.invariant.value})"


class Watch:
    """Sees all that has an effect in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.states: dict[str, ExecutionState] = {}
        """Every execution as its journal stands, folded apart from any executor."""
        self.history: dict[str, list[ExecutionState]] = defaultdict(list)
        """The states after entries 0, 1, …"""
        self.journals: dict[str, list[bytes]] = defaultdict(list)
        self.roots: list[str] = []
        self.purged: set[str] = set()
        self.entries = 0
        self.moves: set[Move] = set()
        self.kinds: Counter[str] = Counter()
        """Messages and commands by kind."""
        self.out: Counter[tuple[str, tuple[Any, ...]]] = Counter()
        """How often each command has gone out."""
        self.called_for: dict[tuple[str, tuple[Any, ...]], tuple[str, int]] = {}
        """What must go out, to the entry that decided it."""
        self._unseen: dict[str, dict[int, list[Command]]] = defaultdict(dict)
        """Commands that no watermark covers yet."""
        self._runs: Counter[tuple[str, int]] = Counter()
        self._claims: Counter[AttemptId] = Counter()
        self._results: set[tuple[str, str, int]] = set()
        self.has_given_up = False
        """An attempt was lost so often in a row that it failed, as it must."""
        self._lost: set[tuple[str | None, int | None]] = set()
        """Attempts that were lost, those of a loop's rounds that are over too."""
        self.has_listeners = any("trigger.Flow" in source for source in world.scenario.flows)

    def violated(self, invariant: Invariant, what: str) -> None:
        """Note that something does not hold."""
        violation = Violation(invariant, what)
        self.violations.append(violation)
        self.world.halt()
        self.world.tell(f"!! {violation}")

    # -- At each step -------------------------------------------------------------------------------

    def appended(self, stored: JournalEntry) -> None:
        """Follow an entry that was stored."""
        world, execution_id = self.world, stored.execution_id
        name = world.name_of(execution_id)
        entry = decode_entry(older(stored.data))
        before = self.states.get(execution_id)
        if before is None:
            created = entry.events[0]
            if entry.seq != 0 or not isinstance(created, ExecutionCreated):
                self.violated(Invariant.JOURNAL, f"{name} begins with entry {entry.seq}: {type(created).__name__}")
                return
            flow = world.reader.flow_for(created)
            before = empty(execution_id, flow)
        if entry.seq != before.seq + 1:
            self.violated(Invariant.JOURNAL, f"entry {entry.seq} of {name} follows {before.seq}")
            return
        if before.at is not None and entry.at < before.at:
            self.violated(Invariant.JOURNAL, f"time runs back in entry {entry.seq} of {name}")
        if world.is_told:
            world.tell(f"  {name} entry {entry.seq} (issued through {entry.issued_through})")
            for event in entry.events:
                world.tell(f"      {_told(event)}")
        state = self._folded(before, entry)
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            self.violated(Invariant.ENDS, "entries are written on and on")
        self.states[execution_id] = state
        self.history[execution_id].append(state)
        self.journals[execution_id].append(stored.data)
        self._check_results(name, before, entry)
        self._check_leases(name, before, entry)
        self._count(entry)
        for command in commands_of(state, entry.events):
            self.kinds[f"command {type(command).__name__}"] += 1
            called = self._key(state, command)
            if called is not None:
                self.called_for[called] = (execution_id, entry.seq)
        self._check_watermark(name, state, entry)
        self._check_limit(name, before, state)

    def _count(self, entry: Entry) -> None:
        """Count the messages that no mailbox carries."""
        for event in entry.events:
            if isinstance(event, SlaBroken):
                self.kinds["message SlaViolated"] += 1
            elif isinstance(event, ExecutionMoved) and (event.error or "").startswith("The engine could not go on"):
                self.kinds["message Abort"] += 1

    def _check_results(self, name: str, before: ExecutionState, entry: Entry) -> None:
        for event in entry.events:
            if isinstance(event, AttemptEnded):
                key = (before.id, event.task_run_id, event.number)
                if key in self._results:
                    self.violated(Invariant.ONE_RESULT, f"attempt {event.number} in {name} ended twice")
                self._results.add(key)
                if event.state is State.RESUBMITTED:
                    self._lost.add((event.task_run_id, event.number))
                    run = before.task_runs.get(event.task_run_id)
                    self.has_given_up |= run is not None and run.lost + 1 >= LOST_IN_A_ROW

    def _check_leases(self, name: str, before: ExecutionState, entry: Entry) -> None:
        """A lease is over at its deadline, or when its holder itself says so."""
        writer = current()
        for event in entry.events:
            if not isinstance(event, AttemptEnded) or event.state is not State.RESUBMITTED:
                continue
            run = before.task_runs.get(event.task_run_id)
            attempt = run.open_attempt if run is not None else None
            if attempt is None or attempt.deadline is None or writer is None:
                continue
            is_own = attempt.owner == writer.instance.functions.executor.owner
            if not is_own and entry.at + _SKEW < attempt.deadline:
                left = attempt.deadline - entry.at
                self.violated(Invariant.LEASE, f"entry {entry.seq} of {name} ends a lease {left} early")

    def _check_watermark(self, name: str, state: ExecutionState, entry: Entry) -> None:
        """What a watermark covers has gone out, unless nothing calls for it any more."""
        waiting = self._unseen[state.id]
        for command in commands_of(state, entry.events):
            waiting.setdefault(entry.seq, []).append(command)
        for seq in [seq for seq in waiting if seq <= entry.issued_through]:
            for command in waiting.pop(seq):
                key = self._key(state, command)
                if key is not None and not self.out[key] and _is_wanted(state, command):
                    self.violated(
                        Invariant.WATERMARK,
                        f"entry {entry.seq} of {name} says that entry {seq}'s {type(command).__name__} is out",
                    )

    def _check_limit(self, name: str, before: ExecutionState, state: ExecutionState) -> None:
        """No more executions of a flow go on than its limit allows, unless a person forces one."""
        definition = state.flow.definition
        if definition.concurrency is None or self.world.scenario.is_disturbed or before.histories == state.histories:
            return
        going = [
            each
            for each in self.states.values()
            if each.id != state.id and each.flow.definition.id == definition.id and _goes_on(each)
        ]
        if _goes_on(state) and len(going) >= definition.concurrency.limit:
            self.violated(Invariant.SLOTS, f"{name} goes on beside {len(going)} others of {definition.id}")

    def _key(self, state: ExecutionState, command: Command) -> tuple[str, tuple[Any, ...]] | None:
        """Return the name under which a command is seen going out; None for one that is not watched."""
        match command:
            case Announce(number=int() as number):
                return "publish", (state.id, number)
            case StartExecution():
                return "create", (command.execution_id,)
            case Reply(to=to):
                return "reply", (to.execution_id, to.task_run_id, to.number, to.index)
            case StartAttempt(kind=Kind.DISPATCHED):
                return "start", (state.id, command.task_run_id, command.number)
            case SetTimer():
                return "timer", (state.id, command.key, command.due)
        return None

    def _folded(self, state: ExecutionState, entry: Entry) -> ExecutionState:
        """Apply an entry event by event, noting every move."""
        state = begin_entry(state, entry.at)
        for event in entry.events:
            before, state = state, apply(state, event)
            if len(before.histories) != len(state.histories):
                self._moved("execution", before.histories, state.histories)
            for run_id in _named(event):
                run, earlier = state.task_runs.get(run_id), before.task_runs.get(run_id)
                if run is not None and earlier is not None and run is not earlier:
                    self._moved("task run", earlier.histories, run.histories)
        return mark_issued(state, entry.issued_through)

    def _moved(self, what: str, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        for number in range(max(1, len(before)), len(after)):
            self.moves.add((what, after[number - 1][0], after[number][0]))

    def stepped(self, held: ExecutionState, entry: Entry) -> None:
        """Compare what an executor holds after its entry with the fold of the journal."""
        history = self.history[held.id]
        if entry.seq >= len(history):
            self.violated(Invariant.FOLD, f"an executor holds entry {entry.seq}, which no journal has")
            return
        self.same(held, history[entry.seq])

    def same(self, held: ExecutionState, folded: ExecutionState) -> None:
        """Compare two states; one may know more of what has gone out."""
        through = max(held.issued_through, folded.issued_through)
        left, right = mark_issued(held, through), mark_issued(folded, through)
        if left != right:
            names = [name for name in left.__dict__ if left.__dict__[name] != right.__dict__[name]]
            name = self.world.name_of(held.id)
            self.violated(Invariant.FOLD, f"an executor's {name} at {held.seq} differs in {', '.join(names)}")

    def claimed(self, attempt: AttemptId, owner: str) -> None:
        """Note who won a claim."""
        del owner
        self._claims[attempt] += 1
        if self._claims[attempt] > 1:
            self.violated(Invariant.ONE_CLAIM, f"attempt {attempt.number} was claimed twice")

    def ran(self, task_run_id: str, attempt: int) -> None:
        """Note that an attempt's code runs."""
        self._runs[task_run_id, attempt] += 1
        if self._runs[task_run_id, attempt] > 1:
            self.violated(Invariant.ONE_CLAIM, f"the code of attempt {attempt} ran twice")

    def sent(self, execution_id: str, data: bytes) -> None:
        """Note a message."""
        try:
            message = decode_message(older(data))
        except FormatError:
            return
        self.kinds[f"message {type(message).__name__}"] += 1
        match message:
            case Create():
                self.issued("create", (execution_id,))
            case AttemptReported():
                self.issued("reply", (execution_id, message.task_run_id, message.number, None))
                claim = self.world.stores.claims.get(AttemptId(execution_id, message.task_run_id, message.number))
                is_kept = execution_id not in self.purged  # a report may be under way while its execution is purged
                if is_kept and claim is not None and claim.owner and claim.result is None:
                    self.violated(Invariant.ONE_RESULT, f"attempt {message.number} is reported before it is written")
            case ItemReported():
                self.issued("reply", (execution_id, message.task_run_id, message.number, message.index))

    def issued(self, kind: str, key: tuple[Any, ...]) -> None:
        """Note that a command has gone out."""
        self.out[kind, key] += 1

    def failed(self, invocation: Invocation, error: Exception) -> None:
        """Look at what an invocation failed with."""
        if not isinstance(error, PortError | FormatError):
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
            self.violated(Invariant.NO_BUG, f"{invocation}: {type(error).__name__}: {error} at {place}")

    # -- At the end ---------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Check what must hold when nothing goes on any more."""
        stores = self.world.stores
        causes: dict[tuple[Any, ...], str] = {}
        for execution_id, state in self.states.items():
            if execution_id in self.purged:
                continue
            name = self.world.name_of(execution_id)
            self._check_end(name, state)
            self._check_journal(name, state)
            found = stores.executions.get(execution_id)
            if found is None or found != summary(self.history[execution_id][found.seq]):
                self.violated(Invariant.SUMMARY, f"{name}: {found} is not {summary(state)}")
            elif found != replace(summary(state), seq=found.seq, wake_by=found.wake_by):
                self.violated(Invariant.SUMMARY, f"{name}: {found} is older than {summary(state)}")
            cause = _cause(state)
            if (
                cause is not None
                and not self.world.scenario.is_disturbed
                and causes.setdefault(cause, execution_id) != execution_id
            ):
                self.violated(Invariant.ONE_CAUSE, f"{name} and {self.world.name_of(causes[cause])} have one cause")
        for execution_id in self.roots:
            if execution_id not in self.states and execution_id not in self.purged:
                self.violated(Invariant.ENDS, f"{self.world.name_of(execution_id)} never began")
        self._check_commands()
        self._check_slots()
        self._check_held()

    def _check_end(self, name: str, state: ExecutionState) -> None:
        if state.closed:
            if state.open_attempts or state.timers or state.ready:
                self.violated(Invariant.COMMANDS, f"{name} has ended, and something is left to do")
            return
        if left := self._left(state):
            self.violated(Invariant.ENDS, f"{name} is {state.state} for ever; left: {left}")

    def _left(self, state: ExecutionState) -> list[str]:
        """Return what keeps an execution from its end that no person will do; nothing when one is waited for."""
        children = [run_id for run_id in state.open_attempts if run_id in state.children or run_id in state.items]
        waits = bool(state.paused or state.held or children or state.state is State.QUEUED)
        busy = [state.task_runs[run_id].task_id for run_id in state.open_attempts if run_id not in children]
        question = next_question(state)
        left = [*busy, *state.timers, *([str(question)] if question else ())]
        return left or ([] if waits else ["nothing"])

    def _check_journal(self, name: str, state: ExecutionState) -> None:
        stored = self.world.stores.journal.entries(state.id)
        if [each.data for each in stored] != self.journals[state.id]:
            self.violated(Invariant.JOURNAL, f"the journal of {name} is not what was appended")
        elif fold(state.id, state.flow, [decode_entry(older(each.data)) for each in stored]) != state:
            self.violated(Invariant.FOLD, f"the fold of {name}'s journal differs from step by step")

    def _check_commands(self) -> None:
        for key, (execution_id, seq) in self.called_for.items():
            if execution_id in self.purged:
                continue
            state = self.states[execution_id]
            if not self.out[key] and key[0] in ("publish", "create", "reply"):
                what = f"{key[0]} of entry {seq} of {self.world.name_of(execution_id)} ({state.state})"
                self.violated(Invariant.COMMANDS, f"{what} has never gone out")

    def check_prompt(self) -> None:
        """Where no worker was lost without a word, nothing is left for the sweeper to find."""
        if any(fault.kind is FaultKind.DROP for fault in self.world.chance.struck):
            return
        for execution_id, state in self.states.items():
            if execution_id not in self.purged and not state.closed and (left := self._left(state)):
                what = f"{self.world.name_of(execution_id)} is {state.state} until it is swept; left: {left}"
                self.violated(Invariant.PROMPT, what)
        for flow_id, queued in self._idle_slots():
            self.violated(Invariant.PROMPT, f"{queued} wait to be swept while a slot of {flow_id} is free")
        self._check_given_back()
        for execution_id, state in self.states.items():
            found = self.world.stores.executions.get(execution_id)
            if execution_id not in self.purged and (found is None or found.state is not state.state):
                self.violated(
                    Invariant.SUMMARY, f"{self.world.name_of(execution_id)} is {state.state} until it is swept"
                )

    def _check_given_back(self) -> None:
        """No ended execution keeps a slot, unless who took it too late was killed, or failed, before it could tell."""
        excuses = {FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.THROTTLE, FaultKind.TIME_OUT}
        harmed = [fault.place for fault in self.world.chance.struck if fault.kind in excuses]
        for namespace, flow_id in self._limited():
            holders = self.world.stores.slots.state(f"{namespace}/{flow_id}").holders
            for execution_id in sorted(holders - self._going(holders), key=self.world.name_of):
                name = self.world.name_of(execution_id)
                if not any(name in place.split() for place in harmed):
                    self.violated(Invariant.SLOTS, f"{name} has ended and holds a slot")

    def check_once(self) -> None:
        """Where nothing strikes and nobody interferes, each command goes out once."""
        if self.world.is_plain and not self.world.scenario.is_disturbed:
            for key, (execution_id, seq) in self.called_for.items():
                if self.out[key] > 1:
                    what = f"{key[0]} of entry {seq} of {self.world.name_of(execution_id)}"
                    self.violated(Invariant.ONCE, f"{what} has gone out {self.out[key]} times")

    def _check_slots(self) -> None:
        for namespace, flow_id in self._limited():
            holders = self.world.stores.slots.state(f"{namespace}/{flow_id}").holders
            for execution_id in sorted(holders, key=self.world.name_of):
                if execution_id not in self.purged and execution_id not in self.states:
                    self.violated(Invariant.SLOTS, f"{self.world.name_of(execution_id)} never began and holds a slot")
        for flow_id, queued in self._idle_slots():
            self.violated(Invariant.SLOTS, f"{queued} wait while a slot of {flow_id} is free")

    def _limited(self) -> list[tuple[str, str]]:
        """Return namespace and id of the flows that have a concurrency limit."""
        definitions = [state.flow.definition for state in self.states.values()]
        return sorted({(each.namespace, each.id) for each in definitions if each.concurrency is not None})

    def _idle_slots(self) -> Iterator[tuple[str, str]]:
        """Yield flows that have a slot free while executions wait for one, and the names of those.

        A slot that is held by one of those that wait is as good as free: nobody has told it. So is one that was left
        with an execution that has ended: whoever needs it takes it.
        """
        for namespace, flow_id in self._limited():
            holders = self._going(self.world.stores.slots.state(f"{namespace}/{flow_id}").holders)
            latest = self.world.reader.flow_of(namespace, flow_id).definition.concurrency
            queued = [
                each.id
                for each in self.states.values()
                if each.flow.definition.id == flow_id and each.state is State.QUEUED and each.id not in self.purged
            ]
            if queued and (latest is None or len(holders - set(queued)) < latest.limit):
                yield flow_id, ", ".join(map(self.world.name_of, queued))

    def _going(self, holders: Iterable[str]) -> set[str]:
        """Return those of *holders* that have not ended, nor left their slot."""
        states = {each: self.states.get(each) for each in holders}
        left = {each for each, state in states.items() if state is not None and state.slot_left}
        return {each for each, state in states.items() if state is None or not state.state.is_terminal} - left

    def _check_held(self) -> None:
        """What warm executors hold is a prefix of the journal."""
        for instance in self.world.instances():
            for execution_id, state in self.states.items():
                if execution_id not in self.purged and (instance.is_next or not self.world.upgrades):
                    held = instance.functions.executor.load(execution_id)
                    if held is not None and held.seq >= 0:  # else it was too late to begin it
                        self.same(held, self.history[execution_id][held.seq])
                    del state

    def outcome(self) -> Counter[str]:
        """Return what came of it all: the same in every run of a scenario whose outcome does not hang on time."""
        return Counter(self._outcome(state) for state in self.states.values())

    def _outcome(self, state: ExecutionState) -> str:
        definition = state.flow.definition
        load = self.world.reader.payloads.load
        lines = [
            f"{line.level} {line.task_id}: {renamed(line.message)}"
            for line in self.world.stores.logs.fetch(state.id, min_level=Level.INFO)
            if (line.task_run_id, line.attempt) not in self._lost
        ]
        runs = []
        for run in state.task_runs.values():
            above = [f"{each.task_id}[{each.value}]" for each in state.ancestors(run)]
            attempts = [attempt.state for attempt in run.attempts if attempt.state is not State.RESUBMITTED]
            outputs = renamed(load(run.outputs)) if run.outputs is not None else None
            states = ">".join(each for each, _ in run.histories)
            runs.append(
                f"{'/'.join(reversed(above))}/{run.task_id}[{run.value}] {states} {'+'.join(attempts)} "
                f"{outputs} {renamed(run.error)}"
            )
        created = state.created
        inputs = renamed(load(created.inputs)) if created is not None else None
        states = ">".join(each for each, _ in state.histories) if self.world.scenario.compares_history else state.state
        labels = sorted(f"{key}={renamed(value)}" for key, value in state.labels)
        outputs = renamed(load(state.outputs)) if state.outputs is not None else None
        attempt = created.attempt_number if created is not None else 0
        return "\n".join(
            [
                f"{definition.namespace}.{definition.id} {inputs} attempt {attempt}: {states} {renamed(state.error)} "
                f"{outputs} {labels} {renamed(dict(state.variables))}",
                *sorted(runs),
                *sorted(lines),
            ]
        )


def renamed(value: Any) -> str:
    """Return a value as text without the ids, seals and instants in it, which differ from run to run."""
    return _INSTANT.sub("<instant>", _ID.sub("<id>", value if isinstance(value, str) else repr(value)))


def _is_wanted(state: ExecutionState, command: Command) -> bool:
    match command:
        case StartAttempt():
            run = state.task_runs.get(command.task_run_id)
            attempt = run.open_attempt if run is not None else None
            return attempt is not None and attempt.number == command.number
        case SetTimer():
            return state.timers.get(command.key, (None, 0))[0] == command.due
    return True


def _goes_on(state: ExecutionState) -> bool:
    waits = (State.CREATED, State.QUEUED, State.RESTARTED)
    return not state.state.is_terminal and state.state not in waits and not state.slot_left


def _named(event: Event) -> tuple[str, ...]:
    """Return the task runs an event moves."""
    match event:
        case Reopened():
            return (*event.restarted, *event.reopened)
    found = getattr(event, "task_run_id", None)
    return (found,) if found is not None else ()


def _cause(state: ExecutionState) -> tuple[Any, ...] | None:
    created = state.created
    if created is None or any(key == "system.replay" for key, _ in created.labels):
        return None
    if created.trigger is not None and "executionId" in (created.trigger.get("variables") or {}):
        told: Mapping[str, Any] = created.trigger["variables"]
        if "state" in told:
            return "heard", created.flow_id, created.trigger["id"], told["executionId"], told["state"]
    if created.attempt_number > 1:
        return "retries", created.parent_id, created.attempt_number
    return None


def _told(event: Event) -> str:
    text = _ID.sub(lambda found: f"{found[0][:4]}…", repr(event))
    return text if len(text) < 200 else f"{text[:197]}…"
