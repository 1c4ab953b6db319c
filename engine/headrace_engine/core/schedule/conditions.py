"""The conditions that choose dates (reference §9), as predicates over a date; values come in rendered and parsed.

`any_of`, `all_of` and `none_of` are Or, the list of a trigger's conditions, and Not.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_PLACES = ("FIRST", "SECOND", "THIRD", "FOURTH")


class InvalidCondition(ValueError):  # noqa: N818 - named for the situation
    """A condition makes no sense with the values it was given."""


def date_time_between(moment: datetime, *, after: datetime | None = None, before: datetime | None = None) -> bool:
    """DateTimeBetween: return whether it is strictly after one instant and strictly before another. One must be given.

    All must have offsets. Raises InvalidCondition.
    """
    _need_bound(after, before)
    for value in (moment, after, before):
        if value is not None and value.utcoffset() is None:
            raise InvalidCondition(f"The date `{value.isoformat()}` has no offset: write `Z` or `+HH:MM` behind it.")
    return (after is None or moment > after) and (before is None or moment < before)


def time_between(moment: datetime, *, after: time | None = None, before: time | None = None) -> bool:
    """TimeBetween: return whether the time of day is strictly inside. One bound must be given.

    The day is that of the bounds' offset, or of the date's when they have none. A window whose end comes before its
    start goes over midnight. Raises InvalidCondition.
    """
    _need_bound(after, before)
    zone = next((bound.tzinfo for bound in (after, before) if bound is not None and bound.tzinfo), moment.tzinfo)
    clock = moment.astimezone(zone).time()
    low, high = (None if bound is None else _clock(bound, moment, zone) for bound in (after, before))
    if low is not None and high is not None and low > high:
        return clock > low or clock < high
    return (low is None or clock > low) and (high is None or clock < high)


def day_week(moment: datetime, day_of_week: str) -> bool:
    """DayWeek: return whether it is that day of the week, such as `MONDAY`. Raises InvalidCondition."""
    return moment.weekday() == _weekday(day_of_week)


def day_week_in_month(moment: datetime, day_of_week: str, day_in_month: str) -> bool:
    """DayWeekInMonth: return whether it is the FIRST, SECOND, THIRD, FOURTH or LAST such day of its month.

    Raises InvalidCondition.
    """
    if not day_week(moment, day_of_week):
        return False
    if day_in_month == "LAST":
        following = date.fromordinal(moment.toordinal() + 7)
        return following.month != moment.month
    if day_in_month not in _PLACES:
        raise InvalidCondition(f"`{day_in_month}` is none of {', '.join(_PLACES)}, LAST.")
    return (moment.day - 1) // 7 == _PLACES.index(day_in_month)


def weekend(moment: datetime) -> bool:
    """Weekend: return whether it is a Saturday or a Sunday."""
    return moment.weekday() >= 5


def public_holiday(moment: datetime, country: str | None, sub_division: str | None = None) -> bool:
    """PublicHoliday: return whether it is one in a country (ISO 3166-1), or in a part of it (ISO 3166-2).

    Raises InvalidCondition when there is no calendar, or the package `holidays` is not installed. A country must be
    given: Kestra's default, that of the server's locale, would be another on each machine.
    """
    if not country:
        raise InvalidCondition("The condition PublicHoliday needs a `country`, such as `FR`.")
    code = country.upper()
    part = (sub_division or "").upper().removeprefix(f"{code}-")
    day = moment.date()
    return day in _calendar(code, part, day.year)


def all_of(predicates: Iterable[Callable[[datetime], bool]]) -> Callable[[datetime], bool]:
    """Return the predicate that holds when all do."""
    parts = tuple(predicates)
    return lambda moment: all(part(moment) for part in parts)


def any_of(predicates: Iterable[Callable[[datetime], bool]]) -> Callable[[datetime], bool]:
    """Or: return the predicate that holds when one does."""
    parts = tuple(predicates)
    return lambda moment: any(part(moment) for part in parts)


def none_of(predicates: Iterable[Callable[[datetime], bool]]) -> Callable[[datetime], bool]:
    """Not: return the predicate that holds when none does."""
    parts = tuple(predicates)
    return lambda moment: not any(part(moment) for part in parts)


def parse_time(value: str | time) -> time:
    """Return a time of day, given as ISO-8601 text (`16:00:00+02:00`) or as itself. Raises InvalidCondition."""
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(value.strip())
    except ValueError:
        raise InvalidCondition(f"`{value}` is no time of day, such as `16:00:00+02:00`.") from None


def _need_bound(after: object, before: object) -> None:
    if after is None and before is None:
        raise InvalidCondition("At least one of `after` and `before` is required.")


def _clock(bound: time, moment: datetime, zone: Any) -> time:
    """Return a bound as the wall clock of *zone* shows it."""
    if bound.tzinfo is None:
        return bound
    return datetime.combine(moment.date(), bound).astimezone(zone).time()


def _weekday(name: str) -> int:
    if name not in WEEKDAYS:
        raise InvalidCondition(f"`{name}` is no day of the week: expected one of {', '.join(WEEKDAYS)}.")
    return WEEKDAYS.index(name)


@lru_cache(maxsize=256)
def _calendar(country: str, part: str, year: int) -> Any:
    """Return the holidays of one year. The package is loaded here: it is large, and few flows ask for it."""
    name = f"{country}-{part}" if part else country
    try:
        return importlib.import_module("holidays").country_holidays(country, subdiv=part or None, years=year)
    except ModuleNotFoundError:
        raise InvalidCondition("The condition PublicHoliday needs the Python package `holidays`.") from None
    except NotImplementedError:
        raise InvalidCondition(f"There is no calendar of public holidays of `{name}`.") from None
