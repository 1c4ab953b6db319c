"""Flow triggers as a whole: flows that start when others change their state (reference §8.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from headrace_engine.adapters.memory import MemoryExecutions, MemoryTriggers
from headrace_engine.core.codec import decode_memory
from headrace_engine.language import FlowError
from headrace_engine.model.ids import derived_id
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary, StateChange, TriggerRecord, Triggers
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime, World

LOG = "{id: log, type: io.kestra.plugin.core.log.Log, message: hi}"
FAIL = "{id: fail, type: io.kestra.plugin.core.execution.Fail}"
PAUSE = "{id: pause, type: io.kestra.plugin.core.flow.Pause}"


def flow(name: str, more: str = "", tasks: str = LOG, namespace: str = "demo") -> str:
    return f"id: {name}\nnamespace: {namespace}\ntasks: [{tasks}]\n{more}"


def listening(name: str, trigger: str = "", tasks: str = LOG, more: str = "") -> str:
    """A flow with one Flow trigger; *trigger* holds its properties."""
    inner = "\n".join(f"    {line}" for line in trigger.strip("\n").splitlines())
    return flow(
        name, f"{more}triggers:\n  - id: listen\n    type: io.kestra.plugin.core.trigger.Flow\n{inner}\n", tasks
    )


def after(*flows: str, window: str = "", more: str = "") -> str:
    """Preconditions: a SUCCESS of each of *flows*."""
    listed = ", ".join(f"{{namespace: demo, flowId: {name}, states: [SUCCESS]}}" for name in flows)
    timed = f"\n  timeWindow: {{{window}}}" if window else ""
    return f"preconditions:\n  id: pre\n  flows: [{listed}]{timed}\n{more}"


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        yield runtime


def run(runtime: VirtualRuntime, name: str, inputs: dict[str, Any] | None = None, **options: Any) -> str:
    execution_id = runtime.create("demo", name, inputs, **options)
    runtime.settle(timedelta(0))
    return execution_id


def executions(runtime: VirtualRuntime, name: str) -> list[ExecutionSummary]:
    found = runtime.stores.executions.search(ExecutionQuery(flow_id=name), limit=1000).found
    return sorted(found, key=lambda each: each.start)


def runs(runtime: VirtualRuntime, name: str) -> int:
    return len(executions(runtime, name))


def the_one(runtime: VirtualRuntime, name: str) -> dict[str, Any]:
    (found,) = executions(runtime, name)
    return runtime.outcome(found.id).view


def save(runtime: VirtualRuntime, *sources: str) -> None:
    for source in sources:
        runtime.save_flow(source)


# -- What is heard ---------------------------------------------------------------------------------


def test_a_flow_starts_when_another_ends(runtime: VirtualRuntime) -> None:
    save(
        runtime,
        flow("a", "outputs: [{id: rows, type: INT, value: 7}]\n"),
        listening("b", after("a", more="inputs: {rows: '{{ trigger.outputs.rows }}', from: '{{ trigger.flowId }}'}\n")),
    )
    source = run(runtime, "a")
    view = the_one(runtime, "b")
    assert view["state"]["current"] == "SUCCESS"
    assert view["id"] == derived_id("flow-trigger", "demo", "b", "listen", source, 2)
    assert view["inputs"] == {"rows": 7, "from": "a"}
    assert view["trigger"] == {
        "id": "listen",
        "type": "io.kestra.plugin.core.trigger.Flow",
        "variables": {
            "executionId": source,
            "namespace": "demo",
            "flowId": "a",
            "flowRevision": 1,
            "state": "SUCCESS",
            "outputs": {"rows": 7},
        },
    }


def test_the_trigger_is_seen_by_expressions(runtime: VirtualRuntime) -> None:
    message = "{{ trigger.state }} of {{ trigger.namespace }}.{{ trigger.flowId }}: {{ trigger.outputs.x }}"
    task = f"{{id: log, type: io.kestra.plugin.core.log.Log, message: '{message}'}}"
    save(runtime, flow("a", "outputs: [{id: x, type: STRING, value: y}]\n"), listening("b", after("a"), tasks=task))
    run(runtime, "a")
    (started,) = executions(runtime, "b")
    assert [line.message for line in runtime.outcome(started.id).logs] == ["SUCCESS of demo.a: y"]


def test_labels_are_those_of_the_flow_the_trigger_and_the_system(runtime: VirtualRuntime) -> None:
    trigger = after("a", more="labels: {source: '{{ trigger.flowId }}'}\n")
    save(runtime, flow("a"), listening("b", trigger, more="labels: {team: data}\n"))
    run(runtime, "a", labels={"mine": "only"})
    view = the_one(runtime, "b")
    labels = {label["key"]: label["value"] for label in view["labels"]}
    assert labels == {"team": "data", "source": "a", "system.correlationId": view["id"], "system.from": "trigger"}


def test_without_conditions_every_end_and_pause_is_heard(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a", tasks=f"{PAUSE}, {FAIL}"), listening("b"))
    execution = run(runtime, "a")
    runtime.ask(execution, lambda operations, state: operations.resume(state))
    runtime.settle()
    heard = [runtime.outcome(each.id).view["trigger"]["variables"]["state"] for each in executions(runtime, "b")]
    assert sorted(heard) == ["FAILED", "PAUSED"]


def test_the_same_state_twice_is_heard_twice(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a", tasks=f"{PAUSE}, {PAUSE.replace('pause', 'again', 1)}"), listening("b", "states: [PAUSED]"))
    execution = run(runtime, "a")
    for _ in range(2):
        runtime.ask(execution, lambda operations, state: operations.resume(state))
        runtime.settle()
    assert runs(runtime, "b") == 2


@pytest.mark.parametrize("state", ["CREATED", "RUNNING", "SUCCESS"])
def test_the_states_that_count_may_be_named(runtime: VirtualRuntime, state: str) -> None:
    save(runtime, flow("a"), listening("b", f"states: [{state}]"))
    run(runtime, "a")
    assert the_one(runtime, "b")["trigger"]["variables"]["state"] == state


def test_a_restart_is_heard_again(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a", tasks=FAIL), listening("b", "states: [FAILED]"))
    execution = run(runtime, "a")
    runtime.ask(execution, lambda operations, state: operations.restart(state))
    runtime.settle()
    assert runs(runtime, "b") == 2


def test_a_trigger_never_hears_its_own_flow(runtime: VirtualRuntime) -> None:
    save(runtime, listening("a"))
    run(runtime, "a")
    assert runs(runtime, "a") == 1


def test_a_subflow_is_heard_as_any_execution(runtime: VirtualRuntime) -> None:
    call = "{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: a}"
    save(runtime, flow("a"), flow("parent", tasks=call), listening("b", after("a")))
    run(runtime, "parent")
    assert runs(runtime, "b") == 1


@pytest.mark.parametrize(
    ("condition", "starts"),
    [
        ("ExecutionFlow, namespace: demo, flowId: a", True),
        ("ExecutionFlow, namespace: demo, flowId: other", False),
        ("ExecutionNamespace, namespace: de, comparison: PREFIX", True),
        ("ExecutionLabels, labels: {env: prod}", True),
        ("ExecutionLabels, labels: {env: test}", False),
        ("ExecutionStatus, in: [SUCCESS]", True),
        ("ExecutionStatus, notIn: [SUCCESS]", False),
        ("ExecutionOutputs, expression: '{{ trigger.outputs.x == 1 }}'", True),
        ("ExecutionOutputs, expression: '{{ trigger.outputs.x == 2 }}'", False),
        ("Expression, expression: '{{ outputs.log is defined and labels.env == \"prod\" }}'", True),
        ("Expression, expression: '{{ 0 }}'", True),
        ("Expression, expression: '{{ flow.id == \"b\" }}'", True),
        ("Expression, expression: '{{ unknown }}'", False),
        ("HasRetryAttempt, in: [FAILED]", False),
        ("Weekend, date: '{{ now() }}'", False),
        ("DayWeek, date: '{{ now() }}', dayOfWeek: THURSDAY", True),
    ],
)
def test_conditions_must_hold(runtime: VirtualRuntime, condition: str, starts: bool) -> None:
    trigger = f"states: [SUCCESS]\nconditions: [{{type: io.kestra.plugin.core.condition.{condition}}}]"
    save(runtime, flow("a", "outputs: [{id: x, type: INT, value: 1}]\n"), listening("b", trigger))
    run(runtime, "a", labels={"env": "prod"})
    assert runs(runtime, "b") == (1 if starts else 0)


def test_a_retry_is_seen(runtime: VirtualRuntime) -> None:
    task = "{id: fail, type: io.kestra.plugin.core.execution.Fail, retry: {type: constant, interval: PT1S, maxAttempts: 2}}"
    trigger = "conditions: [{type: io.kestra.plugin.core.condition.HasRetryAttempt, in: [FAILED]}]"
    save(runtime, flow("a", tasks=task), listening("b", trigger))
    runtime.create("demo", "a")
    runtime.settle()
    assert runs(runtime, "b") == 1


def test_the_2_0_form_is_understood(runtime: VirtualRuntime) -> None:
    trigger = """
