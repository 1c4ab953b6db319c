"""The files of an execution over the API, its logs, metrics and numbers, and expressions tried on it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from api.executions_client import FAILING, HELLO, PAUSED, ExecutionsClient, events, executions_client
from headrace_engine.api import Response, Stream
from headrace_engine.ports import Level, LogLine, MetricPoint
from headrace_engine.run_stores import execution_folder

SECRET = """
id: secret
namespace: company.team
inputs:
  - {id: password, type: SECRET}
  - {id: name, type: STRING, defaults: someone}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.name }}"}
  - {id: value, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.name }}!"}
"""


@pytest.fixture
def api() -> Iterator[ExecutionsClient]:
    with executions_client(HELLO, PAUSED, FAILING, SECRET) as client:
        yield client


def stored(api: ExecutionsClient, execution_id: str, name: str, content: bytes) -> str:
    """Put a file where a task of the execution would; return its URI."""
    uri = f"{execution_folder('company.team', 'hello', execution_id)}/tasks/log/run/{name}"
    api.stores.storage.put(uri, content)
    return uri


# -- Files --------------------------------------------------------------------------------------------


def test_a_file_is_sent_by_chunks_and_never_as_a_page(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello")
    content = b"<script>alert(1)</script>" * 10_000
    uri = stored(api, execution_id, "größe page.html", content)
    answer = api.stream("GET", f"/executions/{execution_id}/file?path={quote(uri)}")
    assert isinstance(answer, Stream)
    chunks = list(answer.chunks)
    assert len(chunks) > 1
    assert b"".join(chunks) == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20page.html"
    assert api.get(f"/executions/{execution_id}/file/metas?path={quote(uri)}") == {"size": len(content)}


def test_only_files_of_the_execution_are_sent(api: ExecutionsClient) -> None:
    execution_id, other = api.started("company.team.hello"), api.started("company.team.hello")
    mine, theirs = stored(api, execution_id, "a.txt", b"mine"), stored(api, other, "a.txt", b"theirs")
    engines = mine.replace("/tasks/log/run/a.txt", "/_engine/inputs.json")
    api.stores.storage.put(engines, b"{}")
    folder = execution_folder("company.team", "hello", execution_id)
    for path in (
        theirs,
        engines,
        f"{folder}/tasks/../../{other}/tasks/log/run/a.txt",
        f"{folder}/tasks/%2e%2e/x",
        f"{folder}/tasks//x",
        f"{folder}/tasks/",
        "kestra:///company/team/_files/x",
        "file:///etc/passwd",
        "/etc/passwd",
        folder,
        f"{folder}x/tasks/a",
    ):
        for what in ("file", "file/metas", "file/preview"):
            answer = api.ask("GET", f"/executions/{execution_id}/{what}?path={quote(path)}")
            assert answer.status in (422, 404), path
            assert b"theirs" not in answer.body
    assert api.ask("GET", f"/executions/{execution_id}/file?path={quote(theirs)}").status == 422
    gone = mine.replace("a.txt", "b.txt")
    assert api.refused(api.ask("GET", f"/executions/{execution_id}/file?path={quote(gone)}"), 404)
    assert api.ask("GET", f"/executions/{execution_id}/file").status == 400


@pytest.mark.parametrize(
    ("name", "content", "kind", "shown"),
    [
        ("a.csv", b"id,name\n1,x\n2,y\n", "LIST", [{"id": "1", "name": "x"}, {"id": "2", "name": "y"}]),
        ("a.jsonl", b'{"id": 1}\n{"id": 2}\n', "LIST", [{"id": 1}, {"id": 2}]),
        ("a.ion", b'{id:1,name:"x"}\n{id:2}\n', "LIST", [{"id": 1, "name": "x"}, {"id": 2}]),
        ("a.jsonl", b"not json", "TEXT", "not json"),
        ("a.md", b"# Title", "MARKDOWN", "# Title"),
        ("a.txt", "größe".encode(), "TEXT", "größe"),
        ("a.png", b"\x89PNG", "IMAGE", base64.b64encode(b"\x89PNG").decode()),
        ("a.pdf", b"%PDF", "PDF", base64.b64encode(b"%PDF").decode()),
        ("a.svg", b"<svg/>", "TEXT", "<svg/>"),
        ("a", b"", "TEXT", ""),
    ],
)
def test_a_glance_at_a_file(api: ExecutionsClient, name: str, content: bytes, kind: str, shown: Any) -> None:
    execution_id = api.started("company.team.hello")
    uri = stored(api, execution_id, name, content)
    preview = api.get(f"/executions/{execution_id}/file/preview?path={quote(uri)}")
    assert (preview["type"], preview["content"], preview["truncated"]) == (kind, shown, False)
    assert preview["extension"] == name.partition(".")[2]


def test_a_glance_is_no_more_than_that(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello")
    rows = stored(api, execution_id, "rows.jsonl", b'{"n": 1}\n' * 500_000)
    target = f"/executions/{execution_id}/file/preview?path="
    preview = api.get(f"{target}{quote(rows)}&maxRows=3")
    assert (preview["content"], preview["truncated"]) == ([{"n": 1}] * 3, True)
    text = stored(api, execution_id, "text.log", b"x" * 5_000_000)
    preview = api.get(f"{target}{quote(text)}")
    assert len(preview["content"]) < 3_000_000
    assert preview["truncated"]
    latin = stored(api, execution_id, "latin.txt", "ä".encode("latin-1"))
    assert api.get(f"{target}{quote(latin)}&encoding=ISO-8859-1")["content"] == "ä"
    for encoding in ("klingon", "base64", "rot13", "idna%00"):
        assert api.ask("GET", f"{target}{quote(latin)}&encoding={encoding}").status == 422
    assert api.ask("GET", f"{target}{quote(rows)}&maxRows=100000").status == 400


# -- Expressions --------------------------------------------------------------------------------------


def test_an_expression_is_tried_on_an_execution_and_on_a_task_run(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.secret", password="hunter2")
    runs = api.get(f"/executions/{execution_id}")["taskRunList"]
    answer = api.ok(api.ask("POST", f"/executions/{execution_id}/eval", "{{ outputs.value.value }} of {{ flow.id }}"))
    assert answer == {"result": "someone! of secret", "error": None, "stackTrace": None}
    answer = api.ok(api.ask("POST", f"/executions/{execution_id}/eval/{runs[1]['id']}", "{{ task.id }}"))
    assert answer["result"] == "value"
    answer = api.ok(api.ask("POST", f"/executions/{execution_id}/eval", "{{ nothing }}"))
    assert answer["result"] is None
    assert "nothing" in answer["error"]
    assert api.ask("POST", f"/executions/{execution_id}/eval/nobody", "x").status == 404


@pytest.mark.parametrize(
    "expression",
    [
        "{{ inputs.password }}",
        "{{ inputs.password | base64encode }}",
        "{{ inputs }}",
        "{{ secret('TOKEN') }}",
        "{{ secret('TOKEN') | upper }}",
        "{{ render('{{ secret(\"TOKEN\") }}') }}",
        "{{ http('http://127.0.0.1:1/') }}",
        "{{ ''.__class__.__mro__ }}",
    ],
)
def test_a_tried_expression_gives_no_secret(expression: str) -> None:
    with executions_client(SECRET) as api:
        api.stores.secrets._secrets = {"TOKEN": "hunter3"}  # type: ignore[attr-defined]
        execution_id = api.started("company.team.secret", password="hunter2")
        answer = api.ok(api.ask("POST", f"/executions/{execution_id}/eval", expression))
        text = json.dumps(answer).lower()
        assert "hunter" not in text
        assert base64.b64encode(b"hunter2").decode().lower() not in text


def test_who_may_only_look_tries_no_expressions(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello")
    api.become("viewer")
    assert api.ask("POST", f"/executions/{execution_id}/eval", "{{ flow.id }}").status == 403


# -- Logs ---------------------------------------------------------------------------------------------


def logged(api: ExecutionsClient, execution_id: str, *messages: str, level: Level = Level.INFO) -> None:
    """Append lines of a task run."""
    now = api.runtime.clock.now()
    lines = [
        LogLine(
            execution_id, "company.team", "hello", now + timedelta(milliseconds=n), level, message, "more", "run", 0
        )
        for n, message in enumerate(messages)
    ]
    api.stores.logs.append(execution_id, f"batch {messages[0]}", lines)


def test_the_log_of_an_execution(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.hello")
    logged(api, execution_id, "first", "second", level=Level.ERROR)
    lines = api.get(f"/logs/{execution_id}")
    assert [line["message"] for line in lines] == ["Hello", "first", "second"]
    assert (lines[0]["taskId"], lines[0]["level"], lines[0]["attemptNumber"]) == ("log", "INFO", 0)
    assert [line["message"] for line in api.get(f"/logs/{execution_id}?minLevel=WARN")] == ["first", "second"]
    assert [line["message"] for line in api.get(f"/logs/{execution_id}?taskId=log")] == ["Hello"]
    assert api.get(f"/logs/{execution_id}?taskRunId=run&attempt=1") == []
    assert api.refused(api.ask("GET", f"/logs/{execution_id}?minLevel=LOUD"), 400)
    assert api.ask("GET", "/logs/nobody").status == 404
    text = api.ask("GET", f"/logs/{execution_id}/download")
    assert text.body.decode().splitlines()[1].endswith(" ERROR more first")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert api.ask("DELETE", f"/logs/{execution_id}?taskRunId=run").status == 204
    assert [line["message"] for line in api.get(f"/logs/{execution_id}")] == ["Hello"]
    assert api.ask("DELETE", f"/logs/{execution_id}").status == 204
    assert api.get(f"/logs/{execution_id}") == []


def test_log_lines_are_searched(api: ExecutionsClient) -> None:
    first, second = api.started("company.team.hello"), api.started("company.ops.failing")
    page = api.get("/logs/search?flowId=hello")
    assert (page["total"], page["totalIsExact"]) == (1, True)
    assert [(line["executionId"], line["message"]) for line in page["results"]] == [(first, "Hello")]
    assert api.get("/logs/search?q=HELL")["total"] == 1
    assert {line["executionId"] for line in api.get("/logs/search?minLevel=ERROR")["results"]} == {second}
    logged(api, first, "more")
    messages = [line["message"] for line in api.get("/logs/search?namespace=company.team&size=1")["results"]]
    assert messages == ["more"]
    oldest = api.get("/logs/search?namespace=company.team&sort=timestamp:asc")["results"]
    assert [line["message"] for line in oldest] == ["Hello", "more"]
    assert api.get(f"/logs/search?filters[executionId][EQUALS]={first}&filters[level][EQUALS]=INFO")["total"] == 2
    assert api.get("/logs/search?triggerId=daily")["total"] == 0
    assert api.refused(api.ask("GET", "/logs/search?filters[flowId][REGEX]=x"), 400)
    api.become("viewer@company.ops")
    assert {line["executionId"] for line in api.get("/logs/search")["results"]} == {second}


def test_a_log_is_followed_to_the_end(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    logged(api, execution_id, "first", "second")
    answer = api.stream("GET", f"/logs/{execution_id}/follow")
    assert isinstance(answer, Stream)
    chunks = iter(answer.chunks)
    told = [json.loads(event["data"])["message"] for _ in range(2) for event in events(next(chunks))]
    assert told == ["first", "second"]
    assert next(chunks) == b""
    logged(api, execution_id, "second", "third")  # of the same instant as others before
    assert [json.loads(events(next(chunks))[0]["data"])["message"] for _ in range(2)] == ["second", "third"]
    assert next(chunks) == b""
    api.ok(api.form(f"/executions/{execution_id}/resume", by="me"))
    told = [event for chunk in chunks for event in events(chunk)]
    assert [event["id"] for event in told] == ["progress", "end"]
    assert json.loads(told[0]["data"])["message"] == "me"


def test_where_nothing_streams_a_log_is_followed_by_short_answers(api: ExecutionsClient) -> None:
    execution_id = api.started("company.team.paused")
    logged(api, execution_id, "first", "second")
    answer = api.ask("GET", f"/logs/{execution_id}/follow")
    assert answer.body.endswith(b"retry: 1000\n\n")
    told = events(answer.body)
    assert [json.loads(each["data"])["message"] for each in told[:2]] == ["first", "second"]
    api.ok(api.form(f"/executions/{execution_id}/resume", by="me"))
    told = events(api.ask("GET", f"/logs/{execution_id}/follow", last_event_id=told[1]["id"]).body)
    assert [each["event"] for each in told] == ["progress", "end"]
    assert json.loads(told[0]["data"])["message"] == "me"
    assert api.ask("GET", f"/logs/{execution_id}/follow", last_event_id="end").status == 204


# -- Metrics and numbers ------------------------------------------------------------------------------


def measured(api: ExecutionsClient, execution_id: str, *values: float) -> None:
    now = api.runtime.clock.now()
    points = [
        MetricPoint(execution_id, "company.team", "hello", "log", "run", "counter", "rows", value, now)
        for value in values
    ]
    api.stores.metrics.append(execution_id, "batch", points)


def test_metrics_of_an_execution_and_of_a_flow(api: ExecutionsClient) -> None:
    first, second = api.started("company.team.hello"), api.started("company.team.hello")
    measured(api, first, 1, 2)
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(hours=1))
    measured(api, second, 10)
    page = api.get(f"/metrics/{first}?size=1&sort=value:desc")
    assert page["total"] == 2
    (metric,) = page["results"]
    assert (metric["name"], metric["type"], metric["value"], metric["taskId"]) == ("rows", "counter", 2.0, "log")
    assert api.get(f"/metrics/{first}?taskId=other")["total"] == 0
    assert api.get("/metrics/names/company.team/hello") == ["rows"]
    assert api.get("/metrics/names/company.team/hello/other") == []
    assert api.get("/metrics/tasks/company.team/hello") == ["log"]
    now = api.runtime.clock.now()
    span = f"startDate={now - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}&endDate={now:%Y-%m-%dT%H:%M:%SZ}"
    sums = api.get(f"/metrics/aggregates/company.team/hello/rows?{span}")
    assert sums["groupBy"] == "hour"
    assert [each["value"] for each in sums["aggregations"]] == [None, 3.0, 10.0]
    means = api.get(f"/metrics/aggregates/company.team/hello/log/rows?{span}&aggregation=avg")
    assert [each["value"] for each in means["aggregations"]] == [None, 1.5, 10.0]
    assert api.get("/metrics/aggregates/company.team/hello/rows")["groupBy"] == "day"
    assert api.ask("GET", "/metrics/aggregates/company.team/hello/rows?aggregation=median").status == 400
    assert api.ask("GET", "/metrics/aggregates/company.team/hello/rows?startDate=1999-01-01").status == 400
    assert api.ask("GET", "/metrics/nobody").status == 404


def test_executions_are_counted_by_day(api: ExecutionsClient) -> None:
    api.started("company.team.hello")
    api.started("company.ops.failing")
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(days=1))
    paused = api.started("company.team.paused")
    now = api.runtime.clock.now()
    span = {"startDate": (now - timedelta(days=2)).isoformat(), "endDate": now.isoformat()}

    def asked(path: str, **more: Any) -> Any:
        return api.ok(api.ask("POST", f"/stats/{path}", json.dumps({**span, **more})))

    days = asked("executions/daily")
    assert [day["startDate"][:10] for day in days] == ["2025-12-31", "2026-01-01", "2026-01-02"]
    assert [day["executionCounts"]["SUCCESS"] for day in days] == [0, 1, 0]
    assert [day["executionCounts"]["FAILED"] for day in days] == [0, 1, 0]
    assert days[2]["executionCounts"]["PAUSED"] == 1
    assert days[1]["duration"]["count"] == 2
    assert days[1]["duration"]["avg"].startswith("PT")
    by_flow = asked("executions/daily/group-by-flow", namespace="company.team")
    assert {name: list(flows) for name, flows in by_flow.items()} == {"company.team": ["hello", "paused"]}
    assert list(asked("executions/daily/group-by-namespace")) == ["company.ops", "company.team"]
    assert asked("executions/daily", state=["PAUSED"])[1]["executionCounts"]["SUCCESS"] == 0
    (latest,) = asked("executions/latest/group-by-flow", flows=[{"namespace": "company.team", "id": "paused"}])
    assert latest["id"] == paused
    counts = asked("summary")
    assert (counts["flows"], counts["executions"]) == (4, 3)
    api.become("viewer@company.ops")
    assert list(asked("executions/daily/group-by-namespace")) == ["company.ops"]
    assert asked("executions/latest/group-by-flow", flows=[{"namespace": "company.team", "id": "paused"}]) == []
    year = json.dumps({"startDate": "2020-01-01"})
    assert api.refused(api.ask("POST", "/stats/executions/daily", year), 422)
    assert isinstance(api.stream("GET", "/stats/executions/daily"), Response)


def test_log_lines_are_counted_by_day_and_level(api: ExecutionsClient) -> None:
    hello = api.started("company.team.hello")
    now = api.runtime.clock.now()
    later = now + timedelta(days=1)
    api.stores.logs.append(
        hello,
        "more",
        [
            LogLine(hello, "company.team", "hello", at, Level.WARN, f"row {number}")
            for number, at in enumerate((now, later, later))
        ],
    )
    api.stores.logs.append("x", "0", [LogLine("x", "company.ops", "failing", later, Level.ERROR, "row")])
    api.runtime.clock.set(later)
    span = {"startDate": (now - timedelta(days=1)).isoformat(), "endDate": later.isoformat()}

    def asked(**more: Any) -> dict[str, dict[str, int]]:
        days = api.ok(api.ask("POST", "/stats/logs/daily", json.dumps({**span, **more})))
        assert all(each["groupBy"] == "DAY" for each in days)
        return {each["timestamp"][8:10]: {k: v for k, v in each["counts"].items() if v} for each in days}

    counted = {"31": {}, "01": {"INFO": 1, "WARN": 1}, "02": {"WARN": 2, "ERROR": 1}}
    assert asked() == counted
    assert asked(logLevel="WARN", flowId="hello") == {"31": {}, "01": {"WARN": 1}, "02": {"WARN": 2}}
    assert asked(q="row 2")["02"] == {"WARN": 1}
    assert asked(namespace="company.ops")["02"] == {"ERROR": 1}
    api.become("viewer@company.ops")
    assert asked() == {"31": {}, "01": {}, "02": {"ERROR": 1}}
    assert api.refused(api.ask("POST", "/stats/logs/daily", '{"startDate": "2020-01-01"}'), 422)


def test_many_log_lines_are_counted_where_they_are(api: ExecutionsClient) -> None:
    hello = api.started("company.team.hello")
    now = api.runtime.clock.now()
    lines = [LogLine(hello, "company.team", "hello", now, Level.DEBUG, "row") for _ in range(10_001)]
    api.stores.logs.append(hello, "more", lines)
    span = {"startDate": (now - timedelta(days=1)).isoformat(), "endDate": now.isoformat()}
    days = api.ok(api.ask("POST", "/stats/logs/daily", json.dumps(span)))
    assert [sum(each["counts"].values()) for each in days] == [0, 10_002]
    assert days[1]["counts"]["DEBUG"] == 10_001


# -- Outputs ------------------------------------------------------------------------------------------


def test_outputs_are_had_without_the_execution_around_them(api: ExecutionsClient) -> None:
    failing = api.started("company.ops.failing", mode="good")
    found = api.get(f"/outputs/{failing}")
    assert [(each["taskId"], each["outputs"]) for each in found] == [
        ("first", {"value": "good"}),
        ("check", None),
        ("last", {"value": "end"}),
    ]
    assert api.get(f"/outputs/{failing}/{found[2]['taskRunId']}") == found[2]
    page = api.ask("GET", f"/outputs/{failing}?taskRunOffset=1&taskRunSize=1")
    assert json.loads(page.body) == [found[1]]
    beyond = f"/api/v1/main/outputs/{failing}?taskRunOffset=2&taskRunSize=1"
    assert page.headers["link"] == f'<{beyond}>; rel="next"'
    assert "link" not in api.ask("GET", f"/outputs/{failing}?taskRunOffset=2&taskRunSize=1").headers
    assert api.refused(api.ask("GET", f"/outputs/{failing}/nobody"), 404) == "Not Found: TaskRun nobody"
    assert api.ask("GET", "/outputs/nobody").status == 404
