"""The deprecated EachParallel: every task of every value is a lane of its own (reference §3)."""

from __future__ import annotations

from headrace_engine.core.flowable.order import Order
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class EachParallel(Order):
    """Lane = value index x number of tasks + task index."""

    values: tuple[str, ...]

    @property
    def lanes(self) -> int:
        """Values times tasks."""
        return len(self.values) * len(self.tasks)

    def task(self, lane: int, position: int) -> TaskDefinition:
        """The lane's task."""
        del position
        return self.tasks[lane % len(self.tasks)]

    def iteration(self, lane: int) -> tuple[str, int] | None:
        """The lane's value and its index."""
        index = lane // len(self.tasks)
        return self.values[index], index
