"""What the stores on DynamoDB and S3 promise beyond the ports: lost answers, deaths half-way, limits, and their price."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import MockRawResponse

from aws.moto_table import client, moto_aws
from aws.resources import REGION, Aws
from headrace_engine.adapters.aws.claims import DynamoClaims
from headrace_engine.adapters.aws.executions import DynamoExecutions
from headrace_engine.adapters.aws.flows import DynamoFlows
from headrace_engine.adapters.aws.journal import DynamoJournal
from headrace_engine.adapters.aws.kv import SHARDS, DynamoKV
from headrace_engine.adapters.aws.logs import DynamoLogs, DynamoMetrics
from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.slots import DynamoSlots
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.aws.table import DUE, LISTS, TABLE, Table, key, number
from headrace_engine.adapters.aws.triggers import DynamoTriggers
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.model.state import State
from headrace_engine.ports import (
    AttemptId,
    ClaimTakenError,
    KeyExistsError,
    NotFoundError,
    PortError,
    PurgedError,
    SeqTakenError,
    TriggerChangedError,
    TriggerRecord,
)
from headrace_engine.testing.contract.executions import summary
from headrace_engine.testing.contract.journal import entry
from headrace_engine.testing.contract.logs import line, point
from headrace_engine.testing.contract.support import START, at
from headrace_engine.testing.requests import Cost, Requests, Usage, item_size

ATTEMPT = AttemptId("x", "task-run", 0)
LARGE = 300 * 1024
ITEM_LIMIT = 100_000
"""Bytes that no item may reach, far below DynamoDB's own limit."""


class StoppedError(Exception):
    """The process died here."""


