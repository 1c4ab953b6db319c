"""The parts of a ForEachItem: how they are named, and the list of their URIs, of which nobody holds more than a line.

The parts of one file lie in one folder under numbers of one width, so that the URI of any of them follows from that of
the first. A list that somebody else wrote (a test's fixture) is read through instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

_WIDTH = 8
_FIRST = "0" * _WIDTH


def part_name(index: int, suffix: str) -> str:
    """Return the name of the part's file."""
    return f"{index:0{_WIDTH}}{suffix}"


class PartList:
    """The URIs that a file lists, one a line."""

    def __init__(self, size: int, open_list: Callable[[], BinaryIO]) -> None:
        """Take the file's size, and what opens it."""
        self._open = open_list
        with open_list() as stream:
            line = stream.readline()
        first = line.decode().strip()
        self._folder, _, name = first.rpartition("/")
        self._suffix = name[_WIDTH:]
        self._is_ours = name.startswith(_FIRST) and size % len(line) == 0
        self.length = size // len(line) if self._is_ours else self._count()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> str:
        """Return the URI of a part."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        if self._is_ours:
            return f"{self._folder}/{part_name(index, self._suffix)}"
        with self._open() as stream:
            lines = (line for line in stream if line.strip())
            return next(line for number, line in enumerate(lines) if number == index).decode().strip()

    def _count(self) -> int:
        with self._open() as stream:
            return sum(1 for line in stream if line.strip())
