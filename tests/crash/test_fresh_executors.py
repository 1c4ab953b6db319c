"""Executors that hold nothing from one message to the next, as functions do: each reads the journal, or a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from crash.faults import through
from crash.virtual import EXECUTION, Drama, registry
from crash.virtual_flows import STORIES, Story, story_id
from headrace_engine.core.messages import Poke
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import World

TASKS = registry()
FIVE = """
id: five
namespace: crash
tasks:
  - {id: one, type: io.kestra.plugin.scripts.shell.Commands, commands: ["true"]}
  - {id: two, type: io.kestra.plugin.scripts.shell.Commands, commands: ["true"]}
  - {id: three, type: io.kestra.plugin.scripts.shell.Commands, commands: ["true"]}
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
  - {id: five, type: io.kestra.plugin.scripts.shell.Commands, commands: ["true"]}
"""
OFTEN = Settings(snapshot_entries=1)
NEVER = Settings(snapshot_entries=10**9)


class Counted:
    """A world that counts the port calls."""

    def __init__(self, world: World) -> None:
        self.calls: Counter[str] = Counter()
        self.world = through(world, self._call)

    def _call(self, name: str, run: Callable[[], Any]) -> Any:
        self.calls[name] += 1
        return run()


def begun(world: World, drama: Drama) -> Counter[str]:
    """Take FIVE to its nap with a new engine for every message; return the port calls."""
    counted = Counted(world)
    with drama.runtime(counted.world) as engine:
        definition = engine.save_flow(FIVE)
        engine.create(definition.namespace, definition.id, execution_id=EXECUTION)
    while world.letters or world.jobs:
        with drama.runtime(counted.world) as engine:
            engine.step()
    return counted.calls


def drama(settings: Settings | None = None) -> Drama:
    return Drama(STORIES[0], TASKS, settings=settings)


def test_a_run_issues_each_command_once_whoever_goes_on_with_it() -> None:
    play = drama()
    calls = begun(play.world, play)
    assert calls["dispatch.start"] == 3
    assert calls["timers.wake"] == 1
    # CREATED and RUNNING: told with the first entry, and again by the next reader, who cannot know that they were.
    assert calls["bus.publish"] == 2


def test_a_message_that_changes_nothing_repeats_the_last_entrys_commands_at_most() -> None:
    play = drama()
    begun(play.world, play)
    counted = Counted(play.world)
    with play.runtime(counted.world) as engine:
        engine.kill("nobody")
        engine.settle(None)
        state = engine.state(EXECUTION)
        late = next(run for run in state.in_order() if run.task_id == "one")
        engine.attempts.lost(AttemptId(EXECUTION, late.id, 0), "late news")  # reports the result that stands
        engine.settle(None)
    assert counted.calls["dispatch.start"] == 0
    assert counted.calls["timers.wake"] == 1
    assert counted.calls["bus.publish"] == 0


def test_a_poke_repeats_whatever_is_still_called_for() -> None:
    play = drama()
    begun(play.world, play)
    play.world.timers.clear()  # lost
    with play.runtime(play.world) as engine:
        engine.world.post(EXECUTION, Poke())
        engine.settle()
        assert engine.outcome(EXECUTION).state == "SUCCESS"


def played(story: Story, settings: Settings, *, drop: bool = False) -> tuple[dict[str, Any], Counter[str]]:
    """Play a story, a new engine for every message; return its outcome and the port calls."""
    play = Drama(story, TASKS, settings=settings)
    counted = Counted(play.world)
    with play.runtime(counted.world) as engine:
        for source in (*story.others, story.source):
            definition = engine.save_flow(source)
        engine.create(definition.namespace, definition.id, execution_id=EXECUTION)
    goes_on = True
    while goes_on:
        with play.runtime(counted.world) as engine:
            if play._kill_is_due(engine):
                engine.kill(EXECUTION)
            goes_on = engine.step() or engine.ring(engine.clock.now().replace(year=2030))
        if drop:
            play.world.journal.drop_snapshots()
    return play.checked(), counted.calls


@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_snapshot_stands_for_the_entries_before_it(story: Story) -> None:
    expected, _ = played(story, NEVER)
    assert played(story, OFTEN)[0] == expected
    assert played(story, OFTEN, drop=True)[0] == expected


def test_snapshots_keep_their_distance() -> None:
    """Their cost is in proportion to what came since: not every entry brings one."""
    values = ", ".join(f'"{number}"' for number in range(120))
    flow = f"""
id: wide
namespace: crash
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [{values}]
    tasks: [{{id: work, type: io.kestra.plugin.scripts.shell.Commands, commands: ["true"]}}]
"""
    calls = Counted(World())
    play = drama(Settings(snapshot_entries=8))
    with play.runtime(through(play.world, calls._call)) as engine:
        assert engine.run(flow).state == "SUCCESS"
    assert calls.calls["journal.append"] > 120
    assert 2 <= calls.calls["journal.save_snapshot"] <= 15


def test_a_snapshot_of_a_newer_version_counts_for_nothing() -> None:
    play = drama(NEVER)
    begun(play.world, play)
    seq = len(play.world.journal.entries(EXECUTION)) - 1
    play.world.journal.save_snapshot(EXECUTION, seq, b'j[99,{"what": "nobody here knows"}]')
    with play.runtime(play.world) as engine:
        engine.settle()
        assert engine.state(EXECUTION).state is State.SUCCESS
