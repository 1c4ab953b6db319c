"""Timers of the local runtime: one thread and a heap. What a crash takes is set again from the journal."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from datetime import datetime

from headrace_engine.ports import Clock


class LocalTimers:
    """Calls *fire* with execution id and key when a timer is due."""

    def __init__(self, clock: Clock, fire: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[datetime, str, str]] = []
        self._set: set[tuple[datetime, str, str]] = set()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See Timers.wake. The same timer set twice fires once."""
        timer = (due, execution_id, key)
        with self._condition:
            if self._closed or timer in self._set:
                return
            self._set.add(timer)
            heapq.heappush(self._heap, timer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headrace-timers", daemon=True)
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        """Stop firing."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (not self._heap or self._heap[0][0] > self._clock.now()):
                    seconds = (self._heap[0][0] - self._clock.now()).total_seconds() if self._heap else None
                    self._condition.wait(None if seconds is None else min(max(seconds, 0.0), 3600.0))
                if self._closed:
                    return
                timer = heapq.heappop(self._heap)
                self._set.discard(timer)
            self._fire(timer[1], timer[2])
