"""From database values to what outputs and files hold.

| database | output (FETCH, FETCH_ONE) | file (STORE) |
|---|---|---|
| integer, float, boolean, text, null | the same | the same |
| NaN, Infinity | null | null |
| decimal | a number if that loses nothing, else text | a number with all its digits |
| date, time, timestamp | ISO-8601 text; with a time zone in that of ``timeZoneId`` (UTC) | the same |
| interval | ISO-8601 duration | the same |
| uuid | text | the same |
| bytes | Base64 text | the same |
| json, array, struct, map | list or map | the same |

A file has one JSON object a line, which is Amazon Ion text as well: either kind of reader can read it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from headrace_engine.plugin import format_duration

Row = dict[str, Any]


class Converter:
    """Turns values into JSON's, for outputs or (exact) for files."""

    def __init__(self, zone: tzinfo, *, exact_decimals: bool) -> None:
        self._zone = zone
        self._decimal = _exact if exact_decimals else _number
        self._by_type: dict[type, Callable[[Any], Any]] = {
            float: lambda value: value if math.isfinite(value) else None,
            Decimal: self._decimal,
            datetime: self._datetime,
            date: date.isoformat,
            time: time.isoformat,
            timedelta: format_duration,
            UUID: str,
            bytes: _base64,
            bytearray: _base64,
            memoryview: _base64,
            list: self._list,
            tuple: self._list,
            set: self._list,
            dict: self._dict,
        }

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Row]:
        """Yield each row as a map by column name; of columns with one name the last counts."""
        convert = self.value
        for row in rows:
            yield {column: convert(value) for column, value in zip(columns, row, strict=True)}

    def value(self, value: Any) -> Any:
        """Return one value converted."""
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        known = self._by_type.get(kind)
        if known is not None:
            return known(value)
        for base, convert in self._by_type.items():
            if isinstance(value, base):
                return convert(value)
        return value if isinstance(value, str | int) else str(value)

    def _datetime(self, value: datetime) -> str:
        return (value if value.tzinfo is None else value.astimezone(self._zone)).isoformat()

    def _list(self, value: Iterable[Any]) -> list[Any]:
        return [self.value(item) for item in value]

    def _dict(self, value: Mapping[Any, Any]) -> Row:
        return {key if isinstance(key, str) else str(self.value(key)): self.value(item) for key, item in value.items()}


def _exact(value: Decimal) -> Any:
    return value if value.is_finite() else None


def _number(value: Decimal) -> Any:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and value.as_tuple().exponent == 0:
        return int(value)
    nearest = float(value)
    return nearest if Decimal(repr(nearest)) == value else format(value, "f")


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode()


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write *rows* to a file, one a line; return how many."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    count = 0
    with path.open("wb", buffering=1024 * 1024) as file:
        for row in rows:
            file.write(encode(row))
            file.write(b"\n")
            count += 1
    return count
