"""Values as expressions see them: their text, their JSON, equality, truth and Java class.

Data only: nothing here ever reads an attribute of a value by a name that came from a template. Maps are anything
that is a `Mapping` (often lazy: only the keys that are asked for are loaded), lists anything that is a `Sequence`
or a set. Every walk over a value counts its steps and its depth, because a small value can be a huge tree when its
branches are shared.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from . import numeric
from .errors import ExpressionError
from .limits import Budget, Limits

# C speed where the interpreter has it; the text is JSON's either way, with non-ASCII characters kept.
quote: Callable[[str], str] = json.encoder.encode_basestring


def is_map(value: object) -> bool:
    """Return whether *value* is a map."""
    return isinstance(value, Mapping)


def is_list(value: object) -> bool:
    """Return whether *value* is a list (an array, a set): iterable and not a text or a map."""
    return isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray)


def to_text(value: Any) -> str:
    """Return the text of *value* in a template (reference §10.1).

    null is "", maps and lists are compact JSON, dates are Java's toString, a Duration is PT5S.
    """
    return value if type(value) is str else text_of(value, Budget(Limits()))


def text_of(value: Any, budget: Budget) -> str:
    """Return `to_text(value)`, counted against *budget*."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    scalar = scalar_text(value)
    return json_text(value, budget) if scalar is None else scalar


def scalar_text(value: Any) -> str | None:
    """Return the text of a scalar that is not null, or None for maps, lists and what is unknown."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return numeric.number_text(value)
    if isinstance(value, date | time):
        return temporal_text(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", errors="replace")
    return None


def temporal_text(value: date | time) -> str:
    """Return Java's toString of a date or time.

    A datetime in UTC is an Instant: seconds always, fraction in groups of three digits, `Z`. Any other one is a
    (zoned or local) date-time: zero seconds are left out.
    """
    if isinstance(value, datetime):
        if value.tzinfo is not None and value.tzname() == "UTC" and not value.utcoffset():
            return f"{value:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction(value.microsecond) + "Z"
        return f"{value.date().isoformat()}T{_clock(value)}{offset_text(value)}"
    return _clock(value) if isinstance(value, time) else value.isoformat()


def _clock(value: datetime | time) -> str:
    seconds = f":{value.second:02d}" if value.second or value.microsecond else ""
    return f"{value.hour:02d}:{value.minute:02d}{seconds}{fraction(value.microsecond)}"


def fraction(microsecond: int) -> str:
    """Return `.345` or `.345678`, or nothing for zero."""
    if not microsecond:
        return ""
    return f".{microsecond // 1000:03d}" if microsecond % 1000 == 0 else f".{microsecond:06d}"


def offset_text(value: datetime | time) -> str:
    """Return `+02:00`, `Z` for zero, nothing for a local value."""
    offset = value.utcoffset()
    if offset is None:
        return ""
    seconds = round(offset.total_seconds())
    if not seconds:
        return "Z"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, second = divmod(rest, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}:{minutes:02d}" + (f":{second:02d}" if second else "")


def iso_text(value: date | time) -> str:
    """Return the ISO text Jackson writes: as toString, but with zero seconds."""
    if isinstance(value, datetime):
        clock = f"{value.hour:02d}:{value.minute:02d}:{value.second:02d}{fraction(value.microsecond)}"
        return f"{value.date().isoformat()}T{clock}{offset_text(value)}"
    if isinstance(value, time):
        return f"{value.hour:02d}:{value.minute:02d}:{value.second:02d}{fraction(value.microsecond)}"
    return value.isoformat()


def duration_text(value: timedelta) -> str:
    """Return Java's Duration.toString: PT5S, PT26H, PT-0.5S."""
    total = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    if not total:
        return "PT0S"
    sign, total = ("-" if total < 0 else ""), abs(total)
    seconds, micros = divmod(total, 1_000_000)
    hours, rest = divmod(seconds, 3600)
    minutes, second = divmod(rest, 60)
    parts = [f"{sign}{hours}H" if hours else "", f"{sign}{minutes}M" if minutes else ""]
    if second or micros:
        parts.append(f"{sign}{second}{f'.{micros:06d}'.rstrip('0') if micros else ''}S")
    return "PT" + "".join(parts)


def key_text(key: object) -> str:
    """Return a map's key as text (JSON has no other keys)."""
    if isinstance(key, str):
        return key
    if key is None:
        return "null"
    scalar = scalar_text(key)
    if scalar is None:
        raise ExpressionError(f"A {class_name(key)} cannot be the key of a map")
    return scalar


def json_text(value: Any, budget: Budget) -> str:
    """Return *value* as compact JSON, bounded by *budget* while it grows."""
    pieces: list[str] = []
    _Json(budget, pieces).write(value, 0)
    return "".join(pieces)


class _Json:
    """Writes JSON into a list of pieces; stops as soon as they are too many characters."""

    def __init__(self, budget: Budget, pieces: list[str]) -> None:
        self.budget = budget
        self.pieces = pieces
        self.left = budget.limits.output_chars

    def put(self, text: str) -> None:
        self.left -= len(text)
        if self.left < 0:
            self.budget.chars(self.budget.limits.output_chars + 1)
        self.pieces.append(text)

    def write(self, value: Any, depth: int) -> None:
        self.budget.step()
        if type(value) is str:
            self.put(quote(value))
        elif isinstance(value, Mapping):
            self.map(value, depth)
        elif is_list(value):
            self.list(value, depth)
        else:
            self.put(json_scalar(value))

    def map(self, value: Mapping[Any, Any], depth: int) -> None:
        deeper = nest(depth, self.budget)
        self.put("{")
        comma = ""
        for key in value:
            self.put(f"{comma}{quote(key_text(key))}:")
            self.write(value[key], deeper)
            comma = ","
        self.put("}")

    def list(self, value: Iterable[Any], depth: int) -> None:
        deeper = nest(depth, self.budget)
        self.put("[")
        comma = False
        for item in value:
            if comma:
                self.put(",")
            self.write(item, deeper)
            comma = True
        self.put("]")


