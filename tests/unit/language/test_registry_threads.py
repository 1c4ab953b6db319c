"""One registry serves every thread of a runtime, also while it is completed with the types most flows do not name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from headrace_engine.language import Registry

SUBFLOW = "io.kestra.plugin.core.flow.Subflow"
THREADS = 8


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_thread_misses_a_type_while_another_completes_the_registry(hurried: None) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(50):
            registry, start = Registry(), Barrier(THREADS)

            def ask(registry: Registry = registry, start: Barrier = start) -> bool:
                start.wait()
                return registry.task(SUBFLOW) is not None

            assert all(asked.result() for asked in [pool.submit(ask) for _ in range(THREADS)])
