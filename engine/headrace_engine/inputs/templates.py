"""How the templates of defaults and outputs are rendered: to objects where that can be, else to text.

A lone expression gives its object, so that a list stays a list. Anything else is text: `{{ vars.count }} rows`. A
typed renderer refuses that one, because its pieces are of two types; but a template that has a tag gives text
(reference §10.1), so one is added that prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace_engine.expressions import is_template

from . import data

_TO_TEXT = "{% if false %}{% endif %}"


def prepared(template: str) -> str:
    """Return *template* such that a typed renderer gives an object when it is one expression, else text."""
    if not is_template(template) or _is_lone(template):
        return template
    return template + _TO_TEXT


def _is_lone(template: str) -> bool:
    return template.startswith("{{") and template.endswith("}}") and template.count("{{") == 1 and "{%" not in template


def each_text(value: Any, change: Callable[[str], Any]) -> Any:
    """Return *value* with every text in it, at any depth, changed: items of lists, keys and values of maps."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {each_text(key, change): each_text(item, change) for key, item in value.items()}
    if data.is_list(value):
        return [each_text(item, change) for item in value]
    return value
