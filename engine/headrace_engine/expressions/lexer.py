"""From the text of a template to pieces (text, print, tag) and from those to tokens.

Pebble's delimiters and literals (pebbletemplates.io, Basic Usage): `{{ }}`, `{% %}`, `{# #}`, a dash inside a
delimiter trims the white space outside, texts in either quotes with backslash escapes, `#{}` inside double quotes,
numbers with an optional `L`. Every scan goes forward only, so a template costs time in proportion to its length.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from .errors import ExpressionError

_OPEN = re.compile(r"\{([{%#])(-?)")
_RAW = re.compile(r"\{%-?\s*(raw|verbatim)\s*(-?)%\}")
_END_RAW = {kind: re.compile(r"\{%(-?)\s*end" + kind + r"\s*(-?)%\}") for kind in ("raw", "verbatim")}
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?[lL]?")
_NAME = re.compile(r"[^\W\d]\w*")
_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
# Longest first: `???` before `??` before `?`.
_SYMBOLS = ("???", "??", "..", "==", "!=", "<=", ">=", "?", ":", "|", "~", "+", "-", "*", "/", "%", "<", ">", "=", ".",
            ",", "(", ")", "[", "]", "{", "}")  # fmt: skip
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "#": "#"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an expression or tag. `kind` is name, number, text, symbol or end."""

    kind: str
    value: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a template: `text` and `raw` carry content, `print` and `tag` carry tokens (the last one `end`)."""

    kind: str
    content: str
    tokens: tuple[Token, ...]
    line: int
    column: int


class Positions:
    """Lines and columns of offsets, from 1."""

    def __init__(self, source: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]

    def at(self, offset: int) -> tuple[int, int]:
        """Return line and column of *offset*."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class Lexer:
    """Splits one template."""

    def __init__(self, source: str, line: int = 1, column: int = 1) -> None:
        self._source = source
        self._positions = Positions(source)
        # Where this text begins in the template, when it is a part of one (an interpolation).
        self._base = (line, column)

    def pieces(self) -> list[Piece]:
        """Return the pieces of the template; comments and empty texts are left out."""
        found: list[Piece] = []
        position, trim = 0, False
        while True:
            opening = _OPEN.search(self._source, position)
            if opening is None:
                self._text(found, position, len(self._source), left=trim, right=False)
                return found
            start = opening.start()
            self._text(found, position, start, left=trim, right=bool(opening[2]))
            raw = _RAW.match(self._source, start)
            if raw:
                position, trim = self._raw(found, raw)
            elif opening[1] == "#":
                position, trim = self._comment(opening)
            else:
                kind, close = ("print", "}}") if opening[1] == "{" else ("tag", "%}")
                tokens, position, trim = self._tokens(opening.end(), close, start)
                found.append(Piece(kind, "", tuple(tokens), *self._at(start)))

    def expression(self) -> tuple[Token, ...]:
        """Return the tokens of a text that is nothing but an expression."""
        return tuple(self._tokens(0, "", 0)[0])

    def _at(self, offset: int) -> tuple[int, int]:
        line, column = self._positions.at(offset)
        first, indent = self._base
        return line + first - 1, column + (indent - 1 if line == 1 else 0)

    def _error(self, message: str, offset: int) -> ExpressionError:
        line, column = self._at(offset)
        return ExpressionError(f"{message} (line {line}, column {column})", line, column)

    def _text(self, found: list[Piece], start: int, end: int, *, left: bool, right: bool) -> None:
        text = self._source[start:end]
        if left:
            text = text.lstrip()
        if right:
            text = text.rstrip()
        if text:
            found.append(Piece("text", text, (), *self._at(start)))

    def _raw(self, found: list[Piece], opening: re.Match[str]) -> tuple[int, bool]:
        closing = _END_RAW[opening[1]].search(self._source, opening.end())
        if closing is None:
            raise self._error(f"`{opening[1]}` has no `end{opening[1]}`", opening.start())
        text = self._source[opening.end() : closing.start()]
        if opening[2]:
            text = text.lstrip()
        if closing[1]:
            text = text.rstrip()
        found.append(Piece("raw", text, (), *self._at(opening.start())))
        return closing.end(), bool(closing[2])

    def _comment(self, opening: re.Match[str]) -> tuple[int, bool]:
        end = self._source.find("#}", opening.end())
        if end < 0:
            raise self._error("A comment is not closed: `#}` is missing", opening.start())
        return end + 2, self._source[end - 1] == "-" and end > opening.end()

    def _tokens(self, position: int, close: str, start: int) -> tuple[list[Token], int, bool]:
        tokens: list[Token] = []
        brackets: list[str] = []
        source = self._source
        while True:
            space = _SPACE.match(source, position)
            position = space.end() if space else position
            if position >= len(source):
                if close:
                    raise self._error(f"`{close}` is missing", start)
                tokens.append(Token("end", "", *self._at(position)))
                return tokens, position, False
            # `}}` may end two maps as well as a print: it ends the print only outside of brackets.
            if close and not brackets:
                trim = source.startswith("-" + close, position)
                if trim or source.startswith(close, position):
                    tokens.append(Token("end", close, *self._at(position)))
                    return tokens, position + len(close) + trim, trim
            token, position = self._token(position)
            self._balance(brackets, token, position)
            tokens.append(token)

    def _token(self, position: int) -> tuple[Token, int]:
        source = self._source
        line, column = self._at(position)
        for kind, pattern in (("text", _TEXT), ("number", _NUMBER), ("name", _NAME)):
            match = pattern.match(source, position)
            if match:
                return Token(kind, match[0], line, column), match.end()
        if source[position] in "\"'":
            raise self._error("A text is not closed", position)
        for symbol in _SYMBOLS:
            if source.startswith(symbol, position):
                return Token("symbol", symbol, line, column), position + len(symbol)
        raise self._error(f"Unexpected character `{source[position]}`", position)

    def _balance(self, brackets: list[str], token: Token, position: int) -> None:
        if token.kind != "symbol":
            return
        if token.value in _CLOSING:
            brackets.append(_CLOSING[token.value])
        elif token.value in {")", "]", "}"}:
            if not brackets:
                raise self._error(f"`{token.value}` closes nothing", position - 1)
            if brackets[-1] != token.value:
                raise self._error(f"Expected `{brackets[-1]}`, found `{token.value}`", position - 1)
            brackets.pop()


def text_value(literal: str) -> str:
    """Return the value of a text literal, quotes included in *literal*.

    `\\\\`, `\\"`, `\\'`, `\\n`, `\\t`, `\\r` are escapes; any other backslash stays, so that `'\\d+'` is a pattern.
    """
    body = literal[1:-1]
    if "\\" not in body:
        return body
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), body, flags=re.DOTALL)
