"""The journal in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from headrace_engine.ports import Executions, JournalEntry, NotFoundError, PurgedError, SeqTakenError


class MemoryJournal:
    """`Journal` in dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, dict[int, JournalEntry]] = {}
        self._snapshots: dict[str, tuple[int, bytes]] = {}
        self._purged: set[str] = set()

    def append(self, entry: JournalEntry) -> None:
        """See `Journal.append`."""
        with self._lock:
            if entry.execution_id in self._purged:
                raise PurgedError(f"Execution {entry.execution_id} was purged")
            entries = self._entries.setdefault(entry.execution_id, {})
            if entry.seq in entries:
                raise SeqTakenError(entries[entry.seq])
            entries[entry.seq] = entry

    def entries(self, execution_id: str, after: int = -1) -> Sequence[JournalEntry]:
        """See `Journal.entries`."""
        with self._lock:
            entries = self._entries.get(execution_id, {})
            return [entries[seq] for seq in sorted(entries) if seq > after]

    def entry(self, execution_id: str, seq: int) -> JournalEntry:
        """See `Journal.entry`."""
        with self._lock:
            try:
                return self._entries[execution_id][seq]
            except KeyError:
                raise NotFoundError(f"Execution {execution_id} has no entry {seq}") from None

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """See `Journal.save_snapshot`."""
        with self._lock:
            stored = self._snapshots.get(execution_id)
            if execution_id not in self._purged and (stored is None or seq > stored[0]):
                self._snapshots[execution_id] = (seq, data)

    def snapshot(self, execution_id: str) -> tuple[int, bytes] | None:
        """See `Journal.snapshot`."""
        with self._lock:
            return self._snapshots.get(execution_id)

    def drop_snapshots(self) -> None:
        """Lose every snapshot, as any store may at any time."""
        with self._lock:
            self._snapshots.clear()

    def purge(self, execution_id: str) -> None:
        """See `Journal.purge`."""
        with self._lock:
            self._purged.add(execution_id)
            self._entries.pop(execution_id, None)
            self._snapshots.pop(execution_id, None)

    def is_purged(self, execution_id: str) -> bool:
        """See `Journal.is_purged`."""
        with self._lock:
            return execution_id in self._purged

    def behind(self, executions: Executions) -> Iterator[str]:
        """Yield the executions whose summary does not reflect their last entry, or is missing."""
        with self._lock:
            last = {execution_id: max(entries) for execution_id, entries in self._entries.items()}
        for execution_id, seq in last.items():
            summary = executions.get(execution_id)
            if summary is None or summary.seq < seq:
                yield execution_id
