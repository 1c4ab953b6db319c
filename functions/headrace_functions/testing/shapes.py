"""The events AWS calls the functions with, as in `events/samples/`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from headrace_engine.ports import Clock
from headrace_functions.testing.aws import ACCOUNT, REGION


@dataclass(frozen=True)
class FunctionContext:
    """What Lambda hands a handler beside the event, on the test's clock."""

    function_name: str
    aws_request_id: str
    clock: Clock
    deadline: datetime
    memory_limit_in_mb: int = 1769

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN."""
        return arn("lambda", f"function:{self.function_name}")

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""
        return max(0, int((self.deadline - self.clock.now()) / timedelta(milliseconds=1)))


def arn(service: str, resource: str) -> str:
    """Return the ARN of something of the stack."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def bus_event(entry: Mapping[str, Any], event_id: str, at: datetime) -> dict[str, Any]:
    """Return what a rule's target gets of an *entry* of PutEvents, its detail already read."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": _second(at),
        "region": REGION,
        "resources": list(entry.get("Resources", ())),
        "detail": entry["Detail"],
    }


def file_event(bucket: str, key: str, stored: Mapping[str, Any], event_id: str, at: datetime) -> dict[str, Any]:
    """Return what S3 tells EventBridge of a new file; *stored* holds its size and etag."""
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, **stored, "sequencer": event_id},
        "request-id": event_id,
        "requester": ACCOUNT,
        "source-ip-address": "127.0.0.1",
        "reason": "PutObject",
    }
    entry = {"DetailType": "Object Created", "Source": "aws.s3", "Detail": detail}
    return {**bus_event(entry, event_id, at), "resources": [f"arn:aws:s3:::{bucket}"]}


def sweep_event(event_id: str, at: datetime) -> dict[str, Any]:
    """Return what the sweep's rule sends."""
    entry = {"DetailType": "Scheduled Event", "Source": "aws.events", "Detail": {}}
    return {**bus_event(entry, event_id, at), "resources": [arn("events", "rule/headrace-sweep")]}


def failure_record(
    function: str, request_id: str, payload: Any, at: datetime, *, tries: int, error: tuple[str, str]
) -> dict[str, Any]:
    """Return what Lambda sends to an on-failure destination; *error* is the kind and the message."""
    return {
        "version": "1.0",
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn("lambda", f"function:{function}:$LATEST"),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": tries,
        },
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": error[0], "errorMessage": error[1]},
    }


def http_event(method: str, url: str, headers: Mapping[str, str], body: bytes, request_id: str) -> dict[str, Any]:
    """Return a request as API Gateway's HTTP API passes it on (payload format 2.0)."""
    parts = urlsplit(url)
    given = {name.lower(): value for name, value in headers.items()}
    cookies = given.pop("cookie", "")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        **({"cookies": cookies.split("; ")} if cookies else {}),
        "headers": given,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "a1b2c3d4e5",
            "domainName": parts.hostname or "",
            "http": {
                "method": method,
                "path": parts.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "headrace",
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
