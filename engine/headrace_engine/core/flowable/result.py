"""How the ends of children make the end of their parent (reference §4.2)."""

from __future__ import annotations

from headrace_engine.model.definition import Kind, TaskDefinition
from headrace_engine.model.state import State

PRECEDENCE = (State.SUCCESS, State.WARNING, State.FAILED, State.KILLED)
"""Least first. SKIPPED counts as SUCCESS; CANCELLED and RETRIED only occur while everything winds down."""

COUNTS = {
    "tasks": frozenset(PRECEDENCE),
    # A successful errors branch rescues nothing, and a failed one adds nothing: something failed before it.
    "errors": frozenset({State.KILLED}),
    "onPause": frozenset(PRECEDENCE),
    "finally": frozenset({State.FAILED, State.KILLED}),
    # The execution has its end state already.
    "afterExecution": frozenset[State](),
}


def worse(result: State, child: State, phase: str) -> State:
    """Return the scope's result after a child of *phase* ended in *child*."""
    if child not in COUNTS[phase]:
        return result
    return max(result, child, key=PRECEDENCE.index)


def final_state(task: TaskDefinition, result: State) -> State:
    """Return the end state of a task whose children, or whose last attempt, ended in *result*.

    allowFailure makes FAILED a WARNING, allowWarning makes WARNING a SUCCESS; both together are needed to turn
    a failure into a success. The AllowFailure task is a Sequential with the first of these.
    """
    if result is State.FAILED and (task.allow_failure or task.kind is Kind.ALLOW_FAILURE):
        result = State.WARNING
    if result is State.WARNING and task.allow_warning:
        result = State.SUCCESS
    return result
