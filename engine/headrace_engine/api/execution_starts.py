"""Executions that are begun (reference §14.3), and their inputs checked before."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from headrace_engine.api.execution_asking import BEGINS, Asking
from headrace_engine.api.execution_filters import instant_of, revision_of
from headrace_engine.api.execution_views import ExecutionView, coming_view, view_for
from headrace_engine.api.flow_views import existing_flow, shown
from headrace_engine.api.http import Answer, ApiError, Later, Request, Response, json_response, parts
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.core.messages import Create
from headrace_engine.engine import CORRELATION_LABEL, Engine
from headrace_engine.identity import Role
from headrace_engine.language.source import written
from headrace_engine.uploads import file_name

_WAITS = timedelta(seconds=25)
"""How long `wait` waits where API Gateway gives up after 30 seconds."""
_WAITS_HERE = timedelta(hours=1)

INPUTS = Body(dict[str, Any], "multipart/form-data", required=False)
"""A part an input; a file's part has the input's id as its name, or the name `files` and the id as its file's."""


class InputAnswer(TypedDict):
    """What is to be said of an input that somebody would give."""

    input: dict[str, Any]
    value: Any
    enabled: bool
    isDefault: bool
    errors: list[dict[str, str]]


class CheckAnswer(TypedDict):
    """A check of the flow that the inputs fail."""

    message: str
    style: str
    behavior: str


class Validation(TypedDict):
    """What is to be said of inputs, before an execution has them."""

    id: str
    namespace: str
    inputs: list[InputAnswer]
    checks: list[CheckAnswer]


class ExecutionStarts:
    """Answers requests for new executions."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        self._stores = engine.stores

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        query = (
            Query("labels", list[str], "`key:value` of a label that the execution gets."),
            Query("wait", bool, "Whether to answer when it has ended."),
            Query("revision", int, "Which revision of the flow; the latest unless told."),
            Query("scheduleDate", str, "An ISO instant before which nothing runs."),
            Query("kind", str, "NORMAL: there are no others."),
        )
        returns = (
            Returns(200, ExecutionView),
            Returns(202, ExecutionView, about="It goes on longer than `wait` waits; `location` says where to look."),
        )
        begin = [
            Route(
                "POST",
                f"/executions{prefix}/{{namespace}}/{{flow_id}}",
                self.create,
                role=Role.EDITOR,
                summary=summary,
                query=query,
                bodies=(INPUTS,),
                returns=returns,
                refuses=(404, 422),
            )
            for prefix, summary in (("", "Start an execution"), ("/trigger", "Start an execution, by its old path"))
        ]
        return (
            *begin,
            Route(
                "POST",
                "/executions/{namespace}/{flow_id}/validate",
                self.validate,
                role=Role.EDITOR,
                changes=False,
                summary="Check the inputs of an execution that is not started",
                bodies=(INPUTS,),
                returns=(Returns(200, Validation),),
                refuses=(404, 422),
            ),
        )

    def create(self, request: Request, namespace: str, flow_id: str) -> Answer:
        """Start an execution; with `wait`, answer when it has ended."""
        if request.one("kind") not in (None, "", "NORMAL"):
            raise ApiError(422, "Illegal argument: every execution is of the kind NORMAL")
        refuse_breakpoints(request)
        labels = labels_given(request)
        revision = revision_of(request)
        start_at = instant_of(request.one("scheduleDate"), "scheduleDate")
        waits = request.flag("wait")
        with inputs_given(request) as inputs:
            execution_id, created = self._engine.new_execution(
                namespace, flow_id, inputs, labels=labels, revision=revision
            )
        request.note(f"execution {execution_id}")
        self._asking.send(execution_id, Create(replace(created, start_at=start_at)))
        now = self._stores.clock.now()
        until = now + (BEGINS if not waits else _WAITS_HERE if request.streams else _WAITS)
        location = {"location": f"/api/v1/main/executions/{execution_id}"}

        def look() -> Response | None:
            state = self._engine.platform.state(execution_id)
            is_over = self._stores.clock.now() >= until
            if state is not None and (state.closed or not waits or is_over):
                return json_response(
                    view_for(request, self._engine, state), 202 if waits and not state.closed else 200, location
                )
            if is_over:  # on its way: the mailbox has it
                return json_response(coming, 202, location)
            return None

        # Who asks a server that stops must not think that there is no execution, and make another.
        coming = coming_view(self._engine, execution_id, namespace, flow_id, created.flow_revision)
        return Later(look, (execution_id,), json_response(coming, 202, location))

    def validate(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Check inputs; nothing is stored."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        with inputs_given(request) as inputs:
            answers, failed = self._engine.validate_flow_inputs(definition, inputs)
        declared = written(existing_flow(self._stores.flows, namespace, flow_id, definition.revision).source).get(
            "inputs"
        )
        checks = [
            {"message": each.message, "style": str(each.style), "behavior": str(each.behavior)} for each in failed
        ]
        return json_response(
            {
                "id": flow_id,
                "namespace": namespace,
                "inputs": input_answers(answers, declared),
                "checks": checks,
            }
        )


@contextmanager
def inputs_given(request: Request) -> Iterator[dict[str, Any]]:
    """Give the inputs of a body, a part each; files as paths that are there until the block is left."""
    given: dict[str, Any] = {}
    with ExitStack() as made:
        folder = ""
        for number, part in enumerate(parts(request)):
            if part.filename is None:
                given[part.name] = part.content.decode("utf-8", "replace")
                continue
            # Most bodies hold no file, and making a folder takes its time.
            folder = folder or made.enter_context(tempfile.TemporaryDirectory(prefix="headrace-"))
            path = Path(folder) / str(number) / file_name(PurePosixPath(part.filename).name)
            path.parent.mkdir()
            part.save(path)
            given[part.filename if part.name == "files" else part.name] = path
        yield given


def refuse_breakpoints(request: Request) -> None:
    """Raise ApiError 422 when an execution shall stop on its way: none would."""
    if request.one("breakpoints"):
        raise ApiError(422, "Illegal argument: there are no breakpoints")


def labels_given(request: Request) -> dict[str, str]:
    """Return the labels that a query gives an execution. Raises ApiError 422."""
    labels = {}
    for given in request.query.get("labels", ()):
        key, separator, value = given.partition(":")
        if not key or not separator:
            raise ApiError(422, f"Invalid entity: a label is `key:value`, not `{given[:100]}`")
        if key.startswith("system.") and key != CORRELATION_LABEL:
            raise ApiError(422, f"Illegal argument: System labels can only be set by Kestra itself: {key[:100]}")
        labels[key] = value
    return labels


def input_answers(answers: Sequence[Mapping[str, Any]], declared: Any) -> list[dict[str, Any]]:
    """Return what is said of each input, with what its author wrote of it."""
    own = {each.get("id"): each for each in declared or () if isinstance(each, dict)}
    return [
        {"input": shown(own.get(answer["id"], {"id": answer["id"]})), **_without(answer, "id")} for answer in answers
    ]


def _without(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}
