"""A flow definition with what the core keeps asking of it, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from headrace_engine.model.definition import FlowDefinition, Kind, Retry, TaskDefinition
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class FlowIndex:
    """A flow, and its tasks by id. Disabled tasks are not there: they have no task runs (reference §2.1)."""

    definition: FlowDefinition
    tasks: Mapping[str, TaskDefinition] = field(default_factory=dict)
    branches: Mapping[tuple[str, str], tuple[TaskDefinition, ...]] = field(default_factory=dict)
    """(task id, or '' for the flow; branch) to the tasks of that list that are not disabled."""
    retries: Mapping[str, Retry] = field(default_factory=dict)
    """The policy each runnable task falls under: its own, its nearest ancestor's, the flow's (reference §5.1)."""

    @property
    def has_assertions(self) -> bool:
        """True when an SLA of it is looked at whenever the execution changes."""
        return any(sla.assertion is not None for sla in self.definition.slas)

    @property
    def leaves_behind(self) -> bool:
        """True when it has tasks that start executions and do not wait for them."""
        starts = (Kind.SUBFLOW, Kind.ITEMS)
        return any(task.kind in starts and not task.properties.get("wait", True) for task in self.tasks.values())

    def branch(self, owner: str, name: str) -> tuple[TaskDefinition, ...]:
        """Return a task list of task *owner* ('' for the flow itself); empty when it has none."""
        return self.branches.get((owner, name), ())


def index(definition: FlowDefinition) -> FlowIndex:
    """Return *definition* indexed."""
    tasks: dict[str, TaskDefinition] = {}
    branches: dict[tuple[str, str], tuple[TaskDefinition, ...]] = {}
    retries: dict[str, Retry] = {}

    def visit(task: TaskDefinition, inherited: Retry | None) -> None:
        tasks[task.id] = task
        policy = task.retry or inherited
        if (task.kind.is_runnable or task.kind in (Kind.SUBFLOW, Kind.ITEMS)) and policy is not None:
            retries[task.id] = policy
        for name in task.branches:
            branches[task.id, name] = task.branch(name)
            for child in branches[task.id, name]:
                visit(child, policy)

    for name in ("tasks", "errors", "finally", "afterExecution"):
        branches["", name] = definition.branch(name)
        for task in branches["", name]:
            visit(task, definition.retry)
    return FlowIndex(definition, tasks, branches, retries)
