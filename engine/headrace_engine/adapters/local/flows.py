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

_LATEST = f"""
SELECT {_COLUMNS} FROM flows WHERE namespace = ? AND id = ? ORDER BY revision DESC LIMIT 1
"""  # noqa: S608  # the columns above, nothing from outside

_LISTED = """
WHERE revision = (SELECT max(revision) FROM flows AS r WHERE r.namespace = flows.namespace AND r.id = flows.id)
AND NOT deleted
-- '/' follows '.' in the order of characters: between them lies whatever begins with the prefix and a dot.
AND (:prefix = '' OR namespace = :prefix OR (namespace > :prefix || '.' AND namespace < :prefix || '/'))
ORDER BY namespace, id
"""


class SqliteFlows:
    """`Flows` in *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, namespace: str, flow_id: str, source: str, now: datetime) -> FlowSource:
        """See `Flows.save`."""

        def add(writer: sqlite3.Connection) -> FlowSource:
            latest = _latest(writer, namespace, flow_id)
            if latest is not None and not latest.deleted and latest.source == source:
                return latest
            revision = 1 if latest is None else latest.revision + 1
            return _insert(writer, FlowSource(namespace, flow_id, revision, source, updated=now))

        return self._database.write(add)

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`."""
        if revision is None:
            return self._database.read(lambda reader: _latest(reader, namespace, flow_id))
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM flows WHERE namespace = ? AND id = ? AND revision = ?",  # noqa: S608  # as above
            (namespace, flow_id, revision),
        )
        return _flow(rows[0]) if rows else None

    def revisions(self, namespace: str, flow_id: str) -> Sequence[FlowSource]:
        """See `Flows.revisions`."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM flows WHERE namespace = ? AND id = ? ORDER BY revision",  # noqa: S608  # as above
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
        found = self._database.read(lambda reader: [_latest(reader, *name) for name in names])
        return [flow for flow in found if flow is not None and not flow.deleted]

    def _rows(self, columns: str, namespace_prefix: str) -> builtins.list[tuple[Any, ...]]:
        return self._database.rows(f"SELECT {columns} FROM flows {_LISTED}", {"prefix": namespace_prefix})  # noqa: S608

    def delete(self, namespace: str, flow_id: str, now: datetime) -> bool:
        """See `Flows.delete`."""

        def mark(writer: sqlite3.Connection) -> bool:
            latest = _latest(writer, namespace, flow_id)
            if latest is None or latest.deleted:
                return False
            _insert(writer, FlowSource(namespace, flow_id, latest.revision + 1, latest.source, True, now))  # noqa: FBT003  # deleted
            return True

        return self._database.write(mark)

    def changed(self) -> datetime | None:
        """See `Flows.changed`."""
        rows = self._database.rows("SELECT updated FROM flows ORDER BY rowid DESC LIMIT 1")
        return to_instant(rows[0][0]) if rows else None


def _latest(connection: sqlite3.Connection, namespace: str, flow_id: str) -> FlowSource | None:
    rows = connection.execute(_LATEST, (namespace, flow_id)).fetchall()
    return _flow(rows[0]) if rows else None


def _insert(writer: sqlite3.Connection, flow: FlowSource) -> FlowSource:
    """Store a revision. There is one writer, so the revision read just before is still the latest."""
    updated = None if flow.updated is None else to_number(flow.updated)
    writer.execute(
        "INSERT INTO flows (namespace, id, revision, source, deleted, updated) VALUES (?, ?, ?, ?, ?, ?)",
        (flow.namespace, flow.id, flow.revision, flow.source, flow.deleted, updated),
    )
    return flow


def _flow(row: tuple[Any, ...]) -> FlowSource:
    namespace, flow_id, revision, source, deleted, updated = row
    return FlowSource(namespace, flow_id, revision, source, bool(deleted), to_instant(updated))
