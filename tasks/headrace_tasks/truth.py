"""What counts as true in If, runIf, Fail, Assert and FilterItems: everything but null, "", "false", "0" and "-0"."""

from __future__ import annotations

_FALSE = frozenset({"", "false", "0", "-0"})


def is_truthy(text: str | None) -> bool:
    """Tell whether a rendered condition holds."""
    return text is not None and text.strip() not in _FALSE
