"""Builds the adapters, once for each process, and puts the engine together on them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.adapters.aws.bus import EventBridgeBus
from headrace_engine.adapters.aws.cipher import KmsCipher
from headrace_engine.adapters.aws.claims import DynamoClaims
from headrace_engine.adapters.aws.content import Content
from headrace_engine.adapters.aws.deletion import LambdaDeletes
from headrace_engine.adapters.aws.dispatch import RoutedDispatch
from headrace_engine.adapters.aws.errors import calling
from headrace_engine.adapters.aws.executions import DynamoExecutions
from headrace_engine.adapters.aws.flows import DynamoFlows, DynamoTemplates
from headrace_engine.adapters.aws.journal import DynamoJournal
from headrace_engine.adapters.aws.kv import DynamoKV
from headrace_engine.adapters.aws.logs import DynamoLogs, DynamoMetrics
from headrace_engine.adapters.aws.mailbox import SqsInbox, SqsMailbox
from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.queues import SqsQueues
from headrace_engine.adapters.aws.queues import make_client as make_queue_client
from headrace_engine.adapters.aws.rules import EventBridgeRules, Reach
from headrace_engine.adapters.aws.secrets import ParameterStoreSecrets, SecretsManagerSecrets
from headrace_engine.adapters.aws.signing import Keyring, PlatformSigner, StoredKeyring, Verifier, beyond_report
from headrace_engine.adapters.aws.slots import DynamoSlots
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.aws.table import Table
from headrace_engine.adapters.aws.task_roles import TaskRoles
from headrace_engine.adapters.aws.timers import ScheduleTarget, SqsTimers
from headrace_engine.adapters.aws.triggers import DynamoTriggers
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.attempts import Attempts
from headrace_engine.context import Surroundings
from headrace_engine.engine import Engine
from headrace_engine.executor import Executor
from headrace_engine.invocations import Invocations
from headrace_engine.language import Registry
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import NetworkPolicy
from headrace_engine.ports import Clock, PortError, Secrets, Subscriptions
from headrace_engine.services import Channels, Settings, Stores
from headrace_engine.workspace_archive import workspace_archive
from headrace_functions.containers import Containers, containers
from headrace_functions.environment import Environment
from headrace_functions.places import Places
from headrace_tasks.http_function import http_function

if TYPE_CHECKING:
    from concurrent import futures

    from headrace_engine.event_triggers import EventTriggers

_SECRETS_HOLD = timedelta(minutes=5)
_NETWORK = NetworkPolicy(
    allow_loopback=False,
    allow_link_local=False,
    # Where a function's credentials could be used, or asked for, by a flow's request.
    refused_hosts=frozenset({"169.254.169.254", "169.254.170.2", "localhost"}),
)

Client = Callable[[str], Any]
"""Returns the boto3 client of a service, the same one each time."""


@dataclass(frozen=True)
class Wiring:
    """An engine on AWS, and what the handlers need beside it."""

    environment: Environment
    clock: Clock
    engine: Engine
    executor: Executor
    invocations: Invocations
    channels: Channels
    mailbox: SqsMailbox
    inbox: SqsInbox
    timers: SqsTimers
    content: Content
    keyring: Keyring
    claims: DynamoClaims
    storage: S3Storage
    attempts: Attempts
    places: Places
    task_roles: TaskRoles
    containers: Containers | None
    table: Table
    client: Client

    @cached_property
    def event_triggers(self) -> EventTriggers:
        """What starts executions for events and files; of the functions one asks for it, the others need not wait."""
        from headrace_engine.adapters.aws.buckets import S3Buckets  # noqa: PLC0415  # as above
        from headrace_engine.event_triggers import EventTriggers  # noqa: PLC0415  # as above

        return EventTriggers(self.engine, self.mailbox, S3Buckets(self.client("s3"), self.storage))


def wire(
    environment: Environment,
    client: Client,
    *,
    clock: Clock | None = None,
    folder: Path | None = None,
    light_pool: futures.Executor | None = None,
    settings: Settings | None = None,
    registry: Registry | None = None,
) -> Wiring:
    """Return an engine on the stack that *environment* names. folder holds what attempts leave for a moment."""
    clock = clock or SystemClock()
    folder = folder or Path(tempfile.gettempdir()) / "headrace"
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(client("dynamodb"), environment.table)
    overflow = Overflow(client("s3"), environment.bucket)
    content = Content(client("s3"), environment.bucket)
    stored = StoredKeyring(partial(_signing_keys, client("secretsmanager"), environment.signing_secret), clock)
    keyring = stored.current()
    claims = DynamoClaims(table)
    storage = S3Storage(client("s3"), environment.bucket)
    executions = DynamoExecutions(table, overflow)
    flows = DynamoFlows(table, overflow)
    registry = registry or Registry.load()
    places = Places.of(environment, registry)
    task_roles = TaskRoles(
        client("sts"),
        environment.stack,
        environment.variables.get("AWS_REGION", ""),
        allowed=environment.task_roles,
        default=places.rules.task_role,
        is_anothers=places.rules.is_anothers,
    )
    stores = Stores(
        clock=clock,
        journal=DynamoJournal(table, overflow, clock),
        flows=flows,
        templates=DynamoTemplates(table, overflow),
        executions=executions,
        kv=DynamoKV(table, overflow),
        slots=DynamoSlots(table),
        triggers=DynamoTriggers(table, overflow),
        claims=claims,
        storage=storage,
        logs=DynamoLogs(table, overflow, clock, executions),
        metrics=DynamoMetrics(table, overflow, clock, executions),
        secrets=_secrets(environment, client, clock),
        cipher=KmsCipher(client("kms"), environment.key, {"headrace:stack": environment.stack}),
    )
    engine = Engine(
        stores,
        settings
        or Settings(
            plugin_defaults=_plugin_defaults(environment.plugin_defaults),
            surroundings=replace(Surroundings.of(environment.variables), url=environment.api_url),
            http=http_function(_NETWORK),
            may_reach=is_related,
            # The API's own role cannot. The others delete nothing for it.
            deletes=LambdaDeletes(client("lambda"), environment.purger_function),
        ),
        registry,
        temporary_root=folder,
        workspaces=folder / "workspaces",
        network=_NETWORK,
        archive_workspaces=True,
        others_change_flows=True,
        refuse=places.refuse,
        refuse_saving=places.refuse_places,
        subscriptions=_subscriptions(environment, client, stores),
        granted=task_roles.environment,
    )
    mailbox = SqsMailbox(client("sqs"), environment.mailbox_url, PlatformSigner(keyring), content)
    target = ScheduleTarget(environment.schedule_group, environment.delays_arn, environment.schedule_role)
    timers = SqsTimers(client("sqs"), client("scheduler"), clock, queue_url=environment.delays_url, target=target)
    attempts = Attempts(claims, clock, mailbox, beyond_report)
    boxes = containers(
        environment,
        client,
        claims=claims,
        clock=clock,
        keyring=keyring,
        attempts=attempts,
        timers=timers,
        engine=engine,
        rules=places.rules,
    )
    dispatch = RoutedDispatch(client("lambda"), claims, clock, content, keyring, route=places.route, containers=boxes)
    channels = Channels(mailbox, timers, dispatch, EventBridgeBus(client("events"), environment.bus, flows.any_listens))

    def release_workspace(execution_id: str, task_run_id: str) -> None:
        if (state := executor.load(execution_id)) is not None:
            flow = state.flow.definition
            storage.delete(workspace_archive(flow.namespace, flow.id, execution_id, task_run_id))

    executor = engine.executor(
        channels, is_gone=lambda _owner: False, on_workspace=release_workspace, light_pool=light_pool
    )
    return Wiring(
        environment=environment,
        clock=clock,
        engine=engine,
        executor=executor,
        invocations=Invocations(
            engine,
            channels,
            executor,
            vet=beyond_report,
            queues=SqsQueues(make_queue_client, client("sqs")),
        ),
        channels=channels,
        mailbox=mailbox,
        inbox=SqsInbox(Verifier(keyring, stored.again), content.get),
        timers=timers,
        content=content,
        keyring=keyring,
        claims=claims,
        storage=storage,
        attempts=attempts,
        places=places,
        task_roles=task_roles,
        containers=boxes,
        table=table,
        client=client,
    )


@cache
def wiring() -> Wiring:
    """Return this process's engine; the first call builds it."""
    return wire(Environment.of(os.environ), client)


