"""One evaluation: variables, scopes, counters, and the bodies of macros and blocks.

Jinja's generated code receives an `Evaluation` where it expects Jinja's own context. No name is ever resolved by
Jinja: names, members and calls go through the operators of this package, which reach data only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2.utils import missing

from . import values
from .errors import ExpressionError, Missing
from .host import Host
from .limits import Budget

if TYPE_CHECKING:
    from .engine import Expressions

Body = Callable[[Any], Iterator[Any]]
"""A compiled piece of template: given an Evaluation, yields what it prints."""


@dataclass(frozen=True)
class Macro:
    """A macro: its parameters in order, with the body that computes the default, or None."""

    parameters: tuple[tuple[str, Body | None], ...]
    body: Body


@dataclass
class Program:
    """A compiled template."""

    source: str
    root: Body
    plain: bool
    """Nothing but texts and prints: the typed render may look at each."""
    bodies: list[Body] = field(default_factory=list)
    macros: dict[str, Macro] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)


class Evaluation:
    """The state of one run of a program."""

    __slots__ = ("base", "budget", "calls", "depth", "engine", "host", "program", "protected", "scopes", "typed",
                 "variables")  # fmt: skip

    def __init__(
        self,
        engine: Expressions,
        program: Program,
        variables: Mapping[str, Any],
        host: Host,
        budget: Budget,
        *,
        depth: int = 0,
    ) -> None:
        self.engine = engine
        self.program = program
        self.variables = variables
        self.host = host
        self.budget = budget
        self.depth = depth
        self.base: dict[str, Any] = {}
        self.scopes: list[dict[str, Any]] = []
        self.typed = False
        self.calls = 0
        self.protected: list[str] | None = None

    def resolve_or_missing(self, name: str) -> Any:
        """Tell Jinja's code that it knows no name; ours never asks."""
        del name
        return missing

    def lookup(self, name: str, line: int) -> Any:
        """Return the variable *name*: of the innermost scope, of `set`, of the caller."""
        budget = self.budget
        budget.steps -= 1
        if budget.steps < 0:
            budget.step(0)
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name in self.base:
            return self.base[name]
        try:
            return self.variables[name]
        except KeyError:
            if name == "_context":
                return Visible(self)
            raise Missing(name, self.program.source, line) from None

    def assign(self, name: str, value: Any) -> None:
        """Set a variable where it already is, else in the innermost scope (Pebble's `set`)."""
        for scope in reversed(self.scopes):
            if name in scope:
                scope[name] = value
                return
        if self.scopes and name not in self.base and name not in self.variables:
            self.scopes[-1][name] = value
        else:
            self.base[name] = value

    def visible(self) -> Mapping[str, Any]:
        """Return all variables there are here as one map, read on demand."""
        return self.variables if not self.base and not self.scopes else Visible(self)

    def out(self, value: Any) -> Any:
        """Return what a print yields: the text of *value*, or *value* itself in a typed render."""
        if self.typed or type(value) is str:
            return value
        return values.text_of(value, self.budget)

    def collect(self, body: Body) -> str:
        """Run *body* to its end and return its text, stopping when it gets too long."""
        pieces: list[str] = []
        left = limit = self.budget.limits.output_chars
        for piece in body(self):
            left -= len(piece)
            if left < 0:
                self.budget.chars(limit + 1)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else "".join(pieces)

    def value_of(self, body: Body) -> Any:
        """Return the value of a body that is one expression."""
        before, self.typed = self.typed, True
        try:
            return next(body(self))
        finally:
            self.typed = before

    def enter(self, body: Body, scopes: list[dict[str, Any]]) -> str:
        """Return the text of *body*, run inside *scopes*: a macro, a block or the content of a filter tag."""
        if self.calls >= self.budget.limits.macro_depth:
            raise ExpressionError(f"Macros call one another more than {self.budget.limits.macro_depth} levels deep")
        before = (self.scopes, self.typed)
        self.calls += 1
        self.scopes, self.typed = scopes, False
        try:
            return self.collect(body)
        finally:
            self.scopes, self.typed = before
            self.calls -= 1

    def call_macro(self, name: str, arguments: list[Any], named: dict[str, Any]) -> str:
        """Return the text of a macro, which sees its arguments and nothing else (Pebble's Basic Usage, Macros)."""
        macro = self.program.macros[name]
        self.budget.step()
        outside = (self.base, self.variables)
        scope: dict[str, Any] = {}
        unknown = named.keys() - {parameter for parameter, _ in macro.parameters}
        if unknown:
            raise ExpressionError(f"The macro '{name}' has no argument `{min(unknown)}`")
        self.base, self.variables = scope, {}
        try:
            for position, (parameter, default) in enumerate(macro.parameters):
                if parameter in named:
                    scope[parameter] = named[parameter]
                elif position < len(arguments):
                    scope[parameter] = arguments[position]
                else:
                    scope[parameter] = self.value_of(default) if default else None
            return self.enter(macro.body, [])
        finally:
            self.base, self.variables = outside

    def call_block(self, name: str) -> str:
        """Return the text of a block declared in this template."""
        if name not in self.program.blocks:
            raise ExpressionError(f"Block [{name}] does not exist.")
        self.budget.step()
        return self.enter(self.program.bodies[self.program.blocks[name]], [*self.scopes, {}])

    def protect(self, text: str) -> str:
        """Return the content of a raw tag; in recursive rendering a mark that stands for it until the end."""
        if self.protected is None:
            return text
        self.protected.append(text)
        return raw_mark(len(self.protected) - 1)


def raw_mark(number: int) -> str:
    """Return the mark of the *number*-th protected text: noncharacters, which no text holds."""
    return f"\ufdd0{number}\ufdd1"


class Visible(Mapping[str, Any]):
    """Everything an evaluation sees, as a map: `_context`, and the variables of a nested render()."""

    __slots__ = ("_layers",)

    def __init__(self, evaluation: Evaluation) -> None:
        self._layers: list[Mapping[str, Any]] = [*reversed(evaluation.scopes), evaluation.base, evaluation.variables]

    def __getitem__(self, key: str) -> Any:
        for layer in self._layers:
            try:
                return layer[key]
            except KeyError:
                continue
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        seen: dict[str, None] = {}
        for layer in reversed(self._layers):
            seen.update(dict.fromkeys(layer))
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Entry(Mapping[str, Any]):
    """What `for` yields over a map: `entry.key` and `entry.value`, the value loaded when asked for."""

    __slots__ = ("_key", "_map")

    def __init__(self, origin: Mapping[Any, Any], key: Any) -> None:
        self._map = origin
        self._key = key

    def __getitem__(self, name: str) -> Any:
        if name == "key":
            return self._key
        if name == "value":
            return self._map[self._key]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("key", "value"))

    def __len__(self) -> int:
        return 2


class Loop(Mapping[str, Any]):
    """The variable `loop`; `index` counts from zero (Pebble's `for`)."""

    __slots__ = ("index", "length")
    _NAMES = ("index", "length", "first", "last", "revindex")

    def __init__(self, length: int) -> None:
        self.index = 0
        self.length = length

    def __getitem__(self, name: str) -> Any:
        match name:
            case "index":
                return self.index
            case "length":
                return self.length
            case "first":
                return self.index == 0
            case "last":
                return self.index == self.length - 1
            case "revindex":
                return self.length - self.index - 1
            case _:
                raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)
