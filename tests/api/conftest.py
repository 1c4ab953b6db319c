"""What the tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.client import ApiClient, api_client


@pytest.fixture
def api() -> Iterator[ApiClient]:
    with api_client() as client:
        yield client
