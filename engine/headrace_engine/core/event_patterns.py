"""EventBridge's event patterns: whether one is well-formed, and whether an event matches it.

A pattern has the shape of the events it wants: maps down to lists of what a value may be. A field that is a list in
the event matches when one of its items does; the fields of one map in a list must match together. What is not in the
event matches nothing but ``{"exists": false}``. Plain numbers are compared as they are written (300 is not 300.0).
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

OPERATORS = ("prefix", "suffix", "anything-but", "numeric", "exists", "cidr", "equals-ignore-case", "wildcard")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "=": lambda value, wanted: value == wanted,
    "<": lambda value, wanted: value < wanted,
    "<=": lambda value, wanted: value <= wanted,
    ">": lambda value, wanted: value > wanted,
    ">=": lambda value, wanted: value >= wanted,
}
_LARGEST = 5e9
_OR = "$or"
_IGNORE_CASE = "equals-ignore-case"


class PatternError(ValueError):
    """The pattern is none; path says where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


# -- Whether it is one ------------------------------------------------------------------------------


def check_pattern(pattern: Any) -> None:
    """Raise PatternError for what EventBridge would not take."""
    _check_map(pattern, "")


def _check_map(pattern: Any, path: str) -> None:
    if not isinstance(pattern, Mapping):
        raise PatternError(path, "a pattern is a map of names to lists of values, or to such maps")
    if not pattern:
        raise PatternError(path, "an empty map matches nothing")
    for name, below in pattern.items():
        place = f"{path}.{name}" if path else str(name)
        if name == _OR:
            _check_or(below, place)
        elif isinstance(below, Mapping):
            _check_map(below, place)
        elif isinstance(below, list) and below:
            for item in below:
                _check_value(item, place)
        else:
            raise PatternError(place, "the values that match stand in a list of one or more")


def _check_or(below: Any, path: str) -> None:
    if not isinstance(below, list) or len(below) < 2:
        raise PatternError(path, "`$or` is a list of two or more maps")
    for item in below:
        _check_map(item, path)


def _check_value(value: Any, path: str) -> None:
    if isinstance(value, list):
        raise PatternError(path, "a list of values holds no lists")
    if not isinstance(value, Mapping):
        return
    if len(value) != 1:
        raise PatternError(path, "a comparison is a map with one operator")
    ((operator, wanted),) = value.items()
    if operator not in OPERATORS:
        raise PatternError(path, f"there is no operator `{operator}`; use {', '.join(OPERATORS)}")
    _CHECKS[operator](wanted, path)


def _check_text(wanted: Any, path: str) -> None:
    if not isinstance(wanted, str):
        raise PatternError(path, "this operator compares with a text")


def _check_ends(wanted: Any, path: str) -> None:
    if isinstance(wanted, Mapping):
        if set(wanted) != {_IGNORE_CASE}:
            raise PatternError(path, f"within `prefix` and `suffix` there is `{_IGNORE_CASE}` only")
        wanted = wanted[_IGNORE_CASE]
    _check_text(wanted, path)


def _check_wildcard(wanted: Any, path: str) -> None:
    _check_text(wanted, path)
    pieces = _pieces(wanted, path)
    if "" in pieces[1:-1]:
        raise PatternError(path, "two `*` must not stand side by side")


def _check_exists(wanted: Any, path: str) -> None:
    if not isinstance(wanted, bool):
        raise PatternError(path, "`exists` is true or false")


def _check_cidr(wanted: Any, path: str) -> None:
    _check_text(wanted, path)
    if "/" not in wanted or _network(wanted) is None:
        raise PatternError(path, f"`{wanted}` is no range of addresses, such as 10.0.0.0/24")


def _check_numeric(wanted: Any, path: str) -> None:
    right = (
        isinstance(wanted, list)
        and len(wanted) in (2, 4)
        and all(each in _COMPARISONS for each in wanted[::2] if isinstance(each, str))
        and all(isinstance(each, str) for each in wanted[::2])
        and all(_is_number(each) and abs(each) <= _LARGEST for each in wanted[1::2])
    )
    if not right:
        raise PatternError(path, '`numeric` is such as [">", 0, "<=", 5]; numbers go from -5e9 to 5e9')
    if len(wanted) == 4 and not (wanted[0][0] == ">" and wanted[2][0] == "<" and wanted[1] < wanted[3]):
        raise PatternError(path, "a range has its lower end first, and its upper end above that")


