"""What cannot run in a place is told when a flow is saved, and again before an execution of it begins."""

from __future__ import annotations

from abc import ABC, abstractmethod

from headrace_engine.engine import UnsupportedError, refuse_unsupported
from headrace_engine.model.definition import FlowDefinition, TaskDefinition


class NoPlaceError(UnsupportedError):
    """A flow has a task that cannot run where it would be saved; elsewhere it may."""


class Refuses(ABC):
    """Knows what cannot run where it stands."""

    __slots__ = ()

    def refuse(self, definition: FlowDefinition) -> None:
        """Raise UnsupportedError for what cannot run here, with what to do about it."""
        refuse_unsupported(definition)
        self.refuse_places(definition)

    def refuse_places(self, definition: FlowDefinition) -> None:
        """Raise NoPlaceError for tasks that have no place here; those that are disabled need none."""
        if definition.disabled:
            return
        tasks = [task for task in definition.walk() if not task.disabled]
        reasons = [(task.id, self.refusal(task, definition.namespace)) for task in tasks]
        if told := [f"task `{id_}`: {reason}" for id_, reason in reasons if reason]:
            raise NoPlaceError("\n".join(told))

    @abstractmethod
    def refusal(self, task: TaskDefinition, namespace: str) -> str:
        """Return why *task* has no place here, and what to do about it; empty when it has one."""
