"""Log lines and metrics in DynamoDB: a batch is an item, compressed; a large one lies in S3."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    ConditionFailedError,
    Item,
    Table,
    key,
    number,
    optional_text,
    shard,
    text,
)
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Clock, Level, LogLine, MetricPoint, NotFoundError, PortError

SHARDS = 4
_COMPRESSED_FROM = 256
"""Bytes below which compression saves nothing."""
_TRIES = 5
_DIGITS = re.compile(r"(\d+)")

# Holds unless the batch is there: the first one stands.
_NEW = "attribute_not_exists(pk)"
# Holds unless somebody else took lines out of the batch meanwhile, or deleted it.
_UNCHANGED = "version = :version"

T = TypeVar("T", LogLine, MetricPoint)


class _Batches(Generic[T]):
    """The batches of one kind: each written once, at one write unit a KiB; *keep* is how long they stay."""

    def __init__(
        self, kind: str, type_: type[T], *, table: Table, overflow: Overflow, clock: Clock, keep: timedelta | None
    ) -> None:
        self._kind = kind
        self._decoder = msgspec.msgpack.Decoder(list[type_])  # type: ignore[valid-type]  # known when this runs
        self._table = table
        self._overflow = overflow
        self._clock = clock
        self._keep = keep

    def append(self, execution_id: str, batch: str, items: Sequence[T]) -> None:
        if not items:
            return
        item = self._item(self._place(execution_id, batch), execution_id, items, 0)
        try:
            self._table.put(item, _NEW)
        except ConditionFailedError as refusal:
            self._overflow.drop(item, unless=refusal.stored)

    def fetch(self, execution_id: str) -> list[T]:
        stored = [item for n in range(SHARDS) for item in self._table.query(self._partition(execution_id, n))]
        stored.sort(key=lambda item: _natural(item["sk"]["S"]))
        found = [each for item in stored for each in self._current(item)]
        return sorted(found, key=lambda each: each.timestamp)

    def remove(self, execution_id: str, matches: Any) -> int:
        """Take out what *matches*; return how many. A batch left empty stays, so that it is not appended again."""
        removed = 0
        for n in range(SHARDS):
            for stored in list(self._table.query(self._partition(execution_id, n))):
                removed += self._remove_from(execution_id, stored, matches)
        return removed

    def _remove_from(self, execution_id: str, stored: Item | None, matches: Any) -> int:
        for _ in range(_TRIES):
            if stored is None:
                return 0
            place = (stored["pk"]["S"], stored["sk"]["S"])
            version = int(stored["version"]["N"])
            try:
                before = self._items(stored)
                after = [each for each in before if not matches(each)]
                if len(after) == len(before):
                    return 0
            except NotFoundError:  # replaced this moment
                stored = self._table.get(*place)
                continue
            writer = new_id()
            item = {**self._item(place, execution_id, after, version + 1), "writer": text(writer)}
            if "ttl" in stored:
                item["ttl"] = stored["ttl"]
            try:
                self._table.put(item, _UNCHANGED, {":version": number(version)})
            except ConditionFailedError as refusal:
                # It is this call's own when its answer was lost and botocore sent it again.
                if refusal.stored is None or optional_text(refusal.stored, "writer") != writer:
                    self._overflow.drop(item)
                    stored = refusal.stored
                    continue
            self._overflow.drop(stored)
            return len(before) - len(after)
        raise PortError(f"The lines of execution {execution_id} change all the time")

    def delete(self, execution_id: str) -> None:
        for n in range(SHARDS):
            stored = list(self._table.query(self._partition(execution_id, n), keys_only=True))
            self._table.delete_many([(item["pk"]["S"], item["sk"]["S"]) for item in stored])
        self._overflow.clear(f"{self._kind}/{execution_id}")

    def _current(self, item: Item) -> list[T]:
        """Return what a batch holds, read again where its object was replaced this moment."""
        found: Item | None = item
        for _ in range(_TRIES):
            if found is None:
                return []
            with contextlib.suppress(NotFoundError):
                return self._items(found)
            found = self._table.get(item["pk"]["S"], item["sk"]["S"])
        raise PortError(f"The batch {item['sk']['S']} changes all the time")

    def _items(self, item: Item) -> list[T]:
        data = self._overflow.load(item)
        return self._decoder.decode(zlib.decompress(data) if "packed" in item else data)

    def _item(self, place: tuple[str, str], execution_id: str, items: Sequence[T], version: int) -> dict[str, Any]:
        data = msgspec.msgpack.encode(items)
        packed = len(data) >= _COMPRESSED_FROM
        if packed:
            data = zlib.compress(data)
        item: dict[str, Any] = {
            **key(*place),
            "version": number(version),
            **self._overflow.keep(f"{self._kind}/{execution_id}/{new_id()}", data),
        }
        if packed:
            item["packed"] = {"BOOL": True}
        if self._keep is not None:
            item["ttl"] = number(int((self._clock.now() + self._keep).timestamp()))
        return item

    def _place(self, execution_id: str, batch: str) -> tuple[str, str]:
        return self._partition(execution_id, shard(batch, SHARDS)), batch

    def _partition(self, execution_id: str, number: int) -> str:
        return f"{self._kind}#{execution_id}#{number}"


class DynamoLogs:
    """`Logs` in *table*. Lines stay for *keep* after they came (None: until they are deleted); *clock* tells when."""

    def __init__(self, table: Table, overflow: Overflow, clock: Clock, keep: timedelta | None = None) -> None:
        self._batches = _Batches("L", LogLine, table=table, overflow=overflow, clock=clock, keep=keep)

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        """See `Logs.append`. Text that is no Unicode (lone surrogates) is stored with question marks."""
        clean = [replace(line, message=line.message.encode("utf-8", "replace").decode()) for line in lines]
        self._batches.append(execution_id, batch, clean)

    def fetch(
        self,
        execution_id: str,
        *,
        min_level: Level = Level.TRACE,
        task_id: str | None = None,
        task_run_id: str | None = None,
    ) -> Sequence[LogLine]:
        """See `Logs.fetch`. A query for each of the shards, strongly consistent."""
        return [
            line
            for line in self._batches.fetch(execution_id)
            if line.level.rank >= min_level.rank
            and (task_id is None or line.task_id == task_id)
            and (task_run_id is None or line.task_run_id == task_run_id)
        ]

    def purge(
        self,
        execution_id: str,
        *,
        levels: Sequence[Level] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """See `Logs.purge`."""
        return self._batches.remove(
            execution_id,
            lambda line: (
                (not levels or line.level in levels)
                and (start is None or line.timestamp >= start)
                and (end is None or line.timestamp <= end)
            ),
        )

    def delete(self, execution_id: str) -> None:
        """See `Logs.delete`."""
        self._batches.delete(execution_id)


class DynamoMetrics:
    """`Metrics` in *table*. Points stay for *keep* after they came (None: until they are deleted)."""

    def __init__(self, table: Table, overflow: Overflow, clock: Clock, keep: timedelta | None = None) -> None:
        self._batches = _Batches("M", MetricPoint, table=table, overflow=overflow, clock=clock, keep=keep)

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None:
        """See `Metrics.append`."""
        self._batches.append(execution_id, batch, points)

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """See `Metrics.fetch`. A query for each of the shards, strongly consistent."""
        return self._batches.fetch(execution_id)

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`."""
        self._batches.delete(execution_id)


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return what puts ``#9`` before ``#10``."""
    parts = _DIGITS.split(name)
    return tuple((word, int(digits or "0")) for word, digits in zip(parts[::2], [*parts[1::2], ""], strict=True))
