"""A lane for each value; inside a lane the tasks run one after the other. The limit counts lanes (reference §3.1)."""

from __future__ import annotations

from headrace_engine.core.flowable.order import Order
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ForEach(Order):
    """The values, distinct and as text, and the tasks each of them runs through."""

    values: tuple[str, ...]

    @property
    def lanes(self) -> int:
        """As many as values."""
        return len(self.values) if self.tasks else 0

    @property
    def length(self) -> int:
        """All tasks."""
        return len(self.tasks)

    def task(self, lane: int, position: int) -> TaskDefinition:
        """The task at *position*, the same in every lane."""
        del lane
        return self.tasks[position]

    def iteration(self, lane: int) -> tuple[str, int] | None:
        """The lane's value and its index."""
        return self.values[lane], lane
