"""Every condition of a trigger, when it holds and when it does not (reference §9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest

from headrace_engine.core.conditions import ConditionFailed, Context, Source, holds
from headrace_engine.language import parse_flow
from headrace_engine.model.state import State
from headrace_engine.model.trigger import ConditionDefinition

S = State
SOURCE = Source(
    "company.team",
    "extract",
    S.SUCCESS,
    frozenset({("env", "prod"), ("team", "data")}),
    has_outputs=True,
    retried=(frozenset({S.FAILED, S.SUCCESS}),),
)
BARE = Source("other", "flow", S.FAILED)


def condition(text: str) -> ConditionDefinition:
    """Compile one condition, written in a line of YAML without its type's package."""
    source = f"""
id: listens
namespace: own.space
tasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]
triggers:
  - id: trigger
    type: io.kestra.plugin.core.trigger.Flow
    conditions:
      - {text}
"""
    return parse_flow(source).triggers[0].conditions[0]


def core(type_name: str, properties: str = "") -> str:
    return f"{{type: io.kestra.plugin.core.condition.{type_name}, {properties}}}"


def context(source: Source = SOURCE, **rendered: str) -> Context:
    """A context in which `{{ name }}` renders to what is given for it."""

    def render(template: str) -> str:
        if not template.startswith("{{"):
            return template
        name = template.strip("{} ")
        if name not in rendered:
            raise ConditionFailed(f"Unable to find `{name}`")
        return rendered[name]

    return Context(
        render, "own.space", "listens", source=lambda: source, matches=lambda pattern, text: pattern == text, zone=UTC
    )


MONDAY, SATURDAY = "2026-01-05T12:00:00Z", "2026-01-10T12:00:00Z"
AT = "date: '{{ date }}'"

ON_DATES = [
    (core("DateTimeBetween", f"{AT}, after: '2026-01-05T11:59:59Z'"), MONDAY, True),
    (core("DateTimeBetween", f"{AT}, after: '2026-01-05T12:00:00Z'"), MONDAY, False),
    (core("DateTimeBetween", f"{AT}, before: '2026-01-05T12:00:00Z'"), MONDAY, False),
    (core("DateTimeBetween", f"{AT}, after: '2026-01-01T00:00:00Z', before: '2026-02-01T00:00:00Z'"), MONDAY, True),
    (core("TimeBetween", f"{AT}, after: '11:00:00Z', before: '13:00:00Z'"), MONDAY, True),
    (core("TimeBetween", f"{AT}, after: '12:00:00Z'"), MONDAY, False),
    (core("DayWeek", f"{AT}, dayOfWeek: MONDAY"), MONDAY, True),
    (core("DayWeek", f"{AT}, dayOfWeek: MONDAY"), SATURDAY, False),
    (core("DayWeekInMonth", f"{AT}, dayOfWeek: MONDAY, dayInMonth: FIRST"), MONDAY, True),
    (core("DayWeekInMonth", f"{AT}, dayOfWeek: MONDAY, dayInMonth: LAST"), MONDAY, False),
    (core("Weekend", AT), SATURDAY, True),
    (core("Weekend", AT), MONDAY, False),
    (core("PublicHoliday", f"{AT}, country: FR"), "2026-07-14T12:00:00Z", True),
    (core("PublicHoliday", f"{AT}, country: FR"), MONDAY, False),
]


@pytest.mark.parametrize(("text", "date", "expected"), ON_DATES)
def test_a_condition_of_a_date(text: str, date: str, expected: bool) -> None:
    assert holds(condition(text), context(date=date)) is expected


def test_a_date_is_that_of_the_trigger_unless_one_is_given() -> None:
    weekend = condition(core("Weekend"))
    assert weekend.properties == {}
    assert holds(weekend, context(**{"trigger.date": SATURDAY}))


