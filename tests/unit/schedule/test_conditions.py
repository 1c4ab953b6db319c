"""The conditions that choose dates (reference §9)."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, time, timedelta

import pytest

from headrace_engine.core.schedule.conditions import (
    WEEKDAYS,
    InvalidCondition,
    all_of,
    any_of,
    date_time_between,
    day_week,
    day_week_in_month,
    none_of,
    parse_time,
    public_holiday,
    time_between,
    weekend,
)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOON = moment("2025-06-01T12:00:00+02:00")


@pytest.mark.parametrize(
    ("after", "before", "holds"),
    [
        ("2025-06-01T11:59:59+02:00", None, True),
        ("2025-06-01T12:00:00+02:00", None, False),
        ("2025-06-01T10:00:00Z", None, False),
        (None, "2025-06-01T10:00:00Z", False),
        (None, "2025-06-01T10:00:01Z", True),
        ("2025-05-01T00:00:00Z", "2025-07-01T00:00:00Z", True),
        ("2025-06-02T00:00:00Z", "2025-07-01T00:00:00Z", False),
    ],
)
def test_date_time_between_excludes_its_bounds(after: str | None, before: str | None, holds: bool) -> None:
    bounds = {name: moment(text) for name, text in (("after", after), ("before", before)) if text is not None}
    assert date_time_between(NOON, **bounds) is holds


@pytest.mark.parametrize(
    ("at", "after", "before", "holds"),
    [
        ("2025-06-01T16:00:01+02:00", "16:00:00+02:00", "20:00:00+02:00", True),
        ("2025-06-01T16:00:00+02:00", "16:00:00+02:00", "20:00:00+02:00", False),
        ("2025-06-01T20:00:00+02:00", "16:00:00+02:00", "20:00:00+02:00", False),
        ("2025-06-01T15:00:00Z", "16:00:00+02:00", "20:00:00+02:00", True),
        ("2025-06-01T17:00:00+02:00", "14:00:00Z", "20:00:00+02:00", True),
        ("2025-06-01T01:00:00+02:00", "08:00:00+02:00", None, False),
        ("2025-06-01T23:59:59+02:00", "08:00:00+02:00", None, True),
        ("2025-06-01T07:59:59+02:00", None, "08:00:00+02:00", True),
        ("2025-06-01T08:00:00+05:45", None, "08:30", True),  # a bound without an offset: the date's
        ("2025-06-01T23:30:00+02:00", "22:00:00+02:00", "06:00:00+02:00", True),  # over midnight
        ("2025-06-01T05:30:00+02:00", "22:00:00+02:00", "06:00:00+02:00", True),
        ("2025-06-01T12:00:00+02:00", "22:00:00+02:00", "06:00:00+02:00", False),
    ],
)
def test_time_between_looks_at_the_time_of_day(at: str, after: str | None, before: str | None, holds: bool) -> None:
    bounds = {name: parse_time(text) for name, text in (("after", after), ("before", before)) if text is not None}
    assert time_between(moment(at), **bounds) is holds


def test_between_needs_a_bound() -> None:
    for condition in (date_time_between, time_between):
        with pytest.raises(InvalidCondition, match="At least one of `after` and `before` is required"):
            condition(NOON)


def test_a_date_without_an_offset_is_between_nothing() -> None:
    with pytest.raises(InvalidCondition, match="has no offset"):
        date_time_between(NOON, after=moment("2025-06-01T00:00:00"))


def test_a_day_of_the_week_is_that_of_the_dates_own_offset() -> None:
    sunday = moment("2025-06-01T23:30:00-04:00")  # Monday in UTC
    assert [day for day in WEEKDAYS if day_week(sunday, day)] == ["SUNDAY"]
    assert weekend(sunday)
    with pytest.raises(InvalidCondition, match="`Sunday` is no day of the week"):
        day_week(sunday, "Sunday")


@pytest.mark.parametrize(
    ("place", "days"), [("FIRST", [2]), ("SECOND", [9]), ("THIRD", [16]), ("FOURTH", [23]), ("LAST", [30])]
)
def test_a_monday_of_june_2025(place: str, days: list[int]) -> None:
    june = [moment(f"2025-06-{day:02}T08:00:00+02:00") for day in range(1, 31)]
    assert [day.day for day in june if day_week_in_month(day, "MONDAY", place)] == days


def test_the_last_may_be_the_fourth() -> None:
    february = [moment(f"2025-02-{day:02}T08:00:00Z") for day in range(1, 29)]
    for place in ("FOURTH", "LAST"):
        assert [day.day for day in february if day_week_in_month(day, "FRIDAY", place)] == [28]
    assert day_week_in_month(moment("2025-12-31T08:00:00Z"), "WEDNESDAY", "LAST")
    with pytest.raises(InvalidCondition, match="`FIFTH` is none of FIRST"):
        day_week_in_month(moment("2025-06-02T08:00:00Z"), "MONDAY", "FIFTH")


def test_the_weekends_of_a_week() -> None:
    week = [moment("2025-06-02T08:00:00Z") + timedelta(days=number) for number in range(7)]
    assert [weekend(day) for day in week] == [False] * 5 + [True] * 2


def test_public_holidays() -> None:
    pytest.importorskip("holidays")
    bastille = moment("2025-07-14T00:30:00+02:00")
    assert public_holiday(bastille, "FR")
    assert public_holiday(bastille, "fr")
    assert not public_holiday(bastille, "US")
    assert not public_holiday(bastille + timedelta(days=1), "FR")
    epiphany = moment("2025-01-06T12:00:00+01:00")
    assert [public_holiday(epiphany, "DE", part) for part in (None, "BY", "DE-BY", "by", "BE")] == [
        False,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("country", "part", "message"),
    [
        (None, None, "The condition PublicHoliday needs a `country`, such as `FR`."),
        ("XX", None, "There is no calendar of public holidays of `XX`."),
        ("DE", "ZZ", "There is no calendar of public holidays of `DE-ZZ`."),
    ],
)
def test_a_calendar_that_does_not_exist_is_refused(country: str | None, part: str | None, message: str) -> None:
    pytest.importorskip("holidays")
    with pytest.raises(InvalidCondition) as refused:
        public_holiday(NOON, country, part)
    assert str(refused.value) == message


def test_conditions_combine() -> None:
    work_days = none_of([weekend, lambda day: day.date() == date(2025, 6, 9)])
    assert [work_days(NOON + timedelta(days=number)) for number in (0, 1, 8)] == [False, True, False]
    either = any_of([weekend, lambda day: time_between(day, after=time(18))])
    assert [either(day) for day in (NOON, NOON + timedelta(days=1), NOON + timedelta(days=1, hours=7))] == [
        True,
        False,
        True,
    ]
    assert all_of([])(NOON)
    assert not any_of([])(NOON)


def test_a_text_that_is_no_time_of_day_is_refused() -> None:
    with pytest.raises(InvalidCondition, match="`8 o'clock` is no time of day"):
        parse_time("8 o'clock")


def test_schedule_arithmetic_loads_nothing_that_reaches_outside() -> None:
    modules = ["backfill", "conditions", "cron", "evaluate", "times", "trigger", "wall_clock"]
    program = "import sys\n" + "\n".join(f"import headrace_engine.core.schedule.{name}" for name in modules)
    program += "\nprint(sorted({'socket', 'ssl', 'subprocess', 'asyncio', 'holidays', 'pydantic'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
