"""The key-value store in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.ports import KeyExistsError, KVEntry


class MemoryKV:
    """`KV` in a dictionary. Values are kept as JSON text, so that nobody changes one by holding on to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], KVEntry] = {}

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
        text = json.dumps(value)
        with self._lock:
            stored = self._entries.get((namespace, key))
            if stored is not None and stored.expires is not None and stored.expires <= now:
                stored = None
            if stored is not None and not overwrite:
                raise KeyExistsError(f"Key {key} exists in namespace {namespace}")
            self._entries[namespace, key] = KVEntry(
                namespace,
                key,
                kind,
                text,
                created=now if stored is None else stored.created,
                updated=now,
                expires=None if ttl is None else now + ttl,
            )

    def get(self, namespace: str, key: str) -> KVEntry | None:
        """See `KV.get`."""
        with self._lock:
            stored = self._entries.get((namespace, key))
        return None if stored is None else _loaded(stored)

    def delete(self, namespace: str, key: str) -> bool:
        """See `KV.delete`."""
        with self._lock:
            return self._entries.pop((namespace, key), None) is not None

    def list(self, namespace: str, prefix: str = "") -> Sequence[KVEntry]:
        """See `KV.list`."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.namespace == namespace]
        return [_loaded(entry) for entry in sorted(found, key=lambda entry: entry.key) if entry.key.startswith(prefix)]

    def forget(self, namespace: str, now: datetime, *, at_most: int) -> int:
        """See `KV.forget`."""
        with self._lock:
            gone = [
                place
                for place, entry in self._entries.items()
                if place[0] == namespace and entry.expires is not None and entry.expires <= now
            ][:at_most]
            for place in gone:
                del self._entries[place]
        return len(gone)


def _loaded(entry: KVEntry) -> KVEntry:
    return replace(entry, value=json.loads(entry.value))
