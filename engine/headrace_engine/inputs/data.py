"""Plain data: texts and JSON values that every store, queue and answer can carry."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from headrace_engine.expressions import to_text
from headrace_engine.sealing import is_sealed

from . import temporal
from .problems import Refused

_DEEPEST = 100
_INTEGER_BITS = 1024
_LONGEST_NUMBER = 400
"""Characters of a number in JSON text; Python refuses integers of more than 4300 digits, and rightly so."""


def text(value: Any) -> str:
    """Return *value* as text; numbers, truth values, dates, lists and maps as expressions print them."""
    if isinstance(value, Path):
        raise Refused("only an input of type `FILE` takes a file")
    if isinstance(value, bytes | bytearray):
        raise Refused("it must be a text")
    if not isinstance(value, str):
        try:
            value = to_text(value)
        except ValueError:  # an ExpressionError: something that has no text
            raise Refused("it must be a text") from None
    return checked(str(value))


def checked(value: str) -> str:
    """Return *value* when it is Unicode: half a surrogate pair (a broken byte of a command line) cannot be stored."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("it must be Unicode text") from None
    return value


def is_list(value: Any) -> bool:
    """Return whether *value* is a list, a tuple or a set."""
    return isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray | memoryview)


def plain(value: Any, depth: int = 0) -> Any:
    """Return *value* as JSON data; dates become ISO texts."""
    if depth > _DEEPEST:
        raise Refused(f"lists and maps must not be nested more than {_DEEPEST} deep")
    if isinstance(value, str):
        return checked(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return number(value)
    if isinstance(value, Mapping):
        if is_sealed(value):
            raise Refused("an encrypted value cannot be given")
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if is_list(value):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, datetime | date | time | timedelta):
        return temporal.iso(value)
    raise Refused("it must be JSON data")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return checked(str(key))
    if key is None or isinstance(key, bool | int | float):
        return "null" if key is None else to_text(key)
    raise Refused("the keys of a map must be texts")


def number(value: float | Decimal) -> int | float:
    """Return *value* as JSON has it: an int or a finite float."""
    if isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS:
            raise Refused("a number in it is too large")
        return int(value)
    if isinstance(value, Decimal):
        if value.is_finite() and value.adjusted() < _LONGEST_NUMBER and value == value.to_integral_value():
            return number(int(value))
        value = math.nan if value.is_nan() else float(value)
    if not math.isfinite(value):
        raise Refused("a number in it is not finite")
    return float(value)


def parse_json(source: str) -> Any:
    """Return what the JSON text *source* holds."""
    try:
        return plain(json.loads(source, parse_constant=_no_constant, parse_int=_integer))
    except RecursionError:
        raise Refused(f"lists and maps must not be nested more than {_DEEPEST} deep") from None
    except ValueError as error:
        raise Refused(f"it must be JSON ({error})") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number in it is too large")
    return int(digits)


def parse_yaml(source: str) -> Any:
    """Return what the YAML text *source* holds, read by the rules of flow files: YAML 1.2, no bombs, no tags."""
    # Only flows with a YAML input pay for the import.
    from headrace_engine.language.nodes import plain as plain_node  # noqa: PLC0415  # see above
    from headrace_engine.language.problems import FlowError  # noqa: PLC0415  # see above
    from headrace_engine.language.yaml_reader import read_documents  # noqa: PLC0415  # see above

    try:
        documents = read_documents(source)
    except FlowError as error:
        problem = error.problems[0]
        reason = problem.message.rstrip(".")
        raise Refused(f"it must be YAML (line {problem.line}, column {problem.column}: {reason})") from None
    if len(documents) > 1:
        raise Refused("it must be one YAML document")
    return plain(plain_node(documents[0])) if documents else None
