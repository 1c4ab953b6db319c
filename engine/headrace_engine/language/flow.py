"""The properties of a flow (reference §1), and of what stands directly in it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field

from headrace_engine.language.common import (
    Identifier,
    LanguageProperties,
    NamedProperties,
    PositiveDuration,
    RetryField,
    WorkerGroup,
    WorkerSelector,
)
from headrace_engine.language.markers import (
    ConditionList,
    Flag,
    Holds,
    InputList,
    LabelMap,
    OutputList,
    TaskList,
    Text,
    Verbatim,
    refuse_system_labels,
)
from headrace_engine.plugin import Rendering


def _flow_labels(value: LabelMap) -> LabelMap:
    refuse_system_labels(value, allowed=("system.readOnly",))
    return value


class ConcurrencyProperties(LanguageProperties):
    """How many executions of the flow may run at once."""

    limit: Annotated[int, Rendering.STATIC] = Field(gt=0, description="The greatest number of running executions.")
    behavior: Annotated[Literal["QUEUE", "CANCEL", "FAIL"], Rendering.STATIC] = Field(
        default="QUEUE", description="What happens to an execution beyond the limit."
    )


class Sla(LanguageProperties):
    """A promise that every execution is measured by."""

    id: Identifier = Field(description="The SLA's id.")
    behavior: Annotated[Literal["FAIL", "CANCEL", "NONE"], Rendering.STATIC] = Field(
        description="What happens to an execution that breaks the promise."
    )
    labels: LabelMap | None = Field(default=None, description="Labels that an execution gets that breaks the promise.")


class MaxDurationSla(Sla):
    """An execution must end within a time."""

    type: Literal["MAX_DURATION"]
    duration: PositiveDuration = Field(description="The longest time an execution may take.")


class ExecutionAssertionSla(Sla):
    """An expression must hold whenever the execution changes."""

    type: Literal["EXECUTION_ASSERTION"]
    assert_: str = Field(alias="assert", description="The expression that must hold.")


SLAS: dict[str, type[Sla]] = {"MAX_DURATION": MaxDurationSla, "EXECUTION_ASSERTION": ExecutionAssertionSla}


class CheckProperties(LanguageProperties):
    """A condition on the inputs, looked at before an execution is created."""

    condition: str = Field(
        validation_alias=AliasChoices("condition", "when"),
        description="An expression; the check fails when it is falsy.",
    )
    message: str = Field(description="What is told when the check fails.")
    style: Annotated[Literal["INFO", "SUCCESS", "WARNING", "ERROR"], Rendering.STATIC] = Field(
        default="INFO", description="How the message is shown."
    )
    behavior: Annotated[Literal["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"], Rendering.STATIC] = Field(
        default="BLOCK_EXECUTION", description="What happens when the check fails."
    )


class PluginDefault(LanguageProperties):
    """Default values for every task, trigger, condition or task runner of a type (reference §2.4)."""

    type: Annotated[str, Rendering.STATIC] = Field(description="A type, or a package that types begin with.")
    forced: Flag = Field(default=False, description="Whether the values win over what a task itself says.")
    values: Annotated[dict[str, Any], Verbatim.VERBATIM] = Field(description="Property values by name.")


class Listener(LanguageProperties):
    """Deprecated: tasks that run after an execution has ended. Use `afterExecution`."""

    description: Text | None = Field(default=None, description="What the listener does.")
    conditions: ConditionList | None = Field(default=None, description="When it runs.")
    tasks: TaskList = Field(min_length=1, description="What it runs.")


class FlowProperties(NamedProperties):
    """A flow: what it takes, what it does, what it hands back and what starts it."""

    revision: Annotated[int, Rendering.STATIC] | None = Field(
        default=None, ge=1, description="The revision; given by the server, one more for each change."
    )
    deleted: Flag = Field(default=False, description="Whether the flow is deleted; given by the server.")
    description: Text | None = Field(default=None, description="What the flow is for, in Markdown.")
    labels: Annotated[LabelMap, AfterValidator(_flow_labels), Verbatim.VERBATIM] | None = Field(
        default=None, description="Labels that every execution gets."
    )
    inputs: InputList | None = Field(default=None, description="The values an execution is started with.")
    variables: Annotated[dict[str, Any], Verbatim.VERBATIM] | None = Field(
        default=None,
        description="Values for expressions, `vars`. What is in them is rendered only by `render(vars.x)`.",
    )
    tasks: TaskList = Field(min_length=1, description="What the flow does, in order, until one fails.")
    errors: TaskList | None = Field(default=None, description="Tasks that run when a task has failed for good.")
    finally_: TaskList | None = Field(
        default=None, alias="finally", description="Tasks that run at the end, after a success and after a failure."
    )
    after_execution: TaskList | None = Field(
        default=None, description="Tasks that run after the execution has its final state, which they cannot change."
    )
    listeners: Annotated[list[dict[str, Any]], Holds.LISTENERS] | None = Field(
        default=None,
        description="Tasks that run after the end of an execution.",
        deprecated="write `afterExecution` tasks with `runIf` instead.",
    )
    triggers: Annotated[list[dict[str, Any]], Holds.TRIGGERS] | None = Field(
        default=None, description="What starts executions."
    )
    plugin_defaults: Annotated[list[dict[str, Any]], Holds.PLUGIN_DEFAULTS] | None = Field(
        default=None,
        validation_alias=AliasChoices("pluginDefaults", "taskDefaults"),
        description="Default values for the properties of types.",
    )
    concurrency: ConcurrencyProperties | None = Field(default=None, description="How many executions may run at once.")
    outputs: OutputList | None = Field(default=None, description="The values an execution hands back.")
    retry: RetryField | None = Field(default=None, description="Whether and when a failed execution is tried again.")
    sla: Annotated[list[dict[str, Any]], Holds.SLAS] | None = Field(
        default=None, description="Promises that executions are measured by."
    )
    disabled: Flag = Field(default=False, description="A disabled flow cannot be executed, and its triggers are off.")
    checks: list[CheckProperties] | None = Field(default=None, description="Conditions on the inputs of an execution.")
    worker_group: WorkerGroup | None = Field(default=None, description="Which group of workers runs the tasks.")
    worker_selector: WorkerSelector | None = Field(default=None, description="Which workers run the tasks, by tags.")
    policy_refs: list[str] | None = Field(default=None, description="Policies the flow follows.")


UNSUPPORTED_FLOW_PROPERTIES: dict[str, str] = {
    "listeners": "write `afterExecution` tasks instead",
    "workerGroup": "there are no worker groups",
    "workerSelector": "there are no worker groups",
    "policyRefs": "there are no policies",
}
"""Properties that are read and checked, but whose behaviour is not there yet, and what is so instead."""
