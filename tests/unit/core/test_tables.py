"""Nothing in the tables is left out: states have rows, and every event and command has a story that makes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest

from headrace_engine.core.commands import Command, Reply
from headrace_engine.core.events import Event, ExecutionCreated, Reopened, ReplyTo
from headrace_engine.core.messages import (
    ChangeState,
    ChildReady,
    Create,
    Hold,
    ItemReported,
    ItemsReady,
    Kill,
    LoopChecked,
    Message,
    Pauses,
    Restart,
    Resume,
    SlaViolated,
    Slot,
    SlotGranted,
)
from headrace_engine.core.outstanding import outstanding
from headrace_engine.core.restart import copies, from_task_run
from headrace_engine.core.transitions import EXECUTION, TASK_RUN, Table
from headrace_engine.model.attempt import AttemptResult, ExecutionChange, Inline
from headrace_engine.model.definition import (
    Concurrency,
    Kind,
    OutputDefinition,
    Retry,
    RetryBehavior,
    RetryKind,
    Sla,
    SlaBehavior,
)
from headrace_engine.model.state import State
from unit.core.harness import CHILD, START, Run, flow, opened, task

D = Kind.DISPATCHED
SECOND = timedelta(seconds=1)
RETRY = Retry(RetryKind.CONSTANT, SECOND)
CHILD_OF = ExecutionCreated("test", "flow", 1, Inline({}), reply_to=ReplyTo("parent", "task-run", 0))


def _retried_and_held() -> Run:
    run = Run(flow(task("a", retry=RETRY)), {"a": [State.FAILED, State.SUCCESS]}).start()
    return run.send(Hold()).send(Resume()).pass_time(SECOND)


def _retried_without_a_slot() -> Run:
    retried = task("a", retry=RETRY)
    run = Run(flow(retried, concurrency=Concurrency(1)), {"a": [State.FAILED, State.SUCCESS]}).start()
    run.script["slot"] = Slot(granted=False)
    return run.pass_time(SECOND).send(SlotGranted())


def _paused_and_restarted() -> Run:
    run = Run(flow(task("p", Kind.PAUSE)), {"p": lambda it: Pauses(it.id, 1.0)}).start().send(Restart())
    return run.send(ChangeState(State.SUCCESS, run.find("p").id))


def _loop() -> Run:
    checks = [opened(), lambda it: LoopChecked(it.id, seconds=1.0), lambda it: LoopChecked(it.id, exceeded="too often")]
    return Run(flow(task("l", Kind.LOOP_UNTIL, tasks=[task("a")])), {"l": checks}).start().pass_time(SECOND)


def _resumed_pause() -> Run:
    return Run(flow(task("p", Kind.PAUSE)), {"p": lambda it: Pauses(it.id, 5.0)}).start().send(Resume())


def _subflow_that_is_killed() -> Run:
    return Run(flow(task("s", Kind.SUBFLOW), task("w", Kind.WORKING_DIRECTORY))).start().send(Kill())


def _killed_with_what_it_left_behind() -> Run:
    call = task("s", Kind.SUBFLOW, properties={"wait": False})
    answer = lambda it: ChildReady(it.id, "child", CHILD, wait=False)  # noqa: E731
    return Run(flow(call, task("a", D)), {"s": answer}).start().send(Kill())


def _working_directory() -> Run:
    return Run(flow(task("w", Kind.WORKING_DIRECTORY, tasks=[task("a", D)]))).start().report("a")


def _items() -> Run:
    answer = lambda it: ItemsReady(it.id, 1, 1, "test", "child", 1, "folder")  # noqa: E731
    run = Run(flow(task("i", Kind.ITEMS)), {"i": answer}).start()
    return run.send(ItemReported(run.find("i").id, 0, 0, State.SUCCESS))


def _items_that_are_killed() -> Run:
    return (
        Run(flow(task("i", Kind.ITEMS)), {"i": lambda it: ItemsReady(it.id, 1, 1, "n", "c", 1, "f")})
        .start()
        .send(Kill())
    )


def _queued_and_called_again() -> Run:
    definition = flow(task("a", D), concurrency=Concurrency(1))
    run = Run(definition, {"slot": [Slot(granted=False)]}).send(Create(CHILD_OF))
    later = ExecutionCreated("test", "flow", 1, Inline({}), reply_to=ReplyTo("parent", "task-run", 1))
    return run.send(Create(later)).send(Kill())


def _broken_sla() -> Run:
    sla = Sla("sla", SlaBehavior.FAIL, assertion="x", labels=(("late", "true"),))
    return Run(flow(task("a", D), slas=(sla,))).start().send(SlaViolated("sla")).report("a", State.KILLED)


def _replaced() -> Run:
    retry = Retry(RetryKind.CONSTANT, SECOND, behavior=RetryBehavior.CREATE_NEW_EXECUTION)
    return Run(flow(task("a", retry=retry)), {"a": State.FAILED}).start(start_at=START + SECOND).pass_time(SECOND)


def _replayed() -> Run:
    source = Run(flow(task("a"))).start()
    found = from_task_run(source.state, source.find("a").id)
    task_runs, moved = copies(source.state, found, "copy", source.state.flow)
    target = Run(source.definition, id="copy")
    created = ExecutionCreated("test", "flow", 1, Inline({}))
    return target.send(Create(created, task_runs, Reopened(moved.restarted, moved.reopened, ())))


def _variables_and_outputs() -> Run:
    result = AttemptResult(State.SUCCESS, START, START, change=ExecutionChange(variables={"x": 1}))
    return Run(flow(task("a"), outputs=(OutputDefinition("o", "STRING", "x"),)), {"a": result}).start()


STORIES: tuple[Callable[[], Run], ...] = (
    _retried_and_held,
    _retried_without_a_slot,
    _paused_and_restarted,
    _loop,
    _resumed_pause,
    _subflow_that_is_killed,
    _killed_with_what_it_left_behind,
    _working_directory,
    _items,
    _items_that_are_killed,
    _queued_and_called_again,
    _broken_sla,
    _replaced,
    _replayed,
    _variables_and_outputs,
)


def test_every_event_is_part_of_a_story() -> None:
    told = {type(event) for story in STORIES for entry in story().entries for event in entry.events}
    assert set(get_args(Event)) - told == set()


def test_every_command_is_part_of_a_story() -> None:
    told: set[Any] = set()
    for story in STORIES:
        run = story()
        told |= {type(command) for command in outstanding(run.state)}
        # What was due on the way, too.
        told |= {type(command) for entry in _on_the_way(run) for command in entry}
    assert set(get_args(Command)) - told == set()


def _on_the_way(run: Run) -> list[list[Command]]:
    from headrace_engine.core.fold import apply_entry
    from headrace_engine.core.state import empty

    state, found = empty(run.id, run.state.flow), []
    for entry in run.entries:
        state = apply_entry(state, entry)
        found.append(list(outstanding(state)))
    return found


@pytest.mark.parametrize("table", [TASK_RUN, EXECUTION], ids=["task run", "execution"])
def test_every_state_that_can_be_entered_has_a_row(table: Table) -> None:
    entered = {State.CREATED} | {target for row in table.values() for target in row}
    assert entered == set(table), "a state without a row, or a row that nothing leads to"


@pytest.mark.parametrize("table", [TASK_RUN, EXECUTION], ids=["task run", "execution"])
def test_from_every_state_an_end_can_be_reached(table: Table) -> None:
    for source in table:
        seen, waits = {source}, [source]
        while waits:
            new = set(table[waits.pop()]) - seen
            seen |= new
            waits += new
        assert any(state.is_terminal for state in seen), f"{source} leads nowhere"


def test_only_a_person_takes_back_an_end() -> None:
    for table in (TASK_RUN, EXECUTION):
        for source, row in table.items():
            if source.is_terminal:
                odd = {target: why for target, why in row.items() if "person" not in why and "restart" not in why}
                assert odd in ({}, {State.RETRYING: "another attempt will be made"})


def test_every_message_is_understood_before_and_after_everything() -> None:
    never, over = Run(flow(task("a"))), Run(flow(task("a"))).start()
    messages: list[Message] = [Kill(), Hold(), Resume(), Restart(), ChangeState(State.FAILED, "x"), SlaViolated("x")]
    for run in (never, over):
        before = run.state
        for message in messages:
            run.send(message)
        assert run.state is before


def test_a_reply_is_owed_once_for_each_end() -> None:
    run = Run(flow(task("a", D))).send(Create(CHILD_OF)).report("a", State.FAILED).send(Restart()).report("a")
    replies = [item.command.state for item in run.state.pending if isinstance(item.command, Reply)]
    assert replies == [State.FAILED, State.SUCCESS]
