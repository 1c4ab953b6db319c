"""Jinja2's sandbox, narrowed to what compiled expressions need, which is: nothing of Python.

Our parser produces `jinja2.nodes`; Jinja's code generator turns them into Python. Of its nodes only those are used
that print, branch, loop, build literals and call filters. The sandbox behind it refuses attributes, items and calls
altogether, so that a slip in the parser cannot open a way to Python's objects.
"""

from __future__ import annotations

from types import CodeType
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from . import library, operators
from .context import Body
from .errors import ExpressionError
from .registry import FILTERS, FUNCTIONS, METHODS, TESTS


class Generator(CodeGenerator):
    """Jinja's code generator with our way of printing, and with operands that are evaluated later."""

    def visit_MarkSafe(self, node: nodes.MarkSafe, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        """Write a thunk. Jinja forbids new kinds of node; MarkSafe means nothing without autoescaping, so it serves."""
        self.write("(lambda: ")
        self.visit(node.expr, frame)
        self.write(")")

    def _make_finalize(self) -> CodeGenerator._FinalizeInfo:
        # No constant but template text is printed at compile time: `true` is not Python's "True".
        return self._FinalizeInfo(None, None)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        del node, frame, finalize
        self.write("context.out(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        del node, frame, finalize
        self.write(")")


class Sandbox(SandboxedEnvironment):
    """The environment all templates are compiled in."""

    code_generator_class = Generator

    def __init__(self) -> None:
        super().__init__(optimized=False, autoescape=False, cache_size=0)
        library.load()
        self.globals = {}
        self.tests = {}
        self.filters = dict(operators.INTERNAL)
        for table in (FILTERS, FUNCTIONS, METHODS, TESTS):
            self.filters |= {spec.key: spec.call for spec in table.values()}

    def getattr(self, obj: Any, attribute: str) -> NoReturn:
        """Refuse: members are read by our own operator."""
        del obj
        raise SecurityError(attribute)

    def getitem(self, obj: Any, argument: Any) -> NoReturn:
        """Refuse: items are read by our own operator."""
        del obj
        raise SecurityError(str(argument))

    def call(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: functions are called as filters."""
        del args, kwargs
        raise SecurityError("call")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse every attribute."""
        del obj, attr, value
        return False

    def is_safe_callable(self, obj: Any) -> bool:
        """Refuse every callable."""
        del obj
        return False

    def body(self, statements: list[nodes.Node]) -> Body:
        """Return *statements* compiled."""
        try:
            code = self.compile(nodes.Template(statements, lineno=1))
            assert isinstance(code, CodeType)  # noqa: S101 - `raw` is False
            return Template.from_code(self, code, {}).root_render_func
        except (RecursionError, MemoryError, SyntaxError, OverflowError):
            raise ExpressionError("The template is nested too deeply") from None
