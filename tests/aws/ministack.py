"""An emulated AWS on a free loopback port, which takes requests of many threads and carries out each as a whole.

It has a .venv of its own (`make test-emulator` makes it), runs for as long as the tests that ask for it, and keeps
nothing. A twelve-digit access key is an account: each test has one to itself.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import cryptography
import pytest
from botocore.config import Config

from aws.resources import REGION
from example_flows import CHECKOUT

PYTHON = CHECKOUT / ".venv-emulator" / "bin" / "python"
_SERVER = Path(__file__).with_name("patched_ministack.py")
PLAYED = "PLAYED_BY"
"""The variable of processes that play containers: which emulator's they are (`played_containers`)."""
_START_SECONDS = 30
_accounts = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator."""

    endpoint: str
    process: int
    """Its id; the functions' processes are children of it."""

    @property
    def own_account(self) -> Account:
        """The account that requests without a signature count to: a deployed API must be there."""
        return Account(self.endpoint, "0" * 12)

    def account(self) -> Account:
        """Return an account nobody used yet."""
        return Account(self.endpoint, f"{next(_accounts):012d}")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the emulator."""

    endpoint: str
    id: str

    def client(self, service: str) -> Any:
        """Return a client of *service* with as many connections as a race has contenders."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.id,
            aws_secret_access_key="emulator",
            config=Config(max_pool_connections=32, s3={"addressing_style": "path"}),
        )


@contextmanager
def running(folder: Path, *, iam: bool = False) -> Iterator[Emulator]:
    """Yield an emulator that writes its log to *folder*, and enforces IAM if asked to; skips when it is not installed."""
    if not PYTHON.exists():
        pytest.skip("the emulated AWS is not installed: `make test-emulator` does it")
    port = _free_port()
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "AUTH": "true" if iam else "false",
        "TMPDIR": str(temporary),
        "HEADRACE_CRYPTOGRAPHY": str(Path(cryptography.__file__).parents[1]),
    }
    log = folder / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            # -P: the folder of the script has a module of the same name.
            [str(PYTHON), "-P", str(_SERVER)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _await(process, f"{endpoint}/_ministack/health", log)
        yield Emulator(endpoint, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_containers(process.pid)
        shutil.rmtree(temporary, ignore_errors=True)  # the functions' code


def _end_containers(emulator: int) -> None:
    """End what is left of the containers that an emulator played."""
    mark = f"{PLAYED}={emulator}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return when the emulator answers."""
    for _ in range(_START_SECONDS * 20):
        if process.poll() is not None:
            pytest.fail(f"the emulated AWS ended at once: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(address, timeout=1):  # noqa: S310  # the address above
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # polls
    pytest.fail(f"the emulated AWS did not answer in {_START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}")
