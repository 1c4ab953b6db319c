"""Which part of a list is asked for: pages, order, and filters (reference §14.1).

Filters come as ``filters[field][OPERATION]=value``; a value with a key of its own (a label's) as
``filters[labels][EQUALS][key]=value``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import re2
from msgspec import Meta

from headrace_engine.api.http import ApiError, Request
from headrace_engine.api.route import Query
from headrace_engine.identity import is_within
from headrace_engine.model.frozen import dataclass

_T = TypeVar("_T")

LARGEST_PAGE = 1000
_LAST_PAGE = 1_000_000
_LONGEST_PATTERN = 1000


class Operation(StrEnum):
    """How a filter compares."""

    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT_EQUALS"
    GREATER_THAN = "GREATER_THAN"
    LESS_THAN = "LESS_THAN"
    GREATER_THAN_OR_EQUAL_TO = "GREATER_THAN_OR_EQUAL_TO"
    LESS_THAN_OR_EQUAL_TO = "LESS_THAN_OR_EQUAL_TO"
    IN = "IN"
    NOT_IN = "NOT_IN"
    STARTS_WITH = "STARTS_WITH"
    ENDS_WITH = "ENDS_WITH"
    CONTAINS = "CONTAINS"
    REGEX = "REGEX"
    PREFIX = "PREFIX"


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. *key* is the label's, for labels."""

    field: str
    operation: Operation
    value: str
    key: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """The values of IN and NOT_IN; for the others the one."""
        if self.operation in (Operation.IN, Operation.NOT_IN):
            return tuple(each.strip() for each in self.value.split(","))
        return (self.value,)

    def holds(self, text: str) -> bool:
        """Return whether it holds for a text; PREFIX is one of whole segments, as of a namespace. Raises ApiError 400.

        What compares by size compares texts, which is right for instants written as the API writes them.
        """
        value = self.value
        match self.operation:
            case Operation.EQUALS | Operation.IN:
                return text in self.values
            case Operation.NOT_EQUALS | Operation.NOT_IN:
                return text not in self.values
            case Operation.STARTS_WITH:
                return text.startswith(value)
            case Operation.ENDS_WITH:
                return text.endswith(value)
            case Operation.CONTAINS:
                return value.casefold() in text.casefold()
            case Operation.REGEX:
                return _pattern(value).search(text) is not None
            case Operation.PREFIX:
                return is_within(text, value)
            case Operation.GREATER_THAN:
                return text > value
            case Operation.GREATER_THAN_OR_EQUAL_TO:
                return text >= value
            case Operation.LESS_THAN:
                return text < value
            case Operation.LESS_THAN_OR_EQUAL_TO:
                return text <= value


_FILTER = re.compile(r"filters\[(?P<field>[^\]]*)\]\[(?P<operation>[^\]]*)\](?:\[(?P<key>[^\]]*)\])?")


def filters_of(request: Request, fields: Iterable[str]) -> list[Filter]:
    """Return the filters of a request. Raises ApiError 400 for a field that is none of *fields*, and what is none."""
    known = list(fields)
    found = []
    for name, values in request.query.items():
        if not name.startswith("filters["):
            continue
        written = _FILTER.fullmatch(name)
        if written is None:
            raise ApiError(400, f"Bad request: a filter is `filters[field][OPERATION]=value`, not `{name[:100]}`")
        if written["field"] not in known:
            raise ApiError(400, f"Bad request: `{written['field'][:100]}` is no filter here; use {', '.join(known)}")
        if written["operation"] not in list(Operation):
            raise ApiError(400, f"Bad request: `{written['operation'][:100]}` is no operation of a filter")
        found += [Filter(written["field"], Operation(written["operation"]), value, written["key"]) for value in values]
    return found


@lru_cache(maxsize=64)
def _pattern(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1024 * 1024
    try:
        if len(pattern) > _LONGEST_PATTERN:
            raise re2.error(f"it is longer than {_LONGEST_PATTERN} characters")
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not understood"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ApiError(400, f"Bad request: the regular expression `{pattern[:100]}` is not valid: {reason}") from None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int
    """From 1."""
    size: int
    order: tuple[tuple[str, bool], ...] = ()
    """Fields, and whether from the last to the first."""

    @property
    def offset(self) -> int:
        """How many come before it."""
        return (self.number - 1) * self.size

    def of(self, everything: Sequence[_T]) -> Sequence[_T]:
        """Return its part of the list."""
        return everything[self.offset : self.offset + self.size]

    def sorted(self, everything: Iterable[_T], key: Callable[[_T, str], Any]) -> list[_T]:
        """Return the list in its order; *key* gives the value of a field."""
        found = list(everything)
        for field, reverse in reversed(self.order):
            found.sort(key=lambda each, field=field: key(each, field), reverse=reverse)  # type: ignore[misc]
        return found


def page_of(request: Request, fields: Iterable[str] = (), *, size: int = 10) -> Page:
    """Return the page that a request asks for, which may be sorted by *fields*. Raises ApiError 400."""
    known = list(fields)
    order = []
    for written in request.query.get("sort", ()):
        field, _, direction = written.partition(":")
        if field not in known or direction not in ("", "asc", "desc"):
            wanted = f"`field:asc` or `field:desc`, with {', '.join(known)}" if known else "not possible here"
            raise ApiError(400, f"Bad request: `sort` is {wanted}, not `{written[:100]}`")
        order.append((field, direction == "desc"))
    return Page(_bounded(request, "page", 1, _LAST_PAGE), _bounded(request, "size", size, LARGEST_PAGE), tuple(order))


def _bounded(request: Request, name: str, default: int, most: int) -> int:
    number = request.number(name, default)
    if number > most:
        raise ApiError(400, f"Bad request: `{name}` is {most} at most")
    return number


PAGING = (
    Query("page", Annotated[int, Meta(ge=1, le=_LAST_PAGE)], "Which page, from 1."),
    Query("size", Annotated[int, Meta(ge=1, le=LARGEST_PAGE)], "How many a page; 10 unless told."),
    Query("sort", list[str], "`field:asc` or `field:desc`; may be repeated."),
)
"""The query of a list that comes by pages."""

FILTERS = Query("filters", dict[str, str], "`filters[field][OPERATION]=value`; may be repeated.")
