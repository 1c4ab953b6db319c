"""Triggers that poll, on AWS: `triggers` asks when an alarm rings for them."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta

import pytest

from headrace_engine.language import Registry
from headrace_functions import triggers
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.faults import Faults, Mode
from headrace_functions.testing.queues import record
from headrace_functions.testing.shapes import FunctionContext

TASKS = Registry.load()
START = datetime.fromisoformat("2026-01-01T00:20:00Z")
MINUTE = timedelta(minutes=1)
SAYS = 'tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: "%s"}]'
REALTIME = SAYS % "{{ trigger.data.order }} {{ trigger.groupId }}"
SAMPLE = 4
"""At so many of the requests a function dies."""
BATCH = SAYS % "{{ trigger.count }}: {{ read(trigger.uri) }}"


def flow(cloud: Cloud, kind: str, tasks: str, more: str) -> str:
    trigger = f"{{id: poll, type: io.kestra.plugin.aws.sqs.{kind}, queueUrl: {cloud.polled_url}, {more}}}"
    return f"id: polls\nnamespace: demo\n{tasks}\ntriggers: [{trigger}]\n"


def put(cloud: Cloud, *orders: int) -> None:
    for order in orders:
        body = {
            "MessageBody": json.dumps({"order": order}),
            "MessageGroupId": "g",
            "MessageDeduplicationId": str(order),
        }
        cloud.polled.send(body)


def said(cloud: Cloud) -> list[str]:
    found = cloud.stores.executions.search(limit=100).found
    return sorted(line.message for each in found for line in cloud.outcome(each.id).logs)


def test_each_message_of_a_queue_starts_an_execution_within_a_minute() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(flow(cloud, "RealtimeTrigger", REALTIME, "serdeType: JSON"))
        cloud.settle(0.5 * MINUTE)
        put(cloud, *range(12))
        cloud.settle(MINUTE)
        assert said(cloud) == sorted(f"{order} g" for order in range(12))
        assert not cloud.polled.messages


def test_messages_are_taken_together_and_a_waiting_trigger_costs_an_invocation_a_minute() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(flow(cloud, "Trigger", BATCH, "maxRecords: 5, interval: PT1M"))
        cloud.settle(2.5 * MINUTE)
        assert cloud.invocations == {"triggers": 3}
        put(cloud, 1, 2)
        cloud.settle(MINUTE)
        assert said(cloud) == ['2: "{\\"order\\": 1}"\n"{\\"order\\": 2}"\n']


def test_what_flows_call_is_not_the_platform_itself(caplog: pytest.LogCaptureFixture) -> None:
    address = "http://169.254.169.254/latest/meta-data"  # never contacted: the test is that it is refused
    source = f"""
id: polls
namespace: demo
{SAYS % "{{ trigger.body }}"}
triggers: [{{id: poll, type: io.kestra.plugin.core.http.Trigger, uri: "{address}"}}]
"""
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(source)
        cloud.settle(0.5 * MINUTE)
        assert said(cloud) == []
        assert "must not be called from a task" in caplog.text


def after_crash(kind: str, more: str, faults: Faults) -> list[str]:
    tasks = REALTIME if kind == "RealtimeTrigger" else BATCH
    with Cloud(now=START, registry=TASKS, faults=faults, visibility=timedelta(seconds=30)) as cloud:
        put(cloud, 1, 2)
        cloud.save_flow(flow(cloud, kind, tasks, more))
        cloud.settle(4 * MINUTE)
        assert not cloud.polled.messages
        return said(cloud)


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(("kind", "more"), [("RealtimeTrigger", "serdeType: JSON"), ("Trigger", "maxRecords: 5")])
def test_functions_that_die_lose_and_double_no_message(kind: str, more: str, mode: Mode) -> None:
    counting = Faults()
    wanted = after_crash(kind, more, counting)
    assert len(wanted) == (2 if kind == "RealtimeTrigger" else 1)
    # The first poll, and what it starts: the rest are polls of an empty queue.
    first = max(n for n, asked in enumerate(counting.requests) if asked.startswith("sqs DeleteMessage")) + 10
    for at in random.Random(f"{kind} {mode.name}").sample(range(1, first + 1), min(first, SAMPLE)):
        faults = Faults(at, mode)
        assert after_crash(kind, more, faults) == wanted, f"request {at}: {mode.value}"
        assert faults.struck


def test_a_poll_for_which_no_time_is_left_is_for_another_invocation_and_timers_go_first() -> None:
    with Cloud(now=START, registry=TASKS) as cloud:
        cloud.save_flow(flow(cloud, "RealtimeTrigger", REALTIME, "serdeType: JSON"))
        (alarm,) = cloud.delays.receive()
        timer = {"alarm": "execution", "execution": "nobody", "key": "k", "due": START.isoformat()}
        cloud.delays.send({"MessageBody": json.dumps(timer)})
        (other,) = cloud.delays.receive()
        arn = cloud.environment.delays_arn
        event = {"Records": [record(cloud.delays, each, arn) for each in (alarm, other)]}
        no_time = FunctionContext("triggers", "r", cloud.clock, START + timedelta(seconds=30))
        assert triggers.handle(cloud.person, event, no_time) == {"batchItemFailures": []}
        assert len(cloud.mailbox.messages) == 1  # what the timer tells
        cloud.delays.delete([alarm, other])
        (again,) = cloud.delays.messages
        assert again.body == alarm.body
