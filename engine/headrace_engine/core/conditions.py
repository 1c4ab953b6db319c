"""Whether a condition of a trigger holds (reference §9). Pure: what depends on an expression is asked of the context.

A condition that cannot be evaluated (an expression fails, a date is none) raises ConditionFailed; it neither holds
nor does not, so Not and Or pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, tzinfo
from typing import Any

from headrace_engine.core.schedule import conditions as dates
from headrace_engine.core.schedule.times import InvalidDate, parse_date
from headrace_engine.core.schedule.trigger import ConditionFailed
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State
from headrace_engine.model.trigger import ConditionDefinition, Gathering

__all__ = ["ConditionFailed", "Context", "Source", "all_hold", "holds", "is_true", "source_of"]

_TRIGGER_DATE = "{{ trigger.date }}"


@dataclass(frozen=True, slots=True)
class Source:
    """The execution that conditions look at, as it was when it entered *state*."""

    namespace: str
    flow_id: str
    state: State
    labels: frozenset[tuple[str, str]] = frozenset()
    has_outputs: bool = False
    retried: tuple[frozenset[State], ...] = ()
    """For each task run with more than one attempt, the states its attempts ended in."""


def source_of(state: ExecutionState, entered: State) -> Source:
    """Return what conditions see of *state* when it *entered* a state. Attempts that were lost do not count."""
    created = state.created
    if created is None:
        raise ValueError(f"Execution {state.id} has no entries yet")
    retried = []
    for task_run in state.task_runs.values():
        attempts = [attempt.state for attempt in task_run.attempts if attempt.state is not State.RESUBMITTED]
        if len(attempts) > 1:
            retried.append(frozenset(attempts))
    return Source(
        created.namespace,
        created.flow_id,
        entered,
        frozenset(state.labels),
        has_outputs=entered.is_terminal and state.outputs is not None,
        retried=tuple(retried),
    )


def _no_source() -> Source:
    raise ConditionFailed("The condition looks at an execution, and there is none")


def _nothing_gathered(gathering: Gathering) -> bool:
    raise ConditionFailed(f"`{gathering.id}` waits for executions, and there are none")


def _no_regex(pattern: str, text: str) -> bool:
    raise ConditionFailed(f"There is nothing here to match `{pattern}` with: {text}")


@dataclass(frozen=True, slots=True)
class Context:
    """What conditions may ask."""

    render: Callable[[str], str]
    """Renders a template to text. Raises ConditionFailed."""
    namespace: str = ""
    flow_id: str = ""
    """The flow that has the trigger."""
    source: Callable[[], Source] = _no_source
    """The execution that is looked at, worked out only when a condition asks. Raises ConditionFailed."""
    gathered: Callable[[Gathering], bool] = _nothing_gathered
    """Whether a MultipleCondition is met."""
    matches: Callable[[str, str], bool] = _no_regex
    """Whether a regular expression matches the whole of a text. Raises ConditionFailed."""
    zone: tzinfo | None = None
    """What dates without an offset are read in; None refuses them."""


def is_true(text: str) -> bool:
    """Return the truth of a condition's expression (trap 3): neither blank nor `false`; `0` is true."""
    return text.strip() not in ("", "false")


def all_hold(conditions: Iterable[ConditionDefinition], context: Context) -> bool:
    """Return whether all of *conditions* hold. Raises ConditionFailed."""
    return all(holds(condition, context) for condition in conditions)


def holds(condition: ConditionDefinition, context: Context) -> bool:
    """Return whether *condition* holds. Raises ConditionFailed."""
    test = _TESTS.get(condition.type)
    if test is None:
        raise ConditionFailed(f"There is no condition of the type `{condition.type}`")
    try:
        return test(condition, context)
    except (dates.InvalidCondition, InvalidDate) as error:
        raise ConditionFailed(f"{condition.type}: {error}") from None


# -- Dates ------------------------------------------------------------------------------------------


def _text(condition: ConditionDefinition, context: Context, name: str) -> str | None:
    value = condition.properties.get(name)
    return None if value is None else context.render(str(value))


def _date(condition: ConditionDefinition, context: Context) -> datetime:
    return parse_date(context.render(str(condition.properties.get("date", _TRIGGER_DATE))), context.zone)


def _instant(condition: ConditionDefinition, context: Context, name: str) -> datetime | None:
    text = _text(condition, context, name)
    return None if text is None else parse_date(text, context.zone)


def _clock(condition: ConditionDefinition, context: Context, name: str) -> time | None:
    text = _text(condition, context, name)
    return None if text is None else dates.parse_time(text)


def _date_time_between(condition: ConditionDefinition, context: Context) -> bool:
    after, before = (_instant(condition, context, name) for name in ("after", "before"))
    return dates.date_time_between(_date(condition, context), after=after, before=before)


def _time_between(condition: ConditionDefinition, context: Context) -> bool:
    after, before = (_clock(condition, context, name) for name in ("after", "before"))
    return dates.time_between(_date(condition, context), after=after, before=before)


def _day_week(condition: ConditionDefinition, context: Context) -> bool:
    return dates.day_week(_date(condition, context), _text(condition, context, "dayOfWeek") or "")


def _day_week_in_month(condition: ConditionDefinition, context: Context) -> bool:
    day, place = (_text(condition, context, name) or "" for name in ("dayOfWeek", "dayInMonth"))
    return dates.day_week_in_month(_date(condition, context), day, place)


def _weekend(condition: ConditionDefinition, context: Context) -> bool:
    return dates.weekend(_date(condition, context))


