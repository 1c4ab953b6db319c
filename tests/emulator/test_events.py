"""Webhooks, events and files on the deployed stack."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from emulator.client import NAMESPACE, Client
from emulator.deployment import POLLED, Deployment
from emulator.waiting import until

pytestmark = pytest.mark.emulator


def said(client: Client, flow: str) -> list[str]:
    """Return what the only execution of a flow logged, once there is one and it has ended."""
    (found,) = until(lambda: client.of_flow(flow), f"execution of {flow}")
    return client.messages(client.end(found["id"])["id"])


def test_a_webhook_starts_an_execution_for_who_can_sign(client: Client) -> None:
    client.save(
        """id: hooked
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.body.text }}"}]
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: k3y, auth: {type: github, secret: s3cret}}
"""
    )
    path, body = f"/executions/webhook/{NAMESPACE}/hooked/k3y", json.dumps({"text": "called"}).encode()
    signed = {"x-hub-signature-256": f"sha256={hmac.digest(b's3cret', body, hashlib.sha256).hex()}"}
    assert client.ask("POST", path, body).status_code == 401
    assert client.of_flow("hooked") == []
    assert client.ask("POST", path, body, signed).status_code == 200
    assert client.ask("POST", path, body, signed).status_code == 401  # again
    assert said(client, "hooked") == ["called"]


def test_an_event_starts_what_waits_for_it(client: Client, deployment: Deployment) -> None:
    flow = """id: ordered
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.detail.order }}"}]
triggers:
  - id: placed
    type: io.headrace.aws.eventbridge.Trigger
    pattern: {source: [com.example.shop], detail: {total: [{numeric: [">", 10]}]}}
"""
    client.save(flow)
    events, bus = deployment.account.client("events"), deployment.outputs["BusName"]
    for order, total in (("small", 5), ("large", 20)):
        entry = {"Source": "com.example.shop", "DetailType": "Order", "EventBusName": bus}
        events.put_events(Entries=[{**entry, "Detail": json.dumps({"order": order, "total": total})}])
    assert said(client, "ordered") == ["large"]
    ours = [rule for rule in events.list_rules(EventBusName=bus)["Rules"] if "EventPattern" in rule]
    client.ask("DELETE", f"/flows/{NAMESPACE}/ordered")
    assert len(events.list_rules(EventBusName=bus)["Rules"]) == len(ours) - 1


def test_a_file_starts_what_waits_for_it(client: Client, deployment: Deployment) -> None:
    bucket = deployment.outputs["BucketName"]
    client.save(
        f"""id: arrived
tasks: [{{id: log, type: io.kestra.plugin.core.log.Log, message: "{{{{ read(trigger.objects[0].uri) }}}}"}}]
triggers:
  - {{id: file, type: io.kestra.plugin.aws.s3.Trigger, bucket: {bucket}, prefix: inbox/, action: DELETE}}
"""
    )
    s3 = deployment.account.client("s3")
    s3.put_object(Bucket=bucket, Key="inbox/März 1.txt", Body=b"hello")
    assert said(client, "arrived") == ["hello"]
    until(lambda: not s3.list_objects_v2(Bucket=bucket, Prefix="inbox/").get("Contents"), "inbox without files")


def test_a_message_starts_what_waits_for_it_and_leaves_its_queue(client: Client, deployment: Deployment) -> None:
    sqs = deployment.account.client("sqs")
    url = sqs.create_queue(QueueName=POLLED)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"order": "A-17"}))
    client.save(
        f"""id: queued
tasks: [{{id: log, type: io.kestra.plugin.core.log.Log, message: "{{{{ trigger.data.order }}}}"}}]
triggers:
  - {{id: poll, type: io.kestra.plugin.aws.sqs.RealtimeTrigger, queueUrl: "{url}", serdeType: JSON}}
"""
    )
    assert said(client, "queued") == ["A-17"]
    counted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    until(
        lambda: set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counted)["Attributes"].values()) == {"0"},
        "an empty queue",
    )
    client.ask("DELETE", f"/flows/{NAMESPACE}/queued")


def test_the_doctor_looks_at_all_that_triggers_need_and_puts_it_back(client: Client, deployment: Deployment) -> None:
    bucket = deployment.outputs["BucketName"]
    client.save(
        f"""id: examined
tasks: [{{id: log, type: io.kestra.plugin.core.log.Log, message: hi}}]
triggers:
  - {{id: event, type: io.headrace.aws.eventbridge.Trigger, pattern: {{source: [com.example.doctor]}}}}
  - {{id: file, type: io.kestra.plugin.aws.s3.Trigger, bucket: {bucket}, prefix: inbox/doctor/, action: NONE}}
  - {{id: date, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 * *"}}
"""
    )

    def found() -> list[tuple[str, str]]:
        answer = client.ask("GET", "/doctor")
        assert answer.status_code == 200, answer.text
        return [(each["part"], each["triggerId"]) for each in answer.json()["results"] if each["flowId"] == "examined"]

    until(lambda: found() == [], "a schedule that is set going")
    events, bus = deployment.account.client("events"), deployment.outputs["BusName"]
    (rule,) = [
        each for each in events.list_rules(EventBusName=bus)["Rules"] if "doctor" in each.get("EventPattern", "")
    ]
    events.disable_rule(Name=rule["Name"], EventBusName=bus)
    assert found() == [("RULE", "event")]
    assert client.ask("POST", "/doctor/repair").status_code == 200
    assert found() == []
    client.ask("DELETE", f"/flows/{NAMESPACE}/examined")
