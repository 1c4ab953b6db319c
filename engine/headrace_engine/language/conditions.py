"""Conditions of triggers (reference §9), as they are read and checked; core.conditions says when each holds."""

from datetime import time, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.markers import ConditionList, Flag, Holds, LabelMap
from headrace_engine.language.problems import PropertyError
from headrace_engine.model.state import State
from headrace_engine.plugin import IsoDuration, Rendering

_CORE = "io.kestra.plugin.core.condition."
_OLD = "io.kestra.core.models.conditions.types."

Weekday = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
States = Annotated[list[State], Rendering.STATIC]


def _old_names(name: str) -> tuple[str, ...]:
    """Return the names a condition had: with the suffix, in both packages."""
    return (f"{_CORE}{name}Condition", f"{_OLD}{name}Condition")


class Condition(LanguageProperties):
    """Base of the conditions."""

    TYPE: ClassVar[str]
    ALIASES: ClassVar[tuple[str, ...]] = ()
    DEPRECATED: ClassVar[str | None] = None
    OF_DATES: ClassVar[bool] = False
    """Whether a Schedule can use it to choose dates."""


class _OfDate(Condition):
    OF_DATES: ClassVar[bool] = True

    date: str = Field(default="{{ trigger.date }}", description="The date that is looked at.")


class _Between(_OfDate):
    after: str | None = Field(default=None, description="The lower bound, excluded.")
    before: str | None = Field(default=None, description="The upper bound, excluded.")

    @model_validator(mode="after")
    def _has_bound(self) -> Self:
        if self.after is None and self.before is None:
            raise ValueError("At least one of `after` and `before` is required.")
        return self


class DateTimeBetween(_Between):
    """Holds between two instants."""

    TYPE: ClassVar[str] = _CORE + "DateTimeBetween"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("DateTimeBetween")


class TimeBetween(_Between):
    """Holds between two times of day."""

    TYPE: ClassVar[str] = _CORE + "TimeBetween"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("TimeBetween")


class DayWeek(_OfDate):
    """Holds on one day of the week."""

    TYPE: ClassVar[str] = _CORE + "DayWeek"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("DayWeek")

    day_of_week: Weekday = Field(description="The day.")


class DayWeekInMonth(_OfDate):
    """Holds on one day of the week, counted in its month: the first Monday, the last Friday."""

    TYPE: ClassVar[str] = _CORE + "DayWeekInMonth"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("DayWeekInMonth")

    day_of_week: Weekday = Field(description="The day.")
    day_in_month: Literal["FIRST", "SECOND", "THIRD", "FOURTH", "LAST"] = Field(description="Which one of the month.")


class Weekend(_OfDate):
    """Holds on Saturday and Sunday."""

    TYPE: ClassVar[str] = _CORE + "Weekend"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("Weekend")


class PublicHoliday(_OfDate):
    """Holds on public holidays."""

    TYPE: ClassVar[str] = _CORE + "PublicHoliday"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("PublicHoliday")

    country: str | None = Field(default=None, description="The country, ISO 3166-1 alpha-2.")
    sub_division: str | None = Field(default=None, description="The part of the country, ISO 3166-2.")


class ExecutionFlow(Condition):
    """Holds for executions of one flow."""

    TYPE: ClassVar[str] = _CORE + "ExecutionFlow"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("ExecutionFlow")

    namespace: str = Field(description="The namespace of the flow.")
    flow_id: str = Field(description="The id of the flow.")


class ExecutionNamespace(Condition):
    """Holds for executions of one namespace."""

    TYPE: ClassVar[str] = _CORE + "ExecutionNamespace"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("ExecutionNamespace")

    namespace: str = Field(description="The namespace, or the part of it that is compared.")
    comparison: Literal["EQUALS", "PREFIX", "SUFFIX"] | None = Field(default=None, description="How it is compared.")
    prefix: Flag = Field(
        default=False,
        description="Whether the namespace only has to begin so.",
        deprecated="write `comparison: PREFIX`.",
    )


class ExecutionLabels(Condition):
    """Holds for executions that have all of these labels."""

    TYPE: ClassVar[str] = _CORE + "ExecutionLabels"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("ExecutionLabels")

    labels: LabelMap = Field(description="The labels.")


class ExecutionOutputs(Condition):
    """Holds when an expression over `trigger.outputs` gives a text that is neither blank nor `false`."""

    TYPE: ClassVar[str] = _CORE + "ExecutionOutputs"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("ExecutionOutputs")

    expression: str = Field(description="The expression.")


class _OfStates(Condition):
    in_: States | None = Field(default=None, alias="in", description="States that fit.")
    not_in: States | None = Field(default=None, description="States that do not fit.")


class ExecutionStatus(_OfStates):
    """Holds for executions in some states."""

    TYPE: ClassVar[str] = _CORE + "ExecutionStatus"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("ExecutionStatus")


class HasRetryAttempt(_OfStates):
    """Holds for executions with a task run of several attempts, one of them in a state that fits."""

    TYPE: ClassVar[str] = _CORE + "HasRetryAttempt"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("HasRetryAttempt")


