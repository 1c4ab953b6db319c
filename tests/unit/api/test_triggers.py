"""The routes about triggers, answered without a host."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from headrace_engine.adapters.memory import MemoryAudit
from headrace_engine.api import Api, Request, Response
from headrace_engine.api.gate import Gate
from headrace_engine.identity import OWNER, Grant, Kind, Principal, Role
from headrace_engine.language import Registry
from headrace_engine.schedule_records import kept_in
from headrace_engine.testing.runtime import START, VirtualRuntime
from headrace_engine.trigger_operations import AskedBackfill, TriggerName, TriggerOperations

TASKS = Registry.load()
HOUR = timedelta(hours=1)
HOURLY = """
id: hourly
namespace: company.team
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.date }}"}]
triggers: [{id: hourly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 * * * *", stopAfter: [FAILED]}]
"""
SLOW = """
id: slow
namespace: company.other
tasks: [{id: pause, type: io.kestra.plugin.core.flow.Pause}]
triggers:
  - {id: hourly, type: io.kestra.plugin.core.trigger.Schedule, cron: "30 * * * *"}
  - {id: after, type: io.kestra.plugin.core.trigger.Flow, disabled: true}
"""
WHERE = {"namespace": "company.team", "flowId": "hourly", "triggerId": "hourly"}
SLOWLY = {"namespace": "company.other", "flowId": "slow", "triggerId": "hourly"}


class Client:
    """Sends requests to an API, as *who*; what they cause is done before the next one."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime(registry=TASKS, schedules=True)
        self.who = OWNER
        gate = Gate(lambda _: self.who, MemoryAudit(), self.runtime.clock)
        world = self.runtime.world
        self.api = Api(self.runtime.engine, self.runtime.executor, world, gate, wait=lambda _seconds: None)

    def __call__(self, method: str, target: str, body: Any = None) -> Response:
        path, _, query = target.partition("?")
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        response = self.api(Request(method, f"/api/v1/main{path}", parse_qs(query), {}, content))
        self.runtime.settle(None)
        return response

    def seen(self, method: str, target: str, body: Any = None) -> Any:
        response = self(method, target, body)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def pass_(self, time: timedelta) -> None:
        end = self.runtime.clock.now() + time
        self.runtime.settle(time)
        self.runtime.clock.set(end)

    def trigger(self) -> Any:
        (view,) = self.seen("GET", "/triggers/company.team/hourly")["results"]
        return view

    def dates(self, flow: str, limit: int = 100) -> list[str]:
        """Return the dates of which executions were started, in order, as `01T10`."""
        found = self.runtime.stores.executions.search(limit=limit).found
        views = [self.runtime.outcome(each.id).view for each in found if each.flow_id == flow]
        return sorted(view["scheduleDate"][8:13] for view in views)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    with client.runtime:
        for flow in (HOURLY, SLOW):
            assert client("POST", "/flows", flow).status == 200
        yield client


def backfill(start: str, end: str, **more: Any) -> dict[str, Any]:
    return {**WHERE, "backfill": {"start": start, "end": end, **more}}


def test_a_trigger_says_what_is_kept_of_it(client: Client) -> None:
    assert client.trigger()["nextExecutionDate"] == "2026-01-01T01:00:00.000000Z"
    client.pass_(HOUR)
    view = client.trigger()
    assert {name: view[name] for name in ("date", "nextExecutionDate", "disabled", "stopAfter", "tenantId")} == {
        "date": "2026-01-01T01:00:00.000000Z",
        "nextExecutionDate": "2026-01-01T02:00:00.000000Z",
        "disabled": False,
        "stopAfter": ["FAILED"],
        "tenantId": "main",
    }
    assert "executionId" not in view


def test_a_flow_that_is_not_saved_has_dates_that_can_be_asked_for(client: Client) -> None:
    when = "{{ trigger.date contains '02:30' }}"
    paris = HOURLY.replace('"0 * * * *"', f'"30 1-2 * * *", timezone: Europe/Paris, when: "{when}"')
    assert client.seen("POST", "/triggers/dates?count=2", paris.replace("id: hourly", "id: unknown", 1)) == [
        {"triggerId": "hourly", "dates": ["2026-01-01T02:30:00+01:00", "2026-01-02T02:30:00+01:00"]}
    ]
    assert [len(each["dates"]) for each in client.seen("POST", "/triggers/dates", SLOW)] == [5]
    (never,) = client.seen("POST", "/triggers/dates", HOURLY.replace('"0 * * * *"', '"0 0 30 2 *"'))
    assert never == {"triggerId": "hourly", "dates": []}
    assert client("POST", "/triggers/dates?count=101", HOURLY).status == 400
    assert client("POST", "/triggers/dates", "id: x").status == 422
    # Conditions are rendered: only for those who might save the flow, and have it rendered then.
    client.who = Principal("eve", Kind.PASSWORD, (Grant("company.team", Role.VIEWER), Grant("other", Role.EDITOR)))
    assert client("POST", "/triggers/dates", HOURLY).status == 403


def test_triggers_are_found_by_what_they_are_called_and_where(client: Client) -> None:
    def found(query: str = "") -> list[str]:
        answered = client.seen("GET", f"/triggers/search{query}")
        names = [each["triggerContext"]["flowId"] for each in answered["results"]]
        assert answered["total"] >= len(names)
        return names

    assert found() == ["slow", "hourly"]  # a Flow trigger waits for nothing of its own
    assert found("?sort=flowId:asc") == ["hourly", "slow"]
    assert found("?sort=flowId:desc&size=1&page=2") == ["hourly"]
    assert found("?namespace=company.team") == found("?flowId=hourly") == found("?q=TEAM") == ["hourly"]
    assert found(f"?{quote('filters[namespace][PREFIX]')}=company.other") == ["slow"]
    assert found(f"?{quote('filters[triggerState][EQUALS]')}=DISABLED") == []
    assert found("?workerId=w1") == []
    assert client("GET", "/triggers/search?sort=nextExecutionDate:asc").status == 400
    (first, _) = client.seen("GET", "/triggers/search")["results"]
    assert first["abstractTrigger"] == {
        "id": "hourly",
        "type": "io.kestra.plugin.core.trigger.Schedule",
        "cron": "30 * * * *",
    }


def test_only_what_one_may_see_is_found_and_changed(client: Client) -> None:
    client.who = Principal("eve", Kind.PASSWORD, (Grant("company.team", Role.VIEWER),))
    assert client.seen("GET", "/triggers/search")["total"] == 1
    assert client("GET", "/triggers/company.other/slow").status == 403
    for method, path, body in (
        ("PUT", "/triggers", {**WHERE, "disabled": True}),
        ("POST", "/triggers/company.team/hourly/hourly/unlock", None),
        ("POST", "/triggers/set-disabled/by-triggers", {"triggers": [WHERE], "disabled": True}),
        ("DELETE", "/triggers/company.team/hourly/hourly", None),
    ):
        assert client(method, path, body).status == 403, path
    client.who = Principal("eve", Kind.PASSWORD, (Grant("company.team", Role.OPERATOR),))
    assert client.seen("POST", "/triggers/set-disabled/by-query?disabled=true") == {"count": 1}
    client.who = OWNER
    assert client.trigger()["disabled"]
    assert client("PUT", "/triggers", {**SLOWLY, "disabled": False}).status == 200


def test_a_trigger_is_switched_off_and_on_and_counts_from_then(client: Client) -> None:
    client.pass_(HOUR)
    assert client.seen("PUT", "/triggers", {**WHERE, "disabled": True})["disabled"]
    assert "nextExecutionDate" not in client.trigger()
    client.pass_(3 * HOUR)
    client.seen("PUT", "/triggers", {**WHERE, "disabled": False})
    assert client.trigger()["nextExecutionDate"] == "2026-01-01T05:00:00.000000Z"
    client.pass_(HOUR)
    assert client.dates("hourly") == ["01T01", "01T05"]


def test_a_trigger_that_is_not_there_is_not_found(client: Client) -> None:
    missing = {**WHERE, "triggerId": "daily"}
    assert client("PUT", "/triggers", {**missing, "disabled": True}).status == 404
    for operation in ("unlock", "restart"):
        assert client("POST", f"/triggers/company.team/hourly/daily/{operation}").status == 404
    assert client("DELETE", "/triggers/company.team/hourly/daily").status == 404
    assert client("GET", "/triggers/company.team/none").status == 404
    bulk = client("POST", "/triggers/unlock/by-triggers", [SLOWLY, missing])
    assert bulk.status == 400
    assert json.loads(bulk.body)["invalids"] == [{"value": "company.team.hourly.daily", "message": "trigger not found"}]


def test_a_lock_can_be_released(client: Client) -> None:
    place = "/triggers/company.other/slow/hourly/unlock"
    assert client("POST", place).status == 409
    client.pass_(2 * HOUR)  # the execution of 0:30 waits for a person
    assert client.dates("slow") == ["01T00"]
    locked = client.seen("GET", "/triggers/company.other/slow")["results"][0]
    assert client.runtime.outcome(locked["executionId"]).state == "PAUSED"
    client.seen("POST", place)
    assert client.dates("slow") == ["01T00", "01T01"]
    assert client.seen("POST", "/triggers/unlock/by-query?namespace=company.other") == {"count": 1}
    assert client.seen("POST", "/triggers/unlock/by-query?namespace=company.team") == {"count": 0}
    client.pass_(HOUR)
    assert client.seen("POST", "/triggers/unlock/by-triggers", [SLOWLY]) == {"count": 1}
    client.pass_(HOUR)
    assert "executionId" in client.seen("GET", "/triggers/company.other/slow")["results"][0]
    assert "executionId" not in client.seen("POST", "/triggers/company.other/slow/hourly/restart")
    refused = client("POST", "/triggers/unlock/by-triggers", [WHERE])
    assert (refused.status, "not locked" in refused.body.decode()) == (400, True)


def test_a_backfill_runs_its_dates_with_its_inputs_and_labels(client: Client) -> None:
    client.pass_(HOUR)
    started = client.seen(
        "PUT",
        "/triggers",
        backfill("2025-12-30T00:00:00Z", "2025-12-30T02:00:00Z", labels=[{"key": "why", "value": "late"}]),
    )
    assert started["backfill"]["currentDate"] == "2025-12-30T00:00:00.000000Z"
    assert started["backfill"]["labels"] == [{"key": "why", "value": "late"}]
    assert client.dates("hourly") == ["01T01", "30T00", "30T01", "30T02"]
    assert "backfill" not in client.trigger()
    again = client.seen("PUT", "/triggers", backfill("2025-12-30T01:00:00Z", "2025-12-30T01:00:00Z"))
    assert again["backfill"]["paused"] is False
    assert client.dates("hourly").count("30T01") == 2


def test_missing_dates_only_are_run_when_that_is_asked(client: Client) -> None:
    client.pass_(2 * HOUR)
    asked = backfill("2025-12-31T23:00:00Z", "2026-01-01T02:00:00Z", missingOnly=True)
    seen = client.seen("POST", "/triggers/backfill/preview", asked)
    assert seen == {"dates": ["2025-12-31T23:00:00+00:00", "2026-01-01T00:00:00+00:00"], "total": 2}
    assert client.dates("hourly") == ["01T01", "01T02"]  # a preview runs nothing
    client.seen("PUT", "/triggers", asked)
    assert client.dates("hourly") == ["01T00", "01T01", "01T02", "31T23"]
    client.seen("PUT", "/triggers", asked)
    assert len(client.dates("hourly")) == 4


def test_a_long_backfill_asks_for_so_many_dates_a_step_and_goes_on(client: Client) -> None:
    span = {"start": "2025-12-18T00:00:00Z", "end": "2025-12-31T23:00:00Z"}
    client.seen("PUT", "/triggers", {**WHERE, "backfill": span | {"missingOnly": True}})
    assert len(client.dates("hourly", limit=1000)) == 14 * 24

    asked: list[str] = []
    store = client.runtime.stores.executions
    real = store.get

    class Counting:
        """The summaries, with those who ask counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get(self, execution_id: str) -> Any:
            asked.append(execution_id)
            return real(execution_id)

    world = copy(client.runtime.world)
    world.stores = replace(world.stores, executions=Counting())  # type: ignore[arg-type]
    client.seen("PUT", "/triggers", {**WHERE, "disabled": False})
    with VirtualRuntime(world=world, registry=TASKS, schedules=True) as other:
        operations = TriggerOperations(other.engine)
        name = TriggerName("company.team", "hourly", "hourly")
        again = AskedBackfill(START - timedelta(days=14), START - HOUR, missing_only=True)
        operations.start_backfill(name, again)
        assert other.schedules is not None
        other.schedules.look("company.team", "hourly", "hourly")
        assert len(asked) == 251  # the one after the last it may do
        left = kept_in(other.stores.triggers.get("company.team", "hourly", "hourly")).state.backfill
        assert left is not None
        assert left.next == START - timedelta(days=3, hours=14)
        other.settle(None)
        assert len(asked) == 14 * 24 + 1
    assert "backfill" not in client.trigger()
    assert len(client.dates("hourly", limit=1000)) == 14 * 24


def test_a_preview_lists_so_many_dates_and_says_where_to_go_on(client: Client) -> None:
    seen = client.seen("POST", "/triggers/backfill/preview", backfill("2025-01-01T00:00:00Z", "2025-12-31T23:00:00Z"))
    assert (seen["total"], seen["dates"][-1]) == (1000, "2025-02-11T15:00:00+00:00")
    assert seen["next"] == "2025-02-11T16:00:00+00:00"


@pytest.mark.parametrize("bulk", [False, True])
def test_a_backfill_pauses_goes_on_and_ends(client: Client, bulk: bool) -> None:
    asked = {**SLOWLY, "backfill": {"start": "2025-12-30T00:00:00Z", "end": "2025-12-30T02:00:00Z"}}
    client.seen("PUT", "/triggers", asked)
    assert client.dates("slow") == ["30T00"]

    def ask(method: str, operation: str) -> None:
        if bulk:
            answered = client.seen("POST", f"/triggers/backfill/{operation}/by-triggers", [SLOWLY])
            assert answered == {"count": 1}
        else:
            client.seen(method, f"/triggers/backfill/{operation}", SLOWLY)

    ask("PUT", "pause")
    client.seen("POST", "/triggers/company.other/slow/hourly/unlock")
    assert client.dates("slow") == ["30T00"]
    ask("PUT", "unpause")
    assert client.dates("slow") == ["30T00", "30T01"]
    ask("POST", "delete")
    client.seen("POST", "/triggers/company.other/slow/hourly/unlock")
    assert client.dates("slow") == ["30T00", "30T01"]
    for operation in ("pause", "unpause", "delete"):
        assert client.seen("POST", f"/triggers/backfill/{operation}/by-query") == {"count": 0}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**SLOWLY, "triggerId": "after", "backfill": {"start": "2025-01-01T00:00:00Z"}}, "no schedule"),
        (backfill("2025-01-01T00:00:00", "2025-01-02T00:00:00Z"), "has no offset"),
        (backfill("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"), "starts in the past"),
        (backfill("2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z"), "before it starts"),
        (
            backfill("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", labels=[{"key": "system.x", "value": "y"}]),
            "System",
        ),
        ({"namespace": "company.team", "disabled": True}, "Invalid json"),
    ],
)
def test_what_makes_no_sense_is_refused(client: Client, body: dict[str, Any], says: str) -> None:
    refused = client("PUT", "/triggers", body)
    assert (refused.status, says in json.loads(refused.body)["message"]) == (422, True), refused.body


def test_a_trigger_that_is_forgotten_begins_anew_while_its_flow_has_it(client: Client) -> None:
    client.seen("PUT", "/triggers", {**WHERE, "disabled": True})
    assert client("DELETE", "/triggers/company.team/hourly/hourly").status == 204
    client.pass_(HOUR)
    assert client.dates("hourly") == ["01T01"]
    assert client.seen("DELETE", "/triggers/delete/by-triggers", [WHERE, SLOWLY]) == {"count": 2}
    filters = {"filters": [{"field": "NAMESPACE", "operation": "EQUALS", "value": {"value": "company.team"}}]}
    assert client.seen("DELETE", "/triggers/delete/by-query", filters) == {"count": 1}
    client.pass_(HOUR)
    assert client.dates("hourly") == ["01T01", "01T02"]


def test_triggers_are_exported_as_csv(client: Client) -> None:
    client.pass_(HOUR)
    for path in ("/triggers/export", "/triggers/export/by-query/csv"):
        answered = client("GET", f"{path}?namespace=company.team")
        assert answered.headers["content-type"] == "text/csv; charset=utf-8"
        (row,) = csv.DictReader(io.StringIO(answered.body.decode()))
        assert (row["triggerId"], row["date"]) == ("hourly", "2026-01-01T01:00:00.000000Z")
        assert row["nextExecutionDate"] == (START + 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
