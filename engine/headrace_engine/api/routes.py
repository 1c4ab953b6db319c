"""The routes, and what dispatches to them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from headrace_engine.api.executions import Executions
from headrace_engine.api.flows import Flows
from headrace_engine.api.http import ApiError, Request, Response, error_response, json_response
from headrace_engine.engine import CheckFailedError, Engine, NoSuchExecutionError, NoSuchFlowError, UnsupportedError
from headrace_engine.executor import Executor
from headrace_engine.inputs import InputError
from headrace_engine.language import FlowError
from headrace_engine.operations import IllegalStateError, UnprocessableError
from headrace_engine.ports import Mailbox, NotFoundError, PortError

Answer = Callable[..., Response]
_log = logging.getLogger(__name__)
_PREFIX = re.compile(r"/api/v1(?:/main)?(?=/)")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path below ``/api/v1``, with names in braces, and what answers it: with request and names."""

    method: str
    path: str
    answer: Answer

    def match(self, segments: Sequence[str]) -> Mapping[str, str] | None:
        """Return the names' values when the path is this route's."""
        own = self.path.strip("/").split("/")
        if len(own) != len(segments):
            return None
        names = {}
        for pattern, segment in zip(own, segments, strict=True):
            if pattern.startswith("{"):
                names[pattern[1:-1]] = segment
            elif pattern != segment:
                return None
        return names


class Api:
    """The API of one engine."""

    def __init__(self, engine: Engine, executor: Executor, mailbox: Mailbox, *, wait: Callable[[float], None]) -> None:
        """Take the engine; *wait* passes so many seconds (time.sleep, or a clock's own)."""
        flows = Flows(engine, executor.settle_slots)
        executions = Executions(engine, mailbox, wait)
        self.routes: tuple[Route, ...] = (
            Route("POST", "/flows", flows.create),
            Route("GET", "/flows/{namespace}", flows.of_namespace),
            Route("GET", "/flows/{namespace}/{flow_id}", flows.get),
            Route("PUT", "/flows/{namespace}/{flow_id}", flows.update),
            Route("DELETE", "/flows/{namespace}/{flow_id}", flows.delete),
            Route("GET", "/executions", executions.of_flow),
            Route("GET", "/executions/search", executions.search),
            Route("GET", "/executions/{execution_id}", executions.get),
            Route("GET", "/executions/{execution_id}/follow", executions.follow),
            Route("DELETE", "/executions/{execution_id}/kill", executions.kill),
            Route("POST", "/executions/{execution_id}/restart", executions.restart),
            Route("POST", "/executions/{execution_id}/resume", executions.resume),
            Route("POST", "/executions/{namespace}/{flow_id}", executions.create),
            Route("GET", "/logs/{execution_id}", executions.logs),
        )

    def __call__(self, request: Request) -> Response:
        """Answer a request; whatever goes wrong is an answer, too."""
        try:
            return self._answer(request)
        except ApiError as error:
            return error_response(error)
        except Exception:  # noqa: BLE001 - the text of an unexpected error is not for the world
            _log.exception("%s %s failed", request.method, request.path)
            return error_response(ApiError(500, "Internal server error"))

    def _answer(self, request: Request) -> Response:
        prefix = _PREFIX.match(request.path)
        if prefix is None:
            raise ApiError(404, f"Not Found: {request.path}")
        segments = [unquote(segment) for segment in request.path[prefix.end() :].strip("/").split("/")]
        allowed = set()
        for route in self.routes:
            names = route.match(segments)
            if names is None:
                continue
            if route.method == request.method:
                return _translated(route, request, names)
            allowed.add(route.method)
        if allowed:
            methods = ", ".join(sorted(allowed))
            raise ApiError(405, f"Method {request.method} is not allowed for {request.path}; allowed: {methods}")
        raise ApiError(404, f"Not Found: {request.path}")


def _translated(route: Route, request: Request, names: Mapping[str, str]) -> Response:
    """Answer, with the engine's errors in the API's terms (reference §14.1)."""
    try:
        return route.answer(request, **names)
    except (NoSuchFlowError, NoSuchExecutionError, NotFoundError) as error:
        raise ApiError(404, f"Not Found: {error}") from None
    except IllegalStateError as error:
        raise ApiError(409, str(error)) from None
    except FlowError as error:
        problems = [(problem.message, problem.path) for problem in error.problems]
        raise ApiError(422, f"Invalid entity: {error}", problems) from None
    except (UnprocessableError, InputError, CheckFailedError, UnsupportedError) as error:
        raise ApiError(422, f"Invalid entity: {error}" if isinstance(error, InputError) else str(error)) from None
    except PortError:
        _log.exception("%s %s failed for now", request.method, request.path)
        return json_response({"message": "A store did not answer; try again"}, 503, {"retry-after": "1"})
