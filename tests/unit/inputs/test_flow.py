"""Inputs from a flow's YAML, through the language package, to what expressions see."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from headrace_engine.inputs import InputError
from headrace_engine.language import parse_flow
from unit.inputs.support import read, refusal, typed

FLOW = parse_flow("""
id: inputs
namespace: demo
inputs:
  - {id: string, type: STRING, defaults: "Hallo von Kestra"}
  - {id: optional, type: STRING, required: false}
  - {id: int, type: INT, defaults: 100, min: 1, max: 200}
  - {id: ints, type: ARRAY, itemType: INT, defaults: [1, 2, 3]}
  - {id: bool, type: BOOL}
  - {id: float, type: FLOAT, defaults: 100.12, min: 0.2}
  - {id: one, type: SELECT, defaults: A, values: [A, B]}
  - {id: many, type: MULTISELECT, values: [A, B]}
  - {id: instant, type: DATETIME, defaults: "2013-08-09T14:19:00Z", after: "2013-08-09T14:19:00", before: "2014-01-01"}
  - {id: date, type: DATE, defaults: 2013-10-25, after: 2013-10-25}
  - {id: time, type: TIME, defaults: "14:19:00", before: "15:00"}
  - {id: duration, type: DURATION, defaults: PT5M6S, min: PT5M6S, max: PT12H}
  - {id: file, type: FILE, defaults: "nsfile:///hello.txt", allowedFileExtensions: [".md", ".txt"]}
  - {id: json, type: JSON, jsonSchema: {items: {required: [name]}}, defaults: '[{"name": "kestra"}]'}
  - {id: uri, type: URI, defaults: "kestra:///demo/orders.csv"}
  - {id: secret, type: SECRET, validator: "[a-z]+"}
  - {id: yaml, type: YAML, defaults: [{user: john}]}
  - {id: nested.string, type: STRING, defaults: "Hello"}
  - id: later
    type: STRING
    defaults: "{{ inputs.string }}, {{ 1 }}"
    dependsOn: {inputs: [string], condition: "{{ inputs.string == 'Hallo von Kestra' }}"}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.string }}"}
""")


def test_the_inputs_of_a_flow() -> None:
    seen = typed(FLOW.inputs, read(FLOW.inputs, {"many": '["B"]', "secret": "abc"}))
    assert seen == {
        "string": "Hallo von Kestra",
        "optional": None,
        "int": 100,
        "ints": [1, 2, 3],
        "bool": False,
        "float": 100.12,
        "one": "A",
        "many": ["B"],
        "instant": datetime(2013, 8, 9, 14, 19, tzinfo=UTC),
        "date": date(2013, 10, 25),
        "time": time(14, 19),
        "duration": timedelta(minutes=5, seconds=6),
        "file": "nsfile:///hello.txt",
        "json": [{"name": "kestra"}],
        "uri": "kestra:///demo/orders.csv",
        "secret": "abc",
        "yaml": [{"user": "john"}],
        "nested": {"string": "Hello"},
        "later": "Hallo von Kestra, 1",
    }


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("int", "201", "it must be at most `200`"),
        ("float", "0.1", "it must be at least `0.2`"),
        ("instant", "2013-08-09T14:18:59Z", "it must not be before `2013-08-09T14:19:00Z`"),
        ("instant", "2014-01-01T00:00:01Z", "it must not be after `2014-01-01T00:00:00Z`"),
        ("date", "2013-10-24", "it must not be before `2013-10-25`"),
        ("time", "15:01", "it must not be after `15:00:00`"),
        ("duration", "PT13H", "it must be at most `PT12H`"),
        ("json", "[{}]", "it must satisfy its JSON Schema (`/0` must have `name`)"),
        ("one", "C", "it must be one of `A`, `B`"),
    ],
)
def test_its_bounds_hold(name: str, given: str, reason: str) -> None:
    message = refusal(FLOW.inputs, {"many": ["A"], "secret": "abc", name: given})
    assert message == f"Invalid input for `{name}`, {reason}, but received `{given}`"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputError) as refused:
        read(FLOW.inputs, {})
    assert [problem.input_id for problem in refused.value.problems] == ["many", "secret"]
