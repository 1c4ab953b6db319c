"""What a journal promises."""

from __future__ import annotations

from functools import partial

import pytest

from headrace_engine.ports import Journal, JournalEntry, NotFoundError, PurgedError, SeqTakenError
from headrace_engine.testing.contract.support import CONTENDERS, Contract


def entry(seq: int, *, execution_id: str = "x", writer: str = "w", data: bytes | None = None) -> JournalEntry:
    """Return an entry with data of its own."""
    return JournalEntry(execution_id, seq, writer, f"entry {seq}".encode() if data is None else data)


class JournalContract(Contract):
    """Needs the fixture ``journal: Journal``, empty."""

    def test_an_entry_is_read_back_as_written(self, journal: Journal) -> None:
        written = entry(0, writer="writer-1", data=bytes(range(256)))
        journal.append(written)
        assert journal.entry("x", 0) == written
        assert list(journal.entries("x")) == [written]

    def test_data_may_be_empty_or_large(self, journal: Journal) -> None:
        written = [entry(0, data=b""), entry(1, data=b"\0\xff" * 32 * 1024), entry(2, data=bytes(range(256)) * 4000)]
        for each in written:
            journal.append(each)
        assert list(journal.entries("x")) == written

    def test_entries_come_by_seq_whatever_order_they_were_written_in(self, journal: Journal) -> None:
        for seq in (2, 0, 10, 1, 9):
            journal.append(entry(seq))
        assert [each.seq for each in journal.entries("x")] == [0, 1, 2, 9, 10]

    def test_entries_after_a_seq(self, journal: Journal) -> None:
        for seq in range(5):
            journal.append(entry(seq))
        assert [each.seq for each in journal.entries("x", after=2)] == [3, 4]
        assert list(journal.entries("x", after=4)) == []

    def test_many_entries_are_read_back_whole(self, journal: Journal) -> None:
        written = [entry(seq, data=bytes(8 * 1024)) for seq in range(300)]
        for each in written:
            journal.append(each)
        assert list(journal.entries("x")) == written

    def test_an_execution_without_entries_has_none(self, journal: Journal) -> None:
        assert list(journal.entries("nobody")) == []

    def test_a_missing_entry_is_an_error(self, journal: Journal) -> None:
        journal.append(entry(0))
        with pytest.raises(NotFoundError):
            journal.entry("x", 1)
        with pytest.raises(NotFoundError):
            journal.entry("nobody", 0)

    def test_executions_do_not_see_each_other(self, journal: Journal) -> None:
        journal.append(entry(0, execution_id="x"))
        journal.append(entry(0, execution_id="x1"))
        assert [each.execution_id for each in journal.entries("x")] == ["x"]

    def test_a_taken_seq_is_refused_with_what_stands_there_and_nothing_changes(self, journal: Journal) -> None:
        first = entry(0, writer="first", data=b"first")
        journal.append(first)
        with pytest.raises(SeqTakenError) as refusal:
            journal.append(entry(0, writer="second", data=b"second"))
        assert refusal.value.stored == first
        assert list(journal.entries("x")) == [first]

    def test_a_refusal_shows_a_large_entry_whole(self, journal: Journal) -> None:
        first = entry(0, writer="first", data=bytes(range(256)) * 4000)
        journal.append(first)
        with pytest.raises(SeqTakenError) as refusal:
            journal.append(entry(0, writer="second", data=b"\xff" * 500_000))
        assert refusal.value.stored == first
        assert list(journal.entries("x")) == [first]

    def test_the_same_writer_is_refused_too_and_finds_its_own_entry(self, journal: Journal) -> None:
        written = entry(0, writer="mine")
        journal.append(written)
        with pytest.raises(SeqTakenError) as refusal:
            journal.append(written)
        assert refusal.value.stored == written

    def test_one_of_many_wins_a_seq_and_the_others_are_shown_its_entry(self, journal: Journal) -> None:
        for seq in range(20):
            outcomes = self.race(
                [
                    partial(journal.append, entry(seq, writer=f"w{n}", data=f"data {n}".encode()))
                    for n in range(CONTENDERS)
                ]
            )
            stored = journal.entry("x", seq)
            winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
            assert len(winners) == 1
            assert stored == entry(seq, writer=f"w{winners[0]}", data=f"data {winners[0]}".encode())
            refusals = [outcome for outcome in outcomes if outcome is not None]
            assert all(isinstance(each, SeqTakenError) and each.stored == stored for each in refusals)

    def test_appends_of_many_executions_at_once_are_all_kept(self, journal: Journal) -> None:
        def fill(execution_id: str) -> None:
            for seq in range(25):
                journal.append(entry(seq, execution_id=execution_id))

        outcomes = self.race([partial(fill, f"x{n}") for n in range(CONTENDERS)])
        assert outcomes == [None] * CONTENDERS
        for n in range(CONTENDERS):
            assert [each.seq for each in journal.entries(f"x{n}")] == list(range(25))

    def test_there_is_no_snapshot_at_first(self, journal: Journal) -> None:
        journal.append(entry(0))
        assert journal.snapshot("x") is None

    def test_a_snapshot_only_replaces_one_that_reflects_less(self, journal: Journal) -> None:
        journal.save_snapshot("x", 3, b"three")
        assert journal.snapshot("x") in ((3, b"three"), None)
        journal.save_snapshot("x", 2, b"two")
        assert journal.snapshot("x") in ((3, b"three"), None)
        journal.save_snapshot("x", 11, b"eleven")
        assert journal.snapshot("x") in ((11, b"eleven"), None)
        assert journal.snapshot("x1") is None

    def test_snapshots_may_be_large(self, journal: Journal) -> None:
        for seq in (3, 2, 11):
            journal.save_snapshot("x", seq, bytes([seq]) * 500_000)
        assert journal.snapshot("x") in ((11, bytes([11]) * 500_000), None)

    def test_after_a_purge_nobody_appends_who_read_the_journal_before(self, journal: Journal) -> None:
        for seq in range(3):
            journal.append(entry(seq))
        assert len(journal.entries("x")) == 3
        journal.purge("x")
        for seq in (3, 2, 1, 0):
            with pytest.raises(PurgedError):
                journal.append(entry(seq, writer="late"))
        assert list(journal.entries("x")) == []

    def test_of_many_snapshots_at_once_the_highest_stays(self, journal: Journal) -> None:
        self.race([partial(journal.save_snapshot, "x", n, str(n).encode()) for n in range(CONTENDERS)])
        assert journal.snapshot("x") in ((CONTENDERS - 1, str(CONTENDERS - 1).encode()), None)

    def test_purge_removes_entries_and_snapshot_of_one_execution(self, journal: Journal) -> None:
        for execution_id in ("x", "x1"):
            journal.append(entry(0, execution_id=execution_id))
            journal.save_snapshot(execution_id, 0, b"snapshot")
        journal.purge("x")
        assert list(journal.entries("x")) == []
        assert journal.snapshot("x") is None
        with pytest.raises(NotFoundError):
            journal.entry("x", 0)
        assert len(journal.entries("x1")) == 1

    def test_after_purge_every_append_fails_and_nothing_comes_back(self, journal: Journal) -> None:
        journal.append(entry(0))
        journal.purge("x")
        for seq in (0, 1, 7):
            with pytest.raises(PurgedError):
                journal.append(entry(seq))
        journal.save_snapshot("x", 9, b"late")
        assert list(journal.entries("x")) == []
        assert journal.snapshot("x") is None

    def test_purge_is_idempotent_and_may_come_before_the_first_entry(self, journal: Journal) -> None:
        journal.append(entry(0, execution_id="y"))
        assert not journal.is_purged("x")
        journal.purge("x")
        journal.purge("x")
        with pytest.raises(PurgedError):
            journal.append(entry(0))
        assert [journal.is_purged(each) for each in ("x", "y", "never")] == [True, False, False]

    def test_an_append_racing_with_a_purge_is_refused_or_removed(self, journal: Journal) -> None:
        outcomes = self.race(
            [
                *(partial(journal.append, entry(seq)) for seq in range(CONTENDERS - 1)),
                partial(journal.purge, "x"),
            ]
        )
        assert all(outcome is None or isinstance(outcome, PurgedError) for outcome in outcomes)
        assert list(journal.entries("x")) == []
