"""Concurrency slots in SQLite: one row a holder, one row a waiting execution."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_number
from headrace_engine.ports import SlotState

# The insert finds no row when the limit is reached by others, and only notes the later entry when the execution holds
# a slot already; so a slot is never given twice and never one too many.
_ACQUIRE = """
INSERT INTO slot_holders (flow, execution_id, seq)
SELECT :flow, :execution, :seq
WHERE :limit IS NULL OR (SELECT count(*) FROM slot_holders WHERE flow = :flow AND execution_id <> :execution) < :limit
    OR EXISTS (SELECT 1 FROM slot_holders WHERE flow = :flow AND execution_id = :execution)
ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)
"""
_ENQUEUE = """
INSERT INTO slot_queue (flow, execution_id, since, seq) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)
"""


class SqliteSlots:
    """`Slots` in *database*. Every change is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, flow: str, execution_id: str, limit: int | None, seq: int) -> bool:
        """See `Slots.acquire`."""
        values = {"flow": flow, "execution": execution_id, "limit": limit, "seq": seq}

        def insert(writer: sqlite3.Connection) -> bool:
            writer.execute(_ACQUIRE, values)
            found = writer.execute(
                "SELECT 1 FROM slot_holders WHERE flow = :flow AND execution_id = :execution", values
            )
            return found.fetchone() is not None

        return self._database.write(insert)

    def enqueue(self, flow: str, execution_id: str, now: datetime, seq: int) -> None:
        """See `Slots.enqueue`."""
        row = (flow, execution_id, to_number(now), seq)
        self._database.write(lambda writer: writer.execute(_ENQUEUE, row))

    def dequeue(self, flow: str, execution_id: str) -> None:
        """See `Slots.dequeue`."""
        self._database.write(
            lambda writer: writer.execute(
                "DELETE FROM slot_queue WHERE flow = ? AND execution_id = ?", (flow, execution_id)
            )
        )

    def release(self, flow: str, execution_id: str, seq: int) -> None:
        """See `Slots.release`."""

        def remove(writer: sqlite3.Connection) -> None:
            for table in ("slot_holders", "slot_queue"):
                statement = f"DELETE FROM {table} WHERE flow = ? AND execution_id = ? AND seq <= ?"  # noqa: S608  # the two above
                writer.execute(statement, (flow, execution_id, seq))

        self._database.write(remove)

    def state(self, flow: str) -> SlotState:
        """See `Slots.state`."""
        holders = self._database.rows("SELECT execution_id FROM slot_holders WHERE flow = ?", (flow,))
        queue = self._database.rows(
            "SELECT execution_id, seq FROM slot_queue WHERE flow = ? ORDER BY since, execution_id", (flow,)
        )
        return SlotState(frozenset(row[0] for row in holders), tuple((row[0], row[1]) for row in queue))
