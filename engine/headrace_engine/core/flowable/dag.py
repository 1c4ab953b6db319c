"""A lane for each task; it opens when every task it depends on has ended, however it ended short of failing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace_engine.core.flowable.parallel import Parallel
from headrace_engine.model.frozen import dataclass

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class Dag(Parallel):
    """One task a lane, ordered by dependency. A dependency on a disabled task counts as done (reference §3)."""

    depends_on: Mapping[str, tuple[str, ...]]
    enabled: frozenset[str]
    """The ids of the tasks."""

    @property
    def is_graph(self) -> bool:
        """The order is that of the dependencies."""
        return True

    def waits(self, lane: int, scope: Scope) -> bool:
        """True while the task has a task run already, or a dependency that has not ended."""
        task = self.tasks[lane]
        if task.id in scope.created:
            return True
        return any(name in self.enabled and name not in scope.done for name in self.depends_on.get(task.id, ()))
