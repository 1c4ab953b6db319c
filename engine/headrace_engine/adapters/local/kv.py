"""The key-value store in SQLite."""

from __future__ import annotations

import builtins
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
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

_FORGET = """
DELETE FROM kv WHERE namespace = ?1 AND key IN (
    SELECT key FROM kv INDEXED BY kv_that_expires
    WHERE namespace = ?1 AND expires IS NOT NULL AND expires <= ?2 ORDER BY expires LIMIT ?3
)
"""


_HASTY = 256
"""Keys above which those are forgotten that need no more waiting."""


class SqliteKV:
    """`KV` in *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._hasty: dict[tuple[str, str], Callable[[], bool]] = {}
        """The keys whose values nobody waited for, and what tells whether they are where they are read."""

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

        # Whether a key is there is known once it is written.
        if durable or not overwrite:
            self._database.write(upsert)
        else:
            with self._lock:  # of two that write a key, the one that is queued last is waited for
                self._hasty[namespace, key] = self._database.later(upsert)
                if len(self._hasty) > _HASTY:
                    self._hasty = {name: is_settled for name, is_settled in self._hasty.items() if not is_settled()}

    def get(self, namespace: str, key: str) -> KVEntry | None:
        """See `KV.get`."""
        with self._lock:
            is_settled = self._hasty.get((namespace, key))
        if is_settled is not None and not is_settled():
            self._database.flush()
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
        with self._lock:
            waited_for = list(self._hasty.values())
        if not all(is_settled() for is_settled in waited_for):
            self._database.flush()
        rows: builtins.list[tuple[Any, ...]] = self._database.rows(
            "SELECT namespace, key, kind, value, created, updated, expires FROM kv"
            " WHERE namespace = ? AND substr(key, 1, ?) = ? ORDER BY key",
            (namespace, len(prefix), prefix),
        )
        return [_entry(row) for row in rows]

    def forget(self, namespace: str, now: datetime, *, at_most: int) -> int:
        """See `KV.forget`. It reads what has expired, and no more."""
        return self._database.write(
            lambda writer: writer.execute(_FORGET, (namespace, to_number(now), at_most)).rowcount
        )


def _entry(row: tuple[Any, ...]) -> KVEntry:
    namespace, key, kind, value, created, updated, expires = row
    return KVEntry(
        namespace, key, kind, json.loads(value), to_instant(created), to_instant(updated), to_optional_instant(expires)
    )
