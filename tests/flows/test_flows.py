"""Every flow of the corpus ends as its file says: in memory, whatever dies there, on the local runtime, and on AWS."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from flows.corpus import FlowCase, all_cases, differences
from flows.runtimes import FrailRuntime, run_locally, run_virtually
from headrace_functions.testing.cloud import Cloud

CASES = all_cases()

OTHERWISE_ON_AWS = {
    "retry/random": "a delay is whole seconds there, rounded up",
    "secrets/an-empty-secret": "Parameter Store takes no empty value",
    "scripts/node": "Lambda's image for Python has no Node.js, and the flow is refused",
}
"""What ends otherwise there, and why."""


def skip_without_interpreter(case: FlowCase) -> None:
    if ".scripts.node." in case.source and not (shutil.which("node") or shutil.which("nodejs")):
        pytest.skip("Node.js is not installed")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flow_ends_as_its_file_says(case: FlowCase, tmp_path: Path) -> None:
    skip_without_interpreter(case)
    found = differences(case.expected, run_virtually(case, tmp_path))
    assert not found, f"{case.path}\n{found}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flow_ends_the_same_when_engines_die_and_messages_come_twice(case: FlowCase, tmp_path: Path) -> None:
    skip_without_interpreter(case)
    found = differences(case.expected, run_virtually(case, tmp_path, FrailRuntime))
    assert not found, f"{case.path}\n{found}"


@pytest.mark.parametrize("case", [case for case in CASES if not case.needs_virtual_time], ids=lambda case: case.name)
def test_a_flow_ends_as_its_file_says_on_the_local_runtime(case: FlowCase, tmp_path: Path) -> None:
    skip_without_interpreter(case)
    found = differences(case.expected, run_locally(case, tmp_path), in_order=False)
    assert not found, f"{case.path}\n{found}"


ROUND = int(os.environ.get("HEADRACE_ROUND", "0"))
"""Which eighth of the corpus runs on AWS each time; who counts up sees all of it in eight rounds."""


def on_aws(case: FlowCase) -> object:
    """Return the case as a parameter: an eighth of the corpus runs each time, the same one in a round, the rest is slow."""
    marks = [] if (zlib.crc32(case.name.encode()) + ROUND) % 8 == 0 else [pytest.mark.slow]
    return pytest.param(case, id=case.name, marks=marks)


def with_lines_in_any_order(told: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome with sorted logs: lines that two machines write at one instant have no order."""
    parts = {
        name: [with_lines_in_any_order(other) for other in value] if name == "executions" else value
        for name, value in told.items()
    }
    if "follower" in parts:
        parts["follower"] = with_lines_in_any_order(parts["follower"])
    return parts | ({"log": sorted(parts["log"])} if "log" in parts else {})


@pytest.mark.parametrize("case", [on_aws(case) for case in CASES if case.name not in OTHERWISE_ON_AWS])
def test_a_flow_ends_as_its_file_says_on_aws(case: FlowCase, tmp_path: Path) -> None:
    skip_without_interpreter(case)
    clouds: list[Cloud] = []

    def make(**given: Any) -> Cloud:
        clouds.append(Cloud(**given))
        return clouds[-1]

    came = with_lines_in_any_order(run_virtually(case, tmp_path, make))
    found = differences(with_lines_in_any_order(dict(case.expected)), came)
    assert not found, f"{case.path}\n{found}"
    assert not clouds[-1].crashes


def test_what_ends_otherwise_on_aws_is_in_the_corpus() -> None:
    assert OTHERWISE_ON_AWS.keys() <= {case.name for case in CASES}
