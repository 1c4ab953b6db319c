"""What is known of an execution: read from its journal, by way of a snapshot where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from headrace_engine.core.codec import FormatError, decode_entry, decode_state
from headrace_engine.core.events import Entry, ExecutionCreated
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.fold import apply_entry, mark_issued
from headrace_engine.core.state import ExecutionState, empty
from headrace_engine.ports import Journal, JournalEntry

FlowFor = Callable[[ExecutionCreated], FlowIndex]
"""Returns the flow's revision that an execution was created for."""


@dataclass(frozen=True, slots=True)
class Known:
    """An execution as far as its journal was read."""

    state: ExecutionState
    unissued: tuple[Entry, ...] = ()
    """The entries above the state's watermark: whether their commands went out is not known here."""
    snapshot_seq: int = -1
    """The entry that the newest snapshot known here reflects."""
    snapshot_size: int = 0
    """Its bytes."""
    grown: int = 0
    """The bytes of the entries after it."""

    def after(self, stored: JournalEntry) -> Known:
        """Return what is known with the next entry, somebody else's. Raises FormatError."""
        entry = decode_entry(stored.data)
        state = apply_entry(self.state, entry)
        unissued = tuple(each for each in (*self.unissued, entry) if each.seq > state.issued_through)
        return replace(self, state=state, unissued=unissued, grown=self.grown + len(stored.data))

    def issued(self) -> Known:
        """Return what is known once the commands of all entries are out."""
        if self.state.issued_through == self.state.seq:
            return self
        return replace(self, state=mark_issued(self.state, self.state.seq), unissued=())


def read_journal(
    journal: Journal, execution_id: str, flow_for: FlowFor, created: ExecutionCreated | None = None
) -> Known | None:
    """Return what *journal* says of an execution; None when it has no entries.

    created makes the empty state of an execution that does not exist yet. Raises FormatError for entries of a newer
    version.
    """
    known = _from_snapshot(journal, execution_id, flow_for)
    entries = journal.entries(execution_id, after=known.state.seq if known is not None else -1)
    if known is None:
        first = decode_entry(entries[0].data).events[0] if entries else created
        if not isinstance(first, ExecutionCreated):
            return None
        known = Known(empty(execution_id, flow_for(first)))
    for stored in entries:
        known = known.after(stored)
    return known


def _from_snapshot(journal: Journal, execution_id: str, flow_for: FlowFor) -> Known | None:
    """Return what the newest snapshot says; a newer version's, which cannot be read here, counts for nothing."""
    snapshot = journal.snapshot(execution_id)
    if snapshot is None:
        return None
    seq, data = snapshot
    try:
        return Known(decode_state(data, flow_for), snapshot_seq=seq, snapshot_size=len(data))
    except FormatError:
        return None
