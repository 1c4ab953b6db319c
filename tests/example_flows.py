"""Reads what an example says of itself: the comment at the top of each file in ``examples/``.

The comment's first paragraph is a sentence for people. What follows the first empty comment line is YAML:

    run      the arguments of ``headrace run`` after the file, as typed in the checkout's top folder
    expect   the state in which the execution ends
    tasks    task id to the state of its task run, or to the list of states when it has several;
             what is not listed has no task run
    outputs  the outputs of the flow, in full
    log      messages that are in the log, in this order among others
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / "examples"


@dataclass(frozen=True)
class Example:
    """An example flow and its expected outcome."""

    path: Path
    sentence: str
    arguments: tuple[str, ...]
    """What follows the file's name on the command line."""
    state: str
    tasks: dict[str, list[str]] = field(default_factory=dict)
    """The states of each task's task runs, sorted."""
    outputs: dict[str, Any] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """What ``headrace run`` ends with."""
        return 0 if self.state in ("SUCCESS", "WARNING") else 1


def read_example(path: Path) -> Example:
    """Return what the comment at the top of *path* says. Raises ValueError when it says something else."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    if "" not in lines:
        raise ValueError(f"{path.name}: no empty comment line between the sentence and the expected outcome")
    said = yaml.safe_load("\n".join(lines[lines.index("") :]))
    if not isinstance(said, dict) or "expect" not in said:
        raise ValueError(f"{path.name}: the comment does not say `expect:`")
    if unknown := set(said) - {"run", "expect", "tasks", "outputs", "log"}:
        raise ValueError(f"{path.name}: the comment has unknown words: {', '.join(sorted(unknown))}")
    return Example(
        path=path,
        sentence=" ".join(lines[: lines.index("")]),
        arguments=tuple(shlex.split(said.get("run", ""))),
        state=said["expect"],
        tasks={
            task: sorted(states) if isinstance(states, list) else [states]
            for task, states in said.get("tasks", {}).items()
        },
        outputs=said.get("outputs"),
        log=said.get("log", []),
    )


def all_examples() -> list[Example]:
    """Return every example, by file name."""
    return [read_example(path) for path in sorted(FOLDER.glob("*.yaml"))]
