"""The `worker` function: one dispatched attempt of a task type of ours for each invocation.

`purger` is the same with another role: the task type that removes executions runs there, and no other; and the API has
it delete those that somebody asks it to delete.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from headrace_engine.adapters.aws.deletion import AT_ONCE, deletion_asked
from headrace_engine.adapters.aws.dispatch import invocation
from headrace_engine.deletion import Deletion, delete
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.ports import Claims, Job, PortError
from headrace_engine.run_context import WorkerContext
from headrace_engine.worker import Worker
from headrace_functions.observability import logger
from headrace_functions.wiring import Wiring, remaining, wiring

_MARGIN = timedelta(seconds=15)
"""Before the function's time is over: to end what runs, keep its logs and report."""
_LOOK = timedelta(seconds=5)
"""How often the claim is looked at for a request to stop."""
_WAITED_FOR = timedelta(seconds=10)
"""For how long the API, which has to answer itself, waits while executions are deleted."""


def handler(event: Mapping[str, Any], context: Any) -> Sequence[str] | None:
    """Run the attempt the event holds, unless somebody has; or delete what it names, and return what is left."""
    return handle(wiring(), event, context)


def handle(wired: Wiring, event: Mapping[str, Any], context: Any) -> Sequence[str] | None:
    """Do what `handler` does, on *wired*."""
    if (deletion := deletion_asked(event)) is not None:
        return _delete(wired, deletion, context)
    called = invocation(event, fetch_stored=wired.content.get)
    job = called.job
    end = remaining(context, wired.clock.now(), timedelta(0))

    def execute(job: Job) -> AttemptResult:
        return run_watched(wired.engine.worker, job, wired.claims, end - _MARGIN - wired.clock.now())

    logger.info("Running", extra={"execution": job.attempt.execution_id, "task": job.task_id, "type": job.type})
    # The request's id names this invocation; Lambda gives the same one when it repeats it.
    wired.invocations.work(job, context.aws_request_id, execute, deadline=end)
    return None


def _delete(wired: Wiring, deletion: Deletion, context: Any) -> Sequence[str]:
    """Delete executions, as long as whoever asked waits, or this function may run; return those that are left."""
    waits = len(deletion.execution_ids) <= AT_ONCE
    end = remaining(context, wired.clock.now(), _MARGIN)
    if waits:
        end = min(end, wired.clock.now() + _WAITED_FOR)
    left = delete(wired.engine.platform, deletion, goes_on=lambda: wired.clock.now() < end)
    if left and not waits:
        logger.error("Executions were not deleted: ask again", extra={"executions": list(left)})
    return left


Wait = Callable[[threading.Event, timedelta], bool]
"""Waits until the event is set, and then returns True, or until the time has passed."""


def wait_for(event: threading.Event, length: timedelta) -> bool:
    """Wait by the machine's clock."""
    return event.wait(length.total_seconds())


def run_watched(
    worker: Worker,
    job: Job,
    claims: Claims,
    lease: timedelta,
    *,
    placement: Mapping[str, Any] | None = None,
    wait: Wait = wait_for,
    on_process_group: Callable[[int], None] | None = None,
) -> AttemptResult:
    """Run *job* for at most *lease*, while the claim is watched for a request to stop it."""
    over = threading.Event()

    def watch(context: WorkerContext) -> None:
        while not wait(over, _LOOK):
            try:
                claim = claims.get(job.attempt)
            except PortError:
                continue  # the next look may succeed
            if claim is not None and claim.stop_requested:
                context.stop()
                return

    def begin(context: WorkerContext) -> None:
        threading.Thread(target=watch, args=(context,), name="supervisor", daemon=True).start()

    try:
        return worker.run(job, lease=lease, on_context=begin, on_process_group=on_process_group, placement=placement)
    finally:
        over.set()