def _public_holiday(condition: ConditionDefinition, context: Context) -> bool:
    country, part = (_text(condition, context, name) for name in ("country", "subDivision"))
    return dates.public_holiday(_date(condition, context), country, part)


# -- Executions -------------------------------------------------------------------------------------


def _execution_flow(condition: ConditionDefinition, context: Context) -> bool:
    source, wanted = context.source(), condition.properties
    return (source.namespace, source.flow_id) == (wanted["namespace"], wanted["flowId"])


def _execution_namespace(condition: ConditionDefinition, context: Context) -> bool:
    return _is_namespace(context.source().namespace, condition.properties)


def _is_namespace(namespace: str, properties: Mapping[str, Any]) -> bool:
    wanted = str(properties["namespace"])
    match properties.get("comparison", "PREFIX" if _flag(properties, "prefix") else "EQUALS"):
        case "PREFIX":
            return namespace.startswith(wanted)
        case "SUFFIX":
            return namespace.endswith(wanted)
        case _:
            return namespace == wanted


def _flag(properties: Mapping[str, Any], name: str) -> bool:
    return str(properties.get(name, "")).lower() == "true"


def _execution_labels(condition: ConditionDefinition, context: Context) -> bool:
    return context.source().labels.issuperset(condition.properties["labels"])


def _execution_outputs(condition: ConditionDefinition, context: Context) -> bool:
    return context.source().has_outputs and _expression(condition, context)


def _fits(state: State, properties: Mapping[str, Any]) -> bool:
    within, without = properties.get("in"), properties.get("notIn")
    return (within is None or state in within) and (without is None or state not in without)


def _execution_status(condition: ConditionDefinition, context: Context) -> bool:
    return _fits(context.source().state, condition.properties)


def _has_retry_attempt(condition: ConditionDefinition, context: Context) -> bool:
    return any(_fits(state, condition.properties) for states in context.source().retried for state in states)


def _expression(condition: ConditionDefinition, context: Context) -> bool:
    return is_true(context.render(str(condition.properties["expression"])))


def _flow(condition: ConditionDefinition, context: Context) -> bool:
    wanted = condition.properties
    return (context.namespace, context.flow_id) == (wanted["namespace"], wanted["flowId"])


def _flow_namespace(condition: ConditionDefinition, context: Context) -> bool:
    return _is_namespace(context.namespace, condition.properties)


# -- Of several -------------------------------------------------------------------------------------


def _not(condition: ConditionDefinition, context: Context) -> bool:
    return not any(holds(each, context) for each in condition.conditions)


def _or(condition: ConditionDefinition, context: Context) -> bool:
    return any(holds(each, context) for each in condition.conditions)


def _all(condition: ConditionDefinition, context: Context) -> bool:
    return all(holds(each, context) for each in condition.conditions)


def _multiple(condition: ConditionDefinition, context: Context) -> bool:
    return condition.gathering is not None and context.gathered(condition.gathering)


# -- Filters of preconditions -----------------------------------------------------------------------


def _filter(condition: ConditionDefinition, context: Context) -> bool:
    """A filter of `where`: FLOW_ID, NAMESPACE and STATE are compared with `value` or `values`.

    With EXPRESSION, `value` is the expression, and what it gives is compared with `values`.
    """
    properties = condition.properties
    value, values = properties.get("value"), [str(each) for each in properties.get("values") or ()]
    match properties["field"]:
        case "FLOW_ID":
            text = context.source().flow_id
        case "NAMESPACE":
            text = context.source().namespace
        case "STATE":
            text = context.source().state.value
        case _:
            text, value = context.render(str(value or "")), None
    wanted = values if value is None else [str(value), *values]
    return _compared(str(properties["type"]), text, wanted, context)


def _compared(test: str, text: str, wanted: list[str], context: Context) -> bool:
    match test:
        case "EQUAL_TO" | "IN":
            return text in wanted
        case "NOT_EQUAL_TO" | "NOT_IN":
            return text not in wanted
        case "IS_TRUE":
            return is_true(text)
        case "IS_FALSE":
            return not is_true(text)
        case "IS_NULL":
            return text == ""
        case "IS_NOT_NULL":
            return text != ""
        case "STARTS_WITH":
            return any(text.startswith(each) for each in wanted)
        case "ENDS_WITH":
            return any(text.endswith(each) for each in wanted)
        case "CONTAINS":
            return any(each in text for each in wanted)
        case "REGEX":
            return any(context.matches(each, text) for each in wanted)
    raise ConditionFailed(f"There is no filter of the type `{test}`")


_TESTS: Mapping[str, Callable[[ConditionDefinition, Context], bool]] = {
    "DateTimeBetween": _date_time_between,
    "TimeBetween": _time_between,
    "DayWeek": _day_week,
    "DayWeekInMonth": _day_week_in_month,
    "Weekend": _weekend,
    "PublicHoliday": _public_holiday,
    "ExecutionFlow": _execution_flow,
    "ExecutionNamespace": _execution_namespace,
    "ExecutionLabels": _execution_labels,
    "ExecutionOutputs": _execution_outputs,
    "ExecutionStatus": _execution_status,
    "HasRetryAttempt": _has_retry_attempt,
    "Expression": _expression,
    "FlowCondition": _flow,
    "FlowNamespaceCondition": _flow_namespace,
    "MultipleCondition": _multiple,
    "Not": _not,
    "Or": _or,
    "All": _all,
    "Filter": _filter,
}
