"""The examples of the task runners: the same flow on each, run where it can be run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_flows import CHECKOUT, FOLDER
from stand_in_docker import StandInEngine

HEADRACE = Path(sys.executable).with_name("headrace")
RUNNERS = FOLDER / "runners"
LOCAL = {
    "process": "io.kestra.plugin.core.runner.Process",
    "docker": "io.kestra.plugin.scripts.runner.docker.Docker",
    "lambda": "io.headrace.runner.lambda.Lambda",
}


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        engine.images.add("python:3.13-slim")
        engine.programs = str(Path(sys.executable).parent)
        yield engine


def headrace(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADRACE, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", LOCAL)
def test_the_report_is_the_same_wherever_it_is_made(name: str, engine: StandInEngine) -> None:
    done = headrace("run", RUNNERS / f"{name}.yaml", "--output", "json", DOCKER_HOST=engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    execution = json.loads(done.stdout)
    assert execution["state"]["current"] == "SUCCESS"
    assert execution["outputs"]["total"] == 42
    assert execution["outputs"]["report"].endswith("/report.txt")
    report = next(run for run in execution["taskRunList"] if run["taskId"] == "report")
    assert report["outputs"]["taskRunner"]["type"] == LOCAL[name]
    assert len(engine.created) == (name == "docker")


@pytest.mark.parametrize("name", ["fargate", "batch"])
def test_what_needs_a_stack_is_valid_and_says_so(name: str) -> None:
    flow = RUNNERS / f"{name}.yaml"
    assert headrace("validate", flow).returncode == 0
    refused = headrace("run", flow)
    assert refused.returncode == 2
    assert "runs on a stack on AWS only" in " ".join(refused.stderr.split())


def test_the_flows_differ_in_three_lines() -> None:  # beside their names
    flows = {path.stem: path.read_text().partition("namespace:")[2].splitlines() for path in RUNNERS.glob("*.yaml")}
    assert set(flows) == {*LOCAL, "fargate", "batch"}
    said = (
        "    containerImage: ",
        "    taskRunner:",
        "      type: io.headrace.runner.",
        "      type: io.kestra.plugin.",
    )
    rest = {name: [line for line in lines if not line.startswith(said)] for name, lines in flows.items()}
    assert all(lines == rest["process"] for lines in rest.values())
    assert max(len(flows[name]) - len(rest[name]) for name in flows) == 3
