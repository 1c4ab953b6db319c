"""What an invocation owes that comes late, comes again, or cannot go on (DESIGN §3.3, §3.12)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crash.faults import CrashError, Faults, through
from crash.virtual import registry
from headrace_engine.core.codec import NewerFormatError, encode_message
from headrace_engine.core.messages import Create, Poke
from headrace_engine.executor import summary
from headrace_engine.invocations import Invocations
from headrace_engine.ports import PortError
from headrace_engine.testing.runtime import VirtualRuntime, World
from headrace_engine.testing.simulation.upgrade import NextJournal

TASKS = registry()
EXECUTION = "execution"
ONE = """
id: one
namespace: test
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: here}
"""
EFFECT = "id: effect\nnamespace: test\ntasks:\n  - {id: effect, type: test.Effect, label: here}\n"
TWENTY = "id: twenty\nnamespace: test\ntasks:\n" + "".join(
    f"  - {{id: effect{number}, type: test.Effect, label: e{number}}}\n" for number in range(20)
)
LIMITED = f"""{ONE}concurrency: {{limit: 1, behavior: QUEUE}}
afterExecution:
  - {{id: effect, type: test.Effect, label: after}}
"""
WAITING = """
id: waiting
namespace: test
sla:
  - {id: soon, type: MAX_DURATION, duration: PT1H, behavior: NONE, labels: {sla: broken}}
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
"""
UPSTREAM = f"{ONE}outputs: [{{id: n, type: INT, value: 3}}]\n"
LISTENER = """
id: listener
namespace: test
inputs: [{id: n, type: INT}]
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.n }}"}
triggers:
  - id: source
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {n: "{{ trigger.outputs.n }}"}
    preconditions: {id: one, flows: [{namespace: test, flowId: one, states: [SUCCESS]}]}
"""


def runtime(world: World) -> VirtualRuntime:
    return VirtualRuntime(world=world, registry=TASKS, is_gone=lambda _owner: False)


def invocations(engine: VirtualRuntime) -> Invocations:
    return Invocations(engine.engine, engine.world.channels, engine.executor)


def begins(engine: VirtualRuntime, source: str) -> bytes:
    """Save the flow; return the message that creates an execution of it."""
    definition = engine.save_flow(source)
    _, created = engine.engine.new_execution(definition.namespace, definition.id, {}, execution_id=EXECUTION)
    return encode_message(Create(created))


def failing(world: World, name: str) -> tuple[World, list[str]]:
    """Return *world* with a port call that fails as often as the list returned has items."""
    failures: list[str] = []

    def call(called: str, run: Callable[[], Any]) -> Any:
        if called == name and failures:
            raise PortError(failures.pop())
        return run()

    return through(world, call), failures


def test_what_is_created_anew_runs_the_revision_it_is_created_with() -> None:
    """The first time nothing came of it; the flow was saved again meanwhile, and the container is warm."""
    world, failures = failing(World(), "journal.append")
    with runtime(world) as engine:
        create = begins(engine, ONE)
        failures.append("throttled")
        with pytest.raises(PortError):
            invocations(engine).advance(EXECUTION, [create])
        again = begins(engine, ONE + "labels: {is: another}\noutputs: [{id: new, type: STRING, value: new}]\n")
        invocations(engine).advance(EXECUTION, [again])
        outcome = engine.outcome(EXECUTION)
        assert (outcome.state, outcome.view["outputs"]) == ("SUCCESS", {"new": "new"})


def test_a_dead_letter_that_would_create_an_execution_comes_again_until_it_has() -> None:
    """An end cannot be recorded for what has not begun: dropped, nobody would ever hear of it."""
    world, failures = failing(World(), "journal.append")
    with runtime(world) as engine:
        create = begins(engine, ONE)
        failures.append("throttled")
        with pytest.raises(PortError):
            invocations(engine).dead_letter(EXECUTION, create)
        invocations(engine).dead_letter(EXECUTION, create)
        assert engine.outcome(EXECUTION).state == "SUCCESS"


def test_a_dead_letter_that_fails_again_ends_its_execution_visibly() -> None:
    world, failures = failing(World(), "bus.publish")
    with runtime(world) as engine:
        invocations(engine).advance(EXECUTION, [begins(engine, WAITING)])
        failures.append("throttled")
        invocations(engine).dead_letter(EXECUTION, encode_message(Poke()))
        assert engine.outcome(EXECUTION).state == "FAILED"
        error = "The engine could not go on with this execution: PortError: throttled"
        assert engine.state(EXECUTION).error == error


def test_a_dead_letter_that_takes_its_process_down_is_not_tried_for_ever() -> None:
    world = World()
    with runtime(world) as engine:
        invocations(engine).advance(EXECUTION, [begins(engine, WAITING)])
    poke = encode_message(Poke())
    for _ in range(3):
        deaths = Faults(4)  # after what it notes; every later call of the dead process fails, too
        with pytest.raises(CrashError), runtime(through(world, deaths.call)) as engine:
            invocations(engine).dead_letter(EXECUTION, poke)
    with runtime(world) as engine:
        invocations(engine).dead_letter(EXECUTION, poke)
        assert engine.outcome(EXECUTION).state == "FAILED"
        assert "took down whoever handled it" in str(engine.state(EXECUTION).error)


def test_an_execution_whose_first_message_takes_processes_down_is_created_to_be_ended() -> None:
    """Else nobody would ever hear of it: there is no journal that could say so."""
    world = World()
    with runtime(world) as engine:
        create = begins(engine, ONE)
    for _ in range(3):
        deaths = Faults(3)
        with pytest.raises(CrashError), runtime(through(world, deaths.call)) as engine:
            invocations(engine).dead_letter(EXECUTION, create)
    with runtime(world) as engine:
        invocations(engine).dead_letter(EXECUTION, create)
        assert engine.outcome(EXECUTION).history == ["CREATED", "FAILED"]
        assert "took down whoever handled it" in str(engine.state(EXECUTION).error)


def test_the_deaths_of_a_dead_letter_do_not_count_for_the_same_words_to_another_execution() -> None:
    """A Poke says the same to all: three consumers at work on three executions are no death of a fourth's."""
    world = World()
    with runtime(world) as engine:
        invocations(engine).advance(EXECUTION, [begins(engine, WAITING)])
    poke = encode_message(Poke())
    for number in range(3):
        deaths = Faults(4)
        with pytest.raises(CrashError), runtime(through(world, deaths.call)) as engine:
            invocations(engine).dead_letter(f"another-{number}", poke)
    with runtime(world) as engine:
        invocations(engine).dead_letter(EXECUTION, poke)
        assert engine.outcome(EXECUTION).state == "PAUSED"


