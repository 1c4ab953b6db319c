"""What all script tasks share: their properties, and the way from them to a command, its run, and its outputs."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import (
    OUTPUT_DIR_TOKEN,
    WORKING_DIR_TOKEN,
    Rendering,
    RunContext,
    RunnableTask,
    TaskFailure,
    TaskOutputs,
)
from headrace_runners.contract import Command, Places, Stream, TaskRunner
from headrace_runners.process import Process
from headrace_runners.unavailable import AwsBatch, Docker, EcsFargate, Kubernetes
from headrace_tasks.script_output import ScriptOutput
from headrace_tasks.streams import copy
from headrace_tasks.task_files import (
    OWN,
    NamespaceFiles,
    collect_files,
    place_files,
    place_namespace_files,
)

_STORED_FILE = re.compile(r"kestra:///[\w%.+~#=/@-]+")
_LONGEST_ARGUMENT = 100 * 1024
"""Linux takes 128 KiB; longer commands are read from a file."""
_POSIX_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})
_NO_CONTAINERS = (
    "{property} asks for a container, and this version runs scripts as processes only. Either remove it, or say "
    "`taskRunner: {{type: io.kestra.plugin.core.runner.Process}}`: the script then runs with what is installed where "
    "Headrace runs"
)

Runner = Annotated[Process | Docker | AwsBatch | EcsFargate | Kubernetes, Field(discriminator="type")]


class ScriptOutputs(TaskOutputs):
    """What a script task gives."""

    exit_code: int
    output_files: dict[str, str]
    vars: dict[str, Any]
    std_out_line_count: int
    std_err_line_count: int
    warning_on_std_err: bool | None = None
    task_runner: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folders of a run, and how its code sees them."""

    runner: TaskRunner
    directory: Path
    output_directory: Path
    places: Places
    own: str
    """What names of files that Headrace itself puts there begin with; different in every attempt."""


