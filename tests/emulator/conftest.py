"""The stack, deployed once for all tests, with IAM enforced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aws.ministack import Emulator, running
from emulator.client import Client
from emulator.deployment import Deployment, deployed, synthesised


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator"), iam=True) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def assembly(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the synthesised stack. Asks for the emulator, so that it skips without one."""
    return synthesised(tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="session")
def deployment(emulator: Emulator, assembly: Path) -> Deployment:
    return deployed(emulator.own_account, assembly)


@pytest.fixture(scope="session")
def client(deployment: Deployment) -> Iterator[Client]:
    with closing(Client(deployment)) as client:
        yield client
