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
from headrace_engine.listeners import mentions_flow_trigger
from headrace_engine.model.ids import new_id
from headrace_engine.ports import FlowSource

_HEAD = "HEAD"
_REVISION = "R#"
_ALL = "F#"
_LISTENS = "L#"

# Holds when the flow has no revision yet.
_FIRST = "attribute_not_exists(pk)"
# Holds while the revision that was read is still the latest.
_UNCHANGED = "revision = :revision"
# Holds unless somebody else copied this revision before, which then says the same.
_NOT_KEPT = "attribute_not_exists(pk)"
# Holds unless a later revision says that it listens, too.
_LISTENS_FIRST = "attribute_not_exists(pk) OR revision < :revision"
# Holds unless a later revision says that it listens.
_LISTENED_BEFORE = "revision < :revision"


class DynamoFlows:
    """`Flows` in *table*.

    `get` and `revisions` are strongly consistent. `list` finds flows in an index, which follows the table within a
    moment; their sources are read from the table. Of each flow whose latest revision may hold a Flow trigger, a mark
    says so: it is there before the revision is, and goes after it.
    """

    _KIND = "F#"
    """What the keys of one begin with."""
    _LISTED = "F#0"
    _CHANGED = (_ALL, "CHANGED")

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
            if self._may_listen(source):
                self._listens(flow)
            if self._replace(head, flow):
                self._note(now)
                if not self._may_listen(source):
                    self._listens_no_more(flow)
                return flow

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`. One read unit for 4 KiB of an earlier revision; twice for one that never was."""
        if revision is None:
            head = self._head(namespace, flow_id)
            return None if head is None else self._flow(head)
        # Earlier ones never change; the latest is copied before it is replaced, so one of two reads finds it.
        kept = self._table.get(self._partition(namespace, flow_id), _sort(revision))
        if kept is None:
            kept = self._head(namespace, flow_id)
            if kept is not None and int(kept["revision"]["N"]) > revision:
                kept = self._table.get(self._partition(namespace, flow_id), _sort(revision))
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
            self._partition(namespace, flow_id),
            "sk BETWEEN :first AND :last",
            {":first": text(_sort(0)), ":last": text(_sort(latest.revision - 1))},
        )
        return [*map(self._flow, kept), latest]

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        """See `Flows.list`."""
        flows = self.latest(self.names(namespace_prefix))
        return sorted(flows, key=lambda flow: (flow.namespace, flow.id))

    def names(self, namespace_prefix: str = "") -> Sequence[tuple[str, str]]:
        """See `Flows.names`. A query of the index, which holds nothing but these; one page is about 10,000 flows."""
        prefixes = (f"{namespace_prefix}/", f"{namespace_prefix}.") if namespace_prefix else ("",)
        names: builtins.list[tuple[str, str]] = []
        for prefix in prefixes:
            condition, values = ("begins_with(#sort, :prefix)", {":prefix": text(prefix)}) if prefix else ("", {})
            found = self._table.index(LISTS, self._LISTED, condition, values)
            names += [self._name(item) for item in found]
        return sorted(names)

    def latest(self, names: Sequence[tuple[str, str]]) -> Sequence[FlowSource]:
        """See `Flows.latest`. A request for each hundred."""
        flows = [self._flow(item) for item in self._table.get_many([(self._partition(*name), _HEAD) for name in names])]
        return [flow for flow in flows if not flow.deleted]

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
                self._listens_no_more(deleted)
                return True

    def _may_listen(self, source: str) -> bool:
        return mentions_flow_trigger(source)

    def any_listens(self) -> bool:
        """Return whether any flow may hold a Flow trigger. Strongly consistent; one read unit."""
        return self._table.has(_ALL, "begins_with(sk, :listens)", {":listens": text(_LISTENS)})

    def _listens(self, flow: FlowSource) -> None:
        item = {**key(_ALL, _mark(flow)), "revision": number(flow.revision)}
        with contextlib.suppress(ConditionFailedError):
            self._table.put(item, _LISTENS_FIRST, {":revision": number(flow.revision)})

    def _listens_no_more(self, flow: FlowSource) -> None:
        # Most flows never did, so it is looked for first: a read costs a fifth.
        if self._table.get(_ALL, _mark(flow)) is not None:
            with contextlib.suppress(ConditionFailedError):
                self._table.delete(_ALL, _mark(flow), _LISTENED_BEFORE, {":revision": number(flow.revision)})

    def changed(self) -> datetime | None:
        """See `Flows.changed`. One read unit."""
        item = self._table.get(*self._CHANGED)
        return optional_instant(item, "at") if item is not None else None

    def _note(self, now: datetime) -> None:
        # Without a condition: any other instant than the last one says that something has changed.
        self._table.put({**key(*self._CHANGED), "at": text(sort_text(now))})

    def _head(self, namespace: str, flow_id: str) -> Item | None:
        return self._table.get(self._partition(namespace, flow_id), _HEAD)

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
            **key(self._partition(flow.namespace, flow.id), _HEAD),
            "revision": number(flow.revision),
            **self._overflow.keep(f"{self._KIND.replace('#', '/')}{name}/{hashlib.sha256(source).hexdigest()}", source),
        }
        if flow.updated is not None:
            item["updated"] = text(sort_text(flow.updated))
        if flow.deleted:
            return {**item, "deleted": {"BOOL": True}}
        return {**item, "lpk": text(self._LISTED), "lsk": text(name)}

    def _flow(self, item: Item) -> FlowSource:
        namespace, flow_id = self._name(item)
        return FlowSource(
            namespace,
            flow_id,
            int(item["revision"]["N"]),
            self._overflow.load(item).decode("utf-8", "surrogatepass"),
            "deleted" in item,
            optional_instant(item, "updated"),
        )

    def _partition(self, namespace: str, flow_id: str) -> str:
        return f"{self._KIND}{namespace}/{flow_id}"

    def _name(self, item: Item) -> tuple[str, str]:
        namespace, _, flow_id = item["pk"]["S"].removeprefix(self._KIND).partition("/")
        return namespace, flow_id


class DynamoTemplates(DynamoFlows):
    """The same of templates, in which no trigger stands. Their keys are of the flows' kind: no namespace has a `~`."""

    _KIND = "F#~"
    _LISTED = "F#1"
    _CHANGED = (_ALL, "TEMPLATES")

    def _may_listen(self, source: str) -> bool:
        del source
        return False

    def _listens_no_more(self, flow: FlowSource) -> None:
        """The mark of that name would be a flow's."""


def _mark(flow: FlowSource) -> str:
    return f"{_LISTENS}{flow.namespace}/{flow.id}"


def _sort(revision: int) -> str:
    return f"{_REVISION}{revision:08d}"
