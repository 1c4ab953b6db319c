"""Concurrency slots in DynamoDB: one item holds the set of holders, and each that waits has an item of its own.

Beside the set stands, under each holder's name, the entry that it holds its slot for.

The size of the set is bounded by the limit, so the item stays small; the queue may be of any length.
"""

from __future__ import annotations

import contextlib
from datetime import datetime

from headrace_engine.adapters.aws.table import ConditionFailedError, Table, number, sort_text, text
from headrace_engine.ports import SlotState

_HOLDERS = "H"
_QUEUE = "Q#"

# Holds when the execution has a slot already.
_HOLDS = "contains(holders, :id)"
# Holds unless the execution has its slot for a later entry: that must not be forgotten.
_NOT_LATE = "(attribute_not_exists(#seq) OR #seq <= :seq)"
# Holds when nobody has a slot, or fewer than the limit do: the set is counted by the write that adds to it.
_ROOM = "attribute_not_exists(holders) OR size(holders) < :limit"
# Holds when the execution has a place in the queue, but not for a later entry.
_WAITS = "attribute_exists(pk) AND seq <= :seq"


class DynamoSlots:
    """`Slots` in *table*. Every change is durable when it returns."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def acquire(self, flow: str, execution_id: str, limit: int | None, seq: int) -> bool:
        """See `Slots.acquire`. One write unit for some twenty holders."""
        values = {":id": text(execution_id), ":ids": {"SS": [execution_id]}, ":seq": number(seq)}
        condition = _NOT_LATE
        if limit is not None and limit > 0:
            condition += f" AND ({_HOLDS} OR {_ROOM})"
            values[":limit"] = number(limit)
        elif limit is not None:
            condition += f" AND {_HOLDS}"
        else:
            del values[":id"]
        change, names = "ADD holders :ids SET #seq = :seq", {"#seq": execution_id}
        try:
            self._table.update(_partition(flow), _HOLDERS, change, condition, values, names=names)
        except ConditionFailedError as failed:
            return execution_id in (failed.stored or {}).get("holders", {}).get("SS", ())
        return True

    def enqueue(self, flow: str, execution_id: str, now: datetime, seq: int) -> None:
        """See `Slots.enqueue`."""
        values = {":since": text(sort_text(now)), ":seq": number(seq)}
        with contextlib.suppress(ConditionFailedError):  # it waits for a later entry
            self._table.update(
                _partition(flow),
                _QUEUE + execution_id,
                "SET since = if_not_exists(since, :since), #seq = :seq",
                _NOT_LATE,
                values,
                names={"#seq": "seq"},
            )

    def dequeue(self, flow: str, execution_id: str) -> None:
        """See `Slots.dequeue`."""
        self._table.delete(_partition(flow), _QUEUE + execution_id)

    def release(self, flow: str, execution_id: str, seq: int) -> None:
        """See `Slots.release`."""
        values = {":id": text(execution_id), ":ids": {"SS": [execution_id]}, ":seq": number(seq)}
        condition, names = f"{_HOLDS} AND {_NOT_LATE}", {"#seq": execution_id}
        with contextlib.suppress(ConditionFailedError):
            self._table.update(
                _partition(flow), _HOLDERS, "DELETE holders :ids REMOVE #seq", condition, values, names=names
            )
        with contextlib.suppress(ConditionFailedError):
            self._table.delete(_partition(flow), _QUEUE + execution_id, _WAITS, {":seq": number(seq)})

    def state(self, flow: str) -> SlotState:
        """See `Slots.state`."""
        holders: frozenset[str] = frozenset()
        queue: list[tuple[str, str, int]] = []
        for item in self._table.query(_partition(flow)):
            name = item["sk"]["S"]
            if name == _HOLDERS:
                holders = frozenset(item.get("holders", {}).get("SS", ()))
            else:
                queue.append((item["since"]["S"], name.removeprefix(_QUEUE), int(item["seq"]["N"])))
        return SlotState(holders, tuple((execution_id, seq) for _, execution_id, seq in sorted(queue)))


def _partition(flow: str) -> str:
    return f"S#{flow}"
