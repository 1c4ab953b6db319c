"""Restart, replay, change of state, force run: what a person may take back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headrace_engine.core.events import ExecutionCreated, Reopened
from headrace_engine.core.flow import index
from headrace_engine.core.messages import ChangeState, Create, ForceRun, Kill, Restart, Resume
from headrace_engine.core.restart import NothingToRestartError, copies, from_task_run
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import FlowDefinition, Kind
from headrace_engine.model.state import State
from unit.core.harness import START, Run, flow, opened, task

D = Kind.DISPATCHED
FAILS_ONCE = [State.FAILED, State.SUCCESS]


def test_trap_13_a_restart_keeps_the_execution_and_drops_errors_task_runs() -> None:
    run = Run(flow(task("a"), task("b"), task("c"), errors=(task("e"),)), {"b": FAILS_ONCE}).start()
    assert run.states == {"a": "SUCCESS", "b": "FAILED", "e": "SUCCESS"}
    run.send(Restart())
    assert run.states == {"a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS"}
    assert run.history == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert run.history_of("b") == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert [attempt.state.value for attempt in run.find("b").attempts] == ["FAILED", "SUCCESS"]
    assert run.state.closed


def test_a_restart_opens_the_flowables_around_what_failed() -> None:
    inner = task("s", Kind.SEQUENTIAL, tasks=[task("a"), task("b")], errors=[task("e")], finally_=[task("f")])
    run = Run(flow(inner, task("n"), finally_=(task("z"),)), {"a": FAILS_ONCE}).start()
    assert run.states == {"s": "FAILED", "a": "FAILED", "e": "SUCCESS", "f": "SUCCESS", "z": "SUCCESS"}
    run.send(Restart())
    assert run.states == {
        "s": "SUCCESS",
        "a": "SUCCESS",
        "b": "SUCCESS",
        "f": "SUCCESS",
        "n": "SUCCESS",
        "z": "SUCCESS",
    }
    assert run.history_of("s") == ["CREATED", "RUNNING", "FAILED", "RUNNING", "SUCCESS"]


def test_a_restart_starts_what_a_failure_elsewhere_kept_from_starting() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a"), task("b")], concurrency=1)
    script = {"e": opened("x", "y", "z"), "a": [State.SUCCESS, State.FAILED, State.SUCCESS]}
    run = Run(flow(each), script).start()
    assert sorted(run.states) == ["a[x]", "a[y]", "b[x]", "e"]
    run.send(Restart())
    assert sorted(run.states) == ["a[x]", "a[y]", "a[z]", "b[x]", "b[y]", "b[z]", "e"]
    assert set(run.states.values()) == {"SUCCESS"}


def test_a_restart_opens_lanes_that_never_opened() -> None:
    parallel = task("p", Kind.PARALLEL, tasks=[task("a"), task("b"), task("c")], concurrency=1)
    run = Run(flow(parallel), {"a": FAILS_ONCE}).start()
    assert run.states == {"p": "FAILED", "a": "FAILED"}
    run.send(Restart())
    assert run.states == {"p": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS"}


def test_a_flowable_that_failed_by_itself_runs_again() -> None:
    from headrace_engine.core.messages import Unplannable

    run = Run(
        flow(task("s", Kind.SWITCH)), {"s": [lambda it: Unplannable(it.id, "no case"), opened(branch="defaults")]}
    )
    run.start().send(Restart())
    assert run.states == {"s": "SUCCESS"}


def test_trap_20_a_working_directory_restarts_as_a_whole() -> None:
    directory = task("w", Kind.WORKING_DIRECTORY, tasks=[task("a"), task("b")])
    run = Run(flow(directory), {"b": FAILS_ONCE}).start()
    first = run.find("a").id
    run.send(Restart())
    assert run.states == {"w": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS"}
    assert run.find("a").id != first


def test_a_restart_of_a_paused_execution_pauses_again() -> None:
    run = Run(flow(task("p", Kind.PAUSE))).start().send(Restart())
    assert run.history == ["CREATED", "RUNNING", "PAUSED", "RESTARTED", "RUNNING", "PAUSED"]
    run.send(Resume())
    assert run.states == {"p": "SUCCESS"}


def test_a_restart_is_refused_where_it_does_not_apply() -> None:
    running = Run(flow(task("a", D))).start()
    state = running.state
    assert running.send(Restart()).state is state
    succeeded = Run(flow(task("a"))).start()
    state = succeeded.state
    assert succeeded.send(Restart()).state is state
    killed = Run(flow(task("a", D))).start().send(Kill()).report("a", State.KILLED)
    state = killed.state
    assert killed.send(Restart()).state is state


def test_restarts_may_follow_each_other() -> None:
    run = Run(flow(task("a"), task("b")), {"a": [State.FAILED, State.FAILED, State.SUCCESS]}).start()
    run.send(Restart()).send(Restart())
    assert run.states == {"a": "SUCCESS", "b": "SUCCESS"}
    assert len(run.find("a").attempts) == 3


def test_a_changed_state_goes_on_from_there() -> None:
    run = Run(flow(task("s", Kind.SEQUENTIAL, tasks=[task("a"), task("b")]), errors=(task("e"),)), {"a": State.FAILED})
    run.start()
    run.send(ChangeState(State.SUCCESS, run.find("a").id))
    assert run.states == {"s": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS"}
    assert run.history[-1] == "SUCCESS"
    again = run.state
    assert run.send(ChangeState(State.RUNNING, run.find("a").id)).state is again


def test_a_state_changed_to_failed_takes_back_what_came_after() -> None:
    run = Run(flow(task("a"), task("b"), errors=(task("e"),))).start()
    run.send(ChangeState(State.FAILED, run.find("a").id))
    assert run.states == {"a": "FAILED", "e": "SUCCESS"}
    assert run.history[-1] == "FAILED"


def test_the_end_state_may_be_changed_by_hand() -> None:
    run = Run(flow(task("a")), {"a": State.FAILED}).start().send(ChangeState(State.WARNING))
    assert run.history == ["CREATED", "RUNNING", "FAILED", "WARNING"]
    assert run.state.closed


def test_force_run_starts_before_the_date() -> None:
    run = Run(flow(task("a"))).start(start_at=START + timedelta(hours=1)).send(ForceRun())
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]
    assert not run.state.timers


# -- Replay -----------------------------------------------------------------------------------------


def replay(source: Run, task_id: str, script: object = None, definition: FlowDefinition | None = None) -> Run:
    definition = definition or source.definition
    target = Run(definition, script or {}, id="replayed")  # type: ignore[arg-type]
    flow_index = source.state.flow if definition is source.definition else index(definition)
    found = from_task_run(source.state, source.find(task_id).id)
    task_runs, moved = copies(source.state, found, "replayed", flow_index)
    created = ExecutionCreated("test", "flow", 1, Inline({}), parent_id=source.id, original_id=source.id)
    return target.send(Create(created, task_runs, Reopened(moved.restarted, moved.reopened, ())))


def test_trap_13_a_replay_keeps_finished_branches_and_gives_new_ids() -> None:
    left = task("l", Kind.SEQUENTIAL, tasks=[task("l1"), task("l2")])
    right = task("r", Kind.SEQUENTIAL, tasks=[task("r1"), task("r2"), task("r3")])
    source = Run(flow(task("first"), task("p", Kind.PARALLEL, tasks=[left, right]), task("last"))).start()
    target = replay(source, "r2")
    assert target.history == ["CREATED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert set(target.states) == set(source.states)
    assert not {run.id for run in source.state.in_order()} & {run.id for run in target.state.in_order()}
    assert len(target.find("l2").attempts) == 1
    assert target.history_of("l2") == ["CREATED", "RUNNING", "SUCCESS"]
    assert target.history_of("r2") == ["CREATED", "RUNNING", "SUCCESS", "RESTARTED", "RUNNING", "SUCCESS"]
    assert target.history_of("r3") == ["CREATED", "RUNNING", "SUCCESS"]
    assert target.history_of("p") == ["CREATED", "RUNNING", "SUCCESS", "RUNNING", "SUCCESS"]


def test_a_replay_from_a_flowable_runs_it_from_its_beginning() -> None:
    source = Run(flow(task("s", Kind.SEQUENTIAL, tasks=[task("a"), task("b")]), task("n"))).start()
    target = replay(source, "s")
    assert target.states == {"s": "SUCCESS", "a": "SUCCESS", "b": "SUCCESS", "n": "SUCCESS"}
    assert target.history_of("a") == ["CREATED", "RUNNING", "SUCCESS"]


def test_a_replay_inside_a_loop_keeps_the_other_values() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("a"), task("b")], concurrency=1)
    source = Run(flow(each), {"e": opened("x", "y")}).start()
    found = from_task_run(source.state, source.find("a", "y").id)
    assert {source.state.task_runs[run_id].task_id for run_id in found.removed} == {"b"}
    target = replay(source, "a")
    assert target.states == {"e": "SUCCESS", "a[x]": "SUCCESS", "b[x]": "SUCCESS", "a[y]": "SUCCESS", "b[y]": "SUCCESS"}


def test_a_replay_on_another_revision_finds_the_tasks_in_their_new_places() -> None:
    source = Run(flow(task("a"), task("b"), task("c"))).start()
    target = replay(source, "b", definition=flow(task("new"), task("a"), task("b"), task("d")))
    assert list(target.states) == ["a", "b", "d"]
    with pytest.raises(NothingToRestartError, match="`a` is not in that place"):
        replay(source, "b", definition=flow(task("b"), task("c")))


def test_replaying_an_unknown_task_run_is_refused() -> None:
    source = Run(flow(task("a"))).start()
    with pytest.raises(NothingToRestartError, match="No task found"):
        from_task_run(source.state, "nowhere")
