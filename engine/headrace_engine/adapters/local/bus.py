"""State changes, in process: whoever listens has heard of a change when `publish` returns.

What a crash takes is published again when the engine starts: the journal still calls for it (DESIGN §3.3).
"""

from __future__ import annotations

from collections.abc import Callable

from headrace_engine.ports import StateChange


class LocalBus:
    """Tells *hear* of every change, at once."""

    def __init__(self, hear: Callable[[StateChange], None]) -> None:
        self._hear = hear

    def publish(self, *changes: StateChange) -> None:
        """See Bus.publish."""
        for change in changes:
            self._hear(change)
