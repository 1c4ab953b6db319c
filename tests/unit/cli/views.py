"""Views of executions as the runtime gives them, written short: times are milliseconds after noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_engine.ports import Level, LogLine

NOON = datetime(2024, 11, 21, 12, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    """Return an instant after noon."""
    return NOON + timedelta(milliseconds=milliseconds)


def state(*histories: tuple[str, float]) -> dict[str, Any]:
    """Return a state object."""
    return {
        "current": histories[-1][0],
        "histories": [
            {"state": name, "date": at(when).isoformat(timespec="microseconds").replace("+00:00", "Z")}
            for name, when in histories
        ],
    }


def execution(
    *histories: tuple[str, float],
    runs: list[dict[str, Any]] | None = None,
    outputs: dict[str, Any] | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """Return an execution of demo.hello."""
    return {
        "id": "3kXbT0aQ9mZ1cV7nR5sYwE",
        "namespace": "demo",
        "flowId": "hello",
        "taskRunList": runs or [],
        "outputs": outputs,
        "state": state(*histories),
        "error": None if error is None else {"message": error},
    }


def run(
    name: str,
    *histories: tuple[str, float],
    parent: str | None = None,
    value: str | None = None,
    iteration: int | None = None,
    attempts: int | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """Return a task run. *name* is its task's id, or `task-id#suffix`; its own id is *name*."""
    started = sum(entered == "RUNNING" for entered, _ in histories)
    return {
        "id": name,
        "taskId": name.partition("#")[0],
        "parentTaskRunId": parent,
        "value": value,
        "iteration": iteration,
        "attempts": [{}] * (started if attempts is None else attempts) or None,
        "state": state(*histories),
        "error": error,
    }


def created(when: float = 0) -> tuple[tuple[str, float], ...]:
    """Return the histories of a task run that waits."""
    return (("CREATED", when),)


def running(since: float = 0) -> tuple[tuple[str, float], ...]:
    """Return the histories of a task run that is under way."""
    return (("CREATED", since), ("RUNNING", since))


def ended(how: str, since: float, until: float) -> tuple[tuple[str, float], ...]:
    """Return the histories of a task run that has ended."""
    return (("CREATED", since), ("RUNNING", since), (how, until))


def said(
    message: str, when: float, task_run: str | None = None, level: str = "INFO", task_id: str | None = None
) -> LogLine:
    """Return a line of the log."""
    return LogLine(
        execution_id="3kXbT0aQ9mZ1cV7nR5sYwE",
        namespace="demo",
        flow_id="hello",
        timestamp=at(when),
        level=Level(level),
        message=message,
        task_id=task_id or (task_run.partition("#")[0] if task_run else None),
        task_run_id=task_run,
    )
