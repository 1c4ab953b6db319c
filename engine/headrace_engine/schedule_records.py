"""What is kept of a schedule between two dates, in its trigger's record.

Whether a trigger is switched off stands in the record itself, where everybody finds it; the rest is encoded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace_engine.core.codec import decode_as, encode_as
from headrace_engine.core.schedule.evaluate import set_disabled
from headrace_engine.core.schedule.trigger import TriggerState
from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import TriggerRecord

_MARK = b"schedule:"
"""Tells these bytes from what a trigger of another type remembers, which may have had the same id before."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is encoded."""

    state: TriggerState
    updated: datetime | None = None


def is_schedules(record: TriggerRecord) -> bool:
    """Return whether a record holds what a schedule remembers."""
    return record.data.startswith(_MARK)


def kept_in(record: TriggerRecord) -> Kept:
    """Return what a record holds, as it was written. Raises FormatError for what a newer version wrote."""
    if not is_schedules(record):
        return Kept(TriggerState())
    kept: Kept = decode_as(Kept, record.data.removeprefix(_MARK))
    return kept


def state_in(record: TriggerRecord, now: datetime) -> TriggerState:
    """Return the state of a schedule; one that was switched off or on counts as switched *now*. Raises FormatError."""
    state = kept_in(record).state
    return state if state.disabled is record.disabled else set_disabled(state, now, disabled=record.disabled)


def with_state(record: TriggerRecord, state: TriggerState, due: datetime | None, now: datetime) -> TriggerRecord:
    """Return the record with *state*, to be looked at when it is *due*."""
    data = _MARK + encode_as(Kept, Kept(state, now))
    return replace(record, disabled=state.disabled, due=due, data=data)


def switched(record: TriggerRecord, now: datetime, *, disabled: bool) -> TriggerRecord:
    """Return the record of a schedule that is switched off, or on: then it is due at once, and counts from *now*."""
    state = set_disabled(state_in(record, now), now, disabled=disabled)
    return with_state(record, state, None if disabled else now, now)
