"""What the SQLite file promises beyond the ports: group commit, durability, migrations."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from headrace_engine.adapters.local.database import Database, NewerDatabaseError
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.adapters.local.instants import to_number
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.adapters.local.schema import MIGRATIONS
from headrace_engine.model.search import Condition, ExecutionQuery, Operation
from headrace_engine.ports import JournalEntry, PortError, PurgedError, SeqTakenError
from headrace_engine.testing.contract.executions import summary
from headrace_engine.testing.contract.journal import entry
from headrace_engine.testing.contract.support import START

NUMBERS = "CREATE TABLE numbers (n INTEGER PRIMARY KEY)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A file with one table of numbers."""
    with Database(tmp_path / "test.db", migrations=[NUMBERS]) as database:
        yield database


def insert(n: int) -> Callable[[sqlite3.Connection], None]:
    def run(writer: sqlite3.Connection) -> None:
        writer.execute("INSERT INTO numbers (n) VALUES (?)", (n,))

    return run


def numbers(database: Database) -> list[int]:
    return [n for (n,) in database.rows("SELECT n FROM numbers ORDER BY n")]


def write_together(database: Database, *units: Callable[[sqlite3.Connection], object]) -> list[object]:
    """Write *units* from a thread each, so that all are queued behind one that leads; return what each returned or raised."""

    def write(unit: Callable[[sqlite3.Connection], object]) -> object:
        try:
            return database.write(unit)
        except Exception as error:  # noqa: BLE001  # the test judges what was raised
            return error

    leads = threading.Event()

    def wait_for_the_others(_: sqlite3.Connection) -> None:
        leads.set()
        while database.queued < len(units):
            os.sched_yield()

    with ThreadPoolExecutor(len(units) + 1) as pool:
        leader = pool.submit(database.write, wait_for_the_others)
        assert leads.wait(10)
        outcomes = list(pool.map(write, units))
        leader.result()
    return outcomes


# -- Group commit -----------------------------------------------------------------------------------


def test_a_write_returns_what_its_unit_returns(database: Database) -> None:
    assert database.write(lambda writer: writer.execute("SELECT 6 * 7").fetchone()) == (42,)


def test_a_lone_writer_commits_once_for_each_unit(database: Database) -> None:
    before = database.commits
    for n in range(10):
        database.write(insert(n))
    assert database.commits - before == 10


def test_units_that_wait_together_are_committed_together(database: Database) -> None:
    before = database.commits
    assert write_together(database, *(insert(n) for n in range(15))) == [None] * 15
    assert numbers(database) == list(range(15))
    assert database.commits - before == 1


def test_a_unit_that_fails_takes_back_only_its_own_changes(database: Database) -> None:
    def fail(writer: sqlite3.Connection) -> None:
        insert(100)(writer)
        raise LookupError("mine")

    before = database.commits
    outcomes = write_together(database, insert(1), fail, insert(2), insert(2), insert(3))
    assert [type(outcome) for outcome in outcomes].count(type(None)) == 3
    assert any(isinstance(outcome, LookupError) and str(outcome) == "mine" for outcome in outcomes)
    assert any(isinstance(outcome, PortError) and "UNIQUE" in str(outcome) for outcome in outcomes)
    assert numbers(database) == [1, 2, 3]
    assert database.commits - before == 1


def test_a_lone_unit_that_fails_leaves_nothing(database: Database) -> None:
    def fail(writer: sqlite3.Connection) -> None:
        insert(1)(writer)
        raise LookupError

    with pytest.raises(LookupError):
        database.write(fail)
    database.write(insert(2))
    assert numbers(database) == [2]


def test_a_leader_that_is_interrupted_hands_over(database: Database) -> None:
    """Ctrl-C reaches the thread that commits, while others wait for it."""
    leads = threading.Event()

    def interrupted(_: sqlite3.Connection) -> None:
        leads.set()
        while database.queued < 2:
            os.sched_yield()
        raise KeyboardInterrupt

    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(database.write, interrupted)
        assert leads.wait(10)
        others = [pool.submit(database.write, insert(n)) for n in (1, 2)]
        with pytest.raises(KeyboardInterrupt):
            leader.result()
        for other in others:
            other.result()
    assert numbers(database) == [1, 2]


