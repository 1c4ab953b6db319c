"""What the author of a task type writes against: base classes, field markers, the context of a run.

A task type is a class: its typed fields are its properties, its docstring its documentation, ``run``
its work. The flow language, the JSON Schema, the docs and the executor all read the same class.

    class Shout(RunnableTask):
        \"\"\"Say it louder.\"\"\"

        TYPE: ClassVar[str] = "com.example.Shout"
        KIND: ClassVar[Kind] = Kind.INLINE

        message: str

        class Outputs(TaskOutputs):
            value: str

        def run(self, context: InlineContext) -> Outputs:
            return self.Outputs(value=self.message.upper())

Register it with an entry point of the group ``headrace.tasks`` that names the package or module. A package of many
types may say where each is; a module is then imported when a flow names one of its types:

    HEADRACE_TYPES = {"example.shouting": ("com.example.Shout", "com.example.OldNameOfShout")}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State


class Rendering(Enum):
    """Field marker, used as ``Annotated[T, Rendering.STATIC]``: how a property is rendered before ``run``.

    Without a marker every text inside the value is rendered to text and then converted to the field's
    type; for a field that is a list, map or model, a text that renders to JSON is parsed (reference §2.3).
    """

    STATIC = "static"
    """Never rendered: an expression here is refused when the flow is saved."""
    TYPED = "typed"
    """Rendered typed: a lone expression gives its object, not its text (reference §10.1)."""
    BY_TASK = "by task"
    """Handed over as written; the task renders it itself, once an item, with ``context.render``."""


class Properties(BaseModel):
    """Base of everything read from a flow's YAML: camelCase names, unknown names refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        defer_build=True,
        frozen=True,
        coerce_numbers_to_str=True,
        use_enum_values=False,
    )


