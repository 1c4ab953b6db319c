"""A bench for every test of a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.tasks.harness import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
