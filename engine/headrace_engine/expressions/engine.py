"""Kestra's expressions: the Pebble dialect on Jinja2's sandbox.

A template goes through our own lexer (`lexer`) and parser (`parser`, `tags`), which build `jinja2.nodes`; Jinja's
code generator compiles them inside its sandbox (`sandbox`); what runs calls back into `operators` and the library of
filters, functions and tests. Pebble and Jinja look alike and differ everywhere it matters (precedence, `??`,
ternaries, scoping, strictness, numbers, dates), so a translation of text would be wrong in the corners; nodes give
compiled speed, Jinja's proven code generation, and positions for errors. The expression side of the nodes is nothing
but constants, conditionals and calls of named filters, so there is no way from a template to a Python object.

The rules of rendering are those of the reference, §10.1 and §10.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from . import values
from .context import Evaluation, Program, raw_mark
from .errors import ExpressionError
from .host import Host
from .lexer import Lexer
from .limits import Budget, Limits
from .numeric import arithmetic, is_number
from .parser import Compilation
from .sandbox import Sandbox
from .tags import TemplateParser

TOO_MANY = "Too many rendering attempts"
UNEXPECTED = "The expression cannot be evaluated"


def is_template(text: str) -> bool:
    """Return whether *text* holds anything to evaluate: `{{`, `{%` or `{#`."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


