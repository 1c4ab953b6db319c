"""Errors that a person using the command can mend: told in lines, never as a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Any

import click

REFUSED = 2
"""The exit code when nothing was run: bad usage, an invalid flow, invalid inputs, a folder in use."""
UNSUCCESSFUL = 1
"""The exit code when an execution ended FAILED, KILLED or CANCELLED."""


class UserError(click.ClickException):
    """Something the person asked for cannot be done; each line of the message is told as an error of its own."""

    exit_code = REFUSED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print ``Error: …``."""
        for row in self.message.splitlines() or [""]:
            click.echo(f"Error: {row}", file=file or sys.stderr)


class ProblemsError(UserError):
    """Flows are not valid; each problem names its place itself."""

    def __init__(self, problems: Iterable[object]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print a line for each problem."""
        click.echo(self.message, file=file or sys.stderr)
