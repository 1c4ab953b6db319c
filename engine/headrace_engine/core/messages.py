"""What goes into an execution: messages from outside, and the answers to the questions `decide` asked."""

from __future__ import annotations

from collections.abc import Mapping

from headrace_engine.core.events import ExecutionCreated, Reopened, ReplyTo
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import AttemptResult, Payload
from headrace_engine.model.definition import Kind, LimitBehavior
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State

# -- Messages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Begin the execution; holds all that entry 0 needs. A replay brings task runs along, some to run again."""

    created: ExecutionCreated
    task_runs: tuple[TaskRun, ...] = ()
    reopened: Reopened | None = None


@dataclass(frozen=True, slots=True)
class AttemptReported:
    """An attempt ended, says whoever ran it (or whoever found it lost)."""

    task_run_id: str
    number: int
    result: AttemptResult
    finder: str | None = None
    """The executor that found a light attempt lost: the next one's lease is its own."""


@dataclass(frozen=True, slots=True)
class ItemReported:
    """The execution of part *index* of a ForEachItem ended, or could not begin (FAILED)."""

    task_run_id: str
    number: int
    index: int
    state: State


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer of the execution may be due; the key says which."""

    key: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop everything and end KILLED."""

    created: ExecutionCreated | None = None
    """From who started the execution: what creates it, KILLED at once, when this comes before its Create."""
    cascade: bool = True
    """Whether the executions it started are killed, too."""


@dataclass(frozen=True, slots=True)
class KillMore:
    """From the execution itself: of what it started and did not wait for, so many were asked to stop; go on there."""

    asked: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on: with the Pause named, or the first that waits, or the whole execution if it was held."""

    task_run_id: str | None = None
    to: State = State.RUNNING
    """RUNNING to go on as usual; WARNING, FAILED, CANCELLED or KILLED to end the Pause so."""
    outputs: Payload | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """Run again what failed, in an execution that ended or is paused."""

    reply_to: ReplyTo | None = None
    moves: int | None = None
    """How many states the execution had gone through when it was asked: coming twice, it counts once. None: any."""


@dataclass(frozen=True, slots=True)
class ChangeState:
    """Set the state of a task run by hand and go on from there; without one, only the execution's end state."""

    to: State
    task_run_id: str | None = None
    moves: int | None = None
    """As in Restart."""


@dataclass(frozen=True, slots=True)
class SetLabels:
    """Add labels to an execution that has ended, or override them."""

    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForceRun:
    """Run now, whether the execution waits for its date or its turn, or was held. Pauses are resumed by name."""


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """A concurrency slot is this execution's now."""

    seq: int | None = None
    """The entry since which it waited at the latest: coming late, it is not for a later wait. None: any."""


@dataclass(frozen=True, slots=True)
class SlaViolated:
    """An assertion of the flow's SLA does not hold."""

    id: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Start nothing new until Resume; what runs may end."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The engine cannot go on with this execution (a bug, a message that fails every time): end it, visibly."""

    reason: str


@dataclass(frozen=True, slots=True)
class Poke:
    """Look whether anything is left to do."""


Message = (
    Create
    | AttemptReported
    | ItemReported
    | TimerFired
    | Kill
    | KillMore
    | Resume
    | Restart
    | ChangeState
    | SetLabels
    | ForceRun
    | SlotGranted
    | SlaViolated
    | Hold
    | Abort
    | Poke
)

# -- Questions and answers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Ask for what this task run needs to go on: its runIf, and its properties, result, branch or values."""

    task_run_id: str


@dataclass(frozen=True, slots=True)
class RenderOutputs:
    """Ask for the flow's outputs; the execution will end in *to*."""

    to: State


@dataclass(frozen=True, slots=True)
class AskSlot:
    """Ask for a concurrency slot; with *force*, take one whatever the limit."""

    force: bool = False


Question = Prepare | RenderOutputs | AskSlot


@dataclass(frozen=True, slots=True)
class Skipped:
    """runIf is falsy."""

    task_run_id: str


@dataclass(frozen=True, slots=True)
class Unplannable:
    """runIf or a flowable's own expression cannot be evaluated; no attempt was made."""

    task_run_id: str
    error: str


@dataclass(frozen=True, slots=True)
class Ran:
    """An inline task ran, or a runnable's properties could not be rendered (a FAILED result)."""

    task_run_id: str
    result: AttemptResult


@dataclass(frozen=True, slots=True)
class Given:
    """The task run, of whatever kind, ends so without having run: a test's fixture stands in. No retry follows."""

    task_run_id: str
    result: AttemptResult


@dataclass(frozen=True, slots=True)
class JobReady:
    """A light or dispatched attempt can start."""

    task_run_id: str
    kind: Kind
    job: Payload
    owner: str | None = None
    lease_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Sleeps:
    """An attempt that only waits; afterwards it succeeds, or fails with *error* (its timeout is the shorter one)."""

    task_run_id: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pauses:
    """A Pause waits so long; None is until somebody resumes it. With is_timeout, it fails after that."""

    task_run_id: str
    seconds: float | None = None
    is_timeout: bool = False


@dataclass(frozen=True, slots=True)
class LoopChecked:
    """What a LoopUntil does after a round: it is done, has reached a maximum, or waits for the next."""

    task_run_id: str
    done: bool = False
    exceeded: str | None = None
    """Which maximum was reached, as an error text, when that fails the loop; empty when it just ends it."""
    seconds: float = 0.0
    next_outputs: Payload | None = None


@dataclass(frozen=True, slots=True)
class ChildReady:
    """A Subflow's execution can start."""

    task_run_id: str
    child_id: str
    created: ExecutionCreated
    wait: bool = True


@dataclass(frozen=True, slots=True)
class ItemsReady:
    """The executions of a ForEachItem can start: so many, so many at once, of this flow."""

    task_run_id: str
    total: int
    limit: int
    namespace: str
    flow_id: str
    revision: int
    folder: str
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """A flowable can open: its branch, its values, the outputs that record what was evaluated."""

    task_run_id: str
    branch: str = "tasks"
    values: tuple[str, ...] | None = None
    outputs: Payload | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """The flow's outputs, or why they cannot be rendered."""

    outputs: Payload | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """Whether the execution holds a slot now; if not, what the flow says becomes of it."""

    granted: bool
    behavior: LimitBehavior = LimitBehavior.QUEUE


Answer = (
    Slot
    | Skipped
    | Unplannable
    | Ran
    | Given
    | JobReady
    | Sleeps
    | Pauses
    | LoopChecked
    | ChildReady
    | ItemsReady
    | Opened
    | Outputs
)
