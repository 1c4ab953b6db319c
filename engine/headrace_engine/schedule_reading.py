"""Reads the schedules of flows: from a trigger as it was compiled to one that has dates, its templates rendered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.context import TENANT
from headrace_engine.core.conditions import ConditionFailed, Context, all_hold
from headrace_engine.core.schedule.cron import InvalidCron, parse_cron
from headrace_engine.core.schedule.times import CronTimes, InvalidDate, ListedTimes, Times, listed_times
from headrace_engine.core.schedule.trigger import Predicate, Recover, ScheduleTrigger, always
from headrace_engine.core.schedule.wall_clock import UnknownTimeZone, in_zone, time_zone
from headrace_engine.expressions import ExpressionError
from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import SCHEDULE, SCHEDULES, ConditionDefinition, TriggerDefinition
from headrace_engine.plugin import parse_duration
from headrace_engine.sealing import Mask

if TYPE_CHECKING:
    from headrace_engine.engine import Engine
    from headrace_engine.host import StepHost

_THE_DATE = re.compile(r"\{\{\s*trigger\.date\s*\}\}")


class UnreadableSchedule(Exception):  # noqa: N818 - named for the situation
    """The dates of a trigger cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """A schedule of a flow's latest revision."""

    flow: FlowDefinition
    definition: TriggerDefinition
    trigger: ScheduleTrigger
    zone: tzinfo

    def local(self, date: datetime) -> datetime:
        """Return *date* with the offset that the trigger's time zone has then."""
        return in_zone(date, self.zone)


def found_trigger(
    engine: Engine, namespace: str, flow_id: str, trigger_id: str
) -> tuple[FlowDefinition, TriggerDefinition] | None:
    """Return a trigger of a flow's latest revision, of whatever type; None when there is none (any more)."""
    try:
        flow = engine.flow_of(namespace, flow_id).definition
    except (FlowError, ValueError):
        return None  # deleted, or no longer valid
    return next(((flow, trigger) for trigger in flow.triggers if trigger.id == trigger_id), None)


def read_schedule(engine: Engine, flow: FlowDefinition, definition: TriggerDefinition) -> FlowSchedule:
    """Return a trigger of one of SCHEDULES with its dates. Raises UnreadableSchedule."""
    if definition.type not in SCHEDULES:
        raise ValueError(f"The trigger {definition.id} is a {definition.type}")
    templates = _Templates(engine, flow)
    properties = definition.properties
    try:
        zone = time_zone(str(properties["timezone"])) if properties.get("timezone") else UTC
        times = _times(definition, zone, templates)
        late = properties.get("lateMaximumDelay")
        late_maximum_delay = None if late is None else _duration(late)
    except (InvalidCron, InvalidDate, UnknownTimeZone, ValueError) as error:
        raise UnreadableSchedule(templates.masked(str(error))) from None
    trigger = ScheduleTrigger(
        flow.namespace,
        flow.id,
        definition.id,
        times,
        passes=_predicate(flow, definition, zone, templates),
        conditions=_as_text(definition.conditions),
        by_date_alone=all(_by_date_alone(each) for each in definition.conditions),
        recover=Recover(properties.get("recoverMissedSchedules") or Recover.ALL),
        late_maximum_delay=late_maximum_delay,
        stop_after=definition.stop_after,
        allow_concurrent=definition.allow_concurrent,
        disabled=definition.disabled or flow.disabled or definition.unsupported is not None,
    )
    return FlowSchedule(flow, definition, trigger, zone)


def iso(date: datetime) -> str:
    """Return a date as `trigger.date` has it: `2026-03-29T03:00:00+02:00`, with `Z` in UTC."""
    return re.sub(r"\+00:00$", "Z", date.isoformat())


