"""The key-value store in DynamoDB."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    ConditionFailedError,
    Item,
    Table,
    instant,
    number,
    optional_instant,
    optional_text,
    shard,
    sort_text,
    text,
)
from headrace_engine.model.ids import new_id
from headrace_engine.ports import EXPIRED_KEYS_KEPT, KeyExistsError, KVEntry, NotFoundError, PortError

SHARDS = 4
_TRIES = 5

# Holds unless what stands there has expired by now: the entry is new, or replaces one and takes its creation date.
_LIVING = "attribute_not_exists(expires) OR expires > :now"
# Holds when there is no entry, or one that has expired by now: the entry is created now.
_FREE = "attribute_not_exists(pk) OR expires <= :now"

_NAMES = {"#kind": "kind", "#data": "data", "#at": "at", "#ttl": "ttl"}


class DynamoKV:
    """`KV` in *table*; reads are strongly consistent.

    A put costs one write unit a KiB, two where it replaces an expired entry. DynamoDB removes what has expired: of the
    engine's own namespaces at once, of those of flows after thirty days. A value that lies in S3 stays until somebody
    deletes it.
    """

    def __init__(self, table: Table, overflow: Overflow) -> None:
        self._table = table
        self._overflow = overflow

    def put(
        self,
        namespace: str,
        key: str,
        kind: str,
        value: Any,
        *,
        now: datetime,
        ttl: timedelta | None = None,
        overwrite: bool = True,
        durable: bool = True,
    ) -> None:
        """See `KV.put`."""
        del durable  # what is stored stays
        writer = new_id()
        content = self._overflow.keep(f"K/{namespace}/{writer}", json.dumps(value).encode())
        values = {
            ":now": text(sort_text(now)),
            ":kind": text(kind),
            ":writer": text(writer),
            ":content": content.get("data") or content["at"],
        }
        held, absent = ("#data", "#at") if "data" in content else ("#at", "#data")
        change = f"SET updated = :now, #kind = :kind, writer = :writer, {held} = :content"
        removed = [absent]
        if ttl is None:
            removed.append("expires")
        else:
            values[":expires"] = text(sort_text(now + ttl))
            change += ", expires = :expires"
        if ttl is None or "data" not in content:
            removed.append("#ttl")
        else:
            goes = now + ttl if namespace.startswith("_") else now + ttl + EXPIRED_KEYS_KEPT
            values[":ttl"] = number(math.ceil(goes.timestamp()))
            change += ", #ttl = :ttl"
        gone = f" REMOVE {', '.join(removed)}"
        creating = f"{change}, created = :now{gone}"
        replacing = f"{change}, created = if_not_exists(created, :now){gone}"
        # Of the two conditions one holds, unless somebody else writes in between: then the other one does.
        for attempt in range(_TRIES):
            new = not overwrite or attempt % 2 == 1
            try:
                replaced = self._table.update(
                    *_place(namespace, key),
                    creating if new else replacing,
                    _FREE if new else _LIVING,
                    values,
                    names=_NAMES,
                    old=True,
                )
            except ConditionFailedError as refusal:
                # It is this call's own when its answer was lost and botocore sent it again.
                if refusal.stored is not None and optional_text(refusal.stored, "writer") == writer:
                    return
                if not overwrite:
                    self._overflow.drop(content)
                    raise KeyExistsError(f"Key {key} exists in namespace {namespace}") from None
            else:
                self._overflow.drop(replaced, unless=content)
                return
        raise PortError(f"Key {key} of namespace {namespace} changes all the time")

    def get(self, namespace: str, key: str) -> KVEntry | None:
        """See `KV.get`. One read unit for 4 KiB."""
        for _ in range(_TRIES):
            item = self._table.get(*_place(namespace, key))
            if item is None:
                return None
            try:
                return self._entry(item)
            except NotFoundError:
                continue  # replaced this moment, with the object it pointed to
        raise PortError(f"Key {key} of namespace {namespace} changes all the time")

    def delete(self, namespace: str, key: str) -> bool:
        """See `KV.delete`. False, too, for what this call removed when its first answer was lost."""
        deleted = self._table.delete(*_place(namespace, key))
        self._overflow.drop(deleted)
        return deleted is not None

    def forget(self, namespace: str, now: datetime, *, at_most: int) -> int:
        """See `KV.forget`: DynamoDB removes what has expired by itself."""
        del namespace, now, at_most
        return 0

    def list(self, namespace: str, prefix: str = "") -> Sequence[KVEntry]:
        """See `KV.list`. A query for each of the shards."""
        condition, values = ("begins_with(sk, :prefix)", {":prefix": text(prefix)}) if prefix else ("", {})
        items: builtins.list[Item] = []
        for n in range(SHARDS):
            items += self._table.query(f"K#{namespace}#{n}", condition, values)
        entries = []
        for item in items:
            try:
                entries.append(self._entry(item))
            except NotFoundError:
                entry = self.get(namespace, item["sk"]["S"])
                entries += [] if entry is None else [entry]
        return sorted(entries, key=lambda entry: entry.key)

    def _entry(self, item: Item) -> KVEntry:
        return KVEntry(
            item["pk"]["S"].removeprefix("K#").rpartition("#")[0],
            item["sk"]["S"],
            item["kind"]["S"],
            json.loads(self._overflow.load(item)),
            created=instant(item["created"]["S"]),
            updated=instant(item["updated"]["S"]),
            expires=optional_instant(item, "expires"),
        )


def _place(namespace: str, key: str) -> tuple[str, str]:
    return f"K#{namespace}#{shard(key, SHARDS)}", key
