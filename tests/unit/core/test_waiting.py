"""Pausing, looping until, sleeping and calling, told as stories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.core.commands import Reply
from headrace_engine.core.events import ExecutionCreated, ReplyTo
from headrace_engine.core.messages import (
    Answer,
    ChildReady,
    Create,
    Hold,
    Kill,
    LoopChecked,
    Opened,
    Pauses,
    Resume,
    Sleeps,
    TimerFired,
)
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import Kind, Retry, RetryKind
from headrace_engine.model.state import State
from unit.core.harness import CHILD, START, Run, flow, opened, task

D = Kind.DISPATCHED
SECOND = timedelta(seconds=1)


def pause(name: str = "p", **others: Any) -> Any:
    return task(name, Kind.PAUSE, **others)


# -- Pause ------------------------------------------------------------------------------------------


def test_trap_14_a_pause_waits_for_a_person_and_the_way_back_goes_over_restarted() -> None:
    run = Run(flow(task("a"), pause(), task("b"))).start()
    assert run.history == ["CREATED", "RUNNING", "PAUSED"]
    assert run.history_of("p") == ["CREATED", "RUNNING", "PAUSED"]
    assert not run.outstanding or "StartAttempt" not in run.outstanding
    assert not run.state.timers
    run.send(Resume(outputs=Inline({"onResume": {"ok": True}})))
    assert run.history == ["CREATED", "RUNNING", "PAUSED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert run.history_of("p") == ["CREATED", "RUNNING", "PAUSED", "RUNNING", "SUCCESS"]
    assert run.find("p").outputs == Inline({"onResume": {"ok": True}})
    assert run.states == {"a": "SUCCESS", "p": "SUCCESS", "b": "SUCCESS"}


def test_a_pause_with_a_duration_resumes_itself() -> None:
    run = Run(flow(pause(), task("b")), {"p": 5.0}).start().pass_time(4 * SECOND)
    assert run.history[-1] == "PAUSED"
    run.pass_time(SECOND)
    assert run.states == {"p": "SUCCESS", "b": "SUCCESS"}


@pytest.mark.parametrize(
    ("behavior", "task_state", "end"),
    [("WARN", "WARNING", "WARNING"), ("FAIL", "FAILED", "FAILED"), ("CANCEL", "CANCELLED", "CANCELLED")],
)
def test_the_behavior_of_a_pause_says_how_its_time_ends(behavior: str, task_state: str, end: str) -> None:
    run = Run(flow(pause(properties={"behavior": behavior})), {"p": 5.0}).start().pass_time(5 * SECOND)
    assert run.states == {"p": task_state}
    assert run.history[-1] == end


def test_the_timeout_of_a_pause_fails_it() -> None:
    run = Run(
        flow(pause(), errors=(task("e"),)), {"p": lambda task_run: Pauses(task_run.id, 5.0, is_timeout=True)}
    ).start()
    run.pass_time(5 * SECOND)
    assert run.states == {"p": "FAILED", "e": "SUCCESS"}
    assert run.history_of("p") == ["CREATED", "RUNNING", "PAUSED", "FAILED"]


def test_a_pause_runs_its_tasks_when_it_goes_on() -> None:
    run = Run(flow(pause(tasks=[task("x"), task("y")])), {"y": State.FAILED}).start().send(Resume())
    assert run.states == {"p": "FAILED", "x": "SUCCESS", "y": "FAILED"}


def test_on_pause_runs_before_the_pause() -> None:
    run = Run(flow(pause(branches={"onPause": (task("mail"),)}))).start()
    assert run.states == {"p": "PAUSED", "mail": "SUCCESS"}
    run.send(Resume())
    assert run.states == {"p": "SUCCESS", "mail": "SUCCESS"}


def test_a_failed_on_pause_fails_the_pause() -> None:
    run = Run(flow(pause(branches={"onPause": (task("mail"),)})), {"mail": State.FAILED}).start()
    assert run.states == {"p": "FAILED", "mail": "FAILED"}


def test_the_execution_is_paused_only_when_nothing_else_runs() -> None:
    run = Run(flow(task("par", Kind.PARALLEL, tasks=[pause("p"), pause("q"), task("a", D)]))).start()
    assert run.history == ["CREATED", "RUNNING"]
    run.report("a")
    assert run.history == ["CREATED", "RUNNING", "PAUSED"]
    run.send(Resume())
    assert run.states == {"par": "RUNNING", "p": "SUCCESS", "q": "PAUSED", "a": "SUCCESS"}
    assert run.history[-3:] == ["RESTARTED", "RUNNING", "PAUSED"]
    run.send(Resume(task_run_id=run.find("p").id))
    assert run.history[-1] == "PAUSED"
    run.send(Resume(task_run_id=run.find("q").id))
    assert run.history[-1] == "SUCCESS"


@pytest.mark.parametrize(
    ("to", "states", "end"),
    [
        (State.WARNING, {"p": "WARNING", "b": "SUCCESS"}, "WARNING"),
        (State.FAILED, {"p": "FAILED"}, "FAILED"),
        (State.CANCELLED, {"p": "CANCELLED"}, "CANCELLED"),
        (State.KILLED, {"p": "KILLED"}, "KILLED"),
    ],
)
def test_resume_into_another_state(to: State, states: dict[str, str], end: str) -> None:
    run = Run(flow(pause(), task("b"))).start().send(Resume(to=to))
    assert run.states == states
    assert run.history[-1] == end


def test_kill_ends_a_paused_execution() -> None:
    run = Run(flow(pause(), task("b"))).start().send(Kill())
    assert run.states == {"p": "KILLED"}
    assert run.history == ["CREATED", "RUNNING", "PAUSED", "KILLING", "KILLED"]


def test_hold_starts_nothing_new_until_resume() -> None:
    run = Run(flow(task("a", D), task("b"))).start().send(Hold())
    assert run.history[-1] == "PAUSED"
    run.report("a")
    assert run.states == {"a": "SUCCESS", "b": "CREATED"}
    run.send(Resume())
    assert run.states == {"a": "SUCCESS", "b": "SUCCESS"}
    assert run.history == ["CREATED", "RUNNING", "PAUSED", "RESTARTED", "RUNNING", "SUCCESS"]


# -- LoopUntil --------------------------------------------------------------------------------------


def loop(*checks: LoopChecked | None) -> list[Callable[[TaskRun], Answer]]:
    """Return the answers for a LoopUntil: it opens, then each of *checks* (None: another round after 1 s)."""

    def check(found: LoopChecked | None) -> Callable[[TaskRun], Answer]:
        return lambda run: replace(found or LoopChecked("", seconds=1.0), task_run_id=run.id)

    first: Callable[[TaskRun], Answer] = lambda run: Opened(run.id, outputs=Inline({"iterationCount": 1}))  # noqa: E731
    return [first, *map(check, checks)]


def test_loop_until_keeps_only_the_last_round() -> None:
    loops = task("l", Kind.LOOP_UNTIL, tasks=[task("a"), task("s", Kind.SEQUENTIAL, tasks=[task("b")])])
    run = Run(flow(loops, task("n")), {"l": loop(None, None, LoopChecked("", done=True))}).start()
    first = run.find("a").id
    assert run.history_of("l") == ["CREATED", "RUNNING", "PAUSED"]
    assert run.history == ["CREATED", "RUNNING"]
    run.pass_time(SECOND)
    assert run.find("l").outputs == Inline({"iterationCount": 2})
    run.pass_time(SECOND)
    assert run.states == {"l": "SUCCESS", "a": "SUCCESS", "s": "SUCCESS", "b": "SUCCESS", "n": "SUCCESS"}
    assert run.find("l").outputs == Inline({"iterationCount": 3})
    assert run.find("a").id != first
    assert len(run.state.task_runs) == 5


def test_loop_until_without_an_interval_goes_on_at_once() -> None:
    loops = task("l", Kind.LOOP_UNTIL, tasks=[task("a")])
    run = Run(flow(loops), {"l": loop(LoopChecked(""), LoopChecked("", done=True))}).start()
    assert run.states == {"l": "SUCCESS", "a": "SUCCESS"}
    assert run.history_of("l") == ["CREATED", "RUNNING", "SUCCESS"]


def test_loop_until_at_its_maximum() -> None:
    loops = task("l", Kind.LOOP_UNTIL, tasks=[task("a")], errors=[task("e")])
    ended = Run(flow(loops), {"l": loop(LoopChecked("", exceeded=""))}).start()
    assert ended.states == {"l": "SUCCESS", "a": "SUCCESS"}
    failed = Run(flow(loops), {"l": loop(LoopChecked("", exceeded="too often"))}).start()
    assert failed.states == {"l": "FAILED", "a": "SUCCESS", "e": "SUCCESS"}
    assert failed.find("l").error == "too often"


def test_a_failed_child_ends_the_loop() -> None:
    loops = task("l", Kind.LOOP_UNTIL, tasks=[task("a")], errors=[task("e")])
    run = Run(flow(loops), {"l": loop(None), "a": [State.SUCCESS, State.FAILED]}).start().pass_time(SECOND)
    assert run.states == {"l": "FAILED", "a": "FAILED", "e": "SUCCESS"}


def test_kill_between_two_rounds() -> None:
    run = Run(flow(task("l", Kind.LOOP_UNTIL, tasks=[task("a")])), {"l": loop(None)}).start().send(Kill())
    assert run.states == {"l": "KILLED", "a": "SUCCESS"}
    assert run.history[-1] == "KILLED"
    assert not run.state.timers


def test_loop_in_a_loop_of_values_keeps_the_places_of_the_others() -> None:
    each = task("e", Kind.FOR_EACH, tasks=[task("l", Kind.LOOP_UNTIL, tasks=[task("a")])], concurrency=0)
    answers = [*loop(), *loop(), *loop(LoopChecked(""), LoopChecked("", done=True), LoopChecked("", done=True))[1:]]
    run = Run(flow(each), {"e": opened("x", "y"), "l": answers}).start()
    assert run.history[-1] == "SUCCESS"
    assert sorted(task_run.path for task_run in run.state.in_order() if task_run.task_id == "a") == [("x",), ("y",)]


# -- Sleep ------------------------------------------------------------------------------------------


def test_sleep_holds_only_a_timer() -> None:
    run = Run(flow(task("s", Kind.SLEEP), task("b")), {"s": lambda task_run: Sleeps(task_run.id, 5.0)}).start()
    assert run.outstanding.count("SetTimer") == 1
    assert "StartAttempt" not in run.outstanding
    run.pass_time(5 * SECOND)
    assert run.states == {"s": "SUCCESS", "b": "SUCCESS"}


def test_sleep_fails_at_its_timeout_and_is_killed_at_once() -> None:
    failed = Run(flow(task("s", Kind.SLEEP)), {"s": lambda task_run: Sleeps(task_run.id, 5.0, "too long")}).start()
    assert failed.pass_time(5 * SECOND).states == {"s": "FAILED"}
    killed = Run(flow(task("s", Kind.SLEEP)), {"s": lambda task_run: Sleeps(task_run.id, 5.0)}).start().send(Kill())
    assert killed.states == {"s": "KILLED"}
    assert killed.history[-1] == "KILLED"


# -- Subflow ----------------------------------------------------------------------------------------


def test_a_subflow_waits_for_its_child() -> None:
    run = Run(flow(task("sub", Kind.SUBFLOW), task("b"))).start()
    assert run.states == {"sub": "RUNNING"}
    assert run.outstanding.count("StartExecution") == 2  # pending, and for as long as it waits
    child_id, created = run.state.children[run.find("sub").id]
    assert (child_id, created) == (run.find("sub").attempts[0].child_id, replace(CHILD, depth=1))
    run.report("sub")
    assert run.states == {"sub": "SUCCESS", "b": "SUCCESS"}


def test_trap_16_without_wait_a_subflow_succeeds_at_once() -> None:
    run = Run(
        flow(task("sub", Kind.SUBFLOW)), {"sub": lambda task_run: ChildReady(task_run.id, "c", CHILD, wait=False)}
    )
    run.start()
    assert run.states == {"sub": "SUCCESS"}
    assert run.find("sub").outputs == Inline({"executionId": "c"})
    assert run.outstanding.count("StartExecution") == 1


def test_trap_16_a_killed_child_kills_the_task_run() -> None:
    run = Run(flow(task("sub", Kind.SUBFLOW, allow_failure=True), errors=(task("e"),))).start()
    run.report("sub", State.KILLED)
    assert run.states == {"sub": "KILLED"}
    assert run.history[-1] == "KILLED"


def test_kill_reaches_the_child() -> None:
    run = Run(flow(task("sub", Kind.SUBFLOW))).start().send(Kill())
    assert "KillExecution" in run.outstanding
    run.report("sub", State.KILLED)
    assert run.history[-1] == "KILLED"


def test_a_subflow_is_retried_with_a_new_child() -> None:
    retry = Retry(RetryKind.CONSTANT, SECOND, max_attempts=2)
    run = Run(flow(task("sub", Kind.SUBFLOW, retry=retry))).start().report("sub", State.FAILED).pass_time(SECOND)
    assert run.states == {"sub": "RUNNING"}
    run.report("sub")
    assert run.states == {"sub": "SUCCESS"}


def test_a_child_replies_when_it_ends() -> None:
    reply_to = ReplyTo("parent", "task-run", 0)
    run = Run(flow(task("a"))).send(Create(ExecutionCreated("test", "flow", 1, Inline({}), reply_to=reply_to)))
    assert [item.command for item in run.state.pending if isinstance(item.command, Reply)] == [
        Reply(reply_to, State.SUCCESS)
    ]


def test_a_delayed_execution_starts_at_its_date() -> None:
    run = Run(flow(task("a"))).start(start_at=START + SECOND)
    assert run.history == ["CREATED"]
    run.send(TimerFired("start"))
    assert run.history == ["CREATED"]
    run.pass_time(SECOND)
    assert run.history == ["CREATED", "RUNNING", "SUCCESS"]


def test_a_kill_that_comes_before_what_it_kills_keeps_it_from_starting() -> None:
    created = ExecutionCreated("test", "flow", 1, Inline({}), reply_to=ReplyTo("parent", "task-run", 0))
    run = Run(flow(task("a"))).send(Kill(created))
    assert run.history == ["CREATED", "KILLED"]
    assert run.states == {}
    assert "Reply" in run.outstanding
    state = run.state
    assert run.send(Create(created)).state is state


def test_a_kill_of_what_nobody_created_is_nothing() -> None:
    assert not Run(flow(task("a"))).send(Kill()).state.exists
