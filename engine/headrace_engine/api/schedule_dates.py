"""The next dates of schedules that are not saved yet: what their flow would start, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from headrace_engine.api.gate import demand
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.api.saving import Saving
from headrace_engine.core.schedule.evaluate import preview
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.trigger import SCHEDULES, TriggerDefinition
from headrace_engine.schedule_reading import UnreadableSchedule, iso, read_schedule

_SHOWN = 5
_MOST = 100
_END = datetime(9999, 1, 1, tzinfo=UTC)
_YAML = "application/x-yaml"


class ScheduleDates(TypedDict):
    """The next dates of a schedule, with its time zone's offset; *note* says why there are none."""

    triggerId: str
    dates: list[str]
    note: NotRequired[str]


class ScheduleDatesRoutes:
    """Answers requests for them."""

    def __init__(self, engine: Engine, saving: Saving) -> None:
        self._engine = engine
        self._saving = saving

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route(
                "POST",
                "/triggers/dates",
                self.dates,
                role=Role.EDITOR,
                each=True,
                changes=False,
                summary="Get the next dates of the schedules of the flow in the body, which is not saved",
                query=(Query("count", Annotated[int, Meta(ge=1, le=_MOST)], "How many of each; 5 unless told."),),
                bodies=(Body(str, _YAML),),
                returns=(Returns(200, list[ScheduleDates]),),
                refuses=(422,),
            ),
        )

    def dates(self, request: Request) -> Response:
        """Return them as they are now: conditions are rendered with what they would find, for whoever may save it."""
        count = request.number("count", _SHOWN)
        if count > _MOST:
            raise ApiError(400, f"Bad request: `count` is {_MOST} at most")
        flow = self._saving.parsed(request.text())
        demand(request, Role.EDITOR, flow.namespace)
        return json_response([self._of(flow, trigger, count) for trigger in flow.triggers if trigger.type in SCHEDULES])

    def _of(self, flow: FlowDefinition, trigger: TriggerDefinition, count: int) -> ScheduleDates:
        if flow.disabled or trigger.disabled:
            return {"triggerId": trigger.id, "dates": [], "note": "is disabled"}
        try:
            schedule = read_schedule(self._engine, flow, trigger)
        except UnreadableSchedule as error:
            return {"triggerId": trigger.id, "dates": [], "note": str(error)}
        now = self._engine.stores.clock.now()
        # Not the one that is due this very moment.
        first = now + timedelta(microseconds=1)
        dates, more = preview(schedule.trigger, first, _END, at_most=count)
        found: ScheduleDates = {"triggerId": trigger.id, "dates": [iso(schedule.local(date)) for date in dates]}
        if len(dates) < count and more is not None:
            found["note"] = f"none was found between these and {iso(schedule.local(more))}"
        return found
