"""Which executions started which (reference §14.3): by a task that calls a flow, or because a trigger heard of them.

Nothing is searched: what an execution called stands in its journal, what called it in the first entry of that, and the
ids of those that Flow triggers start follow from the change that they heard of. What a trigger started with an
`idempotencyKey` is found from the started one alone, and what a trigger of a flow that is gone started, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NotRequired, TypedDict

import msgspec

from headrace_engine.api.execution_views import StateView, summary_view
from headrace_engine.api.http import EVENTS, Answer, Request, Response, ServerEvent, Stream, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.callers import Relation, caller_of
from headrace_engine.core.codec import decode_entry
from headrace_engine.core.events import ChildStarted, ExecutionCreated, ExecutionMoved, ItemsLaunched, ItemsStarted
from headrace_engine.core.fold import item_id
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.identity import Role
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary

_MOST = 1_000
"""Executions of one answer."""
_LOOKUPS = 2_000
"""How many executions are looked up for one answer, those included that are not there: a trigger may not have fired."""
_LOOKUPS_ELSEWHERE = 500
"""The same where an answer is sent whole: there each takes milliseconds, and an answer half a minute at most."""
_ALIVE = timedelta(seconds=15)
_HEARD = timedelta(seconds=2)
"""So long after the last end others may still be started by it."""


class ExecutionStatus(TypedDict):
    """An execution, and how it stands."""

    executionId: str
    tenantId: str
    namespace: str
    flowId: str
    state: StateView


class ExecutionEdge(TypedDict):
    """The execution *source* started the execution *target*."""

    source: str
    target: str
    relation: Relation


class ExecutionTopology(TypedDict):
    """Executions, and which started which. `isComplete` is false, and there, when there are more than these."""

    nodes: list[ExecutionStatus]
    edges: list[ExecutionEdge]
    isComplete: NotRequired[bool]


class ExecutionDependencies:
    """Answers requests for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.stores.clock

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/executions/{execution_id}"
        query = (
            Query("destinationOnly", bool, "Whether without those that started it."),
            Query("expandAll", bool, "Whether with those that these started, or were started by, on and on."),
        )
        return (
            Route(
                "GET",
                f"{one}/dependencies",
                self.get,
                role=Role.VIEWER,
                summary="Get the executions that an execution started, and those that started it",
                query=query,
                returns=(Returns(200, ExecutionTopology),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/follow-dependencies",
                self.follow,
                role=Role.VIEWER,
                summary="Follow those executions by server-sent events, `progress` and `end`",
                query=query,
                returns=(
                    Returns(200, ServerEvent, EVENTS),
                    Returns(204, about="Whoever asks has heard the end already, as `Last-Event-ID` says."),
                ),
                refuses=(404,),
            ),
        )

    def get(self, request: Request, execution_id: str) -> Response:
        """Return them as a graph, as far as who asks may see them."""
        around = self._around(request, execution_id)
        around.look()
        nodes = [self._status(each) for each in around.shown()]
        ids = {each["executionId"] for each in nodes}
        found: ExecutionTopology = {
            "nodes": nodes,
            "edges": [each for each in around.edges() if each["source"] in ids and each["target"] in ids],
        }
        if around.is_cut:
            found["isComplete"] = False
        return json_response(found)

    def follow(self, request: Request, execution_id: str) -> Answer:
        """Return each of them when it is found and when its state changes, until all have ended.

        Where a host cannot stream, an answer tells how all stand now and when to ask again.
        """
        if request.headers.get("last-event-id") == "end":
            return Response(204)
        around = self._around(request, execution_id)
        headers = {"content-type": EVENTS, "cache-control": "no-store", "x-accel-buffering": "no"}
        if request.streams:
            return Stream(200, self._events(around), headers)
        around.look()
        events = [self._event("progress", each) for each in around.shown()]
        last = self._event("end", around.root) if around.is_over(self._clock.now()) else b"retry: 1000\n\n"
        return Response(200, b"".join([*events, last]), headers)

    def _events(self, around: _Around) -> Iterator[bytes]:
        told: dict[str, State] = {}
        last = self._clock.now()
        while True:
            around.look()
            for each in around.shown():
                if told.get(each.id) is not each.state:
                    told[each.id], last = each.state, self._clock.now()
                    yield self._event("progress", each)
            if around.is_over(self._clock.now()):
                yield self._event("end", around.root)
                return
            if self._clock.now() - last >= _ALIVE:
                last = self._clock.now()
                yield b":\n\n"
            yield b""

    def _around(self, request: Request, execution_id: str) -> _Around:
        return _Around(
            self._engine,
            execution_id,
            request,
            destination_only=request.flag("destinationOnly"),
            further=request.flag("expandAll"),
        )

    def _event(self, name: str, summary: ExecutionSummary) -> bytes:
        data = msgspec.json.encode(self._status(summary))
        return f"id: {name}\nevent: {name}\ndata: ".encode() + data + b"\n\n"

    def _status(self, summary: ExecutionSummary) -> ExecutionStatus:
        view: dict[str, Any] = summary_view(summary, self._clock.now())
        return {
            "executionId": summary.id,
            "tenantId": view["tenantId"],
            "namespace": summary.namespace,
            "flowId": summary.flow_id,
            "state": view["state"],
        }


@dataclass(slots=True)
class _Known:
    """What is known of an execution: read as far as `seq`."""

    summary: ExecutionSummary
    seq: int = -1
    source: tuple[str, Relation] | None = None
    states: list[State] = field(default_factory=lambda: [State.CREATED])
    items: dict[str, ItemsStarted] = field(default_factory=dict)
    called: dict[str, None] = field(default_factory=dict)
    is_cut: bool = False


class _Around:
    """The executions around one; looking again reads only what is new."""

    def __init__(
        self, engine: Engine, execution_id: str, request: Request, *, destination_only: bool, further: bool
    ) -> None:
        """Raises NoSuchExecutionError."""
        self._engine = engine
        self._stores = engine.stores
        self._id = execution_id
        self._request = request
        self._destination_only = destination_only
        self._further = further
        self._known: dict[str, _Known] = {}
        self._links: dict[tuple[str, str], Relation] = {}
        self._lookups = _LOOKUPS if request.streams else _LOOKUPS_ELSEWHERE
        self._left = self._lookups
        self.is_cut = False
        """Whether there are more than these."""
        if self._read(execution_id) is None:
            raise NoSuchExecutionError(f"Execution {execution_id}")

    @property
    def root(self) -> ExecutionSummary:
        """The execution itself."""
        return self._known[self._id].summary

    def shown(self) -> list[ExecutionSummary]:
        """Return those that were found, the execution itself first."""
        return [known.summary for known in self._known.values()]

    def edges(self) -> list[ExecutionEdge]:
        """Return which started which."""
        return [
            {"source": source, "target": target, "relation": relation}
            for (source, target), relation in self._links.items()
        ]

    def is_over(self, now: datetime) -> bool:
        """Return whether all have ended, and so long ago that they start nothing more."""
        ends = [known.summary.end for known in self._known.values() if known.summary.wake_by is None]
        if len(ends) < len(self._known):
            return False
        return all(end is not None and now - end >= _HEARD for end in ends)

    def look(self) -> None:
        """Find them, as they stand now."""
        self._left = self._lookups
        self._read(self._id)
        # Up there is one at each step: that is never cut.
        for up in (False,) if self._destination_only else (True, False):
            waiting, seen = deque([self._id]), {self._id}
            while waiting:
                execution_id = waiting.popleft()
                for other, relation in self._next_to(execution_id, up=up):
                    if other in seen:
                        continue
                    if self._left <= 0 or (other not in self._known and len(self._known) >= _MOST):
                        self.is_cut = True
                        break
                    if self._read(other) is None:
                        continue
                    self._links[(other, execution_id) if up else (execution_id, other)] = relation
                    seen.add(other)
                    if self._further:
                        waiting.append(other)

    def _next_to(self, execution_id: str, *, up: bool) -> Iterator[tuple[str, Relation]]:
        known = self._known[execution_id]
        if up:
            if known.source is not None:
                yield known.source
            return
        self.is_cut |= known.is_cut
        for child in known.called:
            yield child, "FLOW_TASK"
        summary = known.summary
        for listener in self._engine.listeners.of(summary.namespace, summary.flow_id):
            flow, trigger = listener.flow, listener.trigger
            for number, state in enumerate(known.states):
                if state in trigger.states:
                    started = derived_id("flow-trigger", flow.namespace, flow.id, trigger.id, execution_id, number)
                    yield started, "FLOW_TRIGGER"

    def _read(self, execution_id: str) -> _Known | None:
        """Return what is known of an execution now; None without one that who asks may see."""
        self._left -= 1
        summary = self._stores.executions.get(execution_id)
        known = self._known.get(execution_id)
        if summary is None:
            return known
        principal = self._request.principal
        if principal is None or not principal.may(Role.VIEWER, summary.namespace):
            return None
        if known is None:
            known = self._known[execution_id] = _Known(summary)
        known.summary = summary
        if known.seq < summary.seq:
            for stored in self._stores.journal.entries(execution_id, after=known.seq):
                for event in decode_entry(stored.data).events:
                    _note(known, event)
                known.seq = stored.seq
        return known


def _note(known: _Known, event: object) -> None:
    match event:
        case ExecutionCreated():
            known.source = caller_of(event)
        case ExecutionMoved():
            known.states.append(event.to)
        case ChildStarted():
            known.called[event.child_id] = None
        case ItemsStarted():
            known.items[event.task_run_id] = event
        case ItemsLaunched():
            started = known.items[event.task_run_id]
            for index in range(event.first, event.last):
                if len(known.called) >= _MOST:
                    known.is_cut = True
                    return
                known.called[item_id(event.task_run_id, index, started.generation)] = None
