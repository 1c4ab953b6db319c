"""What a schedule trigger is, and what is kept of it between two dates (reference §8, §8.1).

A `ScheduleTrigger` is read from the flow; a `TriggerState` is stored, and replaced by each decision. The state names
one date, `next`: every date before it has been dealt with, none from it on has. All of catching up rests on that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from headrace_engine.core.schedule.times import Times
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State

Predicate = Callable[[datetime], bool]
"""Whether a date passes the conditions of its trigger. May raise ConditionFailed."""


class ConditionFailed(Exception):  # noqa: N818 - named for the situation
    """A condition could not be evaluated for a date. The date is due all the same, to fail where it is seen."""


class Recover(StrEnum):
    """Which missed dates are made up for: `recoverMissedSchedules`."""

    ALL = "ALL"
    LAST = "LAST"
    NONE = "NONE"


def always(_: datetime) -> bool:
    """Return true: every date of a trigger without conditions passes."""
    return True


@dataclass(frozen=True)
class ScheduleTrigger:
    """A Schedule or ScheduleOnDates trigger, as its flow has it now."""

    namespace: str
    flow_id: str
    id: str
    times: Times
    passes: Predicate = always
    conditions: str = ""
    """The conditions as text: when it changes, the next date is looked for anew."""
    by_date_alone: bool = True
    """Whether the conditions say the same of a date whenever they are asked; an expression over `kv()` does not."""
    recover: Recover = Recover.ALL
    late_maximum_delay: timedelta | None = None
    stop_after: frozenset[State] = frozenset()
    allow_concurrent: bool = False
    disabled: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """What tells its dates from those of another definition."""
        return derived_id("schedule", self.times.key, self.conditions)


@dataclass(frozen=True)
class Start:
    """An execution that a date calls for. Starting it twice starts it once: its id comes from its cause."""

    execution_id: str
    date: datetime
    backfill: bool = False
    """Whether it takes the inputs and labels of the trigger's backfill."""
    error: str | None = None
    """Why the conditions could not be evaluated: the execution is made, and is FAILED (reference §8.1)."""
    called: datetime | None = None
    """When it was called for."""


@dataclass(frozen=True)
class Backfill:
    """Dates of the past to be run, one after the other; both ends are included."""

    id: str
    start: datetime
    end: datetime
    next: datetime | None
    """The next of its dates to be looked at; those before it have been dealt with. None when none is left."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    paused: bool = False
    missing_only: bool = False
    """Whether dates that have an execution already are left out."""


@dataclass(frozen=True)
class TriggerState:
    """What is kept of a trigger. A new trigger has `TriggerState()`."""

    fingerprint: str = ""
    """Of the definition that `next` was found with."""
    next: datetime | None = None
    """The next date to be looked at. None when there is none, or when it has not been looked for."""
    date: datetime | None = None
    """The last date that was run."""
    started: tuple[Start, ...] = ()
    """What the last decision called for and has not ended; unless `allowConcurrent`, the lock."""
    disabled: bool = False
    """Switched off by a person, a Toggle task or stopAfter; the definition may be disabled as well."""
    enabled_since: datetime | None = None
    backfill: Backfill | None = None
    busy_since: datetime | None = None
    """Since when dates had to wait for one execution after the other; such dates are not missed."""
    free_since: datetime | None = None
    """Until when they had to. None while one runs."""


def execution_id(namespace: str, flow_id: str, trigger_id: str, date: datetime, backfill_id: str = "") -> str:
    """Return the id of the execution that a date of a trigger starts: always the same (DESIGN §3.4).

    A backfill runs a date that ran before once more, so its id is part of the cause; unless it fills in missing dates.
    """
    cause = (namespace, flow_id, trigger_id, date.astimezone(UTC).isoformat())
    return derived_id("trigger", *cause, backfill_id) if backfill_id else derived_id("trigger", *cause)
