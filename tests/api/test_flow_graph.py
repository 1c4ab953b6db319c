"""Flows as graphs."""

from __future__ import annotations

from typing import Any

from api.client import ApiClient, log_flow

LOG = "type: io.kestra.plugin.core.log.Log, message: x"


def flow(tasks: str, more: str = "") -> str:
    return f"id: f\nnamespace: a\ntasks:\n{tasks}\n{more}"


def drawn(api: ApiClient, source: str, query: str = "") -> Any:
    return api.ok(api.ask("POST", f"/flows/graph{query}", source))


def arrows(graph: Any) -> set[str]:
    """Return the edges in short: without the beginning of uids, and what is usual."""
    found = set()
    for edge in graph["edges"]:
        relation = edge["relation"]
        how = relation["relationType"].lower() + (f"({relation['value']})" if "value" in relation else "")
        ends = [edge[end].removeprefix("root.") for end in ("source", "target")]
        found.add(f"{ends[0]} > {ends[1]}" if how == "sequential" else f"{ends[0]} {how} {ends[1]}")
    return found


def test_tasks_follow_each_other(api: ApiClient) -> None:
    graph = drawn(api, flow(f"  - {{id: one, {LOG}}}\n  - {{id: two, {LOG}}}"))
    assert arrows(graph) == {"start > one", "one > two", "two > end"}
    (cluster,) = graph["clusters"]
    assert cluster["nodes"] == ["root.start", "root.end", "root.one", "root.two"]
    assert (cluster["start"], cluster["end"], cluster["parents"]) == ("root.start", "root.end", [])
    one = next(node for node in graph["nodes"] if node["uid"] == "root.one")
    assert one["type"] == "io.kestra.core.models.hierarchies.GraphTask"
    assert one["task"] == {"id": "one", "type": "io.kestra.plugin.core.log.Log", "message": "x"}


def test_branches_are_chosen(api: ApiClient) -> None:
    graph = drawn(
        api,
        flow(
            f"""
  - id: if
    type: io.kestra.plugin.core.flow.If
    condition: "{{{{ true }}}}"
    then: [{{id: yes, {LOG}}}]
    else: [{{id: no, {LOG}}}]
  - id: switch
    type: io.kestra.plugin.core.flow.Switch
    value: a
    cases: {{a: [{{id: in-a, {LOG}}}]}}
    defaults: [{{id: other, {LOG}}}]"""
        ),
    )
    assert arrows(graph) >= {
        "start > if.start",
        "if.start > if",
        "if choice(then) if.yes",
        "if choice(else) if.no",
        "if.yes > if.end",
        "if.no > if.end",
        "if.end > switch.start",
        "switch choice(a) switch.in-a",
        "switch choice(defaults) switch.other",
        "switch.end > end",
    }
    clusters = {each["cluster"]["uid"]: each for each in graph["clusters"]}
    assert clusters["cluster_root.if"]["parents"] == ["cluster_root"]
    assert clusters["cluster_root.if"]["nodes"] == [f"root.if{name}" for name in (".start", ".end", "", ".yes", ".no")]
    assert graph["flowables"] == ["if", "switch"]


def test_what_goes_on_side_by_side_and_what_waits(api: ApiClient) -> None:
    graph = drawn(
        api,
        flow(
            f"""
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks: [{{id: left, {LOG}}}, {{id: right, {LOG}}}]
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {{id: one, {LOG}}}
      - {{task: {{id: two, {LOG}}}, dependsOn: [one]}}
      - {{task: {{id: three, {LOG}}}, dependsOn: [one]}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2]
    tasks: [{{id: inner, {LOG}}}]"""
        ),
    )
    assert arrows(graph) >= {
        "both parallel both.left",
        "both parallel both.right",
        "both.left > both.end",
        "both.right > both.end",
        "dag parallel dag.one",
        "dag.one > dag.two",
        "dag.one > dag.three",
        "dag.two > dag.end",
        "dag.three > dag.end",
        "each dynamic each.inner",
        "each.inner > each.end",
    }
    assert "dag.one > dag.end" not in arrows(graph)


def test_errors_and_what_comes_last(api: ApiClient) -> None:
    more = f"""
errors: [{{id: failed, {LOG}}}]
finally: [{{id: clean, {LOG}}}]
afterExecution: [{{id: after, {LOG}}}]
triggers: [{{id: nightly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 2 * * *"}}]
"""
    graph = drawn(api, flow(f"  - {{id: one, {LOG}}}", more))
    assert arrows(graph) == {
        "triggers.nightly > start",
        "start > one",
        "one > finally",
        "start error failed",
        "failed > finally",
        "finally finally clean",
        "clean > afterExecution",
        "afterExecution after_execution after",
        "after > end",
    }
    trigger = next(node for node in graph["nodes"] if "triggerDeclaration" in node)
    assert trigger["triggerDeclaration"]["cron"] == "0 2 * * *"


def test_every_edge_and_cluster_names_nodes_that_are_there(api: ApiClient) -> None:
    graph = drawn(
        api,
        flow(
            f"""
  - id: outer
    type: io.kestra.plugin.core.flow.Sequential
    tasks:
      - id: items
        type: io.kestra.plugin.core.flow.ForEachItem
        items: "{{{{ inputs.x }}}}"
        namespace: a
        flowId: b
      - id: pause
        type: io.kestra.plugin.core.flow.Pause
    errors: [{{id: bad, {LOG}}}]
    finally: [{{id: good, {LOG}}}]"""
        ),
    )
    uids = [node["uid"] for node in graph["nodes"]]
    assert len(uids) == len(set(uids))
    assert {edge[end] for edge in graph["edges"] for end in ("source", "target")} == set(uids)
    assert sorted(uid for cluster in graph["clusters"] for uid in cluster["nodes"]) == sorted(uids)


def test_a_subflow_is_drawn_with_what_it_runs_when_that_is_asked_for(api: ApiClient) -> None:
    api.save(log_flow("b.child"))
    calls = "  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: b, flowId: child}"
    assert arrows(drawn(api, flow(calls))) == {"start > call", "call > end"}
    graph = drawn(api, flow(calls), "?subflows=root.call")
    assert arrows(graph) == {"start > call.start", "call.start > call.log", "call.log > call.end", "call.end > end"}
    assert graph["clusters"][1]["cluster"]["type"].endswith(".SubflowGraphCluster")
    assert graph["clusters"][1]["cluster"]["task"]["flowId"] == "child"
    api.become("viewer@a")
    assert "call.log" not in str(drawn(api, flow(calls), "?subflows=root.call"))


def test_a_stored_flow_has_the_graph_of_its_revision(api: ApiClient) -> None:
    api.save(log_flow("a.f"))
    api.ok(api.ask("PUT", "/flows/a/f", flow(f"  - {{id: other, {LOG}}}")))
    assert arrows(api.get("/flows/a/f/graph")) == {"start > other", "other > end"}
    assert arrows(api.get("/flows/a/f/graph?revision=1")) == {"start > log", "log > end"}
    assert api.ask("GET", "/flows/a/g/graph").status == 404
    assert api.ask("POST", "/flows/graph", "id: x").status == 422
