"""Which executions, or log lines, a request asks for (reference §14.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from headrace_engine.api.filters import FILTERS, Filter, Operation, filters_of
from headrace_engine.api.gate import within
from headrace_engine.api.http import ApiError, Request
from headrace_engine.api.names import SYSTEM
from headrace_engine.api.route import Query
from headrace_engine.identity import Role
from headrace_engine.model import search
from headrace_engine.model.search import NEWEST, Condition, ExecutionQuery, Order
from headrace_engine.model.state import State
from headrace_engine.plugin import parse_duration
from headrace_engine.ports import Level, LogQuery

_T = TypeVar("_T")
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)

EXECUTION_QUERY = (
    Query("q", str, "Words; each must be in the id, the namespace, the flow's id or a label."),
    Query("namespace", str, "A namespace; those below it are meant, too."),
    Query("flowId", str),
    Query("state", list[State]),
    Query("labels", list[str], "`key:value`; all must be there."),
    Query("startDate", str, "An ISO instant; started then or later."),
    Query("endDate", str, "An ISO instant; started then or earlier."),
    Query("timeRange", str, "An ISO duration, as `PT24H`: started since so long; instead of `startDate`."),
    Query("scope", list[Literal["USER", "SYSTEM"]], "Of flows of people, or of the platform itself."),
    Query("childFilter", Literal["CHILD", "MAIN"], "Only those that other executions started, or only the others."),
    Query("triggerExecutionId", str, "Those that this execution started."),
    FILTERS,
)

LOG_QUERY = (
    Query("q", str, "Words; each must be in the message."),
    Query("namespace", str, "A namespace; those below it are meant, too."),
    Query("flowId", str),
    Query("triggerId", str, "Lines of a trigger's own."),
    Query("minLevel", Level),
    Query("startDate", str, "An ISO instant; then or later."),
    Query("endDate", str, "An ISO instant; then or earlier."),
    Query("timeRange", str, "An ISO duration, as `PT24H`: since so long; instead of `startDate`."),
    FILTERS,
)

_TEXTS = {
    "id": "id",
    "executionId": "id",
    "namespace": "namespace",
    "flowId": "flowId",
    "triggerId": "triggerId",
    "triggerExecutionId": "callerId",
}
_FIELDS = (*_TEXTS, "q", "scope", "labels", "startDate", "endDate", "state", "timeRange", "childFilter", "kind")
_COMPARISONS = {
    Operation.EQUALS: (search.Operation.EQUALS, False),
    Operation.IN: (search.Operation.EQUALS, False),
    Operation.NOT_EQUALS: (search.Operation.EQUALS, True),
    Operation.NOT_IN: (search.Operation.EQUALS, True),
    Operation.STARTS_WITH: (search.Operation.STARTS_WITH, False),
    Operation.ENDS_WITH: (search.Operation.ENDS_WITH, False),
    Operation.CONTAINS: (search.Operation.CONTAINS, False),
    Operation.REGEX: (search.Operation.REGEX, False),
    Operation.PREFIX: (search.Operation.PREFIX, False),
}
_SAME = (Operation.EQUALS, Operation.IN)
_OTHERS = (Operation.NOT_EQUALS, Operation.NOT_IN)
_FROM = (Operation.GREATER_THAN, Operation.GREATER_THAN_OR_EQUAL_TO)
_UNTIL = (Operation.LESS_THAN, Operation.LESS_THAN_OR_EQUAL_TO)

SORTS = {
    "id": "id",
    "namespace": "namespace",
    "flowId": "flowId",
    "flowRevision": "flowRevision",
    "state": "state",
    "state.current": "state",
    "state.startDate": "start",
    "startDate": "start",
    "state.endDate": "end",
    "endDate": "end",
    "state.duration": "duration",
    "duration": "duration",
}
_MOST_WORDS = 20


def execution_query(request: Request, role: Role, now: datetime) -> ExecutionQuery:
    """Return which executions a request means, of those in whose namespace who asks has *role*. Raises ApiError 400."""
    reading = _Reading(request, now, _FIELDS)
    for each in reading.filters:
        reading.take(each)
    for state in request.query.get("state", ()):
        for name in state.split(","):
            reading.states_given.append(_state(name))
    for label in request.query.get("labels", ()):
        reading.labels.append(label_of(label))
    for scope in request.query.get("scope", ()):
        reading.scopes += scope.split(",")
    child = request.one("childFilter")
    if child is not None:
        reading.is_child = _child(child)
    caller = request.one("triggerExecutionId")
    if caller:
        reading.conditions.append(Condition("callerId", search.Operation.EQUALS, (caller,)))
    reading.take_scopes()
    return ExecutionQuery(
        namespaces=within(request, role, request.one("namespace") or reading.namespace),
        flow_id=request.one("flowId") or reading.flow_id,
        states=reading.states,
        since=reading.since,
        until=reading.until,
        words=reading.words(request),
        labels=tuple(reading.labels),
        without_labels=tuple(reading.without_labels),
        is_child=reading.is_child,
        conditions=tuple(reading.conditions),
    )


def log_query(request: Request, role: Role, now: datetime) -> LogQuery | None:
    """Return which log lines a request means; None for those of triggers, of which there are none."""
    fields = ("q", "namespace", "flowId", "executionId", "taskId", "taskRunId", "triggerId", "level", "minLevel")
    reading = _Reading(request, now, (*fields, "startDate", "endDate", "timeRange", "scope"))
    level = request.one("minLevel") or "TRACE"
    exact: dict[str, str] = {}
    for each in reading.filters:
        if each.field in ("level", "minLevel"):
            _only(each, *_SAME, *_FROM)
            level = each.value
        elif each.field in ("executionId", "taskId", "taskRunId", "triggerId"):
            _only(each, *_SAME)
            exact[each.field] = each.value
        else:
            reading.take(each)
    if request.one("triggerId") or "triggerId" in exact:
        return None
    if reading.conditions or reading.scopes:
        raise ApiError(400, "Bad request: log lines are found by `EQUALS`; namespaces by `PREFIX`, too")
    return LogQuery(
        namespaces=within(request, role, request.one("namespace") or reading.namespace),
        flow_id=request.one("flowId") or reading.flow_id,
        execution_id=exact.get("executionId"),
        task_id=exact.get("taskId"),
        task_run_id=exact.get("taskRunId"),
        levels=levels_from(level),
        since=reading.since,
        until=reading.until,
        words=reading.words(request),
    )


def words_of(text: str) -> tuple[str, ...]:
    """Return the words that a text asks for; a star asks for nothing. Raises ApiError 400."""
    found = text.split()
    if len(found) > _MOST_WORDS:
        raise ApiError(400, f"Bad request: at most {_MOST_WORDS} words can be looked for")
    return tuple(word for word in found if word != "*")


def levels_from(least: str) -> tuple[Level, ...]:
    """Return the levels from *least* on; none when that is all of them. Raises ApiError 400."""
    try:
        rank = Level(least).rank
    except ValueError:
        raise ApiError(400, f"Bad request: `{least[:100]}` is no level; use {', '.join(Level)}") from None
    return tuple(level for level in Level if level.rank >= rank) if rank else ()


class _Reading:
    """What the parts of a query add up to."""

    def __init__(self, request: Request, now: datetime, fields: Sequence[str]) -> None:
        self.filters = filters_of(request, fields)
        self._now = now
        self.namespace = ""
        self.flow_id: str | None = None
        self.states_given: list[State] = []
        self.states_refused: list[State] = []
        self.since = instant_of(request.one("startDate"), "startDate")
        self.until = instant_of(request.one("endDate"), "endDate")
        self.texts: list[str] = []
        self.labels: list[tuple[str, str]] = []
        self.without_labels: list[tuple[str, str]] = []
        self.is_child: bool | None = None
        self.scopes: list[str] = []
        self.conditions: list[Condition] = []
        span = request.one("timeRange")
        if span:
            self.since = self._ago(span)

    @property
    def states(self) -> tuple[State, ...]:
        """The states that are meant; none for all."""
        given = self.states_given or ([*State] if self.states_refused else [])
        return tuple(dict.fromkeys(state for state in given if state not in self.states_refused))

    def words(self, request: Request) -> tuple[str, ...]:
        """Return the words that are looked for."""
        return words_of(" ".join([request.one("q") or "", *self.texts]))

    def take(self, each: Filter) -> None:  # noqa: C901, PLR0912 - one row a field
        """Add a filter."""
        match each.field:
            case "q":
                _only(each, *_SAME, Operation.CONTAINS)
                self.texts.append(each.value)
            case "state":
                _only(each, *_SAME, *_OTHERS)
                kept = self.states_given if each.operation in _SAME else self.states_refused
                kept += [_state(value) for value in each.value.split(",")]
            case "labels":
                self._take_label(each)
            case "startDate":
                _only(each, Operation.EQUALS, *_FROM, *_UNTIL)
                self._take_date(each)
            case "endDate":
                _only(each, Operation.EQUALS, *_FROM, *_UNTIL)
                self._take_date(each)
            case "timeRange":
                _only(each, Operation.EQUALS)
                self.since = self._ago(each.value)
            case "scope":
                _only(each, *_SAME, *_OTHERS)
                named = [value.upper() for value in each.value.split(",")]
                self.scopes += [x for x in ("USER", "SYSTEM") if (x in named) is (each.operation in _SAME)] or [""]
            case "childFilter":
                _only(each, Operation.EQUALS)
                self.is_child = _child(each.value)
            case "kind":
                _only(each, *_SAME, *_OTHERS)
                if ("NORMAL" in each.value.split(",")) is not (each.operation in _SAME):
                    self.conditions.append(Condition("id", search.Operation.EQUALS, ()))
            case "namespace" if each.operation is Operation.PREFIX and not self.namespace:
                self.namespace = each.value
            case "flowId" if each.operation is Operation.EQUALS and self.flow_id is None:
                self.flow_id = each.value
            case _:
                self._take_text(each)

    def take_scopes(self) -> None:
        """Add what the scopes that are asked for mean."""
        meant = {scope.upper() for scope in self.scopes}
        if meant - {"USER", "SYSTEM", ""}:
            raise ApiError(400, "Bad request: `scope` is USER or SYSTEM")
        if meant and meant != {"USER", "SYSTEM"}:
            system = search.Operation.PREFIX
            self.conditions.append(Condition("namespace", system, (SYSTEM,), negated=meant == {"USER"}))
            if meant == {""}:
                self.conditions.append(Condition("id", search.Operation.EQUALS, ()))

    def _take_label(self, each: Filter) -> None:
        _only(each, *_SAME, *_OTHERS)
        pair = (each.key, each.value) if each.key else label_of(each.value)
        (self.labels if each.operation in _SAME else self.without_labels).append(pair)

    def _take_date(self, each: Filter) -> None:
        date = instant_of(each.value, each.field)
        by_name = _FROM if each.field == "startDate" else _UNTIL
        operation = by_name[1] if each.operation is Operation.EQUALS else each.operation
        step = timedelta(microseconds=1)
        assert date is not None  # noqa: S101 - a filter's value is there
        if operation in _FROM:
            self.since = date if operation is _FROM[1] else date + step
        else:
            self.until = date if operation is _UNTIL[1] else date - step

    def _take_text(self, each: Filter) -> None:
        _only(each, *_COMPARISONS)
        operation, negated = _COMPARISONS[each.operation]
        condition = Condition(_TEXTS[each.field], operation, each.values, negated)
        try:
            condition.holds("")
        except ValueError as error:
            raise ApiError(400, f"Bad request: {error}") from None
        self.conditions.append(condition)
        if each.field == "namespace" and operation is search.Operation.EQUALS and not negated and not self.namespace:
            # Narrows what is read; the condition says the rest.
            self.namespace = each.values[0] if len(each.values) == 1 else ""

    def _ago(self, span: str) -> datetime:
        try:
            return self._now - parse_duration(span)
        except (ValueError, OverflowError):
            raise ApiError(400, f"Bad request: `timeRange` is an ISO duration, not `{span[:100]}`") from None


def execution_order(request: Request) -> tuple[Order, ...]:
    """Return how a request wants executions sorted. Raises ApiError 400."""
    order = []
    for written in request.query.get("sort", ()):
        field, _, direction = written.partition(":")
        if field not in SORTS or direction.lower() not in ("", "asc", "desc"):
            fields = ", ".join(SORTS)
            raise ApiError(400, f"Bad request: `sort` is `field:asc` or `field:desc`, with {fields}")
        order.append(Order(SORTS[field], direction.lower() == "desc"))
    return tuple(order) or NEWEST


def instant_of(text: str | None, name: str) -> datetime | None:
    """Return the instant that a query's value says, UTC without a zone. Raises ApiError 400."""
    if not text:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        date = datetime.fromisoformat(text.strip().replace(" ", "+") if text.count("T") else text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ApiError(400, f"Bad request: `{name}` is an ISO instant, not `{text[:100]}`") from None
    return max(date, _EARLIEST)


def of_exactly(namespace: str, flow_id: str) -> ExecutionQuery:
    """Return what means the executions of one flow."""
    exactly = (Condition("namespace", search.Operation.EQUALS, (namespace,)),)
    return ExecutionQuery((namespace,), flow_id, conditions=exactly)


def revision_of(request: Request) -> int | None:
    """Return the revision that a query names. Raises ApiError 400."""
    revision = request.number("revision", 0)
    if revision >= 2**31:
        raise ApiError(400, "Bad request: there are not so many revisions")
    return revision or None


def label_of(text: str) -> tuple[str, str]:
    """Return the label that ``key:value`` writes. Raises ApiError 400."""
    key, separator, value = text.partition(":")
    if not key or not separator:
        raise ApiError(400, f"Bad request: a label is `key:value`, not `{text[:100]}`")
    return key, value


def read_query(read: Callable[[str], _T], text: str, wanted: str) -> _T:
    """Return what *read* makes of a query's value. Raises ApiError 400, which says what is *wanted*."""
    try:
        return read(text)
    except ValueError:
        raise ApiError(400, f"Bad request: `{text[:100]}` is no {wanted}") from None


def _state(name: str) -> State:
    return read_query(State, name.strip(), "state")


def _child(value: str) -> bool:
    if value not in ("CHILD", "MAIN"):
        raise ApiError(400, "Bad request: `childFilter` is CHILD or MAIN")
    return value == "CHILD"


def _only(each: Filter, *operations: Operation) -> None:
    if each.operation not in operations:
        known = ", ".join(operations)
        raise ApiError(400, f"Bad request: `{each.field}` cannot be filtered by {each.operation}; use {known}")
