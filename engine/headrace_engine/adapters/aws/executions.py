"""Summaries of executions in DynamoDB, and the indexes by which they are listed and swept."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    DUE,
    LISTS,
    ConditionFailedError,
    Item,
    Table,
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
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary

SHARDS = 8
_SUMMARY = "E"
_PAGE = 100
"""Summaries the iterators read at once."""

_NEVER = "~"
"""Stands for a wake_by that is not set; comes after every instant."""

# Holds when the stored summary is older, or there is none; the same seq says the same, a higher one knows more.
_OLDER = "attribute_not_exists(pk) OR seq < :seq"


class DynamoExecutions:
    """`Executions` in *table*.

    `open`, `due` and `search` find keys in an index, which follows the table within a moment, and read the summaries
    from the table: what they give is as it stands. What the index does not know yet is missed; the next sweep has it.
    A put costs one write unit for the summary, one for the list when the execution is new or has another state, and one
    or two when it becomes open, is to be woken at another time, or ends.
    """

    def __init__(self, table: Table, overflow: Overflow) -> None:
        self._table = table
        self._overflow = overflow

    def put(self, summary: ExecutionSummary) -> None:
        """See `Executions.put`."""
        item = self._item(summary)
        try:
            replaced = self._table.put(item, _OLDER, {":seq": number(summary.seq)}, old=True)
        except ConditionFailedError as refusal:
            self._overflow.drop(item, unless=refusal.stored)
            return
        self._overflow.drop(replaced)

    def get(self, execution_id: str) -> ExecutionSummary | None:
        """See `Executions.get`. Strongly consistent."""
        item = self._table.get(_partition(execution_id), _SUMMARY)
        return None if item is None else self._summary(item)

    def open(self) -> Iterator[ExecutionSummary]:
        """See `Executions.open`."""
        found = sorted(tuple(item["dsk"]["S"].split("#", 2)[1:]) for n in range(SHARDS) for item in self._due(n))
        for summary in self._summaries(execution_id for _, execution_id in found):
            if summary.end is None or summary.wake_by is not None:
                yield summary

    def due(self, now: datetime) -> Iterator[ExecutionSummary]:
        """See `Executions.due`."""
        # '~' follows the '#' that ends an instant: whatever is due at *now* comes before.
        end = {":end": text(f"{sort_text(now)}~")}
        found = sorted(item["dsk"]["S"] for n in range(SHARDS) for item in self._due(n, "#sort < :end", end))
        for summary in self._summaries(each.split("#", 2)[2] for each in found):
            if summary.wake_by is not None and summary.wake_by <= now:
                yield summary

    def _due(self, number: int, condition: str = "", values: Item | None = None) -> Iterator[Item]:
        return self._table.index(DUE, f"E#{number}", condition, values)

    def search(
        self,
        *,
        namespace: str | None = None,
        flow_id: str | None = None,
        states: Sequence[State] = (),
        limit: int = 10,
        offset: int = 0,
    ) -> tuple[Sequence[ExecutionSummary], int]:
        """See `Executions.search`. The total makes it read the index of all that is found, some 150 bytes each."""
        total = 0

        def matches() -> Iterator[tuple[str, str]]:
            nonlocal total
            wanted = [state.value for state in states]
            for begin in _beginnings(namespace, flow_id):
                condition, values = ("begins_with(#sort, :begin)", {":begin": text(begin)}) if begin else ("", {})
                for n in range(SHARDS):
                    for item in self._table.index(LISTS, f"E#{n}", condition, values, states=wanted):
                        flow, start, execution_id = item["lsk"]["S"].split("#", 2)
                        if flow_id is None or flow.rpartition("/")[2] == flow_id:
                            total += 1
                            yield start, execution_id

        # All are counted, even when none is wanted.
        newest = heapq.nlargest(max(1, offset + limit), matches())
        page = list(self._summaries(execution_id for _, execution_id in newest[offset : offset + limit]))
        return page, total

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        self._overflow.drop(self._table.delete(_partition(execution_id), _SUMMARY))

    def _summaries(self, execution_ids: Iterable[str]) -> Iterator[ExecutionSummary]:
        """Yield the summaries that are there, in this order, a page at a time."""
        wanted = list(execution_ids)
        for begin in range(0, len(wanted), _PAGE):
            keys = [(_partition(each), _SUMMARY) for each in wanted[begin : begin + _PAGE]]
            yield from [self._summary(item) for item in self._table.get_many(keys)]

    def _item(self, summary: ExecutionSummary) -> dict[str, Any]:
        where = f"E#{shard(summary.id, SHARDS)}"
        start = sort_text(summary.start)
        item: dict[str, Any] = {
            **key(_partition(summary.id), _SUMMARY),
            "namespace": text(summary.namespace),
            "flow": text(summary.flow_id),
            "revision": number(summary.flow_revision),
            "state": text(summary.state.value),
            "seq": number(summary.seq),
            "start": text(start),
            "lpk": text(where),
            "lsk": text(f"{summary.namespace}/{summary.flow_id}#{start}#{summary.id}"),
        }
        if summary.end is not None:
            item["end"] = text(sort_text(summary.end))
        if summary.wake_by is not None:
            item["wake_by"] = text(sort_text(summary.wake_by))
        if summary.end is None or summary.wake_by is not None:
            wake = _NEVER if summary.wake_by is None else sort_text(summary.wake_by)
            item |= {"dpk": text(where), "dsk": text(f"{wake}#{start}#{summary.id}")}
        if summary.parent_id is not None:
            item["parent"] = text(summary.parent_id)
        if summary.trigger_id is not None:
            item["trigger"] = text(summary.trigger_id)
        if summary.labels:
            labels = json.dumps(dict(summary.labels), ensure_ascii=False).encode("utf-8", "surrogatepass")
            item |= self._overflow.keep(f"E/{summary.id}/{new_id()}", labels)
        return item

    def _summary(self, item: Item) -> ExecutionSummary:
        labels = {}
        if "data" in item or "at" in item:
            labels = json.loads(self._overflow.load(item).decode("utf-8", "surrogatepass"))
        return ExecutionSummary(
            id=item["pk"]["S"].split("#", 1)[1],
            namespace=item["namespace"]["S"],
            flow_id=item["flow"]["S"],
            flow_revision=int(item["revision"]["N"]),
            state=State(item["state"]["S"]),
            seq=int(item["seq"]["N"]),
            start=instant(item["start"]["S"]),
            end=optional_instant(item, "end"),
            wake_by=optional_instant(item, "wake_by"),
            labels=labels,
            parent_id=optional_text(item, "parent"),
            trigger_id=optional_text(item, "trigger"),
        )


def _beginnings(namespace: str | None, flow_id: str | None) -> tuple[str, ...]:
    """Return how the list's keys of what is searched begin: a namespace's own, and those below it."""
    if namespace is None:
        return ("",)
    return (f"{namespace}/" if flow_id is None else f"{namespace}/{flow_id}#", f"{namespace}.")


def _partition(execution_id: str) -> str:
    return f"E#{execution_id}"
