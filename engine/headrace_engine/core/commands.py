"""What must happen outside because of a state. Each command may be carried out again without harm."""

from __future__ import annotations

from datetime import datetime

from headrace_engine.core.events import ExecutionCreated, ReplyTo
from headrace_engine.model.attempt import Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Have a worker run the attempt (DISPATCHED), or run it here under its lease (LIGHT)."""

    task_run_id: str
    number: int
    kind: Kind
    job: Payload
    owner: str | None
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """Ask the attempt's worker to end it."""

    task_run_id: str
    number: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send a timer message with this key at or after *due*."""

    key: str
    due: datetime


@dataclass(frozen=True, slots=True)
class StartExecution:
    """Create another execution, under an id that follows from this one."""

    execution_id: str
    created: ExecutionCreated


@dataclass(frozen=True, slots=True)
class StartItems:
    """Create the executions of parts first…last-1 of a ForEachItem, under ids that follow from its task run."""

    task_run_id: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class KillExecution:
    """Ask a child execution to stop."""

    execution_id: str
    created: ExecutionCreated
    """Its first event: the message that would create it may come later."""


@dataclass(frozen=True, slots=True)
class KillItem:
    """Ask the execution for one part of a ForEachItem to stop."""

    execution_id: str
    task_run_id: str
    index: int


@dataclass(frozen=True, slots=True)
class KillStarted:
    """Ask all executions to stop that this one started and did not wait for; its journal knows them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Tell the task run that started this execution how it ended."""

    to: ReplyTo
    state: State


@dataclass(frozen=True, slots=True)
class JoinQueue:
    """Let the execution wait for a concurrency slot; and look whether one is free by now."""


@dataclass(frozen=True, slots=True)
class ReleaseSlot:
    """The execution needs its concurrency slot no more; give it to who waits longest."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Write the summary and tell the bus: the execution entered a state."""

    state: State
    number: int | None = None
    """The state's place in the execution's history; None when it did not change, and only the summary did."""


@dataclass(frozen=True, slots=True)
class ReleaseWorkspace:
    """The WorkingDirectory with this task run is done with its directory."""

    task_run_id: str


Command = (
    StartAttempt
    | StopAttempt
    | SetTimer
    | StartExecution
    | StartItems
    | KillExecution
    | KillItem
    | KillStarted
    | Reply
    | JoinQueue
    | ReleaseSlot
    | Announce
    | ReleaseWorkspace
)
