"""Carries what the engine tells to a display, at the display's pace: views that are overtaken are never drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

from headrace_cli.display import Display
from headrace_cli.view import View
from headrace_engine.ports import LogLine

_SHORTEST_PAUSE = 0.1
_SHARE = 9
"""Drawing takes at most a tenth of the time: after it comes a pause nine times as long."""
_TICK = 0.1


class Feed:
    """A thread that draws at most ten times a second, and rests longer the longer drawing took."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._lock = Lock()
        self._view: View | None = None
        self._lines: list[LogLine] = []
        self._early: Counter[LogLine] = Counter()
        """Lines that stood in the log when drawing began, and may yet be told."""
        self._news = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="headrace-display", daemon=True)

    def change(self, execution: View) -> None:
        """Take the execution as it stands now."""
        with self._lock:
            self._view = execution
        self._news.set()

    def log(self, line: LogLine) -> None:
        """Take a new line of the log."""
        with self._lock:
            if self._early and self._early[line] > 0:
                self._early[line] -= 1
                return
            self._lines.append(line)
        self._news.set()

    def begin(self, execution: View, lines: Sequence[LogLine]) -> None:
        """Start drawing, from what was there before anybody told of changes.

        *execution* and *lines* are read after the telling has begun, so they overlap with it; nothing is drawn twice.
        """
        with self._lock:
            early = Counter(lines)
            late = []
            for line in self._lines:
                if early[line] > 0:
                    early[line] -= 1
                else:
                    late.append(line)
            self._early = early
            self._lines = [*lines, *late]
            if self._view is None:
                self._view = execution
        self._news.set()
        self._thread.start()

    def close(self, execution: View) -> None:
        """Stop drawing, and have the display show the end."""
        self._stop()
        _, lines = self._take()
        self.display.close(execution, lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closing.is_set():
            self._stop()
            self.display.abandon()

    def _stop(self) -> None:
        self._closing.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _take(self) -> tuple[View | None, list[LogLine]]:
        with self._lock:
            taken = self._view, self._lines
            self._view, self._lines = None, []
        return taken

    def _run(self) -> None:
        pause = 0.0
        while not self._closing.wait(pause):
            self._news.wait(_TICK if self.display.ticks else None)
            if self._closing.is_set():
                return
            self._news.clear()
            began = monotonic()
            self.display.draw(*self._take())
            pause = max(_SHORTEST_PAUSE, _SHARE * (monotonic() - began))
