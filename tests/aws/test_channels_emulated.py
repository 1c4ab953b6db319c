"""The channels against an emulated AWS that really delivers: queues, delays, rules and keys are its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from aws.ministack import Account, Emulator, running
from headrace_engine.adapters.aws.bus import EventBridgeBus
from headrace_engine.adapters.aws.cipher import KmsCipher
from headrace_engine.adapters.aws.content import Content
from headrace_engine.adapters.aws.events import ExecutionAlarm, SqsBatch, SqsRecord, decode_alarm, read_event
from headrace_engine.adapters.aws.mailbox import SqsInbox, SqsMailbox
from headrace_engine.adapters.aws.secrets import ParameterStoreSecrets, SecretsManagerSecrets
from headrace_engine.adapters.aws.signing import Keyring, PlatformSigner, Verifier
from headrace_engine.adapters.aws.timers import ScheduleTarget, SqsTimers
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Poke
from headrace_engine.ports import Bus, Cipher, Mailbox, PortError, Secrets, StateChange
from headrace_engine.testing.contract import BusContract, CipherContract, MailboxContract, SecretsContract
from headrace_engine.testing.contract.channels import Delivered, Heard
from headrace_engine.testing.contract.secrets import SECRETS
from headrace_engine.testing.contract.support import CONTENDERS

pytestmark = pytest.mark.emulator

KEYS = Keyring({1: b"a key for tests, of 32 bytes and more"})
HELD = {key: value for key, value in SECRETS.items() if value}
"""AWS keeps no empty secrets."""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("ministack")) as emulator:
        yield emulator


@pytest.fixture
def account(emulator: Emulator) -> Account:
    return emulator.account()


def arn_of(sqs: Any, queue: str) -> str:
    arn: str = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def drained(sqs: Any, queue: str, wait: int = 0) -> Iterator[SqsRecord]:
    """Yield what waits in the queue, or comes within *wait* seconds, and remove it."""
    while True:
        messages = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"], WaitTimeSeconds=wait
        ).get("Messages")
        if not messages:
            return
        for message in messages:
            record = {"messageId": message["MessageId"], "body": message["Body"], "attributes": message["Attributes"]}
            batch = read_event({"Records": [{**record, "eventSourceARN": arn_of(sqs, queue)}]})
            assert isinstance(batch, SqsBatch)
            yield from batch.records
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


class TestMailbox(MailboxContract):
    @pytest.fixture
    def sqs(self, account: Account) -> Any:
        return account.client("sqs")

    @pytest.fixture
    def queue(self, sqs: Any) -> str:
        url: str = sqs.create_queue(QueueName="mailbox.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        return url

    @pytest.fixture
    def content(self, account: Account) -> Content:
        s3 = account.client("s3")
        s3.create_bucket(
            Bucket=f"mail-{account.id}", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
        )
        return Content(s3, f"mail-{account.id}")

    @pytest.fixture
    def mailbox(self, sqs: Any, queue: str, content: Content) -> Mailbox:
        return SqsMailbox(sqs, queue, PlatformSigner(KEYS), content)

    @pytest.fixture
    def delivered(self, sqs: Any, queue: str, content: Content) -> Delivered:
        inbox = SqsInbox(Verifier(KEYS), content.get)
        came: list[tuple[str, bytes]] = []

        def deliver() -> Sequence[tuple[str, bytes]]:
            for record in drained(sqs, queue):
                mail = inbox.open(record)
                came.append((mail.execution_id, mail.message))
            return came

        return deliver

    def test_what_many_send_at_once_is_all_delivered(self, mailbox: Mailbox, delivered: Delivered) -> None:
        poke = encode_message(Poke())
        self.race([partial(mailbox.send, f"x{n % 4}", poke) for n in range(CONTENDERS)])
        assert sorted(execution_id for execution_id, _ in delivered()) == sorted(f"x{n % 4}" for n in range(CONTENDERS))


class TestBus(BusContract):
    @pytest.fixture
    def bus(self, account: Account) -> Bus:
        events = account.client("events")
        events.create_event_bus(Name="headrace")
        return EventBridgeBus(events, "headrace")

    @pytest.fixture(autouse=True)
    def heard(self, bus: Bus, account: Account) -> Heard:
        sqs, events = account.client("sqs"), account.client("events")
        queue = sqs.create_queue(QueueName="listener")["QueueUrl"]
        pattern = {"source": ["headrace"], "detail-type": ["Execution State Change"]}
        events.put_rule(Name="listener", EventBusName="headrace", EventPattern=json.dumps(pattern))
        target = {"Id": "queue", "Arn": arn_of(sqs, queue)}
        events.put_targets(Rule="listener", EventBusName="headrace", Targets=[target])
        changes: list[StateChange] = []

        def hear() -> Sequence[StateChange]:
            for record in drained(sqs, queue, wait=1):
                change = read_event(json.loads(record.body))
                assert isinstance(change, StateChange)
                changes.append(change)
            return changes

        return hear


class TestCipher(CipherContract):
    @pytest.fixture
    def kms(self, account: Account) -> Any:
        return account.client("kms")

    @pytest.fixture
    def cipher(self, kms: Any) -> Cipher:
        return KmsCipher(kms, kms.create_key()["KeyMetadata"]["Arn"], {"headrace:stack": "test"})

    @pytest.fixture
    def stranger(self, kms: Any) -> Cipher:
        return KmsCipher(kms, kms.create_key()["KeyMetadata"]["Arn"], {"headrace:stack": "test"})


class SecretsSuite(SecretsContract):
    @pytest.mark.parametrize("key", sorted(HELD))
    def test_a_secret_is_returned_as_it_is(self, secrets: Secrets, key: str) -> None:
        super().test_a_secret_is_returned_as_it_is(secrets, key)


class TestSecretsManager(SecretsSuite):
    @pytest.fixture
    def secrets(self, account: Account) -> Secrets:
        manager = account.client("secretsmanager")
        for key, value in HELD.items():
            manager.create_secret(Name=f"/headrace/test/company.team/{key}", SecretString=value)
        return SecretsManagerSecrets(manager, "/headrace/test", SystemClock(), timedelta(minutes=1))


class TestParameterStore(SecretsSuite):
    @pytest.fixture
    def secrets(self, account: Account) -> Secrets:
        ssm = account.client("ssm")
        for key, value in HELD.items():
            ssm.put_parameter(Name=f"/headrace/test/company.team/{key}", Value=value, Type="SecureString")
        return ParameterStoreSecrets(ssm, "/headrace/test", SystemClock(), timedelta(minutes=1))


class TestTimers:
    @pytest.fixture
    def sqs(self, account: Account) -> Any:
        return account.client("sqs")

    @pytest.fixture
    def queue(self, sqs: Any) -> str:
        url: str = sqs.create_queue(QueueName="delays")["QueueUrl"]
        return url

    @pytest.fixture
    def timers(self, account: Account, sqs: Any, queue: str) -> SqsTimers:
        scheduler = account.client("scheduler")
        scheduler.create_schedule_group(Name="headrace")
        target = ScheduleTarget("headrace", arn_of(sqs, queue), f"arn:aws:iam::{account.id}:role/scheduler")
        return SqsTimers(sqs, scheduler, SystemClock(), queue_url=queue, target=target)

    def test_a_short_timer_comes_out_of_the_queue_when_it_is_due_and_not_before(
        self, timers: SqsTimers, sqs: Any, queue: str
    ) -> None:
        due = datetime.now(UTC) + timedelta(seconds=2)
        timers.wake("x", "key", due)
        record = next(drained(sqs, queue, wait=20))
        assert datetime.now(UTC) >= due
        assert decode_alarm(record.body) == ExecutionAlarm("x", "key", due)
        assert timers.settle(decode_alarm(record.body))

    def test_a_long_timer_is_one_schedule_however_often_it_is_set(self, timers: SqsTimers, account: Account) -> None:
        due = datetime.now(UTC) + timedelta(days=40)
        for _ in range(3):
            timers.wake("x", "key", due)
        assert len(account.client("scheduler").list_schedules(GroupName="headrace")["Schedules"]) == 1

    def test_a_group_that_is_not_there_is_an_error(self, account: Account, sqs: Any, queue: str) -> None:
        target = ScheduleTarget("missing", arn_of(sqs, queue), f"arn:aws:iam::{account.id}:role/scheduler")
        timers = SqsTimers(sqs, account.client("scheduler"), SystemClock(), queue_url=queue, target=target)
        with pytest.raises(PortError, match="EventBridge Scheduler CreateSchedule failed: ResourceNotFoundException"):
            timers.wake("x", "key", datetime.now(UTC) + timedelta(days=1))
