"""Java's DateTimeFormatter patterns: reading a pattern, formatting with it.

Letters and widths as in the documentation of java.time.format.DateTimeFormatter (Java 17). English needs no locale
data; other languages take babel's, which is loaded then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from .errors import ExpressionError

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = frozenset("GuyDMLdQqYwWEecFaBhKkHmsSAnNVvzOXxZp")
_MAXIMUM = 200


@dataclass(frozen=True, slots=True)
class Part:
    """One element of a pattern: a letter and how often it stands, or (letter "") a literal."""

    letter: str
    width: int
    literal: str = ""


@lru_cache(maxsize=512)
def parts(pattern: str) -> tuple[Part, ...]:
    """Return the elements of *pattern*; `[` and `]` come as literals with the letters `[` and `]`."""
    if len(pattern) > _MAXIMUM:
        raise ExpressionError(f"A date pattern is longer than {_MAXIMUM} characters")
    found: list[Part] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "'":
            literal, position = _quoted(pattern, position)
            found.append(Part("", 0, literal))
        elif character.isascii() and character.isalpha():
            end = position
            while end < len(pattern) and pattern[end] == character:
                end += 1
            if character not in _LETTERS:
                raise ExpressionError(f"The date pattern `{pattern}` has the unknown letter `{character}`")
            found.append(Part(character, end - position))
            position = end
        else:
            if character in "{}#":
                raise ExpressionError(f"The date pattern `{pattern}` has the reserved character `{character}`")
            found.append(Part(character if character in "[]" else "", 0, character))
            position += 1
    return tuple(found)


def _quoted(pattern: str, start: int) -> tuple[str, int]:
    if pattern.startswith("''", start):
        return "'", start + 2
    text, position = "", start + 1
    while True:
        end = pattern.find("'", position)
        if end < 0:
            raise ExpressionError(f"The date pattern `{pattern}` has an open quote")
        text += pattern[position:end]
        if not pattern.startswith("''", end):
            return text, end + 1
        text += "'"
        position = end + 2


def format_pattern(value: datetime, pattern: str, locale: str) -> str:
    """Return *value*, which has a zone, by *pattern*."""
    pieces: list[str] = []
    pad = 0
    for part in parts(pattern):
        if part.letter in {"[", "]"}:  # all fields of a zoned date-time are there: optional parts always print
            continue
        if part.letter == "p":
            pad = part.width
            continue
        text = part.literal if not part.letter else _FORMATTERS[part.letter](value, part.width, locale)
        pieces.append(text.rjust(pad) if pad else text)
        pad = 0
    return "".join(pieces)


def _number(field: Callable[[datetime], int]) -> Callable[[datetime, int, str], str]:
    def render(value: datetime, width: int, locale: str) -> str:
        del locale
        return str(field(value)).zfill(width)

    return render


def _year(field: Callable[[datetime], int]) -> Callable[[datetime, int, str], str]:
    def render(value: datetime, width: int, locale: str) -> str:
        del locale
        year = field(value)
        return f"{year % 100:02d}" if width == 2 else str(year).zfill(width)

    return render


def _month(context: str) -> Callable[[datetime, int, str], str]:
    def render(value: datetime, width: int, locale: str) -> str:
        if width < 3:
            return str(value.month).zfill(width)
        return month_names(width, locale, context)[value.month - 1]

    return render


def month_names(width: int, locale: str, context: str = "format") -> list[str]:
    """Return the twelve names of *width* letters: 3 short, 4 full, 5 one letter."""
    if locale.startswith("en"):
        return [name[:3] if width == 3 else name[:1] if width == 5 else name for name in MONTHS]
    names = babel_dates().get_month_names(_WIDTHS[width], context, _known(locale))
    return [names[number] for number in range(1, 13)]


def day_names(width: int, locale: str, context: str = "format") -> list[str]:
    """Return the names of Monday to Sunday."""
    if locale.startswith("en"):
        return [name[:3] if width <= 3 else name[:1] if width == 5 else name for name in DAYS]
    names = babel_dates().get_day_names(_WIDTHS[max(width, 3)], context, _known(locale))
    return [names[number] for number in range(7)]


_WIDTHS = {3: "abbreviated", 4: "wide", 5: "narrow"}


def day_periods(locale: str) -> list[str]:
    """Return AM and PM."""
    if locale.startswith("en"):
        return ["AM", "PM"]
    names = babel_dates().get_period_names("abbreviated", "format", _known(locale))
    return [names["am"], names["pm"]]


def babel_dates() -> Any:
    """Return babel.dates; its data take a while to load, and English does without."""
    import babel.dates  # noqa: PLC0415  # see above

    return babel.dates


def _known(locale: str) -> str:
    from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - as above

    try:
        Locale.parse(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise ExpressionError(f"Unknown locale `{locale}`") from None
    return locale.replace("-", "_")


def style(value: datetime, name: str, locale: str) -> str:
    """Return *value* in one of the localised styles full, long, medium, short."""
    known = _known(locale)
    if locale.startswith("en") and name in {"full", "long"}:  # Java 17's data say "at", newer ones a comma
        dates = babel_dates()
        text = f"{dates.format_date(value, name, known)} at {dates.format_time(value, name, locale=known)}"
    else:
        text = babel_dates().format_datetime(value, name, locale=known)
    # Unicode's newer data put a narrow space before AM and PM; Java 17 prints a plain one.
    return text.replace("\u202f", " ")


def _day_of_week(value: datetime, width: int, locale: str) -> str:
    return day_names(width, locale)[value.weekday()]


def _local_day(value: datetime, width: int, locale: str) -> str:
    """`e`, `c`: the number of the day in the locale's week, or its name."""
    if width >= 3:
        return day_names(width, locale)[value.weekday()]
    return str((value.weekday() - _first_day(locale)) % 7 + 1).zfill(width)


