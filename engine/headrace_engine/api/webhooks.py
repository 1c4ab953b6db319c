"""Webhooks (reference §8.3, §14.3): the one way to start an execution without being somebody here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from headrace_engine.api.http import JSON, Answer, ApiError, Later, Request, Response, json_response
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.context import TENANT, trigger_variables
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.expressions import ExpressionError
from headrace_engine.identity import Role
from headrace_engine.model.state import State
from headrace_engine.ports import Mailbox
from headrace_engine.view import instant
from headrace_engine.webhooks import (
    Call,
    KeysUnavailableError,
    NoSuchWebhookError,
    Nothing,
    Taken,
    TriggerError,
    UnauthorizedError,
    WebhookDisabledError,
    Webhooks,
)

_WAITS = timedelta(seconds=25)
"""How long `wait` waits: API Gateway gives up after 30 seconds."""
_WAITS_HERE = timedelta(hours=1)
"""How long where waiting costs nothing."""
_LONGEST_KEY = 255
_TEXT = "text/plain"


class WebhookRoutes:
    """Answers calls of webhooks."""

    def __init__(self, engine: Engine, mailbox: Mailbox) -> None:
        self._engine = engine
        self._webhooks = Webhooks(engine, mailbox)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of webhooks; whoever knows the key, and can sign where that is demanded, may call."""
        returns = (
            Returns(200, Any, about="The execution; with `wait` and `returnOutputs` the outputs of the flow alone."),
            Returns(202, Any, about="With `wait`: the execution goes on; `Location` says where to look."),
            Returns(204, about="The conditions of the trigger do not hold: nothing was started."),
        )
        body = (Body(bytes, "application/octet-stream", required=False),)
        path = "/executions/webhook/{namespace}/{flow_id}/{key}"
        return tuple(
            Route(
                method,
                path,
                self.call,
                role=Role.OPEN,
                summary="Start an execution by a webhook",
                changes=True,
                bodies=() if method == "GET" else body,
                returns=returns,
                refuses=(404, 409, 422),
                admits=self.admits,
            )
            for method in ("GET", "POST", "PUT")
        )

    def admits(self, _request: Request, namespace: str, flow_id: str, key: str) -> None:
        """Have nobody send a large body to what is not there. Raises ApiError 404."""
        try:
            self._webhooks.must_be(namespace, flow_id, key)
        except NoSuchWebhookError:
            raise _no_such_webhook() from None

    def call(self, request: Request, namespace: str, flow_id: str, key: str) -> Answer:
        """GET, POST or PUT /executions/webhook/{ns}/{id}/{key}: starts an execution."""
        if request.method == "HEAD":  # who looks must start nothing
            raise ApiError(405, "Method HEAD is not allowed for a webhook", headers={"allow": "GET, POST, PUT"})
        idempotency_key = request.headers.get("idempotency-key", "").strip() or None
        if idempotency_key is not None and len(idempotency_key) > _LONGEST_KEY:
            raise ApiError(400, f"Bad request: an Idempotency-Key has {_LONGEST_KEY} characters at most")
        taken = self._take(namespace, flow_id, key, Call(request.headers, request.query, request.body, idempotency_key))
        if isinstance(taken, Nothing):
            return Response(204)
        request.note(f"execution {taken.execution_id}")
        if not _flag(taken, "wait"):
            return self._answer(taken, taken.state, 200)
        until = self._engine.stores.clock.now() + (_WAITS_HERE if request.streams else _WAITS)
        return Later(lambda: self._ended(taken, until), (taken.execution_id,))

    def _take(self, namespace: str, flow_id: str, key: str, call: Call) -> Taken | Nothing:
        try:
            return self._webhooks.take(namespace, flow_id, key, call)
        except NoSuchWebhookError:
            raise _no_such_webhook() from None
        except UnauthorizedError:
            # What is wrong with it is in the log: whoever tries signatures learns nothing.
            headers = {"www-authenticate": "Webhook"}
            raise ApiError(401, "Unauthorized: the call's signature or token does not count", headers=headers) from None
        except WebhookDisabledError:
            raise ApiError(409, "Illegal state: Cannot execute a disabled flow or webhook") from None
        except TriggerError as error:
            raise ApiError(422, f"Illegal argument: {error}") from None
        except KeysUnavailableError:
            retry = {"retry-after": "10"}
            raise ApiError(503, "The keys of the token's issuer cannot be had; try again", headers=retry) from None

    def _ended(self, taken: Taken, until: Any) -> Response | None:
        """Return the answer once the execution has ended, or after *until*."""
        state = self._engine.platform.state(taken.execution_id)
        if state is not None and state.closed:
            return self._answer(taken, state, 200)
        if self._engine.stores.clock.now() >= until:
            return self._answer(taken, state, 202)
        return None

    # -- The answer ---------------------------------------------------------------------------------

    def _answer(self, taken: Taken, state: ExecutionState | None, status: int) -> Response:
        location = f"/api/v1/main/executions/{taken.execution_id}"
        media = str(taken.trigger.properties.get("responseContentType") or JSON)
        ended = state is not None and state.closed
        if ended and _flag(taken, "wait"):
            status = self._status(taken, state)
        if ended and _flag(taken, "wait") and _flag(taken, "returnOutputs"):
            outputs = self._outputs(state)
            if media == _TEXT:
                return Response(status, _text(outputs), {"content-type": f"{_TEXT}; charset=utf-8"})
            return json_response(outputs, status)
        if not ended and not _flag(taken, "wait"):
            status = self._status(taken, None)
        return json_response(self._view(taken, state, location), status, {"location": location})

    def _outputs(self, state: ExecutionState | None) -> Any:
        if state is None or state.outputs is None:
            return {}
        return self._engine.payloads.load(state.outputs)

    def _view(self, taken: Taken, state: ExecutionState | None, location: str) -> dict[str, Any]:
        """Return what a caller may see of the execution: nobody here vouches for who that is."""
        created = taken.created
        view = {
            "tenantId": TENANT,
            "id": taken.execution_id,
            "namespace": created.namespace,
            "flowId": created.flow_id,
            "flowRevision": created.flow_revision,
            "trigger": self._trigger(created),
            "labels": [{"key": key, "value": value} for key, value in created.labels],
            "url": self._engine.settings.surroundings.url.rstrip("/") + location,
        }
        if state is None or not state.histories:
            now = instant(self._engine.stores.clock.now())
            created_at = {"state": State.CREATED.value, "date": now}
            return {
                **view,
                "outputs": None,
                "state": {"current": State.CREATED.value, "histories": [created_at], "startDate": now},
            }
        full = self._engine.view(state)
        shows = state.closed and _flag(taken, "wait")
        return {**view, "outputs": full["outputs"] if shows else None, "state": full["state"]}

    def _trigger(self, created: ExecutionCreated) -> dict[str, Any] | None:
        if created.trigger is None:
            return None
        return {**created.trigger, "variables": trigger_variables(created, self._engine.payloads.load)}

    def _status(self, taken: Taken, state: ExecutionState | None) -> int:
        """Return `responseCode`, rendered with the outputs of an execution that has ended; 200 when it is none."""
        wanted = taken.trigger.properties.get("responseCode")
        if wanted is None:
            return 200
        variables: Mapping[str, Any] = {
            "trigger": trigger_variables(taken.created, self._engine.payloads.load),
            "outputs": self._outputs(state),
        }
        flow = self._engine.flow_for(taken.created)
        host = self._engine.preparer.host_of(flow.definition, taken.execution_id, self._engine.stores.clock.now())
        try:
            status = int(self._engine.expressions.render(str(wanted), variables, host))
        except (ExpressionError, ValueError):
            return 200
        return status if 200 <= status <= 599 else 200


def _no_such_webhook() -> ApiError:
    return ApiError(404, "Not Found: there is no such webhook")


def _flag(taken: Taken, name: str) -> bool:
    return str(taken.trigger.properties.get(name, "")).lower() == "true"


def _text(outputs: Any) -> bytes:
    """Return outputs as text: the value of the only one, or all of them as JSON."""
    if isinstance(outputs, Mapping) and len(outputs) == 1:
        (value,) = outputs.values()
        if isinstance(value, str):
            return value.encode()
        return json_response(value).body
    return json_response(outputs).body
