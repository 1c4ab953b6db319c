"""The README's commands print what the README says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.documents import CHECKOUT, Command, blocks, commands
from local_server import local_server

README = CHECKOUT / "README.md"
BIN = Path(sys.executable).parent

IS_CHECKOUTS_OWN = BIN.parent == CHECKOUT / ".venv"


def normalised(text: str) -> str:
    """Return *text* with instants, ids and durations made alike, and no white space at the ends of lines."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "INSTANT", text)
    text = re.sub(r"\b[0-9A-Za-z]{22}\b", "ID", text)
    text = re.sub(r"\b\d+(\.\d+)?m?s\b", "DURATION", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run(line: str) -> str:
    """Run a command as a person types it in the checkout's top folder; return what it prints."""
    # make's targets are run without looking whether .venv is older than pyproject.toml: a test installs nothing.
    line = re.sub(r"^make ", "make --no-print-directory --old-file=pyproject.toml ", line)
    if not IS_CHECKOUTS_OWN:
        line = line.replace(".venv/bin/", f"{BIN}/")
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("command", list(commands(README)), ids=lambda command: command.line)
def test_a_command_prints_what_the_readme_says(command: Command) -> None:
    if command.line.startswith("make ") and not IS_CHECKOUTS_OWN:
        pytest.skip("make works with .venv, and the tests run elsewhere")
    assert normalised(run(command.line)) == normalised(command.output)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_server_answers_as_the_readme_asks_it(tmp_path: Path) -> None:
    (block,) = blocks(README, "sh")
    with local_server(tmp_path, "--flows", CHECKOUT / "examples") as server:
        done = subprocess.run(
            ["/bin/sh", "-c", block.text.replace("http://127.0.0.1:8080", server.address)],
            capture_output=True,
            check=True,
            timeout=60,
        )
    answer = json.loads(done.stdout)
    assert (answer["state"]["current"], answer["inputs"]) == ("SUCCESS", {"message": "Hello"})


def test_every_command_in_the_text_is_a_target_of_the_makefile_or_of_the_command() -> None:
    text = README.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    from headrace_cli.main import SUBCOMMANDS

    made = set(re.findall(r"`make ([a-z-]+)`", text))
    assert made
    assert made <= targets
    assert set(re.findall(r"`headrace ([a-z]+)", text)) <= set(SUBCOMMANDS)


def test_the_first_flow_is_the_hello_example_in_eight_lines() -> None:
    (first,) = blocks(README, "yaml")
    assert first.text.count("\n") == 8
    example = (CHECKOUT / "examples" / "hello.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(first.text) == yaml.safe_load(example)


def test_the_readme_can_be_read_at_one_sitting() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
