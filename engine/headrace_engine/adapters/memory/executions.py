"""Summaries of executions in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime

from headrace_engine.model.search import EVERY, NEWEST, ExecutionQuery, Order, in_order
from headrace_engine.model.state import State
from headrace_engine.ports import DayTally, ExecutionPage, ExecutionSummary


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
        query: ExecutionQuery = EVERY,
        *,
        order: Sequence[Order] = NEWEST,
        limit: int = 10,
        offset: int = 0,
        after: str = "",
    ) -> ExecutionPage:
        """See `Executions.search`. The cursor is the last start and id."""
        found = in_order([summary for summary in self._all() if query.matches(summary)], order)
        begin = 0
        if after:
            start, _, execution_id = after.partition("~")
            place = (datetime.fromisoformat(start), execution_id)
            begin = sum((each.start, each.id) >= place for each in found)
        page = found[begin + offset : begin + offset + limit]
        goes_on = tuple(order) == NEWEST and page and begin + offset + limit < len(found)
        return ExecutionPage(
            page, len(found), after=f"{page[-1].start:%Y-%m-%dT%H:%M:%S.%fZ}~{page[-1].id}" if goes_on else ""
        )

    def daily(self, query: ExecutionQuery) -> Sequence[DayTally]:
        """See `Executions.daily`."""
        groups: dict[tuple[date, str, str, State], list[float]] = {}
        for each in self._all():
            if query.matches(each):
                key = (each.start.date(), each.namespace, each.flow_id, each.state)
                seconds = groups.setdefault(key, [])
                seconds.append((each.end - each.start).total_seconds() if each.end is not None else -1.0)
        tallies = []
        for key, took in sorted(groups.items()):
            ended = [seconds for seconds in took if seconds >= 0] or [0.0]
            tallies.append(DayTally(*key, len(took), sum(ended), min(ended), max(ended)))
        return tallies

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        with self._lock:
            self._summaries.pop(execution_id, None)

    def _all(self) -> list[ExecutionSummary]:
        with self._lock:
            return list(self._summaries.values())
