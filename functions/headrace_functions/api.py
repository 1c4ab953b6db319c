"""The `api` function: the REST API behind API Gateway's HTTP API (payload 2.0)."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from headrace_engine.api import Api, Request, Response
from headrace_functions.wiring import Wiring, wiring

LARGEST_ANSWER = 6 * 1024 * 1024 - 64 * 1024
"""Bytes of an answer that Lambda passes on, with room for what is around it."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer a request."""
    return handle(_api(), event, context)


def handle(api: Api, event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Do what `handler` does, with *api*."""
    return _answer(api(_request(event)))


def build(wired: Wiring) -> Api:
    """Return the API of an engine on AWS."""
    return Api(wired.engine, wired.mailbox, wait=time.sleep)


@cache
def _api() -> Api:
    return build(wiring())


def _request(event: Mapping[str, Any]) -> Request:
    http = event["requestContext"]["http"]
    body = event.get("body") or ""
    return Request(
        method=http["method"],
        # Not rawPath: that is decoded, and a slash in a name would be two segments.
        path=_below_stage(http["path"], event["requestContext"].get("stage", "$default")),
        query=parse_qs(event.get("rawQueryString", ""), keep_blank_values=True),
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
    )


def _below_stage(path: str, stage: str) -> str:
    return path if stage == "$default" else path.removeprefix(f"/{stage}")


def _answer(response: Response) -> dict[str, Any]:
    status, headers, body = response.status, dict(response.headers), response.body
    encoded = base64.b64encode(body)
    if len(encoded) > LARGEST_ANSWER:
        text = '{"message": "The answer is larger than 6 MB, the most that Lambda passes on"}'
        return {"statusCode": 413, "headers": {"content-type": "application/json"}, "body": text}
    return {"statusCode": status, "headers": headers, "body": encoded.decode(), "isBase64Encoded": True}