class ScriptTask(RunnableTask):
    """Base of the script tasks."""

    KIND: ClassVar[Kind] = Kind.DISPATCHED
    RUNS_CODE: ClassVar[bool] = True
    Outputs: ClassVar[type[TaskOutputs]] = ScriptOutputs

    before_commands: list[str] = Field(
        default_factory=list, description="Commands to run first, in the same shell: `pip install …`."
    )
    interpreter: list[str] = Field(
        default_factory=lambda: ["/bin/sh", "-c"], min_length=1, description="What the commands are handed to."
    )
    fail_fast: bool = Field(default=True, description="Whether the first command that fails ends the task (`set -e`).")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables by name.")
    input_files: dict[str, Any] = Field(
        default_factory=dict, description="Content, or URI of a stored file, by the name it gets."
    )
    namespace_files: NamespaceFiles | None = Field(None, description="Namespace files to put in place.")
    output_files: list[str] = Field(
        default_factory=list, description="Names or patterns of the files in the working directory to store."
    )
    output_directory: bool = Field(
        default=False, description="Deprecated: there always is a directory `{{ outputDir }}`, and it is always stored."
    )
    task_runner: Runner | None = Field(None, description="Where the script runs; as a process if left out.")
    container_image: str | None = Field(None, description="The image, for a task runner that uses containers.")
    docker: Annotated[dict[str, Any] | None, Rendering.STATIC] = Field(
        None, description="Deprecated: use `taskRunner`."
    )
    runner: Annotated[Literal["PROCESS", "DOCKER"] | None, Rendering.STATIC] = Field(
        None, description="Deprecated: use `taskRunner`."
    )
    target_os: Literal["AUTO", "LINUX", "WINDOWS"] = Field("AUTO", alias="targetOS", description="AUTO or LINUX.")
    warning_on_std_err: bool | None = Field(
        None, description="Without effect since Kestra 0.23: lines on standard error are logged at ERROR."
    )

    @abstractmethod
    def command_lines(self, place: Workplace) -> list[str]:
        """Return what to run after beforeCommands, as lines for the interpreter."""

    def prepare(self, context: RunContext, place: Workplace) -> None:
        """Put what the command lines need beside the task's other files."""

    def environment(self) -> dict[str, str]:
        """Return variables that the kind of script wants; ``env`` overrides them."""
        return {}

    @classmethod
    def unsupported_use(cls, properties: Mapping[str, Any]) -> str | None:
        """Refuse containers and other machines that this version does not have."""
        return _unsupported(properties)

    def run(self, context: RunContext) -> ScriptOutputs:
        """Prepare the files, run the commands, store what they left."""
        refusal = _unsupported(self.model_dump(by_alias=True, exclude_none=True, include=_REFUSABLE))
        if refusal is not None:
            raise TaskFailure(refusal)
        runner = (self.task_runner or Process()).runner()
        own = f"{OWN}-{context.task_run_id}-{context.attempt}"
        directory = context.working_dir
        output_directory = directory / f"{own}-out"
        output_directory.mkdir(parents=True, exist_ok=True)
        places = runner.places(directory, output_directory)
        place = Workplace(runner, directory, output_directory, places, own)
        place_namespace_files(context, self.namespace_files)
        place_files(context, self._at(context, place, self.input_files, copy_files=False))
        self.prepare(context, place)
        command = self._command(context, place)
        output = ScriptOutput(context)
        exit_code = runner.run(command, context, output.line)
        output.finish()
        if exit_code != 0:
            raise TaskFailure(
                f"Command failed with exit code {exit_code}", self._outputs(exit_code, output, output_files={})
            )
        files = collect_files(context, self._at(context, place, self.output_files, copy_files=False))
        files |= _collect_all(context, output_directory)
        return self._outputs(exit_code, output, output_files=files)

    def _outputs(self, exit_code: int, output: ScriptOutput, output_files: dict[str, str]) -> ScriptOutputs:
        return ScriptOutputs(
            exit_code=exit_code,
            output_files=output_files,
            vars=output.outputs,
            std_out_line_count=output.counts[Stream.STDOUT],
            std_err_line_count=output.counts[Stream.STDERR],
        )

    def _command(self, context: RunContext, place: Workplace) -> Command:
        lines = [*self.before_commands, *self.command_lines(place)]
        shell = Path(self.interpreter[0]).name
        if self.fail_fast and shell in _POSIX_SHELLS:
            lines.insert(0, "set -e")
        text = self._at(context, place, "\n".join(lines))
        if len(text.encode()) > _LONGEST_ARGUMENT and shell in _POSIX_SHELLS:
            name = f"{place.own}-commands"
            (place.directory / name).write_text(text, encoding="utf-8")
            text = f". ./{name}"
        environment = {
            "WORKING_DIR": place.places.working_dir,
            "OUTPUT_DIR": place.places.output_dir,
            **self.environment(),
            **self._at(context, place, self.env),
        }
        return Command([*self.interpreter, text], place.directory, environment)

    def _at(self, context: RunContext, place: Workplace, value: Any, *, copy_files: bool = True) -> Any:
        """Return *value* with this run's paths in it: of its folders, and of local copies of stored files it names."""
        if isinstance(value, str):
            if "@headrace-" in value:
                value = value.replace(WORKING_DIR_TOKEN, place.places.working_dir)
                value = value.replace(OUTPUT_DIR_TOKEN, place.places.output_dir)
            if copy_files and "kestra:///" in value:
                value = _STORED_FILE.sub(lambda match: _local_copy(context, place, match[0]), value)
            return value
        if isinstance(value, Mapping):
            return {key: self._at(context, place, item, copy_files=copy_files) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self._at(context, place, item, copy_files=copy_files) for item in value]
        return value

    def write_script(self, context: RunContext, place: Workplace, text: str, extension: str) -> str:
        """Write *text* beside the other files, so that it can import them; return the name."""
        name = f"{place.own}{extension}"
        (place.directory / name).write_text(self._at(context, place, text), encoding="utf-8", newline="")
        return name


_REFUSABLE = {"task_runner", "container_image", "docker", "runner", "target_os"}


def _unsupported(properties: Mapping[str, Any]) -> str | None:
    given = properties.get("taskRunner")
    kind = given.get("type") if isinstance(given, Mapping) else None
    for known in (Docker, AwsBatch, EcsFargate, Kubernetes):
        if kind in (known.TYPE, *known.ALIASES):
            return known.UNSUPPORTED
    if given is None and properties.get("runner") != "PROCESS":
        for name in ("runner", "docker", "containerImage"):
            if properties.get(name) is not None:
                return _NO_CONTAINERS.format(property=f"`{name}`")
    if properties.get("targetOS") == "WINDOWS":
        return "`targetOS: WINDOWS` asks for a Windows machine, and Headrace runs on Linux and macOS only"
    return None


def _local_copy(context: RunContext, place: Workplace, uri: str) -> str:
    digest = hashlib.blake2b(uri.encode(), digest_size=6).hexdigest()
    name = f"{place.own}-in/{digest}-{uri.rpartition('/')[2]}"
    target = place.directory / name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with context.files.open(uri) as stream:
            copy(stream, target)
    return f"{place.places.working_dir}/{name}"


def _collect_all(context: RunContext, folder: Path) -> dict[str, str]:
    if not any(folder.iterdir()):
        return {}
    return collect_files(context, ["**"], folder)
