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
from headrace_engine.model.search import EVERY, NEWEST, ExecutionQuery, Operation, Order, finder
from headrace_engine.model.state import State
from headrace_engine.ports import DayTally, ExecutionPage, ExecutionSummary

_COLUMNS = """
id, namespace, flow_id, flow_revision, state, seq, start, "end", wake_by, labels, parent_id, trigger_id, caller_id,
original_id
"""

_PUT = f"""
INSERT INTO executions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
    trigger_id = excluded.trigger_id,
    caller_id = excluded.caller_id,
    original_id = excluded.original_id
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
            summary.caller_id,
            summary.original_id,
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
        query: ExecutionQuery = EVERY,
        *,
        order: Sequence[Order] = NEWEST,
        limit: int = 10,
        offset: int = 0,
        after: str = "",
    ) -> ExecutionPage:
        """See `Executions.search`. The total is always exact."""
        where, parameters = _condition(query)
        beyond, place = "", tuple[Any, ...]()
        if after:
            start, _, execution_id = after.partition("~")
            beyond, place = "AND (start, id) < (?, ?)", (_number(start), execution_id)
        by = ", ".join(f"{_ORDERS[each.field]} {'DESC' if each.descending else 'ASC'}" for each in order)
        page = f"""
            SELECT {_COLUMNS} FROM executions WHERE {where} {beyond} ORDER BY {by}, start DESC, id DESC LIMIT ? OFFSET ?
        """  # noqa: S608  # texts of this module; values are bound
        count = f"SELECT count(*) FROM executions WHERE {where}"  # noqa: S608  # as above

        def find(reader: sqlite3.Connection) -> tuple[list[ExecutionSummary], int]:
            reader.create_function("finds", 2, _finds, deterministic=True)
            rows = reader.execute(page, (*parameters, *place, limit + 1, offset)).fetchall()
            total = reader.execute(count, parameters).fetchall()[0][0]
            return [_summary(row) for row in rows], int(total)

        for condition in query.conditions:
            if condition.operation is Operation.REGEX:
                [finder(each) for each in condition.values]  # raises before SQLite would, which hides the reason
        self._database.flush()
        found, total = self._database.read(find)
        last = found[limit - 1] if 0 < limit < len(found) and tuple(order) == NEWEST else None
        return ExecutionPage(found[:limit], total, after=f"{to_number(last.start)}~{last.id}" if last else "")

    def daily(self, query: ExecutionQuery) -> Sequence[DayTally]:
        """See `Executions.daily`."""
        where, parameters = _condition(query)
        rows = self._rows(
            f"""
            SELECT start / {_DAY} AS day, namespace, flow_id, state, count(*),
                   coalesce(total("end" - start), 0), coalesce(min("end" - start), 0), coalesce(max("end" - start), 0)
            FROM executions WHERE {where} GROUP BY day, namespace, flow_id, state ORDER BY 1, 2, 3, 4
            """,  # noqa: S608  # as above
            parameters,
        )
        return [
            DayTally(
                to_instant(day * _DAY).date(),
                namespace,
                flow_id,
                State(state),
                count,
                total / 1e6,
                shortest / 1e6,
                longest / 1e6,
            )
            for day, namespace, flow_id, state, count, total, shortest, longest in rows
        ]

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        self._database.flush()
        return self._database.rows(sql, parameters)

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        self._database.write(lambda writer: writer.execute("DELETE FROM executions WHERE id = ?", (execution_id,)))


_DAY = 86_400_000_000

_ORDERS = {
    "start": "start",
    "end": '"end"',
    "duration": '("end" - start)',
    "id": "id",
    "namespace": "namespace",
    "flowId": "flow_id",
    "flowRevision": "flow_revision",
    "state": "state",
}

_TEXT_COLUMNS = {
    "id": "id",
    "namespace": "namespace",
    "flowId": "flow_id",
    "triggerId": "trigger_id",
    "callerId": "caller_id",
}

# '/' follows '.' in the order of characters: between them lies whatever begins with the namespace and a dot.
_WITHIN = "({0} = ? OR ({0} > ? || '.' AND {0} < ? || '/'))"

_COMPARISONS: dict[Operation, tuple[str, int]] = {
    Operation.EQUALS: ("{0} = ?", 1),
    Operation.STARTS_WITH: ("substr({0}, 1, length(?)) = ?", 2),
    Operation.ENDS_WITH: ("substr({0}, max(1, length({0}) - length(?) + 1)) = ?", 2),
    Operation.CONTAINS: ("instr(lower({0}), lower(?)) > 0", 1),
    Operation.REGEX: ("finds(?, {0})", 1),
    Operation.PREFIX: (_WITHIN, 3),
}
"""What stands for the column's name and how often the value is bound."""

