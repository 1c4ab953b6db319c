"""JSON Schema for JSON inputs; the reference is the `jsonschema` library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from headrace_engine.inputs.json_schema import violation

TREE = {
    "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}},
    "$ref": "#/$defs/node",
}

VIOLATIONS: list[tuple[Any, Any, str]] = [
    ({"type": "string"}, 1, "the value must be of type `string`"),
    ({"type": ["string", "null"]}, 1, "the value must be of type `string` or `null`"),
    ({"type": "integer"}, 1.5, "the value must be of type `integer`"),
    ({"type": "number"}, True, "the value must be of type `number`"),
    ({"enum": [1, "a"]}, "b", 'the value must be one of [1,"a"]'),
    ({"const": {"a": 1}}, {"a": 2}, 'the value must be {"a":1}'),
    ({"required": ["a", "b"]}, {"a": 1}, "the value must have `b`"),
    ({"properties": {"a": {"items": {"minimum": 2}}}}, {"a": [2, 1]}, "`/a/1` must be at least 2"),
    ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1, "b": 2}, "`/b` is not allowed"),
    ({"patternProperties": {"^n": {"type": "number"}}, "additionalProperties": False}, {"n1": "x"}, "`/n1` must be of type `number`"),
    ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, "`/abc` must have at most 2 characters"),
    ({"minProperties": 1}, {}, "the value must have at least 1 properties"),
    ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "the value must have `b`"),
    ({"dependentSchemas": {"a": {"maxProperties": 1}}}, {"a": 1, "b": 1}, "the value must have at most 1 properties"),
    ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], "`/1` is not allowed"),
    ({"prefixItems": [{"type": "string"}]}, [1], "`/0` must be of type `string`"),
    ({"contains": {"const": 1}}, [2], "the value has 0 items that fit the schema in `contains`"),
    ({"contains": {"const": 1}, "maxContains": 1}, [1, 1.0], "the value has 2 items that fit the schema in `contains`"),
    ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], "the value must not hold an item twice"),
    ({"minItems": 1, "maxItems": 2}, [1, 2, 3], "the value must have at most 2 items"),
    ({"maximum": 5}, 6, "the value must be at most 5"),
    ({"exclusiveMinimum": 5}, 5, "the value must be greater than 5"),
    ({"exclusiveMaximum": 5}, 5.0, "the value must be less than 5"),
    ({"multipleOf": 0.1}, 0.35, "the value must be a multiple of 0.1"),
    ({"minLength": 2}, "a", "the value must have at least 2 characters"),
    ({"pattern": "^a+$"}, "b", "the value must match the pattern `^a+$`"),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 3, "the value must be at most 2"),
    ({"anyOf": [{"minimum": 5}, {"type": "string"}]}, 3, "the value fits none of the schemas in `anyOf`"),
    ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, "the value must fit one of the schemas in `oneOf`, and fits 2"),
    ({"not": {"type": "null"}}, None, "the value fits the schema in `not`"),
    ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}, 0, "the value must be at least 1"),
    ({"if": {"type": "string"}, "then": {"minLength": 1}}, "", "the value must have at least 1 characters"),
    (TREE, {"v": 1, "next": {"next": {"v": "x"}}}, "`/next/next/v` must be of type `integer`"),
    (False, 1, "the value is not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "wrong"), VIOLATIONS)
def test_a_value_that_violates_its_schema(schema: Any, value: Any, wrong: str) -> None:
    assert violation(value, schema) == wrong
    assert not Draft202012Validator(schema).is_valid(value)


UNUSABLE: list[tuple[Any, str]] = [
    (
        {"unevaluatedProperties": False},
        "its JSON Schema has the keyword `unevaluatedProperties`, which is not supported",
    ),
    ({"not": {"typo": 1}}, "its JSON Schema has the keyword `typo`, which is not supported"),
    (
        {"$ref": "https://json-schema.org/a"},
        "its JSON Schema refers to `https://json-schema.org/a`; only `#/…` is supported",
    ),
    ({"$ref": "#/$defs/a"}, "its JSON Schema refers to `#/$defs/a`, which it does not have"),
    ({"$ref": "#"}, "its JSON Schema refers to itself more than 100 deep"),
    ({"not": {"$ref": "#"}}, "its JSON Schema refers to itself more than 100 deep"),
    ({"allOf": [3]}, "its JSON Schema holds a schema that is no map"),
    ({"required": 5}, "its JSON Schema is not valid"),
    ({"properties": {"a": {"multipleOf": 0}}}, "its JSON Schema is not valid"),
    ({"propertyNames": {"pattern": "(?=a)"}}, "its JSON Schema has the pattern `(?=a)`, which is not supported"),
]


@pytest.mark.parametrize(("schema", "wrong"), UNUSABLE)
def test_a_schema_that_cannot_be_used_refuses_every_value(schema: Any, wrong: str) -> None:
    assert violation({"a": 1}, schema) == wrong


def test_a_schema_that_would_go_on_for_ever_is_stopped() -> None:
    doubled = {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}, "not": {"required": ["b"]}}
    value: Any = {"b": 1}
    for _ in range(30):
        value = {"a": value}
    assert violation(value, doubled) == "it takes more than 1000000 checks"


def test_annotations_are_ignored() -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "t", "format": "date", "default": 1}
    assert violation("x", schema) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, 2.5])
    | st.sampled_from(["", "a", "ab", "n1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "n1"]), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.booleans()
    | st.builds(lambda kind: {"type": kind}, st.sampled_from(["string", "integer", "number", "object", "array", "null"]))
    | st.builds(lambda values: {"enum": values}, st.lists(JSON, min_size=1, max_size=3))
    | st.builds(lambda key, size: {key: size}, st.sampled_from(["minLength", "maxItems", "minProperties", "maximum"]), st.integers(0, 2))
    | st.builds(lambda key, size: {key: size}, st.sampled_from(["exclusiveMinimum", "multipleOf"]), st.integers(1, 2))
    | st.builds(lambda names: {"required": names}, st.lists(st.sampled_from(["a", "b"]), unique=True))
    | st.just({"uniqueItems": True})
    | st.just({"pattern": "^a"}),
    lambda inner: (
        st.builds(lambda key, schemas: {key: schemas}, st.sampled_from(["allOf", "anyOf", "oneOf", "prefixItems"]), st.lists(inner, min_size=1, max_size=2))
        | st.builds(lambda key, schema: {key: schema}, st.sampled_from(["not", "items", "contains", "additionalProperties", "propertyNames"]), inner)
        | st.builds(lambda one, rest: {"properties": {"a": one}, "additionalProperties": rest}, inner, inner)
        | st.builds(lambda one, rest: {"patternProperties": {"^n": one}, "additionalProperties": rest}, inner, inner)
        | st.builds(lambda one, rest: {"prefixItems": [one], "items": rest}, inner, inner)
        | st.builds(lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner)
        | st.builds(lambda one, two: {"dependentSchemas": {"a": one, "b": two}}, inner, inner)
    ),
    max_leaves=5,
)  # fmt: skip


@given(SCHEMAS, JSON)
def test_it_agrees_with_the_library(schema: Any, value: Any) -> None:
    assert (violation(value, schema) is None) == Draft202012Validator(schema).is_valid(value)
