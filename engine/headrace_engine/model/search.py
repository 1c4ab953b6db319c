"""What somebody looks for among executions, and whether an execution is that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State


class Operation(StrEnum):
    """How a field is compared; with several values it is enough that one of them holds."""

    EQUALS = "EQUALS"
    STARTS_WITH = "STARTS_WITH"
    ENDS_WITH = "ENDS_WITH"
    CONTAINS = "CONTAINS"
    REGEX = "REGEX"
    """RE2, found anywhere in the value."""
    PREFIX = "PREFIX"
    """The value itself, or what lies below it: ``a`` and ``a.b``, not ``ab``."""


TEXT_FIELDS = ("id", "namespace", "flowId", "triggerId", "callerId")
"""The fields of an execution that a Condition can be about."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of TEXT_FIELDS compared with values. A field without a value meets only negated conditions."""

    field: str
    operation: Operation
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, value: str | None) -> bool:
        """Return whether *value* meets it. Raises ValueError for a regular expression that is none."""
        met = value is not None and any(_compare(self.operation, value, each) for each in self.values)
        return met is not self.negated


def _compare(operation: Operation, value: str, wanted: str) -> bool:
    match operation:
        case Operation.EQUALS:
            return value == wanted
        case Operation.STARTS_WITH:
            return value.startswith(wanted)
        case Operation.ENDS_WITH:
            return value.endswith(wanted)
        case Operation.CONTAINS:
            return wanted.lower() in value.lower()
        case Operation.REGEX:
            return finder(wanted)(value)
        case Operation.PREFIX:
            return is_within(value, wanted)


def is_within(namespace: str, ancestor: str) -> bool:
    """Return whether *namespace* is *ancestor* or below it, by whole segments; all are below the empty one."""
    return not ancestor or namespace == ancestor or namespace.startswith(f"{ancestor}.")


@lru_cache(maxsize=64)
def finder(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether *pattern*, in linear time, is found in a text. Raises ValueError when it is none."""
    import re2  # noqa: PLC0415 - a C library that few searches need

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1024 * 1024
    try:
        compiled = re2.compile(pattern, options)
    except re2.error:
        raise ValueError(f"`{pattern}` is not a regular expression that RE2 knows") from None
    return lambda text: compiled.search(text) is not None


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Which executions are meant: those for which all of this holds. What is not named does not matter."""

    namespaces: tuple[str, ...] = ("",)
    """One of these, or below it; everything is below the empty one."""
    flow_id: str | None = None
    states: tuple[State, ...] = ()
    since: datetime | None = None
    """Started then or later."""
    until: datetime | None = None
    """Started then or earlier."""
    words: tuple[str, ...] = ()
    """Each is contained in the execution's texts (`texts`), whatever the case."""
    labels: tuple[tuple[str, str], ...] = ()
    """It has them all."""
    without_labels: tuple[tuple[str, str], ...] = ()
    """It has none of them."""
    is_child: bool | None = None
    """Whether another execution started it."""
    conditions: tuple[Condition, ...] = ()

    @property
    def asks_summary(self) -> bool:
        """Whether more must be known of an execution than its key: namespace, flow, start and id."""
        return (
            bool(self.words or self.labels or self.without_labels)
            or self.is_child is not None
            or any(condition.field in ("triggerId", "callerId") for condition in self.conditions)
        )

    def matches_key(self, namespace: str, flow_id: str, start: datetime, execution_id: str) -> bool:
        """Return False when already these say that an execution is not meant."""
        known = {"id": execution_id, "namespace": namespace, "flowId": flow_id}
        return (
            any(is_within(namespace, each) for each in self.namespaces)
            and (self.flow_id is None or flow_id == self.flow_id)
            and (self.since is None or start >= self.since)
            and (self.until is None or start <= self.until)
            and all(each.holds(known[each.field]) for each in self.conditions if each.field in known)
        )

    def matches(self, found: Summary) -> bool:
        """Return whether an execution is meant."""
        return (
            self.matches_key(found.namespace, found.flow_id, found.start, found.id)
            and (not self.states or found.state in self.states)
            and (self.is_child is None or (found.caller_id is not None) is self.is_child)
            and all(found.labels.get(key) == value for key, value in self.labels)
            and all(found.labels.get(key) != value for key, value in self.without_labels)
            and all(
                each.holds(found.trigger_id if each.field == "triggerId" else found.caller_id)
                for each in self.conditions
                if each.field in ("triggerId", "callerId")
            )
            and (not self.words or _contains_all(texts(found), self.words))
        )


EVERY = ExecutionQuery()
"""All executions."""


class Summary(Protocol):
    """What a query looks at."""

    @property
    def id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def flow_id(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def start(self) -> datetime: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def trigger_id(self) -> str | None: ...
    @property
    def caller_id(self) -> str | None: ...


def texts(found: Summary) -> str:
    """Return what the words of a query are looked for in: the id, the flow and the labels."""
    labels = (f"{key}:{value}" for key, value in found.labels.items())
    return " ".join((found.id, found.namespace, found.flow_id, *labels))


def _contains_all(text: str, words: Sequence[str]) -> bool:
    lower = text.lower()
    return all(word.lower() in lower for word in words)


ORDERS = ("start", "end", "duration", "id", "namespace", "flowId", "flowRevision", "state")


@dataclass(frozen=True, slots=True)
class Order:
    """By which of ORDERS a list is sorted."""

    field: str = "start"
    descending: bool = True


NEWEST = (Order(),)
"""The newest start first."""


def sort_key(field: str) -> Callable[[Any], Any]:
    """Return the key by which summaries are sorted; what has no value comes first."""
    return _KEYS[field]


_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "start": lambda found: found.start,
    "end": lambda found: (found.end is not None, found.end or found.start),
    "duration": lambda found: (found.end is not None, (found.end or found.start) - found.start),
    "id": lambda found: found.id,
    "namespace": lambda found: found.namespace,
    "flowId": lambda found: found.flow_id,
    "flowRevision": lambda found: found.flow_revision,
    "state": lambda found: found.state.value,
}


def in_order(found: Sequence[Any], order: Sequence[Order]) -> list[Any]:
    """Return summaries sorted; those that are equal by their start and id, the newest first."""
    result = sorted(found, key=lambda each: (each.start, each.id), reverse=True)
    for each in reversed(order):
        result.sort(key=sort_key(each.field), reverse=each.descending)
    return result
