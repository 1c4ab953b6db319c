"""Schedules on AWS: alarms by EventBridge Scheduler and the delay queue, looked at by `triggers`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import pytest

from headrace_engine.language import Registry
from headrace_functions.testing.aws import observer
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.faults import CrashError, Faults, Mode

Answer = TypeVar("Answer")
TASKS = Registry.load()
HOUR = timedelta(hours=1)
START = datetime.fromisoformat("2026-01-01T00:20:00Z")
DATES = ["01:00", "02:00", "03:00"]
HOURLY = """
id: hourly
namespace: demo
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.date }}"}]
triggers: [{id: hourly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 * * * *"}]
"""
SAMPLE = 3
"""At so many of the requests of a date `triggers` dies every time; at all of them in the long run."""


class EachDate(Faults):
    """Strikes at the same request after each date."""

    def __init__(self, at: int, mode: Mode) -> None:
        super().__init__(mode=mode)
        self.which = at
        self.cloud: Cloud | None = None
        self.counted: Counter[datetime] = Counter()
        self.strikes = 0

    def request(self, name: str, send: Callable[[], Answer]) -> Answer:
        assert self.cloud is not None
        if self._dead:
            raise CrashError(name)
        date = self.cloud.clock.now().replace(minute=0, second=0, microsecond=0)
        self.counted[date] += 1
        if date < START or self.counted[date] != self.which:
            return send()
        self.strikes += 1
        if self.mode is Mode.REPEATED:
            send()
            return send()
        self._dead = True
        if self.mode is Mode.LOST:
            send()
        raise CrashError(name)


def dates(cloud: Cloud) -> list[str]:
    found = cloud.stores.executions.search(limit=100).found
    views = [cloud.outcome(each.id).view for each in found]
    assert all(view["state"]["current"] == "SUCCESS" for view in views)
    return sorted(view["scheduleDate"][11:16] for view in views)


def pass_three_dates(faults: Faults | None = None) -> list[str]:
    with Cloud(now=START, registry=TASKS, faults=faults, told_receives=1) as cloud:
        if isinstance(faults, EachDate):
            faults.cloud = cloud
        cloud.save_flow(HOURLY)
        cloud.settle(3.5 * HOUR)
        assert not cloud.delays_dead.messages
        return dates(cloud)


def test_the_next_date_is_armed_with_the_scheduler_and_rings_at_the_second() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(HOURLY)
        assert cloud.invocations == {}  # whoever saves a flow asks nothing of Scheduler
        cloud.settle(None)
        assert cloud.invocations == {"triggers": 1}
        assert schedules(cloud) == ["at(2026-01-01T00:59:00)"]
        cloud.settle(HOUR)
        (execution,) = cloud.stores.executions.search().found
        view = cloud.outcome(execution.id).view
        assert view["state"]["startDate"] == view["scheduleDate"] == "2026-01-01T01:00:00.000000Z"
        assert schedules(cloud) == ["at(2026-01-01T01:59:00)"]


def schedules(cloud: Cloud) -> list[str]:
    group = cloud.environment.schedule_group
    scheduler: Any = observer("scheduler")
    listed = scheduler.list_schedules(GroupName=group)["Schedules"]
    return [scheduler.get_schedule(GroupName=group, Name=each["Name"])["ScheduleExpression"] for each in listed]


def test_a_schedule_of_a_flow_that_is_gone_rings_in_vain() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(HOURLY)
        cloud.settle(None)
        cloud.person.engine.delete_flow("demo", "hourly")
        cloud.settle(5 * HOUR)
        assert dates(cloud) == []
        assert schedules(cloud) == []


def test_what_no_alarm_told_of_is_found_by_the_sweep() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(HOURLY)
        cloud.settle(None)
        for each in observer("scheduler").list_schedules(GroupName=cloud.environment.schedule_group)["Schedules"]:
            observer("scheduler").delete_schedule(GroupName=cloud.environment.schedule_group, Name=each["Name"])
        cloud._schedules = None  # what it has read of Scheduler before
        cloud.clock.set(START + HOUR)
        cloud.sweep()
        cloud.settle(2 * HOUR)
        assert dates(cloud) == ["01:00", "02:00", "03:00"]


@cache
def requests_of_a_date() -> int:
    """Return how many requests the functions make in the hour of a date, at the least."""
    counting = EachDate(0, Mode.STOPPED)
    assert pass_three_dates(counting) == DATES
    return min(count for date, count in counting.counted.items() if date > START)


def strike(at: int, mode: Mode) -> None:
    faults = EachDate(at, mode)
    assert pass_three_dates(faults) == DATES, f"request {at}: {mode.value}"
    assert faults.strikes == len(DATES)


@pytest.mark.parametrize("mode", [Mode.STOPPED, Mode.LOST], ids=lambda mode: mode.name.lower())
def test_functions_that_die_at_the_same_request_after_each_date_lose_and_double_none(mode: Mode) -> None:
    count = requests_of_a_date()
    for at in random.Random(mode.name).sample(range(1, count + 1), SAMPLE):
        strike(at, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name.lower())
def test_functions_that_die_at_any_request_after_each_date_lose_and_double_none(mode: Mode) -> None:
    count = requests_of_a_date()
    assert count > 10
    for at in range(1, count + 1):
        strike(at, mode)
