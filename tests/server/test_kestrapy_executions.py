"""Kestra's own Python SDK, its 1.x line, on a real server: executions and their logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kestrapy import (
    BlueprintControllerKind,
    ExecutionControllerSetLabelsByIdsRequest,
    ExecutionControllerStateRequest,
    KestraClient,
    Label,
    QueryFilter,
    QueryFilterField,
    QueryFilterOp,
    StateType,
)
from kestrapy.configuration import Configuration
from kestrapy.exceptions import ApiException, ConflictException, NotFoundException

from local_server import local_server

TENANT, NAMESPACE = "main", "sdk.team"
FLOWS = (
    """
id: greet
namespace: sdk.team
inputs:
  - {id: name, type: STRING}
  - {id: count, type: INT, defaults: 1}
  - {id: data, type: FILE, required: false}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "Hello {{ inputs.name }}"}
  - {id: double, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.count * 2 }}"}
outputs:
  - {id: doubled, type: STRING, value: "{{ outputs.double.value }}"}
""",
    """
id: approve
namespace: sdk.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{id: reason, type: STRING}]
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ outputs.wait.onResume.reason }}"}
""",
    """
id: breaks
namespace: sdk.team
inputs:
  - {id: mode, type: STRING, defaults: bad}
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: x}
  - {id: check, type: io.kestra.plugin.core.execution.Fail, condition: "{{ inputs.mode == 'bad' }}"}
""",
    """
id: calls
namespace: sdk.team
tasks:
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: sdk.team
    flowId: greet
    inputs: {name: dependency}
""",
    """
id: one-by-one
namespace: sdk.team
concurrency: {limit: 1}
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
""",
    """
