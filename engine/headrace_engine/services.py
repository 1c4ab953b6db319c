"""The ports an engine is built on, bundled once per process (house rule: clients are created once and passed in)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any

from headrace_engine.context import Surroundings
from headrace_engine.deletion import Deletes
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import CodePolicy
from headrace_engine.ports import (
    KV,
    Bus,
    Cipher,
    Claims,
    Clock,
    Dispatch,
    Executions,
    Flows,
    Journal,
    Logs,
    Mailbox,
    Metrics,
    Secrets,
    Slots,
    Storage,
    Timers,
    Triggers,
)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where things are kept."""

    clock: Clock
    journal: Journal
    flows: Flows
    templates: Flows
    """A store of its own, with the promises of flows."""
    executions: Executions
    kv: KV
    slots: Slots
    triggers: Triggers
    claims: Claims
    storage: Storage
    logs: Logs
    metrics: Metrics
    secrets: Secrets
    cipher: Cipher


@dataclass(frozen=True, slots=True)
class Channels:
    """How things are set going."""

    mailbox: Mailbox
    timers: Timers
    dispatch: Dispatch
    bus: Bus


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose."""

    surroundings: Surroundings = field(default_factory=Surroundings)
    plugin_defaults: tuple[Mapping[str, Any], ...] = ()
    lease_seconds: float = 15.0
    """How long an executor may take for a light task before the attempt may be declared lost."""
    questions_per_step: int = 500
    """After so many task runs a step is written, whatever is left to do."""
    bytes_per_step: int = 64 * 1024
    """After about so many bytes of outputs and jobs a step is written."""
    snapshot_entries: int = 64
    """The least number of entries between two snapshots of an execution."""
    job_inline_limit: int = 64 * 1024
    """Bytes above which a job goes to internal storage (DESIGN §3.8)."""
    output_inline_limit: int = 32 * 1024
    """Bytes above which outputs and inputs go to internal storage (DESIGN §3.10)."""
    subflow_depth: int = 20
    """How deep subflows may lie in each other."""
    flow_trigger_chain: int = 10
    """How many executions flow triggers may start in a chain, each heard of by the next."""
    items_at_once: int = 100
    """How many executions of one ForEachItem go on at once."""
    may_reach: Callable[[str, str], bool] = lambda _own, _other: True
    """Whether what runs in one namespace reaches secrets, keys, files and executions of another (Kestra's open
    version: all)."""
    kills_at_once: int = 200
    """How many executions that nobody waits for a kill reaches before it sends itself on to the next."""
    deletes: Deletes | None = None
    """Who deletes executions for the API, where its host may not write what they leave; None: it does so itself."""
    realtime_pause: timedelta = timedelta(minutes=1)
    """Between two looks into a queue whose messages start executions as they come."""
    queue_wait: timedelta = timedelta(seconds=1)
    """How long a look into a queue waits for the first message."""
    code: CodePolicy = field(default_factory=CodePolicy)
    """Where people's code may run."""
    http: Callable[[Mapping[str, Any]], Any] | None = None
    """What the expression function http() calls; None refuses it."""
