"""The engine dies at every port call while flow triggers are heard: each starts what it should, once."""

from __future__ import annotations

import pytest

from crash.faults import Faults
from crash.virtual import Crashes, Drama, registry
from crash.virtual_flows import Story

TASKS = registry()

_CHILD = """
id: child
namespace: crash
tasks:
  - {id: effort, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
"""
_AFTER_ONE = """
id: after-one
namespace: crash
tasks:
  - {id: noted, type: test.Effect, label: "{{ trigger.outputs.n }}"}
triggers:
  - id: source
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {n: "{{ trigger.outputs.n }}"}
    preconditions: {id: one, flows: [{namespace: crash, flowId: upstream, states: [SUCCESS]}]}
"""
_AFTER_BOTH = """
id: after-both
namespace: crash
tasks:
  - {id: noted, type: test.Effect, label: both}
triggers:
  - id: both
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {state: "{{ trigger.state }}"}
    preconditions:
      id: both
      flows:
        - {namespace: crash, flowId: child, states: [SUCCESS]}
        - {namespace: crash, flowId: upstream, states: [SUCCESS]}
"""
STORY = Story(
    "flows that start when others have ended",
    """
id: upstream
namespace: crash
outputs: [{id: n, type: INT, value: 3}]
tasks:
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: crash, flowId: child, wait: true}
  - {id: last, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
""",
    {"effort": lambda _: {"vars": {}}, "last": lambda _: {"vars": {}}},
    others=(_CHILD, _AFTER_ONE, _AFTER_BOTH),
)


def test_each_trigger_starts_one_execution() -> None:
    came = Drama(STORY, TASKS).play()
    names = sorted(name.split()[0] for name in came if name != "effects")
    assert names == ["after-both", "after-one", "child", "upstream"]
    assert came["effects"] == ["3", "both"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
def test_a_crash_at_any_port_call_starts_nothing_more_and_nothing_less(crashes: Crashes, after: bool) -> None:
    expected = Drama(STORY, TASKS, crashes).play()
    moment = 0
    while True:
        moment += 1
        drama = Drama(STORY, TASKS, crashes)
        assert drama.play(Faults(moment, after=after)) == expected, f"died at call {moment}: {drama.deaths}"
        if not drama.deaths:
            break
    assert moment > 50
