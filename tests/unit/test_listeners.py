"""Who listens to which flows, worked out from the flows' sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from headrace_engine.adapters.memory import ManualClock, MemoryFlows
from headrace_engine.language import parse_flow
from headrace_engine.listeners import Listeners
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.ports import FlowSource
from headrace_engine.testing.runtime import START

LOG = "tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]"


def source(name: str, trigger: str = "") -> str:
    kind = "io.kestra.plugin.core.trigger.Flow"
    triggers = f"triggers: [{{id: t, type: {kind}, {trigger}}}]" if trigger else ""
    return f"id: {name}\nnamespace: demo\n{LOG}\n{triggers}\n"


def listeners(flows: MemoryFlows, read: list[str] | None = None) -> Listeners:
    def compiled(found: FlowSource):  # type: ignore[no-untyped-def]
        if read is not None:
            read.append(found.id)
        return parse_flow(found.source, revision=found.revision)

    return Listeners(flows, compiled, ManualClock(START))


def hearing(found: Listeners, namespace: str, flow_id: str) -> list[str]:
    return [listener.flow.id for listener in found.of(namespace, flow_id)]


CONDITION = "type: io.kestra.plugin.core.condition"
PLACES = [
    ("states: [SUCCESS]", {"demo.a", "demo.x", "other.a"}),
    (f"conditions: [{{{CONDITION}.ExecutionFlow, namespace: demo, flowId: a}}]", {"demo.a"}),
    (f"conditions: [{{{CONDITION}.ExecutionNamespace, namespace: demo}}]", {"demo.a", "demo.x"}),
    (
        f"conditions: [{{{CONDITION}.ExecutionNamespace, namespace: de, comparison: PREFIX}}]",
        {"demo.a", "demo.x", "other.a"},
    ),
    (f"conditions: [{{{CONDITION}.Weekend}}, {{{CONDITION}.ExecutionFlow, namespace: other, flowId: a}}]", {"other.a"}),
    (
        f"conditions: [{{{CONDITION}.Or, conditions: [{{{CONDITION}.ExecutionFlow, namespace: demo, flowId: a}}, "
        f"{{{CONDITION}.ExecutionNamespace, namespace: other}}]}}]",
        {"demo.a", "other.a"},
    ),
    (
        f"conditions: [{{{CONDITION}.Not, conditions: [{{{CONDITION}.ExecutionFlow, namespace: demo, flowId: a}}]}}]",
        {"demo.a", "demo.x", "other.a"},
    ),
    (
        "preconditions: {id: p, flows: [{namespace: demo, flowId: a}, {namespace: demo, flowId: x}]}",
        {"demo.a", "demo.x"},
    ),
    ("preconditions: {id: p, flows: [{namespace: demo, flowId: a}, {namespace: demo}]}", {"demo.a", "demo.x"}),
    (
        "preconditions: {id: p, flows: [{namespace: demo, flowId: a}], "
        "where: [{id: w, filters: [{field: STATE, type: EQUAL_TO, value: FAILED}]}]}",
        {"demo.a", "demo.x", "other.a"},
    ),
]


@pytest.mark.parametrize(("trigger", "expected"), PLACES)
def test_a_trigger_is_looked_at_only_where_it_can_hear_something(trigger: str, expected: set[str]) -> None:
    flows = MemoryFlows()
    flows.save("demo", "b", source("b", trigger), START)
    found = listeners(flows)
    places = [("demo", "a"), ("demo", "x"), ("other", "a"), ("demo", "b")]
    heard = [f"{namespace}.{name}" for namespace, name in places for _ in found.of(namespace, name)]
    assert sorted(heard) == sorted(expected), "once each, and never its own flow"


def test_flows_without_a_flow_trigger_are_not_compiled() -> None:
    flows, read = MemoryFlows(), []  # type: ignore[var-annotated]
    flows.save("demo", "a", source("a"), START)
    flows.save("demo", "b", source("b", "states: [FAILED]"), START)
    assert hearing(listeners(flows, read), "demo", "a") == ["b"]
    assert read == ["b"]


def test_changes_are_taken_note_of() -> None:
    flows = MemoryFlows()
    found = listeners(flows)
    assert hearing(found, "demo", "a") == []
    found.put(parse_flow(source("b", "states: [FAILED]")))
    assert hearing(found, "demo", "a") == ["b"]
    found.put(parse_flow(source("b")))
    assert hearing(found, "demo", "a") == []
    found.put(parse_flow(source("b", "states: [FAILED]")))
    found.remove("demo", "b")
    assert hearing(found, "demo", "a") == []


def test_a_flow_that_cannot_be_read_keeps_no_other_from_listening(caplog: pytest.LogCaptureFixture) -> None:
    flows = MemoryFlows()
    flows.save("demo", "b", source("b", "states: [FAILED]"), START)
    flows.save("demo", "broken", source("broken", "states: [NOWHERE]"), START)
    assert hearing(listeners(flows), "demo", "a") == ["b"]
    assert "demo.broken" in caplog.text


class Lagging(MemoryFlows):
    """Flows whose list is a moment behind."""

    lags = False

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        return [] if self.lags else super().list(namespace_prefix)


def test_what_others_change_is_seen_though_the_list_of_flows_lags_behind() -> None:
    flows, clock = Lagging(), ManualClock(START)
    read: list[str] = []

    def compiled(found: FlowSource) -> FlowDefinition:
        read.append(found.id)
        return parse_flow(found.source, revision=found.revision)

    found = Listeners(flows, compiled, clock, others_change_flows=True)
    assert hearing(found, "demo", "a") == []
    flows.save("demo", "listener", source("listener", "states: [SUCCESS]"), START)
    flows.lags = True
    assert hearing(found, "demo", "a") == []
    flows.lags = False
    assert hearing(found, "demo", "a") == ["listener"]
    clock.set(START + timedelta(minutes=1))
    assert hearing(found, "demo", "a") == ["listener"]
    read.clear()
    for _ in range(3):
        assert hearing(found, "demo", "a") == ["listener"]
    assert read == []  # nothing has changed for long
    flows.delete("demo", "listener", clock.now())
    assert hearing(found, "demo", "a") == []