class Expression(Condition):
    """Holds when an expression gives a text that is neither blank nor `false`; `0` holds."""

    TYPE: ClassVar[str] = _CORE + "Expression"
    ALIASES: ClassVar[tuple[str, ...]] = (
        *_old_names("Expression"),
        *_old_names("Variable"),
    )
    OF_DATES: ClassVar[bool] = True

    expression: str = Field(description="The expression.")


class FlowCondition(Condition):
    """Deprecated: holds for one flow."""

    TYPE: ClassVar[str] = _CORE + "FlowCondition"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "FlowCondition",)
    DEPRECATED: ClassVar[str | None] = f"use `{_CORE}ExecutionFlow`."

    namespace: str = Field(description="The namespace of the flow.")
    flow_id: str = Field(description="The id of the flow.")


class FlowNamespaceCondition(Condition):
    """Deprecated: holds for flows of one namespace."""

    TYPE: ClassVar[str] = _CORE + "FlowNamespaceCondition"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "FlowNamespaceCondition",)
    DEPRECATED: ClassVar[str | None] = f"use `{_CORE}ExecutionNamespace`."

    namespace: str = Field(description="The namespace.")
    prefix: Flag = Field(default=False, description="Whether the namespace only has to begin so.")


WindowKind = Literal["DURATION_WINDOW", "SLIDING_WINDOW", "DAILY_TIME_DEADLINE", "DAILY_TIME_WINDOW"]


class TimeWindow(LanguageProperties):
    """The time within which several conditions must have held."""

    type: Annotated[WindowKind, Rendering.STATIC] = Field(default="DURATION_WINDOW", description="The kind of window.")
    window: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="The length of the window."
    )
    window_advance: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="How far the window is moved."
    )
    deadline: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="DAILY_TIME_DEADLINE: the time of day by which they must have held."
    )
    start_time: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="DAILY_TIME_WINDOW: when the window opens."
    )
    end_time: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="DAILY_TIME_WINDOW: when the window closes."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "SLIDING_WINDOW": ("window",),
            "DAILY_TIME_DEADLINE": ("deadline",),
            "DAILY_TIME_WINDOW": ("start_time", "end_time"),
        }.get(self.type, ())
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            names = {"start_time": "startTime", "end_time": "endTime"}
            wanted = " and ".join(f"`{names.get(name, name)}`" for name in missing)
            raise ValueError(f"A {self.type} requires {wanted}.")
        for name, value in (("deadline", self.deadline), ("startTime", self.start_time), ("endTime", self.end_time)):
            _check_time(name, value)
        if self.window is not None and self.window <= timedelta(0):
            raise PropertyError("window", "The window must be longer than nothing.")
        return self


def _check_time(name: str, value: str | None) -> None:
    try:
        time.fromisoformat("00:00:00" if value is None else value.strip())
    except ValueError:
        raise PropertyError(name, f"`{value}` is no time of day, such as `09:00:00Z`.") from None


class MultipleCondition(Condition):
    """Deprecated: holds when all of several named conditions held within a window."""

    TYPE: ClassVar[str] = _CORE + "MultipleCondition"
    ALIASES: ClassVar[tuple[str, ...]] = (_CORE + "Multiple", _OLD + "MultipleCondition")
    DEPRECATED: ClassVar[str | None] = "use `preconditions` of the Flow trigger."

    id: str = Field(description="The id under which what held is kept.")
    window: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="The length of the window."
    )
    window_advance: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="How far the window is moved."
    )
    time_window: TimeWindow | None = Field(
        default=None, validation_alias=AliasChoices("timeWindow", "timeSLA", "sla"), description="The window."
    )
    reset_on_success: Flag = Field(default=True, description="Whether all must hold anew after they did.")
    conditions: Annotated[dict[str, Any], Holds.CONDITIONS_BY_NAME] = Field(description="The conditions by name.")


class Not(Condition):
    """Holds when none of its conditions holds."""

    TYPE: ClassVar[str] = _CORE + "Not"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("Not")
    OF_DATES: ClassVar[bool] = True

    conditions: ConditionList = Field(min_length=1, description="The conditions.")


class Or(Condition):
    """Holds when one of its conditions holds."""

    TYPE: ClassVar[str] = _CORE + "Or"
    ALIASES: ClassVar[tuple[str, ...]] = _old_names("Or")
    OF_DATES: ClassVar[bool] = True

    conditions: ConditionList = Field(min_length=1, description="The conditions.")


CONDITIONS: tuple[type[Condition], ...] = (
    DateTimeBetween,
    DayWeek,
    DayWeekInMonth,
    TimeBetween,
    Weekend,
    PublicHoliday,
    ExecutionFlow,
    ExecutionNamespace,
    ExecutionLabels,
    ExecutionOutputs,
    ExecutionStatus,
    Expression,
    HasRetryAttempt,
    FlowCondition,
    FlowNamespaceCondition,
    MultipleCondition,
    Not,
    Or,
)
