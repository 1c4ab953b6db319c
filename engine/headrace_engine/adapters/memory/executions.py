"""Summaries of executions in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_engine.adapters.memory.namespaces import is_within
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary


class MemoryExecutions:
    """`Executions` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._summaries: dict[str, ExecutionSummary] = {}

    def put(self, summary: ExecutionSummary) -> None:
        """See `Executions.put`."""
        with self._lock:
            stored = self._summaries.get(summary.id)
            if stored is None or summary.seq > stored.seq:
                self._summaries[summary.id] = replace(summary, labels=dict(summary.labels))

    def get(self, execution_id: str) -> ExecutionSummary | None:
        """See `Executions.get`."""
        with self._lock:
            return self._summaries.get(execution_id)

    def open(self) -> Iterator[ExecutionSummary]:
        """See `Executions.open`."""
        found = [summary for summary in self._all() if summary.end is None or summary.wake_by is not None]
        return iter(sorted(found, key=lambda summary: (summary.start, summary.id)))

    def due(self, now: datetime) -> Iterator[ExecutionSummary]:
        """See `Executions.due`."""
        found = [
            (summary.wake_by, summary.id, summary)
            for summary in self._all()
            if summary.wake_by is not None and summary.wake_by <= now
        ]
        return (summary for _, _, summary in sorted(found, key=lambda each: each[:2]))

    def search(
        self,
        *,
        namespace: str | None = None,
        flow_id: str | None = None,
        states: Sequence[State] = (),
        limit: int = 10,
        offset: int = 0,
    ) -> tuple[Sequence[ExecutionSummary], int]:
        """See `Executions.search`."""
        found = [
            summary
            for summary in self._all()
            if (namespace is None or is_within(summary.namespace, namespace))
            and (flow_id is None or summary.flow_id == flow_id)
            and (not states or summary.state in states)
        ]
        found.sort(key=lambda summary: (summary.start, summary.id), reverse=True)
        return found[offset : offset + limit], len(found)

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        with self._lock:
            self._summaries.pop(execution_id, None)

    def _all(self) -> list[ExecutionSummary]:
        with self._lock:
            return list(self._summaries.values())
