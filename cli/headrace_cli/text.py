"""Text as a terminal shows it: lengths of time for people, control characters taken out, widths in cells."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b."
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def clean(text: str) -> str:
    """Return *text* without escape sequences and control characters; line ends and tabs stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str) -> str:
    """Return *text* cleaned and on one line, each run of white space a single blank."""
    return " ".join(clean(text).split())


def width(text: str) -> int:
    """Return how many cells *text* takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def clip(text: str, cells: int, ellipsis: str = "…") -> str:
    """Return *text*, cut to *cells* with *ellipsis* at its end when it is wider."""
    if width(text) <= cells:
        return text
    room = cells - width(ellipsis)
    if room < 0:
        return ellipsis[: max(cells, 0)]
    taken = 0
    for index, character in enumerate(text):
        taken += _cells(character)
        if taken > room:
            return text[:index] + ellipsis
    return text


def pad(text: str, cells: int) -> str:
    """Return *text* with blanks up to *cells*."""
    return text + " " * (cells - width(text))


def duration(length: timedelta) -> str:
    """Return *length* as people read it: ``12ms``, ``1.2s``, ``1m05s``, ``2h03m``."""
    milliseconds = max(length, timedelta(0)) // timedelta(milliseconds=1)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds // 100 / 10}s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


def count(number: int, noun: str) -> str:
    """Return ``1 flow``, ``2 flows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
