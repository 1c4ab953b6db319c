"""Messages to executions through an SQS FIFO queue, whose group is the execution: one executor at a time has it.

A body is JSON: the execution, the message in base64 (or the digest of a large one, which is kept in S3), and the
signature. Each send has a deduplication id of its own: SQS drops only what botocore sent twice, never a message
that says the same as an earlier one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from headrace_engine.adapters.aws.content import Content
from headrace_engine.adapters.aws.errors import calling
from headrace_engine.adapters.aws.events import SqsRecord
from headrace_engine.adapters.aws.signing import ForgedError, Signer, Verifier
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.ports import PortError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BODY_LIMIT = 256 * 1024
"""Bytes of a body, and of all bodies of a batch. SQS takes four times as much, but bills by 64 KiB: S3 is cheaper."""
_BATCH = 10
_TRIES = 2


class _Body(msgspec.Struct, omit_defaults=True):
    """What stands in the queue."""

    execution: str
    signature: str
    message: str | None = None
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as it came, known to be from whom it may come."""

    execution_id: str
    message: bytes


class SqsMailbox:
    """`Mailbox` that sends to a queue; what is too large for it goes through *content*, if the signer may do so."""

    def __init__(self, sqs: SQSClient, queue_url: str, signer: Signer, content: Content | None = None) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._signer = signer
        self._content = content

    def send(self, execution_id: str, message: bytes) -> None:
        """See `Mailbox.send`."""
        body = self._body(execution_id, message)
        with calling("SQS", "SendMessage"):
            self._sqs.send_message(
                QueueUrl=self._queue_url,
                MessageBody=body,
                MessageGroupId=execution_id,
                MessageDeduplicationId=new_id(),
            )

    def send_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send each message to its execution, in as few requests as may be.

        Raises PortError when any was not taken; the others are sent.
        """
        refused: list[str] = []
        for batch in self._batches(messages):
            refused += self._send_batch(batch)
        if refused:
            codes = ", ".join(sorted(set(refused)))
            raise PortError(f"SQS SendMessageBatch failed for {len(refused)} of {len(messages)} messages: {codes}")

    def _batches(self, messages: Sequence[tuple[str, bytes]]) -> Iterator[list[SendMessageBatchRequestEntryTypeDef]]:
        batch: list[SendMessageBatchRequestEntryTypeDef] = []
        size = 0
        for execution_id, message in messages:
            body = self._body(execution_id, message)
            if batch and (len(batch) == _BATCH or size + len(body) > BODY_LIMIT):
                yield batch
                batch, size = [], 0
            batch.append(
                {
                    "Id": str(len(batch)),
                    "MessageBody": body,
                    "MessageGroupId": execution_id,
                    "MessageDeduplicationId": new_id(),
                }
            )
            size += len(body)
        if batch:
            yield batch

    def _send_batch(self, batch: list[SendMessageBatchRequestEntryTypeDef]) -> list[str]:
        """Send a batch, and once more what SQS did not take though nothing is wrong with it; return what it refused."""
        refused: list[str] = []
        for left in reversed(range(_TRIES)):
            with calling("SQS", "SendMessageBatch"):
                answer = self._sqs.send_message_batch(QueueUrl=self._queue_url, Entries=batch)
            failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
            again = [entry for entry in batch if entry["Id"] in failed and not failed[entry["Id"]]["SenderFault"]]
            refused += [failure["Code"] for failure in failed.values() if failure["SenderFault"] or not left]
            if not again:
                break
            batch = again
        return refused

    def _body(self, execution_id: str, message: bytes) -> str:
        signature = self._signer.sign(execution_id, message)
        body = _text(_Body(execution_id, signature, message=base64.b64encode(message).decode()))
        if len(body) <= BODY_LIMIT:
            return body
        if self._content is None or not self._signer.can_store:
            raise PortError(f"A message of {len(message)} bytes is too large for the queue")
        return _text(_Body(execution_id, signature, stored=self._content.put(message)))


class SqsInbox:
    """Opens what comes out of the queue, or out of its dead-letter queue."""

    def __init__(self, verifier: Verifier, fetch_stored: Callable[[str], bytes]) -> None:
        """Take what verifies, and what gets a large message by its digest (`Content.get`)."""
        self._verifier = verifier
        self._fetch_stored = fetch_stored

    def open(self, record: SqsRecord) -> Mail:
        """Return the message in *record*.

        Raises ForgedError when it is not signed by who may send it: audit it and let it go, it will not get better.
        Raises PortError when a large one cannot be fetched: leave the record in the queue.
        """
        group = record.group or ""
        try:
            body = msgspec.json.decode(record.body, type=_Body)
        except msgspec.DecodeError:
            raise ForgedError("it is not of the mailbox's form", group) from None
        if body.execution != group:
            raise ForgedError(f"it stands in the queue of {group!r}", body.execution)
        if body.stored is not None:
            self._verifier.verify_digest(body.execution, body.stored, body.signature)
            return Mail(body.execution, self._fetch_stored(body.stored))
        try:
            message = base64.b64decode(body.message or "", validate=True)
        except (binascii.Error, ValueError):
            raise ForgedError("its content is not base64", body.execution) from None
        self._verifier.verify(body.execution, message, body.signature)
        return Mail(body.execution, message)


def _text(body: _Body) -> str:
    return msgspec.json.encode(body).decode()
