"""Containers of the next version beside those of this one: what they write is of a format that only they can read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from headrace_engine.core.codec import FORMAT
from headrace_engine.ports import Journal, JournalEntry, Mailbox

_OWN, _NEXT = f"[{FORMAT},".encode(), f"[{FORMAT + 1},".encode()


def newer(data: bytes) -> bytes:
    """Return what the next version writes in the place of *data*."""
    return _versioned(data, _OWN, _NEXT)


def older(data: bytes) -> bytes:
    """Return what this version would have written in the place of *data*, whichever wrote it."""
    return _versioned(data, _NEXT, _OWN)


def _versioned(data: bytes, before: bytes, after: bytes) -> bytes:
    is_packed = data[:1] == b"z"
    body = zlib.decompress(data[1:]) if is_packed else data[1:]
    if not body.startswith(before):
        return data
    body = after + body[len(before) :]
    return data[:1] + (zlib.compress(body, 1) if is_packed else body)


class NextJournal:
    """A journal as the next version uses it; implements Journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def append(self, entry: JournalEntry) -> None:
        """See Journal.append."""
        self._journal.append(replace(entry, data=newer(entry.data)))

    def entries(self, execution_id: str, after: int = -1) -> Sequence[JournalEntry]:
        """See Journal.entries."""
        return [replace(entry, data=older(entry.data)) for entry in self._journal.entries(execution_id, after)]

    def entry(self, execution_id: str, seq: int) -> JournalEntry:
        """See Journal.entry."""
        found = self._journal.entry(execution_id, seq)
        return replace(found, data=older(found.data))

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """See Journal.save_snapshot."""
        self._journal.save_snapshot(execution_id, seq, newer(data))

    def snapshot(self, execution_id: str) -> tuple[int, bytes] | None:
        """See Journal.snapshot."""
        found = self._journal.snapshot(execution_id)
        return None if found is None else (found[0], older(found[1]))

    def purge(self, execution_id: str) -> None:
        """See Journal.purge."""
        self._journal.purge(execution_id)

    def is_purged(self, execution_id: str) -> bool:
        """See Journal.is_purged."""
        return self._journal.is_purged(execution_id)


class NextMailbox:
    """A mailbox as the next version uses it; implements Mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self._mailbox.send(execution_id, newer(message))
