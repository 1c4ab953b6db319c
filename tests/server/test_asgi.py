"""The ASGI host, asked as a server asks it: messages in, messages out, no network."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from headrace_cli.server_asgi import AsgiHost, Changes
from headrace_engine.api import Admission, Answer, Later, Request, Response, Stream
from headrace_engine.api.http import parts
from headrace_engine.identity import Kind, Principal

LIMIT = 4 * 1024 * 1024
EVENTS = {"content-type": "text/event-stream"}


class Exchange:
    """One request to a host, and what it has sent so far."""

    def __init__(
        self, host: AsgiHost, method: str, target: str, body: Sequence[bytes], headers: dict[str, str]
    ) -> None:
        path, _, query = target.partition("?")
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.is_whole = False
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        chunks = list(body) or [b""]
        for number, chunk in enumerate(chunks, 1):
            self._incoming.put_nowait({"type": "http.request", "body": chunk, "more_body": number < len(chunks)})
        self._sent = asyncio.Event()
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("127.0.0.9", 1),
        }  # fmt: skip
        self.task = asyncio.create_task(host(scope, self._incoming.get, self._take))

    async def _take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
        self._sent.set()

    async def until(self, is_so: Callable[[Exchange], bool]) -> None:
        """Wait until what was sent is as wanted."""
        async with asyncio.timeout(30):
            while not is_so(self):
                self._sent.clear()
                await self._sent.wait()

    async def whole(self) -> Exchange:
        async with asyncio.timeout(30):
            await self.task
        return self

    def leave(self) -> None:
        """Go away before the answer has ended."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    def header(self, name: str) -> str | None:
        return next((value.decode() for own, value in self.headers if own.decode() == name), None)


class Hosted:
    """A host and what it is told."""

    def __init__(self, answer: Callable[[Request], Answer], **options: Any) -> None:
        self.changes = Changes()
        self.host = AsgiHost(answer, self.changes, largest_body=LIMIT, **options)

    def __call__(self, method: str, target: str = "/", *body: bytes, **headers: str) -> Exchange:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return Exchange(self.host, method, target, body, names)


@asynccontextmanager
async def hosting(answer: Callable[[Request], Answer], **options: Any) -> AsyncIterator[Hosted]:
    hosted = Hosted(answer, **options)
    try:
        yield hosted
    finally:
        await asyncio.to_thread(hosted.host.end)


def form(*files: tuple[str, tuple[str | None, bytes]]) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://127.0.0.1/", files=files)
    return request.read(), request.headers["content-type"]


def test_a_request_is_what_was_sent() -> None:
    async def go() -> None:
        seen: list[Request] = []

        def answer(request: Request) -> Response:
            seen.append(request)
            return Response(201, b"made", {"X-Of": "mine"})

        async with hosting(answer) as ask:
            made = await ask("POST", "/a%2Fb/c?q=1&q=2&e=", b"one", b"two", X_Own="x").whole()
        (request,) = seen
        assert (request.method, request.path, request.body) == ("POST", "/a%2Fb/c", b"onetwo")
        assert request.query == {"q": ["1", "2"], "e": [""]}
        assert request.headers["x-own"] == "x"
        assert request.client == "127.0.0.9"
        assert request.streams
        assert (made.status, made.body) == (201, b"made")
        assert (made.header("x-of"), made.header("content-length")) == ("mine", "4")

    asyncio.run(go())


