"""The dates of a trigger: those of a cron expression (Schedule), or a list (ScheduleOnDates; reference §8.2)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Protocol

from headrace_engine.core.schedule.cron import Cron
from headrace_engine.core.schedule.wall_clock import in_zone, next_date, previous_date
from headrace_engine.model.frozen import dataclass

_ZONE_NAME = re.compile(r"\[[^]]*\]$")
_LEAST = timedelta.resolution


class InvalidDate(ValueError):  # noqa: N818 - named for the situation
    """A text is no date."""


class Times(Protocol):
    """An ordered set of dates. Each comes with the offset of the trigger's time zone."""

    @property
    def key(self) -> str:
        """What tells these dates from others: equal keys, equal dates."""

    def after(self, instant: datetime) -> datetime | None:
        """Return the first date strictly after *instant*."""

    def before(self, instant: datetime) -> datetime | None:
        """Return the last date strictly before *instant*."""


def at_or_after(times: Times, instant: datetime) -> datetime | None:
    """Return the first date that is not before *instant*."""
    return times.after(instant.astimezone(UTC) - _LEAST)


def at_or_before(times: Times, instant: datetime) -> datetime | None:
    """Return the last date that is not after *instant*."""
    return times.before(instant.astimezone(UTC) + _LEAST)


@dataclass(frozen=True)
class CronTimes:
    """The dates of a cron expression in a time zone."""

    cron: Cron
    zone: tzinfo

    @property
    def key(self) -> str:
        """The fields and the time zone."""
        fields = (self.cron.seconds, self.cron.minutes, self.cron.hours, self.cron.days, self.cron.months)
        return repr((*fields, self.cron.weekdays, self.cron.any_day, self.cron.any_weekday, str(self.zone)))

    def after(self, instant: datetime) -> datetime | None:
        """Return the first date strictly after *instant*, within ten years."""
        return next_date(self.cron, instant, self.zone)

    def before(self, instant: datetime) -> datetime | None:
        """Return the last date strictly before *instant*, within ten years."""
        return previous_date(self.cron, instant, self.zone)


@dataclass(frozen=True)
class ListedTimes:
    """Dates that are listed one by one; `listed_times` makes it."""

    dates: tuple[datetime, ...]
    """In ascending order, each once."""

    @property
    def key(self) -> str:
        """The dates."""
        return " ".join(date.astimezone(UTC).isoformat() for date in self.dates)

    @cached_property
    def _instants(self) -> list[datetime]:
        return [date.astimezone(UTC) for date in self.dates]

    def after(self, instant: datetime) -> datetime | None:
        """Return the first date strictly after *instant*."""
        place = bisect_right(self._instants, instant.astimezone(UTC))
        return self.dates[place] if place < len(self.dates) else None

    def before(self, instant: datetime) -> datetime | None:
        """Return the last date strictly before *instant*."""
        place = bisect_left(self._instants, instant.astimezone(UTC))
        return self.dates[place - 1] if place else None


def listed_times(dates: Iterable[str | datetime], zone: tzinfo) -> ListedTimes:
    """Return *dates*, to the second as in Kestra, with the offsets of *zone*. Raises InvalidDate.

    A date without an offset is a time on the wall clock of *zone*; one that does not exist is moved on by the gap.
    """
    instants = {parse_date(date, zone).astimezone(UTC).replace(microsecond=0) for date in dates}
    return ListedTimes(tuple(in_zone(instant, zone) for instant in sorted(instants)))


def parse_date(value: str | datetime, zone: tzinfo | None = None) -> datetime:
    """Return a date, given as ISO-8601 text or as itself; *zone* serves when it has no offset. Raises InvalidDate."""
    date = value
    if isinstance(date, str):
        try:
            date = datetime.fromisoformat(_ZONE_NAME.sub("", date.strip()))
        except ValueError:
            raise InvalidDate(f"`{value}` is no date, such as `2026-03-29T01:00:00+01:00`.") from None
    if date.utcoffset() is not None:
        return date
    if zone is None:
        raise InvalidDate(f"The date `{value}` has no offset: write `Z` or `+HH:MM` behind it.")
    return in_zone(date.replace(tzinfo=zone).astimezone(UTC), zone)
