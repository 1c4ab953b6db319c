"""Log lines (reference §14.4): of one execution, of all, as they come, and gone."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

import msgspec

from headrace_engine.api.execution_filters import LOG_QUERY, instant_of, levels_from, log_query
from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.http import EVENTS, Answer, ApiError, Request, Response, ServerEvent, Stream, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.identity import Role
from headrace_engine.ports import Level, LogLine, LogPage, LogQuery
from headrace_engine.view import instant

_AT_ONCE = 1_000
_LATE = timedelta(seconds=10)
"""How much later than its date a line may come: several processes write, each in batches."""
_ALIVE = timedelta(seconds=15)
_MOST = 5_000
"""Lines of one answer, where a host does not stream; the others come with the next one."""
_MARKS = 200
"""Lines that an event's id tells apart."""

_OF_EXECUTION = (
    Query("minLevel", Level),
    Query("taskId", str),
    Query("taskRunId", str),
    Query("attempt", int, "Which attempt, from 0."),
)


class LineView(TypedDict):
    """A log line."""

    namespace: str
    flowId: str
    executionId: str
    taskId: str | None
    taskRunId: str | None
    attemptNumber: int | None
    triggerId: str | None
    timestamp: str
    level: Level
    thread: str | None
    message: str
    executionKind: Literal["NORMAL"]


class LinePage(TypedDict):
    """Some log lines; the total is a lower bound unless `totalIsExact`."""

    results: list[LineView]
    total: int
    totalIsExact: bool


