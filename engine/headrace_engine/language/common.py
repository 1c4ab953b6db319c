"""The properties every task has (reference §2.1), and retry policies (§5.1)."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, model_validator

from headrace_engine.language import identifiers
from headrace_engine.language.identifiers import TASK_ID, in_schema, input_id, task_id
from headrace_engine.language.markers import Flag, Holds, Text
from headrace_engine.language.problems import PropertyError
from headrace_engine.model.definition import RetryBehavior
from headrace_engine.plugin import IsoDuration, Properties, Rendering


class LanguageProperties(Properties):
    """Base of the language's own classes; their validators are built when first used, to start fast."""

    model_config = ConfigDict(defer_build=True, allow_inf_nan=False)


class NamedProperties(LanguageProperties):
    """What a namespace holds under an id: a flow, a template."""

    id: Annotated[str, AfterValidator(identifiers.flow_id), Rendering.STATIC] = Field(
        description="The id, unique in its namespace; it never changes.",
        json_schema_extra=in_schema(identifiers.FLOW_ID, 100),
    )
    namespace: Annotated[str, AfterValidator(identifiers.namespace), Rendering.STATIC] = Field(
        description="The namespace, a dot-separated hierarchy; it never changes.",
        json_schema_extra=in_schema(identifiers.NAMESPACE, 150),
    )
    tenant_id: Annotated[str, AfterValidator(identifiers.tenant_id), Rendering.STATIC] | None = Field(
        default=None, description="The tenant; given by the server."
    )