ON_EXECUTIONS = [
    (core("ExecutionFlow", "namespace: company.team, flowId: extract"), True),
    (core("ExecutionFlow", "namespace: company.team, flowId: other"), False),
    (core("ExecutionFlow", "namespace: company, flowId: extract"), False),
    (core("ExecutionNamespace", "namespace: company.team"), True),
    (core("ExecutionNamespace", "namespace: company"), False),
    (core("ExecutionNamespace", "namespace: company, comparison: EQUALS"), False),
    (core("ExecutionNamespace", "namespace: company, comparison: PREFIX"), True),
    (core("ExecutionNamespace", "namespace: team, comparison: PREFIX"), False),
    (core("ExecutionNamespace", "namespace: team, comparison: SUFFIX"), True),
    (core("ExecutionNamespace", "namespace: company, prefix: true"), True),
    (core("ExecutionNamespace", "namespace: company, prefix: false"), False),
    (core("ExecutionNamespace", "namespace: company, prefix: true, comparison: EQUALS"), False),
    (core("ExecutionLabels", "labels: {env: prod}"), True),
    (core("ExecutionLabels", "labels: [{key: env, value: prod}, {key: team, value: data}]"), True),
    (core("ExecutionLabels", "labels: {env: prod, team: other}"), False),
    (core("ExecutionStatus", "in: [SUCCESS, WARNING]"), True),
    (core("ExecutionStatus", "in: [FAILED]"), False),
    (core("ExecutionStatus", "notIn: [SUCCESS]"), False),
    (core("ExecutionStatus", "notIn: [FAILED]"), True),
    (core("ExecutionStatus", "in: [SUCCESS], notIn: [SUCCESS]"), False),
    (core("ExecutionStatus"), True),
    (core("HasRetryAttempt", "in: [FAILED]"), True),
    (core("HasRetryAttempt", "in: [KILLED]"), False),
    (core("HasRetryAttempt", "notIn: [FAILED]"), True),
    (core("HasRetryAttempt", "notIn: [FAILED, SUCCESS]"), False),
    (core("FlowCondition", "namespace: own.space, flowId: listens"), True),
    (core("FlowCondition", "namespace: company.team, flowId: extract"), False),
    (core("FlowNamespaceCondition", "namespace: own.space"), True),
    (core("FlowNamespaceCondition", "namespace: own"), False),
    (core("FlowNamespaceCondition", "namespace: own, prefix: true"), True),
]


@pytest.mark.parametrize(("text", "expected"), ON_EXECUTIONS)
def test_a_condition_of_an_execution(text: str, expected: bool) -> None:
    assert holds(condition(text), context()) is expected


def test_an_execution_without_retries_has_no_retry_attempt() -> None:
    assert not holds(condition(core("HasRetryAttempt", "notIn: [KILLED]")), context(BARE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("0", True),
        ("-0", True),
        ("no", True),
        ("FALSE", True),
        ("false", False),
        (" false ", False),
        ("", False),
        ("  ", False),
    ],
)
def test_the_text_of_an_expression_is_true_unless_it_is_blank_or_false(text: str, expected: bool) -> None:
    for name in ("Expression", "ExpressionCondition", "VariableCondition"):
        assert holds(condition(core(name, "expression: '{{ x }}'")), context(x=text)) is expected
    assert holds(condition(core("ExecutionOutputs", "expression: '{{ x }}'")), context(x=text)) is expected


def test_outputs_are_not_asked_for_when_the_execution_has_none() -> None:
    assert not holds(condition(core("ExecutionOutputs", "expression: '{{ unknown }}'")), context(BARE))


@pytest.mark.parametrize(
    ("first", "second", "either", "neither"),
    [
        ("true", "true", True, False),
        ("true", "false", True, False),
        ("false", "true", True, False),
        ("false", "false", False, True),
    ],
)
def test_or_and_not_of_two(first: str, second: str, either: bool, neither: bool) -> None:
    a, b = (core("Expression", f"expression: '{{{{ {name} }}}}'") for name in "ab")
    both = f"conditions: [{a}, {b}]"
    given = context(a=first, b=second)
    assert holds(condition(core("Or", both)), given) is either
    assert holds(condition(core("Not", both)), given) is neither


def test_a_condition_that_cannot_be_evaluated_fails_also_under_not() -> None:
    broken = core("Expression", "expression: '{{ unknown }}'")
    with pytest.raises(ConditionFailed, match="unknown"):
        holds(condition(core("Not", f"conditions: [{broken}]")), context())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (core("Weekend", "date: tomorrow"), "`tomorrow` is no date"),
        (core("DayWeek", "date: '{{ date }}', dayOfWeek: '{{ date }}'"), "is no day of the week"),
        (core("TimeBetween", "date: '{{ date }}', after: noon"), "`noon` is no time of day"),
        (core("PublicHoliday", "date: '{{ date }}'"), "needs a `country`"),
    ],
)
def test_values_that_make_no_sense_fail(text: str, message: str) -> None:
    with pytest.raises(ConditionFailed, match=message):
        holds(condition(text), context(date=MONDAY))


OLD_NAMES = [
    ("DateTimeBetween", "after: '2020-01-01T00:00:00Z'"),
    ("TimeBetween", "after: '00:00:00Z'"),
    ("DayWeek", "dayOfWeek: MONDAY"),
    ("DayWeekInMonth", "dayOfWeek: MONDAY, dayInMonth: FIRST"),
    ("Weekend", ""),
    ("PublicHoliday", "country: FR"),
    ("ExecutionFlow", "namespace: a, flowId: b"),
    ("ExecutionNamespace", "namespace: a"),
    ("ExecutionLabels", "labels: {a: b}"),
    ("ExecutionOutputs", "expression: 'true'"),
    ("ExecutionStatus", "in: [SUCCESS]"),
    ("HasRetryAttempt", "in: [FAILED]"),
    ("Expression", "expression: 'true'"),
    ("Not", f"conditions: [{core('Weekend')}]"),
    ("Or", f"conditions: [{core('Weekend')}]"),
]


