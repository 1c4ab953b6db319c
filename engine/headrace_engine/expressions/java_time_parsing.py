"""Java's DateTimeFormatter patterns, the other way: from text to a date (`existingFormat`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from . import java_time
from .errors import ExpressionError
from .java_time import Part

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?(?::?(\d\d))?")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*")
_NUMERIC = frozenset("uyYDMLdQqwWeFhKkHmsSAnN")


class NoMatch(Exception):  # noqa: N818 - control flow inside this module
    """The text does not fit the pattern."""


@dataclass
class _Reading:
    """A text being read by a pattern."""

    text: str
    locale: str
    position: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def zone(name: str) -> tzinfo:
    """Return the zone of a Java ZoneId: a region, `UTC`, `Z`, or an offset such as `+02:00` or `GMT+2`."""
    if name in {"Z", "UTC", "GMT", "UT", "Etc/UTC"}:
        return UTC if name != "Etc/UTC" else ZoneInfo(name)
    bare = name[3:] if name[:3] in {"UTC", "GMT"} else name
    match = re.fullmatch(r"([+-])(\d{1,2})(?::?(\d\d))?(?::?(\d\d))?", bare)
    if match:
        return _fixed(match)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ExpressionError(f"Unknown time zone `{name}`") from None


def _fixed(match: re.Match[str]) -> tzinfo:
    seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60 + int(match[4] or 0)
    if seconds > 18 * 3600:
        raise ExpressionError(f"The offset `{match[0]}` is beyond 18 hours")
    return timezone(timedelta(seconds=-seconds if match[1] == "-" else seconds))


def parse_pattern(text: str, pattern: str, locale: str) -> date | datetime:
    """Return the date, local date-time or zoned date-time that *text* writes by *pattern*.

    Raises:
        NoMatch: it does not fit.
    """
    reading = _Reading(text, locale)
    _read(reading, java_time.parts(pattern))
    if reading.position != len(text):
        raise NoMatch(f"unexpected `{text[reading.position :]}`")
    try:
        return _resolve(reading.fields)
    except (ValueError, OverflowError) as error:
        raise NoMatch(str(error)) from None


def _read(reading: _Reading, pattern: tuple[Part, ...]) -> None:
    index = 0
    while index < len(pattern):
        part = pattern[index]
        if part.letter == "[":
            end = _closing(pattern, index)
            before = (reading.position, dict(reading.fields))
            try:
                _read(reading, pattern[index + 1 : end])
            except NoMatch:
                reading.position, reading.fields = before
            index = end + 1
            continue
        if part.letter == "p":
            while reading.text.startswith(" ", reading.position):
                reading.position += 1
        elif part.letter:
            adjacent = index + 1 < len(pattern) and _is_number(pattern[index + 1])
            _element(reading, part, adjacent=adjacent)
        elif reading.text.startswith(part.literal, reading.position):
            reading.position += len(part.literal)
        else:
            raise NoMatch(f"`{part.literal}` expected at `{reading.text[reading.position :]}`")
        index += 1


def _closing(pattern: tuple[Part, ...], start: int) -> int:
    depth = 0
    for index in range(start, len(pattern)):
        depth += {"[": 1, "]": -1}.get(pattern[index].letter, 0)
        if not depth:
            return index
    raise ExpressionError("A date pattern has an open `[`")


def _is_number(part: Part) -> bool:
    return part.letter in _NUMERIC and (part.letter not in "MLQqe" or part.width < 3)


def _element(reading: _Reading, part: Part, *, adjacent: bool) -> None:
    letter, width = part.letter, part.width
    if letter in "ML" and width >= 3:
        reading.fields["M"] = 1 + _named(reading, java_time.month_names(width, reading.locale))
    elif letter in "Eec" and width >= (1 if letter == "E" else 3):
        _named(reading, java_time.day_names(width, reading.locale))
    elif letter in "aB":
        reading.fields["a"] = _named(reading, java_time.day_periods(reading.locale))
    elif letter == "G":
        _named(reading, ["AD", "Anno Domini"])
    elif letter in "XxZO":
        reading.fields["offset"] = _read_offset(reading)
    elif letter in "Vvz":
        reading.fields["zone"] = _read_zone(reading)
    else:
        _digits(reading, part, adjacent=adjacent)


def _digits(reading: _Reading, part: Part, *, adjacent: bool) -> None:
    letter, width = part.letter, part.width
    most = width if letter == "S" or adjacent or width == 2 or (width > 1 and letter not in "uyY") else 19
    end = reading.position
    while end < len(reading.text) and end - reading.position < most and reading.text[end] in "0123456789":
        end += 1
    digits = reading.text[reading.position : end]
    if not digits or (width > 1 and len(digits) < width):
        raise NoMatch(f"{width} digits expected at `{reading.text[reading.position :]}`")
    reading.position = end
    if letter == "S":
        reading.fields["micro"] = int(digits.ljust(6, "0")[:6])
    elif letter in "uy":
        reading.fields["y"] = int(digits) + (2000 if width == 2 else 0)
    else:
        reading.fields["M" if letter == "L" else letter] = int(digits)


def _named(reading: _Reading, names: list[str]) -> int:
    rest = reading.text[reading.position :].lower()
    # Longest first: "May" is also the beginning of nothing, but "Ma" might be.
    for index in sorted(range(len(names)), key=lambda each: -len(names[each])):
        if rest.startswith(names[index].lower()):
            reading.position += len(names[index])
            return index
    raise NoMatch(f"a name expected at `{reading.text[reading.position :]}`")


def _read_offset(reading: _Reading) -> tzinfo:
    for word in ("GMT", "UTC", "Z"):
        if reading.text.startswith(word, reading.position):
            reading.position += len(word)
            if word == "Z" or not _OFFSET.match(reading.text, reading.position):
                return UTC
    match = _OFFSET.match(reading.text, reading.position)
    if not match:
        raise NoMatch(f"an offset expected at `{reading.text[reading.position :]}`")
    reading.position = match.end()
    return _fixed(match)


def _read_zone(reading: _Reading) -> tzinfo:
    match = _ZONE.match(reading.text, reading.position)
    if not match:
        return _read_offset(reading)
    try:
        found = zone(match[0])
    except ExpressionError as error:
        raise NoMatch(error.message) from None
    reading.position = match.end()
    return found


def _resolve(fields: dict[str, Any]) -> date | datetime:
    day = _day(fields)
    where = fields.get("zone") or fields.get("offset")
    clock = _clock(fields)
    if clock is None:
        return day if where is None else datetime.combine(day, time(), where)
    moment = datetime.combine(day, clock, where)
    return moment + timedelta(days=1) if fields.get("H") == 24 else moment


def _day(fields: dict[str, Any]) -> date:
    year = fields.get("y")
    if year is None:
        raise NoMatch("the pattern gives no year")
    if "D" in fields:
        return date(year, 1, 1) + timedelta(days=fields["D"] - 1)
    return date(year, fields.get("M", 1), fields.get("d", 1))


def _clock(fields: dict[str, Any]) -> time | None:
    hour = fields.get("H", fields.get("k"))
    half = fields.get("h", fields.get("K"))
    if hour is None and half is not None:
        hour = half % 12 + 12 * fields.get("a", 0)
    if hour is None:
        return None
    return time(hour % 24, fields.get("m", 0), fields.get("s", 0), fields.get("micro", fields.get("n", 0) // 1000))
