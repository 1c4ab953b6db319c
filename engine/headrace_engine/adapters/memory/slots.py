"""Concurrency slots in memory."""

from __future__ import annotations

import threading
from datetime import datetime

from headrace_engine.ports import SlotState


class MemorySlots:
    """`Slots` in dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, set[str]] = {}
        self._queues: dict[str, dict[str, datetime]] = {}

    def acquire(self, flow: str, execution_id: str, limit: int | None) -> bool:
        """See `Slots.acquire`."""
        with self._lock:
            holders = self._holders.setdefault(flow, set())
            if execution_id not in holders and limit is not None and len(holders) >= limit:
                return False
            holders.add(execution_id)
            return True

    def enqueue(self, flow: str, execution_id: str, now: datetime) -> None:
        """See `Slots.enqueue`."""
        with self._lock:
            self._queues.setdefault(flow, {}).setdefault(execution_id, now)

    def dequeue(self, flow: str, execution_id: str) -> None:
        """See `Slots.dequeue`."""
        with self._lock:
            self._queues.get(flow, {}).pop(execution_id, None)

    def release(self, flow: str, execution_id: str) -> None:
        """See `Slots.release`."""
        with self._lock:
            self._holders.get(flow, set()).discard(execution_id)
            self._queues.get(flow, {}).pop(execution_id, None)

    def state(self, flow: str) -> SlotState:
        """See `Slots.state`."""
        with self._lock:
            queue = self._queues.get(flow, {})
            return SlotState(
                frozenset(self._holders.get(flow, ())), tuple(sorted(queue, key=lambda id_: (queue[id_], id_)))
            )
