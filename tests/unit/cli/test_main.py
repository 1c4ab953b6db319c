from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from headrace_cli.main import SUBCOMMANDS, cli

HEAVY = ("pydantic", "jinja2", "rich", "sqlite3", "yaml", "httpx", "asyncio")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it(name: str) -> None:
    module, text = SUBCOMMANDS[name]
    command: click.Command = import_module(module).command
    assert command.name == name
    assert (command.help or "").partition("\n")[0].startswith(text.removesuffix("."))


@pytest.mark.parametrize("name", [None, *SUBCOMMANDS])
def test_every_help_has_an_example(name: str | None) -> None:
    result = CliRunner().invoke(cli, [*([name] if name else []), "--help"], prog_name="headrace")
    assert result.exit_code == 0
    assert "Example:\n    headrace " in result.output


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["validate", "--help"], ["schema", "-h"], ["tasks", "-h"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from headrace_cli.main import cli
cli({arguments!r}, prog_name="headrace", standalone_mode=False)
print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_misspelt_command_is_told_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["vlidate"])
    assert result.exit_code == 2
    assert "No such command 'vlidate'. Did you mean 'validate'?" in result.output


@pytest.mark.parametrize("arguments", [["--server", "http://127.0.0.1"], ["--server=http://127.0.0.1"], ["-o", "json"]])
def test_an_option_before_the_command_is_told_its_place(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, [*arguments, "flow", "list"], prog_name="headrace")
    assert result.exit_code == 2
    option = arguments[0].partition("=")[0]
    assert f"'{option}' stands behind the command: headrace flow list {option} …" in result.output


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("headrace 0.")
