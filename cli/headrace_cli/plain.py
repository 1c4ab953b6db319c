"""Progress as plain lines, for files and pipes: one line for each change of state and each line of the log.

    2024-11-21T07:51:02.123Z RUNNING  shout[Bergen]
    2024-11-21T07:51:02.125Z INFO     shout[Bergen]: HELLO, BERGEN
    2024-11-21T07:51:02.131Z SUCCESS  shout[Bergen] (8ms)

Time (UTC), state or level, and name stand in columns, so that ``grep ' FAILED '`` finds what failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from headrace_cli.output import Output
from headrace_cli.story import Change, Happening, Said, Story
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.symbols import tone_of
from headrace_cli.text import clean, duration
from headrace_cli.view import View
from headrace_engine.model.state import State
from headrace_engine.ports import Level, LogLine

LEVEL_TONES = {
    Level.TRACE: Tone.FAINT,
    Level.DEBUG: Tone.FAINT,
    Level.INFO: Tone.PLAIN,
    Level.WARN: Tone.WARN,
    Level.ERROR: Tone.BAD,
}
_WORD_CELLS = 8


class PlainDisplay:
    """Writes a line for each thing that happens."""

    ticks = False

    def __init__(self, output: Output, notes: Output) -> None:
        self._output = output
        self._notes = notes
        self._story = Story()

    def draw(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        """Write what is new."""
        execution_id = "" if execution is None else execution["id"]
        happenings = self._story.advance(execution, lines)
        self._output.write(written for what in happenings for written in tell(what, execution_id))

    def close(self, execution: View, lines: Sequence[LogLine]) -> None:
        """Write what is still untold."""
        self.draw(execution, lines)

    def note(self, text: str) -> None:
        """Write *text* to standard error."""
        self._notes.write([line(text)])

    def abandon(self) -> None:
        """Leave what is written."""


def tell(happening: Happening, execution_id: str = "") -> list[Line]:
    """Return the lines that say what happened; a log message of several lines gives as many."""
    stamp = Span(f"{timestamp(happening.at)} ", Tone.FAINT)
    match happening:
        case Change(state=state, name=name, task_run_id=None):
            detail = f" {execution_id}" if state is State.CREATED and execution_id else _detail(happening)
            return [line(stamp, _word(state, tone_of(state)), name, detail)]
        case Change(state=state, name=name):
            return [line(stamp, _word(state, tone_of(state)), name, _detail(happening))]
        case Said(line=said, name=name):
            word = _word(said.level, LEVEL_TONES[said.level])
            return [line(stamp, word, f"{name}: ", row) for row in clean(said.message).split("\n")]


def timestamp(at: datetime) -> str:
    """Return *at* as ISO-8601 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(word: str, tone: Tone) -> Span:
    return Span(f"{word:<{_WORD_CELLS}} ", tone)


def _detail(change: Change) -> str:
    details = [] if change.length is None else [duration(change.length)]
    if change.attempt > 1:
        details.append(f"attempt {change.attempt}")
    return f" ({', '.join(details)})" if details else ""
