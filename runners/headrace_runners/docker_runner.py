"""Runs a command in a container of a Docker engine.

The container has a folder of its own name for the working directory. With VOLUME the files are streamed into a volume
that goes with the container, and back when it has ended, so that the engine may be on another machine; with MOUNT the
engine mounts the folder of this machine. The container's first process is the engine's ``init``, which hands signals to
all of the code and reaps what it leaves.

Every container carries labels: whose it is, and which attempt it runs. The next start of an engine that was killed
removes those it finds (`remove_left`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import AttemptLostError, RunContext, TaskFailure
from headrace_runners.archives import pack, unpack
from headrace_runners.contract import GRACE, Command, OnLine, Site, Stream
from headrace_runners.docker_engine import Address, DockerEngine, EngineError, EngineGoneError
from headrace_runners.lines import Lines

OWNER_LABEL = "io.headrace.owner"
ATTEMPT_LABEL = "io.headrace.attempt"
_WORK = "wd"
_NOT_FOUND = 404
_STOPPED = 128 + 15
"""What code returns that never began, because it was asked to stop before."""
_NO_ENGINE = (
    "There is no Docker engine at {url} ({why}). Start one, or name it with `host` of the task runner or DOCKER_HOST; "
    "or run the script as a process of this machine: write "
    "`taskRunner: {{type: io.kestra.plugin.core.runner.Process}}`, or start Headrace with `--no-docker`"
)


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """How containers are made."""

    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Of the container, as the engine's API has it."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """Its ``HostConfig``."""
    pull: Literal["IF_NOT_PRESENT", "ALWAYS", "NEVER"] = "IF_NOT_PRESENT"
    credentials: Callable[[], Mapping[str, str]] = dict
    """For the image's registry, as the engine's API has them."""
    files: Literal["VOLUME", "MOUNT"] = "VOLUME"
    wait: bool = True
    delete: bool = True


class DockerRunner:
    """Implements contract.TaskRunner with containers; one runner for one run."""

    def __init__(
        self,
        address: Address,
        options: ContainerOptions,
        name: str,
        *,
        grace: float = GRACE.total_seconds(),
        connect: Callable[[Address], DockerEngine] = DockerEngine,
    ) -> None:
        """Take where the engine listens, how containers are made, and a name that no other run has.

        grace is how many seconds pass between SIGTERM and SIGKILL; connect makes a client of the engine.
        """
        self._connect = connect
        self._address = address
        self._options = options
        self._folder = f"/tmp/headrace-{name}"  # noqa: S108 - in the container
        self._grace = grace

    def site(self, directory: Path) -> Site:
        """Return the folder in the container; which programs the image has nobody knows yet."""
        del directory
        return Site(f"{self._folder}/{_WORK}")

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """Run *command* in a container that is gone afterwards."""
        if not command.image:
            raise TaskFailure("A container needs an image: name one with `containerImage`")
        context.code.note_engine(self._address.url)
        try:
            prepared = _Run(partial(self._connect, self._address), self._options, self._folder, self._grace)
        except EngineGoneError as gone:
            raise TaskFailure(_NO_ENGINE.format(url=self._address.url, why=gone)) from None
        with prepared as run:
            context.on_stop(run.stop)
            try:
                return run.carry_out(command, context, on_line)
            except EngineGoneError as gone:
                if run.is_stopping:
                    return _STOPPED
                if not run.met_engine:
                    raise TaskFailure(_NO_ENGINE.format(url=self._address.url, why=gone)) from None
                raise AttemptLostError(f"The Docker engine at {self._address.url} went away: {gone}") from gone
            except EngineError as refused:
                if run.is_stopping:
                    return _STOPPED
                if run.container is not None and refused.status == _NOT_FOUND:
                    raise AttemptLostError(f"The container went away: {refused}") from refused
                raise TaskFailure(f"The Docker engine refuses: {refused}") from None


class _Run:
    """One run. What it has made is removed when its block is left."""

    def __init__(
        self, connect: Callable[[], DockerEngine], options: ContainerOptions, folder: str, grace: float
    ) -> None:
        self.container: str | None = None
        self.is_stopping = False
        self._connect = connect
        self._options = options
        self._folder = folder
        self._grace = grace
        self._engine = connect()
        self._may_run = False
        """Whether the code may have begun, and has not ended as far as is known."""
        self._may_cut = True
        """Whether what is under way may be cut short without leaving something behind."""
        self._labels: dict[str, str] = {}
        """Of the container, once it may be there."""
        self._lock = threading.Lock()
        self._force: threading.Timer | None = None
        self._leave = False

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.__exit__()
        if self._force is not None:
            self._force.cancel()
        if self._labels and not self._leave:
            # Over a connection of its own: the other one may have been cut.
            with suppress(EngineError, EngineGoneError), self._connect() as engine:
                for container in self._left(engine):
                    engine.remove(container)

    def _left(self, engine: DockerEngine) -> list[str]:
        """Return the container; one whose creation was asked for and never confirmed is looked for."""
        if self.container is not None:
            return [self.container]
        return engine.containers_with([f"{ATTEMPT_LABEL}={self._labels[ATTEMPT_LABEL]}"])

    @property
    def met_engine(self) -> bool:
        """Whether the engine was there at first."""
        return self._engine.has_answered

    def stop(self) -> None:
        """End the code gently and then by force, or whatever comes before and after it at once; any thread may call."""
        with self._lock:
            self.is_stopping = True
            gently, may_cut = self._may_run, self._may_cut
        if gently:
            self._end_code()
        elif may_cut:
            self._engine.interrupt()

    def carry_out(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """Run the command; return its exit code. Raises EngineError and EngineGoneError, also because of a stop."""
        self._provide(command.image, context)
        engine, options = self._engine, self._options
        container = self._create(command, context)
        if options.files == "VOLUME":
            engine.put_files(container, self._folder, pack(command.directory, _WORK))
        else:
            command.directory.chmod(0o777)
        if not options.wait:
            return self._let_go(container, context)
        with engine.attached(container) as pieces:
            self._start(container)
            _hand_over(pieces, on_line)
        code = engine.wait(container)
        with self._lock:
            self._may_run = False
            if self._force is not None:
                self._force.cancel()
            if self.is_stopping:
                return code or _STOPPED
        if options.files == "VOLUME":
            with engine.get_files(container, f"{self._folder}/{_WORK}") as archive:
                unpack(archive, command.directory)
        return code

    def _provide(self, image: str, context: RunContext) -> None:
        """Have the image there, as the pull policy has it."""
        options = self._options
        if options.pull == "NEVER" or (options.pull == "IF_NOT_PRESENT" and self._engine.has_image(image)):
            return
        context.log.debug(f"Pulling the image {image}")
        try:
            self._engine.pull(image, options.credentials())
        except EngineError as refused:
            raise TaskFailure(f"The image `{image}` cannot be pulled: {refused}") from None

    def _create(self, command: Command, context: RunContext) -> str:
        configuration = self._configuration(command, context)
        with self._lock:
            self._refuse_when_stopping()
            self._may_cut = False
            self._labels = configuration["Labels"]
        self.container = self._engine.create(configuration)
        with self._lock:
            self._may_cut = True
            self._refuse_when_stopping()
        return self.container

    def _start(self, container: str) -> None:
        with self._lock:
            self._refuse_when_stopping()
            self._may_run = True
        self._engine.start(container)
        if self.is_stopping:
            self._end_code()  # a stop that came while it started met a container that did not run yet

    def _refuse_when_stopping(self) -> None:
        if self.is_stopping:
            raise EngineGoneError("The attempt was stopped")

    def _let_go(self, container: str, context: RunContext) -> int:
        """Start the container and leave it to itself."""
        self._engine.start(container)
        self._leave = True
        context.log.debug(f"Started the container {container[:12]} and does not wait for it")
        return 0

    def _end_code(self) -> None:
        container = self.container
        if container is None:
            return
        self._kill(container, "SIGTERM")
        with self._lock:
            if self._force is None and self._may_run:
                self._force = threading.Timer(self._grace, self._kill, (container, "SIGKILL"))
                self._force.daemon = True
                self._force.start()

    def _kill(self, container: str, signal: str) -> None:
        with suppress(EngineError, EngineGoneError), self._connect() as engine:
            engine.kill(container, signal)

    def _configuration(self, command: Command, context: RunContext) -> dict[str, Any]:
        options = self._options
        labels = {ATTEMPT_LABEL: f"{context.execution_id}/{context.task_run_id}/{context.attempt}"}
        if context.code.owner and options.wait:
            labels[OWNER_LABEL] = context.code.owner
        mount: dict[str, Any] = {"Type": "volume", "Target": self._folder}
        if options.files == "MOUNT":
            mount = {"Type": "bind", "Source": str(command.directory), "Target": f"{self._folder}/{_WORK}"}
        return {
            **options.configuration,
            "Image": command.image,
            "Cmd": list(command.argv),
            # init signals all of the code, as a terminal would, instead of the shell alone.
            "Env": [f"{name}={value}" for name, value in {"TINI_KILL_PROCESS_GROUP": "1", **command.env}.items()],
            "WorkingDir": f"{self._folder}/{_WORK}",
            "Labels": labels,
            "HostConfig": {
                "Init": True,
                **options.host,
                "Mounts": [mount],
                **({"AutoRemove": True} if options.delete and not options.wait else {}),
            },
        }


def _hand_over(pieces: Iterator[tuple[Stream, bytes]], on_line: OnLine) -> None:
    lines = {stream: Lines(stream, on_line) for stream in Stream}
    for stream, piece in pieces:
        lines[stream].feed(piece)
    for each in lines.values():
        each.end()


def remove_left(addresses: Sequence[Address], owner: str) -> int:
    """Remove the containers that an engine which died had started; return how many there were.

    An engine that cannot be reached now has none of them running, or keeps them: nobody else can tell.
    """
    removed = 0
    for address in addresses:
        with suppress(EngineError, EngineGoneError), DockerEngine(address) as engine:
            for container in engine.containers_with([f"{OWNER_LABEL}={owner}"]):
                engine.remove(container)
                removed += 1
    return removed