def test_a_unit_that_writes_through_the_database_is_refused_instead_of_waiting_for_itself(database: Database) -> None:
    with pytest.raises(RuntimeError, match="writes through the connection"):
        database.write(lambda _: database.write(insert(1)))
    database.write(insert(2))
    assert numbers(database) == [2]


def test_many_threads_lose_nothing(database: Database) -> None:
    def fill(first: int) -> None:
        for n in range(first, first + 100):
            database.write(insert(n))

    before = database.commits
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(0, 800, 100)))
    assert numbers(database) == list(range(800))
    assert database.commits - before <= 800


def test_a_full_disk_fails_what_it_did_not_write_and_nothing_else(database: Database) -> None:
    pages = database.write(lambda writer: writer.execute("PRAGMA page_count").fetchone()[0])
    database.write(lambda writer: writer.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall())
    large = "INSERT INTO numbers (n) WITH RECURSIVE c (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM c LIMIT 9999) SELECT n FROM c"
    outcomes = write_together(database, insert(1), lambda writer: writer.execute(large, (1000,)).rowcount, insert(2))
    kept = numbers(database)
    for n, outcome in ((1, outcomes[0]), (2, outcomes[2])):
        assert (outcome is None) == (n in kept)
        assert outcome is None or isinstance(outcome, PortError)
    assert isinstance(outcomes[1], PortError)
    assert not any(n >= 1000 for n in kept)
    database.write(insert(3))
    assert 3 in numbers(database)


def test_a_file_locked_by_another_process_is_a_port_error_and_passes(tmp_path: Path) -> None:
    with Database(tmp_path / "test.db", migrations=[NUMBERS], busy_timeout=0) as database:
        other = sqlite3.connect(database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PortError, match="locked"):
            database.write(insert(1))
        other.execute("ROLLBACK")
        other.close()
        database.write(insert(2))
        assert numbers(database) == [2]


# -- Deferred units ---------------------------------------------------------------------------------


def test_deferred_units_ride_on_the_next_commit_in_order(database: Database) -> None:
    seen: list[object] = []

    def note(what: object, _: sqlite3.Connection) -> None:
        seen.append(what)

    def block(_: sqlite3.Connection) -> None:
        # While this unit runs nobody else commits, so what is deferred here waits for a commit to come.
        for n in range(100):
            database.later(insert(n))
            database.later(partial(note, n))

    before = database.commits
    database.write(block)
    database.write(partial(note, "durable"))
    assert seen == [*range(100), "durable"]
    assert numbers(database) == list(range(100))
    assert database.commits - before == 2


def test_deferred_units_need_no_other_commit(database: Database) -> None:
    ran = threading.Event()
    database.later(lambda _: ran.set())
    assert ran.wait(10)


def test_flush_makes_deferred_units_readable(database: Database) -> None:
    database.later(insert(1))
    database.flush()
    assert numbers(database) == [1]


def test_flush_without_deferred_units_commits_nothing(database: Database) -> None:
    before = database.commits
    database.flush()
    assert database.commits == before


