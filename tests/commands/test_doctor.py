"""``headrace doctor``."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import Result

Remote = Callable[..., Result]

FOUND = {
    "part": "ALARM",
    "namespace": "demo",
    "flowId": "f",
    "triggerId": "t",
    "problem": "no alarm is set",
    "canRepair": True,
    "repaired": False,
}
BY_HAND = {**FOUND, "part": "BUCKET", "triggerId": "files", "problem": "switch that on", "canRepair": False}


@pytest.fixture
def ill() -> Iterator[str]:
    """Start a server that tells of two things, and can repair one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer([FOUND, BY_HAND])

        def do_POST(self) -> None:
            self._answer([{**FOUND, "repaired": True}, BY_HAND])

        def _answer(self, found: list[dict[str, Any]]) -> None:
            left = sum(not each["repaired"] for each in found)
            body = json.dumps({"results": found, "total": len(found), "left": left}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_where_all_is_well_it_says_so(remote: Remote) -> None:
    assert remote("doctor").stdout == "All triggers have what they need.\n"
    assert remote("doctor", "--repair").stdout == "All triggers have what they need.\n"


def test_what_is_not_as_it_should_be_is_another_exit_code_than_an_error(remote: Remote, ill: str) -> None:
    rows = remote("doctor", HEADRACE_SERVER=ill, code=2).stdout.splitlines()
    assert [row.split() for row in rows[1:]] == [
        ["alarm", "demo.f.t", "no", "alarm", "is", "set", "--repair"],
        ["bucket", "demo.f.files", "switch", "that", "on", "by", "hand"],
    ]
    repaired = json.loads(remote("doctor", "--repair", "-o", "json", HEADRACE_SERVER=ill, code=2).stdout)
    assert [each["repaired"] for each in repaired["results"]] == [True, False]
    assert "Error" in remote("doctor", HEADRACE_SERVER="http://127.0.0.1:1", code=1).stderr
