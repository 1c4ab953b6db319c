"""The next dates of the schedules in a flow's source: by the engine's own arithmetic, else as the server tells them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from headrace_cli.remote.changes import Schedule
from headrace_cli.remote.client import RefusedError, Remote
from headrace_cli.remote.desired import Flow
from headrace_engine.core.conditions import ConditionFailed, Context, all_hold
from headrace_engine.core.schedule.cron import InvalidCron, parse_cron
from headrace_engine.core.schedule.times import CronTimes, InvalidDate, Times, listed_times
from headrace_engine.core.schedule.wall_clock import UnknownTimeZone, time_zone
from headrace_engine.language import FlowError, parse_flow
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.trigger import SCHEDULE, SCHEDULES, TriggerDefinition
from headrace_engine.schedule_reading import iso

SHOWN = 5
_THE_DATE = re.compile(r"\{\{\s*trigger\.date\s*\}\}")
_LOOKED_AT = 10_000
_NAMES = (".Schedule", ".ScheduleOnDates")
"""How the types of schedules end, their old names included."""
_EXPRESSION = "its dates are an expression"
_CONDITIONS = "its conditions, which only the server can tell, are left aside"


def next_dates(remote: Remote, flow: Flow, now: datetime) -> tuple[Schedule, ...]:
    """Return the schedules of a flow with their next dates, from the server where they cannot be told here."""
    written = flow.said.get("triggers")
    triggers = [each for each in written if isinstance(each, Mapping)] if isinstance(written, list) else []
    if not any(str(each.get("type")).endswith(_NAMES) for each in triggers):
        return ()
    here = schedules(flow.source, now)
    if here is not None and all(each.note not in (_EXPRESSION, _CONDITIONS) for each in here):
        return here
    try:
        answer = remote.send("POST", "/triggers/dates", flow.source)
    except RefusedError:  # a server of another kind, or somebody who may not save the flow
        return here or ()
    return tuple(Schedule(each["triggerId"], tuple(each["dates"]), each.get("note", "")) for each in answer)


def schedules(source: str, now: datetime) -> tuple[Schedule, ...] | None:
    """Return the schedules of a flow with their next dates; None for a flow that needs a plugin of the server's.

    One whose dates only the server can tell says why.
    """
    try:
        flow = parse_flow(source)
    except FlowError:
        return None
    return tuple(_schedule(flow, each, now) for each in flow.triggers if each.type in SCHEDULES)


def _schedule(flow: FlowDefinition, definition: TriggerDefinition, now: datetime) -> Schedule:
    if flow.disabled or definition.disabled:
        return Schedule(definition.id, note="is disabled")
    zone: tzinfo = UTC
    try:
        if definition.properties.get("timezone"):
            zone = time_zone(str(definition.properties["timezone"]))
        times = _times(definition, zone)
    except (InvalidCron, InvalidDate, UnknownTimeZone, ValueError) as error:
        return Schedule(definition.id, note=str(error))
    if times is None:
        return Schedule(definition.id, note=_EXPRESSION)
    try:
        return Schedule(definition.id, tuple(map(iso, _next(flow, definition, times, zone, now))))
    except ConditionFailed:
        plain = TriggerDefinition(definition.id, definition.type)
        return Schedule(
            definition.id,
            tuple(map(iso, _next(flow, plain, times, zone, now))),
            note=_CONDITIONS,
        )


def _times(definition: TriggerDefinition, zone: tzinfo) -> Times | None:
    properties = definition.properties
    if definition.type == SCHEDULE:
        with_seconds = str(properties.get("withSeconds", "")).lower() == "true"
        return CronTimes(parse_cron(str(properties["cron"]), with_seconds=with_seconds), zone)
    dates: Any = properties.get("dates")
    if not isinstance(dates, list) or any(isinstance(each, str) and "{" in each for each in dates):
        return None
    return listed_times(dates, zone)


def _next(
    flow: FlowDefinition, definition: TriggerDefinition, times: Times, zone: tzinfo, now: datetime
) -> Iterable[datetime]:
    date = times.after(now)
    found = 0
    for _ in range(_LOOKED_AT):
        if date is None or found == SHOWN:
            return
        if all_hold(definition.conditions, _context(flow, zone, date)):
            found += 1
            yield date
        date = times.after(date)


def _context(flow: FlowDefinition, zone: tzinfo, date: datetime) -> Context:
    def render(template: str) -> str:
        text = _THE_DATE.sub(iso(date), template)
        if "{" in text:
            raise ConditionFailed(template)
        return text

    return Context(render, flow.namespace, flow.id, zone=zone)
