"""How many executions and log lines there were, by day, flow and state (reference §14.4): what dashboards draw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NotRequired, TypedDict

from headrace_engine.api.execution_filters import instant_of, levels_from, of_exactly, words_of
from headrace_engine.api.execution_views import ExecutionView, summary_view
from headrace_engine.api.gate import within
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.ports import DayTally, ExecutionSummary, Level, LogQuery, SearchTooWideError
from headrace_engine.view import duration, instant

_SPAN = timedelta(days=30)
_LONGEST = timedelta(days=366)
_MOST_FLOWS = 100
_AT_ONCE = 10_000
"""Log lines that are read to count them; of more the store is asked for each day and level."""


class FlowFilter(TypedDict):
    """A flow."""

    namespace: str
    id: str


class StatsAsked(TypedDict):
    """Which executions are counted: 30 days of them unless told, of all namespaces."""

    namespace: NotRequired[str | None]
    flowId: NotRequired[str | None]
    flows: NotRequired[list[FlowFilter] | None]
    state: NotRequired[list[State] | None]
    startDate: NotRequired[str | None]
    endDate: NotRequired[str | None]


class Durations(TypedDict):
    """How long those took that have ended; ISO durations."""

    min: str
    avg: str
    max: str
    sum: str
    count: int


class Daily(TypedDict):
    """A day (UTC): how many executions that began then are in each state now."""

    startDate: str
    groupBy: Literal["DAY"]
    executionCounts: dict[str, int]
    duration: Durations


class LinesAsked(TypedDict):
    """Which log lines are counted: 30 days of them unless told, of all namespaces."""

    q: NotRequired[str | None]
    namespace: NotRequired[str | None]
    flowId: NotRequired[str | None]
    logLevel: NotRequired[Level | None]
    startDate: NotRequired[str | None]
    endDate: NotRequired[str | None]


class DailyLines(TypedDict):
    """A day (UTC): how many lines of each level were written."""

    timestamp: str
    groupBy: Literal["DAY"]
    counts: dict[str, int]


class Summary(TypedDict):
    """How many there are."""

    flows: int
    triggers: int
    executions: int


class StatsRoutes:
    """Answers requests about numbers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        days = "executions/daily"
        rows: tuple[tuple[str, Any, str, Any, Any], ...] = (
            ("summary", self.summary, "Count flows, their triggers, and executions", StatsAsked, Summary),
            ("logs/daily", self.lines, "Count log lines by day and level", LinesAsked, list[DailyLines]),
            (days, self.daily, "Count executions by day and state", StatsAsked, list[Daily]),
            (
                f"{days}/group-by-namespace",
                self.by_namespace,
                "Count executions by namespace, day and state",
                StatsAsked,
                dict[str, list[Daily]],
            ),
            (
                f"{days}/group-by-flow",
                self.by_flow,
                "Count executions by flow, day and state",
                StatsAsked,
                dict[str, dict[str, list[Daily]]],
            ),
            (
                "executions/latest/group-by-flow",
                self.latest,
                "Get the latest execution of each of `flows`",
                StatsAsked,
                list[ExecutionView],
            ),
        )
        return tuple(
            Route(
                "POST",
                f"/stats/{path}",
                answer,
                role=Role.VIEWER,
                each=True,
                summary=summary,
                bodies=(Body(asked),),
                returns=(Returns(200, type_),),
                refuses=(422,),
            )
            for path, answer, summary, asked, type_ in rows
        )

    def summary(self, request: Request) -> Response:
        """Return how many there are; executions of the time that is asked for."""
        asked = request.json(StatsAsked)
        prefixes = within(request, Role.VIEWER, asked.get("namespace") or "")
        names = [name for prefix in prefixes for name in self._engine.stores.flows.names(prefix)]
        records = self._engine.stores.triggers
        triggers = sum(len(records.list(namespace, flow_id)) for namespace, flow_id in names)
        executions = sum(tally.count for tally in self._tallies(request, asked)[1])
        return json_response({"flows": len(names), "triggers": triggers, "executions": executions})

    def daily(self, request: Request) -> Response:
        """Return the days."""
        span, tallies = self._tallies(request, request.json(StatsAsked))
        return json_response(_days(span, tallies))

    def by_namespace(self, request: Request) -> Response:
        """Return the days of each namespace."""
        span, tallies = self._tallies(request, request.json(StatsAsked))
        groups: dict[str, list[DayTally]] = defaultdict(list)
        for tally in tallies:
            groups[tally.namespace].append(tally)
        return json_response({namespace: _days(span, own) for namespace, own in groups.items()})

    def by_flow(self, request: Request) -> Response:
        """Return the days of each flow."""
        span, tallies = self._tallies(request, request.json(StatsAsked))
        groups: dict[str, dict[str, list[DayTally]]] = defaultdict(lambda: defaultdict(list))
        for tally in tallies:
            groups[tally.namespace][tally.flow_id].append(tally)
        return json_response(
            {
                namespace: {flow_id: _days(span, own) for flow_id, own in flows.items()}
                for namespace, flows in groups.items()
            }
        )

    def latest(self, request: Request) -> Response:
        """Return the latest execution of each flow that has one."""
        flows = request.json(StatsAsked).get("flows") or []
        if len(flows) > _MOST_FLOWS:
            raise ApiError(422, f"Illegal argument: at most {_MOST_FLOWS} flows can be asked for at once")
        now = self._engine.stores.clock.now()
        found: list[ExecutionSummary] = []
        for flow in flows:
            if within(request, Role.VIEWER, flow["namespace"]) == (flow["namespace"],):
                query = of_exactly(flow["namespace"], flow["id"])
                found += self._engine.stores.executions.search(query, limit=1).found
        return json_response([summary_view(each, now) for each in found])

    def lines(self, request: Request) -> Response:
        """Return the days; 422 where lines lie by execution and there are too many of those to count them all."""
        asked: LinesAsked = request.json(LinesAsked)
        since, until = self._between(asked.get("startDate"), asked.get("endDate"))
        query = LogQuery(
            namespaces=within(request, Role.VIEWER, asked.get("namespace") or ""),
            flow_id=asked.get("flowId"),
            levels=levels_from(asked.get("logLevel") or Level.TRACE),
            since=since,
            until=until,
            words=words_of(asked.get("q") or ""),
        )
        counts: dict[date, Counter[str]] = defaultdict(Counter)
        found = self._engine.stores.logs.search(query, limit=_AT_ONCE)
        if not found.is_exact:
            raise ApiError(422, "Illegal argument: too many log lines to count: ask for one flow, or fewer days")
        if found.total <= _AT_ONCE:
            for line in found.found:
                counts[line.timestamp.date()][line.level.value] += 1
        else:
            counts |= self._counted(query, Span(since.date(), until.date()))
        return json_response([_day_of_lines(day, counts[day]) for day in Span(since.date(), until.date())])

    def _counted(self, query: LogQuery, span: Span) -> dict[date, Counter[str]]:
        """Return the lines of each day by level; the store counts them, they are not read."""
        found = {}
        for day in span:
            begin = datetime.combine(day, time(), UTC)
            end = begin + timedelta(days=1) - timedelta(microseconds=1)
            of_day = replace(query, since=max(begin, query.since or begin), until=min(end, query.until or end))
            found[day] = Counter(
                {
                    level.value: self._engine.stores.logs.search(replace(of_day, levels=(level,)), limit=1).total
                    for level in query.levels or Level
                }
            )
        return found

    def _between(self, start: str | None, end: str | None) -> tuple[datetime, datetime]:
        """Return the instants that are asked for. Raises ApiError 400 and 422."""
        until = instant_of(end, "endDate") or self._engine.stores.clock.now()
        since = instant_of(start, "startDate") or until - _SPAN
        if until - since > _LONGEST:
            raise ApiError(422, "Illegal argument: from `startDate` to `endDate` it is a year at most")
        return since, until

    def _tallies(self, request: Request, asked: StatsAsked) -> tuple[Span, Sequence[DayTally]]:
        since, until = self._between(asked.get("startDate"), asked.get("endDate"))
        query = ExecutionQuery(
            namespaces=within(request, Role.VIEWER, asked.get("namespace") or ""),
            flow_id=asked.get("flowId"),
            since=since,
            until=until,
        )
        try:
            tallies = self._engine.stores.executions.daily(query)
        except SearchTooWideError as error:
            raise ApiError(422, f"Illegal argument: {error}") from None
        flows = {(each["namespace"], each["id"]) for each in asked.get("flows") or []}
        states = asked.get("state") or []
        return Span(since.date(), until.date()), [
            tally
            for tally in tallies
            if (not flows or (tally.namespace, tally.flow_id) in flows) and (not states or tally.state in states)
        ]


