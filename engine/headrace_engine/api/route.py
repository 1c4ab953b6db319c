"""What a route is: a method and a path, what answers it, who may ask, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace_engine.api.http import JSON, Answer
from headrace_engine.identity import Role
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter. *type* is what its value is: str, int, bool, an enum, a Literal, datetime, timedelta.

    With list[…] it may be given several times; with dict[str, str] it is ``name[…]=`` (as filters are).
    """

    name: str
    type: Any = str
    about: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings. *type* is as msgspec reads it: a Struct, a TypedDict, list[str], Any; bytes for a file.

    For ``multipart/form-data`` a map of names to bytes (a file) or str, or Any where the flow says which there are.
    """

    type: Any = Any
    media: str = JSON
    required: bool = True


@dataclass(frozen=True, slots=True)
class Returns:
    """One answer. *type* is that of its body: as `Body`; None for none."""

    status: int = 200
    type: Any = None
    media: str = JSON
    about: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path below ``/api/v1``, with names in braces, and what answers it: with request and names."""

    method: str
    path: str
    answer: Callable[..., Answer]
    role: Role = Role.ADMIN
    """The least role that may ask, in the namespace that the path names or whose execution it names."""
    each: bool = False
    """With no namespace in the path: whether *answer* looks at each namespace itself (`gate.within`, `gate.demand`).

    Otherwise the route is for those alone who have the role in every namespace.
    """
    changes: bool | None = None
    """Whether it changes something, which is written down; unless said, by its method and role."""
    summary: str = ""
    """What it is for, in a few words; where it is empty, the first line of what *answer* says of itself."""
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    """What it reads of the request's headers."""
    bodies: tuple[Body, ...] = ()
    """What may be sent, of several media types one; none where a body is not read."""
    returns: tuple[Returns, ...] = (Returns(200, Any),)
    refuses: tuple[int, ...] = (404, 409, 422)
    """The statuses of its errors, besides those that any request may get: 400 401 403 413 415 429 503."""
    admits: Callable[..., int | None] | None = None
    """Of an open route: looks, before the body is read, whether it is for anything; raises ApiError when it is not.

    It returns how many bytes the body may have, None when that is the host's to say.
    """

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(self.path.strip("/").split("/"))

    @property
    def rank(self) -> tuple[bool, ...]:
        """Of two routes that match a path, the one with the lower rank is meant: the one with words, not names."""
        return tuple(segment.startswith("{") for segment in self.segments)

    @property
    def is_change(self) -> bool:
        """Whether it changes something: what a viewer may ask for does not, nor does a GET unless it says so."""
        if self.changes is not None:
            return self.changes
        return self.method != "GET" and self.role is not Role.VIEWER

    def match(self, segments: Sequence[str]) -> Mapping[str, str] | None:
        """Return the names' values when the path is this route's."""
        own = self.segments
        if len(own) != len(segments):
            return None
        names = {}
        for pattern, segment in zip(own, segments, strict=True):
            if pattern.startswith("{"):
                names[pattern[1:-1]] = segment
            elif pattern != segment:
                return None
        return names
