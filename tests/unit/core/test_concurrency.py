"""Concurrency limits, as the core sees them: it asks for a slot, and says when it needs none any more."""

from __future__ import annotations

from datetime import timedelta

from headrace_engine.core.messages import ForceRun, Kill, Restart, Slot, SlotGranted
from headrace_engine.model.definition import Concurrency, LimitBehavior, OutputDefinition, Retry, RetryKind
from headrace_engine.model.state import State
from unit.core.harness import Run, flow, task

LIMIT = Concurrency(1)


def limited(behavior: LimitBehavior, *more: Slot, **script: object) -> Run:
    slots = [Slot(granted=False, behavior=behavior), *more]
    definition = flow(task("a"), concurrency=LIMIT, outputs=(OutputDefinition("o", "STRING", "x"),))
    return Run(definition, {"slot": slots, **script}).start()


def test_trap_15_queue_waits_and_runs_when_a_slot_is_granted() -> None:
    run = limited(LimitBehavior.QUEUE)
    assert run.history == ["CREATED", "QUEUED"]
    assert "JoinQueue" in run.outstanding
    run.send(SlotGranted())
    assert run.history == ["CREATED", "QUEUED", "RUNNING", "SUCCESS"]
    assert "ReleaseSlot" in run.outstanding
    ended = run.state
    assert run.send(SlotGranted()).state is ended


def test_trap_15_cancel_gives_cancelled_without_task_runs() -> None:
    run = limited(LimitBehavior.CANCEL)
    assert run.history == ["CREATED", "CANCELLED"]
    assert run.states == {}
    assert run.state.closed


def test_fail_gives_failed_with_a_reason() -> None:
    run = limited(LimitBehavior.FAIL)
    assert run.history == ["CREATED", "FAILED"]
    assert run.state.error == "The concurrency limit of the flow is reached"


def test_with_a_slot_it_runs_at_once() -> None:
    run = Run(flow(task("a"), concurrency=LIMIT)).start()
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]


def test_force_run_takes_a_slot_whatever_the_limit() -> None:
    run = limited(LimitBehavior.QUEUE, Slot(granted=True))
    run.send(ForceRun())
    assert run.history == ["CREATED", "QUEUED", "RUNNING", "SUCCESS"]


def test_kill_takes_it_out_of_the_queue() -> None:
    run = limited(LimitBehavior.QUEUE).send(Kill())
    assert run.history == ["CREATED", "QUEUED", "KILLED"]
    assert "ReleaseSlot" in run.outstanding


def test_a_restart_asks_for_a_slot_again() -> None:
    granted, refused = Slot(granted=True), Slot(granted=False)
    run = Run(
        flow(task("a"), task("b"), concurrency=LIMIT), {"a": [State.FAILED, State.SUCCESS], "slot": [granted, refused]}
    ).start()
    run.send(Restart())
    assert run.history == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "QUEUED"]
    assert run.states == {"a": "RESTARTED"}
    run.send(SlotGranted())
    assert run.states == {"a": "SUCCESS", "b": "SUCCESS"}
    assert run.history[-2:] == ["RUNNING", "SUCCESS"]


def test_a_restart_that_is_called_off_asks_for_no_slot_again() -> None:
    """It is about to end: what is left to ask is the flow's outputs."""
    refused = Slot(granted=False, behavior=LimitBehavior.CANCEL)
    definition = flow(task("a"), task("b"), concurrency=LIMIT, outputs=(OutputDefinition("o", "STRING", "x"),))
    run = Run(definition, {"a": [State.FAILED, State.SUCCESS], "slot": [Slot(granted=True), refused]}).start()
    run.send(Restart(), limit=10)
    assert run.history == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "CANCELLED"]
    assert run.calls["slot"] == 2


def test_a_retry_that_waits_for_a_slot_does_not_take_an_earlier_grant_for_its_own() -> None:
    refused = Slot(granted=False)
    retried = task("a", retry=Retry(RetryKind.CONSTANT, timedelta(minutes=1)))
    script = {"a": [State.FAILED, State.SUCCESS], "slot": [refused, refused]}
    run = Run(flow(retried, concurrency=LIMIT), script).start()
    grant = SlotGranted(run.state.seq)
    run.send(grant)
    assert run.history == ["CREATED", "QUEUED", "RUNNING", "RETRYING"]
    assert "ReleaseSlot" in run.outstanding
    run.pass_time(timedelta(minutes=1))
    assert run.history[-2:] == ["RETRYING", "QUEUED"]
    assert run.send(grant).history[-1] == "QUEUED"
    assert run.send(SlotGranted(run.state.seq)).history[-2:] == ["RUNNING", "SUCCESS"]
