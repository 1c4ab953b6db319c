"""Events that somebody brings by hand, in the shape of EventBridge's: what a bus brings by itself on AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.event_triggers import EventTriggers
from headrace_engine.identity import Role
from headrace_engine.model.ids import new_id
from headrace_engine.model.trigger import OWN_BUS
from headrace_engine.ports import Clock
from headrace_engine.view import instant

_AT_ONCE = 10


class Event(msgspec.Struct, rename={"detail_type": "detail-type"}):
    """An event, as PutEvents and a bus know it."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    detail_type: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    detail: dict[str, Any]
    id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """Names the event: one that comes twice starts nothing twice. Made up when there is none."""
    bus: Annotated[str, msgspec.Meta(max_length=256)] = OWN_BUS
    time: str = ""
    resources: list[str] = msgspec.field(default_factory=list)


class Started(msgspec.Struct):
    """What an event started."""

    id: str
    executions: list[str]


class EventRoutes:
    """Answers requests that bring events."""

    def __init__(self, triggers: EventTriggers, clock: Clock) -> None:
        self._triggers = triggers
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """Return the routes about events."""
        return (
            Route(
                "POST",
                "/events",
                self.put,
                role=Role.EDITOR,
                summary="Bring events to the triggers that wait for them",
                bodies=(Body(list[Event]),),
                returns=(Returns(200, list[Started]),),
                refuses=(),
            ),
        )

    def put(self, request: Request) -> Response:
        """POST /events: starts what the events start; they are handled when this is answered."""
        try:
            events = msgspec.json.decode(request.body, type=list[Event])
        except (msgspec.DecodeError, RecursionError) as error:
            raise ApiError(400, f"Bad request: {error}") from None
        if len(events) > _AT_ONCE:
            raise ApiError(400, f"Bad request: {_AT_ONCE} events at most")
        return json_response([self._started(event) for event in events])

    def _started(self, event: Event) -> Started:
        event_id = event.id or new_id()
        return Started(event_id, self._triggers.hear(event.bus, self._shown(event, event_id)))

    def _shown(self, event: Event, event_id: str) -> Mapping[str, Any]:
        return {
            "version": "0",
            "id": event_id,
            "source": event.source,
            "detail-type": event.detail_type,
            "account": "",
            "region": "",
            "time": event.time or instant(self._clock.now()),
            "resources": event.resources,
            "detail": event.detail,
        }
