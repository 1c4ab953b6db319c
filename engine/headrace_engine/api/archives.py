"""Zip archives that people send and get: none leads out of where it is unpacked, and none grows without end."""

from __future__ import annotations

import io
import lzma
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from headrace_engine.api.downloads import sent
from headrace_engine.api.http import ApiError, Part, Request, Response, Stream
from headrace_engine.model.frozen import dataclass

_MOST_FILES = 10_000
LARGEST = 1024 * 1024 * 1024
"""Bytes of all files of an archive, unpacked."""
_CHUNK = 256 * 1024
_IN_MEMORY = 8 * 1024 * 1024
_DATE = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression of which Python knows nothing
    RuntimeError,
    OSError,
)
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins; the second one is an empty one."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that may be unpacked: every name in it is a path that stays inside."""

    _zip: zipfile.ZipFile
    _files: tuple[zipfile.ZipInfo, ...]

    def names(self) -> tuple[str, ...]:
        """Return the paths of its files, in its order."""
        return tuple(each.filename for each in self._files)

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        """Yield path and content of each file; opening and reading one raises ApiError 422 when that cannot be."""
        for each in self._files:
            with _reading(each.filename):
                file = self._zip.open(each)
            with file:
                yield each.filename, io.BufferedReader(_Unpacked(file, each.filename), _CHUNK)

    def verify(self) -> None:
        """Read all files once. Raises ApiError 422 when one cannot be read."""
        for _, file in self.files():
            while file.read(_CHUNK):
                pass


class _Unpacked(io.RawIOBase):
    """What a file of an archive holds."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _reading(self._name):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as why:
        raise _refused(f"`{name[:100]}` cannot be unpacked: {why}") from None


def is_archive(part: Part) -> bool:
    """Return whether a part of a body is an archive, by what it holds."""
    if part.path is not None:
        with part.path.open("rb") as file:
            return file.read(4) in MAGIC
    return part.held[:4] in MAGIC


def opened(file: BinaryIO | Path, *, largest: int = LARGEST) -> Archive:
    """Return an archive. Raises ApiError 422 for what is none, or holds what must not be unpacked: nothing of it is."""
    try:
        found = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise _refused(f"it cannot be read: {error}") from None
    infos = [each for each in found.infolist() if not each.is_dir()]
    if len(infos) > _MOST_FILES:
        raise _refused(f"it holds more than {_MOST_FILES} files")
    if sum(each.file_size for each in infos) > largest:
        raise _refused(f"unpacked it is larger than {largest} bytes")
    for each in infos:
        if not is_inside(each.filename):
            raise _refused(f"the name `{each.filename[:100]}` leads out of it")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise _refused(f"`{each.filename[:100]}` is a link")
        if each.flag_bits & 1:
            raise _refused(f"`{each.filename[:100]}` is encrypted")
    return Archive(found, tuple(infos))


def is_inside(path: str) -> bool:
    """Return whether a relative path stays where it begins, on every platform."""
    return (
        not any(part in ("", ".", "..") for part in path.split("/"))
        and not any(character in path for character in "\\\0:\r\n")
        and path.isprintable()
    )


def zipped(files: Iterable[tuple[str, IO[bytes]]], name: str, request: Request) -> Response | Stream:
    """Return an archive of *files* as an answer; each is closed."""
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # closed by who reads it to its end
    with zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files:
            with content, archive.open(zipfile.ZipInfo(path, _DATE), "w", force_zip64=True) as entry:
                while chunk := content.read(_CHUNK):
                    entry.write(chunk)
    spool.seek(0)
    return sent(request, spool, name, "application/zip")  # type: ignore[arg-type]  # it is a binary file


def _refused(why: str) -> ApiError:
    return ApiError(422, f"Illegal argument: the archive is refused: {why}", [(why, "fileUpload")])
