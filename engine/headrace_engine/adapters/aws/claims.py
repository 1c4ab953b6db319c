"""Claims in DynamoDB: each change is one conditional update, and its answer is the claim as it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

from headrace_engine.adapters.aws.table import (
    INLINE_LIMIT,
    ConditionFailedError,
    Item,
    Table,
    binary,
    instant,
    key,
    number,
    optional_instant,
    optional_text,
    shard,
    sort_text,
    text,
)
from headrace_engine.model.ids import new_id
from headrace_engine.ports import AttemptId, Claim, ClaimTakenError, NotFoundError, PortError

SHARDS = 8
RESULT_LIMIT = 16 * 1024 * 1024
"""Bytes of a result. Outputs above 32 KiB lie in internal storage, so a result is far from it."""

_KEPT = timedelta(days=14)
"""How long an attempt stays claimed when its execution was purged."""

_NAMES = {"#owner": "owner", "#result": "result"}

# Holds until the claim has its result: the first one stands, and what has ended cannot be stopped.
_OPEN = "attribute_not_exists(closed)"
# Holds when nobody claimed the attempt (a stop request may stand there), nor was it declared lost before.
_UNCLAIMED = f"attribute_not_exists(#owner) AND {_OPEN}"
# Holds when the caller is the one who claimed the attempt, until the claim has its result.
_OPEN_OF_OWNER = f"#owner = :owner AND {_OPEN}"


class DynamoClaims:
    """`Claims` in *table*; every change is durable when it returns.

    Needs GetItem, PutItem, UpdateItem and Query on keys that begin with ``C#``, and no other store: a result above
    INLINE_LIMIT is written in pieces beside its claim. `delete` needs BatchWriteItem too, `open` Scan.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def claim(self, attempt: AttemptId, owner: str, now: datetime, deadline: datetime | None = None) -> Claim:
        """See `Claims.claim`. One write unit."""
        if not owner:
            raise ValueError("A claim needs an owner")
        token = new_id()
        change = "SET #owner = :owner, claimed = :now, #token = :token"
        values = {":owner": text(owner), ":now": text(sort_text(now)), ":token": text(token)}
        if deadline is not None:
            change += ", deadline = :deadline"
            values[":deadline"] = text(sort_text(deadline))
        names = {"#owner": "owner", "#token": "token"}
        try:
            return self._claim(self._table.update(*_place(attempt), change, _UNCLAIMED, values, names=names))
        except ConditionFailedError as refusal:
            stored = _existing(attempt, refusal.stored)
            claim = self._claim(stored)
            # The claim is this call's own when its answer was lost and botocore sent it again.
            if optional_text(stored, "token") == token and claim.closed is None:
                return claim
            raise ClaimTakenError(claim) from None

    def record_process(self, attempt: AttemptId, owner: str, process_group: int, process_started: str) -> bool:
        """See `Claims.record_process`."""
        if not owner:
            return False
        values = {
            ":owner": text(owner),
            ":process_group": number(process_group),
            ":process_started": text(process_started),
        }
        change = "SET process_group = :process_group, process_started = :process_started"
        try:
            self._table.update(*_place(attempt), change, _OPEN_OF_OWNER, values, names={"#owner": "owner"})
        except ConditionFailedError:
            return False
        return True

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Claim:
        """See `Claims.close`. One write unit a KiB of the claim with its result."""
        if not owner:  # no owner owns nothing
            return self._claim(_existing(attempt, self._table.get(*_place(attempt))))
        change, values = self._result(attempt, result)
        values |= {":owner": text(owner), ":now": text(sort_text(now))}
        return self._change(attempt, f"SET closed = :now, {change}", _OPEN_OF_OWNER, values)

    def close_lost(self, attempt: AttemptId, result: bytes, now: datetime) -> Claim:
        """See `Claims.close_lost`."""
        change, values = self._result(attempt, result)
        values |= {":now": text(sort_text(now))}
        change = f"SET closed = :now, claimed = if_not_exists(claimed, :now), {change}"
        return self._change(attempt, change, _OPEN, values)

    def request_stop(self, attempt: AttemptId, now: datetime) -> Claim:
        """See `Claims.request_stop`."""
        change = "SET stop_requested = :yes, claimed = if_not_exists(claimed, :now)"
        values = {":yes": {"BOOL": True}, ":now": text(sort_text(now))}
        return self._change(attempt, change, _OPEN, values)

    def _change(self, attempt: AttemptId, change: str, condition: str, values: Item) -> Claim:
        """Change the claim if *condition* holds; return it as it stands afterwards."""
        used = {name: meaning for name, meaning in _NAMES.items() if name in change or name in condition}
        try:
            return self._claim(self._table.update(*_place(attempt), change, condition, values, names=used))
        except ConditionFailedError as refusal:
            return self._claim(_existing(attempt, refusal.stored))

    def _result(self, attempt: AttemptId, result: bytes) -> tuple[str, dict[str, Item]]:
        """Return what sets the result, after a large one's pieces stand: only the write that closes points to them."""
        if len(result) <= INLINE_LIMIT:
            return "#result = :result", {":result": binary(result)}
        if len(result) > RESULT_LIMIT:
            raise PortError(f"A result of {len(result)} bytes is more than the {RESULT_LIMIT} that a claim holds")
        partition, sort = _place(attempt)
        pieces = f"{sort}#part#{new_id()}#"
        for place, begin in enumerate(range(0, len(result), INLINE_LIMIT)):
            # Without a condition: nobody else knows the name, and it says the same again.
            piece = result[begin : begin + INLINE_LIMIT]
            self._table.put({**key(partition, f"{pieces}{place:04d}"), "piece": binary(piece)})
        return "pieces = :pieces", {":pieces": text(pieces)}

    def get(self, attempt: AttemptId) -> Claim | None:
        """See `Claims.get`. One read unit; strongly consistent."""
        item = self._table.get(*_place(attempt))
        return None if item is None else self._claim(item)

    def of_execution(self, execution_id: str) -> Sequence[Claim]:
        """See `Claims.of_execution`. Strongly consistent; a query for each of the shards."""
        items = chain.from_iterable(self._table.query(_partition(execution_id, n)) for n in range(SHARDS))
        claims = [self._claim(item) for item in items if "piece" not in item and "ttl" not in item]
        return sorted(claims, key=lambda claim: (claim.attempt.task_run_id, claim.attempt.number))

    def open(self) -> Iterator[Claim]:
        """See `Claims.open`.

        Reads the whole table: an index would be paid for by every attempt, and is not needed to find lost ones, which
        the sweeper does by their executions. For a person who looks for something.
        """
        condition = "begins_with(pk, :kind) AND attribute_exists(#owner) AND attribute_not_exists(closed)"
        return map(self._claim, self._table.scan(condition, {":kind": text("C#")}, {"#owner": "owner"}))

    def delete(self, execution_id: str, now: datetime) -> None:
        """See `Claims.delete`. What is kept goes by itself after the two weeks."""
        for n in range(SHARDS):
            items = list(self._table.query(_partition(execution_id, n)))
            # Without a condition: whatever a worker that is late writes meanwhile is to be forgotten, too, and no
            # later claim can get in between, for there is one already.
            self._table.put_many(_forgotten(item, now) for item in items if "piece" not in item)
            self._table.delete_many((item["pk"]["S"], item["sk"]["S"]) for item in items if "piece" in item)

    def _claim(self, item: Item) -> Claim:
        task_run_id, _, count = item["sk"]["S"].rpartition("#")
        result = bytes(item["result"]["B"]) if "result" in item else None
        if "pieces" in item:
            pieces = self._table.query(item["pk"]["S"], "begins_with(sk, :pieces)", {":pieces": item["pieces"]})
            result = b"".join(bytes(each["piece"]["B"]) for each in pieces)
        return Claim(
            attempt=AttemptId(item["pk"]["S"].split("#", 1)[1].rpartition("#")[0], task_run_id, int(count)),
            owner=optional_text(item, "owner") or "",
            claimed=instant(item["claimed"]["S"]),
            deadline=optional_instant(item, "deadline"),
            process_group=int(item["process_group"]["N"]) if "process_group" in item else None,
            process_started=optional_text(item, "process_started"),
            stop_requested="stop_requested" in item,
            result=result,
            closed=optional_instant(item, "closed"),
        )


def _partition(execution_id: str, number: int) -> str:
    return f"C#{execution_id}#{number}"


def _place(attempt: AttemptId) -> tuple[str, str]:
    where = shard(f"{attempt.task_run_id}#{attempt.number}", SHARDS)
    return _partition(attempt.execution_id, where), f"{attempt.task_run_id}#{attempt.number:06d}"


def _forgotten(item: Item, now: datetime) -> Item:
    kept = {name: value for name, value in item.items() if name not in ("result", "pieces")}
    expiry = int((now + _KEPT).timestamp())
    return {**kept, "closed": item.get("closed", text(sort_text(now))), "ttl": number(expiry)}


def _existing(attempt: AttemptId, item: Item | None) -> Item:
    if item is None:
        raise NotFoundError(f"Attempt {attempt.number} of task run {attempt.task_run_id} has no claim")
    return item
