from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from click.testing import Result

from example_flows import FOLDER

Headrace = Callable[..., Result]

FLOW = "id: x\nnamespace: demo\ntasks: [{id: a, type: io.kestra.plugin.core.debug.Return, format: real}]\n"
CASES = """\
id: tests-of-x
namespace: demo
flowId: x
testCases:
  - id: right
    description: It is real
    assertions: [{value: "{{ outputs.a.value }}", equalTo: real}]
  - id: off
    disabled: true
"""
WRONG = """\
  - id: wrong
    assertions:
      - value: "{{ outputs.a.value }}"
        equalTo: other
        errorMessage: it is {{ outputs.a.value }}
"""


def project(folder: Path, cases: str = CASES) -> Path:
    (folder / "x.yaml").write_text(FLOW)
    (folder / "s.yaml").write_text(cases)
    return folder


def without_times(text: str) -> list[str]:
    return [line.rsplit("  ", 1)[0] if line.endswith("ms") else line for line in text.splitlines()]


def test_cases_that_pass_are_listed(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("test", project(tmp_path))
    assert result.exit_code == 0
    lines = without_times(result.output)
    assert lines[:4] == [
        f"tests-of-x  demo.x  {tmp_path}/s.yaml",
        "  ✔ right  It is real",
        "  ↷ off  disabled",
        "",
    ]
    assert lines[4].startswith("1 passed, 1 disabled in 1 suite, ")


def test_a_case_that_fails_is_told_in_full(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("test", project(tmp_path, CASES + WRONG) / "s.yaml")
    assert result.exit_code == 1
    lines = without_times(result.output)
    assert lines[3:9] == [
        "  ✘ wrong",
        f"      {tmp_path}/s.yaml:12: assertion",
        "        value:    {{ outputs.a.value }}",
        '        expected: equalTo "other"',
        '        actual:   "real"',
        "        it is real",
    ]
    assert lines[-1].startswith("1 passed, 1 failed, 1 disabled in 1 suite, ")


def test_results_are_there_as_json_and_as_junit_xml(headrace: Headrace, tmp_path: Path) -> None:
    junit = tmp_path / "out" / "results.xml"
    result = headrace("test", project(tmp_path, CASES + WRONG), "--output", "json", "--junit", junit)
    assert result.exit_code == 1
    (suite,) = json.loads(result.stdout)
    assert (suite["testSuiteId"], suite["flowId"], suite["state"]) == ("tests-of-x", "x", "FAILED")
    assert [(case["testId"], case["state"], case["executionState"]) for case in suite["results"]] == [
        ("right", "SUCCESS", "SUCCESS"),
        ("off", "SKIPPED", None),
        ("wrong", "FAILED", "SUCCESS"),
    ]
    (assertion,) = suite["results"][2]["assertionResults"]
    assert assertion == {
        "operator": "equalTo",
        "expected": "other",
        "actual": "real",
        "isSuccess": False,
        "value": "{{ outputs.a.value }}",
        "line": 12,
        "taskId": None,
        "description": None,
        "errorMessage": "it is real",
        "error": None,
    }
    assert ET.parse(junit).getroot()[0].get("failures") == "1"


def test_an_invalid_suite_is_refused_before_anything_runs(headrace: Headrace, tmp_path: Path) -> None:
    broken = CASES.replace("disabled: true", "fixture: {}")
    result = headrace("test", project(tmp_path, broken), "--junit", tmp_path / "results.xml")
    assert result.exit_code == 2
    assert result.stderr == (
        f"{tmp_path}/s.yaml:9:5: testCases[1].fixture: Unknown property `fixture`. Did you mean `fixtures`?\n"
    )
    assert not (tmp_path / "results.xml").exists()


def test_a_path_without_a_suite_is_refused(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("test", project(tmp_path) / "x.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {tmp_path}/x.yaml: there is no test suite, a map with `flowId` and `testCases`.\n"
    )


def test_flows_are_taken_from_the_folder_that_is_named(headrace: Headrace, tmp_path: Path) -> None:
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "x.yaml").write_text(FLOW.replace("real", "released"))
    result = headrace("test", project(tmp_path) / "s.yaml", "--flows", tmp_path / "released")
    assert result.exit_code == 1
    assert '"released"' in result.output


def test_templates_are_taken_from_files_too(headrace: Headrace, tmp_path: Path) -> None:
    (tmp_path / "used.template.yaml").write_text(FLOW)  # of the same name as the flow
    task = "  - {id: used, type: io.kestra.plugin.core.flow.Template, namespace: demo, templateId: x}\n"
    (tmp_path / "x.yaml").write_text("id: x\nnamespace: demo\ntasks:\n" + task)
    (tmp_path / "s.yaml").write_text(CASES)
    result = headrace("test", tmp_path)
    assert result.exit_code == 0, result.output


def test_suites_in_a_folder_of_flows_are_no_flows(headrace: Headrace, tmp_path: Path) -> None:
    assert headrace("validate", project(tmp_path)).output == f"{tmp_path}/x.yaml: OK (demo.x)\n"
    assert headrace("run", tmp_path / "x.yaml", "--flows", tmp_path).exit_code == 0


def test_the_examples_suites_pass(headrace: Headrace) -> None:
    result = headrace("test", FOLDER / "tests")
    assert result.exit_code == 0, result.output
