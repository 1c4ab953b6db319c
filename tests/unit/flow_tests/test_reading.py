"""What is wrong with a suite is told at its place, all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_engine.language import FlowError
from headrace_engine.testing.flow_tests import load
from headrace_engine.testing.flow_tests.reader import SuiteReader
from headrace_engine.testing.flow_tests.suite import Assertion, Case, Suite, TaskFixture

FLOW = """\
id: x
namespace: demo
inputs:
  - id: message
    type: STRING
    required: false
  - id: nested.name
    type: STRING
    required: false
tasks:
  - id: fetch
    type: io.kestra.plugin.core.debug.Return
    format: a
"""


def problems(source: str) -> list[str]:
    with pytest.raises(FlowError) as raised:
        SuiteReader(source, "s.yaml").read()
    return [str(problem) for problem in raised.value.problems]


def problems_beside_the_flow(folder: Path, cases: str) -> list[str]:
    (folder / "x.yaml").write_text(FLOW)
    (folder / "s.yaml").write_text(f"id: s\nnamespace: demo\nflowId: x\ntestCases:\n{cases}")
    with pytest.raises(FlowError) as raised:
        load([folder])
    return [str(problem).removeprefix(f"{folder}/") for problem in raised.value.problems]


def test_a_suite_is_read_in_full() -> None:
    source = """\
id: s
namespace: demo
flowId: x
description: All of it
testCases:
  - id: one
    type: io.kestra.core.tests.flow.UnitTest
    description: First
    fixtures:
      inputs: {message: hi}
      files: {a/b.txt: "{{ kept as written }}"}
      tasks:
        - id: fetch
          description: not now
          value: 3
          outputs: {value: "{{ 1 + 1 }}"}
          state: WARNING
        - id: fetch
      trigger: {id: hook, type: io.kestra.plugin.core.trigger.Webhook, variables: {body: {a: 1}}}
    assertions:
      - value: "{{ outputs.fetch.value }}"
        taskId: fetch
        description: twice
        errorMessage: no
        lessThan: 5
        equalsTo: 2
      - value: x
        isNull: false
  - id: two
    disabled: true
"""
    assert SuiteReader(source, "s.yaml").read() == Suite(
        file="s.yaml",
        id="s",
        namespace="demo",
        flow_id="x",
        description="All of it",
        cases=(
            Case(
                id="one",
                description="First",
                inputs={"message": "hi"},
                files={"a/b.txt": "{{ kept as written }}"},
                tasks=(
                    TaskFixture("fetch", "3", {"value": "{{ 1 + 1 }}"}, state="WARNING"),  # type: ignore[arg-type]  # equal
                    TaskFixture("fetch"),
                ),
                trigger={
                    "id": "hook",
                    "type": "io.kestra.plugin.core.trigger.Webhook",
                    "variables": {"body": {"a": 1}},
                },
                assertions=(
                    Assertion(
                        "{{ outputs.fetch.value }}", (("lessThan", 5), ("equalTo", 2)), "fetch", "twice", "no", 21
                    ),
                    Assertion("x", (("isNull", False),), line=27),
                ),
                line=6,
            ),
            Case(id="two", disabled=True, line=29),
        ),
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    source = """\
id: s
namespace: Demo
flowid: x
testCases:
  - id: one
    type: io.kestra.core.tests.flow.Unittest
    fixture: {}
    fixtures:
      files: {../up.txt: x}
      tasks:
        - ids: fetch
          state: RUNNING
      trigger: {id: hook}
    assertions:
      - value: "{{ 1 + }}"
        equlTo: 1
      - equalTo: 1
      - value: x
  - id: one
    disabled: yes
