"""A folder as a stream of tar, and back: nothing but a chunk of a file is ever in memory."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

_CHUNK = 256 * 1024
_OPEN_FOLDER = 0o777
_OPEN_FILE = 0o666


def pack(folder: Path, name: str) -> Iterator[bytes]:
    """Yield a tar archive of *folder*, which is called *name* in it.

    Whoever the code runs as may read, write and add files there.
    """
    yield _folder(name)
    for root, folders, files in os.walk(folder):
        folders.sort()
        inside = PurePosixPath(name, Path(root).relative_to(folder).as_posix())
        for each in [each for each in folders if Path(root, each).is_symlink()]:
            files.append(each)
            folders.remove(each)
        for each in folders:
            yield _folder(str(inside / each))
        for each in sorted(files):
            yield from _packed(Path(root, each), str(inside / each))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _folder(name: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, _OPEN_FOLDER
    return info.tobuf(tarfile.PAX_FORMAT)


def _packed(path: Path, name: str) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    if path.is_symlink():
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
        yield info.tobuf(tarfile.PAX_FORMAT)
        return
    try:
        stream = path.open("rb")
    except OSError:  # gone meanwhile, or not a file
        return
    with stream:
        status = os.fstat(stream.fileno())
        info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), status.st_mode & 0o777 | _OPEN_FILE
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size
        while left:
            # A file that shrinks while it is read is filled up: what follows must lie where its length says.
            chunk = stream.read(min(_CHUNK, left)) or bytes(min(_CHUNK, left))
            left -= len(chunk)
            yield chunk
        yield bytes(-info.size % tarfile.BLOCKSIZE)


def unpack(chunks: Iterable[bytes], folder: Path) -> None:
    """Make *folder* hold what the archive holds below its first folder, and nothing else.

    Only files, folders, and links that stay inside are taken; no name leads out. Raises tarfile.TarError for what is
    no archive.
    """
    seen: set[Path] = set()
    with tarfile.open(fileobj=io.BufferedReader(_Reader(chunks), _CHUNK), mode="r|") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts[1:]
            if not parts or ".." in parts or PurePosixPath(member.name).is_absolute():
                continue
            target = folder.joinpath(*parts)
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                continue
            if _taken(archive, member, target, folder):
                seen.update(folder.joinpath(*parts[: index + 1]) for index in range(len(parts)))
    _remove_others(folder, seen)


def _taken(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, folder: Path) -> bool:
    if member.isdir():
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir(parents=True)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        if not Path(target.parent, member.linkname).resolve().is_relative_to(folder.resolve()):
            return False
        _remove(target)
        target.symlink_to(member.linkname)
        return True
    if member.islnk():
        return _linked(member, target, folder)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        return False
    _remove(target)
    with target.open("xb") as output:
        shutil.copyfileobj(content, output, _CHUNK)
    target.chmod(member.mode & 0o777 | 0o600)
    os.utime(target, (member.mtime, member.mtime))
    return True


def _linked(member: tarfile.TarInfo, target: Path, folder: Path) -> bool:
    """Make a second name of a file that came before in the archive."""
    parts = PurePosixPath(member.linkname).parts[1:]
    first = folder.joinpath(*parts)
    if not parts or ".." in parts or first.is_symlink() or not first.is_file():
        return False
    if not first.resolve().is_relative_to(folder.resolve()):
        return False
    if first != target:
        _remove(target)
        os.link(first, target)
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_others(folder: Path, seen: set[Path]) -> None:
    for root, folders, files in os.walk(folder, topdown=False):
        for name in [*files, *folders]:
            path = Path(root, name)
            if path not in seen:
                with suppress(FileNotFoundError):
                    _remove(path)


class _Reader(io.RawIOBase):
    """Chunks as a file that is read from beginning to end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._held = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, less at the end of a chunk; 0 when there is nothing more."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = memoryview(chunk)
        length = min(len(buffer), len(self._held))
        buffer[:length] = self._held[:length]
        self._held = self._held[length:]
        return length
