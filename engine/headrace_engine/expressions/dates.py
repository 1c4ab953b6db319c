"""Dates of expressions: from any kind of value to a zoned date-time, and from that to text.

The kinds of input and the named formats are those of the reference (§10.5). Where nothing says otherwise the zone is
UTC, so that a flow means the same on a laptop and in AWS (Kestra takes the server's, which is UTC in its image).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from . import java_time, numeric, values
from .errors import ExpressionError
from .java_time_parsing import NoMatch, parse_pattern, zone

# Patterns of the names; the other names are in _SPECIAL.
NAMED = {
    "iso": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "iso_milli": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "iso_sec": "yyyy-MM-dd'T'HH:mm:ssXXX",
    "sql": "yyyy-MM-dd HH:mm:ss.SSSSSS",
    "sql_milli": "yyyy-MM-dd HH:mm:ss.SSS",
    "sql_seq": "yyyy-MM-dd HH:mm:ss",
    "sql_sec": "yyyy-MM-dd HH:mm:ss",
    "rfc_1123_date_time": "EEE, d MMM yyyy HH:mm:ss 'GMT'",
    "iso_date": "yyyy-MM-ddXXX",
    "iso_offset_date": "yyyy-MM-ddXXX",
    "iso_local_date": "yyyy-MM-dd",
    "basic_iso_date": "yyyyMMdd",
    "iso_ordinal_date": "yyyy-DDD",
}
_STYLES = ("full", "long", "medium", "short")
_CLOCKED = {"iso_time": "offset", "iso_offset_time": "offset", "iso_local_time": ""}
_TIMED = {"iso_local_date_time": "", "iso_offset_date_time": "offset", "iso_zoned_date_time": "zone",
          "iso_date_time": "zone"}  # fmt: skip
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?"
    r"(?:\[([A-Za-z0-9_+/:-]+)\])?"
)


def zoned(value: Any, existing: str | None = None, time_zone: str | None = None, locale: str | None = None) -> datetime:
    """Return *value* as a zoned date-time in *time_zone*: a local one is taken to be in that zone, others converted."""
    where = zone(time_zone) if time_zone else UTC
    found = instant_or_local(value, existing, locale)
    if found.tzinfo is None:
        return found.replace(tzinfo=where)
    try:
        return found.astimezone(where)
    except (OverflowError, ValueError):
        raise ExpressionError(f"The date `{values.to_text(value)}` is out of range") from None


def instant_or_local(value: Any, existing: str | None = None, locale: str | None = None) -> datetime:
    """Return *value* as a date-time, with its own zone if it has one."""
    if isinstance(value, str):
        value = parse(value, existing, locale)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if numeric.is_number(value):
        return _epoch(value)
    raise ExpressionError(f"`{values.to_text(value)}` of type {values.class_name(value)} is not a date")


def _epoch(value: Any) -> datetime:
    """Return the instant of a number of milliseconds since 1970."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=float(value))
    except (OverflowError, ValueError):
        raise ExpressionError(f"The date {values.to_text(value)} is out of range") from None


def parse(text: str, existing: str | None = None, locale: str | None = None) -> date | datetime:
    """Return the date *text* writes: by the format *existing*, else as ISO date or date-time."""
    if existing:
        return _parse_by(text.strip(), existing, locale or "en")
    match = _ISO.fullmatch(text.strip()[:80])
    if not match:
        raise ExpressionError(f"`{text[:80]}` is not an ISO date; give its `existingFormat`")
    try:
        return _iso(match)
    except ValueError as error:
        raise ExpressionError(f"`{text[:80]}` is not a date: {error}") from None


def _iso(match: re.Match[str]) -> date | datetime:
    day = date(int(match[1]), int(match[2]), int(match[3]))
    where: tzinfo | None = zone(match[8]) if match[8] else None
    if match[9] and match[8] != "Z":
        where = zone(match[9])
    if match[4] is None:
        return day if where is None else datetime.combine(day, time(), where)
    micro = int((match[7] or "0").ljust(6, "0")[:6])
    return datetime.combine(day, time(int(match[4]), int(match[5]), int(match[6] or 0), micro), where)


