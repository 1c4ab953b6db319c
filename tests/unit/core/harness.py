"""Drives the pure core the way an executor does, with scripted task results: no store, no clock, no template.

After every step it checks what must always hold: the journal, encoded and decoded again, folds to the state in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_engine.core.codec import decode_entry, decode_state, encode_entry, encode_state
from headrace_engine.core.decide import decide, next_question
from headrace_engine.core.events import Entry, Event, ExecutionCreated
from headrace_engine.core.flow import FlowIndex, index
from headrace_engine.core.fold import begin_entry, fold
from headrace_engine.core.messages import (
    Answer,
    AskSlot,
    AttemptReported,
    ChildReady,
    Create,
    JobReady,
    Message,
    Opened,
    Outputs,
    Pauses,
    Poke,
    Question,
    Ran,
    RenderOutputs,
    Slot,
    TimerFired,
)
from headrace_engine.core.outstanding import outstanding
from headrace_engine.core.state import ExecutionState, empty
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import AttemptResult, Inline
from headrace_engine.model.definition import FlowDefinition, Kind, TaskDefinition
from headrace_engine.model.state import State

START = datetime(2026, 1, 1, tzinfo=UTC)
CHILD = ExecutionCreated("test", "child", 1, Inline({}))


def task(id: str, kind: Kind = Kind.INLINE, **others: Any) -> TaskDefinition:  # noqa: A002 - as in the definition
    """Return a task; keyword arguments are fields, except `tasks`, `errors`, `finally_`, which are branches."""
    branches = dict(others.pop("branches", {}))
    for name in ("tasks", "errors", "finally_"):
        if name in others:
            branches[name.rstrip("_")] = tuple(others.pop(name))
    return TaskDefinition(id=id, type=f"test.{kind}", kind=kind, branches=branches, **others)


def flow(*tasks: TaskDefinition, **others: Any) -> FlowDefinition:
    """Return a flow of *tasks*."""
    return FlowDefinition(namespace="test", id="flow", revision=1, tasks=tasks, **others)


Script = dict[str, Sequence[Any] | Any]
"""Task id to what its attempts give, one after the other (the last again and again): a State, an Answer, or a function."""


@dataclass
class Run:
    """One execution of a flow."""

    definition: FlowDefinition
    script: Script = field(default_factory=dict)
    id: str = "execution"

    def __post_init__(self) -> None:
        self.state: ExecutionState = empty(self.id, index(self.definition))
        self.now = START
        self.entries: list[Entry] = []
        self.calls: dict[str, int] = {}

    def start(self, **created: Any) -> Run:
        """Create the execution and take it as far as it goes by itself."""
        values = {"namespace": "test", "flow_id": "flow", "flow_revision": 1, "inputs": Inline({})} | created
        return self.send(Create(ExecutionCreated(**values)))

    def send(self, message: Message, limit: int = 10_000) -> Run:
        """Have *message* decided, and the questions that follow; write one entry a step."""
        while True:
            state = begin_entry(self.state, self.now)
            at = state.at
            events: list[Event] = []
            decision = decide(state, message, self.now)
            state, asked = decision.state, 0
            events += decision.events
            while asked < limit and (question := next_question(state)) is not None:
                decision = decide(state, self.answer(state, question), self.now)
                state = decision.state
                events += decision.events
                asked += 1
            if not events:
                return self
            assert at is not None
            self.entries.append(decode_entry(encode_entry(Entry(state.seq, at, tuple(events)))))
            self.state = state
            assert fold(self.id, state.flow, self.entries) == state
            assert decode_state(encode_state(state), self._flow) == state
            if next_question(state) is None:
                return self
            message = Poke()

    def _flow(self, _created: ExecutionCreated) -> FlowIndex:
        return self.state.flow

    def answer(self, state: ExecutionState, question: Question) -> Answer:
        if isinstance(question, RenderOutputs):
            given = self.next_result("outputs")
            return given if isinstance(given, Outputs) else Outputs(Inline({"done": True}))
        if isinstance(question, AskSlot):
            given = self.next_result("slot")
            return given if isinstance(given, Slot) else Slot(granted=True)
        task_run = state.task_runs[question.task_run_id]
        kind = state.flow.tasks[task_run.task_id].kind
        given = self.next_result(task_run.task_id)
        if callable(given):
            return _answer(given, task_run)
        if kind is Kind.INLINE:
            return Ran(task_run.id, self.result(given))
        if kind.is_runnable:
            return JobReady(task_run.id, kind, Inline({}))
        if kind is Kind.PAUSE:
            return Pauses(task_run.id, given if isinstance(given, float) else None)
        if kind is Kind.SUBFLOW:
            return ChildReady(task_run.id, f"child-of-{task_run.id}", CHILD)
        return Opened(task_run.id)

    def next_result(self, task_id: str) -> Any:
        given = self.script.get(task_id)
        if not isinstance(given, list):
            return given
        number = self.calls.get(task_id, 0)
        self.calls[task_id] = number + 1
        return given[min(number, len(given) - 1)]

    def result(self, given: Any, outputs: Any = None) -> AttemptResult:
        if isinstance(given, AttemptResult):
            return given
        state = given if isinstance(given, State) else State.SUCCESS
        return AttemptResult(state, self.now, self.now, Inline(outputs) if outputs is not None else None)

    def report(self, task_id: str, given: State | AttemptResult = State.SUCCESS, value: str | None = None) -> Run:
        """Report the open attempt of *task_id* (with that value) as ended."""
        task_run = self.find(task_id, value)
        return self.send(AttemptReported(task_run.id, len(task_run.attempts) - 1, self.result(given)))

    def pass_time(self, length: timedelta) -> Run:
        """Let time pass and every timer that is due fire."""
        self.now += length
        for key, (due, _) in sorted(self.state.timers.items()):
            if due <= self.now:
                self.send(TimerFired(key))
        return self

    def find(self, task_id: str, value: str | None = None) -> TaskRun:
        runs = [run for run in self.state.in_order() if run.task_id == task_id and value in (None, run.value)]
        return runs[-1]

    # -- What came of it ----------------------------------------------------------------------------

    @property
    def states(self) -> dict[str, str]:
        """Task id (and value) to state, in order of creation."""
        return {_name(run): run.state.value for run in self.state.in_order()}

    @property
    def history(self) -> list[str]:
        return [state.value for state, _ in self.state.histories]

    def history_of(self, task_id: str) -> list[str]:
        return [state.value for state, _ in self.find(task_id).histories]

    @property
    def outstanding(self) -> list[str]:
        return [type(command).__name__ for command in outstanding(self.state)]


def _answer(given: Callable[[TaskRun], Answer], task_run: TaskRun) -> Answer:
    return given(task_run)


def _name(run: TaskRun) -> str:
    return run.task_id if run.value is None else f"{run.task_id}[{run.value}]"


def opened(*values: str, branch: str = "tasks") -> Callable[[TaskRun], Answer]:
    """Return an answer that opens a flowable on *branch*, over *values* if there are any."""
    return lambda task_run: Opened(task_run.id, branch, values or None)
