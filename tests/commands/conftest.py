from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace_cli.main import cli

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
