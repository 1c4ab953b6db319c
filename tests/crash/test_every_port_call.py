"""The engine dies at every single port call of a run, before it or with its answer lost; the outcome stays the same."""

from __future__ import annotations

import pytest
from crash.faults import Faults
from crash.virtual import Crashes, Drama, registry
from crash.virtual_flows import STORIES, Story, story_id

TASKS = registry()


@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_story_ends_as_it_says(story: Story) -> None:
    drama = Drama(story, TASKS)
    came = drama.play()
    assert came["execution 0"]["state"] == story.ends


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crashes", Crashes, ids=lambda crashes: crashes.name)
@pytest.mark.parametrize("story", STORIES, ids=story_id)
def test_a_crash_at_any_port_call_changes_nothing(story: Story, crashes: Crashes, after: bool) -> None:
    expected = Drama(story, TASKS, crashes).play()
    moment = 0
    while True:
        moment += 1
        drama = Drama(story, TASKS, crashes)
        came = drama.play(Faults(moment, after=after))
        assert came == expected, f"died at call {moment}: {drama.deaths}"
        if not drama.deaths:
            break
