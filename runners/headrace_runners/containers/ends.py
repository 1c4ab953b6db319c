"""Why a container run is over, told from what ECS and Batch say of it: was it lost, or has it failed (DESIGN §3.6)?

This is asked only of attempts whose end their own side container has not told. What took the containers away by itself
(Spot, a machine, a want of capacity, a person at the console) has *lost* the attempt: it begins again, and `retry` does
not count it. What would happen again at once (an image that is not there, too little memory) has *failed* it.
"""

from __future__ import annotations

from headrace_engine.adapters.aws.events import ContainerEnd, JobChanged, TaskChanged
from headrace_engine.model.frozen import dataclass

_FAILURES = (
    ("CannotPullContainerError", "The image cannot be pulled"),
    ("CannotStartContainerError", "The container cannot be started: its image needs /bin/sh"),
    ("OutOfMemory", "The containers ran out of memory: ask for more in `resources`"),
    ("MISCONFIGURATION", "The job can never run in its queue"),
)
_PASSING = (
    # A registry that is too busy, or not there for a moment, has the image all the same.
    "toomanyrequests",
    "rate limit",
    "i/o timeout",
    "TLS handshake timeout",
    "connection reset",
    "context deadline exceeded",
    "request canceled",
    "503 Service Unavailable",
    "502 Bad Gateway",
    "500 Internal Server Error",
)
_LOSSES = {
    "SpotInterruption": "Fargate Spot took its capacity back",
    "TerminationNotice": "AWS retired the machine",
    "UserInitiated": "Somebody stopped the task",
    "ServiceSchedulerInitiated": "ECS stopped the task",
    "TaskFailedToStart": "The task could not be started",
    "EssentialContainerExited": "The containers for files ended early",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an attempt."""

    is_lost: bool
    reason: str


def verdict_of_task(task: TaskChanged) -> Verdict:
    """Return why an ECS task that has stopped is over."""
    return _verdict(_LOSSES.get(task.stop_code, "The task stopped"), task.stopped_reason, task.containers)


def verdict_of_job(job: JobChanged) -> Verdict:
    """Return why a Batch job that has ended is over."""
    if "attempt duration exceeded timeout" in job.reason:
        return Verdict(is_lost=False, reason=f"Batch ended the job: {job.reason}")
    return _verdict("The job ended early", job.reason, job.containers)


def _verdict(what: str, reason: str, containers: tuple[ContainerEnd, ...]) -> Verdict:
    reasons = [reason, *(each.reason for each in containers if each.reason)]
    for sign, why in _FAILURES:
        found = next((each for each in reasons if sign in each), None)
        if found is not None and not any(passing.lower() in found.lower() for passing in _PASSING):
            return Verdict(is_lost=False, reason=f"{why} ({found})")
    said = [f"{each.name} ended with {each.exit_code}" for each in containers if each.exit_code]
    details = "; ".join(dict.fromkeys([*filter(None, reasons), *said]))
    return Verdict(is_lost=True, reason=f"{what}: {details}" if details else what)
