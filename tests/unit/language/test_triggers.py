"""What the engine is given of a flow's triggers."""

from __future__ import annotations

from datetime import UTC, time, timedelta

import pytest

from headrace_engine.language import parse_flow
from headrace_engine.language.parser import check
from headrace_engine.model.state import State
from headrace_engine.model.trigger import LISTENED, TimeWindow, TriggerDefinition, WindowKind

FLOW = "type: io.kestra.plugin.core.trigger.Flow"


def source(trigger: str, more: str = "") -> str:
    task = "{id: log, type: io.kestra.plugin.core.log.Log, message: hi}"
    return f"id: b\nnamespace: demo\ntasks: [{task}]\n{more}triggers: [{{id: t, {trigger}}}]\n"


def trigger(text: str, more: str = "") -> TriggerDefinition:
    (found,) = parse_flow(source(text, more)).triggers
    return found


def test_what_all_triggers_have() -> None:
    text = "type: io.kestra.plugin.core.trigger.Schedule, cron: '@daily', timezone: Europe/Paris, disabled: true, "
    text += "inputs: {a: 1}, labels: {team: data}, stopAfter: [FAILED], allowConcurrent: true, logLevel: WARN"
    assert trigger(text) == TriggerDefinition(
        id="t",
        type="io.kestra.plugin.core.trigger.Schedule",
        disabled=True,
        inputs={"a": 1},
        labels=(("team", "data"),),
        stop_after=frozenset({State.FAILED}),
        allow_concurrent=True,
        log_level="WARN",
        properties={"cron": "@daily", "timezone": "Europe/Paris"},
    )


def test_defaults_of_plugins_are_merged_in() -> None:
    more = "pluginDefaults: [{type: io.kestra.plugin.core.trigger.Flow, values: {states: [FAILED]}}]\n"
    assert trigger(FLOW, more).states == {State.FAILED}


def test_the_states_that_count_are_all_ends_and_pauses() -> None:
    assert trigger(FLOW).states == LISTENED
    assert {
        State.SUCCESS, State.WARNING, State.FAILED, State.KILLED, State.CANCELLED, State.RETRIED, State.SKIPPED, State.PAUSED
    } == LISTENED  # fmt: skip


WINDOWS = [
    ("{}", TimeWindow()),
    ("{window: PT12H, windowAdvance: PT6H}", TimeWindow(length=timedelta(hours=12), advance=timedelta(hours=6))),
    ("{type: SLIDING_WINDOW, window: PT1H}", TimeWindow(WindowKind.SLIDING_WINDOW, timedelta(hours=1))),
    (
        "{type: DAILY_TIME_DEADLINE, deadline: '09:00:00.00Z'}",
        TimeWindow(WindowKind.DAILY_TIME_DEADLINE, end=time(9, tzinfo=UTC)),
    ),
    (
        "{type: DAILY_TIME_WINDOW, startTime: '06:00:00', endTime: '09:00'}",
        TimeWindow(WindowKind.DAILY_TIME_WINDOW, start=time(6), end=time(9)),
    ),
]


@pytest.mark.parametrize("name", ["timeWindow", "timeSLA"])
@pytest.mark.parametrize(("window", "expected"), WINDOWS)
def test_time_windows(name: str, window: str, expected: TimeWindow) -> None:
    gathering = trigger(f"{FLOW}, preconditions: {{id: p, {name}: {window}, flows: [{{namespace: a}}]}}").gathering
    assert gathering is not None
    assert gathering.window == expected


def test_the_members_of_preconditions_have_names_of_their_own() -> None:
    flows = "{namespace: n, flowId: a}, {namespace: n, flowId: a, states: [FAILED]}, {namespace: n}"
    where = "{id: w, filters: [{field: STATE, type: IS_NOT_NULL}]}"
    gathering = trigger(
        f"{FLOW}, preconditions: {{id: p, resetOnSuccess: false, flows: [{flows}], where: [{where}]}}"
    ).gathering
    assert gathering is not None
    assert list(gathering.members) == ["n/a", "n/a#2", "n/*", "where/w"]
    assert not gathering.reset


def test_preconditions_that_name_nothing_wait_for_nothing() -> None:
    assert trigger(f"{FLOW}, preconditions: {{id: p}}").gathering is None


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("{deadline: '09:00:00Z'}", TimeWindow(WindowKind.DAILY_TIME_DEADLINE, end=time(9, tzinfo=UTC))),
        ("{from: '06:00:00', to: '09:00:00'}", TimeWindow(WindowKind.DAILY_TIME_WINDOW, start=time(6), end=time(9))),
        ("{every: PT6H, offset: PT1H}", TimeWindow(length=timedelta(hours=6), advance=timedelta(hours=1))),
        ("{lookback: PT2H}", TimeWindow(WindowKind.SLIDING_WINDOW, timedelta(hours=2))),
    ],
)
def test_windows_of_the_2_0_form(window: str, expected: TimeWindow) -> None:
    text = f"{FLOW}, dependsOn: [{{flowId: a}}, {{flowId: c}}, {{flowId: d}}], mode: AT_LEAST, minSatisfied: 2, window: {window}"
    gathering = trigger(text).gathering
    assert gathering is not None
    assert (gathering.window, gathering.needed) == (expected, 2)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ("dependsOn: [{flowId: a}], onMiss: {behavior: FAIL}", "`onMiss` is not supported"),
        ("dependsOn: [{flowId: a}], window: {lookback: PT1H, fireOnce: true}", "`window.fireOnce` is not supported"),
        (
            "conditions: [{type: io.kestra.plugin.core.condition.MultipleCondition, id: p, conditions: {}}], "
            "preconditions: {id: p, flows: [{namespace: a}]}",
            "two of what it waits for have the same `id`",
        ),
        ("dependsOn: [{flowId: a}], window: {every: tomorrow}", "`tomorrow` is not an ISO-8601 duration"),
    ],
)
def test_what_cannot_fire_is_refused(properties: str, why: str) -> None:
    found = check(source(f"{FLOW}, {properties}"))
    assert [why in error.message and error.path.startswith("triggers[0]") for error in found.errors] == [True]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{type: DAILY_TIME_DEADLINE, deadline: noon}", "`noon` is no time of day, such as `09:00:00Z`."),
        ("{window: PT0S}", "The window must be longer than nothing."),
        ("{type: SLIDING_WINDOW}", "A SLIDING_WINDOW requires `window`."),
    ],
)
def test_windows_that_make_no_sense_are_refused(window: str, message: str) -> None:
    found = check(source(f"{FLOW}, preconditions: {{id: p, timeWindow: {window}, flows: [{{namespace: a}}]}}"))
    assert message in [problem.message for problem in found.errors]