def test_what_a_dead_letter_notes_is_gone_when_it_was_handled() -> None:
    world, failures = failing(World(), "bus.publish")
    with runtime(world) as engine:
        invocations(engine).advance(EXECUTION, [begins(engine, WAITING)])
        for failure in ([], ["throttled"]):
            failures += failure
            invocations(engine).dead_letter(EXECUTION, encode_message(Poke()))
            assert list(world.stores.kv.list("_headrace")) == []


@pytest.mark.parametrize("method", [Invocations.advance, Invocations.dead_letter], ids=lambda method: method.__name__)
def test_a_message_to_a_purged_execution_is_done_with(method: Any) -> None:
    """Its Create, doubled or late, would otherwise fail for ever: the tombstone refuses every entry."""
    world = World()
    with runtime(world) as engine:
        create = begins(engine, ONE)
        invocations(engine).advance(EXECUTION, [create])
        world.journal.purge(EXECUTION)
        engine.executor.forget(EXECUTION)
        method(invocations(engine), EXECUTION, [create] if method is Invocations.advance else create)
        assert not world.journal.entries(EXECUTION)


def test_an_invocation_that_begins_after_it_should_have_ended_gets_on() -> None:
    """Else it would send itself a message, and that one's invocation another, for ever."""
    world = World()
    with runtime(world) as engine:
        message = begins(engine, TWENTY)
        past = world.clock.now() - timedelta(seconds=1)
        for _ in range(100):
            invocations(engine).advance(EXECUTION, [message], yield_at=past)
            if not world.letters:
                break
            message = encode_message(world.letters.popleft().message)
        assert engine.outcome(EXECUTION).state == "SUCCESS"


def test_a_light_task_that_was_begun_unseen_is_lost_at_once() -> None:
    """Its start is written, the answer lost; what this executor held is old, and the lease is its own."""
    world, failures = World(), ["timed out"]

    def call(name: str, run: Callable[[], Any]) -> Any:
        came = run()
        if name == "journal.append" and failures:
            raise PortError(failures.pop())
        return came

    with runtime(through(world, call)) as engine:
        create = begins(engine, EFFECT)
        with pytest.raises(PortError):
            invocations(engine).advance(EXECUTION, [create])
        invocations(engine).advance(EXECUTION, [create])
        came = engine.outcome(EXECUTION)
        assert came.state == "SUCCESS"
        assert [attempt["state"]["current"] for attempt in came.find("effect")["attempts"]] == [
            "RESUBMITTED",
            "SUCCESS",
        ]


def test_the_lease_of_another_is_waited_for_also_by_who_had_not_heard_of_it() -> None:
    """Nobody else will look after it: the message that began the task is the one that this executor acknowledges."""
    world, faults = World(), Faults()

    def call(name: str, run: Callable[[], Any]) -> Any:
        if name == "kv.put":
            faults.at = faults.calls + 1  # dies in the midst of its light task
        return faults.call(name, run)

    late, failures = failing(world, "journal.append")
    failures.append("throttled")
    with runtime(through(world, call)) as dies, runtime(late) as old:
        create = begins(old, EFFECT)
        with pytest.raises(PortError):
            invocations(old).advance(EXECUTION, [create])
        with pytest.raises(CrashError):
            invocations(dies).advance(EXECUTION, [create])
        invocations(old).advance(EXECUTION, [create])
        old.settle(timedelta(minutes=1))
        assert old.outcome(EXECUTION).state == "SUCCESS"


