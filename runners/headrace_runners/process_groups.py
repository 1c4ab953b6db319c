"""Processes that outlived the engine that started them: telling them from strangers, and ending them.

A process id alone says little: after a crash the number may belong to somebody else. The start time of the
process (and the boot it belongs to) makes it unique; a process that was started by another one of the
group carries the same identity in its environment, so that it is found when its leader is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

IDENTITY_VARIABLE = "HEADRACE_PROCESS"
"""The environment variable that holds the identity of the group's leader."""

_PROC = Path("/proc")
_STARTED = 22 - 3  # fields of /proc/<pid>/stat after the command's name, which is the second and may contain anything


def process_identity(pid: int) -> str:
    """Return what tells process *pid* from every other that had or will have this number; "" when there is none."""
    fields = _stat(pid)
    if fields is not None:
        # With the number: of those started in the same clock tick (10 ms) it tells which.
        return f"{_boot()}-{pid}-{fields[_STARTED]}"
    if _PROC.joinpath("self").exists():
        return ""
    listed = subprocess.run(  # noqa: S603 - fixed program, a number as argument
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "-".join(listed.stdout.split())


def end_group(process_group: int, process_started: str, grace: timedelta = timedelta(seconds=2)) -> bool:
    """End the group that was recorded with its leader's identity, if any of it still lives; True when it did.

    SIGTERM, after *grace* SIGKILL. A process that is not provably of the group is never touched.
    """
    if process_group <= 1 or not process_started or not _living(process_group, process_started):
        return False
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, timedelta(seconds=10))):
        _send(process_group, process_started, number)
        deadline = time.monotonic() + patience.total_seconds()
        while time.monotonic() < deadline:
            if not _living(process_group, process_started):
                return True
            time.sleep(0.01)
    return True


def _send(process_group: int, process_started: str, number: signal.Signals) -> None:
    for pid in _living(process_group, process_started):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it ended by itself


def _living(process_group: int, process_started: str) -> list[int]:
    """Return the processes of the group, those included that left it but carry its identity."""
    if not _PROC.joinpath("self").exists():
        return [process_group] if process_identity(process_group) == process_started else []
    leads = process_identity(process_group) == process_started
    marker = f"{IDENTITY_VARIABLE}={process_started}".encode()
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        fields = _stat(pid)
        if fields is None or fields[0] in ("Z", "X") or pid == os.getpid():
            continue
        in_group = leads and fields[2] == str(process_group)
        if in_group or marker in _environment(entry):
            found.append(pid)
    return found


def _environment(entry: Path) -> list[bytes]:
    try:
        return entry.joinpath("environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return []


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third on (state, parent, group, …)."""
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot() -> str:
    try:
        return _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "boot"
