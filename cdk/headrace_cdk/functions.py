"""The Lambda functions, a role each, and what calls them by queue or by invocation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Size, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from headrace_cdk.acknowledgments import acknowledge, wildcard
from headrace_cdk.bundle import Bundle, Bundler
from headrace_cdk.permissions import Parts, Permissions
from headrace_cdk.props import FunctionProps, HeadraceProps
from headrace_cdk.timeouts import API_TIMEOUT, ATTEMPT_TIMEOUT, EXECUTOR_TIMEOUT, TRIGGERS_TIMEOUT

METRICS_NAMESPACE = "Headrace"
_BATCH = 10
_SCRATCH = Size.mebibytes(2048)
"""For files of task runs; what is beyond the 512 MB that cost nothing is paid only while an attempt runs."""


class Functions(Construct):
    """`executor`, `worker`, `purger`, `script` in its sizes, `triggers`, wired by `connect` once there is an API, and
    `api`."""

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps, parts: Parts) -> None:
        super().__init__(scope, id_)
        self._props = props
        self._parts = parts
        self._permissions = Permissions(Stack.of(self), parts)
        self._bundler = Bundler(props.target, props.bundle_cache, props.plugins)
        self._runtime = lambda_.Runtime(
            f"python{props.python_version}", lambda_.RuntimeFamily.PYTHON, supports_inline_code=True
        )
        queues = parts.mailbox
        common = {"HEADRACE_STACK": parts.name, "HEADRACE_TABLE": parts.state.table.table_name}
        platform = common | {
            "HEADRACE_BUCKET": parts.storage.bucket.bucket_name,
            "HEADRACE_MAILBOX_URL": queues.mailbox.queue_url,
            "HEADRACE_DELAYS_URL": queues.delays.queue_url,
            "HEADRACE_SECRETS_PREFIX": parts.secrets_prefix,
            **({"HEADRACE_VAULT": parts.vault} if parts.vault != "ssm" else {}),
            "HEADRACE_SIGNING_SECRET": parts.keys.signing_secret.secret_arn,
            "HEADRACE_KEY": parts.keys.sealing.key_arn,
            **self._plugin_defaults(),
        }
        self.worker = self._function(
            "worker",
            bundle=Bundle.WORKER,
            size=props.worker,
            timeout=ATTEMPT_TIMEOUT,
            environment=platform | self._namespaces(),
            statements=self._permissions.worker(),
            loops=True,
        )
        self.purger = self._function(
            "purger",
            module="worker",
            size=FunctionProps(props.worker.memory),
            timeout=ATTEMPT_TIMEOUT,
            environment=platform,
            statements=self._permissions.purger(),
            loops=True,
        )
        self.programs = self._programs()
        self.scripts = {
            size: self._function(
                name,
                module="script",
                bundle=Bundle.SCRIPT,
                size=chosen,
                timeout=ATTEMPT_TIMEOUT,
                environment=common | {"HEADRACE_MAILBOX_URL": queues.mailbox.queue_url},
                statements=self._permissions.script(),
                layers=[self.programs],
                loops=True,
            )
            for size, (name, chosen) in _sizes(props).items()
            if chosen.memory
        }
        """By size, as far as they are wanted."""
        advancing = platform | {
            "HEADRACE_DELAYS_ARN": queues.delays.queue_arn,
            "HEADRACE_WORKER_FUNCTION": self.worker.function_name,
            "HEADRACE_PURGER_FUNCTION": self.purger.function_name,
            "HEADRACE_BUS": parts.bus.event_bus_name,
            "HEADRACE_SCHEDULE_GROUP": parts.schedule_group.ref,
            "HEADRACE_SCHEDULE_ROLE": parts.schedule_role.role_arn,
        }
        places = self._containers() | self._namespaces() | self._script_functions()
        advancing |= places
        self.executor = self._function(
            "executor",
            size=props.executor,
            timeout=EXECUTOR_TIMEOUT,
            environment=advancing,
            statements=self._permissions.executor(self.worker, self.purger, *self.scripts.values()),
            loops=True,
        )
        self.triggers = self._function(
            "triggers",
            size=props.triggers,
            timeout=TRIGGERS_TIMEOUT,
            environment=advancing,
            statements=self._permissions.triggers(self.worker, self.purger, *self.scripts.values()),
            loops=True,
        )
        self.api = self._function(
            "api",
            size=props.api,
            timeout=API_TIMEOUT,
            environment=platform
            | _callers(props, parts)
            | self._brings_events()
            | places
            | {"HEADRACE_PURGER_FUNCTION": self.purger.function_name},
            statements=[*self._permissions.api(self.purger), *self._permissions.bring_events(self.triggers)],
        )
        self._poll(self.executor, queues.mailbox, "Mailbox", props.executor_concurrency)
        # Without a maximum, Lambda polls an idle queue with two pollers instead of five, each of which is paid.
        self._poll(self.triggers, queues.delays, "Delays")
        self._poll(self.triggers, queues.mailbox_dead, "MailboxDead")
        self._poll(self.triggers, queues.delays_dead, "DelaysDead")
        # An attempt is never run again by Lambda: what became of it, `triggers` finds out from the failure record.
        self._on_failure(self.worker, queues.delays, retries=0)
        self._on_failure(self.purger, queues.delays, retries=0)
        for script in self.scripts.values():
            self._on_failure(script, queues.delays, retries=0)
        self._on_failure(self.triggers, queues.delays_dead, retries=2)

    def _brings_events(self) -> dict[str, str]:
        """Let EventBridge call `triggers` by the rules of flows; return what the API, which keeps them, must know."""
        for number, arn in enumerate(self._permissions.rule_arns):
            self.triggers.add_permission(
                f"Rules{number}", principal=iam.ServicePrincipal("events.amazonaws.com"), source_arn=arn
            )
        parts = self._parts
        return {
            "HEADRACE_BUS": parts.bus.event_bus_name,
            "HEADRACE_TRIGGERS_FUNCTION": self.triggers.function_arn,
            "HEADRACE_SCHEDULE_GROUP": parts.schedule_group.ref,
            "HEADRACE_RULE_PREFIX": parts.rule_prefix,
            "HEADRACE_EVENT_BUSES": " ".join(parts.event_buses),
            "HEADRACE_WATCHED_BUCKETS": " ".join(parts.watched_buckets),
        }

    def _containers(self) -> dict[str, str]:
        """Return what functions must know that start containers, or answer them."""
        containers = self._parts.containers
        if containers is None:
            return {}
        return {"HEADRACE_CONTAINERS": Stack.of(self).to_json_string(containers.settings)}

    def _namespaces(self) -> dict[str, str]:
        """Return what holds in namespaces, and the roles that scripts may be given."""
        props, known = self._props, {}
        if props.namespaces:
            known["HEADRACE_NAMESPACES"] = json.dumps(props.namespaces, sort_keys=True, separators=(",", ":"))
        if props.task_roles:
            known["HEADRACE_TASK_ROLES"] = " ".join(props.task_roles)
        return known

    def _plugin_defaults(self) -> dict[str, str]:
        """Return what tasks have that say nothing else, as a flow has it in its `pluginDefaults`."""
        known = [{"type": type_, "values": dict(values)} for type_, values in self._props.plugin_defaults.items()]
        return {"HEADRACE_PLUGIN_DEFAULTS": json.dumps(known, separators=(",", ":"))} if known else {}

    def _script_functions(self) -> dict[str, str]:
        """Return the functions that run people's code, and how much memory each has."""
        names = {"SMALL": "", "MEDIUM": "_MEDIUM", "LARGE": "_LARGE"}
        memory = {size: chosen.memory for size, (_, chosen) in _sizes(self._props).items() if chosen.memory}
        return {
            **{f"HEADRACE_SCRIPT_FUNCTION{names[size]}": each.function_name for size, each in self.scripts.items()},
            "HEADRACE_SCRIPT_MEMORY": json.dumps(memory, separators=(",", ":")),
        }

    def _programs(self) -> lambda_.LayerVersion:
        """Return the layer with the programs that people's code calls."""
        props = self._props
        if props.bundle:
            code = lambda_.Code.from_asset(str(self._bundler.build(Bundle.PROGRAMS)))
        else:
            code = lambda_.Code.from_asset(str(Path(__file__).parent), exclude=["*", "!py.typed"])
        return lambda_.LayerVersion(
            self,
            "Programs",
            description=f"Headrace {self._parts.name}: Node.js and uv, for people's code",
            code=code,
            compatible_architectures=[props.architecture],
        )

    def connect(self, api_url: str) -> None:
        """Tell `script` where files are asked for, and the others where people find the pages."""
        for function in (*self.scripts.values(), self.executor, self.triggers, self.api):
            function.add_environment("HEADRACE_API_URL", api_url)

    @property
    def all(self) -> Sequence[lambda_.Function]:
        """Every function."""
        return self.executor, self.triggers, self.worker, self.purger, *self.scripts.values(), self.api

    def _function(
        self,
        name: str,
        *,
        size: FunctionProps,
        timeout: Duration,
        environment: Mapping[str, str],
        statements: Sequence[iam.PolicyStatement],
        bundle: Bundle = Bundle.PLATFORM,
        module: str = "",
        layers: Sequence[lambda_.ILayerVersion] = (),
        loops: bool = False,
    ) -> lambda_.Function:
        props = self._props
        title = "".join(word.capitalize() for word in name.split("-"))
        log_group = logs.LogGroup(
            self, f"{title}Logs", retention=props.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            f"{title}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Headrace {self._parts.name}: what {name} may do",
        )
        for statement in statements:
            role.add_to_policy(statement)
            self._explain(role, statement)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn]
            )
        )
        function = lambda_.Function(
            self,
            title,
            description=f"Headrace {self._parts.name}: {name}",
            runtime=self._runtime,
            architecture=props.architecture,
            handler=f"headrace_functions.{module or name}.handler",
            code=self._code(bundle),
            layers=list(layers),
            role=role.without_policy_updates(),
            timeout=timeout,
            memory_size=size.memory,
            ephemeral_storage_size=_SCRATCH if timeout is ATTEMPT_TIMEOUT else None,
            reserved_concurrent_executions=props.reserved(size),
            # Executor, worker and queue call each other in a circle, as they should: Lambda would stop it.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if loops else None,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if props.tracing else lambda_.Tracing.DISABLED,
            environment={
                **environment,
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": props.log_level,
                "POWERTOOLS_TRACE_DISABLED": "false" if props.tracing else "true",
            },
        )
        # The function must not start, nor a queue be polled for it, before the role may what it needs.
        function.node.add_dependency(role)
        self._trace(role)
        acknowledge(
            function,
            {"AwsSolutions-L1": "The runtime is a choice (`python_version`); the libraries are packed for it."},
        )
        return function

    def _explain(self, role: iam.Role, statement: iam.PolicyStatement) -> None:
        reasons = self._permissions.wildcards
        stack = Stack.of(self)
        for resource in statement.resources:
            if resource in reasons:
                acknowledge(role, {wildcard(stack, resource): reasons[resource]})

    def _trace(self, role: iam.Role) -> None:
        if self._props.tracing:
            role.add_to_policy(
                iam.PolicyStatement(actions=["xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources=["*"])
            )
            acknowledge(role, {"AwsSolutions-IAM5[Resource::*]": "X-Ray's actions know no resources."})

    def _code(self, bundle: Bundle) -> lambda_.Code:
        if self._props.bundle:
            return lambda_.Code.from_asset(str(self._bundler.build(bundle)))
        return lambda_.Code.from_inline(f'"""Nothing is packed here: the bundle would be {bundle.value}."""\n')

    def _poll(
        self, function: lambda_.Function, queue: sqs.IQueue, id_: str, max_concurrency: int | None = None
    ) -> None:
        lambda_.EventSourceMapping(
            self,
            f"{id_}To{function.node.id}",
            target=function,
            event_source_arn=queue.queue_arn,
            batch_size=_BATCH,
            max_concurrency=max_concurrency,
            report_batch_item_failures=True,
        )

    def _on_failure(self, function: lambda_.Function, queue: sqs.IQueue, retries: int) -> None:
        """Have Lambda put the record of an asynchronous invocation that failed into *queue*."""
        lambda_.CfnEventInvokeConfig(
            self,
            f"{function.node.id}Failures",
            function_name=function.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=retries,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=queue.queue_arn)
            ),
        )


def _sizes(props: HeadraceProps) -> Mapping[str, tuple[str, FunctionProps]]:
    """Return the name and the size of each function that runs people's code, by `headrace_runners.placing.Size`."""
    return {
        "SMALL": ("script", props.script),
        "MEDIUM": ("script-medium", props.script_medium),
        "LARGE": ("script-large", props.script_large),
    }


def _callers(props: HeadraceProps, parts: Parts) -> dict[str, str]:
    """Return what the API must know of who calls it."""
    known = {}
    if parts.keys.first_admin:
        known["HEADRACE_FIRST_ADMIN"] = "true"
    if props.authorization == "jwt":
        known["HEADRACE_CALLERS"] = json.dumps(
            {"name": props.jwt_name_claim, "roles": props.jwt_roles_claim, "grants": props.grants_of_groups}
        )
    if props.cors_origins:
        known["HEADRACE_ORIGINS"] = " ".join(props.cors_origins)
    return known
