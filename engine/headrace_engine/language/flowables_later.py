"""Flowable tasks that wait or start other executions, and those that this version reads but refuses to run."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.flowables import Flowable, StaticInt, ValueList
from headrace_engine.language.markers import Flag, Holds, InputList, LabelMap, OutputList, TaskList
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, Rendering, Task

_Fallback = Annotated[Literal["RESUME", "WARN", "FAIL", "CANCEL"], Rendering.STATIC]


class Later(Flowable):
    """Base of the flowables to come."""

    KIND: ClassVar[Kind] = Kind.UNSUPPORTED


class Pause(Flowable):
    """Pauses the execution until somebody resumes it, or for some time."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Pause"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Pause",)
    KIND: ClassVar[Kind] = Kind.PAUSE

    pause_duration: IsoDuration | None = Field(
        default=None,
        validation_alias=AliasChoices("pauseDuration", "delay"),
        description="How long the pause lasts; without it, until it is resumed.",
    )
    behavior: _Fallback = Field(default="RESUME", description="What happens when the pause is over.")
    on_resume: InputList | None = Field(default=None, description="Inputs that must be given to resume.")
    on_pause: Annotated[dict[str, Any], Holds.TASK] | None = Field(
        default=None, description="A task that runs before the pause."
    )
    tasks: TaskList | None = Field(
        default=None,
        description="Tasks that run after the pause.",
        deprecated="write the tasks after the Pause instead.",
    )


class CheckFrequency(LanguageProperties):
    """How often the condition of a LoopUntil is looked at, and for how long."""

    max_iterations: int | None = Field(default=None, ge=1, description="How many rounds there are at most.")
    max_duration: IsoDuration | None = Field(default=None, description="How long the rounds last at most.")
    interval: IsoDuration | None = Field(default=None, description="The wait between two rounds.")


class LoopUntil(Flowable):
    """Runs its tasks again and again until a condition holds."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.LoopUntil"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.core.flow.WaitFor",
        "io.kestra.core.tasks.flows.WaitFor",
    )
    KIND: ClassVar[Kind] = Kind.LOOP_UNTIL

    condition: str = Field(description="The expression that ends the loop when it is true.")
    tasks: TaskList = Field(min_length=1, description="The tasks of a round.")
    fail_on_max_reached: bool = Field(default=False, description="Whether reaching a maximum is a failure.")
    check_frequency: CheckFrequency | None = Field(default=None, description="How often, and for how long.")


_RestartBehavior = Annotated[Literal["RETRY_FAILED", "NEW_EXECUTION"], Rendering.STATIC]


class Subflow(Task, LanguageProperties):
    """Starts an execution of another flow and waits for its end."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Subflow"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.flows.Subflow",
        "io.kestra.core.tasks.flows.Flow",
        "io.kestra.plugin.core.flow.Flow",
    )
    KIND: ClassVar[Kind] = Kind.SUBFLOW

    namespace: str = Field(min_length=1, description="The namespace of the flow.")
    flow_id: str = Field(min_length=1, description="The id of the flow.")
    revision: StaticInt | None = Field(default=None, ge=1, description="The revision; the latest when not given.")
    inputs: dict[str, Any] | None = Field(default=None, description="The inputs of the execution.")
    wait: Flag = Field(default=True, description="Whether the task ends only when the execution has ended.")
    transmit_failed: Flag = Field(default=True, description="Whether the task ends in the execution's state.")
    inherit_labels: bool = Field(default=False, description="Whether the execution gets this one's labels.")
    labels: LabelMap | None = Field(default=None, description="Labels for the execution.")
    outputs: dict[str, Any] | None = Field(
        default=None,
        description="Outputs rendered in the context of the execution.",
        deprecated="declare `outputs` in the flow that is called.",
    )
    schedule_date: str | None = Field(default=None, description="When the execution starts.")
    restart_behavior: _RestartBehavior = Field(
        default="RETRY_FAILED", description="What a restart does to the execution."
    )


class Batch(LanguageProperties):
    """How a file is cut into the parts of a ForEachItem."""

    rows: int | str | None = Field(default=None, description="How many rows a part has.")
    bytes: str | int | None = Field(default=None, description="How large a part is at most, such as `10 MB`.")
    partitions: int | str | None = Field(default=None, description="How many parts there are.")
    separator: str = Field(default="\n", description="What ends a row.")


