"""Instants as the integers that the tables hold: microseconds since 1970 UTC, exact and in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_number(instant: datetime) -> int:
    """Return the number of an aware instant; TypeError for a naive one."""
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(number: int) -> datetime:
    """Return the instant, UTC, of a number of `to_number`."""
    return _EPOCH + timedelta(microseconds=number)


def to_optional_number(instant: datetime | None) -> int | None:
    """As `to_number`; None stays None."""
    return None if instant is None else to_number(instant)


def to_optional_instant(number: int | None) -> datetime | None:
    """As `to_instant`; None stays None."""
    return None if number is None else to_instant(number)
