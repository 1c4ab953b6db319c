"""Log lines and metrics in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from headrace_engine.ports import Level, LogLine, LogPage, LogQuery, MetricPoint

T = TypeVar("T", LogLine, MetricPoint)


class _Batches(Generic[T]):
    """Items of executions in batches; a batch is taken once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[str, dict[str, tuple[T, ...]]] = {}

    def append(self, execution_id: str, batch: str, items: Sequence[T]) -> None:
        with self._lock:
            if items:
                self._batches.setdefault(execution_id, {}).setdefault(batch, tuple(items))

    def items(self, execution_id: str) -> Iterable[T]:
        with self._lock:
            batches = list(self._batches.get(execution_id, {}).values())
        return sorted((item for batch in batches for item in batch), key=lambda item: item.timestamp)

    def all(self) -> list[T]:
        with self._lock:
            return [item for batches in self._batches.values() for batch in batches.values() for item in batch]

    def remove(self, execution_id: str, matches: Callable[[T], bool]) -> int:
        with self._lock:
            batches = self._batches.get(execution_id, {})
            before = sum(map(len, batches.values()))
            for batch, items in batches.items():
                batches[batch] = tuple(item for item in items if not matches(item))
            return before - sum(map(len, batches.values()))

    def delete(self, execution_id: str) -> None:
        with self._lock:
            self._batches.pop(execution_id, None)


class MemoryLogs:
    """`Logs` in a dictionary."""

    def __init__(self) -> None:
        self._lines: _Batches[LogLine] = _Batches()

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        """See `Logs.append`."""
        self._lines.append(execution_id, batch, lines)

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        """See `Logs.append_all`."""
        for batch, lines in batches.items():
            self._lines.append(execution_id, batch, lines)

    def fetch(
        self,
        execution_id: str,
        *,
        min_level: Level = Level.TRACE,
        task_id: str | None = None,
        task_run_id: str | None = None,
    ) -> Sequence[LogLine]:
        """See `Logs.fetch`."""
        return [
            line
            for line in self._lines.items(execution_id)
            if line.level.rank >= min_level.rank
            and (task_id is None or line.task_id == task_id)
            and (task_run_id is None or line.task_run_id == task_run_id)
        ]

    def search(self, query: LogQuery, *, limit: int = 10, offset: int = 0, descending: bool = True) -> LogPage:
        """See `Logs.search`."""
        found = [line for line in self._lines.all() if query.matches(line)]
        found.sort(key=lambda line: line.timestamp, reverse=descending)
        return LogPage(found[offset : offset + limit], len(found))

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
        query = LogQuery(("",), None, execution_id, task_id, task_run_id, attempt, tuple(levels), start, end)
        return self._lines.remove(execution_id, query.matches)

    def delete(self, execution_id: str) -> None:
        """See `Logs.delete`."""
        self._lines.delete(execution_id)


class MemoryMetrics:
    """`Metrics` in a dictionary."""

    def __init__(self) -> None:
        self._points: _Batches[MetricPoint] = _Batches()

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None:
        """See `Metrics.append`."""
        self._points.append(execution_id, batch, points)

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[MetricPoint]]) -> None:
        """See `Metrics.append_all`."""
        for batch, points in batches.items():
            self._points.append(execution_id, batch, points)

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """See `Metrics.fetch`."""
        return list(self._points.items(execution_id))

    def of_flow(self, namespace: str, flow_id: str, *, since: datetime, until: datetime) -> Sequence[MetricPoint]:
        """See `Metrics.of_flow`."""
        found = [
            point
            for point in self._points.all()
            if (point.namespace, point.flow_id) == (namespace, flow_id) and since <= point.timestamp <= until
        ]
        return sorted(found, key=lambda point: point.timestamp)

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`."""
        self._points.delete(execution_id)
