"""What tests of webhooks share."""

from collections.abc import Iterator

import pytest

from unit.webhooks.client import Client


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    with client.runtime:
        yield client
