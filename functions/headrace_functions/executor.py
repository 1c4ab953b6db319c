"""The `executor` function: messages of the mailbox, to the executions they are for (DESIGN §6).

A batch holds messages of several executions; those are handled side by side, each one's together and in order. What
could not be handled comes again, all of its execution's with it; the others' are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from headrace_engine.adapters.aws.events import SqsRecord, sqs_batch
from headrace_engine.adapters.aws.signing import ForgedError
from headrace_functions.forgeries import refuse
from headrace_functions.observability import logger
from headrace_functions.wiring import Wiring, remaining, wiring

_MARGIN = timedelta(seconds=20)
"""Before the function's time is over, for the light tasks that run (10 s at most) and what is left to write."""
_THREADS = 10


@dataclass(slots=True)
class _Turn:
    """What came for one execution."""

    execution_id: str
    records: list[SqsRecord] = field(default_factory=list)


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch of the mailbox's messages; say which must come again."""
    return handle(wiring(), event, context)


def handle(
    wired: Wiring, event: Mapping[str, Any], context: Any, *, pool: futures.Executor | None = None
) -> dict[str, Any]:
    """Do what `handler` does, on *wired*; with the threads of *pool*, or of its own for several executions."""
    turns: dict[str, _Turn] = {}
    for record in sqs_batch(event).records:
        group = record.group or ""
        turns.setdefault(group, _Turn(group)).records.append(record)
    failed = _together(wired, list(turns.values()), context, pool)
    logger.info("Handled", extra={"executions": len(turns), "failed": len(failed)})
    return {"batchItemFailures": [{"itemIdentifier": record.message_id} for record in failed]}


def _together(wired: Wiring, turns: Sequence[_Turn], context: Any, pool: futures.Executor | None) -> list[SqsRecord]:
    if len(turns) == 1:
        return _take(wired, turns[0], context)
    if pool is not None:
        return [record for failed in pool.map(lambda turn: _take(wired, turn, context), turns) for record in failed]
    with futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="executions") as threads:
        return _together(wired, turns, context, threads)


def _take(wired: Wiring, turn: _Turn, context: Any) -> list[SqsRecord]:
    """Handle what came for one execution; return what must come again."""
    try:
        messages = []
        for record in turn.records:
            try:
                messages.append(wired.inbox.open(record).message)
            except ForgedError as forged:
                # It does not get better by coming again.
                refuse(wired, forged, record.message_id)
        if messages:
            yield_at = remaining(context, wired.clock.now(), _MARGIN)
            wired.invocations.advance(turn.execution_id, messages, yield_at=yield_at)
    except Exception:  # noqa: BLE001  # whatever it is, it must not stop the other executions of the batch
        logger.exception("Messages could not be handled", extra={"execution": turn.execution_id})
        return turn.records
    return []
