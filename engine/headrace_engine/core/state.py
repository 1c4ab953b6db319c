"""What an execution's events add up to. Immutable; the maps are persistent (HAMT), so a step costs what it changes.

Two structures keep every step O(what changed), whatever the size of the execution:

* `ready`, a queue of task runs that wait to be prepared, in order of their tickets;
* `scopes`, one per open flowable (and one for the execution itself, ROOT): how far its current task list has
  come, as counters, so that the end of one child never looks at its siblings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from immutables import Map

from headrace_engine.core.commands import Command, StartExecution
from headrace_engine.core.events import ROOT, ExecutionCreated, ItemsStarted
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.task_run import Histories, TaskRun
from headrace_engine.model.attempt import Payload
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State


@dataclass(frozen=True)
class Scope:
    """How far one flowable (or the execution) has come with its task lists."""

    phase: str = "tasks"
    branch: str = "tasks"
    """Which of the flowable's lists plays the part of `tasks`: then, else, cases.x, defaults."""
    values: tuple[str, ...] | None = None
    opened: int = 0
    """Lanes opened so far in this phase."""
    live: int = 0
    """Task runs of this phase that have not ended."""
    failed: bool = False
    """A task run of this phase ended FAILED, KILLED or CANCELLED: nothing new starts in it."""
    result: State = State.SUCCESS
    """The worst end in the phases that count so far (reference §4.2)."""
    done: frozenset[str] = frozenset()
    """Dag: the tasks that have ended."""
    created: frozenset[str] = frozenset()
    """Dag: the tasks that have task runs."""
    tried: frozenset[str] = frozenset()
    """The phases entered so far."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A command that was decided once and stays due until it is known to be out."""

    since: int
    command: Command


@dataclass(frozen=True)
class Items:
    """How far a ForEachItem has come with its executions: counters, and the few that go on now.

    Every part below `launched` that is not in `open` has ended.
    """

    started: ItemsStarted
    launched: int = 0
    open: Map[int, int] = field(default_factory=Map)
    """The parts whose executions go on, to the entry that launched them. Without `wait`, none."""
    ended: Map[State, int] = field(default_factory=Map)
    """How many ended in each state."""


@dataclass(frozen=True)
class ExecutionState:
    """An execution after its entries 0…seq; while a step is being decided, after some events of the next one too."""

    id: str
    flow: FlowIndex
    seq: int = -1
    at: datetime | None = None
    """The instant of the last thing that happened; time never runs back."""
    issued_through: int = -1
    created: ExecutionCreated | None = None
    histories: Histories = ()
    labels: tuple[tuple[str, str], ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    outputs: Payload | None = None
    error: str | None = None
    task_runs: Map[str, TaskRun] = field(default_factory=Map)
    scopes: Map[str, Scope] = field(default_factory=Map)
    index: Map[tuple[str, tuple[str, ...]], str] = field(default_factory=Map)
    """(task id, path) to the latest task run there. A path that only leads to longer ones has the value ''."""
    ready: Map[int, str] = field(default_factory=Map)
    ready_head: int = 0
    ready_tail: int = 0
    open_attempts: Map[str, None] = field(default_factory=Map)
    """The task runs with an attempt that has not ended."""
    leases: Map[str, None] = field(default_factory=Map)
    """Those of them whose attempt an executor runs: light ones."""
    children: Map[str, tuple[str, ExecutionCreated]] = field(default_factory=Map)
    """Subflow task runs that wait, to their child execution's id and first event."""
    items: Map[str, Items] = field(default_factory=Map)
    """ForEachItem task runs that start executions, or wait for them."""
    timers: Map[str, tuple[datetime, int]] = field(default_factory=Map)
    """Timer key to its due instant and the entry that set it."""
    pending: tuple[Pending, ...] = ()
    paused: Map[str, bool] = field(default_factory=Map)
    """The Pause task runs that wait; true when their timer is a timeout."""
    held: bool = False
    asking_slot: bool | None = None
    """Waits for the answer whether it gets a concurrency slot; true when it takes one whatever the limit."""
    queued_since: int = -1
    """The entry with which it began to wait for a slot, the last time."""
    slot_left: bool = False
    """RETRYING, without its concurrency slot."""
    broken_slas: frozenset[str] = frozenset()
    winding_down: State | None = None
    follower: StartExecution | None = None
    """The execution that takes over when this one ends RETRIED."""
    finishing: State | None = None
    closed: bool = False
    ordinal: int = 0
    """Task runs made so far by the entry in hand."""
    created_task_runs: int = 0

    @property
    def state(self) -> State:
        """The state the execution is in."""
        return self.histories[-1][0]

    @property
    def exists(self) -> bool:
        """False before entry 0."""
        return self.created is not None

    def scope_of(self, task_run: TaskRun) -> str:
        """Return the id of the scope *task_run* belongs to."""
        return task_run.parent_id if task_run.parent_id is not None else ROOT

    def in_order(self) -> list[TaskRun]:
        """Return all task runs in the order they were created. O(n): for views, not for steps."""
        return sorted(self.task_runs.values(), key=lambda task_run: task_run.order)

    def ancestors(self, task_run: TaskRun) -> Iterator[TaskRun]:
        """Yield the task runs above, nearest first."""
        while task_run.parent_id is not None:
            task_run = self.task_runs[task_run.parent_id]
            yield task_run


def empty(execution_id: str, flow: FlowIndex) -> ExecutionState:
    """Return the state before any entry."""
    return ExecutionState(id=execution_id, flow=flow)
