"""What expressions see of stored inputs."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from headrace_engine.inputs import nested, typed_inputs
from headrace_engine.sealing import seal_text
from unit.inputs.support import CIPHER, define, read, render, typed, unseal


def test_trap_18_missing_inputs_have_their_declared_defaults() -> None:
    definitions = (
        define("DATE", "day", defaults="2024-01-02"),
        define("ARRAY", "list", itemType="INT", defaults=["1", 2]),
        define("STRING", "a.b", defaults="x"),
        define("SECRET", "token", defaults="s3cr3t"),
        define("STRING", "rendered", defaults="{{ flow.id }}"),
        define("STRING", "required"),
    )
    seen = typed(definitions, {})
    assert seen == {"day": date(2024, 1, 2), "list": [1, 2], "a": {"b": "x"}, "token": "s3cr3t"}
    assert typed(definitions, {"day": "2024-02-29", "required": None})["day"] == date(2024, 2, 29)
    assert typed(definitions, {"day": None})["day"] is None


def test_trap_18_what_was_never_validated_is_seen_as_it_is() -> None:
    definitions = (
        define("DATE", "day"),
        define("INT", "nr"),
        define("SECRET", "token"),
        define("ARRAY", "list", itemType="DATE"),
    )
    stored = {"day": "tomorrow", "nr": "five", "token": "plain", "list": "none", "undeclared": 1}
    assert typed(definitions, stored) == stored


def test_trap_18_a_default_that_does_not_fit_is_seen_as_it_is() -> None:
    assert typed((define("INT", defaults="five"),), {}) == {"x": "five"}
    assert typed((define("INT", defaults=None),), {}) == {"x": None}


def test_a_secret_is_opened_once_and_only_when_it_is_asked_for() -> None:
    opened: list[Any] = []

    def unseal_and_tell(sealed: Any) -> Any:
        opened.append(sealed)
        return unseal(sealed)

    definitions = (define("SECRET", "deep.token"), define("STRING", "name"))
    stored = read(definitions, {"deep.token": "s3cr3t", "name": "x"})
    seen = typed_inputs(definitions, stored, unseal=unseal_and_tell)
    assert render("{{ inputs.name ~ (inputs.deep is defined) }}", {"inputs": seen}) == "xtrue"
    assert "name" in seen
    assert "token" in seen["deep"]
    assert len(seen) == 2
    assert opened == []
    assert render("{{ inputs.deep.token }}", {"inputs": seen}) == "s3cr3t"
    assert seen["deep"]["token"] == "s3cr3t"
    assert len(opened) == 1


def test_inputs_print_as_json() -> None:
    definitions = (define("DATE", "a.day"), define("INT", "nr"))
    seen = typed(definitions, read(definitions, {"a.day": "2024-01-02", "nr": 1}))
    assert render("{{ inputs }}!{% if false %}{% endif %}", {"inputs": seen}) == '{"a":{"day":"2024-01-02"},"nr":1}!'


def test_a_missing_input_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        typed((define("STRING"),), {})["x"]


def test_definitions_in_a_list_are_not_remembered() -> None:
    definitions = [define("INT", defaults=1)]
    assert typed(definitions, {}) == {"x": 1}
    definitions[0] = define("INT", defaults=2)
    assert typed(definitions, {}) == {"x": 2}


def test_flows_with_equal_inputs_do_not_mix() -> None:
    for number in range(600):
        assert typed((define("INT", defaults=number),), {}) == {"x": number}


@pytest.mark.parametrize(
    ("flat", "expected"),
    [
        ({}, {}),
        ({"a": 1, "b.c": 2, "b.d": 3}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1, "a.b": 2}, {"a": 1, "a.b": 2}),
        ({"a.b": 2, "a": 1}, {"a.b": 2, "a": 1}),
        ({"a": {"x": 0}, "a.b": 2}, {"a": {"x": 0}, "a.b": 2}),
    ],
)
def test_nested(flat: dict[str, Any], expected: dict[str, Any]) -> None:
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in flat.items()}
    assert nested(flat) == expected
    assert flat == before


@pytest.mark.parametrize(
    ("kind", "value"), [("STRING", "at s3cr3t"), ("JSON", {"key": ["s3cr3t"]}), ("DATE", "2024-01-02")]
)
def test_what_holds_a_secret_is_opened_as_what_it_was(kind: str, value: Any) -> None:
    stored = {"x": seal_text(value, {"s3cr3t"}, CIPHER)}
    assert typed((define(kind),), stored) == typed((define(kind),), {"x": value})
