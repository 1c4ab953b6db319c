"""Turns triggers and conditions that were checked into what the engine reads (model.trigger).

Nothing is told here: what is wrong was told when the source was checked, and a flow with problems is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from headrace_engine.language.fields import names_of
from headrace_engine.language.typed_reader import flag, label_pairs
from headrace_engine.model.state import State
from headrace_engine.model.trigger import (
    FIRED,
    FLOW_TRIGGER,
    LISTENED,
    SQS,
    SQS_REALTIME,
    ConditionDefinition,
    Gathering,
    TimeWindow,
    TriggerDefinition,
    WindowKind,
)
from headrace_engine.plugin import parse_duration

if TYPE_CHECKING:
    from headrace_engine.language.conditions import Condition
    from headrace_engine.language.triggers import Trigger

_GATHERED = frozenset({"preconditions", "dependsOn", "mode", "minSatisfied", "window", "onMiss", "states"})
"""Properties of a Flow trigger that stand in its definition under other names."""
_OF_QUEUES = {"stsRoleArn": "give the role that runs Headrace access to the queue, or an access key"}
"""Properties of queues' triggers that are read, and not there."""


def states(data: Any) -> frozenset[State] | None:
    """Return the states that are named; None when none are."""
    if not isinstance(data, list):
        return None
    return frozenset(State(name) for name in data if isinstance(name, str) and name in State.__members__)


# -- Conditions -------------------------------------------------------------------------------------


def compile_condition(
    cls: type[Condition],
    data: Mapping[str, Any],
    conditions: Sequence[ConditionDefinition] = (),
    named: Mapping[str, ConditionDefinition] | None = None,
) -> ConditionDefinition:
    """Return a condition of *cls*, its properties in *data*; *named* are those of a MultipleCondition."""
    properties = dict(data)
    for name in ("in", "notIn"):
        if name in properties:
            properties[name] = states(properties[name])
    if "labels" in properties:
        properties["labels"] = frozenset(label_pairs(properties["labels"]))
    gathering = None
    if named is not None:
        window = {name: data[name] for name in ("window", "windowAdvance") if name in data}
        gathering = Gathering(
            str(data.get("id", "")),
            named,
            _time_window(data.get("timeWindow", window)),
            reset=flag({"resetOnSuccess": True, **data}, "resetOnSuccess"),
        )
        properties = {}
    return ConditionDefinition(cls.TYPE.rpartition(".")[2], properties, tuple(conditions), gathering)


def _time_window(data: Any) -> TimeWindow:
    from headrace_engine.language.conditions import TimeWindow as Properties  # noqa: PLC0415 - see Registry

    try:
        read = Properties.model_validate(data or {})
    except ValidationError:
        return TimeWindow()  # told of as a problem already
    return TimeWindow(
        WindowKind(read.type),
        read.window if read.window is not None else timedelta(days=1),
        read.window_advance or timedelta(0),
        _time(read.start_time),
        _time(read.end_time if read.deadline is None else read.deadline),
    )


def _time(text: str | None) -> time:
    return time(0) if text is None else time.fromisoformat(text.strip())


# -- Triggers ---------------------------------------------------------------------------------------


