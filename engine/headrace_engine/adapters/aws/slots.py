"""Concurrency slots in DynamoDB: one item holds the set of holders, and each that waits has an item of its own.

The size of the set is bounded by the limit, so the item stays small; the queue may be of any length.
"""

from __future__ import annotations

import contextlib
from datetime import datetime

from headrace_engine.adapters.aws.table import ConditionFailedError, Table, key, number, sort_text, text
from headrace_engine.ports import SlotState

_HOLDERS = "H"
_QUEUE = "Q#"

# Holds when the execution has a slot already.
_HOLDS = "contains(holders, :id)"
# Holds when nobody has a slot, or fewer than the limit do: the set is counted by the write that adds to it.
_ROOM = "attribute_not_exists(holders) OR size(holders) < :limit"
# Holds unless the execution waits already: it keeps its place.
_NOT_WAITING = "attribute_not_exists(pk)"


class DynamoSlots:
    """`Slots` in *table*. Every change is durable when it returns."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def acquire(self, flow: str, execution_id: str, limit: int | None) -> bool:
        """See `Slots.acquire`. One write unit for some forty holders."""
        values = {":id": text(execution_id), ":ids": {"SS": [execution_id]}}
        condition = ""
        if limit is not None and limit > 0:
            condition = f"{_HOLDS} OR {_ROOM}"
            values[":limit"] = number(limit)
        elif limit is not None:
            condition = _HOLDS
        else:
            del values[":id"]
        try:
            self._table.update(_partition(flow), _HOLDERS, "ADD holders :ids", condition, values)
        except ConditionFailedError:
            return False
        return True

    def enqueue(self, flow: str, execution_id: str, now: datetime) -> None:
        """See `Slots.enqueue`."""
        item = {**key(_partition(flow), _QUEUE + execution_id), "since": text(sort_text(now))}
        with contextlib.suppress(ConditionFailedError):
            self._table.put(item, _NOT_WAITING)

    def dequeue(self, flow: str, execution_id: str) -> None:
        """See `Slots.dequeue`."""
        self._table.delete(_partition(flow), _QUEUE + execution_id)

    def release(self, flow: str, execution_id: str) -> None:
        """See `Slots.release`."""
        values = {":id": text(execution_id), ":ids": {"SS": [execution_id]}}
        with contextlib.suppress(ConditionFailedError):
            self._table.update(_partition(flow), _HOLDERS, "DELETE holders :ids", _HOLDS, values)
        self.dequeue(flow, execution_id)

    def state(self, flow: str) -> SlotState:
        """See `Slots.state`."""
        holders: frozenset[str] = frozenset()
        queue: list[tuple[str, str]] = []
        for item in self._table.query(_partition(flow)):
            name = item["sk"]["S"]
            if name == _HOLDERS:
                holders = frozenset(item.get("holders", {}).get("SS", ()))
            else:
                queue.append((item["since"]["S"], name.removeprefix(_QUEUE)))
        return SlotState(holders, tuple(execution_id for _, execution_id in sorted(queue)))


def _partition(flow: str) -> str:
    return f"S#{flow}"