class Renderer:
    """Renders what a schedule says, for one date or for none."""

    def __init__(self, engine: Engine, flow: FlowDefinition, host: StepHost, trigger: Mapping[str, Any]) -> None:
        """Take the flow; *trigger* holds the variables of that name, none where there is no date."""
        self._engine = engine
        self._host = host
        self._variables: dict[str, Any] = {
            **engine.variables_before(flow),
            "flow": {"id": flow.id, "namespace": flow.namespace, "revision": flow.revision, "tenantId": TENANT},
        }
        if trigger:
            self._variables |= {"trigger": trigger, "schedule": {"date": trigger["date"]}}

    def text(self, template: str) -> str:
        """Return *template* rendered. Raises ConditionFailed."""
        if "{" not in template:
            return template
        try:
            return self._engine.expressions.render(template, self._variables, self._host)
        except ExpressionError as error:
            raise ConditionFailed(self.masked(f"`{template}` cannot be rendered: {error}")) from None

    def value(self, value: Any) -> Any:
        """Return *value* with every text in it rendered typed. Raises ConditionFailed."""
        try:
            return self._engine.expressions.render_value_typed(value, self._variables, self._host)
        except ExpressionError as error:
            raise ConditionFailed(self.masked(str(error))) from None

    def masked(self, text: str) -> str:
        """Return *text* without the secrets that were used so far."""
        return Mask(self._host.secrets_used)(text)


class _Templates:
    """Renders for one reading of a schedule: all that is asked of the outside is asked at one instant."""

    def __init__(self, engine: Engine, flow: FlowDefinition) -> None:
        self._engine = engine
        self._flow = flow
        self._host = engine.preparer.host_of(flow, "", engine.stores.clock.now())

    def at(self, date: datetime | None) -> Renderer:
        return Renderer(self._engine, self._flow, self._host, {} if date is None else {"date": iso(date)})

    def masked(self, text: str) -> str:
        return Mask(self._host.secrets_used)(text)


def _times(definition: TriggerDefinition, zone: tzinfo, templates: _Templates) -> Times:
    properties = definition.properties
    if definition.type == SCHEDULE:
        with_seconds = str(properties.get("withSeconds", "")).lower() == "true"
        return CronTimes(parse_cron(str(properties["cron"]), with_seconds=with_seconds), zone)
    return _listed(properties.get("dates"), zone, templates)


def _listed(given: Any, zone: tzinfo, templates: _Templates) -> ListedTimes:
    try:
        dates = templates.at(None).value(given)
    except ConditionFailed as error:
        raise UnreadableSchedule(f"Its dates cannot be rendered: {error}") from None
    if isinstance(dates, str):
        try:
            dates = msgspec.json.decode(dates)
        except msgspec.DecodeError:
            dates = [dates]
    if not isinstance(dates, list) or not all(isinstance(date, str | datetime) for date in dates):
        raise UnreadableSchedule("Its `dates` are no list of dates")
    return listed_times(dates, zone)


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(str(value))


def _predicate(flow: FlowDefinition, definition: TriggerDefinition, zone: tzinfo, templates: _Templates) -> Predicate:
    if not definition.conditions:
        return always

    def passes(date: datetime) -> bool:
        renderer = templates.at(in_zone(date, zone))
        return all_hold(definition.conditions, Context(renderer.text, flow.namespace, flow.id, zone=zone))

    return passes


def _as_text(conditions: tuple[ConditionDefinition, ...]) -> str:
    """Return the conditions as a text that is another one when they are."""
    return repr([_as_values(condition) for condition in conditions]) if conditions else ""


def _as_values(condition: ConditionDefinition) -> tuple[Any, ...]:
    properties = [(name, repr(value)) for name, value in sorted(condition.properties.items())]
    return condition.type, properties, [_as_values(each) for each in condition.conditions]


def _by_date_alone(condition: ConditionDefinition) -> bool:
    """Return whether a condition says the same of a date whenever it is asked: nothing in it is an expression."""
    if condition.type == "Expression":
        return False
    texts = (str(value) for value in condition.properties.values())
    return all("{" not in _THE_DATE.sub("", text) for text in texts) and all(
        _by_date_alone(each) for each in condition.conditions
    )
