"""One engine per data folder, between real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace_engine.adapters.local.lock import DataFolderLock, DataFolderLockedError, Holder, holder
from headrace_engine.ports import PortError

HOLDER = """
import subprocess, sys
from pathlib import Path
from headrace_engine.adapters.local.lock import DataFolderLock

lock = DataFolderLock(Path(sys.argv[1]), address="http://localhost:8080")
if sys.argv[2:] == ["with-child"]:
    # Lives until its own standard input, ours, ends.
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock on *folder*, until it is killed or its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process


def test_a_folder_is_locked_once_also_within_a_process(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "data"), pytest.raises(DataFolderLockedError):
        DataFolderLock(tmp_path / "data")


def test_a_released_folder_is_free(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path)
    lock.release()
    lock.release()
    DataFolderLock(tmp_path).release()


def test_a_refusal_names_folder_process_and_address(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        with pytest.raises(DataFolderLockedError) as refusal:
            DataFolderLock(tmp_path)
        assert (refusal.value.folder, refusal.value.pid, refusal.value.address) == (
            tmp_path,
            process.pid,
            "http://localhost:8080",
        )
        assert str(refusal.value) == (
            f"The data folder {tmp_path} is in use by process {process.pid}, which serves http://localhost:8080"
        )
        assert holder(tmp_path) == Holder(process.pid, "http://localhost:8080")


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder(tmp_path) is None
        DataFolderLock(tmp_path).release()


def test_a_process_that_the_engine_started_does_not_hold_its_lock(tmp_path: Path) -> None:
    with held(tmp_path, "with-child") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        DataFolderLock(tmp_path).release()


def test_the_address_may_come_later(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path, address="http://127.0.0.1:8080/a/rather/long/path") as lock:
        lock.set_address("http://localhost:1")
        found = holder(tmp_path)
        assert found is not None
        assert found.address == "http://localhost:1"
        lock.set_address(None)
        assert holder(tmp_path) == Holder(found.pid, None)


def test_nobody_holds_a_folder_that_is_not_there_or_was_left(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") is None
    DataFolderLock(tmp_path).release()
    assert holder(tmp_path) is None


def test_a_holder_that_has_not_said_who_it_is_still_holds(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path):
        (tmp_path / "engine.lock").write_text("")
        with pytest.raises(DataFolderLockedError, match="another process"):
            DataFolderLock(tmp_path)


def test_a_released_lock_takes_no_address(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path)
    lock.release()
    with pytest.raises(PortError, match="not locked"):
        lock.set_address("http://localhost:1")


def test_a_folder_that_cannot_be_made_is_a_port_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError):
        DataFolderLock(tmp_path / "file" / "data")


def test_a_process_about_to_start_does_not_hold_the_folder_of_a_dead_engine(tmp_path: Path) -> None:
    """Between fork and exec a script's process holds all its engine held; kill -9 of the engine right then."""
    engine = """
import os, sys, time
from pathlib import Path
from headrace_engine.adapters.local.lock import DataFolderLock

lock = DataFolderLock(Path(sys.argv[1]))
if os.fork() == 0:
    sys.stdin.read(1)  # not yet replaced by the script
    time.sleep(0.1)
    os._exit(0)
print("ready", flush=True)
sys.stdin.close()
os._exit(0)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", engine, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.wait() == 0
    with pytest.raises(DataFolderLockedError):
        DataFolderLock(tmp_path, patience=0.0)
    process.stdin.close()
    DataFolderLock(tmp_path).release()
    process.stdout.close()
