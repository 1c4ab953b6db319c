"""Files that are too large for the body of a request: put where an answer says, then given as an input by their URI.

Where the storage has addresses of its own, the file goes there, past the API. Otherwise the address is one of the
API's, and proves itself: what it is good for is sealed in it.
"""

from __future__ import annotations

import base64
import binascii
import os
from datetime import timedelta
from typing import Annotated, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.ports import PortError
from headrace_engine.uploads import LARGEST

_VALID = timedelta(minutes=15)
"""How long after it was asked for a file may begin to come."""
_SEALED = b"\xffupload\x00"
"""What is sealed begins so, and no text that somebody had sealed does: this is not UTF-8."""
_PATH = "/api/v1/main/uploads/"
_NO_ADDRESS = "Not Found: this address is not valid, or not any more"


class UploadWish(msgspec.Struct, forbid_unknown_fields=True):
    """A file that is to come."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
    """Its bytes, exactly."""


class UploadPlace(msgspec.Struct):
    """Where it is to be put, and what it is then given as."""

    uri: str
    """What a FILE input takes, once the file is there."""
    method: Literal["PUT"]
    url: str
    """Where the file goes, and nothing else with it; below the API's own address where it begins with a slash."""
    expires: str


class _Sealed(msgspec.Struct):
    uri: str
    size: int
    until: float


@runtime_checkable
class Addressed(Protocol):
    """A storage to which a file can be put by whoever is given its address."""

    def address_to_write(self, uri: str, valid: timedelta, size: int | None = None) -> str:
        """Return an address to which anybody may PUT the file until *valid* has passed."""


class UploadRoutes:
    """Answers requests about them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stores = engine.stores

    def routes(self) -> tuple[Route, ...]:
        """Return the routes; of the second there is none where files go past the API."""
        begin = Route(
            "POST",
            "/executions/{namespace}/{flow_id}/uploads",
            self.begin,
            role=Role.EDITOR,
            summary="Ask where a file for an input goes that is too large for a request",
            bodies=(Body(UploadWish),),
            returns=(Returns(200, UploadPlace),),
            refuses=(404, 422),
        )
        if isinstance(self._stores.storage, Addressed):
            return (begin,)
        put = Route(
            "PUT",
            "/uploads/{key}",
            self.put,
            role=Role.OPEN,
            summary="Put a file where an answer said that it goes",
            bodies=(Body(bytes, "application/octet-stream"),),
            returns=(Returns(200),),
            refuses=(404, 422),
            admits=self.admits,
        )
        return begin, put

    def begin(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Tell where the file goes, and what it is then given as."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        return json_response(place_of(self._engine, definition.namespace, definition.id, request.json(UploadWish)))

    def admits(self, _request: Request, key: str) -> int:
        """Return how many bytes may come to an address. Raises ApiError 404."""
        return self._opened(key).size

    def put(self, request: Request, key: str) -> Response:
        """Store the file."""
        known = self._opened(key)
        size = len(request.body) if request.file is None else request.file.seek(0, os.SEEK_END)
        if size != known.size:
            raise ApiError(422, f"Illegal argument: {size} bytes came, and {known.size} were announced")
        if request.file is not None:
            request.file.seek(0)
        self._stores.storage.put(known.uri, request.body if request.file is None else request.file)
        return Response(200)

    def _opened(self, key: str) -> _Sealed:
        try:
            opened = self._stores.cipher.open(base64.b64decode(key, altchars=b"-_", validate=True).decode("ascii"))
        except (PortError, ValueError, binascii.Error):
            raise ApiError(404, _NO_ADDRESS) from None
        if not opened.startswith(_SEALED):
            raise ApiError(404, _NO_ADDRESS)
        known = msgspec.json.decode(opened[len(_SEALED) :], type=_Sealed)
        if known.until <= self._stores.clock.now().timestamp():
            raise ApiError(404, _NO_ADDRESS)
        return known


def place_of(engine: Engine, namespace: str, flow_id: str, wish: UploadWish) -> UploadPlace:
    """Return where a file goes that is to be given to a flow."""
    stores = engine.stores
    uri = engine.uploads.new(namespace, flow_id, wish.name).uri
    storage, until = stores.storage, stores.clock.now() + _VALID
    if isinstance(storage, Addressed):
        url = storage.address_to_write(uri, _VALID, wish.size)
    else:
        text = stores.cipher.seal(_SEALED + msgspec.json.encode(_Sealed(uri, wish.size, until.timestamp())))
        url = _PATH + base64.urlsafe_b64encode(text.encode()).decode()
    return UploadPlace(uri, "PUT", url, until.isoformat())


def upload_origin(engine: Engine) -> str:
    """Return the site that files are put to past the API, for the policy of a page; empty without one."""
    storage = engine.stores.storage
    if not isinstance(storage, Addressed):
        return ""
    parts = urlsplit(storage.address_to_write(engine.uploads.new("any", "any", "any").uri, _VALID))
    return f"{parts.scheme}://{parts.netloc}"
