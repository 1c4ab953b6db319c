"""Lines of text whose parts have a tone, and what becomes of them in plain text and with colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import click

from headrace_cli.text import clip, width


class Tone(Enum):
    """What a part of a line tells the eye."""

    PLAIN = "plain"
    FAINT = "faint"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    ACTIVE = "active"
    NAME = "name"


_ANSI: Mapping[Tone, Mapping[str, Any]] = {
    Tone.PLAIN: {},
    Tone.FAINT: {"dim": True},
    Tone.STRONG: {"bold": True},
    Tone.GOOD: {"fg": "green"},
    Tone.WARN: {"fg": "yellow"},
    Tone.BAD: {"fg": "red"},
    Tone.ACTIVE: {"fg": "blue"},
    Tone.NAME: {"fg": "cyan"},
}


class Span(NamedTuple):
    """A part of a line."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """Return the parts as a line, without those that are empty."""
    spans = (part if isinstance(part, Span) else Span(part) for part in parts)
    return tuple(span for span in spans if span.text)


def plain(styled: Line) -> str:
    """Return the line's text alone."""
    return "".join(span.text for span in styled)


def ansi(styled: Line) -> str:
    """Return the line with colours for a terminal."""
    return "".join(
        click.style(span.text, **_ANSI[span.tone]) if _ANSI[span.tone] else span.text for span in styled if span.text
    )


def fit(styled: Line, cells: int, ellipsis: str) -> Line:
    """Return the line cut to *cells*."""
    if width(plain(styled)) <= cells:
        return styled
    kept: list[Span] = []
    room = cells
    for index, span in enumerate(styled):
        rest = "".join(later.text for later in styled[index + 1 :])
        wanted = width(span.text)
        if wanted <= room and (not rest or wanted + width(ellipsis) <= room):
            kept.append(span)
            room -= wanted
            continue
        kept.append(span._replace(text=clip(span.text + rest, room, ellipsis)))
        break
    return tuple(kept)


def texts(lines: Iterable[Line]) -> list[str]:
    """Return the text of each line, blanks at line ends taken off."""
    return [plain(styled).rstrip() for styled in lines]