class TaskOutputs(BaseModel):
    """Base of a task's outputs; dumped by alias (camelCase), without what is None."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, defer_build=True)


_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?P<time>T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d{1,9})?)S)?)?",
    re.IGNORECASE,
)


LONGEST_DURATION = timedelta(days=365_250)
"""A thousand years: any date of ours plus this is still a date."""


def parse_duration(text: str) -> timedelta:
    """Return the length that an ISO-8601 duration (``PT5S``, ``P1DT2H``) states.

    Raises ValueError for anything else; months and years have no fixed length and are refused.
    """
    match = _DURATION.fullmatch(text.strip())
    parts = {} if match is None else {name: part for name, part in match.groupdict().items() if part is not None}
    if not parts.keys() & {"weeks", "days", "hours", "minutes", "seconds"} or parts.get("time") in ("T", "t"):
        raise ValueError(f"`{text}` is not an ISO-8601 duration such as PT30S, PT5M or P1DT2H")
    try:
        length = timedelta(
            weeks=int(parts.get("weeks", 0)),
            days=int(parts.get("days", 0)),
            hours=int(parts.get("hours", 0)),
            minutes=int(parts.get("minutes", 0)),
            seconds=float(parts.get("seconds", "0").replace(",", ".")),
        )
    except OverflowError:
        length = timedelta.max
    if length > LONGEST_DURATION:
        raise ValueError(f"The duration `{text}` is longer than a thousand years")
    return -length if parts.get("sign") == "-" else length


def format_duration(length: timedelta) -> str:
    """Return *length* as Java prints a Duration: hours, minutes and seconds, ``PT26H3M4.5S``."""
    microseconds = length // timedelta(microseconds=1)
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours}H" if hours else ""
    text += f"{sign}{minutes}M" if minutes else ""
    if fraction:
        text += f"{sign}{seconds}.{fraction:06}".rstrip("0") + "S"
    elif seconds or not text:
        text += f"{sign}{seconds}S"
    return f"PT{text}"


def _to_duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"`{value}` is not an ISO-8601 duration such as PT30S, PT5M or P1DT2H")


IsoDuration = Annotated[
    timedelta,
    BeforeValidator(_to_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "duration"}),
]
"""A length of time written as an ISO-8601 duration, and only so."""


class TaskFailure(Exception):  # noqa: N818 - an outcome of the task, said in its words, not an error of ours
    """The task failed, with a message for the person who wrote the flow.

    outputs, when given, stay on the failed task run (a script's exit code, say).
    """

    def __init__(self, message: str, outputs: TaskOutputs | None = None) -> None:
        super().__init__(message)
        self.outputs = outputs


class AttemptLostError(Exception):
    """What ran the attempt's code went away with it: the attempt is lost, not failed (DESIGN §3.6)."""


class TaskLogger(Protocol):
    """Log lines of one attempt, in order."""

    def log(self, level: str, message: str) -> None:
        """Write *message* at TRACE, DEBUG, INFO, WARN or ERROR. Secrets of the run are masked."""

    def trace(self, message: str) -> None: ...
    def debug(self, message: str) -> None: ...
    def info(self, message: str) -> None: ...
    def warn(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...


class InlineContext(Protocol):
    """What a task inside the executor may use: it can log and change its own execution, nothing outside."""

    @property
    def namespace(self) -> str: ...
    @property
    def flow_id(self) -> str: ...
    @property
    def flow_revision(self) -> int: ...
    @property
    def execution_id(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def task_run_id(self) -> str: ...
    @property
    def attempt(self) -> int:
        """The attempt's number, from 0."""

    @property
    def now(self) -> datetime:
        """The instant of the step that started the attempt, UTC."""

    @property
    def log(self) -> TaskLogger: ...

    def counter(self, name: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Record a counter metric of the task run."""

    def timer(self, name: str, value: timedelta, tags: Mapping[str, str] | None = None) -> None:
        """Record a timer metric of the task run."""

    def gauge(self, name: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Record a gauge metric of the task run."""

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        """Render a BY_TASK property with the run's variables and, over them, *variables*."""

    def end_with(self, state: State) -> None:
        """End the attempt in WARNING instead of SUCCESS."""

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Add or override labels of the execution."""

    def set_variables(self, variables: Mapping[str, Any], unset: Sequence[str] = ()) -> None:
        """Change the execution's variables: remove *unset*, then merge *variables*."""

    @property
    def variables(self) -> Mapping[str, Any]:
        """The execution's variables (``vars``) as they stand."""

    def exit_execution(self, state: State) -> None:
        """End the whole execution in *state* once this task run has ended."""


class NamespaceStore(Protocol):
    """The key-value store of one namespace."""

    def get(self, key: str) -> Any:
        """Return the value. Raises KeyError when missing or expired."""

    def set(
        self, key: str, value: Any, *, kind: str | None = None, ttl: timedelta | None = None, overwrite: bool = True
    ) -> None:
        """Store *value*; kind is STRING NUMBER BOOLEAN DATETIME DATE DURATION JSON, by the value when None.

        Raises KeyError when the key exists and overwrite is false.
        """

    def delete(self, key: str) -> bool:
        """Remove the key; True when it was there."""

    def keys(self, prefix: str = "") -> list[str]:
        """Return the live keys with *prefix*, sorted."""


class Files(Protocol):
    """Internal storage as one run sees it: its own files, those of its namespace, and what the rules allow."""

    def put(self, name: str, content: bytes | BinaryIO | Path) -> str:
        """Store a file of this task run under *name*; return its ``kestra:///`` URI. Streams are copied by chunks."""

    def open(self, uri: str) -> BinaryIO:
        """Open a ``kestra:///`` or ``nsfile://`` URI for reading. Raises TaskFailure when absent or not allowed."""

    def readable(self, uri: str) -> str:
        """Return the ``kestra:///`` URI of what *uri* names. Raises TaskFailure when it may not be read."""

    def size(self, uri: str) -> int: ...
    def exists(self, uri: str) -> bool: ...
    def delete(self, uri: str) -> bool:
        """Remove the file; True when it was there."""

    def purge_execution(self) -> list[str]:
        """Remove every file of this execution; return their URIs."""

    def namespace_files(self, namespace: str) -> list[str]:
        """Return the paths (without leading slash) of the files of *namespace*, sorted."""

    def put_namespace_file(self, namespace: str, path: str, content: bytes | BinaryIO | Path) -> str:
        """Store a namespace file; return its ``kestra:///`` URI."""

    def delete_namespace_file(self, namespace: str, path: str) -> bool: ...

    def open_cache(self, key: str | None = None, max_age: timedelta | None = None) -> BinaryIO | None:
        """Open what the task last cached under *key* in any execution of its flow; None when absent or older."""

    def put_cache(self, content: Path, key: str | None = None) -> str:
        """Keep *content* for later executions of the task under *key*; return its URI."""


@dataclass(frozen=True, slots=True)
class FoundExecution:
    """An execution, as a task sees others."""

    id: str
    namespace: str
    flow_id: str
    state: State
    start: datetime
    end: datetime | None
    is_over: bool
    """Nothing is left to do in it, afterExecution included."""


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line of an execution's log."""

    namespace: str
    flow_id: str
    execution_id: str
    task_id: str | None
    task_run_id: str | None
    attempt: int | None
    timestamp: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Purged:
    """What went with an execution."""

    logs: int
    metrics: int
    files: int


class Platform(Protocol):
    """Other executions and flows, those that the task's namespace may reach. Raises TaskFailure for the rest."""

    def executions(
        self,
        *,
        namespace: str | None = None,
        flow_id: str | None = None,
        states: Sequence[State] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[FoundExecution]:
        """Yield executions that began between *start* and *end*, the newest first.

        namespace matches it and everything below it.
        """

    def resume(self, execution_id: str, inputs: Mapping[str, Any] | None = None, *, again: bool = False) -> None:
        """Have a paused execution go on, with the inputs that its Pause asks for.

        again: it may have been done before; one that is not paused any more is left as it is.
        """

    def kill(self, execution_id: str, *, cascade: bool = True, again: bool = False) -> None:
        """Have an execution killed, and with *cascade* those it has started.

        again: it may have been done before; one that is killed is left as it is.
        """

    def purge(
        self,
        execution_id: str,
        *,
        execution: bool = True,
        logs: bool = True,
        metrics: bool = True,
        storage: bool = True,
    ) -> Purged | None:
        """Remove an execution, or parts of what it left; None, and nothing done, when it goes on or is not there."""

    def logs(self, execution_id: str, *, level: str = "TRACE", task_ids: Sequence[str] = ()) -> Iterator[FoundLine]:
        """Yield the log lines of an execution from *level* up, by time."""

    def purge_logs(
        self,
        execution_id: str,
        *,
        levels: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """Remove log lines of an execution (of these levels; between the dates) and return how many."""

    def switch_trigger(self, namespace: str, flow_id: str, trigger_id: str, *, enabled: bool) -> None:
        """Switch a trigger of a flow on or off; stored when this returns."""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """Which addresses the platform's own HTTP tasks may call, checked for every connection (redirects too)."""

    allow_loopback: bool = True
    """127.0.0.0/8 and ::1; a laptop's own services."""
    allow_link_local: bool = True
    """169.254.0.0/16 and fe80::/10; in a cloud, its metadata and credentials."""
    refused_hosts: frozenset[str] = frozenset()
    """Names refused whatever they resolve to: the platform's own endpoints."""


class PackageShare(Protocol):
    """Where machines share the packages they have installed, each set as an archive under its key."""

    def fetch(self, key: str, archive: Path) -> bool:
        """Write what is kept under *key* to *archive*; False when there is nothing, or it cannot be had."""

    def keep(self, key: str, archive: Path) -> None:
        """Keep *archive* under *key*; what fails is nobody's loss."""


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """Where people's code may run on this machine, and how what outlives the engine is found again."""

    docker: bool = True
    """False: what asks for a container runs as a process, with a warning in its log."""
    volumes: bool = False
    """Whether a task may mount folders of the machine that its Docker engine runs on."""
    owner: str = ""
    """What containers are labelled with; the next start of this engine ends those it finds with it."""
    note_engine: Callable[[str], None] = lambda _url: None
    """Keeps where a Docker engine is about to be used, for the next start to look there."""
    packages: Path | None = None
    """Where packages are kept that scripts ask for; in the user's cache when None."""
    share: PackageShare | None = None
    """Where those of other machines are."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> CodePolicy:
        """Return what *environment* says."""
        return cls(volumes=environment.get("HEADRACE_DOCKER_VOLUMES", "").lower() == "true")


class RunContext(InlineContext, Protocol):
    """What a light or dispatched task may use besides: files, the KV store, a working directory."""

    @property
    def repeats(self) -> bool:
        """True when the attempt before this one was lost: what it did may be done already."""

    @property
    def mask(self) -> Callable[[str], str]:
        """Return a text with the secrets of the run replaced: for what would be stored, or shown."""

    @property
    def files(self) -> Files: ...

    def kv(self, namespace: str | None = None) -> NamespaceStore:
        """The store of *namespace* (the flow's own when None)."""

    @property
    def platform(self) -> Platform:
        """Other executions."""

    @property
    def working_dir(self) -> Path:
        """The attempt's own empty directory, made on first use and removed afterwards.

        Inside a WorkingDirectory it is the shared one of all its tasks.
        """

    @property
    def network(self) -> NetworkPolicy:
        """What an HTTP task may connect to."""

    @property
    def code(self) -> CodePolicy:
        """Where people's code may run."""

    def encrypt(self, text: str) -> dict[str, str]:
        """Return *text* in the shape of an encrypted output (reference §12). Raises TaskFailure without a key."""

    @property
    def timeout(self) -> timedelta | None: ...

    @property
    def placement(self) -> Mapping[str, Any]:
        """Where the platform has the attempt run, and why; empty where there was nothing to choose."""

    def granted(self) -> Mapping[str, str]:
        """Return the environment variables with which people's code uses the rights that the platform gives it.

        Those are the temporary credentials of the attempt's role; empty without one. Raises TaskFailure when they
        cannot be had.
        """

    @property
    def stopping(self) -> bool:
        """True once the attempt was asked to stop (kill or timeout)."""

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have *callback* called, from another thread, when the attempt is asked to stop."""

    def record_process_group(self, process_group: int) -> None:
        """Tell the platform which process group this attempt runs in, before its code starts.

        After a crash of the engine the group is ended before the attempt is tried again.
        """


class Task(Properties):
    """Base of every task type. The common properties (reference §2.1) are declared in headrace_engine.language."""

    TYPE: ClassVar[str]
    KIND: ClassVar[Kind]
    ALIASES: ClassVar[tuple[str, ...]] = ()
    """Old and 2.0 names that resolve to TYPE."""
    DEPRECATED: ClassVar[str | None] = None
    """What to write instead."""
    UNSUPPORTED: ClassVar[str | None] = None
    """Why this version refuses to run the type, though it parses it."""
    INTERNAL: ClassVar[bool] = False
    """True for a type that only the platform itself uses: no flow can name it."""

    @classmethod
    def unsupported_use(cls, properties: Mapping[str, Any]) -> str | None:
        """Return why this version refuses to run a task with these (unrendered) properties, or None."""
        del properties
        return cls.UNSUPPORTED


class RunnableTask(Task):
    """Base of a task type that does work. The instance's fields are rendered and validated when ``run`` is called."""

    Outputs: ClassVar[type[TaskOutputs]] = TaskOutputs
    RENDERS: ClassVar[tuple[str, ...]] = ()
    """Roots of the expression context (``taskrun``) that the task's own code names in ``context.render``."""
    RUNS_CODE: ClassVar[bool] = False
    """Runs code of the flow's author: on AWS apart from the platform's own (DESIGN §6)."""
    ASKS_FOR_WORKER: ClassVar[str] = ""
    """LIGHT: what to write so that kind_of says DISPATCHED; told when the executor's time ran out."""

    def run(self, context: Any) -> TaskOutputs | None:
        """Do the work and return the outputs.

        context is an InlineContext (KIND INLINE) or a RunContext (LIGHT, DISPATCHED). Raises TaskFailure
        for a failure with a message of its own; any other exception fails the task run too, as its text.
        """
        raise NotImplementedError

    @classmethod
    def kind_of(cls, properties: Mapping[str, Any]) -> Kind:
        """Return where a task with these (unrendered) properties runs: KIND, or DISPATCHED when they ask for more."""
        del properties
        return cls.KIND


class SleepingTask(RunnableTask):
    """Base of a task type that only waits for its ``duration``: the engine sets a timer and never calls ``run``."""

    KIND: ClassVar[Kind] = Kind.SLEEP

    duration: IsoDuration


class TaskRunnerProperties(Properties):
    """Base of a task runner's properties (``taskRunner:``); the runner itself lives in headrace_runners."""

    TYPE: ClassVar[str]
    ALIASES: ClassVar[tuple[str, ...]] = ()
    UNSUPPORTED: ClassVar[str | None] = None

    @classmethod
    def resubmits(cls, _given: Mapping[str, Any]) -> int | None:
        """Return how often in a row a lost attempt begins again, as *_given* properties say; None if they do not."""
        return None


def iterate_plugins(module: Any) -> Iterator[type[Task] | type[TaskRunnerProperties]]:
    """Yield the concrete plugin classes (those with a TYPE of their own) that *module* defines, re-exports or lists."""
    yield from present_types(module)
    for place in sorted(set(listed_types(module).values())):
        yield from present_types(import_module(place))


def present_types(module: Any) -> Iterator[type[Task] | type[TaskRunnerProperties]]:
    """Yield the concrete plugin classes that *module* defines or re-exports."""
    for name in sorted(vars(module)):
        value = vars(module)[name]
        if isinstance(value, type) and issubclass(value, Task | TaskRunnerProperties) and "TYPE" in vars(value):
            yield value


def listed_types(module: Any) -> dict[str, str]:
    """Return the module of each type, by all its names, that *module* lists in HEADRACE_TYPES, if it does."""
    places: Mapping[str, Sequence[str]] = vars(module).get("HEADRACE_TYPES", {})
    return {name: place for place, names in places.items() for name in names}


WORKING_DIR_TOKEN = "@headrace-working-dir@"  # noqa: S105 - a placeholder, no secret
OUTPUT_DIR_TOKEN = "@headrace-output-dir@"  # noqa: S105 - as above
"""What ``{{ workingDir }}`` and ``{{ outputDir }}`` render to: the executor renders before a machine is chosen,
the task puts the real paths in where its code starts."""
