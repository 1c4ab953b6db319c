"""What the executor owes when a store fails, a clock runs back, or another executor was here (DESIGN §3)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from crash.faults import CrashError, Faults, through
from crash.virtual import registry
from headrace_engine.core.codec import decode_entry
from headrace_engine.core.events import AttemptStarted
from headrace_engine.core.messages import TimerFired
from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure
from headrace_engine.ports import PortError
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime, World

SOON = 10.0
EXECUTION = "execution"


class Meet(RunnableTask):
    """A light task that waits until the other one has ended its attempt, whatever becomes of that.

    id: meet
    type: test.Meet
    first: true
    """

    TYPE: ClassVar[str] = "test.Meet"
    KIND: ClassVar[Kind] = Kind.LIGHT
    OTHER_IS_DONE: ClassVar[threading.Event] = threading.Event()
    RUNNING: ClassVar[Counter[str]] = Counter()
    MOST: ClassVar[Counter[str]] = Counter()

    first: bool

    def run(self, context: RunContext) -> None:
        """End at once, or wait until the store has failed for the other."""
        self.RUNNING[context.task_id] += 1
        self.MOST[context.task_id] = max(self.MOST[context.task_id], self.RUNNING[context.task_id])
        if not self.first and not self.OTHER_IS_DONE.wait(SOON):
            raise TaskFailure("the other one never ended")
        self.RUNNING[context.task_id] -= 1


class Hang(RunnableTask):
    """A light task that takes for ever.

    id: hang
    type: test.Hang
    """

    TYPE: ClassVar[str] = "test.Hang"
    KIND: ClassVar[Kind] = Kind.LIGHT

    def run(self, context: RunContext) -> None:
        """Wait to be stopped."""
        if not context.wait(timedelta(seconds=SOON)):
            raise TaskFailure("nobody stopped it")


TASKS = registry().extended([Meet, Hang])

SLEEP = """
id: sleep
namespace: test
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
"""


def runtime(world: World | None = None, tasks: Registry = TASKS, **options: Any) -> VirtualRuntime:
    return VirtualRuntime(world=world or World(), registry=tasks, **options)


def attempts(world: World) -> list[AttemptStarted]:
    entries = [decode_entry(stored.data) for stored in world.stores.journal.entries(EXECUTION)]
    return [event for entry in entries for event in entry.events if isinstance(event, AttemptStarted)]


def test_a_timer_that_comes_early_is_set_again() -> None:
    """A clock that is set back between the timer's ringing and its handling must not put an execution to sleep."""
    with runtime() as engine:
        definition = engine.save_flow(SLEEP)
        engine.create(definition.namespace, definition.id, execution_id=EXECUTION)
        engine.settle(None)
        ((due, _, key),) = engine.world.timers
        engine.world.timers.clear()
        engine.world.post(EXECUTION, TimerFired(key))
        engine.settle(None)
        assert engine.world.timers == [(due, EXECUTION, key)]
        engine.settle()
        assert engine.outcome(EXECUTION).state == "SUCCESS"


def test_a_light_task_is_never_run_twice_at_a_time() -> None:
    """The journal fails while one of two light tasks still runs: that one must end before anybody runs it again."""
    Meet.OTHER_IS_DONE.clear()
    Meet.MOST.clear()
    failures = [1]

    def call(name: str, run: Callable[[], Any]) -> Any:
        started = len(attempts(world))
        if name == "journal.append" and started == 2 and failures:
            failures.clear()
            # Only now may the second one end; the error is under way before it can.
            threading.Timer(0.05, Meet.OTHER_IS_DONE.set).start()
            raise PortError("the disk is full")
        return run()

    world = World()
    with runtime(through(world, call)) as engine:
        definition = engine.save_flow(
            """
id: light
namespace: test
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: one, type: test.Meet, first: true}
      - {id: two, type: test.Meet, first: false}
"""
        )
        engine.create(definition.namespace, definition.id, execution_id=EXECUTION)
        with pytest.raises(PortError):
            engine.settle()
        engine.settle()  # the message comes again
        assert engine.outcome(EXECUTION).state == "SUCCESS"
    assert Meet.MOST == {"one": 1, "two": 1}


def test_a_light_task_ends_with_its_lease() -> None:
    """Otherwise it would hold its execution, and every message to it, for as long as it likes."""
    with runtime(settings=Settings(lease_seconds=0.05)) as engine:
        came = engine.run("id: hang\nnamespace: test\ntasks:\n  - {id: hang, type: test.Hang}\n")
        assert came.state == "FAILED"
        assert came.find("hang")["error"].startswith("TimeoutExceededException")


def test_whoever_finds_a_light_attempt_lost_holds_the_next_lease() -> None:
    """Else the one who lost it, back from a long pause, would take the new lease for an old one of its own."""
    world = World()
    faults = Faults()

    def call(name: str, run: Callable[[], Any]) -> Any:
        if name == "kv.put":
            faults.at = faults.calls + 1  # the first engine stops in the midst of its light task
        return faults.call(name, run)

    with runtime(through(world, call)) as first, runtime(world) as second:
        definition = first.save_flow(
            "id: one\nnamespace: test\ntasks:\n  - {id: effect, type: test.Effect, label: one}\n"
        )
        first.create(definition.namespace, definition.id, execution_id=EXECUTION)
        with pytest.raises(CrashError):
            first.step()
        second.settle(None)
        assert second.outcome(EXECUTION).state == "SUCCESS"
    lost, ran = attempts(world)
    assert lost.owner is not None
    assert ran.owner is not None
    assert lost.owner != ran.owner


def test_a_message_is_not_taken_for_old_because_the_state_in_memory_is() -> None:
    """An engine that has not seen the last entries must look again before it drops a message."""
    world = World()
    with runtime(world) as first, runtime(world) as second:
        definition = first.save_flow(
            """
id: sleeps
namespace: test
tasks:
  - {id: one, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
  - {id: two, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
"""
        )
        first.create(definition.namespace, definition.id, execution_id=EXECUTION)
        first.settle(None)
        assert second.outcome(EXECUTION).find("one")["state"]["current"] == "RUNNING"  # what the second holds now
        day = first.clock.now() + timedelta(days=1)
        assert first.ring(day)
        first.settle(None)
        assert first.ring(day)
        second.settle(None)
        assert second.outcome(EXECUTION).state == "SUCCESS"


def test_a_loop_sets_one_timer_a_round() -> None:
    flow = """
id: loop
namespace: test
tasks:
  - id: until
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ outputs.until.iterationCount >= 6 }}"
    checkFrequency: {interval: PT1M}
    tasks: [{id: look, type: io.kestra.plugin.core.debug.Return, format: x}]
"""
    set_: list[str] = []

    def call(name: str, run: Callable[[], Any]) -> Any:
        set_.append(name)
        return run()

    with runtime(through(World(), call)) as engine:
        assert engine.run(flow).state == "SUCCESS"
    assert set_.count("timers.wake") == 5