def nest(depth: int, budget: Budget) -> int:
    """Return the next depth of a walk, or refuse it."""
    if depth >= budget.limits.value_depth:
        raise ExpressionError(f"A value is nested deeper than the {budget.limits.value_depth} levels allowed")
    return depth + 1


def json_scalar(value: Any) -> str:
    """Return the JSON of a scalar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(str(value))
    if isinstance(value, int | float | Decimal):
        text = numeric.number_text(value)
        return text if text[-1].isdigit() else quote(text)  # NaN and Infinity are texts in Jackson's JSON
    if isinstance(value, date | time):
        return quote(iso_text(value))
    if isinstance(value, bytes | bytearray):
        return quote(base64.b64encode(bytes(value)).decode())
    if isinstance(value, timedelta):
        return quote(duration_text(value))
    raise ExpressionError(f"A value of type {class_name(value)} has no text")


def plain(value: Any, budget: Budget, depth: int = 0) -> Any:
    """Return *value* with every map a dict and every list a list, bounded; scalars stay as they are."""
    budget.step()
    if isinstance(value, Mapping):
        deeper = nest(depth, budget)
        return {key_text(key): plain(value[key], budget, deeper) for key in value}
    if is_list(value):
        deeper = nest(depth, budget)
        return [plain(item, budget, deeper) for item in value]
    if value is not None and scalar_text(value) is None:
        raise ExpressionError(f"A value of type {class_name(value)} has no text")
    return value


def equals(left: Any, right: Any, budget: Budget, depth: int = 0) -> bool:
    """Return whether two values are equal: numbers by value, a boolean never to a number, text never to either."""
    budget.step()
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    if numeric.is_number(left) and numeric.is_number(right):
        return numeric.compare(left, right) == 0
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        deeper = nest(depth, budget)
        return len(left) == len(right) and all(
            key in right and equals(left[key], right[key], budget, deeper) for key in left
        )
    if is_list(left) and is_list(right):
        deeper = nest(depth, budget)
        return len(left) == len(right) and all(
            equals(one, other, budget, deeper) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, str) and isinstance(right, str):
        return str(left) == str(right)
    return type(left) is type(right) and bool(left == right)


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1 for two numbers, two texts, or two dates of one kind."""
    if numeric.is_number(left) and numeric.is_number(right):
        return numeric.compare(left, right)
    same = (isinstance(left, str) and isinstance(right, str)) or (
        type(left) is type(right) and isinstance(left, bool | date | time | timedelta)
    )
    if same:
        try:
            return int(left > right) - int(left < right)
        except TypeError:  # one has an offset, the other has none
            pass
    raise ExpressionError(f"Cannot compare {class_name(left)} with {class_name(right)}")


def is_empty(value: Any) -> bool:
    """Return whether *value* is null, "", an empty list or an empty map."""
    if value is None:
        return True
    if isinstance(value, str | bytes | bytearray | Mapping) or is_list(value):
        return len(value) == 0
    return False


def is_blank(value: Any) -> bool:
    """Return what `is empty` and `default` ask: whether *value* is empty, or a text of nothing but white space."""
    return is_empty(value) or (isinstance(value, str) and not value.strip())


def boolean(value: Any) -> bool:
    """Return the truth of a value in `if`, `and`, `or`, `not` and `? :`: null, 0 and what is empty are false."""
    if isinstance(value, bool):
        return value
    if numeric.is_number(value):
        return bool(value != 0)
    return not is_empty(value)


def truthy(text: Any) -> bool:
    """Return the truth of If, runIf, Fail, LoopUntil and SLA (trap 3).

    False are null and the texts "", "false", "0" and "-0", compared after rendering; all else is true.
    """
    return text is not None and to_text(text) not in {"", "false", "0", "-0"}


def condition_truthy(text: str) -> bool:
    """Return the truth of an Expression condition (trap 3): not blank and not "false"; "0" is true."""
    trimmed = to_text(text).strip()
    return trimmed not in {"", "false"}


def class_name(value: Any) -> str:
    """Return the Java class a value would have in Kestra (`className`, error messages)."""
    if numeric.is_number(value):
        return numeric.class_name(value)
    for kind, name in _CLASSES:
        if isinstance(value, kind):
            if kind is datetime:
                return _datetime_class(value)
            return name
    return "java.lang.Object"


_CLASSES: tuple[tuple[Any, str], ...] = (
    (type(None), "null"),
    (bool, "java.lang.Boolean"),
    (str, "java.lang.String"),
    (bytes, "byte[]"),
    (bytearray, "byte[]"),
    (datetime, ""),
    (date, "java.time.LocalDate"),
    (time, "java.time.LocalTime"),
    (timedelta, "java.time.Duration"),
    (Mapping, "java.util.LinkedHashMap"),
    (Set, "java.util.LinkedHashSet"),
    (Sequence, "java.util.ArrayList"),
)


def _datetime_class(value: datetime) -> str:
    if value.tzinfo is None:
        return "java.time.LocalDateTime"
    return "java.time.Instant" if value.tzname() == "UTC" else "java.time.ZonedDateTime"
