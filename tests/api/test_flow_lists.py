"""Many flows: searched, changed, exported, imported, and how they depend on each other (reference §14.2)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from api.client import ApiClient, log_flow, unzipped, zip_of

FLOWS = (
    log_flow("company.team.load", "labels: {kind: etl, team: data}\n"),
    log_flow("company.team.report", "labels: [{key: kind, value: report}]\n"),
    log_flow("company.other.load", "description: something special\n"),
    log_flow("company-x.load"),
    log_flow("system.sweep"),
)


@pytest.fixture
def flows(api: ApiClient) -> ApiClient:
    api.save(*FLOWS)
    return api


def names(page: Any) -> list[str]:
    return [f"{flow['namespace']}.{flow['id']}" for flow in page["results"]]


def these(*names: str) -> str:
    return json.dumps([dict(zip(("namespace", "id"), name.rsplit(".", 1), strict=True)) for name in names])


ALL = ["company-x.load", "company.other.load", "company.team.load", "company.team.report", "system.sweep"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ALL),
        ("q=LOAD", ALL[:3]),
        ("q=team.rep", ["company.team.report"]),
        ("namespace=company", ALL[1:4]),
        ("namespace=compan", []),
        ("flowId=sweep", ["system.sweep"]),
        ("scope=SYSTEM", ["system.sweep"]),
        ("scope=USER&q=t", ["company.other.load", "company.team.load", "company.team.report"]),
        ("labels=kind:etl", ["company.team.load"]),
        ("labels=kind:etl&labels=team:data", ["company.team.load"]),
        ("labels=kind:etl&labels=team:other", []),
        ("filters[labels][EQUALS][kind]=report", ["company.team.report"]),
        ("filters[labels][EQUALS]=kind:report", ["company.team.report"]),
        ("filters[labels][NOT_EQUALS][kind]=report", [name for name in ALL if name != "company.team.report"]),
        ("filters[labels][IN][kind]=report,etl", ["company.team.load", "company.team.report"]),
        ("filters[namespace][EQUALS]=company.team", ["company.team.load", "company.team.report"]),
        ("filters[namespace][PREFIX]=company", ALL[1:4]),
        ("filters[namespace][STARTS_WITH]=company", ALL[:4]),
        ("filters[namespace][IN]=system,company-x", ["company-x.load", "system.sweep"]),
        ("filters[namespace][NOT_IN]=system,company-x", ALL[1:4]),
        ("filters[flowId][REGEX]=^l.*d$", ALL[:3]),
        ("filters[flowId][ENDS_WITH]=t&filters[namespace][CONTAINS]=TEAM", ["company.team.report"]),
        ("filters[q][EQUALS]=report", ["company.team.report"]),
        ("filters[scope][EQUALS]=SYSTEM", ["system.sweep"]),
    ],
)
def test_flows_are_searched(flows: ApiClient, query: str, found: list[str]) -> None:
    page = flows.get(f"/flows/search?{query}")
    assert (names(page), page["total"]) == (found, len(found))


def test_a_search_gives_pages_in_the_order_that_is_asked_for(flows: ApiClient) -> None:
    first = flows.get("/flows/search?size=2&page=1&sort=id:desc&sort=namespace:asc")
    assert names(first) == ["system.sweep", "company.team.report"]
    assert first["total"] == 5
    rest = flows.get("/flows/search?size=3&page=2&sort=id:desc&sort=namespace:desc")
    assert names(rest) == ["company.other.load", "company-x.load"]
    assert flows.get("/flows/search?size=1000&page=1000000") == {"results": [], "total": 5}


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "size=1001",
        "size=ten",
        "page=1000001",
        "sort=colour:asc",
        "sort=id:up",
        "labels=x",
        "filters[colour][EQUALS]=x",
        "filters[namespace][LIKE]=x",
        "filters[namespace]=x",
        "filters[flowId][REGEX]=(",
        "filters[flowId][REGEX]=" + "a" * 1001,
    ],
)
def test_a_search_that_asks_for_nothing_that_is_there_is_refused(flows: ApiClient, query: str) -> None:
    assert flows.refused(flows.ask("GET", f"/flows/search?{quote(query, safe='=&[]')}"), 400).startswith(
        "Bad request: "
    )


def test_nobody_sees_flows_of_namespaces_that_are_not_theirs(flows: ApiClient) -> None:
    flows.become("viewer@company.team", "editor@system")
    mine = ["company.team.load", "company.team.report", "system.sweep"]
    assert names(flows.get("/flows/search")) == mine
    assert names(flows.get("/flows/search?namespace=company")) == mine[:2]
    assert flows.get("/flows/distinct-namespaces") == ["company.team", "system"]
    assert flows.get("/flows/source?q=special") == {"results": [], "total": 0}
    assert list(unzipped(flows.ask("GET", "/flows/export/by-query").body)) == [f"{name}.yml" for name in mine]
    assert flows.ask("POST", "/flows/export/by-ids", these("company.other.load")).status == 403
    assert flows.ask("GET", "/flows/company.other").status == 403


def test_namespaces_are_listed(flows: ApiClient) -> None:
    assert flows.get("/flows/distinct-namespaces") == ["company-x", "company.other", "company.team", "system"]
    assert flows.get("/flows/distinct-namespaces?q=TEAM") == ["company.team"]


def test_sources_are_searched(flows: ApiClient) -> None:
    page = flows.get("/flows/source?q=SPECIAL")
    assert page["total"] == 1
    (found,) = page["results"]
    assert found["model"]["id"] == "load"
    assert found["fragments"] == [FLOWS[2].replace("special", "[mark]special[/mark]")[: len(found["fragments"][0])]]
    assert flows.get("/flows/source?q=hello&namespace=company.team&size=1")["total"] == 2


# -- Changes ------------------------------------------------------------------------------------------


def test_flows_are_deleted_and_switched_by_their_names(flows: ApiClient) -> None:
    two = these("company.team.load", "company.team.report")
    assert flows.ok(flows.ask("POST", "/flows/disable/by-ids", two)) == {"count": 2}
    assert flows.get("/flows/company.team/load")["disabled"] is True
    assert flows.get("/flows/company.team/load?source=true")["source"] == FLOWS[0] + "disabled: true\n"
    assert flows.ok(flows.ask("POST", "/flows/disable/by-ids", two)) == {"count": 0}
    assert flows.ok(flows.ask("POST", "/flows/enable/by-ids", two)) == {"count": 2}
    assert flows.get("/flows/company.team/load")["disabled"] is False
    assert flows.ok(flows.ask("DELETE", "/flows/delete/by-ids", two)) == {"count": 2}
    assert flows.get("/flows/company.team") == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/flows/disable/by-ids"),
        ("POST", "/flows/enable/by-ids"),
        ("DELETE", "/flows/delete/by-ids"),
        ("POST", "/flows/export/by-ids"),
    ],
)
def test_when_one_of_several_is_not_there_nothing_is_done_to_the_others(
    flows: ApiClient, method: str, target: str
) -> None:
    response = flows.ask(method, target, these("company.team.load", "company.team.nobody"))
    assert response.status == 400
    said = json.loads(response.body)
    assert said["message"].startswith("invalid bulk ")
    assert said["invalids"] == [{"value": "company.team.nobody", "message": "flow not found"}]
    assert flows.get("/flows/company.team/load")["revision"] == 1
    assert flows.refused(flows.ask(method, target, '{"id": "load"}'), 422).startswith("Invalid json: ")


def test_flows_are_deleted_and_switched_by_a_query(flows: ApiClient) -> None:
    assert flows.ok(flows.ask("POST", "/flows/disable/by-query?namespace=company")) == {"count": 3}
    assert flows.ok(flows.ask("POST", "/flows/enable/by-query?flowId=load")) == {"count": 2}
    assert flows.get("/flows/company.team/report")["disabled"] is True
    assert flows.ok(flows.ask("DELETE", "/flows/delete/by-query?labels=kind:report")) == {"count": 1}
    assert names(flows.get("/flows/search")) == [name for name in ALL if name != "company.team.report"]


def test_a_namespace_holds_what_it_is_given_and_nothing_else(flows: ApiClient) -> None:
    new = log_flow("company.team.load") + "---\n" + log_flow("company.team.new") + "# a comment of its own\n"
    saved = flows.ok(flows.ask("POST", "/flows/company.team", new))
    assert [(flow["id"], flow["revision"]) for flow in saved] == [("load", 2), ("new", 1)]
    assert [flow["id"] for flow in flows.get("/flows/company.team")] == ["load", "new"]
    assert flows.get("/flows/company.team/new?source=true")["source"].endswith("# a comment of its own\n")
    flows.ok(flows.ask("POST", "/flows/company.team?delete=false", log_flow("company.team.third")))
    assert [flow["id"] for flow in flows.get("/flows/company.team")] == ["load", "new", "third"]
    assert flows.ok(flows.ask("POST", "/flows/company.team", "")) == []
    assert flows.get("/flows/company.team") == []
    assert flows.get("/flows/company.other") != []


@pytest.mark.parametrize(
    "wrong",
    [
        "id: broken\nnamespace: company.team\n",
        log_flow("company.team.load") + "---\n" + log_flow("company.team.load"),
    ],
)
@pytest.mark.parametrize("target", ["/flows/company.team", "/flows/bulk?namespace=company.team"])
def test_nothing_changes_when_one_of_several_is_wrong(flows: ApiClient, wrong: str, target: str) -> None:
    response = flows.ask("POST", target, log_flow("company.team.load", "description: x\n") + "---\n" + wrong)
    assert response.status == 422
    assert [(flow["id"], flow["revision"]) for flow in flows.get("/flows/company.team")] == [("load", 1), ("report", 1)]


def test_a_namespace_takes_no_flow_of_another(flows: ApiClient) -> None:
    body = log_flow("company.team.new") + "---\n" + log_flow("company.other.stranger")
    why = flows.refused(flows.ask("POST", "/flows/company.team", body), 422)
    assert "the flow `stranger` belongs to the namespace `company.other`" in why
    assert [flow["id"] for flow in flows.get("/flows/company.team")] == ["load", "report"]


def test_the_place_of_a_mistake_counts_the_lines_of_the_whole_body(flows: ApiClient) -> None:
    body = log_flow("company.team.load") + "---\n" + log_flow("company.team.new", "colour: red\n")
    why = flows.refused(flows.ask("POST", "/flows/company.team", body), 422)
    assert "<flow>:8:1: colour: Unknown property `colour`" in why


def test_flows_of_many_namespaces_are_saved_at_once(flows: ApiClient) -> None:
    both = log_flow("company.team.load", "description: x\n") + "---\n" + log_flow("new.one")
    saved = flows.ok(flows.ask("POST", "/flows/bulk", both))
    assert [(flow["namespace"], flow["revision"]) for flow in saved] == [("company.team", 2), ("new", 1)]
    assert len(names(flows.get("/flows/search"))) == 6
    flows.ok(flows.ask("POST", "/flows/bulk?namespace=company.team", both))
    assert [flow["id"] for flow in flows.get("/flows/company.team")] == ["load"]
    flows.ok(flows.ask("POST", "/flows/bulk?namespace=company&delete=false", both))
    assert flows.get("/flows/company.other") != []
    flows.ok(flows.ask("POST", "/flows/bulk?namespace=company&allowNamespaceChild=true", both))
    assert names(flows.get("/flows/search?namespace=company")) == ["company.team.load"]
    assert "needs the `namespace`" in flows.refused(flows.ask("POST", "/flows/bulk?delete=true", both), 422)


# -- Export and import --------------------------------------------------------------------------------


def test_what_was_exported_is_imported(flows: ApiClient) -> None:
    archive = flows.ask("GET", "/flows/export/by-query?namespace=company")
    assert archive.headers["content-type"] == "application/zip"
    assert unzipped(archive.body) == {
        "company.other.load.yml": FLOWS[2],
        "company.team.load.yml": FLOWS[0],
        "company.team.report.yml": FLOWS[1],
    }
    assert unzipped(flows.ask("POST", "/flows/export/by-ids", these("system.sweep")).body) == {
        "system.sweep.yml": FLOWS[4]
    }
    flows.ok(flows.ask("DELETE", "/flows/delete/by-query"))
    assert flows.ok(flows.upload("POST", "/flows/import", "fileUpload", "flows.zip", archive.body)) == []
    assert names(flows.get("/flows/search")) == ALL[1:4]


def test_an_import_lists_what_it_could_not_save(flows: ApiClient) -> None:
    files = {"a.yml": log_flow("new.good"), "b.yaml": "id: bad\nnamespace: new\n", "c.yml": b"\xff", "d.txt": "-"}
    why = flows.upload("POST", "/flows/import?failOnError=true", "fileUpload", "x.zip", zip_of(files))
    assert "c.yml:1:1: The file is not UTF-8 text." in flows.refused(why, 422)
    assert flows.get("/flows/new") == []
    assert flows.ok(flows.upload("POST", "/flows/import", "fileUpload", "x.zip", zip_of(files))) == ["new.bad", "c.yml"]
    assert [flow["id"] for flow in flows.get("/flows/new")] == ["good"]


def test_a_yaml_file_is_imported(flows: ApiClient) -> None:
    text = log_flow("new.one") + "---\n" + log_flow("new.two")
    assert flows.ok(flows.upload("POST", "/flows/import", "fileUpload", "flows.yml", text.encode())) == []
    assert [flow["id"] for flow in flows.get("/flows/new")] == ["one", "two"]
    assert flows.ask("POST", "/flows/import").status == 422
    assert flows.ask("POST", "/flows/import", "{}", content_type="application/json").status == 415


# -- Dependencies -------------------------------------------------------------------------------------

CALLS = """
id: {id}
namespace: {namespace}
tasks:
  - {{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: {to_namespace}, flowId: {to}}}
