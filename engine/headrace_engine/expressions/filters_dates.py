"""Filters on dates (reference §10.5)."""

from __future__ import annotations

from typing import Any

from . import dates
from .context import Evaluation
from .registry import expression_filter, integer, text

_ARGUMENTS = "format existingFormat timeZone locale"


@expression_filter("date", _ARGUMENTS)
def date(
    context: Evaluation,
    value: Any,
    *,
    layout: Any = None,
    existing: Any = None,
    time_zone: Any = None,
    locale: Any = None,
) -> str:
    """Return a date as text: by a named format, a style or a pattern, in a zone."""
    del context
    return dates.text_of(dates.zoned(value, existing, time_zone, locale), layout, locale)


@expression_filter("dateAdd", "amount unit " + _ARGUMENTS)
def date_add(
    context: Evaluation,
    value: Any,
    amount: Any,
    unit: Any,
    *,
    layout: Any = None,
    existing: Any = None,
    time_zone: Any = None,
    locale: Any = None,
) -> str:
    """Return a date moved by an amount of a unit (`DAYS`, `HOURS`, …), as text."""
    del context
    moment = dates.zoned(value, existing, time_zone, locale)
    moved = dates.add(moment, integer(amount, "filter 'dateAdd'"), text(unit, "filter 'dateAdd'"))
    return dates.text_of(moved, layout, locale)


def _timestamp(name: str, per_second: int) -> None:
    @expression_filter(name, "existingFormat timeZone")
    def stamp(context: Evaluation, value: Any, existing: Any = None, time_zone: Any = None) -> int:
        del context
        micros = dates.epoch_micros(dates.zoned(value, existing, time_zone))
        return micros * (per_second // 1_000_000) if per_second >= 1_000_000 else micros // (1_000_000 // per_second)


# `timestampMicro` is microseconds, as its name says; Kestra 0.20 mixed nanoseconds in.
for _name, _per_second in (
    ("timestamp", 1),
    ("timestampMilli", 1000),
    ("timestampMicro", 1_000_000),
    ("timestampNano", 1_000_000_000),
):
    _timestamp(_name, _per_second)
