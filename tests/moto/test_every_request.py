"""Functions die at every single request to AWS: nothing is lost, nothing doubled, the outcome stays the same.

Each time everything else goes on: what was not acknowledged comes again, told as if for the first time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from crash.cloud_scenes import SCENES, Scene
from crash.outcomes import lost_attempts, outcome
from flows.corpus import FlowCase, all_cases
from flows.runtimes import run_virtually
from headrace_engine.core.codec import decode_entry
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.faults import Faults, Mode

ROUND = os.environ.get("HEADRACE_ROUND", "0")
"""Which flows of the corpus are drawn, and which of their requests: the same ones in a round."""
DRAWN = 10
DEADLY = (Mode.STOPPED, Mode.LOST)


@cache
def requests_of(scene: Scene) -> tuple[int, dict[str, Any]]:
    """Return how many requests the scene takes, and what comes of it."""
    faults = Faults()
    came = scene.play(faults)
    return len(faults.requests), came


def strike(scene: Scene, at: int, mode: Mode, expected: dict[str, Any]) -> None:
    faults = Faults(at, mode)
    came = scene.play(faults, told_receives=1)
    assert faults.struck is not None
    assert came == expected, f"request {at}, {faults.struck}: {mode.value}"


def scenes() -> list[Any]:
    return [pytest.param(scene, id=scene.name.replace(" ", "-")) for scene in SCENES]


@pytest.mark.parametrize("scene", scenes())
def test_a_scene_ends_as_it_says(scene: Scene) -> None:
    count, came = requests_of(scene)
    assert {each["state"] for name, each in came.items() if name.startswith("scene ")} == {scene.ends}
    assert count > 10


@pytest.mark.parametrize("mode", DEADLY, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("scene", scenes())
def test_a_function_that_dies_at_any_request_changes_nothing(scene: Scene, mode: Mode) -> None:
    count, expected = requests_of(scene)
    for at in range(1, count + 1):
        strike(scene, at, mode, expected)


@pytest.mark.parametrize("scene", scenes())
def test_a_request_that_botocore_repeats_changes_nothing(scene: Scene) -> None:
    count, expected = requests_of(scene)
    for at in random.Random(scene.name).sample(range(1, count + 1), 2):
        strike(scene, at, Mode.REPEATED, expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("scene", scenes())
def test_nothing_that_happens_to_any_request_changes_anything(scene: Scene, mode: Mode) -> None:
    count, expected = requests_of(scene)
    for at in range(1, count + 1):
        strike(scene, at, mode, expected)


# -- The corpus -------------------------------------------------------------------------------------


class _Recorded(Cloud):
    """A cloud that tells at its end what came of every execution, but for times and lost attempts."""

    came: dict[str, Any]

    def settle(self, until: timedelta | None = timedelta(days=3650)) -> None:
        """Settle; where the clock would stand still, let what a dead function held come again first."""
        super().settle(timedelta(seconds=3) if until is None else until)
        while until is None and (leases := list(self._leases())):
            # The light task of an executor that died: nobody else takes it up before then.
            super().settle(max(min(leases) - self.clock.now(), timedelta(0)) + timedelta(seconds=3))

    def _leases(self) -> Iterator[datetime]:
        """Yield when what executors run, or have left behind, may be taken up by others."""
        for summary in self.stores.executions.open():
            state = self.state(summary.id)
            for task_run_id in state.leases:
                attempt = state.task_runs[task_run_id].open_attempt
                if attempt is not None and attempt.deadline is not None:
                    yield attempt.deadline

    def close(self) -> None:
        """Record, then close."""
        journal = self.stores.journal
        self.came = {}
        ids = {item["pk"]["S"].split("#")[1] for item in self.items() if item["pk"]["S"].startswith("X#")}
        told = []
        for execution_id in ids:
            entries = [decode_entry(stored.data) for stored in journal.entries(execution_id)]
            if entries:
                came = self.outcome(execution_id)
                told.append((came.view["flowId"], outcome(came.view, came.logs, lost_attempts(entries))))
        told.sort(key=str)
        self.came = {f"{place} {flow_id}": each for place, (flow_id, each) in enumerate(told)}
        super().close()


def play_case(case: FlowCase, folder: Path, faults: Faults) -> dict[str, Any]:
    clouds: list[_Recorded] = []

    def make(**given: Any) -> Cloud:
        # A message comes again soon: how late is not what is looked at here.
        clouds.append(_Recorded(**given, faults=faults, visibility=timedelta(seconds=1), told_receives=1))
        return clouds[-1]

    run_virtually(case, folder, make)
    return clouds[-1].came


ON_TIME = (
    "timeout/",
    "sla/",
    "retry/random",
    "retry/max-duration",
    "task_cache/",
    "flow_triggers/stop-after",
    "secrets/an-empty-secret",
)
"""Flows whose outcome is about how long something takes, which a function that died takes longer; about what an
execution finds that another one, which died, comes to leave too late; and what ends otherwise on AWS in any case (see
test_flows.py)."""


CASES = [case for case in all_cases() if not case.name.startswith(ON_TIME) and ".scripts.node." not in case.source]


@pytest.mark.parametrize("case", random.Random(ROUND).sample(CASES, DRAWN), ids=lambda case: case.name)
def test_a_flow_that_is_drawn_bears_a_death_at_some_requests(case: FlowCase, tmp_path: Path) -> None:
    calm = Faults()
    expected = play_case(case, tmp_path, calm)
    for mode in DEADLY:
        moments = range(1, len(calm.requests) + 1)  # none of a flow that is refused before it asks
        for at in random.Random(f"{ROUND} {case.name} {mode.name}").sample(moments, min(2, len(moments))):
            bears(case, tmp_path, at, mode, expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flow_of_the_corpus_bears_a_death_at_any_request(case: FlowCase, tmp_path: Path) -> None:
    calm = Faults()
    expected = play_case(case, tmp_path, calm)
    for mode in DEADLY:
        for at in range(1, len(calm.requests) + 1):
            bears(case, tmp_path, at, mode, expected)


def bears(case: FlowCase, folder: Path, at: int, mode: Mode, expected: dict[str, Any]) -> None:
    faults = Faults(at, mode)
    came = play_case(case, folder, faults)
    assert came == expected, f"request {at}, {faults.struck}: {mode.value}"
