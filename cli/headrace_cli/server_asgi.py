"""An ASGI application in front of an API: bodies within bounds, answers in pieces, waiting that costs no thread.

The API is plain functions, called on a pool of threads. Whoever follows an execution, or waits for its end, holds no
thread meanwhile: the event loop is told of every change, and only then asks the API again.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs

from headrace_engine.api.http import (
    EVENTS,
    Admission,
    Answer,
    ApiError,
    Later,
    Part,
    Request,
    Response,
    Stream,
    error_response,
    json_response,
)
from headrace_engine.api.multipart import MultipartError, find_parts, is_form

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

LARGEST_BODY = 64 * 1024 * 1024
THREADS = 16
_HELD = 1024 * 1024
"""Bytes of a body that are held in memory while it comes; what is more goes to a file."""
_AT_ONCE = 64 * 1024
"""Bytes of a body that is read with its request. Of a larger one nothing is read before who asks is known to be let."""
_CHUNK = 256 * 1024
_READ_ON = 4
"""How many times the largest body is read, and thrown away, of one that is too large."""
_KEEP_ALIVE = 15.0
"""Seconds after which a quiet follower is sent a comment: what lies between closes connections that are silent."""
_LOOK_AGAIN = 1.0
"""Seconds after which a Later is asked whatever happened: it may have set itself an end."""
_SIGNED = re.compile(r"/executions/webhook/")
_UNFIT = re.compile(r"[\x00-\x1f\x7f]+")

_log = logging.getLogger(__name__)


class Changes:
    """Wakes those who wait for a change of an execution."""

    def __init__(self) -> None:
        self._wakers: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self, execution_id: str) -> None:
        """Wake whoever waits for the execution; from any thread."""
        loop = self._loop
        if loop is not None and execution_id in self._wakers:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._wake, execution_id)

    def wake_all(self) -> None:
        """Wake everybody; on the event loop."""
        for execution_id in list(self._wakers):
            self._wake(execution_id)

    @contextmanager
    def wakes(self, waker: asyncio.Event, execution_ids: Sequence[str]) -> Iterator[None]:
        """Have *waker* set at every change of one of the executions; on the event loop."""
        self._loop = asyncio.get_running_loop()
        # The empty name is nobody's: it is there for `wake_all`.
        names = {*execution_ids, ""}
        for name in names:
            self._wakers.setdefault(name, set()).add(waker)
        try:
            yield
        finally:
            for name in names:
                self._wakers[name].discard(waker)
                if not self._wakers[name]:
                    del self._wakers[name]

    def _wake(self, execution_id: str) -> None:
        for waker in self._wakers.get(execution_id, ()):
            waker.set()


class AsgiHost:
    """Answers HTTP requests with *answer*, which is called on one of *threads* threads.

    *admit* says beforehand, without the body, whether a request is to be answered that has a larger one.
    """

    def __init__(
        self,
        answer: Callable[[Request], Answer],
        changes: Changes,
        *,
        admit: Callable[[Request], Admission] = lambda _request: Admission(),
        largest_body: int = LARGEST_BODY,
        threads: int = THREADS,
        keep_alive: float = _KEEP_ALIVE,
    ) -> None:
        self._answer = answer
        self._admit = admit
        self._changes = changes
        self._largest_body = largest_body
        self._keep_alive = keep_alive
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="headrace-api")
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; only requests over HTTP are answered."""
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        await _Exchange(self, scope, receive, send).run()

    def close(self) -> None:
        """End the answers that go on and on, and the waiting of others; on the event loop."""
        self._closing = True
        self._changes.wake_all()

    def end(self) -> None:
        """End the threads, once they have done what they have in hand."""
        self._pool.shutdown()

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    # -- For the exchanges --------------------------------------------------------------------------

    @property
    def changes(self) -> Changes:
        """What wakes those who wait."""
        return self._changes

    @property
    def largest_body(self) -> int:
        """The most bytes of a body."""
        return self._largest_body

    @property
    def keep_alive(self) -> float:
        """Seconds after which a quiet follower is sent something."""
        return self._keep_alive

    def answer(self, request: Request) -> Answer:
        """Have the API answer."""
        return self._answer(request)

    def admit(self, request: Request) -> Admission:
        """Have the API say whether it will."""
        return self._admit(request)

    async def in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Return what *call* returns on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


class _GoneError(Exception):
    """Whoever asked has gone."""


class _RefusedError(Exception):
    """The request is answered without its body."""

    def __init__(self, answer: Response, *, left: int) -> None:
        super().__init__()
        self.answer = answer
        self.left = left
        """Bytes that are worth reading on for: many clients read no answer before they have sent everything."""