def test_the_slot_that_a_late_executor_took_is_given_back() -> None:
    """It asks for a slot, and before it can write that it has it, others start the execution, end it and go on."""
    world = World()
    overtaking = [1]

    def call(name: str, run: Callable[[], Any]) -> Any:
        if name == "journal.append" and overtaking:
            overtaking.clear()
            invocations(early).advance(EXECUTION, [create])
            assert early.outcome(EXECUTION).state == "SUCCESS"
            world.stores.slots.acquire("test/one", EXECUTION, 1, 0)  # by a call of the late one that was under way
        return run()

    with runtime(world) as early, runtime(through(world, call)) as late:
        create = begins(early, LIMITED)
        invocations(late).advance(EXECUTION, [create])
        assert not overtaking
        assert not world.stores.slots.state("test/one").holders


def test_a_poke_brings_a_summary_up_to_date_that_no_change_of_state_does() -> None:
    """Else the sweeper pokes an execution that waits for a person for ever, for a time that is long past."""
    world = World()
    with runtime(world) as engine:
        invocations(engine).advance(EXECUTION, [begins(engine, WAITING)])
        engine.settle(timedelta(hours=2))  # the SLA's labels change, the state does not
        invocations(engine).advance(EXECUTION, [encode_message(Poke())])
        state = engine.state(EXECUTION)
        assert ("sla", "broken") in state.labels
        assert world.stores.executions.get(EXECUTION) == summary(state)
        assert not list(world.stores.executions.due(world.clock.now() + timedelta(days=365)))


def test_an_old_listener_leaves_the_news_of_a_newer_version_to_others() -> None:
    """Swallowed, the change would be acknowledged, and nothing would ever start."""
    world = World()
    upgraded = copy(world)
    upgraded.stores = replace(world.stores, journal=NextJournal(world.journal))
    with runtime(upgraded) as newer, runtime(world) as older:
        newer.save_flow(LISTENER)
        invocations(newer).advance(EXECUTION, [begins(newer, UPSTREAM)])
        change = next(change for change in world.changes if change.state.is_terminal)
        with pytest.raises(NewerFormatError):
            invocations(older).hear(change)
        assert not world.letters
        invocations(newer).hear(change)
        (started,) = world.letters
        assert isinstance(started.message, Create)
        assert started.message.created.flow_id == "listener"


QUEUEING = """
id: limited
namespace: test
concurrency: {limit: 1, behavior: QUEUE}
tasks: [{id: say, type: io.kestra.plugin.core.debug.Return, format: x}]
"""


@pytest.mark.parametrize("behavior", ["QUEUE", "CANCEL", "FAIL"])
def test_a_slot_that_an_ended_execution_was_left_with_holds_nobody_up(behavior: str) -> None:
    """An executor that was too late took it, and died."""
    world = World()
    flow = QUEUEING.replace("QUEUE", behavior)
    with runtime(world) as engine:
        assert engine.run(flow).state == "SUCCESS"
        (ended,) = [each.id for each in world.stores.executions.search().found]
        world.stores.slots.acquire("test/limited", ended, 1, 0)
        assert engine.run(flow).state == "SUCCESS"
        assert world.stores.slots.state("test/limited").holders == frozenset()


def test_a_purge_gives_back_the_slot_that_an_ended_execution_was_left_with() -> None:
    world = World()
    with runtime(world) as engine:
        assert engine.run(QUEUEING).state == "SUCCESS"
        (ended,) = [each.id for each in world.stores.executions.search().found]
        world.stores.slots.acquire("test/limited", ended, 1, 0)
        world.stores.slots.enqueue("test/limited", EXECUTION, world.clock.now(), 0)
        assert engine.engine.platform.of("test").purge(ended) is not None
        assert world.stores.slots.state("test/limited").holders == {EXECUTION}


def test_a_slot_that_is_taken_for_a_purged_execution_holds_nobody_up() -> None:
    world = World()
    with runtime(world) as engine:
        assert engine.run(QUEUEING).state == "SUCCESS"
        (ended,) = [each.id for each in world.stores.executions.search().found]
        assert engine.engine.platform.of("test").purge(ended) is not None
        world.stores.slots.acquire("test/limited", ended, 1, 0)
        assert engine.run(QUEUEING).state == "SUCCESS"


def test_a_sweep_gives_out_slots_that_a_new_limit_made_free() -> None:
    """Whoever saved it died before the queue was told."""
    world = World()
    with runtime(world) as engine:
        engine.save_flow(QUEUEING)
        world.stores.slots.acquire("test/limited", "another", 1, 0)
        engine.create("test", "limited", execution_id=EXECUTION)
        engine.settle(None)
        assert engine.outcome(EXECUTION).state == "QUEUED"
        engine.engine.save_flow(QUEUEING.replace("limit: 1", "limit: 2"))
        engine.settle(None)
        assert engine.outcome(EXECUTION).state == "QUEUED"
        engine.clock.set(engine.clock.now() + timedelta(minutes=10))
        assert invocations(engine).sweep() == 1
        engine.settle()
        assert engine.outcome(EXECUTION).state == "SUCCESS"
