"""Kestra's own Python SDK, its 1.x line, on a real server: flows, key-values, namespaces and their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kestrapy import KestraClient, KVControllerApiDeleteBulkRequest, QueryFilter, QueryFilterField, QueryFilterOp
from kestrapy.configuration import Configuration
from kestrapy.exceptions import ApiException, NotFoundException
from kestrapy.models.api_autocomplete import ApiAutocomplete
from kestrapy.models.flow_controller_task_validation_type import FlowControllerTaskValidationType
from kestrapy.models.id_with_namespace import IdWithNamespace

from local_server import local_server

TENANT, NAMESPACE = "main", "sdk.flows"
FLOW = """
id: hello
namespace: sdk.flows
labels: {team: data}
inputs:
  - {id: name, type: STRING, defaults: World}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "Hello {{ inputs.name }}"}
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: sdk.flows, flowId: child}
"""
CHILD = """
id: child
namespace: sdk.flows
concurrency: {limit: 2}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: x}
"""


@pytest.fixture(scope="module")
def kestra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KestraClient]:
    with local_server(tmp_path_factory.mktemp("sdk") / "data") as server:
        yield KestraClient(Configuration(host=server.address))


@pytest.fixture
def flows(kestra: KestraClient) -> KestraClient:
    kestra.flows.update_flows_in_namespace(NAMESPACE, TENANT, f"{FLOW}---{CHILD}")
    return kestra


def where(field: QueryFilterField, operation: QueryFilterOp, value: object) -> QueryFilter:
    return QueryFilter(field=field, operation=operation, value=value if isinstance(value, dict) else {"value": value})


def test_flows_are_created_read_changed_and_deleted(kestra: KestraClient) -> None:
    kestra.flows.update_flows_in_namespace(NAMESPACE, TENANT, "")
    created = kestra.flows.create_flow(TENANT, FLOW)
    assert (created.id, created.revision, created.source) == ("hello", kestra_revision(kestra), FLOW)
    with pytest.raises(ApiException) as refused:
        kestra.flows.create_flow(TENANT, FLOW)
    assert refused.value.status == 422
    changed = kestra.flows.update_flow(NAMESPACE, "hello", TENANT, FLOW.replace("World", "you"))
    assert changed.revision == created.revision + 1
    seen = kestra.flows.flow(NAMESPACE, "hello", TENANT, source=True, revision=created.revision)
    assert seen.source == FLOW
    assert [(label.key, label.value) for label in seen.labels] == [("team", "data")]
    assert seen.inputs[0].id == "name"
    assert [task.id for task in seen.tasks] == ["log", "call"]
    assert len(kestra.flows.list_flow_revisions(NAMESPACE, "hello", TENANT)) >= 2
    assert kestra.flows.task_from_flow(NAMESPACE, "hello", "log", TENANT).id == "log"
    kestra.flows.delete_flow(NAMESPACE, "hello", TENANT)
    with pytest.raises(NotFoundException):
        kestra.flows.flow(NAMESPACE, "hello", TENANT)


def kestra_revision(kestra: KestraClient) -> int:
    """Return the latest revision of the flow."""
    return int(kestra.flows.list_flow_revisions(NAMESPACE, "hello", TENANT)[-1].revision)


def test_flows_are_searched(flows: KestraClient) -> None:
    by_label = where(QueryFilterField.LABELS, QueryFilterOp.EQUALS, {"team": "data"})
    by_namespace = where(QueryFilterField.NAMESPACE, QueryFilterOp.PREFIX, "sdk")
    page = flows.flows.search_flows(TENANT, page=1, size=10, sort=["id:asc"], filters=[by_namespace])
    assert ([flow.id for flow in page.results], page.total) == (["child", "hello"], 2)
    page = flows.flows.search_flows(TENANT, filters=[by_namespace, by_label])
    assert [flow.id for flow in page.results] == ["hello"]
    page = flows.flows.search_flows(TENANT, filters=[where(QueryFilterField.QUERY, QueryFilterOp.EQUALS, "chi")])
    assert [flow.id for flow in page.results] == ["child"]
    found = flows.flows.search_flows_by_source_code(TENANT, q="inputs.name", namespace=NAMESPACE)
    assert [each.model.id for each in found.results] == ["hello"]
    assert [flow.id for flow in flows.flows.list_flows_by_namespace(NAMESPACE, TENANT)] == ["child", "hello"]
    assert NAMESPACE in flows.flows.list_distinct_namespaces(TENANT)
    assert [each.id for each in flows.namespaces.search_namespaces(TENANT, q="sdk.fl").results] == [NAMESPACE]
    assert flows.namespaces.namespace(NAMESPACE, TENANT).id == NAMESPACE
    assert NAMESPACE in flows.namespaces.autocomplete_namespaces(TENANT, ApiAutocomplete(q="sdk"))


def test_flows_are_validated(kestra: KestraClient) -> None:
    good, bad = kestra.flows.validate_flows(TENANT, f"{FLOW}---{CHILD.replace('log.Log', 'log.Lgo')}")
    assert (good.flow, good.constraints) == ("hello", None)
    assert bad.index == 1
    assert bad.constraints.startswith("line 15, column 21: tasks[0].type: Unknown type")
    task = {"id": "log", "type": "io.kestra.plugin.core.log.Log"}
    assert "message" in kestra.flows.validate_task(FlowControllerTaskValidationType.TASKS, TENANT, task).constraints
    trigger = {"id": "nightly", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "@daily"}
    assert kestra.flows.validate_trigger(TENANT, trigger).constraints is None


def test_flows_are_drawn_and_know_what_they_call(flows: KestraClient) -> None:
    graph = flows.flows.generate_flow_graph(NAMESPACE, "hello", TENANT)
    assert {"root.log", "root.call"} <= {node.uid for node in graph.nodes}
    expanded = flows.flows.generate_flow_graph_from_source(TENANT, FLOW, subflows=["root.call"])
    assert "root.call.log" in {node.uid for node in expanded.nodes}
    topology = flows.flows.flow_dependencies(NAMESPACE, "hello", TENANT)
    assert [(edge.source, edge.target) for edge in topology.edges] == [("main_sdk.flows_hello", "main_sdk.flows_child")]
    assert len(flows.flows.flow_dependencies_from_namespace(NAMESPACE, TENANT).nodes) == 2
    (limit,) = flows.flows.search_concurrency_limits(TENANT).results
    assert (limit.flow_id, limit.running) == ("child", 0)


def test_many_flows_are_switched_exported_and_imported(flows: KestraClient) -> None:
    both = [IdWithNamespace(namespace=NAMESPACE, id=name) for name in ("hello", "child")]
    assert flows.flows.disable_flows_by_ids(TENANT, both).count == 2
    assert flows.flows.flow(NAMESPACE, "hello", TENANT).disabled is True
    mine = [where(QueryFilterField.NAMESPACE, QueryFilterOp.EQUALS, NAMESPACE)]
    assert flows.flows.enable_flows_by_query(TENANT, mine).count == 2
    archive = flows.flows.export_flows_by_ids(TENANT, both)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert sorted(opened.namelist()) == ["sdk.flows.child.yml", "sdk.flows.hello.yml"]
    assert flows.flows.export_flows_by_query(TENANT, mine)[:2] == b"PK"
    assert flows.flows.delete_flows_by_query(TENANT, mine).count == 2
    assert flows.flows.import_flows(TENANT, file_content=archive) == []
    assert flows.flows.delete_flows_by_ids(TENANT, both).count == 2
    saved = flows.flows.bulk_update_flows(TENANT, body=f"{FLOW}---{CHILD}", delete=False)
    assert [flow.id for flow in saved] == ["hello", "child"]


def test_key_values_are_kept(flows: KestraClient) -> None:
    flows.kv.set_key_value(NAMESPACE, "greeting", TENANT, "hello")
    flows.kv.set_key_value(NAMESPACE, "count", TENANT, "3")
    flows.kv.set_key_value("sdk", "above", TENANT, '{"a": 1}')
    assert flows.kv.key_value(NAMESPACE, "greeting", TENANT).value == "hello"
    count = flows.kv.key_value(NAMESPACE, "count", TENANT)
    assert (count.type.value, count.value) == ("NUMBER", 3)
    mine = [where(QueryFilterField.NAMESPACE, QueryFilterOp.EQUALS, NAMESPACE)]
    assert [each.key for each in flows.kv.list_all_keys(TENANT, filters=mine).results] == ["count", "greeting"]
    assert [each.key for each in flows.kv.list_keys_with_inheritance(NAMESPACE, TENANT)] == ["above"]
    assert flows.kv.delete_key_value(NAMESPACE, "greeting", TENANT) is True
    gone = flows.kv.delete_key_values(NAMESPACE, TENANT, KVControllerApiDeleteBulkRequest(keys=["count", "greeting"]))
    assert gone.keys == ["count"]
    with pytest.raises(NotFoundException):
        flows.kv.key_value(NAMESPACE, "count", TENANT)


def test_namespace_files_are_kept(kestra: KestraClient, tmp_path: Path) -> None:
    files = kestra.files
    files.create_namespace_directory(NAMESPACE, TENANT, path="scripts")
    content = b"print('hi')\n" * 100_000
    files.create_namespace_file(NAMESPACE, "scripts/hi.py", TENANT, content)
    assert files.file_content(NAMESPACE, "scripts/hi.py", TENANT) == content
    (listed,) = files.list_namespace_directory_files(NAMESPACE, TENANT, path="scripts")
    assert (listed.file_name, listed.size, listed.type.value) == ("hi.py", len(content), "File")
    assert files.file_metadatas(NAMESPACE, TENANT, path="scripts").type.value == "Directory"
    files.create_namespace_file(NAMESPACE, "scripts/hi.py", TENANT, b"print('bye')")
    assert [each.revision for each in files.file_revisions(NAMESPACE, TENANT, path="scripts/hi.py")] == [1, 2]
    assert files.file_content(NAMESPACE, "scripts/hi.py", TENANT, revision=1) == content
    assert files.file_content(NAMESPACE, "scripts/hi.py", TENANT) == b"print('bye')"
    files.move_file_directory(NAMESPACE, "/scripts", "/code", TENANT)
    assert files.search_namespace_files(NAMESPACE, "HI", TENANT) == ["/code/hi.py"]
    with zipfile.ZipFile(io.BytesIO(files.export_namespace_files(NAMESPACE, TENANT))) as archive:
        assert archive.read("code/hi.py") == b"print('bye')"
    files.delete_file_directory(NAMESPACE, "code", TENANT)
    with pytest.raises(NotFoundException):
        files.file_content(NAMESPACE, "code/hi.py", TENANT)
