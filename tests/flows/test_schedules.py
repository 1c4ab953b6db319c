"""Schedules as a whole: flows that start at dates (reference §8.1, §8.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from headrace_engine.language import Registry
from headrace_engine.model.state import State
from headrace_engine.ports import StateChange
from headrace_engine.run_stores import RunKV
from headrace_engine.schedules import Schedules
from headrace_engine.testing.runtime import START, Outcome, VirtualRuntime, World
from headrace_engine.trigger_operations import AskedBackfill, TriggerName, TriggerOperations

TASKS = Registry.load()
NAME = TriggerName("demo", "f", "t")
CORE = "io.kestra.plugin.core."
HOUR = timedelta(hours=1)
LOG = f"{{id: log, type: {CORE}log.Log, message: hi}}"
FAIL = f"{{id: fail, type: {CORE}execution.Fail}}"
SLEEP = f"{{id: sleep, type: {CORE}flow.Sleep, duration: PT90M}}"


def flow(trigger: str = 'cron: "0 * * * *"', tasks: str = LOG, more: str = "", name: str = "f") -> str:
    """Return a flow with one trigger, a Schedule unless it says otherwise."""
    kind = "" if trigger.startswith("type:") else f"type: {CORE}trigger.Schedule, "
    return f"id: {name}\nnamespace: demo\ntasks: [{tasks}]\n{more}\ntriggers:\n  - {{id: t, {kind}{trigger}}}\n"


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime(registry=TASKS, schedules=True) as runtime:
        yield runtime


def pass_(runtime: VirtualRuntime, time: timedelta) -> None:
    end = runtime.clock.now() + time
    runtime.settle(time)
    runtime.clock.set(end)


def outcomes(runtime: VirtualRuntime, name: str = "f") -> list[Outcome]:
    """Return the executions of a flow by their dates, those without one included."""
    found = [each for each in runtime.stores.executions.search(limit=1000).found if each.flow_id == name]
    return sorted((runtime.outcome(each.id) for each in found), key=lambda each: str(each.view["scheduleDate"]))


def dates(runtime: VirtualRuntime, name: str = "f") -> list[float]:
    """Return the dates that were run, in hours since the start."""
    return [(datetime.fromisoformat(each.view["scheduleDate"]) - START) / HOUR for each in outcomes(runtime, name)]


def the_one(runtime: VirtualRuntime) -> Outcome:
    (found,) = outcomes(runtime)
    return found


def schedules(runtime: VirtualRuntime) -> Schedules:
    assert runtime.schedules is not None
    return runtime.schedules


# -- What is started -------------------------------------------------------------------------------


def test_an_execution_knows_its_date_and_the_dates_around_it(runtime: VirtualRuntime) -> None:
    said = f'{{id: said, type: {CORE}debug.Return, format: "{{{{ trigger.date }}}} {{{{ schedule.date }}}} {{{{ execution.scheduleDate }}}}"}}'
    runtime.save_flow(flow('cron: "30 9 * * *", timezone: Europe/Paris', said))
    pass_(runtime, 24 * HOUR)
    came = the_one(runtime)
    assert came.view["trigger"] == {
        "id": "t",
        "type": f"{CORE}trigger.Schedule",
        "variables": {
            "date": "2026-01-01T09:30:00+01:00",
            "next": "2026-01-02T09:30:00+01:00",
            "previous": "2025-12-31T09:30:00+01:00",
        },
    }
    assert came.find("said")["outputs"]["value"] == (
        "2026-01-01T09:30:00+01:00 2026-01-01T09:30:00+01:00 2026-01-01T08:30:00Z"
    )
    assert came.view["scheduleDate"] == came.view["state"]["startDate"] == "2026-01-01T08:30:00.000000Z"


def test_without_a_time_zone_dates_are_those_of_utc(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "@daily"'))
    pass_(runtime, 24 * HOUR)
    assert the_one(runtime).view["trigger"]["variables"]["date"] == "2026-01-02T00:00:00Z"


def test_inputs_and_labels_are_rendered_and_the_inputs_checked(runtime: VirtualRuntime) -> None:
    runtime.save_flow(
        flow(
            'cron: "0 * * * *", inputs: {day: "{{ trigger.date | date(\'yyyy-MM-dd\') }}", n: "{{ vars.n }}"},'
            ' labels: {hour: "{{ trigger.date | date(\'HH\') }}", own: "{{ flow.id }}"}',
            more="inputs: [{id: day, type: DATE}, {id: n, type: INT}, {id: rest, type: STRING, defaults: d}]\n"
            "labels: {team: mill}\nvariables: {n: 3}",
        )
    )
    pass_(runtime, HOUR)
    came = the_one(runtime).view
    assert came["inputs"] == {"day": "2026-01-01", "n": 3, "rest": "d"}
    assert [(each["key"], each["value"]) for each in came["labels"]] == [
        ("team", "mill"),
        ("hour", "01"),
        ("own", "f"),
        ("system.from", "trigger"),
        ("system.correlationId", came["id"]),
    ]


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ("inputs: {n: many}", "Invalid input for `n`"),
        ('inputs: {n: "{{ nowhere }}"}', "Unable to find `nowhere`"),
        ('labels: {l: "{{ nowhere }}"}', "Unable to find `nowhere`"),
        ('when: "{{ nowhere }}"', "Unable to find `nowhere`"),
        (f'conditions: [{{type: {CORE}condition.DayWeek, dayOfWeek: "{{{{ vars.day }}}}"}}]', "no day of the week"),
    ],
)
def test_what_cannot_be_rendered_or_read_is_a_failed_execution(
    runtime: VirtualRuntime, trigger: str, says: str
) -> None:
    runtime.save_flow(
        flow(f'cron: "0 * * * *", {trigger}', more="inputs: [{id: n, type: INT, defaults: 1}]\nvariables: {day: x}")
    )
    pass_(runtime, 2 * HOUR)
    came = outcomes(runtime)
    assert [each.state for each in came] == ["FAILED", "FAILED"]
    assert says in came[0].view["error"]["message"]
    assert came[0].task_runs == []
    assert came[0].view["trigger"]["variables"]["date"] == "2026-01-01T01:00:00Z"


def test_a_secret_is_masked_in_why_it_failed() -> None:
    with VirtualRuntime(registry=TASKS, schedules=True, secrets={"WORD": "sesame"}) as runtime:
        runtime.save_flow(
            flow('cron: "0 * * * *", inputs: {n: "{{ secret(\'WORD\') }}"}', more="inputs: [{id: n, type: INT}]")
        )
        pass_(runtime, HOUR)
        message = the_one(runtime).view["error"]["message"]
    assert "sesame" not in message
    assert "Invalid input for `n`" in message


# -- Which dates -----------------------------------------------------------------------------------


def test_conditions_choose_dates(runtime: VirtualRuntime) -> None:
    runtime.save_flow(
        flow(
            'cron: "0 */6 * * *", when: "{{ kv(\'open\') }}",'
            f' conditions: [{{type: {CORE}condition.TimeBetween, after: "05:00:00Z"}}]'
        )
    )
    store = RunKV(runtime.stores.kv, runtime.clock, "demo")
    store.set("open", "false")
    pass_(runtime, 13 * HOUR)
    assert dates(runtime) == []
    store.set("open", "true")
    pass_(runtime, 24 * HOUR)
    assert dates(runtime) == [18, 30, 36]


def test_listed_dates_are_run_and_then_nothing(runtime: VirtualRuntime) -> None:
    runtime.save_flow(
        flow(
            f"type: {CORE}trigger.ScheduleOnDates, timezone: Europe/Paris,"
            ' dates: ["2025-12-31T12:00:00Z", "2026-01-01T03:00:00", "{{ vars.at }}"]',
            more='variables: {at: "2026-01-01T04:00:00Z"}',
        )
    )
    runtime.settle()
    assert dates(runtime) == [2, 4]
    assert runtime.stores.triggers.get("demo", "f", "t").due is None


def test_dates_may_come_from_one_expression_and_be_told_later(
    runtime: VirtualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.save_flow(flow(f"type: {CORE}trigger.ScheduleOnDates, dates: \"{{{{ kv('dates') }}}}\""))
    pass_(runtime, HOUR)
    assert "The dates of the trigger demo.f.t cannot be told" in caplog.text
    RunKV(runtime.stores.kv, runtime.clock, "demo").set("dates", ["2026-01-01T05:00:00Z"])
    assert schedules(runtime).sweep() == 1
    pass_(runtime, 9 * HOUR)
    assert dates(runtime) == [5]


def test_a_changed_schedule_counts_from_now_and_the_alarm_of_the_old_one_does_nothing(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 */4 * * *"'))
    pass_(runtime, 5 * HOUR)
    runtime.save_flow(flow('cron: "30 */4 * * *"'))
    pass_(runtime, 5 * HOUR)
    assert dates(runtime) == [4, 8.5]
    runtime.save_flow(flow('cron: "30 */4 * * *"', more="description: saved again"))
    pass_(runtime, 4 * HOUR)
    assert dates(runtime) == [4, 8.5, 12.5]


@pytest.mark.parametrize(
    "instead",
    [
        flow('cron: "0 * * * *", disabled: true'),
        flow(more="disabled: true"),
        f"id: f\nnamespace: demo\ntasks: [{LOG}]\n",
        flow(f"type: {CORE}trigger.Flow"),
        None,
    ],
    ids=["trigger-off", "flow-off", "no-trigger", "another-type", "deleted"],
)
def test_a_schedule_that_is_no_more_starts_nothing_and_counts_anew_when_it_is_back(
    runtime: VirtualRuntime, instead: str | None
) -> None:
    runtime.save_flow(flow())
    pass_(runtime, HOUR)
    if instead is None:
        runtime.engine.delete_flow("demo", "f")
    else:
        runtime.save_flow(instead)
    pass_(runtime, 3 * HOUR)
    assert dates(runtime) == [1]
    assert list(runtime.stores.triggers.due(runtime.clock.now() + 1000 * HOUR)) == []
    runtime.save_flow(flow())
    pass_(runtime, HOUR)
    assert dates(runtime) == [1, 5]


def test_a_date_that_is_too_late_is_passed_over(runtime: VirtualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", lateMaximumDelay: PT45M', SLEEP))
    pass_(runtime, 5 * HOUR)
    # That of 1:00 ends at 2:30, half an hour after the next date; that one ends at 4:00, when 3:00 is too late.
    assert dates(runtime) == [1, 2, 4]
    assert (
        "passes over its dates from 2026-01-01T03:00:00Z on, before 2026-01-01T03:15:00Z: they are too late"
        in caplog.text
    )


# -- One at a time ---------------------------------------------------------------------------------


def starts(runtime: VirtualRuntime) -> list[float]:
    """Return when the executions began, in hours since the start."""
    came = outcomes(runtime)
    return [(datetime.fromisoformat(each.view["state"]["startDate"]) - START) / HOUR for each in came]


def test_a_date_waits_until_the_execution_of_the_last_one_has_ended(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(tasks=SLEEP))
    pass_(runtime, 5 * HOUR)
    assert dates(runtime) == [1, 2, 3]
    assert starts(runtime) == [1, 2.5, 4]


def test_dates_are_run_side_by_side_when_that_is_allowed(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", allowConcurrent: true', SLEEP))
    pass_(runtime, 4 * HOUR)
    assert starts(runtime) == dates(runtime) == [1, 2, 3, 4]


def test_what_a_person_starts_does_not_keep_a_date_waiting(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(tasks=SLEEP))
    pass_(runtime, 0.75 * HOUR)
    runtime.create("demo", "f")
    pass_(runtime, HOUR)
    assert [each.view["scheduleDate"] for each in outcomes(runtime)] == ["2026-01-01T01:00:00.000000Z", None]


def test_it_is_switched_off_after_an_end_that_it_names(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", stopAfter: [FAILED]', FAIL))
    pass_(runtime, 3 * HOUR)
    assert dates(runtime) == [1]
    assert runtime.stores.triggers.get("demo", "f", "t").disabled


def test_it_is_switched_off_by_the_end_of_any_of_several_that_run(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", allowConcurrent: true, stopAfter: [FAILED]', f"{SLEEP}, {FAIL}"))
    pass_(runtime, 5 * HOUR)
    assert dates(runtime) == [1, 2]  # that of 1:00 failed at 2:30, when that of 2:00 was the last one


def test_a_subflow_task_of_the_triggers_name_does_not_switch_it_off(runtime: VirtualRuntime) -> None:
    runtime.save_flow(
        flow(
            'cron: "0 * * * *", stopAfter: [FAILED]',
            f'{{id: fail, type: {CORE}execution.Fail, runIf: "{{{{ labels.system.from is not defined }}}}"}}',
        )
    )
    call = f"{{id: t, type: {CORE}flow.Subflow, namespace: demo, flowId: f, transmitFailed: false}}"
    runtime.save_flow(f"id: caller\nnamespace: demo\ntasks: [{call}]\n")
    runtime.create("demo", "caller")
    pass_(runtime, HOUR)
    assert sorted(each.state for each in outcomes(runtime)) == ["FAILED", "SUCCESS"]
    assert not runtime.stores.triggers.get("demo", "f", "t").disabled


def toggle(enabled: str) -> str:
    task = f"{{id: toggle, type: {CORE}trigger.Toggle, flowId: f, trigger: t, enabled: {enabled}}}"
    return f"id: toggle\nnamespace: demo\ntasks: [{task}]\n"


def test_a_toggle_switches_it_off_and_on_again_counting_from_then(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow())
    pass_(runtime, 1.5 * HOUR)
    for enabled, later in (("false", 2 * HOUR), ("true", 2 * HOUR)):
        runtime.save_flow(toggle(enabled))
        runtime.create("demo", "toggle")
        pass_(runtime, later)
    assert dates(runtime) == [1, 4, 5]


# -- What may go wrong -----------------------------------------------------------------------------


def test_an_alarm_that_comes_twice_late_or_early_starts_one_execution_and_sets_one_alarm(
    runtime: VirtualRuntime,
) -> None:
    runtime.save_flow(flow())
    runtime.settle(None)
    ((due, *_),) = runtime.world.alarms
    for _ in range(3):  # early: by this clock it is not time yet, and nobody else will say when
        runtime.world.alarms.clear()
        schedules(runtime).look("demo", "f", "t", rung=due)
        assert [alarm[0] for alarm in runtime.world.alarms] == [due]
    runtime.world.alarms.clear()
    runtime.clock.set(due + timedelta(minutes=20))
    schedules(runtime).look("demo", "f", "t", rung=due)
    assert [alarm[0] for alarm in runtime.world.alarms] == []  # its execution runs, and the rest waits for that
    runtime.settle(None)
    assert [alarm[0] for alarm in runtime.world.alarms] == [due + HOUR]
    runtime.world.alarms.clear()
    schedules(runtime).look("demo", "f", "t", rung=due)
    runtime.settle(None)
    assert [alarm[0] for alarm in runtime.world.alarms] == []  # doubled: it has been seen to
    assert dates(runtime) == [1]


def test_looks_at_the_same_time_start_one_execution(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow())
    runtime.settle(None)
    runtime.clock.set(START + HOUR)
    triggers = runtime.stores.triggers
    real, put = triggers, triggers.put

    class Racing:
        """The store, to which another look writes just before this one does."""

        raced = False

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def put(self, record: Any) -> Any:
            if not self.raced:
                self.raced = True
                schedules(runtime).look("demo", "f", "t", rung=START + HOUR)
            return put(record)

    racing = VirtualRuntime(world=_with_triggers(runtime.world, Racing()), registry=TASKS, schedules=True)
    schedules(racing).look("demo", "f", "t", rung=START + HOUR)
    racing.close()
    runtime.settle(None)
    assert dates(runtime) == [1]


def _with_triggers(world: World, triggers: Any) -> World:
    seen = copy(world)
    seen.stores = replace(world.stores, triggers=triggers)
    return seen


def test_the_sweep_finds_what_no_alarm_told_of(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(tasks=SLEEP))
    runtime.settle(None)
    runtime.world.alarms.clear()
    pass_(runtime, 1.5 * HOUR)
    assert dates(runtime) == []
    assert schedules(runtime).sweep() == 1
    pass_(runtime, HOUR)
    assert dates(runtime) == [1]
    assert schedules(runtime).sweep() == 1  # it still runs: look again later
    assert schedules(runtime).sweep() == 0


def test_an_end_that_nobody_told_of_is_found(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(tasks=SLEEP))
    pass_(runtime, HOUR)
    with VirtualRuntime(world=runtime.world, registry=TASKS) as deaf:
        pass_(deaf, 1.5 * HOUR)
    runtime.executor.forget(the_one(runtime).view["id"])
    assert the_one(runtime).state == "SUCCESS"
    assert schedules(runtime).sweep() == 1
    runtime.settle(None)
    assert dates(runtime) == [1, 2]


def test_an_execution_that_was_purged_is_not_waited_for(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(tasks=SLEEP))
    pass_(runtime, HOUR)
    execution_id = the_one(runtime).view["id"]
    runtime.kill(execution_id)
    with VirtualRuntime(world=runtime.world, registry=TASKS) as deaf:
        deaf.settle(None)
        assert deaf.outcome(execution_id).state == "KILLED"
        runtime.stores.journal.purge(execution_id)
        runtime.stores.executions.delete(execution_id)
    pass_(runtime, HOUR)
    schedules(runtime).sweep()
    runtime.settle(None)
    assert dates(runtime) == [2]


def test_an_end_told_twice_does_not_switch_off_what_a_person_switched_on_since(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", stopAfter: [FAILED]', FAIL))
    pass_(runtime, HOUR)
    failed = the_one(runtime).view
    change = StateChange(
        failed["id"], "demo", "f", 1, 2, State.FAILED, datetime.fromisoformat(failed["state"]["endDate"]), "t"
    )
    runtime.clock.set(runtime.clock.now() + timedelta(minutes=1))
    runtime.save_flow(toggle("true"))
    runtime.create("demo", "toggle")
    runtime.settle(None)
    runtime.hear(change)
    assert not runtime.stores.triggers.get("demo", "f", "t").disabled


@pytest.mark.parametrize("saved", [False, True], ids=["not-saved", "saved"])
def test_whoever_dies_while_saving_a_flow_leaves_its_schedule_to_the_sweep(
    runtime: VirtualRuntime, saved: bool
) -> None:
    class Dead(BaseException):
        pass

    class Dying:
        """Flows, whose writer dies before or after the write."""

        def __init__(self, flows: Any) -> None:
            self.flows = flows

        def __getattr__(self, name: str) -> Any:
            return getattr(self.flows, name)

        def save(self, *given: Any) -> Any:
            if saved:
                self.flows.save(*given)
            raise Dead

    world = copy(runtime.world)
    world.stores = replace(world.stores, flows=Dying(world.stores.flows))  # type: ignore[arg-type]
    with VirtualRuntime(world=world, registry=TASKS) as dying, pytest.raises(Dead):
        dying.save_flow(flow())
    runtime.clock.set(START + timedelta(minutes=10))
    assert schedules(runtime).sweep() == 1
    assert runtime.stores.triggers.get("demo", "f", "t").due is not None  # it may be saved this moment
    pass_(runtime, HOUR)
    assert dates(runtime) == ([1] if saved else [])
    runtime.clock.set(START + 2 * HOUR)
    schedules(runtime).sweep()
    if not saved:
        assert runtime.stores.triggers.get("demo", "f", "t").due is None  # nobody looks for ever


def test_a_trigger_that_fails_does_not_keep_the_sweep_from_the_others(
    runtime: VirtualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        runtime.save_flow(flow(name=name))
    runtime.settle(None)
    runtime.world.alarms.clear()
    record = runtime.stores.triggers.get("demo", "a", "t")
    runtime.stores.triggers.put(replace(record, data=b"schedule:jnonsense"))
    runtime.clock.set(START + 1.5 * HOUR)
    with caplog.at_level(logging.ERROR):
        assert schedules(runtime).sweep() == 2
    runtime.settle(None)
    assert "The trigger demo.a.t failed" in caplog.text
    assert dates(runtime, "b") == [1]


def test_where_schedules_do_not_fire_a_flow_with_one_is_only_saved() -> None:
    with VirtualRuntime(registry=TASKS) as runtime:
        runtime.save_flow(flow())
        runtime.settle()
        assert dates(runtime) == []


# -- Keys ------------------------------------------------------------------------------------------

BY_DAY = """cron: "0 */6 * * *", idempotencyKey: "{{ trigger.date | date('yyyy-MM-dd') }}\""""


