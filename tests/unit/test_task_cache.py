"""taskCache: a task run with the properties of an earlier one takes its outputs, and does no work (reference §2.1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from headrace_engine.language import FlowError
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.ports import Job
from headrace_engine.testing.runtime import Outcome, VirtualRuntime

FLOW = """
id: cached
namespace: demo
inputs: [{id: text, type: STRING, defaults: one}]
tasks:
  - id: write
    type: io.kestra.plugin.core.storage.Write
    content: "{{ inputs.text }}"
    taskCache: {enabled: true, ttl: PT1H}
  - {id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(outputs.write.uri) }}"}
"""


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def runtime(ran: list[str]) -> Iterator[VirtualRuntime]:
    def note(job: Job) -> AttemptResult | None:
        ran.append(job.task_id)
        return None

    with VirtualRuntime(run_job=note, secrets={"TOKEN": "hunter2"}) as runtime:
        yield runtime


def reused(outcome: Outcome) -> bool:
    return any("taskCache" in line.message for line in outcome.logs)


def test_a_second_run_takes_the_outputs_of_the_first(runtime: VirtualRuntime) -> None:
    first, second = runtime.run(FLOW), runtime.run(FLOW)
    assert (reused(first), reused(second)) == (False, True)
    assert second.find("write")["outputs"] == first.find("write")["outputs"]
    assert second.find("read")["outputs"] == {"value": "one"}
    assert [each["state"]["current"] for each in second.find("write")["attempts"]] == ["SUCCESS"]


def test_other_properties_are_another_run(runtime: VirtualRuntime) -> None:
    runtime.run(FLOW)
    other = runtime.run(FLOW, {"text": "two"})
    assert not reused(other)
    assert other.find("read")["outputs"] == {"value": "two"}


def test_what_is_as_old_as_the_ttl_runs_again(runtime: VirtualRuntime) -> None:
    runtime.run(FLOW)
    runtime.clock.set(runtime.clock.now() + timedelta(minutes=59))
    assert reused(runtime.run(FLOW))
    runtime.clock.set(runtime.clock.now() + timedelta(minutes=1))
    assert not reused(runtime.run(FLOW))
    assert reused(runtime.run(FLOW))


def test_outputs_whose_files_are_gone_are_made_again(runtime: VirtualRuntime) -> None:
    first = runtime.run(FLOW)
    runtime.stores.storage.delete(first.find("write")["outputs"]["uri"])
    assert not reused(runtime.run(FLOW))


def test_without_a_ttl_it_lasts_and_switched_off_it_does_nothing(runtime: VirtualRuntime) -> None:
    forever = FLOW.replace("{enabled: true, ttl: PT1H}", "{enabled: true}")
    runtime.run(forever)
    runtime.clock.set(runtime.clock.now() + timedelta(days=900))
    assert reused(runtime.run(forever))
    assert not reused(runtime.run(FLOW.replace("{enabled: true, ttl: PT1H}", "{enabled: false}")))


def test_a_dispatched_task_is_not_sent_to_a_worker_again(runtime: VirtualRuntime, ran: list[str]) -> None:
    source = """
id: scripts
namespace: demo
tasks:
  - id: run
    type: io.kestra.plugin.scripts.shell.Script
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    env: {TOKEN: "{{ secret('TOKEN') }}"}
    script: |
      echo '::{"outputs":{"n":1}}::'
    taskCache: {enabled: true}
"""
    first, second = runtime.run(source), runtime.run(source)
    assert first.state == second.state == "SUCCESS"
    assert ran == ["run"]
    assert second.find("run")["outputs"] == first.find("run")["outputs"]
    (kept,) = runtime.stores.storage.list("kestra:///demo/scripts/run/_cache")
    with runtime.stores.storage.open(kept.uri) as stream:
        assert b"hunter2" not in stream.read()


def test_a_failure_is_not_kept(runtime: VirtualRuntime) -> None:
    source = """
id: failing
namespace: demo
tasks:
  - {id: size, type: io.kestra.plugin.core.storage.Size, uri: "kestra:///demo/x/executions/y/tasks/z", taskCache: {enabled: true}}
"""
    assert [runtime.run(source).state for _ in range(2)] == ["FAILED", "FAILED"]
    assert not runtime.stores.storage.list("kestra:///demo/failing/size")


def test_it_is_refused_where_nothing_works(runtime: VirtualRuntime) -> None:
    with pytest.raises(FlowError, match="`taskCache` is for tasks that do work"):
        runtime.save_flow("""
id: refused
namespace: demo
tasks:
  - id: all
    type: io.kestra.plugin.core.flow.Sequential
    taskCache: {enabled: true}
    tasks: [{id: a, type: io.kestra.plugin.core.debug.Return, format: x}]
""")
