"""The dates of a cron expression in a time zone, through DST changes (reference §8.1).

A cron expression speaks of times on the wall clock, and the wall clock jumps. What holds here:

* A time that does not exist, because clocks were put forward over it, fires at the first instant after the gap; several
  times in one gap fire once.
* A time that exists twice, because clocks were put back, fires once, the first time.
* An expression that fires in every hour of a day (`0 * * * *`, `*/15 * * * *`) has no time of day to be kept; it keeps
  its pace: a repeated hour is an hour and fires again, an hour that was left out is none. Where clocks jump by a part
  of an hour (Lord Howe Island), a time left out fires after the gap like any other: no silence is longer than usual.

Dates come with the offset that the time zone had at that instant, as a fixed one: with a zone attached,
Python compares two dates of the same zone by their wall clocks, and takes the two halves of a repeated hour for one.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from headrace_engine.core.schedule.cron import Cron

YEARS = 10
"""How far a date is looked for (reference §8.1)."""
_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
_OFFSET = re.compile(r"Z|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?", re.ASCII)


class UnknownTimeZone(ValueError):  # noqa: N818 - named for the situation
    """There is no time zone of that name."""


@lru_cache(maxsize=512)
def time_zone(name: str) -> tzinfo:
    """Return the time zone called *name*: `Europe/Paris`, or an offset such as `+02:00`, `UTC+1`, `Z`.

    Raises UnknownTimeZone. The rules of zones come from the machine's tables, read once, or else from `tzdata`.
    """
    if match := _OFFSET.fullmatch(name):
        length = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
        if length > timedelta(hours=18):
            raise UnknownTimeZone(f"`{name}` is no time zone: an offset is at most 18 hours.")
        return timezone(-length if match["sign"] == "-" else length)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise UnknownTimeZone(f"`{name}` is no time zone, such as `Europe/Paris`.") from None


def in_zone(instant: datetime, zone: tzinfo) -> datetime:
    """Return *instant* with the offset that *zone* has then. Raises ValueError when it has no offset itself."""
    if instant.utcoffset() is None:
        raise ValueError(f"The date {instant.isoformat()} has no offset.")
    local = instant.astimezone(UTC).astimezone(zone)  # by way of UTC: a date of the same zone would stay as it is
    return local.replace(tzinfo=timezone(_offset(local)), fold=0)


def next_date(cron: Cron, after: datetime, zone: tzinfo) -> datetime | None:
    """Return the first date of *cron* strictly after an instant; None when there is none in ten years."""
    after, wall, repeat, again = _position(after, zone)
    found = None
    for candidate in _walls(cron, wall, backward=False):
        instants = _instants(cron, candidate, zone)
        found = next((instant for instant in instants if instant > after), None)
        if found is not None:
            if len(instants) == 2:
                return in_zone(found, zone)  # in the same repeated stretch, and nothing comes before it
            break
    if cron.every_hour and repeat and not again:
        # after lies in the first half of a repeated stretch, and that half has no more: the second begins anew.
        for candidate in _walls(cron, wall - repeat, backward=False):
            if candidate > wall:
                break
            instants = _instants(cron, candidate, zone)
            if len(instants) == 2:
                return in_zone(instants[1], zone)
    return None if found is None else in_zone(found, zone)


def previous_date(cron: Cron, before: datetime, zone: tzinfo) -> datetime | None:
    """Return the last date of *cron* strictly before an instant; None when there is none in ten years."""
    before, wall, repeat, again = _position(before, zone)
    if cron.every_hour or not again:
        for candidate in _walls(cron, wall, backward=True):
            instants = _instants(cron, candidate, zone)
            found = next((instant for instant in reversed(instants) if instant < before), None)
            if found is not None:
                if not again or found != instants[0]:
                    return in_zone(found, zone)
                break  # before lies in the second half of a repeated stretch, whose first half comes later than found
    if again:
        for candidate in _walls(cron, wall + repeat, backward=True):
            instants = _instants(cron, candidate, zone)
            if instants and instants[0] < before:
                return in_zone(instants[0], zone)
    return None


def _offset(local: datetime) -> timedelta:
    """Return the offset of a date that has one."""
    return local.utcoffset() or timedelta(0)


def _position(instant: datetime, zone: tzinfo) -> tuple[datetime, datetime, timedelta, bool]:
    """Return the instant in UTC; its wall-clock time; the length of the stretch that is repeated around
    it, if it lies in such a one; and whether it lies in the second half."""
    if instant.utcoffset() is None:
        raise ValueError(f"The date {instant.isoformat()} has no offset.")
    instant = instant.astimezone(UTC)
    local = instant.astimezone(zone)
    repeat = _offset(local.replace(fold=0)) - _offset(local.replace(fold=1))
    return instant, local.replace(tzinfo=None, fold=0), repeat, bool(repeat and local.fold)


def _instants(cron: Cron, wall: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Return when *cron* fires for a time on the wall clock that it names: once, twice, or not at all."""
    before = _offset(wall.replace(tzinfo=zone, fold=0))
    after = _offset(wall.replace(tzinfo=zone, fold=1))
    first = (wall - before).replace(tzinfo=UTC)
    if before == after:
        return (first,)
    second = (wall - after).replace(tzinfo=UTC)
    if before > after:
        return (first, second) if cron.every_hour else (first,)
    if cron.every_hour and not (after - before) % _HOUR:
        return ()
    return (_change(second, first, zone),)


