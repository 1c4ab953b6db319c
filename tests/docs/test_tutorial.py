"""The tutorial's pipeline does what the page says, command by command."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from docs.documents import CHECKOUT, DOCS, Command, blocks, commands
from docs.test_readme import normalised
from docs.typed import typed
from local_server import local_server

PAGE = DOCS / "tutorial.md"
FLOW, ERRORS, SUITE, TRIGGERS = (block.text for block in blocks(PAGE, "yaml"))
RAIN = {"25": 5.8, "26": 0.0, "27": 8.6, "28": 1.5, "29": 0.0, "30": 0.0, "31": 0.0}
"""Millimetres by day of December 2015, as they stand in the data."""


class _Outside(SimpleHTTPRequestHandler):
    """Serves the data of the examples, and takes what is sent to a chat."""

    heard: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Desk:
    """A folder with the files of the page, and the world around it."""

    folder: Path
    outside: str
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.folder / "weather.db"

    @property
    def environment(self) -> dict[str, str]:
        secret = base64.b64encode(f"{self.outside}/hook".encode()).decode()
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SECRET_CHAT": secret}

    def has(self, *parts: str) -> None:
        """Have the flow be made of these blocks."""
        text = "".join(parts).replace("http://127.0.0.1:8000", self.outside)
        (self.folder / "first" / "tests").mkdir(parents=True, exist_ok=True)
        (self.folder / "first" / "weather.yaml").write_text(text.replace("/tmp/weather.db", str(self.database)))  # noqa: S108 - of the page
        (self.folder / "first" / "tests" / "weather.yaml").write_text(SUITE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    heard: list[dict[str, Any]] = []
    handler = type("Outside", (_Outside,), {"heard": heard})
    served = partial(handler, directory=str(CHECKOUT / "examples" / "data"))
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Desk(tmp_path, f"http://127.0.0.1:{server.server_port}", heard)
        server.shutdown()


def on_a_desk() -> list[Command]:
    return [command for command in commands(PAGE) if " trigger " not in command.line]


def on_a_server() -> list[Command]:
    return [command for command in commands(PAGE) if " trigger " in command.line]


@pytest.mark.parametrize("command", on_a_desk(), ids=lambda command: command.line)
def test_a_command_prints_what_the_page_says(desk: Desk, command: Command) -> None:
    desk.has(*((FLOW, ERRORS) if " test " in command.line else (FLOW,)))
    assert normalised(typed(command.line, desk.folder, desk.environment)) == normalised(command.output)


def test_a_failure_is_told_to_the_chat(desk: Desk) -> None:
    desk.has(FLOW, ERRORS)
    typed("headrace run first/weather.yaml --input day=2016-01-01", desk.folder, desk.environment)
    assert desk.heard == [{"text": "weather of 2016-01-01 failed: There are 0 rows for 2016-01-01"}]


def test_the_last_week_is_caught_up_on_though_the_server_is_killed_meanwhile(desk: Desk, tmp_path: Path) -> None:
    desk.has(FLOW, ERRORS, TRIGGERS)
    serving = partial(local_server, tmp_path / "data", "--flows", desk.folder / "first", environment=desk.environment)
    with serving() as server:
        environment = {**desk.environment, "HEADRACE_SERVER": server.address}
        preview, begin = on_a_server()
        assert typed(preview.line, desk.folder, environment) == preview.output
        assert typed(begin.line, desk.folder, environment) == begin.output
        while not _ended(server.api):
            pass  # looks again
        server.kill()
    with serving() as server:
        while len(_ended(server.api)) < len(RAIN):
            pass  # looks again
        (kept,) = httpx.get(f"{server.api}/triggers/search?namespace=tutorial").json()["results"]
    assert kept["triggerContext"].get("backfill") is None
    with sqlite3.connect(desk.database) as database:
        rows = dict(database.execute("SELECT substr(day, 9), mm FROM rain ORDER BY day").fetchall())
    assert rows == RAIN


def _ended(api: str) -> list[str]:
    found = httpx.get(f"{api}/executions/search?namespace=tutorial&state=SUCCESS&size=50").json()["results"]
    return [each["id"] for each in found]
