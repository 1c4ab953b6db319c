"""The engine dies at every single port call of a run, before it or with its answer lost; the outcome stays the same."""

from __future__ import annotations

import os
import random

import pytest

from crash.faults import Faults
from crash.virtual import Crashes, Drama, registry
from crash.virtual_flows import STORIES, Story, story_id

TASKS = registry()
ROUND = int(os.environ.get("HEADRACE_ROUND", "0"))
"""Which third of the calls is died at each time: the same one in a round; who counts up sees all in three rounds."""
THIRD = 3
# Dead after one call is nearly dead before the next, and what came through by chance hides more than it shows: the
# slow run tries both, too, and every call.
MODES = [
    pytest.param(
        crashes,
        after,
        step,
        id=f"{crashes.name}-{'after' if after else 'before'}{'-a-third' if step == THIRD else ''}",
        marks=[] if step == THIRD else [pytest.mark.slow],
    )
    for crashes in Crashes
    for after in (False, True)
    for step in ((1,) if after or crashes is Crashes.LOCAL_FLUSHED else (THIRD, 1))
]


@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_story_ends_as_it_says(story: Story) -> None:
    drama = Drama(story, TASKS)
    first = next(iter(drama.play().values()))
    assert first["state"] == story.ends


@pytest.mark.parametrize(("crashes", "after", "step"), MODES)
@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_crash_at_any_port_call_changes_nothing(story: Story, crashes: Crashes, after: bool, step: int) -> None:
    expected = Drama(story, TASKS, crashes).play()
    moment = 1 + ROUND % step
    while True:
        drama = Drama(story, TASKS, crashes)
        came = drama.play(Faults(moment, after=after))
        assert came == expected, f"died at call {moment}: {drama.deaths}"
        if not drama.deaths:
            break
        moment += step
    assert moment > 15, "the story has no calls to die at"


def crash_twice(story: Story, crashes: Crashes, seed: int) -> None:
    """Die twice at random calls: the second time often while what the first left is taken up."""
    generator = random.Random(f"{story.name} {crashes.name} {seed}")
    expected = Drama(story, TASKS, crashes).play()
    first = Faults(generator.randint(1, 60), after=generator.random() < 0.5)
    second = Faults(
        generator.choice([generator.randint(1, 8), generator.randint(1, 60)]), after=generator.random() < 0.5
    )
    # When a kill comes is part of its story: only without one is the order of what comes free.
    order = random.Random(seed) if story.kill_at is None and seed % 2 else None
    drama = Drama(story, TASKS, crashes, order=order)
    assert drama.play(first, second) == expected, f"seed {seed}: {drama.deaths}"


@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_crash_while_recovering_changes_nothing(story: Story, crashes: Crashes) -> None:
    for seed in range(4):
        crash_twice(story, crashes, seed)


@pytest.mark.slow
@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_many_crashes_while_recovering_change_nothing(story: Story, crashes: Crashes) -> None:
    for seed in range(4, 200):
        crash_twice(story, crashes, seed)


def test_three_losses_in_a_row_fail_the_task_run() -> None:
    """An attempt that takes the engine down with it each time is not tried for ever (DESIGN §3.6)."""
    story = next(story for story in STORIES if story.name == "one task after the other")
    drama = Drama(story, TASKS, Crashes.CLOUD)
    names = Faults()
    Drama(story, TASKS, Crashes.CLOUD).play(names)
    # The run without a crash has told which call closes the first claim; each life after it needs fewer to get there.
    first = names.names.index("claims.close") + 1
    lives = [Faults(first)]
    for _ in range(2):
        probe = Faults()
        trial = Drama(story, TASKS, Crashes.CLOUD)
        trial.play(*[Faults(life.at) for life in lives], probe)
        lives.append(Faults(probe.names.index("claims.close") + 1))
    came = drama.play(*[Faults(life.at) for life in lives])
    assert drama.deaths == ["claims.close"] * 3
    run = next(iter(came.values()))["task runs"]["first"]
    assert run["state"] == "FAILED"
    assert run["error"] == "The worker vanished"


def test_what_an_execution_said_at_its_end_is_kept_before_its_summary_says_so() -> None:
    """Who recovers looks at what has not ended: what is to be done at an end is done before that is known."""
    story = next(story for story in STORIES if story.name == "an exit")
    calm = Faults()
    expected = Drama(story, TASKS, Crashes.LOCAL_FLUSHED).play(calm)
    last = len(calm.names) - calm.names[::-1].index("journal.append")
    again = Faults()
    Drama(story, TASKS, Crashes.LOCAL_FLUSHED).play(Faults(last, after=True), again)
    ended = again.names.index("executions.put") + 1
    drama = Drama(story, TASKS, Crashes.LOCAL_FLUSHED)
    assert drama.play(Faults(last, after=True), Faults(ended, after=True)) == expected
    assert drama.deaths == ["journal.append", "executions.put"]
