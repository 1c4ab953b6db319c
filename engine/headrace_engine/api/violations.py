"""What is to be said of flows, templates, tasks and triggers that somebody has checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict

from headrace_engine.language import FlowError, Problem
from headrace_engine.language.source import split

_DEPRECATED = re.compile(r" is deprecated: | is the old name of ")


class Violation(TypedDict):
    """What is to be said of one flow, task or trigger of a source; constraints is absent when nothing is wrong."""

    index: int
    flow: NotRequired[str]
    namespace: NotRequired[str]
    constraints: NotRequired[str]
    outdated: bool
    deprecationPaths: list[str]
    warnings: list[str]
    infos: list[str]


Check = Callable[[int, str, str], Violation]
"""Says what is wrong with a document, given its number, its text, and its text at its own lines of the body."""


def violations(body: str, check: Check) -> list[Violation]:
    """Return what *check* says of each document of a body; a body that is no YAML is one that is wrong."""
    try:
        documents = split(body) or [(0, "")]
    except FlowError as error:
        return [violation_of(0, error.problems, ())]
    return [check(index, text, "\n" * before + text) for index, (before, text) in enumerate(documents)]


def violation_of(index: int, errors: Sequence[Problem], warnings: Sequence[Problem]) -> Violation:
    """Return what is said of one of them."""
    old = [each for each in warnings if _DEPRECATED.search(each.message)]
    violation: Violation = {
        "index": index,
        "outdated": False,
        "deprecationPaths": list(dict.fromkeys(each.path for each in old)),
        "warnings": [_told(each) for each in warnings],
        "infos": [],
    }
    if errors:
        violation["constraints"] = "\n".join(map(_told, errors))
    return violation


def _told(problem: Problem) -> str:
    """Return what is wrong, with its place."""
    where = f"line {problem.line}, column {problem.column}"
    return f"{where}: {problem.path}: {problem.message}" if problem.path else f"{where}: {problem.message}"
