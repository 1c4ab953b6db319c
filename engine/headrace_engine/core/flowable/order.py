"""What every order of children answers, with what most of them answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass

if TYPE_CHECKING:
    from headrace_engine.core.state import Scope


@dataclass(frozen=True, slots=True)
class Order(ABC):
    """Where the tasks of one task list stand."""

    tasks: tuple[TaskDefinition, ...]
    limit: int
    """How many lanes may run at once; 0 is no limit."""

    @property
    @abstractmethod
    def lanes(self) -> int:
        """How many lanes there are."""

    @property
    def length(self) -> int:
        """How many tasks a lane has, one after the other."""
        return 1

    @abstractmethod
    def task(self, lane: int, position: int) -> TaskDefinition:
        """Return the task at *position* of *lane*."""

    def iteration(self, lane: int) -> tuple[str, int] | None:
        """Return the value and the zero-based iteration that the lane's task runs carry, if they do."""
        del lane
        return None

    def waits(self, lane: int, scope: Scope) -> bool:
        """True while the lane must not open, for a reason of its own (Dag: a dependency that has not ended)."""
        del lane, scope
        return False

    @property
    def is_graph(self) -> bool:
        """True when lanes open in an order of their own, so that the scope must remember which did."""
        return False
