"""ForEachItem from its source to its end (reference §3.3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.core.fold import item_id
from headrace_engine.core.messages import Kill, Restart
from headrace_engine.language import FlowError
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import Outcome, VirtualRuntime, World

CHILD = """
id: child
namespace: demo
inputs:
  - {id: file, type: FILE}
  - {id: n, type: INT}
tasks:
  - {id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.file) | trim }}"}
  - id: check
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ outputs.read.value == kv('bad', errorOnMissing=false) }}"
outputs:
  - {id: said, type: STRING, value: "{{ inputs.n }}:{{ outputs.read.value }}"}
"""

SILENT = """
id: silent
namespace: demo
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}
"""

PAUSING = """
id: pausing
namespace: demo
tasks:
  - {id: p, type: io.kestra.plugin.core.flow.Pause}
"""

CALL = 'flowId: child\n    inputs: {file: "{{ taskrun.items }}", n: "{{ taskrun.iteration }}"}'


def parent(content: str = "a\\nb\\nc\\n", call: str = CALL, more: str = "", rest: str = "") -> str:
    """Return a flow whose ForEachItem goes over *content*."""
    return f"""
id: parent
namespace: demo
tasks:
  - {{id: file, type: io.kestra.plugin.core.storage.Write, content: "{content}", extension: .csv}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "{{{{ outputs.file.uri }}}}"
    namespace: demo
    {call}
    {more}
{rest}"""


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime(settings=Settings(items_at_once=2)) as runtime:
        for source in (CHILD, SILENT, PAUSING):
            runtime.save_flow(source)
        yield runtime


def states(outcome: Outcome) -> dict[str, str]:
    return {run["taskId"]: run["state"]["current"] for run in outcome.task_runs}


def text(runtime: VirtualRuntime, uri: str) -> str:
    with runtime.stores.storage.open(uri) as stream:
        return stream.read().decode()


def said(runtime: VirtualRuntime, outcome: Outcome) -> list[Any]:
    uri = outcome.find("each_merge")["outputs"]["subflowOutputs"]
    return [json.loads(line)["said"] for line in text(runtime, uri).splitlines()]


def children(runtime: VirtualRuntime, flow_id: str = "child") -> list[str]:
    found = runtime.stores.executions.search(ExecutionQuery(flow_id=flow_id), limit=1000).found
    return sorted(str(each.state) for each in found)


def bad(runtime: VirtualRuntime, value: str) -> None:
    runtime.stores.kv.put("demo", "bad", "STRING", value, now=runtime.clock.now())


def test_trap_10_four_task_runs_and_the_outputs_under_merge(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(parent())
    assert outcome.state == "SUCCESS"
    assert [run["taskId"] for run in outcome.task_runs] == ["file", "each", "each_split", "each_items", "each_merge"]
    each, split, items, merge = outcome.task_runs[1:]
    assert {run["parentTaskRunId"] for run in (split, items, merge)} == {each["id"]}
    assert each["outputs"] is None
    splits = text(runtime, split["outputs"]["splits"]).splitlines()
    assert [text(runtime, uri) for uri in splits] == ["a\n", "b\n", "c\n"]
    assert splits[0].endswith("/00000000.csv")
    assert items["outputs"]["numberOfBatches"] == 3
    assert items["outputs"]["iterations"] == {"CREATED": 0, "RUNNING": 0, "SUCCESS": 3}
    assert items["outputs"]["uri"].endswith(f"/tasks/each-items/{items['id']}")
    assert list(merge["outputs"]) == ["subflowOutputs"]
    assert said(runtime, outcome) == ["0:a", "1:b", "2:c"]
    assert children(runtime) == ["SUCCESS"] * 3


def test_the_children_say_who_started_them(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(parent(more="labels: {part: '{{ taskrun.iteration }}'}"), labels={"own": "x"})
    items = outcome.find("each_items")
    child = runtime.outcome(item_id(items["id"], 1, 0)).view
    assert child["trigger"] == {
        "id": "each_items",
        "type": "io.kestra.plugin.core.flow.ForEachItem",
        "variables": {
            "executionId": outcome.view["id"],
            "namespace": "demo",
            "flowId": "parent",
            "flowRevision": 1,
            "taskRunId": items["id"],
            "taskId": "each_items",
        },
    }
    labels = {label["key"]: label["value"] for label in child["labels"]}
    assert labels == {"part": "1", "system.correlationId": outcome.view["id"]}


@pytest.mark.parametrize(
    ("batch", "parts"),
    [
        ("{rows: 2}", ["a\nb\n", "c\n"]),
        ("{rows: '{{ 1 + 1 }}'}", ["a\nb\n", "c\n"]),
        ("{bytes: 4}", ["a\nb\n", "c\n"]),
        ("{partitions: 2}", ["a\nc\n", "b\n"]),
        ("{partitions: 5}", ["a\n", "b\n", "c\n"]),
        ("{partitions: 1, rows: 1}", ["a\nb\nc\n"]),
        ("{rows: 3, bytes: 2}", ["a\nb\nc\n"]),
        ("{separator: b}", ["a\nb", "\nc\nb"]),
    ],
)
def test_batches(runtime: VirtualRuntime, batch: str, parts: list[str]) -> None:
    outcome = runtime.run(parent(call="flowId: silent", more=f"batch: {batch}"))
    uris = text(runtime, outcome.find("each_split")["outputs"]["splits"]).splitlines()
    assert [text(runtime, uri) for uri in uris] == parts
    assert outcome.find("each_items")["outputs"]["numberOfBatches"] == len(parts)


def test_an_empty_file_is_a_success(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(parent(content=""))
    assert set(states(outcome).values()) == {"SUCCESS"}
    assert len(outcome.task_runs) == 5
    assert outcome.find("each_items")["outputs"] is None
    assert said(runtime, outcome) == []
    assert children(runtime) == []


def test_flows_without_outputs_leave_an_empty_file(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(parent(call="flowId: silent"))
    assert said(runtime, outcome) == []
    assert children(runtime, "silent") == ["SUCCESS"] * 3


def test_it_fails_only_after_all_parts_and_merges_nothing(runtime: VirtualRuntime) -> None:
    bad(runtime, "a")
    outcome = runtime.run(parent(rest="  - {id: next, type: io.kestra.plugin.core.debug.Return, format: x}\n"))
    assert outcome.state == "FAILED"
    expected = {"file": "SUCCESS", "each": "FAILED", "each_split": "SUCCESS", "each_items": "FAILED"}
    assert states(outcome) == expected
    items = outcome.find("each_items")
    assert items["outputs"]["iterations"] == {"CREATED": 0, "RUNNING": 0, "SUCCESS": 2, "FAILED": 1}
    assert items["error"] == "1 of 3 executions ended FAILED"


def test_a_failure_that_is_not_transmitted_is_merged_around(runtime: VirtualRuntime) -> None:
    bad(runtime, "b")
    outcome = runtime.run(parent(more="transmitFailed: false"))
    assert outcome.state == "SUCCESS"
    assert outcome.find("each_items")["outputs"]["iterations"] == {
        "CREATED": 0,
        "RUNNING": 0,
        "SUCCESS": 2,
        "FAILED": 1,
    }
    assert [line[0] for line in said(runtime, outcome)] == ["0", "1", "2"]


def test_the_executions_begin_at_their_schedule_date(runtime: VirtualRuntime) -> None:
    start = runtime.clock.now()
    outcome = runtime.run(parent(more="scheduleDate: \"{{ execution.startDate | dateAdd(1, 'HOURS') }}\""))
    assert outcome.state == "SUCCESS"
    assert runtime.clock.now() - start >= timedelta(hours=1)


def test_allow_failure_sits_on_the_parent(runtime: VirtualRuntime) -> None:
    bad(runtime, "a")
    outcome = runtime.run(
        parent(more="allowFailure: true", rest="  - {id: next, type: io.kestra.plugin.core.debug.Return, format: x}\n")
    )
    assert outcome.state == "WARNING"
    assert states(outcome)["each"] == "WARNING"
    assert states(outcome)["each_items"] == "FAILED"
    assert states(outcome)["next"] == "SUCCESS"


def test_its_errors_run(runtime: VirtualRuntime) -> None:
    bad(runtime, "a")
    errors = "errors: [{id: mail, type: io.kestra.plugin.core.debug.Return, format: x}]"
    assert states(runtime.run(parent(more=errors)))["mail"] == "SUCCESS"


def test_without_wait_nobody_waits_and_no_created_is_counted(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(parent(call="flowId: pausing", more="wait: false"))
    assert outcome.state == "SUCCESS"
    assert outcome.find("each_items")["outputs"]["iterations"] == {"SUCCESS": 3}
    assert children(runtime, "pausing") == ["PAUSED"] * 3
    assert text(runtime, outcome.find("each_merge")["outputs"]["subflowOutputs"]) == ""


def test_an_item_whose_inputs_will_not_do_has_failed_with_its_error_logged(runtime: VirtualRuntime) -> None:
    inputs = 'flowId: child\n    inputs: {file: "{{ taskrun.items }}", n: "{{ taskrun.iteration == 1 ? \'x\' : 7 }}"}'
    outcome = runtime.run(parent(call=inputs))
    items = outcome.find("each_items")
    assert items["outputs"]["iterations"] == {"CREATED": 0, "RUNNING": 0, "SUCCESS": 2, "FAILED": 1}
    errors = [(line.task_id, line.message) for line in outcome.logs if line.level == "ERROR"]
    assert len(errors) == 1
    assert errors[0][0] == "each_items"
    assert errors[0][1].startswith("The execution for part 1 cannot begin: Invalid input for `n`")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("flowId: missing", "There is no flow `missing` in the namespace `demo`"),
        ("flowId: child\n    revision: 7", "There is no flow `child` in the namespace `demo` with revision 7"),
    ],
)
def test_a_flow_that_cannot_be_called_fails_it_at_once(runtime: VirtualRuntime, call: str, error: str) -> None:
    outcome = runtime.run(parent(call=call))
    assert outcome.find("each_items")["error"] == error


def test_a_file_that_is_missing_fails_the_first_task(runtime: VirtualRuntime) -> None:
    source = parent().replace("{{ outputs.file.uri }}", "kestra:///demo/parent/executions/x/tasks/y/z.txt")
    assert states(runtime.run(source))["each_split"] == "FAILED"


def test_inside_a_loop_each_value_has_its_own_parts(runtime: VirtualRuntime) -> None:
    outcome = runtime.run("""
id: parent
namespace: demo
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: [x, y]
    tasks:
      - {id: file, type: io.kestra.plugin.core.storage.Write, content: "{{ taskrun.value }}1\\n{{ taskrun.value }}2"}
      - id: each
        type: io.kestra.plugin.core.flow.ForEachItem
        items: "{{ outputs.file[parent.taskrun.value].uri }}"
        namespace: demo
        flowId: child
        inputs: {file: "{{ taskrun.items }}", n: "{{ taskrun.iteration }}"}
      - {id: all, type: io.kestra.plugin.core.debug.Return,
         format: "{{ read(outputs.each_merge[taskrun.value].subflowOutputs) }}"}
""")
    assert outcome.state == "SUCCESS"
    assert outcome.find("all", "x")["outputs"]["value"] == '{"said":"0:x1"}\n{"said":"1:x2"}\n'
    assert outcome.find("all", "y")["outputs"]["value"] == '{"said":"0:y1"}\n{"said":"1:y2"}\n'


def test_no_more_go_on_at_once_than_the_setting_says(runtime: VirtualRuntime) -> None:
    runtime.save_flow(parent("a\\nb\\nc\\nd\\ne", call="flowId: pausing"))
    execution_id = runtime.create("demo", "parent")
    runtime.settle(None)
    assert children(runtime, "pausing") == ["PAUSED"] * 2
    items = runtime.outcome(execution_id).find("each_items")
    assert items["outputs"] == {"numberOfBatches": 5, "iterations": {"CREATED": 0, "RUNNING": 2}}
    for index in range(5):
        runtime.ask(item_id(items["id"], index, 0), lambda operations, state: operations.resume(state))
        runtime.settle(None)
    assert runtime.outcome(execution_id).state == "SUCCESS"


def test_a_kill_cascades(runtime: VirtualRuntime) -> None:
    runtime.save_flow(parent("a\\nb\\nc", call="flowId: pausing"))
    execution_id = runtime.create("demo", "parent")
    runtime.settle(None)
    runtime.world.post(execution_id, Kill())
    runtime.settle()
    outcome = runtime.outcome(execution_id)
    assert outcome.state == "KILLED"
    assert states(outcome) == {"file": "SUCCESS", "each": "KILLED", "each_split": "SUCCESS", "each_items": "KILLED"}
    assert children(runtime, "pausing") == ["KILLED"] * 2


@pytest.mark.parametrize(("behavior", "count"), [("RETRY_FAILED", 3), ("NEW_EXECUTION", 6)])
def test_a_restart_restarts_the_executions_that_failed(runtime: VirtualRuntime, behavior: str, count: int) -> None:
    bad(runtime, "b")
    outcome = runtime.run(parent(more=f"restartBehavior: {behavior}"))
    assert outcome.state == "FAILED"
    runtime.stores.kv.delete("demo", "bad")
    runtime.world.post(outcome.view["id"], Restart())
    runtime.settle()
    outcome = runtime.outcome(outcome.view["id"])
    assert outcome.state == "SUCCESS"
    assert said(runtime, outcome) == ["0:a", "1:b", "2:c"]
    assert len(children(runtime)) == count
    if behavior == "RETRY_FAILED":
        assert runtime.outcome(item_id(outcome.find("each_items")["id"], 1, 0)).history[-3:] == [
            "RESTARTED",
            "RUNNING",
            "SUCCESS",
        ]


def test_a_restart_of_a_subflow_restarts_its_execution(runtime: VirtualRuntime) -> None:
    bad(runtime, "x")
    for behavior, count in (("RETRY_FAILED", 1), ("NEW_EXECUTION", 3)):
        bad(runtime, "x")
        outcome = runtime.run(f"""
id: caller
namespace: demo
tasks:
  - {{id: file, type: io.kestra.plugin.core.storage.Write, content: x}}
  - {{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: child, restartBehavior: {behavior},
     inputs: {{file: "{{{{ outputs.file.uri }}}}", n: 1}}}}
""")
        assert outcome.state == "FAILED"
        runtime.stores.kv.delete("demo", "bad")
        runtime.world.post(outcome.view["id"], Restart())
        runtime.settle()
        assert runtime.outcome(outcome.view["id"]).state == "SUCCESS"
        assert len(children(runtime)) == count


def test_the_revision_is_that_of_the_beginning(runtime: VirtualRuntime) -> None:
    runtime.save_flow(parent("a\\nb\\nc", call="flowId: pausing"))
    execution_id = runtime.create("demo", "parent")
    runtime.settle(None)
    runtime.save_flow(PAUSING.replace("id: p,", "id: q,"))
    items = runtime.outcome(execution_id).find("each_items")
    runtime.ask(item_id(items["id"], 0, 0), lambda operations, state: operations.resume(state))
    runtime.settle(None)
    assert runtime.outcome(item_id(items["id"], 2, 0)).view["flowRevision"] == 1


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_an_engine_that_dies_is_taken_over(steps: int) -> None:
    world = World()
    settings = Settings(items_at_once=2)
    with VirtualRuntime(world=world, settings=settings) as first:
        first.save_flow(CHILD)
        first.save_flow(parent("a\\nb\\nc\\nd"))
        execution_id = first.create("demo", "parent")
        first.step()
        for _ in range(steps):
            first.step()
    world.forget()
    with VirtualRuntime(world=world, settings=settings) as second:
        second.recover()
        second.settle()
        outcome = second.outcome(execution_id)
        assert outcome.state == "SUCCESS"
        assert said(second, outcome) == ["0:a", "1:b", "2:c", "3:d"]
        assert children(second) == ["SUCCESS"] * 4


@pytest.mark.parametrize("name", ["each_split", "each_items", "each_merge"])
def test_its_ids_are_its_own(runtime: VirtualRuntime, name: str) -> None:
    clash = f"  - {{id: {name}, type: io.kestra.plugin.core.debug.Return, format: x}}\n"
    with pytest.raises(FlowError, match=f"The id `{name}` is already used"):
        runtime.save_flow(parent(rest=clash))
    first = parent().replace("tasks:\n", "tasks:\n" + clash, 1)
    with pytest.raises(FlowError, match=f"The id `{name}`, which this task needs for itself, is used on line 5"):
        runtime.save_flow(first)


@pytest.mark.parametrize("name", ["Split", "Start", "Merge"])
def test_its_tasks_cannot_be_written(runtime: VirtualRuntime, name: str) -> None:
    with pytest.raises(FlowError, match="Unknown type"):
        runtime.save_flow(f"id: x\nnamespace: demo\ntasks: [{{id: a, type: io.headrace.foreachitem.{name}}}]\n")


MANY = """
import resource, sys
from pathlib import Path
from headrace_cli.local import LocalRuntime

runtime = LocalRuntime.open(Path(sys.argv[1]), environment={})
runtime.save_flow(Path(sys.argv[2]).read_text())
source = Path(sys.argv[3]).read_text()
definition = runtime.save_flow(source)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
execution_id = runtime.create("demo", "parent", {"count": int(sys.argv[4])})
assert runtime.wait(execution_id, 900)
view = runtime.view(execution_id)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
items = next(run for run in view["taskRunList"] if run["taskId"] == "each_items")
print(view["state"]["current"], items["outputs"]["iterations"]["SUCCESS"], (after - before) // 1024)
runtime.close()
"""


@pytest.mark.slow
def test_twenty_thousand_executions_in_bounded_memory(tmp_path: Path) -> None:
    source = parent("{% for i in range(1, inputs.count) %}{{ i }}\\n{% endfor %}", call="flowId: silent")
    source += "inputs: [{id: count, type: INT}]\n"
    (tmp_path / "child.yaml").write_text(SILENT)
    (tmp_path / "parent.yaml").write_text(source)
    arguments = [str(tmp_path / name) for name in ("data", "child.yaml", "parent.yaml")]
    ran = subprocess.run(
        [sys.executable, "-c", MANY, *arguments, "20000"],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    state, count, megabytes = ran.stdout.split()
    assert (state, count) == (State.SUCCESS, "20000")
    assert int(megabytes) < 150
