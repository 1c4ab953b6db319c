"""Reading files of any size piece by piece."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

CHUNK = 256 * 1024
_START = struct.Struct("<Q")


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what *stream* holds, CHUNK bytes at a time."""
    while chunk := stream.read(CHUNK):
        yield chunk


def copy(stream: BinaryIO, target: Path) -> None:
    """Write what *stream* holds to the file *target*."""
    with target.open("wb") as output:
        for chunk in chunks(stream):
            output.write(chunk)


def items(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """Yield what stands between the separators, without them; nothing for what follows the last one if it is empty."""
    rest = b""
    for chunk in chunks(stream):
        *complete, rest = (rest + chunk).split(separator)
        yield from complete
    if rest:
        yield rest


def items_backwards(path: Path, separator: bytes) -> Iterator[bytes]:
    """Yield what items() yields, the last first.

    A first pass notes on disk where the items begin: read from the end, ``:::`` would not be cut where ``::`` cuts it.
    """
    with path.open("rb") as stream, tempfile.TemporaryFile() as starts:
        position = count = 0
        for item in items(stream, separator):
            starts.write(_START.pack(position))
            count += 1
            position += len(item) + len(separator)
        end = position - len(separator)
        while count:
            block = min(count, CHUNK)
            count -= block
            starts.seek(count * _START.size)
            for (start,) in reversed(list(_START.iter_unpack(starts.read(block * _START.size)))):
                stream.seek(start)
                yield stream.read(end - start)
                end = start - len(separator)


class IterableReader(RawIOBase):
    """A readable stream over byte strings that come one after the other."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # the base names a private type
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
