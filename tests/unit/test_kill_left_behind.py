"""A kill that comes before what creates an execution: nothing of it begins, whoever waits for it or not (DESIGN §3.4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_engine.core.messages import Create, Kill
from headrace_engine.testing.runtime import VirtualRuntime

CHILD = """
id: child
namespace: demo
inputs: [{id: part, type: STRING, required: false}]
tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: P1D}]
"""

CALLS = """
id: calls
namespace: demo
tasks:
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: child, wait: false}
  - {id: ask, type: io.kestra.plugin.core.flow.Pause}
"""

PARTS = """
id: parts
namespace: demo
tasks:
  - {id: file, type: io.kestra.plugin.core.storage.Write, content: "a\\nb\\n"}
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "{{ outputs.file.uri }}"
    namespace: demo
    flowId: child
    inputs: {part: "{{ taskrun.items }}"}
    wait: false
  - {id: ask, type: io.kestra.plugin.core.flow.Pause}
"""


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        runtime.save_flow(CHILD)
        yield runtime


@pytest.mark.parametrize(("source", "children"), [(CALLS, 1), (PARTS, 2)], ids=["subflow", "parts"])
def test_the_kill_creates_what_was_not_waited_for_as_killed(
    runtime: VirtualRuntime, source: str, children: int
) -> None:
    runtime.save_flow(source)
    execution_id = runtime.create("demo", "calls" if source is CALLS else "parts")
    late = []
    while runtime.step():
        creates = [letter for letter in runtime.world.letters if isinstance(letter.message, Create)]
        for letter in creates:
            if letter.execution_id != execution_id:  # held up on the way
                runtime.world.letters.remove(letter)
                late.append(letter)
    assert len(late) == children
    runtime.kill(execution_id)
    runtime.settle(None)
    runtime.world.letters.extend(late)
    runtime.settle(None)
    assert runtime.outcome(execution_id).state == "KILLED"
    found = [runtime.outcome(letter.execution_id) for letter in late]
    assert [each.view["taskRunList"] for each in found] == [[]] * children
    assert [each.state for each in found] == ["KILLED"] * children


def test_a_kill_without_cascade_asks_nobody(runtime: VirtualRuntime) -> None:
    runtime.save_flow(CALLS)
    execution_id = runtime.create("demo", "calls")
    runtime.settle(None)
    runtime.world.post(execution_id, Kill(cascade=False))
    runtime.settle(None)
    (child,) = [each for each in runtime.stores.executions.search().found if each.flow_id == "child"]
    assert runtime.outcome(execution_id).state == "KILLED"
    assert runtime.outcome(child.id).state == "RUNNING"


def test_a_kill_reaches_more_than_one_call_can_ask(runtime: VirtualRuntime) -> None:
    count = 450
    runtime.save_flow(
        PARTS.replace('"a\\nb\\n"', '"{% for i in range(1, ' + str(count) + ') %}{{ i }}\\n{% endfor %}"')
    )
    execution_id = runtime.create("demo", "parts")
    runtime.settle(None)
    runtime.kill(execution_id)
    runtime.settle(None)
    found = [each for each in runtime.stores.executions.search(limit=2 * count).found if each.flow_id == "child"]
    assert [each.state for each in found] == ["KILLED"] * count
