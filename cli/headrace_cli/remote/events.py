"""Reads server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its name, its id, and the JSON that it brings."""

    name: str
    id: str
    data: Any


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of an answer; one that is broken off is none.

    A line ends where the protocol says so, and nowhere else: JSON may hold what other readers take for the end of one.
    """
    fields: dict[str, str] = {}
    for row in _rows(chunks):
        if row:
            name, _, value = row.partition(b":")
            fields[name.decode()] = value.removeprefix(b" ").decode()
            continue
        if "data" in fields:
            yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
        fields = {}


def _rows(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines, without their ends, as soon as they are whole."""
    pieces: list[bytes] = []
    for chunk in chunks:
        *rows, rest = chunk.split(b"\n")
        for row in rows:
            yield b"".join([*pieces, row]).removesuffix(b"\r")
            pieces = []
        pieces.append(rest)