id: naps
namespace: sdk.team
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10M}
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: x}
""",
)


@pytest.fixture(scope="module")
def kestra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KestraClient]:
    with local_server(tmp_path_factory.mktemp("sdk") / "data") as server:
        client = KestraClient(Configuration(host=server.address))
        for source in FLOWS:
            client.flows.create_flow(TENANT, source)
        yield client


def started(kestra: KestraClient, flow_id: str, **options: Any) -> Any:
    return kestra.executions.create_execution(TENANT, NAMESPACE, flow_id, **options)


def current(kestra: KestraClient, execution_id: str) -> str:
    return str(kestra.executions.execution(execution_id, TENANT).state.current.value)


def followed(kestra: KestraClient, execution_id: str) -> list[str]:
    """Return the states that a follower sees until the end."""
    with closing(kestra.executions.follow_execution(execution_id, TENANT)) as events:
        return [event.state.current.value for event in events]


def test_an_execution_is_created_with_inputs_and_labels_and_waited_for(kestra: KestraClient, tmp_path: Path) -> None:
    execution = started(
        kestra,
        "greet",
        labels=["team:a", "stage:b"],
        wait=True,
        inputs={"name": "Grüße", "count": 21, "data": ("a.txt", b"content")},
    )
    assert execution.state.current is StateType.SUCCESS
    assert execution.outputs == {"doubled": "42"}
    assert ("team", "a") in [(label.key, label.value) for label in execution.labels]
    assert [run.task_id for run in execution.task_run_list] == ["log", "double"]
    assert kestra.executions.execution(execution.id, TENANT).id == execution.id
    uri = execution.inputs["data"]
    assert kestra.executions.download_file_from_execution(execution.id, uri, TENANT) == b"content"
    assert kestra.executions.file_metadatas_from_execution(execution.id, uri, TENANT).size == 7
    assert kestra.executions.eval_expression(execution.id, TENANT, "{{ inputs.count }}")["result"] == "21"


def test_executions_are_searched(kestra: KestraClient) -> None:
    execution = started(kestra, "greet", wait=True, labels=["search:me"], inputs={"name": "x"})
    filters = [
        QueryFilter(field=QueryFilterField.LABELS, operation=QueryFilterOp.EQUALS, value={"search": "me"}),
        QueryFilter(field=QueryFilterField.STATE, operation=QueryFilterOp.IN, value={"value": ["SUCCESS", "WARNING"]}),
        QueryFilter(field=QueryFilterField.NAMESPACE, operation=QueryFilterOp.PREFIX, value={"value": "sdk"}),
    ]
    found = kestra.executions.search_executions(TENANT, page=1, size=5, sort=["state.startDate:desc"], filters=filters)
    assert [each["id"] for each in found["results"]] == [execution.id]
    by_flow = kestra.executions.search_executions_by_flow_id(TENANT, NAMESPACE, "greet", page=1, size=50)
    assert execution.id in [each["id"] for each in by_flow["results"]]
    assert by_flow["total"] == len(by_flow["results"])
    (latest,) = kestra.executions.latest_executions(TENANT, [{"namespace": NAMESPACE, "id": "greet"}])
    assert latest.id == execution.id


def test_a_flow_and_its_graph_as_an_execution_sees_them(kestra: KestraClient) -> None:
    execution = started(kestra, "greet", wait=True, inputs={"name": "x"})
    assert kestra.executions.flow_from_execution_by_id(execution.id, TENANT).id == "greet"
    assert kestra.executions.flow_from_execution(TENANT, NAMESPACE, "greet").namespace == NAMESPACE
    graph = kestra.executions.execution_flow_graph(execution.id, TENANT)
    assert any(node.uid.endswith(".log") for node in graph.nodes)


def test_a_pause_is_resumed_while_somebody_follows(kestra: KestraClient) -> None:
    execution = started(kestra, "approve")
    events = kestra.executions.follow_execution(execution.id, TENANT)
    with closing(events):
        seen = [next(events).state.current.value]
        while seen[-1] != "PAUSED":
            seen.append(next(events).state.current.value)
        kestra.executions.resume_execution(execution.id, TENANT, inputs={"reason": "because"})
        seen += [event.state.current.value for event in events]
    assert seen[-1] == "SUCCESS"
    with pytest.raises(ConflictException):
        kestra.executions.resume_execution(execution.id, TENANT, inputs={"reason": "again"})
    messages = [line.message for line in kestra.logs.list_logs_from_execution(execution.id, TENANT)]
    assert messages == ["because"]


def test_an_execution_is_killed_while_its_log_is_followed(kestra: KestraClient) -> None:
    execution = started(kestra, "naps")
    kestra.executions.kill_execution(execution.id, TENANT, is_on_kill_cascade=True)
    assert followed(kestra, execution.id)[-1] == "KILLED"
    with pytest.raises(ConflictException):
        kestra.executions.kill_execution(execution.id, TENANT)
    paused = started(kestra, "approve")
    assert kestra.executions.kill_executions_by_ids(TENANT, [paused.id]) == {"count": 1}
    assert followed(kestra, paused.id)[-1] == "KILLED"


def test_a_running_execution_is_paused_and_forced_on(kestra: KestraClient) -> None:
    execution = started(kestra, "naps")
    kestra.executions.pause_execution(execution.id, TENANT)
    assert current(kestra, execution.id) == "PAUSED"
    kestra.executions.resume_execution(execution.id, TENANT)
    with pytest.raises(ApiException):
        kestra.executions.unqueue_execution(execution.id, TENANT)
    kestra.executions.kill_execution(execution.id, TENANT)
    assert followed(kestra, execution.id)[-1] == "KILLED"


def test_what_an_execution_started_is_followed(kestra: KestraClient) -> None:
    execution = started(kestra, "calls", wait=True)
    heard = kestra.executions.follow_dependencies_execution(execution.id, TENANT, expand_all=True)
    with closing(heard) as events:
        told = [(event.flow_id, event.state.current) for event in events]
    ended = StateType.SUCCESS
    assert sorted(told[:-1]) == [("calls", ended), ("greet", ended)]
    assert told[-1] == ("calls", ended)


def test_what_waits_in_a_queue_is_found_by_its_state_and_taken_out(kestra: KestraClient) -> None:
    first, second = (started(kestra, "one-by-one").id for _ in range(2))
    with closing(kestra.executions.follow_execution(second, TENANT)) as events:
        next(event for event in events if event.state.current is StateType.QUEUED)
    filters = [
        QueryFilter(field=QueryFilterField.FLOW_ID, operation=QueryFilterOp.EQUALS, value={"value": "one-by-one"}),
        QueryFilter(field=QueryFilterField.STATE, operation=QueryFilterOp.EQUALS, value={"value": "QUEUED"}),
    ]
    asked = kestra.executions.unqueue_executions_by_query(TENANT, new_state=StateType.CANCELLED, filters=filters)
    assert asked == {"count": 1}
    assert followed(kestra, second)[-1] == "CANCELLED"
    kestra.executions.kill_execution(first, TENANT)


def test_what_is_not_there_is_refused_by_name(kestra: KestraClient) -> None:
    with pytest.raises(ApiException, match="there are no breakpoints"):
        started(kestra, "greet", inputs={"name": "x"}, breakpoints="log")
    with pytest.raises(NotFoundException, match="there are no dashboards"):
        kestra.dashboards.search_dashboards(TENANT)
    with pytest.raises(NotFoundException, match="there is no catalogue of blueprints"):
        kestra.blueprints.search_blueprints(BlueprintControllerKind.FLOW, TENANT)


def test_what_failed_is_restarted_replayed_and_changed(kestra: KestraClient) -> None:
    execution = started(kestra, "breaks", wait=True)
    assert execution.state.current is StateType.FAILED
    assert kestra.executions.restart_execution(execution.id, TENANT).id == execution.id
    assert followed(kestra, execution.id)[-1] == "FAILED"
    replay = kestra.executions.replay_execution(execution.id, TENANT, task_run_id=execution.task_run_list[1].id)
    assert (replay.parent_id, replay.original_id) == (execution.id, execution.id)
    good = kestra.executions.replay_execution_with_inputs(execution.id, TENANT, inputs={"mode": "good"})
    assert followed(kestra, good.id)[-1] == "SUCCESS"
    run = kestra.executions.execution(execution.id, TENANT).task_run_list[1]
    kestra.executions.update_task_run_state(
        execution.id, TENANT, ExecutionControllerStateRequest(taskRunId=run.id, state=StateType.SUCCESS)
    )
    assert followed(kestra, execution.id)[-1] == "SUCCESS"
    kestra.executions.update_execution_status(execution.id, StateType.WARNING, TENANT)
    assert current(kestra, execution.id) == "WARNING"
    labelled = kestra.executions.set_labels_on_terminated_execution(
        execution.id, TENANT, [Label(key="by", value="hand")]
    )
    assert ("by", "hand") in [(label.key, label.value) for label in labelled.labels]
    asked = ExecutionControllerSetLabelsByIdsRequest(
        executionsId=[execution.id], executionLabels=[Label(key="a", value="b")]
    )
    assert kestra.executions.set_labels_on_terminated_executions_by_ids(TENANT, asked) == {"count": 1}


def test_logs_are_listed_downloaded_followed_searched_and_deleted(kestra: KestraClient) -> None:
    execution = started(kestra, "greet", wait=True, inputs={"name": "logs"})
    (line,) = kestra.logs.list_logs_from_execution(execution.id, TENANT, min_level="INFO")
    assert (line.message, line.task_id, line.execution_id) == ("Hello logs", "log", execution.id)
    assert "Hello logs" in kestra.logs.download_logs_from_execution(execution.id, TENANT)
    with closing(kestra.logs.follow_logs_from_execution(execution.id, TENANT)) as events:
        assert "Hello logs" in [getattr(event, "message", None) for event in events]
    filters = [QueryFilter(field=QueryFilterField.QUERY, operation=QueryFilterOp.EQUALS, value={"value": "hello LOGS"})]
    assert kestra.logs.search_logs(TENANT, filters=filters).results[0].execution_id == execution.id
    kestra.logs.delete_logs_from_execution(execution.id, TENANT)
    assert kestra.logs.list_logs_from_execution(execution.id, TENANT) == []


def test_executions_are_deleted(kestra: KestraClient) -> None:
    first, second = (started(kestra, "greet", wait=True, inputs={"name": "x"}).id for _ in range(2))
    kestra.executions.delete_execution(first, TENANT, delete_logs=True)
    with pytest.raises(NotFoundException):
        kestra.executions.execution(first, TENANT)
    assert kestra.executions.delete_executions_by_ids(TENANT, [second]).count == 1
    filters = [QueryFilter(field=QueryFilterField.FLOW_ID, operation=QueryFilterOp.EQUALS, value={"value": "approve"})]
    assert kestra.executions.delete_executions_by_query(TENANT, filters=filters)["count"] >= 0
