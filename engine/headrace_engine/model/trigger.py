"""A flow's triggers as the engine reads them: compiled from the source, defaults merged, everything checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import time, timedelta
from enum import StrEnum
from typing import Any

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import TERMINAL, State

FLOW_TRIGGER = "io.kestra.plugin.core.trigger.Flow"
WEBHOOK = "io.kestra.plugin.core.trigger.Webhook"
EVENTBRIDGE = "io.headrace.aws.eventbridge.Trigger"
S3 = "io.kestra.plugin.aws.s3.Trigger"
OWN_BUS = "headrace"
"""What a trigger calls the bus that is the installation's own."""
SCHEDULE = "io.kestra.plugin.core.trigger.Schedule"
SCHEDULE_ON_DATES = "io.kestra.plugin.core.trigger.ScheduleOnDates"
SCHEDULES = frozenset({SCHEDULE, SCHEDULE_ON_DATES})
"""The types that fire at dates."""
HTTP = "io.kestra.plugin.core.http.Trigger"
SQS = "io.kestra.plugin.aws.sqs.Trigger"
SQS_REALTIME = "io.kestra.plugin.aws.sqs.RealtimeTrigger"
POLLED = frozenset({HTTP, SQS, SQS_REALTIME})
"""The types that ask somebody again and again."""
DATED = SCHEDULES | POLLED
"""The types that somebody must look at when an alarm rings for them."""
FIRED = frozenset({FLOW_TRIGGER, WEBHOOK, EVENTBRIDGE, S3, *DATED})
"""The types that start something in this version."""

LISTENED = (TERMINAL - {State.RESUBMITTED}) | {State.PAUSED}
"""The states a Flow trigger listens to when it names none (reference §8.4)."""


class WindowKind(StrEnum):
    """The kinds of time window (reference §8.4)."""

    DURATION_WINDOW = "DURATION_WINDOW"
    SLIDING_WINDOW = "SLIDING_WINDOW"
    DAILY_TIME_DEADLINE = "DAILY_TIME_DEADLINE"
    DAILY_TIME_WINDOW = "DAILY_TIME_WINDOW"


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The time within which several things must have happened."""

    kind: WindowKind = WindowKind.DURATION_WINDOW
    length: timedelta = timedelta(days=1)
    """DURATION_WINDOW, SLIDING_WINDOW."""
    advance: timedelta = timedelta(0)
    """DURATION_WINDOW: how long after midnight the first one begins."""
    start: time = time(0)
    """DAILY_TIME_WINDOW."""
    end: time = time(0)
    """DAILY_TIME_WINDOW; DAILY_TIME_DEADLINE: the deadline."""


@dataclass(frozen=True, slots=True)
class ConditionDefinition:
    """A condition of reference §9, or what `preconditions` and `dependsOn` come down to."""

    type: str
    """The name today, without its package: `DayWeek`, `Not`. Ours: `All`, `Filter`."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """By Kestra's names, unrendered."""
    conditions: tuple[ConditionDefinition, ...] = ()
    """Not, Or, All."""
    gathering: Gathering | None = None
    """MultipleCondition."""

    def walk(self) -> Iterator[ConditionDefinition]:
        """Yield this condition and those below it; not those that a gathering waits for."""
        yield self
        for condition in self.conditions:
            yield from condition.walk()


@dataclass(frozen=True, slots=True)
class Gathering:
    """Several conditions that different executions must meet within a window: preconditions, MultipleCondition."""

    id: str
    members: Mapping[str, ConditionDefinition]
    window: TimeWindow = TimeWindow()
    reset: bool = True
    """Whether all must be met anew after the trigger fired (`resetOnSuccess`)."""
    needed: int | None = None
    """How many members must be met; all when None."""


@dataclass(frozen=True, slots=True)
class TriggerDefinition:
    """One trigger of a flow, with pluginDefaults merged in."""

    id: str
    type: str
    """The full canonical type name, aliases resolved."""
    disabled: bool = False
    conditions: tuple[ConditionDefinition, ...] = ()
    """All must hold; `when` is one of them."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    stop_after: frozenset[State] = frozenset()
    allow_concurrent: bool = False
    fail_on_error: bool = False
    log_level: str | None = None
    idempotency_key: str | None = None
    """A template: events for which it gives the same text start one execution, together."""
    states: frozenset[State] = LISTENED
    """Flow: the states that count."""
    gathering: Gathering | None = None
    """Flow: its `preconditions` or `dependsOn`."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What its own type reads, unrendered; the common properties above are not in it."""
    unsupported: str | None = None
    """Why this version does not fire it."""

    def gatherings(self) -> Iterator[Gathering]:
        """Yield all that must be gathered within a window."""
        if self.gathering is not None:
            yield self.gathering
        for condition in self.conditions:
            for each in condition.walk():
                if each.gathering is not None:
                    yield each.gathering
