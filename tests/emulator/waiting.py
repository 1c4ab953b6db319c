"""Waiting for what is under way elsewhere: looks until it is there, and fails when it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, *, seconds: float = 120, then: Callable[[], Any] = str) -> T:
    """Return what *look* gives as soon as it gives something; *then* tells more when it never does."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"after {seconds:g} s there is no {what}\n{then()}")
        time.sleep(0.1)  # polls
    return found
