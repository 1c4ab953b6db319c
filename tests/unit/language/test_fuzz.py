"""No text makes the parser raise anything but FlowError, or take long."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headrace_engine.language import FlowError, Registry, check, parse_flows
from headrace_engine.language.flow import SLAS
from headrace_engine.language.inputs import INPUTS

INVALID = sorted((Path(__file__).parents[2] / "flows" / "invalid").glob("*.yaml"))
WORDS = st.sampled_from(
    [
        "id",
        "namespace",
        "tasks",
        "type",
        "errors",
        "finally",
        "inputs",
        "outputs",
        "triggers",
        "retry",
        "pluginDefaults",
        "labels",
        "variables",
        "values",
        "value",
        "cases",
        "then",
        "else",
        "condition",
        "conditions",
        "dependsOn",
        "task",
        "concurrency",
        "sla",
        "checks",
        "timeout",
        "interval",
        "cron",
        "dates",
        "message",
        "io.kestra.plugin.core.log.Log",
        "io.kestra.plugin.core.flow.Dag",
        "io.kestra.plugin.core.flow.Switch",
        "io.kestra.plugin.core.flow.If",
        "io.kestra.plugin.core.flow.ForEach",
        "io.kestra.plugin.core.flow.WorkingDirectory",
        "io.kestra.plugin.core.flow.Pause",
        "io.kestra.plugin.core.flow.Subflow",
        "io.kestra.plugin.core.trigger.Schedule",
        "io.kestra.plugin.core.trigger.Flow",
        "io.kestra.plugin.core.condition.MultipleCondition",
        "io.kestra.plugin.core.http.Request",
        "io.kestra.plugin.scripts.python.Script",
        "constant",
        "exponential",
        "random",
        "STRING",
        "SELECT",
        "DATE",
        "DATETIME",
        "TIME",
        "DURATION",
        "MAX_DURATION",
        "PT1S",
        "P999999999999D",
        "true",
        "null",
        "5",
        "-1",
        "1e400",
        ".nan",
        "{{x}}",
        "{{",
        "{%",
        "@daily",
    ]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=40,
)
unhurried = settings(
    max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def attempt(source: str, registry: Registry) -> None:
    found = check(source, registry=registry)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in (*found.errors, *found.warnings))
    assert bool(found.flows) is not bool(found.errors)


@given(source=st.text())
@example(source="\x00")
@example(source="\ud800")
@example(source="a: \u2028b: 1")
@example(source="? ")
@example(source="--- |\n  x\n--- >\n")
@example(source="%YAML 1.1\n---\na: !<x> 1")
@unhurried
def test_any_text(source: str, registry: Registry) -> None:
    attempt(source, registry)


@given(value=VALUES)
@unhurried
def test_any_value_in_the_shape_of_a_flow(value: object, registry: Registry) -> None:
    attempt(flow_style(value), registry)


PROPERTIES = st.sampled_from(
    [
        "disabled",
        "runIf",
        "when",
        "retry",
        "timeout",
        "allowFailure",
        "allowWarning",
        "logLevel",
        "resubmit",
        "logToFile",
        "workerGroup",
        "taskCache",
        "version",
        "assets",
        "message",
        "level",
        "uri",
        "method",
        "headers",
        "options",
        "port",
        "secret",
        "perItem",
        "script",
        "env",
        "taskRunner",
        "errors",
        "finally",
        "tasks",
        "condition",
        "then",
        "else",
        "value",
        "cases",
        "defaults",
        "values",
        "concurrencyLimit",
        "concurrent",
        "failFast",
        "inputFiles",
        "cache",
        "pauseDuration",
        "delay",
        "onResume",
        "onPause",
        "checkFrequency",
        "namespace",
        "flowId",
        "batch",
        "items",
        "cron",
        "timezone",
        "conditions",
        "dates",
        "key",
        "states",
        "preconditions",
        "dependsOn",
        "interval",
        "stopAfter",
        "labels",
        "inputs",
        "min",
        "max",
        "after",
        "before",
        "validator",
        "itemType",
        "description",
        "displayName",
        "type",
        "id",
    ]
)
SMALL = st.recursive(
    WORDS | st.integers(-2, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PROPERTIES, inner, max_size=4),
    max_leaves=8,
)

LIMITS = st.dictionaries(st.sampled_from(["limit", "behavior"]), st.integers(-1, 3) | st.sampled_from(["QUEUE", "x"]))


@given(
    data=st.data(), kind=st.sampled_from(["tasks", "triggers", "inputs", "outputs", "pluginDefaults", "sla", "checks"])
)
@settings(unhurried, max_examples=600)
def test_any_value_in_the_properties_of_a_known_type(data: st.DataObject, kind: str, registry: Registry) -> None:
    names = [*INPUTS, *SLAS] if kind in ("inputs", "outputs", "sla") else registry.names()
    thing = data.draw(st.fixed_dictionaries({"id": st.just("x"), "type": st.sampled_from(names)}))
    thing |= data.draw(st.dictionaries(PROPERTIES, SMALL, max_size=8))
    log = {"id": "log", "type": "io.kestra.plugin.core.log.Log", "message": "hi"}
    flow = {"id": "a", "namespace": "b", "tasks": [log], "concurrency": data.draw(LIMITS), "labels": data.draw(SMALL)}
    attempt(flow_style(flow | {kind: [thing]}), registry)


@given(tasks=st.lists(st.dictionaries(WORDS, VALUES, max_size=6), max_size=3), others=st.dictionaries(WORDS, VALUES))
@settings(unhurried, max_examples=150)
def test_any_value_in_the_places_of_a_flow(tasks: list[object], others: dict[str, object], registry: Registry) -> None:
    attempt(flow_style({"id": "a", "namespace": "b", **others, "tasks": tasks}), registry)


def test_what_is_broken_twice_through_an_alias_is_told_and_nothing_else(registry: Registry) -> None:
    inner = "tasks: [{id: x, type: io.kestra.plugin.core.log.Log, message: hi}]"
    broken = f"{{id: a, type: io.kestra.plugin.core.flow.Parallel, concurrent: many, {inner}}}"
    attempt(f"id: a\nnamespace: b\ntasks: [&t {broken}, *t]\n", registry)


@pytest.mark.parametrize("seed", range(60))
def test_a_flow_with_a_few_characters_changed(seed: int, registry: Registry) -> None:
    chance = random.Random(seed)
    source = list(chance.choice(INVALID).read_text(encoding="utf-8"))
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(source) + 1)
        source[place : place + chance.randint(0, 3)] = chance.choice(
            ["{", "}", ":", "\n", "  ", "- ", "&a ", "*a", "'", "[", "\t", "!"]
        )
    attempt("".join(source), registry)


@pytest.mark.parametrize(
    "source",
    [
        "[" * 100_000,
        "{" * 100_000,
        "- " * 50_000,
        "a:\n" * 50_000,
        "? " * 20_000,
        "a: &a [" + "*a, " * 10 + "]",
        "\n".join(f"k{n}: &k{n} [{f'*k{n - 1}, ' * 9 if n else ''}]" for n in range(40)),
        "a: '" + "x" * 500_000,
        "a: " + "{{" * 100_000,
        "id: a\nnamespace: b\ntasks:\n" + "  - {id: a, type: x.y.Zzz}\n" * 3_000,
        "id: a\nnamespace: b\n" + "".join(f"taks{n}: 1\n" for n in range(3_000)),
        "<<: " * 1000,
        "&a " * 10_000,
        "#" * 500_000,
    ],
    ids=range(14),
)
def test_a_hostile_text_is_refused_within_seconds(source: str, registry: Registry) -> None:
    start = time.process_time()
    with pytest.raises(FlowError):
        parse_flows(source, registry=registry)
    assert time.process_time() - start < 5


def flow_style(value: object) -> str:
    """Return *value* as YAML: plain where it can be, so that words mean what they mean in a flow."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow_style(key)}: {flow_style(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_style, value)) + "]"
    if isinstance(value, str):
        return (
            "'" + value.replace("'", "''") + "'" if set(value) & set("{}[],:#&*!|>%@`'\"?- \n") or not value else value
        )
    return (
        {None: "null", True: "true", False: "false"}.get(value, repr(value))
        if value is None or isinstance(value, bool)
        else repr(value)
    )
