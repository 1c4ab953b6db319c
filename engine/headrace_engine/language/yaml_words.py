"""libyaml's complaints in words that say what to do."""

from __future__ import annotations

import re
from typing import Any

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def explain(error: Any, source: str) -> tuple[int, int, str]:
    """Return line, column (from 1) and message for a yaml.MarkedYAMLError."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = _LINE_BREAK.split(source)
    character = lines[line][column : column + 1] if line < len(lines) else ""
    problem = str(error.problem or "")
    start = error.context_mark
    began = f"line {start.line + 1}, column {start.column + 1}" if start else ""
    return line + 1, column + 1, _message(problem, str(error.context or ""), character, began)


def _message(problem: str, context: str, character: str, began: str) -> str:
    if "tab character" in problem or (character == "\t" and "cannot start any token" in problem):
        return "There is a tab where spaces are expected: YAML is indented with spaces only."
    if "cannot start any token" in problem:
        return f"An unquoted value cannot begin with `{character}`: put it in quotes."
    if "mapping values are not allowed" in problem:
        return "There is a `:` where none is expected: put a text that contains `: ` in quotes, or check the indentation."
    if "did not find expected key" in problem:
        return f"Expected a key of the map that begins on {began}: check the indentation of this line."
    if "did not find expected '-' indicator" in problem:
        return f"Expected `- `, the next item of the list that begins on {began}: check the indentation of this line."
    if "',' or ']'" in problem:
        return f"The list `[` that begins on {began} is not closed: expected `,` or `]`."
    if "',' or '}'" in problem:
        return f"The map `{{` that begins on {began} is not closed: expected `,` or `}}`."
    if "quoted scalar" in context and ("end of stream" in problem or "document indicator" in problem):
        return f"The quoted text that begins on {began} is not closed."
    if "could not find expected ':'" in problem:
        return f"Expected `:` after the key that begins on {began}."
    if "unknown escape character" in problem:
        return "Unknown escape in a text in double quotes: write `\\\\` for a backslash, or use single quotes."
    if "undefined tag handle" in problem or "tag" in context:
        return "A value cannot begin with `!` unless it is in quotes."
    if "document start" in problem:
        return "Nothing may follow the end of a document but `---` and another one: check the brackets and the indentation."
    if "node content" in problem:
        return "Expected a value here: put a text that begins with a special character in quotes."
    if "alphabetic or numeric" in problem:
        return "A text that begins with `*` or `&` must be in quotes."
    told = f"{problem} ({context}, which began on {began})" if context and began else problem or "not valid"
    return f"This is no valid YAML: {told}."
