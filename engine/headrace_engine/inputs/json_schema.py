"""JSON Schema (draft 2020-12) for JSON inputs, without I/O and without regular expressions that can hang.

The libraries for it match `pattern` with Python's `re` and may fetch remote references; a flow's schema must do
neither on a shared engine. Annotations are ignored, as the draft says; a keyword that would constrain the value and
is not known here is refused, never skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from headrace_engine.model.frozen import dataclass

_DEEPEST = 100
_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "$anchor", "definitions", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType", "contentSchema"}
    | {"then", "else", "minContains", "maxContains"}
)
"""What says nothing about a value by itself."""
_MOST_CHECKS = 1_000_000
"""Schemas that are tried on values; without it a schema of `anyOf`s that refer to each other could go on for ever."""


class _Violated(Exception):  # noqa: N818 - what a schema says about a value; always caught here
    pass


class _Unusable(Exception):  # noqa: N818 - what is wrong with the schema itself; `not` and `anyOf` must not hide it
    pass


def violation(value: Any, schema: Any) -> str | None:
    """Return what is wrong with *value*, JSON data, by *schema*, or None when it is valid."""
    try:
        _Check(schema).check(value, schema, "", 0)
    except (_Violated, _Unusable) as wrong:
        return str(wrong)
    except (TypeError, AttributeError, ArithmeticError, RecursionError):  # `required: 5`, `multipleOf: 0`
        return "its JSON Schema is not valid"
    return None


@dataclass(slots=True)
class _Check:
    root: Any
    left: int = _MOST_CHECKS

    def check(self, value: Any, schema: Any, path: str, depth: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Unusable(f"it takes more than {_MOST_CHECKS} checks")
        if depth > _DEEPEST:
            raise _Unusable(f"its JSON Schema refers to itself more than {_DEEPEST} deep")
        if isinstance(schema, bool):
            if not schema:
                raise _Violated(f"{_place(path)} is not allowed")
            return
        if not isinstance(schema, Mapping):
            raise _Unusable("its JSON Schema holds a schema that is no map")
        for keyword, rule in schema.items():
            if keyword in _ANNOTATIONS:
                continue
            look = _KEYWORDS.get(keyword)
            if look is None:
                raise _Unusable(f"its JSON Schema has the keyword `{keyword}`, which is not supported")
            look(_Place(self, value, schema, path, depth), rule)

    def resolve(self, reference: Any) -> Any:
        """Return what a reference inside the same schema points to."""
        if reference == "#":
            return self.root
        target = self.root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _Unusable(f"its JSON Schema refers to `{reference}`; only `#/…` is supported")
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key)] if isinstance(target, list) else target[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise _Unusable(f"its JSON Schema refers to `{reference}`, which it does not have") from None
        return target


@dataclass(frozen=True, slots=True)
class _Place:
    """A value, the schema it is checked by, and where it stands."""

    checker: _Check
    value: Any
    schema: Mapping[str, Any]
    path: str
    depth: int

    def fail(self, what: str) -> _Violated:
        return _Violated(f"{_place(self.path)} {what}")

    def inner(self, value: Any, schema: Any, key: str | int) -> None:
        self.checker.check(value, schema, f"{self.path}/{key}", self.depth + 1)

    def here(self, schema: Any) -> None:
        self.checker.check(self.value, schema, self.path, self.depth + 1)

    def fits(self, schema: Any) -> bool:
        try:
            self.here(schema)
        except _Violated:
            return False
        return True


def _place(path: str) -> str:
    return f"`{path}`" if path else "the value"


_Look = Callable[[_Place, Any], None]
_KEYWORDS: dict[str, _Look] = {}


def _keyword(name: str) -> Callable[[_Look], _Look]:
    def register(look: _Look) -> _Look:
        _KEYWORDS[name] = look
        return look

    return register


# -- any value ------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value == math.floor(value),
}


@_keyword("type")
def _type(place: _Place, rule: Any) -> None:
    names = rule if isinstance(rule, list) else [rule]
    if not any(name in _TYPES and _TYPES[name](place.value) for name in names):
        raise place.fail("must be of type " + " or ".join(f"`{name}`" for name in names))


@_keyword("enum")
def _enum(place: _Place, rule: Any) -> None:
    if _canonical(place.value) not in map(_canonical, rule):
        raise place.fail(f"must be one of {_canonical(rule)}")


@_keyword("const")
def _const(place: _Place, rule: Any) -> None:
    if _canonical(place.value) != _canonical(rule):
        raise place.fail(f"must be {_canonical(rule)}")


def _canonical(value: Any) -> str:
    """Return a text that is the same for equal values: 1 and 1.0 are equal, the order of keys does not count."""
    return json.dumps(_normal(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return value


# -- schemas of schemas ---------------------------------------------------------------------------------------------


@_keyword("$ref")
def _ref(place: _Place, rule: Any) -> None:
    place.here(place.checker.resolve(rule))


@_keyword("allOf")
def _all_of(place: _Place, rule: Any) -> None:
    for schema in rule:
        place.here(schema)


@_keyword("anyOf")
def _any_of(place: _Place, rule: Any) -> None:
    if not any(place.fits(schema) for schema in rule):
        raise place.fail("fits none of the schemas in `anyOf`")


@_keyword("oneOf")
def _one_of(place: _Place, rule: Any) -> None:
    count = sum(place.fits(schema) for schema in rule)
    if count != 1:
        raise place.fail(f"must fit one of the schemas in `oneOf`, and fits {count}")


@_keyword("not")
def _not(place: _Place, rule: Any) -> None:
    if place.fits(rule):
        raise place.fail("fits the schema in `not`")


@_keyword("if")
def _if(place: _Place, rule: Any) -> None:
    place.here(place.schema.get("then" if place.fits(rule) else "else", True))


# -- numbers --------------------------------------------------------------------------------------------------------


def _number_rule(name: str, says: str, holds: Callable[[Any, Any], bool]) -> None:
    def look(place: _Place, rule: Any) -> None:
        if _is_number(place.value) and not holds(place.value, rule):
            raise place.fail(f"must be {says} {rule}")

    _KEYWORDS[name] = look


def _is_multiple(value: float, of: float) -> bool:
    quotient = value / of
    return math.isfinite(quotient) and math.isclose(quotient, round(quotient), rel_tol=1e-12, abs_tol=1e-12)


_number_rule("minimum", "at least", lambda value, rule: value >= rule)
_number_rule("maximum", "at most", lambda value, rule: value <= rule)
_number_rule("exclusiveMinimum", "greater than", lambda value, rule: value > rule)
_number_rule("exclusiveMaximum", "less than", lambda value, rule: value < rule)
_number_rule("multipleOf", "a multiple of", _is_multiple)


# -- texts ----------------------------------------------------------------------------------------------------------


def _size_rule(name: str, kind: Any, says: str, holds: Callable[[int, int], bool]) -> None:
    def look(place: _Place, rule: Any) -> None:
        if isinstance(place.value, kind) and not holds(len(place.value), rule):
            raise place.fail(f"must have {says.format(rule)}")

    _KEYWORDS[name] = look


for _kind, _least, _most, _noun in (
    (str, "minLength", "maxLength", "characters"),
    (list, "minItems", "maxItems", "items"),
    (dict, "minProperties", "maxProperties", "properties"),
):
    _size_rule(_least, _kind, f"at least {{}} {_noun}", lambda size, rule: size >= rule)
    _size_rule(_most, _kind, f"at most {{}} {_noun}", lambda size, rule: size <= rule)


@_keyword("pattern")
def _pattern(place: _Place, rule: Any) -> None:
    if isinstance(place.value, str) and _compiled(rule).search(place.value) is None:
        raise place.fail(f"must match the pattern `{rule}`")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import re2  # noqa: PLC0415 - a C library that most flows never need

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise _Unusable(f"its JSON Schema has the pattern `{pattern}`, which is not supported") from None


# -- lists ----------------------------------------------------------------------------------------------------------


@_keyword("prefixItems")
def _prefix_items(place: _Place, rule: Any) -> None:
    if isinstance(place.value, list):
        for index, (item, schema) in enumerate(zip(place.value, rule, strict=False)):
            place.inner(item, schema, index)


@_keyword("items")
def _items(place: _Place, rule: Any) -> None:
    if isinstance(place.value, list):
        first = len(place.schema.get("prefixItems", ()))
        for index in range(first, len(place.value)):
            place.inner(place.value[index], rule, index)


@_keyword("contains")
def _contains(place: _Place, rule: Any) -> None:
    if isinstance(place.value, list):
        count = sum(_Place(place.checker, item, {}, place.path, place.depth).fits(rule) for item in place.value)
        least, most = place.schema.get("minContains", 1), place.schema.get("maxContains", math.inf)
        if not least <= count <= most:
            raise place.fail(f"has {count} items that fit the schema in `contains`")


@_keyword("uniqueItems")
def _unique_items(place: _Place, rule: Any) -> None:
    if rule and isinstance(place.value, list) and len({_canonical(item) for item in place.value}) < len(place.value):
        raise place.fail("must not hold an item twice")


# -- maps -----------------------------------------------------------------------------------------------------------


def _entries(place: _Place) -> Iterator[tuple[str, Any]]:
    return iter(place.value.items() if isinstance(place.value, dict) else ())


@_keyword("required")
def _required(place: _Place, rule: Any) -> None:
    missing = [name for name in rule if isinstance(place.value, dict) and name not in place.value]
    if missing:
        raise place.fail("must have " + ", ".join(f"`{name}`" for name in missing))


@_keyword("properties")
def _properties(place: _Place, rule: Any) -> None:
    for name, item in _entries(place):
        if name in rule:
            place.inner(item, rule[name], name)


@_keyword("patternProperties")
def _pattern_properties(place: _Place, rule: Any) -> None:
    for name, item in _entries(place):
        for pattern, schema in rule.items():
            if _compiled(pattern).search(name):
                place.inner(item, schema, name)


@_keyword("additionalProperties")
def _additional_properties(place: _Place, rule: Any) -> None:
    patterns = [_compiled(pattern) for pattern in place.schema.get("patternProperties", ())]
    for name, item in _entries(place):
        if name not in place.schema.get("properties", ()) and not any(pattern.search(name) for pattern in patterns):
            place.inner(item, rule, name)


@_keyword("propertyNames")
def _property_names(place: _Place, rule: Any) -> None:
    for name, _ in _entries(place):
        place.inner(name, rule, name)


@_keyword("dependentRequired")
def _dependent_required(place: _Place, rule: Any) -> None:
    for name, _ in _entries(place):
        _required(place, rule.get(name, ()))


@_keyword("dependentSchemas")
def _dependent_schemas(place: _Place, rule: Any) -> None:
    for name, _ in _entries(place):
        place.here(rule.get(name, True))
