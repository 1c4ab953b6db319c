"""Attempts sent to Lambda: one asynchronous invocation each, of `worker`, of `purger` for what removes executions, or,
for people's code, of `script`.

The payload is JSON: the attempt, and its job in base64. A job too large for an invocation is kept in S3; `worker`
gets its digest and fetches it, `script`, which has no rights in S3, an address that is valid as long as an
invocation may wait. `script` also gets the attempt's token, with which it reports (see `signing`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.adapters.aws.content import Content, checked
from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.adapters.aws.events import EventError, attempt_body, attempt_of
from headrace_engine.adapters.aws.signing import Keyring, attempt_token
from headrace_engine.jobs import decode_job, encode_job
from headrace_engine.ports import AttemptId, Claims, Clock, Job

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient

PAYLOAD_LIMIT = 240 * 1024
"""Bytes of an invocation's payload. Lambda takes 1 MB, but bills more from 256 KB on, and its failure record, which
holds the payload, must fit into a queue."""
_ACCEPTED = 202
# Lambda keeps an event 6 hours at most, then starts its code. The address dies earlier if the credentials that
# signed it do: the attempt then fails to begin, is found lost, and is sent again.
_ADDRESS_VALID = timedelta(hours=6, minutes=15)


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions that run attempts, by name or ARN."""

    worker: str
    script: str
    purger: str


@dataclass(frozen=True, slots=True)
class Invocation:
    """What `worker` or `script` was called with."""

    job: Job
    token: str | None = None
    """What signs the attempt's report; None for `worker`, which has the platform's key."""


class LambdaDispatch:
    """`Dispatch` to the two functions. Starting an attempt twice runs it once: its claim sees to that."""

    def __init__(
        self,
        lambda_: LambdaClient,
        claims: Claims,
        clock: Clock,
        content: Content,
        keyring: Keyring,
        *,
        functions: Functions,
        is_script: Callable[[Job], bool],
        purges: Callable[[Job], bool] = lambda _job: False,
    ) -> None:
        """Take the ports; *is_script* tells the jobs that run people's code, *purges* those that remove executions."""
        self._lambda = lambda_
        self._claims = claims
        self._clock = clock
        self._content = content
        self._keyring = keyring
        self._functions = functions
        self._is_script = is_script
        self._purges = purges

    def start(self, job: Job) -> None:
        """See `Dispatch.start`."""
        is_script = self._is_script(job)
        data = encode_job(job)
        payload: dict[str, Any] = {"attempt": attempt_body(job.attempt), "job": base64.b64encode(data).decode()}
        if is_script:
            payload["token"] = attempt_token(self._keyring, job.attempt)
        encoded = msgspec.json.encode(payload)
        if len(encoded) > PAYLOAD_LIMIT:
            del payload["job"]
            payload["stored"] = digest = self._content.put(data)
            if is_script:
                payload["address"] = self._content.address(digest, _ADDRESS_VALID)
            encoded = msgspec.json.encode(payload)
        function = self._functions.script if is_script else self._functions.worker
        if self._purges(job):
            function = self._functions.purger
        with calling("Lambda", "Invoke"):
            answer = self._lambda.invoke(FunctionName=function, InvocationType="Event", Payload=encoded)
        if answer["StatusCode"] != _ACCEPTED:
            raise AwsError("Lambda", "Invoke", f"status {answer['StatusCode']}")

    def stop(self, attempt: AttemptId) -> None:
        """See `Dispatch.stop`. The function's supervisor watches the flag on the claim."""
        self._claims.request_stop(attempt, self._clock.now())


def invocation(
    event: Mapping[str, Any],
    *,
    fetch_stored: Callable[[str], bytes] | None = None,
    fetch_address: Callable[[str], bytes] | None = None,
) -> Invocation:
    """Read what LambdaDispatch called a function with.

    *fetch_stored* gets a large job by its digest (`Content.get`, in `worker`), *fetch_address* by its address (in
    `script`). Raises EventError when the event is not of ours, codec.FormatError when the job is of a newer version.
    """
    attempt = attempt_of(event.get("attempt") or {})
    job = decode_job(_job_bytes(event, fetch_stored, fetch_address))
    if job.attempt != attempt:
        raise EventError(f"The job is that of attempt {job.attempt.number} of task run {job.attempt.task_run_id}")
    return Invocation(job, event.get("token"))


def _job_bytes(
    event: Mapping[str, Any],
    fetch_stored: Callable[[str], bytes] | None,
    fetch_address: Callable[[str], bytes] | None,
) -> bytes:
    match event:
        case {"job": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise EventError("The job is not base64") from None
        case {"stored": str(digest), "address": str(address)} if fetch_address is not None:
            return checked(fetch_address(address), digest)
        case {"stored": str(digest)} if fetch_stored is not None:
            return fetch_stored(digest)
        case _:
            raise EventError("The event holds no job that can be read here")
