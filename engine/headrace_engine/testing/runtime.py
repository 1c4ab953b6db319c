"""The engine in memory with a clock of its own: nothing sleeps, nothing races, an hour passes in no time.

One thread does everything in a fixed order: it handles messages, runs dispatched attempts (scripts really run, as
processes), and when nothing is left to do moves the clock to the next timer. Two runs of the same flow take the same
course.
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
    MemoryStorage,
)
from headrace_engine.context import Surroundings
from headrace_engine.core.codec import decode_message, encode_message, encode_result
from headrace_engine.core.messages import AttemptReported, Create, Kill, Message, TimerFired
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.language import Registry
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, ClaimTakenError, Job, LogLine
from headrace_engine.services import Channels, Settings, Stores

START = datetime(2026, 1, 1, tzinfo=UTC)
_OWNER = "virtual"

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
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-virtual-"))
        self.clock = ManualClock(now)
        self.stores = Stores(
            clock=self.clock,
            journal=MemoryJournal(),
            flows=MemoryFlows(),
            executions=MemoryExecutions(),
            kv=MemoryKV(),
            claims=MemoryClaims(),
            storage=MemoryStorage(self.clock),
            logs=MemoryLogs(),
            metrics=MemoryMetrics(),
            secrets=MemorySecrets(secrets or {}),
            cipher=MemoryCipher(),
        )
        self.engine = Engine(
            self.stores,
            settings or Settings(surroundings=Surroundings.of(environment or {})),
            registry or Registry.load(),
            temporary_root=self._folder,
            workspaces=self._folder / "workspaces",
        )
        self._run_job = run_job
        self._messages: deque[tuple[str, Message]] = deque()
        self._jobs: deque[Job] = deque()
        self._timers: list[tuple[datetime, str, str]] = []
        self._executor = self.engine.executor(Channels(self, self, self), is_gone=lambda _owner: True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary directories."""
        self._executor.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- Mailbox, Timers, Dispatch ------------------------------------------------------------------

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self._messages.append((execution_id, decode_message(message)))

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See Timers.wake."""
        timer = (due, execution_id, key)
        if timer not in self._timers:
            heapq.heappush(self._timers, timer)

    def start(self, job: Job) -> None:
        """See Dispatch.start."""
        if all(job.attempt != queued.attempt for queued in self._jobs):
            self._jobs.append(job)

    def stop(self, attempt: AttemptId) -> None:
        """See Dispatch.stop."""
        self.stores.claims.request_stop(attempt, self.clock.now())

    # -- What a test does ---------------------------------------------------------------------------

    def save_flow(self, source: str) -> FlowDefinition:
        """Check and store a flow."""
        return self.engine.save_flow(source)

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
        self._messages.append((execution_id, Create(created)))
        return execution_id

    def kill(self, execution_id: str) -> None:
        """Send the message that kills an execution."""
        self._messages.append((execution_id, Kill()))

    def step(self) -> bool:
        """Handle one message, or run one attempt; False when there is neither."""
        if self._messages:
            execution_id, message = self._messages.popleft()
            self._executor.handle(execution_id, [message])
            return True
        if self._jobs:
            self._run(self._jobs.popleft())
            return True
        return False

    def settle(self, until: timedelta | None = timedelta(days=3650)) -> None:
        """Go on until nothing is left to do, moving the clock to each next timer, but not past *until* from now.

        With None the clock stands still.
        """
        limit = self.clock.now() + (until or timedelta(0))
        while True:
            while self.step():
                pass
            if not self._timers or self._timers[0][0] > limit:
                return
            due, execution_id, key = heapq.heappop(self._timers)
            if due > self.clock.now():
                self.clock.set(due)
            self._messages.append((execution_id, TimerFired(key)))

    def run(self, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Save a flow, execute it to its end and return what came of it."""
        definition = self.save_flow(source)
        execution_id = self.create(definition.namespace, definition.id, inputs, **options)
        self.settle()
        return self.outcome(execution_id)

    def outcome(self, execution_id: str) -> Outcome:
        """Return how an execution stands. Raises NoSuchExecutionError."""
        state = self._executor.load(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
        return Outcome(self.engine.view(state), self.stores.logs.fetch(execution_id))

    def _run(self, job: Job) -> None:
        claims = self.stores.claims
        try:
            claim = claims.claim(job.attempt, _OWNER, self.clock.now())
        except ClaimTakenError as taken:
            if taken.claim.result is None:
                return
            claim = taken.claim
        if claim.stop_requested:
            now = self.clock.now()
            result: AttemptResult = AttemptResult(State.KILLED, now, now, error="The attempt was stopped")
        else:
            result = self._run_job(job) or self.engine.worker.run(job)
        claims.close(job.attempt, _OWNER, encode_result(result), self.clock.now())
        report = AttemptReported(job.attempt.task_run_id, job.attempt.number, result)
        self.send(job.attempt.execution_id, encode_message(report))
