"""Counts what AWS bills for: requests by service and operation, and DynamoDB's write and read units.

A `Requests` watches clients through botocore's events, so nothing that makes requests knows of it:

    requests = Requests(reader=another_client)
    requests.watch(client)
    before = requests.usage
    ...
    spent = requests.usage - before

An emulator's consumed capacity is made up. With a *reader*, a DynamoDB client that is not watched itself, the units
are computed from what stands in the table before and after each write, indexes included; then one request at a time
may be under way. Without it they are what the service reports, which is right on AWS.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from headrace_engine.adapters.aws.table import TABLE, IndexSpec, Item, TableSpec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_WRITE_UNIT = 1024
_READ_UNIT = 4096
_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"}
_NOTE = "headrace.requests"

_Found: TypeAlias = dict[tuple[str, str], Item | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """What was asked of one operation."""

    requests: int = 0
    """Sent over the wire, repetitions too."""
    refused: int = 0
    """Answered with an error; a refused condition costs a write all the same."""
    write_units: float = 0
    read_units: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.refused + other.refused,
            self.write_units + other.write_units,
            self.read_units + other.read_units,
        )

    def __sub__(self, other: Cost) -> Cost:
        return self + Cost(-other.requests, -other.refused, -other.write_units, -other.read_units)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of AWS: by service and operation."""

    costs: Mapping[tuple[str, str], Cost] = field(default_factory=dict)

    def __sub__(self, other: Usage) -> Usage:
        """Return what came after *other*; operations nobody asked for meanwhile are left out."""
        rest = {each: cost - other.costs.get(each, Cost()) for each, cost in self.costs.items()}
        return Usage({each: cost for each, cost in rest.items() if cost != Cost()})

    def of(self, service: str, operation: str | None = None) -> Cost:
        """Return the sum over a service, or one operation of it."""
        chosen = (cost for (of, name), cost in self.costs.items() if of == service and operation in (None, name))
        return sum(chosen, Cost())


