"""Every property of the task runners for containers: it does what it says, or the flow is not saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headrace_engine.engine import UnsupportedError
from headrace_engine.language.fields import fields_of
from headrace_engine.plugin import TaskRunnerProperties
from headrace_functions.testing.aws import ACCOUNT, REGION
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.fleet import QUEUES, Fleet
from headrace_runners.containers.properties import Batch, Fargate

GPUS = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/gpus"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/flows/report"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
COMPUTE = f"arn:aws:batch:{REGION}:{ACCOUNT}:compute-environment/mine"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(containers={"jobQueues": [GPUS]}) as cloud:
        yield cloud
        assert cloud.crashes == []


def fleet_of(cloud: Cloud) -> Fleet:
    assert cloud.fleet is not None
    return cloud.fleet


def flow(kind: type[TaskRunnerProperties], more: str) -> str:
    return (
        "id: boxed\nnamespace: flows\ntasks:\n  - id: script\n    type: io.kestra.plugin.scripts.shell.Commands\n"
        f"    containerImage: alpine:3\n    taskRunner: {{type: {kind.TYPE}, {more}}}\n    commands: [echo hi]\n"
    )


DO = [
    (Fargate, "resources: {request: {cpu: 2, memory: 8 GB}}", {"cpu": "2048", "memory": "8192"}),
    (Fargate, f"taskRoleArn: {ROLE}", {"taskRoleArn": ROLE}),
    (Fargate, f"executionRoleArn: {ROLE}", {"executionRoleArn": ROLE}),
    (Fargate, "spot: true", {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}),
    (Fargate, "ephemeralStorage: 50", {"ephemeralStorage": {"sizeInGiB": 50}}),
    (Fargate, "cpuArchitecture: X86_64", {"cpuArchitecture": "X86_64"}),
    (Fargate, "tags: {cost: '42'}", {"key": "cost", "value": "42"}),
    (Fargate, "subnets: [subnet-9]", {"subnets": ["subnet-9"]}),
    (Fargate, "securityGroups: [sg-9]", {"securityGroups": ["sg-9"]}),
    (Fargate, "assignPublicIp: false", {"assignPublicIp": "DISABLED"}),
    (Batch, "resources: {request: {cpu: 2, memory: 4096}}", {"type": "MEMORY", "value": "3072"}),
    (Batch, "resources: {request: {cpu: 2, memory: 4096}}", {"type": "VCPU", "value": "1.5"}),
    (Batch, "sidecarResources: {request: {cpu: 0.25, memory: 256}}", {"type": "MEMORY", "value": "256"}),
    (Batch, f"taskRoleArn: {ROLE}", {"taskRoleArn": ROLE}),
    (Batch, f"executionRoleArn: {ROLE}", {"executionRoleArn": ROLE}),
    (Batch, "spot: true", {"jobQueue": QUEUES["FARGATE_SPOT"]}),
    (Batch, "ephemeralStorage: 50", {"ephemeralStorage": {"sizeInGiB": 50}}),
    (Batch, "cpuArchitecture: X86_64", {"cpuArchitecture": "X86_64"}),
    (Batch, "tags: {cost: '42'}", {"cost": "42"}),
    (Batch, f"jobQueueArn: {GPUS}, computeEnvironmentArn: {COMPUTE}", {"jobQueue": GPUS}),
    (Batch, f"platform: EC2, jobQueueArn: {GPUS}", {"platformCapabilities": ["EC2"]}),
    (Batch, f"jobQueueArn: {GPUS}, resources: {{request: {{gpu: 2}}}}", {"type": "GPU", "value": "2"}),
    (Batch, f"jobQueueArn: {GPUS}, resources: {{request: {{gpu: 1}}}}", {"platformCapabilities": ["EC2"]}),
    (Batch, "waitUntilCompletion: PT2H", {"timeout": {"attemptDurationSeconds": 7200}}),
    (Batch, f"region: {REGION}", {"jobQueue": QUEUES["FARGATE"]}),
    (Batch, f"region: \"{{{{ '{REGION}' }}}}\"", {"jobQueue": QUEUES["FARGATE"]}),
    (Batch, "accessKeyId: null", {"jobQueue": QUEUES["FARGATE"]}),
]
"""What a runner says, and what AWS is asked for because of it."""
HOLD = ["completionCheckInterval: PT1S", "delete: true", "delete: false", "resume: true", "resume: false"]
HOLD += ["streamLogs: true", "streamLogs: false", "syncWorkingDirectory: true"]
"""What Batch does not do, because what it is for holds anyway."""
REFUSED = [
    (Fargate, "resources: {request: {cpu: 3}}", "Fargate has no 3 CPU; it has 0.25, 0.5, 1, 2, 4, 8, 16"),
    (Fargate, "resources: {request: {cpu: 1, memory: 512}}", "Fargate has no 512 MiB beside 1 CPU; it has 2048 to"),
    (Fargate, "resources: {request: {gpu: 1}}", "Fargate has no GPU: use AWS Batch with a queue of EC2 machines"),
    (Fargate, "ephemeralStorage: 500", "Fargate has no 500 GiB of disk: it has 20, or 21 to 200"),
    (Fargate, f"taskRoleArn: {ADMIN}", f"This stack does not allow the role {ADMIN}: whoever deploys it names"),
    (Fargate, f"executionRoleArn: {ADMIN}", f"This stack does not allow the role {ADMIN}: whoever deploys it names"),
    (Batch, "resources: {request: {cpu: 1, memory: 1 TB}}", "'1 TB' is not an amount of memory: write a number of MiB"),
    (Batch, f"taskRoleArn: {ADMIN}", f"This stack does not allow the role {ADMIN}: whoever deploys it names"),
    (
        Batch,
        "sidecarResources: {request: {cpu: 1}}",
        "Of 1 CPU and 2048 MiB the two containers for files leave nothing",
    ),
    (Batch, "jobQueueArn: other", "This stack does not let flows use the queue other: whoever deploys it names those"),
    (
        Batch,
        f"jobQueueArn: {GPUS}, spot: true",
        "`spot` chooses between the stack's own queues, and `jobQueueArn` names",
    ),
    (Batch, "platform: EC2", "The stack's own queues run on Fargate, which `platform: EC2` is not for: name a queue"),
    (Batch, "resources: {request: {gpu: 1}}", "The stack's own queues run on Fargate, which a GPU is not for: name a"),
    (Batch, "platform: FARGATE, resources: {request: {gpu: 1}}", "Fargate has no GPU: leave `platform` out, and name"),
    (Batch, f"platform: EC2, jobQueueArn: {GPUS}, ephemeralStorage: 50", "`ephemeralStorage` is for Fargate; on EC2"),
    (Batch, f"platform: EC2, jobQueueArn: {GPUS}, cpuArchitecture: ARM64", "`cpuArchitecture` is for Fargate; on EC2"),
    (Batch, "bucket: mine", "`bucket` of AWS Batch: not supported, for files go through the stack's own bucket. Leave"),
    (Batch, f"computeEnvironmentArn: {COMPUTE}", "`computeEnvironmentArn` of AWS Batch: not supported without `jobQ"),
    (Batch, "accessKeyId: a, secretKeyId: \"{{ secret('X') }}\"", "`accessKeyId`, `secretKeyId` of AWS Batch: "),
    (Batch, "sessionToken: a", "`sessionToken` of AWS Batch: not supported, for jobs are submitted with the stack's"),
    (Batch, "stsRoleArn: a, stsRoleExternalId: b", "`stsRoleArn`, `stsRoleExternalId` of AWS Batch: "),
    (Batch, "stsRoleSessionName: a, stsRoleSessionDuration: PT1H", "`stsRoleSessionName`, `stsRoleSessionDuration` of"),
    (Batch, "stsEndpointOverride: a", "`stsEndpointOverride` of AWS Batch: "),
    (Batch, "endpointOverride: a", "`endpointOverride` of AWS Batch: not supported, for jobs go to Batch of the"),
    (Batch, "serviceAccountName: a", "`serviceAccountName` of AWS Batch: not supported, for jobs do not run on EKS"),
    (Batch, "region: mars-1", "`region: mars-1` of AWS Batch: not supported, for jobs run in the stack's region, "),
]
"""What a runner says, and how the flow is refused when it is saved."""
ADVICE = (
    "Leave ",
    "leave ",
    "use AWS Batch",
    "it has ",
    "names those",
    "ask for more",
    "name a queue",
    "write a number",
)
IN_OTHER_TESTS = {(kind, name) for kind in (Fargate, Batch) for name in ("type", "retries")}
"""`retries` by what happens when attempts are lost."""


def found(wanted: dict[str, Any], there: Any) -> bool:
    """Tell whether a map with these entries is somewhere in what AWS was asked for."""
    if isinstance(there, dict):
        is_it = all(there.get(key) == value for key, value in wanted.items())
        return is_it or any(found(wanted, each) for each in there.values())
    return isinstance(there, list) and any(found(wanted, each) for each in there)


@pytest.mark.parametrize(("kind", "more", "asked"), DO)
def test_what_a_runner_says_is_what_aws_is_asked_for(
    cloud: Cloud, kind: type[TaskRunnerProperties], more: str, asked: dict[str, Any]
) -> None:
    outcome = cloud.run(flow(kind, more))
    assert (outcome.state, [line.message for line in outcome.logs]) == ("SUCCESS", ["hi"])
    assert found(asked, fleet_of(cloud).asked), json.dumps(fleet_of(cloud).asked, indent=1)


@pytest.mark.parametrize("more", HOLD)
def test_what_holds_anyway_may_be_said(cloud: Cloud, more: str) -> None:
    outcome = cloud.run(flow(Batch, more))
    assert (outcome.state, [line.message for line in outcome.logs]) == ("SUCCESS", ["hi"])


@pytest.mark.parametrize(("kind", "more", "why"), REFUSED)
def test_what_a_stack_does_not_do_is_not_even_saved(
    cloud: Cloud, kind: type[TaskRunnerProperties], more: str, why: str
) -> None:
    with pytest.raises(UnsupportedError) as refused:
        cloud.save_flow(flow(kind, more))
    assert str(refused.value).startswith(f"task `script`: {why}")
    assert any(word in str(refused.value) for word in ADVICE)
    assert cloud.stores.flows.get("flows", "boxed") is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            "region: \"{{ 'mars-1' }}\"",
            "The task cannot run: `region: mars-1` of AWS Batch: not supported, for jobs run",
        ),
        ("jobQueueArn: \"{{ 'other' }}\"", "This stack does not let flows use the queue other"),
        ('resources: {request: {cpu: "{{ 3 }}"}}', "Fargate has no 3 CPU"),
    ],
)
def test_what_expressions_say_is_refused_when_the_task_runs(cloud: Cloud, more: str, why: str) -> None:
    outcome = cloud.run(flow(Batch, more))
    assert (outcome.state, fleet_of(cloud).tasks) == ("FAILED", [])
    assert [line.message.startswith(why) for line in outcome.logs] == [True]


def test_what_is_refused_whatever_it_says_may_be_an_expression(cloud: Cloud) -> None:
    with pytest.raises(UnsupportedError, match="`bucket` of AWS Batch"):
        cloud.save_flow(flow(Batch, "bucket: \"{{ 'mine' }}\""))


@pytest.mark.parametrize(("more", "spot"), [("tags: {a: b}", True), ("spot: false", False)])
def test_the_stacks_defaults_are_those_of_flows_that_say_nothing(more: str, spot: bool) -> None:
    defaults = json.dumps([{"type": Fargate.TYPE, "values": {"spot": True, "ephemeralStorage": 50}}])
    with Cloud(containers={}, environment={"HEADRACE_PLUGIN_DEFAULTS": defaults}) as cloud:
        assert cloud.run(flow(Fargate, more)).state == "SUCCESS"
        asked = fleet_of(cloud).asked
        assert found({"ephemeralStorage": {"sizeInGiB": 50}}, asked)
        assert found({"launchType": "FARGATE"}, asked) is not spot


@pytest.mark.parametrize("kind", [Fargate, Batch])
def test_a_role_that_a_namespace_is_given_no_other_may_name(kind: type[TaskRunnerProperties]) -> None:
    rules = json.dumps({"flows.pay": {"taskRole": ROLE}})
    with Cloud(containers={}, environment={"HEADRACE_NAMESPACES": rules}) as cloud:
        for name in ("taskRoleArn", "executionRoleArn"):
            with pytest.raises(
                UnsupportedError, match=f"The role {ROLE} is for another namespace than flows: name one"
            ):
                cloud.save_flow(flow(kind, f"{name}: {ROLE}"))
        cloud.save_flow(flow(kind, f"taskRoleArn: {ROLE}").replace("namespace: flows", "namespace: flows.pay.daily"))


def test_no_property_is_left_out_of_these_tables() -> None:
    tried = {(kind, name) for kind, more, _ in [*DO, *REFUSED] for name in fields_of(kind) if f"{name}:" in more}
    tried |= {(Batch, more.partition(":")[0]) for more in HOLD} | IN_OTHER_TESTS
    assert tried == {(kind, name) for kind in (Fargate, Batch) for name in fields_of(kind)}
