"""Many seeds hold what DESIGN promises; and the simulator finds what does not hold, and shrinks it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from headrace_engine.testing.simulation.chance import PLAIN, PROFILES, Chance, FaultKind, profile_of
from headrace_engine.testing.simulation.directed import HOLDERS, SCENARIOS
from headrace_engine.testing.simulation.invariants import Invariant
from headrace_engine.testing.simulation.seeds import thinned, wanted
from simulation.mutants import MUTANTS, Mutant, hunt, stale
from simulation.mutants import SEEDS as DEFAULT
from simulation.scenarios import corpus, scenario_of
from simulation.simulate import run_seeds, simulator, told

SEEDS = 1200
"""Of the default ones, so many; `make simulate` plays all."""
CHUNK = 40
TESTS = Path(__file__).resolve().parents[1]

_DIGESTS = """
from simulation.simulate import be_quiet, simulator
be_quiet()
for seed in (0, 3, 5, 10, 26, 69, 109, 573):
    print(simulator().run(seed, is_told=True).digest)
"""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The engine warns of all that strikes."""
    caplog.set_level(logging.CRITICAL, logger="headrace_engine")


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all processes of this run of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "simulation"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_whatever_strikes_nothing_is_lost_and_nothing_is_doubled(first: int, shared: Path) -> None:
    """And all of it together takes every row of the transition tables: who runs the last seeds looks."""
    summary = run_seeds(range(first, first + CHUNK))
    assert not summary.failed, told(summary.failed[0][0])
    (shared / f"{first}.part").write_text("\n".join(sorted(summary.seen())), encoding="utf-8")
    (shared / f"{first}.part").rename(shared / f"{first}.seen")
    parts = list(shared.glob("*.seen"))
    if len(parts) == len(range(0, SEEDS, CHUNK)):
        seen = {name for part in parts for name in part.read_text(encoding="utf-8").splitlines()}
        assert wanted() - seen == set(), "not one of these seeds comes by these"


def test_a_seed_has_one_history_whatever_the_hash_seed() -> None:
    histories = set()
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)},
            capture_output=True,
            text=True,
            check=True,
        )
        histories.add(ran.stdout)
    assert len(histories) == 1


def test_a_seed_has_one_history_whatever_ran_before_it() -> None:
    first = simulator().run(5, is_told=True)
    simulator().run(6)
    assert simulator().run(5, is_told=True).lines == first.lines


def test_faults_that_are_left_out_do_not_strike() -> None:
    report = simulator().run(5)
    assert len(report.faults) > 2
    kept = report.faults[0].id
    assert [fault.id for fault in simulator().run(5, kept={kept}).faults] == [kept]
    assert simulator().run(5, kept=()).faults == []


def test_the_plain_profile_never_strikes() -> None:
    assert Chance(1, PLAIN).strike("anywhere", *FaultKind) is None


def test_every_profile_comes_up() -> None:
    assert {profile_of(seed).name for seed in range(200)} == {profile.name for profile in PROFILES}


def test_shrinking_keeps_what_is_needed_and_nothing_else() -> None:
    tried: list[Collection[str]] = []

    def fails(kept: Collection[str]) -> bool:
        tried.append(kept)
        return {"d", "p"} <= set(kept)

    assert thinned(list("abcdefghijklmnop"), fails) == ["d", "p"]
    assert len(tried) < 60


def test_shrinking_gives_up_nothing_when_the_failure_does_not_repeat() -> None:
    assert thinned(["a", "b"], lambda _kept: False) == ["a", "b"]


def test_most_flows_of_the_corpus_take_part_and_the_default_seeds_play_them_all() -> None:
    assert len(corpus()) > 500
    played = {scenario_of(seed).name for seed in range(DEFAULT)}
    assert {scenario.name for scenario in (*corpus(), *SCENARIOS, HOLDERS)} - played == set()


def test_every_mutant_has_its_place_in_the_engine() -> None:
    assert list(stale()) == []


def test_the_page_on_reliability_names_every_invariant_and_every_mutant() -> None:
    page = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [f"| {invariant.name} | {invariant.value} |" for invariant in Invariant]
    rows += [f"| {mutant.name} |" for mutant in MUTANTS]
    assert [row for row in rows if row not in page] == []


def test_a_broken_engine_is_caught() -> None:
    catch = hunt(next(mutant for mutant in MUTANTS if mutant.name.startswith("ignore the watermark")), seeds=100)
    assert catch is not None
    assert catch.invariant == "WATERMARK"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert hunt(mutant) is not None
