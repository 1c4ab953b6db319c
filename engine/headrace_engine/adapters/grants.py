"""Grants as the stores keep them: one text, a word each."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_engine.identity import Grant


def write_grants(grants: Sequence[Grant]) -> str:
    """Return the text that `read_grants` reads."""
    return " ".join(map(str, grants))


def read_grants(text: str) -> tuple[Grant, ...]:
    """Return the grants that were written."""
    return tuple(map(Grant.parse, text.split()))
