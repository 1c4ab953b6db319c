"""Executions over the API: begun, found, followed, and what is asked of one or of many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from api.executions_client import FAILING, HELLO, LIMITED, PAUSED, ExecutionsClient, events, executions_client
from headrace_engine.api import Later, Stream


@pytest.fixture
def api() -> Iterator[ExecutionsClient]:
    with executions_client(HELLO, PAUSED, FAILING, LIMITED) as client:
        yield client


# -- Begun --------------------------------------------------------------------------------------------


def test_an_execution_has_the_fields_that_clients_know(api: ExecutionsClient) -> None:
    execution = api.ok(api.form("/executions/company.team/hello?wait=true&labels=team:a", message="Hi"))
    assert {"id", "namespace", "flowId", "flowRevision", "state", "inputs", "outputs", "labels"} <= execution.keys()
    assert execution["state"].keys() == {"current", "histories", "duration", "startDate", "endDate"}
    assert execution["originalId"] == execution["id"]
    assert (execution["deleted"], execution["kind"], execution["flowRevision"]) == (False, "NORMAL", 1)
    assert {"key": "team", "value": "a"} in execution["labels"]
    assert {"key": "kind", "value": "greeting"} in execution["labels"]
    assert execution["url"].endswith(f"/api/v1/main/executions/{execution['id']}")
    (run,) = execution["taskRunList"]
    assert (run["taskId"], run["executionId"], run["attempts"][0]["state"]["current"]) == (
        "log",
        execution["id"],
        "SUCCESS",
    )


def test_the_old_path_starts_an_execution_too(api: ExecutionsClient) -> None:
    execution = api.ok(api.form("/executions/trigger/company.team/hello?wait=true", message="Hi"))
    assert execution["outputs"] == {"said": "Hi"}


def test_an_execution_of_an_earlier_revision(api: ExecutionsClient) -> None:
    api.ok(api.ask("PUT", "/flows/company.team/hello", HELLO.replace("default: Hello", "default: Bye") + "# 2"))
    assert api.ok(api.ask("POST", "/executions/company.team/hello?revision=1"))["flowRevision"] == 1
    assert api.ok(api.ask("POST", "/executions/company.team/hello"))["flowRevision"] == 2
    assert "revision 7" in api.refused(api.ask("POST", "/executions/company.team/hello?revision=7"), 404)


def test_an_execution_that_is_to_begin_later_waits(api: ExecutionsClient) -> None:
    date = (api.runtime.clock.now() + timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    execution = api.ok(api.ask("POST", f"/executions/company.team/hello?scheduleDate={date}"))
    assert execution["state"]["current"] == "CREATED"
    assert execution["scheduleDate"].startswith(date[:19])
    api.runtime.settle()
    assert api.current(execution["id"]) == "SUCCESS"


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("kind=TEST", 422, "every execution is of the kind NORMAL"),
        ("breakpoints=log", 422, "Illegal argument: there are no breakpoints"),
        ("labels=system.x:1", 422, "System labels can only be set by Kestra itself"),
        ("scheduleDate=tomorrow", 400, "`scheduleDate` is an ISO instant"),
        ("revision=99999999999", 400, "there are not so many revisions"),
    ],
)
def test_what_an_execution_cannot_be_started_with(api: ExecutionsClient, query: str, status: int, message: str) -> None:
    assert message in api.refused(api.ask("POST", f"/executions/company.team/hello?{query}"), status)
    assert api.found() == []


def test_inputs_are_checked_without_an_execution(api: ExecutionsClient) -> None:
    flow = """
id: checked
namespace: company.team
inputs:
  - {id: amount, type: INT}
  - {id: word, type: STRING, defaults: x}
