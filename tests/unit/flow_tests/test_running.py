"""What a test case gives its execution, how time passes in it, and what its assertions see."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace_engine.testing.flow_tests import run_suite

RETURN = "tasks: [{id: a, type: io.kestra.plugin.core.debug.Return, format: '%s'}]\n"


def secret(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# -- What is given ----------------------------------------------------------------------------------


def test_inputs_are_checked_as_those_of_an_execution(run_case: Any) -> None:
    flow = "inputs: [{id: n, type: INT, max: 5}]\n" + RETURN % "{{ inputs.n }}"
    assert run_case(
        flow, "fixtures: {inputs: {n: 3}}\nassertions: [{value: '{{ outputs.a.value }}', equalTo: 3}]"
    ).state == ("SUCCESS")
    too_large = run_case(flow, "fixtures: {inputs: {n: 7}}\n")
    assert (too_large.state, too_large.execution) == ("ERROR", None)
    assert list(too_large.errors) == ["Invalid input for `n`, it must be at most `5`, but received `7`"]
    missing = run_case(flow, "assertions: [{value: x, isNotNull: true}]\n")
    assert (missing.state, "`n`" in missing.errors[0]) == ("ERROR", True)


def test_files_are_there_by_their_uri_and_as_namespace_files(run_case: Any) -> None:
    flow = """\
inputs: [{id: data, type: FILE}]
tasks:
  - {id: by_uri, type: io.kestra.plugin.core.debug.Return, format: "{{ read(files['in/a.txt']) }}"}
  - {id: by_path, type: io.kestra.plugin.core.debug.Return, format: "{{ read('in/a.txt') }}"}
  - {id: input, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.data) }}"}
  - {id: script, type: io.kestra.plugin.scripts.shell.Script, namespaceFiles: {enabled: true}, script: "grep -q raw in/a.txt"}
"""
    case = """\
fixtures:
  files: {in/a.txt: "{{ raw }} text"}
  inputs: {data: "{{ fileURI('in/a.txt') }}"}
assertions:
  - {value: "{{ outputs.by_uri.value }}", equalTo: "{% raw %}{{ raw }} text{% endraw %}"}
  - {value: "{{ outputs.by_path.value }}", endsWith: text}
  - {value: "{{ outputs.input.value }}", endsWith: text}
  - {value: "{{ read(files['in/a.txt']) }}", contains: raw}
  - {value: "{{ tasks.script.state }}", equalTo: SUCCESS}
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")


def test_without_files_there_is_no_such_variable(run_case: Any) -> None:
    result = run_case(RETURN % "x", "assertions: [{value: '{{ files is defined }}', equalTo: false}]")
    assert result.state == "SUCCESS"


def test_a_file_input_may_be_a_path_from_the_suites_folder(write: Any) -> None:
    flow = "inputs: [{id: data, type: FILE}]\n" + RETURN % "{{ read(inputs.data) }}"
    suite = write(
        flow,
        "- id: one\n  fixtures: {inputs: {data: data.txt}}\n"
        "  assertions: [{value: '{{ outputs.a.value }}', equalTo: its text}]\n",
    )
    (suite.parent / "data.txt").write_text("its text")
    assert run_suite(suite, environment={}).is_success


def test_a_trigger_is_seen_as_one_that_started_the_execution(run_case: Any) -> None:
    flow = RETURN % "{{ trigger.body.user }} at {{ trigger.date }}"
    case = """\
fixtures:
  trigger: {id: hook, type: io.kestra.plugin.core.trigger.Webhook, variables: {date: "2026-01-02", body: {user: "{{ 'Ada' | upper }}"}}}
assertions: [{value: "{{ outputs.a.value }}", equalTo: ADA at 2026-01-02}]
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")
    assert result.execution is not None
    assert result.execution["trigger"]["id"] == "hook"


def test_secrets_and_envs_come_from_the_environment_and_are_masked_in_what_is_told(run_case: Any) -> None:
    environment = {"SECRET_KEY": secret("s3cret"), "ENV_TEAM": "data"}
    case = """\
assertions:
  - {value: "{{ secret('KEY') }}-{{ envs.team }}", equalTo: s3cret-data}
  - {value: "{{ secret('KEY') }}", equalTo: other, errorMessage: "it is {{ secret('KEY') }}"}
"""
    result = run_case(RETURN % "x", case, environment=environment)
    assert [each.is_success for each in result.assertions] == [True, False]
    told = "\n".join(result.lines("suite.yaml"))
    assert "s3cret" not in told
    assert "it is ********" in told


# -- Time -------------------------------------------------------------------------------------------

SLOW = """\
tasks:
  - {id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT8H}
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, pauseDuration: P1D}
  - id: flaky
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ taskrun.attemptsCount < 3 }}"
    retry: {type: constant, interval: PT1H, maxAttempts: 5}
  - {id: now, type: io.kestra.plugin.core.debug.Return, format: "{{ now() | date('yyyy-MM-dd HH:mm', timeZone='UTC') }}"}
