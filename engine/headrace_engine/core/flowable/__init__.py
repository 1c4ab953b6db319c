"""How each kind of flowable orders its children: one small module a kind, one question to all of them.

A task list runs as *lanes*. A lane is a row of tasks that run one after the other; lanes run side by side, up to
a limit. A Sequential is one lane, a Parallel one lane a task, a ForEach one lane a value. What an order
knows is where the tasks stand; when to start and when to stop is the same for all and lies in `decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from headrace_engine.core.events import ROOT
from headrace_engine.core.flowable.dag import Dag
from headrace_engine.core.flowable.each_parallel import EachParallel
from headrace_engine.core.flowable.for_each import ForEach
from headrace_engine.core.flowable.order import Order
from headrace_engine.core.flowable.parallel import Parallel
from headrace_engine.core.flowable.result import final_state, worse
from headrace_engine.core.flowable.sequential import Sequential
from headrace_engine.model.definition import Kind, TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import ExecutionState, Scope

ORDERS: Mapping[Kind, Callable[[TaskDefinition, tuple[TaskDefinition, ...], Scope], Order]] = {
    Kind.SEQUENTIAL: lambda _, tasks, __: Sequential(tasks),
    Kind.IF: lambda _, tasks, __: Sequential(tasks),
    Kind.SWITCH: lambda _, tasks, __: Sequential(tasks),
    Kind.ALLOW_FAILURE: lambda _, tasks, __: Sequential(tasks),
    Kind.WORKING_DIRECTORY: lambda _, tasks, __: Sequential(tasks),
    Kind.PAUSE: lambda _, tasks, __: Sequential(tasks),
    Kind.LOOP_UNTIL: lambda _, tasks, __: Sequential(tasks),
    Kind.PARALLEL: lambda task, tasks, _: Parallel(tasks, task.concurrency),
    Kind.DAG: lambda task, tasks, _: Dag(
        tasks, task.concurrency, task.depends_on, frozenset(each.id for each in tasks)
    ),
    Kind.FOR_EACH: lambda task, tasks, scope: ForEach(tasks, task.concurrency, scope.values or ()),
    Kind.EACH_PARALLEL: lambda task, tasks, scope: EachParallel(tasks, task.concurrency, scope.values or ()),
}


def order_of(state: ExecutionState, scope_id: str, phase: str) -> Order:
    """Return the order of a scope's task list: that of the flowable for its tasks, one lane for every other list."""
    if scope_id == ROOT:
        return Sequential(state.flow.branch(ROOT, phase))
    task = state.flow.tasks[state.task_runs[scope_id].task_id]
    if phase != "tasks":
        return Sequential(state.flow.branch(task.id, phase))
    scope = state.scopes[scope_id]
    return ORDERS[task.kind](task, state.flow.branch(task.id, scope.branch), scope)


__all__ = ["ORDERS", "Order", "final_state", "order_of", "worse"]
