"""Containers from the command line: an engine that is there, none, `--no-docker`, and what only AWS runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from stand_in_docker import StandInEngine

Headrace = Callable[..., Result]

TASKS = """
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Script
    containerImage: alpine
    script: echo ran
"""
FARGATE = """
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Script
    containerImage: alpine
    taskRunner: {type: io.headrace.runner.ecs.Fargate}
    script: echo ran
"""
SUITE = """
id: suite
namespace: demo
flowId: x
testCases:
  - id: runs
    type: io.kestra.core.tests.flow.UnitTest
    assertions:
      - value: "{{ outputs.script.taskRunner.type }}"
        endsWith: core.runner.Process
"""


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


def test_an_image_runs_in_docker(
    headrace: Headrace, flow: Callable[..., Path], engine: StandInEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    result = headrace("run", flow(TASKS), "--output", "json", "--quiet")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["taskRunList"]
    assert run["outputs"]["taskRunner"]["containerImage"] == "alpine"
    assert len(engine.created) == 1


def test_without_an_engine_the_way_out_is_told_and_is_one(
    headrace: Headrace, flow: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    failed = headrace("run", flow(TASKS))
    assert failed.exit_code == 1
    assert "--no-docker" in failed.output
    result = headrace("run", flow(TASKS), "--no-docker")
    assert result.exit_code == 0, result.output
    assert "runs as a process of this machine" in "".join(result.output.split("\n")).replace("  ", "")


def test_the_tests_of_flows_take_the_way_out_too(
    headrace: Headrace, flow: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    flow(TASKS)
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE)
    assert headrace("test", suite).exit_code == 1
    assert headrace("test", suite, "--no-docker").exit_code == 0


@pytest.mark.parametrize("words", [["run"], ["test"], ["server"]])
def test_the_option_is_there(headrace: Headrace, words: list[str]) -> None:
    assert "--no-docker" in headrace(*words, "--help").output


def test_what_only_aws_runs_is_refused_before_anything_is_run(headrace: Headrace, flow: Callable[..., Path]) -> None:
    result = headrace("run", flow(FARGATE))
    assert result.exit_code == 2
    assert "`io.headrace.runner.ecs.Fargate` runs on a stack on AWS only" in " ".join(result.output.split())
    assert "io.kestra.plugin.core.runner.Process" in result.output
