"""What an unquoted word of YAML means: the core schema of YAML 1.2 (§10.3.2), not the guesses of YAML 1.1.

``on``, ``yes`` and ``no`` are text, ``12:30`` and ``2024-01-01`` are text, ``0o17`` is fifteen.
"""

from __future__ import annotations

import re

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER = re.compile(
    r"""
      (?P<integer>[-+]?[0-9]+)
    | (?P<octal>0o[0-7]+)
    | (?P<hexadecimal>0x[0-9a-fA-F]+)
    | (?P<real>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)
    | (?P<infinity>[-+]?\.(?:inf|Inf|INF))
    | (?P<nan>\.(?:nan|NaN|NAN))
    """,
    re.VERBOSE,
)
_NUMBER_STARTS = frozenset("0123456789+-.")
_LONGEST_NUMBER = 400
"""A longer row of digits stays text; Python (rightly) refuses to convert those beyond 4300."""


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of the unquoted scalar *text*."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    match match.lastgroup:
        case "integer":
            return int(text)
        case "octal":
            return int(text[2:], 8)
        case "hexadecimal":
            return int(text[2:], 16)
        case "infinity":
            return float("-inf") if text[0] == "-" else float("inf")
        case "nan":
            return float("nan")
        case _:
            return float(text)


def resolve_as(tag: str, text: str) -> str | int | float | bool | None:
    """Return the value of *text* under an explicit core tag (``str``, ``int``, ``float``, ``bool``, ``null``).

    Raises ValueError when the text is not of that type.
    """
    value = resolve(text)
    fits = {
        "str": True,
        "null": value is None,
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
    }
    if not fits.get(tag, False):
        raise ValueError(tag)
    if tag == "str":
        return text
    return float(value) if tag == "float" and isinstance(value, int) else value
