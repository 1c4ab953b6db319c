"""Bodies of the type multipart/form-data (RFC 7578), taken apart without reading them line by line.

What a part holds is bytes: nothing in it is looked at, whatever its own type says it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import HTTP
from mmap import mmap
from typing import NamedTuple

FORM = "multipart/form-data"
_SIMPLE_BOUNDARY = re.compile(r"multipart/form-data; ?boundary=([\w'()+,./:=?-]{1,70})", re.ASCII | re.IGNORECASE)
_SIMPLE_HEAD = re.compile(
    rb'content-disposition: form-data; name="([^"\\\r\n]*)"(?:; filename="([^"\\\r\n]*)")?\r\n'
    rb"(?:content-type: [^\r\n]*\r\n)?\r\n",
    re.IGNORECASE,
)
"""Bodies as nearly every client writes them. The rest is read as mail is, which takes a hundred times as long."""
_LONGEST_HEAD = 16 * 1024
_MOST_PARTS = 1000


class MultipartError(ValueError):
    """The body is not what its type says."""


class Found(NamedTuple):
    """Where a part's content lies in the body."""

    name: str
    filename: str | None
    start: int
    end: int


def is_form(content_type: str) -> bool:
    """Return whether a body of this type has parts."""
    return content_type.partition(";")[0].strip().lower() == FORM


def find_parts(content_type: str, body: bytes | mmap) -> Iterator[Found]:
    """Find the parts of a body of this type, in order. Raises MultipartError when it cannot be read."""
    delimiter = b"--" + _boundary(content_type)
    place = 0 if body[: len(delimiter)] == delimiter else body.find(b"\r\n" + delimiter) + 2
    if place == 1:
        raise MultipartError("the boundary that its type names is not in the body")
    for _ in range(_MOST_PARTS):
        place += len(delimiter)
        if body[place : place + 2] == b"--":
            return
        line_end = body.find(b"\r\n", place, place + 256)
        if line_end < 0 or body[place:line_end].strip(b" \t"):
            raise MultipartError("a boundary is followed by something else")
        head_end = body.find(b"\r\n\r\n", line_end, line_end + _LONGEST_HEAD)
        if head_end < 0:
            raise MultipartError("the head of a part does not end")
        start = head_end + 4
        end = body.find(b"\r\n" + delimiter, start - 2)
        if end < 0:
            raise MultipartError("its last part does not end")
        name, filename = _names(body[line_end + 2 : start])
        yield Found(name, filename, start, max(start, end))
        place = end + 2
    raise MultipartError(f"it has more than {_MOST_PARTS} parts")


def _boundary(content_type: str) -> bytes:
    simple = _SIMPLE_BOUNDARY.fullmatch(content_type)
    if simple is not None:
        return simple[1].encode()
    message = EmailMessage(HTTP)
    message["content-type"] = "".join(content_type.splitlines())
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary.isascii() or not 0 < len(boundary) <= 70:
        raise MultipartError("its type names no boundary")
    return boundary.encode()


def _names(head: bytes) -> tuple[str, str | None]:
    """Return a part's name and, when it is a file, the file's."""
    simple = _SIMPLE_HEAD.fullmatch(head)
    if simple is not None:
        return simple[1].decode("utf-8", "replace"), None if simple[2] is None else simple[2].decode("utf-8", "replace")
    message = BytesHeaderParser(EmailMessage, policy=HTTP).parsebytes(head)
    name = message.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise MultipartError("a part of the body has no name")
    return _text(name), _optional(message.get_filename())


def _optional(name: str | None) -> str | None:
    return None if name is None else _text(name)


def _text(name: str) -> str:
    """Return a name as it was meant: UTF-8, whatever mail would make of it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
