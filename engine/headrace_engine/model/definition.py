"""A flow as the engine runs it: compiled from its source, defaults merged, everything checked.

The language package makes these from YAML; the core reads nothing else. All of it is immutable and
holds raw (unrendered) expressions as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import TriggerDefinition

LOST_IN_A_ROW = 3
"""After so many lost attempts in a row a task run fails, unless its task says otherwise (DESIGN §3.6)."""


class Kind(StrEnum):
    """What a task is to the engine: where it runs, or how it steers other tasks."""

    INLINE = "INLINE"
    """Pure and cheap; runs inside the executor and shares one append (DESIGN §3.7)."""
    LIGHT = "LIGHT"
    """One bounded call to the outside, run by the executor under a lease, one append each."""
    DISPATCHED = "DISPATCHED"
    """People's code, heavy or long work: goes to a worker."""
    SLEEP = "SLEEP"
    """Waits for its `duration` and holds nothing but a timer."""

    SEQUENTIAL = "SEQUENTIAL"
    PARALLEL = "PARALLEL"
    DAG = "DAG"
    IF = "IF"
    SWITCH = "SWITCH"
    FOR_EACH = "FOR_EACH"
    EACH_PARALLEL = "EACH_PARALLEL"
    """The deprecated EachParallel: every task of every value side by side."""
    ALLOW_FAILURE = "ALLOW_FAILURE"
    WORKING_DIRECTORY = "WORKING_DIRECTORY"

    PAUSE = "PAUSE"
    """Waits for a person, or for some time; then runs its tasks, if it has any."""
    LOOP_UNTIL = "LOOP_UNTIL"
    """Runs its tasks again and again until its condition holds."""
    SUBFLOW = "SUBFLOW"
    """Starts an execution of another flow, and may wait for its end."""
    ITEMS = "ITEMS"
    """The middle of a ForEachItem: starts an execution of another flow for each part of a file."""

    UNSUPPORTED = "UNSUPPORTED"
    """Parsed and checked, but this version refuses to run it; TaskDefinition.unsupported says why."""

    @property
    def is_runnable(self) -> bool:
        """True for a task that does work itself; false for one that steers others."""
        return self in (Kind.INLINE, Kind.LIGHT, Kind.DISPATCHED, Kind.SLEEP)

    @property
    def is_flowable(self) -> bool:
        """True for a task that steers others from within the execution: no worker, no other execution has a part."""
        return not self.is_runnable and self not in (Kind.WORKING_DIRECTORY, Kind.SUBFLOW, Kind.ITEMS)


class RetryKind(StrEnum):
    """How the wait before the next attempt grows (reference §5.1)."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    RANDOM = "random"


class RetryBehavior(StrEnum):
    """What is tried again: the task run, or everything in a new execution."""

    RETRY_FAILED_TASK = "RETRY_FAILED_TASK"
    CREATE_NEW_EXECUTION = "CREATE_NEW_EXECUTION"


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy. max_attempts counts the first attempt too; None is unlimited."""

    kind: RetryKind
    interval: timedelta = timedelta(0)
    """constant: the wait; exponential: the first wait; random: the shortest wait."""
    max_interval: timedelta | None = None
    """exponential: the cap; random: the longest wait (excluded)."""
    delay_factor: float = 2.0
    max_attempts: int | None = None
    max_duration: timedelta | None = None
    """No attempt starts later than the first attempt's start plus this."""
    warning_on_retry: bool = False
    behavior: RetryBehavior = RetryBehavior.RETRY_FAILED_TASK


