"""The functions of one warm container: what the platform calls, on an engine with what it holds in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from datetime import datetime, timedelta

from headrace_engine.core.events import Entry
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.invocations import Invocations
from headrace_engine.ports import Job, PurgedError
from headrace_engine.services import Channels


class Functions(Invocations):
    """What a container can be called for."""

    def __init__(
        self,
        engine: Engine,
        channels: Channels,
        on_step: Callable[[ExecutionState, Entry], None],
        light_pool: futures.Executor,
        reads: Callable[[bytes], bytes] = lambda message: message,
    ) -> None:
        """Take an engine of the container's own; reads is given each message first."""
        self._reads = reads
        self.engine = engine
        self.channels = channels
        self.executor = engine.executor(channels, is_gone=lambda _owner: False, on_step=on_step, light_pool=light_pool)
        super().__init__(engine, channels, self.executor)

    def go_on(self, execution_id: str, messages: Sequence[bytes], patience: timedelta | None) -> None:
        """Call `advance` as the executor function does; messages of a purged execution are done with."""
        yield_at = self.engine.stores.clock.now() + patience if patience is not None else None
        try:
            self.advance(execution_id, [self._reads(message) for message in messages], yield_at=yield_at)
        except PurgedError:
            self.executor.forget(execution_id)

    def exhume(self, execution_id: str, message: bytes) -> None:
        """Call `dead_letter` as the consumer of the dead letters does."""
        try:
            self.dead_letter(execution_id, self._reads(message))
        except PurgedError:
            self.executor.forget(execution_id)

    def run_job(self, job: Job, owner: str, deadline: datetime) -> None:
        """Call `work` as the worker function does."""
        self.work(job, owner, self.engine.worker.run, deadline)
