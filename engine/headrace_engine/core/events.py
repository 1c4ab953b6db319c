"""What an execution decided, as its journal keeps it: facts, written once, never changed.

Events are small on purpose: what follows from the flow or from earlier events is not repeated. Task runs made
together are one event, and their ids follow from the entry (DESIGN §3.4), so a fan-out of a thousand costs what
one of ten does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State

ROOT = ""
"""The scope id of the execution itself, where a flowable's is its task run's id."""


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """The task run that waits for an execution's end, and what it wants to hear."""

    execution_id: str
    task_run_id: str
    number: int
    transmit_failed: bool = True
    outputs: Mapping[str, Any] | None = None
    """The deprecated `outputs` of a Subflow: rendered in the child's context at its end."""
    index: int | None = None
    """The number of the part the execution works on, when a ForEachItem started it."""
    folder: str | None = None
    """ForEachItem: the URI of the folder where the execution's outputs are put, as ``<index>.ion``."""


@dataclass(frozen=True, slots=True)
class ExecutionCreated:
    """Entry 0's first event: all that the execution was given."""

    namespace: str
    flow_id: str
    flow_revision: int
    inputs: Payload
    labels: tuple[tuple[str, str], ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    trigger: Mapping[str, Any] | None = None
    parent_id: str | None = None
    original_id: str | None = None
    attempt_number: int = 1
    original_created: datetime | None = None
    start_at: datetime | None = None
    """Do nothing before this instant."""
    reply_to: ReplyTo | None = None
    refused: str | None = None
    """Why it fails at once: a check with behavior FAIL_EXECUTION."""
    depth: int = 0
    """How many subflows deep it lies."""

    def is_called_after(self, other: ExecutionCreated | None) -> bool:
        """True when a later attempt of the same task run asks for the execution than asked in *other*."""
        asked = self.reply_to
        before = other.reply_to if other is not None else None
        return asked is not None and before is not None and asked.number > before.number

    chain: int = 0
    """How many flow triggers led to it, one after the other."""
    trigger_outputs: Payload | None = None
    """`trigger.outputs`: those of the execution that a flow trigger heard of."""
    trigger_variables: Payload | None = None
    """`trigger`, when it is too large to stand in the journal."""
    templates: tuple[tuple[str, str, int], ...] = ()
    """The templates that its flow took over when it was created: namespace, id, revision."""


@dataclass(frozen=True, slots=True)
class ExecutionMoved:
    """The execution entered a state."""

    to: State
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    """A scope began one of its task lists: tasks, errors, finally, afterExecution.

    A WorkingDirectory's `collect` is a job of its own after its tasks, in the place of a list.
    """

    scope_id: str
    phase: str


@dataclass(frozen=True, slots=True)
class FlowableOpened:
    """A flowable's expression was evaluated, once: which branch it takes, or over which values it goes."""

    task_run_id: str
    branch: str
    values: tuple[str, ...] | None = None
    outputs: Payload | None = None


@dataclass(frozen=True, slots=True)
class TaskRunsCreated:
    """Task runs for lanes first…last-1 of a scope's phase, each of the task at *position* in its lane."""

    scope_id: str
    phase: str
    first: int
    last: int
    position: int = 0


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An attempt of a light or dispatched task began; the task run is RUNNING."""

    task_run_id: str
    number: int
    kind: Kind
    job: Payload
    owner: str | None = None
    """Light: the invocation that holds the lease."""
    deadline: datetime | None = None
    """Light: when the lease ends."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended in SUCCESS, WARNING, FAILED, KILLED or RESUBMITTED (lost).

    For an inline task, which starts and ends within a step, this is the only event of its attempt.
    """

    task_run_id: str
    number: int
    state: State
    started: datetime
    ended: datetime
    outputs: Payload | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRunMoved:
    """A task run entered a state."""

    task_run_id: str
    to: State
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The task run's next attempt is due then."""

    task_run_id: str
    due: datetime


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A Subflow began an execution; the attempt is open until that ends, or ends at once without `wait`."""

    task_run_id: str
    number: int
    child_id: str
    created: ExecutionCreated


@dataclass(frozen=True, slots=True)
class ItemsStarted:
    """A ForEachItem begins an execution for each of *total* parts; the attempt is open until all have ended."""

    task_run_id: str
    number: int
    total: int
    limit: int
    """How many may go on at once."""
    namespace: str
    flow_id: str
    revision: int
    folder: str
    """Where the executions put their outputs."""
    wait: bool = True
    generation: int = 0
    """The attempt whose executions these are: a later one goes on with them, or starts new ones."""


@dataclass(frozen=True, slots=True)
class ItemsLaunched:
    """The executions of parts first…last-1 begin."""

    task_run_id: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """The execution of one part ended."""

    task_run_id: str
    index: int
    state: State


@dataclass(frozen=True, slots=True)
class PauseBegan:
    """A Pause task waits: for a person, or until *due*, when it goes on (or fails, if that is its timeout)."""

    task_run_id: str
    due: datetime | None = None
    is_timeout: bool = False


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """The Pause goes on; outputs are what the person gave."""

    task_run_id: str
    outputs: Payload | None = None


@dataclass(frozen=True, slots=True)
class LoopWaits:
    """A LoopUntil waits for its next round."""

    task_run_id: str
    due: datetime


@dataclass(frozen=True, slots=True)
class RoundBegan:
    """A LoopUntil begins its next round: the task runs of the one before are gone."""

    task_run_id: str
    outputs: Payload


@dataclass(frozen=True, slots=True)
class ScopeFailed:
    """A flowable failed for a reason of its own, not a child's."""

    task_run_id: str
    error: str


@dataclass(frozen=True, slots=True)
class SlotAsked:
    """The execution may not go on before it holds a concurrency slot."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class SlotLeft:
    """All of it waits for its next attempts: it gives its concurrency slot back until one is due."""


@dataclass(frozen=True, slots=True)
class SlaBroken:
    """An SLA was broken; once for each."""

    id: str


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing new starts until the execution is resumed; what runs may end."""

    held: bool


@dataclass(frozen=True, slots=True)
class LabelsSet:
    """Labels were added or overridden."""

    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VariablesSet:
    """The execution's variables changed: unset first, then merged."""

    variables: Mapping[str, Any]
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reopened:
    """A restart: these task runs run again, these flowables are open again, these task runs are gone."""

    restarted: tuple[str, ...]
    reopened: tuple[str, ...]
    removed: tuple[str, ...]
    reply_to: ReplyTo | None = None
    """Who waits for the end now, if somebody does."""
    begins_at: str | None = None
    """Replay: the flowable among those that run again which is RUNNING at once (reference §5.3)."""


@dataclass(frozen=True, slots=True)
class CalledAgain:
    """A later attempt of the task run that started this execution waits for its end now."""

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class StateSet:
    """A person set the state of a task run that had ended, or was paused."""

    task_run_id: str
    to: State


@dataclass(frozen=True, slots=True)
class Replayed:
    """The execution begins with these task runs of another one."""

    task_runs: tuple[TaskRun, ...]


@dataclass(frozen=True, slots=True)
class WindingDown:
    """Nothing new starts any more; the execution will end in this state (kill: KILLED; Exit: what it says)."""

    to: State
    error: str | None = None
    cascade: bool = False
    """A kill that reaches the executions that this one started and did not wait for, too."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A new execution takes over at *due* (retry behavior CREATE_NEW_EXECUTION)."""

    by: str
    due: datetime


@dataclass(frozen=True, slots=True)
class Finishing:
    """All tasks are done and the end state is known; the flow's outputs are still to be rendered."""

    to: State


@dataclass(frozen=True, slots=True)
class OutputsRendered:
    """The flow's outputs."""

    outputs: Payload | None


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing is left to do, afterExecution included."""


Event = (
    ExecutionCreated
    | ExecutionMoved
    | PhaseEntered
    | FlowableOpened
    | TaskRunsCreated
    | AttemptStarted
    | AttemptEnded
    | TaskRunMoved
    | RetryScheduled
    | ChildStarted
    | ItemsStarted
    | ItemsLaunched
    | ItemEnded
    | PauseBegan
    | PauseEnded
    | LoopWaits
    | RoundBegan
    | ScopeFailed
    | SlotAsked
    | SlotLeft
    | SlaBroken
    | Held
    | LabelsSet
    | VariablesSet
    | Reopened
    | CalledAgain
    | Replayed
    | StateSet
    | WindingDown
    | Replaced
    | Finishing
    | OutputsRendered
    | Closed
)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log line of a task that ran inside the executor; it lies in the entry so that a crash cannot lose it."""

    timestamp: datetime
    level: str
    message: str
    task_run_id: str | None = None
    attempt: int | None = None
    task_id: str | None = None
    """Of the task run; a later state may not know that any more (a round of a loop that is over)."""


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """A metric of a task that ran inside the executor; a timer's value is in seconds."""

    task_run_id: str
    kind: str
    name: str
    value: float
    timestamp: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    task_id: str = ""
    """As in LogRecord."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step: everything that was decided because of one message."""

    seq: int
    at: datetime
    events: tuple[Event, ...]
    issued_through: int = -1
    """The watermark: the commands of entries up to this one are known to be out (DESIGN §3.3)."""
    logs: tuple[LogRecord, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()
    kept_through: int | None = None
    """The log lines and metrics of entries up to this one are known to be where they are read; None: issued_through."""
