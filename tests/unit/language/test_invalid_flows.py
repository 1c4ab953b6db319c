"""Each broken flow of tests/flows/invalid is refused with exactly the problems in the .txt beside it.

A difference that is meant: look at what is printed, then write it down with HEADRACE_ACCEPT=1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace_engine.language import FlowError, Registry, parse_flow, parse_flows, validate

FOLDER = Path(__file__).parents[2] / "flows" / "invalid"
FLOWS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FLOWS, ids=[path.stem for path in FLOWS])
def test_a_broken_flow_is_refused_with_exactly_these_problems(path: Path, registry: Registry) -> None:
    source = path.read_text(encoding="utf-8")
    found = "".join(f"{problem}\n" for problem in validate(source, file=path.name, registry=registry))
    expected = path.with_suffix(".txt")
    if os.environ.get("HEADRACE_ACCEPT"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")
    assert found
    with pytest.raises(FlowError) as caught:
        parse_flows(source, file=path.name, registry=registry)
    assert f"{caught.value}\n" == found


def test_there_are_at_least_sixty_broken_flows_and_no_orphaned_expectation() -> None:
    assert len(FLOWS) >= 60
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FLOWS}


def test_a_problem_says_file_line_column_path_and_message(registry: Registry) -> None:
    source = "id: a\nnamespace: demo\ntasks:\n  - id: log\n    type: io.kestra.plugin.core.log.Log\n    mesage: hi\n"
    with pytest.raises(FlowError) as caught:
        parse_flow(source, file="flows/a.yaml", registry=registry)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column, problem.path) == ("flows/a.yaml", 6, 5, "tasks[0].mesage")
    assert str(problem).startswith("flows/a.yaml:6:5: tasks[0].mesage: Unknown property `mesage`")


def test_one_flow_is_expected_where_a_file_holds_two(registry: Registry) -> None:
    one = "id: a\nnamespace: demo\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]\n"
    source = f"{one}---\n{one.replace('id: a', 'id: b')}"
    assert [flow.id for flow in parse_flows(source, registry=registry)] == ["a", "b"]
    with pytest.raises(FlowError, match=r"<flow>:5:1: One flow is expected here; the file holds 2\."):
        parse_flow(source, registry=registry)
