"""A lane for each task, side by side, in list order, up to `concurrent` at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class Parallel:
    """One task a lane."""

    tasks: tuple[TaskDefinition, ...]
    limit: int
    length: int = 1
    is_graph: bool = False

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
        """Never."""
        del lane, scope
        return False
