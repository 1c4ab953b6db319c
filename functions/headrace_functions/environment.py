"""What the functions are told by their environment variables. The CDK app sets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from headrace_engine.model.frozen import dataclass

ELSEWHERE = 75
"""The exit status of a sandbox that was given another namespace's attempt: it is to run in another one."""


class MissingVariableError(Exception):
    """A variable that a function needs is not set."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The stack's parts, by name. A function is given what it needs; what it has not is empty."""

    stack: str
    table: str
    bucket: str = ""
    mailbox_url: str = ""
    delays_url: str = ""
    delays_arn: str = ""
    worker_function: str = ""
    purger_function: str = ""
    script_function: str = ""
    """The smallest that runs people's code."""
    script_function_medium: str = ""
    script_function_large: str = ""
    script_memory: str = ""
    """JSON: the MB of those functions by their size (`headrace_runners.placing.Size`)."""
    containers: str = ""
    """JSON: what containers are run with; empty in a stack without them."""
    namespaces: str = ""
    """JSON: what holds in namespaces (`headrace_runners.namespace_rules`)."""
    plugin_defaults: str = ""
    """JSON: what tasks have that say nothing else, as a flow has it in its `pluginDefaults`."""
    task_roles: tuple[str, ...] = ()
    """The roles that flows and namespaces may name, as patterns of their ARNs."""
    bus: str = ""
    secrets_prefix: str = ""
    vault: str = ""
    """Where people's secrets are: `secretsmanager`, or else Parameter Store."""
    signing_secret: str = ""
    key: str = ""
    """The KMS key that seals."""
    schedule_group: str = ""
    schedule_role: str = ""
    api_url: str = ""
    triggers_function: str = ""
    """The ARN of the function that events are brought to, for whoever saves flows."""
    rule_prefix: str = ""
    event_buses: tuple[str, ...] = ()
    """The buses, besides our own, whose events flows may want."""
    watched_buckets: tuple[str, ...] = ()
    """The buckets, besides our own, whose files flows may want."""
    first_admin: bool = False
    """Whether the first admin is let in, by the password that follows from the signing keys."""
    callers: str = ""
    """What the claims of a JWT mean (`headrace_functions.callers.Claims`); empty where nobody shows one."""
    origins: tuple[str, ...] = ()
    """The sites whose pages may call the API."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """All of them, for `envs` in expressions."""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Environment:
        """Read environment variables. Raises MissingVariableError when one that every function needs is missing."""

        def get(name: str) -> str:
            return variables.get(f"HEADRACE_{name}", "")

        for name in ("STACK", "TABLE"):
            if not get(name):
                raise MissingVariableError(f"The environment variable HEADRACE_{name} is not set")
        return cls(
            stack=get("STACK"),
            table=get("TABLE"),
            bucket=get("BUCKET"),
            mailbox_url=get("MAILBOX_URL"),
            delays_url=get("DELAYS_URL"),
            delays_arn=get("DELAYS_ARN"),
            worker_function=get("WORKER_FUNCTION"),
            purger_function=get("PURGER_FUNCTION"),
            script_function=get("SCRIPT_FUNCTION"),
            script_function_medium=get("SCRIPT_FUNCTION_MEDIUM"),
            script_function_large=get("SCRIPT_FUNCTION_LARGE"),
            script_memory=get("SCRIPT_MEMORY"),
            containers=get("CONTAINERS"),
            namespaces=get("NAMESPACES"),
            plugin_defaults=get("PLUGIN_DEFAULTS"),
            task_roles=tuple(get("TASK_ROLES").split()),
            bus=get("BUS"),
            secrets_prefix=get("SECRETS_PREFIX"),
            vault=get("VAULT"),
            signing_secret=get("SIGNING_SECRET"),
            key=get("KEY"),
            schedule_group=get("SCHEDULE_GROUP"),
            schedule_role=get("SCHEDULE_ROLE"),
            api_url=get("API_URL"),
            triggers_function=get("TRIGGERS_FUNCTION"),
            rule_prefix=get("RULE_PREFIX"),
            event_buses=tuple(get("EVENT_BUSES").split()),
            watched_buckets=tuple(get("WATCHED_BUCKETS").split()),
            first_admin=get("FIRST_ADMIN") == "true",
            callers=get("CALLERS"),
            origins=tuple(get("ORIGINS").split()),
            variables=dict(variables),
        )
