"""A store that fails while a task of ours runs loses the attempt; what a store says no to fails it (DESIGN §3.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headrace_engine.core.codec import decode_message
from headrace_engine.core.messages import Kill, Resume
from headrace_engine.ports import ContentError, PortError
from headrace_engine.testing.runtime import Outcome, VirtualRuntime, World

GET = "{id: get, type: io.kestra.plugin.core.kv.Get, key: there, errorOnMissing: true}"
READ = "{id: read, type: io.kestra.plugin.core.storage.Size, uri: 'kestra:///demo/_files/there.txt'}"
MISSING = "{id: read, type: io.kestra.plugin.core.storage.Size, uri: 'kestra:///demo/_files/missing.txt'}"


class Failing:
    """A port, of which the first calls of one method raise."""

    def __init__(self, port: Any, method: str, error: Exception, times: int) -> None:
        self._port = port
        self._method = method
        self._error = error
        self._left = times

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._port, name)
        if name != self._method:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._left:
                self._left -= 1
                raise self._error
            return found(*args, **kwargs)

        return call


def ran(task: str, store: str, method: str, error: Exception, times: int) -> Outcome:
    """Return what comes of a task while a store fails so many times."""
    world = World()
    world.stores.storage.put("kestra:///demo/_files/there.txt", b"four")
    port: Any = Failing(getattr(world.stores, store), method, error, times)
    with VirtualRuntime(world=world) as calm:
        calm.run(
            "id: put\nnamespace: demo\ntasks: [{id: set, type: io.kestra.plugin.core.kv.Set, key: there, value: x}]"
        )
    world.stores = replace(world.stores, **{store: port})
    with VirtualRuntime(world=world) as runtime:
        return runtime.run(f"id: flow\nnamespace: demo\ntasks: [{task}]")


def attempts(outcome: Outcome) -> list[str]:
    return [attempt["state"]["current"] for attempt in outcome.task_runs[0]["attempts"]]


def test_the_attempt_is_lost_and_made_again() -> None:
    for task, store, method in ((GET, "kv", "get"), (READ, "storage", "stat")):
        outcome = ran(task, store, method, PortError("throttled"), 2)
        assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["RESUBMITTED", "RESUBMITTED", "SUCCESS"])
        assert [line.message for line in outcome.logs if line.level == "ERROR"] == []


def test_three_in_a_row_fail_the_task_and_say_why() -> None:
    outcome = ran(GET, "kv", "get", PortError("throttled"), 99)
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["RESUBMITTED"] * 3)
    assert outcome.task_runs[0]["error"] == "PortError: throttled"


def test_an_answer_that_is_no_fails_it_at_once() -> None:
    outcome = ran(GET, "kv", "get", ContentError("it is locked"), 1)
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])
    assert outcome.task_runs[0]["error"] == "ContentError: it is locked"
    outcome = ran(MISSING, "kv", "get", PortError("never"), 0)
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])


def test_code_of_people_that_has_run_does_not_run_again() -> None:
    script = "{id: write, type: io.kestra.plugin.scripts.shell.Commands, commands: ['echo 1 > out.txt'],"
    script += " outputFiles: [out.txt], taskRunner: {type: io.kestra.plugin.core.runner.Process}}"
    outcome = ran(script, "storage", "put", PortError("throttled"), 1)
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])


class Unsure(World):
    """Sends the first Kill and the first Resume, and says that it did not."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[type] = [Kill, Resume]
        self.other: VirtualRuntime

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        super().send(execution_id, message)
        kind = type(decode_message(message))
        if kind in self.left:
            self.left.remove(kind)
            # The message is handled before the task is tried again.
            self.other.deliver(self.letters[-1])
            raise PortError("no answer came")


@pytest.mark.parametrize(("verb", "end"), [("Kill", "KILLED"), ("Resume", "SUCCESS")])
def test_what_a_lost_attempt_did_is_done(verb: str, end: str) -> None:
    world = Unsure()
    with VirtualRuntime(world=world) as other, VirtualRuntime(world=world) as runtime:
        world.other = other
        runtime.save_flow("id: paused\nnamespace: demo\ntasks: [{id: p, type: io.kestra.plugin.core.flow.Pause}]")
        paused = runtime.create("demo", "paused")
        runtime.settle()
        task = f"{{id: t, type: io.kestra.plugin.core.execution.{verb}, executionId: {paused}}}"
        outcome = runtime.run(f"id: flow\nnamespace: demo\ntasks: [{task}]")
        runtime.executor.forget(paused)
        assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["RESUBMITTED", "SUCCESS"])
        assert runtime.outcome(paused).state == end