checks:
  - {condition: "{{ inputs.amount < 10 }}", message: too much, behavior: BLOCK_EXECUTION}
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}
"""
    api.save(flow)
    answer = api.ok(api.form("/executions/company.team/checked/validate", amount="many"))
    amount, word = answer["inputs"]
    assert (amount["input"]["id"], amount["input"]["type"]) == ("amount", "INT")
    assert "many" in amount["errors"][0]["message"]
    assert (word["value"], word["isDefault"], word["errors"]) == ("x", True, [])
    answer = api.ok(api.form("/executions/company.team/checked/validate", amount="11"))
    assert [check["message"] for check in answer["checks"]] == ["too much"]
    assert api.ok(api.form("/executions/company.team/checked/validate", amount="3"))["checks"] == []
    assert api.found() == []


# -- Found --------------------------------------------------------------------------------------------


def test_executions_are_found_by_every_filter(api: ExecutionsClient) -> None:
    hello = api.started("company.team.hello", "?labels=team:red")
    paused = api.started("company.team.paused", "?labels=team:blue")
    failed = api.started("company.ops.failing")
    replayed = api.ok(api.ask("POST", f"/executions/{failed}/replay"))["id"]
    assert api.found() == [replayed, failed, paused, hello]
    assert api.found("namespace=company.team") == [paused, hello]
    assert api.found("flowId=failing&namespace=company") == [replayed, failed]
    assert api.found("state=PAUSED&state=SUCCESS") == [paused, hello]
    assert api.found("labels=team:red") == [hello]
    assert api.found("labels=team:red&labels=team:blue") == []
    assert api.found("q=ops+FAIL") == [replayed, failed]
    assert api.found(f"q={paused[:8]}") == [paused]
    assert api.found("childFilter=MAIN") == [replayed, failed, paused, hello]
    assert api.found("childFilter=CHILD") == []
    assert api.found(f"triggerExecutionId={failed}") == []
    listed = api.get("/executions/search?size=100")["results"]
    assert {each["id"]: each["parentId"] for each in listed} == {
        **dict.fromkeys((failed, paused, hello)),
        replayed: failed,
    }
    start = api.get(f"/executions/{paused}")["state"]["startDate"]
    assert api.found(f"startDate={start}&endDate={start}") == [paused]
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(hours=2))
    latest = api.started("company.team.hello")
    assert api.found("timeRange=PT1H") == [latest]
    assert api.found("scope=SYSTEM") == []
    assert len(api.found("scope=USER")) == 5


def test_executions_are_found_by_filters_with_operations(api: ExecutionsClient) -> None:
    hello = api.started("company.team.hello", "?labels=team:red")
    paused = api.started("company.team.paused")
    failed = api.started("company.ops.failing")
    assert api.found("filters[namespace][EQUALS]=company.team") == [paused, hello]
    assert api.found("filters[namespace][EQUALS]=company") == []
    assert api.found("filters[namespace][PREFIX]=company") == [failed, paused, hello]
    assert api.found("filters[namespace][STARTS_WITH]=company.t") == [paused, hello]
    assert api.found("filters[namespace][IN]=company.team,company.ops") == [failed, paused, hello]
    assert api.found("filters[namespace][NOT_EQUALS]=company.team") == [failed]
    assert api.found("filters[flowId][REGEX]=^(hello|paused)$") == [paused, hello]
    assert api.found("filters[flowId][CONTAINS]=AIL") == [failed]
    assert api.found("filters[flowId][ENDS_WITH]=ing&filters[state][IN]=FAILED,KILLED") == [failed]
    assert api.found("filters[state][NOT_IN]=FAILED,PAUSED") == [hello]
    assert api.found("filters[labels][EQUALS][team]=red") == [hello]
    assert api.found("filters[labels][NOT_EQUALS][team]=red") == [failed, paused]
    assert api.found("filters[q][EQUALS]=team:red") == [hello]
    assert api.found("filters[timeRange][EQUALS]=PT1H") == [failed, paused, hello]
    start = api.get(f"/executions/{paused}")["state"]["startDate"]
    assert api.found(f"filters[startDate][GREATER_THAN]={start}") == [failed]
    assert api.found(f"filters[startDate][LESS_THAN_OR_EQUAL_TO]={start}") == [paused, hello]
    assert api.found("filters[scope][EQUALS]=USER&filters[kind][EQUALS]=NORMAL") == [failed, paused, hello]
    assert api.found("filters[kind][EQUALS]=TEST") == []


@pytest.mark.parametrize(
    "query",
    [
        "filters[nothing][EQUALS]=x",
        "filters[state][CONTAINS]=FAIL",
        "filters[state][EQUALS]=HAPPY",
        "filters[flowId][REGEX]=(",
        "filters[flowId][LESS_THAN]=x",
        "startDate=yesterday",
        "timeRange=long",
        "labels=x",
        "childFilter=BOTH",
        "scope=NOBODY",
        "sort=mood:asc",
        "size=5000",
        "q=" + "+".join(f"word{n}" for n in range(21)),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(api: ExecutionsClient, query: str) -> None:
    assert api.refused(api.ask("GET", f"/executions/search?{query}"), 400).startswith("Bad request: ")


def test_a_search_is_sorted_and_goes_on_by_its_cursor(api: ExecutionsClient) -> None:
    ids = [api.started("company.team.hello") for _ in range(5)]
    page = api.get("/executions/search?size=2&sort=state.startDate:asc")
    assert [each["id"] for each in page["results"]] == ids[:2]
    page = api.get("/executions/search?size=2")
    assert (page["total"], page["totalIsExact"]) == (5, True)
    found = [each["id"] for each in page["results"]]
    while "next" in page:
        page = api.get(f"/executions/search?size=2&cursor={page['next']}")
        found += [each["id"] for each in page["results"]]
    assert found == ids[::-1]
    assert api.refused(api.ask("GET", "/executions/search?cursor=nonsense"), 400)


def test_who_may_not_see_a_namespace_does_not_find_its_executions(api: ExecutionsClient) -> None:
    hello, failed = api.started("company.team.hello"), api.started("company.ops.failing")
    api.become("operator@company.ops")
    assert api.found() == [failed]
    assert api.found("namespace=company.team") == []
    assert api.ask("GET", f"/executions/{hello}").status in (403, 404)
    body = json.dumps([hello, failed])
    answer = api.ask("POST", "/executions/restart/by-ids", body)
    assert answer.status == 400
    assert json.loads(answer.body)["invalids"] == [{"value": hello, "message": "execution not found"}]
    assert api.ok(api.ask("POST", "/executions/restart/by-query"))["count"] == 1


def test_the_latest_execution_of_flows(api: ExecutionsClient) -> None:
    api.started("company.team.hello")
    latest = api.started("company.team.hello")
    body = json.dumps([{"namespace": "company.team", "id": "hello"}, {"namespace": "company.team", "flowId": "paused"}])
    (found,) = api.ok(api.ask("POST", "/executions/latest", body))
    assert (found["id"], found["status"]) == (latest, "SUCCESS")


def test_flows_as_executions_see_them(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello")
    api.ok(api.ask("PUT", "/flows/company.team/hello", HELLO + "# changed"))
    flow = api.get(f"/executions/{execution_id}/flow")
    assert (flow["id"], flow["revision"], flow["tasks"][0]["id"]) == ("hello", 1, "log")
    assert "source" not in flow
    assert api.get("/executions/flows/company.team/hello")["revision"] == 2
    assert api.get("/executions/namespaces") == ["company.ops", "company.team"]
    assert [each["id"] for each in api.get("/executions/namespaces/company.ops/flows")] == ["failing", "limited"]


def test_a_graph_has_the_task_runs(api: ExecutionsClient) -> None:
    execution_id = api.started("company.ops.failing")
    nodes = {
        node["task"]["id"]: node for node in api.get(f"/executions/{execution_id}/graph")["nodes"] if "task" in node
    }
    assert nodes["first"]["taskRun"]["state"]["current"] == "SUCCESS"
    assert nodes["check"]["taskRuns"][0]["state"]["current"] == "FAILED"
    assert "taskRun" not in nodes["last"]


def test_an_execution_of_many_task_runs_comes_by_pages(api: ExecutionsClient) -> None:
    api.save("""
