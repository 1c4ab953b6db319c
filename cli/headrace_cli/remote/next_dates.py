"""The next dates of the schedules in a flow's source, by the engine's own arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

from headrace_cli.remote.changes import Schedule
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


def schedules(source: str, now: datetime) -> tuple[Schedule, ...]:
    """Return the schedules of a flow with their next dates. One whose dates only a server can tell says why."""
    try:
        flow = parse_flow(source)
    except FlowError:
        return ()  # it needs a plugin that only the server has
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
        return Schedule(definition.id, note="its dates are an expression")
    try:
        return Schedule(definition.id, tuple(map(iso, _next(flow, definition, times, zone, now))))
    except ConditionFailed:
        plain = TriggerDefinition(definition.id, definition.type)
        return Schedule(
            definition.id,
            tuple(map(iso, _next(flow, plain, times, zone, now))),
            note="its conditions, which only the server can tell, are left aside",
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
