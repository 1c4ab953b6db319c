"""The task runs of an execution as rows: a tree, each with a bar for when it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State

WIDE = 1000
"""Units of the whole time."""
_LEAST = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One task run."""

    run: TaskRun
    depth: int
    type: str
    start: datetime
    seconds: float
    x: int
    width: int
    outputs: Any = None

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return len(self.run.attempts)


def rows(state: ExecutionState, shown: Sequence[TaskRun], outputs: Mapping[str, Any], now: datetime) -> list[Row]:
    """Return the rows of these task runs, each below the one it is in, in the order they were created."""
    if not shown:
        return []
    known = {run.id for run in shown}
    below: dict[str, list[TaskRun]] = {}
    for run in shown:
        below.setdefault(run.parent_id if run.parent_id in known else "", []).append(run)
    begin = min(_start(run) for run in shown)
    whole = max((max(_end(run, now) for run in shown) - begin).total_seconds(), 0.001)
    found: list[Row] = []
    waiting = [(run, 0) for run in reversed(below.get("", []))]
    while waiting:
        run, depth = waiting.pop()
        start = _start(run)
        seconds = max((_end(run, now) - start).total_seconds(), 0.0)
        x = min(round((start - begin).total_seconds() / whole * WIDE), WIDE - _LEAST)
        width = min(max(round(seconds / whole * WIDE), _LEAST), WIDE - x)
        kind = state.flow.tasks[run.task_id].type
        found.append(Row(run, min(depth, 12), kind, start, seconds, x, width, outputs.get(run.id)))
        waiting += [(child, depth + 1) for child in reversed(below.get(run.id, []))]
    return found


def _start(run: TaskRun) -> datetime:
    return run.histories[0][1]


def _end(run: TaskRun, now: datetime) -> datetime:
    last_state, last = run.histories[-1]
    return last if last_state.is_terminal or last_state is State.PAUSED else max(now, last)
