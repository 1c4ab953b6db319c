"""What a simulation runs: flows, who starts them, and the two task types whose work is scripted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.operations import Operations
from headrace_engine.plugin import InlineContext, RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_engine.testing.simulation.gate import current

NAMESPACE = "sim"


class Work(RunnableTask):
    """People's code in a worker: it takes its time, and ends as its properties say.

    id: work
    type: sim.Work
    value: "{{ outputs.before.value }}"
    """

    TYPE: ClassVar[str] = "sim.Work"
    KIND: ClassVar[Kind] = Kind.DISPATCHED

    value: str = ""
    fails: bool = False
    seconds: float = 0.0

    class Outputs(TaskOutputs):
        """What the code was given."""

        value: str

    def run(self, context: RunContext) -> Outputs:
        """Leave a trace, take the time, end."""
        invocation = current()
        if invocation is not None:
            invocation.world.ran(context.task_run_id, context.attempt)
            if self.seconds:
                invocation.rest(self.seconds)
        if self.fails:
            raise TaskFailure("as it was told")
        return self.Outputs(value=self.value)


class Effect(Work):
    """The same as a light task: run by the executor, under a lease.

    id: effect
    type: sim.Effect
    value: one
    """

    TYPE: ClassVar[str] = "sim.Effect"
    KIND: ClassVar[Kind] = Kind.LIGHT


class Count(RunnableTask):
    """Pure work inside the executor, which may be repeated.

    id: count
    type: sim.Count
    value: one
    """

    TYPE: ClassVar[str] = "sim.Count"
    KIND: ClassVar[Kind] = Kind.INLINE

    value: str = ""
    fails: bool = False

    class Outputs(TaskOutputs):
        """What it was given."""

        value: str

    def run(self, context: InlineContext) -> Outputs:
        """End as told."""
        context.log.info(f"counted {self.value}")
        if self.fails:
            raise TaskFailure("as it was told")
        return self.Outputs(value=self.value)


def registry() -> Registry:
    """Return all task types there are, and the scripted ones."""
    return Registry.load().extended([Work, Effect, Count])


@dataclass(frozen=True)
class Start:
    """An execution that somebody starts from outside."""

    flow_id: str
    namespace: str = NAMESPACE
    after: timedelta = timedelta(0)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None


Wish = Callable[[Operations, ExecutionState], Sequence[Message] | tuple[str | Message, ...]]
"""What a person asks of an execution: messages to it, or the id of another and messages to that. Raises ValueError."""


@dataclass(frozen=True)
class Person:
    """Somebody who does one thing at one time; what is refused, or comes too early, again and again for a while."""

    after: timedelta
    wish: Wish
    flow_id: str
    number: int = 0
    """Which of the flow's executions, in the order they are heard of."""
    replayed: bool = False
    """Of those that are replays; otherwise of those that are none."""


@dataclass(frozen=True)
class Scenario:
    """Flows and what is done with them."""

    name: str
    flows: tuple[str, ...]
    starts: tuple[Start, ...]
    templates: tuple[str, ...] = ()
    kv: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    revised: tuple[str, ...] = ()
    """Later revisions of the flows, saved while executions go on."""
    operations: int = 0
    """How many times a person interferes; then there is no one outcome."""
    persons: tuple[Person, ...] = ()
    """Who else interferes, and when."""
    spoils: timedelta | None = None
    """When a message comes to the first execution that cannot be handled."""
    batch: int | None = None
    """How many messages an executor is handed at a time, at most; None: as many as the seed says."""
    compares: bool = True
    """The outcome does not depend on the order of what happens side by side, nor on time."""
    compares_history: bool = False
    """Neither do the states the execution goes through."""

    @property
    def is_disturbed(self) -> bool:
        """Whether somebody interferes."""
        return bool(self.operations or self.persons or self.spoils)