def test_head_is_get_without_a_body() -> None:
    async def go() -> None:
        closed: list[bool] = []

        def chunks() -> Iterator[bytes]:
            try:
                yield b"never sent"
            finally:
                closed.append(True)

        answers = {"/whole": Response(200, b"four"), "/pieces": Stream(200, chunks())}
        async with hosting(lambda request: answers[request.path]) as ask:
            whole = await ask("HEAD", "/whole").whole()
            assert (whole.body, whole.header("content-length")) == (b"", "4")
            pieces = await ask("HEAD", "/pieces").whole()
            assert (pieces.status, pieces.body, pieces.is_whole) == (200, b"", True)

    asyncio.run(go())


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused_and_nobody_is_asked(announced: bool) -> None:
    async def go() -> None:
        def answer(_request: Request) -> Response:
            raise AssertionError

        length = {"content_length": str(LIMIT + 1)} if announced else {}
        async with hosting(answer) as ask:
            refused = await ask("POST", "/", *[b"x" * 65536] * 65, **length).whole()
        assert refused.status == 413
        assert f"may have {LIMIT} bytes" in json.loads(refused.body)["message"]
        assert refused.header("connection") == "close"

    asyncio.run(go())


def test_a_large_body_is_read_when_it_is_known_that_it_is_wanted() -> None:
    """A small one comes with its request; of a large one nothing is read for somebody who may not."""
    known = Principal("ann", Kind.PASSWORD, ())

    async def go() -> None:
        seen: list[Request] = []
        asked: list[Request] = []

        def admit(request: Request) -> Admission:
            asked.append(request)
            is_right = request.headers.get("authorization") == "right"
            return Admission(principal=known) if is_right else Admission(refusal=Response(401, b"who are you?"))

        def answer(request: Request) -> Response:
            seen.append(request)
            return Response(204)

        async with hosting(answer, admit=admit) as ask:
            for length in ({"content_length": "65537"}, {"transfer_encoding": "chunked"}):
                refused = await ask("POST", "/", *[b"x" * 60_000] * 2, **length).whole()
                assert (refused.status, refused.body, refused.header("connection")) == (401, b"who are you?", "close")
            assert (seen, len(asked), {request.body for request in asked}) == ([], 2, {b""})
            await ask("POST", "/", b"x" * 65537, content_length="65537", authorization="right").whole()
            assert (len(seen[0].body), seen[0].principal) == (65537, known)
            await ask("POST", "/", b"x" * 65536, content_length="65536").whole()
            assert (len(seen[1].body), seen[1].principal, len(asked)) == (65536, None, 3)

    asyncio.run(go())


def test_who_is_not_let_in_is_answered_before_anything_came() -> None:
    async def go() -> None:
        async with hosting(lambda _: Response(204), admit=lambda _: Admission(refusal=Response(403))) as ask:
            exchange = ask("POST", "/", content_length="100000")
            await exchange.until(lambda made: made.status == 403)
            exchange.leave()
            await exchange.whole()

    asyncio.run(go())


@pytest.mark.parametrize("announced", [True, False])
def test_a_route_says_how_large_a_body_may_be(announced: bool) -> None:
    async def go() -> None:
        seen: list[tuple[bytes, bytes]] = []

        def answer(request: Request) -> Response:
            assert request.file is not None
            seen.append((request.body, request.file.read() if request.file.seek(0) == 0 else b""))
            return Response(204)

        size = LIMIT + 1_000_000
        length = {"content_length": str(size)} if announced else {"transfer_encoding": "chunked"}
        async with hosting(answer, admit=lambda _: Admission(largest=size)) as ask:
            assert (
                await ask(
                    "PUT", "/", *[b"x" * 1_000_000] * (size // 1_000_000), b"x" * (size % 1_000_000), **length
                ).whole()
            ).status == 204
            assert seen == [(b"", b"x" * size)]
        async with hosting(answer, admit=lambda _: Admission(largest=100_000)) as ask:
            refused = await ask(
                "PUT", "/", b"x" * 100_001, **(length if not announced else {"content_length": "100001"})
            ).whole()
            assert refused.status == 413
            assert "may have 100000 bytes" in json.loads(refused.body)["message"]

    asyncio.run(go())


def test_a_large_form_comes_as_files_a_small_one_and_a_webhook_as_they_are(tmp_path: Any) -> None:
    content = bytes(range(256)) * 8192
    body, content_type = form(("n", (None, b"5")), ("data", ("ü/x.bin", content)), ("empty", ("e", b"")))
    chunks = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]

    async def go() -> None:
        saved = tmp_path / "saved"
        seen: list[Any] = []

        def answer(request: Request) -> Response:
            found = parts(request)
            seen.append((len(request.body), [(part.name, part.filename, part.content) for part in found]))
            seen.append([part.path for part in found])
            found[1].save(saved)
            return Response(204)

        async with hosting(answer) as ask:
            assert (await ask("POST", "/executions/a/b", *chunks, content_type=content_type).whole()).status == 204
            expected = [("n", None, b"5"), ("data", "ü/x.bin", content), ("empty", "e", b"")]
            assert seen[0] == (0, expected)
            assert seen[1][0] is None
            assert not seen[1][2].exists(), "files are gone when the request is answered"
            assert saved.read_bytes() == content
            await ask("POST", "/api/v1/main/executions/webhook/a/b/c", *chunks, content_type=content_type).whole()
            assert seen[2] == (len(body), expected)
            small, small_type = form(("n", (None, b"5")), ("m", ("m", b"6")))
            await ask("POST", "/", small, content_type=small_type).whole()
            assert seen[4] == (len(small), [("n", None, b"5"), ("m", "m", b"6")])

    asyncio.run(go())


