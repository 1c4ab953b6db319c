"""What starts executions, and wakes them, from outside: the bus, rules, schedules and the sweep."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, Names, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from headrace_cdk.props import HeadraceProps
from headrace_cdk.storage import INBOX, Storage
from headrace_cdk.timeouts import EVENT_AGE, EVENT_RETRIES
from headrace_engine.adapters.aws.events import SOURCE, STATE_CHANGE

_SWEEP = Duration.minutes(10)


class Triggers(Construct):
    """A bus, and a group for one-time schedules, which put their alarms into *delays*; `connect` adds the rules."""

    def __init__(self, scope: Construct, id_: str, name: str, delays: sqs.Queue) -> None:
        super().__init__(scope, id_)
        stack = Stack.of(self)
        self.bus = events.EventBus(self, "Bus", description=f"Headrace {name}: executions' states, and your events")
        self.schedule_group = scheduler.CfnScheduleGroup(self, "Schedules", name=_group_name(self))
        self.schedule_role = iam.Role(
            self,
            "ScheduleRole",
            description=f"Headrace {name}: lets its schedules put alarms into the delay queue",
            # No schedule but those of this group, in this account, can make use of the role.
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": stack.account,
                        "aws:SourceArn": self.schedule_group.attr_arn,
                    }
                },
            ),
        )
        self.schedule_role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[delays.queue_arn]))
        if (key := delays.encryption_master_key) is not None:
            self.schedule_role.add_to_policy(
                iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=[key.key_arn],
                    conditions={"StringEquals": {"kms:ViaService": f"sqs.{stack.region}.amazonaws.com"}},
                )
            )

    def connect(self, function: lambda_.Function, storage: Storage, props: HeadraceProps) -> None:
        """Have *function* called for what happens on the bus, in buckets, and every ten minutes."""
        default = None
        own_bucket = {"bucket": {"name": [storage.bucket.bucket_name]}, "object": {"key": [{"prefix": INBOX}]}}
        heard = {"heard": [True]}  # most changes start nothing: the executor says so
        self._rule("StateChanges", function, self.bus, source=[SOURCE], detail_type=[STATE_CHANGE], detail=heard)
        self._rule("Files", function, default, source=["aws.s3"], detail_type=["Object Created"], detail=own_bucket)
        if props.watched_buckets:
            watched = {"bucket": {"name": list(props.watched_buckets)}}
            self._rule(
                "WatchedFiles", function, default, source=["aws.s3"], detail_type=["Object Created"], detail=watched
            )
        events.Rule(
            self,
            "Sweep",
            description="Pokes executions that should have gone on by now",
            schedule=events.Schedule.rate(_SWEEP),
            # The next sweep does what this one did not.
            targets=[targets.LambdaFunction(function, retry_attempts=0)],
        )

    def _rule(
        self,
        id_: str,
        function: lambda_.Function,
        bus: events.IEventBus | None,
        *,
        source: list[str],
        detail_type: list[str] | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        events.Rule(
            self,
            id_,
            event_bus=bus,
            event_pattern=events.EventPattern(source=source, detail_type=detail_type, detail=detail),
            targets=[targets.LambdaFunction(function, retry_attempts=EVENT_RETRIES, max_event_age=EVENT_AGE)],
        )


def _group_name(scope: Construct) -> str:
    """Return a name that no other group of the account has: CloudFormation makes none up for this type."""
    return Names.unique_resource_name(scope, max_length=64, separator="-")
