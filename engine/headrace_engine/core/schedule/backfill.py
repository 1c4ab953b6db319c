"""Backfills (reference §8.1): dates of the past, one after the other, and then on with the schedule.

While a backfill runs, the schedule's own dates wait; its `next` stays where it is, so going back to it needs nothing.
A paused backfill lets the schedule go on. How far it has come is `Backfill.next`, in the trigger's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace_engine.core.schedule.times import at_or_after
from headrace_engine.core.schedule.trigger import Backfill, ScheduleTrigger, TriggerState


class BackfillRefused(ValueError):  # noqa: N818 - named for the situation
    """A backfill cannot be started, or there is none; the message says why."""


def with_backfill(
    trigger: ScheduleTrigger,
    state: TriggerState,
    now: datetime,
    *,
    backfill_id: str,
    start: datetime,
    end: datetime | None = None,
    inputs: Mapping[str, Any] | None = None,
    labels: tuple[tuple[str, str], ...] = (),
    missing_only: bool = False,
) -> TriggerState:
    """Return the state with a backfill from *start* to *end*, now when not given. Evaluate it next.

    It ends before the first date that the schedule itself has yet to run. Raises BackfillRefused.
    """
    if trigger.disabled or state.disabled:
        raise BackfillRefused(f"The trigger `{trigger.id}` is disabled: enable it, then start the backfill.")
    if state.backfill is not None:
        raise BackfillRefused(f"The trigger `{trigger.id}` has a backfill already: wait for its end, or delete it.")
    if start >= now:
        raise BackfillRefused(f"A backfill starts in the past; {start.isoformat()} is none.")
    if end is not None and end < start:
        raise BackfillRefused(f"The backfill ends ({end.isoformat()}) before it starts ({start.isoformat()}).")
    last = now if end is None else min(end, now)
    pending = state.next if state.fingerprint == trigger.fingerprint else None
    following = at_or_after(trigger.times, start)
    if pending is not None and pending <= last:
        before = trigger.times.before(pending)
        following = following if before is not None and before >= start else None
        last = before if before is not None else last
    backfill = Backfill(
        id=backfill_id,
        start=start,
        end=last,
        next=following,
        inputs=inputs or {},
        labels=labels,
        missing_only=missing_only,
    )
    return replace(state, backfill=backfill)


def with_paused(state: TriggerState, *, paused: bool) -> TriggerState:
    """Return the state with its backfill paused, or going on. Evaluate it next. Raises BackfillRefused."""
    if state.backfill is None:
        raise BackfillRefused("The trigger has no backfill.")
    return replace(state, backfill=replace(state.backfill, paused=paused))


def without_backfill(state: TriggerState) -> TriggerState:
    """Return the state without its backfill; what it started goes on. Evaluate it next."""
    return replace(state, backfill=None)
