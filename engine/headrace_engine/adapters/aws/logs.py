"""Log lines and metrics in DynamoDB: a batch is an item, compressed; a large one lies in S3.

Batches that are appended together are one item. Whoever takes over from a process that died appends what may be there
already, perhaps put together differently; so a batch may stand in several items, and readers take it from one.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
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
from headrace_engine.model.search import Condition, ExecutionQuery, Operation, Order
from headrace_engine.ports import (
    Clock,
    Executions,
    Level,
    LogLine,
    LogPage,
    LogQuery,
    MetricPoint,
    NotFoundError,
    PortError,
)

SHARDS = 4
_COMPRESSED_FROM = 256
"""Bytes below which compression saves nothing."""
_TRIES = 5
_SEARCHED = 50
"""Executions among whose lines a search looks."""
_MEASURED = 1000
"""Executions of a flow whose metrics are put together."""
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
        self._decoder_of_several = msgspec.msgpack.Decoder(dict[str, list[type_]])  # type: ignore[valid-type]
        self._table = table
        self._overflow = overflow
        self._clock = clock
        self._keep = keep

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[T]]) -> None:
        kept = {name: items for name, items in batches.items() if items}
        if not kept:
            return
        item = self._item(self._place(execution_id, _joined(kept)), execution_id, kept, 0)
        try:
            self._table.put(item, _NEW)
        except ConditionFailedError as refusal:
            self._overflow.drop(item, unless=refusal.stored)

    def fetch(self, execution_id: str) -> list[T]:
        stored = [item for n in range(SHARDS) for item in self._table.query(self._partition(execution_id, n))]
        # Of a batch that stands in several items, the one that something was taken out of.
        stored.sort(key=lambda item: int(item["version"]["N"]), reverse=True)
        batches: dict[str, Sequence[T]] = {}
        for item in stored:
            batches = {**self._current(item), **batches}
        found = [each for name in sorted(batches, key=_natural) for each in batches[name]]
        return sorted(found, key=lambda each: each.timestamp)

    def remove(self, execution_id: str, matches: Any) -> int:
        """Take out what *matches*; return how many. A batch left empty stays, so that it is not appended again."""
        removed: dict[str, int] = {}
        for n in range(SHARDS):
            for stored in list(self._table.query(self._partition(execution_id, n))):
                for name, count in self._remove_from(execution_id, stored, matches).items():
                    removed[name] = max(count, removed.get(name, 0))
        return sum(removed.values())

    def _remove_from(self, execution_id: str, stored: Item | None, matches: Any) -> Mapping[str, int]:
        """Return how many of each batch an item held."""
        for _ in range(_TRIES):
            if stored is None:
                return {}
            place = (stored["pk"]["S"], stored["sk"]["S"])
            version = int(stored["version"]["N"])
            try:
                before = self._items(stored)
                after = {name: [each for each in items if not matches(each)] for name, items in before.items()}
                removed = {name: len(items) - len(after[name]) for name, items in before.items()}
                if not any(removed.values()):
                    return {}
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
            return removed
        raise PortError(f"The lines of execution {execution_id} change all the time")

    def delete(self, execution_id: str) -> None:
        for n in range(SHARDS):
            stored = list(self._table.query(self._partition(execution_id, n), keys_only=True))
            self._table.delete_many([(item["pk"]["S"], item["sk"]["S"]) for item in stored])
        self._overflow.clear(f"{self._kind}/{execution_id}")

    def _current(self, item: Item) -> Mapping[str, Sequence[T]]:
        """Return the batches of an item, read again where its object was replaced this moment."""
        found: Item | None = item
        for _ in range(_TRIES):
            if found is None:
                return {}
            with contextlib.suppress(NotFoundError):
                return self._items(found)
            found = self._table.get(item["pk"]["S"], item["sk"]["S"])
        raise PortError(f"The batch {item['sk']['S']} changes all the time")

    def _items(self, item: Item) -> Mapping[str, Sequence[T]]:
        data = self._overflow.load(item)
        if "packed" in item:
            data = zlib.decompress(data)
        if "several" in item:
            return self._decoder_of_several.decode(data)
        return {item["sk"]["S"]: self._decoder.decode(data)}

    def _item(
        self, place: tuple[str, str], execution_id: str, batches: Mapping[str, Sequence[T]], version: int
    ) -> dict[str, Any]:
        several = place[1] not in batches
        data = msgspec.msgpack.encode(batches if several else batches[place[1]])
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
        if several:
            item["several"] = {"BOOL": True}
        if self._keep is not None:
            item["ttl"] = number(int((self._clock.now() + self._keep).timestamp()))
        return item

    def _place(self, execution_id: str, batch: str) -> tuple[str, str]:
        return self._partition(execution_id, shard(batch, SHARDS)), batch

    def _partition(self, execution_id: str, number: int) -> str:
        return f"{self._kind}#{execution_id}#{number}"


class DynamoLogs:
    """`Logs` in *table*. Lines stay for *keep* after they came (None: until they are deleted); *clock* tells when."""

    def __init__(
        self, table: Table, overflow: Overflow, clock: Clock, executions: Executions, keep: timedelta | None = None
    ) -> None:
        self._executions = executions
        self._batches = _Batches("L", LogLine, table=table, overflow=overflow, clock=clock, keep=keep)

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        """See `Logs.append`. Text that is no Unicode (lone surrogates) is stored with question marks."""
        self.append_all(execution_id, {batch: lines})

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        """See `Logs.append_all`. One write, of a unit a KiB."""
        clean = {
            batch: [replace(line, message=line.message.encode("utf-8", "replace").decode()) for line in lines]
            for batch, lines in batches.items()
        }
        self._batches.append_all(execution_id, clean)

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

    def search(self, query: LogQuery, *, limit: int = 10, offset: int = 0, descending: bool = True) -> LogPage:
        """See `Logs.search`. Lines lie by execution: it reads those of the newest `_SEARCHED` that may have some."""
        if query.execution_id is not None:
            found, is_exact = list(self._batches.fetch(query.execution_id)), True
        else:
            found, is_exact = self._lines_of_executions(query, offset + limit, descending=descending)
        lines = [line for line in found if query.matches(line)]
        lines.sort(key=lambda line: line.timestamp, reverse=descending)
        return LogPage(lines[offset : offset + limit], len(lines), is_exact)

    def _lines_of_executions(self, query: LogQuery, wanted: int, *, descending: bool) -> tuple[list[LogLine], bool]:
        """Return the lines of executions until there are more than are *wanted*, and whether those are all."""
        executions = self._executions.search(
            ExecutionQuery(query.namespaces, query.flow_id, until=query.until),
            order=(Order(descending=descending),),
            limit=_SEARCHED,
        )
        lines: list[LogLine] = []
        matched = 0
        for each in executions.found:
            if query.since is not None and each.end is not None and each.end < query.since and each.wake_by is None:
                continue
            if matched > wanted:
                return lines, False
            own = self._batches.fetch(each.id)
            matched += sum(map(query.matches, own))
            lines += own
        return lines, executions.is_exact and executions.total <= _SEARCHED

    def purge(
        self,
        execution_id: str,
        *,
        levels: Sequence[Level] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        task_id: str | None = None,
        task_run_id: str | None = None,
        attempt: int | None = None,
    ) -> int:
        """See `Logs.purge`."""
        query = LogQuery(("",), None, None, task_id, task_run_id, attempt, tuple(levels), start, end)
        return self._batches.remove(execution_id, query.matches)

    def delete(self, execution_id: str) -> None:
        """See `Logs.delete`."""
        self._batches.delete(execution_id)


class DynamoMetrics:
    """`Metrics` in *table*. Points stay for *keep* after they came (None: until they are deleted)."""

    def __init__(
        self, table: Table, overflow: Overflow, clock: Clock, executions: Executions, keep: timedelta | None = None
    ) -> None:
        self._executions = executions
        self._batches = _Batches("M", MetricPoint, table=table, overflow=overflow, clock=clock, keep=keep)

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None:
        """See `Metrics.append`."""
        self.append_all(execution_id, {batch: points})

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[MetricPoint]]) -> None:
        """See `Metrics.append_all`. One write, of a unit a KiB."""
        self._batches.append_all(execution_id, batches)

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """See `Metrics.fetch`. A query for each of the shards, strongly consistent."""
        return self._batches.fetch(execution_id)

    def of_flow(self, namespace: str, flow_id: str, *, since: datetime, until: datetime) -> Sequence[MetricPoint]:
        """See `Metrics.of_flow`. Four queries for each execution of that time."""
        exactly = (Condition("namespace", Operation.EQUALS, (namespace,)),)
        query = ExecutionQuery((namespace,), flow_id, until=until, conditions=exactly)
        points = [
            point
            for each in self._executions.search(query, limit=_MEASURED).found
            if each.end is None or each.end >= since
            for point in self._batches.fetch(each.id)
            if since <= point.timestamp <= until
        ]
        return sorted(points, key=lambda point: point.timestamp)

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`."""
        self._batches.delete(execution_id)


def _joined(names: Iterable[str]) -> str:
    """Return the name of an item that holds these batches and no others."""
    first, *others = names
    return f"{first}-{others[-1]}-{zlib.crc32(' '.join(others).encode()):08x}" if others else first


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return what puts ``#9`` before ``#10``."""
    parts = _DIGITS.split(name)
    return tuple((word, int(digits or "0")) for word, digits in zip(parts[::2], [*parts[1::2], ""], strict=True))