def test_a_large_form_that_cannot_be_read_is_refused() -> None:
    async def go() -> None:
        async with hosting(lambda _: Response(200)) as ask:
            body = b"--x\r\ncontent-disposition: form-data\r\n\r\n" + b"y" * 2_000_000 + b"\r\n--x--"
            refused = await ask("POST", "/", body, content_type="multipart/form-data; boundary=x").whole()
        assert refused.status == 400
        assert json.loads(refused.body)["message"].endswith("a part of the body has no name")

    asyncio.run(go())


def test_a_header_ends_no_line() -> None:
    async def go() -> None:
        async with hosting(lambda _: Response(200, b"", {"location": "/a\r\nset-cookie: b=c"})) as ask:
            answered = await ask("GET").whole()
        assert answered.header("location") == "/a set-cookie: b=c"
        assert answered.header("set-cookie") is None

    asyncio.run(go())


class Told:
    """An answer in pieces that tells of how an execution stands, as often as it is asked."""

    def __init__(self) -> None:
        self.now: list[str] = ["begun"]
        self.closed = 0

    def stream(self, execution_id: str) -> Stream:
        def chunks() -> Iterator[bytes]:
            said = 0
            try:
                while True:
                    if said < len(self.now):
                        said += 1
                        yield f"data: {self.now[said - 1]}\n\n".encode()
                        if self.now[said - 1] == "end":
                            return
                    else:
                        yield b""
            finally:
                self.closed += 1

        return Stream(200, chunks(), EVENTS, (execution_id,))


def test_followers_are_told_of_changes_and_cost_no_thread() -> None:
    async def go() -> None:
        told = Told()

        def answer(request: Request) -> Answer:
            return told.stream("e") if request.path == "/follow" else Response(200, b"here")

        async with hosting(answer, threads=1) as ask:
            followers = [ask("GET", "/follow") for _ in range(50)]
            for follower in followers:
                await follower.until(lambda sent: b"begun" in sent.body)
            assert (await ask("GET", "/other").whole()).body == b"here"
            told.now.append("end")
            await asyncio.to_thread(ask.changes.tell, "another")
            await asyncio.to_thread(ask.changes.tell, "e")
            for follower in followers:
                assert (await follower.whole()).body == b"data: begun\n\ndata: end\n\n"
        assert told.closed == 50

    asyncio.run(go())


def test_a_change_while_the_answer_looks_is_not_missed() -> None:
    async def go() -> None:
        looks = 0
        changes: list[Changes] = []

        def chunks() -> Iterator[bytes]:
            nonlocal looks
            while True:
                looks += 1
                if looks == 2:
                    yield b"seen"
                    return
                changes[0].tell("e")  # after the look, before the host knows that there was nothing
                yield b""

        async with hosting(lambda _: Stream(200, chunks(), EVENTS, ("e",))) as ask:
            changes.append(ask.changes)
            assert (await ask("GET").whole()).body == b"seen"

    asyncio.run(go())


