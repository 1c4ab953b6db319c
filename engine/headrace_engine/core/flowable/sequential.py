"""One lane: each task starts when the one before it has ended well. Also If, Switch, AllowFailure, errors, finally."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class Sequential:
    """The tasks in order."""

    tasks: tuple[TaskDefinition, ...]
    limit: int = 1
    is_graph: bool = False

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

    def iteration(self, lane: int) -> tuple[str, int] | None:
        """No values here."""
        del lane
        return None

    def waits(self, lane: int, scope: Scope) -> bool:
        """Never."""
        del lane, scope
        return False
