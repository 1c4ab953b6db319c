"""All filters, functions, methods and tests; importing this module declares them."""

from __future__ import annotations

from . import (
    filters_collections,
    filters_dates,
    filters_structured,
    filters_text,
    functions_context,
    functions_dates,
    functions_outside,
    methods,
    tests,
)

MODULES = (
    filters_collections,
    filters_dates,
    filters_structured,
    filters_text,
    functions_context,
    functions_dates,
    functions_outside,
    methods,
    tests,
)


def load() -> int:
    """Make sure that everything is declared; return how many modules did."""
    return len(MODULES)
