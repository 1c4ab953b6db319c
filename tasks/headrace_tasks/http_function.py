"""What the expression function `http()` does: one short request, its answer parsed if it is JSON (reference §10.4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from headrace_engine.expressions import ExpressionError
from headrace_engine.plugin import NetworkPolicy, TaskFailure

_SECONDS = 10.0
_LARGEST = 1024 * 1024
_OPTIONS = frozenset({"allowFailed", "followRedirects"})


def http_function(policy: NetworkPolicy) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function for Settings.http. It takes ten seconds and reads 1 MiB at most.

    A request has uri, method, query, body, contentType, accept, headers, options {allowFailed, followRedirects}.
    Whatever goes wrong, a status of 400 and above among it, raises ExpressionError.
    """

    def call(request: Mapping[str, Any]) -> Any:
        import httpx  # noqa: PLC0415 - slow to import, and most flows call nothing

        from headrace_tasks.http_client import CheckedBackend, CheckedTransport  # noqa: PLC0415 - as httpx

        options = request.get("options") or {}
        if unknown := sorted(set(options) - _OPTIONS):
            raise ExpressionError(f"The function http() has no option `{unknown[0]}`")
        headers = {str(name): str(value) for name, value in (request.get("headers") or {}).items()}
        for header, value in (("content-type", request.get("contentType")), ("accept", request.get("accept"))):
            if value is not None:
                headers[header] = str(value)
        body = request.get("body")
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        uri = str(request["uri"])
        transport = CheckedTransport(CheckedBackend(policy), policy, insecure=False, proxy=None)
        try:
            with (
                httpx.Client(
                    transport=transport,
                    timeout=_SECONDS,
                    trust_env=False,
                    follow_redirects=bool(options.get("followRedirects", True)),
                    headers={"user-agent": "headrace"},
                ) as client,
                client.stream(
                    str(request.get("method", "GET")),
                    uri,
                    params=request.get("query"),
                    content=content,
                    headers=headers,
                ) as response,
            ):
                answer = _read(response)
                if response.status_code >= 400 and not options.get("allowFailed", False):
                    raise ExpressionError(f"The function http() got status {response.status_code} from {uri}")
        except ExpressionError:
            raise
        except (httpx.HTTPError, httpx.InvalidURL, TaskFailure, ValueError) as error:
            raise ExpressionError(f"The function http() cannot call {uri}: {error}") from None
        try:
            return json.loads(answer)
        except ValueError:
            return answer

    return call


def _read(response: Any) -> str:
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > _LARGEST:
            raise ValueError(f"the answer is longer than {_LARGEST} bytes")
    return content.decode(response.encoding or "utf-8", errors="replace")
