"""A lane for each task, side by side, in list order, up to `concurrent` at a time."""

from __future__ import annotations

from headrace_engine.core.flowable.order import Order
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Parallel(Order):
    """One task a lane."""

    @property
    def lanes(self) -> int:
        """As many as tasks."""
        return len(self.tasks)

    def task(self, lane: int, position: int) -> TaskDefinition:
        """The lane's task."""
        del position
        return self.tasks[lane]