@dataclass(frozen=True, slots=True)
class TaskCache:
    """Outputs are reused, for so long; None is for good (reference §2.1)."""

    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One task of a flow, with pluginDefaults merged in.

    branches holds a flowable's task lists by name: ``tasks``, ``then``, ``else``, ``cases.<text>``,
    ``defaults``, ``errors``, ``finally``. A branch that is not given is absent.
    """

    id: str
    type: str
    """The full canonical type name, aliases resolved."""
    kind: Kind
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What the task's own class reads, unrendered; the common properties below are not in it."""
    disabled: bool = False
    run_if: str | None = None
    allow_failure: bool = False
    allow_warning: bool = False
    timeout: str | None = None
    """ISO-8601 duration or an expression that gives one."""
    retry: Retry | None = None
    log_level: str | None = None
    resubmits: int = LOST_IN_A_ROW - 1
    """How often in a row a lost attempt begins again; 0 (``resubmit: NEVER``): the first loss fails the task run."""
    cache: TaskCache | None = None
    """Whether the outputs of an earlier run with the same rendered properties may stand in for this one."""
    branches: Mapping[str, tuple[TaskDefinition, ...]] = field(default_factory=dict)
    expression: str | None = None
    """If: condition; Switch: value."""
    inputs: tuple[InputDefinition, ...] = ()
    """Pause: what must be given to resume it."""
    values: Any = None
    """ForEach: a list, or text that renders to one."""
    concurrency: int = 0
    """Parallel, Dag, ForEach: how many children at once; 0 is no limit."""
    depends_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dag: task id to the ids it waits for."""
    unsupported: str | None = None
    """Why this version refuses to run it (kind UNSUPPORTED, or a property whose behaviour is not there yet)."""

    def branch(self, name: str) -> tuple[TaskDefinition, ...]:
        """Return the tasks of branch *name* that are not disabled."""
        return tuple(task for task in self.branches.get(name, ()) if not task.disabled)

    def walk(self) -> Iterator[TaskDefinition]:
        """Yield this task and every task below it, depth first."""
        yield self
        for tasks in self.branches.values():
            for task in tasks:
                yield from task.walk()


@dataclass(frozen=True, slots=True)
class InputDefinition:
    """An input of a flow. options holds the type's own properties (min, max, validator, values, …) and `prefill`."""

    id: str
    type: str
    required: bool = True
    defaults: Any = None
    has_defaults: bool = False
    display_name: str | None = None
    description: str | None = None
    depends_on: tuple[str, ...] = ()
    condition: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputDefinition:
    """An output of a flow, rendered when the execution ends."""

    id: str
    type: str
    value: Any
    required: bool = True
    description: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class LimitBehavior(StrEnum):
    """What becomes of an execution beyond the concurrency limit (reference §5.6)."""

    QUEUE = "QUEUE"
    CANCEL = "CANCEL"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many executions of a flow may go on at once."""

    limit: int
    behavior: LimitBehavior = LimitBehavior.QUEUE


class SlaBehavior(StrEnum):
    """What a broken SLA does to its execution (reference §5.7)."""

    FAIL = "FAIL"
    CANCEL = "CANCEL"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Sla:
    """A promise: a longest duration, or an expression that must hold whenever the execution changes."""

    id: str
    behavior: SlaBehavior
    duration: timedelta | None = None
    assertion: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


class CheckBehavior(StrEnum):
    """What a failed check does, the strongest first (reference §1)."""

    BLOCK_EXECUTION = "BLOCK_EXECUTION"
    FAIL_EXECUTION = "FAIL_EXECUTION"
    CREATE_EXECUTION = "CREATE_EXECUTION"


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on the inputs, looked at before an execution is created."""

    condition: str
    message: str
    style: str = "INFO"
    behavior: CheckBehavior = CheckBehavior.BLOCK_EXECUTION


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    """One revision of a flow, ready to run."""

    namespace: str
    id: str
    revision: int
    tasks: tuple[TaskDefinition, ...]
    errors: tuple[TaskDefinition, ...] = ()
    finally_: tuple[TaskDefinition, ...] = ()
    after_execution: tuple[TaskDefinition, ...] = ()
    inputs: tuple[InputDefinition, ...] = ()
    outputs: tuple[OutputDefinition, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    retry: Retry | None = None
    concurrency: Concurrency | None = None
    slas: tuple[Sla, ...] = ()
    checks: tuple[Check, ...] = ()
    triggers: tuple[TriggerDefinition, ...] = ()
    disabled: bool = False
    unsupported: tuple[str, ...] = ()
    """Properties that this version parses but refuses to run, each a sentence."""

    def branch(self, name: str) -> tuple[TaskDefinition, ...]:
        """Return a top-level task list (tasks, errors, finally, afterExecution) without its disabled tasks."""
        lists = {
            "tasks": self.tasks,
            "errors": self.errors,
            "finally": self.finally_,
            "afterExecution": self.after_execution,
        }
        return tuple(task for task in lists[name] if not task.disabled)

    def walk(self) -> Iterator[TaskDefinition]:
        """Yield every task of the flow, at every depth."""
        for tasks in (self.tasks, self.errors, self.finally_, self.after_execution):
            for task in tasks:
                yield from task.walk()


@dataclass(frozen=True, slots=True)
class TemplateDefinition:
    """Tasks that flows take over with a Template task."""

    namespace: str
    id: str
    tasks: tuple[TaskDefinition, ...]
    errors: tuple[TaskDefinition, ...] = ()
    finally_: tuple[TaskDefinition, ...] = ()
    description: str | None = None
