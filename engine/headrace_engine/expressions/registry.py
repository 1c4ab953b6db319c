"""Where filters, functions and tests are declared, and how a call in a template is bound to one.

A declaration gives the names of the arguments as templates write them (`existingFormat`), the Python function their
defaults. Binding happens when a template is compiled, so that a wrong argument is found at save time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from jinja2 import pass_context

from . import values
from .errors import ExpressionError, Missing

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Spec:
    """One filter, function or test."""

    kind: str
    name: str
    call: Callable[..., Any]
    """What compiled templates call: (context, value, line, …) or, for a function, (context, line, …)."""
    arguments: tuple[str, ...]
    """Names in templates, in order."""
    targets: tuple[str, ...]
    """Names in Python, in the same order."""
    required: int
    variadic: bool
    lazy: bool
    """The operand is given unevaluated, to be asked whether it is there."""

    @property
    def key(self) -> str:
        """The name in the sandbox, one that no template can write."""
        return f"{self.kind}:{self.name}"


FILTERS: dict[str, Spec] = {}
FUNCTIONS: dict[str, Spec] = {}
TESTS: dict[str, Spec] = {}
METHODS: dict[str, Spec] = {}
# Names that Kestra has and we cannot have, with the reason; refused when a template is compiled.
UNSUPPORTED: dict[str, str] = {
    "credential": "managed credentials are a feature of Kestra's Enterprise Edition; use secret()",
    "appLink": "Apps are a feature of Kestra's Enterprise Edition",
    "assets": "Assets are a feature of Kestra's Enterprise Edition",
    "subflow": "start the other flow with a Subflow task",
    "i18n": "there are no resource bundles",
    "parent": "template inheritance is not part of Kestra's expressions",
}


def expression_filter(
    name: str, arguments: str = "", *, lazy: bool = False, nulls: bool = False, aliases: str = ""
) -> Callable[[F], F]:
    """Declare a filter. Null passes through it untouched unless *nulls*; *lazy* gives it the operand as a thunk."""

    def declare(function: F) -> F:
        for each in (name, *aliases.split()):
            FILTERS[each] = _spec("filter", each, function, arguments, lazy=lazy, nulls=nulls or lazy)
        return function

    return declare


def expression_test(name: str, arguments: str = "", *, lazy: bool = False) -> Callable[[F], F]:
    """Declare a test (`is name`)."""

    def declare(function: F) -> F:
        TESTS[name] = _spec("test", name, function, arguments, lazy=lazy, nulls=True)
        return function

    return declare


def expression_method(name: str, arguments: str = "", *, aliases: str = "") -> Callable[[F], F]:
    """Declare a method (`value.name()`)."""

    def declare(function: F) -> F:
        for each in (name, *aliases.split()):
            METHODS[each] = _spec("method", each, function, arguments, lazy=False, nulls=True)
        return function

    return declare


def expression_function(name: str, arguments: str = "", *, aliases: str = "") -> Callable[[F], F]:
    """Declare a function."""

    def declare(function: F) -> F:
        for each in (name, *aliases.split()):
            FUNCTIONS[each] = _spec("function", each, function, arguments, lazy=False, nulls=True)
        return function

    return declare


def _spec(kind: str, name: str, function: Callable[..., Any], arguments: str, *, lazy: bool, nulls: bool) -> Spec:
    parameters = list(inspect.signature(function).parameters.values())[1 if kind == "function" else 2 :]
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    names = tuple(arguments.split())
    assert len(names) == len(named), f"{kind} {name}: {names} does not fit {named}"  # noqa: S101 - a slip of ours
    return Spec(
        kind,
        name,
        _call_function(name, function) if kind == "function" else _call_filter(kind, name, function, nulls=nulls),
        names,
        tuple(parameter.name for parameter in named),
        sum(parameter.default is parameter.empty for parameter in named),
        variadic,
        lazy,
    )


# What a filter may stumble over when it meets a value it was not written for: the template's fault, not a bug.
_MISUSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


def _call_filter(kind: str, name: str, function: Callable[..., Any], *, nulls: bool) -> Callable[..., Any]:
    @pass_context
    def call(context: Any, value: Any, line: int, *args: Any, **kwargs: Any) -> Any:
        context.budget.step()
        if value is None and kind == "method":
            raise Missing(name, context.program.source, line)
        if value is None and not nulls:
            return None
        try:
            return function(context, value, *args, **kwargs)
        except ExpressionError as error:
            raise _placed(error, line) from error.__cause__
        except _MISUSE as error:
            _misused(f"{kind} '{name}'", error, line)

    return call


def _call_function(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def call(context: Any, line: int, *args: Any, **kwargs: Any) -> Any:
        context.budget.step()
        try:
            return function(context, *args, **kwargs)
        except ExpressionError as error:
            raise _placed(error, line) from error.__cause__
        except _MISUSE as error:
            _misused(f"function '{name}'", error, line)

    return call


def _placed(error: ExpressionError, line: int) -> ExpressionError:
    if error.line is None:
        error.line = line
    return error


def _misused(what: str, error: Exception, line: int) -> NoReturn:
    reason = "a value is nested too deeply" if isinstance(error, RecursionError) else str(error) or type(error).__name__
    raise ExpressionError(f"The {what} cannot be applied: {reason}", line) from error


def suggestion(name: str, known: object) -> str:
    """Return " Did you mean `x`?" for the nearest of the *known* names, or nothing."""
    import difflib  # noqa: PLC0415 - only on the way to an error

    names = sorted(str(each) for each in known)  # type: ignore[attr-defined]
    lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f" Did you mean `{lower[near[0]]}`?" if near else ""


def text(value: Any, what: str) -> str:
    """Return *value*, which must be a text."""
    if not isinstance(value, str):
        raise ExpressionError(f"The {what} needs a text, not {values.class_name(value)}; use `| string`")
    return value


def integer(value: Any, what: str) -> int:
    """Return *value*, which must be an integer, or a text that writes one."""
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"The {what} needs an integer, not {values.class_name(value)}")
    return int(value)


def listing(value: Any, what: str) -> Any:
    """Return *value*, which must be a list."""
    if not values.is_list(value):
        raise ExpressionError(f"The {what} needs a list, not {values.class_name(value)}")
    return value
