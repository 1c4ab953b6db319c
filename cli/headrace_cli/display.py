"""What shows a running execution: a live picture on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace_cli.view import View
from headrace_engine.ports import LogLine


class Display(Protocol):
    """Shows an execution. All calls but `note` and `abandon` come from one thread at a time."""

    @property
    def ticks(self) -> bool:
        """Whether it is to be drawn again when nothing has changed but the time."""

    def draw(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        """Show how the execution stands (None: as before), and *lines*, which are new."""

    def close(self, execution: View, lines: Sequence[LogLine]) -> None:
        """Show the execution as it ended and the last lines, and leave the terminal in order."""

    def note(self, text: str) -> None:
        """Tell the person something about the command itself. May be called from any thread."""

    def abandon(self) -> None:
        """Leave the terminal in order, at once; nothing more is drawn. May be called from any thread."""


class Silent:
    """Shows nothing."""

    ticks = False

    def draw(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        """Show nothing."""

    def close(self, execution: View, lines: Sequence[LogLine]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Tell nothing."""

    def abandon(self) -> None:
        """Leave the terminal, which was not touched."""
