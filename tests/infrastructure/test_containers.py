"""Where containers run: what there is, that nothing of it is paid at rest, and what somebody may choose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, aws_lambda
from aws_cdk.assertions import Template

from headrace_cdk import HeadraceProps
from headrace_cdk.containers import Containers
from headrace_cdk.props import PropsError
from infrastructure.assembly import Assembly, chosen_assembly, text

PAID = ("EC2::NatGateway", "EC2::VPCEndpoint", "EC2::EIP", "EC2::FlowLog", "EC2::Instance", "ECS::Service")
STAGER = "registry.example.com/stager@sha256:" + "0" * 64


def settings(assembly: Assembly) -> dict[str, Any]:
    variables = assembly.of_type("Lambda::Function")["FunctionsExecutor"]["Environment"]["Variables"]
    return dict(json.loads(text(variables["HEADRACE_CONTAINERS"])))


def chosen(props: HeadraceProps) -> list[dict[str, Any]]:
    """Return the resources of the construct alone, when somebody chose."""
    stack = Stack(App(), "Alone")
    Containers(stack, "Containers", "alone", props)
    resources = Template.from_stack(stack).to_json()["Resources"]
    return [{"Type": each["Type"], **each.get("Properties", {})} for each in resources.values()]


def of_type(resources: list[dict[str, Any]], type_: str) -> list[dict[str, Any]]:
    return [each for each in resources if each["Type"] == f"AWS::{type_}"]


def test_nothing_is_paid_while_nothing_runs(default: Assembly) -> None:
    for type_ in PAID:
        assert not default.of_type(type_), type_
    (cluster,) = default.of_type("ECS::Cluster").values()
    assert cluster["ClusterSettings"] == [{"Name": "containerInsights", "Value": "disabled"}]
    for environment in default.of_type("Batch::ComputeEnvironment").values():
        assert environment["ComputeResources"]["Type"] in ("FARGATE", "FARGATE_SPOT"), "which have no instances"


def test_there_is_a_cluster_and_a_queue_for_each_capacity(default: Assembly) -> None:
    (capacities,) = default.of_type("ECS::ClusterCapacityProviderAssociations").values()
    assert text(capacities["Cluster"]) == "ContainersCluster"
    assert capacities["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    environments = default.of_type("Batch::ComputeEnvironment")
    served = {
        name: environments[text(queue["ComputeEnvironmentOrder"][0]["ComputeEnvironment"]).partition(".")[0]]
        for name, queue in default.of_type("Batch::JobQueue").items()
    }
    assert {name: each["ComputeResources"]["Type"] for name, each in served.items()} == {
        "ContainersFargateQueue": "FARGATE",
        "ContainersFargateSpotQueue": "FARGATE_SPOT",
    }
    for environment in environments.values():
        assert environment["ComputeResources"]["MaxvCpus"] == 256
        assert environment["ReplaceComputeEnvironment"] is False
        assert "ServiceRole" not in environment, "Batch has a role of its own for it"


def test_the_functions_are_told_of_it(default: Assembly) -> None:
    assert settings(default) == {
        "cluster": "ContainersCluster.Arn",
        "subnets": ["ContainersNetworkPublicSubnet1Subnet", "ContainersNetworkPublicSubnet2Subnet"],
        "securityGroups": ["ContainersOutgoing.GroupId"],
        "assignPublicIp": True,
        "executionRole": "ContainersExecutionRole.Arn",
        "logGroup": "ContainersLogs",
        "stager": "public.ecr.aws/docker/library/python"
        "@sha256:4c47124a8391cb7a9f571164147d154777cf012a4ece5f86097130d7a4478111",
        "queues": {
            "FARGATE": "ContainersFargateQueue.JobQueueArn",
            "FARGATE_SPOT": "ContainersFargateSpotQueue.JobQueueArn",
        },
        "architecture": "X86_64",
        "cpu": "1024",
        "memory": "2048",
        "tags": {"headrace": "headrace"},
        "taskRoles": [],
    }


def test_nobody_calls_a_container(default: Assembly) -> None:
    (group,) = default.of_type("EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in group
    assert not default.of_type("EC2::SecurityGroupIngress")
    (out,) = group["SecurityGroupEgress"]
    assert (out["CidrIp"], out["IpProtocol"]) == ("0.0.0.0/0", "-1")
    assert {subnet["MapPublicIpOnLaunch"] for subnet in default.of_type("EC2::Subnet").values()} == {False}


def test_triggers_is_told_of_what_ended(default: Assembly) -> None:
    rules = default.of_type("Events::Rule")
    stopped, ended = rules["ContainersTasksStopped"]["EventPattern"], rules["ContainersJobsEnded"]["EventPattern"]
    assert (stopped["source"], stopped["detail-type"]) == (["aws.ecs"], ["ECS Task State Change"])
    assert text(stopped["detail"]["clusterArn"][0]) == "ContainersCluster.Arn"
    assert stopped["detail"]["lastStatus"] == ["STOPPED"]
    assert (ended["source"], ended["detail-type"]) == (["aws.batch"], ["Batch Job State Change"])
    assert [text(each) for each in ended["detail"]["jobQueue"]] == [
        "ContainersFargateQueue.JobQueueArn",
        "ContainersFargateSpotQueue.JobQueueArn",
    ]
    assert ended["detail"]["status"] == ["SUCCEEDED", "FAILED"]


def test_only_ecs_of_this_account_has_the_execution_role(default: Assembly) -> None:
    role = default.of_type("IAM::Role")["ContainersExecutionRole"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_a_stack_may_do_without(foreign: Assembly) -> None:
    assert not [type_ for type_ in ("ECS::Cluster", "Batch::JobQueue", "EC2::VPC") if foreign.of_type(type_)]
    for function in foreign.of_type("Lambda::Function").values():
        assert "HEADRACE_CONTAINERS" not in function["Environment"]["Variables"]


def test_a_network_that_is_given_is_used() -> None:
    resources = chosen(
        HeadraceProps(
            container_subnets=("subnet-1", "subnet-2"), container_security_groups=("sg-1",), container_vcpus=8
        )
    )
    assert not [each for each in resources if each["Type"].startswith("AWS::EC2::")]
    for environment in of_type(resources, "Batch::ComputeEnvironment"):
        assert environment["ComputeResources"]["Subnets"] == ["subnet-1", "subnet-2"]
        assert environment["ComputeResources"]["SecurityGroupIds"] == ["sg-1"]
        assert environment["ComputeResources"]["MaxvCpus"] == 8


def test_what_somebody_chose_is_told() -> None:
    stack = Stack(App(), "Alone")
    props = HeadraceProps(
        container_subnets=("subnet-1",),
        container_security_groups=("sg-1",),
        container_public_ip=False,
        container_architecture=aws_lambda.Architecture.ARM_64,
        container_cpu=512,
        container_memory=1024,
        stager=STAGER,
        task_roles=("arn:aws:iam::123456789012:role/flows/*",),
    )
    told = Containers(stack, "Containers", "alone", props).settings
    assert (told["subnets"], told["securityGroups"], told["assignPublicIp"]) == (["subnet-1"], ["sg-1"], False)
    assert (told["architecture"], told["cpu"], told["memory"], told["stager"]) == ("ARM64", "512", "1024", STAGER)
    assert told["taskRoles"] == ["arn:aws:iam::123456789012:role/flows/*"]
    assert told["tags"] == {"headrace": "alone"}


def test_queues_that_are_named_may_be_submitted_to_and_are_heard_of(tmp_path: Path, default: Assembly) -> None:
    named = ("gpu", "arn:aws:batch:eu-central-1:123456789012:job-queue/large")
    assembly = chosen_assembly(tmp_path, HeadraceProps(bundle=False, job_queues=named))
    assert assembly.refusal == ""
    arns = ["arn:AWS::Partition:batch:AWS::Region:AWS::AccountId:job-queue/gpu", named[1]]
    all_arns = ["ContainersFargateQueue.JobQueueArn", "ContainersFargateSpotQueue.JobQueueArn", *arns]
    definitions = "arn:AWS::Partition:batch:AWS::Region:AWS::AccountId:job-definition/headrace-*"
    submits = {f"Allow batch:SubmitJob on {' '.join([definitions, *all_arns])}"}
    for role in ("FunctionsExecutorRole", "FunctionsTriggersRole"):
        assert assembly.role_of(role) - default.role_of(role) == submits, "a job is ended by its tag, in any queue"
    for role in ("FunctionsWorkerRole", "FunctionsApiRole"):
        assert assembly.role_of(role) == default.role_of(role)
    ended = assembly.of_type("Events::Rule")["ContainersJobsEnded"]["EventPattern"]
    assert [text(each) for each in ended["detail"]["jobQueue"]] == all_arns
    assert settings(assembly) == {**settings(default), "jobQueues": arns}
    assert not [each for each in default.role_of("FunctionsExecutorRole") if "job-queue" in each]


def test_defaults_of_the_stack_are_told_to_all_that_read_flows(tmp_path: Path, default: Assembly) -> None:
    values = {"io.headrace.runner.ecs.Fargate": {"spot": True}}
    assembly = chosen_assembly(tmp_path, HeadraceProps(bundle=False, plugin_defaults=values))
    told = [{"type": "io.headrace.runner.ecs.Fargate", "values": {"spot": True}}]
    for name, function in assembly.of_type("Lambda::Function").items():
        text = function["Environment"]["Variables"].get("HEADRACE_PLUGIN_DEFAULTS")
        assert text is None if "Script" in name else json.loads(text) == told, name
    assert "HEADRACE_PLUGIN_DEFAULTS" not in json.dumps(default.of_type("Lambda::Function"))


def test_queues_to_name_are_read_from_the_context() -> None:
    app = App(context={"headrace:jobQueues": "gpu,large"})
    assert HeadraceProps.from_context(app.node).job_queues == ("gpu", "large")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"container_subnets": ("subnet-1",)}, "together, or neither"),
        ({"container_security_groups": ("sg-1",)}, "together, or neither"),
        ({"container_cpu": 1000}, "use one of 256, 512, 1024"),
        ({"container_vcpus": 0}, "1 or more"),
        ({"stager": "python:3.12-alpine"}, "by its digest"),
        ({"job_queues": ("*",)}, r"job_queues has '\*'; name a job queue of AWS Batch, or give its ARN"),
        ({"job_queues": ("arn:aws:batch:eu-central-1:123456789012:job/x",)}, "or give its ARN"),
        ({"job_queues": ("gpu",), "containers": False}, "job_queues is for containers, and containers is false"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_chosen(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(PropsError, match=message):
        HeadraceProps(**choice)