class LogLevel(StrEnum):
    """How much weight a log line has."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("Must be longer than zero.")
    return value


Identifier = Annotated[str, AfterValidator(input_id), Rendering.STATIC]
PositiveDuration = Annotated[IsoDuration, AfterValidator(_positive), Rendering.STATIC]


class RetryProperties(LanguageProperties):
    """What all retry policies share."""

    max_attempts: Annotated[int, Rendering.STATIC] | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("maxAttempts", "maxAttempt"),
        description="How many attempts there are in all, the first one included. Without it there is no limit.",
    )
    max_duration: PositiveDuration | None = Field(
        default=None, description="No attempt starts later than this after the start of the first one."
    )
    warning_on_retry: Flag = Field(default=False, description="End in WARNING when it took a retry to succeed.")
    behavior: Annotated[RetryBehavior, Rendering.STATIC] = Field(
        default=RetryBehavior.RETRY_FAILED_TASK,
        description="Try the failed task run again, or start the whole flow anew in a new execution.",
    )


class ConstantRetry(RetryProperties):
    """Waits the same time before each attempt."""

    type: Literal["constant"]
    interval: PositiveDuration = Field(description="The wait before the next attempt.")


class ExponentialRetry(RetryProperties):
    """Waits longer before each attempt: interval, then delayFactor times that, and so on up to maxInterval."""

    type: Literal["exponential"]
    interval: PositiveDuration = Field(description="The wait before the second attempt.")
    max_interval: PositiveDuration = Field(description="The longest wait.")
    delay_factor: Annotated[float, Rendering.STATIC] | None = Field(
        default=None, gt=0, description="What each wait is multiplied by to give the next one; 2 when not given."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_interval < self.interval:
            raise PropertyError("maxInterval", "`maxInterval` must not be shorter than `interval`.")
        return self


class RandomRetry(RetryProperties):
    """Waits a random time before each attempt."""

    type: Literal["random"]
    min_interval: PositiveDuration = Field(description="The shortest wait.")
    max_interval: PositiveDuration = Field(description="The longest wait (excluded).")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_interval < self.min_interval:
            raise PropertyError("maxInterval", "`maxInterval` must not be shorter than `minInterval`.")
        return self


RETRIES: dict[str, type[RetryProperties]] = {
    "constant": ConstantRetry,
    "exponential": ExponentialRetry,
    "random": RandomRetry,
}

RetryField = Annotated[dict[str, Any], Holds.RETRY]


class WorkerGroup(LanguageProperties):
    """Which group of workers runs the task."""

    key: str = Field(min_length=1, description="The key of the worker group.")
    fallback: Annotated[Literal["FAIL", "WAIT", "CANCEL", "IGNORE"], Rendering.STATIC] | None = Field(
        default=None, description="What happens when the group has no worker."
    )


class WorkerSelector(LanguageProperties):
    """Which workers run the task, by tags (the 2.0 form of workerGroup)."""

    tags: list[str] = Field(description="The tags of the workers.")
    match: Annotated[Literal["ALL", "ANY"], Rendering.STATIC] = Field(
        default="ALL", description="Whether all tags must match."
    )
    fallback: Annotated[Literal["FAIL", "WAIT", "CANCEL", "IGNORE"], Rendering.STATIC] | None = Field(
        default=None, description="What happens when no worker matches."
    )


class TaskCache(LanguageProperties):
    """Reuse of the outputs of an earlier task run with the same rendered properties."""

    enabled: Flag = Field(description="Whether outputs are reused.")
    ttl: PositiveDuration | None = Field(default=None, description="How long outputs may be reused.")


class Resubmit(StrEnum):
    """What happens to a task run whose worker vanished."""

    AUTOMATIC = "AUTOMATIC"
    NEVER = "NEVER"


class TaskProperties(LanguageProperties):
    """Properties that every task has, whatever its type."""

    id: Annotated[str, AfterValidator(task_id), Rendering.STATIC] = Field(
        description="The task's id, unique in the flow: letters, digits, `-` and `_`.",
        json_schema_extra=in_schema(TASK_ID, 256),
    )
    type: Annotated[str, Rendering.STATIC] = Field(description="The full name of the task's type.")
    description: Text | None = Field(default=None, description="What the task does, in Markdown.")
    disabled: Flag = Field(default=False, description="Leave the task out: it gets no task run.")
    run_if: str = Field(
        default="true",
        validation_alias=AliasChoices("runIf", "when"),
        description=(
            "A condition, rendered when the task would start; "
            "when it gives false, 0, -0 or nothing the task run is SKIPPED."
        ),
    )
    retry: RetryField | None = Field(default=None, description="Whether and when a failed task run is tried again.")
    timeout: IsoDuration | None = Field(
        default=None, description="How long an attempt may take before it is ended as failed."
    )
    allow_failure: Flag = Field(
        default=False, description="A failure ends the task run in WARNING, and the flow goes on."
    )
    allow_warning: Flag = Field(default=False, description="A WARNING of the task run counts as SUCCESS.")
    log_level: Annotated[LogLevel, Rendering.STATIC] | None = Field(
        default=None, description="Log lines below this level are not kept."
    )
    resubmit: Annotated[Resubmit, Rendering.STATIC] = Field(
        default=Resubmit.AUTOMATIC,
        description=(
            "What happens when the machine that runs an attempt is lost: a new attempt, or (NEVER) the task run fails."
        ),
    )
    log_to_file: Flag = Field(
        default=False, description="Write the logs to a file in storage instead of the log store."
    )
    worker_group: WorkerGroup | None = Field(default=None, description="Which group of workers runs the task.")
    worker_selector: WorkerSelector | None = Field(default=None, description="Which workers run the task, by tags.")
    task_cache: TaskCache | None = Field(default=None, description="Whether outputs of earlier runs are reused.")
    version: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="The version of the task's plugin."
    )
    assets: dict[str, Any] | None = Field(
        default=None, description="The assets the task reads and writes, for lineage."
    )
    plugin_defaults_ref: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="The name of a set of plugin defaults."
    )


UNSUPPORTED_TASK_PROPERTIES: dict[str, str] = {
    "logToFile": "logs are kept in the log store",
    "workerGroup": "there are no worker groups",
    "workerSelector": "there are no worker groups",
    "version": "the installed version of a plugin is the one that runs",
    "assets": "lineage is not recorded",
    "pluginDefaultsRef": "plugin defaults have no names; write them in the flow's `pluginDefaults`",
}
"""Common properties that are read and checked, but whose behaviour is not there yet, and what is so instead."""
