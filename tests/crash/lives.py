"""Rounds of lives of an engine: started by a driver program, killed, watched, and looked into when all is over."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from crash.outcomes import lost_attempts, names_of, outcome, renamed
from headrace_cli.local import LocalRuntime
from headrace_engine.core.codec import decode_entry
from headrace_engine.core.events import AttemptEnded, AttemptStarted, Entry
from headrace_engine.core.flow import index
from headrace_engine.core.fold import fold
from headrace_engine.executor import summary
from headrace_engine.language import Registry, parse_flow
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.payloads import Payloads
from headrace_engine.view import execution_view

SOON = 60.0
FLOWS = tuple(Path(__file__).with_name(name) for name in ("killed-child.yaml", "killed.yaml"))
_OWN_FOLDER = re.compile(r"-([0-9A-Za-z]{22})-(\d+)-out$")


class Zygote:
    """The driver program: starts one engine after the other."""

    def __init__(self, program: str = "driver") -> None:
        """Start *program*, a module of this folder."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"crash.{program}"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._read = b""
        self._pid = 0
        """The engine that lives, if one does."""

    def close(self) -> None:
        """End it; an engine that a failed test left goes with it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def bear(self, **life: str) -> int:
        """Start an engine; return its process id."""
        assert self._process.stdin is not None
        if self._pid:  # a test that failed left it
            os.kill(self._pid, signal.SIGKILL)
            while self.line(SOON) != "dead":
                pass
        self._process.stdin.write(json.dumps(life).encode() + b"\n")
        self._process.stdin.flush()
        word, pid = self.line(SOON).split()
        assert word == "born"
        self._pid = int(pid)
        return self._pid

    def line(self, seconds: float) -> str:
        """Return the next line; "" when none comes within *seconds*."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return ""
            chunk = os.read(self._process.stdout.fileno(), 65536)
            assert chunk, "the driver has ended"
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        if line == b"dead":
            self._pid = 0
        return line.decode()


