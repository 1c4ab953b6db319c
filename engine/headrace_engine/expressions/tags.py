"""Templates: text, prints and tags, from pieces to Jinja's nodes.

The tags are Kestra's (reference §10.2): if, for, set, macro, block, filter, raw, verbatim. Bodies that run apart from
where they stand (of macros, blocks and filters) are compiled each as a function of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from jinja2 import nodes

from .context import Macro
from .lexer import Piece, Token
from .parser import Compilation, ExpressionParser, fail, shown
from .registry import FILTERS, FUNCTIONS, suggestion

_TAGS = ("if", "for", "set", "macro", "block", "filter", "raw", "verbatim")
_INNER = ("elseif", "else", "endif", "endfor", "endmacro", "endblock", "endfilter")
_REMOVED = ("autoescape", "cache", "embed", "extends", "flush", "import", "include", "from", "parallel")


class TemplateParser:
    """Parses the pieces of one template."""

    def __init__(self, pieces: Sequence[Piece], compilation: Compilation) -> None:
        self._pieces = pieces
        self._at = 0
        self._compilation = compilation
        self._depth = 0

    def template(self) -> list[nodes.Node]:
        """Parse everything."""
        body = self._body((), None)
        known = self._compilation.macros
        for call in self._compilation.calls:
            if call.value not in known:
                near = suggestion(call.value, [*FUNCTIONS, *known])
                if call.value in FILTERS:
                    near = f" There is a filter of that name: `value | {call.value}`."
                fail(f"Function or Macro [{call.value}] does not exist.{near}", call)
        return body

    def _body(self, until: tuple[str, ...], opener: Piece | None) -> list[nodes.Node]:
        """Parse up to one of the tags *until*, which stays to be read."""
        found: list[nodes.Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            if piece.kind == "tag":
                name = piece.tokens[0].value
                if name in until:
                    return found
                self._at += 1
                node = self._tag(piece, name)
                if node is not None:
                    found.append(node)
                continue
            self._at += 1
            found.append(self._output(piece))
        if opener is not None:
            token = opener.tokens[0]
            fail(f"The tag `{token.value}` is not closed: `{until[-1]}` is missing", token)
        return found

    def _output(self, piece: Piece) -> nodes.Node:
        if piece.kind == "print":
            parser = ExpressionParser(piece.tokens, self._compilation)
            expression = parser.expression()
            parser.tokens.end()
            return nodes.Output([expression], lineno=piece.line)
        if piece.kind == "raw":
            constant = nodes.Const(piece.content, lineno=piece.line)
            raw = nodes.Filter(constant, "@raw", [], [], None, None, lineno=piece.line)
            return nodes.Output([raw], lineno=piece.line)
        return nodes.Output([nodes.TemplateData(piece.content, lineno=piece.line)], lineno=piece.line)

    def _tag(self, piece: Piece, name: str) -> nodes.Node | None:
        parser = ExpressionParser(piece.tokens, self._compilation)
        token = parser.tokens.next()
        match name:
            case "if":
                return self._if(piece, parser)
            case "for":
                return self._for(piece, parser)
            case "set":
                return self._set(parser)
            case "macro":
                self._macro(piece, parser)
                return None
            case "block":
                return self._block(piece, parser)
            case "filter":
                return self._filter(piece, parser)
        return self._unknown(name, token)

    def _unknown(self, name: str, token: Token) -> NoReturn:
        if name in _INNER:
            fail(f"Unexpected tag `{name}`", token)
        if name in _REMOVED:
            fail(f"The tag `{name}` is not part of Kestra's expressions", token)
        if token.kind != "name":
            fail(f"Expected the name of a tag, found {shown(token)}", token)
        fail(f"Unexpected tag name `{name}`.{suggestion(name, _TAGS)}", token)

    def _enter(self, piece: Piece) -> None:
        self._depth += 1
        limit = self._compilation.limits.tag_depth
        if self._depth > limit:
            fail(f"Tags are nested deeper than the {limit} levels allowed", piece.tokens[0])

    def _inner(self) -> tuple[str, ExpressionParser]:
        """Read the tag that ended a body."""
        piece = self._pieces[self._at]
        self._at += 1
        parser = ExpressionParser(piece.tokens, self._compilation)
        return parser.tokens.next().value, parser

    def _close(self, parser: ExpressionParser, *, named: bool = False) -> None:
        """Check that nothing else stands in an ending tag (its name may be repeated)."""
        if named and parser.tokens.here.kind in {"name", "text"}:
            parser.tokens.next()
        parser.tokens.end()

    def _condition(self, parser: ExpressionParser) -> nodes.Expr:
        token = parser.tokens.here
        condition = parser.truth(parser.expression(), token)
        parser.tokens.end()
        return condition

    def _if(self, piece: Piece, parser: ExpressionParser) -> nodes.Node:
        self._enter(piece)
        ends = ("elseif", "else", "endif")
        branches = [nodes.If(self._condition(parser), self._body(ends, piece), [], [], lineno=piece.line)]
        otherwise: list[nodes.Node] = []
        while True:
            line = self._pieces[self._at].line
            name, parser = self._inner()
            if name != "elseif":
                break
            branches.append(nodes.If(self._condition(parser), self._body(ends, piece), [], [], lineno=line))
        if name == "else":
            parser.tokens.end()
            otherwise = self._body(("endif",), piece)
            _, parser = self._inner()
        self._close(parser)
        self._depth -= 1
        first, *rest = branches
        first.elif_ = rest
        first.else_ = otherwise
        return first

    def _for(self, piece: Piece, parser: ExpressionParser) -> nodes.Node:
        self._enter(piece)
        name = parser.tokens.name("the name of a variable")
        if not parser.tokens.word("in"):
            fail(f"Expected `in`, found {shown(parser.tokens.here)}", parser.tokens.here)
        iterable = parser.operator("loop", name, parser.expression(), parser.const(name.value, name))
        parser.tokens.end()
        body = self._body(("else", "endfor"), piece)
        ending, parser = self._inner()
        otherwise: list[nodes.Node] = []
        if ending == "else":
            parser.tokens.end()
            otherwise = self._body(("endfor",), piece)
            _, parser = self._inner()
        self._close(parser)
        self._depth -= 1
        # The operator sets the variable; Jinja's own target is a name nobody reads.
        target = nodes.Name("round", "store", lineno=piece.line)
        return nodes.For(target, iterable, body, otherwise, None, False, lineno=piece.line)  # noqa: FBT003 - Jinja's

    def _set(self, parser: ExpressionParser) -> nodes.Node:
        name = parser.tokens.name("the name of a variable")
        parser.tokens.expect("=")
        value = parser.operator("set", name, parser.expression(), parser.const(name.value, name), line=False)
        parser.tokens.end()
        return nodes.ExprStmt(value, lineno=name.line)

    def _apart(self, piece: Piece, end: str) -> list[nodes.Node]:
        """Parse a body that becomes a function of its own."""
        outside, self._depth = self._depth, 0
        self._compilation.nesting += 1
        if self._compilation.nesting > self._compilation.limits.tag_depth:
            fail(
                f"Tags are nested deeper than the {self._compilation.limits.tag_depth} levels allowed", piece.tokens[0]
            )
        body = self._body((end,), piece)
        self._compilation.nesting -= 1
        self._depth = outside
        return body

    def _macro(self, piece: Piece, parser: ExpressionParser) -> None:
        name = parser.tokens.name("the name of a macro")
        if name.value in self._compilation.macros:
            fail(f"The macro `{name.value}` is declared twice", name)
        parser.tokens.expect("(")
        parameters: list[tuple[str, Any]] = []
        while not parser.tokens.symbol(")"):
            if parameters:
                parser.tokens.expect(",")
            parameter = parser.tokens.name("the name of an argument")
            default = None
            if parser.tokens.symbol("="):
                value = parser.expression()
                default = self._compilation.compile([nodes.Output([value], lineno=parameter.line)])
            parameters.append((parameter.value, default))
        parser.tokens.end()
        # Known before its body is parsed: a macro may call itself.
        self._compilation.macros[name.value] = None
        body = self._apart(piece, "endmacro")
        self._close(self._inner()[1], named=True)
        self._compilation.macros[name.value] = Macro(tuple(parameters), self._compilation.compile(body))

    def _block(self, piece: Piece, parser: ExpressionParser) -> nodes.Node:
        token = parser.tokens.next()
        if token.kind not in {"name", "text"}:
            fail(f"Expected the name of a block, found {shown(token)}", token)
        name = token.value.strip("\"'") if token.kind == "text" else token.value
        parser.tokens.end()
        if name in self._compilation.blocks:
            fail(f"The block `{name}` is declared twice", token)
        bodies = self._compilation.bodies
        self._compilation.blocks[name] = len(bodies)
        bodies.append(None)
        body = self._apart(piece, "endblock")
        self._close(self._inner()[1], named=True)
        bodies[self._compilation.blocks[name]] = self._compilation.compile(body)
        return nodes.Output([parser.operator("block", token, parser.const(name, token))], lineno=piece.line)

    def _filter(self, piece: Piece, parser: ExpressionParser) -> nodes.Node:
        bodies = self._compilation.bodies
        number = len(bodies)
        bodies.append(None)
        token = parser.tokens.here
        value = parser.filter(parser.operator("body", token, parser.const(number, token)))
        while parser.tokens.symbol("|"):
            value = parser.filter(value)
        parser.tokens.end()
        body = self._apart(piece, "endfilter")
        self._close(self._inner()[1])
        bodies[number] = self._compilation.compile(body)
        return nodes.Output([value], lineno=piece.line)
