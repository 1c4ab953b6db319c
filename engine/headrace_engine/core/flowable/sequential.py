"""One lane: each task starts when the one before it has ended well. Also If, Switch, AllowFailure, errors, finally."""

from __future__ import annotations

from headrace_engine.core.flowable.order import Order
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Sequential(Order):
    """The tasks in order."""

    limit: int = 1

    @property
    def lanes(self) -> int:
        """One, or none when there is nothing to run."""
        return 1 if self.tasks else 0

    @property
    def length(self) -> int:
        """All tasks."""
        return len(self.tasks)

    def task(self, lane: int, position: int) -> TaskDefinition:
        """The task at *position*."""
        del lane
        return self.tasks[position]
