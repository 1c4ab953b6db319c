"""What the core decides, told as stories: one behaviour each, the whole outcome asserted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headrace_engine.core.messages import (
    Abort,
    AttemptReported,
    Create,
    Kill,
    Outputs,
    Poke,
    Skipped,
    TimerFired,
    Unplannable,
)
from headrace_engine.model.attempt import AttemptResult, ExecutionChange
from headrace_engine.model.definition import Kind, OutputDefinition, Retry, RetryBehavior, RetryKind
from headrace_engine.model.state import State
from unit.core.harness import START, Run, flow, opened, task

D = Kind.DISPATCHED
SECOND = timedelta(seconds=1)
RETRY = Retry(RetryKind.CONSTANT, SECOND, max_attempts=3)


def test_tasks_run_in_order_and_inline_ones_share_one_entry() -> None:
    run = Run(flow(*(task(f"t{number}") for number in range(40)))).start()
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]
    assert list(run.states) == [f"t{number}" for number in range(40)]
    assert len(run.entries) == 1
    assert run.state.closed


def test_a_failed_task_stops_the_flow() -> None:
    run = Run(flow(task("a"), task("b"), task("c")), {"b": State.FAILED}).start()
    assert run.states == {"a": "SUCCESS", "b": "FAILED"}
    assert run.history == ["CREATED", "RUNNING", "FAILED"]


def test_a_disabled_task_has_no_task_run() -> None:
    run = Run(flow(task("a", disabled=True), task("b"))).start()
    assert run.states == {"b": "SUCCESS"}


def test_trap_21_a_falsy_run_if_skips_and_counts_as_success() -> None:
    run = Run(flow(task("a"), task("b")), {"a": lambda task_run: Skipped(task_run.id)}).start()
    assert run.states == {"a": "SKIPPED", "b": "SUCCESS"}
    assert run.history_of("a") == ["CREATED", "SKIPPED"]
    assert run.history[-1] == "SUCCESS"


def test_trap_21_a_run_if_that_cannot_render_fails_the_task() -> None:
    run = Run(flow(task("a"), task("b")), {"a": lambda task_run: Unplannable(task_run.id, "no x")}).start()
    assert run.states == {"a": "FAILED"}
    assert run.find("a").error == "no x"


def test_trap_07_allow_failure_gives_warning_and_goes_on() -> None:
    run = Run(flow(task("a", allow_failure=True), task("b")), {"a": State.FAILED}).start()
    assert run.states == {"a": "WARNING", "b": "SUCCESS"}
    assert run.history[-1] == "WARNING"


def test_trap_07_success_needs_allow_failure_and_allow_warning() -> None:
    run = Run(flow(task("a", allow_failure=True, allow_warning=True)), {"a": State.FAILED}).start()
    assert run.states == {"a": "SUCCESS"}


def test_trap_07_the_allow_failure_task_leaves_its_child_failed() -> None:
    run = Run(flow(task("a", Kind.ALLOW_FAILURE, tasks=[task("b"), task("c")]), task("d")), {"b": State.FAILED}).start()
    assert run.states == {"a": "WARNING", "b": "FAILED", "d": "SUCCESS"}
    assert run.history[-1] == "WARNING"


def test_trap_04_an_if_without_else_is_success() -> None:
    run = Run(flow(task("a", Kind.IF, branches={"then": (task("b"),)})), {"a": opened(branch="else")}).start()
    assert run.states == {"a": "SUCCESS"}


def test_trap_04_a_switch_without_a_matching_case_fails() -> None:
    run = Run(flow(task("a", Kind.SWITCH)), {"a": lambda task_run: Unplannable(task_run.id, "no case")}).start()
    assert run.states == {"a": "FAILED"}
    assert run.history[-1] == "FAILED"


def test_trap_05_a_successful_errors_branch_rescues_nothing() -> None:
    run = Run(flow(task("a"), errors=(task("e"),)), {"a": State.FAILED}).start()
    assert run.states == {"a": "FAILED", "e": "SUCCESS"}
    assert run.history[-1] == "FAILED"


def test_trap_06_local_errors_run_and_then_the_outer_ones() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a")], errors=[task("local")])
    run = Run(flow(inner, errors=(task("outer"),)), {"a": State.FAILED}).start()
    assert run.states == {"s": "FAILED", "a": "FAILED", "local": "SUCCESS", "outer": "SUCCESS"}


def test_trap_06_errors_wait_until_no_retry_is_left() -> None:
    run = Run(flow(task("a", retry=RETRY), errors=(task("e"),)), {"a": State.FAILED}).start()
    assert run.states == {"a": "RETRYING"}
    run.pass_time(SECOND)
    assert run.states == {"a": "RETRYING"}
    run.pass_time(SECOND)
    assert run.states == {"a": "FAILED", "e": "SUCCESS"}
    assert len(run.find("a").attempts) == 3


def test_finally_runs_on_success_and_on_failure_after_errors() -> None:
    parts = {"errors": (task("e"),), "finally_": (task("f"),)}
    assert Run(flow(task("a"), **parts)).start().states == {"a": "SUCCESS", "f": "SUCCESS"}
    failed = Run(flow(task("a"), **parts), {"a": State.FAILED}).start()
    assert failed.states == {"a": "FAILED", "e": "SUCCESS", "f": "SUCCESS"}
    assert failed.history[-1] == "FAILED"


def test_a_failed_finally_fails_the_execution() -> None:
    run = Run(flow(task("a"), finally_=(task("f"),)), {"f": State.FAILED}).start()
    assert run.history == ["CREATED", "RUNNING", "FAILED"]


def test_finally_of_a_flowable_runs_before_the_next_task() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a")], finally_=[task("f")])
    assert list(Run(flow(inner, task("b"))).start().states) == ["s", "a", "f", "b"]


def test_after_execution_runs_after_the_end_and_cannot_change_it() -> None:
    run = Run(flow(task("a"), after_execution=(task("z"),)), {"z": State.FAILED}).start()
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]
    assert run.states == {"a": "SUCCESS", "z": "FAILED"}
    assert run.state.closed


def test_trap_17_outputs_that_cannot_render_fail_a_finished_execution() -> None:
    definition = flow(task("a"), outputs=(OutputDefinition("o", "STRING", "{{ x }}"),))
    run = Run(definition, {"outputs": [Outputs(error="no x")]}).start()
    assert run.history == ["CREATED", "RUNNING", "FAILED"]
    assert run.state.outputs is None
    assert run.state.error == "no x"


def test_outputs_are_rendered_before_the_end() -> None:
    run = Run(flow(task("a"), outputs=(OutputDefinition("o", "STRING", "x"),))).start()
    assert run.state.outputs is not None
    assert run.history[-1] == "SUCCESS"


def test_trap_25_parallel_waits_for_running_siblings_and_starts_none_after_a_failure() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task("a", D), task("b", D), task("c", D)], concurrency=2)
    run = Run(flow(parallel, task("n"))).start()
    assert run.states == {"p": "RUNNING", "a": "RUNNING", "b": "RUNNING"}
    run.report("a", State.FAILED)
    assert run.states == {"p": "RUNNING", "a": "FAILED", "b": "RUNNING"}
    run.report("b")
    assert run.states == {"p": "FAILED", "a": "FAILED", "b": "SUCCESS"}
    assert run.history[-1] == "FAILED"


def test_parallel_keeps_its_limit_in_list_order() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task(name, D) for name in "abcd"], concurrency=2)
    run = Run(flow(parallel)).start()
    run.report("b")
    assert run.states == {"p": "RUNNING", "a": "RUNNING", "b": "SUCCESS", "c": "RUNNING"}
    run.report("a").report("c").report("d")
    assert run.history[-1] == "SUCCESS"


def test_trap_05_killed_beats_failed_beats_warning() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task(name, D) for name in "abc"])
    run = Run(flow(parallel)).start()
    run.report("a", State.WARNING).report("b", State.KILLED).report("c", State.FAILED)
    assert run.states["p"] == "KILLED"
    assert run.history[-1] == "KILLED"


def test_dag_starts_a_task_when_its_dependencies_ended() -> None:
    graph = {"c": ("a", "b"), "d": ("c",)}
    run = Run(flow(task("g", Kind.DAG, tasks=[task(name, D) for name in "abcd"], depends_on=graph))).start()
    assert list(run.states) == ["g", "a", "b"]
    run.report("b")
    assert list(run.states) == ["g", "a", "b"]
    run.report("a").report("c").report("d")
    assert run.states == {"g": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS", "d": "SUCCESS"}


def test_dag_counts_a_dependency_on_a_disabled_task_as_done() -> None:
    dag = task("g", Kind.DAG, tasks=[task("a", disabled=True), task("b")], depends_on={"b": ("a",)})
    assert Run(flow(dag)).start().states == {"g": "SUCCESS", "b": "SUCCESS"}


def test_dag_with_a_failure_starts_nothing_more() -> None:
    dag = task("g", Kind.DAG, tasks=[task("a", D), task("b", D), task("c", D)], depends_on={"c": ("b",)})
    run = Run(flow(dag)).start()
    run.report("a", State.FAILED).report("b")
    assert run.states == {"g": "FAILED", "a": "FAILED", "b": "SUCCESS"}


def test_trap_08_for_each_over_nothing_is_success() -> None:
    run = Run(flow(task("e", Kind.FOR_EACH, tasks=[task("a")], concurrency=1)), {"e": opened()}).start()
    assert run.states == {"e": "SUCCESS"}


def test_for_each_is_serial_with_a_limit_of_one() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a"), task("b")], concurrency=1)
    run = Run(flow(each), {"e": opened("x", "y")}).start()
    assert list(run.states) == ["e", "a[x]", "b[x]", "a[y]", "b[y]"]
    assert [run.find("a", "y").iteration, run.find("a", "x").iteration] == [1, 0]


def test_for_each_creates_a_wave_in_one_event_and_groups_stay_serial() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a", D), task("b", D)], concurrency=0)
    values = [str(number) for number in range(1000)]
    run = Run(flow(each), {"e": opened(*values)}).start()
    assert sum(type(event).__name__ == "TaskRunsCreated" for entry in run.entries for event in entry.events) == 2
    assert len(run.state.open_attempts) == 1000
    run.report("a", value="7")
    assert run.states["b[7]"] == "RUNNING"
    assert "b[8]" not in run.states


def test_for_each_with_a_limit_opens_the_next_group_when_one_is_through() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a", D), task("b", D)], concurrency=2)
    run = Run(flow(each), {"e": opened("x", "y", "z")}).start()
    assert list(run.states) == ["e", "a[x]", "a[y]"]
    run.report("a", value="x").report("b", value="x")
    assert list(run.states) == ["e", "a[x]", "a[y]", "b[x]", "a[z]"]


def test_for_each_starts_no_group_after_a_failed_one() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a")], concurrency=1, errors=[task("oops")])
    run = Run(flow(each), {"e": opened("x", "y", "z"), "a": [State.SUCCESS, State.FAILED]}).start()
    assert run.states == {"e": "FAILED", "a[x]": "SUCCESS", "a[y]": "FAILED", "oops": "SUCCESS"}


def test_each_parallel_runs_every_task_of_every_value_side_by_side() -> None:
    each = task("e", Kind.EACH_PARALLEL, tasks=[task("a", D), task("b", D)])
    run = Run(flow(each), {"e": opened("x", "y")}).start()
    assert list(run.states) == ["e", "a[x]", "b[x]", "a[y]", "b[y]"]


def test_nested_loops_place_task_runs_by_their_values() -> None:
    inner = task("i", Kind.FOR_EACH, tasks=[task("a"), task("s", Kind.SEQUENTIAL, tasks=[task("deep")])], concurrency=1)
    run = Run(
        flow(task("o", Kind.FOR_EACH, tasks=[inner], concurrency=1)),
        {"o": opened("1", "2"), "i": opened("x", "y")},
    ).start()
    assert {task_run.path for task_run in run.state.in_order() if task_run.task_id == "deep"} == {
        ("1", "x"), ("1", "y"), ("2", "x"), ("2", "y"),
    }  # fmt: skip
    assert all(task_run.value is None for task_run in run.state.in_order() if task_run.task_id == "deep")


def test_trap_20_children_of_a_working_directory_inherit_its_value() -> None:
    directory = task("w", Kind.WORKING_DIRECTORY, tasks=[task("a")])
    run = Run(
        flow(task("o", Kind.FOR_EACH, tasks=[directory], concurrency=1)),
        {"o": opened("1"), "w": opened()},
    ).start()
    assert run.find("a").value == "1"
    assert run.find("a").path == ("1",)


# -- Retry ------------------------------------------------------------------------------------------


def test_trap_11_max_attempts_counts_the_first_and_attempts_share_one_task_run() -> None:
    run = Run(flow(task("a", retry=RETRY)), {"a": [State.FAILED, State.FAILED, State.SUCCESS]}).start()
    assert run.history == ["CREATED", "RUNNING", "RETRYING"]
    run.pass_time(SECOND).pass_time(SECOND)
    assert run.states == {"a": "SUCCESS"}
    assert run.history_of("a") == [
        "CREATED", "RUNNING", "FAILED", "RETRYING", "CREATED", "RUNNING", "FAILED", "RETRYING", "CREATED", "RUNNING",
        "SUCCESS",
    ]  # fmt: skip
    assert [attempt.state.value for attempt in run.find("a").attempts] == ["FAILED", "FAILED", "SUCCESS"]
    assert run.history == ["CREATED", "RUNNING", "RETRYING", "RUNNING", "RETRYING", "RUNNING", "SUCCESS"]


def test_a_timer_that_fires_early_or_twice_does_nothing() -> None:
    run = Run(flow(task("a", retry=RETRY)), {"a": [State.FAILED, State.SUCCESS]}).start()
    key = next(iter(run.state.timers))
    entries = len(run.entries)
    run.send(TimerFired(key))
    assert len(run.entries) == entries
    run.pass_time(SECOND).send(TimerFired(key))
    assert len(run.entries) == entries + 1


def test_a_poke_fires_what_is_due() -> None:
    run = Run(flow(task("a", retry=RETRY)), {"a": [State.FAILED, State.SUCCESS]}).start()
    run.now += SECOND
    run.send(Poke())
    assert run.states == {"a": "SUCCESS"}


def test_retry_of_a_flowable_means_its_failed_children_and_the_nearest_one_counts() -> None:
    two = Retry(RetryKind.CONSTANT, SECOND, max_attempts=2)
    sequence = task("s", Kind.SEQUENTIAL, tasks=[task("a")], retry=two)
    run = Run(flow(sequence, retry=RETRY), {"a": State.FAILED}).start().pass_time(SECOND)
    assert len(run.find("a").attempts) == 2
    assert run.history[-1] == "FAILED"


def test_flow_retry_serves_tasks_without_their_own() -> None:
    run = Run(flow(task("a"), retry=RETRY), {"a": [State.FAILED, State.SUCCESS]}).start().pass_time(SECOND)
    assert run.states == {"a": "SUCCESS"}


def test_warning_on_retry() -> None:
    retry = Retry(RetryKind.CONSTANT, SECOND, max_attempts=3, warning_on_retry=True)
    first = Run(flow(task("a", retry=retry))).start()
    assert first.states == {"a": "SUCCESS"}
    second = Run(flow(task("a", retry=retry)), {"a": [State.FAILED, State.SUCCESS]}).start().pass_time(SECOND)
    assert second.states == {"a": "WARNING"}


def test_allow_failure_counts_only_after_the_last_attempt() -> None:
    run = Run(flow(task("a", retry=RETRY, allow_failure=True), task("b")), {"a": State.FAILED}).start()
    assert run.states == {"a": "RETRYING"}
    run.pass_time(SECOND).pass_time(SECOND)
    assert run.states == {"a": "WARNING", "b": "SUCCESS"}


def test_max_duration_ends_retrying() -> None:
    retry = Retry(RetryKind.CONSTANT, 10 * SECOND, max_duration=15 * SECOND)
    run = Run(flow(task("a", retry=retry)), {"a": State.FAILED}).start()
    run.pass_time(10 * SECOND)
    assert run.states == {"a": "FAILED"}
    assert len(run.find("a").attempts) == 2


@pytest.mark.parametrize("where", ["task", "flow"])
def test_trap_12_create_new_execution_marks_task_run_parents_and_execution_retried(where: str) -> None:
    retry = Retry(RetryKind.CONSTANT, SECOND, max_attempts=2, behavior=RetryBehavior.CREATE_NEW_EXECUTION)
    inner = task("a", retry=retry if where == "task" else None)
    definition = flow(
        task("s", Kind.SEQUENTIAL, tasks=[inner]),
        task("b"),
        retry=retry if where == "flow" else None,
        errors=(task("e"),),
    )
    run = Run(definition, {"a": State.FAILED}).start(labels=(("k", "v"),))
    assert run.states == {"s": "RETRIED", "a": "RETRIED"}
    assert run.history == ["CREATED", "RUNNING", "RETRIED"]
    (pending,) = [item.command for item in run.state.pending if type(item.command).__name__ == "StartExecution"]
    follower = pending.created
    assert follower.parent_id == "execution"
    assert follower.original_id == "execution"
    assert follower.attempt_number == 2
    assert follower.original_created == START
    assert follower.start_at == START + SECOND
    assert follower.labels == (("k", "v"),)

    second = Run(definition, {"a": State.FAILED}, id=pending.execution_id)
    second.send(Create(follower))
    assert second.history == ["CREATED"]
    second.pass_time(SECOND)
    assert second.history == ["CREATED", "RUNNING", "FAILED"]
    assert second.states == {"s": "FAILED", "a": "FAILED", "e": "SUCCESS"}


def test_create_new_execution_lets_running_siblings_end_first() -> None:
    retry = Retry(RetryKind.CONSTANT, SECOND, behavior=RetryBehavior.CREATE_NEW_EXECUTION)
    parallel = task("p", Kind.PARALLEL, tasks=[task("a", D, retry=retry), task("b", D), task("c", D)], concurrency=2)
    run = Run(flow(parallel)).start().report("a", State.FAILED)
    assert run.states == {"p": "RUNNING", "a": "RETRIED", "b": "RUNNING"}
    run.report("b")
    assert run.states == {"p": "RETRIED", "a": "RETRIED", "b": "SUCCESS"}
    assert run.history[-1] == "RETRIED"


# -- Lost is not failed -----------------------------------------------------------------------------


def test_a_lost_attempt_gets_a_new_one_that_retry_does_not_count() -> None:
    run = Run(flow(task("a", D, retry=RETRY))).start()
    run.report("a", State.RESUBMITTED).report("a")
    assert run.states == {"a": "SUCCESS"}
    assert [attempt.state.value for attempt in run.find("a").attempts] == ["RESUBMITTED", "SUCCESS"]
    assert run.history_of("a") == ["CREATED", "RUNNING", "SUCCESS"]


def test_three_lost_in_a_row_fail_and_then_retry_applies() -> None:
    run = Run(flow(task("a", D, retry=RETRY))).start()
    run.report("a", State.RESUBMITTED).report("a", State.RESUBMITTED).report("a", State.RESUBMITTED)
    assert run.states == {"a": "RETRYING"}
    run.pass_time(SECOND).report("a", State.RESUBMITTED).report("a")
    assert run.states == {"a": "SUCCESS"}


def test_resubmit_never_fails_at_the_first_loss() -> None:
    run = Run(flow(task("a", D, resubmits=0))).start().report("a", State.RESUBMITTED)
    assert run.states == {"a": "FAILED"}


def test_a_task_says_how_often_in_a_row_it_begins_again() -> None:
    run = Run(flow(task("a", D, resubmits=4))).start()
    for _ in range(4):
        assert run.report("a", State.RESUBMITTED).states == {"a": "RUNNING"}
    assert run.report("a", State.RESUBMITTED).states == {"a": "FAILED"}


def test_reports_that_no_longer_apply_change_nothing() -> None:
    run = Run(flow(task("a", D, retry=RETRY))).start()
    task_run, state = run.find("a"), run.state
    run.send(AttemptReported(task_run.id, 5, run.result(State.SUCCESS)))
    run.send(AttemptReported("unknown", 0, run.result(State.SUCCESS)))
    run.send(TimerFired("retry:unknown:1")).send(TimerFired("nonsense"))
    assert run.state is state
    run.report("a")
    ended = run.state
    run.send(AttemptReported(task_run.id, 0, run.result(State.FAILED)))
    run.send(Kill()).send(Create(ended.created)).send(Poke())  # type: ignore[arg-type]
    assert run.state is ended


# -- Kill and Exit ----------------------------------------------------------------------------------


def test_kill_ends_what_waits_and_stops_what_runs() -> None:
    retrying = task("r", retry=RETRY)
    parallel = task(
        "p", Kind.PARALLEL, tasks=[task("a", D), retrying, task("s", Kind.SEQUENTIAL, tasks=[task("x", D)])]
    )
    run = Run(flow(parallel, errors=(task("e"),), finally_=(task("f"),)), {"r": State.FAILED}).start()
    assert run.states == {"p": "RUNNING", "a": "RUNNING", "r": "RETRYING", "s": "RUNNING", "x": "RUNNING"}
    run.send(Kill())
    assert run.history[-1] == "KILLING"
    assert run.states == {"p": "RUNNING", "a": "KILLING", "r": "KILLED", "s": "RUNNING", "x": "KILLING"}
    assert run.outstanding.count("StopAttempt") == 2
    assert not run.state.timers
    run.report("a", State.SUCCESS).report("x", State.KILLED)
    assert run.states == {"p": "KILLED", "a": "KILLED", "r": "KILLED", "s": "KILLED", "x": "KILLED"}
    assert run.history == ["CREATED", "RUNNING", "RETRYING", "KILLING", "KILLED"]
    assert run.state.closed


def test_an_attempt_lost_while_being_killed_is_killed() -> None:
    run = Run(flow(task("a", D))).start().send(Kill()).report("a", State.RESUBMITTED)
    assert run.states == {"a": "KILLED"}
    assert run.history[-1] == "KILLED"


def test_kill_before_the_start() -> None:
    run = Run(flow(task("a"))).start(start_at=START + SECOND).send(Kill())
    assert run.history == ["CREATED", "KILLED"]
    assert run.states == {}


def test_after_execution_runs_after_a_kill() -> None:
    run = Run(flow(task("a", D), after_execution=(task("z"),))).start().send(Kill()).report("a", State.KILLED)
    assert run.states == {"a": "KILLED", "z": "SUCCESS"}


def _exit(state: State) -> AttemptResult:
    return AttemptResult(State.SUCCESS, START, START, change=ExecutionChange(exit=state))


@pytest.mark.parametrize("end", [State.SUCCESS, State.WARNING, State.FAILED, State.CANCELLED])
def test_exit_ends_the_execution_in_its_state(end: State) -> None:
    sequence = task("s", Kind.SEQUENTIAL, tasks=[task("x"), task("never")])
    run = Run(flow(sequence, task("b"), errors=(task("e"),)), {"x": _exit(end)}).start()
    assert run.states == {"s": end.value, "x": end.value}
    assert run.history == ["CREATED", "RUNNING", end.value]


def test_exit_waits_for_what_runs_and_starts_nothing_new() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task("a", D), task("x"), task("late", D)], concurrency=2)
    run = Run(flow(parallel), {"x": _exit(State.SUCCESS)}).start()
    assert run.history[-1] == "RUNNING"
    assert run.states == {"p": "RUNNING", "a": "RUNNING", "x": "SUCCESS"}
    run.report("a")
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]
    assert run.states == {"p": "SUCCESS", "a": "SUCCESS", "x": "SUCCESS"}


def test_exit_killed_stops_what_runs() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task("a", D), task("x")])
    run = Run(flow(parallel), {"x": _exit(State.KILLED)}).start()
    assert run.states["a"] == "KILLING"
    run.report("a", State.KILLED)
    assert run.history == ["CREATED", "RUNNING", "KILLING", "KILLED"]


def test_after_an_exit_after_execution_still_works_in_full() -> None:
    after = task("z", Kind.SEQUENTIAL, tasks=[task("z1"), task("z2")])
    run = Run(flow(task("x"), task("b"), after_execution=(after,)), {"x": _exit(State.SUCCESS)}).start()
    assert run.states == {"x": "SUCCESS", "z": "SUCCESS", "z1": "SUCCESS", "z2": "SUCCESS"}


def test_abort_ends_an_execution_the_engine_cannot_go_on_with() -> None:
    run = Run(flow(task("a", D))).start().send(Abort("a bug"))
    assert run.history == ["CREATED", "RUNNING", "FAILED"]
    assert run.state.error == "a bug"
    assert run.state.closed


# -- Working directory ------------------------------------------------------------------------------


def _job(task_run):  # type: ignore[no-untyped-def]
    from headrace_engine.core.messages import JobReady
    from headrace_engine.model.attempt import Inline

    return JobReady(task_run.id, D, Inline({}))


def test_a_working_directory_prepares_runs_and_collects_also_after_a_failure() -> None:
    directory = task(
        "w",
        Kind.WORKING_DIRECTORY,
        tasks=[task("a", D), task("b", D)],
        properties={"inputFiles": {}, "outputFiles": []},
    )
    run = Run(flow(directory, task("n")), {"w": _job}).start()
    assert run.states == {"w": "RUNNING"}
    run.report("w").report("a").report("b", State.FAILED)
    assert run.states == {"w": "RUNNING", "a": "SUCCESS", "b": "FAILED"}
    assert len(run.find("w").attempts) == 2
    run.report("w")
    assert run.states == {"w": "FAILED", "a": "SUCCESS", "b": "FAILED"}
    assert "ReleaseWorkspace" in run.outstanding


def test_a_working_directory_that_cannot_collect_fails() -> None:
    directory = task("w", Kind.WORKING_DIRECTORY, tasks=[task("a")], properties={"outputFiles": []}, errors=[task("e")])
    run = Run(flow(directory), {"w": [opened(), _job]}).start()
    run.report("w", State.FAILED)
    assert run.states == {"w": "FAILED", "a": "SUCCESS", "e": "SUCCESS"}


# -- Steps ------------------------------------------------------------------------------------------


def test_a_step_may_be_cut_anywhere_with_the_same_outcome() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a"), task("b")], concurrency=0)
    definition = flow(each, task("n"))
    whole = Run(definition, {"e": opened("x", "y", "z")}).start()
    cut = Run(definition, {"e": opened("x", "y", "z")})
    from headrace_engine.core.events import ExecutionCreated
    from headrace_engine.model.attempt import Inline

    cut.send(Create(ExecutionCreated("test", "flow", 1, Inline({}))), limit=1)
    assert len(cut.entries) > 5
    assert sorted(cut.states.items()) == sorted(whole.states.items())
    assert cut.history == whole.history


def test_time_never_runs_back() -> None:
    run = Run(flow(task("a", D), task("b", D))).start()
    run.now -= 10 * SECOND
    run.report("a")
    dates = [date for task_run in run.state.in_order() for _, date in task_run.histories]
    assert min(dates) == START


def test_ids_follow_from_execution_entry_and_place() -> None:
    first, second = Run(flow(task("a"), task("b"))).start(), Run(flow(task("a"), task("b"))).start()
    assert [run.id for run in first.state.in_order()] == [run.id for run in second.state.in_order()]
    other = Run(flow(task("a"), task("b")), id="other").start()
    assert not {run.id for run in first.state.in_order()} & {run.id for run in other.state.in_order()}
    assert all(len(run.id) == 22 for run in first.state.in_order())
