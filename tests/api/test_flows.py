"""Flows, one by one (reference §14.2)."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from api.client import ApiClient, log_flow

NESTED = """
# what it is for
id: nested
namespace: company.team
labels: {team: data, tier: 1}
tasks:
  - id: choose
    type: io.kestra.plugin.core.flow.If
    condition: "{{ true }}"
    then:
      - {id: yes, type: io.kestra.plugin.core.log.Log, message: "2024-01-01"}  # a comment
  - {id: last, type: io.kestra.plugin.core.log.Log, message: bye}
"""


def test_a_flow_is_shown_as_it_was_written_with_what_the_store_knows(api: ApiClient) -> None:
    created = api.ok(api.ask("POST", "/flows", NESTED))
    assert created["source"] == NESTED
    seen = api.get("/flows/company.team/nested")
    assert "source" not in seen
    assert (seen["revision"], seen["deleted"], seen["disabled"]) == (1, False, False)
    assert seen["labels"] == [{"key": "team", "value": "data"}, {"key": "tier", "value": "1"}]
    assert seen["tasks"][0]["then"][0]["message"] == "2024-01-01"
    assert datetime.fromisoformat(seen["updated"]) == api.runtime.clock.now()


def test_a_revision_is_one_more_for_every_change_and_each_can_be_had(api: ApiClient) -> None:
    api.save(log_flow("a.f"))
    assert api.ok(api.ask("PUT", "/flows/a/f", log_flow("a.f")))["revision"] == 1
    assert api.ok(api.ask("PUT", "/flows/a/f", log_flow("a.f", "description: new\n")))["revision"] == 2
    api.ok(api.ask("DELETE", "/flows/a/f"))
    assert api.refused(api.ask("GET", "/flows/a/f"), 404) == "Not Found: Flow a.f"
    assert api.get("/flows/a/f?allowDeleted=true")["deleted"] is True
    assert "description" not in api.get("/flows/a/f?revision=1")
    revisions = api.get("/flows/a/f/revisions")
    assert [(each["revision"], each["deleted"]) for each in revisions] == [(1, False), (2, False), (3, True)]
    assert revisions[0]["source"] == log_flow("a.f")
    assert len(api.get("/flows/a/f/revisions?allowDelete=false")) == 2
    assert api.refused(api.ask("GET", "/flows/a/g/revisions"), 404) == "Not Found: Flow a.g"
    assert api.ok(api.ask("POST", "/flows", log_flow("a.f")))["revision"] == 4


def test_a_task_is_found_at_any_depth(api: ApiClient) -> None:
    api.save(NESTED)
    assert api.get("/flows/company.team/nested/tasks/yes")["message"] == "2024-01-01"
    assert api.get("/flows/company.team/nested/tasks/choose")["condition"] == "{{ true }}"
    why = api.refused(api.ask("GET", "/flows/company.team/nested/tasks/no"), 404)
    assert why == "Not Found: Task no in flow company.team.nested"


def test_a_task_is_replaced_where_it_stands(api: ApiClient) -> None:
    api.save(NESTED)
    task = {"id": "yes", "type": "io.kestra.plugin.core.log.Log", "message": "1e3"}
    changed = api.ok(api.ask("PATCH", "/flows/company.team/nested/yes", json.dumps(task)))
    assert changed["revision"] == 2
    assert changed["tasks"][0]["then"] == [task]
    assert changed["tasks"][1]["message"] == "bye"
    broken = json.dumps({"id": "yes", "type": "io.kestra.plugin.core.log.Lgo"})
    assert "Unknown type" in api.refused(api.ask("PATCH", "/flows/company.team/nested/yes", broken), 422)
    assert api.refused(api.ask("PATCH", "/flows/company.team/nested/yes", "nothing"), 422).startswith("Invalid json: ")
    other = json.dumps({"id": "other", "type": "x"})
    assert "the id of the task" in api.refused(api.ask("PATCH", "/flows/company.team/nested/yes", other), 422)
    assert api.ask("PATCH", "/flows/company.team/nested/no", json.dumps({})).status == 404


def test_a_namespace_lists_its_own_flows_alone(api: ApiClient) -> None:
    api.save(log_flow("a.x"), log_flow("a.b.y"), log_flow("a.z"))
    assert [flow["id"] for flow in api.get("/flows/a")] == ["x", "z"]
    assert api.get("/flows/nowhere") == []


def test_a_stored_flow_that_is_not_read_any_more_says_so_and_hides_no_other(api: ApiClient) -> None:
    api.save(log_flow("a.good"))
    api.stores.flows.save("a", "bad", "id: bad\nnamespace: a\nid: twice\n", api.runtime.clock.now())
    bad, good = api.get("/flows/a")
    assert (bad["id"], bad["tasks"]) == ("bad", [])
    assert "a second time" in bad["exception"]
    assert good["id"] == "good"


def test_numbers_that_json_cannot_hold_are_shown_all_the_same(api: ApiClient) -> None:
    api.save(log_flow("a.f", f"variables: {{big: {10**40}, huge: {'9' * 350}, none: .nan, most: .inf}}\n"))
    assert api.get("/flows/a/f")["variables"] == {"big": 1e40, "huge": "9" * 350, "none": None, "most": None}


@pytest.mark.parametrize(
    ("asked", "body", "status", "why"),
    [
        ("PUT /flows/a/g", log_flow("a.g"), 404, "Not Found: Flow a.g"),
        ("PUT /flows/a/f", log_flow("a.g"), 422, "Illegal argument: the body is the flow a.g"),
        ("POST /flows", log_flow("a.f"), 422, "Invalid entity: flow.id: Flow id already exists"),
        ("POST /flows", "", 422, "Invalid entity: <flow>:1:1: The file is empty"),
        ("POST /flows", b"\xff", 400, "Bad request: the body is not UTF-8 text"),
        ("DELETE /flows/a/g", b"", 404, "Not Found: Flow a.g"),
        ("GET /flows/a/f?revision=99999999999", b"", 400, "Bad request: there are not so many revisions"),
        ("GET /flows/a/f?revision=" + "9" * 5000, b"", 400, "Bad request: `revision` is a whole number"),
        ("GET /flows/a/f?revision=2", b"", 404, "Not Found: Flow a.f"),
    ],
)
def test_what_cannot_be_done_is_refused(api: ApiClient, asked: str, body: str | bytes, status: int, why: str) -> None:
    api.save(log_flow("a.f"))
    assert api.refused(api.ask(*asked.split(" "), body), status).startswith(why)
    assert api.get("/flows/a/f")["revision"] == 1


def test_a_problem_is_told_with_its_path(api: ApiClient) -> None:
    response = api.ask("POST", "/flows", NESTED.replace("condition:", "conditon:"))
    errors = json.loads(response.body)["_embedded"]["errors"]
    assert [error["path"] for error in errors] == ["tasks[0].conditon"]


def test_who_may_change_one_namespace_changes_no_other(api: ApiClient) -> None:
    api.save(log_flow("a.f"), log_flow("b.f"))
    api.become("editor@a", "viewer@b")
    api.ok(api.ask("POST", "/flows", log_flow("a.new")))
    for method, target, body in (
        ("POST", "/flows", log_flow("b.new")),
        ("PUT", "/flows/b/f", log_flow("b.f", "description: mine\n")),
        ("DELETE", "/flows/b/f", ""),
        ("POST", "/flows/b", log_flow("b.f")),
        ("POST", "/flows/bulk", log_flow("b.new")),
        ("DELETE", "/flows/delete/by-ids", json.dumps([{"namespace": "b", "id": "f"}])),
        ("POST", "/flows/disable/by-ids", json.dumps([{"namespace": "b", "id": "f"}])),
    ):
        assert api.ask(method, target, body).status == 403, target
    assert api.ok(api.ask("DELETE", "/flows/delete/by-query?namespace=b")) == {"count": 0}
    assert api.get("/flows/b/f")["revision"] == 1
