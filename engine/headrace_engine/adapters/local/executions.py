"""Summaries of executions in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import (
    to_instant,
    to_number,
    to_optional_instant,
    to_optional_number,
)
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary

_COLUMNS = """
id, namespace, flow_id, flow_revision, state, seq, start, "end", wake_by, labels, parent_id, trigger_id
"""

_PUT = f"""
INSERT INTO executions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    namespace = excluded.namespace,
    flow_id = excluded.flow_id,
    flow_revision = excluded.flow_revision,
    state = excluded.state,
    seq = excluded.seq,
    start = excluded.start,
    "end" = excluded."end",
    wake_by = excluded.wake_by,
    labels = excluded.labels,
    parent_id = excluded.parent_id,
    trigger_id = excluded.trigger_id
-- Holds when the stored summary is older; the same seq says the same, a higher one knows more.
WHERE excluded.seq > executions.seq
"""  # noqa: S608  # the columns above, nothing from outside

_PAGE = 500
"""Rows read at once by the iterators, which hold no transaction while their caller works."""


class SqliteExecutions:
    """`Executions` in *database*. Summaries ride on the next commit; reads see them at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, summary: ExecutionSummary) -> None:
        """See `Executions.put`."""
        row = (
            summary.id,
            summary.namespace,
            summary.flow_id,
            summary.flow_revision,
            summary.state.value,
            summary.seq,
            to_number(summary.start),
            to_optional_number(summary.end),
            to_optional_number(summary.wake_by),
            json.dumps(dict(summary.labels)),
            summary.parent_id,
            summary.trigger_id,
        )
        self._database.later(lambda writer: writer.execute(_PUT, row))

    def get(self, execution_id: str) -> ExecutionSummary | None:
        """See `Executions.get`."""
        self._database.flush()
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM executions WHERE id = ?",  # noqa: S608  # as above
            (execution_id,),
        )
        return None if row is None else _summary(row)

    def open(self) -> Iterator[ExecutionSummary]:
        """See `Executions.open`."""
        return self._walk('("end" IS NULL OR wake_by IS NOT NULL)', "start", {})

    def due(self, now: datetime) -> Iterator[ExecutionSummary]:
        """See `Executions.due`."""
        return self._walk("wake_by IS NOT NULL AND wake_by <= :now", "wake_by", {"now": to_number(now)})

    def _walk(self, condition: str, order: str, parameters: dict[str, Any]) -> Iterator[ExecutionSummary]:
        """Yield the summaries that meet *condition* by *order* and id, a page at a time."""
        sql = f"""
            SELECT {order}, {_COLUMNS} FROM executions
            WHERE {condition} AND ({order}, id) > (:last, :last_id)
            ORDER BY {order}, id LIMIT {_PAGE}
        """  # noqa: S608  # both are constants of this module
        self._database.flush()
        last, last_id = -(2**63), ""
        while rows := self._database.rows(sql, {**parameters, "last": last, "last_id": last_id}):
            for row in rows:
                yield _summary(row[1:])
            last, last_id = rows[-1][:2]

    def search(
        self,
        *,
        namespace: str | None = None,
        flow_id: str | None = None,
        states: Sequence[State] = (),
        limit: int = 10,
        offset: int = 0,
    ) -> tuple[Sequence[ExecutionSummary], int]:
        """See `Executions.search`."""
        conditions = ["TRUE"]
        parameters: list[Any] = []
        if namespace is not None:
            # '/' follows '.' in the order of characters: between them lies whatever begins with namespace and a dot.
            conditions.append("(namespace = ? OR (namespace > ? || '.' AND namespace < ? || '/'))")
            parameters += [namespace] * 3
        if flow_id is not None:
            conditions.append("flow_id = ?")
            parameters.append(flow_id)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            parameters += [state.value for state in states]
        where = " AND ".join(conditions)
        page = f"""
            SELECT {_COLUMNS} FROM executions WHERE {where} ORDER BY start DESC, id DESC LIMIT ? OFFSET ?
        """  # noqa: S608  # conditions are the texts above, values are bound
        count = f"SELECT count(*) FROM executions WHERE {where}"  # noqa: S608  # as above

        def find(reader: sqlite3.Connection) -> tuple[Sequence[ExecutionSummary], int]:
            rows = reader.execute(page, (*parameters, limit, offset)).fetchall()
            total = reader.execute(count, parameters).fetchall()[0][0]
            return [_summary(row) for row in rows], int(total)

        self._database.flush()
        return self._database.read(find)

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        self._database.write(lambda writer: writer.execute("DELETE FROM executions WHERE id = ?", (execution_id,)))


def _summary(row: tuple[Any, ...]) -> ExecutionSummary:
    (id_, namespace, flow_id, revision, state, seq, start, end, wake_by, labels, parent_id, trigger_id) = row
    return ExecutionSummary(
        id=id_,
        namespace=namespace,
        flow_id=flow_id,
        flow_revision=revision,
        state=State(state),
        seq=seq,
        start=to_instant(start),
        end=to_optional_instant(end),
        wake_by=to_optional_instant(wake_by),
        labels=json.loads(labels),
        parent_id=parent_id,
        trigger_id=trigger_id,
    )
