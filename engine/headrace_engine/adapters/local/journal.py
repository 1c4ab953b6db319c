"""The journal in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence

from headrace_engine.adapters.local.database import Database
from headrace_engine.ports import JournalEntry, NotFoundError, PurgedError, SeqTakenError

_APPEND = """
INSERT INTO journal (execution_id, seq, writer, data)
SELECT ?1, ?2, ?3, ?4
-- Holds unless the execution was purged.
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE execution_id = ?1)
-- The key conflicts when an entry stands under this seq, whoever wrote it.
ON CONFLICT (execution_id, seq) DO NOTHING
"""

_SAVE_SNAPSHOT = """
INSERT INTO snapshots (execution_id, seq, data)
SELECT ?1, ?2, ?3
-- Holds unless the execution was purged.
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE execution_id = ?1)
ON CONFLICT (execution_id) DO UPDATE SET seq = excluded.seq, data = excluded.data
-- Holds unless the stored snapshot reflects more (or the same: it says the same).
WHERE excluded.seq > snapshots.seq
"""

# From one execution's key straight to the next one's: as many steps as executions, however long they are.
_BEHIND = """
WITH RECURSIVE heads (id) AS (
    SELECT min(execution_id) FROM journal
    UNION ALL
    SELECT (SELECT min(execution_id) FROM journal WHERE execution_id > heads.id) FROM heads WHERE heads.id IS NOT NULL
)
SELECT heads.id FROM heads LEFT JOIN executions ON executions.id = heads.id
WHERE heads.id IS NOT NULL
-- Holds when there is no summary, or the last entry is not in it.
AND (executions.seq IS NULL OR executions.seq < (SELECT max(seq) FROM journal WHERE execution_id = heads.id))
"""

_SAVED = 256


class SqliteJournal:
    """`Journal` in *database*. Appends are durable when they return; snapshots ride on the next commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saved: dict[str, Callable[[], bool]] = {}
        """Whose snapshot may not be committed yet: for others a read has nothing to wait for."""

    def append(self, entry: JournalEntry) -> None:
        """See `Journal.append`."""
        parameters = (entry.execution_id, entry.seq, entry.writer, entry.data)

        def insert(writer: sqlite3.Connection) -> None:
            if writer.execute(_APPEND, parameters).rowcount != 1:
                _raise_refusal(writer, entry.execution_id, entry.seq)

        self._database.write(insert)

    def entries(self, execution_id: str, after: int = -1) -> Sequence[JournalEntry]:
        """See `Journal.entries`."""
        rows = self._database.rows(
            "SELECT seq, writer, data FROM journal WHERE execution_id = ? AND seq > ? ORDER BY seq",
            (execution_id, after),
        )
        return [JournalEntry(execution_id, seq, writer, data) for seq, writer, data in rows]

    def entry(self, execution_id: str, seq: int) -> JournalEntry:
        """See `Journal.entry`."""
        row = self._database.row(
            "SELECT writer, data FROM journal WHERE execution_id = ? AND seq = ?", (execution_id, seq)
        )
        if row is None:
            raise NotFoundError(f"Execution {execution_id} has no entry {seq}")
        return JournalEntry(execution_id, seq, *row)

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """See `Journal.save_snapshot`."""
        self._saved[execution_id] = self._database.later(
            lambda writer: writer.execute(_SAVE_SNAPSHOT, (execution_id, seq, data))
        )
        if len(self._saved) >= _SAVED:
            for each, is_settled in self._saved.copy().items():
                if is_settled():
                    self._saved.pop(each, None)

    def snapshot(self, execution_id: str) -> tuple[int, bytes] | None:
        """See `Journal.snapshot`."""
        is_settled = self._saved.get(execution_id)
        if is_settled is not None and not is_settled():
            self._database.flush()
        row = self._database.row("SELECT seq, data FROM snapshots WHERE execution_id = ?", (execution_id,))
        return None if row is None else (row[0], row[1])

    def purge(self, execution_id: str) -> None:
        """See `Journal.purge`."""

        def remove(writer: sqlite3.Connection) -> None:
            # Nothing conflicts but an earlier purge of the same execution.
            writer.execute("INSERT INTO tombstones (execution_id) VALUES (?) ON CONFLICT DO NOTHING", (execution_id,))
            writer.execute("DELETE FROM journal WHERE execution_id = ?", (execution_id,))
            writer.execute("DELETE FROM snapshots WHERE execution_id = ?", (execution_id,))

        self._database.write(remove)

    def is_purged(self, execution_id: str) -> bool:
        """See `Journal.is_purged`."""
        return self._database.row("SELECT 1 FROM tombstones WHERE execution_id = ?", (execution_id,)) is not None

    def behind(self) -> Iterator[str]:
        """Yield the executions whose summary does not reflect their last entry, or is missing.

        Beside `Executions.open`, these are what recovery must look at: summaries are written a moment after the
        entries, and a crash may come between.
        """
        self._database.flush()
        yield from [str(row[0]) for row in self._database.rows(_BEHIND)]


def _raise_refusal(writer: sqlite3.Connection, execution_id: str, seq: int) -> None:
    """Raise what made an append change nothing, from within its transaction."""
    row = writer.execute(
        "SELECT writer, data FROM journal WHERE execution_id = ? AND seq = ?", (execution_id, seq)
    ).fetchone()
    if row is None:
        raise PurgedError(f"Execution {execution_id} was purged")
    raise SeqTakenError(JournalEntry(execution_id, seq, *row))
