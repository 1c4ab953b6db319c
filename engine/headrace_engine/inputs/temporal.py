"""Dates, times and durations: read as Java's ISO parsers do, stored as ISO text."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from headrace_engine.plugin import LONGEST_DURATION, format_duration, parse_duration

from .problems import Refused

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_TIME = re.compile(_CLOCK)
_INSTANT = re.compile(
    rf"(?P<local>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK})(?P<offset>Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)(?:\[[\w/+-]+\])?",
    re.IGNORECASE,
)
_EACH_NEGATIVE = re.compile(r"P(?:-[0-9]+[WD])*(?:T(?:-[0-9]+(?:\.[0-9]+)?[HMS])*)?", re.IGNORECASE)


def read_datetime(value: Any) -> datetime:
    """Return an instant, in UTC: `2042-04-02T04:20:42.000Z`, with any offset, a zone in brackets ignored."""
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
        if match is not None:
            local, offset = match.group("local").upper(), match.group("offset").upper()
            return datetime.fromisoformat(local + offset).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # a month 13, or an instant outside the years 1 to 9999
    raise Refused("it must be a date and time with a zone, such as `2042-04-02T04:20:42.000Z`")


def read_date(value: Any) -> date:
    """Return a date: `2042-12-03`."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # a month 13
    raise Refused("it must be a date such as `2042-12-03`")


def read_time(value: Any) -> time:
    """Return a time of day without a zone: `10:15:30`."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass  # an hour 25
    raise Refused("it must be a time such as `10:15:30`")


def read_duration(value: Any) -> timedelta:
    """Return a duration: `PT5M6S`; negative ones as Java prints them too, `PT-5M-6S`."""
    if isinstance(value, timedelta) and abs(value) <= LONGEST_DURATION:
        return value
    try:
        if isinstance(value, str):
            if "-" in value[1:] and _EACH_NEGATIVE.fullmatch(value):
                value = "-" + value.replace("-", "")
            return parse_duration(value)
    except (ValueError, OverflowError):
        pass  # no ISO-8601, or longer than a timedelta holds
    raise Refused("it must be an ISO-8601 duration such as `PT5M6S`")


def iso(value: date | time | timedelta) -> str:
    """Return the ISO text that is stored: seconds always, `Z` for UTC, fractions in groups of three digits."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime | time):
        exact = value.isoformat(timespec="seconds" if not value.microsecond else _fraction(value.microsecond))
        return exact.removesuffix("+00:00") + "Z" if exact.endswith("+00:00") else exact
    return value.isoformat()


def _fraction(microsecond: int) -> str:
    return "milliseconds" if microsecond % 1000 == 0 else "microseconds"