"""


def test_waits_take_no_time(write: Any) -> None:
    suite = write(SLOW, "- id: one\n  assertions: [{value: '{{ outputs.now.value }}', equalTo: '2026-02-02 11:00'}]\n")
    result = run_suite(suite, environment={}, now=datetime(2026, 2, 1, tzinfo=UTC))
    assert result.is_success, result.report()
    assert result.seconds < 5


def test_a_pause_for_a_person_resumes_itself_with_the_defaults_of_its_inputs(run_case: Any) -> None:
    flow = """\
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: slow, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
      - id: approve
        type: io.kestra.plugin.core.flow.Pause
        timeout: PT1M
        onResume: [{id: ok, type: BOOL, defaults: true}]
        tasks: [{id: inside, type: io.kestra.plugin.core.debug.Return, format: in}]
"""
    case = """\
assertions:
  - {value: "{{ outputs.approve.onResume.ok }}", equalTo: true}
  - {value: "{{ tasks.inside.state }}", equalTo: SUCCESS}
  - {value: "{{ execution.state }}", equalTo: SUCCESS}
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")


def test_a_pause_that_needs_inputs_needs_a_fixture(run_case: Any) -> None:
    flow = """\
tasks:
  - {id: approve, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: ok, type: STRING}]}
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.approve.onResume.ok }}"}
"""
    result = run_case(flow, "assertions: [{value: x, isNotNull: true}]")
    assert result.state == "ERROR"
    assert result.errors[0].startswith(
        "The Pause `approve` cannot be resumed without inputs; give it a fixture with `outputs: {onResume: {…}}`:"
    )
    case = """\
fixtures: {tasks: [{id: approve, outputs: {onResume: {ok: true}}}]}
assertions: [{value: "{{ outputs.a.value }}", equalTo: true}]
"""
    assert run_case(flow, case).state == "SUCCESS"


def test_a_loop_that_never_ends_is_given_up(run_case: Any) -> None:
    flow = """\
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ false }}"
    checkFrequency: {interval: P30D}
    tasks: [{id: poll, type: io.kestra.plugin.core.debug.Return, format: x}]
"""
    result = run_case(flow, "assertions: [{value: x, isNotNull: true}]")
    assert result.state == "ERROR"
    assert list(result.errors) == [
        "The execution did not end: it is RUNNING after 12 timers and 360 days, 0:00:00 of its own time"
    ]


def test_the_last_execution_of_a_retry_that_starts_over_is_the_one_looked_at(run_case: Any) -> None:
    flow = """\
retry: {type: constant, interval: PT5M, maxAttempts: 3, behavior: CREATE_NEW_EXECUTION}
tasks:
  - {id: given, type: io.kestra.plugin.core.execution.Fail}
  - {id: flaky, type: io.kestra.plugin.core.execution.Fail, condition: "{{ execution.id == execution.originalId }}"}
"""
    case = """\
fixtures: {tasks: [{id: given}]}
assertions:
  - {value: "{{ execution.state }}", equalTo: SUCCESS}
  - {value: "{{ execution.id == execution.originalId }}", equalTo: false}
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")


# -- Assertions -------------------------------------------------------------------------------------


def test_assertions_see_what_the_execution_left(run_case: Any) -> None:
    flow = """\
labels: {team: data}
variables: {n: 3}
inputs: [{id: name, type: STRING, defaults: Ada}]
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [x, y]
    tasks: [{id: a, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}]
outputs: [{id: all, type: JSON, value: "{{ outputs.a | keys }}"}]
"""
    case = """\
assertions:
  - {value: "{{ outputs.a.x.value }}", equalTo: x}
  - {value: "{{ outputs.a | keys }}", equalTo: [x, y]}
  - {value: "{{ execution.outputs.all }}", contains: y}
  - {value: "{{ inputs.name }} {{ vars.n }} {{ labels.team }} {{ flow.id }}", equalTo: Ada 3 data x}
  - {value: "{{ tasks.a.y.state }}", in: "{{ ['SUCCESS', 'WARNING'] }}"}
  - {value: "{{ taskrun.value }} {{ task.type }}", taskId: a, equalTo: y io.kestra.plugin.core.debug.Return}
  - {value: "{{ vars.n }}", equalTo: "{{ 1 + 2 }}", greaterThan: 2, lessThan: 4}
  - {value: "{{ vars.missing ?? null }}", isNull: true}
  - {value: "{{ vars.n }}{{ vars.n }}", equalTo: "33"}
  - {value: "{{ vars.n }}\\n", equalTo: 3}
