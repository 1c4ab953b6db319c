"""The one table: what its keys mean, and the few ways in which the stores reach it.

| kind | partition key `pk` | sort key `sk` | what | index |
|---|---|---|---|---|
| journal | ``X#<execution>`` | ``E#<seq>`` | an entry, or the tombstone of one | |
| | | ``A`` | the snapshot | |
| | | ``Z`` | marks a purged execution; behind the entries, so that whoever reads those reads it too | |
| claims | ``C#<execution>#<0…7>`` | ``<task run>#<number>`` | a claim | |
| | | ``<task run>#<number>#part#…`` | a piece of its result | |
| executions | ``E#<execution>`` | ``E`` | a summary | `lists` ``E#<0…7>``: ``<namespace>/<flow>#<start>#<id>`` |
| | | | | `recent` ``E#<0…7>``: ``<start>#<id>#<namespace>/<flow>`` |
| | | | while it is open | `due` ``E#<0…7>``: ``<wakeBy or ~>#<start>#<id>`` |
| triggers | ``T#<namespace>/<flow>`` | ``<trigger>`` | a record | |
| | | | while it is due some day | `due` ``T#<0…3>``: ``<due>#<namespace>/<flow>#<trigger>`` |
| flows | ``F#<namespace>/<flow>`` | ``HEAD`` | the latest revision | `lists` ``F#0``: ``<namespace>/<flow>`` |
| | | ``R#<revision>`` | an earlier one | |
| | ``F#`` | ``CHANGED`` | when any flow was saved or deleted last | |
| | | ``L#<namespace>/<flow>`` | marks a flow that may hold a Flow trigger | |
| templates | ``F#~<namespace>/<template>`` | as of flows | a revision | `lists` ``F#1``: ``<namespace>/<template>`` |
| | ``F#`` | ``TEMPLATES`` | when any template was saved or deleted last | |
| key-values | ``K#<namespace>#<0…3>`` | ``<key>`` | an entry | |
| slots | ``S#<namespace>/<flow>`` | ``H`` | the set of holders | |
| | | ``Q#<execution>`` | one that waits | |
| logs | ``L#<execution>#<0…3>`` | ``<batch>``, ``<first batch>-<last>-…`` | a batch of lines, or several | |
| metrics | ``M#<execution>#<0…3>`` | as of logs | a batch of points, or several | |
| audit | ``A#<year>-<month>#<0…3>`` | ``<instant>#<id>`` | a record | |
| identity | ``U#users`` | ``<name>`` | a user | |
| | ``U#tokens`` | ``<id>`` | a token | |
| | ``U#tally#<digest>`` | ``T`` | how often somebody failed to log in | |

The first letter is the kind, so a role can be given kinds by `dynamodb:LeadingKeys`; the partitions of the indexes
begin with it too. Where one execution, flow or namespace may write more than about a thousand times a second, its
items lie in numbered shards, chosen by what tells them apart. What an index holds is a moment behind: readers take
only the keys from it and the items, strongly consistent, from the table. `due` holds an item only while somebody must
come back to it.

An item that goes by itself says when in ``ttl`` (seconds since 1970). What is larger than `INLINE_LIMIT` lies in S3
(`headrace_engine.adapters.aws.overflow`): no item comes near the 400 KB that DynamoDB allows.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import PortError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Item: TypeAlias = Mapping[str, Any]
"""An item, or its key, as the service's API writes it: ``{"pk": {"S": "…"}, …}``."""

INLINE_LIMIT = 64 * 1024
"""Bytes of a value that an item holds itself (DESIGN §3.9)."""

_GET_MANY = 100
_WRITE_MANY = 25
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6)
"""Seconds before each time that what a batch left undone is asked for again: DynamoDB leaves what is too much."""


