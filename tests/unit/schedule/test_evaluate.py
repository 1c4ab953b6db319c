"""When a schedule trigger starts executions, told as stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from headrace_engine.core.schedule.conditions import day_week_in_month
from headrace_engine.core.schedule.evaluate import (
    PassedOver,
    Reason,
    evaluate,
    execution_ended,
    neighbours,
    preview,
    set_disabled,
    unlocked,
)
from headrace_engine.core.schedule.times import InvalidDate, listed_times, parse_date
from headrace_engine.core.schedule.trigger import ConditionFailed, Recover, TriggerState, execution_id
from headrace_engine.core.schedule.wall_clock import time_zone
from headrace_engine.model.state import State
from unit.schedule.harness import HOUR, SECOND, Run, at, trigger


def first_mondays(date: datetime) -> bool:
    return day_week_in_month(date, "MONDAY", "FIRST")


# The first time, and one at a time


def test_a_new_trigger_counts_from_now_on() -> None:
    run = Run(trigger())
    assert run.at("10:00") == []
    assert run.state.next == at("11:00")
    assert run.wake == at("11:00")


def test_a_date_starts_when_it_has_come() -> None:
    run = Run(trigger())
    run.at("10:20")
    assert run.at("10:59:59.999") == []
    assert run.at("11:00:00.3") == ["11:00"]
    assert run.state.date == at("11:00")
    assert run.state.next == at("12:00")


def test_the_next_date_waits_for_the_end_of_the_last() -> None:
    run = Run(trigger())
    run.at("10:20")
    assert run.at("11:00") == ["11:00"]
    assert run.wake is None
    assert run.at("12:00") == []
    assert run.at("13:00") == []
    assert run.end("13:10") == ["12:00"]
    assert run.end("13:20") == ["13:00"]
    assert run.end("13:30") == []
    assert run.wake == at("14:00")


def test_allow_concurrent_does_not_wait() -> None:
    run = Run(trigger(allow_concurrent=True))
    run.at("10:20")
    assert run.at("11:00") == ["11:00"]
    assert run.wake == at("12:00")
    assert run.at("14:30") == ["12:00", "13:00", "14:00"]


def test_many_dates_at_once_are_started_in_pages() -> None:
    run = Run(trigger(allow_concurrent=True), options={"at_most": 2})
    run.at("10:20")
    assert run.at("15:30") == ["11:00", "12:00"]
    assert run.wake == at("15:30")
    assert run.at("15:30") == ["13:00", "14:00"]
    assert run.at("15:30") == ["15:00"]
    assert run.wake == at("16:00")


def test_a_lock_can_be_released_by_hand() -> None:
    run = Run(trigger())
    run.at("10:20")
    run.at("11:00")
    run.state = unlocked(run.state, at("12:30"))
    assert run.at("12:30") == ["12:00"]


def test_the_end_of_another_execution_releases_nothing() -> None:
    run = Run(trigger())
    run.at("10:20")
    run.at("11:00")
    assert execution_ended(run.trigger, run.state, "another", State.SUCCESS, at("11:30")) == run.state


# Catching up


@pytest.mark.parametrize(
    ("recover", "ran", "over"),
    [
        (Recover.ALL, ["11:00", "12:00", "13:00"], []),
        (Recover.LAST, ["13:00"], [PassedOver(at("11:00"), at("13:00"), Reason.MISSED)]),
        (Recover.NONE, [], [PassedOver(at("11:00"), at("13:29"), Reason.MISSED)]),
    ],
)
@pytest.mark.parametrize("concurrent", [False, True])
def test_missed_dates_are_made_up_for_as_asked(
    recover: Recover, ran: list[str], over: list[PassedOver], concurrent: bool
) -> None:
    run = Run(trigger(recover=recover, allow_concurrent=concurrent))
    run.at("10:20")
    run.drain(at("13:30"))
    assert run.short(run.starts) == ran
    assert run.passed_over == over
    assert run.wake == at("14:00")


@pytest.mark.parametrize("recover", list(Recover))
def test_a_date_that_waited_for_an_execution_is_not_missed(recover: Recover) -> None:
    run = Run(trigger(recover=recover))
    run.at("10:20")
    run.at("11:00:05")
    assert run.end("13:10") == ["12:00"]
    assert run.end("15:10") == ["13:00"]
    assert run.end("15:20") == ["14:00"]
    assert run.end("15:30") == ["15:00"]
    assert run.end("15:40") == []


@pytest.mark.parametrize(("recover", "ran"), [(Recover.ALL, "12:00"), (Recover.LAST, "15:00"), (Recover.NONE, None)])
def test_a_date_that_waited_is_missed_when_nobody_looked_for_long(recover: Recover, ran: str | None) -> None:
    run = Run(trigger(recover=recover))
    run.at("10:20")
    run.at("11:00:05")
    start = run.state.started[0]
    run.state = execution_ended(run.trigger, run.state, start.execution_id, State.SUCCESS, at("12:10"))
    assert run.at("15:30") == ([ran] if ran else [])


@pytest.mark.parametrize("recover", list(Recover))
def test_a_date_looked_at_a_little_late_is_not_missed(recover: Recover) -> None:
    run = Run(trigger(recover=recover))
    run.at("10:20")
    assert run.at("11:00:59") == ["11:00"]


@pytest.mark.parametrize("recover", [Recover.LAST, Recover.NONE])
def test_all_dates_of_the_last_minute_are_looked_at_promptly(recover: Recover) -> None:
    run = Run(trigger("*/20 * * * * *", recover=recover))
    run.at("10:20:30")
    run.drain(at("10:25:50"))
    assert run.dates == [at(f"10:{clock}") for clock in ("25:00", "25:20", "25:40")]


def test_dates_that_came_with_the_one_that_was_started_wait_with_it() -> None:
    run = Run(trigger("*/20 * * * * *", recover=Recover.NONE))
    run.at("10:20:50")
    run.evaluate(at("10:21:45"))
    run.end("10:23:30")
    run.drain(at("10:23:35"))
    assert run.dates == [at("10:21:00") + number * timedelta(seconds=20) for number in range(8)]


def test_where_nothing_waits_the_end_of_an_execution_excuses_no_date() -> None:
    run = Run(trigger(recover=Recover.NONE))
    run.at("10:20")
    run.at("11:00")
    run.end("11:10")
    run.trigger = trigger(recover=Recover.NONE, allow_concurrent=True)
    assert run.at("12:00") == ["12:00"]
    assert run.end("15:30") == []


def test_how_late_is_prompt_can_be_said() -> None:
    run = Run(trigger(recover=Recover.NONE), options={"prompt": timedelta(minutes=11)})
    run.at("10:20")
    assert run.at("11:10") == ["11:00"]


def test_late_dates_are_skipped() -> None:
    run = Run(trigger(late_maximum_delay=timedelta(minutes=90)))
    run.at("10:20")
    run.drain(at("13:30"))
    assert run.short(run.starts) == ["12:00", "13:00"]
    assert run.passed_over == [PassedOver(at("11:00"), at("12:00"), Reason.LATE)]


def test_a_date_that_waited_can_be_late() -> None:
    run = Run(trigger(late_maximum_delay=timedelta(minutes=30)))
    run.at("10:20")
    run.at("11:00")
    assert run.end("13:10") == ["13:00"]


def test_the_last_missed_date_may_be_late_itself() -> None:
    run = Run(trigger(late_maximum_delay=timedelta(minutes=20), recover=Recover.LAST))
    run.at("10:20")
    assert run.at("13:30") == []
    assert run.wake == at("14:00")


def test_the_last_missed_date_is_one_that_passes() -> None:
    odd = trigger(recover=Recover.LAST, passes=lambda date: date.hour % 2 == 1)
    run = Run(odd)
    run.at("10:20")
    run.drain(at("14:30"))
    assert run.short(run.starts) == ["13:00"]


# Changes


def test_a_changed_cron_counts_from_now() -> None:
    run = Run(trigger("0 0 * * *"))
    run.at("10:20")
    assert run.state.next == at("06-02 00:00")
    run.trigger = trigger("*/10 * * * *")
    assert run.at("10:25") == []
    assert run.state.next == at("10:30")


@pytest.mark.parametrize(
    "changed",
    [trigger("0 * * * *", "Asia/Kathmandu"), trigger(conditions="weekend")],
    ids=["time zone", "conditions"],
)
def test_a_changed_time_zone_or_condition_counts_from_now(changed: object) -> None:
    run = Run(trigger())
    run.at("10:20")
    run.trigger = changed  # type: ignore[assignment]  # a trigger
    assert run.at("13:30") == []


def test_another_spelling_of_the_same_cron_is_no_change() -> None:
    run = Run(trigger("0 * * * *"))
    run.at("10:20")
    run.trigger = trigger("@hourly")
    assert run.at("13:30") == ["11:00"]


def test_a_change_keeps_the_lock() -> None:
    run = Run(trigger())
    run.at("10:20")
    run.at("11:00")
    run.trigger = trigger("*/10 * * * *")
    assert run.at("11:20") == []
    assert run.end("11:35") == ["11:30"]


@pytest.mark.parametrize("by_definition", [False, True])
def test_a_disabled_trigger_starts_nothing_and_counts_from_now_when_enabled(by_definition: bool) -> None:
    run = Run(trigger())
    run.at("10:20")
    if by_definition:
        run.trigger = replace(run.trigger, disabled=True)
    else:
        run.state = set_disabled(run.state, at("10:30"), disabled=True)
    assert run.at("11:00") == []
    assert run.wake is None
    assert run.state.next is None
    run.trigger = trigger()
    run.state = set_disabled(run.state, at("13:30"), disabled=False)
    assert run.at("13:30") == []
    assert run.wake == at("14:00")


def test_stop_after_switches_the_trigger_off() -> None:
    run = Run(trigger(stop_after=frozenset({State.FAILED})))
    run.at("10:20")
    run.at("11:00")
    assert run.end("12:10") == ["12:00"]
    assert run.end("12:20", State.FAILED) == []
    assert run.state.disabled
    assert run.at("13:00") == []


def test_an_end_from_before_it_was_switched_on_again_does_not_switch_it_off() -> None:
    run = Run(trigger(stop_after=frozenset({State.FAILED})))
    run.at("10:20")
    run.at("11:00")
    ended = run.state.started[0].execution_id
    run.end("11:10", State.FAILED)
    run.state = set_disabled(run.state, at("11:20"), disabled=False)
    again = execution_ended(run.trigger, run.state, ended, State.FAILED, at("11:10"))
    assert not again.disabled


def test_stop_after_counts_executions_that_hold_no_lock() -> None:
    concurrent = trigger(stop_after=frozenset({State.FAILED}), allow_concurrent=True)
    assert execution_ended(concurrent, TriggerState(), "any", State.FAILED, at("10:00")).disabled


# Conditions


def test_the_next_date_is_the_next_that_passes() -> None:
    run = Run(trigger("0 9 * * *", passes=first_mondays))
    run.at("06-01 10:00")
    assert run.state.next == at("06-02 09:00")
    assert run.at("06-02 09:00") == ["09:00"]
    assert run.state.next == at("07-07 09:00")


def test_conditions_are_asked_again_when_the_date_has_come() -> None:
    answers = iter([True, False, True])
    run = Run(trigger(passes=lambda _: next(answers)))
    run.at("10:20")
    assert run.state.next == at("11:00")
    assert run.at("11:00") == []
    assert run.state.next == at("12:00")


def test_a_condition_that_cannot_be_evaluated_makes_a_date_due_that_fails() -> None:
    def broken(_: datetime) -> bool:
        raise ConditionFailed("Missing variable: `x`")

    run = Run(trigger(passes=broken))
    run.at("10:20")
    assert run.state.next == at("11:00")
    assert run.at("11:00") == ["11:00"]
    assert run.starts[0].error == "Missing variable: `x`"


def test_a_search_that_is_too_long_goes_on_later_and_misses_nothing() -> None:
    def in_a_while(date: datetime) -> bool:
        return date >= at("06-03 00:00")

    run = Run(trigger("* * * * *", passes=in_a_while), options={"effort": 1000})
    run.at("06-01 00:00")
    woken = 0
    while not run.starts:
        assert run.wake is not None
        run.evaluate(run.wake)
        woken += 1
    assert run.dates == [at("06-03 00:00")]
    assert woken <= 4


def test_catching_up_may_take_several_evaluations() -> None:
    run = Run(trigger("* * * * *", passes=lambda date: date.minute == 59), options={"effort": 100})
    run.at("00:00")
    run.drain(at("23:59"))
    assert run.dates == [at(f"{hour:02}:59") for hour in range(24)]


def test_conditions_that_no_date_passes_end_the_trigger() -> None:
    run = Run(trigger("0 0 1 1 *", passes=lambda _: False))
    run.at("10:00")
    assert run.state.next is None
    assert run.wake is None


def test_conditions_that_may_change_their_mind_are_asked_at_every_date() -> None:
    switch = False
    run = Run(trigger(passes=lambda _: switch, by_date_alone=False), options={"effort": 50})
    run.at("10:20")
    assert run.at("11:00") == []
    assert run.wake == at("12:00")
    switch = True
    assert run.at("12:00") == ["12:00"]


def test_a_cron_that_never_fits_has_no_date() -> None:
    run = Run(trigger("0 0 30 2 *"))
    assert run.at("10:00") == []
    assert run.state.next is None
    assert run.wake is None


def test_the_variables_honour_the_conditions() -> None:
    found = neighbours(trigger("0 9 * * *", passes=first_mondays), at("06-02 09:00"))
    assert (found.date, found.next, found.previous) == (at("06-02 09:00"), at("07-07 09:00"), at("05-05 09:00"))
    found = neighbours(trigger("0 9 * * *", passes=lambda _: False), at("06-02 09:00"), effort=100)
    assert (found.next, found.previous) == (None, None)


def test_the_variables_have_the_offset_of_the_time_zone() -> None:
    found = neighbours(trigger("30 2 * * *", "Europe/Berlin"), datetime.fromisoformat("2025-03-30T03:00:00+02:00"))
    assert (found.next, found.previous) == (at("03-31 00:30"), at("03-29 01:30"))
    assert found.next is not None
    assert found.next.isoformat() == "2025-03-31T02:30:00+02:00"
    assert found.previous is not None
    assert found.previous.isoformat() == "2025-03-29T02:30:00+01:00"


def test_a_preview_lists_dates() -> None:
    hourly = trigger(passes=lambda date: date.hour != 12)
    assert preview(hourly, at("11:00"), at("14:00")) == ([at("11:00"), at("13:00"), at("14:00")], None)
    assert preview(hourly, at("11:00"), at("14:00"), at_most=1) == ([at("11:00")], at("12:00"))
    assert preview(hourly, at("11:00"), at("14:00"), at_most=3) == ([at("11:00"), at("13:00"), at("14:00")], None)
    assert preview(hourly, at("11:00"), at("14:00"), existing={at("13:00")}) == ([at("11:00"), at("14:00")], None)


def test_a_preview_puts_only_so_many_dates_to_the_conditions() -> None:
    never = trigger("0 * * * *", passes=lambda _date: False)
    assert preview(never, at("10:00"), at("20:00"), effort=3) == ([], at("13:00"))


# A list of dates


def test_listed_dates_start_in_order_and_then_it_is_over() -> None:
    times = listed_times(["2025-06-01T13:00:00Z", "2025-06-01T09:00:00Z", "2025-06-01T11:00:00+00:00"], UTC)
    run = Run(trigger(times=times))
    assert run.at("10:00") == []  # 09:00 was before the first evaluation
    assert run.wake == at("11:00")
    assert run.at("11:00") == ["11:00"]
    assert run.end("11:10") == []
    assert run.at("13:00") == ["13:00"]
    assert run.end("13:10") == []
    assert run.state.next is None
    assert run.wake is None


def test_listed_dates_wait_and_are_made_up_for_like_others() -> None:
    listed = listed_times([f"2025-06-01T{hour}:00:00Z" for hour in (11, 12, 13)], UTC)
    for recover, ran in ((Recover.ALL, ["11:00", "12:00", "13:00"]), (Recover.LAST, ["13:00"]), (Recover.NONE, [])):
        run = Run(trigger(times=listed, recover=recover))
        run.at("10:00")
        run.drain(at("15:00"))
        assert run.short(run.starts) == ran


def test_a_date_that_is_added_later_counts() -> None:
    run = Run(trigger(times=listed_times(["2025-06-01T11:00:00Z"], UTC)))
    run.at("10:00")
    run.at("11:00")
    run.end("11:10")
    run.trigger = trigger(times=listed_times(["2025-06-01T11:00:00Z", "2025-06-01T12:00:00Z"], UTC))
    assert run.at("11:20") == []
    assert run.at("12:00") == ["12:00"]


def test_listed_dates_may_be_far_away() -> None:
    run = Run(trigger(times=listed_times(["2099-01-01T00:00:00Z"], UTC)))
    run.at("10:00")
    assert run.wake == datetime(2099, 1, 1, tzinfo=UTC)


def test_listed_dates_are_shown_in_the_time_zone() -> None:
    texts = ["2025-06-01T11:00:00.999Z", "2025-06-01T12:00+02:00[Europe/Berlin]", "2025-12-01T12:00:00", "2025-12-01"]
    listed = listed_times(texts, time_zone("Europe/Berlin"))
    assert [date.isoformat() for date in listed.dates] == [
        "2025-06-01T12:00:00+02:00",
        "2025-06-01T13:00:00+02:00",
        "2025-12-01T00:00:00+01:00",
        "2025-12-01T12:00:00+01:00",
    ]
    assert listed.before(at("06-01 10:00")) is None
    assert listed.before(at("06-01 10:00:01")) == at("06-01 10:00")
    assert listed.after(at("12-01 11:00")) is None


@pytest.mark.parametrize("text", ["tomorrow", "2025-13-01", "2025-06-01T11:00:00"])
def test_a_text_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(InvalidDate):
        parse_date(text)


# Crashes


def test_deciding_twice_decides_the_same() -> None:
    run = Run(trigger())
    run.at("10:20")
    before = run.state
    first, second = (evaluate(run.trigger, before, at("11:00")) for _ in range(2))
    assert first == second


def test_what_was_decided_but_perhaps_not_started_stands_in_the_state() -> None:
    run = Run(trigger())
    run.at("10:20")
    decision = run.evaluate(at("11:00"))
    assert decision.state.started == decision.starts
    assert run.at("11:05") == []
    assert run.state.started == decision.starts


def test_an_execution_id_comes_from_flow_trigger_and_date() -> None:
    date = at("11:00")
    made = execution_id("test", "flow", "schedule", date)
    assert len(made) == 22
    assert made == execution_id("test", "flow", "schedule", date.astimezone(time_zone("Asia/Kathmandu")))
    others = [
        execution_id("test", "flow", "schedule", date + SECOND),
        execution_id("test", "flow", "another", date),
        execution_id("test", "another", "schedule", date),
        execution_id("another", "flow", "schedule", date),
        execution_id("test", "flow", "schedule", date, "backfill"),
    ]
    assert len({made, *others}) == 6


def test_a_state_can_be_stored_as_json() -> None:
    run = Run(trigger("0 * * * *", "Europe/Berlin"))
    run.at("10:20")
    run.evaluate(at("11:00"))
    assert msgspec.json.decode(msgspec.json.encode(run.state), type=TriggerState) == run.state


def test_dates_of_another_offset_are_the_same_dates() -> None:
    run = Run(trigger("0 * * * *", "Asia/Kathmandu"))
    now = at("10:20").astimezone(time_zone("America/New_York"))
    run.evaluate(now)
    assert run.wake == at("11:15")
    assert run.wake - now == timedelta(minutes=55) < HOUR
