"""One engine per data folder: an operating system's lock on ``engine.lock``, which also says who holds it.

The lock belongs to the open file, so it ends with the process however that ends. The file stays; what it says
counts only while it is locked.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import PortError

_NAME = "engine.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a data folder; pid is None in the moment between its locking and its writing so."""

    pid: int | None
    address: str | None = None
    """Where its server answers, when it is one."""


class DataFolderLockedError(PortError):
    """Another engine runs on the data folder."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        who = "another process" if holder.pid is None else f"process {holder.pid}"
        where = "" if holder.address is None else f", which serves {holder.address}"
        super().__init__(f"The data folder {folder} is in use by {who}{where}")
        self.folder = folder
        self.holder = holder
        self.pid = holder.pid
        self.address = holder.address


class DataFolderLock:
    """The lock on *folder*, held from construction to `release` or the end of the process.

    The folder is created where it is missing. Raises DataFolderLockedError, at once, when another engine
    (in this process or any other) holds it. One that is dead may seem to, for a moment: the process of a script that
    it was about to start has its open files until it becomes the script. That is waited for, *patience* seconds.
    """

    def __init__(self, folder: Path, address: str | None = None, *, patience: float = 5.0) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Not inherited by the processes of scripts, which may outlive the engine.
            self._descriptor: int | None = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PortError(f"{folder}: {error}") from error
        try:
            _lock_when_free(self._descriptor, patience)
            self.set_address(address)
        except BlockingIOError:
            found = _read(self._descriptor)
            self._close()
            raise DataFolderLockedError(folder, found) from None
        except OSError as error:
            self._close()
            raise PortError(f"{folder}: {error}") from error

    def set_address(self, address: str | None) -> None:
        """Let others read from now on that this engine's server answers at *address*."""
        if self._descriptor is None:
            raise PortError(f"The data folder {self.folder} is not locked any more")
        text = json.dumps({"pid": os.getpid(), "address": address}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Let the folder go; releasing it again does nothing."""
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(folder: Path) -> Holder | None:
    """Return who holds the lock on *folder*; None when nobody does. Only a hint: it may change at any time."""
    try:
        descriptor = os.open(folder / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PortError(f"{folder}: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock_when_free(descriptor: int, patience: float) -> None:
    """Take the lock, waiting for no holder that lives. Raises BlockingIOError."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _lock(descriptor)
        except BlockingIOError:
            pid = _read(descriptor).pid
            if pid is None or _lives(pid) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _lock(descriptor: int) -> None:
    """Take the lock, or raise BlockingIOError when an engine holds it."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            # Raises when an engine holds it; when it was only `holder` looking (shared, for a moment), try again.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _read(descriptor: int) -> Holder:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(found["pid"], found["address"])
    except (ValueError, KeyError, TypeError):
        return Holder(None)
