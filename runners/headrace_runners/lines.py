"""Cuts what code writes into lines, as runners hand them over."""

from __future__ import annotations

import codecs

from headrace_runners.contract import LONGEST_LINE, OnLine, Stream


class Lines:
    """Cuts one stream into lines of bounded length."""

    def __init__(self, stream: Stream, on_line: OnLine) -> None:
        self._stream = stream
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> None:
        """Take what was read and hand over the lines that are complete."""
        self._take(self._decoder.decode(chunk))

    def end(self) -> None:
        """Hand over the last line if it has no end."""
        self._take(self._decoder.decode(b"", final=True))
        if self._rest:
            self._emit(self._rest)
            self._rest = ""

    def _take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._emit(line.removesuffix("\r"))
        while len(self._rest) > LONGEST_LINE:
            self._emit(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]

    def _emit(self, line: str) -> None:
        for start in range(0, max(len(line), 1), LONGEST_LINE):
            self._on_line(self._stream, line[start : start + LONGEST_LINE])
