"""One seed: simulated services, function invocations that race and die, and a clock that jumps to what comes next."""

from __future__ import annotations

import heapq
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent import futures
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from greenlet import getcurrent

from headrace_engine.adapters.memory import (
    ManualClock,
    MemoryCipher,
    MemoryClaims,
    MemoryExecutions,
    MemoryFlows,
    MemoryJournal,
    MemoryKV,
    MemoryLogs,
    MemoryMetrics,
    MemorySecrets,
    MemorySlots,
    MemoryStorage,
    MemoryTriggers,
)
from headrace_engine.core.codec import FormatError, decode_message, encode_message
from headrace_engine.core.messages import Create, Message, Poke, TimerFired
from headrace_engine.engine import Engine
from headrace_engine.language import Registry, parse_flow
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import derived_id
from headrace_engine.ports import (
    AttemptId,
    Claim,
    Job,
    JournalEntry,
    StateChange,
)
from headrace_engine.run_stores import RunKV
from headrace_engine.services import Channels, Settings, Stores
from headrace_engine.testing.runtime import START
from headrace_engine.testing.simulation.chance import Chance, FaultKind, Profile
from headrace_engine.testing.simulation.functions import Functions
from headrace_engine.testing.simulation.gate import Gate, Invocation, KilledError, gated
from headrace_engine.testing.simulation.invariants import Invariant
from headrace_engine.testing.simulation.operators import ask, interfere
from headrace_engine.testing.simulation.scenario import Person, Scenario, Start
from headrace_engine.testing.simulation.upgrade import NextJournal, NextMailbox, older
from headrace_engine.testing.simulation.watch import Watch

VISIBILITY = 60.0
"""Seconds until a message that was taken and not deleted comes again."""
RECEIVES = 5
"""So often a message is delivered before it is put with the dead letters."""
SWEEP = timedelta(minutes=10)
WORKER_TIME = timedelta(minutes=15)
MOST_FAULTS = 60
MOST_CALLS = 40_000
_QUIET_SWEEPS = 4
"""So often the sweeper finds nothing to do before that is the end: a worker that vanished has its time."""
_UPGRADE = timedelta(minutes=30)
"""So long two versions are at work."""
_TRIES = 20
"""So often a person asks for what is refused."""
_PATIENCE = timedelta(seconds=1)
"""After this an executor that stood still leaves the rest to the next one."""
_SETTINGS = Settings(snapshot_entries=4, kills_at_once=2)


class InPlace(futures.Executor):
    """Runs what it is given at once, in the thread and the greenlet of who gives it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """See concurrent.futures.Executor."""
        future: futures.Future[Any] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future tells
            future.set_exception(error)
        return future


class SkewedClock:
    """The time as one machine has it."""

    def __init__(self, clock: ManualClock, skew: timedelta) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        """Return the machine's instant."""
        return self._clock.now() + self._skew


@dataclass(eq=False, slots=True)
class Letter:
    """A message in the queue."""

    number: int
    execution_id: str
    data: bytes
    visible: datetime
    receives: int = 0


@dataclass(eq=False, slots=True)
class Instance:
    """A warm container: an engine with what it holds in memory."""

    number: int
    function: str
    functions: Functions
    is_next: bool = False
    """Of the next version: it reads what this one writes, and writes what this one cannot read."""


class WatchedJournal(MemoryJournal):
    """A journal that shows the watch each entry that is stored."""

    def __init__(self, watch: Callable[[JournalEntry], None], violated: Callable[[str], None]) -> None:
        super().__init__()
        self._watch = watch
        self.violated = violated

    def append(self, entry: JournalEntry) -> None:
        """See Journal.append."""
        super().append(entry)
        self._watch(entry)

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """See Journal.save_snapshot."""
        before = self.snapshot(execution_id)
        super().save_snapshot(execution_id, seq, data)
        after = self.snapshot(execution_id)
        if before is not None and after is not None and after[0] < before[0]:
            self.violated(f"a snapshot of entry {after[0]} took the place of one of {before[0]}")


