"""Timers of the local runtime: one thread and a heap. What a crash takes is set again from what is stored."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from datetime import datetime

from headrace_engine.ports import Clock

Ring = Callable[[str, str, str, datetime], None]
"""Is told namespace, flow and id of a trigger, and when it was to be looked at."""

_LOOK = 60.0
"""Seconds after which the clock is looked at again: it may have been set, and a machine that sleeps does not wait."""


def _nobody(_namespace: str, _flow_id: str, _trigger_id: str, _due: datetime) -> None:
    """Look at no trigger: nothing fires here."""


class LocalTimers:
    """Calls *fire* with execution id and key when a timer is due, and *ring* when a trigger is."""

    def __init__(self, clock: Clock, fire: Callable[[str, str], None], ring: Ring = _nobody) -> None:
        self._clock = clock
        self._fire = fire
        self._ring = ring
        self._heap: list[tuple[datetime, tuple[str, ...]]] = []
        """With execution id and key, or with the three names of a trigger."""
        self._set: set[tuple[datetime, tuple[str, ...]]] = set()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See Timers.wake. The same timer set twice fires once."""
        self._put(due, (execution_id, key))

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """See Timers.wake_trigger. The same one set twice rings once."""
        self._put(due, (namespace, flow_id, trigger_id))

    def is_set(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> bool | None:
        """See `Alarms.is_set`."""
        with self._condition:
            return (due, (namespace, flow_id, trigger_id)) in self._set

    def _put(self, due: datetime, what: tuple[str, ...]) -> None:
        timer = (due, what)
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
                    self._condition.wait(None if seconds is None else min(max(seconds, 0.0), _LOOK))
                if self._closed:
                    return
                timer = heapq.heappop(self._heap)
                self._set.discard(timer)
            match timer:
                case due, (namespace, flow_id, trigger_id):
                    self._ring(namespace, flow_id, trigger_id, due)
                case _, (execution_id, key):
                    self._fire(execution_id, key)
