"""What holds for any value anybody may give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace_engine.inputs import InputError
from headrace_engine.model.definition import InputDefinition
from unit.inputs.support import define, read, typed, validate

TYPES = (
    ["STRING", "INT", "FLOAT", "BOOLEAN", "BOOL", "DATETIME", "DATE", "TIME", "DURATION", "FILE", "JSON", "YAML", "URI", "SECRET", "ENUM", "SELECT", "MULTISELECT", "ARRAY", "EMAIL"]
)  # fmt: skip
ITEMS = [kind for kind in TYPES if kind != "ARRAY"]

ZONES = st.timezones() | st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-1439, 1439))
LOOKALIKES = st.sampled_from(
    [
        "true",
        "1",
        "-0",
        "1e308",
        "1e400",
        "2024-02-29",
        "0000-01-01",
        "9999-12-31T23:59:59.999999999-18:00",
        "2024-02-30T00:00:00Z",
        "10:15",
        "24:00",
        "PT5M",
        "P999999999D",
        "PT-0.0000001S",
        "kestra:///a",
        "nsfile:///a/b",
        "[1, null]",
        '{"type": "io.kestra.datatype:aes_encrypted", "value": "x"}',
        "{{ 1 }}",
        "a@example.com",
        "\ud800",
        "\x00",
        "!!python/object:os.system x",
        "&a [*a]",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.decimals()
    | st.text(st.characters())
    | LOOKALIKES
    | st.binary(max_size=5)
    | st.datetimes()
    | st.datetimes(timezones=ZONES)
    | st.dates()
    | st.times()
    | st.times(timezones=st.just(UTC))
    | st.timedeltas()
    | st.builds(Path, st.sampled_from(["nowhere", "/", "..", "a\x00b"]))
    | st.just(object())
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.none() | st.booleans() | st.tuples(), inner, max_size=4)
        | st.lists(inner, max_size=4).map(lambda items: json.dumps(items, default=str, skipkeys=True))
    ),
    max_leaves=8,
)


def definitions(kind: str) -> tuple[InputDefinition, ...]:
    options: dict[str, Any] = {}
    if kind in ("SELECT", "MULTISELECT"):
        options["allowCustomValue"] = True
    if kind in ("ENUM", "SELECT", "MULTISELECT"):
        options["values"] = ["true", "1", "a"]
    if kind == "ARRAY":
        return tuple(define(kind, f"items.{item}", required=False, itemType=item) for item in ITEMS)
    return (define(kind, "x", required=False, **options),)


@pytest.mark.parametrize("kind", TYPES)
@given(value=VALUES)
@example(value={"a": [{"type": "io.headrace.sealed", "value": "x"}]})
@example(value=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(value=timedelta.min)
@example(value=timedelta.max)
def test_any_value_is_taken_or_refused_in_words(kind: str, value: Any) -> None:
    for definition in definitions(kind):
        given_values = {definition.id: value}
        try:
            stored = read([definition], given_values)
        except InputError as refused:
            [problem] = refused.problems
            assert problem.message.startswith(f"Invalid input for `{definition.id}`, ")
            assert problem.message.endswith("`")
            problem.message.encode()
            assert validate([definition], given_values)[0]["errors"] == [{"message": problem.message}]
            continue
        # It is JSON, for every reader and writer of JSON there is here.
        assert repr(json.loads(json.dumps(stored, allow_nan=False))) == repr(stored)
        assert repr(msgspec.json.decode(msgspec.json.encode(stored))) == repr(stored)
        seen = typed((definition,), stored)
        value_seen = seen["items"][definition.id.removeprefix("items.")] if kind == "ARRAY" else seen["x"]
        if {"JSON", "YAML"} & {kind, definition.options.get("itemType")}:  # texts in it are values now, not documents
            assert value_seen == stored[definition.id]
            continue
        # What is seen can be given again (to a child execution, say), and means the same.
        again = read([definition], {definition.id: value_seen})
        assert typed((definition,), again) == seen
        if "SECRET" not in (kind, definition.options.get("itemType")):
            assert repr(again) == repr(stored)


def _problems(some: Sequence[InputDefinition], values: Mapping[str, Any]) -> list[str]:
    try:
        read(some, values)
    except InputError as refused:
        return [problem.message for problem in refused.problems]
    return []


@given(values=st.dictionaries(st.sampled_from([*TYPES, "more"]), VALUES))
def test_inputs_are_taken_or_refused_together(values: dict[str, Any]) -> None:
    every = tuple(define(kind, kind, required=False, itemType="INT") for kind in TYPES)
    alone = {definition.id: _problems([definition], values) for definition in every}
    problems = _problems(every, values)
    assert problems == [problem for definition in every for problem in alone[definition.id]]
    if problems:
        return
    stored = read(every, values)
    assert stored.keys() == set(TYPES)
    assert set(typed(every, stored)) == set(TYPES)


@given(flat=st.dictionaries(st.text(st.sampled_from("ab."), min_size=1, max_size=5), st.integers()))
def test_no_stored_input_is_lost_on_the_way_to_expressions(flat: dict[str, int]) -> None:
    def leaves(node: Any) -> list[int]:
        return [node] if isinstance(node, int) else [leaf for inner in node.values() for leaf in leaves(inner)]

    assert sorted(leaves(typed((), flat))) == sorted(flat.values())