@dataclass(frozen=True, slots=True)
class Span:
    """Days from one to another."""

    first: date
    last: date

    def __iter__(self) -> Any:
        return (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))


def _days(span: Span, tallies: Iterable[DayTally]) -> list[Daily]:
    """Return every day of *span*, with what there is of it."""
    by_day: dict[date, list[DayTally]] = defaultdict(list)
    for tally in tallies:
        by_day[tally.day].append(tally)
    return [_day(day, by_day[day]) for day in span]


def _day(day: date, tallies: Sequence[DayTally]) -> Daily:
    counts = dict.fromkeys((state.value for state in State), 0)
    for tally in tallies:
        counts[tally.state.value] += tally.count
    ended = [tally for tally in tallies if tally.state.is_terminal]
    count = sum(tally.count for tally in ended)
    seconds = sum(tally.seconds for tally in ended)
    return {
        "startDate": instant(datetime.combine(day, time(), UTC)),
        "groupBy": "DAY",
        "executionCounts": counts,
        "duration": {
            "min": _length(min((tally.shortest for tally in ended), default=0.0)),
            "avg": _length(seconds / count if count else 0.0),
            "max": _length(max((tally.longest for tally in ended), default=0.0)),
            "sum": _length(seconds),
            "count": count,
        },
    }


def _day_of_lines(day: date, counts: Counter[str]) -> DailyLines:
    return {
        "timestamp": instant(datetime.combine(day, time(), UTC)),
        "groupBy": "DAY",
        "counts": {level.value: counts[level.value] for level in Level},
    }


def _length(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))
