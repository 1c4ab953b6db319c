"""io.kestra.plugin.aws.lambda.Invoke: calls anyone's Lambda function, and keeps what it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, Rendering, RunContext, RunnableTask, TaskFailure, TaskOutputs

_LONGEST = timedelta(minutes=15)
"""As long as Lambda lets a function run."""
_OF_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SHOWN = 500


class InvokeOutputs(TaskOutputs):
    """What the function answered."""

    uri: str
    content_length: int
    content_type: str


class Invoke(RunnableTask):
    """Call a Lambda function and wait for its answer, which becomes a file.

    The credentials are those that are given; without any, on a machine of your own, those that AWS's own tools would
    use there (environment, profile, role of the machine). On AWS the platform's rights are never used: name a role in
    `stsRoleArn`, which the stack must allow, or deploy the namespace with a role.

        id: price
        type: io.kestra.plugin.aws.lambda.Invoke
        region: eu-central-1
        accessKeyId: "{{ secret('AWS_ACCESS_KEY_ID') }}"
        secretKeyId: "{{ secret('AWS_SECRET_KEY_ID') }}"
        functionArn: arn:aws:lambda:eu-central-1:123456789012:function:price
        functionPayload:
          sku: "{{ inputs.sku }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.aws.lambda.Invoke"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = InvokeOutputs

    function_arn: str = Field(min_length=1, description="The ARN of the function, or its name.")
    function_payload: Annotated[dict[str, Any] | None, Rendering.TYPED] = Field(
        None, description="What the function is called with; `{}` if left out."
    )
    region: str | None = Field(None, description="Where the function is; if left out, where the ARN says it is.")
    access_key_id: str | None = Field(None, description="Credentials to call it with.")
    secret_key_id: str | None = Field(None, description="The secret that belongs to `accessKeyId`.")
    session_token: str | None = Field(None, description="The token of temporary credentials.")
    endpoint_override: str | None = Field(None, description="Where to call, instead of AWS's own endpoint.")
    sts_role_arn: str | None = Field(None, description="A role to take on for the call.")
    sts_role_external_id: str | None = Field(None, description="The external id the role asks for.")
    sts_role_session_name: str | None = Field(None, description="The name of the session.")
    sts_role_session_duration: IsoDuration = Field(timedelta(minutes=15), description="How long the session lasts.")
    sts_endpoint_override: str | None = Field(None, description="Where to take on the role.")

    def run(self, context: RunContext) -> InvokeOutputs:
        """Call the function and store its answer."""
        boto3 = _boto3()
        session = self._session(boto3, context)
        client = self._client(session, "lambda", self.endpoint_override, context)
        payload = json.dumps(self.function_payload or {}).encode()
        answer = _until_stopped(lambda: client.invoke(FunctionName=self.function_arn, Payload=payload), context)
        body: bytes = answer["Payload"]
        error = answer.get("FunctionError")
        if error:
            raise TaskFailure(f"The function {self.function_arn} failed ({error}): {_short(body)}")
        headers: Mapping[str, str] = answer["ResponseMetadata"].get("HTTPHeaders", {})
        context.counter("file.size", len(body))
        uri = context.files.put("payload.json" if _is_json(body) else "payload", body)
        kind = headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
        return InvokeOutputs(uri=uri, content_length=len(body), content_type=kind)

    def _session(self, boto3: Any, context: RunContext) -> Any:
        """Return a session with the credentials that count here. Raises TaskFailure where there are none."""
        region = self.region or _region_of(self.function_arn)
        if bool(self.access_key_id) is not bool(self.secret_key_id):
            raise TaskFailure("`accessKeyId` and `secretKeyId` are given together, or neither")
        if self.access_key_id:
            session = boto3.Session(self.access_key_id, self.secret_key_id, self.session_token, region_name=region)
            return self._in_role(session, boto3, region, context)
        if context.network.allow_link_local:  # a machine of the user's own: its credentials are the user's, too
            return self._in_role(boto3.Session(region_name=region), boto3, region, context)
        if self.sts_role_external_id or self.sts_role_session_name or self.sts_endpoint_override:
            raise TaskFailure(
                "The platform takes on the role, and nothing of its session can be chosen: remove `stsRoleExternalId`, "
                "`stsRoleSessionName` and `stsEndpointOverride`, or give `accessKeyId` and `secretKeyId`"
            )
        granted = context.granted()
        if not granted:
            raise TaskFailure(
                "There are no credentials to call the function with: name a role in `stsRoleArn`, or give "
                "`accessKeyId` and `secretKeyId`"
            )
        return boto3.Session(*(granted[name] for name in _CREDENTIALS), region_name=region or granted["AWS_REGION"])

    def _in_role(self, session: Any, boto3: Any, region: str | None, context: RunContext) -> Any:
        if not self.sts_role_arn:
            return session
        asked: dict[str, Any] = {
            "RoleArn": self.sts_role_arn,
            "RoleSessionName": self.sts_role_session_name or f"headrace-{context.execution_id}",
            "DurationSeconds": int(self.sts_role_session_duration.total_seconds()),
        }
        if self.sts_role_external_id:
            asked["ExternalId"] = self.sts_role_external_id
        sts = self._client(session, "sts", self.sts_endpoint_override, context)
        given = _until_stopped(lambda: sts.assume_role(**asked), context)["Credentials"]
        keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        return boto3.Session(*keys, region_name=region)

    def _client(self, session: Any, service: str, endpoint: str | None, context: RunContext) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - only who uses the task has it
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above

        if endpoint is not None:
            _check_endpoint(endpoint, context)
        # A function that was called may have done its work: nobody calls it twice for one attempt.
        config = Config(connect_timeout=10, read_timeout=_LONGEST.total_seconds(), retries={"total_max_attempts": 1})
        try:
            return session.client(service, endpoint_url=endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise TaskFailure(f"AWS cannot be called: {error}") from None


def _boto3() -> Any:
    try:
        import boto3  # noqa: PLC0415 - only who uses the task has it
    except ImportError:
        raise TaskFailure("AWS's library is not installed here: `pip install headrace[aws]`") from None
    return boto3


def _check_endpoint(endpoint: str, context: RunContext) -> None:
    """Refuse an address that the platform's network policy does not let anybody choose."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise TaskFailure(f"`{endpoint}` is not the address of an endpoint: it begins with https://")
    if not context.network.allow_loopback and not (parts.scheme == "https" and host.endswith(_OF_AWS)):
        raise TaskFailure(f"The endpoint {host} may not be called from here: only AWS's own, with https")


def _until_stopped(call: Any, context: RunContext) -> Mapping[str, Any]:
    """Return what *call* answers, its payload read. Raises TaskFailure for AWS's errors, or when stopped meanwhile."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only who uses the task has it

    over = threading.Event()
    came: list[Any] = []

    def ask() -> None:
        try:
            answer = call()
            payload = answer.get("Payload")
            came.append({**answer, "Payload": payload.read()} if payload is not None else answer)
        except (BotoCoreError, ClientError) as error:
            came.append(TaskFailure(f"AWS did not take the call: {error}"))
        except BaseException as error:  # noqa: BLE001 - raised below, where it belongs
            came.append(error)
        finally:
            over.set()

    context.on_stop(over.set)
    # A request cannot be taken back: when the attempt is stopped, nobody waits for its answer any more.
    threading.Thread(target=ask, name="invoke", daemon=True).start()
    over.wait()
    if not came:
        raise TaskFailure("The task was stopped; what it called goes on")
    if isinstance(came[0], BaseException):
        raise came[0]
    answered: Mapping[str, Any] = came[0]
    return answered


def _region_of(function: str) -> str | None:
    parts = function.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" and parts[3] else None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _short(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        text = f"{told['errorType']}: {told['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        pass
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
