"""A fixture stands in for its task, of whatever kind; what has none really runs."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_engine.testing.flow_tests import CaseResult

INPUT = """\
inputs:
  - id: name
    type: STRING
    defaults: world
"""


def states(result: CaseResult) -> dict[str, list[str]]:
    assert result.execution is not None
    found: dict[str, list[str]] = {}
    for run in result.execution["taskRunList"]:
        found.setdefault(run["taskId"], []).append(run["state"]["current"])
    return found


def outputs(result: CaseResult, task: str) -> Any:
    assert result.execution is not None
    return [run["outputs"] for run in result.execution["taskRunList"] if run["taskId"] == task][-1]


KINDS = {
    "inline": "type: io.kestra.plugin.core.execution.Fail",
    "light": "{type: io.kestra.plugin.core.http.Request, uri: 'http://127.0.0.1:1/'}",
    "dispatched": "{type: io.kestra.plugin.scripts.shell.Script, script: exit 1}",
    "sleeping": "{type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}",
    "sequential": "{type: io.kestra.plugin.core.flow.Sequential, tasks: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "if": "{type: io.kestra.plugin.core.flow.If, condition: '{{ missing }}', then: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "for_each": "{type: io.kestra.plugin.core.flow.ForEach, values: [1, 2], tasks: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "working_directory": "{type: io.kestra.plugin.core.flow.WorkingDirectory, tasks: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "loop_until": "{type: io.kestra.plugin.core.flow.LoopUntil, condition: '{{ false }}', tasks: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "pause": "{type: io.kestra.plugin.core.flow.Pause, timeout: PT1S, onResume: [{id: ok, type: BOOL}]}",
    "subflow": "{type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: missing}",
    "allow_failure": "{type: io.kestra.plugin.core.flow.AllowFailure, tasks: [&fail {id: f, type: io.kestra.plugin.core.execution.Fail}]}",
    "of_a_plugin_that_is_not_there": "{type: io.kestra.plugin.gcp.bigquery.Load, from: '{{ inputs.name }}', format: JSON}",
    "not_there_yet": "{type: io.kestra.plugin.core.flow.ForEachItem, items: x, namespace: demo, flowId: y}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixture_answers_for_every_kind_of_task(kind: str, run_case: Any) -> None:
    task = KINDS[kind].removeprefix("{").removesuffix("}")
    flow = f"""\
{INPUT}
tasks:
  - {{id: it, {task}}}
  - id: after
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ outputs.it.given }}}}"
"""
    case = """\
fixtures:
  tasks:
    - {id: it, outputs: {given: "for {{ inputs.name }}"}}
assertions:
  - {value: "{{ outputs.after.value }}", equalTo: for world}
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")
    assert states(result) == {"it": ["SUCCESS"], "after": ["SUCCESS"]}
    assert result.execution_state == "SUCCESS"


FAILING = """\
tasks:
  - id: first
    type: io.kestra.plugin.core.debug.Return
    format: a
    {flags}
  - id: second
    type: io.kestra.plugin.core.debug.Return
    format: b
errors:
  - id: report
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ errorLogs()[0].message }}}}"
"""


@pytest.mark.parametrize(
    ("state", "flags", "expected", "execution"),
    [
        ("SUCCESS", "", {"first": ["SUCCESS"], "second": ["SUCCESS"]}, "SUCCESS"),
        ("WARNING", "", {"first": ["WARNING"], "second": ["SUCCESS"]}, "WARNING"),
        ("FAILED", "", {"first": ["FAILED"], "report": ["SUCCESS"]}, "FAILED"),
        ("FAILED", "allowFailure: true", {"first": ["WARNING"], "second": ["SUCCESS"]}, "WARNING"),
        ("SKIPPED", "", {"first": ["SKIPPED"], "second": ["SUCCESS"]}, "SUCCESS"),
        ("KILLED", "", {"first": ["KILLED"]}, "KILLED"),
    ],
)
def test_a_fixture_says_how_its_task_ends(
    state: str, flags: str, expected: dict[str, list[str]], execution: str, run_case: Any
) -> None:
    case = f"fixtures: {{tasks: [{{id: first, state: {state}}}]}}\nassertions: [{{value: x, equalTo: x}}]\n"
    result = run_case(FAILING.format(flags=flags), case)
    assert states(result) == expected
    assert result.execution_state == execution


def test_a_failed_fixture_keeps_its_outputs_and_is_an_error_in_the_log(run_case: Any) -> None:
    case = """\
fixtures: {tasks: [{id: first, state: FAILED, outputs: {exitCode: 3}}]}
assertions: [{value: "{{ outputs.first.exitCode }}", equalTo: 3}]
"""
    result = run_case(FAILING.format(flags=""), case)
    assert result.state == "SUCCESS"
    assert outputs(result, "report") == {"value": "The test's fixture says FAILED"}


def test_no_retry_follows_a_failed_fixture(run_case: Any) -> None:
    flow = """\
retry: {type: constant, interval: PT1S}
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: a}
"""
    case = "fixtures: {tasks: [{id: first, state: FAILED}]}\nassertions: [{value: '{{ execution.state }}', equalTo: FAILED}]\n"
    result = run_case(flow, case)
    assert result.state == "SUCCESS"
    assert result.execution is not None
    assert len(result.execution["taskRunList"][0]["attempts"]) == 1


