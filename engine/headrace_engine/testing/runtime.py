"""The engine in memory with a clock of its own: nothing sleeps, nothing races, an hour passes in no time.

One thread does everything in a fixed order: it handles messages, runs dispatched attempts (scripts really run, as
processes), and when nothing is left to do moves the clock to the next timer. Two runs of the same flow take the same
course.

What outlives an engine is its `World`. A second runtime on the world of one that was left in the middle of something
is that engine started again; two runtimes on one world are two engines at work on the same executions.
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
from headrace_engine.attempts import Attempts
from headrace_engine.context import Surroundings
from headrace_engine.core.codec import decode_message, encode_result
from headrace_engine.core.messages import Create, Kill, Message, TimerFired
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.executor import ended_with_engine
from headrace_engine.flow_triggers import FlowTriggers
from headrace_engine.language import Registry
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import new_id
from headrace_engine.operations import Operations
from headrace_engine.ports import AttemptId, FlowSource, Job, LogLine, Queues, StateChange
from headrace_engine.schedules import Schedules
from headrace_engine.services import Channels, Settings, Stores

START = datetime(2026, 1, 1, tzinfo=UTC)

RunJob = Callable[[Job], AttemptResult | None]
"""Runs a dispatched attempt in the place of its task class; None lets the task class do it."""


@dataclass(frozen=True)
class Outcome:
    """What came of an execution."""

    view: dict[str, Any]
    """In the shape of Kestra's API."""
    logs: Sequence[LogLine]

    @property
    def state(self) -> str:
        """The state it ended in."""
        return str(self.view["state"]["current"])

    @property
    def history(self) -> list[str]:
        """The states it went through."""
        return [entry["state"] for entry in self.view["state"]["histories"]]

    @property
    def task_runs(self) -> list[dict[str, Any]]:
        """Its task runs, in the order they were created."""
        return list(self.view["taskRunList"])

    def find(self, task_id: str, value: str | None = None) -> dict[str, Any]:
        """Return the last task run of *task_id* (with that value)."""
        found = [run for run in self.task_runs if run["taskId"] == task_id and value in (None, run["value"])]
        if not found:
            raise KeyError(task_id)
        return found[-1]


@dataclass(frozen=True, eq=False, slots=True)
class Letter:
    """A message on its way to an execution; two that say the same are still two."""

    execution_id: str
    message: Message
    is_kept: bool = False
    """Survives the process: it came from an execution, which will not send it again."""