when: "{{ trigger.state == 'SUCCESS' }}"
dependsOn: [{namespace: demo, flowId: a, states: [SUCCESS]}, {namespace: demo, flowId: x, when: "{{ labels.go == 'yes' }}"}]
mode: ALL
window: {lookback: PT1H}
"""
    save(runtime, flow("a"), flow("x"), listening("b", trigger))
    run(runtime, "a")
    run(runtime, "x", labels={"go": "no"})
    assert runs(runtime, "b") == 0
    run(runtime, "x", labels={"go": "yes"})
    assert runs(runtime, "b") == 1


# -- What is not started ---------------------------------------------------------------------------


def test_inputs_are_not_checked_and_defaults_appear(runtime: VirtualRuntime) -> None:
    inputs = "inputs: [{id: needed, type: INT}, {id: size, type: INT, defaults: 3}, {id: given, type: INT}]\n"
    task = "{id: log, type: io.kestra.plugin.core.log.Log, message: '{{ inputs.size }} {{ inputs.given }}'}"
    save(runtime, flow("a"), listening("b", after("a", more="inputs: {given: many}\n"), tasks=task, more=inputs))
    run(runtime, "a")
    (started,) = executions(runtime, "b")
    assert runtime.outcome(started.id).view["inputs"] == {"given": "many"}
    assert [line.message for line in runtime.outcome(started.id).logs] == ["3 many"]


def test_a_secret_input_is_sealed(runtime: VirtualRuntime) -> None:
    trigger = after("a", more="inputs: {password: '{{ outputs.log.value ?? \"hunter2\" }}'}\n")
    save(runtime, flow("a"), listening("b", trigger, more="inputs: [{id: password, type: SECRET}]\n"))
    run(runtime, "a")
    assert "hunter2" not in str(the_one(runtime, "b")["inputs"])


@pytest.mark.parametrize("what", ["inputs: {x: '{{ trigger.outputs.missing }}'}", "labels: {x: '{{ missing }}'}"])
def test_what_cannot_be_rendered_drops_the_event(
    runtime: VirtualRuntime, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(runtime, flow("a"), listening("b", after("a", more=what + "\n")))
    assert runtime.outcome(run(runtime, "a")).state == "SUCCESS"
    assert runs(runtime, "b") == 0
    assert "The trigger demo.b.listen passes over execution" in caplog.text
    assert "missing" in caplog.text


@pytest.mark.parametrize(
    "source",
    [
        listening("b", "disabled: true"),
        listening("b", more="disabled: true\n"),
    ],
    ids=["trigger", "flow"],
)
def test_what_is_off_does_not_listen(runtime: VirtualRuntime, source: str) -> None:
    save(runtime, flow("a"), source)
    run(runtime, "a")
    assert runs(runtime, "b") == 0


def test_one_that_cannot_listen_as_it_says_is_not_saved(runtime: VirtualRuntime) -> None:
    with pytest.raises(FlowError, match="`onMiss` is not supported"):
        save(runtime, listening("b", "dependsOn: [{flowId: a}]\nonMiss: {behavior: FAIL}"))


def test_a_trigger_is_switched_off_and_on(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), listening("b", after("a")))
    runtime.flow_triggers.set_disabled("demo", "b", "listen", disabled=True)
    run(runtime, "a")
    assert runs(runtime, "b") == 0
    runtime.flow_triggers.set_disabled("demo", "b", "listen", disabled=False)
    run(runtime, "a")
    assert runs(runtime, "b") == 1


def test_stop_after_switches_the_trigger_off(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), listening("b", after("a", more="stopAfter: [FAILED]\n"), tasks=FAIL))
    run(runtime, "a")
    run(runtime, "a")
    assert runs(runtime, "b") == 1
    assert runtime.stores.triggers.get("demo", "b", "listen").disabled


def test_the_latest_revision_listens_and_a_deleted_flow_does_not(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), flow("x"), listening("b", after("a")))
    run(runtime, "a")
    save(runtime, listening("b", after("x")))
    run(runtime, "a")
    assert runs(runtime, "b") == 1
    run(runtime, "x")
    assert sorted(each.flow_revision for each in executions(runtime, "b")) == [1, 2]
    runtime.engine.delete_flow("demo", "b")
    run(runtime, "x")
    assert runs(runtime, "b") == 2


def test_an_engine_that_starts_knows_who_listens(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), listening("b", after("a")))
    with VirtualRuntime(world=runtime.world) as later:
        run(later, "a")
        assert runs(later, "b") == 1


# -- Several flows ---------------------------------------------------------------------------------


def test_several_flows_must_all_have_succeeded(runtime: VirtualRuntime) -> None:
    save(
        runtime,
        flow("a"),
        flow("x"),
        flow("y", tasks=FAIL),
        listening("b", after("a", "x")),
        listening("c", after("a", "y")),
    )
    for name in ("a", "a", "y"):
        run(runtime, name)
    assert runs(runtime, "b") == 0
    last = run(runtime, "x")
    assert the_one(runtime, "b")["trigger"]["variables"]["executionId"] == last
    assert runs(runtime, "c") == 0


@pytest.mark.parametrize(("reset", "expected"), [("true", [0, 1, 1, 2]), ("false", [0, 1, 2, 3])])
def test_after_it_fired_all_are_waited_for_again_unless_told_otherwise(
    runtime: VirtualRuntime, reset: str, expected: list[int]
) -> None:
    save(runtime, flow("a"), flow("x"), listening("b", after("a", "x", more=f"  resetOnSuccess: {reset}\n")))
    counts = []
    for name in ("a", "x", "a", "x"):
        run(runtime, name)
        counts.append(runs(runtime, "b"))
    assert counts == expected


WINDOWS = [
    ("type: DURATION_WINDOW", timedelta(hours=23), True),
    ("type: DURATION_WINDOW", timedelta(hours=25), False),
    ("type: DURATION_WINDOW, window: PT1H", timedelta(minutes=59), True),
    ("type: DURATION_WINDOW, window: PT1H", timedelta(minutes=60), False),
    ("type: DURATION_WINDOW, window: PT1H, windowAdvance: PT30M", timedelta(minutes=31), False),
    ("type: SLIDING_WINDOW, window: PT1H", timedelta(minutes=60), True),
    ("type: SLIDING_WINDOW, window: PT1H", timedelta(minutes=61), False),
    ('type: DAILY_TIME_DEADLINE, deadline: "01:00:00Z"', timedelta(minutes=60), True),
    ('type: DAILY_TIME_DEADLINE, deadline: "01:00:00Z"', timedelta(minutes=61), False),
    ('type: DAILY_TIME_DEADLINE, deadline: "01:00:00+01:00"', timedelta(minutes=1), False),
    ('type: DAILY_TIME_WINDOW, startTime: "00:00:00", endTime: "02:00:00"', timedelta(hours=2), True),
    ('type: DAILY_TIME_WINDOW, startTime: "00:00:00", endTime: "02:00:00"', timedelta(hours=24), False),
    ('type: DAILY_TIME_WINDOW, startTime: "23:00:00", endTime: "02:00:00"', timedelta(hours=1), True),
]


@pytest.mark.parametrize(("window", "later", "starts"), WINDOWS)
def test_within_a_time_window(runtime: VirtualRuntime, window: str, later: timedelta, starts: bool) -> None:
    save(runtime, flow("a"), flow("x"), listening("b", after("a", "x", window=window)))
    run(runtime, "a")
    runtime.clock.set(runtime.clock.now() + later)
    run(runtime, "x")
    assert runs(runtime, "b") == (1 if starts else 0)


def test_one_flow_past_its_deadline_starts_nothing(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), listening("b", after("a", window='type: DAILY_TIME_DEADLINE, deadline: "09:00:00Z"')))
    for hours in (8, 2, 14):
        runtime.clock.set(runtime.clock.now() + timedelta(hours=hours))
        run(runtime, "a")
    assert runs(runtime, "b") == 2  # at 8:00, not at 10:00, and at midnight


MULTIPLE = """
conditions:
  - type: io.kestra.plugin.core.condition.ExecutionStatus
    in: [SUCCESS]
  - type: io.kestra.plugin.core.condition.MultipleCondition
    id: multiple
    window: PT1H
    conditions:
      one: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: demo, flowId: a}
      two: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: demo, flowId: x}
