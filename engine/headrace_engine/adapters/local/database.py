"""The one SQLite file of a data folder: a single writer with group commit, and readers beside it.

Every change is a *unit*: a small function on the writing connection. `write` returns when its unit is
on disk. Whoever finds nobody writing becomes the leader: it runs its own unit in its own thread, takes
along whatever other threads queued meanwhile, and commits once for all of them (one fsync). The others
sleep until their unit is settled, or until one of them is made the next leader. Each unit stands in a
savepoint, so one that fails takes back only its own changes. Nobody ever waits for company: a lone
caller commits at once, and groups form only from what arrives while a commit is under way.

`later` queues a unit without waiting. It is run before every unit that is queued after it, rides on the
next commit, and a commit of its own follows within `LINGER` seconds if there is no other. What a crash
can take is therefore only the units of `later` since the last commit, never a unit that `write`
returned for.

Measured (``benchmarks/journal.py``; 2 cores, ext4, fdatasync 0.10 ms, Python 3.11; appends of 300 bytes a second):

    =====================================  ========  =========
    who writes                             1 thread  8 threads
    =====================================  ========  =========
    a connection per append                     980          -
    the same, another connection open         2,500          -
    one bare connection, autocommit           6,450          -
    a writer thread fed by a queue (tried)    5,200     17,000
    leader and followers (this module)        6,330     17,200
    =====================================  ========  =========

The hand-over to a writer thread and back costs a lone caller two thread switches; leading costs it two
uncontended locks. One thread is the common case, so it decided.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from headrace_engine.adapters.local.schema import MIGRATIONS
from headrace_engine.ports import PortError

T = TypeVar("T")

LINGER = 0.02
"""Seconds a unit of `later` may wait for a commit to ride on."""

_LARGEST_GROUP = 512
"""Units in one commit, so that the first of a long queue is not kept waiting for the last."""

_CHECKPOINT_PAGES = 256
"""After so many pages the WAL is written back and begun anew: overwriting it is a third faster than growing it."""

_log = logging.getLogger(__name__)

Synchronous = Literal["OFF", "NORMAL", "FULL", "EXTRA"]


class NewerDatabaseError(PortError):
    """The file was written by a newer Headrace; nothing was changed."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, and this Headrace knows versions up to {known}: "
            "use the newer Headrace again, or another data folder"
        )


class _Unit:
    """One unit of work in the queue."""

    __slots__ = ("deferred", "done", "error", "leads", "result", "run", "thread", "turn")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], *, deferred: bool = False) -> None:
        self.run = run
        self.thread = threading.get_ident()
        self.deferred = deferred
        """Given to `later`: nobody asks what became of it."""
        self.result: Any = None
        self.error: Exception | None = None
        self.done = False
        """Committed, or failed with error."""
        self.leads = False
        """Made leader while its thread waited."""
        self.turn: threading.Lock | None = None
        """Held until the unit is done or leads; None when no thread waits for it."""


