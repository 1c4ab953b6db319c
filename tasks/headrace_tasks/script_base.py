"""What all script tasks share: their properties, and the way from them to a plan and from its run to outputs."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import (
    OUTPUT_DIR_TOKEN,
    WORKING_DIR_TOKEN,
    Rendering,
    RunContext,
    RunnableTask,
    TaskFailure,
    TaskOutputs,
)
from headrace_runners.aws_lambda import Lambda
from headrace_runners.containers.properties import Batch, Fargate
from headrace_runners.contract import PlacedFile, Plan, RunnerProperties, Site, Stream, TaskRunner
from headrace_runners.docker import Docker, DockerProperty
from headrace_runners.process import Process
from headrace_runners.unavailable import Kubernetes
from headrace_tasks.script_output import ScriptOutput
from headrace_tasks.script_run import carry_out
from headrace_tasks.task_files import OWN, NamespaceFiles, planned_files, planned_namespace_files, stored_file

_STORED_FILE = re.compile(r"kestra:///[\w%.+~#=/@-]+")
_LONGEST_ARGUMENT = 100 * 1024
"""Linux takes 128 KiB; longer commands are read from a file."""
_POSIX_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})
_POWERSHELLS = frozenset({"pwsh", "powershell"})
_STOPS_AT_ERRORS = "$ErrorActionPreference = 'Stop'; $PSNativeCommandUseErrorActionPreference = $true"
"""`set -e` of PowerShell: its own commands, and from 7.4 on programs too."""
_AS_PROCESS = (
    "The image `{image}` asks for a container, and Headrace was started with `--no-docker`: the script runs as a "
    "process of this machine, with what is installed here"
)

Runner = Annotated[Process | Lambda | Docker | Fargate | Batch | Kubernetes, Field(discriminator="type")]


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
class SetUp:
    """How a script gets what it asks for besides files."""

    lines: tuple[str, ...] = ()
    """What a shell runs before all else."""
    program: str = ""
    """How to call the program that runs the script's file; as everywhere else when empty."""


class Draft:
    """A plan in the making: names a script's files, and puts this run's own paths into texts."""

    def __init__(self, context: RunContext, site: Site) -> None:
        """Begin a plan of the attempt that *context* is of, to be carried out at *site*."""
        self.site = site
        self.own = f"{OWN}-{context.task_run_id}-{context.attempt}"
        """What names of files that Headrace itself puts there begin with; different in every attempt."""
        self.output_directory = f"{self.own}-out"
        self.set_up = SetUp()
        self.files: dict[str, PlacedFile] = {}
        """By their paths: what the script's own texts need."""
        self._context = context

    @property
    def output_dir(self) -> str:
        """The output directory, as the code spells it."""
        return f"{self.site.working_dir}/{self.output_directory}"

    def write_script(self, text: str, name: str) -> str:
        """Have *text* written beside the other files, so that it can import them; return the name, which ends so."""
        return self._add(PlacedFile(f"{self.own}{name}", content=self.at(text).encode()))

    def write(self, name: str, content: str) -> str:
        """Have a file of Headrace's own written as it is; return its name in the working directory."""
        return self._add(PlacedFile(f"{self.own}-{name}", content=content.encode()))

    def at(self, value: Any, *, copy_files: bool = True) -> Any:
        """Return *value* with this run's paths in it: of its folders, and of local copies of stored files it names."""
        if isinstance(value, str):
            if "@headrace-" in value:
                value = value.replace(WORKING_DIR_TOKEN, self.site.working_dir)
                value = value.replace(OUTPUT_DIR_TOKEN, self.output_dir)
            if copy_files and "kestra:///" in value:
                value = _STORED_FILE.sub(lambda match: self._local_copy(match[0]), value)
            return value
        if isinstance(value, Mapping):
            return {key: self.at(item, copy_files=copy_files) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self.at(item, copy_files=copy_files) for item in value]
        return value

    def _local_copy(self, uri: str) -> str:
        digest = hashlib.blake2b(uri.encode(), digest_size=6).hexdigest()
        name = f"{self.own}-in/{digest}-{uri.rpartition('/')[2]}"
        return f"{self.site.working_dir}/{self._add(stored_file(self._context, name, uri))}"

    def _add(self, file: PlacedFile) -> str:
        self.files[file.path] = file
        return file.path


