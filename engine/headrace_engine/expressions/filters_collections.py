"""Filters on numbers, lists and maps (reference §10.2 and §10.5)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from . import numeric, operators, values
from .context import Evaluation
from .errors import ExpressionError
from .registry import expression_filter, integer, listing, text


@expression_filter("abs")
def absolute(context: Evaluation, value: Any) -> Any:
    """Return the number without its sign."""
    if not numeric.is_number(value):
        raise ExpressionError(f"The filter 'abs' needs a number, not {values.class_name(value)}")
    return numeric.arithmetic(context.budget, "-", 0, value) if value < 0 else value


@expression_filter("number", "type")
def number(context: Evaluation, value: Any, kind: str | None = None) -> Any:
    """Return the number a text writes; without a type the smallest that fits."""
    del context
    if numeric.is_number(value) and kind is None:
        return value
    if numeric.is_number(value) and kind is not None and kind.upper() in {"INT", "INTEGER", "LONG", "BIGINTEGER"}:
        value = int(value)
    if not isinstance(value, str) and not numeric.is_number(value):
        raise ExpressionError(f"The filter 'number' needs a text, not {values.class_name(value)}")
    return numeric.parse(values.to_text(value), kind)


@expression_filter("numberFormat", "format", aliases="numberformat")
def number_format(context: Evaluation, value: Any, layout: str = "#,##0.###") -> str:
    """Return a number by a pattern of Java's DecimalFormat, rounded half to even."""
    from babel.numbers import format_decimal  # noqa: PLC0415 - babel's data take a while to load

    if not numeric.is_number(value):
        raise ExpressionError(f"The filter 'numberFormat' needs a number, not {values.class_name(value)}")
    pattern = text(layout, "filter 'numberFormat'")
    exact = numeric.to_decimal(value)
    if len(pattern) > 100 or not exact.is_finite() or abs(exact.adjusted()) > 400:
        raise ExpressionError("The filter 'numberFormat' cannot format that")
    result: str = format_decimal(Decimal(exact), format=pattern, locale="en_US")
    context.budget.chars(len(result))
    return result


@expression_filter("className", nulls=True)
def class_name(context: Evaluation, value: Any) -> str:
    """Return the Java class the value has in Kestra."""
    del context
    return values.class_name(value)


@expression_filter("default", "default", lazy=True)
def default(context: Evaluation, value: operators.Thunk, instead: Any) -> Any:
    """Return *instead* when the value is missing, null, blank or empty."""
    found = operators.attempt(context, value)
    return instead if found is operators.ABSENT or values.is_blank(found) else found


@expression_filter("first")
def first(context: Evaluation, value: Any) -> Any:
    """Return the first item, or the first character; null of nothing."""
    del context
    return next(iter(_items(value, "first")), None)


@expression_filter("last")
def last(context: Evaluation, value: Any) -> Any:
    """Return the last item, or the last character; null of nothing."""
    del context
    items = _items(value, "last")
    if not len(items):
        return None
    return items[-1] if isinstance(items, list | str) else list(items)[-1]


def _items(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, str) or values.is_list(value):
        return value
    raise ExpressionError(f"The filter '{name}' needs a list or a text, not {values.class_name(value)}")


@expression_filter("length", nulls=True)
def length(context: Evaluation, value: Any) -> int:
    """Return how many items, entries or characters there are; of null 0."""
    del context
    if value is None:
        return 0
    if isinstance(value, str | bytes | Mapping) or values.is_list(value):
        return len(value)
    raise ExpressionError(f"The filter 'length' needs a list, a map or a text, not {values.class_name(value)}")


@expression_filter("join", "separator")
def join(context: Evaluation, value: Any, separator: Any = "") -> str:
    """Return the texts of the items with *separator* between them."""
    between = values.text_of(separator, context.budget)
    pieces: list[str] = []
    total = 0
    for item in listing(value, "filter 'join'"):
        context.budget.step()
        piece = values.text_of(item, context.budget)
        total += len(piece) + len(between)
        context.budget.chars(total - len(between))
        pieces.append(piece)
    return between.join(pieces)


@expression_filter("reverse")
def reverse(context: Evaluation, value: Any) -> Any:
    """Return the list backwards."""
    if isinstance(value, str):
        context.budget.chars(len(value))
        return value[::-1]
    items = listing(value, "filter 'reverse'")
    context.budget.items(len(items))
    return list(items)[::-1]


