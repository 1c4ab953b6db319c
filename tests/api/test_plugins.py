"""What flows may use, for editors and people (reference §14.7), and what a client asks of the server itself."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from api.client import ApiClient, log_flow
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Create


def types_of(groups: Any, kind: str) -> set[str]:
    return {each["cls"] for group in groups for each in group[kind]}


def test_all_types_are_listed_by_group(api: ApiClient) -> None:
    groups = api.get("/plugins")
    registry = api.runtime.engine.registry
    assert types_of(groups, "tasks") == {cls.TYPE for cls in registry.tasks()}
    assert types_of(groups, "triggers") == {cls.TYPE for cls in registry.triggers()}
    assert types_of(groups, "conditions") == {cls.TYPE for cls in registry.conditions()}
    assert types_of(groups, "taskRunners") == {cls.TYPE for cls in registry.runners()}
    core = next(group for group in groups if group["group"] == "io.kestra.plugin.core")
    assert {
        name: value
        for name, value in core["tasks"][
            [t["cls"] for t in core["tasks"]].index("io.kestra.plugin.core.log.Log")
        ].items()
        if name != "title"
    } == {"cls": "io.kestra.plugin.core.log.Log", "deprecated": False}
    parts = {group["subGroup"] for group in api.get("/plugins/groups/subgroups") if "subGroup" in group}
    assert {"io.kestra.plugin.core.log", "io.kestra.plugin.core.flow"} <= parts


def test_a_type_is_explained_also_by_its_old_name(api: ApiClient) -> None:
    log = api.get("/plugins/io.kestra.plugin.core.log.Log?all=true")
    assert log["markdown"].startswith("# io.kestra.plugin.core.log.Log\n\nWrite one or more messages to the log.")
    assert {"message", "level", "id", "retry"} <= set(log["schema"]["properties"]["properties"])
    assert api.get("/plugins/io.kestra.core.tasks.log.Log?all=true") == log
    own = api.get("/plugins/io.kestra.plugin.core.log.Log")["schema"]["properties"]["properties"]
    assert set(own) == {"message", "level", "type"}
    returned = api.get("/plugins/io.kestra.plugin.core.debug.Return")["schema"]
    assert set(returned["outputs"]["properties"]) == {"value"}
    assert api.refused(api.ask("GET", "/plugins/io.kestra.nothing"), 404) == "Not Found: Plugin io.kestra.nothing"
    for kind in ("trigger.Schedule", "condition.DayWeek", "runner.Process"):
        assert api.get(f"/plugins/io.kestra.plugin.core.{kind}")["schema"]["properties"]["type"] == "object"


def test_what_a_types_schema_refers_to_comes_with_it(api: ApiClient) -> None:
    for name in ("core.flow.If", "core.http.Request", "core.flow.Pause", "core.trigger.Flow"):
        schema = api.get(f"/plugins/io.kestra.plugin.{name}?all=true")["schema"]
        whole = {**schema["properties"], "definitions": schema["definitions"]}
        jsonschema.Draft7Validator.check_schema(whole)
        for reference in {part.split('"')[0] for part in json.dumps(whole).split('"#/definitions/')[1:]}:
            assert reference in schema["definitions"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "flow",
            {
                "id": "f",
                "namespace": "a",
                "tasks": [{"id": "l", "type": "io.kestra.plugin.core.log.Log", "message": ""}],
            },
            {"id": "f"},
        ),
        ("task", {"id": "l", "type": "io.kestra.plugin.core.log.Log", "message": ""}, {"id": "l", "type": "nothing"}),
        ("trigger", {"id": "s", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "@daily"}, {"id": "s"}),
        ("plugindefault", {"type": "io.kestra", "values": {}}, {"values": {}}),
        ("input", {"id": "i", "type": "STRING"}, {"id": "i", "type": "NOTHING"}),
    ],
)
def test_editors_get_schemas(api: ApiClient, name: str, good: object, bad: object) -> None:
    for query, wrap in (("", lambda each: each), ("?arrayOf=true", lambda each: [each])):
        validator = jsonschema.Draft7Validator(api.get(f"/plugins/schemas/{name}{query}"))
        assert validator.is_valid(wrap(good))
        assert not validator.is_valid(wrap(bad))
    assert api.ask("GET", "/plugins/schemas/dashboard").status == 404


def test_types_of_inputs_are_listed_and_explained(api: ApiClient) -> None:
    types = {each["type"] for each in api.get("/plugins/inputs")}
    assert {"STRING", "FILE", "MULTISELECT"} <= types
    assert "min" in api.get("/plugins/inputs/INT")["schema"]["properties"]["properties"]
    assert api.ask("GET", "/plugins/inputs/NOTHING").status == 404


def test_a_client_learns_what_the_server_has(api: ApiClient) -> None:
    configuration = api.get("/configs")
    assert configuration["systemNamespace"] == "system"
    assert configuration["isCustomDashboardsEnabled"] is False
    for nothing in ("/dashboards", "/blueprints/community", "/plugins/icons/x/y"):
        assert api.ask("GET", nothing).status == 404


def test_who_holds_the_slots_of_a_limit_is_told(api: ApiClient) -> None:
    limit = "concurrency: {limit: 1}\n"
    pause = "{id: wait, type: io.kestra.plugin.core.flow.Pause}"
    api.save(
        log_flow("a.limited", limit).replace("{id: log, type: io.kestra.plugin.core.log.Log, message: hello}", pause)
    )
    api.save(log_flow("a.free", "description: without concurrency\n"), log_flow("b.other", limit))
    for _ in range(2):
        execution_id, created = api.runtime.engine.new_execution("a", "limited")
        api.send(execution_id, encode_message(Create(created)))
        api.runtime.settle(None)
    page = api.get("/concurrency-limit/search")
    assert page["total"] == 2
    assert page["results"][0] == {
        "tenantId": "main",
        "namespace": "a",
        "flowId": "limited",
        "running": 1,
        "queued": 1,
        "limit": 1,
    }
    settled = api.ok(api.ask("PUT", "/concurrency-limit/a/limited", json.dumps({"running": 1})))
    assert settled == page["results"][0]
    why = api.refused(api.ask("PUT", "/concurrency-limit/a/limited", json.dumps({"running": 0})), 422)
    assert why == "Illegal argument: `running` cannot be set: 1 executions hold a slot; end one to make room"
    assert api.ask("PUT", "/concurrency-limit/a/nobody", "{}").status == 404
    api.become("viewer@b")
    assert [each["namespace"] for each in api.get("/concurrency-limit/search")["results"]] == ["b"]
