"""Where containers run: an ECS cluster without instances, Batch queues on Fargate, and a network if none is given.

All of it is free while nothing runs. A task or a job pulls its images and speaks to the API and to S3 over its own
public address; nothing reaches it from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import RemovalPolicy, Stack, Token
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from headrace_cdk.acknowledgments import acknowledge, wildcard
from headrace_cdk.props import HeadraceProps
from headrace_cdk.timeouts import EVENT_AGE, EVENT_RETRIES

TAG = "headrace"
"""The tag of tasks and jobs; its value is the deployment's name."""
CAPACITIES = ("FARGATE", "FARGATE_SPOT")
_SUBNET_BITS = 20
_ZONES = 2


class Containers(Construct):
    """A cluster, a Batch queue for each capacity, what their tasks may and say; `connect` has *triggers* told."""

    def __init__(self, scope: Construct, id_: str, name: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self._name = name
        self._props = props
        self.subnets, self.security_groups = self._network(props)
        self.log_group = logs.LogGroup(
            self, "Logs", retention=props.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.execution_role = self._execution_role(name)
        self.cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_settings=[ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="disabled")],
        )
        acknowledge(
            self.cluster,
            {"AwsSolutions-ECS4": "Container Insights is paid by the metric, and shows what task runs show already."},
        )
        # Apart, and afterwards: in an account without ECS's own role, making the first cluster makes that role.
        ecs.CfnClusterCapacityProviderAssociations(
            self,
            "Capacities",
            cluster=self.cluster.ref,
            capacity_providers=list(CAPACITIES),
            default_capacity_provider_strategy=[],
        )
        self.queues = {capacity: self._queue(capacity, props.container_vcpus) for capacity in CAPACITIES}

    def _network(self, props: HeadraceProps) -> tuple[list[str], list[str]]:
        """Return subnets and security groups: those that were given, or of a network of its own, without NAT."""
        if props.container_subnets:
            return list(props.container_subnets), list(props.container_security_groups)
        vpc = ec2.Vpc(
            self,
            "Network",
            max_azs=_ZONES,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=_SUBNET_BITS,
                    map_public_ip_on_launch=False,  # a task asks for its address itself
                )
            ],
            restrict_default_security_group=False,  # nothing is in it, and it would take a function to change it
        )
        acknowledge(
            vpc,
            {
                "AwsSolutions-VPC7": "Flow logs are paid by the gigabyte. Who must keep them gives subnets of their "
                "own network."
            },
        )
        outgoing = ec2.SecurityGroup(
            self, "Outgoing", vpc=vpc, description="Headrace: containers call, and nobody calls them"
        )
        return [subnet.subnet_id for subnet in vpc.public_subnets], [outgoing.security_group_id]

    def _execution_role(self, name: str) -> iam.Role:
        """Return the role by which AWS, not the container, pulls images and writes logs."""
        stack = Stack.of(self)
        role = iam.Role(
            self,
            "ExecutionRole",
            description=f"Headrace {name}: lets ECS pull images and write logs for its containers",
            assumed_by=iam.ServicePrincipal(
                "ecs-tasks.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
            ),
        )
        repositories = stack.format_arn(service="ecr", resource="repository", resource_name="*")
        for actions, resource in (
            (["logs:CreateLogStream", "logs:PutLogEvents"], self.log_group.log_group_arn),
            (["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repositories),
            (["ecr:GetAuthorizationToken"], "*"),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
        acknowledge(
            role,
            {
                wildcard(stack, repositories): "A flow names any image of the account.",
                "AwsSolutions-IAM5[Resource::*]": "The action knows no resources.",
            },
        )
        return role

    def _queue(self, capacity: str, vcpus: int) -> batch.CfnJobQueue:
        title = "".join(word.capitalize() for word in capacity.split("_"))
        environment = batch.CfnComputeEnvironment(
            self,
            f"{title}Environment",
            type="MANAGED",
            state="ENABLED",
            compute_resources=batch.CfnComputeEnvironment.ComputeResourcesProperty(
                type=capacity, maxv_cpus=vcpus, subnets=self.subnets, security_group_ids=self.security_groups
            ),
            replace_compute_environment=False,
        )
        return batch.CfnJobQueue(
            self,
            f"{title}Queue",
            priority=1,
            state="ENABLED",
            compute_environment_order=[
                batch.CfnJobQueue.ComputeEnvironmentOrderProperty(
                    order=1, compute_environment=environment.attr_compute_environment_arn
                )
            ],
        )

    @property
    def task_roles(self) -> Sequence[str]:
        """The roles that flows may name, or patterns of their ARNs."""
        return self._props.task_roles

    @property
    def queue_arns(self) -> list[str]:
        """The ARNs of all queues that flows may use: the stack's, and those that were named."""
        return [*(queue.attr_job_queue_arn for queue in self.queues.values()), *self.named_queue_arns]

    @property
    def named_queue_arns(self) -> list[str]:
        """The ARNs of the queues that are not the stack's, and that flows may name."""
        stack = Stack.of(self)
        return [
            queue
            if ":" in queue or Token.is_unresolved(queue)
            else stack.format_arn(service="batch", resource="job-queue", resource_name=queue)
            for queue in self._props.job_queues
        ]

    @property
    def settings(self) -> Mapping[str, object]:
        """What the functions must know (`headrace_runners.containers.ContainerSettings`)."""
        props = self._props
        named = {"jobQueues": self.named_queue_arns} if props.job_queues else {}
        return {
            "cluster": self.cluster.attr_arn,
            "subnets": self.subnets,
            "securityGroups": self.security_groups,
            "assignPublicIp": props.container_public_ip,
            "executionRole": self.execution_role.role_arn,
            "logGroup": self.log_group.log_group_name,
            "stager": props.stager,
            "queues": {capacity: queue.attr_job_queue_arn for capacity, queue in self.queues.items()},
            "architecture": props.container_architecture.name.upper(),
            "cpu": str(props.container_cpu),
            "memory": str(props.container_memory),
            "tags": {TAG: self._name},
            "taskRoles": list(props.task_roles),
            **named,
        }

    def connect(self, function: lambda_.Function) -> None:
        """Have *function* called when a task or a job has ended: nothing need look whether it has."""
        stopped = {"clusterArn": [self.cluster.attr_arn], "lastStatus": ["STOPPED"]}
        self._rule("TasksStopped", function, "aws.ecs", "ECS Task State Change", stopped)
        ended = {"jobQueue": self.queue_arns, "status": ["SUCCEEDED", "FAILED"]}
        self._rule("JobsEnded", function, "aws.batch", "Batch Job State Change", ended)

    def _rule(
        self, id_: str, function: lambda_.Function, source: str, kind: str, detail: Mapping[str, Sequence[str]]
    ) -> None:
        events.Rule(
            self,
            id_,
            event_pattern=events.EventPattern(source=[source], detail_type=[kind], detail=dict(detail)),
            targets=[targets.LambdaFunction(function, retry_attempts=EVENT_RETRIES, max_event_age=EVENT_AGE)],
        )
