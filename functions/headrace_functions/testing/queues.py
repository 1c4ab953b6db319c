"""SQS queues on a clock of the test's: delays, visibility, message groups, deduplication and dead letters.

What SQS promises and no more: a message stays until it is deleted, comes again when its visibility is over, and goes
to the dead-letter queue when it was received too often. Of a FIFO queue's group nothing comes while some of it is out.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.ports import Clock

BATCH = 10
"""Messages in one receive, and in one send of several."""
MESSAGE_LIMIT = 1024 * 1024
"""Bytes of a message, and of all messages of one send."""
LONGEST_DELAY = 900
_RETENTION = timedelta(days=14)
_DEDUPLICATED = timedelta(minutes=5)


class QueueError(Exception):
    """SQS refuses a request: *code* is the error's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Stored:
    """A message in a queue."""

    id: str
    body: str
    sent: datetime
    visible: datetime
    """From when on it may be received."""
    number: int
    """Its place in the order of sending."""
    group: str | None = None
    deduplication: str | None = None
    receives: int = 0
    first_received: datetime | None = None
    held: bool = False
    """Received, and its visibility not over."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What was sent with the same deduplication id lately."""

    at: datetime
    answer: Mapping[str, str]


@dataclass
class Queue:
    """One queue; FIFO if its name says so."""

    name: str
    clock: Clock
    numbers: Iterator[int]
    visibility: timedelta
    dead: Queue | None = None
    """Where a message goes that was received *max_receives* times."""
    max_receives: int = 5
    messages: deque[Stored] = field(default_factory=deque)
    requests: int = 0
    """Receives that brought something, and deletes: what the event source mapping is billed for."""
    sent: int = 0
    """How many messages it took."""
    _seen: dict[tuple[str, str], Waited] = field(default_factory=dict)

    @property
    def is_fifo(self) -> bool:
        """Whether it keeps the order of each group."""
        return self.name.endswith(".fifo")

    def send(self, entry: Mapping[str, Any]) -> Mapping[str, str]:
        """Take what SendMessage sends; return its answer. Raises QueueError."""
        body, delay = entry["MessageBody"], entry.get("DelaySeconds", 0)
        group, deduplication = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
        if not body:
            raise QueueError("MissingParameter", "The request must contain the parameter MessageBody.")
        if len(body.encode()) > MESSAGE_LIMIT:
            raise QueueError("InvalidParameterValue", f"A message may have {MESSAGE_LIMIT} bytes")
        if not 0 <= delay <= LONGEST_DELAY:
            raise QueueError("InvalidParameterValue", f"DelaySeconds must be between 0 and {LONGEST_DELAY}")
        if self.is_fifo and (group is None or deduplication is None or "DelaySeconds" in entry):
            raise QueueError("InvalidParameterValue", "A FIFO queue needs a group and a deduplication id, and no delay")
        now = self.clock.now()
        waited = self._seen.get((group or "", deduplication)) if deduplication is not None else None
        if waited is not None and now - waited.at < _DEDUPLICATED:
            return waited.answer
        number = next(self.numbers)
        self.sent += 1
        message = Stored(
            f"{number:08x}-0000-4000-8000-000000000000",
            body,
            now,
            now + timedelta(seconds=delay),
            number,
            group,
            deduplication,
        )
        self.messages.append(message)
        answer = {"MessageId": message.id, "MD5OfMessageBody": _md5(body)}
        if self.is_fifo:
            answer["SequenceNumber"] = f"{number:020}"
            self._seen[group or "", deduplication or ""] = Waited(now, answer)
        return answer

    def receive(self, at_most: int = BATCH, visibility: timedelta | None = None) -> Sequence[Stored]:
        """Return what may be received now, *at_most* messages, and hold it back until its visibility is over."""
        now = self.clock.now()
        self._return(now)
        blocked = self._blocked()
        chosen: list[Stored] = []
        for message in list(self.messages):
            if len(chosen) == at_most:
                break
            if message.held or message.visible > now or message.group in blocked:
                continue
            if self.dead is not None and message.receives >= self.max_receives:
                self.messages.remove(message)
                self.dead.messages.append(replace(message, receives=0, first_received=None, held=False, visible=now))
                continue
            message.receives += 1
            message.first_received = message.first_received or now
            message.held = True
            message.visible = now + (visibility or self.visibility)
            chosen.append(message)
        self.requests += 1 if chosen else 0
        return chosen

    def delete(self, messages: Sequence[Stored]) -> None:
        """Remove what was received and handled."""
        for message in messages:
            if message in self.messages:
                self.messages.remove(message)
        self.requests += 1 if messages else 0

    def next_visible(self) -> datetime | None:
        """Return when the next message may be received; None when there is none."""
        blocked = self._blocked()
        return min(
            (message.visible for message in self.messages if message.held or message.group not in blocked), default=None
        )

    def _blocked(self) -> set[str | None]:
        """Return the groups of which nothing may come before what is out comes back."""
        return {message.group for message in self.messages if message.held} if self.is_fifo else set()

    def _return(self, now: datetime) -> None:
        for message in [message for message in self.messages if now - message.sent > _RETENTION]:
            self.messages.remove(message)
        for message in self.messages:
            if message.held and message.visible <= now:
                message.held = False


