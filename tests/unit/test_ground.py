"""What holds for the checkout as a whole: the rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import ipaddress
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from example_flows import CHECKOUT, FOLDER, Example, all_examples

REGISTRIES = [
    ".".join(parts)  # put together here, so that this file passes its own test
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
    )
]

MACHINE_PATHS = re.compile(r"(?<![\w./~-])/(?:work|root|home/\w+|opt/wheels|Users/\w+)(?:/|\b)")

URL_HOST = re.compile(r"\b(?:https?|wss?|ftp|postgres(?:ql)?)://(?:[^\s/@'\"]+@)?([\w.-]+)")
IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w./])")
"""An address, and no range of them (``10.0.0.0/16``), which nobody can contact."""

NEVER_CONTACTED = "never contacted"
"""A line that names another address only to see it refused says so with these words."""

SCHEMA_NAMES = ("json-schema.org", "www.w3.org")
"""Hosts that stand in names of schemas, which nobody looks up."""


def tracked_files() -> list[Path]:
    """Return the files git tracks or would track."""
    command = ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [path for name in sorted(set(listed.split("\0")) - {""}) if (path := CHECKOUT / name).is_file()]


def tracked_lines(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield the place and text of each line of the tracked text files, of some folders only when they are named."""
    for path in tracked_files():
        name = path.relative_to(CHECKOUT).as_posix()
        if folders and not name.startswith(tuple(f"{folder}/" for folder in folders)):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            yield f"{name}:{number}", line


def modules_of_tests() -> list[Path]:
    """Return the Python files below tests/."""
    return sorted((CHECKOUT / "tests").rglob("*.py"))


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for an expression of names and attributes."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and reason for what a test must not do: patch, or sleep.

    Looking again until another process has ended is no sleeping; such a line says ``# polls``.
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module, alias.name) == ("unittest.mock", "patch"):
                    yield node.lineno, "imports mock.patch: pass the collaborator in instead"
                if (node.module, alias.name) in (("time", "sleep"), ("asyncio", "sleep")):
                    yield node.lineno, "imports sleep: time is a parameter"
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            if name.endswith(("mock.patch", "mocker.patch")):
                yield node.lineno, "uses mock.patch: pass the collaborator in instead"
            if name in ("monkeypatch.setattr", "monkeypatch.delattr"):
                yield node.lineno, "changes somebody's attributes: pass the collaborator in instead"
            if name in ("time.sleep", "asyncio.sleep") and "# polls" not in lines[node.lineno - 1]:
                yield node.lineno, "sleeps: time is a parameter; wait for the event itself"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from unittest import mock\n@mock.patch('a.b')\ndef f(): ...", 1),
        ("from unittest.mock import patch", 1),
        ("import unittest.mock\nwith unittest.mock.patch.object(a, 'b'): ...", 1),
        ("def f(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)", 1),
        ("import time\ntime.sleep(1)", 1),
        ("import time\ntime.sleep(1)  # polls", 0),
        ("from time import sleep", 1),
        ("import asyncio\nawait_ = asyncio.sleep", 1),
        ("def f(monkeypatch):\n    monkeypatch.setenv('A', 'b')\n    queue.get(timeout=5)", 0),
    ],
)
def test_the_search_for_patching_and_sleeping_finds_it(source: str, found: int) -> None:
    assert len(list(offences(source))) == found


def test_no_test_patches_or_sleeps() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}:{line} {reason}"
        for path in modules_of_tests()
        for line, reason in offences(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine() -> None:
    configured = {
        host
        for variable, value in os.environ.items()
        if variable.upper().endswith(("INDEX_URL", "REGISTRY", "PROXY"))
        for host in URL_HOST.findall(value)
    }
    hosts = sorted({*REGISTRIES, *configured} - {"localhost"})
    found = [
        f"{place}: {line.strip()}"
        for place, line in tracked_lines()
        if MACHINE_PATHS.search(line) or any(host in line for host in hosts)
    ]
    assert not found, "\n".join(found)


def test_every_relative_link_in_the_documentation_leads_somewhere() -> None:
    found = []
    for path in tracked_files():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8")):
                if "://" not in target and not (path.parent / target).exists():
                    found.append(f"{path.relative_to(CHECKOUT)}: {target}")
    assert not found, "\n".join(found)


def is_harmless(host: str) -> bool:
    """Say whether *host* is this machine, or a name reserved for examples that leads nowhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        labels = host.lower().rstrip(".").split(".")
        return (
            labels[-1] in ("localhost", "example", "invalid", "test")
            or labels[-2:] in (["example", "com"], ["example", "org"], ["example", "net"])
            or host in SCHEMA_NAMES
        )


def test_tests_examples_and_benchmarks_contact_only_this_machine() -> None:
    found = []
    for place, line in tracked_lines("tests", "examples", "benchmarks"):
        if place.partition(":")[0].endswith(".md") or NEVER_CONTACTED in line:
            continue
        for host in [*URL_HOST.findall(line), *IPV4.findall(line)]:
            if not is_harmless(host):
                found.append(f"{place}: {host}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: example.path.stem)
def test_an_example_is_named_after_its_flow_and_says_what_comes_out(example: Example) -> None:
    flow = yaml.safe_load(example.path.read_text(encoding="utf-8"))
    assert flow["id"] == example.path.stem
    assert flow["namespace"] == "demo"
    assert example.sentence.endswith(".")
    assert example.tasks
    assert bool(example.outputs) == ("outputs" in flow), "the comment tells the outputs exactly when the flow has some"
    assert f"]({example.path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8"), "not in examples/README.md"


def test_the_hello_example_is_the_one_kestras_users_know() -> None:
    flow = yaml.safe_load((FOLDER / "hello.yaml").read_text(encoding="utf-8"))
    assert flow == {
        "id": "hello",
        "namespace": "demo",
        "inputs": [{"id": "message", "type": "STRING", "defaults": "Hallo von Kestra"}],
        "tasks": [{"id": "log", "type": "io.kestra.plugin.core.log.Log", "message": "{{ inputs.message }}"}],
    }


def test_the_etl_examples_expected_sums_are_those_of_the_data() -> None:
    expected = next(example for example in all_examples() if example.path.stem == "etl").outputs
    header, *rows = (
        line.split(",") for line in (FOLDER / "data" / "seattle-weather.csv").read_text(encoding="utf-8").splitlines()
    )
    days = [dict(zip(header, row, strict=True)) for row in rows]
    assert expected is not None
    assert expected["days"] == len(days)
    for year in expected["years"]:
        of_year = [day for day in days if day["date"].startswith(f"{year['year']}-")]
        assert year["days"] == len(of_year)
        assert year["precipitation"] == round(sum(float(day["precipitation"]) for day in of_year), 1)
        assert year["temp_max"] == max(float(day["temp_max"]) for day in of_year)
    assert sum(year["days"] for year in expected["years"]) == len(days)


def test_the_type_checker_reads_each_part_of_the_cdk_that_is_imported() -> None:
    """What it does not read it takes for anything, without a word."""
    imported = {"aws_cdk"}
    for path in (CHECKOUT / "cdk").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {each.name for each in node.names if each.name.split(".")[0] == "aws_cdk"}
            elif isinstance(node, ast.ImportFrom) and node.module == "aws_cdk":
                imported |= {f"aws_cdk.{each.name}" for each in node.names if each.name.islower()}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aws_cdk."):
                imported.add(node.module or "")
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    [read] = [each["module"] for each in settings if each.get("follow_imports") == "normal"]
    assert sorted(imported) == read
    assert len(imported) > 10
