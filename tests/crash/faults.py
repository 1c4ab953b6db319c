"""Stops an engine at one of its port calls, as a crash would; and what a store had not yet made durable is gone.

Nothing is patched: the ports of a `World` are wrapped in objects that count the calls that pass through them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import fields
from typing import Any

from headrace_engine.services import Channels, Stores
from headrace_engine.testing.runtime import World

_DEFERRED = {
    *("executions.put", "journal.save_snapshot"),
    *("logs.append", "logs.append_all", "metrics.append", "metrics.append_all"),
}
"""Writes that a crash in the next moment may take (ports.py)."""
_NO_EFFECT = {"clock", "secrets", "cipher"}


class CrashError(BaseException):
    """The engine is dead. No `except Exception` catches it, and every port raises it from now on."""


class Faults:
    """Counts port calls and crashes the engine at one of them."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        """Crash at call number *at* (from 1; None: never): before it has its effect, or *after*, its answer lost."""
        self.at = at
        self.after = after
        self.calls = 0
        self.dead = False
        self.names: list[str] = []
        """What was called, in order."""
        self._lock = threading.RLock()  # one call at a time, whatever thread makes it

    @property
    def struck(self) -> str:
        """The call it crashed at."""
        return self.names[-1] if self.dead else "nothing"

    def call(self, name: str, run: Callable[[], Any]) -> Any:
        """Make a port call, or crash."""
        with self._lock:
            if self.dead:
                raise CrashError(name)
            self.calls += 1
            self.names.append(name)
            strikes = self.calls == self.at
            self.dead = strikes and not self.after
            if self.dead:
                raise CrashError(name)
            result = run()
            self.dead = strikes
            if strikes:
                raise CrashError(name)
            return result


class Cache:
    """What stores were told and have not made durable; the next durable write takes it along, a crash loses it."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.RLock()

    def add(self, write: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.append(write)

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for write in waiting:
                write()

    def lose(self) -> None:
        with self._lock:
            self._waiting.clear()


Call = Callable[[str, Callable[[], Any]], Any]


class _Port:
    """Any port, every method of which goes through *call*."""

    def __init__(self, name: str, port: object, call: Call, cache: Cache | None) -> None:
        self._name = name
        self._port = port
        self._call = call
        self._cache = cache

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._port, method)
        name = f"{self._name}.{method}"
        if not callable(target):
            return target

        def through(*arguments: Any, **named: Any) -> Any:
            def run() -> Any:
                if self._cache is not None and name in _DEFERRED:
                    self._cache.add(lambda: target(*arguments, **named))
                    return None
                if self._cache is not None:
                    self._cache.flush()
                return target(*arguments, **named)

            return self._call(name, run)

        return through


def through(world: World, call: Call, cache: Cache | None = None) -> World:
    """Return *world* as an engine sees it whose every port call goes through *call*."""
    seen = copy(world)
    seen.stores = Stores(
        **{
            field.name: getattr(world.stores, field.name)
            if field.name in _NO_EFFECT
            else _Port(field.name, getattr(world.stores, field.name), call, cache)
            for field in fields(Stores)
        }
    )
    ports: Any = (_Port(name, world, call, None) for name in ("mailbox", "timers", "dispatch", "bus"))
    seen.channels = Channels(*ports)
    return seen