class Expressions:
    """Renders templates; compiled ones are kept, the least recently used are dropped.

    Args:
        limits: what one render may cost.
        recursive: Kestra's old mode (`kestra.variables.recursive-rendering`): render until nothing changes; then
            there are no functions `render` and `renderOnce`.
        cache_size: how many compiled templates are kept.
    """

    def __init__(self, *, limits: Limits | None = None, recursive: bool = False, cache_size: int = 1024) -> None:
        self.limits = limits or Limits()
        self.recursive = recursive
        self._sandbox = Sandbox()
        self._program = lru_cache(maxsize=cache_size)(self._compile)

    # -- what others call -------------------------------------------------------------------------------------------

    def render(self, template: str, variables: Mapping[str, Any], host: Host) -> str:
        """Return *template* with its expressions replaced by their text.

        A text without `{` is returned as it is, never parsed. A value that itself looks like a template stays as it
        is (trap 1), unless the engine is recursive.

        Raises:
            ExpressionError: the template or a value it uses is wrong.
        """
        if "{" not in template:
            return template
        if self.recursive:
            return self.render_stable(template, variables, host, Budget(self.limits), depth=0)
        return self.render_once(template, variables, host, Budget(self.limits), depth=0)

    def render_typed(self, template: str, variables: Mapping[str, Any], host: Host) -> Any:
        """Return the value itself when *template* is one expression, else the pieces joined.

        Several pieces are joined when they are of one type: texts and lists appended, numbers added (§10.1).
        """
        if "{" not in template:
            return template
        budget = Budget(self.limits)
        program = self._program(template)
        if self.recursive or not program.plain:
            return self.render(template, variables, host)
        evaluation = Evaluation(self, program, variables, host, budget)
        evaluation.typed = True
        pieces = self._guarded(lambda: list(program.root(evaluation)))
        if len(pieces) == 1:
            return pieces[0]
        return _joined(pieces, budget) if pieces else ""

    def render_value(self, value: Any, variables: Mapping[str, Any], host: Host) -> Any:
        """Return *value* with every text in it rendered to text: keys and values of maps, items of lists, at any depth.

        Scalars that are no text stay; an expression that gives null becomes "".
        """
        return self.deep(value, lambda text: self.render(text, variables, host), 0)

    def render_value_typed(self, value: Any, variables: Mapping[str, Any], host: Host) -> Any:
        """Return *value* with every text in it rendered typed; keys of maps become texts."""
        return self.deep(value, lambda text: self.render_typed(text, variables, host), 0)

    def check(self, template: str) -> None:
        """Check the syntax of *template* and the names and arguments of what it calls, without evaluating anything.

        Raises:
            ExpressionError: with line and column.
        """
        if "{" in template:
            self._program(template)

    # -- for nested renders -----------------------------------------------------------------------------------------

    def render_once(
        self,
        template: str,
        variables: Mapping[str, Any],
        host: Host,
        budget: Budget,
        *,
        depth: int,
        protected: list[str] | None = None,
    ) -> str:
        """Return one pass over *template*, on the budget of an outer render."""
        if "{" not in template:
            return template
        if depth > self.limits.render_depth:
            raise ExpressionError(TOO_MANY)
        program = self._program(template)
        evaluation = Evaluation(self, program, variables, host, budget, depth=depth)
        evaluation.protected = protected
        text: str = self._guarded(lambda: evaluation.collect(program.root))
        return text

    def render_stable(
        self, template: str, variables: Mapping[str, Any], host: Host, budget: Budget, *, depth: int
    ) -> str:
        """Return *template* rendered until nothing changes; the content of raw tags is left alone in all passes."""
        protected: list[str] = []
        text = template
        for _ in range(self.limits.render_rounds + 1):
            rendered = self.render_once(text, variables, host, budget, depth=depth, protected=protected)
            if rendered == text:
                return _unprotected(rendered, protected, budget)
            text = rendered
        raise ExpressionError(TOO_MANY)

    def deep(self, value: Any, render: Any, depth: int) -> Any:
        """Return *value* with *render* applied to every text in it."""
        if isinstance(value, str):
            return render(value)
        if isinstance(value, Mapping):
            deeper = values.nest(depth, Budget(self.limits))
            return {self._key(key, render): self.deep(value[key], render, deeper) for key in value}
        if values.is_list(value):
            deeper = values.nest(depth, Budget(self.limits))
            return [self.deep(item, render, deeper) for item in value]
        return value

    def _key(self, key: Any, render: Any) -> Any:
        if not isinstance(key, str) or "{" not in key:
            return key
        rendered = render(key)
        return rendered if isinstance(rendered, str) else values.key_text(rendered)

    # -- compiling --------------------------------------------------------------------------------------------------

    def _compile(self, template: str) -> Program:
        if len(template) > self.limits.template_chars:
            raise ExpressionError(f"A template is longer than the {self.limits.template_chars} characters allowed")
        without = frozenset({"render", "renderOnce"} if self.recursive else ())
        compilation = Compilation(template, self.limits, self._sandbox.body, without)
        pieces = Lexer(template).pieces()
        try:
            statements = TemplateParser(pieces, compilation).template()
        except RecursionError:
            raise ExpressionError("The template is nested too deeply") from None
        return Program(
            source=template,
            root=self._sandbox.body(statements),
            plain=all(piece.kind != "tag" for piece in pieces),
            bodies=compilation.bodies,
            macros=compilation.macros,
            blocks=compilation.blocks,
        )

    @staticmethod
    def _guarded(run: Any) -> Any:
        try:
            return run()
        except RecursionError:
            raise ExpressionError("An expression or value is nested too deeply") from None
        except ExpressionError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # A value of the caller's that is not what its type says, such as a map that fails to load an entry.
            raise ExpressionError(f"{UNEXPECTED}: {type(error).__name__}: {error}") from error


def _unprotected(text: str, protected: list[str], budget: Budget) -> str:
    # Backwards: a raw text that came out of a later pass may hold the mark of an earlier one, not the reverse.
    for number in range(len(protected) - 1, -1, -1):
        text = text.replace(raw_mark(number), protected[number])
        budget.chars(len(text))
    return text


def _joined(pieces: list[Any], budget: Budget) -> Any:
    first = pieces[0]
    if all(isinstance(piece, str) for piece in pieces):
        budget.chars(sum(map(len, pieces)))
        return "".join(pieces)
    if all(is_number(piece) for piece in pieces):
        total = first
        for piece in pieces[1:]:
            total = arithmetic(budget, "+", total, piece)
        return total
    if all(values.is_list(piece) for piece in pieces):
        budget.items(sum(map(len, pieces)))
        return [item for piece in pieces for item in piece]
    kinds = ", ".join(dict.fromkeys(values.class_name(piece) for piece in pieces))
    raise ExpressionError(f"A typed expression of several parts needs parts of one type, not {kinds}")
