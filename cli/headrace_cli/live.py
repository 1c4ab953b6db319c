"""Progress on a terminal: the execution's tree, drawn again and again in place, log lines scrolling above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from headrace_cli.output import Output
from headrace_cli.plain import LEVEL_TONES
from headrace_cli.progress import Frame, progress
from headrace_cli.story import Said, Story
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.text import clean
from headrace_cli.view import View
from headrace_engine.ports import LogLine

_STYLES: Mapping[Tone, str] = {
    Tone.PLAIN: "",
    Tone.FAINT: "dim",
    Tone.STRONG: "bold",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
    Tone.ACTIVE: "blue",
    Tone.NAME: "cyan",
}
_LAST_PICTURE_ROWS = 40
_SHOW_CURSOR = "\x1b[?25h"


def _now() -> datetime:
    return datetime.now(UTC)


class LiveDisplay:
    """Draws the tree in place."""

    ticks = True

    def __init__(self, output: Output, planned: Sequence[str], now: Callable[[], datetime] = _now) -> None:
        self._output = output
        self._planned = planned
        self._now = now
        self._story = Story()
        self._execution: View | None = None
        self._is_abandoned = False
        self._console = Console(
            file=output.stream,
            force_terminal=True,
            no_color=not output.has_color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def draw(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        """Print the new lines above the tree, and draw the tree as it stands now."""
        if self._is_abandoned:
            return
        self._log(execution, lines)
        if self._execution is not None:
            columns, height = self._console.size
            # A quarter of the screen stays with the log.
            self._live.update(_text(self._picture(columns, max(3, height * 3 // 4))), refresh=True)

    def close(self, execution: View, lines: Sequence[LogLine]) -> None:
        """Take the live tree away and print it as it ended."""
        self._log(execution, lines)
        self._live.stop()
        self._output.write(self._picture(self._console.width, _LAST_PICTURE_ROWS))

    def note(self, text: str) -> None:
        """Print *text* above the tree."""
        self._console.print(text, style="yellow", soft_wrap=True)

    def abandon(self) -> None:
        """Show the cursor again; the tree stays where it is."""
        self._is_abandoned = True
        self._output.write_text(f"\n{_SHOW_CURSOR}")

    def _log(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        if execution is not None:
            self._execution = execution
            self._story.names.learn(execution)
        said = [what for what in self._story.advance(None, lines) if isinstance(what, Said)]
        if said:
            self._console.print(_text([row for what in said for row in log_rows(what)]), soft_wrap=True)

    def _picture(self, columns: int, rows: int) -> list[Line]:
        if self._execution is None:
            return []
        # One column stays empty: some terminals wrap a line that fills the last one.
        frame = Frame(columns - 1, rows, self._output.symbols)
        return progress(self._execution, frame, self._now(), self._planned)


def log_rows(said: Said) -> list[Line]:
    """Return a log line as it stands above the tree: local time, level, task run, message."""
    stamp = f"{said.at.astimezone():%H:%M:%S}.{said.at.microsecond // 1000:03} "
    level = f"{said.line.level:<5} "
    name = f"{said.name}  "
    tone = LEVEL_TONES[said.line.level]
    first, *rest = clean(said.line.message).expandtabs().split("\n")
    lead = line(Span(stamp, Tone.FAINT), Span(level, tone), Span(name, Tone.NAME))
    indent = " " * sum(len(span.text) for span in lead)
    return [line(*lead, Span(first, tone)), *(line(indent, Span(row, tone)) for row in rest)]


def _text(lines: Sequence[Line]) -> Text:
    text = Text(no_wrap=True, end="")
    for index, styled in enumerate(lines):
        if index:
            text.append("\n")
        for span in styled:
            text.append(span.text, _STYLES[span.tone])
    return text
