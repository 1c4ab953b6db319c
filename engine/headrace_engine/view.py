"""An execution in the shape of Kestra's API (reference §4.3, §4.4, §14.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.context import TENANT, trigger_variables
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import Attempt, Histories, TaskRun
from headrace_engine.model.attempt import Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State


def execution_view(
    state: ExecutionState, load: Callable[[Payload], Any], now: datetime, shown: slice = slice(None)
) -> dict[str, Any]:
    """Return the execution as JSON values; durations of what still runs count to *now*.

    Of its task runs, in the order they were created, those that are *shown*.
    """
    created = state.created
    if created is None:
        raise ValueError(f"Execution {state.id} has no entries yet")
    return {
        "id": state.id,
        "tenantId": TENANT,
        "namespace": created.namespace,
        "flowId": created.flow_id,
        "flowRevision": created.flow_revision,
        "taskRunList": [task_run_view(state, task_run, load, now) for task_run in state.in_order()[shown]],
        "inputs": load(created.inputs),
        "outputs": load(state.outputs) if state.outputs is not None else None,
        "labels": [{"key": key, "value": value} for key, value in state.labels],
        "variables": dict(state.variables),
        "state": state_view(state.histories, now),
        "parentId": created.parent_id,
        "originalId": created.original_id or state.id,
        "trigger": {**created.trigger, "variables": trigger_variables(created, load)} if created.trigger else None,
        "deleted": False,
        "metadata": {
            "attemptNumber": created.attempt_number,
            "originalCreatedDate": instant(created.original_created or state.histories[0][1]),
        },
        "scheduleDate": instant(created.start_at) if created.start_at is not None else None,
        "error": {"message": state.error} if state.error is not None else None,
        "kind": "NORMAL",
    }


def task_run_view(
    state: ExecutionState, task_run: TaskRun, load: Callable[[Payload], Any], now: datetime
) -> dict[str, Any]:
    """Return one task run. A flowable shows one attempt, its own course.

    So does a WorkingDirectory, whatever preparing it and collecting its files took.
    """
    attempts = [_attempt_view(attempt, now) for attempt in task_run.attempts]
    kind = state.flow.tasks[task_run.task_id].kind
    shows_course = kind is Kind.WORKING_DIRECTORY or (not kind.is_runnable and not attempts)
    if shows_course and len(task_run.histories) > 1:
        attempts = [{"state": state_view(task_run.histories[1:], now)}]
    return {
        "id": task_run.id,
        "tenantId": TENANT,
        "executionId": state.id,
        "namespace": state.flow.definition.namespace,
        "flowId": state.flow.definition.id,
        "taskId": task_run.task_id,
        "parentTaskRunId": task_run.parent_id,
        "value": task_run.value,
        "iteration": task_run.iteration,
        "attempts": attempts or None,
        "outputs": load(task_run.outputs) if task_run.outputs is not None else _items_view(state, task_run),
        "state": state_view(task_run.histories, now),
        "error": task_run.error,
    }


def _items_view(state: ExecutionState, task_run: TaskRun) -> dict[str, Any] | None:
    """Return how far a ForEachItem has come that still goes on: it has no outputs yet."""
    items = state.items.get(task_run.id)
    if items is None:
        return None
    counts = {end.value: items.ended[end] for end in State if end in items.ended}
    return {
        "numberOfBatches": items.started.total,
        "iterations": {"CREATED": 0, "RUNNING": len(items.open), **counts},
    }


def _attempt_view(attempt: Attempt, now: datetime) -> dict[str, Any]:
    histories: Histories = ((State.CREATED, attempt.started), (State.RUNNING, attempt.started))
    if attempt.ended is not None:
        histories = (*histories, (attempt.state, attempt.ended))
    return {"state": state_view(histories, now)}


def state_view(histories: Histories, now: datetime) -> dict[str, Any]:
    """Return a state object: current, histories, duration, startDate, endDate (reference §4.1)."""
    current, last = histories[-1]
    start = histories[0][1]
    ended = current.is_terminal or current is State.PAUSED
    return {
        "current": current.value,
        "histories": [{"state": state.value, "date": instant(date)} for state, date in histories],
        "duration": duration((last if ended else max(now, last)) - start),
        "startDate": instant(start),
        "endDate": instant(last) if ended else None,
    }


def instant(date: datetime) -> str:
    """Return an ISO instant such as 2024-12-20T10:11:12.345678Z."""
    return date.isoformat(timespec="microseconds").replace("+00:00", "Z")


def duration(length: timedelta) -> str:
    """Return ISO-8601 such as PT0.017S or PT1H2M3.5S."""
    micros = length // timedelta(microseconds=1)
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = f"{rest / 1_000_000:.6f}".rstrip("0").rstrip(".")
    text = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    return "PT" + text + (f"{seconds}S" if rest or not text else "")
