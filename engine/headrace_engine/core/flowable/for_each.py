"""A lane for each value; inside a lane the tasks run one after the other. The limit counts lanes (reference §3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class ForEach:
    """The values, distinct and as text, and the tasks each of them runs through."""

    tasks: tuple[TaskDefinition, ...]
    limit: int
    values: tuple[str, ...]
    is_graph: bool = False

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

    def waits(self, lane: int, scope: Scope) -> bool:
        """Never."""
        del lane, scope
        return False
