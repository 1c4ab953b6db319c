"""What goes into an execution: messages from outside, and the answers to the questions `decide` asked."""

from __future__ import annotations

from dataclasses import dataclass

from headrace_engine.core.events import ExecutionCreated
from headrace_engine.model.attempt import AttemptResult, Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State

# -- Messages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Begin the execution; holds all that entry 0 needs."""

    created: ExecutionCreated


@dataclass(frozen=True, slots=True)
class AttemptReported:
    """An attempt ended, says whoever ran it (or whoever found it lost)."""

    task_run_id: str
    number: int
    result: AttemptResult


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer of the execution may be due; the key says which."""

    key: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop everything and end KILLED."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The engine cannot go on with this execution (a bug, a message that fails every time): end it, visibly."""

    reason: str


@dataclass(frozen=True, slots=True)
class Poke:
    """Look whether anything is left to do."""


Message = Create | AttemptReported | TimerFired | Kill | Abort | Poke

# -- Questions and answers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Ask for what this task run needs to go on: its runIf, and its properties, result, branch or values."""

    task_run_id: str


@dataclass(frozen=True, slots=True)
class RenderOutputs:
    """Ask for the flow's outputs; the execution will end in *to*."""

    to: State


Question = Prepare | RenderOutputs


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


Answer = Skipped | Unplannable | Ran | JobReady | Sleeps | Opened | Outputs
