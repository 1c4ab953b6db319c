"""How executions are shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from headrace_engine.api.http import Request
from headrace_engine.context import TENANT
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary
from headrace_engine.view import instant, state_view

TASK_RUNS = 2_000
"""Task runs of one answer, where a host sends answers whole."""


class Moved(TypedDict):
    """A state that something entered, and when."""

    state: State
    date: str


class StateView(TypedDict):
    """A state, and the way to it."""

    current: State
    histories: list[Moved]
    duration: str
    startDate: str
    endDate: str | None


class Label(TypedDict):
    """A label."""

    key: str
    value: str


class AttemptView(TypedDict):
    """A try of a task run."""

    state: StateView


class TaskRunView(TypedDict):
    """A run of a task."""

    id: str
    tenantId: str
    executionId: str
    namespace: str
    flowId: str
    taskId: str
    parentTaskRunId: str | None
    value: str | None
    iteration: int | None
    attempts: list[AttemptView] | None
    outputs: dict[str, Any] | None
    state: StateView
    error: str | None


class Metadata(TypedDict):
    """The how-manieth try an execution is, and since when it is tried."""

    attemptNumber: int
    originalCreatedDate: str


class ExecutionView(TypedDict):
    """An execution. `taskRunsTotal` is there where `taskRunList` holds only some of its task runs."""

    id: str
    tenantId: str
    namespace: str
    flowId: str
    flowRevision: int
    state: StateView
    labels: list[Label]
    parentId: str | None
    originalId: str
    deleted: bool
    kind: Literal["NORMAL"]
    taskRunList: NotRequired[list[TaskRunView]]
    taskRunsTotal: NotRequired[int]
    inputs: NotRequired[dict[str, Any] | None]
    outputs: NotRequired[dict[str, Any] | None]
    variables: NotRequired[dict[str, Any]]
    trigger: NotRequired[dict[str, Any] | None]
    metadata: NotRequired[Metadata]
    scheduleDate: NotRequired[str | None]
    error: NotRequired[dict[str, Any] | None]
    url: NotRequired[str]


class ExecutionPageView(TypedDict):
    """Some executions, without task runs, inputs and outputs.

    `total` is a lower bound unless `totalIsExact`; `next` is what `cursor` takes for the page after this one.
    """

    results: list[ExecutionView]
    total: int
    totalIsExact: bool
    next: NotRequired[str]


def execution_view(engine: Engine, state: ExecutionState, begin: int = 0, size: int | None = None) -> dict[str, Any]:
    """Return an execution with its task runs from *begin* on, *size* at most."""
    end = None if size is None else begin + size
    view = engine.view(state, slice(begin, end))
    total = len(state.task_runs)
    if begin or (end is not None and end < total):
        view["taskRunsTotal"] = total
    view["url"] = url(engine, state.id)
    return view


def view_for(request: Request, engine: Engine, state: ExecutionState) -> dict[str, Any]:
    """Return an execution as an answer to *request* may hold it."""
    return execution_view(engine, state, 0, None if request.streams else TASK_RUNS)


def url(engine: Engine, execution_id: str) -> str:
    """Return where an execution can be read."""
    return f"{engine.settings.surroundings.url.rstrip('/')}/api/v1/main/executions/{execution_id}"


def summary_view(summary: ExecutionSummary, now: datetime) -> dict[str, Any]:
    """Return what the lists know of an execution. Of its way they know the first state and the current one."""
    last = (summary.state, summary.end or now)
    state = state_view(((State.CREATED, summary.start), last), now)
    if summary.end is None:
        # When it came into its state is not known: only that it has.
        state["histories"] = [state["histories"][0]]
        state["endDate"] = None
    return {
        "id": summary.id,
        "tenantId": TENANT,
        "namespace": summary.namespace,
        "flowId": summary.flow_id,
        "flowRevision": summary.flow_revision,
        "state": state,
        "labels": [{"key": key, "value": value} for key, value in summary.labels.items()],
        "parentId": summary.parent_id,
        "originalId": summary.original_id or summary.id,
        "deleted": False,
        "kind": "NORMAL",
    }


def coming_view(engine: Engine, execution_id: str, namespace: str, flow_id: str, revision: int) -> dict[str, Any]:
    """Return an execution that is on its way."""
    now = instant(engine.stores.clock.now())
    return {
        "id": execution_id,
        "tenantId": TENANT,
        "namespace": namespace,
        "flowId": flow_id,
        "flowRevision": revision,
        "state": {
            "current": State.CREATED.value,
            "histories": [{"state": State.CREATED.value, "date": now}],
            "duration": "PT0S",
            "startDate": now,
            "endDate": None,
        },
        "labels": [],
        "parentId": None,
        "originalId": execution_id,
        "deleted": False,
        "kind": "NORMAL",
        "taskRunList": [],
        "url": url(engine, execution_id),
    }


Shown = Callable[[ExecutionState], dict[str, Any]]
