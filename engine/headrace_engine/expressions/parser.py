"""Expressions: from tokens to Jinja's nodes, by Pebble's grammar.

The binding powers are Pebble's, in one table. They are not Jinja's, and no re-spelling of a template could express
the difference; that, the operands that must stay unevaluated (`??`, `is defined`, `default`) and error positions are
why this is a parser of its own and not a translation of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from jinja2 import nodes

from .errors import ExpressionError
from .lexer import Lexer, Token, text_value
from .limits import Limits
from .registry import FILTERS, FUNCTIONS, METHODS, TESTS, UNSUPPORTED, Spec, suggestion

# Higher binds tighter. From pebbletemplates.io (Operator Precedence: `|`, then `* / %`, `+ -`, comparisons, `is`,
# `and`, `or`); `~`, `..` and Kestra's `??`, `???` bind tighter than a filter, so `a ?? b | upper` filters either.
# `not` stands between `and` and `is` since Pebble 3.0, so `not a and b` is `(not a) and b`, `not 2 is odd` negates all.
POWER = {
    "or": 10, "and": 15,
    "is": 20, "contains": 20, "matches": 20, "isIn": 20,
    "equals": 30, "==": 30, "!=": 30, "<": 30, ">": 30, "<=": 30, ">=": 30,
    "+": 40, "-": 40,
    "*": 60, "/": 60, "%": 60,
    "|": 100,
    "~": 110, "..": 110,
    "??": 120, "???": 120,
}  # fmt: skip
NOT_POWER = 18

_CONSTANTS = {"true": True, "false": False, "null": None, "none": None, "TRUE": True, "FALSE": False, "NULL": None}
_WORDS = {"and", "or", "not", "is", "contains", "matches", "equals", "isIn"}


@dataclass
class Compilation:
    """What the parts of one template share while they are parsed."""

    source: str
    limits: Limits
    compile: Callable[[list[nodes.Node]], Any]
    without: frozenset[str] = frozenset()
    """Functions that do not exist in this mode."""
    bodies: list[Any] = field(default_factory=list)
    macros: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    calls: list[Token] = field(default_factory=list)
    """Calls of what is no function: macros, perhaps declared later."""
    nesting: int = 0
    """Macros, blocks and filter tags inside one another, at the place being parsed."""


def fail(message: str, token: Token) -> NoReturn:
    """Raise a syntax error at *token*."""
    raise ExpressionError(f"{message} (line {token.line}, column {token.column})", token.line, token.column)


class Tokens:
    """A cursor over tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def here(self) -> Token:
        """The token to be read next."""
        return self._tokens[self._at]

    @property
    def after(self) -> Token:
        """The token behind that."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def next(self) -> Token:
        """Read one token."""
        token = self.here
        if token.kind != "end":
            self._at += 1
        return token

    def symbol(self, *wanted: str) -> Token | None:
        """Read one of the *wanted* symbols, if it is next."""
        return self.next() if self.here.kind == "symbol" and self.here.value in wanted else None

    def word(self, *wanted: str) -> Token | None:
        """Read one of the *wanted* words, if it is next."""
        return self.next() if self.here.kind == "name" and self.here.value in wanted else None

    def expect(self, symbol: str) -> Token:
        """Read *symbol*."""
        return self.symbol(symbol) or fail(f"Expected `{symbol}`, found {shown(self.here)}", self.here)

    def name(self, what: str) -> Token:
        """Read a name."""
        if self.here.kind != "name":
            fail(f"Expected {what}, found {shown(self.here)}", self.here)
        return self.next()

    def end(self) -> None:
        """Check that all is read."""
        if self.here.kind != "end":
            fail(f"Unexpected {shown(self.here)}", self.here)


def shown(token: Token) -> str:
    """Return how an error names *token*."""
    if token.kind == "end":
        return f"`{token.value}`" if token.value else "the end"
    return f"`{token.value}`"


class ExpressionParser:
    """Parses the expressions of one template."""

    def __init__(self, tokens: Sequence[Token], compilation: Compilation) -> None:
        self.tokens = Tokens(tokens)
        self.compilation = compilation
        self._depth = 0

    # -- making nodes ---------------------------------------------------------------------------------------------

    def node(self, made: nodes.Expr, token: Token, *parts: nodes.Node) -> nodes.Expr:
        """Return *made* with its line, refusing a tree that is too high for Python's own compiler."""
        made.lineno = token.line
        height = 1 + max((getattr(part, "height", 1) for part in parts), default=0)
        if height > self.compilation.limits.expression_depth:
            self._too_deep(token)
        made.height = height  # type: ignore[attr-defined]
        return made

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > self.compilation.limits.expression_depth:
            self._too_deep(token)

    def _too_deep(self, token: Token) -> NoReturn:
        fail(
            f"An expression is nested deeper than the {self.compilation.limits.expression_depth} levels allowed", token
        )

    def const(self, value: Any, token: Token) -> nodes.Expr:
        """Return a constant."""
        return nodes.Const(value, lineno=token.line)

    def operator(self, name: str, token: Token, first: nodes.Expr, *rest: nodes.Expr, line: bool = True) -> nodes.Expr:
        """Return a call of the operator @*name*, with the line as last argument if it wants one."""
        arguments = [*rest, self.const(token.line, token)] if line else list(rest)
        return self.node(nodes.Filter(first, "@" + name, arguments, [], None, None), token, first, *rest)

    def thunk(self, operand: nodes.Expr, token: Token) -> nodes.Expr:
        """Return *operand* unevaluated (see sandbox.Generator)."""
        return self.node(nodes.MarkSafe(operand), token, operand)

    def truth(self, operand: nodes.Expr, token: Token) -> nodes.Expr:
        """Return *operand* as a boolean."""
        return self.operator("truth", token, operand, line=False)

    # -- grammar --------------------------------------------------------------------------------------------------

    def expression(self) -> nodes.Expr:
        """Parse `a ? b : c`, or anything that binds tighter."""
        token = self.tokens.here
        self._deeper(token)
        condition = self.binary(0)
        if self.tokens.symbol("?"):
            then = self.expression()
            self.tokens.expect(":")
            otherwise = self.expression()
            test = self.truth(condition, token)
            condition = self.node(nodes.CondExpr(test, then, otherwise), token, test, then, otherwise)
        self._depth -= 1
        return condition

    def binary(self, power: int) -> nodes.Expr:
        """Parse operators of at least *power*."""
        left = self.unary()
        while True:
            token = self.tokens.here
            if token.kind not in {"symbol", "name"} or POWER.get(token.value, -1) < power:
                return left
            self.tokens.next()
            left = self._combine(left, token)

    def _combine(self, left: nodes.Expr, token: Token) -> nodes.Expr:
        symbol = token.value
        if symbol == "|":
            return self.filter(left)
        if symbol == "is":
            return self._test(left, token)
        if symbol in {"??", "???", "~", "and", "or"}:
            return self._chain(left, token)
        right = self.binary(POWER[symbol] + 1)
        if symbol in {"==", "equals"}:
            return self.operator("equal", token, left, right, line=False)
        if symbol == "!=":
            same = self.operator("equal", token, left, right, line=False)
            return self.node(nodes.Not(same), token, same)
        if symbol in {"contains", "matches", "isIn", ".."}:
            name = {"isIn": "isin", "..": "range"}.get(symbol, symbol)
            return self.operator(name, token, left, right)
        name = "order" if symbol in {"<", ">", "<=", ">="} else "arithmetic"
        return self.operator(name, token, left, self.const(symbol, token), right)

    def _chain(self, left: nodes.Expr, token: Token) -> nodes.Expr:
        """Parse `a ~ b ~ c` as one operation: a long chain is then no deep tree."""
        operands = [left]
        while True:
            operands.append(self.binary(POWER[token.value] + 1))
            if self.tokens.here.kind == "end" or self.tokens.here.value != token.value:
                break
            self.tokens.next()
        if token.value in {"and", "or"}:
            return self._balanced(nodes.And if token.value == "and" else nodes.Or, operands, token)
        if token.value == "~":
            return self.operator("concat", token, self.const(None, token), *operands, line=False)
        name = "coalesce" if token.value == "??" else "undefined"
        later = [self.thunk(operand, token) for operand in operands]
        return self.operator(name, token, self.const(None, token), *later, line=False)

    def _balanced(self, kind: type[nodes.BinExpr], operands: list[nodes.Expr], token: Token) -> nodes.Expr:
        if len(operands) == 1:
            return self.truth(operands[0], token)
        middle = len(operands) // 2
        left = self._balanced(kind, operands[:middle], token)
        right = self._balanced(kind, operands[middle:], token)
        return self.node(kind(left, right), token, left, right)

    def unary(self) -> nodes.Expr:
        """Parse `not a`, `-a`, `+a`, or a primary."""
        token = self.tokens.here
        sign = self.tokens.word("not") or self.tokens.symbol("-", "+")
        if sign is None:
            return self._members(self._primary())
        self._deeper(token)
        operand = self.binary(NOT_POWER) if sign.value == "not" else self.unary()
        self._depth -= 1
        if sign.value == "not":
            truth = self.truth(operand, token)
            return self.node(nodes.Not(truth), token, truth)
        return self.operator("negate", token, operand) if sign.value == "-" else operand

    def _primary(self) -> nodes.Expr:
        token = self.tokens.next()
        match token.kind:
            case "number":
                return self._number(token)
            case "text":
                return self._text(token)
            case "name":
                return self._name(token)
            case "symbol" if token.value == "(":
                inner = self.expression()
                self.tokens.expect(")")
                return inner
            case "symbol" if token.value == "[":
                return self._list(token)
            case "symbol" if token.value == "{":
                return self._map(token)
            case _:
                fail(f"Expected a value, found {shown(token)}", token)

    def _number(self, token: Token) -> nodes.Expr:
        digits = token.value.rstrip("lL")
        if "." in digits:
            if digits != token.value:
                fail(f"`{token.value}` is not a number", token)
            return self.const(float(digits), token)
        if len(digits) > 19 or int(digits) >= 2**63:
            fail(f"The number {digits[:30]} leaves the range of a 64-bit integer", token)
        return self.const(int(digits), token)

    def _text(self, token: Token) -> nodes.Expr:
        if token.value[0] == '"' and "#{" in token.value:
            return self._interpolated(token)
        return self.const(text_value(token.value), token)

    def _interpolated(self, token: Token) -> nodes.Expr:
        """Parse `"a #{b} c"` (Pebble's Basic Usage, Literals)."""
        parts: list[nodes.Expr] = []
        rest = token.value[1:-1]
        while rest:
            before, opening, behind = rest.partition("#{")
            if before.endswith("\\") or not opening:
                parts.append(self.const(text_value(f'"{before}{opening}"'), token))
                rest = behind
                continue
            inner, closing, rest = behind.partition("}")
            if not closing:
                fail("`#{` is not closed", token)
            if before:
                parts.append(self.const(text_value(f'"{before}"'), token))
            nested = ExpressionParser(Lexer(inner, token.line, token.column).expression(), self.compilation)
            nested._depth = self._depth
            parts.append(nested.expression())
            nested.tokens.end()
        return self.operator("concat", token, self.const(None, token), *parts, line=False)

    def _name(self, token: Token) -> nodes.Expr:
        if token.value in _CONSTANTS:
            return self.const(_CONSTANTS[token.value], token)
        if token.value in _WORDS:
            fail(f"Expected a value, found {shown(token)}", token)
        if self.tokens.symbol("("):
            return self._call(token)
        return self.operator("var", token, self.const(token.value, token))

    def _list(self, token: Token) -> nodes.Expr:
        items: list[nodes.Expr] = []
        while not self.tokens.symbol("]"):
            if items:
                self.tokens.expect(",")
                if self.tokens.symbol("]"):
                    break
            items.append(self.expression())
        if len(items) == 1 and isinstance(items[0], nodes.Filter) and items[0].name == "@range":
            return items[0]  # `[1..9]` is the list of nine numbers, not a list with a list in it (reference §10.5)
        return self.node(nodes.List(items), token, *items)

    def _map(self, token: Token) -> nodes.Expr:
        pairs: list[nodes.Pair] = []
        parts: list[nodes.Expr] = []
        while not self.tokens.symbol("}"):
            if pairs:
                self.tokens.expect(",")
                if self.tokens.symbol("}"):
                    break
            key = self.operator("key", token, self.expression())
            self.tokens.expect(":")
            value = self.expression()
            parts += (key, value)
            pairs.append(nodes.Pair(key, value, lineno=token.line))
        return self.node(nodes.Dict(pairs), token, *parts)

    def _members(self, value: nodes.Expr) -> nodes.Expr:
        """Parse `.name` and `[expression]` behind a value; a path of names becomes one operation."""
        path: list[str] = []
        root = _variable_name(value)
        while True:
            token = self.tokens.here
            if self.tokens.symbol("."):
                keys = self._member_names()
                called = self.tokens.here.kind == "symbol" and self.tokens.here.value == "("
                for key in keys[:-1] if called else keys:
                    path.append(key)
                    value = self.operator("member", token, value, self.const(key, token))
                if called:
                    value = self._method(keys[-1], value, token)
                    root = None
            elif self.tokens.symbol("["):
                key_node = self.expression()
                self.tokens.expect("]")
                value = self.operator("member", token, value, key_node)
                root = None
            else:
                return value
            if root is not None:
                keys_node = nodes.Const(tuple(path), lineno=token.line)
                value = self.operator("path", token, self.const(root, token), keys_node)

    def _method(self, name: str, value: nodes.Expr, token: Token) -> nodes.Expr:
        """Parse the arguments of `value.name(…)`, one of Java's methods that there are."""
        spec = METHODS.get(name)
        if spec is None:
            fail(f"Methods cannot be called: `{name}(`; use a filter", self.tokens.here)
        self.tokens.expect("(")
        positional, named = self._arguments()
        return self._bound(spec, token, value, positional, named)

    def _member_names(self) -> list[str]:
        token = self.tokens.next()
        if token.kind == "name":
            return [token.value]
        if token.kind == "number":  # `list.0.1` reads as the number 0.1
            return token.value.split(".")
        fail(f"Expected a name after `.`, found {shown(token)}", token)

    # -- filters, tests, functions ----------------------------------------------------------------------------------

    def filter(self, value: nodes.Expr) -> nodes.Expr:
        """Parse the name and arguments of a filter, the `|` being read."""
        token = self.tokens.name("the name of a filter")
        spec = FILTERS.get(token.value)
        if spec is None:
            fail(f"Filter [{token.value}] does not exist.{suggestion(token.value, FILTERS)}", token)
        positional, named = self._arguments() if self.tokens.symbol("(") else ([], [])
        return self._bound(spec, token, value, positional, named)

    def _test(self, value: nodes.Expr, token: Token) -> nodes.Expr:
        negated = self.tokens.word("not")
        name = self.tokens.name("the name of a test")
        spec = TESTS.get(name.value)
        if spec is None:
            fail(f"Test [{name.value}] does not exist.{suggestion(name.value, TESTS)}", name)
        positional, named = self._arguments() if self.tokens.symbol("(") else ([], [])
        test = self._bound(spec, name, value, positional, named)
        return self.node(nodes.Not(test), token, test) if negated else test

    def _call(self, token: Token) -> nodes.Expr:
        name = token.value
        positional, named = self._arguments()
        if name == "block" and len(positional) == 1 and not named:
            return self.operator("block", token, positional[0])
        spec = FUNCTIONS.get(name)
        if spec is not None and name not in self.compilation.without:
            return self._bound(spec, token, None, positional, named)
        if name in UNSUPPORTED:
            fail(f"{name}() is not supported: {UNSUPPORTED[name]}", token)
        self.compilation.calls.append(token)
        pairs = [nodes.Pair(self.const(key, token), value, lineno=token.line) for key, value in named]
        values = [value for _, value in named]
        listed = self.node(nodes.List(positional), token, *positional)
        mapped = self.node(nodes.Dict(pairs), token, *values)
        return self.operator("macro", token, self.const(name, token), listed, mapped)

    def _arguments(self) -> tuple[list[nodes.Expr], list[tuple[str, nodes.Expr]]]:
        positional: list[nodes.Expr] = []
        named: list[tuple[str, nodes.Expr]] = []
        while not self.tokens.symbol(")"):
            if positional or named:
                self.tokens.expect(",")
            token, after = self.tokens.here, self.tokens.after
            if token.kind == "name" and after.kind == "symbol" and after.value == "=":
                self.tokens.next()
                self.tokens.next()
                if any(key == token.value for key, _ in named):
                    fail(f"The argument `{token.value}` is given twice", token)
                named.append((token.value, self.expression()))
            elif named:
                fail("A positional argument cannot follow a named one", token)
            else:
                positional.append(self.expression())
        return positional, named

    def _bound(
        self,
        spec: Spec,
        token: Token,
        value: nodes.Expr | None,
        positional: list[nodes.Expr],
        named: list[tuple[str, nodes.Expr]],
    ) -> nodes.Expr:
        given = self._bind(spec, token, positional, named)
        line = self.const(token.line, token)
        parts = [*positional, *(each for _, each in named)]
        if value is None:
            first, arguments = line, []
        else:
            first, arguments = (self.thunk(value, token) if spec.lazy else value), [line]
            parts.append(first)
        if spec.variadic:
            arguments += positional
        keywords = [nodes.Keyword(target, each, lineno=token.line) for target, each in given]
        return self.node(nodes.Filter(first, spec.key, arguments, keywords, None, None), token, *parts)

    def _bind(
        self, spec: Spec, token: Token, positional: list[nodes.Expr], named: list[tuple[str, nodes.Expr]]
    ) -> list[tuple[str, nodes.Expr]]:
        """Return the arguments by their Python names, or fail as the call would."""
        what = f"{spec.kind} '{spec.name}'"
        given: list[tuple[str, nodes.Expr]] = []
        if not spec.variadic:
            if len(positional) > len(spec.targets):
                fail(f"The {what} takes at most {len(spec.targets)} arguments, not {len(positional)}", token)
            given = list(zip(spec.targets, positional, strict=False))
        for key, value in named:
            if key not in spec.arguments:
                fail(f"The {what} has no argument `{key}`.{suggestion(key, spec.arguments)}", token)
            target = spec.targets[spec.arguments.index(key)]
            if any(target == other for other, _ in given):
                fail(f"The argument `{key}` is given twice", token)
            given.append((target, value))
        if spec.variadic:
            return given
        have = {target for target, _ in given}
        for argument, target in list(zip(spec.arguments, spec.targets, strict=True))[: spec.required]:
            if target not in have:
                fail(f"The {what} needs the argument `{argument}`", token)
        return given


def _variable_name(value: nodes.Expr) -> str | None:
    if isinstance(value, nodes.Filter) and value.name == "@var" and isinstance(value.node, nodes.Const):
        return str(value.node.value)
    return None
