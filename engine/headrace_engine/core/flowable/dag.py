"""A lane for each task; it opens when every task it depends on has ended, however it ended short of failing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class Dag:
    """One task a lane, ordered by dependency. A dependency on a disabled task counts as done (reference §3)."""

    tasks: tuple[TaskDefinition, ...]
    limit: int
    depends_on: Mapping[str, tuple[str, ...]]
    length: int = 1
    is_graph: bool = True

    @property
    def lanes(self) -> int:
        """As many as tasks."""
        return len(self.tasks)

    def task(self, lane: int, position: int) -> TaskDefinition:
        """The lane's task."""
        del position
        return self.tasks[lane]

    def iteration(self, lane: int) -> tuple[str, int] | None:
        """No values here."""
        del lane
        return None

    def waits(self, lane: int, scope: Scope) -> bool:
        """True while the task has a task run already, or a dependency that has not ended."""
        task = self.tasks[lane]
        if task.id in scope.created:
            return True
        enabled = {other.id for other in self.tasks}
        return any(name in enabled and name not in scope.done for name in self.depends_on.get(task.id, ()))
