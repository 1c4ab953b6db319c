"""Internal storage in a folder.

Files lie below ``files/`` by the path of their URI. A file is written whole below ``partial/`` first and then
renamed into its place, so a reader or a crash never meets half of one; what a crash left in ``partial/`` is
removed when the folder is opened again (the data folder's lock sees to it that nobody else writes there).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat as mode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from headrace_engine.adapters.paths import SCHEME, file_parts, folder_parts
from headrace_engine.ports import NotFoundError, PortError, StoredFile

_CHUNK = 1024 * 1024

_RACES = 100
"""How often a folder may vanish, removed as empty by a delete in another thread, before a put gives up."""


class FolderStorage:
    """`Storage` below *folder*, which is created where it is missing.

    No path leads out: besides what no URI may hold (`headrace_engine.adapters.paths`), a path through a
    symbolic link raises ValueError. With *durable* false, nothing waits for the disk (temporary folders).
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._durable = durable
        with _port_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            self._root = folder.resolve() / "files"
            self._partial = folder.resolve() / "partial"
            shutil.rmtree(self._partial, ignore_errors=True)
            self._root.mkdir(exist_ok=True)
            self._partial.mkdir(exist_ok=True)

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """See `Storage.put`. Durable when it returns."""
        target = self._path(uri)
        partial = self._partial / uuid4().hex
        try:
            with _port_errors(uri):
                file = partial.open("xb")
            with file:
                if isinstance(content, bytes | bytearray | memoryview):
                    with _port_errors(uri):
                        file.write(content)
                else:
                    self._copy(uri, content, file)
                with _port_errors(uri):
                    file.flush()
                    if self._durable:
                        os.fsync(file.fileno())
            self._rename(uri, partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def open(self, uri: str) -> BinaryIO:
        """See `Storage.open`."""
        path = self._path(uri)
        if not path.is_file():
            raise NotFoundError(f"{uri} is not in internal storage")
        with _port_errors(uri):
            return path.open("rb")

    def stat(self, uri: str) -> StoredFile | None:
        """See `Storage.stat`."""
        return _stored(uri, self._path(uri))

    def list(self, prefix: str) -> Sequence[StoredFile]:
        """See `Storage.list`."""
        parts = folder_parts(prefix)
        folder = self._path(SCHEME + "/".join(parts)) if parts else self._root
        found = []
        with _port_errors(prefix):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = Path(parent, name)
                    file = _stored(SCHEME + path.relative_to(self._root).as_posix(), path)
                    if file is not None:
                        found.append(file)
        return sorted(found, key=lambda file: file.uri)

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        """See `Storage.children`."""
        parts = folder_parts(folder)
        path = self._path(SCHEME + "/".join(parts)) if parts else self._root
        files, folders = [], []
        with _port_errors(folder):
            try:
                entries = sorted(os.scandir(path), key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                return [], []
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif file := _stored(SCHEME + "/".join((*parts, entry.name)), Path(entry.path)):
                    files.append(file)
        return files, folders

    def delete(self, uri: str) -> bool:
        """See `Storage.delete`. Folders left empty go too."""
        path = self._path(uri)
        if not path.is_file():
            return False
        with _port_errors(uri):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            self._sync(path.parent)
            self._prune(path.parent)
        return True

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`. Durable when it returns."""
        old, new = self._path(source), self._path(target)
        if not old.is_file():
            raise NotFoundError(f"{source} is not in internal storage")
        if old == new:
            return
        self._rename(source, old, new)
        with _port_errors(source):
            self._sync(old.parent)
            self._prune(old.parent)

    def _path(self, uri: str) -> Path:
        """Return where the file of *uri* lies. Raises ValueError when that is not surely below the root."""
        path = self._root.joinpath(*file_parts(uri))
        try:
            real = os.path.realpath(path)
        except ValueError as error:  # text that no file name can be
            raise ValueError(f"{uri!r} is no URI of internal storage: {error}") from error
        if real != str(path):
            raise ValueError(f"{uri!r} leads through a symbolic link")
        return path

    def _copy(self, uri: str, content: BinaryIO, file: BinaryIO) -> None:
        """Copy by chunks. What reading raises is the stream's own and passes; what writing raises is ours."""
        while chunk := content.read(_CHUNK):
            with _port_errors(uri):
                file.write(chunk)

    def _rename(self, uri: str, source: Path, target: Path) -> None:
        with _port_errors(uri):
            for _ in range(_RACES):
                self._make(target.parent)
                try:
                    source.replace(target)
                    break
                except FileNotFoundError:
                    if not source.exists():
                        raise
            else:
                raise PortError(f"{uri}: its folder vanished {_RACES} times while the file was put there")
            self._sync(target.parent)

    def _make(self, folder: Path) -> None:
        """Create *folder* and what is missing above it, each durable in the one above."""
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # somebody else was there first, or pruned
                each.mkdir()
            self._sync(each.parent)

    def _sync(self, folder: Path) -> None:
        """Make what was created, renamed or removed in *folder* durable; one that is gone was pruned by another."""
        if not self._durable:
            return
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _prune(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or gone already
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


def _stored(uri: str, path: Path) -> StoredFile | None:
    with _port_errors(uri):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    if not mode.S_ISREG(found.st_mode):
        return None
    return StoredFile(uri, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


@contextlib.contextmanager
def _port_errors(uri: str) -> Iterator[None]:
    """Let errors of the file system leave as the ports' own."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{uri}: {error}") from error
    except OSError as error:
        raise PortError(f"{uri}: {error}") from error
