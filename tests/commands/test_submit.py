"""`headrace run --data-dir` on a folder that a server holds: the server runs the flow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from headrace_engine.adapters.local.lock import DataFolderLock

Headrace = Callable[..., Result]
Write = Callable[..., Path]

FLOW = """
inputs:
  - {id: n, type: INT}
  - {id: data, type: FILE, required: false}
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}
"""


class Stand(BaseHTTPRequestHandler):
    """Answers as Kestra's API does, and keeps what it was asked."""

    asked: list[tuple[str, str, bytes]]
    state = "SUCCESS"
    answers_early = False
    """Whether the execution goes on when it is answered, and ends while it is followed a second time."""
    refusal: str | None = None

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append((self.command, self.path, body))
        status, said = 200, {}
        content = None
        if self.path.endswith("/follow"):
            name = "end" if sum(path == self.path for _, path, _ in self.asked) == 2 else "progress"
            content = f"id: {name}\nevent: {name}\ndata: {json.dumps(execution(self.state))}\n\n".encode()
        elif self.command == "GET":
            status = 404
        elif self.path.startswith("/api/v1/main/executions/"):
            said = execution(self.state)
            if self.refusal is not None:
                status, said = 422, {"message": self.refusal}
            elif self.answers_early:
                status, said = 202, execution("RUNNING")
        content = json.dumps(said).encode() if content is None else content
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names the server looks for

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def execution(state: str) -> dict[str, Any]:
    date = "2026-01-01T00:00:00.000000Z"
    states = {"current": state, "histories": [{"state": "CREATED", "date": date}, {"state": state, "date": date}]}
    return {
        "id": "5" * 22, "namespace": "demo", "flowId": "x", "flowRevision": 1, "taskRunList": [], "inputs": {},
        "outputs": {"answer": 42}, "labels": [], "error": None,
        "state": {**states, "duration": "PT0S", "startDate": date, "endDate": date},
    }  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[type[Stand]]:
    class Mine(Stand):
        asked: list[tuple[str, str, bytes]] = []  # noqa: RUF012 - this test's own

    with HTTPServer(("127.0.0.1", 0), Mine) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        with DataFolderLock(tmp_path / "data", address=f"http://127.0.0.1:{running.server_port}"):
            yield Mine
        running.shutdown()
        thread.join()


def test_the_server_runs_the_flow_and_its_end_is_told(
    server: type[Stand], headrace: Headrace, flow: Write, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("a,b")
    result = headrace(
        "run", flow(FLOW, "x"), "--data-dir", tmp_path / "data", "--input", "n=5", "--input-file",
        f"data=@{tmp_path}/d.csv", "--label", "k=v",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "answer  42" in result.stdout
    assert "holds" in result.stderr
    (get, post, run) = server.asked
    assert get[:2] == ("GET", "/api/v1/main/flows/demo/x")
    assert post[:2] == ("POST", "/api/v1/main/flows")
    assert run[1] == "/api/v1/main/executions/demo/x?wait=true&labels=k%3Av"
    assert b'name="n"' in run[2]
    assert b'name="data"; filename="d.csv"' in run[2]
    assert b"a,b" in run[2]


def test_a_failed_execution_and_a_refusal(server: type[Stand], headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    server.state = "FAILED"
    result = headrace("run", flow(FLOW, "x"), "--data-dir", tmp_path / "data", "--input", "n=5", "--output", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"]["current"] == "FAILED"
    server.refusal = "Invalid input for `n`"
    refused = headrace("run", flow(FLOW, "x"), "--data-dir", tmp_path / "data")
    assert refused.exit_code == 2
    assert "Error: The server refuses it: Invalid input for `n`" in refused.stderr


def test_an_execution_that_goes_on_when_it_is_answered_is_followed(
    server: type[Stand], headrace: Headrace, flow: Write, tmp_path: Path
) -> None:
    server.answers_early = True
    result = headrace("run", flow(FLOW, "x"), "--data-dir", tmp_path / "data", "--input", "n=5", "--output", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"]["current"] == "SUCCESS"
    assert [path for _, path, _ in server.asked[-2:]] == [f"/api/v1/main/executions/{'5' * 22}/follow"] * 2


def test_a_server_that_does_not_answer(headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "data", address="http://127.0.0.1:9"):
        result = headrace("run", flow(FLOW, "x"), "--data-dir", tmp_path / "data")
    assert result.exit_code == 2
    assert "does not answer" in result.stderr
