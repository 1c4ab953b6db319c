"""Cutting a file into parts between its lines, a line in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_tasks.streams import IterableReader, items

Lines = Iterator[bytes]
Name = Callable[[int], str]
"""Returns the name of a part's file."""
_SIZE = re.compile(r"(\d+)\s*([KMG]?)B?", re.IGNORECASE)


def byte_size(text: str) -> int:
    """Return the bytes that `500`, `10KB` or `1 GB` means."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise TaskFailure(f"`{text}` is not a size such as 500, 10KB, 100MB or 1GB")
    return int(match[1]) << 10 * " KMG".index(match[2].upper() or " ")


def lines_of(stream: BinaryIO, separator: str) -> Lines:
    """Yield the lines of *stream*, each with the separator at its end."""
    return (item + separator.encode() for item in items(stream, separator.encode()))


def cut(
    context: RunContext, lines: Lines, name: Name, *, rows: int | None = None, limit: int | None = None
) -> Iterator[str]:
    """Store parts of *limit* bytes at most, or else of *rows* lines, and yield their URIs."""
    held = [line for line in [next(lines, None)] if line is not None]

    def part() -> Lines:
        size = count = 0
        while held:
            line = held.pop()
            if count and (size + len(line) > limit if limit is not None else count == rows):
                held.append(line)
                return
            size, count = size + len(line), count + 1
            yield line
            following = next(lines, None)
            if following is not None:
                held.append(following)

    number = 0
    while held:
        yield context.files.put(name(number), cast("BinaryIO", IterableReader(part())))
        number += 1


def deal(context: RunContext, lines: Lines, number: int, name: Name) -> Iterator[str]:
    """Store *number* parts, the lines dealt out in turn, and yield the URIs of those that got some."""
    paths = [context.working_dir / f".headrace-part-{index}" for index in range(number)]
    with ExitStack() as stack:
        streams = [stack.enter_context(path.open("wb")) for path in paths]
        for index, line in enumerate(lines):
            streams[index % number].write(line)
    for index, path in enumerate(path for path in paths if path.stat().st_size):
        yield context.files.put(name(index), path)
