"""What a person may ask of an execution: done where it applies, refused with the right error where it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_engine.inputs import InputError
from headrace_engine.model.state import State
from headrace_engine.operations import IllegalStateError, Operations, UnprocessableError
from headrace_engine.testing.runtime import VirtualRuntime

PAUSED = """
id: approval
namespace: demo
tasks:
  - id: before
    type: io.kestra.plugin.core.debug.Return
    format: asked
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - {id: reason, type: STRING}
      - {id: amount, type: INT, defaults: 3}
  - id: after
    type: io.kestra.plugin.core.debug.Return
    format: "{{ outputs.wait.onResume.reason }} {{ outputs.wait.onResume.amount }} {{ outputs.wait.resumed.to }}"
"""

FAILING = """
id: failing
namespace: demo
inputs:
  - {id: mode, type: STRING, defaults: bad}
tasks:
  - id: first
    type: io.kestra.plugin.core.debug.Return
    format: "{{ inputs.mode }}"
  - id: check
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ inputs.mode == 'bad' }}"
  - id: last
    type: io.kestra.plugin.core.debug.Return
    format: end
"""

SLEEPING = """
id: sleeping
namespace: demo
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: x}
"""

LATE = """
id: late
namespace: demo
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: x}
afterExecution:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
"""

NAPPING = SLEEPING.replace("id: sleeping", "id: napping") + "  - {id: wait, type: io.kestra.plugin.core.flow.Pause}\n"
LIMITED = SLEEPING.replace("id: sleeping", "id: limited") + "concurrency: {limit: 1}\n"


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        for source in (PAUSED, FAILING, SLEEPING, NAPPING, LIMITED, LATE):
            runtime.save_flow(source)
        yield runtime


def start(runtime: VirtualRuntime, flow_id: str, **inputs: object) -> str:
    execution_id = runtime.create("demo", flow_id, inputs)
    runtime.settle(None)
    return execution_id


def test_resume_takes_inputs_and_keeps_who_and_when(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "approval")
    runtime.ask(execution_id, lambda operations, state: operations.resume(state, {"reason": "fine"}, by="ada"))
    runtime.settle()
    outcome = runtime.outcome(execution_id)
    assert outcome.state == "SUCCESS"
    assert outcome.find("after")["outputs"] == {"value": "fine 3 RUNNING"}
    assert outcome.find("wait")["outputs"]["resumed"] == {"by": "ada", "on": "2026-01-01T00:00:00Z", "to": "RUNNING"}


def test_resume_without_a_required_input_is_refused_and_changes_nothing(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "approval")
    with pytest.raises(InputError, match="Invalid input for `reason`"):
        runtime.ask(execution_id, lambda operations, state: operations.resume(state, {}))
    runtime.settle()
    assert runtime.outcome(execution_id).state == "PAUSED"


def test_resume_of_what_is_not_paused_is_refused(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing", mode="good")
    with pytest.raises(IllegalStateError, match="is not paused, it is in state SUCCESS"):
        runtime.ask(execution_id, lambda operations, state: operations.resume(state))


def test_resume_into_failure(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "approval")
    runtime.ask(execution_id, lambda operations, state: operations.resume(state, {"reason": "no"}, to=State.FAILED))
    runtime.settle()
    assert runtime.outcome(execution_id).history[-1] == "FAILED"


def test_restart_is_refused_while_running_and_when_nothing_failed(runtime: VirtualRuntime) -> None:
    running = start(runtime, "sleeping")
    with pytest.raises(IllegalStateError, match="must be terminated or paused"):
        runtime.ask(running, lambda operations, state: operations.restart(state))
    succeeded = start(runtime, "failing", mode="good")
    with pytest.raises(UnprocessableError, match="No task found to restart"):
        runtime.ask(succeeded, lambda operations, state: operations.restart(state))


def test_restart_runs_again_what_failed(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing")
    runtime.ask(execution_id, lambda operations, state: operations.restart(state))
    runtime.settle()
    outcome = runtime.outcome(execution_id)
    assert outcome.history == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "FAILED"]
    assert len(outcome.find("check")["attempts"]) == 2
    assert len(outcome.find("first")["attempts"]) == 1


def test_restart_on_a_new_revision_is_a_new_execution(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing")
    runtime.save_flow(FAILING.replace("== 'bad'", "== 'worse'"))
    follower = runtime.begin(execution_id, lambda operations, state: operations.restart_on(state, 2))
    runtime.settle()
    outcome = runtime.outcome(follower)
    assert outcome.state == "SUCCESS"
    assert outcome.view["parentId"] == execution_id
    assert outcome.view["flowRevision"] == 2
    assert [run["taskId"] for run in outcome.task_runs] == ["first", "check", "last"]


def test_replay_from_the_beginning_and_from_a_task_run_with_other_inputs(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing")
    again = runtime.begin(execution_id, lambda operations, state: operations.replay(state))
    runtime.settle()
    assert runtime.outcome(again).history == ["CREATED", "RUNNING", "FAILED"]
    check = runtime.outcome(execution_id).find("check")["id"]
    good = runtime.begin(
        execution_id, lambda operations, state: operations.replay(state, check, inputs={"mode": "good"})
    )
    runtime.settle()
    outcome = runtime.outcome(good)
    assert outcome.history == ["CREATED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert outcome.find("first")["outputs"] == {"value": "bad"}
    assert {"key": "system.replay", "value": "true"} in outcome.view["labels"]
    assert outcome.view["originalId"] == execution_id
    with pytest.raises(UnprocessableError, match="No task found"):
        runtime.begin(execution_id, lambda operations, state: operations.replay(state, "nowhere"))


def test_change_state_goes_on_from_there(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing")
    check = runtime.outcome(execution_id).find("check")["id"]
    runtime.ask(execution_id, lambda operations, state: operations.change_state(state, check, State.SUCCESS))
    runtime.settle()
    outcome = runtime.outcome(execution_id)
    assert outcome.state == "SUCCESS"
    assert [run["taskId"] for run in outcome.task_runs] == ["first", "check", "last"]


def test_change_status_only_between_ends(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "failing")
    runtime.ask(execution_id, lambda operations, state: operations.change_status(state, State.WARNING))
    runtime.settle()
    assert runtime.outcome(execution_id).history[-1] == "WARNING"
    with pytest.raises(IllegalStateError):
        runtime.ask(execution_id, lambda operations, state: operations.change_status(state, State.RUNNING))


def test_kill_is_refused_after_the_end(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "sleeping")
    runtime.ask(execution_id, lambda operations, state: operations.kill(state))
    runtime.settle()
    assert runtime.outcome(execution_id).history == ["CREATED", "RUNNING", "KILLING", "KILLED"]
    with pytest.raises(IllegalStateError, match="already finished"):
        runtime.ask(execution_id, lambda operations, state: operations.kill(state))


def test_pause_holds_and_resume_goes_on(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "sleeping")
    runtime.ask(execution_id, lambda operations, state: operations.pause(state))
    runtime.settle()
    outcome = runtime.outcome(execution_id)
    assert outcome.state == "PAUSED"
    assert outcome.find("nap")["state"]["current"] == "SUCCESS"
    with pytest.raises(UnprocessableError, match="not running"):
        runtime.ask(execution_id, lambda operations, state: operations.pause(state))
    runtime.ask(execution_id, lambda operations, state: operations.resume(state))
    runtime.settle()
    assert runtime.outcome(execution_id).history[-3:] == ["RESTARTED", "RUNNING", "SUCCESS"]


def test_the_end_of_a_hold_that_comes_twice_leaves_the_next_pause_waiting(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "napping")
    runtime.ask(execution_id, lambda operations, state: operations.pause(state))
    runtime.settle()
    message = Operations(runtime.engine).resume(runtime.state(execution_id))
    for _ in range(2):
        runtime.world.post(execution_id, message)
        runtime.settle()
    assert runtime.outcome(execution_id).find("wait")["state"]["current"] == "PAUSED"


def test_unqueue_and_force_run(runtime: VirtualRuntime) -> None:
    first, second, third = (start(runtime, "limited") for _ in range(3))
    assert [runtime.outcome(each).state for each in (first, second, third)] == ["RUNNING", "QUEUED", "QUEUED"]
    runtime.ask(second, lambda operations, state: operations.unqueue(state))
    runtime.ask(third, lambda operations, state: operations.unqueue(state, State.CANCELLED))
    runtime.settle(None)
    assert [runtime.outcome(each).state for each in (first, second, third)] == ["RUNNING", "RUNNING", "CANCELLED"]
    assert runtime.stores.slots.state("demo/limited").holders == {first, second}
    with pytest.raises(UnprocessableError, match="not queued"):
        runtime.ask(first, lambda operations, state: operations.unqueue(state))
    runtime.settle()
    assert runtime.stores.slots.state("demo/limited").holders == frozenset()
    with pytest.raises(UnprocessableError, match="has ended"):
        runtime.ask(first, lambda operations, state: operations.force_run(state))


def test_force_run_resumes_the_pause_that_waits(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "approval")
    runtime.ask(execution_id, lambda operations, state: operations.force_run(state))
    runtime.settle()
    assert runtime.outcome(execution_id).find("wait")["state"]["current"] == "SUCCESS"


def test_a_pause_after_the_execution_can_be_resumed(runtime: VirtualRuntime) -> None:
    execution_id = start(runtime, "late")
    assert runtime.outcome(execution_id).state == "SUCCESS"
    runtime.ask(execution_id, lambda operations, state: operations.resume(state))
    runtime.settle()
    assert runtime.outcome(execution_id).find("wait")["state"]["current"] == "SUCCESS"
    with pytest.raises(IllegalStateError, match="not paused"):
        runtime.ask(execution_id, lambda operations, state: operations.resume(state))