def _change(low: datetime, high: datetime, zone: tzinfo) -> datetime:
    """Return the instant after *low*, not after *high*, at which the offset of *zone* becomes what it is at *high*."""
    offset = _offset(high.astimezone(zone))
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle.astimezone(zone)) == offset:
            high = middle
        else:
            low = middle
    return high


def _walls(cron: Cron, edge: datetime, *, backward: bool) -> Iterator[datetime]:
    """Yield the wall-clock times *cron* names, from *edge* (not itself) on, for ten years."""
    fields = (cron.hours, cron.minutes, cron.seconds)
    for day in _days(cron, edge.date(), backward=backward):
        limits = (edge.hour, edge.minute, edge.second) if day == edge.date() else None
        for hour, minute, second in _clock(fields, limits, backward=backward):
            wall = datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - a wall clock's time
            if (wall < edge) if backward else (wall > edge):
                yield wall


def _days(cron: Cron, edge: date, *, backward: bool) -> Iterator[date]:
    """Yield the days *cron* fires on, from *edge* on, itself included."""
    step = -1 if backward else 1
    first = edge.year * 12 + edge.month - 1
    for month in range(first, first + step * (YEARS * 12 + 1), step):
        year = month // 12
        if not MINYEAR < year < MAXYEAR:
            return
        if month % 12 + 1 not in cron.months:
            continue
        days = range(1, calendar.monthrange(year, month % 12 + 1)[1] + 1)
        if month == first:
            days = days[: edge.day] if backward else days[edge.day - 1 :]
        for number in reversed(days) if backward else days:
            day = date(year, month % 12 + 1, number)
            if cron.has_day(day):
                yield day


def _clock(
    fields: Sequence[tuple[int, ...]], limits: Sequence[int] | None, *, backward: bool
) -> Iterator[tuple[int, ...]]:
    """Yield the combinations of values of *fields* in order, from *limits* on (itself included) when given."""
    values = fields[0]
    if limits is not None:
        values = values[: bisect_right(values, limits[0])] if backward else values[bisect_left(values, limits[0]) :]
    if backward:
        values = values[::-1]
    if len(fields) == 1:
        for value in values:
            yield (value,)
        return
    for value in values:
        rest = limits[1:] if limits is not None and value == limits[0] else None
        for others in _clock(fields[1:], rest, backward=backward):
            yield (value, *others)