def compile_trigger(
    cls: type[Trigger], data: Mapping[str, Any], conditions: Sequence[ConditionDefinition]
) -> TriggerDefinition:
    """Return a trigger of *cls*, its properties in *data*."""
    from headrace_engine.language.triggers import UNSUPPORTED_TRIGGER_PROPERTIES as REFUSED  # noqa: PLC0415 - see below
    from headrace_engine.language.triggers import Trigger as Base  # noqa: PLC0415 - most flows have no triggers

    unsupported = None
    gathering = None
    if cls.TYPE == FLOW_TRIGGER:
        try:
            gathering, unsupported = _gathering(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            unsupported = f"its conditions cannot be read: {error}"
    if cls.TYPE in FIRED:
        reasons = {**REFUSED, **(_OF_QUEUES if cls.TYPE in (SQS, SQS_REALTIME) else {})}
        refused = (f"`{name}` is not supported: {why}" for name, why in reasons.items() if data.get(name))
        unsupported = unsupported or next(refused, None)
    when, inputs = data.get("when"), data.get("inputs")
    if when is not None:
        conditions = (*conditions, ConditionDefinition("Expression", {"expression": str(when)}))
    ids = [each.id for each in _gatherings(gathering, conditions)]
    if ids and cls.TYPE != FLOW_TRIGGER:
        unsupported = unsupported or "only a Flow trigger waits for several executions (`MultipleCondition`)"
    if len(set(ids)) < len(ids):
        unsupported = "two of what it waits for have the same `id`"
    common = {*names_of(Base), *(_GATHERED if cls.TYPE == FLOW_TRIGGER else ())}
    return TriggerDefinition(
        id=str(data.get("id", "")),
        type=cls.TYPE,
        disabled=flag(data, "disabled"),
        conditions=tuple(conditions),
        inputs=inputs if isinstance(inputs, Mapping) else {},
        labels=label_pairs(data.get("labels")),
        stop_after=states(data.get("stopAfter")) or frozenset(),
        allow_concurrent=flag(data, "allowConcurrent"),
        fail_on_error=flag(data, "failOnTriggerError"),
        log_level=data.get("logLevel"),
        idempotency_key=data.get("idempotencyKey"),
        states=(states(data.get("states")) if cls.TYPE == FLOW_TRIGGER else None) or LISTENED,
        gathering=gathering,
        properties={name: value for name, value in data.items() if name not in common},
        unsupported=unsupported,
    )


def _gatherings(own: Gathering | None, conditions: Sequence[ConditionDefinition]) -> list[Gathering]:
    found = [each.gathering for condition in conditions for each in condition.walk()]
    return [each for each in (own, *found) if each is not None]


def _gathering(data: Mapping[str, Any]) -> tuple[Gathering | None, str | None]:
    """Return what a Flow trigger waits for, and what of it this version cannot do."""
    depends = data.get("dependsOn")
    if depends:
        return _dependencies(data, depends)
    preconditions = data.get("preconditions")
    if not isinstance(preconditions, Mapping):
        return None, None
    members = [
        (f"{flow.get('namespace')}/{flow.get('flowId') or '*'}", _flow_member(flow))
        for flow in preconditions.get("flows") or ()
    ]
    for where in preconditions.get("where") or ():
        filters = tuple(ConditionDefinition("Filter", each) for each in where["filters"])
        kind = "Or" if where.get("operand") == "OR" else "All"
        members.append((f"where/{where['id']}", ConditionDefinition(kind, {}, filters)))
    if not members:
        return None, None
    window = _time_window(preconditions.get("timeWindow"))
    reset = flag({"resetOnSuccess": True, **preconditions}, "resetOnSuccess")
    return Gathering(str(preconditions["id"]), _distinct(members), window, reset), None


def _distinct(members: Iterable[tuple[str, ConditionDefinition]]) -> dict[str, ConditionDefinition]:
    """Return the members by name; of those with one name each but the first gets a number."""
    found: dict[str, ConditionDefinition] = {}
    for name, condition in members:
        count, key = 1, name
        while key in found:
            count += 1
            key = f"{name}#{count}"
        found[key] = condition
    return found


def _flow_member(data: Mapping[str, Any]) -> ConditionDefinition:
    """Return the condition that one of `preconditions.flows` or of `dependsOn` stands for."""
    namespace, flow_id = data.get("namespace"), data.get("flowId")
    parts: list[ConditionDefinition] = []
    if namespace is not None and flow_id is not None:
        parts.append(ConditionDefinition("ExecutionFlow", {"namespace": namespace, "flowId": flow_id}))
    elif namespace is not None:
        parts.append(ConditionDefinition("ExecutionNamespace", {"namespace": namespace}))
    elif flow_id is not None:
        parts.append(ConditionDefinition("Filter", {"field": "FLOW_ID", "type": "EQUAL_TO", "value": flow_id}))
    if data.get("states") is not None:
        parts.append(ConditionDefinition("ExecutionStatus", {"in": states([str(each) for each in data["states"]])}))
    if data.get("labels"):
        parts.append(ConditionDefinition("ExecutionLabels", {"labels": frozenset(label_pairs(data["labels"]))}))
    if data.get("when") is not None:
        parts.append(ConditionDefinition("Expression", {"expression": str(data["when"])}))
    return ConditionDefinition("All", {}, tuple(parts))


# -- The form of Kestra 2.0 -------------------------------------------------------------------------


def _dependencies(data: Mapping[str, Any], depends: Sequence[Mapping[str, Any]]) -> tuple[Gathering | None, str | None]:
    members = _distinct(
        (f"{each.get('namespace') or '*'}/{each.get('flowId') or '*'}", _flow_member(each)) for each in depends
    )
    needed = {"ANY": 1, "AT_LEAST": int(data.get("minSatisfied") or 1)}.get(str(data.get("mode") or "ALL"))
    given = data.get("window") or {}
    window = next((make(given) for name, make in _WINDOWS.items() if name in given), TimeWindow())
    unsupported = None
    if data.get("onMiss"):
        unsupported = "`onMiss` is not supported"
    elif flag(given, "fireOnce"):
        unsupported = "`window.fireOnce` is not supported"
    elif "timezone" in given and not {"deadline", "from"} & given.keys():
        unsupported = "`window.timezone` is supported with `deadline`, `from` and `to` only"
    return Gathering("dependsOn", members, window, reset=True, needed=needed), unsupported


def _in_zone(given: Mapping[str, Any], name: str) -> time:
    read = _time(str(given.get(name, "00:00:00")))
    if read.tzinfo is None and "timezone" in given:
        return read.replace(tzinfo=ZoneInfo(str(given["timezone"])))
    return read


def _every(given: Mapping[str, Any]) -> TimeWindow:
    advance = parse_duration(str(given.get("offset", "PT0S")))
    return TimeWindow(WindowKind.DURATION_WINDOW, parse_duration(str(given["every"])), advance)


_WINDOWS: Mapping[str, Callable[[Mapping[str, Any]], TimeWindow]] = {
    "deadline": lambda given: TimeWindow(WindowKind.DAILY_TIME_DEADLINE, end=_in_zone(given, "deadline")),
    "from": lambda given: TimeWindow(
        WindowKind.DAILY_TIME_WINDOW, start=_in_zone(given, "from"), end=_in_zone(given, "to")
    ),
    "every": _every,
    "lookback": lambda given: TimeWindow(WindowKind.SLIDING_WINDOW, parse_duration(str(given["lookback"]))),
}
