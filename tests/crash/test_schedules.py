"""The engine dies at every port call while schedules fire: each date is run once, whatever crashes."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from crash.faults import Cache, CrashError, Faults, through
from crash.virtual import Crashes, registry
from headrace_engine.operations import UnprocessableError
from headrace_engine.testing.runtime import START, VirtualRuntime, World
from headrace_engine.trigger_operations import AskedBackfill, TriggerName, TriggerOperations

TASKS = registry()
SAMPLE = 8
"""At so many port calls each night is interrupted every time; at all of them in the long run."""

HOURLY = """
id: hourly
namespace: crash
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.date }}"}]
triggers: [{id: hourly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 * * * *"}]
"""
SLOW = """
id: slow
namespace: crash
tasks: [{id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT90M}]
triggers: [{id: hourly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 * * * *"}]
"""
SIDE_BY_SIDE = SLOW.replace("id: slow", "id: side-by-side").replace('"0 * * * *"', '"0 * * * *", allowConcurrent: true')
ON_DATES = """
id: on-dates
namespace: crash
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]
triggers:
  - id: dates
    type: io.kestra.plugin.core.trigger.ScheduleOnDates
    dates: ["2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"]
"""
BACKFILLED = HOURLY.replace("id: hourly\n", "id: backfilled\n")
FLOWS = {source.split()[1]: source for source in (HOURLY, SLOW, SIDE_BY_SIDE, ON_DATES, BACKFILLED)}
NIGHT = timedelta(hours=4, minutes=20)
SWEEP = timedelta(minutes=10)


def hours(*numbers: float) -> list[datetime]:
    return [START + timedelta(hours=number) for number in numbers]


DATES = {
    "hourly": hours(1, 2, 3, 4),
    "slow": hours(1, 2, 3),  # one after the other: that of 3:00 begins at 4:00
    "side-by-side": hours(1, 2, 3, 4),
    "on-dates": hours(0.5, 1.5),
    "backfilled": hours(-5, -4, -3, -2, 1, 2, 3, 4),
}


@dataclass
class Night:
    """A few hours in which one flow's schedule fires, with an engine that dies at the moments given."""

    name: str
    crashes: Crashes = Crashes.LOCAL
    world: World = field(default_factory=World)
    deaths: list[str] = field(default_factory=list)

    def dates(self, *moments: Faults) -> list[datetime]:
        """Pass the night, dying at each of *moments* in turn; return the dates that were run, checked."""
        for faults in (*moments, Faults()):
            cache = Cache()
            runtime = self.runtime(through(self.world, faults.call, cache))
            try:
                self.live(runtime)
            except CrashError:
                self.deaths.append(faults.struck)
                self.after_death(cache)
            finally:
                runtime.close()
            if not faults.dead:
                cache.flush()
                break
        return self.checked()

    def runtime(self, world: World) -> VirtualRuntime:
        return VirtualRuntime(world=world, registry=TASKS, schedules=True)

    def live(self, runtime: VirtualRuntime) -> None:
        if self.crashes is not Crashes.CLOUD:
            runtime.recover()
        if runtime.stores.flows.get("crash", self.name) is None:
            runtime.save_flow(FLOWS[self.name])
        if self.name == "backfilled":
            self.ask_for_backfill(runtime)
        assert runtime.schedules is not None
        clock = runtime.clock
        while clock.now() < START + NIGHT:
            following = clock.now() + SWEEP - (clock.now() - START) % SWEEP
            runtime.settle(following - clock.now())
            clock.set(following)
            runtime.schedules.sweep()
        runtime.settle(None)

    def ask_for_backfill(self, runtime: VirtualRuntime) -> None:
        """Ask for the missing dates; whoever asks does not remember a life before."""
        asked = AskedBackfill(START - timedelta(hours=5), START - timedelta(hours=2), missing_only=True)
        with suppress(UnprocessableError):  # it goes on already
            TriggerOperations(runtime.engine).start_backfill(TriggerName("crash", self.name, "hourly"), asked)

    def after_death(self, cache: Cache) -> None:
        if self.crashes is Crashes.LOCAL:
            cache.lose()
        else:
            cache.flush()
        if self.crashes is not Crashes.CLOUD:
            self.world.forget()

    def checked(self) -> list[datetime]:
        """Return the dates; raise when one was run twice, late, or before the one before it had ended."""
        found = self.world.stores.executions.search(limit=100).found
        with self.runtime(self.world) as reader:
            views = [reader.outcome(each.id).view for each in found]
        runs = sorted((each["scheduleDate"], each["state"]["startDate"], each["state"]["endDate"]) for each in views)
        if self.name == "slow":
            assert all(before[2] <= after[1] for before, after in pairwise(runs)), runs
        elif self.name != "backfilled":
            late = [_instant(start) - _instant(date) for date, start, _ in runs]
            assert all(timedelta(0) <= each <= 2 * SWEEP for each in late), late
        return [_instant(date) for date, _, _ in runs]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("name", FLOWS)
def test_each_date_is_run_once(name: str) -> None:
    assert Night(name).dates() == DATES[name]


def strike(name: str, crashes: Crashes, moment: int, *, after: bool) -> bool:
    """Pass a night with a death at a port call; return whether there was one."""
    night = Night(name, crashes)
    assert night.dates(Faults(moment, after=after)) == DATES[name], f"died at call {moment}: {night.deaths}"
    return bool(night.deaths)


def calls_of(name: str) -> int:
    faults = Faults()
    night = Night(name, Crashes.CLOUD)
    night.dates(faults)
    return faults.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
@pytest.mark.parametrize("name", FLOWS)
def test_a_crash_at_some_port_calls_loses_and_doubles_no_date(name: str, crashes: Crashes, after: bool) -> None:
    count = calls_of(name)
    draw = random.Random(f"{name} {crashes.name} {after}")
    for moment in sorted(draw.sample(range(1, count), SAMPLE)):
        assert strike(name, crashes, moment, after=after)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
@pytest.mark.parametrize("name", FLOWS)
def test_a_crash_at_any_port_call_loses_and_doubles_no_date(name: str, crashes: Crashes, after: bool) -> None:
    moment = 1
    while strike(name, crashes, moment, after=after):
        moment += 1
    assert moment > 50
