"""Appends to the local journal per second, durable (synchronous=FULL), beside what SQLite itself does in the same run.

    python benchmarks/journal.py [--appends N] [--folder DIR]

The lines alternate over several rounds and the best of each is printed, so that a busy moment of the machine
does not decide between them.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.ports import JournalEntry

DATA = os.urandom(300)
ROUNDS = 5
SCHEMA = "CREATE TABLE IF NOT EXISTS journal (x TEXT, seq INTEGER, writer TEXT, data BLOB, PRIMARY KEY (x, seq))"
INSERT = "INSERT INTO journal VALUES (?, ?, ?, ?)"


def naive(folder: Path, appends: int) -> float:
    """Return the seconds with a connection opened and closed for each append; the last to close writes the WAL back."""
    path = folder / "naive.db"
    bare_connection(path).close()
    started = time.perf_counter()
    for seq in range(appends):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(INSERT, ("x", seq, "w", DATA))
    return time.perf_counter() - started


def naive_beside_another(folder: Path, appends: int) -> float:
    """Return the same while some other connection stays open, and so the WAL too."""
    with closing(bare_connection(folder / "naive.db")):
        return naive(folder, appends)


def bare(folder: Path, appends: int) -> float:
    """Return the seconds on one open connection, nothing around it."""
    with closing(bare_connection(folder / "bare.db")) as connection:
        started = time.perf_counter()
        for seq in range(appends):
            connection.execute(INSERT, ("x", seq, "w", DATA))
        return time.perf_counter() - started


def bare_connection(path: Path) -> sqlite3.Connection:
    """Return a connection with the settings that Headrace uses."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(SCHEMA)
    return connection


def headrace(threads: int) -> Callable[[Path, int], float]:
    """Return the measurement of our journal, appended to by *threads*."""

    def measure(folder: Path, appends: int) -> float:
        with Database(folder / "headrace.db") as database:
            journal = SqliteJournal(database)

            def fill(number: int) -> None:
                for seq in range(appends // threads):
                    journal.append(JournalEntry(f"x{number}", seq, "w", DATA))

            workers = [threading.Thread(target=fill, args=(number,)) for number in range(threads)]
            started = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            return time.perf_counter() - started

    return measure


MEASUREMENTS = {
    "a connection per append": naive,
    "the same beside an open one": naive_beside_another,
    "one bare connection, 1 thread": bare,
    "Headrace, 1 thread": headrace(1),
    "Headrace, 8 threads": headrace(8),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Appends per second to the local journal, synchronous=FULL.")
    parser.add_argument("--appends", type=int, default=2000, help="appends per round (default 2000)")
    parser.add_argument("--folder", type=Path, help="where the files go, for the disk to be measured")
    options = parser.parse_args()
    best = dict.fromkeys(MEASUREMENTS, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in MEASUREMENTS.items():
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                best[name] = min(best[name], measure(Path(folder), options.appends))
    slowest = best["a connection per append"]
    print(f"{options.appends} appends of {len(DATA)} bytes, every one on disk when it returns; best of {ROUNDS} rounds")
    for name, seconds in best.items():
        each = seconds / options.appends
        print(f"{name:32} {1 / each:8,.0f}/s  {each * 1e6:7.0f} µs  {slowest / seconds:5.1f} times the first")


if __name__ == "__main__":
    main()
