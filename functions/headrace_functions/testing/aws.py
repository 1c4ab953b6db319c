"""AWS in this process: moto, but for what is played on the test's clock (see `cloud`).

Nothing here runs on a second thread: moto loses updates under threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from functools import cache
from io import BytesIO
from typing import Any, ParamSpec, TypeVar

import boto3
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

REGION = "eu-central-1"
ACCOUNT = "123456789012"

Answers = Callable[[str, str, AWSPreparedRequest], AWSResponse]
"""Answers a request to a service (by its name in events) for an operation."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Clients:
    """The boto3 clients, each made once; what they ask is answered by whoever was set last."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self.answers: Answers = by_moto

    def __call__(self, service: str) -> Any:
        """Return the client of *service*, the same one each time."""
        if service not in self._made:
            client = _client(service)
            client.meta.events.register_first("before-send", self._send)
            self._made[service] = client
        return self._made[service]

    def _send(self, request: AWSPreparedRequest, event_name: str, **_kept: Any) -> AWSResponse:
        _, service, operation = event_name.split(".", 2)
        return self.answers(service, operation, request)


@cache
def shared_clients() -> Clients:
    """Return clients that every cloud of this process may use, one after the other: making them takes a while."""
    return Clients()


@cache
def observer(service: str) -> Any:
    """Return a client that nobody watches or disturbs: what it asks, moto answers."""
    client = _client(service)
    client.meta.events.register_first("before-send", _observe)
    return client


def _client(service: str) -> Any:
    client = boto3.client(  # type: ignore[call-overload]  # whatever service
        service,
        region_name=REGION,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="example",  # noqa: S106  # nobody checks it
        # Only S3 signs what others will use: its addresses.
        config=Config(signature_version="s3v4" if service == "s3" else UNSIGNED, retries={"total_max_attempts": 1}),
    )
    # Every request goes to moto below; two answers would carry it out twice.
    client.meta.events.unregister("before-send", botocore_stubber)
    return client


def _observe(request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
    return by_moto("", event_name, request)


def by_moto(_service: str, _operation: str, request: AWSPreparedRequest) -> AWSResponse:
    """Have moto carry out *request*."""
    answer = botocore_stubber.process_request(request)
    if answer is None:
        raise AssertionError(f"Nobody here answers {request.url}")
    status, headers, body = answer
    return AWSResponse(request.url or "", status, http_headers(headers), MockRawResponse(body))


def http_headers(headers: Mapping[str, Any]) -> HTTPHeaders:
    """Return headers as botocore has them."""
    made = HTTPHeaders()
    for name, value in headers.items():
        made[name] = str(value)
    return made


def with_json(request: AWSPreparedRequest, body: Mapping[str, Any] | Sequence[Any], status: int = 200) -> AWSResponse:
    """Return an answer of a service that speaks JSON."""
    headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": "played"}
    return AWSResponse(request.url or "", status, http_headers(headers), MockRawResponse(json.dumps(body)))


def with_error(request: AWSPreparedRequest, code: str, message: str) -> AWSResponse:
    """Return the answer of a service that refuses."""
    return with_json(request, {"__type": code, "message": message}, 400)


def body_of(request: AWSPreparedRequest) -> bytes:
    """Return what *request* sends."""
    body: Any = request.body or b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    data = BytesIO(body.read()).getvalue()
    body.seek(0)
    return data


class InPlace(futures.Executor):
    """A pool that runs what it is given at once, on the caller's thread."""

    def submit(
        self, fn: Callable[_Arguments, _Result], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> futures.Future[_Result]:
        """See `futures.Executor.submit`."""
        future: futures.Future[_Result] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # as every pool: whoever asks for the result gets it
            future.set_exception(error)
        return future
