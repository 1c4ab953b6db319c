"""What is known of an execution: read from its journal, by way of a snapshot where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from headrace_engine.core.codec import FormatError, decode_entry, decode_state
from headrace_engine.core.events import ChildStarted, Entry, Event, ExecutionCreated, ItemsLaunched, ItemsStarted
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.fold import apply_entry, mark_issued
from headrace_engine.core.state import ExecutionState, empty
from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import Journal, JournalEntry

FlowFor = Callable[[ExecutionCreated], FlowIndex]
"""Returns the flow's revision that an execution was created for."""


@dataclass(frozen=True, slots=True)
class Known:
    """An execution as far as its journal was read."""

    state: ExecutionState
    unkept: tuple[Entry, ...] = ()
    """The entries whose log lines and metrics are not known to be where they are read."""
    snapshot_seq: int = -1
    """The entry that the newest snapshot known here reflects."""
    snapshot_size: int = 0
    """Its bytes."""
    grown: int = 0
    """The bytes of the entries after it."""

    def after(self, stored: JournalEntry, entry: Entry | None = None) -> Known:
        """Return what is known with the next entry, somebody else's, decoded or not. Raises FormatError."""
        entry = entry or decode_entry(stored.data)
        state = apply_entry(self.state, entry)
        kept = entry.issued_through if entry.kept_through is None else entry.kept_through
        unkept = tuple(each for each in (*self.unkept, entry) if each.seq > kept and (each.logs or each.metrics))
        return replace(self, state=state, unkept=unkept, grown=self.grown + len(stored.data))

    def issued(self) -> Known:
        """Return what is known once the commands of all entries are out."""
        if self.state.issued_through == self.state.seq:
            return self
        return replace(self, state=mark_issued(self.state, self.state.seq))

    def appended(self, entry: Entry, state: ExecutionState, size: int) -> Known:
        """Return what is known with the next entry, *size* bytes, written here, which makes *state*."""
        unkept = (*self.unkept, entry) if entry.logs or entry.metrics else self.unkept
        return replace(self, state=state, unkept=unkept, grown=self.grown + size)

    @property
    def kept_through(self) -> int | None:
        """As the next entry says it."""
        return self.unkept[0].seq - 1 if self.unkept else None


def read_journal(
    journal: Journal, execution_id: str, flow_for: FlowFor, created: ExecutionCreated | None = None
) -> Known | None:
    """Return what *journal* says of an execution; None when it has no entries.

    created makes the empty state of an execution that does not exist yet. Raises FormatError for entries of a newer
    version.
    """
    # What is to be created has no snapshot, and seldom entries.
    known = _from_snapshot(journal, execution_id, flow_for) if created is None else None
    entries = journal.entries(execution_id, after=known.state.seq if known is not None else -1)
    first = None
    if known is None:
        first = decode_entry(entries[0].data) if entries else None
        begins = first.events[0] if first is not None else created
        if not isinstance(begins, ExecutionCreated):
            return None
        known = Known(empty(execution_id, flow_for(begins)))
    for stored in entries:
        known = known.after(stored, first)
        first = None
    return known


@dataclass(frozen=True, slots=True)
class LeftItem:
    """The execution for one part of a ForEachItem that did not wait for it."""

    started: ItemsStarted
    index: int


def started_by(journal: Journal, execution_id: str) -> Iterator[ChildStarted]:
    """Yield the executions that the Subflow tasks of an execution started, from its journal: no state keeps them."""
    for event in _events(journal, execution_id):
        if isinstance(event, ChildStarted):
            yield event


def left_behind(journal: Journal, execution_id: str) -> Iterator[ChildStarted | LeftItem]:
    """Yield the executions that an execution started and did not wait for."""
    items: dict[str, ItemsStarted] = {}
    for event in _events(journal, execution_id):
        match event:
            case ChildStarted() if event.created.reply_to is None:
                yield event
            case ItemsStarted():
                items[event.task_run_id] = event
            case ItemsLaunched() if not items[event.task_run_id].wait:
                yield from (LeftItem(items[event.task_run_id], index) for index in range(event.first, event.last))


def _events(journal: Journal, execution_id: str) -> Iterator[Event]:
    for stored in journal.entries(execution_id):
        yield from decode_entry(stored.data).events


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
