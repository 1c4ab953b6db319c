"""Concurrency slots in memory."""

from __future__ import annotations

import threading
from datetime import datetime

from headrace_engine.ports import SlotState


class MemorySlots:
    """`Slots` in dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, dict[str, int]] = {}
        self._queues: dict[str, dict[str, tuple[datetime, int]]] = {}

    def acquire(self, flow: str, execution_id: str, limit: int | None, seq: int) -> bool:
        """See `Slots.acquire`."""
        with self._lock:
            holders = self._holders.setdefault(flow, {})
            if execution_id not in holders and limit is not None and len(holders) >= limit:
                return False
            holders[execution_id] = max(seq, holders.get(execution_id, seq))
            return True

    def enqueue(self, flow: str, execution_id: str, now: datetime, seq: int) -> None:
        """See `Slots.enqueue`."""
        with self._lock:
            queue = self._queues.setdefault(flow, {})
            since, earlier = queue.get(execution_id, (now, seq))
            queue[execution_id] = (since, max(seq, earlier))

    def dequeue(self, flow: str, execution_id: str) -> None:
        """See `Slots.dequeue`."""
        with self._lock:
            self._queues.get(flow, {}).pop(execution_id, None)

    def release(self, flow: str, execution_id: str, seq: int) -> None:
        """See `Slots.release`."""
        with self._lock:
            holders, queue = self._holders.get(flow, {}), self._queues.get(flow, {})
            if holders.get(execution_id, seq) <= seq:
                holders.pop(execution_id, None)
            if execution_id in queue and queue[execution_id][1] <= seq:
                del queue[execution_id]

    def state(self, flow: str) -> SlotState:
        """See `Slots.state`."""
        with self._lock:
            queue = sorted((since, id_, seq) for id_, (since, seq) in self._queues.get(flow, {}).items())
            return SlotState(frozenset(self._holders.get(flow, ())), tuple((id_, seq) for _, id_, seq in queue))
