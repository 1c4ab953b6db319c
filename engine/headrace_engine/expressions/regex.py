"""Java's regular expressions on RE2, which takes linear time whatever the pattern.

RE2 has no look-around, back-references or possessive quantifiers: a pattern with one of those is an error that says
so, never a slow match.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .errors import ExpressionError
from .limits import Budget


def compiled(pattern: Any, budget: Budget, subject: str) -> Any:
    """Return *pattern* compiled; a use on *subject* is paid for in steps."""
    if not isinstance(pattern, str):
        raise ExpressionError("A regular expression must be a text")
    if len(pattern) > budget.limits.regex_chars:
        raise ExpressionError(f"A regular expression is longer than {budget.limits.regex_chars} characters")
    budget.step(1 + (len(subject) >> 8))
    return _compile(pattern)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import re2  # noqa: PLC0415 - a C library that most templates never need

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 * 1024 * 1024
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not understood"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        hint = "; look-around, back-references and possessive quantifiers are not supported" if _exotic(pattern) else ""
        raise ExpressionError(f"The regular expression `{pattern}` is not valid: {reason}{hint}") from None


def _exotic(pattern: str) -> bool:
    marks = ("(?=", "(?!", "(?<=", "(?<!", "(?>", "*+", "++", "?+", "}+")
    return any(mark in pattern for mark in marks) or any(f"\\{digit}" in pattern for digit in range(1, 10))


def find_all(pattern: Any, subject: str, budget: Budget) -> list[Any]:
    """Return all matches in *subject*."""
    found = []
    for match in compiled(pattern, budget, subject).finditer(subject):
        budget.step()
        found.append(match)
    return found


def replace_all(pattern: Any, subject: str, replacement: str, budget: Budget) -> str:
    """Return Java's `subject.replaceAll(pattern, replacement)`, with `$1`, `${name}` and `\\\\` in the replacement."""
    pieces: list[str] = []
    position = total = 0
    for match in find_all(pattern, subject, budget):
        new = expand(replacement, match)
        pieces += (subject[position : match.start()], new)
        total += match.start() - position + len(new)
        budget.chars(total)
        position = match.end()
    pieces.append(subject[position:])
    result = "".join(pieces)
    budget.chars(len(result))
    return result


def expand(replacement: str, match: Any) -> str:
    """Return *replacement* with the groups of *match* in it, by Java's Matcher.appendReplacement."""
    pieces: list[str] = []
    position = 0
    while position < len(replacement):
        character = replacement[position]
        position += 1
        if character == "\\" and position < len(replacement):
            pieces.append(replacement[position])
            position += 1
        elif character == "$":
            group, position = _group(replacement, position, match)
            pieces.append(group)
        else:
            pieces.append(character)
    return "".join(pieces)


def _group(replacement: str, position: int, match: Any) -> tuple[str, int]:
    if replacement.startswith("{", position):
        end = replacement.find("}", position)
        name = replacement[position + 1 : end]
        if end < 0 or name not in match.re.groupindex:
            raise ExpressionError(f"The replacement `{replacement}` names no group of the regular expression")
        return match.group(name) or "", end + 1
    end = position + 1
    if not replacement[position:end].isdecimal():
        raise ExpressionError(
            f"`$` in the replacement `{replacement}` must be followed by a group, or be written `\\$`"
        )
    if int(replacement[position:end]) > match.re.groups:
        raise ExpressionError(f"The replacement `{replacement}` names no group of the regular expression")
    # Java takes further digits as long as there is such a group.
    while replacement[end : end + 1].isdecimal() and int(replacement[position : end + 1]) <= match.re.groups:
        end += 1
    return match.group(int(replacement[position:end])) or "", end


def split(pattern: str, subject: str, limit: int, budget: Budget) -> list[str]:
    """Return Java's `subject.split(pattern, limit)`."""
    parts: list[str] = []
    position = 0
    for match in find_all(pattern, subject, budget):
        if limit > 0 and len(parts) == limit - 1:
            break
        if match.end() == 0:  # an empty match at the beginning makes no empty part
            continue
        if match.start() == match.end() == len(subject):
            continue
        parts.append(subject[position : match.start()])
        position = match.end()
    whole = position == 0 and not parts
    parts.append(subject[position:])
    if limit == 0 and not whole:
        while parts and not parts[-1]:
            parts.pop()
    return parts
