from __future__ import annotations

import io
import os

import pytest

from headrace_cli.output import Output, output_on
from headrace_cli.styled import Span, Tone, ansi, fit, line, plain
from headrace_cli.symbols import ASCII, UNICODE, for_encoding


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "color", "is_terminal", "has_color"),
    [
        ({"TERM": "xterm"}, True, True, True),
        ({}, True, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True, True),
        ({"TERM": "xterm"}, False, True, False),
        ({"TERM": "dumb"}, True, False, False),
    ],
)
def test_what_a_terminal_can_show(environment: dict[str, str], color: bool, is_terminal: bool, has_color: bool) -> None:
    output = output_on(Terminal(), color=color, environment=environment)
    assert (output.is_terminal, output.has_color) == (is_terminal, has_color)


def test_a_file_gets_no_colours() -> None:
    stream = io.StringIO()
    output_on(stream, color=True, environment={"TERM": "xterm"}).write([line(Span("bad", Tone.BAD))])
    assert stream.getvalue() == "bad\n"


def test_a_terminal_gets_colours() -> None:
    stream = Terminal()
    output_on(stream, color=True, environment={"TERM": "xterm"}).write([line("a ", Span("bad", Tone.BAD))])
    assert stream.getvalue() == "a \x1b[31mbad\x1b[0m\n"


@pytest.mark.parametrize(
    ("encoding", "symbols"),
    [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII), ("nonsense", ASCII)],
)
def test_signs_are_those_the_encoding_has(encoding: str | None, symbols: object) -> None:
    assert for_encoding(encoding) is symbols


def test_when_the_reader_is_gone_the_rest_goes_nowhere() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        output = Output(stream, is_terminal=False, has_color=False, symbols=UNICODE)
        output.write([line("one")])
        output.write([line("two")])


@pytest.mark.parametrize(("cells", "expected"), [(9, "one two"), (7, "one two"), (6, "one t…"), (3, "on…"), (0, "")])
def test_a_line_is_cut_across_its_parts(cells: int, expected: str) -> None:
    assert plain(fit(line("one", Span(" "), Span("two", Tone.NAME)), cells, "…")) == expected


def test_empty_parts_leave_no_trace() -> None:
    assert line("", Span("", Tone.BAD)) == ()
    assert ansi(line("", "x")) == "x"
