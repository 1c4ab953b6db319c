"""What is remembered of triggers, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_engine.ports import TriggerChangedError, TriggerRecord


class MemoryTriggers:
    """`Triggers` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str, str], TriggerRecord] = {}

    def get(self, namespace: str, flow_id: str, trigger_id: str) -> TriggerRecord:
        """See `Triggers.get`."""
        with self._lock:
            stored = self._records.get((namespace, flow_id, trigger_id))
        return stored if stored is not None else TriggerRecord(namespace, flow_id, trigger_id)

    def put(self, record: TriggerRecord) -> TriggerRecord:
        """See `Triggers.put`."""
        key = (record.namespace, record.flow_id, record.trigger_id)
        with self._lock:
            stored = self._records.get(key)
            if (stored.version if stored is not None else 0) != record.version:
                raise TriggerChangedError(record, stored)
            written = self._records[key] = replace(record, version=record.version + 1)
            return written

    def list(self, namespace: str, flow_id: str) -> Sequence[TriggerRecord]:
        """See `Triggers.list`."""
        with self._lock:
            return [self._records[key] for key in sorted(self._records) if key[:2] == (namespace, flow_id)]

    def due(self, now: datetime) -> Iterator[TriggerRecord]:
        """See `Triggers.due`."""
        with self._lock:
            found = [
                (record.due, key, record)
                for key, record in self._records.items()
                if record.due is not None and record.due <= now and not record.disabled
            ]
        return (record for _, _, record in sorted(found, key=lambda each: each[:2]))

    def delete(self, namespace: str, flow_id: str, trigger_id: str) -> None:
        """See `Triggers.delete`."""
        with self._lock:
            self._records.pop((namespace, flow_id, trigger_id), None)
