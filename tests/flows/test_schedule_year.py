"""A year of schedules in several time zones, with engines that die and hours in which there is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from headrace_engine.core.schedule.cron import parse_cron
from headrace_engine.core.schedule.times import CronTimes
from headrace_engine.core.schedule.wall_clock import time_zone
from headrace_engine.language import Registry
from headrace_engine.testing.runtime import START, VirtualRuntime, World

TASKS = Registry.load()
YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

Down = list[tuple[datetime, datetime]]
CHANGES = [
    (datetime(2026, month, day, hour, minute, tzinfo=UTC), datetime(2026, month, day, until, minute + 50, tzinfo=UTC))
    for month, day, hour, minute, until in (
        (3, 8, 6, 5, 7),  # New York leaves out an hour
        (3, 29, 0, 5, 1),  # Paris, too
        (4, 4, 14, 5, 15),  # Lord Howe Island has half an hour twice
        (10, 3, 15, 5, 16),  # and leaves it out
        (10, 25, 0, 5, 1),  # Paris has an hour twice
        (11, 1, 5, 5, 6),  # New York, too
    )
]
"""When clocks change, and nobody is there."""


def flow(name: str, cron: str, zone: str, more: str = "") -> str:
    return f"""
id: {name}
namespace: year
tasks: [{{id: said, type: io.kestra.plugin.core.debug.Return, format: "{{{{ trigger.date }}}}"}}]
triggers:
  - {{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: "{cron}", timezone: {zone}{more}}}
