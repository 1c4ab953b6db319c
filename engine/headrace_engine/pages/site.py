"""The API and the pages under one roof: what a host serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import unquote, urlencode

import msgspec

from headrace_engine.api import Admission, Answer, Api, ApiError, Later, Request, Response
from headrace_engine.api.entrance import wants_page
from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.gate import Asked, Gate, safe
from headrace_engine.api.http import JSON, whole
from headrace_engine.api.route import Route
from headrace_engine.api.routes import admitted, told
from headrace_engine.api.table import Table
from headrace_engine.engine import Engine
from headrace_engine.executor import Executor
from headrace_engine.identity import Role
from headrace_engine.pages.approvals import ApprovalPages
from headrace_engine.pages.assets import Assets
from headrace_engine.pages.execution_list import ExecutionList
from headrace_engine.pages.executions import ExecutionPages
from headrace_engine.pages.flows import FlowPages
from headrace_engine.pages.forms import FormPages
from headrace_engine.pages.html import failure, moved, path
from headrace_engine.pages.signing import SigningPages
from headrace_engine.pages.uploading import MOST_OF_FILES, Uploading
from headrace_engine.ports import Mailbox

_A = TypeVar("_A")
FIRST = frozenset({"", "login", "logout", "flows", "forms", "executions", "approve", "assets"})
"""The first segments of the pages' paths; all others are the API's."""


class Site:
    """The API of one engine, and its pages."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        mailbox: Mailbox,
        gate: Gate,
        *,
        wait: Callable[[float], None],
        largest_files: int = MOST_OF_FILES,
    ) -> None:
        """Take what the API takes, and how many bytes the files of a form may have."""
        self.api = Api(engine, executor, mailbox, gate, wait=wait)
        self._gate = gate
        self._wait = wait
        asking = Asking(engine, mailbox)
        uploading = Uploading(engine, largest_files)
        self.routes: tuple[Route, ...] = (
            Route("GET", "/", _begin, role=Role.VIEWER, each=True),
            *FlowPages(engine).routes(),
            *FormPages(engine, asking, uploading).routes(),
            *ExecutionList(engine).routes(),
            *ExecutionPages(engine, asking).routes(),
            *ApprovalPages(engine, asking, uploading).routes(),
            *SigningPages(gate).routes(),
            *Assets(engine.stores.storage).routes(),
        )
        self._table = Table(self.routes)

    def __call__(self, request: Request) -> Answer:
        """Answer a request; whatever goes wrong is an answer, too."""
        segments = [unquote(segment) for segment in request.path.strip("/").split("/")]
        if segments[0] not in FIRST:
            return self.api(request)
        answer = self._or_sign_in(request, _shown(request, lambda: self._answer(request, segments)))
        if isinstance(answer, Later):
            look = answer.look
            answer = replace(answer, look=lambda: _shown(request, look))
        answer = safe(answer)
        return answer if request.streams else safe(_shown(request, lambda: whole(answer, self._wait)))

    def admit(self, request: Request) -> Admission:
        """Tell whether a request is to be answered whose body is still to come."""
        segments = [unquote(segment) for segment in request.path.strip("/").split("/")]
        if segments[0] not in FIRST:
            return self.api.admit(request)
        answer = _shown(
            request,
            lambda: admitted(request, self._table.find(request, segments), self._gate, self.api.namespace_of),
        )
        return Admission(refusal=safe(answer)) if isinstance(answer, Response) else answer

    def _or_sign_in(self, request: Request, answer: Answer) -> Answer:
        """Send who wants to look at a page, and has not said who they are, to where that is asked."""
        asks = isinstance(answer, Response) and answer.status == 401 and self._gate.entrance is not None
        if not asks or request.method != "GET" or not wants_page(request):
            return answer
        query = urlencode(request.query, doseq=True)
        return moved(path("login", to=f"{request.path}?{query}" if query else request.path))

    def _answer(self, request: Request, segments: list[str]) -> Answer:
        found = self._table.find(request, segments)
        if isinstance(found, Response):
            return found
        route, names = found
        return self._gate.answer(Asked(route, names, request, partial(_shown, request)), self.api.namespace_of)


def _begin(request: Request) -> Response:
    """Show the flows to who names no page."""
    del request
    return moved("/flows")


def _shown(request: Request, ask: Callable[[], _A]) -> _A | Response:
    """Return what *ask* returns, or what it raises as a page: what the API would say, to be read by a person."""
    answer = told(request, ask)
    if isinstance(answer, Response) and answer.status >= 400 and answer.headers.get("content-type") == JSON:
        message = str(msgspec.json.decode(answer.body).get("message", ""))
        error = ApiError(answer.status, message, headers={**answer.headers, "content-type": ""})
        return failure(error)
    return answer
