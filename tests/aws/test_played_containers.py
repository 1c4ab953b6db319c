"""The emulator plays containers as ECS and Batch run them: what the other tests take for AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aws.ministack import Account, Emulator, running
from emulator.waiting import until

pytestmark = pytest.mark.emulator

SHELL = ["/bin/sh", "-c"]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def account(emulator: Emulator) -> Account:
    """Return an account with a cluster, a queue, a log group, and a queue of SQS that gets the events."""
    account = emulator.account()
    account.client("ecs").create_cluster(clusterName="containers")
    batch = account.client("batch")
    batch.create_job_queue(jobQueueName="jobs", priority=1, computeEnvironmentOrder=[])
    account.client("logs").create_log_group(logGroupName="lines")
    queue = account.client("sqs").create_queue(QueueName="events")["QueueUrl"]
    arn = account.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    events = account.client("events")
    events.put_rule(Name="ends", EventPattern=json.dumps({"source": ["aws.ecs", "aws.batch"]}))
    events.put_targets(Rule="ends", Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])
    return account


def event(account: Account) -> Any:
    """Return the next event's detail."""
    sqs = account.client("sqs")
    queue = sqs.get_queue_url(QueueName="events")["QueueUrl"]
    (message,) = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "event")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])["detail"]


def container(name: str, script: str, *, after: str = "", essential: bool = False, **more: Any) -> dict[str, Any]:
    options = {"awslogs-group": "lines", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "here"}
    name_of, _, condition = after.partition(" ")
    return {
        "name": name,
        "image": "any",
        "entryPoint": SHELL,
        "command": [script, "/shared"],  # which is $0 of the script
        "essential": essential,
        "dependsOn": [{"containerName": name_of, "condition": condition}] if after else [],
        "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
        **more,
    }


def task(account: Account, *containers: dict[str, Any], overrides: Any = ()) -> str:
    """Run a task of these containers; return its ARN."""
    ecs = account.client("ecs")
    ecs.register_task_definition(
        family="it",
        containerDefinitions=list(containers),
        volumes=[{"name": "shared"}],
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
    )
    started = ecs.run_task(
        cluster="containers",
        taskDefinition="it",
        launchType="FARGATE",
        startedBy="somebody",
        overrides={"containerOverrides": list(overrides)},
    )
    return str(started["tasks"][0]["taskArn"])


def job(account: Account, *containers: dict[str, Any], overrides: Any = ()) -> str:
    """Submit a job of these containers; return its id."""
    batch = account.client("batch")
    for each in containers:  # a job's have no entry point of their own
        each["command"] = [*each.pop("entryPoint"), *each["command"]]
    batch.register_job_definition(
        jobDefinitionName="it",
        type="container",
        ecsProperties={"taskProperties": [{"containers": list(containers), "volumes": [{"name": "shared"}]}]},
    )
    override = {"taskProperties": [{"containers": list(overrides)}]} if overrides else {}
    submitted = batch.submit_job(
        jobName="somebody",
        jobQueue="jobs",
        jobDefinition="it",
        **({"ecsPropertiesOverride": override} if override else {}),
    )
    return str(submitted["jobId"])


def codes(detail: Any) -> dict[str, int | None]:
    """Return the exit codes of an event's containers."""
    found = (
        detail["containers"] if "containers" in detail else detail["ecsProperties"]["taskProperties"][0]["containers"]
    )
    return {each["name"]: each.get("exitCode") for each in found}


def said(account: Account) -> list[str]:
    pages = account.client("logs").get_paginator("filter_log_events").paginate(logGroupName="lines")
    return sorted(each["message"] for page in pages for each in page["events"])


RUNS = pytest.mark.parametrize("run", [task, job])
Run = Callable[..., str]


@RUNS
def test_containers_wait_for_each_other_and_share_a_volume(account: Account, run: Run) -> None:
    run(
        account,
        container("main", "cat $0/in > $0/out; exit 3", after="first SUCCESS"),
        container("first", "echo $WORD > $0/in"),
        container("last", "cat $0/out", after="main COMPLETE", essential=True),
        overrides=[{"name": "first", "environment": [{"name": "WORD", "value": "hello"}]}],
    )
    detail = event(account)
    assert codes(detail) == {"main": 3, "first": 0, "last": 0}
    assert detail.get("lastStatus", detail.get("status")) in ("STOPPED", "SUCCEEDED")
    assert said(account) == ["hello"]


@RUNS
def test_the_end_of_an_essential_container_is_that_of_the_others(account: Account, run: Run) -> None:
    run(
        account,
        container("main", "trap 'echo ended; exit 4' TERM; echo begun > $0/begun; sleep 60 & wait"),
        container("other", "until [ -e $0/begun ]; do sleep 0.05; done; exit 5", essential=True),
    )
    detail = event(account)
    assert codes(detail) == {"main": 4, "other": 5}
    assert detail.get("stopCode", detail.get("status")) in ("EssentialContainerExited", "FAILED")
    assert said(account) == ["ended"]


@RUNS
def test_what_waits_for_a_success_that_does_not_come_never_starts(account: Account, run: Run) -> None:
    run(
        account,
        container("main", "echo never", after="first SUCCESS"),
        container("first", "exit 1"),
        container("last", "echo never", after="first SUCCESS", essential=True),
    )
    assert codes(event(account)) == {"main": None, "first": 1, "last": None}
    assert said(account) == []


@RUNS
def test_an_image_that_is_not_there_is_told(account: Account, run: Run) -> None:
    run(account, container("main", "echo never", essential=True, image="missing/image"))
    detail = event(account)
    assert "CannotPullContainerError" in detail.get("stoppedReason", detail.get("statusReason"))
    assert codes(detail) == {"main": None}


def test_a_task_is_stopped_and_asks_about_itself(account: Account) -> None:
    ecs = account.client("ecs")
    script = (
        "wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task || curl -s $ECS_CONTAINER_METADATA_URI_V4/task; echo; sleep 60"
    )
    arn = task(account, container("main", script, essential=True))
    (asked,) = until(lambda: said(account), "answer")
    assert json.loads(asked)["TaskARN"] == arn
    assert ecs.list_tasks(cluster="containers", startedBy="somebody")["taskArns"] == [arn]
    ecs.stop_task(cluster="containers", task=arn, reason="enough")
    detail = event(account)
    assert (detail["stopCode"], detail["stoppedReason"], detail["startedBy"]) == ("UserInitiated", "enough", "somebody")
    assert codes(detail) == {"main": 143}
    assert ecs.list_tasks(cluster="containers", startedBy="somebody")["taskArns"] == []


def test_a_job_is_found_by_its_name_and_terminated(account: Account) -> None:
    batch = account.client("batch")
    job_id = job(account, container("main", "echo $AWS_BATCH_JOB_ID; sleep 60", essential=True))
    assert until(lambda: said(account), "line") == [job_id]
    found = batch.list_jobs(jobQueue="jobs", filters=[{"name": "JOB_NAME", "values": ["somebody"]}])["jobSummaryList"]
    assert [each["jobId"] for each in found] == [job_id]
    batch.terminate_job(jobId=job_id, reason="enough")
    detail = event(account)
    assert (detail["status"], detail["statusReason"], detail["jobName"]) == ("FAILED", "enough", "somebody")
