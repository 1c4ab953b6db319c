"""Carries what the engine tells to a display, at the display's pace.

The engine only says *that* the execution has changed; how it stands is looked up when it is drawn. So a fan-out of
thousands of task runs makes as many steps but few views.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

from headrace_cli.display import Display
from headrace_cli.view import View
from headrace_engine.ports import LogLine

_SHORTEST_PAUSE = 0.1
_SHARE = 4
"""Drawing takes at most a fifth of the time: after it comes a pause four times as long."""
_TICK = 0.1


class Feed:
    """What an execution has told since it was last drawn."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._has_changed = False
        self._lines: list[LogLine] = []
        self.news = Event()

    def changed(self, _: object) -> None:
        """Take note that the execution has changed."""
        with self._lock:
            self._has_changed = True
        self.news.set()

    def log(self, line: LogLine) -> None:
        """Take a new line of the log."""
        with self._lock:
            self._lines.append(line)
        self.news.set()

    def take(self) -> tuple[bool, list[LogLine]]:
        """Return whether the execution has changed since the last call, and the lines since then."""
        with self._lock:
            self.news.clear()
            taken = self._has_changed, self._lines
            self._has_changed, self._lines = False, []
        return taken


class Drawing:
    """While entered, a thread draws the feed at most ten times a second, and rests longer the longer drawing takes."""

    def __init__(self, feed: Feed, display: Display, look: Callable[[], View | None]) -> None:
        self._feed = feed
        self._display = display
        self._look = look
        self._closing = Event()
        self._is_closed = False
        self._thread = Thread(target=self._run, name="headrace-display", daemon=True)

    def close(self, execution: View) -> None:
        """Stop drawing, and have the display show the end."""
        self.stop()
        self._is_closed = True
        _, lines = self._feed.take()
        self._display.close(execution, lines)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_closed:
            self.stop()
            self._display.abandon()

    def stop(self) -> None:
        """Draw nothing more: what is told from now on is shown at the end."""
        self._closing.set()
        self._feed.news.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._closing.wait(pause):
            self._feed.news.wait(_TICK if self._display.ticks else None)
            if self._closing.is_set():
                return
            began = monotonic()
            has_changed, lines = self._feed.take()
            self._display.draw(self._look() if has_changed else None, lines)
            pause = max(_SHORTEST_PAUSE, _SHARE * (monotonic() - began))
