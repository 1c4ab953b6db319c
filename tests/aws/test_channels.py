"""The channels on AWS, against moto in process: the contracts of their ports, and what AWS asks beyond them.

moto keeps what was sent; time is ours. A delayed message is noted and given out by the test's clock, a schedule is
rung when its date has come.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from moto import mock_aws

from headrace_engine.adapters.aws.bus import EventBridgeBus
from headrace_engine.adapters.aws.cipher import KmsCipher
from headrace_engine.adapters.aws.content import PREFIX, Content
from headrace_engine.adapters.aws.dispatch import PAYLOAD_LIMIT, Route, RoutedDispatch, invocation
from headrace_engine.adapters.aws.errors import AwsError
from headrace_engine.adapters.aws.events import (
    ExecutionAlarm,
    SqsBatch,
    SqsRecord,
    TriggerAlarm,
    decode_alarm,
    read_event,
)
from headrace_engine.adapters.aws.mailbox import BODY_LIMIT, SqsInbox, SqsMailbox
from headrace_engine.adapters.aws.secrets import ParameterStoreSecrets, SecretsManagerSecrets
from headrace_engine.adapters.aws.signing import (
    AttemptSigner,
    ForgedError,
    Keyring,
    PlatformSigner,
    Verifier,
    attempt_token,
)
from headrace_engine.adapters.aws.timers import ScheduleTarget, SqsTimers
from headrace_engine.adapters.memory import ManualClock, MemoryClaims
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import AttemptReported, Kill, Poke
from headrace_engine.jobs import encode_job
from headrace_engine.model.attempt import AttemptResult, Inline
from headrace_engine.model.state import State
from headrace_engine.ports import (
    AttemptId,
    Bus,
    Cipher,
    Job,
    Mailbox,
    NotFoundError,
    PortError,
    Secrets,
    StateChange,
    Timers,
)
from headrace_engine.testing.contract import (
    BusContract,
    CipherContract,
    MailboxContract,
    SecretsContract,
    TimersContract,
)
from headrace_engine.testing.contract.channels import Delivered, Fired, Heard
from headrace_engine.testing.contract.secrets import SECRETS
from headrace_engine.testing.contract.support import START, at

REGION = "eu-central-1"
BUCKET = "headrace-test"
KEYS = Keyring({1: b"a key for tests, of 32 bytes and more"})
VERIFIER = Verifier(KEYS)
ATTEMPT = AttemptId("5kQ1zVJb7Yw0hN3cTfR8Xa", "1PzmQ0rTyUiOpAsDfGhJkL", 0)
NOISE = "".join(str(number * number % 7919) for number in range(200_000))
"""Half a megabyte or more that does not compress below the limits."""

_SESSION = boto3.Session("testing", "testing", region_name=REGION)


@cache
def client(service: str) -> Any:
    """Return the one client of the service: making one takes longer than most tests."""
    return _SESSION.client(service, config=Config(signature_version="s3v4") if service == "s3" else None)


@dataclass
class Calls:
    """The calls of one client's operations, with their parameters, as they were made."""

    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _hooks: list[tuple[Any, str, Callable[..., None]]] = field(default_factory=list)

    def hook(self, watched: Any, event: str, handler: Callable[..., None]) -> None:
        """Have *handler* called for the events of that name, until the test has ended."""
        watched.meta.events.register(event, handler)
        self._hooks.append((watched, event, handler))

    def close(self) -> None:
        for watched, event, handler in self._hooks:
            watched.meta.events.unregister(event, handler)

    def watch(self, watched: Any) -> None:
        """Note every call that *watched* makes from now on."""
        service = watched.meta.service_model.service_id.hyphenize()

        def note(params: dict[str, Any], model: Any, **_: Any) -> None:
            self.made.append((model.name, dict(params)))

        self.hook(watched, f"provide-client-params.{service}", note)

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.made if name == operation]


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


@pytest.fixture
def calls() -> Iterator[Calls]:
    with closing(Calls()) as calls:
        yield calls


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def s3() -> Any:
    made = client("s3")
    made.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return made


@pytest.fixture
def content(s3: Any) -> Content:
    return Content(s3, BUCKET)


@pytest.fixture
def sqs(calls: Calls) -> Any:
    made = client("sqs")
    calls.watch(made)
    return made