def _parse_by(text: str, existing: str, locale: str) -> date | datetime:
    name = existing.lower()
    if name == "rfc_1123_date_time":
        return _parse_rfc(text)
    if name in _TIMED or name in {"iso", "iso_instant", "iso_sec", "iso_milli", "iso_date", "iso_offset_date"}:
        return parse(text)
    if name in _STYLES or name in _CLOCKED or name == "iso_week_date":
        raise ExpressionError(f"The format `{existing}` can be written but not read; give a pattern")
    try:
        return parse_pattern(text, NAMED.get(name, existing), locale)
    except NoMatch as reason:
        raise ExpressionError(f"The date `{text[:80]}` does not fit the format `{existing}`: {reason}") from None


def _parse_rfc(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - one format

    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        raise ExpressionError(f"The date `{text[:80]}` does not fit the format `rfc_1123_date_time`") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def text_of(moment: datetime, layout: str | None, locale: str | None) -> str:
    """Return *moment* by a named format, a style or a pattern; without one `iso`."""
    layout = layout or "iso"
    locale = locale or "en"
    name = layout.lower()
    try:
        if name in _STYLES:
            return java_time.style(moment, name, locale)
        if name in _TIMED or name in _CLOCKED or name in {"iso_instant", "iso_week_date"}:
            return _special(moment, name)
        if name == "rfc_1123_date_time":
            return _rfc(moment)
        return java_time.format_pattern(moment, NAMED.get(name, layout), locale)
    except (ValueError, OverflowError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"The date cannot be written as `{layout}`: {error}") from None


def _rfc(moment: datetime) -> str:
    offset = java_time.format_pattern(moment, "xx", "en")
    zone_text = "GMT" if offset == "+0000" else offset
    return java_time.format_pattern(moment, "EEE, d MMM yyyy HH:mm:ss", "en") + " " + zone_text


def _special(moment: datetime, name: str) -> str:
    if name == "iso_week_date":
        year, week, day = moment.isocalendar()
        return f"{year:04d}-W{week:02d}-{day}{values.offset_text(moment)}"
    if name == "iso_instant":
        local = moment.astimezone(UTC).replace(tzinfo=None)
        return _trimmed(local) + "Z"
    if name in _CLOCKED:
        return _trimmed(moment).split("T")[1] + (values.offset_text(moment) if _CLOCKED[name] else "")
    kind = _TIMED[name]
    text = _trimmed(moment) + (values.offset_text(moment) if kind else "")
    region = java_time.zone_id(moment)
    return f"{text}[{region}]" if kind == "zone" and "/" in region else text


def _trimmed(moment: datetime) -> str:
    """Return ISO's local date-time, the fraction without trailing zeros."""
    micro = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment.date().isoformat()}T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}{micro}"


_CLOCK_UNITS = {
    "NANOS": timedelta(microseconds=1),
    "MICROS": timedelta(microseconds=1),
    "MILLIS": timedelta(milliseconds=1),
    "SECONDS": timedelta(seconds=1),
    "MINUTES": timedelta(minutes=1),
    "HOURS": timedelta(hours=1),
    "HALF_DAYS": timedelta(hours=12),
}
_DAY_UNITS = {"DAYS": 1, "WEEKS": 7}
_MONTH_UNITS = {"MONTHS": 1, "YEARS": 12, "DECADES": 120, "CENTURIES": 1200, "MILLENNIA": 12_000}


def add(moment: datetime, amount: int, unit: str) -> datetime:
    """Return *moment* plus *amount* of a ChronoUnit: hours and less on the time line, days and more on the calendar."""
    name = unit.upper()
    try:
        if name in _CLOCK_UNITS:
            step = _CLOCK_UNITS[name] * (amount // 1000 if name == "NANOS" else amount)
            return (moment.astimezone(UTC) + step).astimezone(moment.tzinfo)
        if name in _DAY_UNITS:
            return _valid(moment + timedelta(days=_DAY_UNITS[name] * amount))
        if name in _MONTH_UNITS:
            return _valid(_add_months(moment, _MONTH_UNITS[name] * amount))
    except (OverflowError, ValueError):
        raise ExpressionError(f"The date plus {amount} {name} is out of range") from None
    units = ", ".join((*_CLOCK_UNITS, *_DAY_UNITS, *_MONTH_UNITS))
    raise ExpressionError(f"Unknown unit `{unit}`: use one of {units}")


def _add_months(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    first = moment.replace(year=year, month=month + 1, day=1)
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    last = (following - timedelta(days=1)).day
    return first.replace(day=min(moment.day, last))


def _valid(moment: datetime) -> datetime:
    """Return *moment*, moved behind a gap of the clock it may have fallen into (as Java does)."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def epoch_micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
