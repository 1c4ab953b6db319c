"""Metrics of task runs (reference §14.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from headrace_engine.api.execution_filters import instant_of
from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.identity import Role
from headrace_engine.ports import MetricPoint
from headrace_engine.view import instant

_SPAN = timedelta(days=30)
_SORTS = ("timestamp", "name", "value", "taskId")
_BY_HOURS = timedelta(days=2)
"""Up to so long a time is told by the hour, a longer one by the day."""
_LONGEST = timedelta(days=366)

_AGGREGATIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
}


class MetricView(TypedDict):
    """A metric of a task run."""

    namespace: str
    flowId: str
    taskId: str
    executionId: str
    taskRunId: str
    type: str
    name: str
    value: float
    timestamp: str
    tags: dict[str, str]
    executionKind: Literal["NORMAL"]


class MetricPage(TypedDict):
    """Some metrics."""

    results: list[MetricView]
    total: int


class Aggregation(TypedDict):
    """What a metric comes to in an hour or a day that begins then; null where there was none."""

    name: str
    date: str
    value: float | None


class Aggregations(TypedDict):
    """What a metric comes to, over a time."""

    groupBy: Literal["hour", "day"]
    aggregations: list[Aggregation]


class MetricRoutes:
    """Answers requests about metrics."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metrics = engine.stores.metrics

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        flow = "{namespace}/{flow_id}"
        span = (
            Query("startDate", str, "An ISO instant; 30 days ago unless told."),
            Query("endDate", str, "An ISO instant."),
        )
        aggregates = (*span, Query("aggregation", Literal["sum", "avg", "min", "max"], "sum unless told."))
        rows: tuple[tuple[str, Callable[..., Response], str, tuple[Query, ...], Any], ...] = (
            (f"names/{flow}", self.names, "List the metrics of a flow", span, list[str]),
            (f"names/{flow}/{{task_id}}", self.names, "List the metrics of a task", span, list[str]),
            (f"tasks/{flow}", self.tasks, "List the tasks of a flow that have metrics", span, list[str]),
            (f"aggregates/{flow}/{{metric}}", self.aggregates, "Add up a metric of a flow", aggregates, Aggregations),
            (
                f"aggregates/{flow}/{{task_id}}/{{metric}}",
                self.aggregates,
                "Add up a metric of a task",
                aggregates,
                Aggregations,
            ),
        )
        return (
            Route(
                "GET",
                "/metrics/{execution_id}",
                self.of_execution,
                role=Role.VIEWER,
                summary="List the metrics of an execution",
                query=(*PAGING, Query("taskRunId", str), Query("taskId", str)),
                returns=(Returns(200, MetricPage),),
                refuses=(404,),
            ),
            *(
                Route(
                    "GET",
                    f"/metrics/{path}",
                    answer,
                    role=Role.VIEWER,
                    summary=summary,
                    query=query,
                    returns=(Returns(200, type_),),
                    refuses=(),
                )
                for path, answer, summary, query, type_ in rows
            ),
        )

    def of_execution(self, request: Request, execution_id: str) -> Response:
        """Return one page of an execution's metrics, the oldest first unless told."""
        if self._engine.stores.executions.get(execution_id) is None:
            raise NoSuchExecutionError(f"Execution {execution_id}")
        page = page_of(request, _SORTS)
        task_id, task_run_id = request.one("taskId"), request.one("taskRunId")
        found = [
            point
            for point in self._metrics.fetch(execution_id)
            if task_id in (None, point.task_id) and task_run_id in (None, point.task_run_id)
        ]
        found = page.sorted(found, _value)
        return json_response({"results": [_view(point) for point in page.of(found)], "total": len(found)})

    def names(self, request: Request, namespace: str, flow_id: str, task_id: str | None = None) -> Response:
        """Return the names of the metrics of a flow, or of one of its tasks."""
        points = self._points(request, namespace, flow_id, task_id)
        return json_response(sorted({point.name for point in points}))

    def tasks(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return the ids of the tasks that have metrics."""
        return json_response(sorted({point.task_id for point in self._points(request, namespace, flow_id)}))

    def aggregates(
        self, request: Request, namespace: str, flow_id: str, metric: str, task_id: str | None = None
    ) -> Response:
        """Return what a metric comes to in each hour, or each day, of a time."""
        kind = request.one("aggregation") or "sum"
        if kind not in _AGGREGATIONS:
            raise ApiError(400, f"Bad request: `aggregation` is one of {', '.join(_AGGREGATIONS)}")
        since, until = self._span(request)
        by_hours = until - since <= _BY_HOURS
        step = timedelta(hours=1) if by_hours else timedelta(days=1)
        values: dict[datetime, list[float]] = defaultdict(list)
        for point in self._points(request, namespace, flow_id, task_id):
            if point.name == metric:
                values[_begin(point.timestamp, by_hours=by_hours)].append(point.value)
        aggregations: list[Aggregation] = []
        date = _begin(since, by_hours=by_hours)
        while date <= until:
            value = _AGGREGATIONS[kind](values[date]) if date in values else None
            aggregations.append({"name": metric, "date": instant(date), "value": value})
            date += step
        return json_response({"groupBy": "hour" if by_hours else "day", "aggregations": aggregations})

    def _points(
        self, request: Request, namespace: str, flow_id: str, task_id: str | None = None
    ) -> Iterable[MetricPoint]:
        since, until = self._span(request)
        points = self._metrics.of_flow(namespace, flow_id, since=since, until=until)
        return (point for point in points if task_id in (None, point.task_id))

    def _span(self, request: Request) -> tuple[datetime, datetime]:
        until = instant_of(request.one("endDate"), "endDate") or self._engine.stores.clock.now()
        since = instant_of(request.one("startDate"), "startDate") or until - _SPAN
        if until - since > _LONGEST:
            raise ApiError(400, "Bad request: from `startDate` to `endDate` it is a year at most")
        return since, until


def _begin(date: datetime, *, by_hours: bool) -> datetime:
    return date.replace(hour=date.hour if by_hours else 0, minute=0, second=0, microsecond=0)


def _value(point: MetricPoint, field: str) -> Any:
    return point.task_id if field == "taskId" else getattr(point, field)


def _view(point: MetricPoint) -> dict[str, Any]:
    return {
        "namespace": point.namespace,
        "flowId": point.flow_id,
        "taskId": point.task_id,
        "executionId": point.execution_id,
        "taskRunId": point.task_run_id,
        "type": point.kind,
        "name": point.name,
        "value": point.value,
        "timestamp": instant(point.timestamp),
        "tags": dict(point.tags),
        "executionKind": "NORMAL",
    }
