from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace_cli.main import cli
from local_server import LocalServer, local_server

Headrace = Callable[..., Result]


@pytest.fixture
def headrace() -> Headrace:
    """Run the command line in this process, without a terminal."""

    def run(*arguments: str | Path, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin, prog_name="headrace")

    return run


@pytest.fixture
def flow(tmp_path: Path) -> Callable[..., Path]:
    """Write a flow `demo.x` with this after its id and namespace; return its file."""

    def write(text: str, name: str = "x") -> Path:
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"id: {name}\nnamespace: demo\n{text}")
        return file

    return write


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Start a server for all tests of a session: each keeps to a namespace of its own."""
    with local_server(tmp_path_factory.mktemp("house") / "data") as server:
        yield server


@pytest.fixture
def remote(house: LocalServer, tmp_path: Path) -> Headrace:
    """Run the command line against the server, in this process, with nobody's configuration."""

    def run(*arguments: str | Path, stdin: str | None = None, code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(
            cli,
            [str(argument) for argument in arguments],
            input=stdin,
            prog_name="headrace",
            env={"HEADRACE_SERVER": house.address, "XDG_CONFIG_HOME": str(tmp_path / "config"), **environment},
        )
        assert result.exit_code == code, f"{result.exit_code}: {result.output}{result.exception!r}"
        return result

    return run
