from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from headrace_engine.testing.flow_tests import CaseResult, SuiteResult, run_suite

WriteSuite = Callable[..., Path]
RunCase = Callable[..., CaseResult]
RunSuite = Callable[..., SuiteResult]

HEAD = """\
id: tests-of-x
namespace: demo
flowId: x
testCases:
"""


def indented(text: str, by: int) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * by) + "\n"


@pytest.fixture
def write(tmp_path: Path) -> WriteSuite:
    """Write a flow `demo.x` with this after its id and namespace, and a suite with these cases; return the suite."""

    def write_files(flow: str, cases: str) -> Path:
        (tmp_path / "x.yaml").write_text(f"id: x\nnamespace: demo\n{textwrap.dedent(flow)}")
        suite = tmp_path / "suite.yaml"
        suite.write_text(HEAD + indented(cases, 2))
        return suite

    return write_files


@pytest.fixture
def run(write: WriteSuite) -> RunSuite:
    """Run a suite of these cases on a flow `demo.x`."""

    def run_it(flow: str, cases: str, *, environment: Mapping[str, str] | None = None) -> SuiteResult:
        return run_suite(write(flow, cases), environment=environment or {})

    return run_it


@pytest.fixture
def run_case(run: RunSuite) -> RunCase:
    """Run one case, of which this is all but its id, on a flow `demo.x`."""

    def run_it(flow: str, case: str, *, environment: Mapping[str, str] | None = None) -> CaseResult:
        return run(flow, "- id: case\n" + indented(case, 2), environment=environment).cases[0]

    return run_it