class WatchedClaims(MemoryClaims):
    """Claims that show the watch who won which, and that no result takes the place of another."""

    def __init__(self, watch: Callable[[AttemptId, str], None], violated: Callable[[str], None]) -> None:
        super().__init__()
        self._watch = watch
        self._violated = violated
        self._first: dict[AttemptId, bytes] = {}

    def claim(self, attempt: AttemptId, owner: str, now: datetime, deadline: datetime | None = None) -> Claim:
        """See Claims.claim."""
        claim = super().claim(attempt, owner, now, deadline)
        self._watch(attempt, owner)
        return claim

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Claim:
        """See Claims.close."""
        return self._closed(super().close(attempt, owner, result, now))

    def close_lost(self, attempt: AttemptId, result: bytes, now: datetime) -> Claim:
        """See Claims.close_lost."""
        return self._closed(super().close_lost(attempt, result, now))

    def _closed(self, claim: Claim) -> Claim:
        if claim.result is not None and self._first.setdefault(claim.attempt, claim.result) != claim.result:
            self._violated(f"the result of attempt {claim.attempt.number} takes the place of another")
        return claim


class World:
    """A simulation of one scenario under one seed. Implements Mailbox, Timers, Dispatch and Bus."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        profile: Profile,
        registry: Registry,
        *,
        kept: Collection[str] | None = None,
        is_told: bool = False,
    ) -> None:
        """Prepare it; `run` runs it. kept are the only faults that strike; is_told keeps the history, as lines."""
        self.scenario = scenario
        self.seed = seed
        self.registry = registry
        self.chance = Chance(seed, profile, kept)
        self.is_plain = not profile.rates
        self.is_told = is_told
        self.lines: list[str] = []
        self.calls = 0
        self.clock = ManualClock(START)
        self._folder = Path(tempfile.gettempdir())
        self.counts: Counter[str] = Counter()
        """What happened, by kind, for the summary."""
        self.watch = Watch(self)
        self.stores = Stores(
            clock=self.clock,
            journal=WatchedJournal(self.watch.appended, lambda what: self.watch.violated(Invariant.JOURNAL, what)),
            flows=MemoryFlows(),
            templates=MemoryFlows(),
            executions=MemoryExecutions(),
            kv=MemoryKV(),
            slots=MemorySlots(),
            triggers=MemoryTriggers(),
            claims=WatchedClaims(self.watch.claimed, partial(self.watch.violated, Invariant.ONE_RESULT)),
            storage=MemoryStorage(self.clock),
            logs=MemoryLogs(),
            metrics=MemoryMetrics(),
            secrets=MemorySecrets(scenario.secrets),
            cipher=MemoryCipher("sim"),
        )
        self._gated = gated(self.stores)
        ports: Any = (Gate(name, self) for name in ("mailbox", "timers", "dispatch", "bus"))
        self.channels = Channels(*ports)
        self.reader = self.engine(self.stores)
        """Looks at what is stored; it takes no part."""
        self.hub = getcurrent()
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._ordinal = 0
        self._boxes: dict[str, dict[int, Letter]] = defaultdict(dict)
        self._busy: dict[str, datetime] = {}
        self._live: dict[int, Invocation] = {}
        self._free: dict[str, list[Instance]] = defaultdict(list)
        self._instances = 0
        self._invocations = 0
        self._names: dict[str, str] = {}
        drawn = 1 if self.is_plain else random.Random(f"batch {seed}").choice((1, 1, 3, 10))  # noqa: S311 - seeded
        self._batch = scenario.batch or drawn
        self.upgrades = not self.is_plain and random.Random(f"upgrade {seed}").random() < 0.12  # noqa: S311 - seeded
        self._sweeps_since: list[int] = []

    # -- The course ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Play the scenario to its end; what is wrong stands in `watch.violations`."""
        self.hub = getcurrent()
        self._prepare()
        self.at(self.after(SWEEP.total_seconds()), self._sweep)
        while self._heap and not self.watch.violations:
            due, _, event = heapq.heappop(self._heap)
            if due > self.clock.now():
                self.clock.set(due)
            event()
            if self.calls > MOST_CALLS:
                self.watch.violated(Invariant.ENDS, "the simulation goes on and on")
            if len(self.chance.struck) >= MOST_FAULTS:
                self.calm()
        for invocation in list(self._live.values()):
            invocation.is_dead = True
            invocation.throw(KilledError)
        if not self.watch.violations:
            self.watch.at_the_end()

    def _prepare(self) -> None:
        scenario, stores = self.scenario, self.stores
        engine = self.engine(stores)
        for source in scenario.templates:
            engine.save_template(source)
        for source in scenario.flows:
            engine.save_flow(source)
        for (namespace, key), value in sorted(scenario.kv.items()):
            RunKV(stores.kv, stores.clock, namespace).set(key, value)
        for uri, content in sorted(scenario.files.items()):
            stores.storage.put(uri, content)
        for number, start in enumerate(scenario.starts):
            self.at(self.clock.now() + start.after, partial(self._begin, number, start))
        for number, source in enumerate(scenario.revised):
            self.at(self.after(1 + 20 * number), partial(self._revise, source))
        ids = iter(range(1_000_000))
        self.make_id = lambda: derived_id("made", self.seed, next(ids))
        generator = random.Random(f"operators {self.seed}")  # noqa: S311 - seeded
        for number in range(scenario.operations):
            instant = self.after(generator.choice((0.1, 0.1, 5, 5, 20, 60, 600, 4000)) * (0.5 + generator.random()))
            self.at(instant, partial(self._interfere, number))
        for person in scenario.persons:
            self.at(self.clock.now() + person.after, partial(self._send_for, person, _TRIES))
        if scenario.spoils is not None:
            self.at(self.clock.now() + scenario.spoils, self._spoil)

    def halt(self) -> None:
        """Let nothing go on: something does not hold."""
        for invocation in self._live.values():
            invocation.is_dead = True

    def calm(self) -> None:
        """From now on nothing strikes any more."""
        if not self.chance.is_calm:
            self.chance.is_calm = True
            self.tell("-- from here on nothing strikes any more")

    def at(self, due: datetime, event: Callable[[], None]) -> None:
        """Have *event* happen at *due*."""
        self._ordinal += 1
        heapq.heappush(self._heap, (due, self._ordinal, event))

    def after(self, seconds: float) -> datetime:
        """Return the instant so many seconds from now."""
        return self.clock.now() + timedelta(seconds=seconds)

    def tell(self, line: str) -> None:
        """Note what happens, for who reads the history."""
        if self.is_told:
            self.lines.append(f"{(self.clock.now() - START).total_seconds():10.3f}  {line}")

    def name_of(self, execution_id: str) -> str:
        """Return a short name: executions count in the order they are first heard of."""
        found = self._names.get(execution_id)
        if found is None:
            found = self._names[execution_id] = f"X{len(self._names) + 1}" if execution_id else "-"
        return found

    # -- Functions ----------------------------------------------------------------------------------

    def engine(self, stores: Stores) -> Engine:
        """Return an engine on *stores*; what is parsed once serves all."""
        return Engine(
            stores,
            _SETTINGS,
            self.registry,
            temporary_root=self._folder,
            workspaces=self._folder / "workspaces",
            parse=parsed,
        )

    def instances(self) -> Iterator[Instance]:
        """Yield the containers that are warm."""
        for free in self._free.values():
            yield from free

    def _instance(self, function: str) -> Instance:
        free = self._free[function]
        if self.upgrades and self._is_upgraded():
            free[:] = [instance for instance in free if instance.is_next]
        if free and not self.chance.strike(f"container {function}", FaultKind.COLD):
            return free.pop()
        free.clear()
        self._instances += 1
        skew = 0.0
        if not self.is_plain:
            skew = random.Random(f"skew {self.seed} {self._instances}").uniform(-3, 3)  # noqa: S311 - seeded
        stores = replace(self._gated, clock=SkewedClock(self.clock, timedelta(seconds=skew)))
        channels, is_next = self.channels, False
        if self.upgrades:
            drawn = random.Random(f"version {self.seed} {self._instances}").random()  # noqa: S311 - seeded
            is_next = drawn < 0.5 or self._is_upgraded()
        if is_next:
            self.counts["invocation of the next version's container"] += 1
            stores = replace(stores, journal=NextJournal(stores.journal))
            channels = replace(channels, mailbox=NextMailbox(channels.mailbox))
        reads = older if is_next else bytes
        functions = Functions(self.engine(stores), channels, self.watch.stepped, InPlace(), reads)
        return Instance(self._instances, function, functions, is_next)

    def _is_upgraded(self) -> bool:
        """Tell whether no container of the old version is left."""
        return self.chance.is_calm or self.clock.now() - START > _UPGRADE

    def invoke(
        self,
        function: str,
        subject: str,
        work: Callable[[Functions], Any],
        done: Callable[[Invocation], None] = lambda _invocation: None,
        *,
        is_poison: bool = False,
    ) -> None:
        """Call a function; *done* is told when it is over, however it ended. What *is_poison* fails the first write."""
        instance = self._instance(function)
        invocation = Invocation(self, function, subject, instance, lambda: work(instance.functions), done)
        self._invocations += 1
        self.counts[f"invocation {function}"] += 1
        invocation.number = self._invocations
        invocation.is_poisoned = is_poison
        self._live[invocation.number] = invocation
        self.tell(f"{invocation} begins")
        self._go_on(invocation)

    def wake_at(self, due: datetime, invocation: Invocation) -> None:
        """Let a resting invocation go on at *due*."""
        self.at(due, lambda: self._go_on(invocation))

    def _go_on(self, invocation: Invocation) -> None:
        invocation.switch()
        if not invocation.is_over:
            return
        del self._live[invocation.number]
        if invocation.is_dead:
            self.tell(f"{invocation} is dead")
        else:
            self._free[invocation.function].append(invocation.instance)
        if invocation.error is not None:
            self.tell(f"{invocation} failed: {type(invocation.error).__name__}: {invocation.error}")
            self.watch.failed(invocation, invocation.error)
        invocation.done(invocation)

    def may_harm(self, invocation: Invocation) -> bool:
        """Tell whether harm done here cannot lose an attempt for the third time in a row, which would fail it."""
        return self.may_lose(invocation.subject)

    def may_lose(self, execution_id: str) -> bool:
        """Tell whether no attempt of the execution was lost twice in a row already."""
        state = self.watch.states.get(execution_id)
        return state is None or all(state.task_runs[run_id].lost < 2 for run_id in state.open_attempts)

    # -- Who starts executions, and who interferes ----------------------------------------------------

    def _begin(self, number: int, start: Start) -> None:
        """A client asks for an execution, under a key of its own, until it is told that it has one."""
        execution_id = derived_id("simulated", number)
        self.watch.roots.append(execution_id)

        def work(functions: Functions) -> None:
            _, created = functions.engine.new_execution(
                start.namespace, start.flow_id, start.inputs, labels=start.labels, execution_id=execution_id
            )
            functions.channels.mailbox.send(execution_id, encode_message(Create(created)))

        self._until_done("api", execution_id, work)

    def _revise(self, source: str) -> None:
        def work(functions: Functions) -> None:
            definition = functions.engine.save_flow(source)
            functions.executor.settle_slots(definition.namespace, definition.id)  # as the API does

        self._until_done("api", "", work)

    def _until_done(self, function: str, subject: str, work: Callable[[Functions], Any]) -> None:
        def done(invocation: Invocation) -> None:
            if invocation.is_dead or invocation.error is not None:
                self.at(self.after(7), lambda: self._until_done(function, subject, work))
            elif self.chance.strike(f"{function} {self.name_of(subject)}", FaultKind.DOUBLE):
                self.at(self.after(3), lambda: self._until_done(function, subject, work))

        self.invoke(function, subject, work, done)

    def _interfere(self, number: int) -> None:
        self.invoke("operator", "", lambda functions: interfere(self, functions, number))

    def _send_for(self, person: Person, tries: int) -> None:
        refused: list[ValueError] = []

        def work(functions: Functions) -> None:
            try:
                ask(self, functions, person)
            except ValueError as error:
                refused.append(error)

        def done(invocation: Invocation) -> None:
            if (refused or invocation.is_dead or invocation.error is not None) and tries > 1:
                self.at(self.after(30), partial(self._send_for, person, tries - 1))

        self.invoke("operator", "", work, done)

    def _spoil(self) -> None:
        """A message comes that the engine cannot handle, try as it may."""
        execution_id = derived_id("simulated", 0)
        self._ordinal += 1
        letter = Letter(self._ordinal, execution_id, encode_message(Poke()), self.clock.now())
        self._bury(letter, is_poison=True)

    # -- Mailbox ------------------------------------------------------------------------------------

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self.watch.sent(execution_id, message)
        place = f"letter {self.name_of(execution_id)}"
        fault = self.chance.strike(place, FaultKind.DELAY, FaultKind.DOUBLE)
        delay = 0.0
        if fault is not None:
            delay = fault.seconds(0.01, 300)
            self.tell(f"a message to {self.name_of(execution_id)} {fault.kind} [{fault.id}]")
            if fault.kind is FaultKind.DOUBLE:
                self._post(execution_id, message, 0.0)
        self._post(execution_id, message, delay)

    def _post(self, execution_id: str, message: bytes, delay: float) -> None:
        self._ordinal += 1
        due = self.after(delay)
        self._boxes[execution_id][self._ordinal] = Letter(self._ordinal, execution_id, message, due)
        self.at(due, lambda: self._deliver(execution_id))

    def _deliver(self, execution_id: str) -> None:
        """Hand due messages of an execution to an executor, if none is at work on it (or it takes too long)."""
        now = self.clock.now()
        due = [letter for letter in self._boxes[execution_id].values() if letter.visible <= now][: self._batch]
        if not due:
            return
        name = self.name_of(execution_id)
        if self._busy.get(execution_id, now) > now and not self.chance.strike(f"group {name}", FaultKind.OVERLAP):
            return
        for letter in due:
            letter.receives += 1
            letter.visible = self.after(VISIBILITY)
            self.at(letter.visible, lambda: self._deliver(execution_id))
            if letter.receives > RECEIVES or self.chance.strike(f"queue {name}", FaultKind.BURY):
                letter.receives = RECEIVES + 1
                del self._boxes[execution_id][letter.number]
                self._bury(letter)
        due = [letter for letter in due if letter.receives <= RECEIVES]
        if not due:
            return
        self._busy[execution_id] = self.after(VISIBILITY)
        if self.is_told:
            self.tell(f"executor for {name} is handed {', '.join(said(letter.data) for letter in due)}")

        def done(invocation: Invocation) -> None:
            self._busy.pop(execution_id, None)
            if not invocation.is_dead and invocation.error is None:
                for letter in due:
                    if not self.chance.strike(f"delete {name}", FaultKind.UNDELETED):
                        self._boxes[execution_id].pop(letter.number, None)
            self.at(self.clock.now(), lambda: self._deliver(execution_id))

        messages = [letter.data for letter in due]
        patience = None if self.is_plain else _PATIENCE
        self.invoke(
            "executor",
            execution_id,
            lambda functions: functions.go_on(execution_id, messages, patience),
            done,
        )

    def _bury(self, letter: Letter, *, is_poison: bool = False) -> None:
        """Put a message with the dead letters; their consumer is called until it is through with it."""
        if not self.scenario.compares and not is_poison:
            fault = self.chance.strike(f"dead letter {self.name_of(letter.execution_id)}", FaultKind.POISON)
            is_poison = fault is not None
        self.counts["dead letter"] += 1
        self.tell(f"a message to {self.name_of(letter.execution_id)} is with the dead letters: {said(letter.data)}")

        def done(invocation: Invocation) -> None:
            if invocation.is_dead or invocation.error is not None:
                self.at(self.after(60), lambda: self._bury(letter))

        self.invoke(
            "dead letters",
            letter.execution_id,
            lambda functions: functions.exhume(letter.execution_id, letter.data),
            done,
            is_poison=is_poison,
        )

    # -- Timers, dispatch, bus, sweeper ---------------------------------------------------------------

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See Timers.wake."""
        self.watch.issued("timer", (execution_id, key, due))
        now = self.clock.now()
        fault = self.chance.strike(
            f"timer {self.name_of(execution_id)}", FaultKind.EARLY, FaultKind.DELAY, FaultKind.DOUBLE
        )
        if fault is not None:
            self.tell(f"the timer {key} of {self.name_of(execution_id)} {fault.kind} [{fault.id}]")
            match fault.kind:
                case FaultKind.EARLY:
                    due = now + (due - now) * fault.measure
                case FaultKind.DELAY:
                    due += timedelta(seconds=fault.seconds(1, 300))
                case FaultKind.DOUBLE:
                    self.at(
                        max(due, now) + timedelta(seconds=fault.seconds(1, 300)), lambda: self._ring(execution_id, key)
                    )
        # One that is due already takes a moment: a machine whose clock is behind sets it again and again.
        self.at(max(due, self.after(0.5)), lambda: self._ring(execution_id, key))

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """See Timers.wake_trigger. No schedule is simulated here: `tests/crash/test_schedules.py` has theirs."""

    def _ring(self, execution_id: str, key: str) -> None:
        self.counts["message TimerFired"] += 1
        self._post(execution_id, encode_message(TimerFired(key)), 0.0)

    def start(self, job: Job) -> None:
        """See Dispatch.start: an asynchronous invocation, which may come late, twice or never."""
        attempt = job.attempt
        self.watch.issued("start", (attempt.execution_id, attempt.task_run_id, attempt.number))
        place = f"dispatch {self.name_of(attempt.execution_id)}"
        fault = self.chance.draw(place, (FaultKind.DROP, FaultKind.DELAY, FaultKind.DOUBLE))
        delay = 0.0
        if fault is not None and (fault.kind is not FaultKind.DROP or self.may_lose(attempt.execution_id)):
            self.chance.struck.append(fault)
            self.tell(
                f"the dispatch of {job.task_id} in {self.name_of(attempt.execution_id)} {fault.kind} [{fault.id}]"
            )
            if fault.kind is FaultKind.DROP:
                self._report_lost(attempt, fault.measure)
                return
            delay = fault.seconds(0.1, 200)
            if fault.kind is FaultKind.DOUBLE:
                self.at(self.clock.now(), lambda: self._work(job))
        self.at(self.after(delay), lambda: self._work(job))

    def stop(self, attempt: AttemptId) -> None:
        """See Dispatch.stop."""
        self.watch.issued("stop", (attempt.execution_id, attempt.task_run_id, attempt.number))
        self.stores.claims.request_stop(attempt, self.clock.now())

    def _work(self, job: Job, owner: str = "") -> None:
        """Call a worker; *owner* names the invocation when the platform repeats one."""
        attempt = job.attempt
        owner = owner or f"worker-{self._invocations + 1}"

        def done(invocation: Invocation) -> None:
            if invocation.is_dead or invocation.error is not None:
                name = self.name_of(attempt.execution_id)
                if self.chance.strike(f"retry {name}", FaultKind.REPEAT):
                    self.at(self.after(5), lambda: self._work(job, owner))
                    return
                untold = self.chance.strike(f"destination {name}", FaultKind.DROP)
                self._report_lost(attempt, 0.9 if untold is not None else 0.1)

        deadline = self.clock.now() + WORKER_TIME
        self.invoke("worker", attempt.execution_id, lambda functions: functions.run_job(job, owner, deadline), done)

    def _report_lost(self, attempt: AttemptId, measure: float) -> None:
        """The platform tells of an invocation that failed; or not, and the sweeper must find it."""
        if measure > 0.6:
            return

        def tell() -> None:
            def done(invocation: Invocation) -> None:
                if invocation.is_dead or invocation.error is not None:
                    self.at(self.after(60), tell)

            self.invoke(
                "lost", attempt.execution_id, lambda functions: functions.lost(attempt, "the invocation failed"), done
            )

        self.at(self.after(1 + 100 * measure), tell)

    def publish(self, *changes: StateChange) -> None:
        """See Bus.publish."""
        for change in changes:
            self._publish(change)

    def _publish(self, change: StateChange) -> None:
        self.watch.issued("publish", (change.execution_id, change.number))
        fault = self.chance.strike(f"bus {self.name_of(change.execution_id)}", FaultKind.DELAY, FaultKind.DOUBLE)
        if fault is not None:
            self.tell(f"the change {change.number} of {self.name_of(change.execution_id)} {fault.kind} [{fault.id}]")
            self.at(self.after(fault.seconds(0.1, 300)), lambda: self._hear(change))
        if fault is None or fault.kind is FaultKind.DOUBLE:
            self.at(self.clock.now(), lambda: self._hear(change))

    def _hear(self, change: StateChange) -> None:
        if not self.watch.has_listeners:
            return

        def done(invocation: Invocation) -> None:
            if invocation.is_dead or invocation.error is not None:
                self.at(self.after(30), lambda: self._hear(change))

        self.invoke("bus", change.execution_id, lambda functions: functions.hear(change), done)

    def _sweep(self) -> None:
        """Every ten minutes; when nothing but this goes on and nothing comes of it, that is the end."""
        is_quiet = not self._heap and not self._live
        if is_quiet:
            if not self._sweeps_since:
                self.watch.check_once()
                self.watch.check_prompt()
            self.calm()
            self._sweeps_since.append(self.watch.entries)
            last = self._sweeps_since[-_QUIET_SWEEPS:]
            if len(last) == _QUIET_SWEEPS and len(set(last)) == 1:
                return
        else:
            self._sweeps_since.clear()
        fault = self.chance.strike("snapshots", FaultKind.FORGET)
        if fault is not None:
            self.stores.journal.drop_snapshots()  # type: ignore[attr-defined]  # the one in memory
        if is_quiet or not self.is_plain:
            self.invoke("sweeper", "", lambda functions: functions.sweep())
        self.at(self.after(SWEEP.total_seconds()), self._sweep)

    # -- What scripted tasks tell ---------------------------------------------------------------------

    def ran(self, task_run_id: str, attempt: int) -> None:
        """Note that the code of an attempt runs."""
        self.watch.ran(task_run_id, attempt)


_parsed: dict[tuple[str, int], FlowDefinition] = {}


def parsed(source: str, *, revision: int = 1, registry: Registry, **rest: Any) -> FlowDefinition:
    """Return what parse_flow returns, once for each source."""
    key = (source, revision)
    if key not in _parsed:
        if len(_parsed) > 2000:
            _parsed.clear()
        _parsed[key] = parse_flow(source, revision=revision, registry=registry, **rest)
    return _parsed[key]


def said(data: bytes) -> str:
    """Return a message as a person reads it."""
    try:
        message = decode_message(older(data))
    except FormatError:
        return "what is no message"
    return short(message)


def short(message: Message) -> str:
    """Return a message in a few words."""
    match message:
        case Create():
            return "Create"
        case TimerFired():
            return f"TimerFired {message.key}"
    text = repr(message)
    return text if len(text) < 160 else f"{text[:157]}…"