class ForEachItem(Flowable):
    """Cuts a file into parts and starts an execution of another flow for each.

    It has three task runs besides its own: `<id>_split`, `<id>_items` and `<id>_merge`. In `inputs`, `taskrun.items`
    is the URI of the part and `taskrun.iteration` its number from 0. What the executions give is one file afterwards:
    `outputs.<id>_merge.subflowOutputs`.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.ForEachItem"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.ForEachItem",)
    KIND: ClassVar[Kind] = Kind.SEQUENTIAL

    items: str = Field(description="The URI of a file in internal storage.")
    batch: Batch | None = Field(default=None, description="How the file is cut; one row a part when not given.")
    namespace: str = Field(min_length=1, description="The namespace of the flow.")
    flow_id: str = Field(min_length=1, description="The id of the flow.")
    revision: StaticInt | None = Field(default=None, ge=1, description="The revision; the latest when not given.")
    inputs: dict[str, Any] | None = Field(default=None, description="The inputs of each execution.")
    labels: LabelMap | None = Field(default=None, description="Labels for each execution.")
    wait: Flag = Field(default=True, description="Whether the task ends only when the executions have ended.")
    transmit_failed: Flag = Field(default=True, description="Whether a failed execution fails the task.")
    inherit_labels: bool = Field(default=False, description="Whether the executions get this one's labels.")
    schedule_date: str | None = Field(default=None, description="When the executions start.")
    restart_behavior: _RestartBehavior = Field(
        default="RETRY_FAILED", description="What a restart does to the executions."
    )


class Template(Flowable):
    """Deprecated: runs the tasks of a template, in order.

    Inside, `parent.outputs.args` has the values it was given. The tasks are those of the template as it was when the
    execution began, under the ids they have there: a flow takes a template once. Its own `errors` and `finally`, where
    it has some, stand in the place of the template's.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Template"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Template",)
    KIND: ClassVar[Kind] = Kind.SEQUENTIAL
    DEPRECATED: ClassVar[str | None] = "use `io.kestra.plugin.core.flow.Subflow`."

    namespace: Annotated[str, Rendering.STATIC] = Field(min_length=1, description="The namespace of the template.")
    template_id: Annotated[str, Rendering.STATIC] = Field(min_length=1, description="The id of the template.")
    args: dict[str, Any] | None = Field(default=None, description="Values for the template's tasks.")


class Loop(Flowable):
    """Runs its tasks once for each of several values.

    Inside, `item.value` is the value, `item.index` its number from 0 and `item.key` its key, when the values are a
    map; `outputs.<id>` is that of the same round. The rounds are task runs of this execution, as those of a ForEach.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Loop"
    KIND: ClassVar[Kind] = Kind.FOR_EACH

    values: ValueList = Field(description="A list or map, or an expression that gives one.")
    concurrency_limit: StaticInt = Field(
        default=0, ge=0, description="How many values are worked on at once; 0 is no limit."
    )
    tasks: TaskList = Field(min_length=1, description="The tasks of a round.")
    outputs: OutputList | None = Field(default=None, description="What each round hands back.")
    fetch_type: Annotated[Literal["AUTO", "FETCH", "STORE"], Rendering.STATIC] = Field(
        default="AUTO", description="Whether the outputs stand in the context or in a file."
    )
    transmit_failed: Flag = Field(default=True, description="Whether a failed round fails the task.")
    break_when: str | None = Field(default=None, description="An expression that ends the loop when it is true.")

    @classmethod
    def unsupported_use(cls, properties: Mapping[str, Any]) -> str | None:
        """Return why what a ForEach cannot do is refused."""
        if properties.get("breakWhen") is not None:
            return "a loop goes over all its values; leave out `breakWhen`, or use a LoopUntil"
        if "outputs" in properties:
            return "a loop hands back no `outputs`; read those of its tasks, `outputs.<id>[value]`"
        if properties.get("fetchType", "AUTO") != "AUTO":
            return "the outputs of a loop's tasks are stored by their size; leave out `fetchType`"
        if str(properties.get("transmitFailed", "true")).lower() == "false":
            return (
                "a failed round fails the loop; put the tasks into an AllowFailure instead of `transmitFailed: false`"
            )
        return None


_Outcome = Annotated[Literal["CONTINUE", "CANCEL", "FAIL", "WARN"], Rendering.STATIC]


class Approval(Later):
    """Waits for a person to approve or deny."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Approval"
    UNSUPPORTED: ClassVar[str | None] = "there are no approvals; use a Pause with `onResume`"

    inputs: InputList | None = Field(default=None, description="What the person is asked for.")
    decisions: list[Any] | None = Field(default=None, description="The decisions to choose from.")
    comment_required: bool = Field(default=False, description="Whether a comment must be given.")
    auto_approve: Any = Field(default=None, description="When the approval is given by itself.")
    approve_behavior: _Outcome = Field(default="CONTINUE", description="What an approval does.")
    deny_behavior: _Outcome = Field(default="CANCEL", description="What a denial does.")
    expire_behavior: _Outcome = Field(default="CANCEL", description="What happens when nobody decides in time.")
    on_wait: TaskList | None = Field(default=None, description="Tasks that run before the wait.")
    on_approve: TaskList | None = Field(default=None, description="Tasks that run after an approval.")
    on_deny: TaskList | None = Field(default=None, description="Tasks that run after a denial.")


NOT_YET: tuple[type[Task], ...] = (Pause, LoopUntil, Subflow, ForEachItem, Template, Loop, Approval)
