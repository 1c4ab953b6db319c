"""Log lines and metrics in SQLite: they ride on the next commit, and reads see them at once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_instant, to_number
from headrace_engine.ports import Level, LogLine, MetricPoint

_LEVELS = tuple(Level)

_ADD_LINE = """
INSERT INTO logs
    (execution_id, batch, timestamp, level, namespace, flow_id, task_id, task_run_id, attempt, message)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_ADD_POINT = """
INSERT INTO metrics
    (execution_id, batch, timestamp, namespace, flow_id, task_id, task_run_id, kind, name, value, tags)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class SqliteLogs:
    """`Logs` in *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        """See `Logs.append`. Text that is no Unicode (lone surrogates) is stored with question marks."""
        rows = [
            (
                execution_id,
                batch,
                to_number(line.timestamp),
                line.level.rank,
                line.namespace,
                line.flow_id,
                line.task_id,
                line.task_run_id,
                line.attempt,
                line.message.encode("utf-8", "replace").decode(),
            )
            for line in lines
        ]

        def add(writer: sqlite3.Connection) -> None:
            # Holds unless the batch is there; there is one writer, so it cannot come in between.
            if not writer.execute(
                "SELECT 1 FROM logs WHERE execution_id = ? AND batch = ? LIMIT 1", (execution_id, batch)
            ).fetchall():
                writer.executemany(_ADD_LINE, rows)

        self._database.later(add)

    def fetch(
        self,
        execution_id: str,
        *,
        min_level: Level = Level.TRACE,
        task_id: str | None = None,
        task_run_id: str | None = None,
    ) -> Sequence[LogLine]:
        """See `Logs.fetch`. Lines of the same instant come in the order in which they were appended."""
        self._database.flush()
        rows = self._database.rows(
            """
            SELECT namespace, flow_id, timestamp, level, message, task_id, task_run_id, attempt FROM logs
            WHERE execution_id = :execution_id AND level >= :level
            AND (:task_id IS NULL OR task_id = :task_id)
            AND (:task_run_id IS NULL OR task_run_id = :task_run_id)
            ORDER BY timestamp, rowid
            """,
            {
                "execution_id": execution_id,
                "level": min_level.rank,
                "task_id": task_id,
                "task_run_id": task_run_id,
            },
        )
        return [_line(execution_id, row) for row in rows]

    def purge(
        self,
        execution_id: str,
        *,
        levels: Sequence[Level] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """See `Logs.purge`."""
        ranks = json.dumps([level.rank for level in levels or Level])
        since = to_number(start) if start is not None else None
        until = to_number(end) if end is not None else None
        return self._database.write(
            lambda writer: (
                writer.execute(
                    """
                    DELETE FROM logs WHERE execution_id = ?1 AND level IN (SELECT value FROM json_each(?2))
                    AND (?3 IS NULL OR timestamp >= ?3) AND (?4 IS NULL OR timestamp <= ?4)
                    """,
                    (execution_id, ranks, since, until),
                ).rowcount
            )
        )

    def delete(self, execution_id: str) -> None:
        """See `Logs.delete`."""
        self._database.write(lambda writer: writer.execute("DELETE FROM logs WHERE execution_id = ?", (execution_id,)))


class SqliteMetrics:
    """`Metrics` in *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None:
        """See `Metrics.append`."""
        rows = [
            (
                execution_id,
                batch,
                to_number(point.timestamp),
                point.namespace,
                point.flow_id,
                point.task_id,
                point.task_run_id,
                point.kind,
                point.name,
                point.value,
                json.dumps(dict(point.tags)),
            )
            for point in points
        ]

        def add(writer: sqlite3.Connection) -> None:
            # Holds unless the batch is there; there is one writer, so it cannot come in between.
            if not writer.execute(
                "SELECT 1 FROM metrics WHERE execution_id = ? AND batch = ? LIMIT 1", (execution_id, batch)
            ).fetchall():
                writer.executemany(_ADD_POINT, rows)

        self._database.later(add)

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """See `Metrics.fetch`."""
        self._database.flush()
        rows = self._database.rows(
            """
            SELECT namespace, flow_id, task_id, task_run_id, kind, name, value, timestamp, tags FROM metrics
            WHERE execution_id = ? ORDER BY timestamp, rowid
            """,
            (execution_id,),
        )
        return [_point(execution_id, row) for row in rows]

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`."""
        self._database.write(
            lambda writer: writer.execute("DELETE FROM metrics WHERE execution_id = ?", (execution_id,))
        )


def _line(execution_id: str, row: tuple[Any, ...]) -> LogLine:
    namespace, flow_id, timestamp, level, message, task_id, task_run_id, attempt = row
    return LogLine(
        execution_id,
        namespace,
        flow_id,
        to_instant(timestamp),
        _LEVELS[level],
        message,
        task_id,
        task_run_id,
        attempt,
    )


def _point(execution_id: str, row: tuple[Any, ...]) -> MetricPoint:
    namespace, flow_id, task_id, task_run_id, kind, name, value, timestamp, tags = row
    return MetricPoint(
        execution_id,
        namespace,
        flow_id,
        task_id,
        task_run_id,
        kind,
        name,
        math.nan if value is None else value,
        to_instant(timestamp),
        json.loads(tags),
    )