def record(queue: Queue, message: Stored, arn: str, *, receives: int | None = None) -> dict[str, Any]:
    """Return *message* as a Lambda function receives it; *receives* is the count it is told, if not the true one."""
    attributes = {
        "ApproximateReceiveCount": str(message.receives if receives is None else receives),
        "SentTimestamp": _milliseconds(message.sent),
        "SenderId": "AROAEXAMPLE:headrace",
        "ApproximateFirstReceiveTimestamp": _milliseconds(message.first_received or message.sent),
    }
    if queue.is_fifo:
        attributes["SequenceNumber"] = f"{message.number:020}"
        attributes["MessageGroupId"] = message.group or ""
        attributes["MessageDeduplicationId"] = message.deduplication or ""
    return {
        "messageId": message.id,
        "receiptHandle": _receipt(message),
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": _md5(message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": arn.split(":")[3],
    }


def answer(queue: Queue, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a request to *queue*. Raises QueueError."""
    if operation == "SendMessage":
        return queue.send(asked)
    if operation == "ReceiveMessage":
        received = queue.receive(asked["MaxNumberOfMessages"], timedelta(seconds=asked["VisibilityTimeout"]))
        return {"Messages": [_received(queue, each) for each in received]} if received else {}
    if operation == "DeleteMessage":
        queue.delete([each for each in queue.messages if _receipt(each) == asked["ReceiptHandle"]])
        return {}
    if operation == "DeleteMessageBatch":
        receipts = {entry["ReceiptHandle"] for entry in asked["Entries"]}
        queue.delete([each for each in queue.messages if _receipt(each) in receipts])
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}
    if operation != "SendMessageBatch":
        raise QueueError("UnsupportedOperation", f"Nothing of ours asks for {operation}")
    entries = asked["Entries"]
    if not 1 <= len(entries) <= BATCH:
        raise QueueError("TooManyEntriesInBatchRequest", f"A batch has 1 to {BATCH} entries")
    if sum(len(entry["MessageBody"].encode()) for entry in entries) > MESSAGE_LIMIT:
        raise QueueError("BatchRequestTooLong", f"All messages of a batch together may have {MESSAGE_LIMIT} bytes")
    return {"Successful": [{"Id": entry["Id"], **queue.send(entry)} for entry in entries], "Failed": []}


def counter() -> Iterator[int]:
    """Return the numbers that messages get."""
    return itertools.count(1)


def _received(queue: Queue, message: Stored) -> dict[str, Any]:
    """Return *message* as ReceiveMessage gives it."""
    told = {"MessageGroupId": message.group, "MessageDeduplicationId": message.deduplication}
    return {
        "MessageId": message.id,
        "ReceiptHandle": _receipt(message),
        "Body": message.body,
        "MD5OfBody": _md5(message.body),
        "Attributes": {name: value for name, value in told.items() if value is not None and queue.is_fifo},
    }


def _receipt(message: Stored) -> str:
    return f"{message.id}/{message.receives}"


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _milliseconds(instant: datetime) -> str:
    return str(int(instant.timestamp() * 1000))
