"""Executions deleted by `purger`, whose role may what the API's may not: a few at once, or many by and by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.adapters.aws.events import EventError
from headrace_engine.deletion import Deletion

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient

AT_ONCE = 20
"""Executions that whoever asks waits for: some tenths of a second each."""
PAGE = 500
"""Executions of one asynchronous invocation, which has 15 minutes."""
_ACCEPTED = 202


class LambdaDeletes:
    """`deletion.Deletes` by invocations of *function*: one that is waited for, or as many as the rest takes."""

    def __init__(self, lambda_: LambdaClient, function: str) -> None:
        self._lambda = lambda_
        self._function = function

    def __call__(self, deletion: Deletion) -> Sequence[str] | None:
        """Delete executions. Raises AwsError when the function cannot be called, or fails."""
        ids = deletion.execution_ids
        if len(ids) <= AT_ONCE:
            return self._now(deletion)
        for begin in range(0, len(ids), PAGE):
            self._later(msgspec.structs.replace(_asked(deletion), executions=ids[begin : begin + PAGE]))
        return None

    def _now(self, deletion: Deletion) -> Sequence[str]:
        with calling("Lambda", "Invoke"):
            answer = self._lambda.invoke(FunctionName=self._function, Payload=_payload(_asked(deletion)))
            said = answer["Payload"].read()
        if "FunctionError" in answer:
            raise AwsError("Lambda", "Invoke", f"{self._function}: {said[:500].decode(errors='replace')}")
        return msgspec.json.decode(said, type=list[str])

    def _later(self, asked: _Asked) -> None:
        with calling("Lambda", "Invoke"):
            answer = self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=_payload(asked))
        if answer["StatusCode"] != _ACCEPTED:
            raise AwsError("Lambda", "Invoke", f"status {answer['StatusCode']}")


class _Asked(msgspec.Struct, frozen=True):
    executions: tuple[str, ...]
    logs: bool
    metrics: bool
    storage: bool


def _asked(deletion: Deletion) -> _Asked:
    return _Asked(deletion.execution_ids, deletion.logs, deletion.metrics, deletion.storage)


def _payload(asked: _Asked) -> bytes:
    return msgspec.json.encode({"delete": asked})


def deletion_asked(event: Mapping[str, Any]) -> Deletion | None:
    """Return what LambdaDeletes called a function with; None for another event. Raises EventError."""
    if "delete" not in event:
        return None
    try:
        asked = msgspec.convert(event["delete"], _Asked)
    except msgspec.ValidationError as error:
        raise EventError(f"What is to be deleted cannot be read: {error}") from None
    return Deletion(asked.executions, logs=asked.logs, metrics=asked.metrics, storage=asked.storage)
