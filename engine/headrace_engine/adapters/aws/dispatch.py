"""Attempts sent to where they run: to a container, or to Lambda, one asynchronous invocation each, of `worker`, of
`purger` for what removes executions, or, for people's code, of `script` in one of its sizes.

The payload is JSON: the attempt, and its job in base64. A job too large for an invocation is kept in S3; `worker`
gets its digest and fetches it, `script`, which has no rights in S3, an address that is valid as long as an
invocation may wait. `script` also gets the attempt's token, with which it reports (see `signing`), and what its
outputs say about where it runs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

import msgspec

from headrace_engine.adapters.aws.content import Content, checked
from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.adapters.aws.events import EventError, attempt_body, attempt_of
from headrace_engine.adapters.aws.signing import Keyring, attempt_token
from headrace_engine.jobs import decode_job, encode_job
from headrace_engine.model.frozen import dataclass
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
class Route:
    """Where an attempt runs. The same job takes the same route whenever it is sent again."""

    function: str = ""
    """The function's name or ARN; empty when it runs in a container."""
    container: Literal["fargate", "batch"] | None = None
    is_script: bool = False
    """Whether the function runs people's code: it then gets the attempt's token, and fetches what is large."""
    placement: Mapping[str, Any] = field(default_factory=dict)
    """What the attempt's outputs say about where it runs."""
    refusal: str = ""
    """Why nothing here can run it: the function fails the attempt with this text."""
    has_role: bool = False
    """Whether people's code gets the credentials of a role, which the function asks for."""


class Containers(Protocol):
    """Runs attempts in containers."""

    def start(self, job: Job, where: Literal["fargate", "batch"]) -> None:
        """Have *job* run; calling it again with the same attempt runs nothing twice. Raises PortError."""

    def stop(self, attempt: AttemptId) -> None:
        """End the attempt's container, if it has one, whatever it is at. Raises PortError."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What `worker` or `script` was called with."""

    job: Job
    token: str | None = None
    """What signs the attempt's report; None for `worker`, which has the platform's key."""
    placement: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    has_role: bool = False


class RoutedDispatch:
    """`Dispatch` to functions and containers. Starting an attempt twice runs it once: its claim sees to that."""

    def __init__(
        self,
        lambda_: LambdaClient,
        claims: Claims,
        clock: Clock,
        content: Content,
        keyring: Keyring,
        *,
        route: Callable[[Job], Route],
        containers: Containers | None = None,
    ) -> None:
        """Take the ports; *route* tells where a job runs, *containers* runs those that are to run in one."""
        self._lambda = lambda_
        self._claims = claims
        self._clock = clock
        self._content = content
        self._keyring = keyring
        self._route = route
        self._containers = containers

    def start(self, job: Job) -> None:
        """See `Dispatch.start`."""
        route = self._route(job)
        if route.container is None:
            self._invoke(job, route)
        elif self._containers is not None:
            self._containers.start(job, route.container)
        else:
            raise AwsError("ECS", "RunTask", "this stack has no containers")

    def _invoke(self, job: Job, route: Route) -> None:
        data = encode_job(job)
        payload: dict[str, Any] = {"attempt": attempt_body(job.attempt), "job": base64.b64encode(data).decode()}
        if route.is_script:
            payload["token"] = attempt_token(self._keyring, job.attempt)
            payload["placement"] = route.placement
        if route.has_role:
            payload["hasRole"] = True
        if route.refusal:
            payload["refusal"] = route.refusal
        encoded = msgspec.json.encode(payload)
        if len(encoded) > PAYLOAD_LIMIT:
            del payload["job"]
            payload["stored"] = digest = self._content.put(data)
            if route.is_script:
                payload["address"] = self._content.address(digest, _ADDRESS_VALID)
            encoded = msgspec.json.encode(payload)
        with calling("Lambda", "Invoke"):
            answer = self._lambda.invoke(FunctionName=route.function, InvocationType="Event", Payload=encoded)
        if answer["StatusCode"] != _ACCEPTED:
            raise AwsError("Lambda", "Invoke", f"status {answer['StatusCode']}")

    def stop(self, attempt: AttemptId) -> None:
        """See `Dispatch.stop`. A function's supervisor watches the flag on the claim; a container is ended."""
        claim = self._claims.request_stop(attempt, self._clock.now())
        if self._containers is not None and claim.closed is None and not _is_invocation(claim.owner):
            self._containers.stop(attempt)


def _is_invocation(owner: str) -> bool:
    """Return whether the owner of a claim is an invocation of a function: those are named by the request's id."""
    try:
        UUID(owner)
    except ValueError:
        return False
    return True


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
    return Invocation(
        job,
        event.get("token"),
        event.get("placement") or {},
        event.get("refusal") or "",
        has_role=event.get("hasRole") is True,
    )


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
