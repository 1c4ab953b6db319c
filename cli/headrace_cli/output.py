"""Where lines go: a stream, what it can show, and what happens when nobody reads it any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from headrace_cli.styled import Line, ansi, plain
from headrace_cli.symbols import Symbols, for_encoding


class Output:
    """A stream to write lines to."""

    def __init__(self, stream: TextIO, *, is_terminal: bool, has_color: bool, symbols: Symbols) -> None:
        self.stream = stream
        self.is_terminal = is_terminal
        """True where lines can be taken back and drawn again."""
        self.has_color = has_color
        self.symbols = symbols
        self._closed = False

    def write(self, lines: Iterable[Line]) -> None:
        """Write the lines. Once the reader is gone (``| head``) nothing is written any more, silently."""
        paint = ansi if self.has_color else plain
        self.write_text("".join(f"{paint(styled).rstrip()}\n" for styled in lines))

    def write_text(self, text: str) -> None:
        """Write *text* as it is."""
        if self._closed or not text:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            self._closed = True
            _to_nowhere(self.stream)


def standard_output(*, color: bool = True, environment: Mapping[str, str] = os.environ) -> Output:
    """Return the process's standard output."""
    return output_on(sys.stdout, color=color, environment=environment)


def standard_error(*, color: bool = True, environment: Mapping[str, str] = os.environ) -> Output:
    """Return the process's standard error."""
    return output_on(sys.stderr, color=color, environment=environment)


def output_on(stream: TextIO, *, color: bool, environment: Mapping[str, str]) -> Output:
    """Return *stream* with what it can show; *environment* has TERM and NO_COLOR."""
    is_terminal = stream.isatty() and environment.get("TERM") not in ("dumb", "unknown")
    return Output(
        stream,
        is_terminal=is_terminal,
        has_color=is_terminal and color and not environment.get("NO_COLOR"),
        symbols=for_encoding(stream.encoding),
    )


def _to_nowhere(stream: TextIO) -> None:
    """Let what the stream still holds go nowhere, so that the end of the process does not fail on it."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
