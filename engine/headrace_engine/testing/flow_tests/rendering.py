"""How the texts of a suite are rendered: a lone expression gives its object, anything else its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_engine.expressions import Expressions
from headrace_engine.expressions.host import Host
from headrace_engine.expressions.lexer import Lexer


def render(expressions: Expressions, value: Any, variables: Mapping[str, Any], host: Host) -> Any:
    """Return *value* with every text in it rendered, at any depth. Raises ExpressionError.

    Unlike Expressions.render_typed, a text of several pieces is always text: `{{ 1 }}{{ 2 }}` is 12, not 3.
    """

    def one(text: str) -> Any:
        return (expressions.render_typed if _is_lone(text) else expressions.render)(text, variables, host)

    return expressions.deep(value, one, 0)


def _is_lone(text: str) -> bool:
    if "{{" not in text:
        return False
    pieces = Lexer(text).pieces()
    return len(pieces) == 1 and pieces[0].kind == "print"
