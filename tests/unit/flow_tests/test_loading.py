"""Where suites and flows are found, and how files are told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_engine.language import FlowError
from headrace_engine.testing.flow_tests import NoSuiteError, UnreadableFileError, load, run_suite

FLOW = "id: {}\nnamespace: demo\ntasks: [{{id: a, type: io.kestra.plugin.core.debug.Return, format: {}}}]\n"
SUITE = "id: s\nnamespace: demo\nflowId: {}\ntestCases: [{{id: one, assertions: [{{value: '{{{{ outputs.a.value }}}}', equalTo: {}}}]}}]\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder that is the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def put(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def problems(*paths: Path, flows: Path | None = None) -> list[str]:
    with pytest.raises(FlowError) as raised:
        load(paths, flows=flows)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    "flow",
    [
        "flows/team/tests/x.yaml",
        "flows/team/tests/deeper/any-name.yml",
        "flows/team/x.yaml",
        "flows/x.yaml",
        "x.yaml",
        "flows/team/flows/deep/er/x.yaml",
    ],
)
def test_a_flow_is_found_around_its_suite(flow: str, project: Path) -> None:
    put(flow, FLOW.format("x", "here"))
    assert run_suite(put("flows/team/tests/x_test.yaml", SUITE.format("x", "here"))).is_success


def test_the_nearest_flow_is_the_one(project: Path) -> None:
    put("x.yaml", FLOW.format("x", "far"))
    put("tests/x.yaml", FLOW.format("x", "near"))
    assert run_suite(put("tests/s.yaml", SUITE.format("x", "near"))).is_success


def test_with_a_folder_of_flows_no_other_place_counts(project: Path) -> None:
    put("tests/x.yaml", FLOW.format("x", "near"))
    put("released/v1/x.yaml", FLOW.format("x", "released"))
    assert run_suite(put("tests/s.yaml", SUITE.format("x", "released")), flows="released").is_success
    put("empty/note.yaml", "a: b\n")
    assert problems(Path("tests/s.yaml"), flows=Path("empty")) == [
        "tests/s.yaml:3:9: flowId: There is no flow `demo.x` in `empty`."
    ]


def test_above_the_working_directory_nothing_is_looked_for(project: Path) -> None:
    put("x.yaml", FLOW.format("x", "above"))
    put("inner/tests/s.yaml", SUITE.format("x", "above"))
    os.chdir("inner")
    assert problems(Path("tests/s.yaml")) == [
        "tests/s.yaml:3:9: flowId: There is no flow `demo.x` in `tests` and the folders above it; --flows names another folder."
    ]


def test_of_a_suite_elsewhere_its_folder_and_the_one_above_are_looked_into(project: Path) -> None:
    put("other/x.yaml", FLOW.format("x", "a"))
    suite = put("other/tests/s.yaml", SUITE.format("x", "a")).resolve()
    put("here/note.txt", "")
    os.chdir("here")
    assert run_suite(suite).is_success


def test_two_flows_of_one_name_are_told(project: Path) -> None:
    put("a.yaml", FLOW.format("x", "1"))
    put("b.yaml", FLOW.format("x", "2"))
    assert problems(put("s.yaml", SUITE.format("x", "1"))) == [
        "s.yaml:3:9: flowId: The flow `demo.x` is in both `a.yaml` and `b.yaml`: name the folder of the one with --flows."
    ]


def test_a_folder_gives_all_suites_in_it_and_passes_over_what_is_none(project: Path) -> None:
    put("flows/x.yaml", FLOW.format("x", "1"))
    put("flows/tests/one.yaml", SUITE.format("x", "1"))
    put("flows/tests/deep/two.yml", SUITE.format("x", "1"))
    put("flows/values.yaml", "replicas: 2\n")
    put("flows/chart.yaml", "a: {{ .Values.x }}\n")
    put("flows/list.yaml", "- 1\n")
    put("flows/.hidden/three.yaml", SUITE.format("x", "1"))
    put("flows/node_modules/four.yaml", SUITE.format("x", "1"))
    Path("flows/latin.yaml").write_bytes(b"id: \xe9\n")
    suites = load([Path("flows"), Path("flows/tests/one.yaml")])
    assert [loaded.suite.file for loaded in suites] == ["flows/tests/deep/two.yml", "flows/tests/one.yaml"]


def test_a_file_may_hold_a_flow_and_its_suites_each_with_its_own_lines(project: Path) -> None:
    text = f"# the flow\n{FLOW.format('x', '1')}---\n{SUITE.format('x', '1')}---\n{SUITE.format('x', '2')}"
    suites = load([put("all.yaml", text)])
    assert [loaded.suite.cases[0].line for loaded in suites] == [9, 14]
    with pytest.raises(NoSuiteError, match=r"all\.yaml: one test suite is expected here, not 2\."):
        run_suite("all.yaml")
    put("all.yaml", text.replace("Return", "Retrun"))
    assert [problem.split(": ")[0] for problem in problems(Path("all.yaml"))] == ["all.yaml:4:23"]
    put("all.yaml", text.replace("assertions", "assertion"))
    assert [problem.split(": ")[0] for problem in problems(Path("all.yaml"))] == ["all.yaml:9:23", "all.yaml:14:23"]


def test_a_broken_suite_in_a_folder_is_told_and_a_broken_flow_that_is_tested_too(project: Path) -> None:
    put("tests/broken.yaml", "id: s\nflowId: x\ntestCases: [a\n")
    put("tests/s.yaml", SUITE.format("x", "1"))
    put("tests/x.yaml", FLOW.format("x", "1").replace("format", "fromat"))
    assert problems(Path("tests")) == [
        "tests/broken.yaml:3:12: The list `[` that begins here is not closed: expected `,` or `]`.",
        "tests/x.yaml:3:59: tasks[0].fromat: Unknown property `fromat` of `io.kestra.plugin.core.debug.Return`. Did you mean `format`?",
    ]


def test_a_type_nobody_has_is_let_in_for_a_fixture_but_no_misspelt_one(project: Path) -> None:
    flow = "id: x\nnamespace: demo\ntasks: [{{id: a, type: {}, whatever: '{{{{ 1 }}}}'}}]\n"
    put(
        "s.yaml",
        SUITE.format("x", "1").replace("{id: one,", "{id: one, fixtures: {tasks: [{id: a, outputs: {value: 1}}]},"),
    )
    put("x.yaml", flow.format("com.example.Task"))
    assert run_suite("s.yaml").is_success
    put("x.yaml", flow.format("io.kestra.plugin.core.log.Lgo"))
    assert problems(Path("s.yaml")) == [
        "x.yaml:3:23: tasks[0].type: Unknown type `io.kestra.plugin.core.log.Lgo`. "
        "Did you mean `io.kestra.plugin.core.log.Log`?"
    ]


def test_where_there_is_no_suite_it_is_told(project: Path) -> None:
    flow = put("flows/x.yaml", FLOW.format("x", "1"))
    with pytest.raises(
        NoSuiteError, match=r"^flows/x\.yaml: there is no test suite, a map with `flowId` and `testCases`\.$"
    ):
        load([flow])
    with pytest.raises(NoSuiteError, match=r"^There is no test suite in flows\.$"):
        load([Path("flows")])
    with pytest.raises(UnreadableFileError, match=r"^missing\.yaml: No such file or directory\.$"):
        load([Path("missing.yaml")])
