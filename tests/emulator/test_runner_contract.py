"""The runners' contract on the deployed stack: Lambda, ECS Fargate and AWS Batch, driven over the API.

The suite is the one that every runner passes. Its clauses wait most of the time, so several are under way together;
each test then tells what came of one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from aws.ministack import Emulator
from emulator.client import Client
from emulator.deployed_runner import DeployedRunner
from emulator.processes import played
from emulator.waiting import until
from headrace_runners.testing import RecordingContext, RunnerContract

pytestmark = pytest.mark.emulator

RUNNERS = {
    "lambda": "io.headrace.runner.lambda.Lambda",
    "fargate": "io.headrace.runner.ecs.Fargate",
    "batch": "io.kestra.plugin.ee.aws.runner.Batch",
}
CLAUSES = [name for name, _ in inspect.getmembers(RunnerContract, inspect.isfunction) if name.startswith("test_")]
AT_ONCE = 6

Verdicts = Mapping[tuple[str, str], Future[None]]


class Deployed(RunnerContract):
    IMAGE = "any/image"


def judge(client: Client, where: str, clause: str, folder: Path) -> None:
    """Raise what the suite says against a runner."""
    runner = DeployedRunner(client, RUNNERS[where], f"contract-{where}")
    getattr(Deployed(), clause)(runner, RecordingContext(), folder)
    assert runner.executions


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Verdicts]:
    """Begin the clauses that tests of this run are about."""
    asked = [
        (item.callspec.params["where"], item.callspec.params["clause"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_a_clause_holds_on_the_deployed_stack.__name__
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {each: pool.submit(judge, client, *each, tmp_path_factory.mktemp("folder")) for each in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("clause", CLAUSES)
@pytest.mark.parametrize("where", RUNNERS)
def test_a_clause_holds_on_the_deployed_stack(verdicts: Verdicts, where: str, clause: str) -> None:
    verdicts[where, clause].result()


def test_nothing_of_the_suite_runs_any_more(verdicts: Verdicts, emulator: Emulator) -> None:
    for verdict in verdicts.values():
        verdict.exception()
    until(lambda: not played(emulator, "sleep 1000"), "end of the containers' processes")
