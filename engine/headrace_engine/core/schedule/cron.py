"""Cron expressions (reference §8.1): unix cron with Kestra's nicknames, and a field for seconds when asked for.

Five fields: minute, hour, day of month, month, day of week; six with the seconds first. `*`, values, names of months
and weekdays, ranges, lists, and steps (`*/n`, `a-b/n`, `a/n`, which runs from a to the end). Weekdays are 0 to 7, 0 and
7 being Sunday. When both day of month and day of week are restricted, a day that fits either fits (POSIX `crontab`).
A field is unrestricted when it is exactly `*`, so `*/2` restricts; Vixie cron reads that otherwise, Kestra does not.
"""

from __future__ import annotations

import re
from datetime import date

from headrace_engine.model.frozen import dataclass

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_ITEM = re.compile(r"(?P<first>\*|\w{1,9})(?:-(?P<last>\w{1,9}))?(?:/(?P<step>\d{1,4}))?", re.ASCII)


class InvalidCron(ValueError):  # noqa: N818 - named for the situation
    """A text is no cron expression; the message says what is wrong with it."""


@dataclass(frozen=True)
class Cron:
    """A cron expression as the values its fields allow, each in ascending order."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    """0 is Sunday; there is no 7."""
    any_day: bool
    """Whether the day of month is `*`."""
    any_weekday: bool
    """Whether the day of week is `*`."""

    @property
    def every_hour(self) -> bool:
        """Whether it fires in every hour of a day: then it keeps its pace through DST changes."""
        return len(self.hours) == 24

    def has_day(self, day: date) -> bool:
        """Return whether it fires on *day*."""
        if day.month not in self.months:
            return False
        by_number = day.day in self.days
        by_weekday = day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_number and by_weekday
        return by_number or by_weekday


def parse_cron(text: str, *, with_seconds: bool = False) -> Cron:
    """Return what *text* says. Raises InvalidCron. A nickname needs no seconds."""
    words = text.strip()
    if words.startswith("@"):
        if words.lower() not in NICKNAMES:
            raise InvalidCron(f"`{text}` is no cron nickname: expected one of {', '.join(sorted(NICKNAMES))}.")
        parts = ["0", *NICKNAMES[words.lower()].split()]
    else:
        parts = words.split()
        fields = _FIELDS if with_seconds else _FIELDS[1:]
        if len(parts) != len(fields):
            names = ", ".join(name for name, *_ in fields)
            raise InvalidCron(f"A cron expression has {len(fields)} fields ({names}); `{text}` has {len(parts)}.")
        if not with_seconds:
            parts = ["0", *parts]
    seconds, minutes, hours, days, months, weekdays = (
        _values(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return Cron(
        text=words,
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({weekday % 7 for weekday in weekdays})),
        any_day=parts[3] == "*",
        any_weekday=parts[5] == "*",
    )


def _values(part: str, field: str, low: int, high: int, names: dict[str, int]) -> tuple[int, ...]:
    return tuple(sorted({value for item in part.split(",") for value in _item(item, field, low, high, names)}))


def _item(item: str, field: str, low: int, high: int, names: dict[str, int]) -> range:
    match = _ITEM.fullmatch(item)
    if match is None or (match["first"] == "*" and match["last"]):
        raise InvalidCron(f"`{item}` is no valid {field} of a cron expression.")
    step = int(match["step"] or 1)
    if match["first"] == "*":
        first, last = low, 6 if field == "day of week" else high
    else:
        first = _value(match["first"], field, low, high, names)
        last = high if match["step"] else first
        if match["last"]:
            last = _value(match["last"], field, low, high, names)
        if first > last:
            raise InvalidCron(f"The range `{item}` of the {field} in a cron expression runs backwards.")
    if step == 0:
        raise InvalidCron(f"`{item}` in a cron expression has a step of 0.")
    return range(first, last + 1, step)


def _value(word: str, field: str, low: int, high: int, names: dict[str, int]) -> int:
    value = int(word) if word.isdigit() else names.get(word.lower())
    if value is None or not low <= value <= high:
        raise InvalidCron(f"`{word}` is no valid {field} of a cron expression: expected {low} to {high}.")
    return value
