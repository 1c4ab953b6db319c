"""Tests: what may stand behind `is` (reference §10.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import operators, structured, values
from .context import Evaluation
from .errors import ExpressionError
from .registry import expression_test


@expression_test("defined", lazy=True)
def defined(context: Evaluation, value: operators.Thunk) -> bool:
    """Return whether it is there and not null, as in Pebble."""
    found = operators.attempt(context, value)
    return found is not operators.ABSENT and found is not None


@expression_test("null")
def null(context: Evaluation, value: Any) -> bool:
    """Return whether it is null."""
    del context
    return value is None


@expression_test("empty")
def empty(context: Evaluation, value: Any) -> bool:
    """Return whether it is null, a blank text, or a list or map without items."""
    del context
    return values.is_blank(value)


@expression_test("even")
def even(context: Evaluation, value: Any) -> bool:
    """Return whether it is an even integer."""
    del context
    return _whole(value, "even") % 2 == 0


@expression_test("odd")
def odd(context: Evaluation, value: Any) -> bool:
    """Return whether it is an odd integer."""
    del context
    return _whole(value, "odd") % 2 == 1


def _whole(value: Any, name: str) -> int:
    if value is None or isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"The test '{name}' needs an integer, not {values.class_name(value)}")
    return int(value)


@expression_test("iterable")
def iterable(context: Evaluation, value: Any) -> bool:
    """Return whether it is a list (a map is none, as in Java)."""
    del context
    return values.is_list(value)


@expression_test("map")
def is_map(context: Evaluation, value: Any) -> bool:
    """Return whether it is a map."""
    del context
    return isinstance(value, Mapping)


@expression_test("equalTo", "value")
def equal_to(context: Evaluation, value: Any, other: Any) -> bool:
    """Return whether it is equal to another value."""
    return values.equals(value, other, context.budget)


@expression_test("json")
def json(context: Evaluation, value: Any) -> bool:
    """Return whether it is a text that is JSON, bare numbers and `true` included."""
    if not isinstance(value, str):
        raise ExpressionError(f"The test 'json' needs a text, not {values.class_name(value)}")
    try:
        structured.from_json(value, context.budget)
    except ExpressionError:
        return False
    return True


@expression_test("isIn", "list")
def is_in(context: Evaluation, value: Any, items: Any) -> bool:
    """Return whether it is one of the items of a list."""
    return bool(operators.is_in(context, value, items, 1))