@dataclass(slots=True)
class _Waker:
    """What an answer that goes on waits for."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    is_gone: bool = False
    """Whether whoever asked has gone."""

    async def wait(self, seconds: float) -> bool:
        """Wait until something has happened; False when nothing had after so many *seconds*."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        return True


class _Exchange:
    """One request and its answer."""

    def __init__(self, host: AsgiHost, scope: Scope, receive: Receive, send: Send) -> None:
        self._host = host
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = _headers(scope["headers"])
        self._path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]

    async def run(self) -> None:
        """Answer the request."""
        async with AsyncExitStack() as held:
            try:
                request = await self._request(held)
            except _GoneError:
                return None
            except _RefusedError as refusal:
                return await self._refuse_body(refusal.answer, refusal.left)
            except ApiError as error:
                return await self._whole(error_response(error))
            except OSError:
                _log.exception("A body could not be written to a file")
                return await self._whole(error_response(ApiError(503, "The body cannot be taken now; try again")))
            answer = await self._host.in_thread(self._host.answer, request)
            if isinstance(answer, Later):
                found = await self._later(answer)
                if found is None:
                    return None
                answer = found
            if isinstance(answer, Response):
                return await self._whole(answer)
            return await self._stream(answer)

    # -- The request --------------------------------------------------------------------------------

    async def _request(self, held: AsyncExitStack) -> Request:
        client = self._scope.get("client")
        request = Request(
            method=self._scope["method"],
            path=self._path,
            query=parse_qs(self._scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers=self._headers,
            streams=True,
            client=client[0] if client else "",
        )
        admission = await self._admission(request)
        body, file = await self._body(held, admission.largest)
        request = replace(request, body=body, principal=admission.principal)
        if file is None:
            return request
        if admission.largest is not None:
            return replace(request, file=file)
        content_type = self._headers.get("content-type", "")
        if not is_form(content_type) or _SIGNED.search(self._path):
            return replace(request, body=await self._host.in_thread(_read_whole, file))
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="headrace-"))
        apart = await self._host.in_thread(_take_apart, content_type, file, Path(folder))
        return replace(request, taken_apart=apart)

    async def _admission(self, request: Request) -> Admission:
        """Ask whether a request with a large body is to be answered. Raises _RefusedError."""
        announced = self._announced
        if announced is not None and announced <= _AT_ONCE:
            return Admission()
        admission = await self._host.in_thread(self._host.admit, request)
        if admission.refusal is not None:
            raise _RefusedError(admission.refusal, left=self._left(self._host.largest_body))
        return admission

    @property
    def _announced(self) -> int | None:
        """How many bytes the body has; None where that is not said."""
        if "transfer-encoding" in self._headers:
            return None
        announced = self._headers.get("content-length", "")
        return int(announced) if announced.isascii() and announced.isdecimal() else 0

    def _left(self, most: int) -> int:
        """Return how much of a body that is not taken is read: as much as was announced, if that is not too much."""
        announced = self._announced
        return most if announced is None else announced if announced <= most else 0

    async def _body(self, held: AsyncExitStack, largest: int | None) -> tuple[bytes, BinaryIO | None]:
        """Return the body, or the file that it is in. Raises _GoneError and _RefusedError."""
        limit = self._host.largest_body if largest is None else largest
        too_large = f"Content too large: the body of this request may have {limit} bytes"
        refusal = error_response(ApiError(413, too_large))
        most = _READ_ON * limit
        if (self._announced or 0) > limit:
            raise _RefusedError(refusal, left=self._left(most))
        file: BinaryIO | None = None
        chunks: list[bytes] = []
        size = held_size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            chunk, more = message.get("body", b""), message.get("more_body", False)
            chunks.append(chunk)
            size += len(chunk)
            held_size += len(chunk)
            if size > limit:
                raise _RefusedError(refusal, left=most if more else 0)
            if held_size > _HELD or (file is not None and not more):
                if file is None:
                    file = tempfile.TemporaryFile(prefix="headrace-")  # noqa: SIM115 - closed after the answer
                    held.enter_context(file)
                await self._host.in_thread(file.writelines, chunks)
                chunks, held_size = [], 0
        return (b"".join(chunks), None) if file is None else (b"", file)

    async def _refuse_body(self, response: Response, left: int) -> None:
        """Answer, and read on meanwhile for *left* bytes."""
        await self._start(response.status, {**response.headers, "connection": "close"}, len(response.body))
        await self._send({"type": "http.response.body", "body": response.body, "more_body": True})
        while left > 0:
            received = await self._receive()
            if received["type"] == "http.disconnect" or not received.get("more_body", False):
                break
            left -= len(received.get("body", b""))
        await self._end()

    # -- The answer ---------------------------------------------------------------------------------

    async def _start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        given = {_fit(name).lower(): _fit(value) for name, value in headers.items()}
        if length is not None and status not in (204, 304):
            given["content-length"] = str(length)
        encoded = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in given.items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _is_head(self) -> bool:
        return bool(self._scope["method"] == "HEAD")

    async def _whole(self, response: Response) -> None:
        await self._start(response.status, response.headers, len(response.body))
        body = b"" if self._is_head or response.status in (204, 304) else response.body
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _later(self, later: Later) -> Response | None:
        """Return the answer when it is there; None when whoever waits for it has gone."""
        waker = _Waker()
        with self._host.changes.wakes(waker.event, later.watches):
            async with self._listening(waker):
                while True:
                    waker.event.clear()
                    found = await self._host.in_thread(later.look)
                    if found is not None:
                        return found
                    if waker.is_gone:
                        return None
                    if self._host.is_closing:
                        answer = later.given_up
                        return answer if answer is not None else _stopping()
                    await waker.wait(_LOOK_AGAIN)

    async def _stream(self, stream: Stream) -> None:
        chunks = iter(stream.chunks)
        try:
            await self._start(stream.status, stream.headers)
            if not self._is_head:
                await self._send_chunks(stream, chunks)
        except _GoneError:
            return
        except Exception:  # noqa: BLE001 - the status is sent: all that is left is to break off, which the server does
            _log.exception("%s %s broke off", self._scope["method"], self._path)
            return
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                await self._host.in_thread(close)
        await self._end()

    async def _send_chunks(self, stream: Stream, chunks: Iterator[bytes]) -> None:
        """Send chunks as they come. Raises _GoneError."""
        content_type = next((value for name, value in stream.headers.items() if name.lower() == "content-type"), "")
        is_events = content_type.startswith(EVENTS)
        waker = _Waker()
        with self._host.changes.wakes(waker.event, stream.watches):
            async with self._listening(waker):
                while not (self._host.is_closing and is_events):
                    waker.event.clear()
                    found = await self._host.in_thread(_pull, chunks)
                    if waker.is_gone:
                        raise _GoneError
                    if found.body:
                        await self._send({"type": "http.response.body", "body": found.body, "more_body": True})
                    if found.is_end or (found.is_quiet and self._host.is_closing):
                        return
                    if found.is_quiet:
                        is_woken = await waker.wait(self._host.keep_alive if stream.watches else _LOOK_AGAIN)
                        if is_events and stream.watches and not is_woken:
                            await self._send({"type": "http.response.body", "body": b": \n\n", "more_body": True})

    def _listening(self, waker: _Waker) -> _Listening:
        return _Listening(self._receive, waker)


