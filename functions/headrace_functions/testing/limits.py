"""What AWS refuses, and its emulators do not: enforced around the functions and their requests."""

from __future__ import annotations

from datetime import timedelta

KIB, MIB = 1024, 1024 * 1024

SYNCHRONOUS_PAYLOAD = 6 * MIB
"""Bytes that a synchronous invocation takes and gives."""
ASYNCHRONOUS_PAYLOAD = 1 * MIB
"""Bytes that an asynchronous invocation takes."""
HTTP_BODY = 10 * MIB
"""Bytes of a request's body that API Gateway takes, of which Lambda passes on SYNCHRONOUS_PAYLOAD."""
EVENT = 1 * MIB
"""Bytes of what one PutEvents sends."""
ITEM = 400 * KIB
"""Bytes of an item of DynamoDB."""
OVERRIDES = 8192
"""Characters of the overrides of an ECS task."""
TASK_DEFINITION = 64 * KIB
"""Bytes of a task definition of ECS."""
JOB_DEFINITION = 24 * KIB
"""Bytes of a job definition of Batch."""
JOB = 30 * KIB
"""Bytes of a SubmitJob."""

TIMEOUTS = {
    "api": timedelta(seconds=29),
    "executor": timedelta(seconds=60),
    "triggers": timedelta(seconds=60),
    "worker": timedelta(minutes=15),
    "purger": timedelta(minutes=15),
    "script": timedelta(minutes=15),
    "script-medium": timedelta(minutes=15),
    "script-large": timedelta(minutes=15),
}
"""How long a function may run; API Gateway waits 30 s at most."""


class LimitError(Exception):
    """A function went beyond what AWS allows: it would have been cut off, or its answer replaced by an error."""


def check(what: str, size: int, limit: int) -> None:
    """Raise LimitError when *size* is above *limit*."""
    if size > limit:
        raise LimitError(f"{what} has {size} bytes; AWS takes {limit}")
