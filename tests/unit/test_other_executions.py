"""Tasks that deal with other executions, and TemplatedTask, over a whole engine (reference §11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.model.search import ExecutionQuery
from headrace_engine.ports import PurgedError
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import Outcome, VirtualRuntime

WORK = """
id: work
namespace: demo.team
inputs: [{id: fail, type: BOOLEAN, defaults: false}]
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: working}
  - {id: warn, type: io.kestra.plugin.core.log.Log, message: careful, level: WARN}
  - {id: file, type: io.kestra.plugin.core.storage.Write, content: x}
  - {id: check, type: io.kestra.plugin.core.execution.Fail, condition: "{{ inputs.fail }}"}
"""

WAITING = """
id: waiting
namespace: demo.team
tasks:
  - {id: p, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: why, type: STRING}]}
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.p.onResume.why }}"}
"""


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime(secrets={"TOKEN": "hunter2"}) as runtime:
        runtime.save_flow(WORK)
        runtime.save_flow(WAITING)
        yield runtime


def start(runtime: VirtualRuntime, flow_id: str, **inputs: object) -> str:
    execution_id = runtime.create("demo.team", flow_id, inputs)
    runtime.settle(None)
    return execution_id


def do(runtime: VirtualRuntime, task: str, inputs: dict[str, Any] | None = None, more: str = "") -> Outcome:
    """Run one task as a flow of the namespace admin."""
    lines = "\n    ".join(task.strip().splitlines())
    return runtime.run(f"id: admin\nnamespace: admin\n{more}\ntasks:\n  - id: t\n    {lines}\n", inputs)


def outputs(outcome: Outcome) -> Any:
    assert outcome.state == "SUCCESS", outcome.find("t")["error"]
    return outcome.find("t")["outputs"]


def error(outcome: Outcome) -> str:
    assert outcome.state == "FAILED"
    return str(outcome.find("t")["error"])


COUNT = "type: io.kestra.plugin.core.execution.Count\nstartDate: 2026-01-01T00:00:00Z\n"


def test_count_by_flow_with_an_expression(runtime: VirtualRuntime) -> None:
    start(runtime, "work")
    start(runtime, "work", fail=True)
    start(runtime, "waiting")
    flows = "flows: [{namespace: demo.team, flowId: work}, {namespace: demo.team, flowId: waiting}, {namespace: demo.team, flowId: none}]\n"
    found = outputs(do(runtime, COUNT + flows))
    assert [result["count"] for result in found["results"]] == [2, 1, 0]
    assert found["total"] == 3
    found = outputs(do(runtime, COUNT + flows + 'expression: "{{ count == 0 }}"'))
    assert found == {"results": [{"namespace": "demo.team", "flowId": "none", "count": 0}], "total": 0}
    assert outputs(do(runtime, COUNT + flows + "states: [FAILED]"))["total"] == 1


def test_count_by_namespace_and_date(runtime: VirtualRuntime) -> None:
    start(runtime, "work")
    runtime.clock.set(runtime.clock.now() + timedelta(days=2))
    start(runtime, "work")
    assert outputs(do(runtime, COUNT + "namespaces: [demo]")) == {"total": 2}
    assert outputs(do(runtime, COUNT + "namespaces: [demo]\nendDate: 2026-01-02T00:00:00Z")) == {"total": 1}
    assert outputs(do(runtime, COUNT.replace("01-01", "01-02") + "namespaces: [demo]")) == {"total": 1}
    assert error(do(runtime, COUNT)) == "One of `flows` and `namespaces` is required"


RESUME = 'type: io.kestra.plugin.core.execution.Resume\nexecutionId: "{{ inputs.id }}"\n'
ID = "inputs: [{id: id, type: STRING}]"


def test_resume_with_inputs(runtime: VirtualRuntime) -> None:
    waiting = start(runtime, "waiting")
    refused = do(runtime, RESUME, {"id": waiting}, ID)
    assert "Invalid input for `why`" in error(refused)
    outputs(do(runtime, RESUME + "inputs: {why: fine}", {"id": waiting}, ID))
    outcome = runtime.outcome(waiting)
    assert outcome.state == "SUCCESS"
    assert outcome.find("say")["outputs"] == {"value": "fine"}
    assert error(do(runtime, RESUME, {"id": waiting}, ID)).startswith("Illegal state: execution is not paused")
    assert error(do(runtime, RESUME, {"id": "nope"}, ID)) == "There is no execution `nope`"
    assert "is required" in error(do(runtime, "type: io.kestra.plugin.core.execution.Resume"))


def test_kill(runtime: VirtualRuntime) -> None:
    waiting = start(runtime, "waiting")
    kill = 'type: io.kestra.plugin.core.execution.Kill\nexecutionId: "{{ inputs.id }}"'
    outputs(do(runtime, kill, {"id": waiting}, ID))
    assert runtime.outcome(waiting).state == "KILLED"
    assert error(do(runtime, kill, {"id": waiting}, ID)).startswith("Illegal state")


PURGE = "type: io.kestra.plugin.core.execution.PurgeExecutions\nnamespace: demo\nendDate: 2026-06-01T00:00:00Z\n"


def test_purge_takes_what_has_ended_and_leaves_a_tombstone(runtime: VirtualRuntime) -> None:
    done, waiting = start(runtime, "work"), start(runtime, "waiting")
    entry = runtime.stores.journal.entries(done)[0]
    found = outputs(do(runtime, PURGE))
    assert found["executionsCount"] == 1
    assert found["logsCount"] >= 2
    assert found["storagesCount"] >= 1
    assert not runtime.stores.journal.entries(done)
    assert runtime.stores.executions.get(done) is None
    assert not runtime.stores.logs.fetch(done)
    with pytest.raises(PurgedError):
        runtime.stores.journal.append(entry)
    assert runtime.outcome(waiting).state == "PAUSED"
    assert outputs(do(runtime, PURGE))["executionsCount"] == 0


@pytest.mark.parametrize(
    "more", ["states: [FAILED]", "flowId: waiting", "endDate: 2020-01-01T00:00:00Z", "startDate: 2026-02-01T00:00:00Z"]
)
def test_purge_only_what_is_meant(runtime: VirtualRuntime, more: str) -> None:
    start(runtime, "work")
    task = PURGE if "endDate" not in more else PURGE.replace("endDate: 2026-06-01T00:00:00Z\n", "")
    assert outputs(do(runtime, task + more))["executionsCount"] == 0


def test_purge_parts(runtime: VirtualRuntime) -> None:
    done = start(runtime, "work")
    found = outputs(do(runtime, PURGE + "purgeExecution: false\npurgeStorage: false"))
    assert (found["executionsCount"], found["storagesCount"]) == (0, 0)
    assert not runtime.stores.logs.fetch(done)
    outcome = runtime.outcome(done)
    assert outcome.state == "SUCCESS"
    assert runtime.stores.storage.stat(outcome.find("file")["outputs"]["uri"]) is not None


def test_fetch_logs(runtime: VirtualRuntime) -> None:
    done = start(runtime, "work")
    fetch = 'type: io.kestra.plugin.core.log.Fetch\nexecutionId: "{{ inputs.id }}"\n'
    found = outputs(do(runtime, fetch + "level: WARN", {"id": done}, ID))
    with runtime.stores.storage.open(found["uri"]) as stream:
        (line,) = map(json.loads, stream)
    assert found["size"] == 1
    assert (line["taskId"], line["level"], line["message"]) == ("warn", "WARN", "careful")
    assert outputs(do(runtime, fetch + "tasksId: [say]", {"id": done}, ID))["size"] == 1
    assert outputs(do(runtime, "type: io.kestra.plugin.core.log.Fetch"))["size"] == 0


def test_purge_logs(runtime: VirtualRuntime) -> None:
    done = start(runtime, "work")
    purge = "type: io.kestra.plugin.core.log.PurgeLogs\nnamespace: demo.team\nendDate: 2026-06-01T00:00:00Z\n"
    before = len(runtime.stores.logs.fetch(done))
    assert outputs(do(runtime, purge + "logLevels: [WARN]")) == {"count": 1}
    assert outputs(do(runtime, purge)) == {"count": before - 1}
    assert not runtime.stores.logs.fetch(done)


def test_a_namespace_reaches_only_what_the_policy_says() -> None:
    settings = Settings(may_reach=lambda own, other: other.startswith(own))
    with VirtualRuntime(settings=settings) as runtime:
        runtime.save_flow(WORK)
        runtime.save_flow(WAITING)
        waiting, done = start(runtime, "waiting"), start(runtime, "work")
        refused = "The namespace 'admin' may not deal with executions of the namespace "
        assert error(do(runtime, RESUME, {"id": waiting}, ID)) == refused + "'demo.team'"
        assert error(do(runtime, COUNT + "namespaces: [demo]")) == refused + "'demo'"
        fetch = 'type: io.kestra.plugin.core.log.Fetch\nexecutionId: "{{ inputs.id }}"\n'
        assert error(do(runtime, fetch, {"id": done}, ID)) == refused + "'demo.team'"
        everything = PURGE.replace("namespace: demo\n", "")
        do(runtime, everything)
        assert runtime.stores.executions.get(done) is not None


TEMPLATED = "type: io.kestra.plugin.core.templating.TemplatedTask\nspec: "


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ('"{type: io.kestra.plugin.core.debug.Return, {{ inputs.name }}: hello}"', "hello"),
        ("\"{type: io.kestra.plugin.core.debug.Return, format: '{{ '{{ inputs.name }}' }}'}\"", "format"),
    ],
)
def test_a_templated_task(runtime: VirtualRuntime, spec: str, value: str) -> None:
    given = do(runtime, TEMPLATED + spec, {"name": "format"}, "inputs: [{id: name, type: STRING}]")
    assert outputs(given) == {"value": value}


def test_a_templated_task_that_is_dispatched(runtime: VirtualRuntime) -> None:
    outcome = do(runtime, TEMPLATED + '"{type: io.kestra.plugin.core.storage.Write, content: {{ flow.id }}}"')
    with runtime.stores.storage.open(outputs(outcome)["uri"]) as stream:
        assert stream.read() == b"admin"


def test_a_secret_of_the_spec_stays_sealed(runtime: VirtualRuntime) -> None:
    spec = "\"{type: io.kestra.plugin.core.storage.Write, content: 'a {{ secret('TOKEN') }} b'}\""
    outcome = do(runtime, TEMPLATED + spec)
    with runtime.stores.storage.open(outputs(outcome)["uri"]) as stream:
        assert stream.read() == b"a hunter2 b"
    assert not any(b"hunter2" in entry.data for entry in runtime.stores.journal.entries(outcome.view["id"]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("'{type: io.kestra.plugin.core.flow.Sequential, tasks: []}'", "The templated task must be a runnable task"),
        (
            "'{type: io.kestra.plugin.core.templating.TemplatedTask, spec: x}'",
            "The templated task must be a runnable task",
        ),
        ("'{type: io.headrace.foreachitem.Merge}'", "The templated task must be a runnable task"),
        ("'{type: com.example.Nothing}'", "The templated task must be a runnable task"),
        ("'just a text'", "The spec is not a task"),
        ("'{type: ['", "The spec is not YAML"),
        ("'{type: io.kestra.plugin.core.debug.Return, no: x}'", "Invalid property `no`"),
        ("'{{ nope }}'", "Unable to find `nope`"),
    ],
)
def test_what_is_no_task_is_refused(runtime: VirtualRuntime, spec: str, message: str) -> None:
    found = error(do(runtime, TEMPLATED + spec))
    assert message in found or "nope" in found


LISTENING = """
id: listening
namespace: demo.team
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: heard}]
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    conditions: [{type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: demo.team, flowId: work}]
"""
TOGGLE = "type: io.kestra.plugin.core.trigger.Toggle\n"


def heard(runtime: VirtualRuntime) -> int:
    start(runtime, "work")
    found = runtime.stores.executions.search(ExecutionQuery(("demo.team",), "listening")).found
    return len(found)


def test_a_trigger_is_switched_off_and_on_again(runtime: VirtualRuntime) -> None:
    runtime.save_flow(LISTENING)
    where = TOGGLE + "namespace: demo.team\nflowId: listening\ntrigger: after\n"
    assert heard(runtime) == 1
    outputs(do(runtime, where))
    assert heard(runtime) == 1
    outputs(do(runtime, where + "enabled: '{{ 1 == 1 }}'"))
    assert heard(runtime) == 2


def test_a_flow_switches_its_own_trigger_off(runtime: VirtualRuntime) -> None:
    switching = "{id: t, type: io.kestra.plugin.core.trigger.Toggle, trigger: after}"
    runtime.save_flow(LISTENING.replace("tasks: [", f"tasks: [{switching}, "))
    assert [heard(runtime), heard(runtime)] == [1, 1]


def test_a_trigger_that_is_not_there_cannot_be_switched(runtime: VirtualRuntime) -> None:
    assert error(do(runtime, TOGGLE + "trigger: a")) == "There is no trigger `a` in the flow `admin` of `admin`"
    unknown = TOGGLE + "namespace: demo.team\nflowId: nope\ntrigger: a"
    assert error(do(runtime, unknown)) == "There is no flow `nope` in the namespace `demo.team`"


def test_a_trigger_out_of_reach_cannot_be_switched() -> None:
    with VirtualRuntime(settings=Settings(may_reach=lambda own, other: own == other)) as runtime:
        runtime.save_flow(LISTENING)
        found = do(runtime, TOGGLE + "namespace: demo.team\nflowId: listening\ntrigger: after")
        assert error(found) == "The namespace 'admin' may not deal with flows of the namespace 'demo.team'"
        assert not runtime.stores.triggers.get("demo.team", "listening", "after").disabled
