"""What cron expressions say, and how one that says nothing is refused."""

from __future__ import annotations

from datetime import date

import pytest

from headrace_engine.core.schedule.cron import NICKNAMES, InvalidCron, parse_cron


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("5 * * * *", "minutes", (5,)),
        ("* * * * *", "hours", tuple(range(24))),
        ("*/15 * * * *", "minutes", (0, 15, 30, 45)),
        ("*/25 * * * *", "minutes", (0, 25, 50)),
        ("10-20/5 * * * *", "minutes", (10, 15, 20)),
        ("50/4 * * * *", "minutes", (50, 54, 58)),
        ("9,3,3,1-2 * * * *", "minutes", (1, 2, 3, 9)),
        ("* * 31 * *", "days", (31,)),
        ("* * * feb,APR-Jun *", "months", (2, 4, 5, 6)),
        ("* * * * 7", "weekdays", (0,)),
        ("* * * * 0-7", "weekdays", (0, 1, 2, 3, 4, 5, 6)),
        ("* * * * 5-7", "weekdays", (0, 5, 6)),
        ("* * * * mon-FRI", "weekdays", (1, 2, 3, 4, 5)),
        ("* * * * */2", "weekdays", (0, 2, 4, 6)),
        ("* * * * 3/2", "weekdays", (0, 3, 5)),
        ("0 * * * *", "seconds", (0,)),
        ("@weekly", "weekdays", (0,)),
        (" @Daily ", "hours", (0,)),
    ],
)
def test_a_field_allows_these_values(text: str, field: str, values: tuple[int, ...]) -> None:
    assert getattr(parse_cron(text), field) == values


def test_six_fields_begin_with_seconds() -> None:
    cron = parse_cron("*/20 1 2 3 4 5", with_seconds=True)
    assert (cron.seconds, cron.minutes, cron.hours) == ((0, 20, 40), (1,), (2,))
    assert (cron.days, cron.months, cron.weekdays) == ((3,), (4,), (5,))


def test_nicknames_need_no_seconds() -> None:
    for nickname in NICKNAMES:
        assert parse_cron(nickname, with_seconds=True) == parse_cron(nickname)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 * * *", "1 2 3 4 5 6 7 8 9 10"),
        ("0 0 2 * *", "2"),
        ("0 0 * * 3", "3 10"),
    ],
)
def test_days_of_one_restricted_field(text: str, days: str) -> None:
    # In April 2024 the 3rd and the 10th are Wednesdays.
    cron = parse_cron(text)
    assert [day for day in range(1, 11) if cron.has_day(date(2024, 4, day))] == [int(day) for day in days.split()]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 2 * 3", [2, 3, 10]),  # both restricted: either
        ("0 0 */5 * 3", [1, 3, 6, 10]),  # `*/5` restricts
        ("0 0 2 * */6", [2, 6, 7]),  # and so does `*/6`: Saturday and Sunday
    ],
)
def test_of_two_restricted_fields_either_is_enough(text: str, days: list[int]) -> None:
    cron = parse_cron(text)
    assert [day for day in range(1, 11) if cron.has_day(date(2024, 4, day))] == days


def test_an_expression_for_every_hour_is_known_as_such() -> None:
    assert all(parse_cron(text).every_hour for text in ("0 * * * *", "0 */1 * * *", "0 0-23 * * *", "@hourly"))
    assert not parse_cron("0 0-22 * * *").every_hour


BROKEN = [
    ("* * * *", "A cron expression has 5 fields (minute, hour, day of month, month, day of week); `* * * *` has 4."),
    ("", "A cron expression has 5 fields (minute, hour, day of month, month, day of week); `` has 0."),
    ("0 0 L * *", "`L` is no valid day of month of a cron expression: expected 1 to 31."),
    ("0 0 15W * *", "`15W` is no valid day of month of a cron expression: expected 1 to 31."),
    ("0 0 * * 5#2", "`5#2` is no valid day of week of a cron expression."),
    ("0 0 ? * *", "`?` is no valid day of month of a cron expression."),
    ("60 * * * *", "`60` is no valid minute of a cron expression: expected 0 to 59."),
    ("* 24 * * *", "`24` is no valid hour of a cron expression: expected 0 to 23."),
    ("* * 0 * *", "`0` is no valid day of month of a cron expression: expected 1 to 31."),
    ("* * * 13 *", "`13` is no valid month of a cron expression: expected 1 to 12."),
    ("* * * * 8", "`8` is no valid day of week of a cron expression: expected 0 to 7."),
    ("* * * mon *", "`mon` is no valid month of a cron expression: expected 1 to 12."),
    ("20-10 * * * *", "The range `20-10` of the minute in a cron expression runs backwards."),
    ("* * * * fri-sun", "The range `fri-sun` of the day of week in a cron expression runs backwards."),
    ("*/0 * * * *", "`*/0` in a cron expression has a step of 0."),
    ("1,,2 * * * *", "`` is no valid minute of a cron expression."),
    ("*-5 * * * *", "`*-5` is no valid minute of a cron expression."),
    ("-5 * * * *", "`-5` is no valid minute of a cron expression."),
    (
        "@noon",
        "`@noon` is no cron nickname: expected one of "
        "@annually, @daily, @hourly, @midnight, @monthly, @weekly, @yearly.",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_expression_is_refused_in_plain_words(text: str, message: str) -> None:
    with pytest.raises(InvalidCron) as refused:
        parse_cron(text)
    assert str(refused.value) == message
