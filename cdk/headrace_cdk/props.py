"""What may be chosen when Headrace is deployed, and what holds when nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from aws_cdk import RemovalPolicy, Token, aws_kms, aws_lambda, aws_logs
from constructs import Node

from headrace_cdk.bundle import Target

CONTEXT = "headrace:"
"""What the names of our context values begin with: ``cdk deploy -c headrace:name=test``."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_VAULTS = ("ssm", "secretsmanager")
_AUTHORIZATIONS = ("headrace", "jwt", "iam")
_ROLES = ("viewer", "editor", "operator", "admin")
"""`headrace_engine.identity.GIVEN`, which this package does not import."""
_GRANT = re.compile(rf"[^=,\s][^=,]*=(?:{'|'.join(_ROLES)})(?:@[A-Za-z0-9][A-Za-z0-9._-]*)?")
_ISOLATIONS = ("none", "container")
_LONGEST_RULES = 1500
"""Characters of the rules of namespaces and of plugin defaults: all variables of a function have 4 KB together."""
_PYTHON = re.compile(r"3\.(1[2-9]|[2-9]\d)")
_ARCHITECTURES = {"arm64": aws_lambda.Architecture.ARM_64, "x86_64": aws_lambda.Architecture.X86_64}
_RETENTIONS = {
    7: aws_logs.RetentionDays.ONE_WEEK,
    14: aws_logs.RetentionDays.TWO_WEEKS,
    30: aws_logs.RetentionDays.ONE_MONTH,
    90: aws_logs.RetentionDays.THREE_MONTHS,
    180: aws_logs.RetentionDays.SIX_MONTHS,
    365: aws_logs.RetentionDays.ONE_YEAR,
}


