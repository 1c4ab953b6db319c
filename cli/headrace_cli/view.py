"""Reads an execution's JSON view (the shape of Kestra's API): states, times, names of task runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace_cli.text import clip, one_line
from headrace_engine.model.state import State

View = Mapping[str, Any]
"""An execution, or one of its task runs."""

_VALUE_CELLS = 40


def state_of(item: View) -> State:
    """Return the state an execution or task run is in."""
    return State(item["state"]["current"])


def histories(item: View) -> Sequence[tuple[State, datetime]]:
    """Return the states it has been in and when each began, oldest first."""
    return [(State(entry["state"]), instant(entry["date"])) for entry in item["state"]["histories"]]


def instant(text: str) -> datetime:
    """Return the instant of an ISO-8601 text with a zone."""
    return datetime.fromisoformat(text)


def elapsed(item: View, now: datetime) -> timedelta | None:
    """Return how long it has run: from its first RUNNING to its end, or to *now*. None when it has not started."""
    entries: Sequence[Mapping[str, str]] = item["state"]["histories"]
    started = next((entry["date"] for entry in entries if entry["state"] == State.RUNNING), None)
    if started is None:
        return None
    last = entries[-1]
    end = instant(last["date"]) if State(last["state"]).is_terminal else now
    return max(end - instant(started), timedelta(0))


def total(execution: View, now: datetime) -> timedelta:
    """Return how long an execution has existed: from its creation to its end, or to *now*."""
    entries = histories(execution)
    state, last = entries[-1]
    return max((last if state.is_terminal else now) - entries[0][1], timedelta(0))


def task_runs(execution: View) -> Sequence[View]:
    """Return the task runs in the order of their creation."""
    runs: Sequence[View] = execution.get("taskRunList") or ()
    return runs


def attempts(task_run: View) -> int:
    """Return how many attempts have begun."""
    return len(task_run.get("attempts") or ())


def error_of(item: View) -> str | None:
    """Return the message of what went wrong, where the view has one."""
    error = item.get("error")
    if isinstance(error, Mapping):
        error = error.get("message")
    return str(error) if error else None


def full_name(execution: View) -> str:
    """Return ``namespace.flow``."""
    return f"{execution['namespace']}.{execution['flowId']}"


def value_text(value: str) -> str:
    """Return an iteration's value as it stands beside a task's id: ``[value]``, on one line, cut when long."""
    return f"[{clip(one_line(value), _VALUE_CELLS)}]"


def starts_iteration(task_run: View) -> bool:
    """Tell whether its loop gave the task run a value of its own; in a WorkingDirectory tasks inherit one."""
    return task_run.get("value") is not None and task_run.get("iteration") is not None


class Names:
    """What to call each task run: its task's id, and in loops the values of the iterations it belongs to.

    ``shout[Bergen]`` is the run of task ``shout`` in the iteration for ``Bergen``; in nested loops the outer
    value stands first.
    """

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str]] = {}

    def learn(self, execution: View) -> None:
        """Take in the task runs of *execution* that are new. Those it no longer has keep their names."""
        for run in task_runs(execution):
            if run["id"] not in self._names:
                values = self._names.get(run.get("parentTaskRunId") or "", ("", ""))[1]
                if starts_iteration(run):
                    values += value_text(run["value"])
                self._names[run["id"]] = (run["taskId"], values)

    def knows(self, task_run_id: str) -> bool:
        """Tell whether the task run has been seen."""
        return task_run_id in self._names

    def of(self, task_run_id: str | None, task_id: str | None = None) -> str:
        """Return the name of a task run; the task's id alone when it has not been seen yet."""
        task, values = self._names.get(task_run_id or "", (task_id or "", ""))
        return task + values
