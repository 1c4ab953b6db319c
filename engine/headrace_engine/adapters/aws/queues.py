"""SQS queues of others, whose messages start executions."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace_engine.adapters.aws.errors import calling
from headrace_engine.ports import QueueAddress, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

_LONGEST_WAIT = 20
_REGION = re.compile(r"https://(?:sqs|queue)\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?/")
_KEPT = 64
"""Clients that are kept; a client takes long to make."""

MakeClient = Callable[[QueueAddress, str], Any]
"""Returns a new SQS client for a queue, in a region."""


class SqsQueues:
    """`Queues` by SQS. A queue without credentials of its own is opened with *own*, if it is in its region."""

    def __init__(self, make: MakeClient, own: Any = None) -> None:
        """Take what makes a client for a queue, and the one that this process has, if it has one."""
        self._make = make
        self._own = own
        self._clients: dict[QueueAddress, SQSClient] = {}
        self._lock = threading.Lock()

    def receive(
        self, queue: QueueAddress, *, at_most: int, wait: timedelta, hidden: timedelta
    ) -> Sequence[QueueMessage]:
        """See `Queues.receive`."""
        client = self._client(queue)
        with calling("SQS", "ReceiveMessage"):
            answer = client.receive_message(
                QueueUrl=queue.url,
                MaxNumberOfMessages=at_most,
                WaitTimeSeconds=min(math.ceil(wait.total_seconds()), _LONGEST_WAIT),
                VisibilityTimeout=int(hidden.total_seconds()),
                MessageSystemAttributeNames=["MessageGroupId", "MessageDeduplicationId"],
            )
        return [
            QueueMessage(
                each["MessageId"],
                each.get("Body", ""),
                each["ReceiptHandle"],
                each.get("Attributes", {}).get("MessageGroupId"),
                each.get("Attributes", {}).get("MessageDeduplicationId"),
            )
            for each in answer.get("Messages", ())
        ]

    def delete(self, queue: QueueAddress, messages: Sequence[QueueMessage]) -> None:
        """See `Queues.delete`."""
        client = self._client(queue)
        if len(messages) == 1:
            with calling("SQS", "DeleteMessage"):
                client.delete_message(QueueUrl=queue.url, ReceiptHandle=messages[0].receipt)
            return
        for start in range(0, len(messages), 10):
            page = messages[start : start + 10]
            entries: Any = [{"Id": str(n), "ReceiptHandle": each.receipt} for n, each in enumerate(page)]
            with calling("SQS", "DeleteMessageBatch"):
                client.delete_message_batch(QueueUrl=queue.url, Entries=entries)

    def _client(self, queue: QueueAddress) -> SQSClient:
        region = queue.region or _region_of(queue.url)
        if (
            self._own is not None
            and not (queue.access_key or queue.endpoint)
            and region in ("", _own_region(self._own))
        ):
            own: SQSClient = self._own
            return own
        # One for all queues that are opened alike: an address without its queue.
        place = QueueAddress("", region, queue.endpoint, queue.access_key, queue.secret_key, queue.session_token)
        with self._lock:
            if place not in self._clients:
                while len(self._clients) >= _KEPT:
                    del self._clients[next(iter(self._clients))]
                with calling("SQS", "(open a queue)"):
                    self._clients[place] = self._make(place, region)
            return self._clients[place]


def make_client(queue: QueueAddress, region: str) -> Any:
    """Return a new boto3 client for a queue, with its credentials or those of the process."""
    import boto3  # noqa: PLC0415 - slow to import, and a test brings clients of its own
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=3, read_timeout=_LONGEST_WAIT + 10)
    return boto3.client(
        "sqs",
        region_name=region or None,
        endpoint_url=queue.endpoint or None,
        aws_access_key_id=queue.access_key or None,
        aws_secret_access_key=queue.secret_key or None,
        aws_session_token=queue.session_token or None,
        config=config,
    )


def _region_of(url: str) -> str:
    found = _REGION.match(url)
    return found[1] if found else ""


def _own_region(client: Any) -> str:
    meta = getattr(client, "meta", None)
    return str(getattr(meta, "region_name", "") or "")
