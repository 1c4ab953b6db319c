"""Ctrl-C while an execution runs: once asks it to end, twice leaves at once. SIGTERM counts as Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, calls *first* on the first signal and *second* on the next, each in a thread of its own.

    A signal handler must not wait for anything, so it only puts the signal into a queue.
    """

    def __init__(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        self._calls = (first, second)
        self._signals: SimpleQueue[int | None] = SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread = Thread(target=self._run, name="headrace-interrupts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if current_thread() is main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._put)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._signals.put(None)
        self._thread.join()

    def _put(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signals.put(number)

    def _run(self) -> None:
        for call in self._calls:
            if self._signals.get() is None:
                return
            # Not here: the first call may take its time, and the second signal must not wait for it.
            Thread(target=call, daemon=True).start()
        self._signals.get()
