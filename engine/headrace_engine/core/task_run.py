"""One run of a task, with its attempts: what the state keeps, and what a replay copies."""

from __future__ import annotations

from datetime import datetime

from headrace_engine.model.attempt import Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State

Histories = tuple[tuple[State, datetime], ...]


@dataclass(frozen=True)
class Attempt:
    """A try of a task run. ended is None while it runs; job and lease matter only until then."""

    number: int
    state: State
    started: datetime
    ended: datetime | None = None
    kind: Kind = Kind.INLINE
    job: Payload | None = None
    owner: str | None = None
    deadline: datetime | None = None
    since: int = -1
    """The entry that started it."""
    child_id: str | None = None
    """Subflow: the execution it waits for."""


@dataclass(frozen=True)
class TaskRun:
    """One run of a task."""

    id: str
    task_id: str
    parent_id: str | None
    phase: str
    """The list of its scope it belongs to: tasks, errors, finally, afterExecution."""
    lane: int
    position: int
    order: int
    """Its place in the execution's task runs."""
    value: str | None
    iteration: int | None
    path: tuple[str, ...]
    """The values of its ancestors, outermost first, and its own: where its outputs stand (reference §7)."""
    histories: Histories
    attempts: tuple[Attempt, ...] = ()
    outputs: Payload | None = None
    error: str | None = None
    retry_at: datetime | None = None
    lost: int = 0
    """Attempts lost in a row."""
    branch: str | None = None
    values: tuple[str, ...] | None = None
    """Flowables that opened: the list that plays the part of `tasks`, and the values it goes over."""
    ticket: int | None = None
    """Its place in the ready queue, while it waits there."""

    @property
    def state(self) -> State:
        """The state it is in."""
        return self.histories[-1][0]

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that runs, if one does."""
        if self.attempts and self.attempts[-1].ended is None:
            return self.attempts[-1]
        return None
