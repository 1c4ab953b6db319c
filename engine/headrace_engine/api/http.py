"""Requests and answers, of whatever host.

A host turns what it receives into a `Request`, has the `Api` answer it, and sends the `Answer`. A host that can
send an answer in pieces says so (`Request.streams`), and gets `Stream` and `Later`; every other gets a `Response`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypedDict

import msgspec

from headrace_engine.api.multipart import FORM, MultipartError, find_parts, is_form
from headrace_engine.model.frozen import dataclass

if TYPE_CHECKING:
    from headrace_engine.identity import Principal

JSON = "application/json"
EVENTS = "text/event-stream"
_DIGITS = 18
"""As many a number of a query may have: more than any list is long, and fewer than a store's numbers."""
_LOOK = 0.05
"""Seconds between two looks of a host that is told of no changes."""


class ServerEvent(TypedDict):
    """A server-sent event: `progress` with what is new, `end` with the last there is. *data* is JSON."""

    id: str
    event: Literal["progress", "end"]
    data: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are lower case; a query name has all its values, in order."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    streams: bool = False
    """Whether the host sends a Stream as it comes, and a Later when it is there."""
    client: str = ""
    """The address of who asks."""
    principal: Principal | None = None
    """Who asks, once that is known."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What the request was about, for the audit, where the path does not say it; never a secret."""
    taken_apart: Sequence[Part] | None = None
    """The parts of a large multipart body, which the host wrote to files as it came; `body` is empty then.

    The files are there until the request is answered. Bodies of webhooks are never taken apart: they are signed.
    """
    file: BinaryIO | None = None
    """A large body of a route that says how large it may be (`Route.admits`); `body` is empty then."""

    def note(self, what: str) -> None:
        """Have the audit say that the request was about *what*: a flow, an execution."""
        self.notes.append(what)

    def one(self, name: str) -> str | None:
        """Return the last value of a query name."""
        values = self.query.get(name)
        return values[-1] if values else None

    def without(self, name: str) -> Request:
        """Return the request without a query name."""
        return replace(self, query={key: values for key, values in self.query.items() if key != name})

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a query name as true or false. Raises ApiError 400 for anything else."""
        value = self.one(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise ApiError(400, f"Bad request: `{name}` is true or false, not `{value}`")
        return value == "true"

    def number(self, name: str, default: int, *, least: int = 1) -> int:
        """Return a query name as a whole number of at least *least*. Raises ApiError 400 for anything else."""
        value = self.one(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdecimal() or len(value) > _DIGITS or int(value) < least:
            raise ApiError(400, f"Bad request: `{name}` is a whole number from {least} on, not `{value}`")
        return int(value)

    def text(self) -> str:
        """Return the body as text. Raises ApiError 400 when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise ApiError(400, "Bad request: the body is not UTF-8 text") from None

    def json(self, type_: Any = Any) -> Any:
        """Return the body, which is JSON, as what *type_* says (as msgspec reads it). Raises ApiError 422."""
        try:
            return msgspec.json.decode(self.body, type=type_)
        except (msgspec.DecodeError, RecursionError) as error:  # a value of another type, too
            raise ApiError(422, f"Invalid json: {error}") from None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart body."""

    name: str
    filename: str | None
    held: bytes = b""
    path: Path | None = None
    """Where its content lies, when it is not held."""

    @property
    def content(self) -> bytes:
        """Its content, read whole."""
        return self.held if self.path is None else self.path.read_bytes()

    def save(self, path: Path) -> None:
        """Have its content at *path*; this may be done once."""
        if self.path is None:
            path.write_bytes(self.held)
        else:
            shutil.move(self.path, path)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that comes in pieces.

    An empty chunk says that there is nothing more for now: the host asks again when one of the executions that the
    stream watches has changed (a step or a log line), or after some seconds; until then the stream costs no thread.
    So *chunks* looks anew whenever it is asked. It is closed (as a generator is) when whoever reads it is gone.
    """

    status: int
    chunks: Iterable[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    watches: tuple[str, ...] = ()
    """Ids of executions."""


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that is still to come; waiting for it costs no thread.

    *look* returns it when it is there, and None before; the host asks when one of the executions it watches has
    changed, or a second has passed. An end to the waiting is *look*'s own to set.
    """

    look: Callable[[], Response | None]
    watches: tuple[str, ...] = ()
    given_up: Response | None = None
    """What to answer when the host stops before it is there."""


Answer = Response | Stream | Later


@dataclass(frozen=True, slots=True)
class Admission:
    """What is to be done with a request whose body has not been read."""

    refusal: Response | None = None
    """The answer, without reading it."""
    principal: Principal | None = None
    """Who asks, if the route asks for that."""
    largest: int | None = None
    """How many bytes the body may have, where it is not the host's to say."""


class ApiError(Exception):
    """An answer with an error's status and message; path names what is wrong in the request, where that is known."""

    def __init__(
        self,
        status: int,
        message: str,
        problems: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems
        """(message, path) of each."""
        self.headers = headers or {}


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return *value* as JSON."""
    return Response(status, msgspec.json.encode(value), {"content-type": JSON, **(headers or {})})


def error_response(error: ApiError) -> Response:
    """Return an error as Kestra writes it (reference §14.1)."""
    errors = [{"message": message, "path": path} for message, path in error.problems]
    body = {"message": error.message, "_links": {}, "_embedded": {"errors": errors or [{"message": error.message}]}}
    return json_response(body, error.status, error.headers)


def whole(answer: Answer, wait: Callable[[float], None]) -> Response:
    """Return an answer as one response, for a host that cannot send it in pieces; *wait* passes so many seconds."""
    while isinstance(answer, Later):
        found = answer.look()
        if found is not None:
            return found
        wait(_LOOK)
    if isinstance(answer, Response):
        return answer
    chunks = []
    for chunk in answer.chunks:
        chunks.append(chunk)
        if not chunk:
            wait(_LOOK)
    return Response(answer.status, b"".join(chunks), answer.headers)


def parts(request: Request) -> list[Part]:
    """Return the parts of a multipart body; none without a body. Raises ApiError 400 and 415."""
    content_type = request.headers.get("content-type", "")
    if request.taken_apart is not None:
        return list(request.taken_apart)
    if not request.body:
        return []
    if not is_form(content_type):
        raise ApiError(415, f"Unsupported media type: the body is {FORM} (`curl -F name=value`)")
    try:
        found = list(find_parts(content_type, request.body))
    except MultipartError as error:
        raise ApiError(400, f"Bad request: the multipart body cannot be read: {error}") from None
    return [Part(each.name, each.filename, request.body[each.start : each.end]) for each in found]