class _Listening:
    """Has *waker* know when whoever asked goes."""

    def __init__(self, receive: Receive, waker: _Waker) -> None:
        self._receive = receive
        self._waker = waker

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._listen())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._waker.is_gone = True
        self._waker.event.set()


@dataclass(frozen=True, slots=True)
class _Pulled:
    """What an answer that comes in pieces had to give."""

    body: bytes
    is_end: bool = False
    is_quiet: bool = False
    """Whether there is nothing more for now."""


def _pull(chunks: Iterator[bytes]) -> _Pulled:
    """Take what is there, as long as it is not much: every call is a way to a thread and back."""
    taken: list[bytes] = []
    size = 0
    for chunk in chunks:
        if not chunk:
            return _Pulled(b"".join(taken), is_quiet=True)
        taken.append(chunk)
        size += len(chunk)
        if size >= _CHUNK:
            return _Pulled(b"".join(taken))
    return _Pulled(b"".join(taken), is_end=True)


def _read_whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _take_apart(content_type: str, file: BinaryIO, folder: Path) -> list[Part]:
    """Write the parts of a body that are files to *folder*; return all parts. Raises ApiError 400."""
    file.flush()
    parts = []
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body, memoryview(body) as view:
        try:
            for number, found in enumerate(find_parts(content_type, body)):
                with view[found.start : found.end] as content:
                    if found.filename is None:
                        parts.append(Part(found.name, None, bytes(content)))
                        continue
                    path = folder / str(number)
                    path.write_bytes(content)
                    parts.append(Part(found.name, found.filename, path=path))
        except MultipartError as error:
            raise ApiError(400, f"Bad request: the multipart body cannot be read: {error}") from None
    return parts


def _headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by their names; what came several times is one (RFC 9110, RFC 6265)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        between = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    return headers


def _fit(text: str) -> str:
    """Return text as a header may hold it: whatever is in it, it ends no line."""
    return _UNFIT.sub(" ", text)


def _stopping() -> Response:
    return json_response({"message": "The server is stopping; ask again"}, 503, {"retry-after": "5"})