def drained(sqs: Any, queue: str) -> Iterator[SqsRecord]:
    """Yield what waits in the queue as a function would receive it, and remove it."""
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    while True:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"]).get("Messages")
        if not messages:
            return
        for message in messages:
            record = {
                "messageId": message["MessageId"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSourceARN": arn,
            }
            batch = read_event({"Records": [record]})
            assert isinstance(batch, SqsBatch)
            yield from batch.records
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


# -- Mailbox ----------------------------------------------------------------------------------------


@pytest.fixture
def mailbox_queue(sqs: Any) -> str:
    url: str = sqs.create_queue(QueueName="headrace-mailbox.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    return url


@pytest.fixture
def mailbox(sqs: Any, mailbox_queue: str, content: Content) -> SqsMailbox:
    return SqsMailbox(sqs, mailbox_queue, PlatformSigner(KEYS), content)


@pytest.fixture
def inbox(content: Content) -> SqsInbox:
    return SqsInbox(VERIFIER, content.get)


def report(text: str) -> bytes:
    result = AttemptResult(State.SUCCESS, START, START, Inline(text))
    return encode_message(AttemptReported(ATTEMPT.task_run_id, ATTEMPT.number, result))


class TestMailbox(MailboxContract):
    @pytest.fixture
    def delivered(self, mailbox: Mailbox, sqs: Any, mailbox_queue: str, inbox: SqsInbox) -> Delivered:
        came: list[tuple[str, bytes]] = []

        def deliver() -> Sequence[tuple[str, bytes]]:
            for record in drained(sqs, mailbox_queue):
                mail = inbox.open(record)
                came.append((mail.execution_id, mail.message))
            return came

        return deliver


def test_each_execution_is_a_group_of_its_own(mailbox: SqsMailbox, calls: Calls) -> None:
    mailbox.send("x", report(""))
    mailbox.send("y", report(""))
    assert [call["MessageGroupId"] for call in calls.of("SendMessage")] == ["x", "y"]


def test_what_sqs_retries_has_one_deduplication_id_and_each_send_another(mailbox: SqsMailbox, calls: Calls) -> None:
    for _ in range(3):
        mailbox.send("x", report(""))
    assert len({call["MessageDeduplicationId"] for call in calls.of("SendMessage")}) == 3


def test_no_body_is_larger_than_a_queue_takes(mailbox: SqsMailbox, calls: Calls, s3: Any) -> None:
    for size in (190_000, 196_300, 196_700, 400_000):
        mailbox.send("x", NOISE[:size].encode())
    sizes = [len(call["MessageBody"]) for call in calls.of("SendMessage")]
    assert all(size <= BODY_LIMIT for size in sizes)
    assert [size > 1000 for size in sizes] == [True, True, False, False]
    kept = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {stored["Key"][: len(PREFIX)] for stored in kept} == {PREFIX}
    assert len(kept) == 2


def test_a_large_message_whose_content_is_gone_is_an_error_not_a_forgery(
    mailbox: SqsMailbox, inbox: SqsInbox, sqs: Any, mailbox_queue: str, s3: Any
) -> None:
    mailbox.send("x", NOISE.encode())
    for stored in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=stored["Key"])
    with pytest.raises(NotFoundError, match="content"):
        inbox.open(next(drained(sqs, mailbox_queue)))


def test_a_large_message_whose_content_was_exchanged_is_an_error(
    mailbox: SqsMailbox, inbox: SqsInbox, sqs: Any, mailbox_queue: str, s3: Any
) -> None:
    mailbox.send("x", NOISE.encode())
    for stored in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.put_object(Bucket=BUCKET, Key=stored["Key"], Body=b"something else")
    with pytest.raises(PortError, match="something else"):
        inbox.open(next(drained(sqs, mailbox_queue)))


@pytest.mark.parametrize("digest", ["", "../state/X", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_a_digest_names_no_other_object(content: Content, s3: Any, digest: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=PREFIX + digest, Body=b"x")
    for asked in (lambda: content.get(digest), lambda: content.address(digest, TTL)):
        with pytest.raises(PortError, match="64 hexadecimal digits"):
            asked()


def record(body: Any, group: str | None = "x") -> SqsRecord:
    return SqsRecord("id", body if isinstance(body, str) else json.dumps(body), "queue", group, START, 1)


def signed(execution_id: str = "x", data: bytes | None = None) -> dict[str, Any]:
    data = encode_message(Kill()) if data is None else data
    return {
        "execution": execution_id,
        "signature": PlatformSigner(KEYS).sign(execution_id, data),
        "message": base64.b64encode(data).decode(),
    }


def test_a_signed_message_is_opened(inbox: SqsInbox) -> None:
    assert inbox.open(record(signed())).message == encode_message(Kill())


@pytest.mark.parametrize(
    "forged",
    [
        record("no JSON"),
        record([]),
        record({}),
        record({**signed(), "signature": ""}),
        record({**signed(), "execution": "y"}, "y"),
        record(signed(), "y"),
        record(signed(), None),
        record({**signed(), "message": base64.b64encode(b"other").decode()}),
        record({**signed(), "message": "!"}),
        record({**signed(), "message": None}),
        record({**signed(), "stored": "0" * 64}),
        record({**signed(), "stored": "../_engine/secret"}),
    ],
)
def test_a_message_that_nobody_signed_is_refused_without_a_look_at_the_bucket(forged: SqsRecord) -> None:
    def untouched(digest: str) -> bytes:
        raise AssertionError(digest)

    with pytest.raises(ForgedError):
        SqsInbox(VERIFIER, untouched).open(forged)


def test_an_attempt_reports_through_the_queue_but_not_through_the_bucket(
    sqs: Any, mailbox_queue: str, content: Content, inbox: SqsInbox
) -> None:
    signer = AttemptSigner(ATTEMPT, attempt_token(KEYS, ATTEMPT))
    mine = SqsMailbox(sqs, mailbox_queue, signer, content)
    mine.send(ATTEMPT.execution_id, report("done"))
    assert inbox.open(next(drained(sqs, mailbox_queue))).message == report("done")
    with pytest.raises(PortError, match="too large"):
        mine.send(ATTEMPT.execution_id, NOISE.encode())


def test_a_batch_is_ten_messages_and_no_larger_than_one(
    mailbox: SqsMailbox, calls: Calls, inbox: SqsInbox, sqs: Any, mailbox_queue: str
) -> None:
    small = [(f"x{number}", report(str(number))) for number in range(25)]
    large = [(f"y{number}", NOISE[number : number + 60_000].encode()) for number in range(7)]
    mailbox.send_all([*small, *large])
    batches = [call["Entries"] for call in calls.of("SendMessageBatch")]
    assert all(len(batch) <= 10 for batch in batches)
    assert all(sum(len(entry["MessageBody"]) for entry in batch) <= BODY_LIMIT for batch in batches)
    assert len(batches) == 5
    mails = [inbox.open(came) for came in drained(sqs, mailbox_queue)]
    assert sorted((mail.execution_id, mail.message) for mail in mails) == sorted([*small, *large])


def test_what_sqs_did_not_take_of_a_batch_is_sent_again_and_then_an_error(calls: Calls) -> None:
    def failure(entry: int, *, fault: bool) -> dict[str, Any]:
        return {
            "Id": str(entry),
            "Code": "InternalError" if not fault else "InvalidMessageContents",
            "SenderFault": fault,
        }

    def sent(*entries: int) -> list[dict[str, str]]:
        return [{"Id": str(entry), "MessageId": "m", "MD5OfMessageBody": "d"} for entry in entries]

    plain = client("sqs")
    calls.watch(plain)
    mailbox = SqsMailbox(plain, "http://localhost/queue", PlatformSigner(KEYS))
    messages = [(f"x{number}", b"message") for number in range(3)]
    with Stubber(plain) as stub:
        stub.add_response("send_message_batch", {"Successful": sent(0, 2), "Failed": [failure(1, fault=False)]})
        stub.add_response("send_message_batch", {"Successful": sent(1), "Failed": []})
        mailbox.send_all(messages)
        first, second = (call["Entries"] for call in calls.of("SendMessageBatch"))
        assert ([entry["Id"] for entry in first], [entry["Id"] for entry in second]) == (["0", "1", "2"], ["1"])
        assert second == first[1:2]  # the same deduplication id: it may have been taken after all

        stub.add_response(
            "send_message_batch",
            {"Successful": sent(2), "Failed": [failure(0, fault=True), failure(1, fault=False)]},
        )
        stub.add_response("send_message_batch", {"Successful": [], "Failed": [failure(1, fault=False)]})
        with pytest.raises(PortError, match="2 of 3 messages: InternalError, InvalidMessageContents"):
            mailbox.send_all(messages)
        *_, last = (call["Entries"] for call in calls.of("SendMessageBatch"))
        assert [entry["Id"] for entry in last] == ["1"]  # what is wrong with itself is not sent again
        stub.assert_no_pending_responses()


# -- Timers -----------------------------------------------------------------------------------------

TARGET = ScheduleTarget(
    "headrace",
    "arn:aws:sqs:eu-central-1:123456789012:headrace-delays",
    "arn:aws:iam::123456789012:role/headrace-scheduler",
    "arn:aws:sqs:eu-central-1:123456789012:headrace-dead",
)


class DelayQueue:
    """Plays SQS's delays and Scheduler by the test's clock, and the function that takes alarms out of the queue."""

    def __init__(self, timers: SqsTimers, sqs: Any, scheduler: Any, clock: ManualClock, calls: Calls) -> None:
        self._timers = timers
        self._scheduler = scheduler
        self._clock = clock
        self._waiting: list[tuple[datetime, str]] = []
        """The messages in the queue, each with the instant it comes out."""
        self.fired: list[tuple[str, str]] = []
        calls.hook(sqs, "provide-client-params.sqs.SendMessage", self._take)

    def _take(self, params: dict[str, Any], **_: Any) -> None:
        assert 0 <= params["DelaySeconds"] <= 900
        self._waiting.append((self._clock.now() + timedelta(seconds=params["DelaySeconds"]), params["MessageBody"]))

    def dates(self) -> list[tuple[datetime, dict[str, Any]]]:
        """Return the schedules there are, each with its date."""
        found = []
        for summary in self._scheduler.list_schedules(GroupName=TARGET.group, MaxResults=100)["Schedules"]:
            schedule = self._scheduler.get_schedule(GroupName=TARGET.group, Name=summary["Name"])
            date = re.fullmatch(r"at\((.*)\)", schedule["ScheduleExpression"])
            assert date is not None
            assert schedule["ScheduleExpressionTimezone"] == "UTC"
            found.append((datetime.fromisoformat(date[1]).replace(tzinfo=UTC), schedule))
        return found

    def ring(self) -> Sequence[tuple[str, str]]:
        """Let everything happen that happens by now, in its order; return the timers that fired."""
        now = self._clock.now()
        while True:
            schedules = [(date, schedule) for date, schedule in self.dates() if date <= now]
            messages = [waiting for waiting in self._waiting if waiting[0] <= now]
            if not schedules and not messages:
                self._clock.set(now)
                return self.fired
            if schedules and (not messages or min(date for date, _ in schedules) <= min(messages)[0]):
                date, schedule = min(schedules, key=lambda found: found[0])
                # As late within its minute as Scheduler may be.
                self._clock.set(max(date + timedelta(seconds=59), START))
                self._scheduler.delete_schedule(GroupName=TARGET.group, Name=schedule["Name"])
                self._waiting.append((self._clock.now(), schedule["Target"]["Input"]))
            else:
                first = min(messages)
                self._waiting.remove(first)
                self._clock.set(first[0])
                alarm = decode_alarm(first[1])
                if self._timers.settle(alarm) and isinstance(alarm, ExecutionAlarm):
                    assert timedelta(0) <= self._clock.now() - alarm.due or alarm.due < START
                    self.fired.append((alarm.execution_id, alarm.key))


@pytest.fixture
def scheduler(calls: Calls) -> Any:
    made = client("scheduler")
    made.create_schedule_group(Name=TARGET.group)
    calls.watch(made)
    return made


@pytest.fixture
def timers(sqs: Any, scheduler: Any, clock: ManualClock) -> SqsTimers:
    queue = sqs.create_queue(QueueName="headrace-delays")["QueueUrl"]
    return SqsTimers(sqs, scheduler, clock, queue_url=queue, target=TARGET)


@pytest.fixture
def delays(timers: SqsTimers, sqs: Any, scheduler: Any, clock: ManualClock, calls: Calls) -> DelayQueue:
    return DelayQueue(timers, sqs, scheduler, clock, calls)


class TestTimers(TimersContract):
    @pytest.fixture
    def fired(self, timers: Timers, delays: DelayQueue) -> Fired:
        return delays.ring


@pytest.mark.parametrize(
    ("wait", "delay"), [(-5.0, 0), (0.0, 0), (0.001, 1), (1.0, 1), (59.5, 60), (899.5, 900), (900.0, 900)]
)
def test_a_wait_of_up_to_15_minutes_is_one_delayed_message_rounded_up(
    timers: SqsTimers, calls: Calls, wait: float, delay: int
) -> None:
    timers.wake("x", "key", at(wait))
    assert [call["DelaySeconds"] for call in calls.of("SendMessage")] == [delay]
    assert not calls.of("CreateSchedule")


@pytest.mark.parametrize("wait", [900.001, 960.0, 3600.0, 86_399.9, 30_000_000.0])
def test_a_longer_wait_is_one_schedule_that_rings_one_to_two_minutes_early(
    timers: SqsTimers, calls: Calls, delays: DelayQueue, wait: float
) -> None:
    timers.wake("x", "key", at(wait))
    assert not calls.of("SendMessage")
    [(date, schedule)] = delays.dates()
    assert timedelta(minutes=1) <= at(wait) - date < timedelta(minutes=2)
    assert date.second == 0  # Scheduler knows minutes: what it does with seconds is its own affair
    assert (schedule["ActionAfterCompletion"], schedule["FlexibleTimeWindow"]) == ("DELETE", {"Mode": "OFF"})
    assert schedule["Target"]["Arn"] == TARGET.queue_arn
    assert schedule["Target"]["RoleArn"] == TARGET.role_arn
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": TARGET.dead_letter_arn}
    assert decode_alarm(schedule["Target"]["Input"]) == ExecutionAlarm("x", "key", at(wait))


def test_the_same_timer_set_again_is_the_same_schedule(
    timers: SqsTimers, delays: DelayQueue, clock: ManualClock
) -> None:
    timers.wake("x", "key", at(86_400))
    clock.advance(timedelta(minutes=7))
    timers.wake("x", "key", at(86_400))
    timers.wake("x", "key", at(86_400).astimezone())
    assert len(delays.dates()) == 1
    for other in (("y", "key", at(86_400)), ("x", "other", at(86_400)), ("x", "key", at(86_401))):
        timers.wake(*other)
    assert len(delays.dates()) == 4


def test_a_timer_in_a_hundred_years_goes_in_stages_that_meet_each_other(
    timers: SqsTimers, delays: DelayQueue, clock: ManualClock
) -> None:
    due = START + timedelta(days=36_500)
    timers.wake("x", "key", due)
    clock.advance(timedelta(days=1))
    timers.wake("x", "key", due)
    [(date, _)] = delays.dates()
    assert timedelta(days=180) < date - START < timedelta(days=367)
    clock.set(date + timedelta(seconds=59))
    assert not delays.ring()
    [(then, _)] = delays.dates()
    assert timedelta(days=180) < then - date < timedelta(days=367)


@pytest.mark.parametrize("wait", [30.0, 1000.0, 40_000_000.0])
def test_a_triggers_date_rings_in_the_same_way(
    timers: SqsTimers, delays: DelayQueue, clock: ManualClock, calls: Calls, wait: float
) -> None:
    timers.wake_trigger("company.team", "flow", "every-morning", at(wait))
    texts = [call["MessageBody"] for call in calls.of("SendMessage")]
    texts += [schedule["Target"]["Input"] for _, schedule in delays.dates()]
    [alarm] = [decode_alarm(text) for text in texts]
    assert alarm == TriggerAlarm("company.team", "flow", "every-morning", at(wait))
    assert not timers.settle(alarm)
    clock.set(at(wait))
    assert timers.settle(alarm)


def test_a_schedule_that_cannot_be_made_is_an_error(timers: SqsTimers, scheduler: Any) -> None:
    with Stubber(scheduler) as stub:
        stub.add_client_error("create_schedule", "ServiceQuotaExceededException", "too many", 402)
        with pytest.raises(PortError, match="EventBridge Scheduler CreateSchedule failed: ServiceQuotaExceeded"):
            timers.wake("x", "key", at(86_400))


# -- Bus --------------------------------------------------------------------------------------------


def as_rules_see_it(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the event that EventBridge makes of an entry; moto has no rules without another library."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": "123456789012",
        "time": f"{entry['Time']:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }


class TestBus(BusContract):
    @pytest.fixture
    def bus(self, calls: Calls) -> Bus:
        events = client("events")
        events.create_event_bus(Name="headrace")
        calls.watch(events)
        return EventBridgeBus(events, "headrace")

    @pytest.fixture
    def heard(self, calls: Calls) -> Heard:
        def hear() -> Sequence[StateChange]:
            entries = [entry for call in calls.of("PutEvents") for entry in call["Entries"]]
            assert {entry["EventBusName"] for entry in entries} == {"headrace"}
            changes = [read_event(json.loads(json.dumps(as_rules_see_it(entry)))) for entry in entries]
            return [change for change in changes if isinstance(change, StateChange)]

        return hear


CHANGE = StateChange("x", "company.team", "flow", 1, 0, State.CREATED, START)


def test_an_event_that_was_not_taken_is_an_error_though_the_call_went_well() -> None:
    events = client("events")
    with Stubber(events) as stub:
        stub.add_response(
            "put_events",
            {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}]},
        )
        with pytest.raises(PortError, match="EventBridge PutEvents failed: ThrottlingException"):
            EventBridgeBus(events, "headrace").publish(CHANGE)


def test_an_event_larger_than_the_bus_takes_is_an_error_before_it_is_sent(calls: Calls) -> None:
    events = client("events")
    calls.watch(events)
    change = StateChange("x", "company.team", "f" * 262_144, 1, 0, State.CREATED, START)
    with pytest.raises(PortError, match="too large"):
        EventBridgeBus(events, "headrace").publish(change)
    assert not calls.made


# -- Dispatch ---------------------------------------------------------------------------------------

SCRIPT = "io.kestra.plugin.scripts.python.Script"


def job(kind: str = "a.Type", **properties: Any) -> Job:
    return Job(ATTEMPT, kind, "task", "company.team", "flow", 1, START, properties, timeout=timedelta(minutes=5))


def route(job: Job) -> Route:
    if "image" in job.properties:
        return Route(container="fargate", placement={"why": "It names an image"})
    if job.type == SCRIPT:
        return Route("script", is_script=True, placement={"why": "It fits"}, refusal=job.properties.get("refusal", ""))
    return Route("worker")


class Containers:
    """Takes note of what it is asked to start and stop."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def start(self, job: Job, where: str) -> None:
        self.asked.append((where, job.attempt))

    def stop(self, attempt: AttemptId) -> None:
        self.asked.append(("stop", attempt))


class TestDispatch:
    @pytest.fixture
    def claims(self) -> MemoryClaims:
        return MemoryClaims()

    @pytest.fixture
    def containers(self) -> Containers:
        return Containers()

    @pytest.fixture
    def dispatch(
        self, claims: MemoryClaims, clock: ManualClock, content: Content, calls: Calls, containers: Containers
    ) -> RoutedDispatch:
        iam = client("iam")
        role = iam.create_role(RoleName="headrace", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        lambda_ = client("lambda")
        for name in ("worker", "script"):
            lambda_.create_function(
                FunctionName=name, Role=role, Runtime="python3.13", Handler="a.b", Code={"ZipFile": b"zip"}
            )
        calls.watch(lambda_)
        return RoutedDispatch(
            lambda_,
            claims,
            clock,
            content,
            KEYS,
            route=route,
            containers=containers,
        )

    def events(self, calls: Calls) -> list[tuple[str, dict[str, Any]]]:
        made = calls.of("Invoke")
        assert all(call["InvocationType"] == "Event" for call in made)
        assert all(len(call["Payload"]) <= PAYLOAD_LIMIT for call in made)
        return [(call["FunctionName"], json.loads(call["Payload"])) for call in made]

    def test_our_tasks_go_to_worker_which_gets_no_token(self, dispatch: RoutedDispatch, calls: Calls) -> None:
        dispatch.start(job(url="x"))
        [(function, event)] = self.events(calls)
        assert (function, invocation(event).job, invocation(event).token) == ("worker", job(url="x"), None)

    def test_peoples_code_goes_to_script_with_what_signs_its_report(
        self, dispatch: RoutedDispatch, calls: Calls
    ) -> None:
        dispatch.start(job(SCRIPT, script="print(1)"))
        [(function, event)] = self.events(calls)
        called = invocation(event)
        assert (function, called.job) == ("script", job(SCRIPT, script="print(1)"))
        assert called.token is not None
        data = report("done")
        VERIFIER.verify(
            ATTEMPT.execution_id, data, AttemptSigner(ATTEMPT, called.token).sign(ATTEMPT.execution_id, data)
        )

    def test_script_is_told_where_it_runs_and_what_it_must_refuse(self, dispatch: RoutedDispatch, calls: Calls) -> None:
        dispatch.start(job(SCRIPT))
        dispatch.start(job(SCRIPT, refusal="there is no place for it"))
        fits, refused = (invocation(event) for _, event in self.events(calls))
        assert (fits.placement, fits.refusal) == ({"why": "It fits"}, "")
        assert refused.refusal == "there is no place for it"

    def test_what_runs_in_a_container_is_started_there_and_not_invoked(
        self, dispatch: RoutedDispatch, calls: Calls, containers: Containers
    ) -> None:
        dispatch.start(job(SCRIPT, image="alpine"))
        assert containers.asked == [("fargate", ATTEMPT)]
        assert not calls.of("Invoke")

    @pytest.mark.parametrize(
        ("owner", "is_stopped"),
        [("", True), ("arn:aws:ecs:eu-central-1:1:task/x/1", True), ("5f2b1c7e-0000-4000-8000-000000000001", False)],
    )
    def test_a_stop_reaches_the_container_of_what_no_function_has_claimed(
        self, dispatch: RoutedDispatch, claims: MemoryClaims, containers: Containers, owner: str, is_stopped: bool
    ) -> None:
        if owner:
            claims.claim(ATTEMPT, owner, START)
        dispatch.stop(ATTEMPT)
        assert containers.asked == ([("stop", ATTEMPT)] if is_stopped else [])

    def test_a_stop_after_the_end_stops_nothing(
        self, dispatch: RoutedDispatch, claims: MemoryClaims, containers: Containers
    ) -> None:
        claims.claim(ATTEMPT, "arn:x", START)
        claims.close(ATTEMPT, "arn:x", b"{}", START)
        dispatch.stop(ATTEMPT)
        assert containers.asked == []

    def test_the_same_job_again_is_the_same_bytes(self, dispatch: RoutedDispatch, calls: Calls) -> None:
        for _ in range(2):
            dispatch.start(job(SCRIPT, env={"b": "1", "a": "2"}))
        first, second = calls.of("Invoke")
        assert first["Payload"] == second["Payload"]

    def test_a_large_job_is_fetched_by_worker_by_its_digest(
        self, dispatch: RoutedDispatch, calls: Calls, content: Content
    ) -> None:
        dispatch.start(job(text=NOISE))
        [(_, event)] = self.events(calls)
        assert "job" not in event
        assert "address" not in event
        assert event["attempt"]["execution"] == ATTEMPT.execution_id
        assert invocation(event, fetch_stored=content.get).job == job(text=NOISE)

    def test_a_large_job_is_fetched_by_script_from_an_address_that_needs_no_rights(
        self, dispatch: RoutedDispatch, calls: Calls
    ) -> None:
        dispatch.start(job(SCRIPT, script=NOISE))
        [(_, event)] = self.events(calls)
        asked: list[str] = []

        def fetch(address: str) -> bytes:
            asked.append(address)
            return encode_job(job(SCRIPT, script=NOISE))

        assert invocation(event, fetch_address=fetch).job == job(SCRIPT, script=NOISE)
        assert event["stored"] in asked[0]
        assert re.search(r"X-Amz-Expires=22500\b", asked[0])

    def test_what_stands_at_the_address_must_be_the_job_that_was_sent(
        self, dispatch: RoutedDispatch, calls: Calls
    ) -> None:
        dispatch.start(job(SCRIPT, script=NOISE))
        [(_, event)] = self.events(calls)
        with pytest.raises(PortError, match="something else"):
            invocation(event, fetch_address=lambda _: encode_job(job(SCRIPT, script="other")))

    def test_no_payload_is_larger_than_an_invocation_takes(
        self, dispatch: RoutedDispatch, calls: Calls, content: Content
    ) -> None:
        jobs = [
            job(text=base64.b64encode(Random(size).randbytes(size)).decode()) for size in range(176_000, 194_000, 2_000)
        ]
        for each in jobs:
            dispatch.start(each)
        events = [event for _, event in self.events(calls)]
        assert [invocation(event, fetch_stored=content.get).job for event in events] == jobs
        in_s3 = ["stored" in event for event in events]
        assert in_s3 == sorted(in_s3)
        assert set(in_s3) == {True, False}

    def test_a_stop_is_a_flag_on_the_claim(
        self, dispatch: RoutedDispatch, claims: MemoryClaims, clock: ManualClock, calls: Calls
    ) -> None:
        claims.claim(ATTEMPT, "worker", START)
        dispatch.stop(ATTEMPT)
        claim = claims.get(ATTEMPT)
        assert claim is not None
        assert claim.stop_requested
        assert not calls.of("Invoke")

    def test_a_function_that_is_not_there_is_an_error_that_does_not_show_the_job(
        self, claims: MemoryClaims, clock: ManualClock, content: Content
    ) -> None:
        lambda_ = client("lambda")
        dispatch = RoutedDispatch(lambda_, claims, clock, content, KEYS, route=lambda _: Route("gone"))
        with Stubber(lambda_) as stub:
            stub.add_client_error("invoke", "ResourceNotFoundException", "Function not found", 404)
            with pytest.raises(PortError, match="Lambda Invoke failed: ResourceNotFoundException") as error:
                dispatch.start(job(password="s3cr3t"))
            assert "s3cr3t" not in str(error.value)
            stub.add_response("invoke", {"StatusCode": 200})
            with pytest.raises(PortError, match="Lambda Invoke failed: status 200"):
                dispatch.start(job())


# -- Cipher -----------------------------------------------------------------------------------------


@pytest.fixture
def kms(calls: Calls) -> Any:
    made = client("kms")
    calls.watch(made)
    return made


@pytest.fixture
def key(kms: Any) -> str:
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


CONTEXT = {"headrace:stack": "test"}


class TestCipher(CipherContract):
    @pytest.fixture
    def cipher(self, kms: Any, key: str) -> Cipher:
        return KmsCipher(kms, key, CONTEXT)

    @pytest.fixture
    def stranger(self, kms: Any) -> Cipher:
        return KmsCipher(kms, kms.create_key()["KeyMetadata"]["Arn"], CONTEXT)


def test_a_process_asks_kms_once_to_seal_and_once_for_each_data_key_to_open(kms: Any, key: str, calls: Calls) -> None:
    first, second, third = (KmsCipher(kms, key, CONTEXT) for _ in range(3))
    texts = [cipher.seal(f"{n}".encode()) for n in range(5) for cipher in (first, second)]
    assert len(calls.of("GenerateDataKey")) == 2
    assert [first.open(texts[0]), first.open(texts[2])] == [b"0", b"1"]
    assert not calls.of("Decrypt")
    assert [third.open(text) for text in texts] == [f"{n}".encode() for n in range(5) for _ in range(2)]
    assert len(calls.of("Decrypt")) == 2


def test_what_one_stack_sealed_does_not_open_in_another(kms: Any, key: str) -> None:
    sealed = KmsCipher(kms, key, CONTEXT).seal(b"s3cr3t")
    with pytest.raises(PortError):
        KmsCipher(kms, key, {"headrace:stack": "other"}).open(sealed)


def test_a_data_key_alone_opens_nothing_that_another_context_sealed() -> None:
    # A KMS that hands out the data key whatever the context: what is authenticated beside the text still tells.
    plain, arn = client("kms"), f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000000"
    with Stubber(plain) as stub:
        stub.add_response("generate_data_key", {"Plaintext": b"k" * 32, "CiphertextBlob": b"wrapped", "KeyId": arn})
        for _ in range(2):
            stub.add_response("decrypt", {"Plaintext": b"k" * 32, "KeyId": arn})
        sealed = KmsCipher(plain, arn, CONTEXT).seal(b"s3cr3t")
        assert KmsCipher(plain, arn, CONTEXT).open(sealed) == b"s3cr3t"
        with pytest.raises(PortError, match="changed"):
            KmsCipher(plain, arn, {"headrace:stack": "other"}).open(sealed)


def test_sealing_needs_the_key(kms: Any) -> None:
    with pytest.raises(PortError, match="KMS GenerateDataKey failed"):
        KmsCipher(kms, f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000000", CONTEXT).seal(
            b"x"
        )


# -- Secrets ----------------------------------------------------------------------------------------

TTL = timedelta(minutes=5)
HELD = {key: value for key, value in SECRETS.items() if value}
"""AWS keeps no empty secrets."""

Store = Callable[[str, str], None]


class SecretsOnAws(SecretsContract):
    """What both stores of AWS do beyond the contract. Needs the fixtures ``store``, ``watched`` and ``reads``."""

    @pytest.fixture(autouse=True)
    def held(self, store: Store) -> None:
        for name, value in HELD.items():
            store(f"/headrace/test/company.team/{name}", value)

    @pytest.mark.parametrize("key", sorted(HELD))
    def test_a_secret_is_returned_as_it_is(self, secrets: Secrets, key: str) -> None:
        super().test_a_secret_is_returned_as_it_is(secrets, key)

    def test_a_namespace_has_the_secrets_of_those_above_it_and_the_nearest_wins(
        self, secrets: Secrets, store: Store
    ) -> None:
        store("/headrace/test/company/SHARED", "of the company")
        store("/headrace/test/company.team/SHARED", "of the team")
        store("/headrace/test/company/ONLY", "above")
        assert secrets.get("company.team.sub.sub", "shared") == "of the team"
        assert secrets.get("company.other", "shared") == "of the company"
        assert secrets.get("company.team", "only") == "above"

    def test_no_namespace_has_the_secrets_of_those_below_or_beside_it(self, secrets: Secrets) -> None:
        for namespace in ("company", "company.team2", "company.tea", "other", "team", "company.other"):
            with pytest.raises(NotFoundError):
                secrets.get(namespace, "API_KEY")

    @pytest.mark.parametrize(
        ("namespace", "key"),
        [
            ("company/team", "API_KEY"),
            ("x/../company.team", "API_KEY"),
            ("", "company.team/API_KEY"),
            ("company", "../company.team/API_KEY"),
            ("company.", "API_KEY"),
            ("*", "API_KEY"),
            ("company.team", ""),
            ("company.team", "API_KEY:1"),
            ("company.team\n", "API_KEY"),
        ],
    )
    def test_no_name_leads_out_of_its_namespace(self, secrets: Secrets, namespace: str, key: str, calls: Calls) -> None:
        calls.made.clear()
        with pytest.raises(NotFoundError):
            secrets.get(namespace, key)
        assert not calls.made

    def test_an_answer_holds_for_its_time(
        self, secrets: Secrets, store: Store, clock: ManualClock, calls: Calls
    ) -> None:
        assert secrets.get("company.team", "API_KEY") == HELD["API_KEY"]
        store("/headrace/test/company.team/API_KEY", "newer")
        store("/headrace/test/company.team/LATER", "now")
        calls.made.clear()
        clock.advance(TTL - timedelta(microseconds=1))
        assert secrets.get("company.team", "api_key") == HELD["API_KEY"]
        assert not calls.made
        clock.advance(timedelta(microseconds=1))
        assert secrets.get("company.team", "API_KEY") == "newer"

    def test_that_a_secret_is_missing_is_remembered_as_long(
        self, secrets: Secrets, store: Store, clock: ManualClock
    ) -> None:
        with pytest.raises(NotFoundError):
            secrets.get("company.team", "LATER")
        store("/headrace/test/company.team/LATER", "now")
        with pytest.raises(NotFoundError):
            secrets.get("company.team", "LATER")
        clock.advance(TTL)
        assert secrets.get("company.team", "LATER") == "now"


class TestSecretsManager(SecretsOnAws):
    @pytest.fixture
    def manager(self, calls: Calls) -> Any:
        made = client("secretsmanager")
        calls.watch(made)
        return made

    @pytest.fixture
    def store(self, manager: Any) -> Store:
        def put(name: str, value: str) -> None:
            try:
                manager.create_secret(Name=name, SecretString=value)
            except manager.exceptions.ResourceExistsException:
                manager.put_secret_value(SecretId=name, SecretString=value)

        return put

    @pytest.fixture
    def secrets(self, manager: Any, clock: ManualClock) -> Secrets:
        return SecretsManagerSecrets(manager, "/headrace/test", clock, TTL)

    def test_a_secret_that_waits_to_be_deleted_is_missing(self, secrets: Secrets, manager: Any) -> None:
        manager.delete_secret(SecretId="/headrace/test/company.team/API_KEY", RecoveryWindowInDays=7)
        with pytest.raises(NotFoundError):
            secrets.get("company.team", "API_KEY")

    def test_a_binary_secret_is_its_text_or_an_error_that_does_not_show_it(
        self, secrets: Secrets, manager: Any
    ) -> None:
        manager.create_secret(Name="/headrace/test/company.team/TEXT", SecretBinary="Grüße".encode())
        manager.create_secret(Name="/headrace/test/company.team/BYTES", SecretBinary=b"s3cr3t\xff")
        assert secrets.get("company.team", "TEXT") == "Grüße"
        with pytest.raises(PortError, match="binary") as error:
            secrets.get("company.team", "BYTES")
        assert "s3cr3t" not in str(error.value)


class TestParameterStore(SecretsOnAws):
    @pytest.fixture
    def ssm(self, calls: Calls) -> Any:
        made = client("ssm")
        calls.watch(made)
        return made

    @pytest.fixture
    def store(self, ssm: Any) -> Store:
        return lambda name, value: ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    @pytest.fixture
    def secrets(self, ssm: Any, clock: ManualClock) -> Secrets:
        return ParameterStoreSecrets(ssm, "/headrace/test/", clock, TTL)

    def test_a_deep_namespace_is_asked_for_in_one_call_a_ten_levels(
        self, secrets: Secrets, store: Store, calls: Calls
    ) -> None:
        store("/headrace/test/a/KEY", "found")
        calls.made.clear()
        assert secrets.get("a.b.c", "KEY") == "found"
        assert len(calls.of("GetParameters")) == 1
        assert secrets.get("a.b.c.d.e.f.g.h.i.j.k.l", "KEY") == "found"
        assert len(calls.of("GetParameters")) == 3


# -- Errors -----------------------------------------------------------------------------------------


def test_an_error_names_service_operation_and_code_and_nothing_that_was_sent() -> None:
    plain = client("sqs")
    mailbox = SqsMailbox(plain, "http://localhost/queue", PlatformSigner(KEYS))
    with Stubber(plain) as stub:
        stub.add_client_error("send_message", "InvalidParameterValue", "s3cr3t is not a valid value", 400)
        with pytest.raises(AwsError) as refused:
            mailbox.send("x", b"s3cr3t")
        assert str(refused.value) == "SQS SendMessage failed: InvalidParameterValue"
        assert refused.value.__cause__ is None
        stub.add_client_error("send_message", "AccessDenied", "the role may not sqs:SendMessage", 403)
        with pytest.raises(
            AwsError, match=r"SQS SendMessage failed: AccessDenied \(the role may not sqs:SendMessage\)"
        ):
            mailbox.send("x", b"s3cr3t")


def test_a_parameter_that_botocore_refuses_is_not_shown() -> None:
    plain = client("sqs")
    mailbox = SqsMailbox(plain, 42, PlatformSigner(KEYS))  # type: ignore[arg-type]
    with pytest.raises(AwsError) as refused:
        mailbox.send("x", encode_message(Poke()))
    assert str(refused.value) == "SQS SendMessage failed: ParamValidationError"
