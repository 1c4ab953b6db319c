"""What the commands make of answers that a server of this machine does not give."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from headrace_cli.errors import UserError
from headrace_cli.remote.client import RefusedError, Remote
from headrace_cli.remote.events import events
from headrace_cli.remote.whom import whom

Answer = Callable[[httpx.Request], httpx.Response]


def asking(answer: Answer, auth: tuple[str, str] | None = None) -> Remote:
    http = httpx.Client(base_url="http://house.test/api/v1/main", transport=httpx.MockTransport(answer), auth=auth)
    return Remote(http, "http://house.test", pause=0)


def answering(answers: Iterable[httpx.Response], asked: list[httpx.Request]) -> Answer:
    rest = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return next(rest)

    return answer


def test_events_are_read_however_they_are_cut() -> None:
    text = 'retry: 1000\n\n:\n\nid: a\nevent: progress\ndata: {"x": "\u2028\u0085é"}\r\n\r\nid: b\nevent: end\ndata: {}\n\nid: c\ndata: {'
    content = text.encode()
    for size in (1, 2, 7, len(content)):
        found = list(events(content[at : at + size] for at in range(0, len(content), size)))
        assert [(each.id, each.name, each.data) for each in found] == [
            ("a", "progress", {"x": "\u2028\u0085é"}),
            ("b", "end", {}),
        ]


def test_answers_that_end_early_are_asked_for_again_from_where_they_ended() -> None:
    asked: list[httpx.Request] = []
    answers = [
        httpx.Response(200, text="retry: 1000\n\nid: progress-1\nevent: progress\ndata: 1\n\n"),
        httpx.Response(503),
        httpx.Response(200, text="id: end\nevent: end\ndata: 2\n\n"),
    ]
    followed = asking(answering(answers, asked)).follow("/logs/x/follow", minLevel="INFO")
    assert [event.data for event in followed] == [1, 2]
    assert [request.headers.get("last-event-id") for request in asked] == [None, "progress-1", "progress-1"]
    assert all(request.url.params["minLevel"] == "INFO" for request in asked)


def test_a_server_that_is_gone_for_good_is_told_of() -> None:
    asked: list[httpx.Request] = []

    def gone(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("refused")

    with pytest.raises(UserError, match=r"http://house.test does not answer: refused"):
        list(asking(gone).follow("/logs/x/follow"))
    assert len(asked) > 5
    with pytest.raises(UserError, match="fails to answer"):
        list(asking(lambda _: httpx.Response(500)).follow("/logs/x/follow"))


def test_a_server_that_starts_again_is_waited_for_while_it_stops_and_starts() -> None:
    answers = [
        httpx.Response(200, text="id: progress-1\nevent: progress\ndata: 1\n\n"),
        *[httpx.Response(503) for _ in range(45)],
        httpx.Response(200, text="id: end\nevent: end\ndata: 2\n\n"),
    ]
    assert [event.data for event in asking(answering(answers, [])).follow("/logs/x/follow")] == [1, 2]


def test_pages_are_asked_for_until_the_last_by_number_or_by_cursor() -> None:
    asked: list[httpx.Request] = []

    def page(*results: int, **more: str) -> httpx.Response:
        return httpx.Response(200, json={"results": list(results), "total": 9, **more})

    found, _ = asking(answering([page(1, 2), page(3)], asked)).pages("/flows/search", limit=None, q="x")
    assert found == [1, 2], "a page that is not full is the last"
    asked.clear()
    answers = [page(1, 2, next="c1"), page(next="c2"), page(3, next="c3"), page(4)]
    found, last = asking(answering([answers[0], answers[2], answers[3]], asked)).pages("/executions/search", limit=2)
    assert (found, last["next"]) == ([1, 2], "c1")
    asked.clear()
    found, _ = asking(answering([answers[0], answers[2], answers[3]], asked)).pages("/executions/search")
    assert found == [1, 2, 3, 4]
    assert [request.url.params.get("cursor") for request in asked] == [None, "c1", "c3"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            401,
            "",
            "The server asks who you are: give --token or --user, or set HEADRACE_TOKEN or HEADRACE_SERVER_AUTH.",
        ),
        (409, {"message": "It has ended"}, "It has ended"),
        (
            422,
            {
                "message": "Invalid entity: a",
                "_embedded": {"errors": [{"message": "a", "path": "x"}, {"message": "b"}]},
            },
            "Invalid entity: a\nb",
        ),
        (
            400,
            {"message": "not all", "invalids": [{"value": "x.y", "message": "flow not found"}]},
            "not all\nx.y: flow not found",
        ),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(status: int, body: object, told: str) -> None:
    client = asking(lambda _: httpx.Response(status, json=body))
    with pytest.raises(RefusedError) as refused:
        client.ask("GET", "/x")
    assert (refused.value.message, refused.value.status) == (told, status)


def test_credentials_that_are_not_taken_are_told_of() -> None:
    client = asking(lambda _: httpx.Response(401), auth=("ann", "wrong"))
    with pytest.raises(RefusedError, match="does not take the token, or the password"):
        client.ask("GET", "/x")


def test_what_is_no_headrace_server_is_told_of() -> None:
    for answer in (httpx.Response(404, text="<html>"), httpx.Response(302), httpx.Response(200, text="<html>")):
        with pytest.raises(UserError, match=r"http://house.test/api/v1/main/x .*Headrace server"):
            asking(lambda _, answer=answer: answer).ask("GET", "/x")


def test_credentials_of_the_file_are_for_its_own_server(tmp_path) -> None:
    file = tmp_path / "headrace" / "client.yaml"
    file.parent.mkdir()
    file.write_text(json.dumps({"server": "https://own.example.com/", "token": "hr_file"}))
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert whom(None, None, None, home).credentials == {"HEADRACE_TOKEN": "hr_file"}
    assert whom("https://own.example.com", None, None, home).credentials == {"HEADRACE_TOKEN": "hr_file"}
    assert whom("https://other.example.com", None, None, home).credentials == {}
    assert whom(None, None, None, {**home, "HEADRACE_SERVER": "http://other.example.com"}).credentials == {}
    assert whom(None, None, "a:b", {**home, "HEADRACE_TOKEN": "x"}).credentials == {"HEADRACE_SERVER_AUTH": "a:b"}
    assert whom(None, None, None, {**home, "HEADRACE_TOKEN": "x"}).credentials == {"HEADRACE_TOKEN": "x"}
    assert whom(None, None, None, {"XDG_CONFIG_HOME": "/none"}).address == "http://127.0.0.1:8080"


class Bucket(BaseHTTPRequestHandler):
    """Takes what is put, as S3 does: whoever shows credentials beside an address is refused."""

    taken: ClassVar[dict[str, bytes]] = {}

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        is_right = self.headers["authorization"] is None and self.path.startswith("/bucket/")
        if is_right:
            self.taken[self.path] = content
        self.send_response(200 if is_right else 400)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def bucket() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_large_files_go_past_a_server_that_says_where(bucket: str, tmp_path: Path) -> None:
    large, small = tmp_path / "large.csv", tmp_path / "small.csv"
    large.write_bytes(b"x" * 4_000_000)
    small.write_bytes(b"y")
    asked: list[str] = []
    place = "bucket"

    def answer(request: httpx.Request) -> httpx.Response:
        content = request.read()
        asked.append(request.url.path.removeprefix("/api/v1/main/executions/"))
        if request.url.path.endswith("/uploads"):
            wish = json.loads(content)
            url = f"{bucket}/{place}/{wish['name']}?signed"
            return httpx.Response(200, json={"uri": f"kestra:///_uploads/{wish['name']}", "method": "PUT", "url": url})
        return httpx.Response(200, json={"got": content.decode()})

    remote = asking(answer, auth=("ann", "secret"))
    said = remote.submit("/executions/a/b", {"data": large}, lambda: "a/b")["got"]
    assert ("filename" in said, len(asked)) == (True, 1), "no more than everybody takes"
    asked.clear()
    said = remote.submit("/executions/x/resume", {"data": large, "more": small, "n": 1}, lambda: "a/b")["got"]
    assert "kestra:///_uploads/large.csv" in said
    assert "kestra:///_uploads/small.csv" in said
    assert asked == ["a/b/uploads", "a/b/uploads", "a/b/uploads", "x/resume"]
    assert Bucket.taken == {"/bucket/large.csv?signed": b"x" * 4_000_000, "/bucket/small.csv?signed": b"y"}
    place = "elsewhere"
    with pytest.raises(UserError, match=r"large.csv could not be uploaded: 127.0.0.1:\d+ answers 400"):
        remote.submit("/executions/a/b", {"data": large, "more": small}, lambda: "a/b")


def test_a_server_without_uploads_is_sent_large_files(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * 4_000_001)
    asked: list[httpx.Request] = []
    answers = [httpx.Response(404, json={"message": "Not Found"}), httpx.Response(200, json={"id": "e"})]
    assert asking(answering(answers, asked)).submit("/executions/a/b", {"data": large}, lambda: "a/b") == {"id": "e"}


def test_a_request_that_is_too_large_without_files_is_refused() -> None:
    refusal = httpx.Response(413, json={"message": "too large"})
    with pytest.raises(RefusedError, match="too large"):
        asking(lambda _: refusal).submit("/executions/a/b", {"text": "x"}, lambda: "a/b")