@expression_filter("sort")
def sort(context: Evaluation, value: Any) -> list[Any]:
    """Return the list in ascending order."""
    return _sorted(context, value, "sort")


@expression_filter("rsort")
def rsort(context: Evaluation, value: Any) -> list[Any]:
    """Return the list in descending order."""
    return _sorted(context, value, "rsort")[::-1]


def _sorted(context: Evaluation, value: Any, name: str) -> list[Any]:
    items = listing(value, f"filter '{name}'")
    context.budget.items(len(items) * 4)

    def order(left: Any, right: Any) -> int:
        context.budget.step()
        return values.compare(left, right)

    return sorted(items, key=functools.cmp_to_key(order))


@expression_filter("slice", "fromIndex toIndex")
def cut(context: Evaluation, value: Any, start: Any = 0, end: Any = None) -> Any:
    """Return the part from one index to before another, of a list or a text."""
    items = value if isinstance(value, str) else listing(value, "filter 'slice'")
    size = len(items)
    begin = integer(start, "filter 'slice'")
    stop = size if end is None else integer(end, "filter 'slice'")
    if not 0 <= begin <= size or not 0 <= stop <= size or begin > stop:
        raise ExpressionError(f"The filter 'slice' has no part from {begin} to {stop} in {size} items")
    if isinstance(items, str):
        context.budget.chars(stop - begin)
        return items[begin:stop]
    context.budget.items(stop - begin)
    return list(items)[begin:stop]


@expression_filter("merge", "items")
def merge(context: Evaluation, value: Any, other: Any) -> Any:
    """Return two lists as one, or two maps as one in which the second wins."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        context.budget.items(len(value) + len(other))
        return {**value, **other}
    if not values.is_list(value) or not values.is_list(other):
        raise ExpressionError(
            f"The filter 'merge' needs two lists or two maps, not {values.class_name(value)} and "
            f"{values.class_name(other)}"
        )
    context.budget.items(len(value) + len(other))
    return [*value, *other]


@expression_filter("chunk", "size")
def chunk(context: Evaluation, value: Any, size: Any) -> list[list[Any]]:
    """Return the list cut into lists of *size* items."""
    items = list(listing(value, "filter 'chunk'"))
    width = integer(size, "filter 'chunk'")
    if width < 1:
        raise ExpressionError("The filter 'chunk' needs a size of at least 1")
    context.budget.items(len(items))
    return [items[start : start + width] for start in range(0, len(items), width)]


@expression_filter("flatten")
def flatten(context: Evaluation, value: Any) -> list[Any]:
    """Return the items of the items: one level less."""
    flat: list[Any] = []
    for item in listing(value, "filter 'flatten'"):
        more = item if values.is_list(item) else [item]
        context.budget.items(len(flat) + len(more) if len(flat) + len(more) > 1000 else len(more))
        flat += more
    return flat


@expression_filter("distinct")
def distinct(context: Evaluation, value: Any) -> list[Any]:
    """Return each different item once, in the order in which they first stand."""
    items = listing(value, "filter 'distinct'")
    context.budget.items(len(items))
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(_identity(context, item), item)
    return list(found.values())


def _identity(context: Evaluation, item: Any) -> Any:
    """Return a key that is equal for equal items; a boolean is not the number that Python takes it for."""
    if isinstance(item, Mapping) or values.is_list(item):
        return (list, values.json_text(item, context.budget))
    if numeric.is_number(item):
        return (int, numeric.to_decimal(item))
    return (type(item), item)


@expression_filter("keys")
def keys(context: Evaluation, value: Any) -> list[Any]:
    """Return the keys of a map, or the indices of a list."""
    if isinstance(value, Mapping):
        context.budget.items(len(value))
        return list(value)
    return list(range(len(listing(value, "filter 'keys'"))))


@expression_filter("values")
def map_values(context: Evaluation, value: Any) -> list[Any]:
    """Return the values of a map."""
    if not isinstance(value, Mapping):
        raise ExpressionError(f"The filter 'values' needs a map, not {values.class_name(value)}")
    context.budget.items(len(value))
    return [value[key] for key in value]
