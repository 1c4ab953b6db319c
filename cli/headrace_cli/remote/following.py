"""Shows an execution of a server as it happens, as `headrace run` shows one of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from threading import Thread
from typing import Any

from headrace_cli.api_client import segment
from headrace_cli.display import Display, Silent
from headrace_cli.errors import UserError
from headrace_cli.feed import Drawing, Feed
from headrace_cli.output import Output
from headrace_cli.remote.client import Remote
from headrace_cli.report import report
from headrace_cli.view import View
from headrace_engine.ports import Level, LogLine

_LAST_LINES = 5
"""Seconds that the last lines of the log may take to come after the execution has ended."""


def log_line(said: Mapping[str, Any]) -> LogLine:
    """Return a line of the log as the server tells it."""
    return LogLine(
        execution_id=said["executionId"],
        namespace=said["namespace"],
        flow_id=said["flowId"],
        timestamp=datetime.fromisoformat(said["timestamp"]),
        level=Level(said["level"]),
        message=said["message"],
        task_id=said.get("taskId"),
        task_run_id=said.get("taskRunId"),
        attempt=said.get("attemptNumber"),
    )


def followed_lines(remote: Remote, execution_id: str, **query: str) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of an execution's log as they come, each once, until it ends."""
    told: set[LogLine] = set()
    for event in remote.follow(f"/logs/{segment(execution_id)}/follow", **query):
        if event.name == "progress" and (line := log_line(event.data)) not in told:
            told.add(line)
            yield event.data


def follow(remote: Remote, execution_id: str, display: Display) -> tuple[View, list[LogLine]]:
    """Show the execution until it has ended; return it as it ended, and its log."""
    feed = Feed()
    latest: list[View] = []
    lines: list[LogLine] = []

    def listen() -> None:
        try:
            for said in followed_lines(remote, execution_id):
                line = log_line(said)
                lines.append(line)
                feed.log(line)
        except UserError as error:
            display.note(f"Its log cannot be followed: {error.message}")

    listening = Thread(target=listen, name="headrace-log", daemon=True)
    with Drawing(feed, display, lambda: latest[-1]) as drawing:
        for event in remote.follow(f"/executions/{segment(execution_id)}/follow"):
            if not latest:
                listening.start()
            latest[:] = [event.data]
            if event.name == "end":
                drawing.stop()  # the end is shown with the last lines of the log, each in its place
            else:
                feed.changed(None)
        listening.join(_LAST_LINES)
        drawing.close(latest[-1])
    return latest[-1], lines


def display_for(to: Output, notes: Output, remote: Remote, execution_id: str, *, quiet: bool) -> Display:
    """Return what shows an execution: a picture on a terminal, lines elsewhere, nothing when *quiet*."""
    if quiet:
        return Silent()
    if to.is_terminal:
        from headrace_cli.live import LiveDisplay  # noqa: PLC0415 - rich is not needed elsewhere

        flow = remote.ask("GET", f"/executions/{segment(execution_id)}/flow")
        return LiveDisplay(to, [task["id"] for task in flow["tasks"]])
    from headrace_cli.plain import PlainDisplay  # noqa: PLC0415 - not needed on a terminal

    return PlainDisplay(to, notes)


def print_state(to: Output, execution: View, lines: list[LogLine]) -> None:
    """Print how an execution stands: its state, what failed and why."""
    to.write(report(execution, lines, to.symbols, datetime.now(UTC)))
