"""Flow revisions in SQLite."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_instant, to_number
from headrace_engine.ports import FlowSource

_COLUMNS = "namespace, id, revision, source, deleted, updated"

_LISTED = """
FROM {table} AS f
WHERE revision = (SELECT max(revision) FROM {table} AS r WHERE r.namespace = f.namespace AND r.id = f.id)
AND NOT deleted
-- '/' follows '.' in the order of characters: between them lies whatever begins with the prefix and a dot.
AND (:prefix = '' OR namespace = :prefix OR (namespace > :prefix || '.' AND namespace < :prefix || '/'))
ORDER BY namespace, id
"""


class SqliteFlows:
    """`Flows` in *database*."""

    _TABLE = "flows"

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, namespace: str, flow_id: str, source: str, now: datetime) -> FlowSource:
        """See `Flows.save`."""

        def add(writer: sqlite3.Connection) -> FlowSource:
            latest = self._latest(writer, namespace, flow_id)
            if latest is not None and not latest.deleted and latest.source == source:
                return latest
            revision = 1 if latest is None else latest.revision + 1
            return self._insert(writer, FlowSource(namespace, flow_id, revision, source, updated=now))

        return self._database.write(add)

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`."""
        if revision is None:
            return self._database.read(lambda reader: self._latest(reader, namespace, flow_id))
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM {self._TABLE} WHERE namespace = ? AND id = ? AND revision = ?",  # noqa: S608  # ours
            (namespace, flow_id, revision),
        )
        return _flow(rows[0]) if rows else None

    def revisions(self, namespace: str, flow_id: str) -> Sequence[FlowSource]:
        """See `Flows.revisions`."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM {self._TABLE} WHERE namespace = ? AND id = ? ORDER BY revision",  # noqa: S608  # ours
            (namespace, flow_id),
        )
        return [_flow(row) for row in rows]

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        """See `Flows.list`."""
        return [_flow(row) for row in self._rows(_COLUMNS, namespace_prefix)]

    def names(self, namespace_prefix: str = "") -> Sequence[tuple[str, str]]:
        """See `Flows.names`."""
        return [(row[0], row[1]) for row in self._rows("namespace, id", namespace_prefix)]

    def latest(self, names: Sequence[tuple[str, str]]) -> Sequence[FlowSource]:
        """See `Flows.latest`."""
        found = self._database.read(lambda reader: [self._latest(reader, *name) for name in names])
        return [flow for flow in found if flow is not None and not flow.deleted]

    def _rows(self, columns: str, namespace_prefix: str) -> builtins.list[tuple[Any, ...]]:
        return self._database.rows(
            f"SELECT {columns} {_LISTED.format(table=self._TABLE)}",
            {"prefix": namespace_prefix},
        )

    def delete(self, namespace: str, flow_id: str, now: datetime) -> bool:
        """See `Flows.delete`."""

        def mark(writer: sqlite3.Connection) -> bool:
            latest = self._latest(writer, namespace, flow_id)
            if latest is None or latest.deleted:
                return False
            deleted = FlowSource(namespace, flow_id, latest.revision + 1, latest.source, deleted=True, updated=now)
            self._insert(writer, deleted)
            return True

        return self._database.write(mark)

    def changed(self) -> datetime | None:
        """See `Flows.changed`."""
        rows = self._database.rows(f"SELECT updated FROM {self._TABLE} ORDER BY rowid DESC LIMIT 1")  # noqa: S608  # ours
        return to_instant(rows[0][0]) if rows else None

    def _latest(self, connection: sqlite3.Connection, namespace: str, flow_id: str) -> FlowSource | None:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM {self._TABLE} WHERE namespace = ? AND id = ? ORDER BY revision DESC LIMIT 1",  # noqa: S608  # ours
            (namespace, flow_id),
        ).fetchall()
        return _flow(rows[0]) if rows else None

    def _insert(self, writer: sqlite3.Connection, flow: FlowSource) -> FlowSource:
        """Store a revision. There is one writer, so the revision read just before is still the latest."""
        updated = None if flow.updated is None else to_number(flow.updated)
        writer.execute(
            f"INSERT INTO {self._TABLE} (namespace, id, revision, source, deleted, updated) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608  # ours
            (flow.namespace, flow.id, flow.revision, flow.source, flow.deleted, updated),
        )
        return flow


class SqliteTemplates(SqliteFlows):
    """The same of templates."""

    _TABLE = "templates"


def _flow(row: tuple[Any, ...]) -> FlowSource:
    namespace, flow_id, revision, source, deleted, updated = row
    return FlowSource(namespace, flow_id, revision, source, bool(deleted), to_instant(updated))
