"""Reading files of any size piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

CHUNK = 256 * 1024


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
    """Yield what items() yields, the last first, reading the file from its end."""
    with path.open("rb") as stream:
        position = stream.seek(0, 2)
        rest = b""
        first = True
        while position > 0:
            size = min(CHUNK, position)
            position -= size
            stream.seek(position)
            rest, *complete = (stream.read(size) + rest).split(separator)
            for item in reversed(complete):
                if item or not first:
                    yield item
                first = False
        if rest or not first:
            yield rest


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
