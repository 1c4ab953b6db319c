"""Files as answers: by chunks where the host streams, from their own address where the storage has one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO, Protocol, runtime_checkable

from headrace_engine.api.http import Request, Response, Stream
from headrace_engine.api.route import Returns
from headrace_engine.ports import Storage

_CHUNK = 256 * 1024
_VALID = timedelta(minutes=5)
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ELSEWHERE = Returns(302, about="The file is at the address in `location`, for five minutes and without credentials.")


@runtime_checkable
class Addressed(Protocol):
    """A storage from which a file can be had by whoever is given its address."""

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        """Return an address from which anybody gets the file until *valid* has passed."""


def stored_file(request: Request, storage: Storage, uri: str) -> Response | Stream:
    """Return a file of internal storage as an answer. Raises NotFoundError."""
    if not request.streams and isinstance(storage, Addressed):
        return Response(302, headers={"location": storage.address_to_read(uri, _VALID), "cache-control": "no-store"})
    return sent(request, storage.open(uri), uri.rpartition("/")[2])


def sent(request: Request, file: BinaryIO, name: str, media: str = "application/octet-stream") -> Response | Stream:
    """Return a file as an answer, for people to keep; of the usual *media* no browser shows anything."""
    headers = {"content-type": media, "content-disposition": attachment(name)}
    if not request.streams:
        with file:
            return Response(200, file.read(), headers)
    return Stream(200, _chunks(file), headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def attachment(name: str) -> str:
    """Return what says that an answer is a file of this name (RFC 6266), whatever characters that has."""
    plain = "".join(each if each in _SAFE else "_" for each in name)
    encoded = "".join(chr(byte) if chr(byte) in _SAFE else f"%{byte:02X}" for byte in name.encode("utf-8", "replace"))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