"""


def downtimes(seed: int, start: datetime = START, length: timedelta = YEAR, *, over_changes: bool = True) -> Down:
    """Return when no engine is there: a few hours, now and then days; over all changes of the clocks, or over none."""
    draw = random.Random(seed)
    found: Down = []
    at = start
    while True:
        at += timedelta(minutes=draw.randrange(60, 20 * 24 * 60), seconds=draw.randrange(60))
        down = timedelta(minutes=draw.choice([0, 1, 45, 170, 400, 1500, 4000]))
        if at + down >= start + length:
            break
        found.append((at, at + down))
        at += down
    changes = [change for change in CHANGES if start < change[0] and change[1] < start + length]
    apart = [each for each in found if not any(each[0] <= end and begin <= each[1] for begin, end in changes)]
    return sorted([*apart, *changes] if over_changes else apart)


def pass_the_time(
    sources: list[str], down: Down, start: datetime = START, length: timedelta = YEAR
) -> dict[str, list[datetime]]:
    """Return the dates of each flow that were run."""
    world = World(start)
    for begin, end in [*down, (start + length, start + length)]:
        with VirtualRuntime(world=world, registry=TASKS, schedules=True) as runtime:
            runtime.recover()
            if not runtime.stores.flows.list():
                for source in sources:
                    runtime.save_flow(source)
            runtime.settle(begin - runtime.clock.now())
            world.forget()
            world.clock.set(max(end, runtime.clock.now()))
    return run_dates(world)


def run_dates(world: World) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = {}
    with VirtualRuntime(world=world, registry=TASKS) as reader:
        for each in world.stores.executions.search(limit=100_000).found:
            came = reader.outcome(each.id)
            assert came.state == "SUCCESS"
            dated = datetime.fromisoformat(came.view["scheduleDate"])
            assert datetime.fromisoformat(came.find("said")["outputs"]["value"]) == dated
            found.setdefault(each.flow_id, []).append(dated)
    return {name: sorted(dates) for name, dates in found.items()}


def arithmetic(cron: str, zone: str, start: datetime = START, length: timedelta = YEAR) -> list[datetime]:
    """Return the dates of that time that the arithmetic gives."""
    times = CronTimes(parse_cron(cron), time_zone(zone))

    def dates() -> Iterator[datetime]:
        following = times.after(start)
        while following is not None and following <= start + length:
            yield following.astimezone(UTC)
            following = times.after(following)

    return list(dates())


def by_the_wall(at: time, zone: str) -> list[datetime]:
    """Return when a clock in *zone* shows *at*: the first time, where it does so twice; after the gap, where never."""
    place = ZoneInfo(zone)
    found = []
    for day in range(-1, 367):
        wall = datetime.combine(date(2026, 1, 1) + timedelta(days=day), at)
        instant = wall.replace(tzinfo=place).astimezone(UTC)
        shown = instant.astimezone(place).replace(tzinfo=None)
        if shown != wall:  # the clock never shows it
            while (instant - SECOND).astimezone(place).utcoffset() == instant.astimezone(place).utcoffset():
                instant -= SECOND
        if START < instant <= START + YEAR:
            found.append(instant)
    return found


def changes_of_clocks() -> list[datetime]:
    """Return when, to the hour, the clocks of PLACES change."""
    hours = [START + number * HOUR for number in range(365 * 24)]
    zones = [ZoneInfo(zone) for _, zone, _ in PLACES.values()]
    return [
        hour + SECOND
        for hour in hours
        for zone in zones
        if hour.astimezone(zone).utcoffset() != (hour - HOUR).astimezone(zone).utcoffset()
    ]


PLACES = {
    "paris": ("30 2 * * *", "Europe/Paris", time(2, 30)),
    "new-york": ("30 1 * * *", "America/New_York", time(1, 30)),
    "lord-howe": ("15 2 * * *", "Australia/Lord_Howe", time(2, 15)),
}


@pytest.mark.parametrize("over_changes", [True, False], ids=["down when clocks change", "up when clocks change"])
def test_a_year_of_dates_is_run_once_each_across_restarts_and_missed_hours(over_changes: bool) -> None:
    down = downtimes(7, over_changes=over_changes)
    assert len(down) > 20
    assert all(any(begin < at < end for begin, end in down) is over_changes for at in changes_of_clocks())
    ran = pass_the_time([flow(name, cron, zone) for name, (cron, zone, _) in PLACES.items()], down)
    assert ran == {name: by_the_wall(at, zone) for name, (_, zone, at) in PLACES.items()}
    assert ran == {name: arithmetic(cron, zone) for name, (cron, zone, _) in PLACES.items()}


Chosen = Callable[[list[datetime]], list[datetime]]


@pytest.mark.parametrize(
    ("recover", "chosen"),
    [("ALL", lambda missed: missed), ("LAST", lambda missed: missed[-1:]), ("NONE", lambda _missed: [])],
    ids=["all", "last", "none"],
)
def test_what_was_missed_is_made_up_for_as_the_trigger_says(recover: str, chosen: Chosen) -> None:
    cron, zone = "20 5 * * *", "Europe/Paris"
    down = [each for each in downtimes(3) if each[1] - each[0] > HOUR]
    wanted = arithmetic(cron, zone)
    for begin, end in down:
        missed = [each for each in wanted if begin < each <= end]
        wanted = sorted({*wanted} - {*missed} | {*chosen(missed)})
    ran = pass_the_time([flow("f", cron, zone, f", recoverMissedSchedules: {recover}")], down)
    assert ran["f"] == wanted
    assert (len(wanted) < len(arithmetic(cron, zone))) is (recover != "ALL")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("month", [3, 10])
def test_hours_around_the_changes_of_the_clocks_are_run_once_each(month: int, seed: int) -> None:
    span = (datetime(2026, month, 1, tzinfo=UTC), timedelta(days=40))
    crons = {
        name: ("*/30 * * * *" if name == "lord-howe" else "5 * * * *", zone) for name, (_, zone, _) in PLACES.items()
    }
    sources = [flow(name, cron, zone) for name, (cron, zone) in crons.items()]
    ran = pass_the_time(sources, downtimes(seed, *span), *span)
    assert ran == {name: arithmetic(cron, zone, *span) for name, (cron, zone) in crons.items()}