"""


def test_a_multiple_condition_waits_for_all_of_its_conditions(runtime: VirtualRuntime) -> None:
    save(
        runtime,
        flow("a"),
        flow(
            "x",
            tasks=f"{{id: i, type: io.kestra.plugin.core.flow.If, condition: '{{{{ labels.ok == \"yes\" }}}}', then: [{LOG}], else: [{FAIL}]}}",
        ),
        listening("b", MULTIPLE),
    )
    run(runtime, "a")
    run(runtime, "x", labels={"ok": "no"})
    assert runs(runtime, "b") == 0
    run(runtime, "x", labels={"ok": "yes"})
    assert runs(runtime, "b") == 1


def test_filters_and_flows_are_gathered_together(runtime: VirtualRuntime) -> None:
    trigger = """
preconditions:
  id: pre
  flows: [{namespace: demo, flowId: a}]
  where:
    - {id: alerts, filters: [{field: FLOW_ID, type: STARTS_WITH, value: alert}, {field: EXPRESSION, type: IS_TRUE, value: "{{ labels.env == 'prod' }}"}]}
"""
    save(runtime, flow("a"), flow("alert-1"), listening("b", trigger))
    run(runtime, "a")
    run(runtime, "alert-1", labels={"env": "test"})
    assert runs(runtime, "b") == 0
    run(runtime, "alert-1", labels={"env": "prod"})
    assert runs(runtime, "b") == 1


def test_a_regular_expression_filters(runtime: VirtualRuntime) -> None:
    trigger = "states: [SUCCESS]\npreconditions: {id: p, where: [{id: w, filters: [{field: FLOW_ID, type: REGEX, value: 'etl-[0-9]+'}]}]}"
    save(runtime, flow("etl-1"), flow("etl-x"), listening("b", trigger))
    run(runtime, "etl-1")
    run(runtime, "etl-x")
    assert [runtime.outcome(each.id).view["trigger"]["variables"]["flowId"] for each in executions(runtime, "b")] == [
        "etl-1"
    ]


# -- Chains ----------------------------------------------------------------------------------------


def test_two_flows_that_start_each_other_end_after_ten(caplog: pytest.LogCaptureFixture) -> None:
    with VirtualRuntime() as runtime:
        save(runtime, listening("a", after("b")), listening("b", after("a")))
        run(runtime, "a")
        assert (runs(runtime, "a"), runs(runtime, "b")) == (6, 5)
    assert "limits.flowTriggerChain" in caplog.text


def test_the_bound_is_a_setting() -> None:
    with VirtualRuntime(settings=Settings(flow_trigger_chain=2)) as runtime:
        save(runtime, listening("a", after("b")), listening("b", after("a")))
        run(runtime, "a")
        assert (runs(runtime, "a"), runs(runtime, "b")) == (2, 1)


def test_a_chain_goes_on_through_subflows() -> None:
    call = "{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: demo, flowId: a}"
    with VirtualRuntime(settings=Settings(flow_trigger_chain=3)) as runtime:
        save(runtime, flow("a"), listening("b", after("a"), tasks=call))
        run(runtime, "a")
        assert (runs(runtime, "a"), runs(runtime, "b")) == (4, 3)


# -- Told again, told to several -------------------------------------------------------------------


def heard(world: World) -> list[StateChange]:
    """Have the world keep all it is told."""
    told: list[StateChange] = []
    publish = world.publish

    def keep(*changes: StateChange) -> None:
        told.extend(changes)
        publish(*changes)

    world.publish = keep  # type: ignore[method-assign]
    return told


@pytest.mark.parametrize(
    "trigger", [after("a"), after("a", "x"), after("a", "x", more="  resetOnSuccess: false\n"), MULTIPLE]
)
def test_changes_that_are_told_again_start_nothing_more(runtime: VirtualRuntime, trigger: str) -> None:
    told = heard(runtime.world)
    save(runtime, flow("a"), flow("x"), listening("b", trigger))
    for name in ("a", "x", "a"):
        run(runtime, name)
    before = [each.id for each in executions(runtime, "b")]
    assert before
    for change in [*told, *reversed(told), *told]:
        runtime.world.publish(change)
        runtime.settle(timedelta(0))
    assert [each.id for each in executions(runtime, "b")] == before


def told_of(runtime: VirtualRuntime, *names: str) -> list[StateChange]:
    """Run flows to their end, one after the other; return their ends, which nobody has heard of yet."""
    for name in names:
        runtime.create("demo", name)
    while runtime.world.letters:
        runtime.deliver(runtime.world.letters[0])
    changes = [change for change in runtime.world.changes if change.state is State.SUCCESS]
    runtime.world.changes.clear()
    return changes


def test_a_start_that_was_lost_is_made_up_for_when_the_change_is_told_again(runtime: VirtualRuntime) -> None:
    save(runtime, flow("a"), flow("x"), listening("b", after("a", "x")))
    changes = told_of(runtime, "a", "x")
    for change in changes:
        runtime.hear(change)
    runtime.world.letters.clear()  # the start never arrives
    runtime.settle(timedelta(0))
    assert runs(runtime, "b") == 0
    for change in changes:
        runtime.hear(change)
    runtime.settle(timedelta(0))
    assert runs(runtime, "b") == 1


class Racing:
    """`Triggers` that lets another evaluator in between a read and the write that follows it."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers
        self.between: list[Callable[[], None]] = []
        self.list = triggers.list
        self.due = triggers.due
        self.delete = triggers.delete
        self.landed: list[str] = []
        """The executions whose changes were booked, in the order of the writes."""

    def get(self, namespace: str, flow_id: str, trigger_id: str) -> TriggerRecord:
        record = self._triggers.get(namespace, flow_id, trigger_id)
        if self.between:
            self.between.pop(0)()
        return record

    def put(self, record: TriggerRecord) -> TriggerRecord:
        written = self._triggers.put(record)
        seen = [each.change.execution_id for each in decode_memory(record.data).seen]
        self.landed += [execution_id for execution_id in seen if execution_id not in self.landed]
        return written