_FLOWS = """
WITH RECURSIVE
namespaces (name) AS (
    SELECT min(namespace) FROM executions
    UNION ALL
    SELECT (SELECT min(namespace) FROM executions WHERE namespace > name) FROM namespaces WHERE name IS NOT NULL
),
flows (namespace, flow_id) AS (
    SELECT name, (SELECT min(flow_id) FROM executions WHERE namespace = name) FROM namespaces WHERE name IS NOT NULL
    UNION ALL
    SELECT namespace, (
        SELECT min(flow_id) FROM executions e WHERE e.namespace = flows.namespace AND e.flow_id > flows.flow_id
    )
    FROM flows WHERE flow_id IS NOT NULL
)
"""
"""The flows that have executions, each found by one step in an index: what Python must look at, it looks at once."""

_INDEXED = 3
"""Characters from which the index of texts finds a word."""


def _condition(query: ExecutionQuery) -> tuple[str, list[Any]]:  # noqa: C901, PLR0912 - one row a part of a query
    """Return the SQL that says what *query* means, and its parameters."""
    texts: list[str] = []
    parameters: list[Any] = []

    def add(text: str, *values: Any) -> None:
        texts.append(text)
        parameters.extend(values)

    if "" not in query.namespaces:
        wanted = " OR ".join(_WITHIN.format("namespace") for _ in query.namespaces)
        add(f"({wanted or 'FALSE'})", *(each for each in query.namespaces for _ in range(3)))
    if query.flow_id is not None:
        add("flow_id = ?", query.flow_id)
    if query.states:
        add(f"state IN ({', '.join('?' * len(query.states))})", *(state.value for state in query.states))
    if query.since is not None:
        add("start >= ?", to_number(query.since))
    if query.until is not None:
        add("start <= ?", to_number(query.until))
    if query.is_child is not None:
        add("caller_id IS NOT NULL" if query.is_child else "caller_id IS NULL")
    for key, value in query.labels:
        if _is_indexed(f"{key}:{value}"):
            add(_MENTIONS, _phrase(f"{key}:{value}"))
        add(_HAS_LABEL, key, value)
    for key, value in query.without_labels:
        add(f"NOT {_HAS_LABEL}", key, value)
    for word in query.words:
        if _is_indexed(word):
            add(_MENTIONS, _phrase(word))
        else:
            add("number IN (SELECT rowid FROM executions_text WHERE instr(lower(text), lower(?)) > 0)", word)
    for condition in query.conditions:
        column = _TEXT_COLUMNS[condition.field]
        comparison, times = _COMPARISONS[condition.operation]
        one = comparison.format(column)
        if condition.operation is Operation.REGEX and column in ("namespace", "flow_id"):
            one = f"{column} IN ({_FLOWS} SELECT {column} FROM flows WHERE flow_id IS NOT NULL AND {one})"  # noqa: S608  # as above
        any_of = " OR ".join(one for _ in condition.values) or "FALSE"
        negation = "NOT " if condition.negated else ""
        add(
            f"{negation}({column} IS NOT NULL AND ({any_of}))",
            *(value for value in condition.values for _ in range(times)),
        )
    return " AND ".join(texts) or "TRUE", parameters


_MENTIONS = "number IN (SELECT rowid FROM executions_text WHERE executions_text MATCH ?)"
_HAS_LABEL = "EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)"


def _number(text: str) -> int:
    """Return the start that a cursor says. Raises ValueError."""
    if len(text) > 18:
        raise ValueError(f"`{text[:50]}` is no cursor")
    return int(text)


def _is_indexed(text: str) -> bool:
    return len(text) >= _INDEXED and "\0" not in text


def _phrase(text: str) -> str:
    """Return what finds *text*, whatever is in it."""
    return '"' + text.replace('"', '""') + '"'


def _finds(pattern: str, value: str | None) -> bool:
    return value is not None and finder(pattern)(value)


def _summary(row: tuple[Any, ...]) -> ExecutionSummary:
    (id_, namespace, flow_id, revision, state, seq, start, end, wake_by, labels, *ids) = row
    parent_id, trigger_id, caller_id, original_id = ids
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
        caller_id=caller_id,
        original_id=original_id,
    )
