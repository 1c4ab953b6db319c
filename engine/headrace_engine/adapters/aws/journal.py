"""The journal in DynamoDB: one conditional put a step, and nothing else."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import ConditionFailedError, Item, Table, key, number, text
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Clock, JournalEntry, NotFoundError, PurgedError, SeqTakenError

_TOMBSTONES_LAST = timedelta(days=90)
"""How long the seqs of a purged execution stay closed: longer than any message lives, and any process."""

_KNOWN = 10_000
_PURGED_SEQ = 10**15
"""The seq of a purged execution's snapshot: no other reflects as much."""

# Holds when nothing stands under this key: no entry, whoever wrote it, and no tombstone.
_FREE = "attribute_not_exists(pk)"
# Holds unless the stored snapshot reflects more (or the same: it says the same), or is the tombstone.
_NEWER = "attribute_not_exists(pk) OR seq < :seq"
# Holds when what stands there is what this very append wrote.
_OWN = "writer = :writer"


class DynamoJournal:
    """`Journal` in *table*; *clock* tells when tombstones may go.

    An append must be refused after a purge, under every seq, and must not pay for it with a second request. So a purge
    closes seq 0 and, behind every entry, the next seq, by tombstones. An append that follows an entry this process has
    seen meets one of these; only one that does not (none that the executor makes) reads the mark of the purge
    afterwards, and takes itself back.
    """

    def __init__(self, table: Table, overflow: Overflow, clock: Clock) -> None:
        self._table = table
        self._overflow = overflow
        self._clock = clock
        self._lock = threading.Lock()
        self._last: OrderedDict[str, int] = OrderedDict()
        """The entry this process saw last of executions it dealt with lately."""

    def append(self, entry: JournalEntry) -> None:
        """See `Journal.append`. One write unit a KiB."""
        partition, sort = _partition(entry.execution_id), _sort(entry.seq)
        digest = hashlib.sha256(entry.data).hexdigest()
        content = self._overflow.keep(f"X/{entry.execution_id}/{digest}", entry.data)
        follows = entry.seq == 0 or self._seen(entry.execution_id) == entry.seq - 1
        try:
            self._table.put({**key(partition, sort), "writer": text(entry.writer), **content}, _FREE)
        except ConditionFailedError as refusal:
            raise self._refusal(entry, refusal.stored) from None
        if not follows and self._table.get(partition, _MARK) is not None:
            self._take_back(entry)
            raise PurgedError(f"Execution {entry.execution_id} was purged")
        self._see(entry.execution_id, entry.seq)

    def _refusal(self, entry: JournalEntry, stored: Item | None) -> PurgedError | SeqTakenError:
        if stored is None or "purged" in stored:
            return PurgedError(f"Execution {entry.execution_id} was purged")
        self._see(entry.execution_id, entry.seq)
        return SeqTakenError(self._entry(entry.execution_id, stored))

    def _take_back(self, entry: JournalEntry) -> None:
        try:
            self._table.delete(_partition(entry.execution_id), _sort(entry.seq), _OWN, {":writer": text(entry.writer)})
        except ConditionFailedError:
            return  # the purge met it, too: a tombstone stands there

    def entries(self, execution_id: str, after: int = -1) -> Sequence[JournalEntry]:
        """See `Journal.entries`. One read unit for 4 KiB."""
        found = list(
            self._table.query(
                _partition(execution_id),
                "sk BETWEEN :first AND :mark",
                {":first": text(_sort(after + 1)), ":mark": text(_MARK)},
            )
        )
        if not found or found[-1]["sk"]["S"] == _MARK:
            return []
        entries = [self._entry(execution_id, item) for item in found if "purged" not in item]
        if entries:
            self._see(execution_id, entries[-1].seq)
        return entries

    def entry(self, execution_id: str, seq: int) -> JournalEntry:
        """See `Journal.entry`."""
        partition = _partition(execution_id)
        item = self._table.get(partition, _sort(seq))
        if item is None or "purged" in item or self._table.get(partition, _MARK) is not None:
            raise NotFoundError(f"Execution {execution_id} has no entry {seq}")
        return self._entry(execution_id, item)

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """See `Journal.save_snapshot`."""
        content = self._overflow.keep(f"X/{execution_id}/{new_id()}", data)
        item = {**key(_partition(execution_id), _SNAPSHOT), "seq": number(seq), **content}
        try:
            replaced = self._table.put(item, _NEWER, {":seq": number(seq)}, old=True)
        except ConditionFailedError as refusal:
            self._overflow.drop(content, unless=refusal.stored)
            return
        self._overflow.drop(replaced)

    def snapshot(self, execution_id: str) -> tuple[int, bytes] | None:
        """See `Journal.snapshot`."""
        item = self._table.get(_partition(execution_id), _SNAPSHOT)
        if item is None or "purged" in item:
            return None
        try:
            return int(item["seq"]["N"]), self._overflow.load(item)
        except NotFoundError:  # replaced this moment
            return None

    def purge(self, execution_id: str) -> None:
        """See `Journal.purge`. The mark, seq 0 and the snapshot stay closed for good, the other seqs for 90 days."""
        partition = _partition(execution_id)
        # Without conditions: whatever stands there is to go, and a purge again says the same.
        self._table.put({**key(partition, _MARK), "purged": _YES})
        self._table.put({**key(partition, _SNAPSHOT), "purged": _YES, "seq": number(_PURGED_SEQ)})
        expiry = int((self._clock.now() + _TOMBSTONES_LAST).timestamp())
        while True:
            found = list(self._table.query(partition, "begins_with(sk, :entry)", {":entry": text(_ENTRY)}))
            closed = {_seq(item) for item in found if "purged" in item}
            standing = {_seq(item) for item in found} - closed
            wanted = {0, *standing, *(seq + 1 for seq in standing)} - closed
            if not wanted:
                break
            # First what follows an entry: whoever takes up an interrupted purge knows it by the entry.
            for seq in sorted(wanted - standing):
                try:
                    self._table.put(_tombstone(partition, seq, expiry), _FREE)
                except ConditionFailedError:
                    continue  # an entry came this moment: the next round sees it
            self._table.put_many(_tombstone(partition, seq, expiry) for seq in sorted(standing))
        self._overflow.clear(f"X/{execution_id}")

    def is_purged(self, execution_id: str) -> bool:
        """See `Journal.is_purged`."""
        return self._table.get(_partition(execution_id), _MARK) is not None

    def _entry(self, execution_id: str, item: Item) -> JournalEntry:
        return JournalEntry(execution_id, _seq(item), item["writer"]["S"], self._overflow.load(item))

    def _see(self, execution_id: str, seq: int) -> None:
        with self._lock:
            self._last[execution_id] = seq
            self._last.move_to_end(execution_id)
            if len(self._last) > _KNOWN:
                self._last.popitem(last=False)

    def _seen(self, execution_id: str) -> int | None:
        with self._lock:
            return self._last.get(execution_id)


_SNAPSHOT = "A"
_ENTRY = "E#"
_MARK = "Z"
_YES = {"BOOL": True}


def _partition(execution_id: str) -> str:
    return f"X#{execution_id}"


def _sort(seq: int) -> str:
    return f"{_ENTRY}{seq:08d}"


def _seq(item: Item) -> int:
    return int(item["sk"]["S"].removeprefix(_ENTRY))


def _tombstone(partition: str, seq: int, expiry: int) -> Item:
    item = {**key(partition, _sort(seq)), "purged": _YES}
    return {**item, "ttl": number(expiry)} if seq else item
