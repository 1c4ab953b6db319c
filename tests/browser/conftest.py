"""A headless Chromium before a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_server import local_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What keeps it from asking anybody else for anything; --no-sandbox, because tests may run as root.
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLOWS = Path(__file__).parent / "flows"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server that has the flows of this folder."""
    with local_server(tmp_path_factory.mktemp("server") / "data", "--flows", FLOWS) as started:
        yield started.address


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of one that takes no large requests."""
    environment = {**os.environ, "HEADRACE_SERVER_LARGEST_BODY": "100000"}
    data = tmp_path_factory.mktemp("small") / "data"
    with local_server(data, "--flows", FLOWS, environment=environment) as started:
        yield started.address


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of one that asks who somebody is."""
    data = tmp_path_factory.mktemp("closed") / "data"
    with local_server(data, "--flows", FLOWS, "--auth", "me:sesame opens") as started:
        yield started.address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_OPTIONS, *_QUIET])
        yield browser
        browser.close()
