"""Every example ends as its comment says: run as a person runs it, with the command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from example_flows import CHECKOUT, Example, all_examples

HEADRACE = Path(sys.executable).with_name("headrace")


def headrace_run(example: Example, *options: str) -> subprocess.CompletedProcess[str]:
    """Run *example* from the checkout's top folder."""
    return subprocess.run(
        [HEADRACE, "run", example.path, *example.arguments, *options],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: example.path.stem)
def test_an_example_ends_as_it_says(example: Example) -> None:
    done = headrace_run(example, "--output", "json")
    assert done.returncode == example.exit_code, done.stdout + done.stderr
    execution = json.loads(done.stdout)
    states: dict[str, list[str]] = defaultdict(list)
    for task_run in execution["taskRunList"]:
        states[task_run["taskId"]].append(task_run["state"]["current"])
    assert execution["state"]["current"] == example.state
    assert {task: sorted(of_task) for task, of_task in states.items()} == example.tasks
    if example.outputs is not None:
        assert execution["outputs"] == example.outputs


@pytest.mark.parametrize(
    "example", [example for example in all_examples() if example.log], ids=lambda example: example.path.stem
)
def test_an_example_logs_what_it_says(example: Example) -> None:
    done = headrace_run(example)
    assert done.returncode == example.exit_code, done.stdout + done.stderr
    rest = done.stdout + done.stderr
    for message in example.log:
        _, found, rest = rest.partition(message)
        assert found, f"not in the output, or not in this order: {message}\n{done.stdout}{done.stderr}"


def test_the_etl_example_runs_in_a_data_folder_named_from_the_current_one(tmp_path: Path) -> None:
    etl = next(example for example in all_examples() if example.path.stem == "etl")
    done = headrace_run(etl, "--output", "json", "--data-dir", os.path.relpath(tmp_path, CHECKOUT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["outputs"] == etl.outputs