def _first_day(locale: str) -> int:
    if locale.replace("-", "_") in {"en", "en_US"}:
        return 6
    from babel import Locale  # noqa: PLC0415 - as above

    return int(Locale.parse(_known(locale)).first_week_day)


def _quarter(value: datetime, width: int, locale: str) -> str:
    number = (value.month + 2) // 3
    if width < 3:
        return str(number).zfill(width)
    if locale.startswith("en"):
        ordinal = ("1st", "2nd", "3rd", "4th")[number - 1]
        return {3: f"Q{number}", 4: f"{ordinal} quarter"}.get(width, str(number))
    return str(babel_dates().get_quarter_names(_WIDTHS[width], "format", _known(locale))[number])


def _fraction(value: datetime, width: int, locale: str) -> str:
    del locale
    return f"{value.microsecond:06d}000"[:width].ljust(width, "0")


def _era(value: datetime, width: int, locale: str) -> str:
    del value, locale
    return {4: "Anno Domini", 5: "A"}.get(width, "AD")


def _period(value: datetime, width: int, locale: str) -> str:
    del width
    return day_periods(locale)[value.hour >= 12]


def _week_of_month(value: datetime) -> int:
    # The ISO week of the month; Java takes the locale's, which differs by when a week begins.
    first = value.replace(day=1).weekday()
    shift = 0 if first <= 3 else -1
    return (value.day + first - 1) // 7 + 1 + shift


def offset(value: datetime) -> timedelta:
    """Return the offset from UTC."""
    return value.utcoffset() or timedelta()


def _offset(value: datetime, width: int, *, zulu: bool) -> str:
    """`X`, `x`: +01, +0130, +01:30, with seconds at widths 4 and 5."""
    total = round(offset(value).total_seconds())
    if zulu and total == 0:
        return "Z"
    hours, rest = divmod(abs(total), 3600)
    minutes, seconds = divmod(rest, 60)
    colon = ":" if width in {3, 5} else ""
    text = f"{'-' if total < 0 else '+'}{hours:02d}"
    if width > 1 or minutes:
        text += f"{colon}{minutes:02d}"
    if width > 3 and seconds:
        text += f"{colon}{seconds:02d}"
    return text


def _rfc_offset(value: datetime, width: int, locale: str) -> str:
    """`Z`: +0000, at width 4 GMT+01:00, at width 5 as XXXXX."""
    if width == 4:
        return _gmt(value, 4, locale)
    return _offset(value, 5, zulu=True) if width == 5 else _offset(value, 2, zulu=False)


def _gmt(value: datetime, width: int, locale: str) -> str:
    """`O`: GMT+1, at width 4 GMT+01:00."""
    del locale
    total = round(offset(value).total_seconds())
    if not total:
        return "GMT"
    if width == 4:
        return "GMT" + _offset(value, 3, zulu=False)
    hours, minutes = divmod(abs(total) // 60, 60)
    return f"GMT{'-' if total < 0 else '+'}{hours}" + (f":{minutes:02d}" if minutes else "")


def zone_id(value: datetime) -> str:
    """Return the id of the zone, `Europe/Paris`, or the offset as Java's ZoneOffset prints it."""
    key = getattr(value.tzinfo, "key", None)
    return str(key) if key else _offset(value, 5, zulu=True)


def _zone_name(value: datetime, width: int, locale: str) -> str:
    if getattr(value.tzinfo, "key", None) is None:
        return zone_id(value)
    if width < 4:
        return value.tzname() or zone_id(value)
    return str(babel_dates().get_timezone_name(value, "long", locale=_known(locale)))


def _half_hour(value: datetime) -> int:
    return value.hour % 12 or 12


def _day_nanos(value: datetime) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000_000 + value.microsecond * 1000


_FORMATTERS: dict[str, Callable[[datetime, int, str], str]] = {
    "G": _era,
    "u": _year(lambda value: value.year),
    "y": _year(lambda value: value.year),
    "Y": _year(lambda value: value.isocalendar().year),
    "D": _number(lambda value: value.timetuple().tm_yday),
    "M": _month("format"),
    "L": _month("stand-alone"),
    "d": _number(lambda value: value.day),
    "Q": _quarter,
    "q": _quarter,
    "w": _number(lambda value: value.isocalendar().week),
    "W": _number(_week_of_month),
    "E": _day_of_week,
    "e": _local_day,
    "c": _local_day,
    "F": _number(lambda value: (value.day - 1) // 7 + 1),
    "a": _period,
    "B": _period,
    "h": _number(_half_hour),
    "K": _number(lambda value: value.hour % 12),
    "k": _number(lambda value: value.hour or 24),
    "H": _number(lambda value: value.hour),
    "m": _number(lambda value: value.minute),
    "s": _number(lambda value: value.second),
    "S": _fraction,
    "A": _number(lambda value: _day_nanos(value) // 1_000_000),
    "n": _number(lambda value: value.microsecond * 1000),
    "N": _number(_day_nanos),
    "V": lambda value, width, locale: zone_id(value),  # noqa: ARG005
    "v": _zone_name,
    "z": _zone_name,
    "O": _gmt,
    "X": lambda value, width, locale: _offset(value, width, zulu=True),  # noqa: ARG005
    "x": lambda value, width, locale: _offset(value, width, zulu=False),  # noqa: ARG005
    "Z": _rfc_offset,
}
