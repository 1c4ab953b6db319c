"""The processes that run functions, to be ended as AWS, or an error, would end them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aws.ministack import PLAYED, Emulator


def kill(emulator: Emulator, function: str) -> int:
    """Kill every process that runs *function*, and return how many there were."""
    found = list(_processes(emulator, function))
    for process in found:
        os.kill(process, signal.SIGKILL)
    return len(found)


def peaks(emulator: Emulator) -> dict[int, int]:
    """Return the most memory, in bytes, that each process of a function has had."""
    found = {}
    for process, variables in _children(emulator):
        if any(variable.startswith(b"AWS_LAMBDA_FUNCTION_NAME=") for variable in variables):
            with suppress(OSError):
                status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
                found[process] = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return found


def played(emulator: Emulator, command: str) -> list[int]:
    """Return the processes of containers, and what they started, whose command line has *command* in it."""
    _skip_without_proc()
    found, mark = [], f"{PLAYED}={emulator.process}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command in line and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _processes(emulator: Emulator, function: str) -> Iterator[int]:
    for process, variables in _children(emulator):
        if f"AWS_LAMBDA_FUNCTION_NAME={function}".encode() in variables:
            yield process


def _children(emulator: Emulator) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the emulator's processes, and their variables."""
    _skip_without_proc()
    for child in _children_of(emulator.process):
        with suppress(OSError):
            yield child, Path(f"/proc/{child}/environ").read_bytes().split(b"\0")


def _children_of(process: int) -> list[int]:
    """Return the children of all threads. When a thread ends meanwhile, its children are another's: look again."""
    for _ in range(100):
        with suppress(FileNotFoundError, ProcessLookupError):
            lists = [
                (task / "children").read_text(encoding="ascii") for task in Path(f"/proc/{process}/task").iterdir()
            ]
            return [int(child) for children in lists for child in children.split()]
    pytest.fail(f"the children of process {process} cannot be told: is it gone?")


def _skip_without_proc() -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("the processes of functions are found in /proc, which is not there")