def _check_anything_but(wanted: Any, path: str) -> None:
    if isinstance(wanted, Mapping):
        if len(wanted) != 1 or not set(wanted) <= set(_BUT):
            raise PatternError(path, f"within `anything-but` there is one of {', '.join(_BUT)}")
        ((operator, inner),) = wanted.items()
        for each in _listed(inner, path):
            _check_text(each, path)
            if operator == "wildcard":
                _check_wildcard(each, path)
        return
    values = _listed(wanted, path)
    if not (all(isinstance(each, str) for each in values) or all(_is_number(each) for each in values)):
        raise PatternError(path, "`anything-but` names texts, or numbers, not both")


def _listed(wanted: Any, path: str) -> Sequence[Any]:
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values:
        raise PatternError(path, "the list is empty")
    return values


_CHECKS: Mapping[str, Callable[[Any, str], None]] = {
    "prefix": _check_ends,
    "suffix": _check_ends,
    "anything-but": _check_anything_but,
    "numeric": _check_numeric,
    "exists": _check_exists,
    "cidr": _check_cidr,
    _IGNORE_CASE: _check_text,
    "wildcard": _check_wildcard,
}


# -- Whether an event matches -----------------------------------------------------------------------


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Return whether *event* matches *pattern*, which check_pattern let pass."""
    for name, below in pattern.items():
        if name == _OR:
            if not any(matches(each, event) for each in below):
                return False
        elif isinstance(below, Mapping):
            if not any(matches(below, each) for each in _maps(event.get(name))):
                return False
        elif not _is_one_of(list(_leaves(event.get(name, _ABSENT))), below):
            return False
    return True


_ABSENT: list[Any] = []
_NOTHING: Mapping[str, Any] = {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    """Return the maps that *value* is or holds; an empty one without any, in which everything is absent."""
    found: list[Mapping[str, Any]] = [each for each in _flat(value) if isinstance(each, Mapping)]
    return found or [_NOTHING]


def _leaves(value: Any) -> Iterator[Any]:
    for each in _flat(value):
        if not isinstance(each, Mapping):
            yield each


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _is_one_of(found: Sequence[Any], wanted: Sequence[Any]) -> bool:
    for each in wanted:
        if isinstance(each, Mapping) and "exists" in each:
            if bool(found) is each["exists"]:
                return True
        elif any(_fits(value, each) for value in found):
            return True
    return False


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        ((operator, inner),) = wanted.items()
        return _TESTS[operator](value, inner)
    return _is_same(value, wanted)


def _is_same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and value == wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _prefix(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, str) and value.lower().startswith(wanted[_IGNORE_CASE].lower())
    return isinstance(value, str) and value.startswith(wanted)


def _suffix(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, str) and value.lower().endswith(wanted[_IGNORE_CASE].lower())
    return isinstance(value, str) and value.endswith(wanted)


def _same_but_case(value: Any, wanted: str) -> bool:
    return isinstance(value, str) and value.lower() == wanted.lower()


def _numeric(value: Any, wanted: Sequence[Any]) -> bool:
    return _is_number(value) and all(
        _COMPARISONS[comparison](value, number) for comparison, number in zip(wanted[::2], wanted[1::2], strict=True)
    )


def _cidr(value: Any, wanted: str) -> bool:
    network = _network(wanted)
    if not isinstance(value, str) or network is None:
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _wildcard(value: Any, wanted: str) -> bool:
    """Match in one pass: a piece is taken where it first comes, which leaves the most for those after it."""
    if not isinstance(value, str):
        return False
    first, *rest = _pieces(wanted, "")
    if not rest:
        return value == first
    *middle, last = rest
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in middle:
        place = value.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def _pieces(wanted: str, path: str) -> list[str]:
    r"""Return what stands between the `*`; `\*` and `\\` stand for themselves. Raises PatternError."""
    pieces, escaped = [""], False
    for character in wanted:
        if escaped:
            if character not in "*\\":
                raise PatternError(path, "after a backslash there is `*` or another backslash")
            pieces[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "*":
            pieces.append("")
        else:
            pieces[-1] += character
    if escaped:
        raise PatternError(path, "after a backslash there is `*` or another backslash")
    return pieces


def _anything_but(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        ((operator, inner),) = wanted.items()
        return not any(_BUT[operator](value, each) for each in _listed(inner, ""))
    return not any(_is_same(value, each) for each in _listed(wanted, ""))


_BUT: Mapping[str, Callable[[Any, Any], bool]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    _IGNORE_CASE: _same_but_case,
    "wildcard": _wildcard,
}
_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    **_BUT,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
