"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pages.browser import Browser, browser


@pytest.fixture
def visitor() -> Iterator[Browser]:
    with browser() as made:
        yield made
