"""Triggers (reference §8): what starts executions, as they are read and checked."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from headrace_engine.core.schedule.cron import parse_cron
from headrace_engine.language.common import LanguageProperties, LogLevel, WorkerGroup, WorkerSelector
from headrace_engine.language.conditions import States, TimeWindow
from headrace_engine.language.identifiers import task_id
from headrace_engine.language.markers import ConditionList, Flag, Holds, Labels, Text
from headrace_engine.language.problems import PropertyError, did_you_mean
from headrace_engine.model.state import State
from headrace_engine.plugin import IsoDuration, Rendering

_CORE = "io.kestra.plugin.core.trigger."
_OLD = "io.kestra.core.models.triggers.types."
_OFFSET = re.compile(r"Z|(UTC|GMT)?[+-]\d{1,2}(:?\d{2})?", re.ASCII)


def _timezone(value: str) -> str:
    if _OFFSET.fullmatch(value):
        return value
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        suggestion = did_you_mean(value, available_timezones())
        raise ValueError(f"`{value}` is no time zone, such as `Europe/Paris`.{suggestion}") from None
    return value


Timezone = Annotated[str, AfterValidator(_timezone), Rendering.STATIC]
Recovery = Annotated[Literal["ALL", "LAST", "NONE"], Rendering.STATIC]


class Trigger(LanguageProperties):
    """Base of the triggers."""

    TYPE: ClassVar[str]
    ALIASES: ClassVar[tuple[str, ...]] = ()
    DEPRECATED: ClassVar[str | None] = None
    ONLY_DATE_CONDITIONS: ClassVar[bool] = False
    """Whether its conditions choose dates."""

    id: Annotated[str, AfterValidator(task_id), Rendering.STATIC] = Field(
        description="The trigger's id, unique in the flow."
    )
    type: Annotated[str, Rendering.STATIC] = Field(description="The full name of the trigger's type.")
    description: Text | None = Field(default=None, description="What the trigger is for, in Markdown.")
    conditions: ConditionList | None = Field(default=None, description="Conditions that must all hold.")
    when: str | None = Field(default=None, description="An expression that must hold.")
    inputs: dict[str, Any] | None = Field(default=None, description="The inputs of the executions.")
    labels: Labels | None = Field(default=None, description="Labels for the executions.")
    disabled: Flag = Field(default=False, description="Whether the trigger is off.")
    stop_after: States | None = Field(
        default=None, description="States; when an execution of the trigger ends in one, the trigger is switched off."
    )
    allow_concurrent: Flag = Field(
        default=False, description="Whether it starts an execution while its last one still runs."
    )
    fail_on_trigger_error: Flag = Field(
        default=False, description="Whether an error of the trigger makes a failed execution."
    )
    log_level: Annotated[LogLevel, Rendering.STATIC] | None = Field(
        default=None,
        validation_alias=AliasChoices("logLevel", "minLogLevel"),
        description="Log lines below this level are not kept.",
    )
    idempotency_key: str | None = Field(
        default=None,
        description="An expression; events for which it gives the same text start one execution, together.",
    )
    log_to_file: Flag = Field(
        default=False, description="Write the logs to a file in storage instead of the log store."
    )
    worker_group: WorkerGroup | None = Field(default=None, description="Which group of workers evaluates the trigger.")
    worker_selector: WorkerSelector | None = Field(
        default=None, description="Which workers evaluate the trigger, by tags."
    )
    assets: dict[str, Any] | None = Field(default=None, description="The assets the trigger concerns, for lineage.")
    version: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="The version of the trigger's plugin."
    )


UNSUPPORTED_TRIGGER_PROPERTIES: dict[str, str] = {
    "logToFile": "logs are kept in the log store",
    "workerGroup": "there are no worker groups",
    "workerSelector": "there are no worker groups",
    "version": "the installed version of a plugin is the one that runs",
    "assets": "lineage is not recorded",
}
"""Properties of triggers that are read and checked, but whose behaviour is not there, and what is so instead."""


class Schedule(Trigger):
    """Starts executions at the times of a cron expression."""

    TYPE: ClassVar[str] = _CORE + "Schedule"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "Schedule",)
    ONLY_DATE_CONDITIONS: ClassVar[bool] = True

    cron: Annotated[str, Rendering.STATIC] = Field(
        description="Five fields (minute, hour, day of month, month, day of week), or @hourly, @daily and so on."
    )
    with_seconds: Flag = Field(
        default=False, description="Whether the cron expression begins with a field for seconds."
    )
    timezone: Timezone | None = Field(default=None, description="The time zone of the cron expression.")
    conditions: ConditionList | None = Field(
        default=None,
        validation_alias=AliasChoices("conditions", "scheduleConditions"),
        description="Conditions that a date must meet.",
    )
    late_maximum_delay: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="A date that is later than this is passed over."
    )
    recover_missed_schedules: Recovery | None = Field(default=None, description="Which missed dates are made up for.")
    backfill: dict[str, Any] | None = Field(
        default=None, description="Dates in the past to run.", deprecated="a backfill is started by the API."
    )

    @model_validator(mode="after")
    def _cron(self) -> Self:
        try:
            parse_cron(self.cron, with_seconds=self.with_seconds)
        except ValueError as error:
            raise PropertyError("cron", str(error)) from None
        return self


class ScheduleOnDates(Trigger):
    """Starts executions at given dates."""

    TYPE: ClassVar[str] = _CORE + "ScheduleOnDates"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "ScheduleOnDates",)
    ONLY_DATE_CONDITIONS: ClassVar[bool] = True

    dates: list[str] | str = Field(description="The dates, ISO-8601.")
    timezone: Timezone | None = Field(default=None, description="The time zone of dates that have none.")
    recover_missed_schedules: Recovery | None = Field(default=None, description="Which missed dates are made up for.")


class Webhook(Trigger):
    """Starts an execution for every call of a URL."""

    TYPE: ClassVar[str] = _CORE + "Webhook"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "Webhook",)

    key: str = Field(min_length=1, max_length=256, description="The last part of the URL; whoever knows it may call.")
    auth: Annotated[dict[str, Any], Holds.AUTH] | None = Field(
        default=None, description="How the caller proves who it is; the key alone does when not given."
    )
    wait: Flag = Field(default=False, description="Whether the call is answered only when the execution has ended.")
    return_outputs: Flag = Field(
        default=False, description="Whether the answer is the outputs of the flow, and nothing else; with `wait`."
    )
    response_content_type: Annotated[Literal["application/json", "text/plain"], Rendering.STATIC] | None = Field(
        default=None,
        description="The content type of the answer. With `text/plain` and one output, the answer is its text.",
    )
    response_code: int | str | None = Field(
        default=None, description="The status of the answer, 200 when not given; with `wait` it may use the `outputs`."
    )

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if isinstance(self.response_code, int) and not 200 <= self.response_code <= 599:
            raise PropertyError("responseCode", "`responseCode` is a status of HTTP, from 200 to 599.")
        return self


class PreconditionFlow(LanguageProperties):
    """A flow whose execution is waited for."""

    namespace: str = Field(description="The namespace of the flow.")
    flow_id: str | None = Field(
        default=None, description="The id of the flow; every flow of the namespace when not given."
    )
    states: States | None = Field(default=None, description="The states its execution must end in.")
    labels: dict[str, Any] | None = Field(default=None, description="Labels its execution must have.")


class PreconditionFilter(LanguageProperties):
    """A test of one property of an execution."""

    field: Annotated[Literal["FLOW_ID", "NAMESPACE", "STATE", "EXPRESSION"], Rendering.STATIC] = Field(
        description="The property that is tested."
    )
    type: Annotated[
        Literal[
            "EQUAL_TO",
            "NOT_EQUAL_TO",
            "IN",
            "NOT_IN",
            "IS_TRUE",
            "IS_FALSE",
            "IS_NULL",
            "IS_NOT_NULL",
            "STARTS_WITH",
            "ENDS_WITH",
            "REGEX",
            "CONTAINS",
        ],
        Rendering.STATIC,
    ] = Field(description="The test.")
    value: str | None = Field(default=None, description="What it is compared with.")
    values: list[str] | None = Field(default=None, description="What it is compared with, for IN and NOT_IN.")


class PreconditionWhere(LanguageProperties):
    """Tests that an execution must pass."""

    id: str = Field(description="The id of the group of tests.")
    operand: Annotated[Literal["AND", "OR"], Rendering.STATIC] = Field(
        default="AND", description="Whether all tests or one must pass."
    )
    filters: list[PreconditionFilter] = Field(min_length=1, description="The tests.")


class Preconditions(LanguageProperties):
    """Executions that must all have happened within a window."""

    id: str = Field(description="The id under which what happened is kept.")
    time_window: TimeWindow | None = Field(
        default=None,
        validation_alias=AliasChoices("timeWindow", "timeSLA"),
        description="The window; one day when not given.",
    )
    reset_on_success: Flag = Field(default=True, description="Whether all must happen anew after they did.")
    flows: list[PreconditionFlow] | None = Field(default=None, description="The flows that are waited for.")
    where: list[PreconditionWhere] | None = Field(default=None, description="Tests that executions must pass.")


class FlowDependency(LanguageProperties):
    """A flow whose execution is waited for (the 2.0 form)."""

    namespace: str | None = Field(default=None, description="The namespace of the flow.")
    flow_id: str | None = Field(default=None, description="The id of the flow.")
    states: States | None = Field(default=None, description="The states its execution must end in.")
    labels: dict[str, Any] | None = Field(default=None, description="Labels its execution must have.")
    when: str | None = Field(default=None, description="An expression that must hold.")


class Flow(Trigger):
    """Starts an execution when executions of other flows change their state."""

    TYPE: ClassVar[str] = _CORE + "Flow"
    ALIASES: ClassVar[tuple[str, ...]] = (_OLD + "Flow",)

    states: States = Field(
        default=[
            State.SUCCESS,
            State.WARNING,
            State.FAILED,
            State.KILLED,
            State.CANCELLED,
            State.RETRIED,
            State.SKIPPED,
            State.PAUSED,
        ],
        description="The states that count.",
    )
    preconditions: Preconditions | None = Field(default=None, description="Executions that must all have happened.")
    depends_on: list[FlowDependency] | None = Field(default=None, description="Flows that are waited for.")
    mode: Annotated[Literal["ALL", "ANY", "AT_LEAST"], Rendering.STATIC] | None = Field(
        default=None, description="How many of the flows in `dependsOn` must have run."
    )
    min_satisfied: Annotated[int, Rendering.STATIC] | None = Field(
        default=None, ge=1, description="How many, for AT_LEAST."
    )
    window: dict[str, Any] | None = Field(default=None, description="The time within which they must have run.")
    on_miss: dict[str, Any] | None = Field(default=None, description="What happens when they have not.")


class HttpTrigger(Trigger):
    """Calls a URL again and again, and starts an execution when the answer fits."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.http.Trigger"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Trigger",)

    interval: IsoDuration | None = Field(default=None, description="The time between two calls; PT60S when not given.")
    uri: str = Field(description="The URL.")
    method: str = Field(default="GET", description="The HTTP method.")
    headers: dict[str, Any] | None = Field(default=None, description="Headers of the request.")
    params: dict[str, Any] | None = Field(default=None, description="Query parameters of the request.")
    body: str | None = Field(default=None, description="The body of the request.")
    form_data: dict[str, Any] | None = Field(default=None, description="The form of the request.")
    content_type: str | None = Field(default=None, description="The content type of the request.")
    options: dict[str, Any] | None = Field(default=None, description="Timeouts, authentication, proxy and the like.")
    ssl_options: dict[str, Any] | None = Field(default=None, description="TLS settings.")
    response_condition: str = Field(
        default="{{ response.statusCode < 400 }}",
        description="An expression over `response`; when it holds an execution starts.",
    )
    encrypt_body: bool = Field(default=False, description="Whether the body of the answer is kept encrypted.")


class McpToolTrigger(Trigger):
    """Offers the flow as a tool to AI agents (Kestra 2.0)."""

    TYPE: ClassVar[str] = _CORE + "McpToolTrigger"

    tool_name: str = Field(description="The tool's name.")
    title: str = Field(description="The tool's title.")
    tool_description: str = Field(description="What the tool does.")
    mcp_server: str | None = Field(default=None, description="The server that offers it.")
    annotations: dict[str, Any] | None = Field(default=None, description="Hints for agents.")


TRIGGERS: tuple[type[Trigger], ...] = (Schedule, ScheduleOnDates, Webhook, Flow, HttpTrigger, McpToolTrigger)