def test_dates_with_the_same_key_start_one_execution(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(BY_DAY))
    pass_(runtime, 49 * HOUR)
    assert dates(runtime) == [6, 24, 48]


@pytest.mark.parametrize("more", ["", ", allowConcurrent: true"])
def test_a_backfill_runs_no_key_twice(runtime: VirtualRuntime, more: str) -> None:
    runtime.save_flow(flow(BY_DAY + more))
    pass_(runtime, 25 * HOUR)
    asked = AskedBackfill(START - 24 * HOUR, START + 24 * HOUR)
    TriggerOperations(runtime.engine).start_backfill(NAME, asked)
    pass_(runtime, HOUR)
    assert dates(runtime) == [-24, 6, 24]


def test_a_backfill_of_missing_dates_knows_what_has_the_key(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow(BY_DAY))
    pass_(runtime, 25 * HOUR)
    asked = AskedBackfill(START - 24 * HOUR, START + 24 * HOUR, missing_only=True)
    preview = TriggerOperations(runtime.engine).preview(NAME, asked)
    assert [(date - START) / HOUR for date in preview.dates] == [-24, -18, -12, -6]


def test_a_key_that_cannot_be_rendered_makes_an_execution_that_fails(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", idempotencyKey: "{{ nobody.knows }}"'))
    pass_(runtime, 1.5 * HOUR)
    assert the_one(runtime).state == "FAILED"


def test_a_date_of_a_key_waits_for_its_execution_as_any_does(runtime: VirtualRuntime) -> None:
    runtime.save_flow(flow('cron: "0 * * * *", idempotencyKey: "{{ trigger.date }}"', SLEEP))
    pass_(runtime, 4.6 * HOUR)
    assert [outcome.view["state"]["startDate"][11:16] for outcome in outcomes(runtime)] == ["01:00", "02:30", "04:00"]
