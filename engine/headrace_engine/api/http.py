"""Requests and responses, of whatever host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import msgspec

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are lower case; a query name has all its values, in order."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def one(self, name: str) -> str | None:
        """Return the last value of a query name."""
        values = self.query.get(name)
        return values[-1] if values else None

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
        if not value.isascii() or not value.isdecimal() or int(value) < least:
            raise ApiError(400, f"Bad request: `{name}` is a whole number from {least} on, not `{value}`")
        return int(value)

    def text(self) -> str:
        """Return the body as text. Raises ApiError 400 when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise ApiError(400, "Bad request: the body is not UTF-8 text") from None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart body."""

    name: str
    filename: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """An answer with an error's status and message; path names what is wrong in the request, where that is known."""

    def __init__(self, status: int, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems
        """(message, path) of each."""


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return *value* as JSON."""
    return Response(status, msgspec.json.encode(value), {"content-type": JSON, **(headers or {})})


def error_response(error: ApiError) -> Response:
    """Return an error as Kestra writes it (reference §14.1)."""
    errors = [{"message": message, "path": path} for message, path in error.problems]
    body = {"message": error.message, "_links": {}, "_embedded": {"errors": errors or [{"message": error.message}]}}
    return json_response(body, error.status)


def parts(request: Request) -> list[Part]:
    """Return the parts of a multipart body; none without a body. Raises ApiError 400 and 415."""
    content_type = request.headers.get("content-type", "")
    if not request.body:
        return []
    if not content_type.lower().startswith("multipart/form-data"):
        raise ApiError(415, "Unsupported media type: the body is multipart/form-data")
    # An HTTP body and its type are a MIME message: the standard library reads those.
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n" + request.body
    )
    if not message.is_multipart():
        raise ApiError(400, "Bad request: the multipart body cannot be read")
    found = []
    for each in message.iter_parts():
        name = each.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise ApiError(400, "Bad request: a part of the body has no name")
        content = each.get_payload(decode=True)
        found.append(Part(name, each.get_filename(), content if isinstance(content, bytes) else b""))
    return found
