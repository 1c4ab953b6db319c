"""The runners' contract on Lambda: every command runs in an invocation of the `script` function's handler."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from aws.isolated import START, Clock, Context, Platform, Queue
from headrace_engine.adapters.memory.claims import MemoryClaims
from headrace_engine.core.codec import decode_result
from headrace_engine.jobs import encode_job
from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure
from headrace_engine.ports import AttemptId, Job
from headrace_functions.environment import Environment
from headrace_functions.script import Sandbox, handle
from headrace_runners.aws_lambda import Lambda
from headrace_runners.contract import Command, OnLine, Site, TaskRunner
from headrace_runners.testing import RecordingContext, RunnerContract

ENVIRONMENT = Environment(
    stack="test", table="table", api_url="http://127.0.0.1:1", mailbox_url="http://127.0.0.1:1/mailbox"
)
_attempts = itertools.count(1)


class Contracted(RunnableTask):
    """Runs a command of the suite with the Lambda runner."""

    TYPE: ClassVar[str] = "test.Contracted"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    RUNS_CODE: ClassVar[bool] = True
    work: ClassVar[Callable[[RunContext], None]]

    def run(self, context: RunContext) -> None:
        """Run it."""
        type(self).work(context)


class HandlerRunner:
    """Implements contract.TaskRunner by calls of the handler."""

    def __init__(self, folder: Path) -> None:
        self.claims, self.queue = MemoryClaims(), Queue()
        self.sandbox = Sandbox(
            ENVIRONMENT,
            self.claims,  # type: ignore[arg-type] # memory's
            self.queue,
            Registry([Contracted]),
            Clock(),
            folder,
            transport=httpx.MockTransport(Platform()),
        )

    def site(self, directory: Path) -> Site:
        """See contract.TaskRunner."""
        return Lambda().runner().site(directory)

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """See contract.TaskRunner."""
        codes: list[int] = []
        refused: list[TaskFailure] = []

        def work(inside: RunContext) -> None:
            context.on_stop(inside.stop)  # type: ignore[attr-defined] # it is the worker's
            recording = inside.record_process_group

            def record(group: int) -> None:
                context.record_process_group(group)
                recording(group)

            inside.record_process_group = record  # type: ignore[method-assign] # the suite wants to hear of it, too
            try:
                codes.append(Lambda().runner().run(command, inside, on_line))
            except TaskFailure as failure:
                refused.append(failure)
                raise

        Contracted.work = staticmethod(work)
        attempt = AttemptId("execution", f"run{next(_attempts)}", 0)
        job = Job(attempt, Contracted.TYPE, "task", "team", "flow", 1, START, {})
        event = {
            "attempt": {"execution": attempt.execution_id, "taskRun": attempt.task_run_id, "number": 0},
            "job": base64.b64encode(encode_job(job)).decode(),
            "token": "1.token-of-0",
        }
        handle(self.sandbox, event, Context(f"request-{attempt.task_run_id}"), leave=_never)
        claim = self.claims.get(attempt)
        assert claim is not None
        assert claim.result is not None
        assert len(self.queue.sent) == 1, "the end is reported once"
        self.queue.sent.clear()
        assert not [*self.sandbox.folder.iterdir()], "nothing is left"
        if refused:
            raise refused[0]
        result = decode_result(claim.result)
        assert codes, result.error
        assert result.state is (State.KILLED if context.stopping else State.SUCCESS)
        return codes[0]


def _never(status: int) -> None:
    raise AssertionError(f"the sandbox ended with {status}")


class TestLambda(RunnerContract):
    @pytest.fixture
    def runner(self, tmp_path_factory: pytest.TempPathFactory) -> TaskRunner:
        return HandlerRunner(tmp_path_factory.mktemp("tmp"))

    @pytest.mark.parametrize("rounds", [3])
    def test_one_sandbox_runs_many(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path, rounds: int
    ) -> None:
        for number in range(rounds):
            assert self.lines_of(runner, context, tmp_path, f"exit {number}")[0] == number
