"""The routes, and what dispatches to them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import unquote

from headrace_engine.api.dependencies import Dependencies
from headrace_engine.api.doctor import DoctorRoutes
from headrace_engine.api.events import EventRoutes
from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.execution_bulk import ExecutionBulk
from headrace_engine.api.execution_dependencies import ExecutionDependencies
from headrace_engine.api.execution_files import ExecutionFiles
from headrace_engine.api.execution_outputs import ExecutionOutputs
from headrace_engine.api.execution_starts import ExecutionStarts
from headrace_engine.api.execution_verbs import ExecutionVerbs
from headrace_engine.api.executions import Executions
from headrace_engine.api.flow_lists import FlowLists
from headrace_engine.api.flows import Flows
from headrace_engine.api.gate import Asked, Gate, safe
from headrace_engine.api.http import (
    Admission,
    Answer,
    ApiError,
    Later,
    Request,
    Response,
    error_response,
    json_response,
    whole,
)
from headrace_engine.api.kv import KeyValues
from headrace_engine.api.logs import LogRoutes
from headrace_engine.api.metrics import MetricRoutes
from headrace_engine.api.misc import Misc
from headrace_engine.api.namespace_files import NamespaceFiles
from headrace_engine.api.namespaces import Namespaces
from headrace_engine.api.openapi import OpenApi
from headrace_engine.api.plugins import Plugins
from headrace_engine.api.retention import RetentionRoutes
from headrace_engine.api.route import Route
from headrace_engine.api.saving import Saving
from headrace_engine.api.schedule_dates import ScheduleDatesRoutes
from headrace_engine.api.stats import StatsRoutes
from headrace_engine.api.table import Found, Table
from headrace_engine.api.templates import Templates
from headrace_engine.api.triggers import Triggers
from headrace_engine.api.uploads import UploadRoutes
from headrace_engine.api.users import UserRoutes
from headrace_engine.api.webhooks import WebhookRoutes
from headrace_engine.engine import CheckFailedError, Engine, NoSuchExecutionError, NoSuchFlowError, UnsupportedError
from headrace_engine.event_triggers import EventTriggers
from headrace_engine.executor import Executor
from headrace_engine.inputs import InputError
from headrace_engine.language import FlowError
from headrace_engine.operations import IllegalStateError, UnprocessableError
from headrace_engine.ports import Mailbox, NotFoundError, PortError

_A = TypeVar("_A")
_log = logging.getLogger(__name__)
_PREFIX = re.compile(r"/api/v1(?:/main)?(?=/)")


class Api:
    """The API of one engine."""

    def __init__(
        self, engine: Engine, executor: Executor, mailbox: Mailbox, gate: Gate, *, wait: Callable[[float], None]
    ) -> None:
        """Take the engine, and the *gate* that lets pass who may; *wait* passes so many seconds."""
        self._engine = engine
        self._gate = gate
        saving = Saving(engine, executor.settle_slots)
        dependencies = Dependencies(engine)
        self._wait = wait
        asking = Asking(engine, mailbox)
        users = UserRoutes(gate.accounts, gate.audit, gate.clock).routes() if gate.accounts is not None else ()
        self.routes: tuple[Route, ...] = (
            *Flows(engine, saving).routes(),
            *FlowLists(engine, saving, dependencies).routes(),
            *Templates(engine).routes(),
            *Namespaces(engine).routes(),
            *NamespaceFiles(engine, saving).routes(),
            *KeyValues(engine).routes(),
            *Plugins(engine).routes(),
            *Misc(engine, saving).routes(),
            *OpenApi(lambda: self.routes).routes(),
            *WebhookRoutes(engine, mailbox).routes(),
            *EventRoutes(EventTriggers(engine, mailbox), engine.stores.clock).routes(),
            *ExecutionStarts(engine, asking).routes(),
            *Executions(engine, asking).routes(),
            *ExecutionVerbs(engine, asking).routes(),
            *ExecutionBulk(engine, asking).routes(),
            *ExecutionFiles(engine, asking).routes(),
            *ExecutionDependencies(engine).routes(),
            *ExecutionOutputs(engine, asking).routes(),
            *UploadRoutes(engine).routes(),
            *LogRoutes(engine).routes(),
            *MetricRoutes(engine).routes(),
            *StatsRoutes(engine).routes(),
            *Triggers(engine).routes(),
            *ScheduleDatesRoutes(engine, saving).routes(),
            *DoctorRoutes(engine).routes(),
            *RetentionRoutes(engine).routes(),
            *users,
        )

        self._table = Table(self.routes)

    def __call__(self, request: Request) -> Answer:
        """Answer a request; whatever goes wrong is an answer, too. A Response, unless the request says `streams`."""
        answer = told(request, lambda: self._answer(request))
        if isinstance(answer, Later):
            look = answer.look
            answer = replace(answer, look=lambda: told(request, look))
        answer = safe(answer)
        return answer if request.streams else safe(told(request, lambda: whole(answer, self._wait)))

    def admit(self, request: Request) -> Admission:
        """Tell whether a request is to be answered whose body is still to come."""
        answer = told(request, lambda: admitted(request, self._found(request), self._gate, self.namespace_of))
        return Admission(refusal=safe(answer)) if isinstance(answer, Response) else answer

    def namespace_of(self, execution_id: str) -> str | None:
        """Return the namespace of an execution, also of one whose summary is not there yet; None without one."""
        summary = self._engine.stores.executions.get(execution_id)
        if summary is not None:
            return summary.namespace
        state = self._engine.platform.state(execution_id)
        return state.flow.definition.namespace if state is not None else None

    def _answer(self, request: Request) -> Answer:
        found = self._found(request)
        if isinstance(found, Response):
            return found
        route, names = found
        return self._gate.answer(Asked(route, names, request, partial(told, request)), self.namespace_of)

    def _found(self, request: Request) -> Found:
        path = f"/api/v1{request.path}" if request.path == "/openapi.json" else request.path
        prefix = _PREFIX.match(path)
        if prefix is None:
            raise ApiError(404, f"Not Found: {request.path}")
        return self._table.find(request, [unquote(segment) for segment in path[prefix.end() :].strip("/").split("/")])


def admitted(request: Request, found: Found, gate: Gate, namespace_of: Callable[[str], str | None]) -> Admission:
    """Return whether a request is to be answered whose body is still to come. Raises as `Gate.answer` does."""
    if isinstance(found, Response):  # needs no body
        return Admission()
    route, names = found
    return gate.admit(Asked(route, names, request, partial(told, request)), namespace_of)


def told(request: Request, ask: Callable[[], _A]) -> _A | Response:
    """Return what *ask* returns, or what it raises in the API's terms (reference §14.1)."""
    try:
        return ask()
    except (NoSuchFlowError, NoSuchExecutionError, NotFoundError) as error:
        return error_response(ApiError(404, f"Not Found: {error}"))
    except IllegalStateError as error:
        return error_response(ApiError(409, str(error)))
    except FlowError as error:
        problems = [(problem.message, problem.path) for problem in error.problems]
        return error_response(ApiError(422, f"Invalid entity: {error}", problems))
    except (UnprocessableError, InputError, CheckFailedError, UnsupportedError) as error:
        message = f"Invalid entity: {error}" if isinstance(error, InputError) else str(error)
        return error_response(ApiError(422, message))
    except ApiError as error:
        return error_response(error)
    except PortError:
        _log.exception("%s %s failed for now", request.method, request.path)
        return json_response({"message": "A store did not answer; try again"}, 503, {"retry-after": "1"})
    except Exception:  # noqa: BLE001 - the text of an unexpected error is not for the world
        _log.exception("%s %s failed", request.method, request.path)
        return error_response(ApiError(500, "Internal server error"))
