"""How namespaces nest."""

from __future__ import annotations


def is_within(namespace: str, ancestor: str) -> bool:
    """Return whether *namespace* is *ancestor* or below it, by whole segments."""
    return namespace == ancestor or namespace.startswith(f"{ancestor}.")
