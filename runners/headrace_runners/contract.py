"""What is to be run, and what a task runner promises to run it, whichever machine it uses.

A script task says as data what is to be run: a ``Plan``, made before any file is copied, for a ``Site`` that says how
the code will see its folder. A runner of this machine is handed the plan's command when its files lie in a folder;
a runner elsewhere is handed the plan.

1. *Prepare files.* The files of the plan lie in ``Command.directory``, a folder on this machine; commands and
   environment name them as ``site`` says the code sees that folder.
2. *Start.* ``run`` makes the folder's files visible to the code there and starts ``argv`` with exactly the environment
   the runner gives plus ``Command.env``. Before the first line of people's code runs, whatever is needed to end it
   after a crash of the platform has been recorded.
3. *Stream logs.* Every line of both streams is handed to ``on_line`` while the code runs, those of one stream in
   order, without its line end, at most LONGEST_LINE characters each: a longer one comes in pieces.
4. *Report progress.* What the runner itself does and what may take long (an image pulled, files copied) is a line of
   the task run's log before it begins.
5. *Stop.* When the context is asked to stop, whatever the runner is at, the code and all it started are ended, gently
   first, then by force; ``run`` then returns within GRACE and a little more.
6. *Collect outputs and files.* When ``run`` returns, nothing of the code runs any more, every line was handed over,
   and what it left in the folder lies in ``Command.directory``.
7. *Exit code.* ``run`` returns the code's own exit code, 128 + n when signal n ended it. It raises TaskFailure only
   when the code could not be started, with what the flow's author can do about it.

headrace_runners.testing holds the suite that every runner passes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import RunContext, TaskRunnerProperties

LONGEST_LINE = 64 * 1024
GRACE = timedelta(seconds=5)
"""How long code that was asked to end may clean up."""


class Stream(StrEnum):
    """Where a line was written."""

    STDOUT = "stdout"
    STDERR = "stderr"


class OnLine(Protocol):
    """Takes each line the code writes."""

    def __call__(self, stream: Stream, line: str) -> None: ...


IfExists = Literal["OVERWRITE", "FAIL", "WARN", "IGNORE"]
"""What happens when a file that is to be placed is there already."""


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file that lies in the working directory before the code starts: its content, or where it is stored."""

    path: str
    """Relative to the working directory, and never out of it."""
    content: bytes | None = None
    uri: str | None = None
    """Of internal storage (``kestra:///…``), which the attempt may read: fetched by whoever places it. On the engine's
    own machine also ``file:///…``."""
    if_exists: IfExists = "OVERWRITE"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run. Files are placed in their order; later ones meet earlier ones of their name."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    """With secrets opened: it stays in memory."""
    files: tuple[PlacedFile, ...] = field(repr=False)
    output_patterns: tuple[str, ...] = ()
    """Which files of the working directory are stored when the code has succeeded."""
    output_directory: str = ""
    """A folder, relative to the working directory, that exists before the code starts and all of which is stored."""


def first(names: Sequence[str]) -> str:
    """Return the first of *names*."""
    return names[0]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a plan will be carried out, as far as making it must know."""

    working_dir: str
    """The working directory, as the code spells it."""
    executable: Callable[[Sequence[str]], str] = first
    """Tells how to call the first of these programs that exists there. Raises TaskFailure if it is known that none
    does."""
    is_here: bool = False
    """Whether the code runs on this machine, with its programs and files."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run."""

    argv: Sequence[str]
    directory: Path
    """The folder on this machine that is the code's working directory."""
    env: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """For a runner that uses containers."""


class TaskRunner(Protocol):
    """Runs a command somewhere; see the module for what holds."""

    def site(self, directory: Path) -> Site:
        """Return how the code will see *directory*."""

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """Run *command* to its end and return its exit code."""


class RunnerProperties(TaskRunnerProperties):
    """Base of the properties of a ``taskRunner:`` that this package knows."""

    NEEDS_IMAGE: ClassVar[bool] = False
    """Whether it runs containers of this machine."""
    IN_THE_CLOUD: ClassVar[bool] = False
    """Whether it runs on a stack on AWS only; `runner` then says so."""

    @abstractmethod
    def runner(self) -> TaskRunner:
        """Return the runner. Raises TaskFailure when this version does not have it."""
