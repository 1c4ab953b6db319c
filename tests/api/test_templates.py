"""Templates: made, changed, found and checked over the API, and taken by the flows that name them."""

from __future__ import annotations

from api.client import ApiClient

GREETING = """
id: greeting
namespace: company.team
description: Says hello.
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "Hello {{ parent.outputs.args.name }}"}
"""
USING = """
id: using
namespace: company.team
tasks:
  - {id: greet, type: io.kestra.plugin.core.flow.Template, namespace: company.team, templateId: greeting,
     args: {name: Ada}}
"""


def test_a_template_is_made_changed_and_deleted(api: ApiClient) -> None:
    made = api.ok(api.ask("POST", "/templates", GREETING))
    assert (made["id"], made["namespace"], made["revision"], made["deleted"]) == ("greeting", "company.team", 1, False)
    assert made["description"] == "Says hello."
    assert made["source"] == GREETING
    assert api.get("/templates/company.team/greeting") == made
    why = api.refused(api.ask("POST", "/templates", GREETING), 422)
    assert why == "Invalid entity: template.id: Template id already exists"
    assert api.ok(api.ask("PUT", "/templates/company.team/greeting", GREETING))["revision"] == 1
    changed = api.ok(api.ask("PUT", "/templates/company.team/greeting", GREETING.replace("Says", "Shouts")))
    assert (changed["revision"], changed["description"]) == (2, "Shouts hello.")
    assert api.ask("DELETE", "/templates/company.team/greeting").status == 204
    for method in ("GET", "DELETE"):
        why = api.refused(api.ask(method, "/templates/company.team/greeting"), 404)
        assert why == "Not Found: Template company.team.greeting"
    assert api.refused(api.ask("PUT", "/templates/company.team/greeting", GREETING), 404)
    assert api.ok(api.ask("POST", "/templates", GREETING))["revision"] == 4


def test_the_body_must_be_the_template_that_the_path_names(api: ApiClient) -> None:
    api.ok(api.ask("POST", "/templates", GREETING))
    other = GREETING.replace("id: greeting", "id: other")
    why = api.refused(api.ask("PUT", "/templates/company.team/greeting", other), 422)
    assert why == "Illegal argument: the body is the template company.team.other"


def test_templates_are_found_by_name_and_are_no_flows(api: ApiClient) -> None:
    for name in ("b.one", "a.two", "a.b.three"):
        namespace, _, template_id = name.rpartition(".")
        source = GREETING.replace("company.team", namespace).replace("id: greeting", f"id: {template_id}")
        api.ok(api.ask("POST", "/templates", source))
    found = api.get("/templates/search")
    assert [f"{each['namespace']}.{each['id']}" for each in found["results"]] == ["a.two", "a.b.three", "b.one"]
    assert [each["id"] for each in api.get("/templates/search?namespace=a")["results"]] == ["two", "three"]
    assert [each["id"] for each in api.get("/templates/search?q=O&sort=id:desc")["results"]] == ["two", "one"]
    page = api.get("/templates/search?size=1&page=2")
    assert ([each["id"] for each in page["results"]], page["total"]) == (["three"], 3)
    assert api.get("/templates/distinct-namespaces") == ["a", "a.b", "b"]
    assert api.get("/flows/search")["total"] == 0


def test_what_is_wrong_with_a_template_is_told(api: ApiClient) -> None:
    broken = "id: x\nnamespace: a\ninputs: []\n"
    assert "Unknown property `inputs` of a template." in api.refused(api.ask("POST", "/templates", broken), 422)
    said = api.ok(api.ask("POST", "/templates/validate", f"{GREETING}---\n{broken}"))
    assert [each["index"] for each in said] == [0, 1]
    assert (said[0]["flow"], said[0].get("constraints")) == ("greeting", None)
    assert "The property `tasks` is required." in said[1]["constraints"]


def test_a_flow_is_warned_of_a_template_that_is_not_there(api: ApiClient) -> None:
    (said,) = api.ok(api.ask("POST", "/flows/validate", USING))
    assert said.get("constraints") is None
    assert any("There is no template `greeting` in the namespace `company.team`." in each for each in said["warnings"])
    api.ok(api.ask("POST", "/templates", GREETING))
    (said,) = api.ok(api.ask("POST", "/flows/validate", USING))
    assert not any("There is no template" in each for each in said.get("warnings", []))


def test_a_flow_takes_the_tasks_of_the_template(api: ApiClient) -> None:
    api.save(USING)
    why = api.refused(api.ask("POST", "/executions/company.team/using"), 422)
    assert "There is no template `greeting` in the namespace `company.team`." in why
    api.ok(api.ask("POST", "/templates", GREETING))
    execution = api.ok(api.ask("POST", "/executions/company.team/using"))
    api.runtime.settle()
    api.ok(api.ask("PUT", "/templates/company.team/greeting", GREETING.replace("Hello", "Bye")))
    view = api.get(f"/executions/{execution['id']}")
    assert [(run["taskId"], run["outputs"]) for run in view["taskRunList"]] == [
        ("greet", {"args": {"name": "Ada"}}),
        ("say", {"value": "Hello Ada"}),
    ]
    assert view["state"]["current"] == "SUCCESS"
    graph = api.get(f"/executions/{execution['id']}/graph")
    drawn = {node["task"]["id"] for node in graph["nodes"] if node.get("task")}
    assert {"greet", "say"} <= drawn
    say = view["taskRunList"][1]["id"]
    said = api.ok(api.ask("POST", f"/executions/{execution['id']}/eval/{say}", "{{ parent.outputs.args.name }}"))
    assert said["result"] == "Ada"
    assert api.get("/flows/company.team/using/graph")["nodes"]
