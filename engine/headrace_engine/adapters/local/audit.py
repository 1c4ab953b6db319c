"""The audit in SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import to_instant, to_number
from headrace_engine.ports import AuditRecord

_PAGE = 200
_COLUMNS = "at, id, who, kind, client, action, target, namespace, token, status, notes"

# Those before a place come by the key, backwards: a page costs what it holds.
_READ = f"""
SELECT {_COLUMNS} FROM audit
WHERE at >= :start AND (at, id) < (:at, :id)
ORDER BY at DESC, id DESC LIMIT {_PAGE}
"""  # noqa: S608 - constants of this module


class SqliteAudit:
    """`Audit` in *database*. A record rides on the next commit: that of the change it is about, or one soon after."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, record: AuditRecord) -> None:
        """See `Audit.write`."""
        values = (
            to_number(record.at),
            record.id,
            record.who,
            record.kind,
            record.client,
            record.action,
            record.target,
            record.namespace,
            record.token,
            record.status,
            json.dumps(record.notes),
        )
        self._database.later(
            lambda writer: writer.execute(
                f"INSERT OR REPLACE INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - as above
                values,
            )
        )

    def read(
        self, *, start: datetime, end: datetime, before: tuple[datetime, str] | None = None
    ) -> Iterator[AuditRecord]:
        """See `Audit.read`."""
        self._database.flush()
        # No id is empty, so what is at *end* itself does not come before it.
        at, id_ = min((to_number(end), ""), (to_number(before[0]), before[1])) if before else (to_number(end), "")
        while True:
            rows = self._database.rows(_READ, {"start": to_number(start), "at": at, "id": id_})
            yield from map(_record, rows)
            if len(rows) < _PAGE:
                return
            at, id_ = rows[-1][:2]

    def forget(self, before: datetime) -> int:
        """See `Audit.forget`."""
        return self._database.write(
            lambda writer: writer.execute("DELETE FROM audit WHERE at < ?", (to_number(before),)).rowcount
        )


def _record(row: tuple[Any, ...]) -> AuditRecord:
    at, id_, who, kind, client, action, target, namespace, token, status, notes = row
    return AuditRecord(
        to_instant(at), id_, who, kind, client, action, target, namespace, token, status, tuple(json.loads(notes))
    )
