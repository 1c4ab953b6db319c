"""What is kept for how long, on a clock that is moved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.adapters.local.kv import SqliteKV
from headrace_engine.adapters.local.logs import SqliteLogs
from headrace_engine.deletion import Deletion
from headrace_engine.language import Registry
from headrace_engine.retention import Kept, Retention, RetentionRefused, Rule, holding, read_length
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime, World

TASKS = Registry.load()
DAY = timedelta(days=1)
FLOW = """
id: {flow}
namespace: {namespace}
inputs: [{{id: file, type: FILE, required: false}}]
tasks:
  - {{id: log, type: io.kestra.plugin.core.log.Log, message: hi}}
  - {{id: stored, type: io.kestra.plugin.core.storage.Write, content: x}}
  - {{id: wait, type: io.kestra.plugin.core.flow.Pause, runIf: "{{{{ labels.waits is defined }}}}"}}
"""


class Scene:
    def __init__(self, database: Database | None) -> None:
        world = World()
        if database is not None:
            kept = {"executions": SqliteExecutions, "journal": SqliteJournal, "logs": SqliteLogs, "kv": SqliteKV}
            world.stores = replace(world.stores, **{name: store(database) for name, store in kept.items()})
        self.runtime = VirtualRuntime(registry=TASKS, world=world)
        self.retention = Retention(self.runtime.engine)

    def run(self, namespace: str = "demo", *, waits: bool = False) -> str:
        self.runtime.save_flow(FLOW.format(flow="f", namespace=namespace))
        made = self.runtime.create(namespace, "f", labels={"waits": "yes"} if waits else {})
        self.runtime.settle(None)
        return made

    def later(self, length: timedelta) -> None:
        self.runtime.clock.set(self.runtime.clock.now() + length)

    def has(self, execution_id: str) -> bool:
        return self.runtime.stores.executions.get(execution_id) is not None

    def logs(self, execution_id: str) -> int:
        return len(self.runtime.stores.logs.fetch(execution_id))

    def files(self, execution_id: str) -> list[str]:
        return [each.uri for each in self.runtime.stores.storage.list("kestra:///") if execution_id in each.uri]


@pytest.fixture(params=["memory", "sqlite"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    database = Database(tmp_path / "headrace.db") if request.param == "sqlite" else None
    scene = Scene(database)
    yield scene
    scene.runtime.close()
    if database is not None:
        database.close()


def test_an_execution_goes_with_all_that_is_its_own_when_its_time_is_over(scene: Scene) -> None:
    scene.retention.set("demo", Rule(executions=7 * DAY))
    old = scene.run()
    scene.later(3 * DAY)
    young = scene.run()
    scene.later(4 * DAY - timedelta(seconds=1))
    assert scene.retention.remove() == 0
    scene.later(timedelta(seconds=1))
    assert scene.retention.remove() == 1
    assert (scene.has(old), scene.logs(old), scene.files(old)) == (False, 0, [])
    assert scene.runtime.stores.journal.is_purged(old)
    assert (scene.has(young), scene.logs(young)) == (True, 1)
    assert scene.files(young)
    scene.later(3 * DAY)
    assert scene.retention.remove() == 1
    assert not scene.has(young)


def test_logs_and_files_go_by_themselves(scene: Scene) -> None:
    scene.retention.set("demo", Rule(logs=DAY, files=2 * DAY))
    made = scene.run()
    scene.later(DAY)
    assert scene.retention.remove() == 1
    assert (scene.has(made), scene.logs(made)) == (True, 0)
    assert scene.files(made)
    scene.later(DAY)
    assert scene.retention.remove() == 1
    assert (scene.has(made), scene.files(made)) == (True, [])
    assert scene.retention.remove() == 0


def test_what_has_not_ended_stays_and_goes_when_it_has(scene: Scene) -> None:
    scene.retention.set("demo", Rule(executions=DAY, logs=DAY, files=DAY))
    made = scene.run(waits=True)
    for _ in range(5):
        scene.later(30 * DAY)
        assert scene.retention.remove() == 0
    assert (scene.has(made), scene.logs(made)) == (True, 1)
    scene.runtime.ask(made, lambda operations, state: operations.resume(state))
    scene.runtime.settle(None)
    assert scene.retention.remove() == 0  # it has only just ended
    scene.later(DAY)
    scene.retention.remove()
    assert not scene.has(made)


def test_the_nearest_namespace_that_says_something_counts(scene: Scene) -> None:
    scene.retention.set("", Rule(executions=10 * DAY, logs=DAY))
    scene.retention.set("demo", Rule(executions=2 * DAY))
    scene.retention.set("demo.kept", Rule(executions=timedelta.max))
    other, below, kept = scene.run("other"), scene.run("demo.team"), scene.run("demo.kept.more")
    scene.later(2 * DAY)
    scene.retention.remove()
    assert [scene.has(each) for each in (other, below, kept)] == [True, False, True]
    assert [scene.logs(each) for each in (other, kept)] == [0, 0]
    scene.later(8 * DAY)
    scene.retention.remove()
    assert [scene.has(each) for each in (other, kept)] == [False, True]


def test_a_rule_that_is_changed_holds_for_what_was_before(scene: Scene) -> None:
    scene.retention.set("demo", Rule(executions=100 * DAY))
    made = scene.run()
    scene.later(10 * DAY)
    assert scene.retention.remove() == 0
    scene.retention.set("demo", Rule(executions=5 * DAY))
    assert scene.retention.remove() == 1
    assert not scene.has(made)
    scene.retention.set("demo", Rule())
    assert scene.retention.rules() == {}


def test_a_pass_that_is_cut_short_is_gone_on_with(scene: Scene) -> None:
    scene.retention.set("demo", Rule(executions=DAY, logs=DAY))
    made = [scene.run() for _ in range(6)]
    scene.later(DAY)
    answers = iter([True] * 4)
    scene.retention.remove(lambda: next(answers, False))
    assert any(scene.has(each) for each in made)
    scene.retention.remove()
    assert not any(scene.has(each) for each in made)


def test_what_somebody_else_was_to_delete_and_did_not_is_asked_for_again(scene: Scene) -> None:
    asked: list[Deletion] = []
    settings = Settings(deletes=asked.append)
    with VirtualRuntime(registry=TASKS, world=scene.runtime.world, settings=settings) as other:
        retention = Retention(other.engine)
        retention.set("demo", Rule(executions=DAY))
        made = scene.run()
        scene.later(DAY)
        for _ in range(2):
            retention.remove()
            scene.later(DAY)
    assert [each.execution_ids for each in asked] == [(made,), (made,)]


def test_the_sweep_does_it_once_an_hour(scene: Scene) -> None:
    scene.retention.set("demo", Rule(executions=timedelta(hours=1)))
    first = scene.run()
    scene.later(timedelta(hours=1))
    assert scene.retention.sweep() == 1
    second = scene.run()
    scene.later(timedelta(minutes=59))
    assert scene.retention.sweep() == 0
    scene.later(timedelta(minutes=1))
    assert scene.retention.sweep() == 1
    assert not scene.has(first)
    assert not scene.has(second)


def test_a_hundred_days_of_executions_in_any_order_of_passes(scene: Scene) -> None:
    chance = random.Random(7)
    scene.retention.set("demo", Rule(executions=3 * DAY))
    ended = {}
    for _ in range(100):
        made = scene.run(waits=chance.random() < 0.3)
        state = scene.runtime.state(made)
        if state.state.is_terminal:
            ended[made] = scene.runtime.clock.now()
        waiting = [each.id for each in scene.runtime.stores.executions.open()]
        if waiting and chance.random() < 0.4:
            one = chance.choice(waiting)
            scene.runtime.ask(one, lambda operations, state: operations.resume(state))
            scene.runtime.settle(None)
            ended[one] = scene.runtime.clock.now()
        scene.later(timedelta(hours=chance.randrange(1, 30)))
        if chance.random() < 0.5:
            scene.retention.remove()
    scene.retention.remove()
    left = {each.id for each in scene.runtime.stores.executions.search(limit=1000).found}
    waiting = {each.id for each in scene.runtime.stores.executions.open()}
    now = scene.runtime.clock.now()
    assert left == waiting | {each for each, at in ended.items() if now - at < 3 * DAY}


def test_what_holds_is_said_by_the_nearest() -> None:
    rules = {"": Rule(logs=DAY), "a": Rule(executions=2 * DAY), "a.b": Rule(logs=3 * DAY)}
    holds = holding(rules, "a.b.c")
    assert (holds[Kept.EXECUTIONS].length, holds[Kept.EXECUTIONS].said_by) == (2 * DAY, "a")
    assert (holds[Kept.LOGS].length, holds[Kept.LOGS].said_by) == (3 * DAY, "a.b")
    assert Kept.FILES not in holds
    assert holding(rules, "ab")[Kept.LOGS].said_by == ""


@pytest.mark.parametrize("text", ["soon", "PT10M", "-P1D", ""])
def test_lengths_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(RetentionRefused):
        read_length(text)
