"""Executions and their logs (reference §14.3, §14.4)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from headrace_engine.api.http import ApiError, Request, Response, json_response, parts
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Create, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.model.state import State
from headrace_engine.operations import Operations
from headrace_engine.ports import ExecutionSummary, Level, LogLine, Mailbox
from headrace_engine.view import instant

_LOOK = 0.05
"""Seconds between two looks at an execution that somebody waits for."""
_BEGINS = timedelta(seconds=5)
_WAITS = timedelta(seconds=25)
"""How long `wait` waits: API Gateway gives up after 30 seconds."""
_SHOWN = 100


class Executions:
    """Answers requests about executions."""

    def __init__(self, engine: Engine, mailbox: Mailbox, wait: Callable[[float], None]) -> None:
        self._engine = engine
        self._mailbox = mailbox
        self._wait = wait
        self._operations = Operations(engine)

    def create(self, request: Request, namespace: str, flow_id: str) -> Response:
        """POST /executions/{ns}/{id}: starts an execution; with `wait`, answers when it has ended.

        One that goes on longer than 25 seconds is answered with 202 and where to look.
        """
        with _inputs(request) as inputs:
            execution_id, created = self._engine.new_execution(
                namespace,
                flow_id,
                inputs,
                labels=_labels(request),
                revision=request.number("revision", 0) or None,
            )
        self._mailbox.send(execution_id, encode_message(Create(created)))
        waits = request.flag("wait")
        state = self._until(execution_id, _WAITS if waits else _BEGINS, lambda state: state.closed or not waits)
        location = {"location": f"/api/v1/main/executions/{execution_id}"}
        if state is None:
            # On its way: the mailbox has it.
            return json_response({"id": execution_id, "namespace": namespace, "flowId": flow_id}, 202, location)
        return json_response(self._view(state), 202 if waits and not state.closed else 200, location)

    def get(self, _request: Request, execution_id: str) -> Response:
        """GET /executions/{id}."""
        return json_response(self._view(self._state(execution_id)))

    def follow(self, _request: Request, execution_id: str) -> Response:
        """GET /executions/{id}/follow: server-sent events, one answer at a time.

        The host buffers: an answer tells how the execution stands now and when to ask again.
        """
        state = self._state(execution_id)
        name = "end" if state.closed else "progress"
        retry = "" if state.closed else "retry: 1000\n"
        data = msgspec.json.encode(self._view(state)).decode()
        body = f"{retry}id: {name}\nevent: {name}\ndata: {data}\n\n"
        return Response(200, body.encode(), {"content-type": "text/event-stream", "cache-control": "no-store"})

    def search(self, request: Request) -> Response:
        """GET /executions/search."""
        try:
            states = [State(value) for value in request.query.get("state", ())]
        except ValueError as error:
            raise ApiError(400, f"Bad request: {error}") from None
        return self._page(request, request.one("namespace"), request.one("flowId"), states)

    def of_flow(self, request: Request) -> Response:
        """GET /executions?namespace&flowId."""
        namespace, flow_id = request.one("namespace"), request.one("flowId")
        if not namespace or not flow_id:
            raise ApiError(400, "Bad request: `namespace` and `flowId` are needed")
        return self._page(request, namespace, flow_id, [])

    def kill(self, _request: Request, execution_id: str) -> Response:
        """DELETE /executions/{id}/kill."""
        self._ask(execution_id, self._operations.kill)
        return Response(202)

    def restart(self, request: Request, execution_id: str) -> Response:
        """POST /executions/{id}/restart."""
        if request.one("revision"):
            raise ApiError(422, "Illegal argument: a restart with another revision is not supported; replay it instead")
        self._ask(execution_id, self._operations.restart)
        return json_response(self._view(self._state(execution_id)))

    def resume(self, request: Request, execution_id: str) -> Response:
        """POST /executions/{id}/resume: the body holds the onResume inputs."""
        with _inputs(request) as given:
            self._ask(execution_id, lambda state: self._operations.resume(state, given))
        return Response(204)

    def logs(self, request: Request, execution_id: str) -> Response:
        """GET /logs/{id}."""
        try:
            level = Level(request.one("minLevel") or "TRACE")
        except ValueError as error:
            raise ApiError(400, f"Bad request: {error}") from None
        lines = self._engine.stores.logs.fetch(
            execution_id, min_level=level, task_id=request.one("taskId"), task_run_id=request.one("taskRunId")
        )
        return json_response([_line(line) for line in lines])

    # -- What they share ----------------------------------------------------------------------------

    def _ask(self, execution_id: str, operation: Callable[[ExecutionState], Message]) -> None:
        self._mailbox.send(execution_id, encode_message(operation(self._state(execution_id))))

    def _state(self, execution_id: str) -> ExecutionState:
        state = self._engine.platform.state(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"Execution {execution_id}")
        return state

    def _until(
        self, execution_id: str, longest: timedelta, is_enough: Callable[[ExecutionState], bool]
    ) -> ExecutionState | None:
        """Return the execution when it is as wanted, or how it stands after *longest*; None when it has not begun."""
        clock = self._engine.stores.clock
        end = clock.now() + longest
        while True:
            state = self._engine.platform.state(execution_id)
            if (state is not None and is_enough(state)) or clock.now() >= end:
                return state
            self._wait(_LOOK)

    def _view(self, state: ExecutionState) -> dict[str, Any]:
        return self._engine.view(state)

    def _page(self, request: Request, namespace: str | None, flow_id: str | None, states: list[State]) -> Response:
        size = min(request.number("size", 10), _SHOWN)
        offset = (request.number("page", 1) - 1) * size
        found, total = self._engine.stores.executions.search(
            namespace=namespace, flow_id=flow_id, states=states, limit=size, offset=offset
        )
        return json_response({"results": [_summary(each) for each in found], "total": total})


@contextmanager
def _inputs(request: Request) -> Iterator[dict[str, Any]]:
    """Give the inputs of a body, a part each; files as paths that are there until the block is left.

    A file's part has the input's id as its name; or the name `files`, and the input's id as its file's.
    """
    given: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        for number, part in enumerate(parts(request)):
            if part.filename is None:
                given[part.name] = part.content.decode("utf-8", "replace")
                continue
            path = Path(folder) / str(number) / (Path(part.filename).name or "file")
            path.parent.mkdir()
            path.write_bytes(part.content)
            given[part.filename if part.name == "files" else part.name] = path
        yield given


def _labels(request: Request) -> dict[str, str]:
    labels = {}
    for given in request.query.get("labels", ()):
        key, separator, value = given.partition(":")
        if not key or not separator:
            raise ApiError(422, f"Invalid entity: a label is `key:value`, not `{given}`")
        if key.startswith("system."):
            raise ApiError(422, f"Illegal argument: System labels can only be set by Kestra itself: {key}")
        labels[key] = value
    return labels


def _summary(summary: ExecutionSummary) -> Mapping[str, Any]:
    return {
        "id": summary.id,
        "namespace": summary.namespace,
        "flowId": summary.flow_id,
        "flowRevision": summary.flow_revision,
        "state": {
            "current": summary.state.value,
            "startDate": instant(summary.start),
            "endDate": instant(summary.end) if summary.end is not None else None,
        },
        "labels": [{"key": key, "value": value} for key, value in summary.labels.items()],
        "parentId": summary.parent_id,
    }


def _line(line: LogLine) -> Mapping[str, Any]:
    return {
        "namespace": line.namespace,
        "flowId": line.flow_id,
        "executionId": line.execution_id,
        "taskId": line.task_id,
        "taskRunId": line.task_run_id,
        "attemptNumber": line.attempt,
        "timestamp": instant(line.timestamp),
        "level": line.level.value,
        "message": line.message,
    }
