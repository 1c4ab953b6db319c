"""The files of an execution, as they are and as a glance at them; and expressions tried on it (reference §14.3)."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal, Protocol, TypedDict, runtime_checkable
from urllib.parse import quote

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.http import Answer, ApiError, Request, Response, Stream, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.context import Variables
from headrace_engine.engine import Engine
from headrace_engine.expressions import ExpressionError, NoHost
from headrace_engine.host import StepHost
from headrace_engine.identity import Role
from headrace_engine.inputs import typed_inputs
from headrace_engine.ports import StoredFile
from headrace_engine.run_stores import execution_folder, is_file_of
from headrace_engine.sealing import MASK, is_sealed

_CHUNK = 64 * 1024
_HELD = 4 * 1024 * 1024
"""Bytes of a file that an answer holds whole, where a host does not stream; a larger one is read from its store."""
_VALID = timedelta(minutes=5)
"""How long the address of a larger file can be used."""
_GLANCED = 2 * 1024 * 1024
"""Bytes of a file that a preview looks at."""
_PICTURE = 10 * 1024 * 1024
_ROWS = 100
_MOST_ROWS = 10_000
_LONGEST_EXPRESSION = 64 * 1024

_IMAGES = frozenset({"png", "jpg", "jpeg", "gif", "webp", "bmp"})  # no svg: it may hold scripts

PATH = Query("path", str, "The file's URI, which begins with `kestra:///`.", required=True)


class Metas(TypedDict):
    """What is known of a file."""

    size: int


class Preview(TypedDict):
    """A glance at a file: rows of a LIST, text, or the file in base64; truncated when there is more."""

    extension: str
    type: Literal["LIST", "TEXT", "IMAGE", "MARKDOWN", "PDF"]
    content: Any
    truncated: bool


class Evaluation(TypedDict):
    """What an expression gives; or why it gives nothing."""

    result: str | None
    error: str | None
    stackTrace: str | None


@runtime_checkable
class Addressed(Protocol):
    """A store whose files can be fetched without us, by whoever has the address."""

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        """Return an address that is valid so long."""


class ExecutionFiles:
    """Answers requests about the files of executions."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        self._storage = engine.stores.storage

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/executions/{execution_id}"
        evaluation: dict[str, Any] = {
            "role": Role.EDITOR,
            "changes": False,
            "bodies": (Body(str, "text/plain"),),
            "returns": (Returns(200, Evaluation),),
            "refuses": (404, 422),
        }
        return (
            Route(
                "GET",
                f"{one}/file",
                self.file,
                role=Role.VIEWER,
                summary="Get a file of an execution",
                query=(PATH,),
                returns=(
                    Returns(200, bytes, "application/octet-stream"),
                    Returns(302, about="Where a large file is to be fetched, for five minutes."),
                ),
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{one}/file/metas",
                self.metas,
                role=Role.VIEWER,
                summary="Get the size of a file of an execution",
                query=(PATH,),
                returns=(Returns(200, Metas),),
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{one}/file/preview",
                self.preview,
                role=Role.VIEWER,
                summary="Get a glance at a file of an execution",
                query=(
                    PATH,
                    Query("maxRows", int, f"Rows of a table, {_MOST_ROWS} at most; {_ROWS} unless told."),
                    Query("encoding", str, "Of its text; UTF-8 unless told."),
                ),
                returns=(Returns(200, Preview),),
                refuses=(404, 422),
            ),
            Route("POST", f"{one}/eval", self.evaluate, summary="Try an expression on an execution", **evaluation),
            Route(
                "POST",
                f"{one}/eval/{{task_run_id}}",
                self.evaluate,
                summary="Try an expression on a task run",
                **evaluation,
            ),
        )

    # -- Files ------------------------------------------------------------------------------------------

    def file(self, request: Request, execution_id: str) -> Answer:
        """Return a file."""
        stored = self._stored(request, execution_id)
        if not request.streams and stored.size > _HELD and isinstance(self._storage, Addressed):
            address = self._storage.address_to_read(stored.uri, _VALID)
            return Response(302, headers={"location": address})
        name = PurePosixPath(stored.uri).name
        headers = {
            # Never as what it says it is: a browser would run a page that somebody stored.
            "content-type": "application/octet-stream",
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "content-length": str(stored.size),
        }
        file = self._storage.open(stored.uri)
        return Stream(200, _chunks(file), headers)

    def metas(self, request: Request, execution_id: str) -> Response:
        """Return a file's size."""
        return json_response({"size": self._stored(request, execution_id).size})

    def preview(self, request: Request, execution_id: str) -> Response:
        """Return the beginning of a file, as what it is by its name."""
        rows = request.number("maxRows", _ROWS)
        if rows > _MOST_ROWS:
            raise ApiError(400, f"Bad request: `maxRows` is {_MOST_ROWS} at most")
        encoding = request.one("encoding") or "UTF-8"
        try:
            "".encode(encoding)
        except (LookupError, ValueError, UnicodeError):
            raise ApiError(422, f"Illegal argument: `{encoding[:100]}` is no encoding") from None
        stored = self._stored(request, execution_id)
        extension = PurePosixPath(stored.uri).suffix.removeprefix(".").lower()
        is_picture = extension in _IMAGES or extension == "pdf"
        with closing(self._storage.open(stored.uri)) as file:
            content = file.read((_PICTURE if is_picture else _GLANCED) + 1)
        cut = len(content) > (_PICTURE if is_picture else _GLANCED)
        kind: str
        shown: Any
        if is_picture:
            kind = "PDF" if extension == "pdf" else "IMAGE"
            shown = "" if cut else base64.b64encode(content).decode()
        else:
            try:
                text = content[:_GLANCED].decode(encoding, "replace")
            except (LookupError, ValueError):  # an encoding of bytes to bytes
                raise ApiError(422, f"Illegal argument: `{encoding[:100]}` is no encoding of text") from None
            kind, shown, cut = self._glance(extension, text, rows, cut=cut)
        return json_response({"extension": extension, "type": kind, "content": shown, "truncated": cut})

    def _glance(self, extension: str, text: str, rows: int, *, cut: bool) -> tuple[str, Any, bool]:
        if extension in ("ion", "jsonl", "csv"):
            lines = text.splitlines()
            if cut and extension != "csv":
                lines = lines[:-1]  # the last one is not whole
            try:
                found = list(_head(self._rows(extension, lines), rows + 1))
            except (ValueError, csv.Error, RecursionError):
                found = []  # not what its name says: shown as the text it is
            if found or not text.strip():
                return "LIST", found[:rows], cut or len(found) > rows
        return "MARKDOWN" if extension == "md" else "TEXT", text, cut

    def _rows(self, extension: str, lines: list[str]) -> Iterator[Any]:
        if extension == "csv":
            return iter(csv.DictReader(io.StringIO("\n".join(lines)), restkey="…"))
        if extension == "jsonl":
            return (json.loads(line) for line in lines if line.strip())
        return self._ion_rows(lines)

    def _ion_rows(self, lines: list[str]) -> Iterator[Any]:
        for line in lines:
            if line.strip():
                yield json.loads(
                    self._engine.expressions.render("{{ fromIon(row) | toJson }}", {"row": line}, NoHost())
                )

    def _stored(self, request: Request, execution_id: str) -> StoredFile:
        """Return the file that is asked for. Raises ApiError 422 for one that is not the execution's, 404 for none."""
        path = request.one("path")
        if not path:
            raise ApiError(400, "Bad request: `path` is needed")
        definition = self._asking.state(execution_id).flow.definition
        folder = execution_folder(definition.namespace, definition.id, execution_id)
        if not is_file_of(folder, path):
            raise ApiError(422, f"Illegal argument: Invalid path, it is not of the execution: `{path[:500]}`")
        try:
            stored = self._storage.stat(path)
        except ValueError as error:  # no path of a store
            raise ApiError(422, f"Illegal argument: {error}") from None
        if stored is None:
            raise ApiError(404, f"Not Found: File {path[:500]}")
        return stored

    # -- Expressions ------------------------------------------------------------------------------------

    def evaluate(self, request: Request, execution_id: str, task_run_id: str = "") -> Response:
        """Render an expression as the execution, or one of its task runs, would; secrets stay masked."""
        expression = request.text()
        if len(expression) > _LONGEST_EXPRESSION:
            raise ApiError(422, f"Illegal argument: an expression has at most {_LONGEST_EXPRESSION} characters")
        state = self._asking.state(execution_id)
        task_run = state.task_runs.get(task_run_id)
        if task_run is None and task_run_id:
            raise ApiError(404, f"Not Found: TaskRun {task_run_id[:100]}")
        definition = state.flow.definition
        engine = self._engine
        parent = state.created.parent_id if state.created is not None else None
        host = _MaskingHost(
            engine.stores,
            engine.settings,
            namespace=definition.namespace,
            flow_id=definition.id,
            execution_id=state.id,
            now=engine.stores.clock.now(),
            parent_id=parent,
        )
        load = engine.payloads.load

        def inputs() -> Any:
            stored = load(state.created.inputs) if state.created is not None else {}
            return typed_inputs(definition.inputs, stored, unseal=lambda _sealed: MASK)

        variables = Variables(
            state,
            task_run,
            load=lambda payload: _masked(load(payload)),
            inputs=inputs,
            surroundings=engine.settings.surroundings,
        )
        answer: Evaluation = {"result": None, "error": None, "stackTrace": None}
        try:
            answer["result"] = engine.expressions.render(expression, variables, host)
        except ExpressionError as error:
            answer |= {"error": str(error), "stackTrace": str(error)}
        return json_response(answer)


class _MaskingHost(StepHost):
    """The outside for somebody who only looks: nothing is sent anywhere, and no secret is shown."""

    def secret(self, key: str, namespace: str | None) -> str:
        """Return a mask where there is such a secret. Raises ExpressionError."""
        super().secret(key, namespace)
        return MASK

    def opened(self, value: Mapping[str, Any]) -> Any:
        """Return a mask for what is sealed."""
        return MASK if is_sealed(value) else value

    def http(self, request: Any) -> Any:
        """Refuse."""
        del request
        raise ExpressionError("The function http() is not available here")


def _masked(value: Any) -> Any:
    """Return *value* with what is sealed in it masked: no expression opens it."""
    if isinstance(value, dict):
        return MASK if is_sealed(value) else {key: _masked(each) for key, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with closing(file):
        while chunk := file.read(_CHUNK):
            yield chunk


def _head(rows: Iterator[Any], count: int) -> Iterator[Any]:
    for _, row in zip(range(count), rows, strict=False):
        yield row
