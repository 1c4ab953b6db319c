"""Pages of flows and executions: what is there is shown, and the buttons do what they say."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from headrace_engine.model.state import State
from pages.browser import Browser, Page

LOG, FAIL, PAUSE = (
    "io.kestra.plugin.core.log.Log",
    "io.kestra.plugin.core.execution.Fail",
    "io.kestra.plugin.core.flow.Pause",
)
TREE = f"""
id: tree
namespace: demo
description: Grows.
labels: {{team: green}}
inputs:
  - {{id: name, type: STRING, defaults: oak, description: Which one}}
  - {{id: code, type: SECRET, defaults: "{{{{ secret('TOKEN') }}}}"}}
triggers:
  - {{id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 6 * * *"}}
  - {{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: hook-key-that-nobody-sees-1234}}
outputs:
  - {{id: file, type: FILE, value: "{{{{ outputs.write.uri }}}}"}}
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    tasks:
      - {{id: leaf, type: {LOG}, message: "leaf {{{{ taskrun.value }}}}"}}
  - {{id: write, type: io.kestra.plugin.core.storage.Write, content: hello, extension: .txt}}
"""


def flow(flow_id: str, *tasks: str, more: str = "") -> str:
    rows = "\n".join(f"  - {task}" for task in tasks)
    return f"id: {flow_id}\nnamespace: demo\n{more}\ntasks:\n{rows}\n"


def buttons(page: Page) -> list[str]:
    found = [button["text"] for form in page.forms for button in form.buttons]
    return [each for each in found if each != "Replay from here"]


def state_of(visitor: Browser, execution_id: str) -> State:
    visitor.runtime.settle(None)
    return visitor.runtime.state(execution_id).state


def test_flows_are_listed_and_searched(visitor: Browser) -> None:
    visitor.save(TREE, *(flow(f"flow-{number:03}", f"{{id: a, type: {LOG}, message: a}}") for number in range(105)))
    page = visitor.get("/")
    assert page.path == "/flows"
    assert "106 flows" in page.words
    assert "/flows/demo/flow-000" in page.links()
    assert "/flows/demo/tree" not in page.links()
    after = visitor.get(next(link for link in page.links() if "page=2" in link))
    assert "/flows/demo/tree" in after.links()
    found = visitor.send_form(page.form("/flows"), {"q": "TREE"})
    assert "1 flow " in found.words
    assert "Grows." in found.words
    assert "/forms/demo/tree" in found.links()
    assert "There are none." in visitor.get("/flows?namespace=dem").words


def test_a_flow_shows_its_source_inputs_and_triggers(visitor: Browser) -> None:
    visitor.save(TREE)
    visitor.save(TREE.replace("oak", "elm"))
    execution_id = visitor.start("demo", "tree")
    page = visitor.get("/flows/demo/tree")
    assert "name STRING no elm Which one" in page.words
    assert "code SECRET no ********" in page.words
    assert "daily io.kestra.plugin.core.trigger.Schedule yes" in page.words
    assert "team: green" in page.words
    assert f"/executions/{execution_id}" in page.links()
    assert 'message: "leaf {{ taskrun.value }}"' in page.words
    first = visitor.get("/flows/demo/tree?revision=1")
    assert "name STRING no oak" in first.words
    assert visitor.get("/flows/demo/tree?revision=9").status == 404
    assert visitor.get("/flows/demo/tree?revision=x").status == 400


def test_an_execution_shows_its_tree_logs_outputs_and_files(visitor: Browser) -> None:
    visitor.save(TREE)
    execution_id = visitor.start("demo", "tree")
    page = visitor.get(f"/executions/{execution_id}")
    runs = {run.task_id: run for run in visitor.runtime.state(execution_id).task_runs.values()}
    assert [each["class"] for each in page.all("th") if "depth" in each.get("class", "")] == [
        "depth-0",
        "depth-1",
        "depth-1",
        "depth-0",
    ]
    assert {each["class"] for each in page.all("svg")} == {"bar success"}
    for bar in page.all("rect"):
        assert int(bar["x"]) >= 0
        assert int(bar["x"]) + int(bar["width"]) <= 1000
    for expected in ("leaf a", "leaf b", "SUCCESS", f"run-{runs['write'].id}"):
        assert expected in page.words or expected in page.text
    view = visitor.engine.view(visitor.runtime.state(execution_id))
    uri = view["outputs"]["file"]
    (link,) = [each for each in page.links() if "/file?path=" in each]
    assert link == f"/api/v1/main/executions/{execution_id}/file?path={quote(uri, safe='')}"
    assert visitor.ask("GET", link)[2] == b"hello"
    assert '"code": "********"' in page.words
    assert "s3cr3t" not in page.text


def test_bars_stand_where_the_time_went(visitor: Browser) -> None:
    sleep = "io.kestra.plugin.core.flow.Sleep"
    visitor.save(
        flow("sleeper", f"{{id: one, type: {sleep}, duration: PT10S}}", f"{{id: two, type: {sleep}, duration: PT30S}}")
    )
    execution_id = visitor.runtime.create("demo", "sleeper")
    visitor.runtime.settle()
    page = visitor.get(f"/executions/{execution_id}")
    bars = [(int(each["x"]), int(each["width"])) for each in page.all("rect")]
    assert bars == [(0, 250), (250, 750)]
    assert "10.0 s" in page.words
    assert "40.0 s" in page.words


def test_a_running_execution_is_shown_again_without_javascript(visitor: Browser) -> None:
    visitor.save(flow("waiter", f"{{id: wait, type: {PAUSE}}}"))
    execution_id = visitor.start("demo", "waiter")
    page = visitor.get(f"/executions/{execution_id}")
    assert {"http-equiv": "refresh", "content": "5"} in page.all("meta")
    assert "data-open" in page.by_id("live")
    visitor.runtime.kill(execution_id)
    visitor.runtime.settle(None)
    page = visitor.get(f"/executions/{execution_id}")
    assert not [each for each in page.all("meta") if "http-equiv" in each]
    assert "data-open" not in page.by_id("live")


def test_many_task_runs_come_in_pages(visitor: Browser) -> None:
    values = json.dumps(list(map(str, range(250))))
    inner = f"{{id: each, type: io.kestra.plugin.core.flow.ForEach, values: {values}, tasks: [{{id: leaf, type: {LOG}, message: a}}]}}"
    visitor.save(flow("wide", inner))
    execution_id = visitor.start("demo", "wide")
    page = visitor.get(f"/executions/{execution_id}")
    assert "1 to 200 of 251 task runs" in page.words
    assert len(page.all("rect")) == 200
    beyond = next(link for link in page.links() if "taskRunOffset=200" in link)
    assert "201 to 251 of 251 task runs" in visitor.get(beyond).words


def test_kill_stops_an_execution(visitor: Browser) -> None:
    visitor.save(flow("waiter", f"{{id: wait, type: {PAUSE}}}"))
    execution_id = visitor.start("demo", "waiter")
    page = visitor.get(f"/executions/{execution_id}")
    assert buttons(page) == ["Kill"]
    done = visitor.press(page, "Kill")
    assert done.path == f"/executions/{execution_id}"
    assert state_of(visitor, execution_id) is State.KILLED
    (record,) = visitor.records("POST /executions/{execution_id}/kill")
    assert (record.who, record.namespace) == ("local", "demo")
    # Pressed once more in a page of before.
    assert visitor.press(page, "Kill").status == 409


def test_restart_runs_again_what_failed(visitor: Browser) -> None:
    visitor.save(flow("fails", f"{{id: fail, type: {FAIL}}}"))
    execution_id = visitor.start("demo", "fails")
    page = visitor.get(f"/executions/{execution_id}")
    assert buttons(page) == ["Restart", "Replay"]
    done = visitor.press(page, "Restart")
    assert done.path == f"/executions/{execution_id}"
    visitor.runtime.settle(None)
    history = [state for state, _ in visitor.runtime.state(execution_id).histories]
    assert history.count(State.RESTARTED) == 1


def test_replay_begins_a_new_execution(visitor: Browser) -> None:
    visitor.save(TREE)
    execution_id = visitor.start("demo", "tree", name="ash")
    page = visitor.get(f"/executions/{execution_id}")
    assert buttons(page) == ["Replay"]
    copy = visitor.execution(visitor.press(page, "Replay"))
    assert copy["id"] != execution_id
    assert copy["originalId"] == execution_id
    assert copy["inputs"]["name"] == "ash"
    part = visitor.execution(visitor.press(page, "Replay from here"))
    assert part["originalId"] == execution_id


def test_pause_and_resume_as_a_whole(visitor: Browser) -> None:
    sleep = "io.kestra.plugin.core.flow.Sleep"
    visitor.save(
        flow("sleeper", f"{{id: one, type: {sleep}, duration: PT10S}}", f"{{id: two, type: {LOG}, message: two}}")
    )
    execution_id = visitor.start("demo", "sleeper")
    page = visitor.press(visitor.get(f"/executions/{execution_id}"), "Pause")
    visitor.runtime.settle(timedelta(seconds=20))
    page = visitor.get(f"/executions/{execution_id}")
    assert state_of(visitor, execution_id) is State.PAUSED
    assert "Resume" in buttons(page)
    visitor.press(page, "Resume")
    visitor.runtime.settle()
    assert state_of(visitor, execution_id) is State.SUCCESS


def test_who_may_only_look_has_no_buttons(visitor: Browser) -> None:
    visitor.save(flow("waiter", f"{{id: wait, type: {PAUSE}}}"))
    execution_id = visitor.start("demo", "waiter")
    page = visitor.get(f"/executions/{execution_id}")
    visitor.become("viewer@demo")
    shown = visitor.get(f"/executions/{execution_id}")
    assert shown.status == 200
    assert not buttons(shown)
    assert not [each for each in shown.links() if each.startswith("/forms/")]
    assert not [each for each in visitor.get("/flows").links() if each.startswith("/forms/")]
    assert visitor.press(page, "Kill").status == 403
    assert state_of(visitor, execution_id) is State.PAUSED


# -- The list -------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(visitor: Browser) -> dict[str, str]:
    visitor.save(flow("good", f"{{id: a, type: {LOG}, message: a}}"), flow("bad", f"{{id: a, type: {FAIL}}}"))
    visitor.save(flow("other", f"{{id: a, type: {LOG}, message: a}}").replace("namespace: demo", "namespace: else"))
    found = {}
    for namespace, flow_id in (("demo", "good"), ("demo", "bad"), ("else", "other")):
        execution_id = visitor.runtime.create(namespace, flow_id, labels={"of": flow_id})
        visitor.runtime.settle(None)
        visitor.runtime.clock.set(visitor.runtime.clock.now() + timedelta(hours=2))
        found[flow_id] = execution_id
    return found


def listed(page: Page, ids: dict[str, str]) -> list[str]:
    names = {f"/executions/{execution_id}": name for name, execution_id in ids.items()}
    return [names[link] for link in page.links() if link in names]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["other", "bad", "good"]),
        ({"state": "FAILED"}, ["bad"]),
        ({"namespace": "demo"}, ["bad", "good"]),
        ({"flowId": "good"}, ["good"]),
        ({"labels": "of:other"}, ["other"]),
        ({"timeRange": "P1D", "namespace": "demo", "state": "SUCCESS"}, ["good"]),
        ({"timeRange": "PT1H"}, []),
        ({"q": "bad"}, ["bad"]),
    ],
)
def test_executions_are_found_by_what_stands_in_the_address(
    visitor: Browser, several: dict[str, str], query: dict[str, str], expected: list[str]
) -> None:
    page = visitor.send_form(visitor.get("/executions").form("/executions"), query)
    assert page.status == 200
    assert listed(page, several) == expected
    assert all(page.value(name) == value for name, value in query.items()), "the form shows what is looked for"
    assert f"{len(expected)} found" in page.words


@pytest.mark.parametrize(
    "query", ["state=NONE", "labels=nothing", "timeRange=long", "cursor=x", "cursor=%00", "state=SUCCESS&state=<i>"]
)
def test_what_cannot_be_looked_for_is_told(visitor: Browser, several: dict[str, str], query: str) -> None:
    page = visitor.get(f"/executions?{query}")
    assert page.status == 400
    assert [each for each in page.elements if each[1].get("role") == "alert"]
    assert "<i>" not in page.text


def test_a_long_list_comes_in_pages(visitor: Browser) -> None:
    visitor.save(flow("good", f"{{id: a, type: {LOG}, message: a}}"))
    ids: dict[str, str] = {}
    for number in range(60):
        execution_id = visitor.runtime.create("demo", "good")
        ids[str(number)] = execution_id
    visitor.runtime.settle(None)
    first = visitor.get("/executions?flowId=good")
    second = visitor.get(next(link for link in first.links() if "cursor=" in link))
    assert "60 found" in first.words
    assert len(listed(first, ids)) == 50
    assert len(listed(second, ids)) == 10
    assert set(listed(first, ids)) | set(listed(second, ids)) == set(ids)
    assert "/executions?flowId=good" in second.links(), "back to the newest"


def test_a_list_holds_what_somebody_may_see(visitor: Browser, several: dict[str, str]) -> None:
    visitor.become("viewer@demo")
    assert listed(visitor.get("/executions"), several) == ["bad", "good"]
    assert "else" not in visitor.get("/flows").words
    assert visitor.get(f"/executions/{several['other']}").status == 404
    assert visitor.get("/flows/else/other").status == 403


def test_there_is_no_page_of_no_execution(visitor: Browser) -> None:
    page: Any = visitor.get("/executions/nothing")
    assert page.status == 404
    assert visitor.get("/executions/a/b/c/d").status == 404
    assert visitor.ask("PUT", "/executions/nothing")[0] in (404, 405)