class Round:
    """One execution on one data folder, through several lives of the engine."""

    def __init__(self, zygote: Zygote, folder: Path, name: str, flows: Sequence[Path] = FLOWS) -> None:
        """Take a folder of its own; the last of *flows* is the one that runs."""
        self.zygote = zygote
        self.data = folder / "data"
        self.effects = folder / "effects"
        self.effects.touch()
        self.name = name
        self.flows = " ".join(map(str, flows))
        self.lives = 0
        self.pid = 0
        self.steps = 0
        self.is_over = False

    # -- Lives --------------------------------------------------------------------------------------

    def start(self, **life: str) -> None:
        """Begin a life; *life* is what else the driver is told."""
        self.lives += 1
        mark = f"{self.name}.{self.lives}"
        self.pid = self.zygote.bear(
            folder=str(self.data), effects=str(self.effects), mark=mark, flows=self.flows, **life
        )
        self.steps = 0

    def hear(self, seconds: float) -> str:
        """Return what the engine says next; check what must hold when it says that the folder is open."""
        line = self.zygote.line(seconds)
        self.steps += line == "step"
        self.is_over |= line == "over"
        if line == "opened":
            self.no_process_of(range(1, self.lives))
        return line

    def live_until(self, steps: int, seconds: float) -> bool:
        """Go on until so many entries are written and so long after; False when the execution is over by then."""
        while self.steps < steps and not self.is_over:
            assert self.hear(SOON) not in ("", "dead"), "the execution does not go on"
        deadline = time.monotonic() + seconds
        while not self.is_over and (left := deadline - time.monotonic()) > 0:
            assert self.hear(left) != "dead"
        return not self.is_over

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        while self.hear(SOON) != "dead":
            pass

    def die_within(self, seconds: float) -> None:
        """kill -9 so long after its birth, while the folder is still being opened."""
        assert self.hear(seconds) == "", "the folder is open already"
        self.kill()

    def finish(self) -> None:
        """Let the engine see the execution to its end."""
        while not self.is_over:
            assert self.hear(SOON) not in ("", "dead"), "the execution does not end"
        assert self.hear(SOON) == "dead"

    def would_be_unfair(self) -> bool:
        """Stop the engine where it is; True when a kill there would lose an attempt for the third time in a row.

        That would fail its task run, by design (DESIGN §3.6).
        """
        os.kill(self.pid, signal.SIGSTOP)
        lost: Counter[str] = Counter()
        begun: set[str] = set()
        for entry in self.entries():
            for event in entry.events:
                if isinstance(event, AttemptEnded):
                    lost[event.task_run_id] = lost[event.task_run_id] + 1 if event.state is State.RESUBMITTED else 0
                    begun.discard(event.task_run_id)
                elif isinstance(event, AttemptStarted):
                    begun.add(event.task_run_id)
        return any(lost[task_run_id] >= 2 for task_run_id in begun)

    def entries(self) -> list[Entry]:
        """Return all entries of all executions, read beside the engine."""
        if not (self.data / "headrace.db").exists():
            return []
        with closing(sqlite3.connect(f"file:{self.data}/headrace.db?mode=ro", uri=True)) as database:
            try:
                rows = database.execute("SELECT data FROM journal ORDER BY execution_id, seq").fetchall()
            except sqlite3.OperationalError:  # killed before there were tables
                return []
        return [decode_entry(data) for (data,) in rows]

    def go_on(self) -> None:
        """Let a stopped engine go on."""
        os.kill(self.pid, signal.SIGCONT)

    # -- What must hold -----------------------------------------------------------------------------

    def no_process_of(self, lives: range) -> None:
        """Check that nothing these lives started is left; what waited at the gate needs a moment to see it is alone."""
        marks = {f"CRASH_MARK={self.name}.{life}".encode() for life in lives}
        deadline = time.monotonic() + SOON
        while left := [pid for pid in processes() if marks & environment_of(pid)]:
            assert time.monotonic() < deadline, f"processes are left: {left}"
            time.sleep(0.01)  # polls

    def nothing_is_left(self) -> None:
        """Check that no process, no directory and nothing half written is left behind."""
        self.no_process_of(range(1, self.lives + 1))
        assert list((self.data / "tmp").iterdir()) == []
        assert not (self.data / "workspaces").exists() or list((self.data / "workspaces").iterdir()) == []
        assert list((self.data / "storage" / "partial").iterdir()) == []

    def outcomes(self) -> dict[str, Any]:
        """Check all that must hold at the end; return what must be as it is in an undisturbed run."""
        self.nothing_is_left()
        with closing(LocalRuntime.open(self.data, recover=False)) as runtime:
            return self._outcomes(runtime)

    def _outcomes(self, runtime: LocalRuntime) -> dict[str, Any]:
        stores = runtime.stores
        assert list(stores.claims.open()) == []
        assert list(stores.executions.open()) == []
        found = stores.executions.search(limit=10).found
        told: dict[str, Any] = {}
        ran: set[tuple[str, int]] = set()
        lost: set[tuple[str, int]] = set()
        for each in found:
            entries = [decode_entry(stored.data) for stored in stores.journal.entries(each.id)]
            assert [entry.seq for entry in entries] == list(range(len(entries)))
            source = stores.flows.get(each.namespace, each.flow_id, each.flow_revision)
            assert source is not None
            flow = parse_flow(source.source, revision=source.revision, registry=Registry.load())
            state = fold(each.id, index(flow), entries)
            assert state.closed
            assert stores.executions.get(each.id) == summary(state)
            view = runtime.view(each.id)
            payloads = Payloads(stores.storage)
            assert execution_view(state, payloads.load, stores.clock.now()) == view
            lost |= (lost_here := lost_attempts(entries))
            told[each.flow_id] = outcome(view, runtime.logs(each.id), lost_here)
            told[f"{each.flow_id} files"] = self._files(runtime, view)
            ran |= {
                (event.task_run_id, event.number)
                for entry in entries
                for event in entry.events
                if isinstance(event, AttemptStarted) and event.kind is Kind.DISPATCHED
            }
            for claim in stores.claims.of_execution(each.id):
                if not claim.owner:
                    continue  # a light attempt was told to stop: nobody claims those
                assert claim.result is not None
                assert (claim.attempt.task_run_id, claim.attempt.number) in ran
        told["kv"] = [(entry.key, entry.value) for entry in stores.kv.list("crash")]
        effects = Counter(
            (match[1], int(match[2]))
            for line in self.effects.read_text().splitlines()
            if (match := _OWN_FOLDER.search(line))
        )
        assert set(effects.values()) == {1}, "an attempt ran twice"
        assert effects.keys() <= ran
        scripts = {run_id for run_id, _ in effects}
        assert effects.keys() >= {each for each in ran - lost if each[0] in scripts}
        told["scripts that counted"] = len(effects.keys() - lost)
        return told

    def _files(self, runtime: LocalRuntime, view: dict[str, Any]) -> dict[str, bytes]:
        storage, names = runtime.stores.storage, names_of(view)
        uris = set(re.findall(r"kestra:///[^\"\\ ]+", json.dumps([view["outputs"], view["taskRunList"]])))
        contents = {}
        for uri in uris:
            with storage.open(uri) as file:
                contents[renamed(uri, names)] = file.read()
        return contents


def until(condition: Callable[[], bool]) -> None:
    """Look again and again, within bounds, for what another thread or process does."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # polls


def lives(pid: int) -> bool:
    """Return whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environment_of(pid: int) -> set[bytes]:
    """Return a process's environment; none of one that is gone, or is a zombie."""
    with suppress(OSError):
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return set()
