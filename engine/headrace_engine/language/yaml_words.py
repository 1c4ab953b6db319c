"""libyaml's complaints in words that say what to do."""

from __future__ import annotations

import re
from typing import Any

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_IN_QUOTES = "Nothing may follow the end of a value: put the whole text in quotes."
_MESSAGES: tuple[tuple[str, str], ...] = (
    ("tab character", "There is a tab where spaces are expected: YAML is indented with spaces only."),
    ("cannot start any token", "An unquoted value cannot begin with {character}: put it in quotes."),
    (
        "mapping values are not allowed",
        "There is a `:` where none is expected: put a text that contains `: ` in quotes, or check the indentation.",
    ),
    (
        "did not find expected key",
        "Expected a key of the map that begins on {began}: check the indentation of this line.",
    ),
    (
        "did not find expected '-' indicator",
        "Expected `- `, the next item of the list that begins on {began}: check the indentation of this line.",
    ),
    ("',' or ']'", "The list `[` that begins here is not closed: expected `,` or `]`."),
    ("',' or '}'", "The map `{{` that begins here is not closed: expected `,` or `}}`."),
    ("could not find expected ':'", "Expected `:` after the key that begins on {began}."),
    (
        "unknown escape character",
        "Unknown escape in a text in double quotes: write `\\\\` for a backslash, or use single quotes.",
    ),
    ("tag handle", "A value cannot begin with `!` unless it is in quotes."),
    (
        "document start",
        "Nothing may follow the end of a document but `---` and another one: check the brackets and the indentation.",
    ),
    ("node content", "Expected a value here: put a text that begins with a special character in quotes."),
    ("alphabetic or numeric", "A text that begins with `*` or `&` must be in quotes."),
)
_NOT_CLOSED = ("',' or ']'", "',' or '}'")


def explain(error: Any, source: str) -> tuple[int, int, str]:
    """Return line, column (from 1) and message for a yaml.MarkedYAMLError."""
    problem, context = str(error.problem or ""), str(error.context or "")
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    if start is not None and any(needle in problem for needle in _NOT_CLOSED):
        mark = start
    line, column = (mark.line, mark.column) if mark else (0, 0)
    began = f"line {start.line + 1}, column {start.column + 1}" if start else "a line before"
    if "quoted scalar" in context and ("end of stream" in problem or "document indicator" in problem):
        return start.line + 1, start.column + 1, "The quoted text that begins here is not closed."
    lines = _LINE_BREAK.split(source)
    written = lines[line] if line < len(lines) else ""
    return line + 1, column + 1, _message(problem, context, written, column, began)


def _message(problem: str, context: str, written: str, column: int, began: str) -> str:
    character = written[column : column + 1]
    if "cannot start any token" in problem and character == "\t":
        return _MESSAGES[0][1]
    if "did not find expected key" in problem and character == ":":
        return "A key is missing before the `:`."
    if "did not find expected key" in problem and written[:column].strip(" -"):
        return _IN_QUOTES
    for needle, message in _MESSAGES:
        if needle in problem:
            return message.format(began=began, character=f"`{character}`" if character != "`" else "a backquote")
    return f"This is no valid YAML: {problem or context or 'it cannot be read'}."
