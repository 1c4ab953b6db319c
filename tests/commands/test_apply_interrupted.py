"""An apply that is cut off between two of its writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from local_server import LocalServer

Remote = Callable[..., Result]

FLOW = """id: {id}
namespace: cut.team
tasks:
  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: x}}
"""


class Line(BaseHTTPRequestHandler):
    """A line to the server that breaks when so many writes have gone through it."""

    behind: str
    writes: list[str]
    most = 0

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        is_write = self.command in ("PUT", "DELETE") or self.path.endswith("/flows")
        if is_write and len(self.writes) == self.most:
            self.close_connection = True
            return
        headers = {"content-type": self.headers.get("content-type", "")}
        said = httpx.request(self.command, f"{self.behind}{self.path}", content=body, headers=headers, trust_env=False)
        if is_write and said.status_code < 300:
            self.writes.append(f"{self.command} {self.path}")
        self.send_response(said.status_code)
        self.send_header("content-length", str(len(said.content)))
        self.end_headers()
        self.wfile.write(said.content)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names the server looks for

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def line(house: LocalServer) -> Iterator[tuple[str, type[Line]]]:
    class Mine(Line):
        behind = house.address
        writes: list[str] = []  # noqa: RUF012 - this test's own

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", Mine
        running.shutdown()
        thread.join()


def test_what_is_left_is_planned_and_done_by_doing_it_again(
    line: tuple[str, type[Line]], remote: Remote, tmp_path: Path
) -> None:
    address, broken = line
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(FLOW.format(id=name))
    broken.most = 1
    cut = remote("apply", tmp_path, "--server", address, code=1)
    assert cut.stdout == "cut.team.a has revision 1.\n"
    assert "1 of 3 are done; doing it again does the others." in cut.stderr
    left = json.loads(remote("plan", tmp_path, "--json", code=2).stdout)
    assert ([step["id"] for step in left["steps"]], left["unchanged"]) == (["b", "c"], 1)

    broken.most = 9
    broken.writes.clear()
    remote("apply", tmp_path, "--server", address)
    assert broken.writes == ["POST /api/v1/main/flows"] * 2, "what is done is not done again"
    assert "Nothing to do" in remote("plan", tmp_path).stdout
