"""Gathers what is found wrong with one source, and places it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from headrace_engine.language.nodes import Entries, Node, Scalar
from headrace_engine.language.problems import Path, Problem, format_path
from headrace_engine.language.yaml_reader import LINE_BREAK

MAX_PROBLEMS = 200
"""As many are told of one source; nobody reads more, and finding suggestions takes time."""


class EnoughError(Exception):
    """Raised when a source has more problems than are told: the reading ends there."""


@dataclass(slots=True)
class Report:
    """Problems (errors) and warnings of one source, each at its line and column."""

    source: str
    file: str | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    told: int = 0
    """How often a problem was found, those found a second time (through an alias, say) counted again."""
    fallback: Node | None = None
    """Where to point for a value that the source does not hold (configured plugin defaults)."""
    _lines: list[str] | None = None

    def problem(self, node: Node, message: str, *, below: str | None = None) -> None:
        """Tell an error at *node*; *below* names a property of it that is missing."""
        self._add(self.problems, node, None, message, below)

    def problem_at_key(self, node: Entries, key: str, message: str) -> None:
        """Tell an error at a key of the map *node*."""
        self._add(self.problems, node, key, message, None)

    def warn(self, node: Node, message: str, *, at_key: tuple[Entries, str] | None = None) -> None:
        """Tell a warning at *node*, or at a key of a map."""
        if at_key is not None:
            self._add(self.warnings, *at_key, message, None)
        else:
            self._add(self.warnings, node, None, message, None)

    def warn_at_key(self, node: Entries, key: str, message: str) -> None:
        """Tell a warning at a key of the map *node*."""
        self._add(self.warnings, node, key, message, None)

    def _add(self, to: list[Problem], node: Node, key: str | None, message: str, below: str | None) -> None:
        line, column, path = node.line, node.column, node.path
        if key is not None and isinstance(node, Entries):
            value = node.entries.get(key)
            path = value.path if value is not None and value.path[-1:] == (key,) else (*path, key)
            line, column = node.keys.get(key, (line, column))
        if below is not None:
            path = (*path, below)
        self.at(to, line, column, path, message)

    def at(self, to: list[Problem], line: int, column: int, path: Path, message: str) -> None:
        """Add a problem at a place; a line of 0 means a value that stands in no source."""
        if line == 0:
            line, column = (self.fallback.line, self.fallback.column) if self.fallback else (1, 1)
            message = f"{message} (The value comes from the configured plugin defaults.)"
        problem = Problem(format_path(path), message, line or 1, column or 1, self.file)
        self.told += to is self.problems
        if problem in to or len(to) > MAX_PROBLEMS:
            return
        to.append(problem)
        if to is self.problems and len(to) > MAX_PROBLEMS:
            to[-1] = replace(problem, path="", message="There is more wrong than is told here: mend the rest first.")
            raise EnoughError

    # -- expressions

    def check_expression(self, node: Scalar) -> None:
        """Tell what is wrong with the syntax of the text's expressions."""
        fault = _fault(node.text)
        if fault is None:
            return
        message, line, column = fault
        place = self._within(node, line, column)
        if place is None and line is not None:
            message += f" (line {line}, column {column or 1} of the text)"
        message = f"The expression cannot be read: {message}"
        self.at(self.problems, *(place or (node.line, node.column)), node.path, message)

    def check_key(self, node: Entries, key: str) -> None:
        """Tell what is wrong with the syntax of the expressions in a key of the map *node*."""
        fault = _fault(key)
        if fault is not None:
            self.problem_at_key(node, key, f"The expression cannot be read: {fault[0]}")

    def _within(self, node: Scalar, line: int | None, column: int | None) -> tuple[int, int] | None:
        """Return where in the file a place inside a text is: known for ``|`` blocks and one-line texts."""
        if node.line == 0 or line is None:
            return None
        if self._lines is None:
            self._lines = LINE_BREAK.split(self.source)
        if node.style == "|":
            return self._within_block(node, line, column or 1)
        if node.style == ">" or "\n" in node.text or line > 1 or not self._is_on_one_line(node):
            return None
        quote = 1 if node.style in ("'", '"') else 0
        return node.line, node.column + quote + (column or 1) - 1

    def _is_on_one_line(self, node: Scalar) -> bool:
        """True when the text stands in the source letter by letter, without escapes and line breaks."""
        lines = self._lines or []
        start = node.column - 1 + (1 if node.style else 0)
        return node.line <= len(lines) and lines[node.line - 1].startswith(node.text, start)

    def _within_block(self, node: Scalar, line: int, column: int) -> tuple[int, int] | None:
        lines = self._lines or []
        rows = node.text.split("\n")
        if line > len(rows) or node.line + line > len(lines):
            return None
        written = lines[node.line + line - 1]
        indent = written.find(rows[line - 1])
        if indent < 0:
            return None
        return node.line + line, indent + column


_PLACE = re.compile(r" ?\(line \d+(, column \d+)?\)$")


@lru_cache(maxsize=1)
def _expression_check() -> tuple[Callable[[str], Any], type[Exception]]:
    from headrace_engine.expressions import Expressions  # noqa: PLC0415 - Jinja2 is loaded with the first expression
    from headrace_engine.expressions.errors import ExpressionError  # noqa: PLC0415 - as above

    return Expressions().check, ExpressionError


def _fault(text: str) -> tuple[str, int | None, int | None] | None:
    """Return message, line and column of the first fault in the syntax of *text*'s expressions."""
    try:
        check, expression_error = _expression_check()
    except ImportError:
        return None
    try:
        check(text)
    except expression_error as error:
        message = _PLACE.sub("", str(error))
        ended = message if message.endswith((".", "?", "!")) else message + "."
        return ended, getattr(error, "line", None), getattr(error, "column", None)
    return None
