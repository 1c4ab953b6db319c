"""Backfills: in order, one after the other, and then back to the schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from headrace_engine.core.schedule.backfill import BackfillRefused, with_backfill, with_paused, without_backfill
from headrace_engine.core.schedule.trigger import Recover, TriggerState, execution_id
from headrace_engine.model.state import State
from unit.schedule.harness import HOUR, Run, at, trigger


def started(run: Run, now: str, start: str, end: str | None = None, **others: Any) -> None:
    """Start a backfill."""
    run.state = with_backfill(
        run.trigger,
        run.state,
        at(now),
        backfill_id="b1",
        start=at(start),
        end=None if end is None else at(end),
        **others,
    )


def test_a_backfill_runs_its_dates_and_then_the_schedule_goes_on() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05-30 22:00", "05-31 00:00", inputs={"day": 1}, labels=(("why", "late"),))
    assert run.at("10:30") == ["22:00"]
    assert run.state.backfill is not None
    assert run.state.backfill.next == at("05-30 23:00")
    assert run.state.next == at("11:00")  # the schedule's own next date stays
    assert run.at("10:31") == []  # one after the other
    assert run.end("10:32") == ["23:00"]
    assert run.end("10:33") == ["00:00"]
    assert run.state.backfill is not None  # its inputs and labels are wanted until its last execution has ended
    assert all(start.backfill for start in run.starts)
    assert run.end("10:34") == []
    assert run.state.backfill is None
    assert run.wake == at("11:00")
    assert run.at("11:00") == ["11:00"]
    assert not run.starts[-1].backfill


@pytest.mark.parametrize("recover", list(Recover))
def test_dates_that_come_during_a_backfill_wait_and_are_not_missed(recover: Recover) -> None:
    run = Run(trigger(recover=recover, late_maximum_delay=timedelta(days=1)))
    run.at("10:20")
    started(run, "10:30", "04-01 00:00", "04-01 01:00")
    assert run.at("10:30") == ["00:00"]  # no lateMaximumDelay in a backfill
    assert run.end("11:30") == ["01:00"]
    assert run.end("13:30") == ["11:00"]
    assert run.end("13:40") == ["12:00"]
    assert run.end("13:50") == ["13:00"]
    assert run.end("13:55") == []


def test_without_an_end_it_goes_to_now_and_overlaps_with_nothing() -> None:
    run = Run(trigger())
    run.at("09:20")
    run.at("10:00")
    started(run, "12:30", "08:00")  # 11:00 and 12:00 wait for the execution of 10:00
    assert run.end("12:40") == ["08:00"]
    run.drain(at("12:50"))
    assert run.short(run.starts) == ["10:00", "08:00", "09:00", "10:00", "11:00", "12:00"]
    assert [start.backfill for start in run.starts] == [False, True, True, True, False, False]


def test_an_end_in_the_future_is_now() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "09:00", "20:00")
    run.drain(at("10:31"))
    assert run.short(run.starts) == ["09:00", "10:00"]
    assert run.wake == at("11:00")


def test_conditions_choose_the_dates_of_a_backfill_too() -> None:
    run = Run(trigger(passes=lambda date: date.hour % 2 == 0))
    run.at("10:20")
    started(run, "10:30", "05:00", "09:00")
    run.drain(at("10:31"))
    assert run.short(run.starts) == ["06:00", "08:00"]


def test_a_backfill_runs_dates_that_ran_before() -> None:
    run = Run(trigger())
    run.at("08:20")
    run.at("09:00")
    run.end("09:10")
    started(run, "09:30", "09:00")
    assert run.at("09:30") == ["09:00"]
    assert run.starts[0].execution_id != run.starts[1].execution_id
    assert run.state.date == at("09:00")


def test_a_backfill_of_missing_dates_leaves_the_others_out() -> None:
    run = Run(trigger(), existing={at("06:00"), at("08:00")})
    run.at("10:20")
    started(run, "10:30", "05:00", "09:00", missing_only=True)
    run.drain(at("10:31"))
    assert run.short(run.starts) == ["05:00", "07:00", "09:00"]
    # Their ids are those the schedule would have used: whatever starts the date, it starts once.
    assert run.starts[0].execution_id == execution_id("test", "flow", "schedule", at("05:00"))


def test_a_backfill_without_dates_is_over_at_once() -> None:
    run = Run(trigger(), existing={at("06:00")})
    run.at("10:20")
    started(run, "10:30", "06:00", "06:30", missing_only=True)
    assert run.at("10:30") == []
    assert run.state.backfill is None
    assert run.wake == at("11:00")
    started(run, "10:30", "06:10", "06:30")
    assert run.at("10:30") == []
    assert run.state.backfill is None


def test_a_paused_backfill_lets_the_schedule_go_on() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05:00", "07:00")
    assert run.at("10:30") == ["05:00"]
    run.state = with_paused(run.state, paused=True)
    assert run.end("10:40") == []
    assert run.wake == at("11:00")
    assert run.at("11:00") == ["11:00"]
    assert run.end("11:10") == []
    run.state = with_paused(run.state, paused=False)
    assert run.at("11:20") == ["06:00"]
    assert run.end("12:10") == ["07:00"]
    assert run.end("12:20") == ["12:00"]
    assert run.end("12:30") == []


def test_a_deleted_backfill_stops() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05:00", "07:00")
    run.at("10:30")
    run.state = without_backfill(run.state)
    assert run.end("10:40") == []
    assert run.wake == at("11:00")
    assert without_backfill(run.state) == run.state


@pytest.mark.parametrize("how", ["empty", "paused", "deleted"])
def test_dates_missed_long_after_a_backfill_are_missed(how: str) -> None:
    run = Run(trigger(recover=Recover.NONE))
    run.at("10:20")
    started(run, "10:30", "05:00" if how != "empty" else "05:10", "07:00" if how != "empty" else "05:20")
    if how != "empty":
        assert run.at("10:30") == ["05:00"]
        run.state = without_backfill(run.state) if how == "deleted" else with_paused(run.state, paused=True)
    run.end("10:40")
    assert run.at("13:30") == []
    assert run.at("14:00") == ["14:00"]
    assert run.end("16:10") == ["15:00"]  # it waited; 11:00 to 13:00 did not


def test_a_changed_cron_changes_the_rest_of_a_backfill() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05:00", "07:00")
    run.at("10:30")
    run.trigger = trigger("30 * * * *")
    assert run.end("10:35") == ["06:30"]
    assert run.end("10:36") == []


def test_stop_after_stops_a_backfill_until_it_is_enabled() -> None:
    run = Run(trigger(stop_after=frozenset({State.FAILED})))
    run.at("10:20")
    started(run, "10:30", "05:00", "07:00")
    run.at("10:30")
    assert run.end("10:35", State.FAILED) == []
    assert run.state.backfill is not None
    assert run.state.disabled


def test_concurrent_executions_make_a_backfill_one_of_pages() -> None:
    run = Run(trigger(allow_concurrent=True), options={"at_most": 2})
    run.at("10:20")
    started(run, "10:30", "05:00", "09:00")
    assert run.at("10:30") == ["05:00", "06:00"]
    assert run.wake == at("10:30")
    assert run.at("10:30") == ["07:00", "08:00"]
    assert run.at("10:30") == ["09:00"]
    assert run.at("10:30") == []
    assert run.state.backfill is None
    assert run.wake == at("11:00")


def test_a_backfill_crosses_the_end_of_summer_time_without_losing_or_doubling() -> None:
    run = Run(trigger("0 * * * *", "Europe/Berlin"))
    run.at("11-01 00:00")
    started(run, "11-01 00:00", "10-25 20:00", "10-26 04:00")
    run.drain(at("11-01 00:00"))
    assert run.dates == [at("10-25 20:00") + number * HOUR for number in range(9)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": at("11:00")}, "A backfill starts in the past; 2025-06-01T11:00:00+00:00 is none."),
        (
            {"start": at("09:00"), "end": at("08:00")},
            "The backfill ends (2025-06-01T08:00:00+00:00) before it starts (2025-06-01T09:00:00+00:00).",
        ),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused(arguments: dict[str, datetime], message: str) -> None:
    with pytest.raises(BackfillRefused) as refused:
        with_backfill(trigger(), TriggerState(), at("10:30"), backfill_id="b1", **arguments)  # type: ignore[arg-type]  # dates
    assert str(refused.value) == message


def test_there_is_one_backfill_of_an_enabled_trigger() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05:00")
    with pytest.raises(BackfillRefused, match="has a backfill already"):
        started(run, "10:30", "05:00")
    run = Run(trigger(disabled=True))
    with pytest.raises(BackfillRefused, match="is disabled"):
        started(run, "10:30", "05:00")
    with pytest.raises(BackfillRefused, match="has no backfill"):
        with_paused(TriggerState(), paused=True)


def test_its_state_can_be_stored_as_json() -> None:
    run = Run(trigger())
    run.at("10:20")
    started(run, "10:30", "05:00", inputs={"a": [1, None]}, labels=(("b", "c"),), missing_only=True)
    run.at("10:30")
    stored = msgspec.json.decode(msgspec.json.encode(run.state), type=TriggerState)
    assert stored == run.state
    assert replace(stored, backfill=None) != run.state