@pytest.mark.parametrize("turns", range(1, 4))
@pytest.mark.parametrize("reset", ["true", "false"])
def test_two_evaluators_that_race_do_what_one_does(turns: int, reset: str) -> None:
    """Each change counts once; what fires is what one evaluator fires that hears of them as their writes landed."""
    sources = (flow("a"), flow("x"), listening("b", after("a", "x", more=f"  resetOnSuccess: {reset}\n")))
    world, alone = World(), World()
    racing = Racing(world.stores.triggers)
    world.stores = replace(world.stores, triggers=racing)
    with VirtualRuntime(world=world) as first, VirtualRuntime(world=world) as second:
        save(first, *sources)
        changes = told_of(first, "a", "x", "x", "a")
        for number, change in enumerate(changes):
            others = changes[number + 1 :][:turns]
            racing.between = [partial(second.hear, other) for other in others]
            first.hear(change)
        assert sorted(racing.landed) == sorted(change.execution_id for change in changes)
        first.settle(timedelta(0))
        came = {each.id for each in executions(first, "b")}
    alone.stores = replace(world.stores, triggers=MemoryTriggers(), executions=MemoryExecutions())
    with VirtualRuntime(world=alone) as one:
        by_id = {change.execution_id: change for change in changes}
        for execution_id in racing.landed:
            one.hear(by_id[execution_id])
        assert came == {letter.execution_id for letter in alone.letters}
    assert came


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_news_in_any_order_lose_nothing(runtime: VirtualRuntime, order: tuple[int, ...]) -> None:
    save(runtime, flow("a"), flow("x"), listening("b", after("a", "x", more="  resetOnSuccess: false\n")))
    changes = told_of(runtime, "a", "x", "a", "x")
    names = [changes[place].flow_id for place in order]
    for place in order:
        runtime.hear(changes[place])
    runtime.settle(timedelta(0))
    waited = next(number for number in range(4) if set(names[: number + 1]) == {"a", "x"})
    assert runs(runtime, "b") == 4 - waited


# -- Offloading ------------------------------------------------------------------------------------


def test_large_outputs_do_not_stand_in_the_journal_of_what_they_start() -> None:
    with VirtualRuntime(settings=Settings(output_inline_limit=64)) as runtime:
        text = "x" * 200
        save(
            runtime,
            flow("a", f"outputs: [{{id: x, type: STRING, value: {text}}}]\n"),
            listening("b", after("a", more="inputs: {y: '{{ trigger.outputs.x }}'}\n")),
        )
        run(runtime, "a")
        view = the_one(runtime, "b")
        assert view["trigger"]["variables"]["outputs"] == {"x": text}
        assert view["inputs"] == {"y": text}
        entries = runtime.stores.journal.entries(view["id"])
        assert text.encode() not in b"".join(entry.data for entry in entries)
