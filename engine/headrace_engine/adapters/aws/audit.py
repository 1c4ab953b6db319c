"""The audit in DynamoDB: a partition a month, in shards."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_engine.adapters.aws.table import Item, Table, instant, key, number, shard, sort_text, text
from headrace_engine.ports import AUDIT_KEPT, AuditRecord

SHARDS = 4
_TEXTS = ("who", "kind", "client", "action", "target", "namespace", "token")


class DynamoAudit:
    """`Audit` in *table*; a record costs a write unit, and goes by itself when it is older than *kept*."""

    def __init__(self, table: Table, kept: timedelta = AUDIT_KEPT, *, page: int = 100) -> None:
        self._table = table
        self._kept = kept
        self._page = page

    def write(self, record: AuditRecord) -> None:
        """See `Audit.write`."""
        item: dict[str, Any] = {
            **key(_partition(record.at, shard(record.id, SHARDS)), _sort(record.at, record.id)),
            "ttl": number(int((record.at + self._kept).timestamp())),
            **{name: text(value) for name in _TEXTS if (value := str(getattr(record, name)))},
        }
        if record.status:
            item["status"] = number(record.status)
        if record.notes:
            item["notes"] = {"L": [text(note) for note in record.notes]}
        self._table.put(item)

    def read(
        self, *, start: datetime, end: datetime, before: tuple[datetime, str] | None = None
    ) -> Iterator[AuditRecord]:
        """See `Audit.read`. Four queries a month, from the newest on."""
        last = _sort(end, "")
        if end <= start:
            return
        if before is not None:
            last = min(last, _sort(*before))
            end = min(end, max(start, before[0]))
        values = {":start": text(sort_text(start)), ":last": text(last)}
        month = end.astimezone(UTC)
        while (month.year, month.month) >= (start.astimezone(UTC).year, start.astimezone(UTC).month):
            shards = [
                self._table.query(
                    _partition(month, n), "sk BETWEEN :start AND :last", values, last_first=True, page=self._page
                )
                for n in range(SHARDS)
            ]
            for item in heapq.merge(*shards, key=_place, reverse=True):
                if item["sk"]["S"] != last:
                    yield _record(item)
            month = month.replace(day=1) - timedelta(days=1)

    def forget(self, before: datetime) -> int:
        """See `Audit.forget`. DynamoDB removes them."""
        del before
        return 0


def _partition(month: datetime, n: int) -> str:
    return f"A#{month.astimezone(UTC):%Y-%m}#{n}"


def _sort(at: datetime, id_: str) -> str:
    return f"{sort_text(at)}#{id_}"


def _place(item: Item) -> str:
    place: str = item["sk"]["S"]
    return place


def _record(item: Item) -> AuditRecord:
    at, _, id_ = item["sk"]["S"].partition("#")
    texts = {name: item[name]["S"] if name in item else "" for name in _TEXTS}
    notes = tuple(note["S"] for note in item["notes"]["L"]) if "notes" in item else ()
    status = int(item["status"]["N"]) if "status" in item else 0
    return AuditRecord(at=instant(at), id=id_, status=status, notes=notes, **texts)
