"""The DBOS side of ``local.py --vs dbos``; the harness starts it in an environment that has DBOS.

    python dbos_side.py observe|measure FOLDER JOURNAL_MODE

*observe* runs two workflows, writes one line of JSON with the settings read back from every connection
DBOS opened and the commits counted, and ends; it exits 1 when a connection is less durable than asked for.
*measure* writes ``{}`` when it is ready; then each line ``{"tasks": 40}`` on standard input runs one workflow
of that many trivial steps and is answered by the milliseconds from the call to its result.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dbos import DBOS
from sqlalchemy import event
from sqlalchemy.engine import Engine

FULL = 2
"""What ``PRAGMA synchronous`` answers for FULL."""


class Observer:
    """Reads back the settings of each connection whenever it begins a transaction, and counts commits."""

    def __init__(self) -> None:
        self.commits = 0
        self.settings: set[tuple[str, int]] = set()
        self.lock = threading.Lock()
        event.listen(Engine, "connect", self.connected)
        event.listen(Engine, "begin", self.begun)

    def connected(self, connection: sqlite3.Connection, _record: object) -> None:
        """Have SQLite tell of every statement it runs."""
        connection.set_trace_callback(self.ran)

    def ran(self, statement: str) -> None:
        """Count the commits; they may come from any thread."""
        if statement.startswith("COMMIT"):
            with self.lock:
                self.commits += 1

    def begun(self, connection: Any) -> None:
        """Note the settings in force, whoever set them last."""
        driver: sqlite3.Connection = connection.connection.driver_connection
        mode = driver.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = driver.execute("PRAGMA synchronous").fetchone()[0]
        with self.lock:
            self.settings.add((mode, synchronous))


@DBOS.step()
def trivial(number: int) -> str:
    """Return a short text, as a Return task does."""
    return f"value {number}"


@DBOS.workflow()
def sequence(tasks: int) -> str:
    """Run *tasks* steps one after the other."""
    last = ""
    for number in range(tasks):
        last = trivial(number)
    return last


def launch(folder: Path, journal_mode: str) -> None:
    """Start DBOS on a new database; every connection it opens writes with synchronous=FULL."""

    def make_durable(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("PRAGMA synchronous=FULL")

    event.listen(Engine, "connect", make_durable)
    DBOS(
        config={
            "name": "headrace-benchmark",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "console_log_level": "ERROR",
        }
    )
    DBOS.launch()


def observe(folder: Path, journal_mode: str) -> None:
    """Run workflows of 40 and 80 steps and say what was seen of settings and commits."""
    observer = Observer()
    launch(folder, journal_mode)
    sequence(10)
    commits = []
    for tasks in (40, 80):
        before = observer.commits
        sequence(tasks)
        commits.append(observer.commits - before)
    DBOS.destroy()
    if observer.settings != {(journal_mode, FULL)}:
        sys.exit(f"Asked DBOS for journal_mode={journal_mode}, synchronous={FULL}, but it has {observer.settings}")
    per_task = (commits[1] - commits[0]) / 40
    facts = {
        "version": version("dbos"),
        "sqlite": sqlite3.sqlite_version,
        "journal_mode": journal_mode,
        "synchronous": "FULL",
        "commits_per_task": per_task,
        "commits_per_execution": commits[0] - 40 * per_task,
    }
    print(json.dumps(facts))


def measure(folder: Path, journal_mode: str) -> None:
    """Answer requests until standard input ends."""
    launch(folder, journal_mode)
    print("{}", flush=True)
    for line in sys.stdin:
        tasks = json.loads(line)["tasks"]
        begun = time.perf_counter()
        sequence(tasks)
        print(json.dumps({"milliseconds": (time.perf_counter() - begun) * 1000}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    {"observe": observe, "measure": measure}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
