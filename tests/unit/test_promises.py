"""SLAs and checks: what a flow promises of its executions, and what it asks of their inputs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_engine.engine import CheckFailedError
from headrace_engine.testing.runtime import Outcome, VirtualRuntime

SLA = """
id: promised
namespace: demo
sla:
  - {{id: quick, type: MAX_DURATION, duration: PT10M, behavior: {behavior}, labels: {{sla: late}}}}
tasks:
  - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: {duration}}}
  - {{id: after, type: io.kestra.plugin.core.debug.Return, format: x}}
errors:
  - {{id: never, type: io.kestra.plugin.core.debug.Return, format: x}}
"""

ASSERTION = """
id: asserted
namespace: demo
sla:
  - id: small
    type: EXECUTION_ASSERTION
    assert: "{{{{ (outputs.size.value ?? 0) | number < 10 }}}}"
    behavior: {behavior}
    labels: {{sla: large}}
tasks:
  - {{id: size, type: io.kestra.plugin.core.debug.Return, format: "{size}"}}
  - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1M}}
  - {{id: after, type: io.kestra.plugin.core.debug.Return, format: x}}
"""

CHECKED = """
id: checked
namespace: demo
inputs:
  - {{id: amount, type: INT, defaults: 1}}
checks:
  - condition: "{{{{ inputs.amount < 10 }}}}"
    message: The amount is too large
    style: ERROR
    behavior: {behavior}
tasks:
  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: x}}
"""


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        yield runtime


def labels(outcome: Outcome) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in outcome.view["labels"]}


def states(outcome: Outcome) -> dict[str, str]:
    return {run["taskId"]: run["state"]["current"] for run in outcome.task_runs}


def test_an_execution_in_time_keeps_its_promise(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(SLA.format(behavior="FAIL", duration="PT5M"))
    assert outcome.state == "SUCCESS"
    assert "sla" not in labels(outcome)


@pytest.mark.parametrize(("behavior", "end"), [("FAIL", "FAILED"), ("CANCEL", "CANCELLED")])
def test_too_long_ends_the_execution_without_its_errors_branch(
    runtime: VirtualRuntime, behavior: str, end: str
) -> None:
    outcome = runtime.run(SLA.format(behavior=behavior, duration="PT1H"))
    assert outcome.history == ["CREATED", "RUNNING", end]
    assert states(outcome) == {"nap": end}
    assert labels(outcome)["sla"] == "late"
    assert outcome.view["state"]["duration"] == "PT10M"
    assert outcome.view["error"] == {"message": "The SLA `quick` was broken"}


def test_too_long_with_behavior_none_only_labels(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(SLA.format(behavior="NONE", duration="PT1H"))
    assert outcome.state == "SUCCESS"
    assert labels(outcome)["sla"] == "late"


def test_an_assertion_is_looked_at_when_the_execution_changes(runtime: VirtualRuntime) -> None:
    broken = runtime.run(ASSERTION.format(behavior="FAIL", size=12))
    assert broken.state == "FAILED"
    assert "after" not in states(broken)
    assert labels(broken)["sla"] == "large"
    assert runtime.run(ASSERTION.format(behavior="FAIL", size=3)).state == "SUCCESS"


def test_an_assertion_with_behavior_none_is_recorded_once(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(ASSERTION.format(behavior="NONE", size=12))
    assert outcome.state == "SUCCESS"
    assert labels(outcome)["sla"] == "large"


def test_a_check_that_holds_lets_the_execution_be(runtime: VirtualRuntime) -> None:
    assert runtime.run(CHECKED.format(behavior="BLOCK_EXECUTION"), {"amount": 3}).state == "SUCCESS"


def test_a_blocking_check_refuses_the_execution(runtime: VirtualRuntime) -> None:
    with pytest.raises(CheckFailedError, match=r"^The amount is too large$"):
        runtime.run(CHECKED.format(behavior="BLOCK_EXECUTION"), {"amount": 30})


def test_a_failing_check_creates_it_failed(runtime: VirtualRuntime) -> None:
    outcome = runtime.run(CHECKED.format(behavior="FAIL_EXECUTION"), {"amount": 30})
    assert outcome.history == ["CREATED", "FAILED"]
    assert outcome.view["error"] == {"message": "The amount is too large"}
    assert outcome.task_runs == []


def test_a_check_that_only_tells_lets_it_run(runtime: VirtualRuntime) -> None:
    assert runtime.run(CHECKED.format(behavior="CREATE_EXECUTION"), {"amount": 30}).state == "SUCCESS"
