"""The expression function http(), against a server of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from headrace_engine.expressions import ExpressionError
from headrace_engine.plugin import NetworkPolicy
from headrace_tasks.http_function import http_function


class Echo(BaseHTTPRequestHandler):
    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        said = {
            "method": self.command,
            "path": self.path,
            "type": self.headers.get("content-type"),
            "body": self.rfile.read(length).decode(),
        }
        content = b"plain" if self.path == "/text" else json.dumps(said).encode()
        if self.path == "/large":
            content = b"x" * (1024 * 1024 + 1)
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815 - the names the server looks for

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Echo) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_json_is_parsed_and_text_is_text(server: str) -> None:
    call = http_function(NetworkPolicy())
    assert call({"uri": f"{server}/x", "query": {"a": "1"}})["path"] == "/x?a=1"
    assert call({"uri": f"{server}/text"}) == "plain"


def test_a_body_is_sent(server: str) -> None:
    said = http_function(NetworkPolicy())(
        {"uri": f"{server}/x", "method": "POST", "body": {"a": 1}, "contentType": "application/json"}
    )
    assert (said["method"], said["type"], json.loads(said["body"])) == ("POST", "application/json", {"a": 1})


def test_what_goes_wrong_is_said(server: str) -> None:
    call = http_function(NetworkPolicy())
    with pytest.raises(ExpressionError, match="got status 404"):
        call({"uri": f"{server}/missing"})
    assert call({"uri": f"{server}/missing", "options": {"allowFailed": True}})["path"] == "/missing"
    with pytest.raises(ExpressionError, match="longer than 1048576 bytes"):
        call({"uri": f"{server}/large"})
    with pytest.raises(ExpressionError, match="no option `proxy`"):
        call({"uri": server, "options": {"proxy": 1}})
    with pytest.raises(ExpressionError, match="cannot call"):
        call({"uri": "nonsense"})


def test_a_policy_refuses_addresses(server: str) -> None:
    with pytest.raises(ExpressionError, match="cannot call"):
        http_function(NetworkPolicy(allow_loopback=False))({"uri": server})
