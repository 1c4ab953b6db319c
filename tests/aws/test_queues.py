"""Queues of others, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from headrace_engine.adapters.aws.queues import SqsQueues, make_client
from headrace_engine.ports import PortError, QueueAddress

NONE = timedelta(0)
HIDDEN = timedelta(seconds=30)


class Scene:
    def __init__(self) -> None:
        self.sqs = boto3.client("sqs", region_name="eu-central-1")
        self.url = self.sqs.create_queue(QueueName="orders")["QueueUrl"]
        self.made: list[tuple[QueueAddress, str]] = []
        self.queues = SqsQueues(self.make)

    def make(self, queue: QueueAddress, region: str) -> Any:
        self.made.append((queue, region))
        return make_client(queue, region or "eu-central-1")

    def receive(self, at_most: int = 10) -> list[str]:
        found = self.queues.receive(QueueAddress(self.url), at_most=at_most, wait=NONE, hidden=HIDDEN)
        return [message.body for message in found]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with mock_aws():
        yield Scene()


def test_what_is_received_is_hidden_and_what_is_deleted_is_gone(scene: Scene) -> None:
    for number in range(12):
        scene.sqs.send_message(QueueUrl=scene.url, MessageBody=f"m{number}")
    queue = QueueAddress(scene.url)
    first = scene.queues.receive(queue, at_most=10, wait=NONE, hidden=HIDDEN)
    second = scene.queues.receive(queue, at_most=10, wait=NONE, hidden=HIDDEN)
    assert sorted(message.body for message in (*first, *second)) == sorted(f"m{number}" for number in range(12))
    assert len({message.id for message in (*first, *second)}) == 12
    scene.queues.delete(queue, [*first, *second])
    assert scene.receive() == []
    about = scene.sqs.get_queue_attributes(QueueUrl=scene.url, AttributeNames=["All"])["Attributes"]
    assert (about["ApproximateNumberOfMessages"], about["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_a_message_of_a_fifo_queue_says_its_group(scene: Scene) -> None:
    url = scene.sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    scene.sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    (message,) = scene.queues.receive(QueueAddress(url), at_most=1, wait=NONE, hidden=HIDDEN)
    assert (message.group, message.deduplication) == ("g", "d")


def test_queues_that_are_opened_alike_share_a_client_in_the_region_of_their_url(scene: Scene) -> None:
    base = "https://sqs.eu-west-1.amazonaws.com/1/"  # never contacted: moto answers
    one, other = (QueueAddress(f"{base}{name}") for name in ("a", "b"))
    opened = QueueAddress(one.url, region="us-east-1", access_key="AKIA", secret_key="hidden")
    for queue in (one, other, opened, opened):
        with pytest.raises(PortError):
            scene.queues.receive(queue, at_most=1, wait=NONE, hidden=HIDDEN)
    assert [region for _, region in scene.made] == ["eu-west-1", "us-east-1"]


def test_the_process_s_own_client_is_for_queues_without_credentials_in_its_region(scene: Scene) -> None:
    queues = SqsQueues(scene.make, scene.sqs)
    assert queues.receive(QueueAddress(scene.url), at_most=1, wait=NONE, hidden=HIDDEN) == []
    assert scene.made == []
    queues.receive(QueueAddress(scene.url, access_key="AKIA", secret_key="x"), at_most=1, wait=NONE, hidden=HIDDEN)
    assert len(scene.made) == 1


def test_a_queue_that_is_gone_is_an_error_that_names_what_was_asked(scene: Scene) -> None:
    with pytest.raises(PortError, match=r"SQS ReceiveMessage failed: .*NonExistentQueue"):
        scene.queues.receive(QueueAddress(scene.url + "-gone"), at_most=1, wait=NONE, hidden=HIDDEN)
