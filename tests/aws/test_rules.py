"""EventBridge rules kept in step with flows, and files of other buckets, on moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from headrace_engine.adapters.aws.buckets import S3Buckets
from headrace_engine.adapters.aws.events import brought_event
from headrace_engine.adapters.aws.rules import NOTES, EventBridgeRules, Reach
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.memory import ManualClock, MemoryKV
from headrace_engine.ports import BucketFile, NotFoundError, PortError, Subscription, SubscriptionRefusedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PREFIX = "headrace-0123456789ab-"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:triggers"
ORDERS = {"source": ["shop"], "detail": {"total": [{"numeric": [">", 10]}]}}


class Scene:
    def __init__(self) -> None:
        self.events = boto3.client("events", region_name="eu-central-1")
        for bus in ("own", "orders"):
            self.events.create_event_bus(Name=bus)
        self.kv = MemoryKV()
        reach = Reach("own", ("default", "orders", "gone"), frozenset({"incoming"}), PREFIX, FUNCTION)
        self.rules = EventBridgeRules(self.events, self.kv, ManualClock(NOW), reach)

    def prepare(self, *wanted: Subscription, flow: str = "f", buckets: dict[str, str] | None = None) -> None:
        self.rules.prepare("demo", flow, wanted, buckets or {})

    def settle(self, *wanted: Subscription, flow: str = "f") -> None:
        self.rules.settle("demo", flow, wanted)

    def patterns(self, bus: str) -> list[Any]:
        found = self.events.list_rules(EventBusName=bus)["Rules"]
        assert all(rule["Name"].startswith(PREFIX) and rule["State"] == "ENABLED" for rule in found)
        return sorted((json.loads(rule["EventPattern"]) for rule in found), key=json.dumps)

    def noted(self) -> list[str]:
        return [entry.key for entry in self.kv.list(NOTES)]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with mock_aws():
        yield Scene()


def wants(trigger: str = "t", bus: str = "headrace", pattern: Any = ORDERS) -> Subscription:
    return Subscription(trigger, bus, pattern)


def test_each_trigger_has_a_rule_on_its_bus(scene: Scene) -> None:
    wanted = (wants(), wants("u", "orders"), wants("v", "default", {"source": ["aws.ec2"]}))
    for _ in range(2):
        scene.prepare(*wanted)
        scene.settle(*wanted)
    assert (scene.patterns("own"), scene.patterns("orders")) == ([ORDERS], [ORDERS])
    assert scene.patterns("default") == [{"source": ["aws.ec2"]}]


def test_a_rule_calls_the_function_with_the_event_and_for_whom_it_is(scene: Scene) -> None:
    scene.prepare(wants())
    (rule,) = scene.events.list_rules(EventBusName="own")["Rules"]
    (target,) = scene.events.list_targets_by_rule(Rule=rule["Name"], EventBusName="own")["Targets"]
    assert target["Arn"] == FUNCTION
    event = {"id": "e", "source": "shop"}
    brought = json.loads(
        target["InputTransformer"]["InputTemplate"].replace("<aws.events.event.json>", json.dumps(event))
    )
    found = brought_event(brought)
    assert (found.namespace, found.flow_id, found.trigger_id, found.event) == ("demo", "f", "t", event)


def test_a_changed_pattern_is_there_before_the_old_one_goes(scene: Scene) -> None:
    scene.prepare(wants())
    scene.settle(wants())
    other = {"source": ["other"]}
    scene.prepare(wants(pattern=other))
    assert scene.patterns("own") == [ORDERS, other]
    scene.settle(wants(pattern=other))
    assert scene.patterns("own") == [other]


def test_what_nobody_wants_any_more_goes(scene: Scene) -> None:
    scene.prepare(wants(), wants("u", "orders"))
    scene.settle(wants(), wants("u", "orders"))
    scene.prepare(wants(), flow="g")
    scene.settle(wants(), flow="g")
    scene.settle()
    assert (scene.patterns("own"), scene.patterns("orders")) == ([ORDERS], [])
    assert scene.noted() == ["demo/g"]
    scene.settle()


def test_what_a_cut_off_save_left_is_found(scene: Scene) -> None:
    scene.prepare(wants())  # and the flow was never stored
    scene.prepare(wants(pattern={"source": ["other"]}))
    scene.settle(wants(pattern={"source": ["other"]}))
    assert scene.patterns("own") == [{"source": ["other"]}]


def test_a_rule_that_somebody_removed_is_no_hindrance(scene: Scene) -> None:
    scene.prepare(wants())
    (rule,) = scene.events.list_rules(EventBusName="own")["Rules"]
    scene.events.remove_targets(Rule=rule["Name"], EventBusName="own", Ids=["headrace"])
    scene.events.delete_rule(Name=rule["Name"], EventBusName="own")
    scene.settle()
    assert scene.noted() == []


def examined(scene: Scene, *wanted: Subscription, buckets: dict[str, str] | None = None) -> list[tuple[str, bool]]:
    return [(drift.problem, drift.can_repair) for drift in scene.rules.examine("demo", "f", wanted, buckets or {})]


def broken(scene: Scene, how: str) -> None:
    (rule,) = scene.events.list_rules(EventBusName="own")["Rules"]
    name: Any = {"Name": rule["Name"], "EventBusName": "own"}
    match how:
        case "there is no rule":
            scene.events.remove_targets(Rule=rule["Name"], EventBusName="own", Ids=["headrace"])
            scene.events.delete_rule(**name)
        case "is switched off":
            scene.events.disable_rule(**name)
        case "has another pattern":
            scene.events.put_rule(**name, EventPattern='{"source": ["other"]}')
        case "does not call the function":
            scene.events.remove_targets(Rule=rule["Name"], EventBusName="own", Ids=["headrace"])
        case "is not noted":
            scene.kv.delete(NOTES, "demo/f")


@pytest.mark.parametrize(
    "how",
    ["there is no rule", "is switched off", "has another pattern", "does not call the function", "is not noted"],
)
def test_a_rule_that_is_not_as_its_flow_wants_it_is_found_and_put_right(scene: Scene, how: str) -> None:
    scene.prepare(wants())
    scene.settle(wants())
    assert examined(scene, wants()) == []
    broken(scene, how)
    ((problem, can_repair),) = examined(scene, wants())
    assert how in problem
    assert can_repair
    scene.prepare(wants())
    scene.settle(wants())
    assert examined(scene, wants()) == []


def test_a_rule_that_nobody_wants_is_found_and_whose_it_is(scene: Scene) -> None:
    scene.prepare(wants())
    ((problem, can_repair),) = examined(scene)
    assert "brings events that nobody wants" in problem
    assert can_repair
    assert scene.rules.flows() == [("demo", "f")]
    scene.settle()
    assert (examined(scene), scene.rules.flows()) == ([], [])


def test_a_bucket_that_sends_no_events_is_told_of(scene: Scene) -> None:
    s3 = boto3.client("s3", region_name="eu-central-1")
    reach = Reach("own", (), frozenset({"incoming", "gone"}), PREFIX, FUNCTION)
    scene.rules = EventBridgeRules(scene.events, scene.kv, ManualClock(NOW), reach, s3)
    s3.create_bucket(Bucket="incoming", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for bucket, why in (
        ("incoming", "does not send its events to EventBridge"),
        ("gone", "there is no bucket gone"),
        ("theirs", "add it to the stack's property `watchedBuckets`"),
    ):
        ((problem, can_repair),) = examined(scene, buckets={"t": bucket})
        assert why in problem
        assert not can_repair
    with Stubber(s3) as stubbed:  # moto does not say that it is on
        stubbed.add_response("get_bucket_notification_configuration", {"EventBridgeConfiguration": {}})
        assert examined(scene, buckets={"t": "incoming"}) == []


def test_a_bus_that_is_out_of_reach_is_told_of(scene: Scene) -> None:
    ((problem, can_repair),) = examined(scene, wants(bus="theirs"))
    assert "may not listen to the bus `theirs`" in problem
    assert not can_repair


REFUSED = [
    (wants(bus="theirs"), "may not listen to the bus `theirs`. It may to: headrace, default, orders, gone"),
    (wants(pattern={"source": ["x" * 2050]}), "EventBridge takes 2048"),
    (wants(bus="gone"), "there is no bus `gone`"),
]


@pytest.mark.parametrize(("wanted", "why"), REFUSED)
def test_what_cannot_be_had_is_refused(scene: Scene, wanted: Subscription, why: str) -> None:
    with pytest.raises(SubscriptionRefusedError, match="trigger `t`: ") as caught:
        scene.prepare(wanted)
    assert why in str(caught.value)


def test_a_bucket_must_be_watched(scene: Scene) -> None:
    scene.prepare(buckets={"t": "incoming"})
    with pytest.raises(
        SubscriptionRefusedError, match=r"nothing is heard of the bucket `theirs`\. The stack watches: incoming"
    ):
        scene.prepare(buckets={"t": "theirs"})


class Full:
    """EventBridge with a bus that has no room."""

    def __init__(self, code: str) -> None:
        self._code = code

    def put_rule(self, **_given: Any) -> None:
        raise ClientError({"Error": {"Code": self._code, "Message": "no"}}, "PutRule")


@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        ("LimitExceededException", SubscriptionRefusedError, "as many rules as its quota allows"),
        ("InvalidEventPatternException", SubscriptionRefusedError, "does not take its pattern"),
        ("InternalException", PortError, "PutRule failed: InternalException"),
    ],
)
def test_what_eventbridge_says_is_told_to_the_author(code: str, kind: type[Exception], why: str) -> None:
    reach = Reach("own", (), frozenset(), PREFIX, FUNCTION)
    rules = EventBridgeRules(Full(code), MemoryKV(), ManualClock(NOW), reach)  # type: ignore[arg-type]  # all it needs
    with pytest.raises(kind, match=why):
        rules.prepare("demo", "f", [wants()], {})


# -- Files ------------------------------------------------------------------------------------------


class Files:
    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name="eu-central-1")
        for bucket in ("own", "incoming"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.storage = S3Storage(self.s3, "own")
        self.buckets = S3Buckets(self.s3, self.storage)

    def put(self, key: str, content: bytes) -> BucketFile:
        etag = self.s3.put_object(Bucket="incoming", Key=key, Body=content)["ETag"].strip('"')
        return BucketFile("incoming", key, len(content), etag, NOW, "v1")

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket="incoming").get("Contents", [])]

    def storage_key(self, uri: str) -> str:
        return "files/" + uri.removeprefix("kestra:///")


@pytest.fixture
def files() -> Iterator[Files]:
    with mock_aws():
        yield Files()


URI = "kestra:///demo/f/executions/x/trigger/t/a.txt"


def test_a_file_is_taken_moved_and_deleted(files: Files) -> None:
    file = files.put("in/März +1.txt", b"hello")
    files.buckets.take(file, URI)
    assert files.storage.open(URI).read() == b"hello"
    files.buckets.move(file, "incoming", "done/a")
    files.buckets.move(file, "incoming", "done/a")
    assert files.keys() == ["done/a"]
    moved = BucketFile("incoming", "done/a", 5, file.etag, NOW, "v1")
    files.buckets.delete(moved)
    files.buckets.delete(moved)
    assert files.keys() == []


PART = 5 * 1024 * 1024


def test_a_file_is_taken_and_moved_without_a_byte_of_it_coming_through_here(files: Files) -> None:
    asked: list[str] = []
    files.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    file = files.put("a", b"hello")
    asked.clear()
    files.buckets.take(file, URI)
    files.buckets.move(file, "incoming", "b")
    assert asked == ["HeadObject", "CopyObject", "HeadObject", "CopyObject", "HeadObject", "DeleteObject"]


def test_a_file_too_large_to_be_copied_at_once_is_taken_and_moved_in_parts(files: Files) -> None:
    content = bytes(range(251)) * (2 * PART // 251 + 9)
    file = files.put("large", content)
    own = S3Storage(files.s3, "own", copy_limit=PART)
    buckets = S3Buckets(files.s3, own, copy_limit=PART)
    buckets.take(file, URI)
    assert own.open(URI).read() == content
    buckets.move(file, "incoming", "done/large")
    assert files.keys() == ["done/large"]
    assert files.s3.get_object(Bucket="incoming", Key="done/large")["Body"].read() == content


@pytest.mark.parametrize("size", [PART, PART + 1])
def test_a_file_that_is_moved_keeps_what_is_said_of_it(files: Files, size: int) -> None:
    """At once and in parts; what is taken has none of its tags, which nobody here would read."""
    content = bytes(size)
    told = {"ContentType": "text/csv", "Metadata": {"from": "shop"}}
    etag = files.s3.put_object(Bucket="incoming", Key="a", Body=content, Tagging="team=data&paid=yes+or no", **told)
    file = BucketFile("incoming", "a", len(content), etag["ETag"].strip('"'), NOW, "v1")
    files.buckets.take(file, URI)
    taken = files.storage_key(URI)
    assert files.s3.get_object_tagging(Bucket="own", Key=taken)["TagSet"] == []
    S3Buckets(files.s3, files.storage, copy_limit=PART).move(file, "incoming", "b")
    moved = files.s3.head_object(Bucket="incoming", Key="b")
    assert {name: moved[name] for name in told} == told
    tags = files.s3.get_object_tagging(Bucket="incoming", Key="b")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "data", "paid": "yes or no"}


def test_a_file_that_is_to_be_moved_to_where_it_is_stays(files: Files) -> None:
    files.buckets.move(files.put("a", b"hello"), "incoming", "a")
    assert files.keys() == ["a"]


def test_a_newer_version_is_left_alone(files: Files) -> None:
    old = files.put("a", b"old")
    files.put("a", b"new")
    with pytest.raises(NotFoundError):
        files.buckets.take(old, URI)
    files.buckets.move(old, "incoming", "b")
    files.buckets.delete(old)
    assert files.keys() == ["a"]


def test_a_file_that_is_gone_is_not_found(files: Files) -> None:
    with pytest.raises(NotFoundError):
        files.buckets.take(BucketFile("incoming", "none", 1, "0" * 32, NOW, "v"), URI)