"""
    assert problems(source) == [
        "s.yaml:2:12: namespace: `Demo` is no valid namespace: expected lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        "s.yaml:3:1: flowid: Unknown property `flowid`. Did you mean `flowId`?",
        "s.yaml:6:11: testCases[0].type: Expected `io.kestra.core.tests.flow.UnitTest`, got `io.kestra.core.tests.flow.Unittest`. Did you mean `io.kestra.core.tests.flow.UnitTest`?",
        "s.yaml:7:5: testCases[0].fixture: Unknown property `fixture`. Did you mean `fixtures`?",
        's.yaml:9:15: testCases[0].fixtures.files["../up.txt"]: `../up.txt` is no path of a namespace file: it must not hold `..`, `.` or `//`.',
        "s.yaml:11:11: testCases[0].fixtures.tasks[0].ids: Unknown property `ids`. Did you mean `id`?",
        "s.yaml:12:18: testCases[0].fixtures.tasks[0].state: Expected one of `SUCCESS`, `WARNING`, `FAILED`, `SKIPPED` or `KILLED`, got `RUNNING`. Did you mean `WARNING`?",
        "s.yaml:13:16: testCases[0].fixtures.trigger.type: The property `type` is required.",
        "s.yaml:15:24: testCases[0].assertions[0].value: The expression cannot be read: Expected a value, found `}}`.",
        "s.yaml:16:9: testCases[0].assertions[0].equlTo: Unknown property `equlTo`. Did you mean `equalTo`?",
        "s.yaml:17:9: testCases[0].assertions[1].value: The property `value` is required.",
        "s.yaml:18:9: testCases[0].assertions[2]: An assertion needs an operator: equalTo, notEqualTo, greaterThan, greaterThanOrEqualTo, lessThan, lessThanOrEqualTo, in, notIn, contains, startsWith, endsWith, isNull, isNotNull.",
        "s.yaml:19:9: testCases[1].id: The id `one` is already used, on line 5, column 9.",
        "s.yaml:20:15: testCases[1].disabled: Expected true or false, got the text `yes`.",
    ]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("flowId: [x", "s.yaml:1:9: The list `[` that begins here is not closed: expected `,` or `]`."),
        ("id: s\nnamespace: a\nflowId: x\n", "s.yaml:1:1: testCases: The property `testCases` is required."),
        ("id: s\nnamespace: a\nflowId: x\ntestCases: []\n", "s.yaml:4:12: testCases: Must not be empty."),
        (
            "id: s\nnamespace: a\nflowId: x\ntestCases: one\n",
            "s.yaml:4:12: testCases: Expected a list of maps, got the text `one`.",
        ),
        (
            "- id: s\n",
            "s.yaml:1:1: A test suite is a map with `id`, `namespace`, `flowId` and `testCases`, not a list.",
        ),
        (
            "id: s\nnamespace: a\nflowId: x\ntestCases:\n  - id: a\n    assertions:\n      - value: x\n"
            "        equalTo: 1\n        equalsTo: 1\n",
            "s.yaml:9:9: testCases[0].assertions[0].equalsTo: `equalsTo` and `equalTo` are the same property: keep one.",
        ),
        (
            "id: s\nnamespace: a\nflowId: x\ntestCases:\n  - id: a\n    fixtures:\n      tasks:\n"
            "        - {id: t, state: SKIPPED, outputs: {a: 1}}\n",
            "s.yaml:8:35: testCases[0].fixtures.tasks[0].outputs: A task run that is SKIPPED has no outputs.",
        ),
        (
            "id: s\nnamespace: a\nflowId: x\ntestCases:\n  - id: a\n    fixtures:\n      tasks:\n"
            "        - {id: t, value: {a: 1}}\n        - {id: t}\n        - {id: t, value: '{\"a\":1}'}\n",
            's.yaml:10:16: testCases[0].fixtures.tasks[2].id: The task `t` has a fixture for the value `{"a":1}` already, on line 8, column 16.',
        ),
        (
            "id: s\nnamespace: a\nflowId: x\ntestCases:\n  - id: a\n    fixtures:\n      tasks:\n"
            "        - {id: t}\n        - {id: t}\n",
            "s.yaml:9:16: testCases[0].fixtures.tasks[1].id: The task `t` has a fixture already, on line 8, column 16.",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(source: str, told: str) -> None:
    assert problems(source) == [told]


def test_names_the_flow_does_not_have_are_told_with_the_nearest(tmp_path: Path) -> None:
    cases = """\
  - id: one
    fixtures:
      inputs: {mesage: hi, nested: {name: a}}
      tasks: [{id: fetsh}]
    assertions:
      - {value: x, taskId: fech, isNotNull: true}
"""
    assert problems_beside_the_flow(tmp_path, cases) == [
        "s.yaml:7:16: testCases[0].fixtures.inputs.mesage: The flow `demo.x` has no input `mesage`. Did you mean `message`?",
        "s.yaml:8:20: testCases[0].fixtures.tasks[0].id: The flow `demo.x` has no task `fetsh`. Did you mean `fetch`?",
        "s.yaml:10:28: testCases[0].assertions[0].taskId: The flow `demo.x` has no task `fech`. Did you mean `fetch`?",
    ]
