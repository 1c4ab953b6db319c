"""What may be chosen when Headrace is deployed, and what holds when nothing is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from aws_cdk import RemovalPolicy, aws_kms, aws_lambda, aws_logs
from constructs import Node

from headrace_cdk.bundle import Target

CONTEXT = "headrace:"
"""What the names of our context values begin with: ``cdk deploy -c headrace:name=test``."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_AUTHORIZATIONS = ("headrace", "jwt", "iam")
_ROLES = ("viewer", "editor", "operator", "admin")
"""`headrace_engine.identity.GIVEN`, which this package does not import."""
_GRANT = re.compile(rf"[^=,\s][^=,]*=(?:{'|'.join(_ROLES)})(?:@[A-Za-z0-9][A-Za-z0-9._-]*)?")
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
    api: FunctionProps = FunctionProps(1024, 20)
    reserve_concurrency: bool = True
    """Whether the functions' `reserved_concurrency` counts. An account whose quota is new and small must say no: AWS
    refuses to leave fewer than 100 unreserved."""
    authorization: str = "headrace"
    """Who tells the API who calls: ``headrace`` itself, by passwords and tokens; ``jwt``, tokens of an OIDC issuer
    such as Cognito, which API Gateway verifies; or ``iam``, signatures of AWS, whose senders are admins."""
    first_admin: bool = True
    """Whether there is a secret with the password of a user ``admin``, to make the first users with."""
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
        self._check_callers()

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
        case FunctionProps():
            return _function(name, value, default)
        case aws_lambda.Architecture():
            return _one_of(name, str(value), _ARCHITECTURES)
        case RemovalPolicy():
            return _one_of(name, str(value).lower(), {"retain": RemovalPolicy.RETAIN, "destroy": RemovalPolicy.DESTROY})
        case _:
            raise PropsError(f"{name} is no plain value; set it where HeadraceProps is made")


def _function(name: str, value: Any, default: FunctionProps) -> FunctionProps:
    if not isinstance(value, Mapping):
        raise PropsError(f'{name} must be an object, such as {{"memory": 1024}}; set it in cdk.json')
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
