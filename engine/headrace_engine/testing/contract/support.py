"""What the suites share: instants, and threads that start at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar

import pytest

T = TypeVar("T")

START = datetime(2024, 5, 17, 8, 30, 15, 123456, tzinfo=UTC)
"""An instant with all its digits, so that a store that rounds is found out."""

CONTENDERS = 16


def at(seconds: float) -> datetime:
    """Return the instant *seconds* after START."""
    return START + timedelta(seconds=seconds)


class Contract:
    """Base of the suites."""

    concurrent: ClassVar[bool] = True
    """Whether the store under test takes calls from several threads at once."""

    def race(self, contenders: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Call all of *contenders* at the same moment, a thread each; return what each returned or raised."""
        if not self.concurrent:
            pytest.skip("this store is emulated without concurrency")
        start = threading.Barrier(len(contenders))

        def run(contender: Callable[[], T]) -> T | Exception:
            start.wait()
            try:
                return contender()
            except Exception as error:  # noqa: BLE001  # the test judges what was raised
                return error

        with ThreadPoolExecutor(len(contenders)) as pool:
            return list(pool.map(run, contenders))