def _plugin_defaults(text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        return msgspec.json.decode(text, type=tuple[dict[str, Any], ...]) if text else ()
    except msgspec.DecodeError as error:
        raise PortError(f"HEADRACE_PLUGIN_DEFAULTS cannot be read: {error}") from None


def _subscriptions(environment: Environment, client: Client, stores: Stores) -> Subscriptions | None:
    """Return what brings the events that flows want; None for a function that saves none."""
    if not environment.triggers_function:
        return None
    reach = Reach(
        own_bus=environment.bus,
        buses=environment.event_buses,
        buckets=frozenset({environment.bucket, *environment.watched_buckets}),
        prefix=environment.rule_prefix,
        function=environment.triggers_function,
    )
    return EventBridgeRules(client("events"), stores.kv, stores.clock, reach, client("s3"))


def _secrets(environment: Environment, client: Client, clock: Clock) -> Secrets:
    """Return people's secrets, from the store that the deployment names."""
    if environment.vault == "secretsmanager":
        return SecretsManagerSecrets(client("secretsmanager"), environment.secrets_prefix, clock, _SECRETS_HOLD)
    return ParameterStoreSecrets(client("ssm"), environment.secrets_prefix, clock, _SECRETS_HOLD)


def is_related(namespace: str, other: str) -> bool:
    """Return whether two namespaces begin with the same part: those of one company or team reach each other."""
    return namespace.partition(".")[0] == other.partition(".")[0]


class _Client:
    """The boto3 client of a service, made when it is first used: an invocation waits only for those it needs."""

    _making = threading.Lock()  # boto3's session is not for several threads at a time

    def __init__(self, service: str) -> None:
        self._service = service
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = make_client(self._service)
        return getattr(self._made, name)


client: Client = cache(_Client)
"""The client of a service, the same one each time."""


def make_client(service: str) -> Any:
    """Return a new boto3 client of *service*."""
    import boto3  # noqa: PLC0415  # a test's wiring brings clients of its own
    from botocore.config import Config  # noqa: PLC0415  # as above

    config = Config(
        retries={"mode": "standard", "max_attempts": 4},
        # Below every function's own time: a call that hangs must not take the invocation with it.
        connect_timeout=3,
        read_timeout=15,
        # Addresses of objects that a KMS key encrypts are signed so, or they are refused.
        signature_version="s3v4" if service == "s3" else None,
        # The region's own name, also in addresses: what is put to the global one may be sent elsewhere at first.
        s3={"addressing_style": "virtual"} if service == "s3" else None,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]  # any service, by its name


def _signing_keys(secrets: Any, secret_id: str) -> str:
    with calling("Secrets Manager", "GetSecretValue"):
        return str(secrets.get_secret_value(SecretId=secret_id)["SecretString"])


def remaining(context: Any, now: datetime, margin: timedelta) -> datetime:
    """Return the instant by which an invocation with Lambda's *context* must be done, *margin* before its end."""
    left: int = context.get_remaining_time_in_millis()
    return now + timedelta(milliseconds=left) - margin
