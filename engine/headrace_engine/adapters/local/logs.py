"""Log lines and metrics in SQLite: they ride on the next commit, and reads see them at once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_instant, to_number
from headrace_engine.ports import Level, LogLine, LogPage, LogQuery, MetricPoint

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

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        """See `Logs.append_all`."""
        for batch, lines in batches.items():
            self.append(execution_id, batch, lines)

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

    def search(self, query: LogQuery, *, limit: int = 10, offset: int = 0, descending: bool = True) -> LogPage:
        """See `Logs.search`. The total is always exact."""
        where, parameters = _condition(query)
        by = "DESC" if descending else "ASC"
        page = f"""
            SELECT execution_id, namespace, flow_id, timestamp, level, message, task_id, task_run_id, attempt FROM logs
            WHERE {where} ORDER BY timestamp {by}, rowid {by} LIMIT ? OFFSET ?
        """  # noqa: S608  # texts of this module; values are bound
        count = f"SELECT count(*) FROM logs WHERE {where}"  # noqa: S608  # as above

        def find(reader: sqlite3.Connection) -> LogPage:
            rows = reader.execute(page, (*parameters, limit, offset)).fetchall()
            total = reader.execute(count, parameters).fetchall()[0][0]
            return LogPage([_line(row[0], row[1:]) for row in rows], int(total))

        self._database.flush()
        return self._database.read(find)

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
        where, parameters = _condition(
            LogQuery(("",), None, execution_id, task_id, task_run_id, attempt, tuple(levels), start, end)
        )
        sql = f"DELETE FROM logs WHERE {where}"  # noqa: S608  # as above
        return self._database.write(lambda writer: writer.execute(sql, parameters).rowcount)

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

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[MetricPoint]]) -> None:
        """See `Metrics.append_all`."""
        for batch, points in batches.items():
            self.append(execution_id, batch, points)

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

    def of_flow(self, namespace: str, flow_id: str, *, since: datetime, until: datetime) -> Sequence[MetricPoint]:
        """See `Metrics.of_flow`."""
        self._database.flush()
        rows = self._database.rows(
            """
            SELECT execution_id, namespace, flow_id, task_id, task_run_id, kind, name, value, timestamp, tags
            FROM metrics WHERE namespace = ? AND flow_id = ? AND timestamp BETWEEN ? AND ? ORDER BY timestamp, rowid
            """,
            (namespace, flow_id, to_number(since), to_number(until)),
        )
        return [_point(row[0], row[1:]) for row in rows]

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`."""
        self._database.write(
            lambda writer: writer.execute("DELETE FROM metrics WHERE execution_id = ?", (execution_id,))
        )


# '/' follows '.' in the order of characters: between them lies whatever begins with the namespace and a dot.
_WITHIN = "(namespace = ? OR (namespace > ? || '.' AND namespace < ? || '/'))"


def _condition(query: LogQuery) -> tuple[str, list[Any]]:
    """Return the SQL that says what *query* means, and its parameters."""
    texts: list[str] = []
    parameters: list[Any] = []

    def add(text: str, *values: Any) -> None:
        texts.append(text)
        parameters.extend(values)

    named = {
        "execution_id": query.execution_id,
        "flow_id": query.flow_id,
        "task_id": query.task_id,
        "task_run_id": query.task_run_id,
        "attempt": query.attempt,
    }
    for column, value in named.items():
        if value is not None:
            add(f"{column} = ?", value)
    if "" not in query.namespaces:
        wanted = " OR ".join(_WITHIN for _ in query.namespaces)
        add(f"({wanted or 'FALSE'})", *(each for each in query.namespaces for _ in range(3)))
    if query.levels:
        add(f"level IN ({', '.join('?' * len(query.levels))})", *(level.rank for level in query.levels))
    if query.since is not None:
        add("timestamp >= ?", to_number(query.since))
    if query.until is not None:
        add("timestamp <= ?", to_number(query.until))
    for word in query.words:
        add("instr(lower(message), lower(?)) > 0", word)
    return " AND ".join(texts) or "TRUE", parameters


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
