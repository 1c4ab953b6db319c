"""Functions on dates (reference §10.4). A date keeps its own offset: Monday is Monday where it was written."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

from . import dates, values
from .context import Evaluation
from .errors import ExpressionError
from .java_time import DAYS
from .registry import expression_function, text

_POSITIONS = {"FIRST": 1, "SECOND": 2, "THIRD": 3, "FOURTH": 4}
_NAMES = [day.upper() for day in DAYS]


@expression_function("now", "timeZone existingFormat format locale")
def now(
    context: Evaluation, time_zone: Any = None, existing: Any = None, layout: Any = None, locale: Any = None
) -> str:
    """Return the instant of the step as text, by default `iso` in UTC."""
    return dates.text_of(dates.zoned(context.host.now(), existing, time_zone, locale), layout, locale)


def _day(value: Any) -> datetime:
    if value is None:
        raise ExpressionError("A date is needed, not null")
    return dates.instant_or_local(value)


@expression_function("isWeekend", "date")
def is_weekend(context: Evaluation, value: Any) -> bool:
    """Return whether it is a Saturday or Sunday."""
    del context
    return _day(value).weekday() >= 5


@expression_function("dayOfWeek", "date")
def day_of_week(context: Evaluation, value: Any) -> str:
    """Return MONDAY to SUNDAY."""
    del context
    return _NAMES[_day(value).weekday()]


@expression_function("dayOfMonth", "date")
def day_of_month(context: Evaluation, value: Any) -> int:
    """Return 1 to 31."""
    del context
    return _day(value).day


@expression_function("monthOfYear", "date")
def month_of_year(context: Evaluation, value: Any) -> int:
    """Return 1 to 12."""
    del context
    return _day(value).month


@expression_function("hourOfDay", "date")
def hour_of_day(context: Evaluation, value: Any) -> int:
    """Return 0 to 23."""
    del context
    return _day(value).hour


@expression_function("isDayWeekInMonth", "date dayOfWeek position")
def is_day_week_in_month(context: Evaluation, value: Any, day: Any, position: Any) -> bool:
    """Return whether it is the FIRST, SECOND, THIRD, FOURTH or LAST such day of its month."""
    del context
    moment = _day(value)
    wanted = _weekday(day, "isDayWeekInMonth")
    place = text(position, "function 'isDayWeekInMonth'").upper()
    if place not in _POSITIONS and place != "LAST":
        raise ExpressionError(f"Unknown position `{position}`: use FIRST, SECOND, THIRD, FOURTH or LAST")
    if moment.weekday() != wanted:
        return False
    if place == "LAST":
        return (moment.replace(tzinfo=None) + timedelta(days=7)).month != moment.month
    return (moment.day - 1) // 7 + 1 == _POSITIONS[place]


def _weekday(day: Any, name: str) -> int:
    wanted = text(day, f"function '{name}'").strip().upper()
    if wanted not in _NAMES:
        raise ExpressionError(f"Unknown day `{day}`: use one of {', '.join(_NAMES)}")
    return _NAMES.index(wanted)


@expression_function("isLastWorkingDay", "date workingDays")
def is_last_working_day(
    context: Evaluation, value: Any, days: Any = "MONDAY,TUESDAY,WEDNESDAY,THURSDAY,FRIDAY"
) -> bool:
    """Return whether it is the last day of its month that is a working day."""
    del context
    working = {_weekday(day, "isLastWorkingDay") for day in text(days, "function 'isLastWorkingDay'").split(",")}
    day = _day(value).date()
    if day.weekday() not in working:
        return False
    following = (day + timedelta(days=number) for number in range(1, 8))
    return not any(each.month == day.month and each.weekday() in working for each in following)


@expression_function("isDateBetween", "date after before")
def is_date_between(context: Evaluation, value: Any, after: Any, before: Any) -> bool:
    """Return whether an instant is strictly between two others; each must have an offset."""
    del context
    moment, low, high = (_instant(each) for each in (value, after, before))
    return low < moment < high


def _instant(value: Any) -> datetime:
    moment = _day(value)
    if moment.tzinfo is None:
        raise ExpressionError(f"The date `{values.to_text(value)}` has no offset: write `Z` or `+HH:MM` behind it")
    return moment.astimezone(UTC)


def _calendars() -> Any:
    """Return the package with the calendars of all the world; loaded for this one function."""
    try:
        return importlib.import_module("holidays")
    except ModuleNotFoundError:
        raise ExpressionError("The function 'isPublicHoliday' needs the Python package `holidays`") from None


@expression_function("isPublicHoliday", "date countryCode subDivision")
def is_public_holiday(context: Evaluation, value: Any, country: Any, subdivision: Any = None) -> bool:
    """Return whether it is a public holiday of a country (ISO 3166-1), or of a part of it (ISO 3166-2)."""
    del context
    holidays = _calendars()
    day = _day(value).date()
    code = text(country, "function 'isPublicHoliday'").upper()
    part = None if subdivision is None else text(subdivision, "function 'isPublicHoliday'").upper()
    if part is not None and part.startswith(f"{code}-"):
        part = part[len(code) + 1 :]
    try:
        calendar = holidays.country_holidays(code, subdiv=part, years=day.year)
    except NotImplementedError:
        raise ExpressionError(f"There is no holiday calendar of `{code}{f'-{part}' if part else ''}`") from None
    return day in calendar
