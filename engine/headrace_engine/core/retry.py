"""When the next attempt of a failed task run is due (reference §5.1). Pure arithmetic; even the random kind, so that a
step decided twice decides the same."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace_engine.model.definition import Retry, RetryKind
from headrace_engine.model.ids import derived_number


def next_attempt(retry: Retry, made: int, first_started: datetime, ended: datetime, cause: str) -> datetime | None:
    """Return when the next attempt starts, or None when there is none.

    made counts the attempts so far (those lost do not count), the failed one included. max_attempts counts the
    first attempt too; no attempt starts later than max_duration after the first one's start.
    """
    if retry.max_attempts is not None and made >= retry.max_attempts:
        return None
    due = ended + delay(retry, made, cause)
    if retry.max_duration is not None and due > first_started + retry.max_duration:
        return None
    return due


def delay(retry: Retry, made: int, cause: str) -> timedelta:
    """Return the wait after *made* attempts. cause seeds the random kind."""
    match retry.kind:
        case RetryKind.CONSTANT:
            return retry.interval
        case RetryKind.EXPONENTIAL:
            return _exponential(retry, made)
        case RetryKind.RANDOM:
            longest = retry.max_interval or retry.interval
            share = derived_number(cause, made) / 2**64
            return retry.interval + (longest - retry.interval) * share


def _exponential(retry: Retry, made: int) -> timedelta:
    """interval, then interval x factor, x factor^2, ... never above max_interval."""
    longest = retry.max_interval or timedelta.max
    try:
        return min(longest, retry.interval * retry.delay_factor ** (made - 1))
    except OverflowError:
        return longest
