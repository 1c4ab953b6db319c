"""Flow revisions in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from headrace_engine.adapters.memory.namespaces import is_within
from headrace_engine.ports import FlowSource


class MemoryFlows:
    """`Flows` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flows: dict[tuple[str, str], tuple[FlowSource, ...]] = {}
        self._changed: datetime | None = None

    def save(self, namespace: str, flow_id: str, source: str, now: datetime) -> FlowSource:
        """See `Flows.save`."""
        with self._lock:
            stored = self._flows.get((namespace, flow_id), ())
            if stored and not stored[-1].deleted and stored[-1].source == source:
                return stored[-1]
            flow = FlowSource(namespace, flow_id, len(stored) + 1, source, updated=now)
            self._flows[namespace, flow_id] = (*stored, flow)
            self._changed = now
            return flow

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`."""
        stored = self.revisions(namespace, flow_id)
        if revision is None:
            return stored[-1] if stored else None
        return stored[revision - 1] if 1 <= revision <= len(stored) else None

    def revisions(self, namespace: str, flow_id: str) -> Sequence[FlowSource]:
        """See `Flows.revisions`."""
        with self._lock:
            return self._flows.get((namespace, flow_id), ())

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        """See `Flows.list`."""
        with self._lock:
            latest = [self._flows[key][-1] for key in sorted(self._flows)]
        return [
            flow
            for flow in latest
            if not flow.deleted and (not namespace_prefix or is_within(flow.namespace, namespace_prefix))
        ]

    def names(self, namespace_prefix: str = "") -> Sequence[tuple[str, str]]:
        """See `Flows.names`."""
        return [(flow.namespace, flow.id) for flow in MemoryFlows.list(self, namespace_prefix)]

    def latest(self, names: Sequence[tuple[str, str]]) -> Sequence[FlowSource]:
        """See `Flows.latest`."""
        found = [self.get(*name) for name in names]
        return [flow for flow in found if flow is not None and not flow.deleted]

    def delete(self, namespace: str, flow_id: str, now: datetime) -> bool:
        """See `Flows.delete`."""
        with self._lock:
            stored = self._flows.get((namespace, flow_id), ())
            if not stored or stored[-1].deleted:
                return False
            deleted = replace(stored[-1], revision=len(stored) + 1, deleted=True, updated=now)
            self._flows[namespace, flow_id] = (*stored, deleted)
            self._changed = now
            return True

    def changed(self) -> datetime | None:
        """See `Flows.changed`."""
        with self._lock:
            return self._changed
