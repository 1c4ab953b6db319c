"""Flow revisions in DynamoDB: the latest is an item whose conditional write makes a revision, earlier ones are kept."""

from __future__ import annotations

import builtins
import contextlib
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    LISTS,
    ConditionFailedError,
    Item,
    Table,
    key,
    number,
    optional_instant,
    optional_text,
    sort_text,
    text,
)
from headrace_engine.model.ids import new_id
from headrace_engine.ports import FlowSource

_HEAD = "HEAD"
_REVISION = "R#"
_LISTED = "F#0"
_CHANGED = ("F#", "CHANGED")

# Holds when the flow has no revision yet.
_FIRST = "attribute_not_exists(pk)"
# Holds while the revision that was read is still the latest.
_UNCHANGED = "revision = :revision"
# Holds unless somebody else copied this revision before, which then says the same.
_NOT_KEPT = "attribute_not_exists(pk)"


class DynamoFlows:
    """`Flows` in *table*.

    `get` and `revisions` are strongly consistent. `list` finds flows in an index, which follows the table within a
    moment; their sources are read from the table.
    """

    def __init__(self, table: Table, overflow: Overflow) -> None:
        self._table = table
        self._overflow = overflow

    def save(self, namespace: str, flow_id: str, source: str, now: datetime) -> FlowSource:
        """See `Flows.save`."""
        while True:
            head = self._head(namespace, flow_id)
            if head is None:
                flow = FlowSource(namespace, flow_id, 1, source, updated=now)
            else:
                latest = self._flow(head)
                if not latest.deleted and latest.source == source:
                    self._note(now)  # whoever saved it may have died before it did
                    return latest
                flow = FlowSource(namespace, flow_id, latest.revision + 1, source, updated=now)
            if self._replace(head, flow):
                self._note(now)
                return flow

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`. One read unit for 4 KiB of an earlier revision; twice for one that never was."""
        if revision is None:
            head = self._head(namespace, flow_id)
            return None if head is None else self._flow(head)
        # Earlier ones never change; the latest is copied before it is replaced, so one of two reads finds it.
        kept = self._table.get(_partition(namespace, flow_id), _sort(revision))
        if kept is None:
            kept = self._head(namespace, flow_id)
            if kept is not None and int(kept["revision"]["N"]) > revision:
                kept = self._table.get(_partition(namespace, flow_id), _sort(revision))
        if kept is None or int(kept["revision"]["N"]) != revision:
            return None
        return self._flow(kept)

    def revisions(self, namespace: str, flow_id: str) -> Sequence[FlowSource]:
        """See `Flows.revisions`."""
        head = self._head(namespace, flow_id)
        if head is None:
            return []
        # After the head: all before it are kept by then.
        latest = self._flow(head)
        kept = self._table.query(
            _partition(namespace, flow_id),
            "sk BETWEEN :first AND :last",
            {":first": text(_sort(0)), ":last": text(_sort(latest.revision - 1))},
        )
        return [*map(self._flow, kept), latest]

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        """See `Flows.list`."""
        prefixes = (f"{namespace_prefix}/", f"{namespace_prefix}.") if namespace_prefix else ("",)
        keys: builtins.list[tuple[str, str]] = []
        for prefix in prefixes:
            condition, values = ("begins_with(#sort, :prefix)", {":prefix": text(prefix)}) if prefix else ("", {})
            found = self._table.index(LISTS, _LISTED, condition, values)
            keys += [(item["pk"]["S"], item["sk"]["S"]) for item in found]
        flows = [self._flow(item) for item in self._table.get_many(keys)]
        return sorted((flow for flow in flows if not flow.deleted), key=lambda flow: (flow.namespace, flow.id))

    def delete(self, namespace: str, flow_id: str, now: datetime) -> bool:
        """See `Flows.delete`."""
        while True:
            head = self._head(namespace, flow_id)
            if head is None or "deleted" in head:
                return False
            latest = self._flow(head)
            deleted = FlowSource(namespace, flow_id, latest.revision + 1, latest.source, deleted=True, updated=now)
            if self._replace(head, deleted):
                self._note(now)
                return True

    def changed(self) -> datetime | None:
        """See `Flows.changed`. One read unit."""
        item = self._table.get(*_CHANGED)
        return optional_instant(item, "at") if item is not None else None

    def _note(self, now: datetime) -> None:
        # Without a condition: any other instant than the last one says that something has changed.
        self._table.put({**key(*_CHANGED), "at": text(sort_text(now))})

    def _head(self, namespace: str, flow_id: str) -> Item | None:
        return self._table.get(_partition(namespace, flow_id), _HEAD)

    def _replace(self, head: Item | None, flow: FlowSource) -> bool:
        """Make *flow* the latest revision if *head* still is; False (nothing changed) otherwise."""
        if head is not None:
            kept = {name: value for name, value in head.items() if name not in ("lpk", "lsk")}
            with contextlib.suppress(ConditionFailedError):
                self._table.put(kept | key(head["pk"]["S"], _sort(int(head["revision"]["N"]))), _NOT_KEPT)
        writer = new_id()
        item = {**self._item(flow), "writer": text(writer)}
        condition, values = (_FIRST, None) if head is None else (_UNCHANGED, {":revision": head["revision"]})
        try:
            self._table.put(item, condition, values)
        except ConditionFailedError as refusal:
            # It is this call's own when its answer was lost and botocore sent it again.
            return refusal.stored is not None and optional_text(refusal.stored, "writer") == writer
        return True

    def _item(self, flow: FlowSource) -> dict[str, Any]:
        name = f"{flow.namespace}/{flow.id}"
        source = flow.source.encode("utf-8", "surrogatepass")
        item: dict[str, Any] = {
            **key(_partition(flow.namespace, flow.id), _HEAD),
            "revision": number(flow.revision),
            **self._overflow.keep(f"F/{name}/{hashlib.sha256(source).hexdigest()}", source),
        }
        if flow.updated is not None:
            item["updated"] = text(sort_text(flow.updated))
        if flow.deleted:
            return {**item, "deleted": {"BOOL": True}}
        return {**item, "lpk": text(_LISTED), "lsk": text(name)}

    def _flow(self, item: Item) -> FlowSource:
        namespace, _, flow_id = item["pk"]["S"].removeprefix("F#").partition("/")
        return FlowSource(
            namespace,
            flow_id,
            int(item["revision"]["N"]),
            self._overflow.load(item).decode("utf-8", "surrogatepass"),
            "deleted" in item,
            optional_instant(item, "updated"),
        )


def _partition(namespace: str, flow_id: str) -> str:
    return f"F#{namespace}/{flow_id}"


def _sort(revision: int) -> str:
    return f"{_REVISION}{revision:08d}"
