"""The states of executions and task runs, by Kestra's names (reference §4.1)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A state of an execution, a task run or an attempt."""

    CREATED = "CREATED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    RESTARTED = "RESTARTED"
    RETRYING = "RETRYING"
    RETRIED = "RETRIED"
    KILLING = "KILLING"
    KILLED = "KILLED"
    SUCCESS = "SUCCESS"
    WARNING = "WARNING"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    BREAKPOINT = "BREAKPOINT"
    RESUBMITTED = "RESUBMITTED"

    @property
    def is_terminal(self) -> bool:
        """True when nothing moves it any further by itself."""
        return self in TERMINAL

    @property
    def is_success(self) -> bool:
        """True for an end that lets the next task start."""
        return self in SUCCESSFUL


TERMINAL = frozenset(
    {
        State.RETRIED,
        State.KILLED,
        State.SUCCESS,
        State.WARNING,
        State.FAILED,
        State.CANCELLED,
        State.SKIPPED,
        State.RESUBMITTED,
    }
)
SUCCESSFUL = frozenset({State.SUCCESS, State.WARNING, State.SKIPPED, State.RETRIED})
