"""What an iteration of a wide loop costs does not depend on how many there are."""

from __future__ import annotations

import gc
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from headrace_engine.core.events import AttemptEnded, AttemptStarted, Entry
from headrace_engine.core.messages import Create
from headrace_engine.core.state import ExecutionState
from headrace_engine.testing.runtime import VirtualRuntime

BODIES = {
    "inline": {"type": "io.kestra.plugin.core.debug.Return", "format": "{{ taskrun.value }}"},
    "light": {"type": "io.kestra.plugin.core.kv.Get", "key": "key-{{ taskrun.value }}"},
}


def loop(kind: str, size: int) -> str:
    """Return a flow that is one ForEach without a limit."""
    properties = "".join(f"\n        {name}: '{value}'" for name, value in BODIES[kind].items())
    return f"""
id: loop-{size}
namespace: demo
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 0
    values: {[f"v{number}" for number in range(size)]}
    tasks:
      - id: body{properties}
"""


@pytest.mark.parametrize("kind", BODIES)
def test_a_step_leaves_nothing_to_the_garbage_collector(kind: str) -> None:
    """Cycles would keep old states of the execution, and the collector's work grows with what there is."""
    with VirtualRuntime() as runtime:
        runtime.run(loop(kind, 10))  # what is imported and compiled on first use
        runtime.save_flow(loop(kind, 200))
        gc.collect()
        gc.disable()
        try:
            execution_id = runtime.create("demo", "loop-200")
            runtime.settle()
            left = gc.collect()
        finally:
            gc.enable()
        assert runtime.outcome(execution_id).state == "SUCCESS"
        assert left < 200


class AtOnce(Executor):
    """Runs what it is given at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See concurrent.futures.Executor."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_few_light_attempts_of_a_wide_loop_are_open_at_once() -> None:
    """So none holds a lease that runs out before its turn comes, and a stop waits for few."""
    entries: list[Entry] = []

    def note(_state: ExecutionState, entry: Entry) -> None:
        entries.append(entry)

    with VirtualRuntime() as runtime:
        executor = runtime.engine.executor(
            runtime.world.channels, is_gone=lambda _owner: False, on_step=note, light_pool=AtOnce()
        )
        runtime.save_flow(loop("light", 500))
        execution_id, created = runtime.engine.new_execution("demo", "loop-500")
        executor.handle(execution_id, [Create(created)])
        state = executor.load(execution_id)
    assert state is not None
    assert state.closed
    opened, most, ended = 0, 0, 0
    for entry in entries:
        for event in entry.events:
            opened += isinstance(event, AttemptStarted) - (isinstance(event, AttemptEnded))
            ended += isinstance(event, AttemptEnded)
        most = max(most, opened)
    assert (opened, ended) == (0, 500)
    assert most <= 32
    assert len(entries) < 40
