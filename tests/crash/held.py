"""Internal storage that can be made to wait: what asks it stays where it is for as long as a test needs that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class HeldStorage:
    """`Storage` whose first call of a kind waits until it may go on."""

    def __init__(self, storage: Any, call: str, on_reached: Callable[[], object] = lambda: None) -> None:
        """Hold *call*: the method, and the last part of the URI, as in ``open in.txt``; *on_reached* is told."""
        self._storage = storage
        self._call = call
        self._on_reached = on_reached
        self.reached = threading.Event()
        self.go = threading.Event()

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._storage, method)

        def held(uri: str, *more: Any) -> Any:
            if f"{method} {uri.rpartition('/')[2]}" == self._call and not self.reached.is_set():
                self.reached.set()
                self._on_reached()
                self.go.wait()
            return target(uri, *more)

        return held
