"""JSON, YAML and Ion: reading and writing, bounded.

The libraries that read have bounds of their own against depth only; size is bounded by the text, which was read from
somewhere. YAML alone can make much of little, by aliases: what a document would expand to is counted before it is
built.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn

from . import numeric, values
from .errors import ExpressionError
from .limits import Budget

_NESTING = re.compile(r"[\[\](){}]")
_EXPANDED = 200_000


def from_json(text: str, budget: Budget) -> Any:
    """Return the value of a JSON text."""
    budget.chars(len(text))
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ExpressionError("The JSON text is nested too deeply") from None
    except ValueError as error:
        raise ExpressionError(f"Not a JSON text: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# -- Ion ----------------------------------------------------------------------------------------------------------


def from_ion(data: str | bytes, budget: Budget, *, all_rows: bool) -> Any:
    """Return the first value of an Ion text (or binary), or all of them."""
    import amazon.ion.simpleion as ion  # noqa: PLC0415 - a large library for one function
    from amazon.ion.exceptions import IonException  # noqa: PLC0415 - as above

    budget.chars(len(data))
    if isinstance(data, str):
        _shallow(data, budget)
    try:
        found = ion.loads(data, single_value=False)
    except (IonException, ValueError, TypeError, ArithmeticError, RecursionError, LookupError, EOFError) as error:
        raise ExpressionError(f"Not an Ion text: {error}") from None
    rows = [_from_ion(each, budget, 0) for each in (found if all_rows else found[:1])]
    if all_rows:
        return rows
    return rows[0] if rows else None


def _shallow(text: str, budget: Budget) -> None:
    depth = 0
    for match in _NESTING.finditer(text):
        depth += 1 if match[0] in "[({" else -1
        if depth > budget.limits.value_depth:
            raise ExpressionError("The Ion text is nested too deeply")


def _from_ion(value: Any, budget: Budget, depth: int) -> Any:
    budget.step()
    if isinstance(value, Mapping):
        deeper = values.nest(depth, budget)
        return {str(_symbol(key)): _from_ion(value[key], budget, deeper) for key in value}
    if isinstance(value, list | tuple) and not hasattr(value, "sid"):
        deeper = values.nest(depth, budget)
        return [_from_ion(each, budget, deeper) for each in value]
    annotations = [str(_symbol(each)) for each in getattr(value, "ion_annotations", ())]
    bare = _bare(value)
    if annotations and isinstance(bare, str) and annotations[-1] in _TEMPORAL:
        return _annotated(annotations[-1], bare)
    return bare


def _symbol(value: Any) -> Any:
    return getattr(value, "text", value)


_TEMPORAL = {"Instant", "ZonedDateTime", "OffsetDateTime", "LocalDateTime", "LocalDate", "LocalTime", "Duration"}


def _annotated(kind: str, text: str) -> Any:
    from .dates import parse  # noqa: PLC0415 - structured is below dates for everything else

    try:
        return text if kind in {"LocalTime", "Duration"} else parse(text)
    except ExpressionError:
        return text


def _bare(value: Any) -> Any:
    """Return an Ion scalar as the Python scalar it extends."""
    value = _symbol(value)
    if value is None or type(value).__name__ == "IonPyNull":
        return None
    if type(value).__name__ == "IonPyBool":
        return bool(value)
    if isinstance(value, datetime):
        return datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo
        )
    kinds: tuple[Any, ...] = (bool, str, bytes, int, float)
    for kind in kinds:
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    return Decimal(value) if isinstance(value, Decimal) else values.to_text(value)


def to_ion(value: Any, budget: Budget) -> str:
    """Return *value* as Ion text; a Float as the double it is, dates as annotated texts (trap 23)."""
    pieces: list[str] = []
    _write_ion(value, budget, pieces, 0)
    result = "".join(pieces)
    budget.chars(len(result))
    return result


_SYMBOL = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_ION_WORDS = {"null", "true", "false", "nan"}


def _write_ion(value: Any, budget: Budget, pieces: list[str], depth: int) -> None:
    budget.step()
    if isinstance(value, Mapping):
        deeper = values.nest(depth, budget)
        pieces.append("{")
        for number, key in enumerate(value):
            name = values.key_text(key)
            plain = _SYMBOL.fullmatch(name) and name not in _ION_WORDS
            quoted = "'" + name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
            pieces.append(f"{',' if number else ''}{name if plain else quoted}:")
            _write_ion(value[key], budget, pieces, deeper)
        pieces.append("}")
    elif values.is_list(value):
        deeper = values.nest(depth, budget)
        pieces.append("[")
        for number, item in enumerate(value):
            if number:
                pieces.append(",")
            _write_ion(item, budget, pieces, deeper)
        pieces.append("]")
    else:
        pieces.append(_ion_scalar(value))
        if len(pieces) % 1024 == 0:
            budget.chars(sum(map(len, pieces)))


def _ion_scalar(value: Any) -> str:
    if isinstance(value, float):
        return _ion_float(float(value))
    if isinstance(value, Decimal):
        text = str(value).replace("E+", "d").replace("E", "d").replace("d-", "d-")
        return text if "." in text or "d" in text else text + "."
    if isinstance(value, date | time | timedelta):
        kind = values.class_name(value).rpartition(".")[2]
        text = values.duration_text(value) if isinstance(value, timedelta) else values.iso_text(value)
        return f'{kind}::"{text}"'
    if isinstance(value, bytes):
        return "{{" + values.json_scalar(value)[1:-1] + "}}"
    return values.json_scalar(value)


def _ion_float(value: float) -> str:
    if value != value:  # noqa: PLR0124 - NaN
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "+inf" if value > 0 else "-inf"
    mantissa, _, exponent = numeric.float_text(value).partition("E")
    return f"{mantissa}e{exponent or 0}"


# -- YAML ---------------------------------------------------------------------------------------------------------


def from_yaml(text: str, budget: Budget) -> Any:
    """Return the value of a YAML text, by YAML 1.2's rules for what is a boolean, a number, null."""
    import yaml  # noqa: PLC0415 - only for those who parse YAML

    from .yaml_loader import loader  # noqa: PLC0415 - as above

    budget.chars(len(text))
    try:
        reader = loader()(text)
        try:
            node = reader.get_single_node()
            if node is None:
                return None
            if _expanded(node, {}, 0, budget) > _EXPANDED:
                raise ExpressionError("The YAML text makes too much of its aliases")
            return reader.construct_document(node)
        finally:
            reader.dispose()
    except RecursionError:
        raise ExpressionError("The YAML text is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"Not a YAML text: {' '.join(str(error).split())}") from None


def _expanded(node: Any, seen: dict[int, int], depth: int, budget: Budget) -> int:
    """Return how many nodes there would be if each alias were written out."""
    if id(node) in seen:
        size = seen[id(node)]
        if size < 0:
            raise ExpressionError("The YAML text has an alias inside of what it stands for")
        return size
    deeper = values.nest(depth, budget)
    seen[id(node)] = -1
    size = 1
    children = node.value if isinstance(node.value, list) else ()
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            size += _expanded(part, seen, deeper, budget)
    seen[id(node)] = size
    return size


def to_yaml(value: Any, budget: Budget) -> str:
    """Return *value* as YAML in the manner of Kestra: no `---`, lists indented by one space, few quotes."""
    plain = values.plain(value, budget)
    lines: list[str] = []
    _yaml_lines(plain, 0, lines, budget)
    result = "\n".join(lines) + "\n"
    budget.chars(len(result))
    return result


def _yaml_lines(value: Any, indent: int, lines: list[str], budget: Budget) -> None:
    budget.step()
    space = " " * indent
    if isinstance(value, dict) and value:
        for key, item in value.items():
            name = _yaml_scalar(key, 0)
            if isinstance(item, dict | list) and item:
                lines.append(f"{space}{name}:")
                _yaml_lines(item, indent if isinstance(item, list) else indent + 2, lines, budget)
            else:
                lines.append(f"{space}{name}: {_yaml_scalar(item, indent + 2)}")
    elif isinstance(value, list) and value:
        for item in value:
            inner: list[str] = []
            # What stands in an item begins at one column, which for a list is that of its dash.
            _yaml_lines(item, indent + (2 if isinstance(item, list) else 3), inner, budget)
            first, *rest = inner
            lines.append(f"{space} - {first.lstrip() if isinstance(item, dict | list) else first}")
            lines += rest
    else:
        lines.append(_yaml_scalar(value, indent + 2))


_PLAIN = re.compile(r"[A-Za-z0-9_./(<$^;][^\x00-\x1f\x7f:#\"']*")
_NOT_TEXT = re.compile(
    r"~|null|true|false|yes|no|on|off|y|n|[-+]?[0-9][0-9_,.:eExXoO+-]*|[-+]?\.?(inf|nan)|0x[0-9a-f]+", re.IGNORECASE
)


def _yaml_scalar(value: Any, indent: int) -> str:
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".NaN" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if not isinstance(value, str):
        text = values.json_scalar(value)
        return text[1:-1] if text.startswith('"') and _is_plain(text[1:-1]) else text
    if _is_plain(value):
        return value
    lines = value.split("\n")
    # A block may not begin with white space (its indentation would be guessed from it) or hold control characters.
    if "\n" in value and value[:1].strip() and not any(ord(each) < 32 and each not in "\n\t" for each in value):
        ending = "" if value.endswith("\n") and not value.endswith("\n\n") else "-" if lines[-1] else "+"
        body = lines if lines[-1] else lines[:-1]
        return f"|{ending}\n" + "\n".join(" " * max(indent, 2) + line if line else "" for line in body)
    return values.quote(value)


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and not _NOT_TEXT.fullmatch(text) and text == text.strip()
