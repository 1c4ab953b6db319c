"""ForEachItem's executions, told as stories: one task run, an execution a part, never more than the limit at once."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from headrace_engine.core.commands import Command, KillItem, StartItems
from headrace_engine.core.decide import decide, next_question
from headrace_engine.core.events import ExecutionCreated, ItemsLaunched, ReplyTo
from headrace_engine.core.flow import index as indexed
from headrace_engine.core.fold import begin_entry, item_id
from headrace_engine.core.messages import Create, Hold, ItemReported, ItemsReady, Kill, Restart, Resume
from headrace_engine.core.outstanding import commands_of, outstanding
from headrace_engine.core.state import empty
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import Kind, Retry, RetryKind
from headrace_engine.model.state import State
from unit.core.harness import CHILD, START, Run, flow, task


def items(**properties: Any) -> Any:
    return task("items", Kind.ITEMS, properties=properties)


def ready(total: int, limit: int = 2, *, wait: bool = True) -> Callable[[TaskRun], ItemsReady]:
    return lambda run: ItemsReady(run.id, total, limit, "test", "child", 1, "kestra:///folder", wait)


def reported(run: Run, index: int, state: State = State.SUCCESS, number: int = 0) -> Run:
    return run.send(ItemReported(run.find("items").id, number, index, state))


def open_items(run: Run) -> list[int]:
    return sorted(run.state.items[run.find("items").id].open)


def last_commands(run: Run) -> list[Command]:
    return list(commands_of(run.state, run.entries[-1].events))


def iterations(run: Run) -> Any:
    outputs = run.find("items").outputs
    assert isinstance(outputs, Inline)
    return outputs.value["iterations"]


def test_executions_begin_up_to_the_limit_and_make_room_for_each_other() -> None:
    run = Run(flow(items(), task("after")), {"items": ready(5)}).start()
    run_id = run.find("items").id
    assert last_commands(run)[0] == StartItems(run_id, 0, 2)
    assert run.history_of("items") == ["CREATED", "RUNNING"]
    reported(run, 1)
    assert open_items(run) == [0, 2]
    assert last_commands(run) == [StartItems(run_id, 2, 3)]
    for index in (0, 2, 3):
        reported(run, index)
    assert open_items(run) == [4]
    assert run.states == {"items": "RUNNING"}
    reported(run, 4)
    assert run.states == {"items": "SUCCESS", "after": "SUCCESS"}
    assert not run.state.items
    assert run.find("items").outputs == Inline(
        {
            "numberOfBatches": 5,
            "iterations": {"CREATED": 0, "RUNNING": 0, "SUCCESS": 5},
            "uri": "kestra:///folder",
        }
    )


def test_what_goes_on_is_outstanding_until_it_has_ended_and_nothing_else() -> None:
    run = Run(flow(items()), {"items": ready(6, 4)}).start()
    run_id = run.find("items").id
    assert next(iter(outstanding(run.state))) == StartItems(run_id, 0, 4)
    reported(run, 1)
    assert list(outstanding(run.state))[:2] == [StartItems(run_id, 0, 1), StartItems(run_id, 2, 5)]
    assert list(outstanding(run.state, above=run.state.seq - 1)) == [StartItems(run_id, 4, 5)]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_and_the_number_of_reports_do_not_matter(seed: int) -> None:
    dice = random.Random(seed)
    states = {index: dice.choice([State.SUCCESS, State.WARNING, State.FAILED]) for index in range(9)}
    run = Run(flow(items()), {"items": ready(9, 3)}).start()
    run_id = run.find("items").id
    while run.state.items:
        index = dice.choice([*open_items(run), *range(9)])
        launched = run.state.items[run_id].launched
        if index < launched:  # nobody reports what has not begun
            reported(run, index, states[index])
            assert len(run.state.items.get(run_id).open if run.state.items else ()) <= 3  # type: ignore[union-attr]
    reported(run, 3, State.KILLED)
    counts = {state.value: list(states.values()).count(state) for state in set(states.values())}
    assert iterations(run) == {"CREATED": 0, "RUNNING": 0, **counts}


@pytest.mark.parametrize(
    ("ends", "transmit", "task_state"),
    [
        ([State.SUCCESS, State.FAILED, State.SUCCESS], True, "FAILED"),
        ([State.SUCCESS, State.FAILED, State.SUCCESS], False, "SUCCESS"),
        ([State.WARNING, State.SUCCESS, State.SUCCESS], True, "WARNING"),
        ([State.KILLED, State.FAILED, State.SUCCESS], True, "KILLED"),
        ([State.CANCELLED, State.SUCCESS, State.SUCCESS], True, "SUCCESS"),
    ],
)
def test_the_worst_end_counts_after_all_have_ended(ends: list[State], transmit: bool, task_state: str) -> None:
    run = Run(flow(items(transmitFailed=transmit), task("after")), {"items": ready(3, 1)}).start()
    for index, end in enumerate(ends):
        assert run.states == {"items": "RUNNING"}
        reported(run, index, end)
    assert run.states["items"] == task_state
    assert ("after" in run.states) == (task_state in ("SUCCESS", "WARNING"))


def test_no_parts_are_a_success_without_outputs() -> None:
    run = Run(flow(items(), task("after")), {"items": ready(0)}).start()
    assert run.states == {"items": "SUCCESS", "after": "SUCCESS"}
    assert run.find("items").outputs is None


def test_without_wait_the_parts_begin_page_by_page_and_nobody_waits() -> None:
    run = Run(flow(items(), task("after")), {"items": ready(5, 2, wait=False)}).start()
    run_id = run.find("items").id
    pages = []
    while run.state.items:
        assert not open_items(run)
        pages += [command for command in last_commands(run) if isinstance(command, StartItems)]
        run.pass_time(START - START)
    assert pages == [StartItems(run_id, 0, 2), StartItems(run_id, 2, 4), StartItems(run_id, 4, 5)]
    assert run.states == {"items": "SUCCESS", "after": "SUCCESS"}
    assert iterations(run) == {"SUCCESS": 5}
    assert not run.state.timers


def test_a_kill_without_cascade_ends_at_once_and_asks_nothing_of_what_goes_on() -> None:
    run = Run(flow(items()), {"items": ready(3)}).start().send(Kill(cascade=False))
    assert run.history_of("items") == ["CREATED", "RUNNING", "KILLED"]
    assert run.state.closed
    assert not [command for command in outstanding(run.state) if isinstance(command, KillItem)]
    ended = len(run.entries)
    assert len(reported(run, 0).entries) == ended


def test_a_kill_cascades_to_what_goes_on_and_waits_for_it() -> None:
    run = Run(flow(items(), task("after")), {"items": ready(9, 3)}).start()
    run_id = run.find("items").id
    reported(run, 1).send(Kill())
    assert [command for command in last_commands(run) if isinstance(command, KillItem)] == [
        KillItem(item_id(run_id, index, 0), run_id, index) for index in (0, 2, 3)
    ]
    for index in (0, 2, 3):
        assert run.states == {"items": "KILLING"}
        reported(run, index, State.KILLED)
    assert run.states == {"items": "KILLED"}
    assert run.history[-1] == "KILLED"
    assert iterations(run) == {"CREATED": 0, "RUNNING": 0, "SUCCESS": 1, "KILLED": 3}


@pytest.mark.parametrize("wait", [True, False])
def test_a_kill_while_it_is_held_with_nothing_open_ends_it_at_once(wait: bool) -> None:
    run = Run(flow(items()), {"items": ready(5, 1, wait=wait)}).start().send(Hold())
    if wait:
        reported(run, 0)
        assert open_items(run) == []
    run.send(Kill())
    assert run.states == {"items": "KILLED"}


def test_hold_begins_nothing_until_resume() -> None:
    run = Run(flow(items()), {"items": ready(5, 2)}).start().send(Hold())
    reported(run, 0)
    reported(run, 1)
    assert open_items(run) == []
    run.send(Resume())
    assert open_items(run) == [2, 3]
    assert run.history[-1] == "RUNNING"


@pytest.mark.parametrize(("behavior", "generation"), [("RETRY_FAILED", 0), ("NEW_EXECUTION", 1)])
def test_a_restart_asks_for_all_parts_again(behavior: str, generation: int) -> None:
    run = Run(flow(items(restartBehavior=behavior)), {"items": ready(3, 3)}).start()
    run_id = run.find("items").id
    for index, end in enumerate((State.SUCCESS, State.FAILED, State.SUCCESS)):
        reported(run, index, end)
    run.send(Restart())
    assert run.find("items").id == run_id
    assert open_items(run) == [0, 1, 2]
    assert run.state.items[run_id].started.generation == generation
    reported(run, 0, number=0)  # late, of the first attempt
    assert open_items(run) == [0, 1, 2]
    for index in range(3):
        reported(run, index, number=1)
    assert run.states == {"items": "SUCCESS"}


def test_a_retry_asks_for_all_parts_again() -> None:
    retry = Retry(RetryKind.CONSTANT, max_attempts=2)
    run = Run(flow(task("items", Kind.ITEMS, retry=retry)), {"items": ready(2, 2)}).start()
    reported(run, 0, State.FAILED)
    reported(run, 1)
    run.pass_time(START - START)
    assert open_items(run) == [0, 1]
    for index in range(2):
        reported(run, index, number=1)
    assert run.states == {"items": "SUCCESS"}


def test_an_execution_that_is_called_again_answers_the_later_attempt() -> None:
    def asked(number: int) -> Create:
        return Create(ExecutionCreated("test", "flow", 1, Inline({}), reply_to=ReplyTo("parent", "run", number)))

    run = Run(flow(task("a", Kind.DISPATCHED))).send(asked(1)).send(asked(0)).send(asked(2)).send(asked(2))
    assert run.state.created is not None
    assert run.state.created.reply_to == ReplyTo("parent", "run", 2)
    assert len(run.entries) == 2
    assert CHILD.reply_to is None


def test_twenty_thousand_parts_take_the_memory_of_a_few() -> None:
    definition = flow(items())
    state = empty("execution", indexed(definition))

    created = Create(ExecutionCreated("test", "flow", 1, Inline({})))
    total = 20_000
    state = decide(begin_entry(state, START), created, START).state
    question = next_question(state)
    assert question is not None
    run_id = next(iter(state.task_runs))
    state = decide(state, ready(total, 100)(state.task_runs[run_id]), START).state
    tracemalloc.start()
    try:
        launched = 100
        for number in range(total):
            decision = decide(begin_entry(state, START), ItemReported(run_id, 0, number, State.SUCCESS), START)
            state = decision.state
            launched += sum(each.last - each.first for each in decision.events if isinstance(each, ItemsLaunched))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert launched == total
    assert state.state is State.SUCCESS
    assert peak < 2_000_000
