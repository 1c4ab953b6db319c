"""Kestra 2.0's Loop, as far as it is a ForEach: its values, `item`, and the outputs of the round."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_engine.engine import UnsupportedError
from headrace_engine.testing.runtime import VirtualRuntime


def loop(values: str, format: str, more: str = "") -> str:  # noqa: A002 - the property's name
    return f"""
id: looping
namespace: demo
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.Loop
    values: {values}
    {more}
    tasks:
      - {{id: first, type: io.kestra.plugin.core.debug.Return, format: "{{{{ item.index }}}}"}}
      - {{id: t, type: io.kestra.plugin.core.debug.Return, format: "{format}"}}
"""


@pytest.mark.parametrize(
    ("values", "format", "expected"),
    [
        ("[a, b]", "{{ item.value }}{{ item.index }}", ["a0", "b1"]),
        ("[1, 2]", "{{ item.value + 1 }}", ["2", "3"]),
        ("['007', '1.10']", "{{ item.value }}", ["007", "1.10"]),
        ("[{n: x}, {n: y}]", "{{ item.value.n }}", ["x", "y"]),
        ("{a: 1, b: {c: 2}}", "{{ item.key }}={{ item.value }}", ["a=1", 'b={"c":2}']),
        ("'{{ [5, 6] }}'", "{{ item.value }}", ["5", "6"]),
        ("[a, b]", "{{ outputs.first.value }}", ["0", "1"]),
    ],
)
def test_values_and_items(values: str, format: str, expected: list[str]) -> None:  # noqa: A002 - as above
    with VirtualRuntime() as runtime:
        outcome = runtime.run(loop(values, format))
        assert outcome.state == "SUCCESS"
        assert [run["outputs"]["value"] for run in outcome.task_runs if run["taskId"] == "t"] == expected


def test_loops_in_loops_know_their_parents() -> None:
    source = """
id: nested
namespace: demo
tasks:
  - id: outer
    type: io.kestra.plugin.core.flow.Loop
    values: [a, b]
    tasks:
      - {id: say, type: io.kestra.plugin.core.debug.Return, format: "of {{ item.value }}"}
      - id: inner
        type: io.kestra.plugin.core.flow.Loop
        values: [1, 2]
        tasks:
          - {id: t, type: io.kestra.plugin.core.debug.Return,
             format: "{{ item.parent.value }}{{ item.parents[0].index }}{{ item.value }} {{ outputs.say.value }}"}
"""
    with VirtualRuntime() as runtime:
        outcome = runtime.run(source)
    found = sorted(run["outputs"]["value"] for run in outcome.task_runs if run["taskId"] == "t")
    assert found == ["a01 of a", "a02 of a", "b11 of b", "b12 of b"]


def test_all_rounds_go_on_at_once_unless_limited() -> None:
    sleep = "- {id: s, type: io.kestra.plugin.core.flow.Sleep, duration: PT10S}"
    for more, seconds in (("", 10), ("concurrencyLimit: 1", 30)):
        with VirtualRuntime() as runtime:
            begun = runtime.clock.now()
            runtime.run(loop("[a, b, c]", "x", more).replace("tasks:\n      -", f"tasks:\n      {sleep}\n      -"))
            assert (runtime.clock.now() - begun).total_seconds() == seconds


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("breakWhen: '{{ true }}'", "a loop goes over all its values"),
        ("outputs: [{id: x, type: STRING, value: y}]", "a loop hands back no `outputs`"),
        ("fetchType: STORE", "leave out `fetchType`"),
        ("transmitFailed: false", "a failed round fails the loop"),
    ],
)
def test_what_a_for_each_cannot_do_is_refused(more: str, why: str) -> None:
    with VirtualRuntime() as runtime:
        runtime.save_flow(loop("[a]", "x", more))
        with pytest.raises(UnsupportedError, match=why):
            runtime.create("demo", "looping")


def test_equal_values_are_refused() -> None:
    with VirtualRuntime() as runtime:
        found: Any = runtime.run(loop("[a, a]", "x"))
        assert found.find("loop")["error"] == (
            "A Loop over values of which some are equal is not supported by this version"
        )
