"""The `api` function: the REST API behind API Gateway's HTTP API (payload 2.0), and what attempts ask for."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from headrace_engine.adapters.aws.signing import is_token_of
from headrace_engine.apart import RefusedError
from headrace_engine.api import ApiError, Request, Response
from headrace_engine.api.gate import safe
from headrace_engine.api.http import error_response, json_response, whole
from headrace_engine.attempt_access import AttemptAccess
from headrace_engine.pages import Site
from headrace_engine.ports import AttemptId, PortError
from headrace_functions.callers import Callers, gate
from headrace_functions.containers import apart
from headrace_functions.observability import logger
from headrace_functions.wiring import Wiring, wiring

LARGEST_ANSWER = 6 * 1024 * 1024 - 64 * 1024
"""Bytes of an answer that Lambda passes on, with room for what is around it. A larger one is read from the bucket."""
_FETCHED = timedelta(minutes=5)
"""How long a larger answer can be read."""
_ATTEMPT = re.compile(r"/api/v1/attempts/(?P<execution>\w+)/(?P<run>\w+)/(?P<number>\d{1,9})/(?P<operation>\w+)")


class ApiFunction:
    """Answers API Gateway's events."""

    def __init__(self, wired: Wiring) -> None:
        self._wired = wired
        self._site = Site(wired.engine, wired.executor, wired.mailbox, gate(wired), wait=time.sleep)
        self._callers = Callers(wired.environment.callers)
        self._access = AttemptAccess(
            wired.engine,
            wired.storage,
            apart(
                wired.environment,
                wired.engine,
                wired.storage,
                wired.attempts,
                lambda job: wired.places.route(job).placement,
            ),
            wired.task_roles.environment,
        )

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        request = replace(_request(event), principal=self._callers.principal(event))
        asked = _ATTEMPT.fullmatch(request.path)
        answer = safe(self._for_attempt(request, asked) if asked else self._site(request))
        return self._answer(whole(answer, time.sleep))

    def _answer(self, response: Response) -> dict[str, Any]:
        encoded = base64.b64encode(response.body)
        if len(encoded) <= LARGEST_ANSWER:
            return _event(response.status, response.headers, encoded)
        # The address is for whoever was to have the answer; its signature is all that protects it.
        try:
            digest = self._wired.content.put(response.body)
            address = self._wired.content.address(digest, _FETCHED, response.headers.get("content-type"))
        except PortError:
            logger.exception("An answer could not be put into the bucket")
            return self._answer(error_response(ApiError(503, "A store did not answer; try again")))
        return _event(303, {"location": address, "cache-control": "no-store"})

    def _for_attempt(self, request: Request, asked: re.Match[str]) -> Response:
        """Answer an attempt that runs apart; API Gateway lets everybody through here, the attempt's token counts."""
        attempt = AttemptId(asked["execution"], asked["run"], int(asked["number"]))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if request.method != "POST":
            return error_response(ApiError(405, f"Method {request.method} is not allowed; allowed: POST"))
        if scheme != "Bearer" or not is_token_of(self._wired.keyring, attempt, token):
            logger.error("An attempt's token was refused", extra={"execution": attempt.execution_id})
            return error_response(ApiError(401, "Unauthorized"))
        try:
            return json_response(self._access.answer(attempt, asked["operation"], request.body))
        except RefusedError as refused:
            logger.warning("An attempt was refused something", extra={"execution": attempt.execution_id})
            return error_response(ApiError(403, str(refused)))
        except PortError:
            logger.exception("An attempt's request failed", extra={"execution": attempt.execution_id})
            return error_response(ApiError(503, "A store did not answer; try again"))


def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Answer a request."""
    return _function()(event)


@cache
def _function() -> ApiFunction:
    return ApiFunction(wiring())


def _request(event: Mapping[str, Any]) -> Request:
    http = event["requestContext"]["http"]
    body = event.get("body") or ""
    return Request(
        method=http["method"],
        path=_below_stage(event["rawPath"], event["requestContext"].get("stage", "$default")),
        query=parse_qs(event.get("rawQueryString", ""), keep_blank_values=True),
        headers=_headers(event),
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
        client=http.get("sourceIp", ""),
    )


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by their names in lower case; API Gateway keeps the cookies apart."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    return headers


def _below_stage(path: str, stage: str) -> str:
    return path if stage == "$default" else path.removeprefix(f"/{stage}")


def _event(status: int, headers: Mapping[str, str], encoded: bytes = b"") -> dict[str, Any]:
    return {"statusCode": status, "headers": dict(headers), "body": encoded.decode(), "isBase64Encoded": True}