# -- What the table is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """A global secondary index; it holds the keys and *attributes*."""

    name: str
    partition_key: str
    sort_key: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The table as it must be made. All keys are strings; it is billed on demand."""

    partition_key: str
    sort_key: str
    ttl_attribute: str
    indexes: tuple[IndexSpec, ...]

    def creation(self, name: str) -> dict[str, Any]:
        """Return the arguments of `create_table`. The TTL attribute takes a call of its own."""
        keys = [(self.partition_key, self.sort_key), *((each.partition_key, each.sort_key) for each in self.indexes)]
        return {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": _schema(self.partition_key, self.sort_key),
            "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for pair in keys for each in pair],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": index.name,
                    "KeySchema": _schema(index.partition_key, index.sort_key),
                    "Projection": (
                        {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.attributes)}
                        if index.attributes
                        else {"ProjectionType": "KEYS_ONLY"}
                    ),
                }
                for index in self.indexes
            ],
        }


def _schema(partition_key: str, sort_key: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition_key, "KeyType": "HASH"},
        {"AttributeName": sort_key, "KeyType": "RANGE"},
    ]


LISTS = IndexSpec("lists", "lpk", "lsk")
DUE = IndexSpec("due", "dpk", "dsk")
RECENT = IndexSpec("recent", "rpk", "rsk", ("ended", "end"))
TABLE = TableSpec("pk", "sk", "ttl", (LISTS, DUE, RECENT))


def shard(text: str, shards: int) -> int:
    """Return the shard of *text*: always the same, and evenly spread."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % shards


# -- Values -------------------------------------------------------------------------------------------


def key(partition: str, sort: str) -> dict[str, Any]:
    """Return the key of an item, which is also the beginning of the item."""
    return {"pk": {"S": partition}, "sk": {"S": sort}}


def text(value: str) -> dict[str, str]:
    """Return a string as the API writes it."""
    return {"S": value}


def number(value: int) -> dict[str, str]:
    """Return an integer as the API writes it."""
    return {"N": str(value)}


def binary(value: bytes) -> dict[str, bytes]:
    """Return bytes as the API writes them."""
    return {"B": value}


