"""Events, files and webhooks on AWS: rules that flows have made, the functions they call, and what starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headrace_engine.engine import UnsupportedError
from headrace_functions.testing.aws import observer
from headrace_functions.testing.cloud import Cloud

FLOW = """
id: {name}
namespace: flows
tasks:
  - {{id: log, type: io.kestra.plugin.core.log.Log, message: "{message}"}}
triggers:
  - id: heard
    {trigger}
"""
EVENT = (
    'type: io.headrace.aws.eventbridge.Trigger\n    pattern: {source: [shop], detail: {total: [{numeric: [">", 10]}]}}'
)


def on_event(more: str = "", name: str = "orders") -> str:
    return FLOW.format(name=name, message="{{ trigger.detail.total }}", trigger=f"{EVENT}\n    {more}")


def on_file(bucket: str, more: str) -> str:
    trigger = f"type: io.kestra.plugin.aws.s3.Trigger\n    bucket: {bucket}\n    {more}"
    return FLOW.format(name="files", message="{{ read(trigger.objects[0].uri) }}", trigger=trigger)


def said(cloud: Cloud) -> list[str]:
    cloud.settle()
    page = cloud.stores.executions.search(limit=100)
    return sorted(line.message for each in page.found for line in cloud.outcome(each.id).logs)


def rules(cloud: Cloud, bus: str = "") -> list[Any]:
    environment = cloud.person.environment
    own = {"EventBusName": bus or environment.bus, "NamePrefix": environment.rule_prefix}
    return [json.loads(rule["EventPattern"]) for rule in observer("events").list_rules(**own)["Rules"]]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


def test_an_event_on_the_stacks_bus_starts_an_execution(cloud: Cloud) -> None:
    cloud.save_flow(on_event())
    cloud.put_event("shop", {"total": 20})
    cloud.put_event("shop", {"total": 5})
    cloud.put_event("shop", {"total": 30}, bus="default")  # nobody listens there
    assert said(cloud) == ["20"]


def test_an_event_on_another_bus_is_for_those_who_listen_there(cloud: Cloud) -> None:
    cloud.save_flow(on_event("bus: default", "theirs"))
    cloud.save_flow(on_event(name="own"))
    cloud.put_event("shop", {"total": 20}, bus="default")
    assert said(cloud) == ["20"]


def test_rules_follow_the_flow(cloud: Cloud) -> None:
    cloud.save_flow(on_event())
    assert len(rules(cloud)) == 1
    cloud.save_flow(on_event().replace('">", 10', '">", 20'))
    assert [pattern["detail"]["total"][0]["numeric"] for pattern in rules(cloud)] == [[">", 20]]
    cloud.save_flow(on_event("disabled: true"))
    assert rules(cloud) == []
    cloud.save_flow(on_event("bus: default"))
    assert (rules(cloud), len(rules(cloud, "default"))) == ([], 1)
    cloud.save_flow(on_event() + "disabled: true\n")
    assert rules(cloud, "default") == []
    cloud.save_flow(on_event())
    cloud.person.engine.delete_flow("flows", "orders")
    assert rules(cloud) == []


def test_a_flow_that_wants_what_cannot_be_had_is_not_saved(cloud: Cloud) -> None:
    for source in (on_event("bus: theirs"), on_file("theirs", "action: NONE")):
        with pytest.raises(UnsupportedError, match="trigger `heard`: "):
            cloud.save_flow(source)
    assert cloud.stores.flows.list() == []


def test_a_file_in_a_watched_bucket_starts_an_execution(cloud: Cloud) -> None:
    cloud.save_flow(on_file(cloud.watched, "prefix: in/\n    action: MOVE\n    moveTo: {key: done}"))
    cloud.put_file("in/März.txt", b"hello")
    cloud.put_file("other.txt", b"not for it")
    assert said(cloud) == ["hello"]
    keys = [each["Key"] for each in observer("s3").list_objects_v2(Bucket=cloud.watched)["Contents"]]
    assert keys == ["done/März.txt", "other.txt"]


def test_a_function_that_fails_is_called_again_and_starts_one_execution(cloud: Cloud) -> None:
    cloud.save_flow(on_event())
    cloud.put_event("shop", {"total": 20})
    (invocation,) = cloud.pending
    cloud.settle()
    cloud.pending.append(invocation)  # as Lambda does when it is in doubt
    assert said(cloud) == ["20"]


def test_a_webhook_behind_api_gateway(cloud: Cloud) -> None:
    trigger = "type: io.kestra.plugin.core.trigger.Webhook\n    key: k3y"
    cloud.save_flow(FLOW.format(name="hook", message="{{ trigger.body.text }}", trigger=trigger))
    path = "/api/v1/main/executions/webhook/flows/hook/k3y"
    answer = cloud.request("POST", path, b'{"text": "' + b"x" * 100_000 + b'"}', {"content-type": "application/json"})
    assert answer.status_code == 200
    (message,) = said(cloud)
    assert message.startswith("xxx")
    assert cloud.request("POST", path + "2", b"{}").status_code == 404


def test_the_doctor_finds_what_somebody_removed_and_puts_it_back(cloud: Cloud) -> None:
    cloud.save_flow(on_event())
    cloud.save_flow(
        "id: nightly\nnamespace: flows\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]\n"
        "triggers: [{id: at, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 3 * * *'}]\n"
    )
    cloud.settle(None)
    assert cloud.request("GET", "/api/v1/main/doctor").json() == {"results": [], "total": 0, "left": 0}
    environment = cloud.person.environment
    (rule,) = observer("events").list_rules(EventBusName=environment.bus, NamePrefix=environment.rule_prefix)["Rules"]
    observer("events").disable_rule(Name=rule["Name"], EventBusName=environment.bus)
    group = {"GroupName": environment.schedule_group}
    (alarm,) = observer("scheduler").list_schedules(**group)["Schedules"]
    observer("scheduler").delete_schedule(**group, Name=alarm["Name"])
    found = cloud.request("GET", "/api/v1/main/doctor").json()
    assert [(each["part"], each["triggerId"], each["canRepair"]) for each in found["results"]] == [
        ("ALARM", "at", True),
        ("RULE", "heard", True),
    ]
    told = cloud.request("POST", "/api/v1/main/doctor/repair").json()
    assert [each["repaired"] for each in told["results"]] == [True, True]
    assert told["left"] == 0
    cloud.settle(None)
    assert cloud.request("GET", "/api/v1/main/doctor").json()["total"] == 0
    assert [each["Name"] for each in observer("scheduler").list_schedules(**group)["Schedules"]] == [alarm["Name"]]
    cloud.put_event("shop", {"total": 20})
    cloud.settle(None)
    assert len(cloud.stores.executions.search().found) == 1
