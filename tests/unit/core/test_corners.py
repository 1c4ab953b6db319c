"""Where two things happen to an execution at once: a kill of what queues, a restart of what is held, and their like."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.core.decide import decide, next_question
from headrace_engine.core.events import ExecutionCreated, Reopened
from headrace_engine.core.fold import begin_entry
from headrace_engine.core.messages import (
    Abort,
    AskSlot,
    ChangeState,
    Create,
    ForceRun,
    Hold,
    Kill,
    LoopChecked,
    Opened,
    Outputs,
    Pauses,
    Restart,
    Resume,
    SlaViolated,
    Sleeps,
    Slot,
    SlotGranted,
    TimerFired,
    Unplannable,
)
from headrace_engine.core.restart import copies, from_task_run
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import (
    Concurrency,
    Kind,
    LimitBehavior,
    OutputDefinition,
    Retry,
    RetryBehavior,
    RetryKind,
    Sla,
    SlaBehavior,
)
from headrace_engine.model.state import State
from unit.core.harness import START, Run, flow, opened, task

D = Kind.DISPATCHED
SECOND = timedelta(seconds=1)
RETRY = Retry(RetryKind.CONSTANT, SECOND, max_attempts=3)
FAILS_ONCE = [State.FAILED, State.SUCCESS]
LIMIT = Concurrency(1)
GRANTED, REFUSED = Slot(granted=True), Slot(granted=False)
OUTPUTS = (OutputDefinition("o", "STRING", "x"),)
FAIL_SLA = Sla("sla", SlaBehavior.FAIL, assertion="x")


def pause(name: str = "p", **others: Any) -> Any:
    return task(name, Kind.PAUSE, **others)


def parallel(*tasks: Any, **others: Any) -> Any:
    return task("par", Kind.PARALLEL, tasks=tasks, **others)


def nothing_left(run: Run) -> bool:
    """True when the execution is closed and every task run has ended."""
    state = run.state
    assert all(task_run.state.is_terminal for task_run in state.in_order()), run.states
    return state.closed and not (state.ready or state.timers or state.paused or state.open_attempts or state.children)


# -- Restarted after the execution left early ----------------------------------------------------------


def test_what_waited_for_another_attempt_when_an_sla_failed_the_execution_runs_again_after_a_restart() -> None:
    run = Run(flow(parallel(task("a", D), task("b", D, retry=RETRY)), slas=(FAIL_SLA,))).start()
    run.report("b", State.FAILED).send(SlaViolated("sla")).report("a", State.KILLED)
    assert run.states == {"par": "FAILED", "a": "FAILED", "b": "FAILED"}
    run.send(Restart())
    assert run.states == {"par": "RUNNING", "a": "RUNNING", "b": "RUNNING"}


def test_a_retry_that_was_about_to_start_when_an_sla_failed_the_execution_runs_again_after_a_restart() -> None:
    run = Run(flow(parallel(task("a", D), task("b", D, retry=RETRY)), slas=(FAIL_SLA,))).start()
    run.report("b", State.FAILED).send(Hold()).pass_time(SECOND)
    run.send(SlaViolated("sla")).report("a", State.KILLED)
    assert run.states == {"par": "FAILED", "a": "FAILED", "b": "FAILED"}
    assert run.send(Restart()).states == {"par": "RUNNING", "a": "RUNNING", "b": "RUNNING"}


def test_a_lane_that_had_not_begun_when_an_sla_failed_the_execution_begins_after_a_restart() -> None:
    loop = task("e", Kind.FOR_EACH, tasks=[task("a", D), task("b", D)])
    run = Run(flow(loop, slas=(FAIL_SLA,)), {"e": opened("x", "y")}).start().send(Hold()).report("a", value="x")
    assert run.states["b[x]"] == "CREATED"
    run.send(SlaViolated("sla")).report("a", State.KILLED, value="y")
    assert run.states == {"e": "FAILED", "a[x]": "SUCCESS", "a[y]": "FAILED", "b[x]": "FAILED"}
    assert run.send(Restart()).states == {"e": "RUNNING", "a[x]": "SUCCESS", "a[y]": "RUNNING", "b[x]": "RUNNING"}


def test_outputs_that_cannot_be_rendered_do_not_change_how_an_execution_left_early() -> None:
    script = {"outputs": [Outputs(error="no x")]}
    run = Run(flow(pause(), task("n"), outputs=OUTPUTS), script).start().send(Resume(to=State.CANCELLED))
    assert run.history[-1] == "CANCELLED"
    assert run.state.error is None
    assert run.state.outputs is None
    assert nothing_left(run)


def test_a_restart_of_what_is_paused_takes_the_slot_it_has() -> None:
    script = {"p": 5.0, "slot": [GRANTED, REFUSED]}
    run = Run(flow(parallel(pause(), pause("q")), concurrency=LIMIT), script).start()
    question = decide(begin_entry(run.state, run.now), ChangeState(State.SUCCESS, run.find("q").id), run.now)
    assert next_question(question.state) == AskSlot(force=True)


# -- Held -------------------------------------------------------------------------------------------


def test_what_was_held_at_its_end_renders_its_outputs_and_ends() -> None:
    run = Run(flow(task("a", D), outputs=OUTPUTS)).start().send(Hold()).report("a")
    assert run.history[-1] == "SUCCESS"
    assert run.state.outputs is not None


def test_a_hold_just_before_the_outputs_are_rendered_keeps_nothing_from_ending() -> None:
    run = Run(flow(task("e", Kind.FOR_EACH, tasks=[task("a")]), outputs=OUTPUTS), {"e": opened()})
    created = ExecutionCreated("test", "flow", 1, Inline({}))
    state = decide(begin_entry(run.state, run.now), Create(created), run.now).state
    state = decide(state, Opened(state.ready[0], values=()), run.now).state
    assert state.finishing is State.SUCCESS
    state = decide(decide(state, Hold(), run.now).state, Resume(), run.now).state
    assert decide(state, Outputs(), run.now).state.state is State.SUCCESS


def test_an_execution_that_retries_may_be_held() -> None:
    run = Run(flow(task("a", retry=RETRY)), {"a": FAILS_ONCE}).start().send(Hold())
    assert run.history == ["CREATED", "RUNNING", "RETRYING", "PAUSED"]
    run.pass_time(SECOND)
    assert run.states == {"a": "CREATED"}
    assert run.send(Resume()).history[-1] == "SUCCESS"


def test_the_time_of_a_pause_does_not_end_a_hold() -> None:
    run = Run(flow(parallel(pause(), task("a", D)), task("n")), {"p": 5.0}).start().send(Hold()).report("a")
    run.pass_time(5 * SECOND)
    assert run.history[-1] == "PAUSED"
    assert run.states == {"par": "SUCCESS", "p": "SUCCESS", "a": "SUCCESS", "n": "CREATED"}
    assert run.send(Resume()).history[-1] == "SUCCESS"


def test_a_restart_of_what_is_held_keeps_who_waits_for_another_attempt() -> None:
    run = Run(
        flow(parallel(task("a", D, retry=RETRY), task("b", D))),
    ).start()
    run.report("b", State.FAILED).report("a", State.FAILED).send(Hold()).send(Restart())
    assert run.states == {"par": "RUNNING", "a": "RETRYING", "b": "RUNNING"}
    run.pass_time(SECOND)
    run.report("a").report("b")
    assert run.history[-1] == "SUCCESS"


def test_a_restart_of_what_is_held_drops_an_errors_branch_that_is_about_to_start() -> None:
    run = Run(flow(task("a", D), errors=(task("s", Kind.SEQUENTIAL, tasks=[task("e")]),))).start()
    run.send(Hold()).report("a", State.FAILED)
    assert run.states == {"a": "FAILED", "s": "CREATED"}
    run.send(Restart())
    assert run.states == {"a": "RUNNING"}
    assert run.report("a").history[-1] == "SUCCESS"


def test_a_restart_of_what_is_held_leaves_a_loop_that_is_about_to_check_alone() -> None:
    loop = task("l", Kind.LOOP_UNTIL, tasks=[task("x", D)])
    answers = [opened(), lambda it: LoopChecked(it.id), lambda it: LoopChecked(it.id, done=True)]
    run = Run(flow(parallel(task("a", D), loop)), {"l": answers}).start()
    run.report("a", State.FAILED).send(Hold()).report("x").send(Restart())
    assert run.states == {"par": "RUNNING", "a": "RUNNING", "l": "RUNNING", "x": "RUNNING"}
    run.report("x").report("a")
    assert run.history[-1] == "SUCCESS"


def test_a_force_run_that_comes_late_resumes_no_pause() -> None:
    run = Run(flow(task("a", D), pause())).start(start_at=START + SECOND).send(ForceRun()).report("a")
    state = run.state
    assert run.send(ForceRun()).state is state
    assert run.states == {"a": "SUCCESS", "p": "PAUSED"}


# -- Between the end of the tasks and the flow's outputs ----------------------------------------------


@pytest.mark.parametrize(("message", "end"), [(Kill(), "KILLED"), (SlaViolated("sla"), "FAILED")])
def test_what_comes_before_the_outputs_are_rendered_still_counts(message: Any, end: str) -> None:
    run = Run(flow(task("a", D), outputs=OUTPUTS, slas=(FAIL_SLA,))).start()
    run.answer = lambda state, question: pytest.fail("asked")  # type: ignore[method-assign]
    state = begin_entry(run.state, run.now)
    from headrace_engine.core.messages import AttemptReported, RenderOutputs

    state = decide(state, AttemptReported(run.find("a").id, 0, run.result(State.SUCCESS)), run.now).state
    assert isinstance(next_question(state), RenderOutputs)
    state = decide(state, message, run.now).state
    if next_question(state) is not None:
        state = decide(state, Outputs(), run.now).state
    assert state.state.value == end
    assert state.closed


# -- Concurrency ------------------------------------------------------------------------------------


def restarted(behavior: LimitBehavior = LimitBehavior.QUEUE, **others: Any) -> Run:
    """A flow whose task failed, restarted while there is no slot."""
    nested = task("s", Kind.SEQUENTIAL, tasks=[task("a"), task("b")])
    slots = [GRANTED, Slot(granted=False, behavior=behavior), GRANTED]
    run = Run(flow(nested, concurrency=LIMIT, slas=(FAIL_SLA,), **others), {"a": FAILS_ONCE, "slot": slots}).start()
    return run.send(Restart())


@pytest.mark.parametrize(
    ("message", "states", "end"),
    [
        (Kill(), {"s": "KILLED", "a": "KILLED"}, "KILLED"),
        (SlaViolated("sla"), {"s": "FAILED", "a": "FAILED"}, "FAILED"),
        (ChangeState(State.FAILED), {"s": "FAILED", "a": "FAILED"}, "FAILED"),
        (ChangeState(State.CANCELLED), {"s": "CANCELLED", "a": "FAILED"}, "CANCELLED"),
    ],
)
def test_an_end_in_the_queue_after_a_restart_ends_its_task_runs(message: Any, states: Any, end: str) -> None:
    run = restarted(outputs=OUTPUTS)
    assert run.history[-1] == "QUEUED"
    run.send(message)
    assert run.states == states
    assert run.history[-1] == end
    assert nothing_left(run)


def test_a_kill_in_the_queue_after_a_state_set_by_hand() -> None:
    run = Run(flow(task("a"), task("b"), concurrency=LIMIT), {"a": State.FAILED, "slot": [GRANTED, REFUSED]}).start()
    run.send(ChangeState(State.SUCCESS, run.find("a").id)).send(Kill())
    assert run.states == {"a": "SUCCESS"}
    assert run.history[-1] == "KILLED"
    assert nothing_left(run)


@pytest.mark.parametrize(
    ("behavior", "states", "end"),
    [
        (LimitBehavior.CANCEL, {"s": "CANCELLED", "a": "FAILED"}, "CANCELLED"),
        (LimitBehavior.FAIL, {"s": "FAILED", "a": "FAILED"}, "FAILED"),
    ],
)
def test_a_restart_that_gets_no_slot_runs_nothing_and_may_be_tried_again(
    behavior: LimitBehavior, states: Any, end: str
) -> None:
    run = restarted(behavior)
    assert run.states == states
    assert run.history[-1] == end
    assert nothing_left(run)
    run.send(Restart())
    assert run.states == {"s": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS"}


def test_a_kill_that_comes_together_with_a_restart() -> None:
    run = Run(flow(task("a"), concurrency=LIMIT), {"a": State.FAILED}).start()
    state = decide(begin_entry(run.state, run.now), Restart(), run.now).state
    state = decide(state, Kill(), run.now).state
    assert state.state is State.KILLED
    assert next_question(state) is None


# -- Kill -------------------------------------------------------------------------------------------


def test_a_kill_after_a_broken_sla_has_stopped_the_task_runs() -> None:
    run = Run(flow(task("a", D), slas=(FAIL_SLA,))).start().send(SlaViolated("sla"))
    assert run.states == {"a": "KILLING"}
    run.send(Kill()).report("a", State.KILLED)
    assert run.states == {"a": "KILLED"}
    assert run.history[-2:] == ["KILLING", "KILLED"]


@pytest.mark.parametrize("message", [Kill(), SlaViolated("sla")])
def test_after_execution_runs_when_a_sleep_was_all_that_had_to_be_stopped(message: Any) -> None:
    definition = flow(task("s", Kind.SLEEP), after_execution=(task("z"),), slas=(FAIL_SLA,))
    run = Run(definition, {"s": lambda it: Sleeps(it.id, 5.0)}).start().send(message)
    assert run.states["z"] == "SUCCESS"


def test_abort_ends_every_task_run_and_stops_what_runs() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a", D)])
    definition = flow(parallel(inner, task("r", retry=RETRY), pause(), task("sub", Kind.SUBFLOW)))
    run = Run(definition, {"r": State.FAILED}).start()
    run.send(Abort("a bug"))
    assert set(run.states.values()) == {"FAILED"}
    assert nothing_left(run)
    assert {"StopAttempt", "KillExecution"} <= set(run.outstanding)
    assert "StartAttempt" not in run.outstanding


def test_abort_in_the_middle_of_a_step_starts_nothing_more() -> None:
    run = Run(flow(task("a", D), task("b"))).start().send(Hold()).report("a").send(Abort("a bug"))
    assert run.states == {"a": "SUCCESS", "b": "FAILED"}
    assert next_question(run.state) is None


def test_a_kill_while_a_new_execution_is_about_to_take_over_keeps_it_from_starting() -> None:
    again = Retry(RetryKind.CONSTANT, SECOND, behavior=RetryBehavior.CREATE_NEW_EXECUTION)
    run = Run(flow(parallel(task("a", D, retry=again), task("b", D)))).start().report("a", State.FAILED)
    assert "StartExecution" not in run.outstanding
    run.send(Kill()).report("b", State.KILLED)
    assert run.history[-1] == "KILLED"
    assert "StartExecution" not in run.outstanding


# -- Restart, change of state, replay ---------------------------------------------------------------


def test_a_state_set_by_hand_that_completes_everything_ends_the_execution_once() -> None:
    run = Run(flow(task("s", Kind.SEQUENTIAL, tasks=[task("a")])), {"a": State.FAILED}).start()
    run.send(ChangeState(State.SUCCESS, run.find("a").id))
    assert run.history == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "SUCCESS"]


def test_when_only_finally_failed_a_restart_runs_that_again() -> None:
    run = Run(flow(task("a"), finally_=(task("f"),)), {"f": FAILS_ONCE}).start().send(Restart())
    assert run.states == {"a": "SUCCESS", "f": "SUCCESS"}
    assert run.history_of("a") == ["CREATED", "RUNNING", "SUCCESS"]
    assert run.history[-1] == "SUCCESS"


def test_when_only_the_finally_of_a_flowable_failed_a_restart_keeps_its_tasks() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a")], finally_=[task("f")])
    run = Run(flow(task("o", Kind.SEQUENTIAL, tasks=[inner, task("n")])), {"f": FAILS_ONCE}).start()
    first = run.find("a").id
    run.send(Restart())
    assert run.states == {"o": "SUCCESS", "s": "SUCCESS", "a": "SUCCESS", "f": "SUCCESS", "n": "SUCCESS"}
    assert run.find("a").id == first


def test_a_restart_leaves_an_allowed_failure_alone() -> None:
    allowing = task("s", Kind.ALLOW_FAILURE, tasks=[task("a")])
    run = Run(flow(allowing, task("b"), task("c")), {"a": State.FAILED, "b": FAILS_ONCE}).start().send(Restart())
    assert list(run.states.items()) == [("s", "WARNING"), ("a", "FAILED"), ("b", "SUCCESS"), ("c", "SUCCESS")]
    assert run.history[-1] == "WARNING"
    state = run.state
    assert run.send(Restart()).state is state


def test_a_replay_from_what_was_about_to_run_again() -> None:
    source = Run(flow(task("s", Kind.SEQUENTIAL, tasks=[task("a")])), {"a": State.FAILED}).start()
    definition = replace(source.definition, concurrency=LIMIT)
    source = Run(definition, {"a": State.FAILED, "slot": [GRANTED, REFUSED]}).start().send(Restart())
    assert source.states["a"] == "RESTARTED"
    assert replay(source, "a").states == {"s": "SUCCESS", "a": "SUCCESS"}


def test_a_finally_whose_failure_was_allowed_is_left_alone_by_a_restart() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a")], finally_=[task("f")], allow_failure=True)
    run = Run(flow(inner, task("b")), {"f": State.FAILED, "b": FAILS_ONCE}).start().send(Restart())
    assert run.states == {"s": "WARNING", "a": "SUCCESS", "f": "FAILED", "b": "SUCCESS"}


def test_a_failed_task_run_may_be_set_to_failed() -> None:
    run = Run(flow(task("a")), {"a": State.FAILED}).start()
    run.send(ChangeState(State.FAILED, run.find("a").id))
    assert run.history[-3:] == ["RESTARTED", "RUNNING", "FAILED"]


def test_the_end_state_may_be_changed_to_cancelled() -> None:
    assert Run(flow(task("a"))).start().send(ChangeState(State.CANCELLED)).history[-1] == "CANCELLED"


def test_a_state_set_by_hand_in_finally_runs_the_whole_of_it_again() -> None:
    last = task("f", Kind.SEQUENTIAL, tasks=[task("x")])
    run = Run(flow(task("a"), finally_=(last,)), {"x": FAILS_ONCE}).start()
    first = run.find("x").id
    run.send(ChangeState(State.SUCCESS, run.find("f").id))
    assert run.states == {"a": "SUCCESS", "f": "SUCCESS", "x": "SUCCESS"}
    assert run.find("x").id != first


def test_a_state_set_by_hand_leaves_the_other_pauses_waiting() -> None:
    run = Run(flow(parallel(pause("p"), pause("q")))).start()
    run.send(ChangeState(State.SUCCESS, run.find("p").id))
    assert run.states == {"par": "RUNNING", "p": "SUCCESS", "q": "PAUSED"}
    assert run.history[-1] == "PAUSED"
    assert run.send(Resume()).history[-1] == "SUCCESS"


def test_a_flowable_that_is_open_cannot_be_set_by_hand() -> None:
    run = Run(flow(task("s", Kind.SEQUENTIAL, tasks=[pause()]), task("n"))).start()
    state = run.state
    assert run.send(ChangeState(State.SUCCESS, run.find("s").id)).state is state


def test_a_pause_set_by_hand_is_over_also_when_it_has_an_on_pause_task() -> None:
    run = Run(flow(pause(branches={"onPause": (task("mail"),)}), task("n"))).start()
    run.send(ChangeState(State.SUCCESS, run.find("p").id))
    assert run.states["n"] == "SUCCESS"
    assert nothing_left(run)


def test_a_restart_of_a_pause_with_an_on_pause_task_pauses_again() -> None:
    run = Run(flow(pause(branches={"onPause": (task("mail"),)}))).start().send(Restart())
    assert run.states == {"p": "PAUSED", "mail": "SUCCESS"}
    assert run.send(Resume()).history[-1] == "SUCCESS"


def test_the_longest_duration_still_counts_after_a_restart_of_what_is_paused() -> None:
    sla = Sla("sla", SlaBehavior.FAIL, duration=10 * SECOND)
    run = Run(flow(pause(), slas=(sla,))).start().send(Restart()).pass_time(10 * SECOND)
    assert run.history[-1] == "FAILED"


def test_a_replay_from_a_task_of_a_dag_runs_again_what_depends_on_it() -> None:
    graph = {"b": ("a",), "c": ("b",), "z": ()}
    dag = task("g", Kind.DAG, tasks=[task(name) for name in "abcz"], depends_on=graph)
    source = Run(flow(dag)).start()
    found = from_task_run(source.state, source.find("a").id)
    assert {source.state.task_runs[run_id].task_id for run_id in found.removed} == {"b", "c"}


def replay(source: Run, task_id: str) -> Run:
    found = from_task_run(source.state, source.find(task_id).id)
    task_runs, moved = copies(source.state, found, "replayed", source.state.flow)
    created = ExecutionCreated("test", "flow", 1, Inline({}), parent_id=source.id, original_id=source.id)
    target = Run(source.definition, id="replayed")
    return target.send(Create(created, task_runs, Reopened(moved.restarted, moved.reopened, ())))


def test_a_replay_of_a_paused_execution_pauses_in_the_other_branches_too() -> None:
    left = task("l", Kind.SEQUENTIAL, tasks=[pause("p"), task("x")])
    source = Run(flow(parallel(left, task("a")))).start()
    target = replay(source, "a")
    assert target.states == {"par": "RUNNING", "l": "RUNNING", "p": "PAUSED", "a": "SUCCESS"}
    target.send(Resume())
    assert target.history[-1] == "SUCCESS"
    assert target.states["x"] == "SUCCESS"


def test_time_does_not_run_back_in_a_replay_either() -> None:
    source = Run(flow(task("a"), task("b"))).start()
    found = from_task_run(source.state, source.find("b").id)
    task_runs, moved = copies(source.state, found, "replayed", source.state.flow)
    target = Run(source.definition, id="replayed")
    target.now -= SECOND
    created = ExecutionCreated("test", "flow", 1, Inline({}))
    target.send(Create(created, task_runs, Reopened(moved.restarted, moved.reopened, ())))
    dates = [date for _, date in target.find("b").histories]
    assert dates == sorted(dates)


def test_a_replay_of_a_paused_execution_takes_up_an_errors_branch_elsewhere() -> None:
    left = task("l", Kind.SEQUENTIAL, tasks=[task("f")], errors=[pause("p"), task("x")])
    source = Run(flow(parallel(left, task("a"))), {"f": State.FAILED}).start()
    assert source.history[-1] == "PAUSED"
    target = replay(source, "a")
    assert target.states == {"par": "RUNNING", "l": "RUNNING", "f": "FAILED", "a": "SUCCESS", "p": "PAUSED"}
    assert target.send(Resume()).history[-1] == "FAILED"


@pytest.mark.parametrize("to", [State.CANCELLED, State.KILLED])
def test_a_pause_after_the_execution_ends_only_itself(to: State) -> None:
    run = Run(flow(task("a"), after_execution=(pause(),))).start().send(Resume(to=to))
    assert run.states == {"a": "SUCCESS", "p": to.value}
    assert run.history[-1] == "SUCCESS"
    assert nothing_left(run)


# -- A flowable's own failure -----------------------------------------------------------------------


def _unplannable(task_run: TaskRun) -> Unplannable:
    return Unplannable(task_run.id, "no x")


def test_a_condition_that_cannot_be_evaluated_after_a_round_runs_the_errors_of_the_loop() -> None:
    loop = task("l", Kind.LOOP_UNTIL, tasks=[task("a")], errors=[task("e")], finally_=[task("f")])
    run = Run(flow(loop), {"l": [opened(), _unplannable]}).start()
    assert run.states == {"l": "FAILED", "a": "SUCCESS", "e": "SUCCESS", "f": "SUCCESS"}
    assert run.find("l").error == "no x"


def test_a_pause_whose_duration_cannot_be_evaluated_after_its_on_pause_task_runs_its_errors() -> None:
    run = Run(
        flow(pause(branches={"onPause": (task("m"),)}, tasks=[task("t")], errors=[task("e")])),
        {"p": [lambda it: Pauses(it.id), _unplannable]},
    ).start()
    assert run.states == {"p": "FAILED", "m": "SUCCESS", "e": "SUCCESS"}


def test_a_working_directory_that_cannot_collect_because_its_worker_is_lost_runs_its_errors() -> None:
    from headrace_engine.core.messages import JobReady

    directory = task(
        "w", Kind.WORKING_DIRECTORY, tasks=[task("a")], properties={"outputFiles": []}, errors=[task("e")],
        resubmits=0,
    )  # fmt: skip
    run = Run(flow(directory), {"w": [lambda it: Opened(it.id), lambda it: JobReady(it.id, D, Inline({}))]}).start()
    run.report("w", State.RESUBMITTED)
    assert run.states == {"w": "FAILED", "a": "SUCCESS", "e": "SUCCESS"}


def test_a_slot_granted_twice_runs_it_once() -> None:
    run = Run(flow(task("a", D), concurrency=LIMIT), {"slot": [REFUSED]}).start().send(SlotGranted())
    state = run.state
    assert run.send(SlotGranted()).state is state


def test_a_timer_of_nobody_does_nothing() -> None:
    run = Run(flow(task("a", D))).start()
    state = run.state
    for key in ("sla:x", "pause:x", "loop:x", "sleep:x:0", "start", "retry"):
        run.send(TimerFired(key))
    assert run.state is state