"""
LISTENS = """
id: listener
namespace: c
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    conditions: [{type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: b, flowId: middle}]
"""


def edges(topology: Any) -> set[str]:
    return {f"{edge['source']} {edge['relation']} {edge['target']}" for edge in topology["edges"]}


def test_dependencies_are_what_a_flow_starts_and_what_starts_it(api: ApiClient) -> None:
    api.save(
        CALLS.format(id="top", namespace="a", to_namespace="b", to="middle"),
        CALLS.format(id="middle", namespace="b", to_namespace="b", to="bottom"),
        log_flow("b.bottom"),
        LISTENS,
        log_flow("b.alone"),
    )
    middle = api.get("/flows/b/middle/dependencies")
    assert edges(middle) == {
        "main_a_top FLOW_TASK main_b_middle",
        "main_b_middle FLOW_TASK main_b_bottom",
        "main_b_middle FLOW_TRIGGER main_c_listener",
    }
    assert {"uid": "main_a_top", "namespace": "a", "id": "top"} in middle["nodes"]
    assert edges(api.get("/flows/b/middle/dependencies?destinationOnly=true")) == edges(middle) - {
        "main_a_top FLOW_TASK main_b_middle"
    }
    assert edges(api.get("/flows/a/top/dependencies")) == {"main_a_top FLOW_TASK main_b_middle"}
    assert edges(api.get("/flows/a/top/dependencies?expandAll=true")) == edges(middle)
    assert edges(api.get("/namespaces/c/dependencies")) == {"main_b_middle FLOW_TRIGGER main_c_listener"}
    assert [node["uid"] for node in api.get("/flows/b/alone/dependencies")["nodes"]] == ["main_b_alone"]
    assert api.ask("GET", "/flows/b/nobody/dependencies").status == 404
    api.become("viewer@b")
    assert edges(api.get("/flows/b/middle/dependencies")) == {"main_b_middle FLOW_TASK main_b_bottom"}


def test_dependencies_follow_the_flows(api: ApiClient) -> None:
    api.save(CALLS.format(id="top", namespace="a", to_namespace="b", to="old"), log_flow("b.old"), log_flow("b.new"))
    assert edges(api.get("/flows/a/top/dependencies")) == {"main_a_top FLOW_TASK main_b_old"}
    api.ok(api.ask("PUT", "/flows/a/top", CALLS.format(id="top", namespace="a", to_namespace="b", to="new")))
    assert edges(api.get("/flows/a/top/dependencies")) == {"main_a_top FLOW_TASK main_b_new"}
    assert edges(api.get("/flows/b/old/dependencies")) == set()


# -- Checks -------------------------------------------------------------------------------------------


def test_flows_are_checked_one_by_one(api: ApiClient) -> None:
    body = "---\n" + log_flow("a.good") + "---\n" + log_flow("a.bad", "colour: red\n").replace("Log,", "Lgo,")
    good, bad = api.ok(api.ask("POST", "/flows/validate", body))
    assert good == {
        "index": 0,
        "flow": "good",
        "namespace": "a",
        "outdated": False,
        "deprecationPaths": [],
        "warnings": [],
        "infos": [],
    }
    assert (bad["index"], bad["flow"], bad["namespace"]) == (1, "bad", "a")
    first, second = bad["constraints"].splitlines()
    assert first == "line 9, column 1: colour: Unknown property `colour`."
    assert second.startswith("line 11, column 21: tasks[0].type: Unknown type `io.kestra.plugin.core.log.Lgo`.")
    assert api.get("/flows/search")["total"] == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "line 1, column 1: The file is empty"),
        ("a: [", "line 2, column 1: Expected a value here"),
        ("[]", "line 1, column 1: A flow is a map"),
        ("a: &x [*x]", "stands inside what it stands for"),
    ],
)
def test_what_is_no_flow_at_all_is_told_in_the_same_way(api: ApiClient, body: str, why: str) -> None:
    (violation,) = api.ok(api.ask("POST", "/flows/validate", body))
    assert why in violation["constraints"]


def test_old_ways_and_old_revisions_are_told(api: ApiClient) -> None:
    api.save(log_flow("a.f"))
    api.ok(api.ask("PUT", "/flows/a/f", log_flow("a.f", "description: x\n")))
    old = log_flow("a.f", "revision: 1\n").replace("io.kestra.plugin.core.log.Log", "io.kestra.core.tasks.log.Log")
    (violation,) = api.ok(api.ask("POST", "/flows/validate", old))
    assert violation["outdated"] is True
    assert violation["deprecationPaths"] == ["tasks[0].type"]
    assert "is the old name of `io.kestra.plugin.core.log.Log`" in violation["warnings"][0]
    assert "constraints" not in violation
    api.ok(api.ask("POST", "/flows/bulk", log_flow("b.g").replace("plugin.core.log.Log", "core.tasks.log.Log")))
    (found,) = api.get("/flows/deprecated")
    assert (found["namespace"], found["id"], found["deprecationPaths"]) == ("b", "g", ["tasks[0].type"])
    assert api.get("/flows/deprecated?namespace=a") == []


def test_a_task_and_a_trigger_are_checked_by_themselves(api: ApiClient) -> None:
    task = "id: log\ntype: io.kestra.plugin.core.log.Log\n"
    assert "constraints" not in api.ok(api.ask("POST", "/flows/validate/task?section=TASKS", f"{task}message: x"))
    wrong = api.ok(api.ask("POST", "/flows/validate/task", f"{task}mesage: x"))
    assert wrong["constraints"].startswith("line 3, column 1: mesage: Unknown property `mesage`")
    trigger = json.dumps({"id": "nightly", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "x"})
    for target in ("/flows/validate/trigger", "/flows/validate/task?section=TRIGGERS"):
        told = api.ok(api.ask("POST", target, trigger, content_type="application/json"))
        assert "cron: A cron expression has 5 fields" in told["constraints"]
    assert api.ask("POST", "/flows/validate/task?section=INPUTS", task).status == 400
