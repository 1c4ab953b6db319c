"""What ids may look like (reference §1, §2.1, §6). Each function returns the id or raises ValueError."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

RESERVED_FLOW_IDS = frozenset(
    ["pause", "resume", "force-run", "change-status", "kill", "executions", "search", "source", "disable", "enable"]
)
"""Refused as flow ids from Kestra 1.0 on: they are paths of the API."""


FLOW_ID = "[a-zA-Z0-9][a-zA-Z0-9._-]*"
NAMESPACE = "[a-z0-9][a-z0-9._-]*"
TASK_ID = "[a-zA-Z0-9][a-zA-Z0-9_-]*"
INPUT_ID = "[a-zA-Z0-9][.a-zA-Z0-9_-]*"


def in_schema(pattern: str, longest: int) -> dict[str, Any]:
    """Return what the JSON Schema says of a text that matches *pattern*."""
    return {"pattern": f"^{pattern}$", "maxLength": longest}


def _rule(pattern: str, longest: int, says: str, what: str = "id") -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if len(value) > longest:
            raise ValueError(f"The {what} may have at most {longest} characters; this one has {len(value)}.")
        if compiled.fullmatch(value) is None:
            raise ValueError(f"`{value}` is no valid {what}: expected {says}, beginning with a letter or digit.")
        return value

    return check


_flow = _rule(FLOW_ID, 100, "letters, digits, `.`, `_` and `-`")
namespace = _rule(NAMESPACE, 150, "lower-case letters, digits, `.`, `_` and `-`", "namespace")
task_id = _rule(TASK_ID, 256, "letters, digits, `_` and `-`")
input_id = _rule(INPUT_ID, 256, "letters, digits, `.`, `_` and `-`")
tenant_id = _rule("[a-z0-9][a-z0-9_-]*", 100, "lower-case letters, digits, `_` and `-`", "tenant")


def flow_id(value: str) -> str:
    """Return *value* when it may be the id of a flow."""
    if value in RESERVED_FLOW_IDS:
        raise ValueError(f"`{value}` is reserved: choose another id for the flow.")
    return _flow(value)