class Database:
    """The SQLite file at *path*, created or migrated forward on opening.

    Safe to use from any thread. One instance per file and process; that no other process writes is the
    data folder lock's business.

    Raises:
        NewerDatabaseError: the file has a schema version that *migrations* does not reach.
        PortError: the file cannot be opened, or is no database.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
        migrations: Sequence[str] = MIGRATIONS,
    ) -> None:
        self.path = path
        self.commits = 0
        """Transactions committed so far; with units in groups it grows slower than their number."""
        self._busy_timeout = busy_timeout
        self._mutex = threading.Lock()
        self._queue: deque[_Unit] = deque()
        self._leader: int | None = None
        """The thread that writes, or was chosen to; None when nobody does."""
        self._unsettled = 0
        """Units of `later` that are not done."""
        self._closed = False
        self._readers: list[sqlite3.Connection] = []
        self._flusher: threading.Thread | None = None
        self._flush_due = threading.Event()
        self._closing = threading.Event()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Outputs and inputs are nobody else's business; SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = self._connect()
            try:
                self._prepare(synchronous, migrations)
            except BaseException:
                self._writer.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise PortError(f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Make everything queued durable and let go of the file; later calls raise PortError. Idempotent."""
        last = _Unit(_nothing)
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._take_place(last)
        self._finish(last)
        self._closing.set()
        self._flush_due.set()
        if self._flusher is not None:
            self._flusher.join()
        with contextlib.suppress(sqlite3.Error):  # what was promised is on disk already
            self._close_readers()
            self._writer.close()

    # -- Writing ------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many units wait to be run."""
        return len(self._queue)

    def write(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run *run* on the writing connection; its changes are durable when this returns its result.

        *run* may be run in another thread, and must speak to nothing but its connection. What it raises is
        raised here, its changes (and only its) taken back. Raises PortError when the commit itself fails.
        """
        unit = _Unit(run)
        with self._mutex:
            self._refuse_when_closed()
            self._take_place(unit)
        self._finish(unit)
        if unit.error is not None:
            raise unit.error
        result: T = unit.result
        return result

    def later(self, run: Callable[[sqlite3.Connection], object]) -> Callable[[], bool]:
        """Queue *run* before every later unit and return at once. What it raises is logged, its changes taken back.

        What is returned tells whether it is settled: durable, or failed.
        """
        unit = _Unit(run, deferred=True)
        with self._mutex:
            self._refuse_when_closed()
            self._queue.append(unit)
            self._unsettled += 1
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_when_due, name="headrace-flush", daemon=True)
                self._flusher.start()
        if not self._flush_due.is_set():
            self._flush_due.set()
        return lambda: unit.done

    def flush(self) -> None:
        """Return when every unit given to `later` before is durable (or failed, and was logged)."""
        if self._unsettled:
            self.write(_nothing)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise PortError(f"{self.path} is closed")

    def _take_place(self, unit: _Unit) -> None:
        """Queue *unit*; afterwards its thread leads, or has a turn to wait for. The caller holds the mutex."""
        if self._leader is None:
            self._leader = unit.thread
        elif self._leader == unit.thread:
            raise RuntimeError("A unit of work writes through the connection it is given, not through the database")
        else:
            unit.turn = threading.Lock()
            unit.turn.acquire()
        self._queue.append(unit)

    def _finish(self, unit: _Unit) -> None:
        """Return when *unit* is done, by this thread or by another."""
        turn = unit.turn
        if turn is not None:
            try:
                turn.acquire()
            except BaseException:
                # Ctrl-C while waiting: the unit will be committed, but this thread leads nobody any more.
                with self._mutex:
                    unit.turn = None
                if unit.leads:
                    self._hand_over()
                raise
        if not unit.done:
            try:
                while not unit.done:
                    self._commit_group()
            finally:
                self._hand_over()

    def _hand_over(self) -> None:
        """Make the first unit that a thread waits for the leader; without one nobody leads."""
        with self._mutex:
            heir = next((unit for unit in self._queue if unit.turn is not None), None)
            self._leader = None if heir is None else heir.thread
            if heir is not None and heir.turn is not None:
                heir.leads = True
                heir.turn.release()

    def _commit_group(self) -> None:
        """Run what is queued and commit once; afterwards every unit taken is done, and the threads that wait know."""
        group: list[_Unit] = []
        try:
            self._run_queued(group)
        except sqlite3.Error as error:
            self._fail(group, error)
        except BaseException as error:
            self._fail(group, error)
            raise
        finally:
            self._settle(group)

    def _run_queued(self, group: list[_Unit]) -> None:
        writer, queue = self._writer, self._queue
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            while queue:
                group.append(queue.popleft())
            raise
        first = True
        # The queue is looked at again after each unit: what arrives while others run is taken along.
        while queue and len(group) < _LARGEST_GROUP:
            unit = queue.popleft()
            group.append(unit)
            if first:
                first = not self._run_first(unit)
            else:
                self._run_joined(unit)
        writer.execute("COMMIT")
        self.commits += 1

    def _run_first(self, unit: _Unit) -> bool:
        """Run the first unit of a transaction, which needs no savepoint; False when it was taken back."""
        writer = self._writer
        try:
            unit.result = unit.run(writer)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is for the unit's own caller
            unit.error = self._outward(error)
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            writer.execute("BEGIN IMMEDIATE")
            return False
        return True

    def _run_joined(self, unit: _Unit) -> None:
        writer = self._writer
        writer.execute("SAVEPOINT unit")
        try:
            unit.result = unit.run(writer)
        except Exception as error:
            unit.error = self._outward(error)
            if not writer.in_transaction:
                # A full disk and the like: SQLite took back the whole group, not only this unit.
                raise sqlite3.OperationalError(str(error)) from error
            writer.execute("ROLLBACK TO unit")
        writer.execute("RELEASE unit")

    def _fail(self, group: list[_Unit], error: BaseException) -> None:
        """Take the transaction back; every unit of the group without an error of its own failed with *error*."""
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        for unit in group:
            if unit.error is None:
                unit.error = PortError(f"{self.path}: not written: {error or type(error).__name__}")
                unit.error.__cause__ = error

    def _settle(self, group: list[_Unit]) -> None:
        """Mark the units done and wake the threads that wait for them; log what failed unseen."""
        deferred = [unit for unit in group if unit.deferred]
        if deferred:
            with self._mutex:
                self._unsettled -= len(deferred)
            for unit in deferred:
                if unit.error is not None:
                    _log.error("A deferred write was lost: %s", unit.error, exc_info=unit.error)
        for unit in group:
            unit.done = True
            unit.run = _nothing  # what it held may be large, and somebody may hold the unit
            turn = unit.turn
            if turn is not None and not unit.leads:
                turn.release()

    def _outward(self, error: Exception) -> Exception:
        """Return *error*, or the PortError that stands for one of sqlite3's."""
        if not isinstance(error, sqlite3.Error):
            return error
        outward = PortError(f"{self.path}: {error}")
        outward.__cause__ = error
        return outward

    def _flush_when_due(self) -> None:
        while True:
            self._flush_due.wait()
            if self._closing.wait(LINGER):
                return
            self._flush_due.clear()
            if self._closing.is_set():
                return  # close() came between the two: what it set to wake this thread may just have been cleared
            # Closed meanwhile: close() writes what is queued. A commit that fails logs its units itself.
            with contextlib.suppress(PortError):
                self.flush()

    # -- Reading ------------------------------------------------------------------------------------

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what *query* finds through a reading connection: all that was committed when it began.

        A reader that must see units of `later` calls `flush` first.
        """
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = None
        try:
            if reader is None:
                self._refuse_when_closed()
                reader = self._connect()
                reader.execute("PRAGMA query_only = ON")
            return query(reader)
        except sqlite3.Error as error:
            raise PortError(f"{self.path}: {error}") from error
        finally:
            if reader is not None:
                self._readers.append(reader)
                if self._closed:
                    self._close_readers()

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.read(lambda reader: reader.execute(sql, parameters).fetchall())

    def row(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""

        def first(reader: sqlite3.Connection) -> tuple[Any, ...] | None:
            cursor = reader.execute(sql, parameters)
            found: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()  # a row left unread would hold the snapshot, and with it the WAL
            return found

        return self.read(first)

    # -- Opening and closing ------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, synchronous: Synchronous, migrations: Sequence[str]) -> None:
        writer = self._writer
        version = int(writer.execute("PRAGMA user_version").fetchone()[0])
        if version > len(migrations):
            raise NewerDatabaseError(self.path, version, len(migrations))
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(f"PRAGMA synchronous = {synchronous}")
        writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        writer.execute("PRAGMA cache_size = -16000")
        for number in range(version + 1, len(migrations) + 1):
            # The version changes in the migration's own transaction: it happened, or it did not.
            writer.executescript(f"BEGIN; {migrations[number - 1]}; PRAGMA user_version = {number}; COMMIT;")

    def _close_readers(self) -> None:
        while True:
            try:
                self._readers.pop().close()
            except IndexError:
                return


def _nothing(_: sqlite3.Connection) -> None:
    """Change nothing: a unit that only waits for those before it."""
