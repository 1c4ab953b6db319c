"""What a task runner promises to a script task, whichever machine it uses.

1. *Prepare.* The task has put every file the code needs into ``Command.directory``, a folder on this machine,
   and asked ``places`` how the code will see that folder; commands and environment name those places.
2. *Start.* ``run`` makes the folder's files visible to the code at the promised places and starts ``argv`` there with
   exactly the environment the runner gives plus ``Command.env``. Before the first line of people's code runs, whatever
   is needed to end it after a crash of the platform has been recorded with the context.
3. *Stream.* Every line of both streams is handed to ``on_line`` while the code runs, those of one stream in order,
   without its line end, at most LONGEST_LINE characters each: a longer one comes in pieces.
4. *Stop.* When the context is asked to stop, the code and all it started are ended, gently first, then by force;
   ``run`` then returns within GRACE and a little more.
5. *Collect.* When ``run`` returns, nothing of the code runs any more, every line was handed over, and what it left
   in the folder lies in ``Command.directory``.
6. *Exit code.* ``run`` returns the code's own exit code, 128 + n when signal n ended it. It raises TaskFailure only
   when the code could not be started, with what the flow's author can do about it.

headrace_runners.testing holds the suite that every runner passes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class Places:
    """Where the code finds its folders, as it must spell them."""

    working_dir: str
    output_dir: str


@dataclass(frozen=True, slots=True)
class Command:
    """What to run."""

    argv: Sequence[str]
    directory: Path
    """The folder on this machine that is the code's working directory."""
    env: Mapping[str, str] = field(default_factory=dict)


class TaskRunner(Protocol):
    """Runs a command somewhere; see the module for what holds."""

    def places(self, directory: Path, output_directory: Path) -> Places:
        """Return how the code will see *directory* and *output_directory*, which lies inside it."""

    def executable(self, names: Sequence[str]) -> str:
        """Return how to call the first of *names* that exists where the code runs. Raises TaskFailure if none does."""

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """Run *command* to its end and return its exit code."""


class RunnerProperties(TaskRunnerProperties):
    """Base of the properties of a ``taskRunner:`` that this package knows."""

    @abstractmethod
    def runner(self) -> TaskRunner:
        """Return the runner. Raises TaskFailure when this version does not have it."""