@pytest.mark.parametrize(("name", "properties"), OLD_NAMES)
def test_old_names_mean_the_same(name: str, properties: str) -> None:
    today = condition(core(name, properties))
    assert condition(core(f"{name}Condition", properties)) == today
    old = f"{{type: io.kestra.core.models.conditions.types.{name}Condition, {properties}}}"
    assert condition(old) == today


# -- Filters of preconditions ----------------------------------------------------------------------


def where(filters: str, operand: str = "AND") -> ConditionDefinition:
    source = f"""
id: listens
namespace: own.space
tasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]
triggers:
  - id: trigger
    type: io.kestra.plugin.core.trigger.Flow
    preconditions:
      id: pre
      where:
        - {{id: group, operand: {operand}, filters: [{filters}]}}
"""
    gathering = parse_flow(source).triggers[0].gathering
    assert gathering is not None
    return gathering.members["where/group"]


FILTERS: list[tuple[str, Any]] = [
    ("{field: FLOW_ID, type: EQUAL_TO, value: extract}", True),
    ("{field: FLOW_ID, type: EQUAL_TO, value: other}", False),
    ("{field: FLOW_ID, type: NOT_EQUAL_TO, value: other}", True),
    ("{field: FLOW_ID, type: NOT_EQUAL_TO, value: extract}", False),
    ("{field: FLOW_ID, type: IN, values: [extract, load]}", True),
    ("{field: FLOW_ID, type: IN, values: [load]}", False),
    ("{field: FLOW_ID, type: NOT_IN, values: [load]}", True),
    ("{field: FLOW_ID, type: NOT_IN, values: [extract]}", False),
    ("{field: NAMESPACE, type: STARTS_WITH, value: company}", True),
    ("{field: NAMESPACE, type: STARTS_WITH, value: team}", False),
    ("{field: NAMESPACE, type: ENDS_WITH, value: team}", True),
    ("{field: NAMESPACE, type: ENDS_WITH, value: company}", False),
    ("{field: NAMESPACE, type: CONTAINS, value: any.te}", True),
    ("{field: NAMESPACE, type: CONTAINS, value: x}", False),
    ("{field: NAMESPACE, type: REGEX, value: company.team}", True),
    ("{field: NAMESPACE, type: REGEX, value: company}", False),
    ("{field: NAMESPACE, type: IS_NULL}", False),
    ("{field: NAMESPACE, type: IS_NOT_NULL}", True),
    ("{field: STATE, type: EQUAL_TO, value: SUCCESS}", True),
    ("{field: STATE, type: IN, values: [FAILED]}", False),
    ("{field: EXPRESSION, type: IS_TRUE, value: '{{ yes }}'}", True),
    ("{field: EXPRESSION, type: IS_TRUE, value: '{{ no }}'}", False),
    ("{field: EXPRESSION, type: IS_FALSE, value: '{{ no }}'}", True),
    ("{field: EXPRESSION, type: IS_FALSE, value: '{{ yes }}'}", False),
    ("{field: EXPRESSION, type: IS_NULL, value: '{{ nothing }}'}", True),
    ("{field: EXPRESSION, type: IS_NOT_NULL, value: '{{ nothing }}'}", False),
    ("{field: EXPRESSION, type: EQUAL_TO, value: '{{ yes }}', values: ['true']}", True),
    ("{field: EXPRESSION, type: CONTAINS, value: '{{ yes }}', values: [ru]}", True),
]


@pytest.mark.parametrize(("text", "expected"), FILTERS)
def test_a_filter(text: str, expected: bool) -> None:
    assert holds(where(text), context(yes="true", no="false", nothing="")) is expected


@pytest.mark.parametrize(("operand", "verdict"), [("AND", all), ("OR", any)], ids=["and", "or"])
@pytest.mark.parametrize("states", [("SUCCESS", "extract"), ("SUCCESS", "x"), ("FAILED", "extract"), ("FAILED", "x")])
def test_a_group_of_filters(operand: str, verdict: Callable[[list[bool]], bool], states: tuple[str, str]) -> None:
    state, flow_id = states
    filters = f"{{field: STATE, type: EQUAL_TO, value: {state}}}, {{field: FLOW_ID, type: EQUAL_TO, value: {flow_id}}}"
    assert holds(where(filters, operand), context()) is verdict([state == "SUCCESS", flow_id == "extract"])
