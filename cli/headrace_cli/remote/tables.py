"""Tables and other lines of what a server says: none of it can do anything to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace_cli.api_client import or_dash
from headrace_cli.output import standard_error, standard_output
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.text import duration, one_line, pad, width

Cell = Span | str


def cell(value: Any) -> str:
    """Return a value as a cell: a dash for nothing, control characters taken out."""
    return one_line(or_dash(value))


def state_cell(state: str) -> Span:
    """Return a state in its tone."""
    from headrace_cli.symbols import tone_of  # noqa: PLC0415 - takes its time to load
    from headrace_engine.model.state import State  # noqa: PLC0415 - as above

    return Span(state, tone_of(State(state))) if state in list(State) else Span(one_line(state))


def length_cell(text: str | None) -> str:
    """Return an ISO duration as people read it."""
    from headrace_engine.plugin import parse_duration  # noqa: PLC0415 - takes its time to load

    return duration(parse_duration(text)) if text else "-"


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table; nothing of it but its titles when it has no rows."""
    spans = [[each if isinstance(each, Span) else Span(each) for each in row] for row in rows]
    head = [Span(title, Tone.FAINT) for title in titles]
    widths = [max(width(each.text) for each in column) for column in zip(head, *spans, strict=True)]
    standard_output().write(_row(row, widths) for row in (head, *spans))


def _row(row: Sequence[Span], widths: Sequence[int]) -> Line:
    last = len(row) - 1
    cells = [
        each if place == last else Span(pad(each.text, cells + 2), each.tone)
        for place, (each, cells) in enumerate(zip(row, widths, strict=True))
    ]
    return line(*cells)


def tell(text: str) -> None:
    """Print a sentence on standard error, which leaves standard output to what is asked for."""
    standard_error().write([line(one_line(text))])


def tell_of_more(found: Sequence[Any], answer: dict[str, Any]) -> None:
    """Say how many there are when not all of them were asked for."""
    total = answer.get("total", len(found))
    if total > len(found):
        more = "" if answer.get("totalIsExact", True) else "at least "
        tell(f"These are {len(found)} of {more}{total}; --limit asks for more.")
