"""The deprecated EachParallel: every task of every value is a lane of its own (reference §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class EachParallel:
    """Lane = value index x number of tasks + task index."""

    tasks: tuple[TaskDefinition, ...]
    limit: int
    values: tuple[str, ...]
    length: int = 1
    is_graph: bool = False

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

    def waits(self, lane: int, scope: Scope) -> bool:
        """Never."""
        del lane, scope
        return False