STAGER = "public.ecr.aws/docker/library/python@sha256:4c47124a8391cb7a9f571164147d154777cf012a4ece5f86097130d7a4478111"
"""Docker's official ``python:3.12-alpine``, for amd64 and arm64, out of Amazon's public registry."""
_PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")
_JOB_QUEUE = re.compile(r"(?:arn:[a-z-]+:batch:[a-z0-9-]+:\d{12}:job-queue/)?[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CPU = (256, 512, 1024, 2048, 4096, 8192, 16384)


class PropsError(ValueError):
    """A property or context value cannot be used; the message says what can."""


@dataclass(frozen=True, slots=True)
class FunctionProps:
    """The size of a Lambda function."""

    memory: int
    """MB; a function has one CPU from 1,769 MB on, and its share of one below."""
    reserved_concurrency: int | None = None
    """How many run at once at most, taken out of the account's quota. None shares what nobody reserved."""


@dataclass(frozen=True)
class HeadraceProps:
    """The choices. `from_context` reads those that are plain values from the CDK's context."""

    name: str = ""
    """Tells deployments in one account apart; the stack's name, when empty."""
    architecture: aws_lambda.Architecture = aws_lambda.Architecture.ARM_64
    python_version: str = "3.13"
    """Of the functions' runtime, for which the code is packed."""
    removal_policy: RemovalPolicy = RemovalPolicy.RETAIN
    """Of what holds state: table, bucket, key and secret. With RETAIN, the table is also protected from deletion."""
    encryption_key: aws_kms.IKey | None = None
    """A key of yours for table, bucket, queues and secret, and to seal values with. Without one, AWS's own keys
    encrypt what is stored, at no cost, and a key of the stack seals."""
    executor: FunctionProps = FunctionProps(1024)
    executor_concurrency: int = 50
    """How many batches of the mailbox are handled at once at most, 2 to 1,000."""
    triggers: FunctionProps = FunctionProps(1024)
    worker: FunctionProps = FunctionProps(1769, 100)
    script: FunctionProps = FunctionProps(1769, 100)
    """Runs people's code that asks for no more memory, or for ``SMALL``."""
    script_medium: FunctionProps = FunctionProps(3008, 30)
    """``MEDIUM``. With a memory of 0 there is no such function, as for the large one: what asks for it then runs on
    Fargate."""
    script_large: FunctionProps = FunctionProps(10240, 10)
    """``LARGE``. Accounts whose quota of memory is that of a new one, 3,008 MB, must say less or 0."""
    api: FunctionProps = FunctionProps(1024, 20)
    reserve_concurrency: bool = True
    """Whether the functions' `reserved_concurrency` counts. An account whose quota is new and small must say no: AWS
    refuses to leave fewer than 100 unreserved."""
    authorization: str = "headrace"
    """Who tells the API who calls: ``headrace`` itself, by passwords and tokens; ``jwt``, tokens of an OIDC issuer
    such as Cognito, which API Gateway verifies; or ``iam``, signatures of AWS, whose senders are admins."""
    first_admin: bool = True
    """Whether a user ``admin`` is let in, to make the first users with: by a password that follows from the secret
    with the signing keys."""
    jwt_issuer: str = ""
    """With ``jwt``: ``https://cognito-idp.<region>.amazonaws.com/<pool>``, or another issuer."""
    jwt_audience: tuple[str, ...] = ()
    """With ``jwt``: the ids of the clients whose tokens count."""
    jwt_name_claim: str = "sub"
    """With ``jwt``: the claim that names a person, in the audit too."""
    jwt_roles_claim: str = "cognito:groups"
    """With ``jwt``: the claim that lists a person's groups."""
    jwt_grants: tuple[str, ...] = ()
    """With ``jwt``: what groups may, as ``platform=admin`` or ``team-a=editor@company.a``; a group may stand there
    several times."""
    cors_origins: tuple[str, ...] = ()
    """Web origins whose pages may call the API."""
    requests_per_second: int = 50
    """What the API takes in the long run; as much again at once."""
    watched_buckets: tuple[str, ...] = ()
    """Buckets whose new files start flows. Each must send its events to EventBridge."""
    event_buses: tuple[str, ...] = ()
    """Event buses, besides the stack's own, whose events flows may wait for: ``default``, or names."""
    polled_queues: tuple[str, ...] = ()
    """SQS queues of the stack's account and region, by name, whose messages start flows."""
    vault: str = "ssm"
    """Where people's secrets are: ``ssm``, Parameter Store, which is free; or ``secretsmanager``, which can rotate."""
    containers: bool = True
    """Whether task runs may be containers, on ECS Fargate and AWS Batch; nothing of it is paid while none runs."""
    container_subnets: tuple[str, ...] = ()
    """Subnets for containers, from which they reach the API, S3 and registries. Without any, a network of the stack's
    own is made: two public subnets, and nothing that is paid."""
    container_security_groups: tuple[str, ...] = ()
    """With `container_subnets`: the security groups of containers, which must let them out on port 443."""
    container_public_ip: bool = True
    """Whether a container gets a public address; not in private subnets, which have a NAT."""
    container_architecture: aws_lambda.Architecture = aws_lambda.Architecture.X86_64
    """What images are for that say nothing else. Fargate on arm64 costs a fifth less."""
    container_cpu: int = 1024
    """Units of a container that asks for none: 1,024 are one CPU."""
    container_memory: int = 2048
    """MB of a container that asks for none."""
    container_vcpus: int = 256
    """CPUs that the jobs of a Batch queue have together at most; more wait."""
    job_queues: tuple[str, ...] = ()
    """Job queues of AWS Batch, besides the stack's own, that flows may name in ``jobQueueArn``: names, for those of the
    stack's account and region, or ARNs."""
    stager: str = STAGER
    """The image with Python 3.9 or newer that brings files into containers, and out of them."""
    task_roles: tuple[str, ...] = ()
    """ARNs of the roles that flows and namespaces may name for people's code, or patterns of them."""
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What holds in namespaces and below them, as ``{"company.pay": {"isolation": "container", "taskRole": "arn:…"}}``:
    whether scripts run in containers only (``none`` takes that back), and the role that scripts are given."""
    plugin_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Properties that all tasks, triggers and task runners have that say nothing else, by type or package, as
    ``{"io.headrace.runner.ecs.Fargate": {"spot": True}}``; the ``pluginDefaults`` of a flow come first."""
    log_level: str = "WARNING"
    log_retention_days: int = 30
    tracing: bool = False
    """Whether the functions send traces to X-Ray."""
    dashboard: bool = True
    alarm_email: str = ""
    """Who is told when an alarm rings; must confirm the subscription."""
    plugins: tuple[str, ...] = ()
    """Packages with more task types, as pip takes them, to pack with the functions."""
    bundle: bool = True
    """Whether the functions' code is packed. Without it the template is the same but for the code: for tests."""
    bundle_cache: Path = field(default_factory=lambda: Path.home() / ".cache" / "headrace" / "bundles")

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise PropsError(f"The name {self.name!r} must be a letter, then letters, digits and hyphens, 64 at most")
        if not _PYTHON.fullmatch(self.python_version):
            raise PropsError(f"python_version is {self.python_version!r}; use 3.12 or newer, such as 3.13")
        if not 2 <= self.executor_concurrency <= 1000:
            raise PropsError(f"executor_concurrency is {self.executor_concurrency}; AWS takes 2 to 1,000")
        if self.log_retention_days not in _RETENTIONS:
            raise PropsError(f"log_retention_days is {self.log_retention_days}; use one of {_listed(_RETENTIONS)}")
        if self.requests_per_second < 1:
            raise PropsError(f"requests_per_second is {self.requests_per_second}; it must be 1 or more")
        if self.vault not in _VAULTS:
            raise PropsError(f"vault is {self.vault!r}; use one of {_listed(_VAULTS)}")
        self._check_containers()
        self._check_namespaces()
        self._check_callers()

    def _check_namespaces(self) -> None:
        for namespace, rule in self.namespaces.items():
            if unknown := set(rule) - {"isolation", "taskRole"}:
                raise PropsError(f"namespaces: {namespace} has no {_listed(sorted(unknown))}; use isolation, taskRole")
            if rule.get("isolation", "none") not in _ISOLATIONS:
                raise PropsError(f"namespaces: the isolation of {namespace} is one of {_listed(_ISOLATIONS)}")
            if rule.get("isolation") == "container" and not self.containers:
                raise PropsError(f"namespaces: {namespace} asks for containers, and containers is false")
            role = rule.get("taskRole", "")
            if role and not any(fnmatchcase(role, pattern) for pattern in self.task_roles):
                raise PropsError(f"namespaces: the role {role} of {namespace} is none of task_roles")
        if len(json.dumps(self.namespaces)) > _LONGEST_RULES:
            raise PropsError(
                f"namespaces has more than {_LONGEST_RULES} characters; a rule of a namespace holds below it, too"
            )
        if len(json.dumps([self.namespaces, self.plugin_defaults])) > _LONGEST_RULES:
            raise PropsError(
                f"namespaces and plugin_defaults have more than {_LONGEST_RULES} characters; a default of a package is "
                "for all types in it"
            )

    def _check_containers(self) -> None:
        if bool(self.container_subnets) is not bool(self.container_security_groups):
            raise PropsError("container_subnets and container_security_groups are given together, or neither")
        if self.container_cpu not in _CPU:
            raise PropsError(f"container_cpu is {self.container_cpu}; use one of {_listed(_CPU)}")
        if self.container_vcpus < 1:
            raise PropsError(f"container_vcpus is {self.container_vcpus}; it must be 1 or more")
        for queue in self.job_queues:
            if not Token.is_unresolved(queue) and not _JOB_QUEUE.fullmatch(queue):
                raise PropsError(f"job_queues has {queue!r}; name a job queue of AWS Batch, or give its ARN")
        if self.job_queues and not self.containers:
            raise PropsError("job_queues is for containers, and containers is false")
        if not _PINNED.search(self.stager):
            raise PropsError(f"stager is {self.stager!r}; name an image by its digest: registry/image@sha256:…")

    def _check_callers(self) -> None:
        if self.authorization not in _AUTHORIZATIONS:
            raise PropsError(f"authorization is {self.authorization!r}; use one of {_listed(_AUTHORIZATIONS)}")
        if self.authorization == "jwt":
            if not self.jwt_issuer.startswith("https://"):
                raise PropsError(f"jwt_issuer is {self.jwt_issuer!r}; it begins with https://")
            if not self.jwt_audience:
                raise PropsError("jwt_audience is empty: tokens for anybody would count; name your clients' ids")
            if not self.jwt_grants:
                raise PropsError("jwt_grants is empty: nobody would be let in; write for instance platform=admin")
        elif self.jwt_issuer or self.jwt_audience or self.jwt_grants:
            raise PropsError(f"jwt_… is for authorization jwt, and authorization is {self.authorization}")
        for text in self.jwt_grants:
            if not _GRANT.fullmatch(text):
                raise PropsError(
                    f"jwt_grants has {text!r}; write group=role or group=role@namespace, the role being one of "
                    f"{_listed(_ROLES)}"
                )

    @property
    def grants_of_groups(self) -> Mapping[str, list[str]]:
        """What each group may."""
        found: dict[str, list[str]] = {}
        for text in self.jwt_grants:
            group, _, grant = text.rpartition("=")
            found.setdefault(group, []).append(grant)
        return found

    @property
    def target(self) -> Target:
        """What the code is packed for."""
        return Target(self.python_version, self.architecture.name)

    @property
    def log_retention(self) -> aws_logs.RetentionDays:
        """How long CloudWatch keeps the functions' logs."""
        return _RETENTIONS[self.log_retention_days]

    def reserved(self, function: FunctionProps) -> int | None:
        """Return what *function* reserves."""
        return function.reserved_concurrency if self.reserve_concurrency else None

    @classmethod
    def from_context(cls, node: Node, base: Self | None = None) -> Self:
        """Return *base* with what the context of *node* says instead, under ``headrace:<propertyInCamelCase>``.

        Raises PropsError for a value that cannot be read, or a name that is none.
        """
        props = base if base is not None else cls()
        known = {CONTEXT + _camel(each.name): each.name for each in fields(cls)}
        given = {name: value for name, value in _context(node).items() if name.startswith(CONTEXT)}
        for name in given:
            if name not in known:
                raise PropsError(f"There is no context value {name}; use one of {_listed(sorted(known))}")
        changes = {known[name]: _read(name, value, getattr(props, known[name])) for name, value in given.items()}
        return replace(props, **changes)


def _context(node: Node) -> Mapping[str, Any]:
    context: Mapping[str, Any] = node.get_all_context()
    return context


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def _read(name: str, value: Any, default: Any) -> Any:
    """Return a context value, which the command line gives as text, as the type that *default* has."""
    match default:
        case bool():
            return _one_of(name, str(value).lower(), {"true": True, "false": False})
        case int():
            return _number(name, value)
        case str():
            return str(value)
        case tuple():
            return tuple(part for part in str(value).split(",") if part) if isinstance(value, str) else tuple(value)
        case Path():
            return Path(str(value))
        case Mapping() if name == f"{CONTEXT}pluginDefaults":
            return _objects(name, value, {"io.headrace.runner.ecs.Fargate": {"spot": True}})
        case Mapping():
            return _rules(name, value)
        case FunctionProps():
            return _function(name, value, default)
        case aws_lambda.Architecture():
            return _one_of(name, str(value), _ARCHITECTURES)
        case RemovalPolicy():
            return _one_of(name, str(value).lower(), {"retain": RemovalPolicy.RETAIN, "destroy": RemovalPolicy.DESTROY})
        case _:
            raise PropsError(f"{name} is no plain value; set it where HeadraceProps is made")


def _rules(name: str, value: Any) -> Mapping[str, Mapping[str, str]]:
    found = _objects(name, value, {"company.pay": {"isolation": "container"}})
    return {key: {str(what): str(says) for what, says in each.items()} for key, each in found.items()}


def _objects(name: str, value: Any, example: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found = _read_json(name, value)
    if not all(isinstance(each, Mapping) for each in found.values()):
        raise PropsError(f"{name} must hold objects, such as {json.dumps(example)}")
    return {str(key): dict(each) for key, each in found.items()}


def _read_json(name: str, value: Any) -> Mapping[str, Any]:
    """Return an object; the command line gives it as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise PropsError(f"{name} is not JSON: {value}") from None
    if not isinstance(value, Mapping):
        raise PropsError(f'{name} must be an object, such as {{"memory": 1024}}')
    return value


def _function(name: str, value: Any, default: FunctionProps) -> FunctionProps:
    value = _read_json(name, value)
    wanted = {"memory", "reservedConcurrency"}
    if unknown := set(value) - wanted:
        raise PropsError(f"{name} has no {_listed(sorted(unknown))}; use {_listed(sorted(wanted))}")
    reserved = value.get("reservedConcurrency", default.reserved_concurrency)
    return FunctionProps(
        _number(name, value.get("memory", default.memory)),
        # The CDK loses a null on the way, and no function is deployed to run zero times.
        _number(name, reserved or 0) or None,
    )


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise PropsError(f"{name} is {value!r}; it must be a whole number") from None


def _one_of(name: str, value: str, choices: Mapping[str, Any]) -> Any:
    try:
        return choices[value]
    except KeyError:
        raise PropsError(f"{name} is {value!r}; use {_listed(choices)}") from None
