"""Which dates of a trigger are due, what is passed over, what is armed next (reference §8.1, §8.2).

`evaluate` is asked when a date has come, when an execution of the trigger has ended, when the flow or the trigger has
changed, and by the sweeper. How to use it so that no crash loses or doubles a date:

1. start what `state.started` of the stored state calls for (again: ids make that harmless), unless that is known done;
2. evaluate; store the new state, only over the one that was read; start what its `starts` call for; arm `wake`.

The rules:

* The first evaluation, and one after the dates or conditions changed or the trigger was switched on, counts from now.
* One at a time, unless `allowConcurrent`: while an execution runs, nothing is due; dates that come meanwhile wait.
* A date is *missed* when nobody looked at it promptly: neither when it came, nor, if it had to wait, when the wait
  was over. ALL runs missed dates in order; LAST the last one; NONE none of them.
* A date older than `lateMaximumDelay` is passed over, whatever it waited for. That does not hold in a backfill.
* Conditions choose dates when the next one is looked for, and are asked again when it has come.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from headrace_engine.core.schedule.times import at_or_after, at_or_before
from headrace_engine.core.schedule.trigger import (
    Backfill,
    ConditionFailed,
    Recover,
    ScheduleTrigger,
    Start,
    TriggerState,
    execution_id,
)
from headrace_engine.core.schedule.wall_clock import YEARS
from headrace_engine.model.state import State

EFFORT = 5_000
"""How many dates one search puts to the conditions. What is left waits for the next evaluation."""
AT_MOST = 100
"""How many executions one evaluation starts, where it may start several."""
PROMPT = timedelta(minutes=1)
"""How late a date may be looked at without having been missed."""


class Reason(StrEnum):
    """Why dates were passed over."""

    LATE = "LATE"
    MISSED = "MISSED"


@dataclass(frozen=True)
class PassedOver:
    """The dates from *first* on, before *until*, were not run."""

    first: datetime
    until: datetime
    reason: Reason


@dataclass(frozen=True)
class Decision:
    """What an evaluation came to."""

    state: TriggerState
    starts: tuple[Start, ...] = ()
    """The executions to start, in the order of their dates."""
    passed_over: tuple[PassedOver, ...] = ()
    wake: datetime | None = None
    """When to evaluate again at the latest. None when only the end of an execution, or a change, can bring more."""


@dataclass(frozen=True)
class Neighbours:
    """The variables of an execution: `trigger.date`, `trigger.next`, `trigger.previous`."""

    date: datetime
    next: datetime | None
    previous: datetime | None


@dataclass
class _Budget:
    """How many more dates may be put to the conditions."""

    left: int

    def spend(self) -> bool:
        """Take one; false when there is none left."""
        self.left -= 1
        return self.left >= 0


@dataclass
class _Step:
    """One evaluation under way."""

    trigger: ScheduleTrigger
    now: datetime
    prompt: timedelta
    budget: _Budget
    room: int
    starts: list[Start] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def evaluate(
    trigger: ScheduleTrigger,
    state: TriggerState,
    now: datetime,
    *,
    existing: Container[datetime] = frozenset(),
    at_most: int = AT_MOST,
    effort: int = EFFORT,
    prompt: timedelta = PROMPT,
) -> Decision:
    """Return what *trigger* calls for at *now*. *existing* holds the dates a backfill of missing ones leaves out."""
    if trigger.disabled or state.disabled:
        return Decision(replace(state, fingerprint="", next=None))
    step = _Step(trigger, now, prompt, _Budget(effort), at_most if trigger.allow_concurrent else 1)
    state = _current(step, state)
    if state.started and not trigger.allow_concurrent:
        return Decision(state)
    backfill = state.backfill
    if backfill is not None and not backfill.paused:
        backfill = _fill(step, backfill, existing)
        state = replace(state, backfill=backfill)
        if backfill is not None:
            return _decision(step, state, again=True)
    return _decision(step, replace(state, next=_run_due(step, state)), again=False)


def execution_ended(
    trigger: ScheduleTrigger, state: TriggerState, ended_id: str, outcome: State, at: datetime
) -> TriggerState:
    """Return the state after an execution of *trigger* ended *at* an instant. Evaluate it next.

    The same end may be reported more than once, and the end of any execution of the trigger may be.
    """
    state = no_longer_runs(state, ended_id, at)
    known = state.enabled_since is not None and at <= state.enabled_since
    if outcome in trigger.stop_after and not known and not state.disabled:
        return set_disabled(state, at, disabled=True)
    return state


def no_longer_runs(state: TriggerState, gone_id: str, at: datetime) -> TriggerState:
    """Return the state after an execution is no longer waited for, however it ended. Evaluate it next."""
    started = tuple(start for start in state.started if start.execution_id != gone_id)
    if len(started) == len(state.started):
        return state
    state = replace(state, started=started)
    return state if started else _freed(state, at)


def unlocked(state: TriggerState, now: datetime) -> TriggerState:
    """Return the state after a person released its lock. Evaluate it next."""
    return _freed(replace(state, started=()), now)


def set_disabled(state: TriggerState, now: datetime, *, disabled: bool) -> TriggerState:
    """Return the state switched off, or on again: then it counts from now. Evaluate it next."""
    if disabled:
        return replace(state, disabled=True, fingerprint="", next=None)
    return replace(state, disabled=False, enabled_since=now) if state.disabled else state


def neighbours(trigger: ScheduleTrigger, date: datetime, *, effort: int = EFFORT) -> Neighbours:
    """Return a date with the next and the previous one that pass the conditions, where they can be found."""
    times = trigger.times
    following, _ = _search(trigger, times.after(date), _Budget(effort))
    budget = _Budget(effort)
    previous = times.before(date)
    while previous is not None and not _passes(trigger, previous):
        previous = times.before(previous) if budget.spend() and previous.year >= date.year - YEARS else None
    return Neighbours(date, following, previous)


def preview(
    trigger: ScheduleTrigger,
    start: datetime,
    end: datetime,
    *,
    existing: Container[datetime] = frozenset(),
    at_most: int = AT_MOST,
    effort: int = EFFORT,
) -> tuple[list[datetime], datetime | None]:
    """Return the first dates from *start* to *end*, both included, that pass the conditions and are not *existing*.

    And the date to go on from, when there may be more.
    """
    dates: list[datetime] = []
    budget = _Budget(effort)
    date = at_or_after(trigger.times, start)
    while date is not None and date <= end:
        if len(dates) == at_most or not budget.spend():
            return dates, date
        if date not in existing and _passes(trigger, date):
            dates.append(date)
        date = trigger.times.after(date)
    return dates, None


def _made_busy(state: TriggerState, now: datetime, since: datetime, prompt: timedelta) -> TriggerState:
    """Return the state with dates waiting *since* an instant, or longer when they were waiting until just before."""
    waiting = state.busy_since is not None and (state.free_since is None or now - state.free_since <= prompt)
    return replace(state, busy_since=state.busy_since if waiting else since, free_since=None)


def _freed(state: TriggerState, at: datetime) -> TriggerState:
    """Return the state after what kept dates waiting, if anything did, was over *at* an instant."""
    return replace(state, free_since=at) if state.busy_since is not None and state.free_since is None else state


def _passes(trigger: ScheduleTrigger, date: datetime) -> bool:
    try:
        return trigger.passes(date)
    except ConditionFailed:
        return True


def _search(
    trigger: ScheduleTrigger, first: datetime | None, budget: _Budget
) -> tuple[datetime | None, datetime | None]:
    """Return the first date from *first* on that passes; and where to go on when none was found in the budget."""
    date = first
    while date is not None and first is not None and date.year <= first.year + YEARS:
        if not budget.spend():
            return None, date
        if _passes(trigger, date):
            return date, None
        date = trigger.times.after(date)
    return None, None


def _arm(step: _Step, first: datetime | None) -> datetime | None:
    """Return the date to look at next: the first that passes, as far as that can be told today.

    When none passes: conditions that look at the date alone will not change their mind, so the search goes on from
    where it stopped, or is over. Others may, so the very next date is looked at.
    """
    found, rest = _search(step.trigger, first, step.budget)
    if found is not None:
        return found
    return rest if step.trigger.by_date_alone else first


def _current(step: _Step, state: TriggerState) -> TriggerState:
    """Return the state for the trigger as it is now: when its dates changed, they count from now."""
    if state.fingerprint == step.trigger.fingerprint:
        return state
    times = step.trigger.times
    backfill = state.backfill
    if backfill is not None and backfill.next is not None:
        backfill = replace(backfill, next=at_or_after(times, backfill.next))
    following = _arm(step, times.after(step.now))
    return replace(state, fingerprint=step.trigger.fingerprint, next=following, backfill=backfill)


def _try(step: _Step, date: datetime, backfill: Backfill | None = None) -> bool:
    """Start the execution of *date* if it passes. Returns false when that was not looked at: the budget is spent."""
    if not step.budget.spend():
        return False
    error = None
    try:
        if not step.trigger.passes(date):
            return True
    except ConditionFailed as failure:
        error = str(failure)
    trigger = step.trigger
    cause = "" if backfill is None or backfill.missing_only else backfill.id
    made = execution_id(trigger.namespace, trigger.flow_id, trigger.id, date, cause)
    step.starts.append(Start(made, date, backfill is not None, error, step.now))
    return True


def _fill(step: _Step, backfill: Backfill, existing: Container[datetime]) -> Backfill | None:
    """Start dates of a backfill. Returns the rest of it; None when there is none."""
    date = backfill.next
    while date is not None and date <= backfill.end and len(step.starts) < step.room:
        known = backfill.missing_only and date in existing
        if not known and not _try(step, date, backfill):
            break
        if known and not step.budget.spend():
            break
        date = step.trigger.times.after(date)
    if date is None or date > backfill.end:
        return replace(backfill, next=None) if step.starts else None
    return replace(backfill, next=date)


def _run_due(step: _Step, state: TriggerState) -> datetime | None:
    """Start the dates that are due. Returns the next one to be looked at."""
    date = state.next
    times = step.trigger.times
    while date is not None and date <= step.now and len(step.starts) < step.room:
        if (passed := _passed_over(step, state, date)) is not None:
            step.passed_over.append(passed)
            date = at_or_after(times, passed.until)
        elif _try(step, date):
            date = times.after(date)
        else:
            return date
    if date is None or date <= step.now or date == state.next:
        return date
    return _arm(step, date)


def _passed_over(step: _Step, state: TriggerState, date: datetime) -> PassedOver | None:
    """Return the dates that are not run any more, when *date* is the first of such."""
    trigger, now = step.trigger, step.now
    if trigger.late_maximum_delay is not None and date < now - trigger.late_maximum_delay:
        return PassedOver(date, now - trigger.late_maximum_delay, Reason.LATE)
    if trigger.recover is Recover.ALL or date >= now - step.prompt:
        return None
    until = now - step.prompt
    if (waited := _waited(state, now, step.prompt)) is not None:
        if waited[0] <= date <= waited[1]:
            return None
        if date < waited[0]:
            until = min(until, waited[0])
    if trigger.recover is Recover.LAST and (last := _last_due(step, date)) is not None:
        until = min(until, last)
    return PassedOver(date, until, Reason.MISSED) if until > date else None


def _last_due(step: _Step, first: datetime) -> datetime | None:
    """Return the last date until now, not before *first*, that passes."""
    date = at_or_before(step.trigger.times, step.now)
    while date is not None and date >= first and not _passes(step.trigger, date):
        date = step.trigger.times.before(date)
    return date if date is not None and date >= first else None


def _waited(state: TriggerState, now: datetime, prompt: timedelta) -> tuple[datetime, datetime] | None:
    """Return the stretch in which dates had to wait, if it was over only just now."""
    if state.busy_since is None or state.free_since is None or now - state.free_since > prompt:
        return None
    return state.busy_since, state.free_since


def _decision(step: _Step, state: TriggerState, *, again: bool) -> Decision:
    """Return the decision: what was started keeps later dates waiting, and says when to wake."""
    starts = tuple(step.starts)
    if starts:
        last = starts[-1]
        state = replace(state, started=starts, date=state.date if last.backfill else last.date)
    wake = step.now if again else state.next
    if state.started and not step.trigger.allow_concurrent:
        wake = None
        if starts:
            since = starts[-1].date if step.now - starts[-1].date <= step.prompt else step.now
            state = _made_busy(state, step.now, since, step.prompt)
    elif wake is not None:
        wake = max(wake, step.now)
    return Decision(state, starts, tuple(step.passed_over), wake)
