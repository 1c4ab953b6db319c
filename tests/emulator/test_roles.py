"""What the roles of the functions reach, tried by a function of the tests that has the same role."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.client import Client
from emulator.deployment import Deployment

pytestmark = pytest.mark.emulator

PROBE = """
import boto3
from botocore.exceptions import ClientError


def handler(event, context):
    client = boto3.client(event["service"])
    try:
        getattr(client, event["operation"])(**event["arguments"])
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "done"
"""
DENIED = ("AccessDenied", "AccessDeniedException", "AccessDeniedFault")
Try = Callable[..., str]
"""Asks a service for an operation; returns the code of the error, or `done`."""


def prober(deployment: Deployment, function: str) -> Iterator[Try]:
    """Yield what tries things with the role of *function*."""
    lambda_ = deployment.account.client("lambda")
    role = lambda_.get_function_configuration(FunctionName=deployment.functions[function])["Role"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("probe.py", PROBE)
    name = f"probe-{function}"
    lambda_.create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.13",
        Handler="probe.handler",
        Timeout=30,
        Code={"ZipFile": code.getvalue()},
    )

    def attempt(service: str, operation: str, **arguments: Any) -> str:
        event = {"service": service, "operation": operation, "arguments": arguments}
        answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(event))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return str(result)

    yield attempt
    lambda_.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def script(deployment: Deployment) -> Iterator[Try]:
    yield from prober(deployment, "script")


@pytest.fixture(scope="module")
def worker(deployment: Deployment) -> Iterator[Try]:
    yield from prober(deployment, "worker")


@pytest.fixture(scope="module")
def api(deployment: Deployment) -> Iterator[Try]:
    yield from prober(deployment, "api")


@pytest.fixture(scope="module")
def execution_id(client: Client) -> str:
    """Return an execution whose journal could be reached."""
    execution = client.run("id: looked-at\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]\n")
    return str(execution["id"])


def reading(deployment: Deployment, kind: str) -> dict[str, Any]:
    key = {"pk": {"S": f"{kind}#one"}, "sk": {"S": "one"}}
    return {"service": "dynamodb", "operation": "get_item", "TableName": deployment.table, "Key": key}


def writing(deployment: Deployment, kind: str) -> dict[str, Any]:
    item = {"pk": {"S": f"{kind}#probe"}, "sk": {"S": "probe"}}
    return {"service": "dynamodb", "operation": "put_item", "TableName": deployment.table, "Item": item}


def test_script_reaches_claims_and_no_other_kind_of_state(deployment: Deployment, script: Try) -> None:
    assert script(**reading(deployment, "C")) == "done"
    assert script(**writing(deployment, "C")) == "done"
    for kind in "XETFKSLM":
        assert script(**reading(deployment, kind)) in DENIED, kind
        assert script(**writing(deployment, kind)) in DENIED, kind


def test_script_reads_no_journal_of_an_execution(deployment: Deployment, script: Try, execution_id: str) -> None:
    query = {
        "TableName": deployment.table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": f"X#{execution_id}"}},
    }
    assert deployment.account.client("dynamodb").query(**query)["Count"] > 0
    assert script("dynamodb", "query", **query) in DENIED
    assert script("dynamodb", "scan", TableName=deployment.table) in DENIED


def test_script_sends_to_the_mailbox_and_reaches_nothing_else(deployment: Deployment, script: Try) -> None:
    bucket, mailbox = deployment.outputs["BucketName"], deployment.outputs["MailboxUrl"]
    sent = {"MessageBody": "{}", "MessageGroupId": "probe", "MessageDeduplicationId": "probe"}
    assert script("sqs", "send_message", QueueUrl=mailbox, **sent) == "done"
    assert script("sqs", "receive_message", QueueUrl=mailbox) in DENIED
    assert script("s3", "list_objects_v2", Bucket=bucket) in DENIED
    for prefix in ("files", "content", "state/X", "state/K"):
        assert script("s3", "get_object", Bucket=bucket, Key=f"{prefix}/one") in DENIED
        assert script("s3", "put_object", Bucket=bucket, Key=f"{prefix}/one", Body="x") in DENIED
    assert script("secretsmanager", "get_secret_value", SecretId=deployment.signing_keys) in DENIED
    name = f"{deployment.outputs['SecretsPrefix']}/emulator/PASSWORD"
    assert script("ssm", "get_parameters", Names=[name]) in DENIED
    for function in ("worker", "script", "executor"):
        assert script("lambda", "invoke", FunctionName=deployment.functions[function]) in DENIED
    entry = {"Source": "headrace", "DetailType": "x", "Detail": "{}", "EventBusName": deployment.outputs["BusName"]}
    assert script("events", "put_events", Entries=[entry]) in DENIED


def test_worker_reads_the_journal_and_cannot_write_it(deployment: Deployment, worker: Try, execution_id: str) -> None:
    assert worker(**reading(deployment, "X")) == "done"
    for kind in "XEFS":
        assert worker(**writing(deployment, kind)) in DENIED, kind
    key = {"pk": {"S": f"X#{execution_id}"}, "sk": {"S": "one"}}
    assert worker("dynamodb", "delete_item", TableName=deployment.table, Key=key) in DENIED
    assert worker(**writing(deployment, "K")) == "done"


def test_worker_writes_no_state_into_the_bucket(deployment: Deployment, worker: Try) -> None:
    bucket = deployment.outputs["BucketName"]
    for prefix in ("state/X", "state/E", "state/F"):
        assert worker("s3", "put_object", Bucket=bucket, Key=f"{prefix}/one", Body="x") in DENIED
    assert worker("s3", "put_object", Bucket=bucket, Key="files/probe", Body="x") == "done"


def test_the_api_writes_nothing_that_an_execution_leaves_and_may_call_who_deletes_it(
    deployment: Deployment, api: Try, execution_id: str
) -> None:
    for kind in "XE":
        assert api(**writing(deployment, kind)) in DENIED, kind
    key = {"pk": {"S": f"X#{execution_id}"}, "sk": {"S": "one"}}
    assert api("dynamodb", "delete_item", TableName=deployment.table, Key=key) in DENIED
    for function in ("worker", "script", "executor", "triggers"):
        assert api("lambda", "invoke", FunctionName=deployment.functions[function]) in DENIED
    nothing = json.dumps({"delete": {"executions": [], "logs": True, "metrics": True, "storage": True}})
    assert api("lambda", "invoke", FunctionName=deployment.functions["purger"], Payload=nothing) == "done"
