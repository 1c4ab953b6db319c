"""kill -9 at any moment of a run with real processes; started again, the execution ends as if nothing had happened.

The flow (killed.yaml) has scripts in shell and Python, retries, parallel branches, loops, light tasks, a
WorkingDirectory, a subflow, errors, finally and afterExecution. Each seed is a round: the engine is killed up to three
times, at moments drawn from the seed, then left to finish.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crash.lives import SOON, Round, Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with closing(Zygote()) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """What comes of a run that nobody disturbs, and its number of steps."""
    calm = Round(zygote, tmp_path_factory.mktemp("calm"), "calm")
    calm.start()
    calm.finish()
    expected = calm.outcomes()
    assert expected["killed"]["state"] == "WARNING"  # for what AllowFailure let pass
    assert expected["killed"]["outputs"]["total"] == 9
    assert expected["killed"]["outputs"]["tried"] == "2"
    assert len(expected["killed"]["task runs"]) == 27
    return expected, calm.steps


def play(zygote: Zygote, folder: Path, seed: int, undisturbed: tuple[dict[str, Any], int]) -> None:
    """Kill the engine up to three times at moments that *seed* gives, let it finish, and compare."""
    expected, steps = undisturbed
    generator = random.Random(seed)
    this = Round(zygote, folder, f"seed{seed}")
    kills = generator.randint(1, 3)
    while True:
        this.start()
        # Also 0: before the first entry, while the folder is opened or recovered.
        moment = generator.choice([0, generator.randint(0, steps), generator.randint(0, steps)])
        if not kills or not this.live_until(moment, generator.uniform(0.0, 0.12)):
            break
        if this.would_be_unfair():
            this.go_on()
            break
        this.kill()
        kills -= 1
    this.finish()
    assert this.outcomes() == expected


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_changes_nothing(
    seed: int, zygote: Zygote, tmp_path: Path, undisturbed: tuple[dict[str, Any], int]
) -> None:
    play(zygote, tmp_path, seed, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 62))
def test_fifty_kills_change_nothing(
    seed: int, zygote: Zygote, tmp_path: Path, undisturbed: tuple[dict[str, Any], int]
) -> None:
    play(zygote, tmp_path, seed, undisturbed)


@pytest.mark.parametrize("seed", range(3))
def test_an_execution_that_was_killed_stays_killed_when_the_engine_dies(
    seed: int, zygote: Zygote, tmp_path: Path
) -> None:
    """`kill` returned, so it is on record; nothing runs on, nothing new starts, and all comes to its end."""
    generator = random.Random(seed)
    this = Round(zygote, tmp_path, f"stopped{seed}")
    this.start(kill_at=str(generator.randint(1, 15)))
    while this.hear(SOON) != "killing":
        pass
    if this.live_until(0, generator.uniform(0.0, 0.02)):
        this.kill()
        this.start()
    this.finish()
    told = this.outcomes()
    assert told["killed"]["state"] == "KILLED"
    states = {run["state"] for run in told["killed"]["task runs"].values()}
    assert states <= {"KILLED", "SUCCESS", "WARNING", "FAILED"}


def test_a_script_that_will_not_end_is_ended_when_the_folder_is_opened_again(zygote: Zygote, tmp_path: Path) -> None:
    """It ignores SIGTERM, and started something in a session of its own."""
    flow = tmp_path / "stubborn.yaml"
    flow.write_text(
        """
id: stubborn
namespace: crash
tasks:
  - id: stubborn
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands:
      - echo "$OUTPUT_DIR" >> {{ envs.effects }}
      - '[ $(wc -l < {{ envs.effects }}) -gt 1 ] && exit 0'
      - trap '' TERM
      - setsid sleep 1000 &
      - while true; do echo alive; sleep 0.01; done
"""
    )
    this = Round(zygote, tmp_path, "stubborn", [flow])
    this.start()
    while this.hear(SOON) != "log alive":
        pass
    this.kill()
    this.start()
    # Recovery waits two seconds for a script that ignores SIGTERM: time enough to die again.
    this.die_within(0.1)
    this.start()
    this.finish()
    assert this.outcomes()["stubborn"]["state"] == "SUCCESS"