def test_a_follower_that_leaves_is_let_go_and_one_that_stays_is_let_go_when_the_host_closes() -> None:
    async def go() -> None:
        told = Told()
        async with hosting(lambda _: told.stream("e")) as ask:
            gone, stays = ask("GET"), ask("GET")
            for follower in (gone, stays):
                await follower.until(lambda sent: sent.body != b"")
            gone.leave()
            assert not (await gone.whole()).is_whole
            assert told.closed == 1
            ask.host.close()
            assert (await stays.whole()).is_whole
            assert told.closed == 2

    asyncio.run(go())


def test_events_without_a_pause_end_when_the_host_closes() -> None:
    async def go() -> None:
        def chunks() -> Iterator[bytes]:
            while True:
                yield b"data: more\n\n" * 10_000

        async with hosting(lambda _: Stream(200, chunks(), EVENTS, ("e",))) as ask:
            follower = ask("GET")
            await follower.until(lambda sent: sent.body != b"")
            ask.host.close()
            assert (await follower.whole()).is_whole

    asyncio.run(go())


def test_a_quiet_follower_is_kept_alive() -> None:
    async def go() -> None:
        async with hosting(lambda _: Told().stream("e"), keep_alive=0.01) as ask:
            follower = ask("GET")
            await follower.until(lambda sent: b"\n\n: \n\n" in sent.body)
            follower.leave()
            await follower.whole()

    asyncio.run(go())


def test_a_file_in_pieces_is_sent_to_its_end_when_the_host_closes() -> None:
    async def go() -> None:
        begun, goes_on = threading.Event(), threading.Event()

        def chunks() -> Iterator[bytes]:
            yield b"x" * 300_000
            begun.set()
            assert goes_on.wait(30)
            yield b"y"

        async with hosting(lambda _: Stream(200, chunks(), {"content-length": "300001"})) as ask:
            file = ask("GET")
            await asyncio.to_thread(begun.wait, 30)
            ask.host.close()
            goes_on.set()
            assert len((await file.whole()).body) == 300_001
            assert file.header("content-length") == "300001"

    asyncio.run(go())


def test_an_answer_that_fails_on_its_way_is_broken_off() -> None:
    async def go() -> None:
        def chunks() -> Iterator[bytes]:
            yield b"x" * 300_000
            raise RuntimeError("the disk is gone")

        async with hosting(lambda _: Stream(200, chunks())) as ask:
            assert not (await ask("GET").whole()).is_whole

    asyncio.run(go())


def test_who_waits_is_answered_at_the_change_and_holds_no_thread() -> None:
    async def go() -> None:
        found: list[Response] = []
        later = Later(lambda: found[0] if found else None, ("e",))
        async with hosting(lambda request: later if request.path == "/wait" else Response(200), threads=1) as ask:
            waiting = [ask("POST", "/wait") for _ in range(20)]
            assert (await ask("GET", "/").whole()).status == 200
            found.append(Response(201, b"ended"))
            ask.changes.tell("e")
            for each in waiting:
                assert (await each.whole()).body == b"ended"

    asyncio.run(go())


def test_who_waits_when_the_host_closes_is_told() -> None:
    async def go() -> None:
        looked = threading.Semaphore(0)

        def look() -> None:
            looked.release()

        answers = {
            "/known": Later(look, given_up=Response(202, b"on its way")),
            "/unknown": Later(look),
        }
        async with hosting(lambda request: answers[request.path]) as ask:
            known, unknown = ask("GET", "/known"), ask("GET", "/unknown")
            for _ in answers:
                assert await asyncio.to_thread(looked.acquire, timeout=30)
            ask.host.close()
            assert ((await known.whole()).status, known.body) == (202, b"on its way")
            assert ((await unknown.whole()).status, unknown.header("retry-after")) == (503, "5")

    asyncio.run(go())
