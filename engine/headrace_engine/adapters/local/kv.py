"""The key-value store in SQLite."""

from __future__ import annotations

import builtins
import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import (
    to_instant,
    to_number,
    to_optional_instant,
    to_optional_number,
)
from headrace_engine.ports import KeyExistsError, KVEntry

_PUT = """
INSERT INTO kv (namespace, key, kind, value, created, updated, expires)
VALUES (:namespace, :key, :kind, :value, :now, :now, :expires)
ON CONFLICT (namespace, key) DO UPDATE SET
    kind = excluded.kind,
    value = excluded.value,
    -- An expired entry counts as gone: what replaces it is created now.
    created = CASE WHEN kv.expires <= :now THEN :now ELSE kv.created END,
    updated = excluded.updated,
    expires = excluded.expires
-- Holds when the caller may overwrite, or the entry that stands there has expired.
WHERE :overwrite OR kv.expires <= :now
"""


class SqliteKV:
    """`KV` in *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
    ) -> None:
        """See `KV.put`."""
        parameters = {
            "namespace": namespace,
            "key": key,
            "kind": kind,
            "value": json.dumps(value),
            "now": to_number(now),
            "expires": to_optional_number(None if ttl is None else now + ttl),
            "overwrite": overwrite,
        }

        def upsert(writer: sqlite3.Connection) -> None:
            if writer.execute(_PUT, parameters).rowcount != 1:
                raise KeyExistsError(f"Key {key} exists in namespace {namespace}")

        self._database.write(upsert)

    def get(self, namespace: str, key: str) -> KVEntry | None:
        """See `KV.get`."""
        row = self._database.row(
            "SELECT namespace, key, kind, value, created, updated, expires FROM kv WHERE namespace = ? AND key = ?",
            (namespace, key),
        )
        return None if row is None else _entry(row)

    def delete(self, namespace: str, key: str) -> bool:
        """See `KV.delete`."""
        return self._database.write(
            lambda writer: (
                writer.execute("DELETE FROM kv WHERE namespace = ? AND key = ?", (namespace, key)).rowcount == 1
            )
        )

    def list(self, namespace: str, prefix: str = "") -> Sequence[KVEntry]:
        """See `KV.list`."""
        rows: builtins.list[tuple[Any, ...]] = self._database.rows(
            "SELECT namespace, key, kind, value, created, updated, expires FROM kv"
            " WHERE namespace = ? AND substr(key, 1, ?) = ? ORDER BY key",
            (namespace, len(prefix), prefix),
        )
        return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> KVEntry:
    namespace, key, kind, value, created, updated, expires = row
    return KVEntry(
        namespace, key, kind, json.loads(value), to_instant(created), to_instant(updated), to_optional_instant(expires)
    )
