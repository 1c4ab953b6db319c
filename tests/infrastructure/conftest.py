"""The stack, synthesised once for all tests: as it is when nothing is chosen, and inside somebody else's app."""

from __future__ import annotations

import os

# Says at every start that the machine's Node.js is old; nothing here depends on its version.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

import pytest

from infrastructure.assembly import Assembly, default_assembly, foreign_assembly


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """Return the stack of an app that chooses nothing."""
    return default_assembly(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """Return somebody's own stack, with Headrace in it and everything chosen differently."""
    return foreign_assembly(tmp_path_factory.mktemp("foreign"))
