"""What the task runs of an execution gave (reference §14.3): by themselves, without the execution around them."""

from __future__ import annotations

from typing import Any, TypedDict

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.execution_views import TASK_RUNS
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role


class TaskRunOutputs(TypedDict):
    """What a task run gave; null while it has given nothing."""

    taskRunId: str
    taskId: str
    value: str | None
    iteration: int | None
    outputs: dict[str, Any] | None


class ExecutionOutputs:
    """Answers requests for them."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/outputs/{execution_id}"
        return (
            Route(
                "GET",
                one,
                self.of_execution,
                role=Role.VIEWER,
                summary="Get the outputs of an execution's task runs, in the order they were created",
                query=(
                    Query("taskRunOffset", int, "From which of its task runs on."),
                    Query("taskRunSize", int, "How many of them; no more than 2,000, and so many unless told."),
                ),
                returns=(Returns(200, list[TaskRunOutputs]),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/{{task_run_id}}",
                self.of_task_run,
                role=Role.VIEWER,
                summary="Get the outputs of a task run",
                returns=(Returns(200, TaskRunOutputs),),
                refuses=(404,),
            ),
        )

    def of_execution(self, request: Request, execution_id: str) -> Response:
        """Return outputs by pages; the header `link` says where the next one is."""
        state = self._asking.state(execution_id)
        begin = request.number("taskRunOffset", 0, least=0)
        end = begin + min(request.number("taskRunSize", TASK_RUNS), TASK_RUNS)
        shown = self._engine.view(state, slice(begin, end))["taskRunList"]
        headers = {}
        if end < len(state.task_runs):
            beyond = f"/api/v1/main/outputs/{execution_id}?taskRunOffset={end}&taskRunSize={end - begin}"
            headers["link"] = f'<{beyond}>; rel="next"'
        return json_response([_outputs(view) for view in shown], headers=headers)

    def of_task_run(self, _request: Request, execution_id: str, task_run_id: str) -> Response:
        """Return the outputs of one."""
        state = self._asking.state(execution_id)
        task_run = state.task_runs.get(task_run_id)
        if task_run is None:
            raise ApiError(404, f"Not Found: TaskRun {task_run_id[:100]}")
        place = state.in_order().index(task_run)
        (view,) = self._engine.view(state, slice(place, place + 1))["taskRunList"]
        return json_response(_outputs(view))


def _outputs(view: dict[str, Any]) -> TaskRunOutputs:
    return {
        "taskRunId": view["id"],
        "taskId": view["taskId"],
        "value": view["value"],
        "iteration": view["iteration"],
        "outputs": view["outputs"],
    }
