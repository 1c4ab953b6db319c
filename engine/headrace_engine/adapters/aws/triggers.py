"""What is remembered of triggers, in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    DUE,
    ConditionFailedError,
    Item,
    Table,
    key,
    number,
    optional_instant,
    optional_text,
    shard,
    sort_text,
    text,
)
from headrace_engine.model.ids import new_id
from headrace_engine.ports import NotFoundError, PortError, TriggerChangedError, TriggerRecord

SHARDS = 4
_TRIES = 5

# Holds when there is no record: this is the first write.
_FIRST = "attribute_not_exists(pk)"
# Holds unless somebody else wrote meanwhile, or deleted it.
_UNCHANGED = "version = :version"


class DynamoTriggers:
    """`Triggers` in *table*. Every write is durable when it returns.

    `due` finds keys in an index, which follows the table within a moment, and reads the records from the table. A put
    costs one write unit, and two more when it is due at another time.
    """

    def __init__(self, table: Table, overflow: Overflow) -> None:
        self._table = table
        self._overflow = overflow

    def get(self, namespace: str, flow_id: str, trigger_id: str) -> TriggerRecord:
        """See `Triggers.get`."""
        item = self._table.get(_partition(namespace, flow_id), trigger_id)
        return self._current(item) or TriggerRecord(namespace, flow_id, trigger_id)

    def _current(self, item: Item | None) -> TriggerRecord | None:
        """Return what an item says, which is read again when its object was replaced this moment; None without one."""
        for _ in range(_TRIES):
            if item is None:
                return None
            try:
                return self._record(item)
            except NotFoundError:
                item = self._table.get(item["pk"]["S"], item["sk"]["S"])
        raise PortError("A trigger's record changes all the time")

    def put(self, record: TriggerRecord) -> TriggerRecord:
        """See `Triggers.put`."""
        written = replace(record, version=record.version + 1)
        writer = new_id()
        item = {**self._item(written), "writer": text(writer)}
        condition, values = (_UNCHANGED, {":version": number(record.version)}) if record.version else (_FIRST, None)
        try:
            replaced = self._table.put(item, condition, values, old=True)
        except ConditionFailedError as refusal:
            # It is this call's own when its answer was lost and botocore sent it again.
            if refusal.stored is not None and optional_text(refusal.stored, "writer") == writer:
                return written
            self._overflow.drop(item)
            stored = self.get(record.namespace, record.flow_id, record.trigger_id)
            raise TriggerChangedError(record, stored if stored.version else None) from None
        self._overflow.drop(replaced)
        return written

    def list(self, namespace: str, flow_id: str) -> Sequence[TriggerRecord]:
        """See `Triggers.list`."""
        found = map(self._current, self._table.query(_partition(namespace, flow_id)))
        return [record for record in found if record is not None]

    def due(self, now: datetime) -> Iterator[TriggerRecord]:
        """See `Triggers.due`."""
        # '~' follows the '#' that ends an instant: whatever is due at *now* comes before.
        end = {":end": text(f"{sort_text(now)}~")}
        found = [
            (item["dsk"]["S"], (item["pk"]["S"], item["sk"]["S"]))
            for n in range(SHARDS)
            for item in self._table.index(DUE, f"T#{n}", "#sort < :end", end)
        ]
        for item in self._table.get_many([where for _, where in sorted(found)]):
            record = self._current(item)
            if record is not None and record.due is not None and record.due <= now and not record.disabled:
                yield record

    def delete(self, namespace: str, flow_id: str, trigger_id: str) -> None:
        """See `Triggers.delete`."""
        self._overflow.drop(self._table.delete(_partition(namespace, flow_id), trigger_id))

    def _item(self, record: TriggerRecord) -> dict[str, Any]:
        flow = f"{record.namespace}/{record.flow_id}"
        item: dict[str, Any] = {
            **key(_partition(record.namespace, record.flow_id), record.trigger_id),
            "version": number(record.version),
            **self._overflow.keep(f"T/{flow}/{record.trigger_id}/{new_id()}", record.data),
        }
        if record.disabled:
            item["disabled"] = {"BOOL": True}
        if record.due is not None:
            item["due"] = text(sort_text(record.due))
            if not record.disabled:
                item["dpk"] = text(f"T#{shard(f'{flow}#{record.trigger_id}', SHARDS)}")
                item["dsk"] = text(f"{sort_text(record.due)}#{flow}#{record.trigger_id}")
        return item

    def _record(self, item: Item) -> TriggerRecord:
        namespace, _, flow_id = item["pk"]["S"].removeprefix("T#").partition("/")
        return TriggerRecord(
            namespace,
            flow_id,
            item["sk"]["S"],
            int(item["version"]["N"]),
            "disabled" in item,
            optional_instant(item, "due"),
            self._overflow.load(item),
        )


def _partition(namespace: str, flow_id: str) -> str:
    return f"T#{namespace}/{flow_id}"
