"""Filters and functions between values and JSON, Ion, YAML, and jq (reference §10.4, §10.5)."""

from __future__ import annotations

from typing import Any

from . import structured, values
from .context import Evaluation
from .errors import ExpressionError
from .registry import expression_filter, expression_function, text


@expression_filter("toJson", nulls=True, aliases="json")
def to_json(context: Evaluation, value: Any) -> str:
    """Return the value as JSON; a text gets quotes (trap 23)."""
    return values.json_text(value, context.budget)


@expression_filter("toIon", nulls=True)
def to_ion(context: Evaluation, value: Any) -> str:
    """Return the value as Ion text."""
    return structured.to_ion(value, context.budget)


@expression_filter("yaml", nulls=True)
def to_yaml(context: Evaluation, value: Any) -> str:
    """Return the value as YAML."""
    return structured.to_yaml(value, context.budget)


@expression_filter("jq", "expression", nulls=True)
def jq(context: Evaluation, value: Any, expression: Any) -> list[Any] | None:
    """Return the list of all results of a jq program (trap 23: always a list) on a value, or on a text that is JSON.

    Null of null.
    """
    from . import jq as jq_process  # noqa: PLC0415 - needs processes; few flows do

    if value is None:
        return None
    program = text(expression, "filter 'jq'")
    if isinstance(value, str | bytes):
        value = structured.from_json(_decoded(value), context.budget)
    results = jq_process.run(program, values.json_text(value, context.budget), context.budget.limits)
    context.budget.items(len(results))
    return results


@expression_function("fromJson", "json", aliases="json")
def from_json(context: Evaluation, source: Any) -> Any:
    """Return the value of a JSON text; null of null."""
    if source is None:
        return None
    return structured.from_json(text(_decoded(source), "function 'fromJson'"), context.budget)


def _decoded(source: Any) -> Any:
    return source.decode("utf-8") if isinstance(source, bytes) else source


@expression_function("yaml", "yaml")
def from_yaml(context: Evaluation, source: Any) -> Any:
    """Return the value of a YAML text; null of null."""
    return None if source is None else structured.from_yaml(text(source, "function 'yaml'"), context.budget)


@expression_function("fromIon", "ion allRows")
def from_ion(context: Evaluation, source: Any, all_rows: Any = False) -> Any:
    """Return the first value of an Ion text, or all with allRows; null of null."""
    if source is None:
        return None
    if not isinstance(source, str | bytes):
        raise ExpressionError(f"The function 'fromIon' needs a text, not {values.class_name(source)}")
    return structured.from_ion(source, context.budget, all_rows=values.boolean(all_rows))