def sort_text(instant: datetime) -> str:
    """Return an aware instant as text of one length, in the order of time."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def instant(value: str) -> datetime:
    """Return the instant of a `sort_text`."""
    return datetime.fromisoformat(value)


def optional_instant(item: Item, name: str) -> datetime | None:
    """Return the instant an item holds; None without one."""
    return instant(item[name]["S"]) if name in item else None


def optional_text(item: Item, name: str) -> str | None:
    """Return the string an item holds; None without one."""
    return str(item[name]["S"]) if name in item else None


# -- Requests -----------------------------------------------------------------------------------------


class ConditionFailedError(Exception):
    """The condition of a write did not hold, nothing changed; holds what stands there. Never leaves the stores."""

    def __init__(self, stored: Item | None) -> None:
        super().__init__("The condition of a write did not hold")
        self.stored = stored


class Table:
    """The requests that the stores make. Every read of the table itself is strongly consistent.

    All raise PortError when DynamoDB does. *client* repeats what was throttled or got no answer; a write may thus be
    carried out and its repetition refused, which each store recognises by what stands there.
    """

    def __init__(self, client: DynamoDBClient, name: str, pause: Callable[[float], None] = time.sleep) -> None:
        """Take the client; *pause* lets so many seconds pass."""
        self._client = client
        self._name = name
        self._pause = pause

    def get(self, partition: str, sort: str) -> Item | None:
        """Return an item."""
        with calling("DynamoDB", "GetItem"):
            return self._client.get_item(TableName=self._name, Key=key(partition, sort), ConsistentRead=True).get(
                "Item"
            )

    def get_many(self, keys: Sequence[tuple[str, str]]) -> Iterator[Item]:
        """Yield the items that are there, in the order of *keys* and each once; a hundred a request."""
        different = list(dict.fromkeys(keys))
        for begin in range(0, len(different), _GET_MANY):
            wanted = different[begin : begin + _GET_MANY]
            found: dict[tuple[str, str], Item] = {}
            request: Any = {self._name: {"Keys": [key(*each) for each in wanted], "ConsistentRead": True}}
            for pause in (0.0, *_PAUSES):
                self._rest(pause)
                with calling("DynamoDB", "BatchGetItem"):
                    answer = self._client.batch_get_item(RequestItems=request)
                found |= {(item["pk"]["S"], item["sk"]["S"]): item for item in answer["Responses"].get(self._name, ())}
                request = answer.get("UnprocessedKeys")
                if not request:
                    break
            else:
                raise PortError(f"DynamoDB did not return all of {len(wanted)} items")
            yield from (found[each] for each in wanted if each in found)

    def put(self, item: Item, condition: str = "", values: Item | None = None, *, old: bool = False) -> Item | None:
        """Write *item* whole; return the one it replaces, if *old* asks for it.

        Raises ConditionFailedError when *condition* does not hold.
        """
        arguments = _arguments(condition, values)
        if old:
            arguments["ReturnValues"] = "ALL_OLD"
        with _condition("PutItem"):
            return self._client.put_item(TableName=self._name, Item=item, **arguments).get("Attributes")

    def update(
        self,
        partition: str,
        sort: str,
        change: str,
        condition: str,
        values: Item,
        *,
        names: Mapping[str, str] | None = None,
        old: bool = False,
    ) -> Item:
        """Change some attributes; return the item as it is then, or with *old* as it was.

        Raises ConditionFailedError when *condition* does not hold.
        """
        arguments = _arguments(condition, values)
        if names:
            arguments["ExpressionAttributeNames"] = names
        with _condition("UpdateItem"):
            return self._client.update_item(
                TableName=self._name,
                Key=key(partition, sort),
                UpdateExpression=change,
                ReturnValues="ALL_OLD" if old else "ALL_NEW",
                **arguments,
            ).get("Attributes", {})

    def delete(self, partition: str, sort: str, condition: str = "", values: Item | None = None) -> Item | None:
        """Remove an item; return it. Raises ConditionFailedError when *condition* does not hold."""
        with _condition("DeleteItem"):
            return self._client.delete_item(
                TableName=self._name, Key=key(partition, sort), ReturnValues="ALL_OLD", **_arguments(condition, values)
            ).get("Attributes")

    def query(
        self,
        partition: str,
        condition: str = "",
        values: Item | None = None,
        *,
        keys_only: bool = False,
        last_first: bool = False,
        page: int | None = None,
    ) -> Iterator[Item]:
        """Yield the items of a partition by their sort key; those only for which *condition* on ``sk`` holds.

        *page* is how many are read at a time, where few of many may be taken.
        """
        where = f"pk = :pk AND {condition}" if condition else "pk = :pk"
        arguments: dict[str, Any] = {"ProjectionExpression": "pk, sk"} if keys_only else {}
        if last_first:
            arguments["ScanIndexForward"] = False
        if page is not None:
            arguments["Limit"] = page
        return self._pages(
            {
                "KeyConditionExpression": where,
                "ExpressionAttributeValues": {":pk": text(partition), **(values or {})},
                "ConsistentRead": True,
                **arguments,
            }
        )

    def has(self, partition: str, condition: str, values: Item) -> bool:
        """Return whether a partition has an item for whose ``sk`` *condition* holds."""
        with calling("DynamoDB", "Query"):
            answer = self._client.query(
                TableName=self._name,
                KeyConditionExpression=f"pk = :pk AND {condition}",
                ExpressionAttributeValues={":pk": text(partition), **values},
                ConsistentRead=True,
                Limit=1,
            )
        return bool(answer["Items"])

    def index(
        self, index: IndexSpec, partition: str, condition: str = "", values: Item | None = None
    ) -> Iterator[Item]:
        """Yield what an index holds of a partition, by its sort key; it may be a moment behind.

        *condition* is one on ``#sort``.
        """
        names = {"#partition": index.partition_key}
        bound: dict[str, Any] = {":partition": text(partition), **(values or {})}
        where = "#partition = :partition"
        if condition:
            names["#sort"] = index.sort_key
            where += f" AND {condition}"
        return self._pages(
            {
                "IndexName": index.name,
                "KeyConditionExpression": where,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": bound,
            }
        )

    def index_page(
        self,
        index: IndexSpec,
        partition: str,
        between: tuple[str, str],
        *,
        descending: bool,
        begin: Item | None = None,
        size: int | None = None,
        ended: Sequence[str] = (),
        or_open: bool = False,
    ) -> tuple[Sequence[Item], Item | None]:
        """Return a page of what an index holds of a partition between two sort keys, and where the next one begins.

        Of *size* items at most, and a MiB. With *ended*, of those only that ended so, and with *or_open* of those that
        did not end.
        """
        bound: dict[str, Any] = {
            ":partition": text(partition),
            ":low": text(between[0]),
            ":high": text(between[1]),
        }
        arguments: dict[str, Any] = {"Limit": size} if size is not None else {}
        if begin is not None:
            arguments["ExclusiveStartKey"] = begin
        names = {"#partition": index.partition_key, "#sort": index.sort_key}
        if ended:
            names["#ended"] = "ended"
            bound |= {f":ended{place}": text(state) for place, state in enumerate(ended)}
            only = f"#ended IN ({', '.join(f':ended{place}' for place in range(len(ended)))})"
            arguments["FilterExpression"] = f"{only} OR attribute_not_exists(#ended)" if or_open else only
        with calling("DynamoDB", "Query"):
            answer = self._client.query(
                TableName=self._name,
                IndexName=index.name,
                KeyConditionExpression="#partition = :partition AND #sort BETWEEN :low AND :high",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=bound,
                ScanIndexForward=not descending,
                **arguments,
            )
        return answer["Items"], answer.get("LastEvaluatedKey")

    def _pages(self, arguments: dict[str, Any]) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            with calling("DynamoDB", "Query"):
                answer = self._client.query(TableName=self._name, **arguments, **start)
            yield from answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def scan(self, condition: str, values: Item, names: Mapping[str, str]) -> Iterator[Item]:
        """Yield the items of the whole table for which *condition* holds: reads, and pays for, all there is."""
        start: dict[str, Any] = {}
        while True:
            with calling("DynamoDB", "Scan"):
                answer = self._client.scan(
                    TableName=self._name,
                    FilterExpression=condition,
                    ExpressionAttributeValues=values,
                    ExpressionAttributeNames=names,
                    ConsistentRead=True,
                    **start,
                )
            yield from answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def delete_many(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove the items, whatever they say."""
        self._write_many([{"DeleteRequest": {"Key": key(*each)}} for each in keys])

    def put_many(self, items: Iterable[Item]) -> None:
        """Write the items whole over whatever stands there."""
        self._write_many([{"PutRequest": {"Item": each}} for each in items])

    def _write_many(self, requests: list[Any]) -> None:
        for begin in range(0, len(requests), _WRITE_MANY):
            left: Any = {self._name: requests[begin : begin + _WRITE_MANY]}
            for pause in (0.0, *_PAUSES):
                self._rest(pause)
                with calling("DynamoDB", "BatchWriteItem"):
                    left = self._client.batch_write_item(RequestItems=left).get("UnprocessedItems")
                if not left:
                    break
            else:
                raise PortError(f"DynamoDB did not write all of {len(requests)} items")

    def _rest(self, seconds: float) -> None:
        if seconds:
            self._pause(seconds)


def _arguments(condition: str, values: Item | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if condition:
        arguments["ConditionExpression"] = condition
        # What stands there comes with the refusal: no read, and nothing can happen in between.
        arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if values:
        arguments["ExpressionAttributeValues"] = values
    return arguments


@contextmanager
def _condition(operation: str) -> Iterator[None]:
    """Let a refused condition leave the block as ConditionFailedError, and every other error as PortError."""
    with calling("DynamoDB", operation):
        try:
            yield
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            response: Mapping[str, Any] = error.response
            raise ConditionFailedError(response.get("Item")) from None
