"""The `worker` function: one dispatched attempt of a task type of ours for each invocation.

`purger` is the same with another role: the task type that removes executions runs there, and no other.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from headrace_engine.adapters.aws.dispatch import invocation
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


def handler(event: Mapping[str, Any], context: Any) -> None:
    """Run the attempt the event holds, unless somebody has."""
    handle(wiring(), event, context)


def handle(wired: Wiring, event: Mapping[str, Any], context: Any) -> None:
    """Do what `handler` does, on *wired*."""
    called = invocation(event, fetch_stored=wired.content.get)
    job = called.job
    end = remaining(context, wired.clock.now(), timedelta(0))

    def execute(job: Job) -> AttemptResult:
        return run_watched(wired.engine.worker, job, wired.claims, end - _MARGIN - wired.clock.now())

    logger.info("Running", extra={"execution": job.attempt.execution_id, "task": job.task_id, "type": job.type})
    # The request's id names this invocation; Lambda gives the same one when it repeats it.
    wired.invocations.work(job, context.aws_request_id, execute, deadline=end)


def run_watched(worker: Worker, job: Job, claims: Claims, lease: timedelta) -> AttemptResult:
    """Run *job* for at most *lease*, while the claim is watched for a request to stop it."""
    over = threading.Event()

    def watch(context: WorkerContext) -> None:
        while not over.wait(_LOOK.total_seconds()):
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
        return worker.run(job, lease=lease, on_context=begin)
    finally:
        over.set()