class Requests:
    """Counts the requests of the clients it watches."""

    def __init__(self, reader: DynamoDBClient | None = None, spec: TableSpec = TABLE) -> None:
        self._reader = reader
        self._spec = spec
        self._lock = threading.Lock()
        self._costs: dict[tuple[str, str], Cost] = {}

    @property
    def usage(self) -> Usage:
        """What was counted so far."""
        with self._lock:
            return Usage(dict(self._costs))

    def watch(self, client: Any) -> None:
        """Count what *client* asks from now on."""
        service = client.meta.service_model.service_id.hyphenize()
        events = client.meta.events
        name = client.meta.service_model.service_id
        # Each time a request is made to be sent: repetitions are billed, too.
        events.register(f"request-created.{service}", lambda operation_name, **_: self._add(name, operation_name))
        events.register(f"after-call.{service}", lambda **event: self._answered(name, **event))
        if name == "DynamoDB":
            events.register(f"before-parameter-build.{service}", self._asked)

    def _add(self, service: str, operation: str, cost: Cost | None = None) -> None:
        with self._lock:
            key = (service, operation)
            self._costs[key] = self._costs.get(key, Cost()) + (Cost(requests=1) if cost is None else cost)

    def _asked(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params.setdefault("ReturnConsumedCapacity", "TOTAL")
        context[_NOTE] = (params, self._stored(params, model.name))

    def _answered(self, service: str, model: Any, parsed: Mapping[str, Any], context: Any, **_: Any) -> None:
        error = parsed.get("Error", {}).get("Code") if "Error" in parsed else None
        cost = Cost(refused=1 if error else 0)
        if service == "DynamoDB" and _NOTE in context and error in (None, "ConditionalCheckFailedException"):
            params, before = context[_NOTE]
            if model.name in _WRITES:
                cost += Cost(write_units=self._write_units(params, model.name, before, parsed))
            else:
                cost += Cost(read_units=self._read_units(params, parsed))
        self._add(service, model.name, cost)

    # -- Writes -------------------------------------------------------------------------------------

    def _stored(self, params: Mapping[str, Any], operation: str) -> _Found:
        """Return what stands under the keys that a write names."""
        if self._reader is None or operation not in _WRITES:
            return {}
        return {
            (item[self._spec.partition_key]["S"], item[self._spec.sort_key]["S"]): self._read(name, item)
            for name, item in _written(params)
        }

    def _read(self, table: str, item: Item) -> Item | None:
        key = {name: item[name] for name in (self._spec.partition_key, self._spec.sort_key)}
        assert self._reader is not None  # noqa: S101  # asked for only with one
        return self._reader.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")

    def _write_units(
        self, params: Mapping[str, Any], operation: str, before: _Found, answer: Mapping[str, Any]
    ) -> float:
        if self._reader is None:
            # A refused condition reports nothing; it costs what stands there, one unit at least.
            return _reported(answer) if "Error" not in answer else max(1, _units(answer.get("Item"), _WRITE_UNIT))
        after = self._stored(params, operation)
        return sum(write_units(self._spec, old, after[where]) for where, old in before.items())

    # -- Reads --------------------------------------------------------------------------------------

    def _read_units(self, params: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
        if self._reader is None:
            return _reported(answer)
        if "Item" in answer or "Key" in params:
            return read_units(item_size(answer.get("Item")), consistent=params.get("ConsistentRead", False))
        if "Responses" in answer:
            return self._batch_units(params, answer)
        items = answer.get("Items", ())
        if "ProjectionExpression" in params:
            items = [self._read(params["TableName"], item) for item in items]
        size = float(sum(map(item_size, items)))
        # What a filter leaves out is read all the same; it is taken to be as large as the rest.
        if answer.get("Count"):
            size *= answer["ScannedCount"] / answer["Count"]
        return read_units(math.ceil(size), consistent=params.get("ConsistentRead", False))

    @staticmethod
    def _batch_units(params: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
        units = 0.0
        for table, asked in params["RequestItems"].items():
            consistent = asked.get("ConsistentRead", False)
            found = answer["Responses"].get(table, ())
            missing = len(asked["Keys"]) - len(found)
            units += sum(read_units(item_size(item), consistent=consistent) for item in found)
            units += missing * read_units(0, consistent=consistent)
        return units


def item_size(item: Item | None) -> int:
    """Return the bytes DynamoDB takes an item for: its names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in (item or {}).items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode("utf-8", "surrogatepass"))
        case "N":
            return _number_size(content)
        case "B":
            return len(content)
        case "SS":
            return sum(len(each.encode()) for each in content)
        case "NS":
            return sum(map(_number_size, content))
        case "BS":
            return sum(map(len, content))
        case "L":
            return 3 + sum(1 + _value_size(each) for each in content)
        case "M":
            return 3 + len(content) + item_size(content)
        case _:  # BOOL, NULL
            return 1


def _number_size(digits: str) -> int:
    """Return about a byte for two significant digits, and one."""
    return (len(digits.strip("-0.")) + 1) // 2 + 1


def _units(item: Item | None, unit: int) -> int:
    return math.ceil(item_size(item) / unit)


def read_units(size: int, *, consistent: bool) -> float:
    """Return the read units of *size* bytes read at once; half of them where the read may be a moment behind."""
    units = max(1, math.ceil(size / _READ_UNIT))
    return float(units) if consistent else units / 2


def write_units(spec: TableSpec, old: Item | None, new: Item | None) -> float:
    """Return the write units of making *new* of *old* in the table and its indexes; the same twice: a refused write."""
    units = max(1, _units(old, _WRITE_UNIT), _units(new, _WRITE_UNIT))
    return float(units + sum(_index_units(spec, index, old, new) for index in spec.indexes))


def _index_units(spec: TableSpec, index: IndexSpec, old: Item | None, new: Item | None) -> int:
    before, after = _projected(spec, index, old), _projected(spec, index, new)
    if before == after:
        return 0
    if before is None or after is None:
        return _units(before or after, _WRITE_UNIT)
    if any(before[name] != after[name] for name in (index.partition_key, index.sort_key)):
        # One is removed and another added.
        return _units(before, _WRITE_UNIT) + _units(after, _WRITE_UNIT)
    return max(_units(before, _WRITE_UNIT), _units(after, _WRITE_UNIT))


def _projected(spec: TableSpec, index: IndexSpec, item: Item | None) -> dict[str, Any] | None:
    """Return what an index holds of an item; None when it is not in it."""
    if item is None or index.partition_key not in item or index.sort_key not in item:
        return None
    names = (spec.partition_key, spec.sort_key, index.partition_key, index.sort_key, *index.attributes)
    return {name: item[name] for name in names if name in item}


def _written(params: Mapping[str, Any]) -> Iterator[tuple[str, Item]]:
    """Yield the table and the key (or the item) of each write that a request names."""
    if "RequestItems" not in params:
        yield params["TableName"], params.get("Key") or params["Item"]
        return
    for table, requests in params["RequestItems"].items():
        for request in requests:
            yield table, request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]


def _reported(answer: Mapping[str, Any]) -> float:
    reported = answer.get("ConsumedCapacity", ())
    each = [reported] if isinstance(reported, Mapping) else reported
    return float(sum(one.get("CapacityUnits", 0) for one in each))