id: wide
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ range(1, 9) }}"
    tasks:
      - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}
""")
    execution_id = api.started("company.team.wide")
    whole = api.get(f"/executions/{execution_id}")
    assert "taskRunsTotal" not in whole
    answer = api.ask("GET", f"/executions/{execution_id}?taskRunSize=4")
    page = api.ok(answer)
    assert (len(page["taskRunList"]), page["taskRunsTotal"]) == (4, 10)
    runs = page["taskRunList"]
    while "link" in answer.headers:
        target, _, rest = answer.headers["link"].removeprefix("</api/v1/main").partition(">")
        assert rest == '; rel="next"'
        answer = api.ask("GET", target)
        runs += api.ok(answer)["taskRunList"]
    assert runs == whole["taskRunList"]


# -- Followed -----------------------------------------------------------------------------------------


def test_a_stream_tells_of_every_change_and_ends(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    answer = api.stream("GET", f"/executions/{execution_id}/follow")
    assert isinstance(answer, Stream)
    assert answer.watches == (execution_id,)
    chunks = iter(answer.chunks)
    (event,) = events(next(chunks))
    assert (event["id"], event["event"]) == ("progress", "progress")
    assert json.loads(event["data"])["state"]["current"] == "PAUSED"
    assert next(chunks) == b""
    assert next(chunks) == b""
    api.ok(api.form(f"/executions/{execution_id}/resume", by="me"))
    told = [event for chunk in chunks for event in events(chunk)]
    assert told[-1]["id"] == "end"
    assert json.loads(told[-1]["data"])["state"]["current"] == "SUCCESS"
    assert api.ask("GET", f"/executions/{execution_id}/follow", last_event_id="end").status == 204


def test_a_stream_in_which_nothing_happens_stays_alive(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    answer = api.stream("GET", f"/executions/{execution_id}/follow")
    assert isinstance(answer, Stream)
    chunks = iter(answer.chunks)
    assert [next(chunks) for _ in range(2)][1] == b""
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(seconds=20))
    assert next(chunks) == b":\n\n"


def test_waiting_takes_no_thread(api: ExecutionsClient) -> None:
    api.asleep = True
    answer = api.stream("POST", "/executions/company.team/hello?wait=true")
    assert isinstance(answer, Later)
    assert answer.look() is None
    api.runtime.settle(None)
    response = answer.look()
    assert response is not None
    assert json.loads(response.body)["state"]["current"] == "SUCCESS"


# -- Asked of one -------------------------------------------------------------------------------------


def test_a_failed_execution_is_restarted(api: ExecutionsClient) -> None:
    execution_id = api.started("company.ops.failing")
    execution = api.ok(api.ask("POST", f"/executions/{execution_id}/restart"))
    assert execution["id"] == execution_id
    states = [each["state"] for each in api.get(f"/executions/{execution_id}")["state"]["histories"]]
    assert states == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "FAILED"]
    hello = api.started("company.team.hello")
    assert api.refused(api.ask("POST", f"/executions/{hello}/restart"), 422)


def test_a_restart_on_another_revision_is_a_new_execution(api: ExecutionsClient) -> None:
    execution_id = api.started("company.ops.failing")
    api.ok(api.ask("PUT", "/flows/company.ops/failing", FAILING.replace("== 'bad'", "== 'worse'")))
    follower = api.ok(api.ask("POST", f"/executions/{execution_id}/restart?revision=2"))
    assert follower["id"] != execution_id
    assert (follower["parentId"], follower["originalId"]) == (execution_id, execution_id)
    found = api.get(f"/executions/{follower['id']}")
    assert (found["state"]["current"], found["flowRevision"]) == ("SUCCESS", 2)
    assert api.current(execution_id) == "FAILED"


def test_an_execution_is_replayed_from_a_task_and_with_other_inputs(api: ExecutionsClient) -> None:
    execution_id = api.started("company.ops.failing")
    runs = api.get(f"/executions/{execution_id}")["taskRunList"]
    replay = api.ok(api.ask("POST", f"/executions/{execution_id}/replay?taskRunId={runs[1]['id']}"))
    assert replay["parentId"] == execution_id
    assert api.current(replay["id"]) == "FAILED"
    again = api.ok(api.ask("POST", f"/executions/{replay['id']}/replay"))
    listed = {each["id"]: (each["parentId"], each["originalId"]) for each in api.get("/executions/search")["results"]}
    assert listed == {
        execution_id: (None, execution_id),
        replay["id"]: (execution_id, execution_id),
        again["id"]: (replay["id"], execution_id),
    }
    other = api.ok(api.form(f"/executions/{execution_id}/replay-with-inputs", mode="good"))
    assert api.current(other["id"]) == "SUCCESS"
    assert api.get(f"/executions/{other['id']}")["inputs"] == {"mode": "good"}
    assert api.refused(api.ask("POST", f"/executions/{execution_id}/replay?taskRunId=nobody"), 422)
    paused = api.started("company.team.hello")
    refusal = api.refused(api.ask("POST", f"/executions/{paused}/resume-from-breakpoint"), 409)
    assert refusal == "Illegal state: execution is at no breakpoint, it is in state SUCCESS; there are none"
    for replay in ("replay", "replay-with-inputs"):
        assert api.refused(api.ask("POST", f"/executions/{paused}/{replay}?breakpoints=x"), 422) == (
            "Illegal argument: there are no breakpoints"
        )


def test_a_task_runs_state_and_an_end_state_are_set_by_hand(api: ExecutionsClient) -> None:
    execution_id = api.started("company.ops.failing")
    run = api.get(f"/executions/{execution_id}")["taskRunList"][1]
    body = json.dumps({"taskRunId": run["id"], "state": "SUCCESS"})
    api.ok(api.ask("POST", f"/executions/{execution_id}/state", body))
    assert api.current(execution_id) == "SUCCESS"
    api.ok(api.ask("POST", f"/executions/{execution_id}/change-status?status=WARNING"))
    assert api.current(execution_id) == "WARNING"
    assert api.refused(api.ask("POST", f"/executions/{execution_id}/change-status?status=RUNNING"), 409)
    assert api.refused(api.ask("POST", f"/executions/{execution_id}/change-status?status=HAPPY"), 400)
    assert api.refused(api.ask("POST", f"/executions/{execution_id}/state", "{}"), 422)


def test_what_waits_in_a_queue_is_taken_out_or_forced(api: ExecutionsClient) -> None:
    first, second, third = (api.started("company.ops.limited") for _ in range(3))
    assert [api.current(each) for each in (first, second, third)] == ["PAUSED", "QUEUED", "QUEUED"]
    api.ok(api.ask("POST", f"/executions/{second}/unqueue?state=CANCELLED"))
    assert api.current(second) == "CANCELLED"
    api.ok(api.ask("POST", f"/executions/{third}/force-run"))
    assert api.current(third) == "PAUSED"
    assert api.refused(api.ask("POST", f"/executions/{first}/unqueue"), 422)
    api.ok(api.ask("POST", f"/executions/{first}/force-run"))
    assert api.current(first) == "SUCCESS"
    assert api.refused(api.ask("POST", f"/executions/{first}/force-run"), 422)


def test_a_pauses_inputs_are_checked_without_resuming_it(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    (answer,) = api.ok(api.ask("POST", f"/executions/{execution_id}/resume/validate"))["inputs"]
    assert (answer["input"]["id"], answer["input"]["type"]) == ("by", "STRING")
    assert len(answer["errors"]) == 1
    (answer,) = api.ok(api.form(f"/executions/{execution_id}/resume/validate", by="me"))["inputs"]
    assert answer["errors"] == []
    assert api.current(execution_id) == "PAUSED"


def test_who_resumed_is_known(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    api.ok(api.form(f"/executions/{execution_id}/resume", by="me"))
    run = api.get(f"/executions/{execution_id}")["taskRunList"][0]
    assert run["outputs"]["resumed"]["by"] == "local"


def test_labels_are_added_to_what_has_ended(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello", "?labels=team:red")
    body = json.dumps([{"key": "team", "value": "blue"}, {"key": "seen", "value": "yes"}])
    labels = api.ok(api.ask("POST", f"/executions/{execution_id}/labels", body))["labels"]
    own = {each["key"]: each["value"] for each in labels}
    assert (own["team"], own["seen"], own["kind"]) == ("blue", "yes", "greeting")
    assert api.ok(api.ask("POST", f"/executions/{execution_id}/labels", body))["labels"] == labels
    assert api.found("labels=seen:yes") == [execution_id]
    assert api.found("labels=team:red") == []
    assert api.current(execution_id) == "SUCCESS"
    paused = api.started("company.team.paused")
    assert "not terminated" in api.refused(api.ask("POST", f"/executions/{paused}/labels", body), 400)
    for labels in (
        '[{"key": "system.x", "value": "y"}]',
        '[{"key": "x", "value": null}]',
        '[{"key": "", "value": "y"}]',
    ):
        assert api.ask("POST", f"/executions/{execution_id}/labels", labels).status == 422


def test_a_deleted_execution_leaves_nothing_unless_told(api: ExecutionsClient) -> None:
    upload = b'--x\r\ncontent-disposition: form-data; name="data"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    media = "multipart/form-data; boundary=x"
    first = api.ok(api.ask("POST", "/executions/company.team/hello", upload, content_type=media))["id"]
    second = api.ok(api.ask("POST", "/executions/company.team/hello", upload, content_type=media))["id"]
    assert api.ask("DELETE", f"/executions/{first}").status == 204
    assert api.ask("GET", f"/executions/{first}").status == 404
    assert api.ask("GET", f"/logs/{first}").status == 404
    assert api.found() == [second]
    assert len(api.stores.storage.list("kestra:///")) == 1
    assert api.ask("DELETE", f"/executions/{second}?deleteLogs=false&deleteStorage=false").status == 204
    assert [line.message for line in api.stores.logs.fetch(second)] == ["Hello"]
    assert len(api.stores.storage.list("kestra:///")) == 1
    assert api.ask("DELETE", f"/executions/{second}").status == 404


@pytest.mark.parametrize("how", ["by-ids", "by-query"])
def test_a_deletion_that_was_interrupted_can_be_repeated(api: ExecutionsClient, how: str) -> None:
    """Lists are told last; until they are, they have what is not there any more."""
    execution_id = api.started("company.team.hello")
    api.stores.journal.purge(execution_id)
    assert api.found() == [execution_id]
    query, body = ("", [execution_id]) if how == "by-ids" else ("?flowId=hello", None)
    assert api.ok(api.ask("DELETE", f"/executions/{how}{query}", json.dumps(body)))["count"] == 1
    assert api.found() == []


def test_an_execution_that_goes_on_is_killed_before_it_is_deleted(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    assert api.ask("DELETE", f"/executions/{execution_id}").status == 204
    assert api.found() == []
    execution_id = api.started("company.team.paused")
    api.asleep = True
    assert "being killed" in api.refused(api.ask("DELETE", f"/executions/{execution_id}"), 409)


# -- Asked of many ------------------------------------------------------------------------------------


def test_many_are_asked_by_their_ids(api: ExecutionsClient) -> None:
    paused = [api.started("company.team.paused") for _ in range(3)]
    assert api.ok(api.ask("DELETE", "/executions/kill/by-ids", json.dumps(paused[:2])))["count"] == 2
    assert [api.current(each) for each in paused] == ["KILLED", "KILLED", "PAUSED"]
    failed = [api.started("company.ops.failing") for _ in range(2)]
    assert api.ok(api.ask("POST", "/executions/restart/by-ids", json.dumps(failed)))["count"] == 2
    assert len(api.get(f"/executions/{failed[0]}")["state"]["histories"]) == 6
    assert api.ok(api.ask("POST", "/executions/replay/by-ids", json.dumps(failed)))["count"] == 2
    assert len(api.found("flowId=failing")) == 4
    asked = json.dumps({"executionsId": failed, "executionLabels": [{"key": "a", "value": "b"}]})
    assert api.ok(api.ask("POST", "/executions/labels/by-ids", asked))["count"] == 2
    assert api.found("labels=a:b") == failed[::-1]
    change = "/executions/change-status/by-ids?newStatus=WARNING"
    assert api.ok(api.ask("POST", change, json.dumps(failed)))["count"] == 2
    assert api.current(failed[0]) == "WARNING"


def test_where_one_cannot_be_asked_nothing_is_done(api: ExecutionsClient) -> None:
    paused, ended = api.started("company.team.paused"), api.started("company.team.hello")
    answer = api.ask("DELETE", "/executions/kill/by-ids", json.dumps([paused, ended, "nobody"]))
    assert answer.status == 400
    body = json.loads(answer.body)
    assert body["message"] == "invalid bulk kill"
    assert [each["value"] for each in body["invalids"]] == [ended, "nobody"]
    assert "already finished" in body["invalids"][0]["message"]
    assert body["invalids"][1]["message"] == "execution not found"
    assert api.current(paused) == "PAUSED"
    assert api.ask("POST", "/executions/pause/by-ids", json.dumps([paused])).status == 400
    assert api.ask("POST", "/executions/resume/by-ids", '"x"').status == 422


def test_the_state_of_a_query_says_which_are_taken_out_of_the_queue_and_not_what_they_become(
    api: ExecutionsClient,
) -> None:
    _, second, third = (api.started("company.ops.limited") for _ in range(3))
    unqueue = "/executions/unqueue/by-query?flowId=limited&state=QUEUED"
    assert api.ok(api.ask("POST", unqueue))["count"] == 2
    assert [api.current(each) for each in (second, third)] == ["PAUSED", "PAUSED"]
    fourth = api.started("company.ops.limited")
    assert api.ok(api.ask("POST", "/executions/unqueue/by-ids?state=CANCELLED", json.dumps([fourth])))["count"] == 1
    assert api.current(fourth) == "CANCELLED"


def test_many_are_asked_by_a_query(api: ExecutionsClient) -> None:
    first, second = api.started("company.ops.limited"), api.started("company.ops.limited")
    other = api.started("company.team.paused")
    unqueue = "/executions/unqueue/by-query?state=QUEUED&newState=FAILED"
    assert api.ok(api.ask("POST", unqueue))["count"] == 1
    assert api.current(second) == "FAILED"
    assert api.ok(api.ask("POST", "/executions/resume/by-query?flowId=limited&state=PAUSED"))["count"] == 1
    assert api.current(first) == "SUCCESS"
    assert api.ok(api.ask("DELETE", "/executions/kill/by-query?filters[state][EQUALS]=PAUSED"))["count"] == 1
    assert api.current(other) == "KILLED"
    labels = json.dumps([{"key": "a", "value": "b"}])
    assert api.ok(api.ask("POST", "/executions/labels/by-query?namespace=company", labels))["count"] == 3
    assert len(api.found("labels=a:b")) == 3


def test_many_are_deleted(api: ExecutionsClient) -> None:
    ended = [api.started("company.team.hello") for _ in range(3)]
    paused = api.started("company.team.paused")
    refusal = api.ask("DELETE", "/executions/by-ids", json.dumps([ended[0], paused]))
    assert refusal.status == 400
    assert api.ok(api.ask("DELETE", "/executions/by-ids", json.dumps(ended[:1])))["count"] == 1
    assert api.ok(api.ask("DELETE", "/executions/by-query?namespace=company.team"))["count"] == 2
    assert api.found() == [paused]
    also = "/executions/by-query?namespace=company.team&includeNonTerminated=true"
    assert api.ok(api.ask("DELETE", also))["count"] == 1
    assert api.found() == []


def test_too_many_at_once_are_refused(api: ExecutionsClient) -> None:
    ids = json.dumps([f"x{n}" for n in range(1001)])
    assert "at most 1000" in api.refused(api.ask("DELETE", "/executions/kill/by-ids", ids), 422)


def test_a_secret_that_a_pause_was_given_is_used_by_the_tasks_after_it(api: ExecutionsClient) -> None:
    api.save(
        """
id: asks
namespace: company.team
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: token, type: SECRET}]}
  - {id: size, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.wait.onResume.token | length }}"}
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "it is {{ outputs['wait']['onResume']['token'] }}"}
"""
    )
    execution_id = api.started("company.team.asks")
    assert api.form(f"/executions/{execution_id}/resume", token="s3cr3t").status == 204
    found = api.get(f"/executions/{execution_id}")
    wait, size, _ = found["taskRunList"]
    assert wait["outputs"]["onResume"]["token"]["type"] == "io.kestra.datatype:aes_encrypted"
    assert size["outputs"] == {"value": "6"}
    assert [line["message"] for line in api.get(f"/logs/{execution_id}")] == ["it is ********"]
