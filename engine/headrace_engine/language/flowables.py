"""The flowable tasks that steer other tasks (reference §3): what each takes, and what it means."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.language.common import LanguageProperties, PositiveDuration
from headrace_engine.language.markers import CaseMap, DagTaskList, Flag, Holds, TaskList
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import Rendering, Task

StaticInt = Annotated[int, Rendering.STATIC]


class Flowable(Task, LanguageProperties):
    """Base of the tasks that steer other tasks."""

    errors: TaskList | None = Field(
        default=None, description="Tasks that run when one of the children has failed for good."
    )
    finally_: TaskList | None = Field(
        default=None, alias="finally", description="Tasks that run at the end, after a success and after a failure."
    )

    on_child_failure: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="What a failure of a child does to the others."
    )


class Sequential(Flowable):
    """Runs its tasks one after the other and stops at the first failure."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Sequential"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Sequential",)
    KIND: ClassVar[Kind] = Kind.SEQUENTIAL

    tasks: TaskList = Field(min_length=1, description="The tasks, in order.")


class Parallel(Flowable):
    """Runs its tasks side by side.

    After a failure no further task starts; those that run are waited for.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Parallel"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Parallel",)
    KIND: ClassVar[Kind] = Kind.PARALLEL

    tasks: TaskList = Field(min_length=1, description="The tasks.")
    concurrent: StaticInt = Field(default=0, ge=0, description="How many tasks run at once; 0 is no limit.")
    fail_fast: Flag = Field(default=False, description="Whether a failure ends the tasks that still run.")


class DagTask(LanguageProperties):
    """One task of a Dag and what it waits for."""

    task: Annotated[dict[str, Any], Holds.TASK] = Field(description="The task.")
    depends_on: Annotated[list[str], Rendering.STATIC] | None = Field(
        default=None, description="Ids of the tasks of this Dag that must have ended before."
    )


class Dag(Flowable):
    """Runs its tasks in the order their dependencies allow, side by side where they can."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Dag"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Dag",)
    KIND: ClassVar[Kind] = Kind.DAG

    tasks: DagTaskList = Field(min_length=1, description="The tasks, each with what it waits for.")
    concurrent: StaticInt = Field(default=0, ge=0, description="How many tasks run at once; 0 is no limit.")
    fail_fast: Flag = Field(default=False, description="Whether a failure ends the tasks that still run.")


class If(Flowable):
    """Runs `then` or `else`, as a condition says.

    The condition is rendered once; false, 0, -0 and nothing are false, every other text is true. Without
    `else`, a false condition is a success.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.If"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.If",)
    KIND: ClassVar[Kind] = Kind.IF

    condition: str = Field(description="The expression that decides.")
    then: TaskList = Field(min_length=1, description="Tasks that run when the condition is true.")
    else_: TaskList | None = Field(default=None, alias="else", description="Tasks that run when it is not.")


class Switch(Flowable):
    """Runs the tasks of the case whose text equals a rendered value.

    Without a matching case `defaults` run; without these the task fails.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Switch"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Switch",)
    KIND: ClassVar[Kind] = Kind.SWITCH

    value: str = Field(description="The expression that is compared, as text.")
    cases: CaseMap | None = Field(default=None, description="Tasks by the text that the value must equal.")
    defaults: TaskList | None = Field(default=None, description="Tasks that run when no case matches.")


ValueList = str | list[Any] | dict[str, Any]


class ForEach(Flowable):
    """Runs its tasks once for each of several values.

    Equal values count once. Inside, `taskrun.value` is the value as text and `taskrun.iteration` its number
    from 0. The tasks of one value run one after the other.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.ForEach"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.ForEach",)
    KIND: ClassVar[Kind] = Kind.FOR_EACH

    values: ValueList = Field(description="A list, or an expression that gives a JSON list.")
    concurrency_limit: StaticInt = Field(
        default=1, ge=0, description="How many values are worked on at once; 0 is no limit."
    )
    tasks: TaskList = Field(min_length=1, description="The tasks, in order.")


class EachSequential(Flowable):
    """Deprecated: runs its tasks once for each of several values, one value after the other. Use ForEach."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.EachSequential"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.EachSequential",)
    KIND: ClassVar[Kind] = Kind.FOR_EACH
    DEPRECATED: ClassVar[str | None] = "use `io.kestra.plugin.core.flow.ForEach`."

    value: ValueList = Field(description="A list, or an expression that gives a JSON list.")
    tasks: TaskList = Field(min_length=1, description="The tasks, in order.")


class EachParallel(Flowable):
    """Deprecated: runs every task of every value side by side. Use ForEach with `concurrencyLimit: 0`."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.EachParallel"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.EachParallel",)
    KIND: ClassVar[Kind] = Kind.EACH_PARALLEL
    DEPRECATED: ClassVar[str | None] = "use `io.kestra.plugin.core.flow.ForEach` with `concurrencyLimit: 0`."

    value: ValueList = Field(description="A list, or an expression that gives a JSON list.")
    concurrent: StaticInt = Field(default=0, ge=0, description="How many tasks run at once; 0 is no limit.")
    tasks: TaskList = Field(min_length=1, description="The tasks.")


class AllowFailure(Flowable):
    """Runs its tasks like Sequential; when one fails it ends in WARNING, and the flow goes on."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.AllowFailure"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.AllowFailure",)
    KIND: ClassVar[Kind] = Kind.ALLOW_FAILURE

    tasks: TaskList = Field(min_length=1, description="The tasks, in order.")


class DirectoryCache(LanguageProperties):
    """Files that later executions find again in the working directory."""

    patterns: list[str] = Field(min_length=1, description="Globs of the files that are kept.")
    ttl: PositiveDuration | None = Field(default=None, description="How long they are kept.")


class NamespaceFiles(LanguageProperties):
    """Which namespace files the working directory starts with."""

    enabled: bool = Field(default=True, description="Whether namespace files are copied in.")
    include: list[str] | str | None = Field(
        default=None, description="Globs of the files to copy; all of them when not given."
    )
    exclude: list[str] | str | None = Field(default=None, description="Globs of the files to leave out.")
    namespaces: list[str] | str | None = Field(
        default=None, description="The namespaces whose files are copied, in this order."
    )
    if_exists: Literal["OVERWRITE", "FAIL", "WARN", "IGNORE"] = Field(
        default="OVERWRITE", description="What happens when a file is there already."
    )
    folder_per_namespace: bool = Field(default=False, description="Whether each namespace gets a folder of its own.")


class WorkingDirectory(Flowable):
    """Runs its tasks one after the other on one worker, in one directory that they share.

    Only runnable tasks can be its children.
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.WorkingDirectory"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.flows.WorkingDirectory",
        "io.kestra.core.tasks.flows.Worker",
    )
    KIND: ClassVar[Kind] = Kind.WORKING_DIRECTORY

    tasks: TaskList = Field(min_length=1, description="The tasks, in order.")
    input_files: dict[str, str] | str | None = Field(
        default=None, description="Files to begin with: name and content, or the URI of a file in internal storage."
    )
    namespace_files: NamespaceFiles | None = Field(default=None, description="Namespace files to begin with.")
    output_files: list[str] | str | None = Field(
        default=None, description="Globs of the files that are kept as the outputs of the task."
    )
    cache: DirectoryCache | None = Field(default=None, description="Files that later executions find again.")


IMPLEMENTED: tuple[type[Flowable], ...] = (
    Sequential,
    Parallel,
    Dag,
    If,
    Switch,
    ForEach,
    EachSequential,
    EachParallel,
    AllowFailure,
    WorkingDirectory,
)