"""
    result = run_case(flow, case)
    assert result.state == "SUCCESS", result.lines("suite.yaml")
    assert len(result.assertions) == 12


def test_a_failed_assertion_is_told_in_full(run: Any) -> None:
    cases = """\
- id: one
  assertions:
    - description: It is right
      taskId: a
      value: "{{ outputs.a.value }}"
      equalTo: x
      notEqualTo: y
      startsWith: z
      errorMessage: "got {{ outputs.a.value }}"
    - value: "{{ outputs.b }}"
      isNull: true
    - value: "{{ outputs.a.value }}"
      greaterThan: 3
"""
    result = run(RETURN % "y", cases)
    report = result.report().replace(result.file, "suite.yaml")
    assert (
        report
        == """\
tests-of-x > one: ERROR
  suite.yaml:7: It is right (task `a`)
    value:    {{ outputs.a.value }}
    expected: equalTo "x"
    actual:   "y"
    got y
  suite.yaml:7: It is right (task `a`)
    value:    {{ outputs.a.value }}
    expected: notEqualTo "y"
    actual:   "y"
    got y
  suite.yaml:7: It is right (task `a`)
    value:    {{ outputs.a.value }}
    expected: startsWith "z"
    actual:   "y"
    got y
  suite.yaml:14: assertion
    value:    {{ outputs.b }}
    The value cannot be rendered: Unable to find `b` used in the expression `{{ outputs.b }}` at line 1
  suite.yaml:16: assertion
    value:    {{ outputs.a.value }}
    greaterThan: "y" and 3 cannot be compared: two numbers, dates, times or durations are expected"""
    )


def test_a_failed_execution_is_no_failed_test_when_its_assertions_hold(run_case: Any) -> None:
    flow = "tasks: [{id: a, type: io.kestra.plugin.core.execution.Fail, errorMessage: Alas}]\n"
    assert run_case(flow, "assertions: [{value: '{{ execution.state }}', equalTo: FAILED}]").state == "SUCCESS"
    result = run_case(flow, "assertions: [{value: '{{ execution.state }}', equalTo: SUCCESS}]")
    assert result.state == "FAILED"
    assert result.lines("s.yaml")[-2:] == ["the execution ended FAILED", "task `a` FAILED: Alas"]


def test_disabled_cases_and_suites_are_skipped(run: Any, write: Any) -> None:
    cases = "- {id: one, disabled: true, assertions: [{value: a, equalTo: b}]}\n"
    result = run(RETURN % "x", cases)
    assert [case.state for case in result.cases] == ["SKIPPED"]
    assert result.is_success
    suite = write(RETURN % "x", cases.replace("true", "false"))
    suite.write_text(suite.read_text() + "disabled: true\n")
    assert run_suite(suite).cases[0].state == "SKIPPED"


def test_scripts_really_run(run_case: Any) -> None:
    flow = """\
tasks:
  - id: compute
    type: io.kestra.plugin.scripts.python.Script
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    script: |
      import json
      print("::" + json.dumps({"outputs": {"sum": sum([1, 2, 3])}}) + "::")
"""
    result = run_case(flow, "assertions: [{value: '{{ outputs.compute.vars.sum }}', equalTo: 6}]")
    assert result.state == "SUCCESS", result.lines("suite.yaml")


def test_cases_know_nothing_of_each_other(run: Any) -> None:
    flow = """\
tasks:
  - {id: get, type: io.kestra.plugin.core.kv.Get, key: k}
  - {id: set, type: io.kestra.plugin.core.kv.Set, key: k, value: v}
"""
    cases = "".join(
        f"- {{id: {name}, assertions: [{{value: '{{{{ outputs.get.value ?? null }}}}', isNull: true}}]}}\n"
        for name in "ab"
    )
    result = run(flow, cases)
    assert [case.state for case in result.cases] == ["SUCCESS", "SUCCESS"], result.report()


@pytest.mark.parametrize("flow_id", ["missing", "broken"])
def test_a_called_flow_that_cannot_be_had_is_told(flow_id: str, write: Any) -> None:
    suite = write(
        f"tasks: [{{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: {flow_id}}}]\n",
        "- {id: one}\n",
    )
    (suite.parent / "broken.yaml").write_text("id: broken\nnamespace: demo\ntasks: [{id: a, type: no.Such}]\n")
    result = run_suite(suite, environment={})
    assert not result.is_success
    wanted = {"missing": "There is no flow `missing` in the namespace `demo`", "broken": "Unknown type `no.Such`"}
    assert wanted[flow_id] in result.report()
