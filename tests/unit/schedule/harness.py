"""A trigger under a scripted clock: evaluated when it is told to, its executions ended when they are told to."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_engine.core.schedule.cron import parse_cron
from headrace_engine.core.schedule.evaluate import Decision, PassedOver, evaluate, execution_ended
from headrace_engine.core.schedule.times import CronTimes
from headrace_engine.core.schedule.trigger import ScheduleTrigger, Start, TriggerState
from headrace_engine.core.schedule.wall_clock import time_zone
from headrace_engine.model.state import State


def at(text: str) -> datetime:
    """Return an instant of 2025: `03-30 10:00` or `10:00` of 1 June, in UTC."""
    day, _, clock = text.rpartition(" ")
    return datetime.fromisoformat(f"2025-{day or '06-01'}T{clock}").replace(tzinfo=UTC)


def trigger(cron: str = "0 * * * *", zone: str = "UTC", **others: Any) -> ScheduleTrigger:
    """Return a trigger of the flow `test.flow`."""
    times = CronTimes(parse_cron(cron, with_seconds=len(cron.split()) == 6), time_zone(zone))
    return replace(ScheduleTrigger("test", "flow", "schedule", times), **others)


@dataclass
class Run:
    """What became of a trigger so far."""

    trigger: ScheduleTrigger
    state: TriggerState = field(default_factory=TriggerState)
    starts: list[Start] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    wake: datetime | None = None
    existing: Container[datetime] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)

    def evaluate(self, now: datetime) -> Decision:
        """Evaluate, store, start."""
        decision = evaluate(self.trigger, self.state, now, existing=self.existing, **self.options)
        self.state = decision.state
        self.starts += decision.starts
        self.passed_over += decision.passed_over
        self.wake = decision.wake
        return decision

    def at(self, text: str) -> list[str]:
        """Evaluate at an instant; return the dates it started, as `10:00`."""
        return self.short(self.evaluate(at(text)).starts)

    def end(self, text: str, outcome: State = State.SUCCESS) -> list[str]:
        """End what runs, evaluate; return the dates that started."""
        for start in self.state.started:
            self.state = execution_ended(self.trigger, self.state, start.execution_id, outcome, at(text))
        return self.at(text)

    @property
    def dates(self) -> list[datetime]:
        """The dates started so far."""
        return [start.date for start in self.starts]

    @staticmethod
    def short(starts: Any) -> list[str]:
        """Return the times of dates, in UTC."""
        return [start.date.astimezone(UTC).strftime("%H:%M") for start in starts]

    def drain(self, now: datetime, rounds: int = 10_000) -> None:
        """Evaluate and end what runs at once, again and again, until nothing more is due *now*."""
        for _ in range(rounds):
            for start in self.state.started:
                self.state = execution_ended(self.trigger, self.state, start.execution_id, State.SUCCESS, now)
            decision = self.evaluate(now)
            if not decision.starts and (decision.wake is None or decision.wake > now):
                return
        raise AssertionError("it does not come to rest")


SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