class World:
    """What outlives an engine: its stores, and what is on its way. Implements Mailbox, Timers and Dispatch."""

    def __init__(self, now: datetime = START, secrets: Mapping[str, str] | None = None) -> None:
        self.clock = ManualClock(now)
        self.journal = MemoryJournal()
        self.stores = Stores(
            clock=self.clock,
            journal=self.journal,
            flows=MemoryFlows(),
            templates=MemoryFlows(),
            executions=MemoryExecutions(),
            kv=MemoryKV(),
            slots=MemorySlots(),
            triggers=MemoryTriggers(),
            claims=MemoryClaims(),
            storage=MemoryStorage(self.clock),
            logs=MemoryLogs(),
            metrics=MemoryMetrics(),
            secrets=MemorySecrets(secrets or {}),
            cipher=MemoryCipher(),
        )
        self.channels = Channels(self, self, self, self)
        self.letters: deque[Letter] = deque()
        self.jobs: deque[Job] = deque()
        self.timers: list[tuple[datetime, str, str]] = []
        self.alarms: list[tuple[datetime, str, str, str]] = []
        """When triggers are to be looked at: namespace, flow and id."""
        self.changes: deque[StateChange] = deque()

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self.letters.append(Letter(execution_id, decode_message(message), is_kept=True))

    def post(self, execution_id: str, message: Message) -> None:
        """Put *message*, which recovery would find again, at the end of the queue."""
        self.letters.append(Letter(execution_id, message))

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See Timers.wake."""
        timer = (due, execution_id, key)
        if timer not in self.timers:
            heapq.heappush(self.timers, timer)

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """See Timers.wake_trigger."""
        alarm = (due, namespace, flow_id, trigger_id)
        if alarm not in self.alarms:
            heapq.heappush(self.alarms, alarm)

    def is_set(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> bool | None:
        """See Alarms.is_set."""
        return (due, namespace, flow_id, trigger_id) in self.alarms

    def start(self, job: Job) -> None:
        """See Dispatch.start."""
        if all(job.attempt != queued.attempt for queued in self.jobs):
            self.jobs.append(job)

    def stop(self, attempt: AttemptId) -> None:
        """See Dispatch.stop."""
        self.stores.claims.request_stop(attempt, self.clock.now())

    def publish(self, *changes: StateChange) -> None:
        """See Bus.publish."""
        self.changes.extend(changes)

    def forget(self) -> None:
        """Lose what the local runtime loses when its process dies; the stores and kept messages stay."""
        kept = [letter for letter in self.letters if letter.is_kept]
        self.letters.clear()
        self.letters.extend(kept)
        self.jobs.clear()
        self.timers.clear()
        self.alarms.clear()


class _Posted:
    """The mailbox for what recovery would find again."""

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self._world.post(execution_id, decode_message(message))


class VirtualRuntime:
    """An engine in memory. Use it as a context manager; it keeps temporary directories for scripts."""

    def __init__(
        self,
        *,
        now: datetime = START,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        registry: Registry | None = None,
        run_job: RunJob = lambda _job: None,
        settings: Settings | None = None,
        world: World | None = None,
        is_gone: Callable[[str], bool] = lambda _owner: True,
        make_engine: Callable[..., Engine] = Engine,
        schedules: bool = False,
        queues: Queues | None = None,
    ) -> None:
        """Make an engine on *world*, or on a new one at *now* with *secrets*.

        schedules: whether Schedule triggers fire, and those that poll, *queues* too. Then settling takes them along,
        so say until when.
        make_engine takes what Engine takes; a partial of it adds what this runtime does not choose.
        is_gone is the executor's: whether the holder of a lease is known to be dead. Say no where several runtimes
        are at work on one world.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-virtual-"))
        self.world = world = world or World(now, secrets)
        self.clock = world.clock
        self.stores = world.stores
        self.owner = new_id()
        """Names this runtime's worker in claims."""
        self.engine = make_engine(
            self.stores,
            settings or Settings(surroundings=Surroundings.of(environment or {})),
            registry or Registry.load(),
            temporary_root=self._folder,
            workspaces=self._folder / "workspaces",
        )
        self._run_job = run_job
        self.attempts = Attempts(self.stores.claims, self.clock, _Posted(world))
        self.executor = self.engine.executor(world.channels, is_gone=is_gone)
        self.flow_triggers = FlowTriggers(self.engine, self.executor, world.channels.mailbox)
        self.schedules = Schedules(self.engine, world.channels, queues=queues) if schedules else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary directories."""
        self.executor.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- What a test does ---------------------------------------------------------------------------

    def save_flow(self, source: str) -> FlowDefinition:
        """Check and store a flow; with a higher concurrency limit, those that wait for a slot get one."""
        definition = self.engine.save_flow(source)
        self.executor.settle_slots(definition.namespace, definition.id)
        return definition

    def save_template(self, source: str) -> FlowSource:
        """Check and store a template."""
        return self.engine.save_template(source)

    def create(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        execution_id: str | None = None,
    ) -> str:
        """Send the message that creates an execution; nothing happens before `settle` or `step`."""
        execution_id, created = self.engine.new_execution(
            namespace, flow_id, inputs, labels=labels, execution_id=execution_id
        )
        self.world.post(execution_id, Create(created))
        return execution_id

    def kill(self, execution_id: str) -> None:
        """Send the message that kills an execution."""
        self.world.post(execution_id, Kill())

    def ask(self, execution_id: str, operation: Callable[[Operations, ExecutionState], Message]) -> None:
        """Send the message that *operation* returns for the execution as it stands. Raises what it refuses with."""
        self.world.post(execution_id, operation(Operations(self.engine), self.state(execution_id)))

    def begin(self, execution_id: str, operation: Callable[[Operations, ExecutionState], tuple[str, Create]]) -> str:
        """Create the execution that *operation* (a replay) makes of this one; return its id."""
        follower_id, create = operation(Operations(self.engine), self.state(execution_id))
        self.world.post(follower_id, create)
        return follower_id

    def step(self) -> bool:
        """Handle one message, or run one attempt; False when there is neither.

        It leaves the queue when it is done: a runtime that is stopped on the way leaves it to the next one.
        """
        world = self.world
        while world.changes:
            self.hear(world.changes[0])
        if world.letters:
            self.deliver(world.letters[0])
            return True
        if world.jobs:
            self.work(world.jobs[0])
            return True
        return False

    def deliver(self, letter: Letter) -> None:
        """Handle a message and take it out of the queue."""
        self.executor.handle(letter.execution_id, [letter.message])
        if letter in self.world.letters:
            self.world.letters.remove(letter)

    def hear(self, change: StateChange) -> None:
        """Let the Flow triggers hear of a change, and take it out of the queue."""
        self.flow_triggers.hear(change)
        if self.schedules is not None:
            self.schedules.hear(change)
        if change in self.world.changes:
            self.world.changes.remove(change)

    def work(self, job: Job) -> None:
        """Run an attempt as a worker does (DESIGN §3.5), and take it out of the queue."""
        self.attempts.run(job, self.owner, self._execute)
        if job in self.world.jobs:
            self.world.jobs.remove(job)

    def settle(self, until: timedelta | None = timedelta(days=3650)) -> None:
        """Go on until nothing is left to do, moving the clock to each next timer, but not past *until* from now.

        With None the clock stands still.
        """
        limit = self.clock.now() + (until or timedelta(0))
        while True:
            while self.step():
                pass
            if not self.ring(limit):
                return

    def ring(self, limit: datetime) -> bool:
        """Move the clock to the next timer, if it is due by *limit*, and send its message; False when there is none.

        Or to the next date of a schedule, and look at it.
        """
        timers, alarms = self.world.timers, self.world.alarms
        if self.schedules is not None and alarms and (not timers or alarms[0][0] <= timers[0][0]):
            return self._ring_schedule(self.schedules, limit)
        if not timers or timers[0][0] > limit:
            return False
        due, execution_id, key = timers[0]
        if due > self.clock.now():
            self.clock.set(due)
        self.world.post(execution_id, TimerFired(key))
        heapq.heappop(timers)
        return True

    def _ring_schedule(self, schedules: Schedules, limit: datetime) -> bool:
        alarm = self.world.alarms[0]
        due, *key = alarm
        if due > limit:
            return False
        if due > self.clock.now():
            self.clock.set(due)
        schedules.look(*key, rung=due)
        self.world.alarms.remove(alarm)
        heapq.heapify(self.world.alarms)
        return True

    def recover(self) -> None:
        """Go on with what an engine left that is dead now: close its attempts as lost, set open executions going."""
        stores, now = self.stores, self.clock.now()
        for claim in stores.claims.open():
            result = ended_with_engine(claim, now, "The engine that ran the attempt was killed")
            stores.claims.close_lost(claim.attempt, encode_result(result), now)
        unfinished = [summary.id for summary in stores.executions.due(datetime.max.replace(tzinfo=UTC))]
        unfinished += self.world.journal.behind(stores.executions)
        for execution_id in dict.fromkeys(unfinished):
            self.executor.recover(execution_id)
        if self.schedules is not None:
            self.schedules.set_going()

    def run(self, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Save a flow, execute it to its end and return what came of it."""
        definition = self.save_flow(source)
        execution_id = self.create(definition.namespace, definition.id, inputs, **options)
        self.settle()
        return self.outcome(execution_id)

    def outcome(self, execution_id: str) -> Outcome:
        """Return how an execution stands. Raises NoSuchExecutionError."""
        return Outcome(self.engine.view(self.state(execution_id)), self.stores.logs.fetch(execution_id))

    def state(self, execution_id: str) -> ExecutionState:
        """Return an execution's state. Raises NoSuchExecutionError."""
        state = self.executor.load(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
        return state

    def _execute(self, job: Job) -> AttemptResult:
        return self._run_job(job) or self.engine.worker.run(job)
