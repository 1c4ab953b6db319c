"""The `script` function's process as it is on Lambda: a user without rights, and that user's processes to itself.

Run by test_isolation.py as a program: ``isolated.py <uid> <folder>``. It reads a list of runs from standard input, each
a namespace and a shell script, has the real handler run them one after the other, and prints what came of each. A run
with ``"open": true`` comes before the process shuts itself: what an attack finds where nothing stops it.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from headrace_engine.adapters.memory.claims import MemoryClaims
from headrace_engine.core.codec import decode_result
from headrace_engine.jobs import encode_job
from headrace_engine.language import Registry
from headrace_engine.ports import AttemptId, Job
from headrace_functions import script
from headrace_functions.environment import Environment
from headrace_functions.script import Sandbox, handle, leave_to_people, shut

START = datetime(2026, 1, 1, tzinfo=UTC)
SHELL = "io.kestra.plugin.scripts.shell.Commands"
_PR_SET_DUMPABLE = 4


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """Return the instant of the test."""
        return START


class Queue:
    """Takes what is sent to the mailbox."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        """Take note of a message."""
        self.sent.append(message)
        return {"MessageId": "1"}


class Context:
    """What Lambda hands the handler."""

    def __init__(self, request_id: str) -> None:
        self.aws_request_id = request_id

    def get_remaining_time_in_millis(self) -> int:
        """Return a quarter of an hour."""
        return int(timedelta(minutes=15) / timedelta(milliseconds=1))


class Platform:
    """Answers what an attempt asks the API for, and keeps its log lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        if request.url.path.endswith("/logs"):
            self.lines += [line["message"] for line in json.loads(request.content)["lines"]]
        return httpx.Response(200, json={})


def become(user: int) -> None:
    """Be *user*, and as open to that user's other processes as one that user has started."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    if os.getuid() != user or user == 0:
        raise SystemExit("this must not run with rights: it ends every process it may signal")
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def run(sandbox: Sandbox, claims: MemoryClaims, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
    """Have the handler run a script; return how it ended and what it logged."""
    attempt = AttemptId("execution", f"run{number}", 0)
    job = Job(attempt, SHELL, "task", wanted["namespace"], "flow", 1, START, {"commands": [wanted["script"]]})
    event = {
        "attempt": {"execution": attempt.execution_id, "taskRun": attempt.task_run_id, "number": 0},
        "job": base64.b64encode(encode_job(job)).decode(),
        "token": f"1.token-of-{number}",
    }
    platform, left = Platform(), []
    sandbox.transport = httpx.MockTransport(platform)
    handle(sandbox, event, Context(f"request-{number}"), leave=left.append)
    claim = claims.get(attempt)
    result = decode_result(claim.result) if claim is not None and claim.result is not None else None
    return {"state": result.state.value if result is not None else None, "lines": platform.lines, "left": left}


def others(user: int) -> list[int]:
    """Return the processes of *user* that live, but this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == user and int(entry.name) != os.getpid():
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] if state not in "ZX" else []
        except OSError:
            continue
    return found


def files(folder: Path) -> list[str]:
    """Return what lies in *folder*."""
    return sorted(path.name for path in folder.iterdir())


def main() -> None:
    """Do what the module says."""
    user, folder = int(sys.argv[1]), Path(sys.argv[2])
    runs = json.loads(sys.stdin.read())
    registry, claims, queue = Registry.load(), MemoryClaims(), Queue()
    registry.task(SHELL)  # what is imported later could not be read by the user
    environment = Environment.of(os.environ)
    become(user)
    sandbox = Sandbox(environment, claims, queue, registry, Clock(), folder)  # type: ignore[arg-type]  # memory's claims
    came = []
    shut_already = False
    for number, wanted in enumerate(runs):
        if not wanted.get("open") and not shut_already:
            shut()
            leave_to_people(os.environ)
            shut_already = True
        came.append(run(sandbox, claims, number, wanted) | {"processes": others(user), "files": files(folder)})
    sys.stdout.write(json.dumps({"on_lambda": script._ON_LAMBDA, "runs": came}) + "\n")


if __name__ == "__main__":
    main()
