"""A clock that stands until it is moved."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """`Clock` that shows *now* until `advance` or `set`."""

    def __init__(self, now: datetime = datetime(2024, 1, 1, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move the clock on and return the new instant."""
        with self._lock:
            self._now += by
            return self._now

    def set(self, now: datetime) -> None:
        """Show *now* from here on, be it earlier or later."""
        with self._lock:
            self._now = now.astimezone(UTC)
