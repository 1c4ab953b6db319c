"""Dispatched attempts in the local runtime: a queue and worker threads.

What runs people's code is a process of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from headrace_engine.attempts import Attempts
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Claims, Clock, Job, Mailbox, PortError
from headrace_engine.run_context import WorkerContext
from headrace_engine.worker import Worker

_LOOK = 0.2
"""Seconds between two looks whether somebody has lost patience."""

_log = logging.getLogger(__name__)


class LocalDispatch:
    """Runs jobs on up to *threads* worker threads of this process, which claims them as *owner*."""

    def __init__(
        self,
        claims: Claims,
        clock: Clock,
        mailbox: Mailbox,
        worker: Worker,
        *,
        owner: str,
        identify: Callable[[int], str],
        threads: int = 32,
    ) -> None:
        """Take the ports. identify(process group) returns what tells the group from a later one of the same number."""
        self._claims = claims
        self._clock = clock
        self._attempts = Attempts(claims, clock, mailbox)
        self._worker = worker
        self._owner = owner
        self._identify = identify
        self._limit = threads
        self._condition = threading.Condition()
        self._queue: deque[Job] = deque()
        self._known: set[AttemptId] = set()
        """Attempts that wait or run here."""
        self._running: dict[AttemptId, WorkerContext] = {}
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._draining = False
        self._closed = False

    def start(self, job: Job) -> None:
        """See Dispatch.start."""
        with self._condition:
            if self._closed or self._draining or job.attempt in self._known:
                return
            self._known.add(job.attempt)
            self._queue.append(job)
            self._condition.notify()
            # A thread that was woken counts as idle until it runs: only those beyond the jobs that wait are free.
            if self._idle < len(self._queue) and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._work, name="headrace-worker", daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self, attempt: AttemptId) -> None:
        """See Dispatch.stop. The flag on the claim comes first, so that an attempt not yet begun finds it."""
        self._claims.request_stop(attempt, self._clock.now())
        context = self._running.get(attempt)
        if context is not None:
            context.stop()

    def drain(self, patience: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Begin no attempt any more, and wait until those that run have ended; return whether they have.

        No longer than *patience* seconds, nor when *is_over*. What was not begun is dispatched again at the next start.
        """
        deadline = time.monotonic() + patience
        with self._condition:
            self._draining = True
            self._known.difference_update(job.attempt for job in self._queue)
            self._queue.clear()
            while self._known and not is_over() and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(min(left, _LOOK))
            return not self._known

    @property
    def is_closed(self) -> bool:
        """True as soon as `close` was called."""
        return self._closed

    def close(self) -> None:
        """End what runs without reporting it: the next start finds those attempts lost.

        What ended by itself just before is closed with its result.
        """
        with self._condition:
            self._closed = True
            self._queue.clear()
            self._condition.notify_all()
            contexts = list(self._running.values())
        for context in contexts:
            context.stop()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._closed:
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                if self._closed:
                    return
                job = self._queue.popleft()
            try:
                self._attempts.run(job, self._owner, self._execute)
            except Exception:  # noqa: BLE001 - a thread that ended would be missing for ever
                # The claim stands, or not; either way the next start, or the sweeper, finds the attempt again.
                _log.exception("Attempt %s could not be run or reported", job.attempt)
            finally:
                with self._condition:
                    self._known.discard(job.attempt)
                    if self._draining:
                        self._condition.notify_all()

    def _execute(self, job: Job) -> AttemptResult | None:
        attempt = job.attempt

        def begin(context: WorkerContext) -> None:
            self._running[attempt] = context
            claim = self._claims.get(attempt)
            if self._closed or (claim is not None and claim.stop_requested):
                context.stop()  # a stop that came between the claim and now

        def record(process_group: int) -> None:
            if not self._claims.record_process(attempt, self._owner, process_group, self._identify(process_group)):
                raise PortError(f"Attempt {attempt.number} of task run {attempt.task_run_id} is not ours any more")

        try:
            result = self._worker.run(job, on_context=begin, on_process_group=record)
        finally:
            self._running.pop(attempt, None)
        return None if self._closed and result.state is State.KILLED else result
