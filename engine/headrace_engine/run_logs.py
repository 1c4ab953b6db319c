"""Log lines of a running attempt on their way to the store: in batches, soon, and each once.

A batch has a key of its own that grows with the attempt, so that appending it again after an error
adds nothing. Lines wait at most half a second: one thread for the whole process writes what has waited.
The last ones may go elsewhere, with the attempt's result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from headrace_engine.ports import LogLine, Logs, PortError

_BATCH = 200
_WAIT = 0.5
_TRIES_AT_END = 3
_REST = 16 * 1024
"""Characters of log lines that go with a result; more are a batch of their own."""

_logger = logging.getLogger(__name__)


class LogStream:
    """The lines of one attempt."""

    def __init__(self, logs: Logs, execution_id: str, key: str) -> None:
        self._logs = logs
        self._execution_id = execution_id
        self._key = key
        self._batches = 0
        self._lines: list[LogLine] = []
        self._refused: list[LogLine] = []
        """The batch under way when the store failed: it may be there all the same, so it goes again as it was."""
        self._scheduled = False
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()

    def add(self, line: LogLine) -> None:
        """Take a line; any thread may call."""
        with self._lock:
            self._lines.append(line)
            full = len(self._lines) >= _BATCH
            schedule = not full and not self._scheduled
            self._scheduled = self._scheduled or schedule
        if full:
            self.flush()
        elif schedule:
            _background.call_later(_WAIT, self.flush)

    def flush(self) -> bool:
        """Write what has gathered; False (and the lines are kept) when the store refused."""
        with self._write_lock:
            while True:
                with self._lock:
                    self._scheduled = False
                    batch = self._refused
                    if not batch:
                        batch, self._lines = self._lines, []
                if not batch:
                    return True
                try:
                    self._logs.append(self._execution_id, f"{self._key}/{self._batches}", batch)
                except PortError:
                    self._refused = batch
                    return False
                self._refused = []
                self._batches += 1

    def rest(self) -> list[LogLine]:
        """Return the lines that were not stored, which are not any more to be; none where they are many."""
        with self._write_lock, self._lock:
            if self._refused or sum(len(line.message) for line in self._lines) > _REST:
                return []
            rest, self._lines = self._lines, []
            return rest

    def close(self) -> None:
        """Write what is left. Lines the store refuses again and again are given up: they do not fail the attempt."""
        for _ in range(_TRIES_AT_END):
            if self.flush():
                return
        _logger.warning("%d log lines of %s could not be stored", len(self._refused) + len(self._lines), self._key)


class _Background:
    """Calls functions a little later, from one daemon thread that starts with the first call."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, Callable[[], object]]] = deque()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        with self._condition:
            self._calls.append((time.monotonic() + delay, call))  # one delay for all: the list stays in order
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headrace-logs", daemon=True)
                self._thread.start()
            elif len(self._calls) == 1:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._calls:
                    self._condition.wait()
                due, call = self._calls.popleft()
            delay = due - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            call()


_background = _Background()
