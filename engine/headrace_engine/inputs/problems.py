"""What is wrong with an input or output, in the exact words people and programs know (trap 24)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace_engine.expressions import to_text
from headrace_engine.model.frozen import dataclass

MASKED = "********"
"""What stands for a SECRET in messages and answers."""
_LONGEST = 1000
"""Characters of a value that a message repeats."""


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One input (or output) that is wrong; message is the whole sentence."""

    input_id: str
    message: str


class InputError(ValueError):
    """Some inputs cannot be taken; the text is one line for each."""

    def __init__(self, problems: Iterable[InputProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in self.problems))


class OutputError(ValueError):
    """Some outputs of the flow cannot be had; the text is one line for each. input_id holds the output's id."""

    def __init__(self, problems: Iterable[InputProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in self.problems))


class Refused(Exception):  # noqa: N818 - says why a value is not taken; always caught here and made a problem
    """A value is not of its type. reason completes "…, <reason>, but received …"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefusedItem(Refused):
    """An item of a list is not of its type: the message shows the item, not the list."""

    def __init__(self, reason: str, item: Any) -> None:
        super().__init__(reason)
        self.item = item


def input_problem(input_id: str, refused: Refused, value: Any, *, secret: bool) -> InputProblem:
    """Return the problem of an input for which *value* was given."""
    received = _received(refused, value, secret=secret)
    return InputProblem(input_id, f"Invalid input for `{input_id}`, {refused.reason}, but received `{received}`")


def output_problem(output_id: str, refused: Refused, value: Any, *, secret: bool) -> InputProblem:
    """Return the problem of an output that rendered to *value*."""
    received = _received(refused, value, secret=secret)
    cause = f"{refused.reason}, but received `{received}`"
    return InputProblem(output_id, f"Invalid value for output `{output_id}`. Cause: {cause}")


def _received(refused: Refused, value: Any, *, secret: bool) -> str:
    item = refused.item if isinstance(refused, RefusedItem) else value
    return MASKED if secret and item is not None else shown(item)


def shown(value: Any) -> str:
    """Return *value* as a message shows it: never more than a thousand characters, always printable as UTF-8."""
    if value is None:
        return "null"
    if isinstance(value, Path):
        text = value.name
    else:
        try:
            text = to_text(value)
        except ValueError:  # an ExpressionError: nothing that could be printed
            text = type(value).__name__
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return text.encode("utf-8", "replace").decode("utf-8")
