"""What the doctor finds about triggers, and puts right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.adapters.local.timers import LocalTimers
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.doctor import Doctor, Finding
from headrace_engine.language import Registry
from headrace_engine.testing.runtime import START, VirtualRuntime

TASKS = Registry.load()
HOUR = timedelta(hours=1)
LOG = "tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]"
SCHEDULE = "type: io.kestra.plugin.core.trigger.Schedule, cron: '0 * * * *'"
POLL = "type: io.kestra.plugin.aws.sqs.RealtimeTrigger, queueUrl: 'https://queues.test/q'"
"""Never contacted."""


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime(registry=TASKS, schedules=True) as runtime:
        yield runtime


def save(runtime: VirtualRuntime, trigger: str = SCHEDULE, name: str = "f") -> None:
    runtime.save_flow(f"id: {name}\nnamespace: demo\n{LOG}\ntriggers: [{{id: t, {trigger}}}]\n")


def examine(runtime: VirtualRuntime, *, repair: bool = False) -> list[tuple[str, str, bool]]:
    return [said(each) for each in Doctor(runtime.engine).examine(repair=repair)]


def said(finding: Finding) -> tuple[str, str, bool]:
    name = ".".join((finding.flow_id, finding.trigger_id))
    return name, finding.problem, finding.is_repaired


def pass_(runtime: VirtualRuntime, time: timedelta) -> None:
    end = runtime.clock.now() + time
    runtime.settle(time)
    runtime.clock.set(end)


def executions(runtime: VirtualRuntime) -> int:
    return runtime.stores.executions.search().total


@pytest.mark.parametrize("trigger", [SCHEDULE, POLL, SCHEDULE + ", disabled: true"])
def test_what_is_as_it_should_be_is_left_alone(runtime: VirtualRuntime, trigger: str) -> None:
    save(runtime, trigger)
    assert examine(runtime) == []  # whoever saved it has done so just now
    pass_(runtime, HOUR / 2)
    record = runtime.stores.triggers.get("demo", "f", "t")
    assert examine(runtime, repair=True) == []
    assert runtime.stores.triggers.get("demo", "f", "t") == record


def test_an_alarm_that_is_lost_is_set_again(runtime: VirtualRuntime) -> None:
    save(runtime)
    pass_(runtime, HOUR / 2)
    runtime.world.alarms.clear()
    why = "no alarm is set for 2026-01-01T01:00:00Z, when it is due"
    assert examine(runtime) == [("f.t", why, False)]
    assert not runtime.world.alarms  # asking changes nothing
    assert examine(runtime, repair=True) == [("f.t", why, True)]
    pass_(runtime, timedelta(minutes=1))
    assert examine(runtime) == []
    pass_(runtime, HOUR)
    assert executions(runtime) == 1


def test_a_record_that_is_lost_is_made_again(runtime: VirtualRuntime) -> None:
    save(runtime)
    pass_(runtime, HOUR / 2)
    runtime.stores.triggers.delete("demo", "f", "t")
    runtime.world.alarms.clear()
    why = "nothing is kept of it: nobody has looked at it yet"
    assert examine(runtime, repair=True) == [("f.t", why, True)]
    pass_(runtime, HOUR)
    assert examine(runtime) == []
    assert executions(runtime) == 1


def test_what_nobody_looked_at_when_it_was_due_is_looked_at(runtime: VirtualRuntime) -> None:
    save(runtime)
    pass_(runtime, HOUR / 2)
    runtime.world.alarms.clear()
    runtime.clock.set(START + 1.5 * HOUR)
    why = "nobody looked at it, though it was due at 2026-01-01T01:00:00Z"
    assert examine(runtime, repair=True) == [("f.t", why, True)]
    pass_(runtime, timedelta(minutes=1))
    assert (examine(runtime), executions(runtime)) == ([], 1)


def test_a_record_without_a_date_to_look_at_it_gets_one(runtime: VirtualRuntime) -> None:
    save(runtime)
    pass_(runtime, HOUR / 2)
    triggers = runtime.stores.triggers
    triggers.put(replace(triggers.get("demo", "f", "t"), due=None))
    runtime.world.alarms.clear()
    why = "its record does not say when somebody must look at it"
    assert examine(runtime, repair=True) == [("f.t", why, True)]
    pass_(runtime, timedelta(minutes=1))
    assert examine(runtime) == []


def test_a_trigger_that_waits_for_its_execution_needs_no_alarm(runtime: VirtualRuntime) -> None:
    source = f"id: f\nnamespace: demo\ntasks: [{{id: p, type: io.kestra.plugin.core.flow.Pause}}]\ntriggers: [{{id: t, {SCHEDULE}}}]\n"
    runtime.save_flow(source)
    pass_(runtime, 1.1 * HOUR)
    assert executions(runtime) == 1
    assert examine(runtime) == []


def test_what_is_kept_of_triggers_that_are_gone_is_removed(runtime: VirtualRuntime) -> None:
    save(runtime)
    pass_(runtime, HOUR / 2)
    triggers = runtime.stores.triggers
    lost = triggers.put(replace(triggers.get("demo", "f", "t"), flow_id="gone", version=0))
    assert examine(runtime, repair=True) == [("gone.t", "it is kept of a trigger that is gone", True)]
    assert triggers.get("demo", lost.flow_id, "t").version == 0
    assert examine(runtime) == []


def test_a_flow_that_can_be_read_no_longer_is_told_of(runtime: VirtualRuntime) -> None:
    runtime.stores.flows.save("demo", "old", "id: old\nnamespace: demo\ntasks: [{id: a, type: gone}]\n", START)
    ((name, why, repaired),) = examine(runtime, repair=True)
    assert (name, repaired) == ("old.", False)
    assert why.startswith("it cannot be read, and none of its triggers fires: ")


def test_local_timers_know_what_is_set() -> None:
    clock = ManualClock(START)
    timers = LocalTimers(clock, _nobody)
    try:
        timers.wake_trigger("demo", "f", "t", START + HOUR)
        assert timers.is_set("demo", "f", "t", START + HOUR)
        assert not timers.is_set("demo", "f", "t", START)
    finally:
        timers.close()


def _nobody(*_arguments: Any) -> None:
    """Hear of nothing."""
