"""Names in paths that must be what they are for: a namespace is not looked at before it can be one."""

from __future__ import annotations

from headrace_engine.api.http import ApiError
from headrace_engine.language import identifiers

SYSTEM = "system"
"""The namespace of flows that see to the platform itself."""
_OURS = frozenset({"_files", "_file_versions", "_kv"})
"""Folders of a namespace in internal storage, which are no namespaces below it."""


def namespace_of(name: str) -> str:
    """Return *name* when it may be a namespace. Raises ApiError 422."""
    try:
        identifiers.namespace(name)
    except ValueError as error:
        raise ApiError(422, f"Illegal argument: {error}", [(str(error), "namespace")]) from None
    segments = name.split(".")
    if "" in segments or _OURS & set(segments):
        why = f"`{name}` is no namespace: one of its parts is empty, or the name of a folder of ours."
        raise ApiError(422, f"Illegal argument: {why}", [(why, "namespace")])
    return name


def ancestors(namespace: str) -> list[str]:
    """Return the namespace and those above it, the nearest first."""
    segments = namespace.split(".")
    return [".".join(segments[:end]) for end in range(len(segments), 0, -1)]