class Stores:
    """All stores, over clients of their own."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        options = {"region_name": REGION, "aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
        self.dynamodb: Any = boto3.client("dynamodb", **options)
        self.s3: Any = boto3.client("s3", **options)
        self.s3.meta.events.register("request-created.s3.GetObject", self._ask_for_object)
        self._before_object: Callable[[], Any] = lambda: None
        self.clock = ManualClock()
        self.table = Table(self.dynamodb, aws.table_name)
        self.overflow = Overflow(self.s3, aws.bucket)
        self.journal = DynamoJournal(self.table, self.overflow, self.clock)
        self.flows = DynamoFlows(self.table, self.overflow)
        self.executions = DynamoExecutions(self.table, self.overflow)
        self.triggers = DynamoTriggers(self.table, self.overflow)
        self.kv = DynamoKV(self.table, self.overflow)
        self.claims = DynamoClaims(self.table)
        self.slots = DynamoSlots(self.table)
        self.logs = DynamoLogs(self.table, self.overflow, self.clock, self.executions, keep=timedelta(days=30))
        self.metrics = DynamoMetrics(self.table, self.overflow, self.clock, self.executions)

    def lose_answers(self) -> None:
        """Let every first answer get lost from now on: botocore sends each request again."""
        self.dynamodb.meta.events.register_first(
            "needs-retry.dynamodb", lambda attempts, **_: 0 if attempts == 1 else None
        )

    def before_request(self, wanted: int, act: Callable[[], None]) -> None:
        """Have *act* called before the *wanted* request to DynamoDB; 0 is the next."""
        numbers = count()

        def sent(**_: Any) -> None:
            if next(numbers) == wanted:
                act()

        self.dynamodb.meta.events.register("request-created.dynamodb", sent)

    def before_object(self, act: Callable[[], Any]) -> None:
        """Have *act* called before every object is read."""
        self._before_object = act

    def _ask_for_object(self, **_: Any) -> None:
        self._before_object()

    def items(self) -> list[Any]:
        """Return all of the table."""
        return [item for page in scan(self.aws) for item in page["Items"]]

    def objects(self) -> list[str]:
        """Return the keys of all of the bucket."""
        return [each["Key"] for each in client("s3").list_objects_v2(Bucket=self.aws.bucket).get("Contents", ())]


def scan(aws: Aws) -> Any:
    return client("dynamodb").get_paginator("scan").paginate(TableName=aws.table_name)


def stop() -> None:
    raise StoppedError


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def stores(aws: Aws) -> Stores:
    return Stores(aws)


# -- Lost answers -------------------------------------------------------------------------------------


def test_an_append_whose_answer_was_lost_is_shown_its_own_entry(stores: Stores) -> None:
    stores.lose_answers()
    with pytest.raises(SeqTakenError) as refusal:
        stores.journal.append(entry(0, writer="mine"))
    assert refusal.value.stored == entry(0, writer="mine")


def test_a_claim_whose_answer_was_lost_is_the_owners(stores: Stores) -> None:
    stores.lose_answers()
    claim = stores.claims.claim(ATTEMPT, "me", START)
    assert (claim.owner, claim) == ("me", stores.claims.get(ATTEMPT))
    with pytest.raises(ClaimTakenError):
        stores.claims.claim(ATTEMPT, "me", START)
    assert stores.claims.close(ATTEMPT, "me", b"done", at(1)).result == b"done"
    assert stores.claims.request_stop(AttemptId("x", "t", 1), START).stop_requested
    assert stores.claims.close_lost(AttemptId("x", "t", 2), b"lost", START).result == b"lost"


def test_a_claim_that_was_closed_while_its_answer_was_lost_is_refused(aws: Aws, stores: Stores) -> None:
    other = Stores(aws)

    def lost(attempts: int, **_: Any) -> int | None:
        if attempts > 1:
            return None
        other.claims.close_lost(ATTEMPT, b"lost", at(1))
        return 0

    stores.dynamodb.meta.events.register_first("needs-retry.dynamodb", lost)
    with pytest.raises(ClaimTakenError) as refusal:
        stores.claims.claim(ATTEMPT, "me", START)
    assert refusal.value.claim.result == b"lost"


def test_other_writes_whose_answer_was_lost_count_once(stores: Stores) -> None:
    stores.lose_answers()
    record = stores.triggers.put(TriggerRecord("ns", "flow", "t"))
    assert stores.triggers.put(replace(record, data=bytes(LARGE))).version == 2
    with pytest.raises(TriggerChangedError):
        stores.triggers.put(record)
    assert stores.triggers.get("ns", "flow", "t").data == bytes(LARGE)

    stores.kv.put("ns", "key", "STRING", "v" * LARGE, now=START, overwrite=False)
    with pytest.raises(KeyExistsError):
        stores.kv.put("ns", "key", "STRING", "w" * LARGE, now=START, overwrite=False)
    assert [each.value for each in stores.kv.list("ns")] == ["v" * LARGE]

    stores.kv.put("ns", "key", "STRING", "x" * LARGE, now=at(1))
    entry_now = stores.kv.get("ns", "key")
    assert entry_now is not None
    assert (entry_now.value, entry_now.created) == ("x" * LARGE, START)

    assert stores.flows.save("ns", "f", "one", START).revision == 1
    assert stores.flows.save("ns", "f", "two", START).revision == 2
    assert stores.flows.delete("ns", "f", START) is True
    assert [flow.revision for flow in stores.flows.revisions("ns", "f")] == [1, 2, 3]

    assert [stores.slots.acquire("ns/f", name, 1, 0) for name in ("a", "b")] == [True, False]
    stores.slots.enqueue("ns/f", "b", START, 0)
    stores.slots.release("ns/f", "a", 0)
    assert stores.slots.state("ns/f").queue == (("b", 0),)

    stores.executions.put(replace(summary(seq=1), labels={"a": "x" * LARGE}))
    stores.executions.put(replace(summary(seq=2), labels={"a": "y" * LARGE}))
    stores.journal.save_snapshot("x", 1, bytes(LARGE))
    assert stores.executions.get("x") == replace(summary(seq=2), labels={"a": "y" * LARGE})
    assert stores.journal.snapshot("x") == (1, bytes(LARGE))

    stores.logs.append("x", "batch", [line("one")])
    assert [each.message for each in stores.logs.fetch("x")] == ["one"]
    assert (stores.logs.purge("x"), stores.logs.fetch("x")) == (1, [])


# -- Purge --------------------------------------------------------------------------------------------


PURGE_REQUESTS = 6
"""What a purge of the three entries of ``x`` asks of DynamoDB."""


def filled(aws: Aws) -> Stores:
    """Return stores whose journal holds three entries of ``x``, one of them large."""
    stores = Stores(aws)
    for seq in range(3):
        stores.journal.append(entry(seq, data=bytes(LARGE if seq == 1 else 10)))
    return stores


def is_purged(stores: Stores) -> bool:
    """Say whether nothing is left of ``x``, and nothing can come back, whoever tries."""
    for journal in (stores.journal, Stores(stores.aws).journal):
        for seq in range(10):
            with pytest.raises(PurgedError):
                journal.append(entry(seq, writer="late"))
        assert list(journal.entries("x")) == []
        assert journal.snapshot("x") is None
        for seq in range(10):
            with pytest.raises(NotFoundError):
                journal.entry("x", seq)
    return not [item for item in stores.items() if "writer" in item]


def test_a_purge_takes_as_many_requests_as_are_tried_below(aws: Aws) -> None:
    stores, requests = filled(aws), Requests()
    requests.watch(stores.dynamodb)
    stores.journal.purge("x")
    assert requests.usage.of("DynamoDB").requests == PURGE_REQUESTS


@pytest.mark.parametrize("request_number", range(PURGE_REQUESTS))
def test_an_entry_that_comes_during_a_purge_does_not_outlive_it(aws: Aws, request_number: int) -> None:
    stores, other = filled(aws), Stores(aws)
    assert len(other.journal.entries("x")) == 3
    outcomes = []

    def append() -> None:
        try:
            for seq in (3, 4):
                other.journal.append(entry(seq, writer="other"))
                outcomes.append("appended")
        except PurgedError:
            outcomes.append("refused")

    stores.before_request(request_number, append)
    stores.journal.purge("x")
    assert outcomes
    assert is_purged(stores)


@pytest.mark.parametrize("request_number", range(PURGE_REQUESTS))
def test_a_purge_that_died_is_taken_up_again(aws: Aws, request_number: int) -> None:
    stores = filled(aws)
    stores.before_request(request_number, stop)
    with pytest.raises(StoppedError):
        stores.journal.purge("x")
    again = Stores(aws)
    # From the mark on nothing is shown, whatever is still there.
    assert len(again.journal.entries("x")) == (0 if request_number else 3)
    again.journal.purge("x")
    assert is_purged(again)
    assert stores.objects() == []


def test_a_purge_closes_what_follows_every_entry_also_while_others_append(aws: Aws) -> None:
    stores, first, second = Stores(aws), Stores(aws), Stores(aws)
    first.journal.append(entry(0))
    second.journal.append(entry(2))
    # Where the purge is about to close seq 1, that one is taken.
    stores.before_request(3, lambda: first.journal.append(entry(1)))
    stores.journal.purge("x")
    with pytest.raises(PurgedError):
        second.journal.append(entry(3))
    assert [item for item in stores.items() if "writer" in item] == []
    requests = Requests()
    requests.watch(second.dynamodb)
    with pytest.raises(PurgedError):
        second.journal.append(entry(3))
    assert requests.usage.of("DynamoDB").requests == 1


def test_who_did_not_see_the_entry_before_takes_back_what_it_appended_to_a_purged_execution(stores: Stores) -> None:
    stores.journal.append(entry(0))
    stores.journal.purge("x")
    with pytest.raises(PurgedError):
        stores.journal.append(entry(7, data=bytes(LARGE)))
    assert is_purged(stores)


def test_the_tombstones_of_single_entries_go_in_time_and_the_mark_stays(stores: Stores) -> None:
    for seq in range(30):
        stores.journal.append(entry(seq))
    stores.journal.purge("x")
    expiry = int((stores.clock.now() + timedelta(days=90)).timestamp())
    tombstones = {item["sk"]["S"]: int(item.get("ttl", {}).get("N", 0)) for item in stores.items()}
    assert tombstones == {"A": 0, "Z": 0, "E#00000000": 0} | {f"E#{seq:08d}": expiry for seq in range(1, 31)}
    for name, ttl in tombstones.items():
        if ttl:
            client("dynamodb").delete_item(TableName=stores.aws.table_name, Key=key("X#x", name))
    assert is_purged(stores)


# -- Limits -------------------------------------------------------------------------------------------


def test_no_item_comes_near_the_limit_however_large_its_value(stores: Stores) -> None:
    # Sixty-four KiB are held in the item, one byte more is not.
    for place, size in enumerate((64 * 1024, 64 * 1024 + 1, LARGE)):
        stores.journal.append(entry(place, data=bytes(size)))
        stores.journal.save_snapshot(f"x{place}", 1, bytes(size))
        stores.kv.put("ns", f"k{place}", "STRING", "v" * (size - 2), now=START)
        stores.flows.save("ns", f"f{place}", "s" * size, START)
        stores.triggers.put(TriggerRecord("ns", "f", f"t{place}", data=bytes(size)))
        stores.executions.put(replace(summary(f"e{place}"), labels={"l": "x" * (size - 9)}))
        attempt = AttemptId("x", "t", place)
        stores.claims.claim(attempt, "me", START)
        stores.claims.close(attempt, "me", bytes(size), START)
    # Text that no compression makes small.
    noise = "".join(chr(0x4E00 + (n * n * 7919 + n * 104729) % 20000) for n in range(LARGE))
    stores.logs.append("x", "batch", [line(noise)])
    stores.metrics.append("x", "batch", [point(noise)])
    assert max(map(item_size, stores.items())) < ITEM_LIMIT
    assert len(stores.objects()) == 6 * 2 + 2
    assert stores.logs.fetch("x")[0].message == noise


def test_what_is_replaced_or_deleted_leaves_nothing_in_the_bucket(stores: Stores) -> None:
    large = "x" * LARGE
    for n in range(3):
        stores.kv.put("ns", "key", "STRING", large, now=at(n))
        stores.journal.save_snapshot("x", n, bytes(LARGE))
        stores.executions.put(replace(summary(seq=n), labels={"l": large}))
    with pytest.raises(KeyExistsError):
        stores.kv.put("ns", "key", "STRING", large, now=START, overwrite=False)
    stores.journal.save_snapshot("x", 0, bytes(LARGE))
    stores.executions.put(replace(summary(seq=0), labels={"l": large}))
    record = stores.triggers.put(TriggerRecord("ns", "f", "t", data=bytes(LARGE)))
    stores.triggers.put(replace(record, data=bytes(LARGE)))
    with pytest.raises(TriggerChangedError):
        stores.triggers.put(replace(record, data=bytes(LARGE)))
    noise = "".join(chr(0x4E00 + (n * n * 7919 + n * 104729) % 20000) for n in range(LARGE))
    for _ in range(2):
        stores.logs.append("x", "batch", [line(noise)])
    assert len(stores.objects()) == 5
    stores.kv.delete("ns", "key")
    stores.triggers.delete("ns", "f", "t")
    stores.executions.delete("x")
    stores.logs.delete("x")
    stores.journal.purge("x")
    assert stores.objects() == []


def test_thousands_wait_for_a_slot_in_items_of_their_own(stores: Stores) -> None:
    stores.slots.enqueue("ns/f", "e00000", START, 0)
    (waiting,) = stores.items()
    stores.table.put_many(
        {**waiting, **key(waiting["pk"]["S"], waiting["sk"]["S"].replace("00000", f"{n:05}"))} for n in range(2_500)
    )
    assert stores.slots.acquire("ns/f", "e00000", 1, 0)
    assert stores.slots.state("ns/f").queue == tuple((f"e{n:05}", 0) for n in range(2_500))
    assert max(map(item_size, stores.items())) < 200


def test_a_result_that_no_claim_should_hold_is_refused(stores: Stores) -> None:
    stores.claims.claim(ATTEMPT, "me", START)
    with pytest.raises(PortError, match="16777216"):
        stores.claims.close(ATTEMPT, "me", bytes(16 * 1024 * 1024 + 1), START)
    assert stores.claims.get(ATTEMPT) == stores.claims.close(ATTEMPT, "you", b"", START)


def test_log_lines_go_when_their_time_is_over_and_a_purge_does_not_keep_them_longer(stores: Stores) -> None:
    stores.logs.append("x", "batch", [line("one"), line("two", at(1))])
    expiry = int((stores.clock.now() + timedelta(days=30)).timestamp())
    stores.clock.advance(timedelta(days=3))
    stores.logs.purge("x", end=START)
    stores.metrics.append("x", "batch", [point("p")])
    assert {item["pk"]["S"][0]: item.get("ttl") for item in stores.items()} == {"L": number(expiry), "M": None}


# -- The table ----------------------------------------------------------------------------------------


def test_keys_that_have_expired_go_by_themselves(stores: Stores) -> None:
    def goes(namespace: str) -> str | None:
        (item,) = (each for n in range(SHARDS) for each in stores.table.query(f"K#{namespace}#{n}"))
        return item["ttl"]["N"] if "ttl" in item else None

    hour, later = timedelta(hours=1), timedelta(days=30, hours=1)
    for namespace, length in (("_notes", hour), ("company.team", later)):
        stores.kv.put(namespace, "key", "STRING", "v", now=START)
        assert goes(namespace) is None
        stores.kv.put(namespace, "key", "STRING", "v", now=START, ttl=hour)
        assert goes(namespace) == str(math.ceil((START + length).timestamp()))
        stores.kv.put(namespace, "key", "STRING", "v", now=START)
        assert goes(namespace) is None
    # What lies in S3 would be left there.
    stores.kv.put("_notes", "key", "STRING", "v" * LARGE, now=START, ttl=hour)
    assert goes("_notes") is None


def test_the_table_is_made_as_its_specification_says(aws: Aws) -> None:
    table = client("dynamodb").describe_table(TableName=aws.table_name)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [each["AttributeName"] for each in table["KeySchema"]] == [TABLE.partition_key, TABLE.sort_key]
    assert {
        each["IndexName"]: ([k["AttributeName"] for k in each["KeySchema"]], each["Projection"])
        for each in table["GlobalSecondaryIndexes"]
    } == {
        "lists": (["lpk", "lsk"], {"ProjectionType": "KEYS_ONLY"}),
        "recent": (["rpk", "rsk"], {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["ended", "end"]}),
        "due": (["dpk", "dsk"], {"ProjectionType": "KEYS_ONLY"}),
    }
    assert client("dynamodb").describe_time_to_live(TableName=aws.table_name)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "ttl",
    }


def fill(stores: Stores) -> dict[str, Callable[[], object]]:
    """Return a write of each store, by the letter of its kind."""
    return {
        "X": lambda: (stores.journal.append(entry(0)), stores.journal.save_snapshot("x", 0, b"s")),
        "C": lambda: (
            stores.claims.claim(ATTEMPT, "me", START),
            stores.claims.close(ATTEMPT, "me", bytes(LARGE), START),
        ),
        "E": lambda: stores.executions.put(summary(wake_by=at(1))),
        "T": lambda: stores.triggers.put(TriggerRecord("ns", "f", "t", due=START)),
        "F": lambda: (stores.flows.save("ns", "f", "1", START), stores.flows.save("ns", "f", "2", START)),
        "K": lambda: stores.kv.put("ns", "key", "STRING", "v", now=START),
        "S": lambda: (stores.slots.acquire("ns/f", "x", 1, 0), stores.slots.enqueue("ns/f", "y", START, 0)),
        "L": lambda: stores.logs.append("x", "b", [line("one")]),
        "M": lambda: stores.metrics.append("x", "b", [point("one")]),
    }


@pytest.mark.parametrize("kind", "XCETFKSLM")
def test_the_partitions_of_a_kind_begin_with_its_letter_in_the_indexes_too(stores: Stores, kind: str) -> None:
    fill(stores)[kind]()
    items = stores.items()
    assert items
    partitions = {item[name]["S"] for item in items for name in ("pk", "lpk", "dpk") if name in item}
    assert {partition[:2] for partition in partitions} == {f"{kind}#"}


def test_one_execution_spreads_over_shards_what_its_task_runs_write(stores: Stores) -> None:
    for n in range(100):
        stores.claims.claim(AttemptId("x", f"task-run-{n}", 0), "me", START)
        stores.logs.append("x", f"task-run-{n}/0/0", [line("one")])
        stores.executions.put(summary(f"x{n}"))
    partitions = {item[name]["S"] for item in stores.items() for name in ("pk", "lpk", "dpk") if name in item}
    assert {each for each in partitions if each.startswith("C#x#")} == {f"C#x#{n}" for n in range(8)}
    assert {each for each in partitions if each.startswith("L#x#")} == {f"L#x#{n}" for n in range(4)}
    assert {f"E#{n}" for n in range(8)} <= partitions


def test_what_needs_nobody_any_more_is_in_no_index_of_what_is_due(stores: Stores) -> None:
    stores.executions.put(summary(seq=0, wake_by=at(1)))
    stores.executions.put(summary(seq=1, state=State.SUCCESS, end=at(1)))
    record = stores.triggers.put(TriggerRecord("ns", "f", "t", due=START))
    stores.triggers.put(replace(record, disabled=True))
    flow = stores.flows.save("ns", "f", "one", START)
    stores.flows.delete(flow.namespace, flow.id, at(1))
    assert not [item for item in stores.items() if DUE.partition_key in item]
    assert [item["pk"]["S"] for item in stores.items() if LISTS.partition_key in item] == ["E#x"]


class Halves:
    """A client that carries out the first half of every batch and leaves the rest undone, or everything."""

    def __init__(self, real: Any, *, takes: bool = True) -> None:
        self._real = real
        self._takes = takes

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803  # the API's name
        ((name, asked),) = RequestItems.items()
        half = (len(asked["Keys"]) + 1) // 2 if self._takes else 0
        later = asked["Keys"][half:]
        answer: Any = {"Responses": {}}
        if half:
            answer = self._real.batch_get_item(RequestItems={name: {**asked, "Keys": asked["Keys"][:half]}})
        return {**answer, "UnprocessedKeys": {name: {**asked, "Keys": later}} if later else {}}

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803  # the API's name
        ((name, asked),) = RequestItems.items()
        half = (len(asked) + 1) // 2 if self._takes else 0
        if half:
            self._real.batch_write_item(RequestItems={name: asked[:half]})
        return {"UnprocessedItems": {name: asked[half:]} if asked[half:] else {}}


def halving(aws: Aws, pauses: list[float], *, takes: bool = True) -> Table:
    return Table(Halves(aws.dynamodb, takes=takes), aws.table_name, pauses.append)  # type: ignore[arg-type]  # the two methods it needs


def test_what_a_batch_left_undone_is_asked_for_again(aws: Aws) -> None:
    table = halving(aws, [])
    names = [f"{n:03}" for n in range(60)]
    table.put_many(key("p", name) for name in names)
    assert [item["sk"]["S"] for item in table.get_many([("p", name) for name in names])] == names
    table.delete_many(("p", name) for name in names[:30])
    assert [item["sk"]["S"] for item in aws.table.query("p")] == names[30:]


def test_what_a_batch_left_undone_waits_longer_each_time(aws: Aws) -> None:
    pauses: list[float] = []
    halving(aws, pauses).put_many([key("p", f"{n:03}") for n in range(8)])  # 8, 4, 2, 1
    assert len(pauses) == 3
    halving(aws, pauses).put_many([key("p", "one")])
    assert len(pauses) == 3
    assert pauses == sorted(set(pauses))
    assert pauses[0] > 0


def test_a_batch_that_is_never_done_is_an_error(aws: Aws) -> None:
    pauses: list[float] = []
    table = halving(aws, pauses, takes=False)
    with pytest.raises(PortError, match="did not write all"):
        table.put_many([key("p", "s")])
    assert 2 < sum(pauses) < 10
    with pytest.raises(PortError, match="did not return all"):
        list(table.get_many([("p", "s")]))


def test_what_is_replaced_while_it_is_read_is_read_again(stores: Stores) -> None:
    """The object that a large value lies in goes when the value does."""
    labels = {"a": "x" * LARGE}

    def put(seq: int) -> None:
        stores.executions.put(replace(summary(seq=seq), labels={**labels, "seq": str(seq)}))
        found = stores.triggers.get("ns", "f", "t")
        stores.triggers.put(replace(found, due=START, data=bytes([seq]) * LARGE))

    put(0)
    reads: tuple[Callable[[], Any], ...] = (
        lambda: stores.executions.get("x"),
        lambda: next(iter(stores.executions.open())),
        lambda: stores.executions.search().found[0],
        lambda: stores.triggers.get("ns", "f", "t"),
        lambda: stores.triggers.list("ns", "f")[0],
        lambda: next(iter(stores.triggers.due(START))),
    )
    for seq, read in enumerate(reads, 1):
        acts = [partial(put, seq)]
        stores.before_object(lambda acts=acts: acts.pop()() if acts else None)
        found = read()
        stores.before_object(lambda: None)
        assert not acts
        if isinstance(found, TriggerRecord):
            assert found.data == bytes([seq]) * LARGE
        else:
            assert found.labels["seq"] == str(seq)


def test_an_object_that_stays_when_its_execution_is_deleted_is_an_error(stores: Stores) -> None:
    """S3 says so in an answer that is no error."""
    stores.journal.append(entry(0, data=bytes(LARGE)))
    refusal = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    answer = AWSResponse("", 200, HTTPHeaders(), MockRawResponse(refusal))
    stores.s3.meta.events.register_first("before-send.s3.DeleteObjects", lambda **_: answer)
    with pytest.raises(PortError, match="DeleteObjects failed: AccessDenied"):
        stores.journal.purge("x")


def test_errors_of_the_service_are_port_errors(aws: Aws) -> None:
    stores = Stores(replace(aws, table_name="missing", bucket="missing"))
    for write in fill(stores).values():
        with pytest.raises(PortError, match="ResourceNotFound"):
            write()
    for call in (
        partial(stores.claims.of_execution, "x"),
        partial(stores.executions.search),
        partial(list, stores.claims.open()),
        partial(stores.claims.delete, "x", START),
    ):
        with pytest.raises(PortError):
            call()
    storage = S3Storage(aws.s3, "missing")
    for ask in (
        partial(storage.put, "kestra:///f", b""),
        partial(storage.list, "kestra:///"),
        partial(storage.put, "kestra:///f", io.BytesIO(bytes(9_000_000))),
    ):
        with pytest.raises(PortError, match="NoSuchBucket"):
            ask()


# -- Storage ------------------------------------------------------------------------------------------

PART = 5 * 1024 * 1024
URI = "kestra:///company/file"


def uploads(aws: Aws) -> list[Any]:
    return list(client("s3").list_multipart_uploads(Bucket=aws.bucket).get("Uploads", ()))


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART + 7])
def test_a_stream_goes_up_in_parts(aws: Aws, size: int) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:  # as a socket does: less than was asked for
            return super().read(min(size or 0, 100_000))

    content = bytes(range(251)) * (size // 251 + 1)
    storage = S3Storage(aws.s3, aws.bucket, part=PART)
    storage.put(URI, Slow(content[:size]))
    with storage.open(URI) as file:
        assert file.read() == content[:size]
    assert uploads(aws) == []


def test_a_stream_that_breaks_off_in_a_later_part_leaves_the_old_file_and_nothing_else(aws: Aws) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > PART:
                raise RuntimeError("the source broke off")
            return super().read(size)

    storage = S3Storage(aws.s3, aws.bucket, part=PART)
    storage.put(URI, b"old")
    with pytest.raises(RuntimeError, match="broke off"):
        storage.put(URI, Breaking(bytes(3 * PART)))
    with storage.open(URI) as file:
        assert file.read() == b"old"
    assert uploads(aws) == []


def test_a_file_too_large_to_be_copied_at_once_is_moved_in_parts(aws: Aws) -> None:
    content = bytes(range(251)) * (2 * PART // 251 + 9)
    storage = S3Storage(aws.s3, aws.bucket, copy_limit=PART)
    storage.put(URI, content)
    storage.move(URI, "kestra:///moved")
    with storage.open("kestra:///moved") as file:
        assert file.read() == content
    assert [file.uri for file in storage.list("kestra:///")] == ["kestra:///moved"]
    assert uploads(aws) == []


def test_an_upload_whose_last_answer_was_lost_is_complete(aws: Aws) -> None:
    s3: Any = boto3.client("s3", region_name=REGION, aws_access_key_id="moto", aws_secret_access_key="moto")
    lost: list[str] = []

    def lose(attempts: int, operation: Any, **_: Any) -> int | None:
        if operation.name == "CompleteMultipartUpload" and attempts == 1:
            lost.append(operation.name)
            return 0
        return None

    s3.meta.events.register_first("needs-retry.s3", lose)
    storage = S3Storage(s3, aws.bucket, part=PART, copy_limit=PART)
    storage.put(URI, io.BytesIO(bytes(PART + 1)))
    storage.move(URI, "kestra:///moved")
    assert [(file.uri, file.size) for file in storage.list("kestra:///")] == [("kestra:///moved", PART + 1)]
    assert lost == ["CompleteMultipartUpload"] * 2


def test_files_are_more_than_a_page(aws: Aws) -> None:
    for n in range(1001):
        aws.s3.put_object(Bucket=aws.bucket, Key=f"files/f/{n:04}", Body=b"")
    assert [file.uri for file in aws.storage.list("kestra:///f")] == [f"kestra:///f/{n:04}" for n in range(1001)]


# -- The price ----------------------------------------------------------------------------------------


@pytest.fixture
def price(stores: Stores) -> Callable[[Callable[[], object]], Usage]:
    requests = Requests(reader=client("dynamodb"))
    requests.watch(stores.dynamodb)
    requests.watch(stores.s3)

    def spend(call: Callable[[], object]) -> Usage:
        before = requests.usage
        call()
        return requests.usage - before

    return spend


Price = Callable[[Callable[[], object]], Usage]
NAME = "2fUh0rRJLyt4KzSMcqcYtQ"
"""An id as the engine makes them."""


def test_a_step_costs_one_write_and_no_read(stores: Stores, price: Price) -> None:
    execution = partial(entry, execution_id=NAME, writer=NAME, data=bytes(900))
    for seq in range(3):
        spent = price(lambda: stores.journal.append(execution(seq)))  # noqa: B023  # called at once
        assert spent.costs == {("DynamoDB", "PutItem"): Cost(1, 0, write_units=1)}
    # Another process takes over: it reads the entries once, and appends for the same price.
    other = DynamoJournal(stores.table, stores.overflow, stores.clock)
    assert price(lambda: other.entries(NAME)).costs == {("DynamoDB", "Query"): Cost(1, 0, read_units=1)}
    spent = price(lambda: other.append(execution(3)))
    assert spent.costs == {("DynamoDB", "PutItem"): Cost(1, 0, write_units=1)}


def test_a_large_entry_costs_an_object_and_one_write(stores: Stores, price: Price) -> None:
    assert price(lambda: stores.journal.append(entry(0, data=bytes(LARGE)))).costs == {
        ("S3", "PutObject"): Cost(1),
        ("DynamoDB", "PutItem"): Cost(1, 0, write_units=1),
    }


def test_a_dispatched_attempt_costs_three_writes_beside_its_entry(stores: Stores, price: Price) -> None:
    attempt = AttemptId(NAME, NAME, 0)

    def run() -> None:
        stores.claims.claim(attempt, f"worker-{NAME}", START, deadline=at(900))
        stores.logs.append(NAME, f"{NAME}/0/0", [line("x" * 100, execution_id=NAME, task_run_id=NAME)])
        stores.claims.close(attempt, f"worker-{NAME}", bytes(256 + 200), at(1))

    assert price(run).of("DynamoDB") == Cost(3, 0, write_units=3)


def test_an_executions_summaries_cost_seven_writes(stores: Stores, price: Price) -> None:
    called = replace(summary(NAME, namespace="company.team", wake_by=at(600)), caller_id=NAME)
    started = replace(called, labels={"system.from": "schedule"})

    def run() -> None:
        stores.executions.put(started)
        stores.executions.put(replace(started, seq=9, state=State.SUCCESS, end=at(3), wake_by=None))

    assert price(run).of("DynamoDB") == Cost(2, 0, write_units=7)


def test_a_summary_that_changes_neither_state_nor_waking_costs_one_write(stores: Stores, price: Price) -> None:
    stores.executions.put(summary(seq=0, wake_by=at(600)))
    spent = price(lambda: stores.executions.put(summary(seq=1, wake_by=at(600))))
    assert spent.of("DynamoDB") == Cost(1, 0, write_units=1)


def test_a_sweep_with_nothing_due_reads_almost_nothing(stores: Stores, price: Price) -> None:
    def sweep() -> None:
        assert list(stores.executions.due(START)) == []
        assert list(stores.triggers.due(START)) == []

    assert price(sweep).of("DynamoDB") == Cost(12, 0, read_units=6)


def test_a_slot_costs_one_write_to_take_and_two_to_give_back(stores: Stores, price: Price) -> None:
    assert price(lambda: stores.slots.acquire("ns/f", NAME, 5, 0)).of("DynamoDB").write_units == 1
    assert price(lambda: stores.slots.release("ns/f", NAME, 0)).of("DynamoDB").write_units == 2


def test_a_triggers_next_date_costs_three_writes(stores: Stores, price: Price) -> None:
    record = stores.triggers.put(TriggerRecord("ns", "f", "t", due=START))
    assert price(lambda: stores.triggers.put(replace(record, due=at(60)))).of("DynamoDB").write_units == 3
