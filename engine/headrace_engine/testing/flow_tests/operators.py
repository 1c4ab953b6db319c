"""What each operator of an assertion asks of a value.

The value is what the expression gives, of its own type; the operand is what YAML says. The two may write one thing
differently (`{{ outputs.request.code }}` is a number or the text of one, `equalTo: 200` a number), so where the types
differ it is the meaning that counts: a text that is a number is compared as one with a number, JSON text with lists
and maps, ISO dates with dates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from headrace_engine.expressions import numeric, values
from headrace_engine.expressions.limits import Budget, Limits
from headrace_engine.plugin import parse_duration


class OperandError(ValueError):
    """The value and the operand have nothing in common that the operator could look at."""


def equal(actual: Any, expected: Any) -> bool:
    """Return whether the two mean the same."""
    if actual is None or expected is None:
        return actual is expected
    for left, right in ((actual, expected), (expected, actual)):
        if isinstance(left, bool):
            return left is right or (isinstance(right, str) and right.strip().lower() == values.to_text(left))
    if values.is_map(actual) and values.is_map(expected):
        return actual.keys() == expected.keys() and all(equal(actual[key], expected[key]) for key in actual)
    if values.is_list(actual) and values.is_list(expected):
        return len(actual) == len(expected) and all(map(equal, actual, expected))
    if isinstance(actual, str) and isinstance(expected, str):
        return actual == expected
    for left, right in ((actual, expected), (expected, actual)):
        if (values.is_map(left) or values.is_list(left)) and isinstance(right, str):
            parsed = _json(right)
            return values.to_text(left) == right or (not isinstance(parsed, str) and equal(left, parsed))
    try:
        return _order(actual, expected) == 0
    except OperandError:
        return values.to_text(actual) == values.to_text(expected)


def contains(actual: Any, expected: Any) -> bool:
    """Return whether the text, list or map *actual* has *expected* in it. Raises OperandError for null."""
    if values.is_map(actual):
        return values.to_text(expected) in actual
    if values.is_list(actual):
        return any(equal(item, expected) for item in actual)
    return values.to_text(expected) in _text(actual)


def among(actual: Any, expected: Any) -> bool:
    """Return whether *actual* is one of the list *expected*. Raises OperandError when that is no list."""
    listed = _json(expected) if isinstance(expected, str) else expected
    if not values.is_list(listed):
        raise OperandError(f"a list is expected, not {shown(expected)}")
    return any(equal(actual, item) for item in listed)


def _order(actual: Any, expected: Any) -> int:
    """Return -1, 0 or 1. Raises OperandError when there is no order between the two."""
    readers: tuple[Callable[[Any], Any], ...] = (_number, _instant, _duration, _time)
    for read in readers:
        left, right = read(actual), read(expected)
        if left is not None and right is not None:
            return int(left > right) - int(left < right)
    raise OperandError(
        f"{shown(actual)} and {shown(expected)} cannot be compared: two numbers, dates, times or durations are expected"
    )


def _text(value: Any) -> str:
    if value is None:
        raise OperandError("null has no text")
    return values.to_text(value)


def _number(value: Any) -> Decimal | None:
    if numeric.is_number(value) or (isinstance(value, str) and value.strip()):
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            return None
        return None if number.is_nan() else number
    return None


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _time(value: Any) -> time | None:
    if isinstance(value, str):
        try:
            value = time.fromisoformat(value.strip())
        except ValueError:
            return None
    return value.replace(tzinfo=None) if isinstance(value, time) else None


def _duration(value: Any) -> timedelta | None:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            return None
    return value if isinstance(value, timedelta) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def shown(value: Any) -> str:
    """Return *value* for people: JSON, so that the text "200" and the number 200 look different."""
    return values.json_text(value, Budget(Limits()))


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equalTo": equal,
    "notEqualTo": lambda actual, expected: not equal(actual, expected),
    "greaterThan": lambda actual, expected: _order(actual, expected) > 0,
    "greaterThanOrEqualTo": lambda actual, expected: _order(actual, expected) >= 0,
    "lessThan": lambda actual, expected: _order(actual, expected) < 0,
    "lessThanOrEqualTo": lambda actual, expected: _order(actual, expected) <= 0,
    "in": among,
    "notIn": lambda actual, expected: not among(actual, expected),
    "contains": contains,
    "startsWith": lambda actual, expected: _text(actual).startswith(values.to_text(expected)),
    "endsWith": lambda actual, expected: _text(actual).endswith(values.to_text(expected)),
    "isNull": lambda actual, expected: (actual is None) == expected,
    "isNotNull": lambda actual, expected: (actual is not None) == expected,
}
"""By name: whether the value and the operand are as it says. Each may raise OperandError."""