class LogRoutes:
    """Answers requests about log lines."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logs = engine.stores.logs

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/logs/{execution_id}"
        return (
            Route(
                "GET",
                "/logs/search",
                self.search,
                role=Role.VIEWER,
                each=True,
                summary="Search log lines, the newest first unless sorted by `timestamp:asc`",
                query=(*PAGING, *LOG_QUERY),
                returns=(Returns(200, LinePage),),
                refuses=(),
            ),
            Route(
                "GET",
                one,
                self.of_execution,
                role=Role.VIEWER,
                summary="List the log lines of an execution",
                query=_OF_EXECUTION,
                returns=(Returns(200, list[LineView]),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/download",
                self.download,
                role=Role.VIEWER,
                summary="Get the log lines of an execution as text",
                query=_OF_EXECUTION,
                returns=(Returns(200, str, "text/plain"),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/follow",
                self.follow,
                role=Role.VIEWER,
                summary="Follow the log of an execution by server-sent events, `progress` and `end`",
                query=_OF_EXECUTION,
                returns=(
                    Returns(200, ServerEvent, EVENTS),
                    Returns(204, about="Whoever asks has heard the end already, as `Last-Event-ID` says."),
                ),
                refuses=(404,),
            ),
            Route(
                "DELETE",
                one,
                self.delete,
                role=Role.OPERATOR,
                summary="Delete log lines of an execution",
                query=_OF_EXECUTION,
                returns=(Returns(204),),
                refuses=(404,),
            ),
            Route(
                "DELETE",
                "/logs/{namespace}/{flow_id}",
                self.delete_of_trigger,
                role=Role.OPERATOR,
                summary="Delete the log lines of a trigger, which has none of its own",
                query=(Query("triggerId", str, required=True),),
                returns=(Returns(204),),
                refuses=(404,),
            ),
        )

    def search(self, request: Request) -> Response:
        """Return one page of what a query asks for."""
        page = page_of(request, ("timestamp",))
        query = log_query(request, Role.VIEWER, self._engine.stores.clock.now())
        descending = page.order[0][1] if page.order else True
        found = LogPage((), 0)
        if query is not None:
            found = self._logs.search(query, limit=page.size, offset=page.offset, descending=descending)
        return json_response(
            {
                "results": [line_view(line) for line in found.found],
                "total": found.total,
                "totalIsExact": found.is_exact,
            }
        )

    def of_execution(self, request: Request, execution_id: str) -> Response:
        """Return an execution's lines, the oldest first."""
        return json_response([line_view(line) for line in self._lines(request, execution_id)])

    def download(self, request: Request, execution_id: str) -> Answer:
        """Return an execution's lines as text."""
        lines = self._lines(request, execution_id)
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "content-disposition": f'attachment; filename="{execution_id}.log"',
        }
        return Stream(200, (f"{_text(line)}\n".encode("utf-8", "replace") for line in lines), headers)

    def delete(self, request: Request, execution_id: str) -> Response:
        """Remove lines of an execution."""
        self._must_exist(execution_id)
        asked = self._asked(request, execution_id)
        self._logs.purge(
            execution_id,
            levels=asked.levels,
            task_id=asked.task_id,
            task_run_id=asked.task_run_id,
            attempt=asked.attempt,
        )
        return Response(204)

    def delete_of_trigger(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Remove the lines of a trigger: what it does is in the logs of the executions that it starts."""
        if not request.one("triggerId"):
            raise ApiError(400, "Bad request: `triggerId` is needed")
        self._engine.flow_of(namespace, flow_id)
        return Response(204)

    # -- Followed ---------------------------------------------------------------------------------------

    def follow(self, request: Request, execution_id: str) -> Answer:
        """Return the lines as they come, until the execution ends.

        Where a host cannot stream, an answer brings those that came since `Last-Event-ID`, and says when to ask again.
        """
        self._must_exist(execution_id)
        last = request.headers.get("last-event-id", "")
        if last == "end":
            return Response(204)
        asked = self._asked(request, execution_id)
        headers = {"content-type": EVENTS, "cache-control": "no-store", "x-accel-buffering": "no"}
        if request.streams:
            return Stream(200, self._events(asked), headers, (execution_id,))
        is_over = self._is_over(execution_id)
        since, marks = _told(last)
        lines = []
        for line in self._logs.search(replace(asked, since=since), limit=_MOST, descending=False).found:
            if marks[_mark(line)]:
                marks[_mark(line)] -= 1
            else:
                lines.append(line)
        events = [_event("progress", line) for line in lines]
        if lines:
            before = self._marked(asked, lines[-1])
            events[-1] = _event("progress", lines[-1], before)
        return Response(200, b"".join([*events, _END if is_over else b"retry: 1000\n\n"]), headers)

    def _marked(self, asked: LogQuery, newest: LogLine) -> str:
        """Return what says which lines were told, of the newest ones: others may come among them."""
        window = replace(asked, since=newest.timestamp - _LATE, until=newest.timestamp)
        lines = self._logs.search(window, limit=_MARKS).found
        since = lines[-1].timestamp if len(lines) == _MARKS else newest.timestamp - _LATE
        return f"progress-{since:%Y-%m-%dT%H:%M:%S.%fZ}-{'.'.join(map(_mark, lines))}"

    def _events(self, asked: LogQuery) -> Iterator[bytes]:
        clock = self._engine.stores.clock
        told: Counter[LogLine] = Counter()
        since: datetime | None = None
        last = clock.now()
        while True:
            is_over = self._is_over(asked.execution_id or "")
            for line in self._new_lines(asked, since, told):
                since = max(since or line.timestamp, line.timestamp - _LATE)
                last = clock.now()
                yield _event("progress", line)
            if since is not None:
                told = Counter({line: count for line, count in told.items() if line.timestamp >= since})
            if is_over:
                yield _END
                return
            if clock.now() - last >= _ALIVE:
                last = clock.now()
                yield b":\n\n"
            yield b""

    def _new_lines(self, asked: LogQuery, since: datetime | None, told: Counter[LogLine]) -> list[LogLine]:
        """Return the lines from *since* on that were not told, and count them as told."""
        query = replace(asked, since=since)
        found: list[LogLine] = []
        while True:
            page = self._logs.search(query, limit=_AT_ONCE, offset=len(found), descending=False)
            found += page.found
            if len(page.found) < _AT_ONCE:
                break
        seen: Counter[LogLine] = Counter()
        new = []
        for line in found:
            seen[line] += 1
            if seen[line] > told[line]:
                told[line] += 1
                new.append(line)
        return new

    def _is_over(self, execution_id: str) -> bool:
        state = self._engine.platform.state(execution_id)
        return state is None or state.closed

    # -- What they share --------------------------------------------------------------------------------

    def _lines(self, request: Request, execution_id: str) -> Sequence[LogLine]:
        self._must_exist(execution_id)
        asked = self._asked(request, execution_id)
        return [line for line in self._logs.fetch(execution_id) if asked.matches(line)]

    def _asked(self, request: Request, execution_id: str) -> LogQuery:
        return LogQuery(
            execution_id=execution_id,
            task_id=request.one("taskId"),
            task_run_id=request.one("taskRunId"),
            attempt=request.number("attempt", 0, least=0) if request.one("attempt") is not None else None,
            levels=levels_from(request.one("minLevel") or "TRACE"),
        )

    def _must_exist(self, execution_id: str) -> None:
        # The summary may come a moment later than the execution itself.
        engine = self._engine
        if engine.stores.executions.get(execution_id) is None and engine.platform.state(execution_id) is None:
            raise NoSuchExecutionError(f"Execution {execution_id}")


def _told(last: str) -> tuple[datetime | None, Counter[str]]:
    """Return from when on lines may be new, and the marks of those that are not; whatever an id is that is no id."""
    found = _ID.fullmatch(last)
    if found is None:
        return None, Counter()
    return instant_of(found["since"], "last-event-id"), Counter(found["marks"].split("."))


def _mark(line: LogLine) -> str:
    return f"{zlib.crc32(msgspec.json.encode(line_view(line))):08x}"


_ID = re.compile(r"progress-(?P<since>[0-9T:.-]+Z)-(?P<marks>[0-9a-f.]*)")
_END = b"id: end\nevent: end\ndata: {}\n\n"


def line_view(line: LogLine) -> dict[str, Any]:
    """Return a log line as JSON."""
    return {
        "namespace": line.namespace,
        "flowId": line.flow_id,
        "executionId": line.execution_id,
        "taskId": line.task_id,
        "taskRunId": line.task_run_id,
        "attemptNumber": line.attempt,
        "triggerId": None,
        "timestamp": instant(line.timestamp),
        "level": line.level.value,
        "thread": None,
        "message": line.message,
        "executionKind": "NORMAL",
    }


def _event(name: str, line: LogLine, event_id: str | None = None) -> bytes:
    return f"id: {event_id or name}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(line_view(line)) + b"\n\n"


def _text(line: LogLine) -> str:
    task = f" {line.task_id}" if line.task_id is not None else ""
    return f"{instant(line.timestamp)} {line.level.value}{task} {line.message}"
