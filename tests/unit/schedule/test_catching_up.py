"""Whatever the order of evaluations, ends and crashes: no date is lost, none is run twice.

The dates that must be accounted for are those of a plain walk over the cron expression; `test_wall_clock` holds that
walk against the minutes of the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_engine.core.schedule.backfill import with_backfill, with_paused
from headrace_engine.core.schedule.evaluate import PassedOver, evaluate, execution_ended
from headrace_engine.core.schedule.trigger import Recover, ScheduleTrigger, Start, TriggerState
from headrace_engine.model.state import State
from unit.schedule.harness import HOUR, Run, trigger

MINUTE = timedelta(minutes=1)
# Hours before the clocks change in Berlin, New York and on Lord Howe Island, both ways.
BEGINNINGS = [
    datetime(2025, month, day, hour, tzinfo=UTC)
    for month, day, hour in ((3, 29, 20), (10, 25, 20), (3, 9, 2), (11, 2, 1), (4, 5, 10), (10, 4, 10))
]
TRIGGERS = st.builds(
    trigger,
    st.sampled_from(["0 * * * *", "*/20 * * * *", "7,8 * * * *", "30 1,2 * * *", "*/15 2-4 * * *", "0 */3 * * *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    allow_concurrent=st.booleans(),
    passes=st.sampled_from([lambda _: True, lambda date: date.astimezone(UTC).hour % 3 != 1]),
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["evaluate", "evaluate", "end", "end", "crash before", "crash after", "pause", "resume"]),
        st.one_of(st.integers(0, 3), st.integers(0, 400)),
    ),
    max_size=30,
)


@dataclass
class World:
    """Stores a state, starts what it calls for, and crashes between the two."""

    trigger: ScheduleTrigger
    now: datetime
    stored: TriggerState = field(default_factory=TriggerState)
    executions: dict[str, Start] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    passed_over: list[PassedOver] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def store(self, state: TriggerState) -> None:
        self.stored = msgspec.json.decode(msgspec.json.encode(state), type=TriggerState)

    def start(self, starts: tuple[Start, ...]) -> None:
        for start in starts:
            self.executions.setdefault(start.execution_id, start)

    def step(self, event: str) -> bool:
        """Do what *event* says. Returns whether more is due at once."""
        if event in ("pause", "resume"):
            if self.stored.backfill is not None:
                self.store(with_paused(self.stored, paused=event == "pause"))
            return True
        if event == "end":
            for identifier in list(self.executions):
                if identifier not in self.ended:
                    self.ended.add(identifier)
                    self.store(execution_ended(self.trigger, self.stored, identifier, State.SUCCESS, self.now))
        self.start(self.stored.started)  # whoever left them, they may not have been started
        decision = evaluate(self.trigger, self.stored, self.now, **self.options)
        if event == "crash before":
            return True
        self.store(decision.state)
        self.passed_over += decision.passed_over
        if event != "crash after":
            self.start(decision.starts)
            running = [identifier for identifier in self.executions if identifier not in self.ended]
            assert self.trigger.allow_concurrent or len(running) <= 1
        return bool(decision.starts) or (decision.wake is not None and decision.wake <= self.now)

    def play(self, events: list[tuple[str, int]]) -> None:
        for event, minutes in events:
            self.now += minutes * MINUTE
            self.step(event)

    def finish(self) -> None:
        self.step("resume")
        while self.step("end") or len(self.ended) < len(self.executions):
            pass

    def dates(self, *, backfill: bool) -> list[datetime]:
        return [start.date for start in self.executions.values() if start.backfill is backfill]


def walk(source: ScheduleTrigger, after: datetime, until: datetime) -> list[datetime]:
    """Return the dates of a trigger after an instant, up to another, whatever the conditions say."""
    found: list[datetime] = []
    while (date := source.times.after(found[-1] if found else after)) is not None and date <= until:
        found.append(date)
    return found


@settings(max_examples=150, deadline=None)
@given(source=TRIGGERS, beginning=st.sampled_from(BEGINNINGS), events=EVENTS)
def test_all_runs_every_date_once_in_order(
    source: ScheduleTrigger, beginning: datetime, events: list[tuple[str, int]]
) -> None:
    world = World(source, beginning)
    world.step("evaluate")
    world.play(events)
    world.finish()
    expected = [date for date in walk(source, beginning, world.now) if source.passes(date)]
    assert world.dates(backfill=False) == expected
    assert not world.passed_over


@settings(max_examples=150, deadline=None)
@given(
    source=TRIGGERS,
    recover=st.sampled_from(list(Recover)),
    late=st.none() | st.integers(0, 300).map(lambda minutes: minutes * MINUTE),
    beginning=st.sampled_from(BEGINNINGS),
    events=EVENTS,
    effort=st.sampled_from([1, 3, 5000]),
)
def test_every_date_is_either_run_or_passed_over(
    *,
    source: ScheduleTrigger,
    recover: Recover,
    late: timedelta | None,
    beginning: datetime,
    events: list[tuple[str, int]],
    effort: int,
) -> None:
    source = trigger_with(source, recover, late)
    world = World(source, beginning, options={"effort": effort})
    world.step("evaluate")
    world.play(events)
    world.finish()
    ran = world.dates(backfill=False)
    assert ran == sorted(set(ran))
    for date in walk(source, beginning, world.now):
        over = any(passed.first <= date < passed.until for passed in world.passed_over)
        assert (date in ran) == (source.passes(date) and not over)


def trigger_with(source: ScheduleTrigger, recover: Recover, late: timedelta | None) -> ScheduleTrigger:
    return ScheduleTrigger(
        source.namespace,
        source.flow_id,
        source.id,
        source.times,
        source.passes,
        recover=recover,
        late_maximum_delay=late,
        allow_concurrent=source.allow_concurrent,
    )


@settings(max_examples=150, deadline=None)
@given(
    source=TRIGGERS,
    beginning=st.sampled_from(BEGINNINGS),
    back=st.integers(1, 48 * 60),
    length=st.integers(0, 60 * 60),
    events=EVENTS,
    missing_only=st.booleans(),
    existing=st.frozensets(st.integers(0, 30)),
)
def test_a_backfill_interrupted_anywhere_goes_on_without_doubles(
    *,
    source: ScheduleTrigger,
    beginning: datetime,
    back: int,
    length: int,
    events: list[tuple[str, int]],
    missing_only: bool,
    existing: frozenset[int],
) -> None:
    first = beginning - back * MINUTE
    end = first + length * MINUTE
    dates = walk(source, first - timedelta.resolution, min(end, beginning))
    known = {date for number, date in enumerate(dates) if number in existing}
    world = World(source, beginning, options={"existing": known})
    world.step("evaluate")
    world.store(
        with_backfill(source, world.stored, beginning, backfill_id="b", start=first, end=end, missing_only=missing_only)
    )
    world.play(events)
    world.finish()
    wanted = [date for date in dates if source.passes(date) and not (missing_only and date in known)]
    assert world.dates(backfill=True) == wanted
    assert world.dates(backfill=False) == [date for date in walk(source, beginning, world.now) if source.passes(date)]
    assert world.stored.backfill is None


def year_in(cron: str, zone: str, **others: Any) -> list[datetime]:
    """Return what a year's worth of waking in time starts."""
    run = Run(trigger(cron, zone, **others))
    now = datetime(2024, 12, 31, 12, tzinfo=UTC)
    end = datetime(2026, 1, 1, 12, tzinfo=UTC)
    while now < end:
        run.evaluate(now)
        for start in run.state.started:
            run.state = execution_ended(run.trigger, run.state, start.execution_id, State.SUCCESS, now)
        assert run.state.next is not None
        now = run.state.next
    assert not run.passed_over
    return run.dates


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"])
def test_a_year_of_days_has_every_day_once(zone: str) -> None:
    for cron in ("30 2 * * *", "45 1 * * *", "0 0 * * *"):
        for recover in Recover:
            days = [date.date() for date in year_in(cron, zone, recover=recover)]
            year = [day for day in days if day.year == 2025]
            assert len(year) == len(set(year)) == 365


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Africa/Casablanca", "America/New_York"])
def test_a_year_of_hours_has_every_real_hour_once(zone: str) -> None:
    dates = year_in("0 * * * *", zone)
    assert len(dates) == 366 * 24 - 1  # strictly between the two noons
    assert all(later - earlier == HOUR for earlier, later in pairwise(dates))