class ScriptTask(RunnableTask):
    """Base of the script tasks."""

    KIND: ClassVar[Kind] = Kind.DISPATCHED
    RUNS_CODE: ClassVar[bool] = True
    Outputs: ClassVar[type[TaskOutputs]] = ScriptOutputs
    IMAGE: ClassVar[str]
    """What a container of scripts of the kind runs when none is named."""

    before_commands: list[str] = Field(
        default_factory=list, description="Commands to run first, in the same shell: `pip install …`."
    )
    interpreter: list[str] = Field(
        default_factory=lambda: ["/bin/sh", "-c"], min_length=1, description="What the commands are handed to."
    )
    fail_fast: bool = Field(default=True, description="Whether the first command that fails ends the task.")
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
    task_runner: Runner | None = Field(
        None, description="Where the script runs. If left out: in Docker when an image is named, else as a process."
    )
    container_image: str | None = Field(
        None, description="The image to run in. If left out, that of the language, for a task runner with containers."
    )
    docker: DockerProperty | None = Field(None, description="Deprecated: use `taskRunner` and `containerImage`.")
    runner: Annotated[Literal["PROCESS", "DOCKER"] | None, Rendering.STATIC] = Field(
        None, description="Deprecated: use `taskRunner`."
    )
    target_os: Literal["AUTO", "LINUX", "WINDOWS"] = Field("AUTO", alias="targetOS", description="AUTO or LINUX.")
    warning_on_std_err: bool | None = Field(
        None, description="Without effect since Kestra 0.23: lines on standard error are logged at ERROR."
    )

    @abstractmethod
    def command_lines(self, draft: Draft) -> list[str]:
        """Return what to run after beforeCommands, as lines for the interpreter; *draft* takes the files they need."""

    def environment(self) -> dict[str, str]:
        """Return variables that the kind of script wants; ``env`` overrides them."""
        return {}

    @classmethod
    def default_image(cls) -> str:
        """Return the image that a script of this kind runs in when none is named."""
        return cls.IMAGE

    @classmethod
    def unsupported_use(cls, properties: Mapping[str, Any]) -> str | None:
        """Refuse machines that there are none of."""
        return _unsupported(properties)

    def run(self, context: RunContext) -> ScriptOutputs:
        """Prepare the files, run the commands, store what they left."""
        refusal = _unsupported(self.model_dump(by_alias=True, exclude_none=True, include={"task_runner", "target_os"}))
        if refusal is not None:
            raise TaskFailure(refusal)
        chosen = self._chosen(context)
        runner = chosen.runner()
        site = runner.site(context.working_dir)
        plan = self.plan(context, site, self.setting_up(context, runner, site) if site.is_here else None)
        output = ScriptOutput(context)
        image = self._image() if chosen.NEEDS_IMAGE else ""
        exit_code, files = carry_out(plan, runner, context, output, image)
        ran_in = {"type": chosen.TYPE, "containerImage": image} if image else {"type": chosen.TYPE}
        return self.ended(exit_code, output, files, context.placement or ran_in)

    def _chosen(self, context: RunContext) -> RunnerProperties:
        """Return the task runner: the one named, else Docker for what names an image, else Process."""
        chosen = self.task_runner
        if chosen is None:
            asks = self.runner == "DOCKER" or self.docker is not None or self.container_image is not None
            chosen = Docker.of(self.docker or DockerProperty()) if asks and self.runner != "PROCESS" else Process()
        if chosen.NEEDS_IMAGE and not context.code.docker:
            context.log.warn(_AS_PROCESS.format(image=self._image()))
            return Process()
        return chosen

    def _image(self) -> str:
        return self.container_image or (self.docker and self.docker.image) or self.default_image()

    def setting_up(self, context: RunContext, runner: TaskRunner, site: Site) -> SetUp:
        """Have on this machine, which *site* is, what the script asks for besides files; return how it gets it."""
        del context, runner, site
        return SetUp()

    def setting_up_apart(self, draft: Draft) -> SetUp:
        """Return how the script gets what it asks for on a machine that is not this one."""
        del draft
        return SetUp()

    def plan(self, context: RunContext, site: Site, set_up: SetUp | None = None) -> Plan:
        """Return what is to be run, for a folder that the code finds at *site*. Nothing is copied yet.

        set_up is what `setting_up` has returned; without it the code runs on another machine.
        """
        draft = Draft(context, site)
        draft.set_up = set_up or self.setting_up_apart(draft)
        files = [
            *planned_namespace_files(context, self.namespace_files),
            *planned_files(context, draft.at(self.input_files, copy_files=False)),
        ]
        argv = self._argv(draft)
        environment = {
            "WORKING_DIR": site.working_dir,
            "OUTPUT_DIR": draft.output_dir,
            **context.granted(),
            **self.environment(),
            **draft.at(self.env),
        }
        return Plan(
            argv=argv,
            env=environment,
            files=(*files, *draft.files.values()),
            output_patterns=tuple(draft.at(self.output_files, copy_files=False)),
            output_directory=draft.output_directory,
        )

    def ended(
        self,
        exit_code: int,
        output: ScriptOutput,
        files: Mapping[str, str],
        placement: Mapping[str, Any] | None = None,
    ) -> ScriptOutputs:
        """Return the outputs of a run, the URIs of its stored files by path among them, and where it ran.

        Raises TaskFailure, with the outputs, for a code other than 0.
        """
        outputs = ScriptOutputs(
            exit_code=exit_code,
            output_files=dict(files),
            vars=output.outputs,
            std_out_line_count=output.counts[Stream.STDOUT],
            std_err_line_count=output.counts[Stream.STDERR],
            task_runner=dict(placement) if placement else None,
        )
        if exit_code != 0:
            raise TaskFailure(f"Command failed with exit code {exit_code}", outputs)
        return outputs

    def _argv(self, draft: Draft) -> tuple[str, ...]:
        lines = [*draft.set_up.lines, *self.before_commands, *self.command_lines(draft)]
        shell = Path(self.interpreter[0]).name
        if draft.set_up.lines and shell not in _POSIX_SHELLS:
            raise TaskFailure(f"Packages are installed for a shell only, and `interpreter` names {shell}")
        if self.fail_fast and shell in _POSIX_SHELLS:
            lines.insert(0, "set -e")
        if self.fail_fast and shell in _POWERSHELLS:
            lines.insert(0, _STOPS_AT_ERRORS)
        text = draft.at("\n".join(lines))
        if len(text.encode()) > _LONGEST_ARGUMENT and shell in _POSIX_SHELLS:
            text = f". ./{draft.write('commands', text)}"
        return (*self.interpreter, text)


def _unsupported(properties: Mapping[str, Any]) -> str | None:
    given = properties.get("taskRunner")
    if isinstance(given, Mapping) and given.get("type") in (Kubernetes.TYPE, *Kubernetes.ALIASES):
        return Kubernetes.UNSUPPORTED
    if properties.get("targetOS") == "WINDOWS":
        return "`targetOS: WINDOWS` asks for a Windows machine, and Headrace runs on Linux and macOS only"
    return None