LOOP = """\
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b, {"k": 1}]
    tasks:
      - id: work
        type: io.kestra.plugin.core.debug.Return
        format: "real {{ taskrun.value }}"
      - id: nested
        type: io.kestra.plugin.core.flow.Sequential
        tasks:
          - id: deep
            type: io.kestra.plugin.core.debug.Return
            format: "real {{ parent.taskrun.value }}"
"""


def test_a_fixture_in_a_loop_is_for_one_value_or_for_all(run_case: Any) -> None:
    case = """\
fixtures:
  tasks:
    - {id: work, value: a, outputs: {value: "only {{ taskrun.value }}"}}
    - {id: work, value: {k: 1}, outputs: {value: the map}}
    - {id: deep, value: b, outputs: {value: deep b}}
    - {id: deep, outputs: {value: deep others}}
assertions:
  - {value: "{{ outputs.work.a.value }}", equalTo: only a}
  - {value: "{{ outputs.work.b.value }}", equalTo: real b}
  - {value: "{{ outputs.work['{\\"k\\":1}'].value }}", equalTo: the map}
  - {value: "{{ outputs.deep.a.value }}", equalTo: deep others}
  - {value: "{{ outputs.deep.b.value }}", equalTo: deep b}
"""
    result = run_case(LOOP, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")
    assert states(result)["work"] == ["SUCCESS"] * 3


def test_run_if_is_looked_at_before_the_fixture(run_case: Any) -> None:
    flow = """\
tasks:
  - {id: off, type: io.kestra.plugin.core.execution.Fail, runIf: "{{ false }}"}
  - {id: on, type: io.kestra.plugin.core.execution.Fail, runIf: "{{ tasks.off.state == 'SKIPPED' }}"}
  - {id: broken, type: io.kestra.plugin.core.log.Log, message: x, runIf: "{{ missing }}"}
"""
    case = "fixtures: {tasks: [{id: off}, {id: on}, {id: broken}]}\n"
    result = run_case(flow, case)
    assert states(result) == {"off": ["SKIPPED"], "on": ["SUCCESS"], "broken": ["FAILED"]}
    assert result.state == "FAILED"


def test_a_task_type_that_is_not_there_fails_when_its_turn_comes_and_only_then(run: Any) -> None:
    flow = """\
inputs: [{id: alert, type: BOOL}]
tasks:
  - id: check
    type: io.kestra.plugin.core.flow.If
    condition: "{{ inputs.alert }}"
    then:
      - {id: slack, type: io.kestra.plugin.notifications.slack.SlackIncomingWebhook, url: x}
"""
    cases = """\
- {id: quiet, fixtures: {inputs: {alert: false}}}
- {id: loud, fixtures: {inputs: {alert: true}, tasks: [{id: slack}]}}
- {id: without, fixtures: {inputs: {alert: true}}}
"""
    result = run(flow, cases)
    assert [case.state for case in result.cases] == ["SUCCESS", "SUCCESS", "FAILED"]
    assert result.report() == (
        "tests-of-x > without: FAILED\n"
        "  The case has no assertions, so the execution must end in SUCCESS or WARNING\n"
        "  the execution ended FAILED\n"
        "  task `slack` FAILED: `io.kestra.plugin.notifications.slack.SlackIncomingWebhook` is not supported by this version of Headrace: it has no such task type. In a test it needs a fixture."
    )


def test_a_fixture_whose_outputs_cannot_be_rendered_is_an_error_of_the_case(run_case: Any) -> None:
    flow = "tasks: [{id: a, type: io.kestra.plugin.core.debug.Return, format: x}]\n"
    result = run_case(flow, "fixtures: {tasks: [{id: a, outputs: {value: '{{ missing }}'}}]}\n")
    assert result.state == "ERROR"
    assert result.errors[0].startswith("The outputs of the fixture for the task `a` cannot be rendered: ")
    assert "`missing`" in result.errors[0]


def test_large_outputs_of_a_fixture_go_to_internal_storage_and_come_back(run_case: Any) -> None:
    flow = """\
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}
  - {id: b, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.a.value | length }}"}
"""
    case = f"""\
fixtures: {{tasks: [{{id: a, outputs: {{value: {"x" * 50_000}}}}}]}}
assertions: [{{value: "{{{{ outputs.b.value }}}}", equalTo: 50000}}]
"""
    assert run_case(flow, case).state == "SUCCESS"


def test_the_fixtures_are_those_of_the_tested_flow_not_of_the_flows_it_calls(tmp_path: Any) -> None:
    from headrace_engine.testing.flow_tests import run_suite

    (tmp_path / "parent.yaml").write_text("""\
id: parent
namespace: demo
tasks:
  - {id: same, type: io.kestra.plugin.core.execution.Fail}
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: child}
""")
    (tmp_path / "child.yaml").write_text("""\
id: child
namespace: demo
tasks: [{id: same, type: io.kestra.plugin.core.debug.Return, format: really}]
outputs: [{id: said, type: STRING, value: "{{ outputs.same.value }}"}]
""")
    (tmp_path / "suite.yaml").write_text("""\
id: s
namespace: demo
flowId: parent
testCases:
  - id: one
    fixtures: {tasks: [{id: same}]}
    assertions: [{value: "{{ outputs.call.outputs.said }}", equalTo: really}]
""")
    result = run_suite(tmp_path / "suite.yaml", environment={})
    assert result.is_success, result.report()
