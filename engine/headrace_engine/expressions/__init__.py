"""The expression language of flows: Kestra's dialect of Pebble.

Everything other packages need stands here; how it works is told in `engine`. The package imports nothing else of
headrace_engine and does no I/O of its own but through `Host` (except for the child process in which `jq` runs).
"""

from __future__ import annotations

from .engine import Expressions, is_template
from .errors import ExpressionError
from .host import Host, NoHost
from .limits import Limits
from .values import condition_truthy, to_text, truthy

__all__ = [
    "ExpressionError",
    "Expressions",
    "Host",
    "Limits",
    "NoHost",
    "condition_truthy",
    "is_template",
    "to_text",
    "truthy",
]
