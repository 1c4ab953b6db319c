"""What is remembered of triggers, in SQLite."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_number, to_optional_instant, to_optional_number
from headrace_engine.ports import TriggerChangedError, TriggerRecord

_COLUMNS = "namespace, flow_id, trigger_id, version, disabled, due, data"
_KEY = "namespace = :namespace AND flow_id = :flow AND trigger_id = :trigger"
_GET = f"SELECT {_COLUMNS} FROM triggers WHERE {_KEY}"  # noqa: S608  # constants of this module

_PUT = """
INSERT INTO triggers (namespace, flow_id, trigger_id, version, disabled, due, data)
SELECT :namespace, :flow, :trigger, :version + 1, :disabled, :due, :data
-- Holds for the first write of a record, and when there is one to be replaced: a deleted one is not made anew.
WHERE :version = 0 OR EXISTS (
    SELECT 1 FROM triggers WHERE namespace = :namespace AND flow_id = :flow AND trigger_id = :trigger
)
ON CONFLICT (namespace, flow_id, trigger_id) DO UPDATE SET
    version = excluded.version,
    disabled = excluded.disabled,
    due = excluded.due,
    data = excluded.data
-- Holds unless somebody else wrote meanwhile.
WHERE triggers.version = :version
"""


class SqliteTriggers:
    """`Triggers` in *database*. Every write is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, flow_id: str, trigger_id: str) -> TriggerRecord:
        """See `Triggers.get`."""
        row = self._database.row(_GET, _key(namespace, flow_id, trigger_id))
        return TriggerRecord(namespace, flow_id, trigger_id) if row is None else _record(row)

    def put(self, record: TriggerRecord) -> TriggerRecord:
        """See `Triggers.put`."""
        key = _key(record.namespace, record.flow_id, record.trigger_id)
        values = key | {
            "version": record.version,
            "disabled": record.disabled,
            "due": to_optional_number(record.due),
            "data": record.data,
        }

        def write(writer: sqlite3.Connection) -> TriggerRecord:
            if writer.execute(_PUT, values).rowcount != 1:
                row = writer.execute(_GET, key).fetchone()
                raise TriggerChangedError(record, None if row is None else _record(row))
            return replace(record, version=record.version + 1)

        return self._database.write(write)

    def list(self, namespace: str, flow_id: str) -> Sequence[TriggerRecord]:
        """See `Triggers.list`."""
        rows: builtins.list[tuple[Any, ...]] = self._database.rows(
            f"SELECT {_COLUMNS} FROM triggers WHERE namespace = ? AND flow_id = ? ORDER BY trigger_id",  # noqa: S608  # as above
            (namespace, flow_id),
        )
        return [_record(row) for row in rows]

    def due(self, now: datetime) -> Iterator[TriggerRecord]:
        """See `Triggers.due`."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM triggers WHERE due <= ? AND NOT disabled"  # noqa: S608  # as above
            " ORDER BY due, namespace, flow_id, trigger_id",
            (to_number(now),),
        )
        return iter([_record(row) for row in rows])

    def delete(self, namespace: str, flow_id: str, trigger_id: str) -> None:
        """See `Triggers.delete`."""
        key = _key(namespace, flow_id, trigger_id)
        self._database.write(lambda writer: writer.execute(f"DELETE FROM triggers WHERE {_KEY}", key))  # noqa: S608  # as above


def _key(namespace: str, flow_id: str, trigger_id: str) -> dict[str, Any]:
    return {"namespace": namespace, "flow": flow_id, "trigger": trigger_id}


def _record(row: tuple[Any, ...]) -> TriggerRecord:
    namespace, flow_id, trigger_id, version, disabled, due, data = row
    return TriggerRecord(namespace, flow_id, trigger_id, version, bool(disabled), to_optional_instant(due), data)
