"""Two engines work on the same executions: messages come late, twice and in any order, one acts in the midst of the other.

Only the journal's conditional append keeps them apart; the outcome is that of one engine alone, no entry is written
twice, no attempt runs twice.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from crash.faults import through
from crash.virtual import EXECUTION, Drama, registry
from crash.virtual_flows import STORIES, Story, story_id
from headrace_engine.core.messages import TimerFired
from headrace_engine.ports import Job
from headrace_engine.testing.runtime import VirtualRuntime

TASKS = registry()
# When a kill comes, in relation to what else happens, is part of the outcome: there is no one outcome to compare with.
ORDERLY = [story for story in STORIES if story.kill_at is None]
_FAR = timedelta(days=30)


class Pair(Drama):
    """A drama with two engines that a seed sets to work in turn, or one inside a port call of the other."""

    def play_together(self, seed: int) -> dict[str, Any]:
        """Run the story to its end; return the outcome, checked."""
        self._random = random.Random(seed)
        self._inside = False
        self._expired = 0
        self.appended: Counter[tuple[str, int]] = Counter()
        self.interruptions = 0
        with self._engine() as one, self._engine() as other:
            self._engines = (one, other)
            for engine in self._engines:
                for source in (*self.story.others, self.story.source):
                    definition = engine.save_flow(source)
            one.create(definition.namespace, definition.id, execution_id=EXECUTION)
            while self._act_once(self._random.choice(self._engines)):
                pass
        assert set(self.appended.values()) == {1}
        return self.checked()

    @contextmanager
    def _engine(self) -> Iterator[VirtualRuntime]:
        place: list[VirtualRuntime] = []

        def call(name: str, run: Callable[[], Any], *arguments: Any) -> Any:
            if self._random.random() < 0.15:
                self._interrupt(place[0])
            result = run()
            if self._random.random() < 0.05:
                self._interrupt(place[0])
            return result

        world = through(self.world, call)
        append = world.stores.journal.append

        def counted(entry: Any) -> None:
            append(entry)
            self.appended[entry.execution_id, entry.seq] += 1

        world.stores.journal.append = counted  # type: ignore[method-assign]
        with self.runtime(world, is_gone=lambda _owner: False) as engine:
            place.append(engine)
            yield engine

    def _interrupt(self, engine: VirtualRuntime) -> None:
        """Let the other engine do something in the midst of what *engine* does; not inside that again."""
        if self._inside or threading.current_thread() is not threading.main_thread() or not hasattr(self, "_engines"):
            return
        self._inside = True
        try:
            self.interruptions += 1
            other = self._engines[0] if engine is self._engines[1] else self._engines[1]
            if not self._let_a_lease_end():
                self._do(other)
        finally:
            self._inside = False

    def _act_once(self, engine: VirtualRuntime) -> bool:
        return self._do(engine) or engine.ring(engine.clock.now() + _FAR)

    def _do(self, engine: VirtualRuntime) -> bool:
        """Handle any message, or run any job; now and then it stays in the queue, to come again."""
        chosen = self.next_of(self._random)
        again = self._random.random() < 0.2
        if isinstance(chosen, Job):
            engine.work(chosen)
            if again:
                self.world.jobs.append(chosen)
        elif chosen is not None:
            engine.deliver(chosen)
            if again:
                self.world.letters.append(chosen)
        return chosen is not None

    def _let_a_lease_end(self) -> bool:
        """Sometimes a light task takes longer than its lease (twice at most: three losses in a row are a failure)."""
        world = self.world
        leases = [timer for timer in world.timers if timer[2].startswith("lease:")]
        if not leases or self._expired == 2 or self._random.random() < 0.7:
            return False
        self._expired += 1
        due, execution_id, key = leases[0]
        world.timers.remove(leases[0])
        world.clock.set(max(due, world.clock.now()))
        world.post(execution_id, TimerFired(key))
        return True


def play(story: Story, seeds: range) -> int:
    expected = Drama(story, TASKS).play()
    interruptions = 0
    for seed in seeds:
        pair = Pair(story, TASKS)
        assert pair.play_together(seed) == expected, f"seed {seed}"
        interruptions += pair.interruptions
    return interruptions


@pytest.mark.parametrize("story", ORDERLY, ids=story_id)
def test_two_engines_do_what_one_does(story: Story) -> None:
    assert play(story, range(15)) > 15


@pytest.mark.slow
@pytest.mark.parametrize("story", ORDERLY, ids=story_id)
def test_two_engines_do_what_one_does_with_many_seeds(story: Story) -> None:
    play(story, range(15, 500))
