"""The Headrace side of ``local.py``; the harness starts it with the checkout's own Python.

    python headrace_side.py observe|measure FOLDER

*observe* runs flows of two lengths, writes one line of JSON with the SQLite settings and commits seen, and ends.
*measure* writes ``{}`` when it is ready; then each line ``{"kind": "inline", "tasks": 40}`` on standard input runs
one execution of that many sequential tasks and is answered by the milliseconds from creating it to its end.
The kinds: ``inline`` (Return), ``light`` (kv.Get, one commit each as DBOS's steps), ``script`` (python.Script).
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace_cli.local import LocalRuntime

NAMESPACE = "benchmarks"

TASKS: dict[str, Callable[[int], dict[str, Any]]] = {
    "inline": lambda number: {"type": "io.kestra.plugin.core.debug.Return", "format": f"value {number}"},
    "light": lambda number: {"type": "io.kestra.plugin.core.kv.Get", "key": f"key-{number}", "errorOnMissing": False},
    "script": lambda _: {
        "type": "io.kestra.plugin.scripts.python.Script",
        "taskRunner": {"type": "io.kestra.plugin.core.runner.Process"},
        "script": "pass\n",
    },
}

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


class Observer:
    """Sees every SQLite connection this process opens from now on: its settings and its commits."""

    def __init__(self) -> None:
        self.commits = 0
        self.settings: dict[str, str] = {"journal_mode": "delete", "synchronous": "FULL"}  # SQLite's own defaults
        self.lock = threading.Lock()
        self.connect = sqlite3.connect
        sqlite3.connect = self.connected  # type: ignore[assignment]

    def connected(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Open a connection and have it tell of every statement it runs."""
        connection: sqlite3.Connection = self.connect(*arguments, **options)
        open_transaction = [False]
        connection.set_trace_callback(lambda statement: self.ran(statement, open_transaction))
        return connection

    def ran(self, statement: str, open_transaction: list[bool]) -> None:
        """Count what commits (COMMIT, or a write outside a transaction), and note the settings asked for."""
        words = statement.upper().split(None, 1)
        head = words[0].rstrip(";") if words else ""
        with self.lock:
            if head == "BEGIN":
                open_transaction[0] = True
            elif head in ("COMMIT", "END", "ROLLBACK"):
                open_transaction[0] = False
                self.commits += head != "ROLLBACK"
            elif head == "PRAGMA":
                for setting in self.settings:
                    if found := re.search(rf"\b{setting}\s*[=(]\s*'?(\w+)", statement, re.IGNORECASE):
                        self.settings[setting] = found[1]
            elif WRITES.match(statement) and not open_transaction[0]:
                self.commits += 1


def flow(kind: str, tasks: int) -> str:
    """Return a flow of *tasks* tasks of one kind, as YAML (JSON is YAML)."""
    listed = [{"id": f"task-{number}", **TASKS[kind](number)} for number in range(tasks)]
    return json.dumps({"id": f"{kind}-{tasks}", "namespace": NAMESPACE, "tasks": listed})


def run(runtime: LocalRuntime, kind: str, tasks: int, saved: set[tuple[str, int]]) -> float:
    """Run one execution; return the milliseconds from creating it to its end."""
    if (kind, tasks) not in saved:
        runtime.save_flow(flow(kind, tasks))
        saved.add((kind, tasks))
    begun = time.perf_counter()
    execution_id = runtime.create(NAMESPACE, f"{kind}-{tasks}", {})
    runtime.wait(execution_id)
    return (time.perf_counter() - begun) * 1000


def observe(folder: Path) -> None:
    """Run flows of 40 and 80 tasks of each kind and say what was seen of settings and commits."""
    observer = Observer()
    from headrace_cli.local import LocalRuntime  # after the observer, which must see its connections

    facts: dict[str, Any] = {"version": version("headrace"), "sqlite": sqlite3.sqlite_version}
    saved: set[tuple[str, int]] = set()
    runtime = LocalRuntime.open(folder)
    for kind in ("inline", "light"):
        commits = []
        for tasks in (40, 80):
            run(runtime, kind, tasks, saved)
            before = observer.commits
            run(runtime, kind, tasks, saved)
            commits.append(observer.commits - before)
        per_task = (commits[1] - commits[0]) / 40
        if not commits[0]:
            sys.exit("Saw no commit of Headrace's: it does not open its database by sqlite3.connect any more")
        facts[kind] = {
            "commits_per_task": per_task,
            "commits_per_execution": commits[0] - 40 * per_task,
        }
    runtime.close()
    names = {"0": "OFF", "1": "NORMAL", "2": "FULL", "3": "EXTRA"}
    synchronous = observer.settings["synchronous"].upper()
    facts["journal_mode"] = observer.settings["journal_mode"].lower()
    facts["synchronous"] = names.get(synchronous, synchronous)
    if facts["synchronous"] not in ("FULL", "EXTRA"):
        sys.exit(f"Headrace writes with synchronous={facts['synchronous']}; the comparison needs FULL")
    print(json.dumps(facts))


def measure(folder: Path) -> None:
    """Answer requests until standard input ends."""
    from headrace_cli.local import LocalRuntime

    saved: set[tuple[str, int]] = set()
    runtime = LocalRuntime.open(folder)
    print("{}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        milliseconds = run(runtime, request["kind"], request["tasks"], saved)
        print(json.dumps({"milliseconds": milliseconds}), flush=True)
    runtime.close()


if __name__ == "__main__":
    {"observe": observe, "measure": measure}[sys.argv[1]](Path(sys.argv[2]))
