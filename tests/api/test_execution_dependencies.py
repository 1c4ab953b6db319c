"""Which executions started which, over HTTP: asked for once, and followed (reference §14.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from api.executions_client import ExecutionsClient, events, executions_client
from headrace_engine.api import Response, Stream

CALLED = """
id: called
namespace: company.team
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: called}
"""
CALLER = """
id: caller
namespace: company.team
inputs:
  - {id: wait, type: BOOL, defaults: false}
tasks:
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: called}
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    runIf: "{{ inputs.wait }}"
"""
HEARS = """
id: hears
namespace: company.ops
triggers:
  - id: ended
    type: io.kestra.plugin.core.trigger.Flow
    states: [SUCCESS]
    preconditions:
      id: of
      flows: [{namespace: company.team, flowId: caller}]
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: heard}
"""
TOP = """
id: top
namespace: company.team
tasks:
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: caller, wait: true}
"""


PARTS = """
id: parts
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "nsfile:///f"
    batch: {rows: 1}
    namespace: company.team
    flowId: called
"""


@pytest.fixture
def api() -> Iterator[ExecutionsClient]:
    with executions_client(CALLED, CALLER, HEARS, TOP) as client:
        yield client


def graph(api: ExecutionsClient, execution_id: str, query: str = "") -> tuple[dict[str, str], set[tuple[str, ...]]]:
    """Return flow and state by execution, and the edges by flow."""
    found = api.get(f"/executions/{execution_id}/dependencies?{query}")
    flows = {each["executionId"]: each["flowId"] for each in found["nodes"]}
    edges = {(flows[each["source"]], flows[each["target"]], each["relation"]) for each in found["edges"]}
    assert len(edges) == len(found["edges"])
    assert "isComplete" not in found
    return {each["flowId"]: each["state"]["current"] for each in found["nodes"]}, edges


CALLS = ("caller", "called", "FLOW_TASK")
HEARD = ("caller", "hears", "FLOW_TRIGGER")
BEGUN = ("top", "caller", "FLOW_TASK")


def of(api: ExecutionsClient, flow_id: str) -> str:
    (found,) = api.found(f"flowId={flow_id}")
    return found


def test_what_an_execution_started_and_what_started_it_is_found_from_any_of_them(api: ExecutionsClient) -> None:
    top = api.started("company.team.top")
    caller, called, hears = (of(api, each) for each in ("caller", "called", "hears"))
    ended = dict.fromkeys(("top", "caller", "called", "hears"), "SUCCESS")
    assert graph(api, caller) == (ended, {CALLS, HEARD, BEGUN})
    assert graph(api, top) == ({"top": "SUCCESS", "caller": "SUCCESS"}, {BEGUN})
    assert graph(api, top, "expandAll=true") == (ended, {CALLS, HEARD, BEGUN})
    assert graph(api, called)[1] == {CALLS}
    assert graph(api, called, "expandAll=true")[1] == {CALLS, BEGUN}
    assert graph(api, hears, "expandAll=true")[1] == {HEARD, BEGUN}
    assert graph(api, hears, "expandAll=true&destinationOnly=true") == ({"hears": "SUCCESS"}, set())
    assert api.refused(api.ask("GET", "/executions/nobody/dependencies"), 404) == "Not Found: Execution nobody"
    assert api.ask("GET", f"/executions/{top}/dependencies?expandAll=x").status == 400


def test_what_an_execution_started_is_found_by_a_search(api: ExecutionsClient) -> None:
    top = api.started("company.team.top")
    caller, called, hears = (of(api, each) for each in ("caller", "called", "hears"))
    assert api.found(f"triggerExecutionId={top}") == [caller]
    assert set(api.found(f"triggerExecutionId={caller}")) == {called, hears}
    assert api.found("childFilter=MAIN") == [top]
    assert set(api.found("childFilter=CHILD")) == {caller, called, hears}
    assert api.found(f"filters[triggerExecutionId][IN]={top},{called}") == [caller]


def test_an_execution_has_what_it_replays_as_its_parent_and_not_what_started_it(api: ExecutionsClient) -> None:
    top = api.started("company.team.top")
    caller, called, hears = (of(api, each) for each in ("caller", "called", "hears"))
    replay = api.ok(api.ask("POST", f"/executions/{called}/replay"))["id"]
    parents = {**dict.fromkeys((top, caller, called, hears)), replay: called}
    listed = {each["id"]: each["parentId"] for each in api.get("/executions/search?size=100")["results"]}
    assert listed == parents
    assert {each: api.get(f"/executions/{each}")["parentId"] for each in parents} == parents
    assert set(api.found(f"triggerExecutionId={caller}")) == {called, hears, replay}
    assert api.found(f"triggerExecutionId={called}") == []
    assert api.found("childFilter=MAIN") == [top]


def test_what_a_key_named_is_found_from_its_own_side(api: ExecutionsClient) -> None:
    keyed = HEARS.replace("id: hears", "id: keyed").replace("states: [SUCCESS]", "idempotencyKey: once")
    api.save(keyed)
    caller = api.started("company.team.caller")
    assert graph(api, of(api, "keyed"))[1] == {("caller", "keyed", "FLOW_TRIGGER")}
    assert graph(api, caller)[1] == {CALLS, HEARD}


def test_nobody_sees_executions_of_other_namespaces(api: ExecutionsClient) -> None:
    caller = api.started("company.team.caller")
    hears = of(api, "hears")
    api.become("viewer@company.team")
    assert graph(api, caller)[1] == {CALLS}
    assert api.ask("GET", f"/executions/{hears}/dependencies").status == 404


def test_an_execution_for_each_part_is_found(api: ExecutionsClient) -> None:
    put = '--x\r\ncontent-disposition: form-data; name="fileContent"; filename="f"\r\n\r\n1\n2\n3\n\r\n--x--\r\n'
    api.ok(
        api.ask("POST", "/namespaces/company.team/files?path=f", put, content_type="multipart/form-data; boundary=x")
    )
    api.save(PARTS)
    execution_id = api.started("company.team.parts")
    found = api.get(f"/executions/{execution_id}/dependencies")
    assert {each["target"] for each in found["edges"]} == set(api.found("flowId=called"))
    assert len(found["edges"]) == 3


def test_of_very_many_some_are_shown_and_it_says_so(api: ExecutionsClient) -> None:
    rows = "".join(f"{number}\n" for number in range(520))
    put = f'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="f"\r\n\r\n{rows}\r\n--x--\r\n'
    api.ok(
        api.ask("POST", "/namespaces/company.team/files?path=f", put, content_type="multipart/form-data; boundary=x")
    )
    api.save(PARTS)
    execution_id = api.started("company.team.parts")
    found = api.get(f"/executions/{execution_id}/dependencies")
    assert found["isComplete"] is False
    assert 490 < len(found["nodes"]) <= 500
    assert len(found["edges"]) == len(found["nodes"]) - 1


def told(answer: Stream) -> list[tuple[str, str, str]]:
    """Return name, flow and state of each event that is there."""
    found = b""
    for chunk in answer.chunks:
        if not chunk:
            break
        found += chunk
    parsed = [(each["event"], json.loads(each["data"])) for each in events(found) if "data" in each]
    return [(name, each["flowId"], each["state"]["current"]) for name, each in parsed]


def test_followers_hear_of_each_change_of_each_until_all_have_ended(api: ExecutionsClient) -> None:
    caller = api.started("company.team.caller", wait="true")
    answer = api.stream("GET", f"/executions/{caller}/follow-dependencies")
    assert isinstance(answer, Stream)
    chunks = iter(answer.chunks)
    stream = Stream(answer.status, chunks, answer.headers)
    assert told(stream) == [("progress", "caller", "PAUSED"), ("progress", "called", "SUCCESS")]
    assert told(stream) == []
    api.ok(api.ask("POST", f"/executions/{caller}/resume"))
    assert told(stream) == [("progress", "caller", "SUCCESS"), ("progress", "hears", "SUCCESS")]
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(seconds=5))
    assert told(stream) == [("end", "caller", "SUCCESS")]
    assert next(chunks, None) is None


def test_where_nothing_streams_an_answer_says_how_all_stand(api: ExecutionsClient) -> None:
    caller = api.started("company.team.caller", wait="true")
    path = f"/executions/{caller}/follow-dependencies"
    answer = api.ask("GET", path)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.endswith(b"retry: 1000\n\n")
    api.ok(api.ask("POST", f"/executions/{caller}/resume"))
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(seconds=5))
    names: list[Any] = [each["event"] for each in events(api.ask("GET", path).body)]
    assert names == ["progress", "progress", "progress", "end"]
    last = api.ask("GET", path, last_event_id="end")
    assert isinstance(last, Response)
    assert (last.status, last.body) == (204, b"")