def test_a_deferred_unit_that_fails_is_logged_and_disturbs_nobody(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.write(insert(1))
    with caplog.at_level(logging.ERROR):
        database.later(insert(1))
        database.later(insert(2))
        database.write(insert(3))
    assert numbers(database) == [1, 2, 3]
    assert "UNIQUE" in caplog.text


def test_whoever_defers_a_unit_can_tell_when_it_is_settled(database: Database) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def lead(_: sqlite3.Connection) -> None:
        begun.set()
        goes_on.wait(10)

    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(database.write, lead)
        assert begun.wait(10)
        is_settled = database.later(insert(1))
        assert not is_settled()
        goes_on.set()
        leader.result()
    database.flush()
    assert is_settled()


def test_reading_a_snapshot_waits_for_that_one_alone(tmp_path: Path) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def lead(_: sqlite3.Connection) -> None:
        begun.set()
        goes_on.wait(10)

    with Database(tmp_path / "test.db") as database, ThreadPoolExecutor(2) as pool:
        journal = SqliteJournal(database)
        leader = pool.submit(database.write, lead)
        assert begun.wait(10)
        journal.save_snapshot("x", 3, b"three")
        try:
            assert pool.submit(journal.snapshot, "another").result(10) is None
        finally:
            goes_on.set()
        assert journal.snapshot("x") == (3, b"three")
        leader.result()


# -- Closing ----------------------------------------------------------------------------------------


def test_close_makes_deferred_units_durable(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database = Database(path, migrations=[NUMBERS])
    for n in range(10):
        database.later(insert(n))
    database.close()
    database.close()
    with Database(path, migrations=[NUMBERS]) as reopened:
        assert numbers(reopened) == list(range(10))


def test_after_close_everything_is_a_port_error(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db", migrations=[NUMBERS])
    numbers(database)
    database.close()
    with pytest.raises(PortError, match="closed"):
        database.write(insert(1))
    with pytest.raises(PortError, match="closed"):
        database.later(insert(1))
    with pytest.raises(PortError, match="closed"):
        numbers(database)


def test_what_returned_before_a_close_in_the_midst_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database = Database(path, migrations=[NUMBERS])
    written: list[int] = []
    enough = threading.Event()

    def fill(first: int) -> None:
        for n in range(first, first + 1_000_000):
            try:
                database.write(insert(n))
            except PortError:
                return
            written.append(n)
            if len(written) >= 50:
                enough.set()

    with ThreadPoolExecutor(4) as pool:
        filling = [pool.submit(fill, n * 1_000_000) for n in range(4)]
        assert enough.wait(10)
        database.close()
        for each in filling:
            each.result()
    with Database(path, migrations=[NUMBERS]) as reopened:
        assert numbers(reopened) == sorted(written)


# -- Opening ----------------------------------------------------------------------------------------


def test_the_file_is_in_wal_mode_and_full_by_default(database: Database) -> None:
    def pragma(name: str) -> object:
        return database.write(lambda writer: writer.execute(f"PRAGMA {name}").fetchone()[0])

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_durability_is_a_parameter(tmp_path: Path) -> None:
    with Database(tmp_path / "test.db", synchronous="OFF") as database:
        assert database.write(lambda writer: writer.execute("PRAGMA synchronous").fetchone()) == (0,)


def test_migrations_run_once_and_forward(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with Database(path, migrations=[NUMBERS]) as database:
        database.write(insert(1))
    second = "ALTER TABLE numbers ADD COLUMN name TEXT; UPDATE numbers SET name = 'old'"
    for _ in range(2):
        with Database(path, migrations=[NUMBERS, second]) as database:
            assert database.rows("SELECT n, name FROM numbers") == [(1, "old")]
            assert database.row("PRAGMA user_version") == (2,)


def test_summaries_of_an_older_file_are_read_and_have_no_caller(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    before = next(n for n, each in enumerate(MIGRATIONS) if "ADD COLUMN caller_id" in each)
    with Database(path, migrations=MIGRATIONS[:before]) as database:
        columns = "id, namespace, flow_id, flow_revision, state, seq, start, labels, parent_id, trigger_id"
        row = ("x", "ns", "f", 1, "RUNNING", 0, to_number(START), "{}", "replayed", "daily")
        insert_old = f"INSERT INTO executions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        database.write(lambda writer: writer.execute(insert_old, row))
    with Database(path) as database:
        executions = SqliteExecutions(database)
        old = replace(summary("x"), parent_id="replayed", trigger_id="daily")
        assert list(executions.search(ExecutionQuery(is_child=False)).found) == [old]
        newer = replace(old, seq=1, caller_id="caller")
        executions.put(newer)
        of_caller = (Condition("callerId", Operation.EQUALS, ("caller",)),)
        assert list(executions.search(ExecutionQuery(is_child=True, conditions=of_caller)).found) == [newer]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with Database(path, migrations=[NUMBERS]) as database:
        database.write(insert(1))
    with pytest.raises(PortError, match="nonsense"):
        Database(path, migrations=[NUMBERS, "INSERT INTO numbers VALUES (2); nonsense"])
    with Database(path, migrations=[NUMBERS]) as database:
        assert numbers(database) == [1]


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    Database(path, migrations=[NUMBERS, "CREATE TABLE later (x)"]).close()
    before = path.read_bytes()
    with pytest.raises(NewerDatabaseError) as refusal:
        Database(path, migrations=[NUMBERS])
    assert str(refusal.value) == (
        f"{path} has schema version 2, and this Headrace knows versions up to 1: "
        "use the newer Headrace again, or another data folder"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_a_port_error(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(PortError, match="not a database"):
        Database(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_folder_that_cannot_be_made_is_a_port_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError):
        Database(tmp_path / "file" / "test.db")


def test_errors_of_sqlite_leave_as_port_errors(database: Database) -> None:
    with pytest.raises(PortError, match="no such table"):
        database.rows("SELECT * FROM nowhere")
    with pytest.raises(PortError, match="no such table"):
        database.write(lambda writer: writer.execute("SELECT * FROM nowhere"))
    with pytest.raises(PortError, match="readonly"):
        database.rows("INSERT INTO numbers VALUES (1)")


# -- The journal on it ------------------------------------------------------------------------------


def test_refused_appends_in_a_group_do_not_disturb_the_others(tmp_path: Path) -> None:
    """A taken seq, a purged execution and good appends share a commit."""
    with Database(tmp_path / "headrace.db") as database:
        journal = SqliteJournal(database)
        journal.append(entry(0, execution_id="taken"))
        journal.purge("purged")
        outcomes: list[object] = []

        def append(each: JournalEntry) -> None:
            try:
                journal.append(each)
                outcomes.append("stored")
            except PortError as error:
                outcomes.append(type(error))

        with ThreadPoolExecutor(4) as pool:
            for execution_id in ("taken", "good", "purged", "fine"):
                pool.submit(append, entry(0, execution_id=execution_id))
        assert outcomes.count("stored") == 2
        assert {SeqTakenError, PurgedError} <= set(outcomes)
        assert len(journal.entries("good")) == len(journal.entries("fine")) == 1


def test_behind_finds_executions_whose_summary_a_crash_took(tmp_path: Path) -> None:
    with Database(tmp_path / "headrace.db") as database:
        journal, executions = SqliteJournal(database), SqliteExecutions(database)
        assert list(journal.behind()) == []
        for execution_id in ("current", "old summary", "no summary", "purged"):
            for seq in range(3):
                journal.append(entry(seq, execution_id=execution_id))
        journal.purge("purged")
        executions.put(summary("current", seq=2))
        executions.put(summary("old summary", seq=1))
        assert sorted(journal.behind()) == ["no summary", "old summary"]


KILLED = """
import os, sys, threading
from pathlib import Path
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.ports import JournalEntry

journal = SqliteJournal(Database(Path(sys.argv[1])))

def fill(execution_id):
    for seq in range(1_000_000):
        journal.append(JournalEntry(execution_id, seq, "w", f"{execution_id} {seq}".encode()))
        os.write(1, f"{execution_id} {seq}\\n".encode())

for n in range(4):
    threading.Thread(target=fill, args=(f"x{n}",)).start()
"""


@pytest.mark.parametrize("lines", [1, 57, 400, 1500])
def test_a_process_killed_in_mid_stream_loses_nothing_that_append_returned_for(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "headrace.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    with Database(path) as database:
        journal = SqliteJournal(database)
        for line in acknowledged:
            execution_id, seq = line.decode().split()
            assert journal.entry(execution_id, int(seq)).data == line.strip()
        for n in range(4):
            seqs = [each.seq for each in journal.entries(f"x{n}")]
            assert seqs == list(range(len(seqs)))
