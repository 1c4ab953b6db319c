"""What `Requests` counts is what AWS bills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from aws.moto_table import client, moto_aws
from aws.resources import REGION, Aws
from headrace_engine.adapters.aws.table import DUE, RECENT, TABLE, ConditionFailedError, Table, key, text
from headrace_engine.testing.requests import Cost, Requests, Usage, item_size, read_units, write_units


def fresh(service: str) -> Any:
    """Return a client that nobody else watches."""
    return boto3.client(service, region_name=REGION, aws_access_key_id="moto", aws_secret_access_key="moto")


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def requests() -> Requests:
    return Requests(reader=client("dynamodb"))


@pytest.fixture
def table(aws: Aws, requests: Requests) -> Table:
    dynamodb = fresh("dynamodb")
    requests.watch(dynamodb)
    return Table(dynamodb, aws.table_name)


def item(sort: str, size: int = 0, **attributes: str) -> dict[str, Any]:
    """Return an item of the partition ``p``, with *size* bytes of data."""
    data = {"data": {"B": bytes(size)}} if size else {}
    return {**key("p", sort), **{name: text(value) for name, value in attributes.items()}, **data}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "ü"}, 2),
        ({"N": "0"}, 1),
        ({"N": "12345"}, 4),
        ({"N": "-1.50"}, 3),
        ({"B": b"12"}, 2),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bc"]}, 3),
        ({"L": [{"S": "a"}, {"S": "b"}]}, 3 + 4),
        ({"M": {"k": {"S": "v"}}}, 3 + 1 + 2),
    ],
)
def test_the_size_of_an_item_is_that_of_its_names_and_values(value: dict[str, Any], size: int) -> None:
    assert item_size({"name": value}) == 4 + size


@pytest.mark.parametrize(("size", "units"), [(0, 1), (4096, 1), (4097, 2), (1024 * 1024, 256)])
def test_a_read_is_billed_by_four_kibibytes_and_half_when_it_may_be_behind(size: int, units: int) -> None:
    assert read_units(size, consistent=True) == units
    assert read_units(size, consistent=False) == units / 2


def test_a_write_is_billed_by_the_larger_of_what_was_and_what_is() -> None:
    small, large = item("s"), item("s", 2000)
    assert [write_units(TABLE, old, new) for old, new in ((None, small), (small, large), (large, small))] == [1, 2, 2]
    assert [write_units(TABLE, old, new) for old, new in ((large, None), (None, None), (large, large))] == [2, 1, 2]


def test_an_index_is_billed_for_what_changes_in_it() -> None:
    listed = item("s", rpk="E#1", rsk="a", ended="SUCCESS")
    due = item("s", dpk="E#1", dsk="a")
    cases = [
        (None, listed, 2),  # added
        (listed, listed | {"other": text("x")}, 1),  # not in the index
        (listed, listed | {"ended": text("FAILED")}, 2),  # in the index
        (listed, listed | {"rsk": text("b")}, 3),  # moved: removed and added
        (listed, item("s"), 2),  # removed
        (listed | due, None, 3),  # removed from both
        (None, item("s", lpk="E#1"), 1),  # half a key is none
    ]
    assert [write_units(TABLE, old, new) for old, new, _ in cases] == [units for _, _, units in cases]


def test_requests_are_counted_by_service_and_operation(aws: Aws, table: Table, requests: Requests) -> None:
    s3 = fresh("s3")
    requests.watch(s3)
    table.put(item("a"))
    table.put(item("b", 3000))
    before = requests.usage
    table.get("p", "b")
    table.get("p", "missing")
    s3.put_object(Bucket=aws.bucket, Key="k", Body=b"")
    assert before.costs == {("DynamoDB", "PutItem"): Cost(requests=2, write_units=1 + 3)}
    assert (requests.usage - before).costs == {
        ("DynamoDB", "GetItem"): Cost(requests=2, read_units=2),
        ("S3", "PutObject"): Cost(requests=1),
    }
    assert requests.usage.of("DynamoDB") == Cost(4, 0, 4, 2)
    assert requests.usage.of("DynamoDB", "GetItem") == Cost(2, 0, 0, 2)
    assert Usage().of("SQS") == Cost()


def test_a_refused_condition_costs_a_write_of_what_stands_there(table: Table, requests: Requests) -> None:
    table.put(item("a", 2000))
    before = requests.usage
    with pytest.raises(ConditionFailedError):
        table.put(item("a"), "attribute_not_exists(pk)")
    with pytest.raises(ConditionFailedError):
        table.delete("p", "missing", "attribute_exists(pk)")
    assert (requests.usage - before).costs == {
        ("DynamoDB", "PutItem"): Cost(1, 1, 2),
        ("DynamoDB", "DeleteItem"): Cost(1, 1, 1),
    }


def test_updates_deletes_and_batches_are_billed_with_their_indexes(table: Table, requests: Requests) -> None:
    table.put_many([item("a", rpk="E#1", rsk="a", ended="SUCCESS"), item("b", 1500)])
    assert requests.usage.of("DynamoDB", "BatchWriteItem") == Cost(1, 0, 2 + 2)
    table.update("p", "a", "SET #ended = :s", "", {":s": text("FAILED")}, names={"#ended": "ended"})
    assert requests.usage.of("DynamoDB", "UpdateItem") == Cost(1, 0, 2)
    table.delete("p", "a")
    assert requests.usage.of("DynamoDB", "DeleteItem") == Cost(1, 0, 2)
    assert [each["sk"]["S"] for each in table.get_many([("p", "a"), ("p", "b")])] == ["b"]
    assert requests.usage.of("DynamoDB", "BatchGetItem") == Cost(1, 0, 0, 2)


def test_a_query_is_billed_by_all_it_reads(table: Table, requests: Requests) -> None:
    items = [  # some 12,200 bytes
        item(f"{n}", 3000, rpk="E#1", rsk=f"{n}", ended="SUCCESS" if n else "FAILED", dpk="E#1", dsk=f"{n}")
        for n in range(4)
    ]
    table.put_many(items)
    for reads, units in (
        (lambda: table.query("p"), 3),
        (lambda: table.query("p", keys_only=True), 3),
        (lambda: table.index(RECENT, "E#1"), 0.5),
        (lambda: table.index_page(RECENT, "E#1", ("0", "9"), descending=True, ended=["FAILED"])[0], 0.5),
        (lambda: table.index(DUE, "E#1"), 0.5),
    ):
        before = requests.usage
        assert list(reads())
        assert (requests.usage - before).costs == {("DynamoDB", "Query"): Cost(1, 0, 0, units)}


def test_a_request_that_is_sent_again_counts_again(aws: Aws) -> None:
    dynamodb = fresh("dynamodb")
    requests = Requests(reader=client("dynamodb"))
    requests.watch(dynamodb)
    dynamodb.meta.events.register_first("needs-retry.dynamodb", lambda attempts, **_: 0 if attempts < 3 else None)
    Table(dynamodb, aws.table_name).put(item("a"))
    assert requests.usage.of("DynamoDB", "PutItem") == Cost(requests=3, write_units=1)


def test_without_a_reader_the_units_are_what_the_service_reports(aws: Aws) -> None:
    dynamodb = fresh("dynamodb")
    requests = Requests()
    requests.watch(dynamodb)
    # What the emulator makes up is replaced before it is counted.
    dynamodb.meta.events.register_first(
        "after-call.dynamodb", lambda parsed, **_: parsed.update(ConsumedCapacity={"CapacityUnits": 7.5})
    )
    table = Table(dynamodb, aws.table_name)
    table.put(item("a"))
    table.get("p", "a")
    with pytest.raises(ConditionFailedError):
        table.put(item("a", 5000), "attribute_not_exists(pk)")
    assert requests.usage.costs == {
        ("DynamoDB", "PutItem"): Cost(2, 1, write_units=7.5 + 1),
        ("DynamoDB", "GetItem"): Cost(1, read_units=7.5),
    }
