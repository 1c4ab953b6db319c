"""The processes that run functions, to be ended as AWS, or an error, would end them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aws.ministack import Emulator


def kill(emulator: Emulator, function: str) -> int:
    """Kill every process that runs *function*, and return how many there were."""
    found = list(_processes(emulator, function))
    for process in found:
        os.kill(process, signal.SIGKILL)
    return len(found)


def _processes(emulator: Emulator, function: str) -> Iterator[int]:
    if not Path("/proc/self/environ").exists():
        pytest.skip("the processes of functions are found in /proc, which is not there")
    children = Path(f"/proc/{emulator.process}/task")
    for task in children.iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            with suppress(OSError):
                variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                if f"AWS_LAMBDA_FUNCTION_NAME={function}".encode() in variables:
                    yield int(child)
