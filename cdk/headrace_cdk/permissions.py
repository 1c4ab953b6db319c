"""What each function may do: the statements of its role, and nothing beside them.

Keys of the table begin with the letter of their kind (`headrace_engine.adapters.aws.table`), and so do objects below
``state/``; a statement names the kinds it is for. No action and no kind is a wildcard; wildcards stand only behind
a kind, a prefix or the name of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs

from headrace_cdk.containers import TAG, Containers
from headrace_cdk.keys import Keys
from headrace_cdk.mailbox import Mailbox
from headrace_cdk.state import State
from headrace_cdk.storage import CONTENT, FILES, INBOX, STATE, Storage

JOURNAL, CLAIMS, EXECUTIONS, TRIGGERS, FLOWS, KEY_VALUES, SLOTS, LOGS, METRICS = "XCETFKSLM"
IDENTITY, AUDIT = "UA"
"""Users and tokens, and who did what: only the API is asked by people, and it takes nothing back of what they did."""
FAMILY = "headrace-"
"""What the names of task and job definitions begin with."""
ALL_KINDS = (JOURNAL, CLAIMS, EXECUTIONS, TRIGGERS, FLOWS, KEY_VALUES, SLOTS, LOGS, METRICS)

_READ = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
_WRITE = ("dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
# What headrace_engine.adapters.aws.claims.DynamoClaims needs to claim, look, close and report.
_CLAIM = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")
_LOG_IN = ("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")
# Uploads in parts are PutObject, too; the bucket's lifecycle ends those that nobody could abort.
_CHANGE_OBJECTS = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")
_STORED_KINDS = frozenset((JOURNAL, EXECUTIONS, TRIGGERS, FLOWS, KEY_VALUES, LOGS, METRICS))
"""The kinds whose large values lie in the bucket."""


@dataclass(frozen=True)
class Parts:
    """What permissions are about."""

    state: State
    storage: Storage
    mailbox: Mailbox
    keys: Keys
    bus: events.EventBus
    schedule_group: scheduler.CfnScheduleGroup
    schedule_role: iam.Role
    secrets_prefix: str
    name: str
    rule_prefix: str = ""
    """What the names of the rules begin with that bring events to flows."""
    event_buses: tuple[str, ...] = ()
    watched_buckets: tuple[str, ...] = ()
    polled_queues: tuple[str, ...] = ()
    vault: str = "ssm"
    containers: Containers | None = None
    task_roles: tuple[str, ...] = ()
    """The roles that flows and namespaces may name, or patterns of their ARNs."""


class Permissions:
    """Makes statements about *parts*."""

    def __init__(self, stack: Stack, parts: Parts) -> None:
        self._stack = stack
        self._parts = parts
        self.wildcards: dict[str, str] = {}
        """The resources that end in a wildcard, and why."""

    # -- What the functions may do ------------------------------------------------------------------

    def executor(self, *runners: lambda_.IFunction) -> list[iam.PolicyStatement]:
        """Advance executions: all kinds of state, timers, attempts in *runners*, and the bus."""
        return [
            *self._advance(*runners),
            *self._consume(self._parts.mailbox.mailbox),
            *self._key_for_services("dynamodb", "s3", "sqs"),
        ]

    def triggers(self, *runners: lambda_.IFunction) -> list[iam.PolicyStatement]:
        """As the executor, whose work it does for dead letters, on other queues."""
        queues = self._parts.mailbox
        return [
            # To the dead letters goes what Lambda could not have it handle.
            *self._advance(*runners, sends=(queues.delays_dead,)),
            *self._consume(queues.delays, queues.mailbox_dead, queues.delays_dead),
            *self._take_files(),
            *self._take_messages(),
            *self._key_for_services("dynamodb", "s3", "sqs"),
        ]

    def worker(self) -> list[iam.PolicyStatement]:
        """Run task types of ours: it reads what they ask about, and writes no journal, execution, flow or slot."""
        changes, reads = (CLAIMS, TRIGGERS, KEY_VALUES, LOGS, METRICS), (JOURNAL, EXECUTIONS, FLOWS)
        return [
            self._items((*_READ, *_WRITE), changes),
            self._items(_READ, reads),
            self._indexes((EXECUTIONS, FLOWS, TRIGGERS)),
            self._objects(_CHANGE_OBJECTS, [FILES, CONTENT, *_state(changes)]),
            self._objects(("s3:GetObject",), _state(reads)),
            self._list(),
            self._send(self._parts.mailbox.mailbox, self._parts.mailbox.delays),
            *self._task_roles(),
            *self._secrets(),
            *self._key_for_services("dynamodb", "s3", "sqs"),
        ]

    def purger(self) -> list[iam.PolicyStatement]:
        """Run the one task type that removes executions, and all that is theirs; nothing else is in its reach.

        A slot that one of them was left with goes to who waits for it, as far as the flow's limit allows.
        """
        changes = (JOURNAL, CLAIMS, EXECUTIONS, SLOTS, LOGS, METRICS)
        return [
            self._items((*_READ, *_WRITE), changes),
            self._items(_READ, (FLOWS,)),
            self._indexes((EXECUTIONS,)),
            self._objects(_CHANGE_OBJECTS, [FILES, CONTENT, *_state(changes)]),
            self._objects(("s3:GetObject",), _state((FLOWS,))),
            self._list(),
            self._send(self._parts.mailbox.mailbox, self._parts.mailbox.delays),
            *self._secrets(),
            *self._key_for_services("dynamodb", "s3", "sqs"),
        ]

    def script(self) -> list[iam.PolicyStatement]:
        """Run people's code: claims and the mailbox, and where Lambda puts the record of an invocation that failed.

        A message from it says no more than its attempt's token allows, and a failure record only what concerns the
        invocation that owns the claim; both are checked where they are read.
        """
        return [
            self._items(_CLAIM, (CLAIMS,)),
            self._send(self._parts.mailbox.mailbox, self._parts.mailbox.delays),
            *self._key_for_services("dynamodb", "sqs"),
        ]

    def api(self, purger: lambda_.IFunction) -> list[iam.PolicyStatement]:
        """Answer requests: change flows and what hangs on them, and logs of attempts.

        Executions get messages, and by the delay queue `triggers` is told of schedules that changed. Executions are
        deleted by *purger*. A container, which has no rights, claims its attempt here and closes the claim.
        """
        changes = (FLOWS, TRIGGERS, KEY_VALUES, SLOTS, LOGS, METRICS)
        reads = (JOURNAL, CLAIMS, EXECUTIONS)
        return [
            self._items((*_READ, *_WRITE), changes),
            self._items(_READ, reads),
            *([self._items(_CLAIM, (CLAIMS,))] if self._parts.containers is not None else []),
            self._items(_LOG_IN, (IDENTITY,)),
            self._items(("dynamodb:PutItem", "dynamodb:Query"), (AUDIT,)),
            self._indexes((EXECUTIONS, FLOWS, TRIGGERS)),
            self._objects(_CHANGE_OBJECTS, [FILES, CONTENT, *_state(changes)]),
            self._objects(("s3:GetObject",), _state(reads)),
            self._list(),
            self._send(self._parts.mailbox.mailbox, self._parts.mailbox.delays),
            _allow(("lambda:InvokeFunction",), [purger.function_arn]),
            *self._task_roles(),
            *self._secrets(),
            self._list_secrets(),
            *self._examine(),
            *self._key_for_services("dynamodb", "s3", "sqs"),
        ]

    def _examine(self) -> list[iam.PolicyStatement]:
        """Look, for `headrace doctor`, whether what triggers need is there."""
        rules = [self._wildcard(arn, "A rule for each event trigger of each flow.") for arn in self.rule_arns]
        arns = [f"arn:{self._stack.partition}:s3:::{bucket}" for bucket in self._parts.watched_buckets]
        return [
            _allow(("events:DescribeRule", "events:ListTargetsByRule"), rules),
            _allow(("scheduler:GetSchedule",), [self._schedules()]),
            _allow(("s3:GetBucketNotification",), [self._parts.storage.bucket.bucket_arn, *arns]),
        ]

    def bring_events(self, function: lambda_.IFunction) -> list[iam.PolicyStatement]:
        """Keep the rules that bring *function* the events that flows wait for; no rule has another target."""
        rules = [self._wildcard(arn, "A rule for each event trigger of each flow.") for arn in self.rule_arns]
        return [
            _allow(("events:DeleteRule", "events:PutRule", "events:RemoveTargets"), rules),
            # A request names all its targets: each must be the function.
            _allow(
                ("events:PutTargets",), rules, {"ForAllValues:ArnEquals": {"events:TargetArn": function.function_arn}}
            ),
        ]

    @property
    def rule_arns(self) -> list[str]:
        """The rules of this deployment, on the buses it may listen to; a wildcard stands behind the prefix."""
        parts = self._parts
        paths = ["" if bus == "default" else f"{bus}/" for bus in (parts.bus.event_bus_name, *parts.event_buses)]
        return [
            self._stack.format_arn(service="events", resource="rule", resource_name=f"{path}{parts.rule_prefix}*")
            for path in paths
        ]

    def _take_files(self) -> list[iam.PolicyStatement]:
        """Copy, move and delete the files that start flows; what is moved keeps its tags, and may go in parts."""
        why = "Files have names of their own."
        arns = [f"arn:{self._stack.partition}:s3:::{bucket}" for bucket in self._parts.watched_buckets]
        objects = [self._parts.storage.bucket.arn_for_objects(f"{INBOX}*"), *(f"{arn}/*" for arn in arns)]
        actions = sorted((*_CHANGE_OBJECTS, "s3:GetObjectTagging", "s3:PutObjectTagging"))
        files = _allow(actions, [self._wildcard(each, why) for each in objects])
        return [files, _allow(("s3:ListBucket",), arns)] if arns else [files]

    def _take_messages(self) -> list[iam.PolicyStatement]:
        """Receive and remove the messages that start flows."""
        arns = [self._stack.format_arn(service="sqs", resource=queue) for queue in self._parts.polled_queues]
        return [_allow(("sqs:DeleteMessage", "sqs:ReceiveMessage"), arns)] if arns else []

    def _advance(self, *runners: lambda_.IFunction, sends: Sequence[sqs.IQueue] = ()) -> list[iam.PolicyStatement]:
        parts = self._parts
        changes = tuple(kind for kind in ALL_KINDS if kind != FLOWS)
        return [
            self._items((*_READ, *_WRITE), changes),
            self._items(_READ, (FLOWS,)),
            self._items(("dynamodb:PutItem",), (AUDIT,)),  # who sent what they may not
            self._indexes((EXECUTIONS, FLOWS, TRIGGERS)),
            self._objects(_CHANGE_OBJECTS, [FILES, CONTENT, *_state(changes)]),
            self._objects(("s3:GetObject",), _state((FLOWS,))),
            self._list(),
            self._send(parts.mailbox.mailbox, parts.mailbox.delays, *sends),
            _allow(("scheduler:CreateSchedule",), [self._schedules()]),
            _allow(
                ("iam:PassRole",),
                [parts.schedule_role.role_arn],
                {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
            ),
            _allow(("lambda:InvokeFunction",), [runner.function_arn for runner in runners]),
            _allow(("events:PutEvents",), [parts.bus.event_bus_arn]),
            *self._run_containers(),
            *self._secrets(),
        ]

    def _task_roles(self) -> list[iam.PolicyStatement]:
        """Take on, for people's code, the roles that may be named; each decides itself for which namespaces."""
        why = "Whoever deploys says which."
        arns = [self._wildcard(arn, why) if "*" in arn else arn for arn in self._parts.task_roles]
        return [_allow(("sts:AssumeRole", "sts:TagSession"), arns)] if arns else []

    def _run_containers(self) -> list[iam.PolicyStatement]:
        """Start and stop tasks of the cluster and jobs of the queues, all by definitions whose names are ours."""
        containers = self._parts.containers
        if containers is None:
            return []
        cluster = {"ArnEquals": {"ecs:cluster": containers.cluster.attr_arn}}
        definitions, tasks = self._ecs_arns(containers)
        jobs = self._wildcard(self._arn("batch", "job", "*"), "A job's name is not part of its ARN.")
        job_definitions = self._wildcard(
            self._arn("batch", "job-definition", f"{FAMILY}*"), "A definition for each image, size and role."
        )
        whatever = self._wildcard("*", "The actions know no resources.")
        roles = [
            containers.execution_role.role_arn,
            *(self._wildcard(arn, "Whoever deploys says which.") for arn in containers.task_roles),
        ]
        return [
            _allow(("ecs:RunTask",), [definitions], cluster),
            _allow(("ecs:ListTasks",), [whatever], cluster),
            _allow(("ecs:DescribeTasks", "ecs:StopTask"), [tasks]),
            _allow(
                ("ecs:TagResource",),
                [definitions, tasks],
                {"StringEquals": {"ecs:CreateAction": ["RegisterTaskDefinition", "RunTask"]}},
            ),
            _allow(("batch:DescribeJobs", "batch:ListJobs", "ecs:RegisterTaskDefinition"), [whatever]),
            _allow(("batch:SubmitJob",), [job_definitions, *containers.queue_arns]),
            # Nothing but a definition can be registered: that jobs are named beside it says nothing.
            _allow(("batch:RegisterJobDefinition", "batch:TagResource"), [job_definitions, jobs]),
            _allow(("batch:TerminateJob",), [jobs], {"StringEquals": {f"aws:ResourceTag/{TAG}": self._parts.name}}),
            _allow(("iam:PassRole",), roles, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
        ]

    def _ecs_arns(self, containers: Containers) -> tuple[str, str]:
        """Return the task definitions that are ours, and the tasks of the cluster."""
        return (
            self._wildcard(
                self._arn("ecs", "task-definition", f"{FAMILY}*"), "A definition for each image, size and role."
            ),
            self._wildcard(
                self._arn("ecs", "task", f"{containers.cluster.ref}/*"), "Tasks come and go; these are the cluster's."
            ),
        )

    def _arn(self, service: str, resource: str, name: str) -> str:
        return self._stack.format_arn(service=service, resource=resource, resource_name=name)

    # -- What those are made of ---------------------------------------------------------------------

    def _items(self, actions: Sequence[str], kinds: Sequence[str]) -> iam.PolicyStatement:
        """Items of these kinds, by their key, which every action here names: the condition always has what to judge."""
        return _allow(actions, [self._parts.state.table.table_arn], _of(kinds))

    def _indexes(self, kinds: Sequence[str]) -> iam.PolicyStatement:
        return _allow(("dynamodb:Query",), self._parts.state.index_arns, _of(kinds))

    def _objects(self, actions: Sequence[str], prefixes: Sequence[str]) -> iam.PolicyStatement:
        bucket = self._parts.storage.bucket
        why = "Objects have names of their own; the prefix says whose they are."
        return _allow(actions, [self._wildcard(bucket.arn_for_objects(f"{prefix}*"), why) for prefix in prefixes])

    def _list(self) -> iam.PolicyStatement:
        """Without it, S3 answers "denied" about an object that is not there."""
        return _allow(("s3:ListBucket",), [self._parts.storage.bucket.bucket_arn])

    def _send(self, *queues: sqs.IQueue) -> iam.PolicyStatement:
        return _allow(("sqs:SendMessage",), [queue.queue_arn for queue in queues])

    def _consume(self, *queues: sqs.IQueue) -> list[iam.PolicyStatement]:
        """What Lambda needs to poll a queue for a function."""
        actions = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
        return [_allow(actions, [queue.queue_arn for queue in queues])]

    def _read_secrets(self) -> iam.PolicyStatement:
        """Read people's secrets, in the store that is chosen for them."""
        if self._parts.vault == "ssm":
            return _allow(("ssm:GetParameters",), [self._parameters()])
        name = f"{self._parts.secrets_prefix}/*"
        arn = self._stack.format_arn(
            service="secretsmanager", resource="secret", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        return _allow(("secretsmanager:GetSecretValue",), [self._wildcard(arn, "People name their secrets.")])

    def _list_secrets(self) -> iam.PolicyStatement:
        """List the names of people's secrets."""
        if self._parts.vault == "ssm":
            return _allow(("ssm:GetParametersByPath",), [self._parameters()])
        return _allow(("secretsmanager:ListSecrets",), [self._wildcard("*", "The action knows no resources.")])

    def _secrets(self) -> list[iam.PolicyStatement]:
        """People's secrets, the signing keys, and sealing in the name of this stack."""
        parts = self._parts
        return [
            self._read_secrets(),
            _allow(("secretsmanager:GetSecretValue",), [parts.keys.signing_secret.secret_arn]),
            _allow(
                ("kms:Decrypt", "kms:GenerateDataKey"),
                [parts.keys.sealing.key_arn],
                {"StringEquals": {"kms:EncryptionContext:headrace:stack": parts.name}},
            ),
            *self._key_for_services("secretsmanager"),
        ]

    def _key_for_services(self, *services: str) -> list[iam.PolicyStatement]:
        """With a key of the customer's: what these services need it for, and nobody without them."""
        key = self._parts.keys.customer_key
        if key is None:
            return []
        return [
            _allow(
                ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
                [key.key_arn],
                {
                    "StringEquals": {
                        "kms:ViaService": [f"{service}.{self._stack.region}.amazonaws.com" for service in services]
                    }
                },
            )
        ]

    def _schedules(self) -> str:
        group = self._parts.schedule_group.ref
        return self._wildcard(
            self._stack.format_arn(service="scheduler", resource="schedule", resource_name=f"{group}/*"),
            "Schedules are made, each once and by its own name, in this group only.",
        )

    def _parameters(self) -> str:
        prefix = self._parts.secrets_prefix.lstrip("/")
        return self._wildcard(
            self._stack.format_arn(service="ssm", resource="parameter", resource_name=f"{prefix}/*"),
            "People add secrets of namespaces at any time; none lies below this prefix but this deployment's.",
        )

    def _wildcard(self, arn: str, why: str) -> str:
        self.wildcards[arn] = why
        return arn


def _of(kinds: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{kind}#*" for kind in kinds]}}


def _state(kinds: Sequence[str]) -> list[str]:
    return [f"{STATE}{kind}/" for kind in kinds if kind in _STORED_KINDS]


def _allow(
    actions: Sequence[str], resources: Sequence[str], conditions: Mapping[str, Mapping[str, object]] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
