"""Every flow of the corpus ends as its file says: on the virtual clock, whatever dies there, and on the local runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.corpus import FlowCase, all_cases, differences
from flows.runtimes import FrailRuntime, run_locally, run_virtually

CASES = all_cases()


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
