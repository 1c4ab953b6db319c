"""What compiled templates call for every operator, look-up and tag.

They are registered in the sandbox as filters, because Jinja's generated code calls a filter directly and hands it
the context; their names begin with `@`, so no template can write one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import pass_context

from . import numeric, regex, values
from .context import Entry, Evaluation, Loop
from .errors import ExpressionError, Missing
from .limits import Budget

INTERNAL: dict[str, Callable[..., Any]] = {}

Thunk = Callable[[], Any]


def _operator(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        INTERNAL["@" + name] = pass_context(function)
        return function

    return declare


def at_line(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give an ExpressionError without a place the line, which is the last argument."""

    def call(context: Evaluation, *args: Any) -> Any:
        try:
            return function(context, *args)
        except ExpressionError as error:
            if error.line is None:
                error.line = args[-1]
            raise
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ExpressionError(f"The operator cannot be applied: {error}", args[-1]) from error

    return call


@_operator("var")
def variable(context: Evaluation, name: str, line: int) -> Any:
    """`name`."""
    return context.lookup(name, line)


@_operator("path")
def path(context: Evaluation, root: str, keys: tuple[str, ...], line: int) -> Any:
    """`root.key.key`: the commonest expression, in one call."""
    value = context.lookup(root, line)
    for key in keys:
        value = value[key] if type(value) is dict and key in value else _member(context, value, key, line)
    return _opened(context, value)


@_operator("member")
def member(context: Evaluation, value: Any, key: Any, line: int) -> Any:
    """`value.key` and `value[key]`: an entry of a map, an item of a list, the size of a text or list."""
    return _opened(context, _member(context, value, key, line))


def _opened(context: Evaluation, value: Any) -> Any:
    """Return what an expression has come to: sealed it is kept, and opened only for who asks for just that."""
    return context.host.opened(value) if type(value) is dict and len(value) == 2 and "type" in value else value


def _member(context: Evaluation, value: Any, key: Any, line: int) -> Any:
    context.budget.step()
    value = _opened(context, value)
    try:
        if isinstance(value, Mapping):
            return _entry(value, key)
        if isinstance(value, str) or values.is_list(value):
            return _item(value, key)
    except (LookupError, TypeError):
        pass
    raise Missing(values.text_of(key, context.budget), context.program.source, line)


def _entry(value: Mapping[Any, Any], key: Any) -> Any:
    if isinstance(key, str):
        return value[key]
    try:
        return value[key]
    except KeyError:  # outputs of a loop over numbers have their text as key
        return value[values.key_text(key)]


def _item(value: Any, key: Any) -> Any:
    if isinstance(key, str):
        match key:
            case "length" | "size":
                return len(value)
            case "empty":
                return len(value) == 0
        if not key.isdecimal():
            raise LookupError(key)
        key = int(key[:18])
    if isinstance(value, str) or isinstance(key, bool) or not isinstance(key, int) or key < 0:
        raise LookupError(key)
    return value[key] if isinstance(value, list) else list(value)[key]


@_operator("coalesce")
def coalesce(context: Evaluation, _: None, *operands: Thunk) -> Any:
    """`a ?? b ?? c`: the first that is there and not null; the last as it is, missing or not."""
    for operand in operands[:-1]:
        value = attempt(context, operand)
        if value is not ABSENT and value is not None:
            return value
    return operands[-1]()


@_operator("undefined")
def when_undefined(context: Evaluation, _: None, *operands: Thunk) -> Any:
    """`a ??? b`: b only when a is not there; null stays null."""
    for operand in operands[:-1]:
        value = attempt(context, operand)
        if value is not ABSENT:
            return value
    return operands[-1]()


ABSENT: Any = object()


def attempt(context: Evaluation, operand: Thunk) -> Any:
    """Return the value of *operand*, or the mark of absence when something in it is missing."""
    scopes, depth = context.scopes, len(context.scopes)
    try:
        return operand()
    except Missing:
        # A loop inside a block inside the operand did not get to remove its scope.
        del scopes[depth:]
        context.scopes = scopes
        return ABSENT


@_operator("truth")
def truth(context: Evaluation, value: Any) -> bool:
    """Give the operand of `if`, `and`, `or`, `not` and `? :` as a boolean."""
    del context
    return value if type(value) is bool else values.boolean(value)


@_operator("concat")
def concat(context: Evaluation, _: None, *operands: Any) -> str:
    """`a ~ b ~ c`, and texts with `#{}` in them."""
    context.budget.step(len(operands))
    total = 0
    texts = []
    for operand in operands:
        each = values.text_of(operand, context.budget)
        total += len(each)
        context.budget.chars(total)
        texts.append(each)
    return "".join(texts)


@_operator("arithmetic")
@at_line
def arithmetic(context: Evaluation, left: Any, operator: str, right: Any, line: int) -> Any:
    """`+ - * / %`. As in Pebble, `+` also appends to a text or a list, and `-` takes items out of a list."""
    del line
    budget = context.budget
    budget.step()
    if operator == "+":
        if values.is_list(left):
            added = list(right) if values.is_list(right) else [right]
            budget.items(len(left) + len(added))
            return [*left, *added]
        if isinstance(left, str) or isinstance(right, str):
            return concat(context, None, left, right)
    if operator == "-" and values.is_list(left):
        return _without(budget, left, right)
    return numeric.arithmetic(budget, operator, left, right)


def _without(budget: Budget, items: Any, taken: Any) -> list[Any]:
    """Return *items* without those of the list *taken*, or without the first that equals it."""
    left = list(items)
    budget.items(len(left))
    if values.is_list(taken):
        return [item for item in left if not any(values.equals(item, each, budget) for each in taken)]
    for place, item in enumerate(left):
        if values.equals(item, taken, budget):
            return left[:place] + left[place + 1 :]
    return left


@_operator("negate")
@at_line
def negate(context: Evaluation, value: Any, line: int) -> Any:
    """`-a`."""
    del line
    return numeric.arithmetic(context.budget, "-", 0, value) if not isinstance(value, float) else -value


@_operator("equal")
def equal(context: Evaluation, left: Any, right: Any) -> bool:
    """`==`, `equals`."""
    return values.equals(left, right, context.budget)


@_operator("order")
@at_line
def order(context: Evaluation, left: Any, operator: str, right: Any, line: int) -> bool:
    """`< > <= >=`; with null on either side false, as in Pebble."""
    del line
    context.budget.step()
    if left is None or right is None:
        return False
    sign = values.compare(left, right)
    return {"<": sign < 0, ">": sign > 0, "<=": sign <= 0, ">=": sign >= 0}[operator]


@_operator("contains")
@at_line
def contains(context: Evaluation, holder: Any, wanted: Any, line: int) -> bool:
    """`contains`: an item of a list, a part of a text, a key of a map; of a list of them, all."""
    if values.is_list(wanted) and not isinstance(holder, str):
        return all(contains(context, holder, each, line) for each in wanted)
    if holder is None:
        return False
    if isinstance(holder, str):
        context.budget.chars(len(holder))
        context.budget.step()
        return wanted is not None and values.text_of(wanted, context.budget) in holder
    if isinstance(holder, Mapping):
        context.budget.step()
        try:
            return wanted in holder
        except TypeError:
            return False
    if values.is_list(holder):
        return any(values.equals(item, wanted, context.budget) for item in holder)
    raise ExpressionError(f"`contains` needs a list, a text or a map, not {values.class_name(holder)}")


@_operator("isin")
@at_line
def is_in(context: Evaluation, wanted: Any, holder: Any, line: int) -> bool:
    """`a isIn b`: an item of a list, a key or a value of a map has the same text; null is in nothing."""
    del line
    if wanted is None:
        return False
    if isinstance(holder, Mapping):
        holder = [*holder.keys(), *holder.values()]
    if not values.is_list(holder):
        return False
    context.budget.items(len(holder))
    text = values.text_of(wanted, context.budget)
    return any(item is not None and values.text_of(item, context.budget) == text for item in holder)


@_operator("matches")
@at_line
def matches(context: Evaluation, value: Any, pattern: Any, line: int) -> bool:
    """`a matches 'regex'`: the whole text, as Java's String.matches."""
    del line
    if value is None:
        return False
    subject = values.text_of(value, context.budget)
    return regex.compiled(pattern, context.budget, subject).fullmatch(subject) is not None


@_operator("range")
@at_line
def range_(context: Evaluation, start: Any, end: Any, line: int) -> list[Any]:
    """`1..9`, `'a'..'e'`: both ends included."""
    del line
    return items_between(context, start, end, 1)


def items_between(context: Evaluation, start: Any, end: Any, step: Any) -> list[Any]:
    """Return the list from *start* to *end*, both included, of integers or of single characters."""
    if isinstance(start, str) and isinstance(end, str) and len(start) == len(end) == 1:
        numbers = items_between(context, ord(start), ord(end), step)
        return [chr(number) for number in numbers]
    if any(isinstance(each, bool) or not isinstance(each, int) for each in (start, end, step)):
        raise ExpressionError("A range needs two integers or two characters, and an integer as step")
    if step == 0:
        raise ExpressionError("The step of a range cannot be 0")
    span = range(int(start), int(end) + (1 if step > 0 else -1), int(step))
    # Not len(): it overflows for the ranges this is to refuse.
    context.budget.items(max(0, (span.stop - span.start + span.step - (1 if step > 0 else -1)) // span.step))
    return list(span)


@_operator("key")
@at_line
def map_key(context: Evaluation, key: Any, line: int) -> Any:
    """Give the key of a map literal, as text."""
    del line, context
    return values.key_text(key)


@_operator("set")
def assign(context: Evaluation, value: Any, name: str) -> None:
    """`{% set name = value %}`."""
    context.budget.step()
    context.assign(name, value)


@_operator("loop")
def loop(context: Evaluation, iterable: Any, name: str, line: int) -> Iterator[None]:
    """`{% for name in iterable %}`: yields once for each round, with `name` and `loop` set."""
    if iterable is None:
        return
    if isinstance(iterable, Mapping):
        items: Iterator[Any] = (Entry(iterable, key) for key in iterable)
    elif values.is_list(iterable):
        items = iter(iterable)
    else:
        raise ExpressionError(f"`for` needs a list or a map, not {values.class_name(iterable)}", line)
    state = Loop(len(iterable))
    scope: dict[str, Any] = {"loop": state}
    depth = len(context.scopes)
    context.scopes.append(scope)
    budget = context.budget
    for index, item in enumerate(items):
        budget.round()
        scope["loop"], scope[name] = state, item
        state.index = index
        yield
    del context.scopes[depth:]


@_operator("macro")
@at_line
def macro(context: Evaluation, name: str, arguments: list[Any], named: dict[str, Any], line: int) -> str:
    """`name(arguments)` of a macro."""
    del line
    return context.call_macro(name, arguments, named)


@_operator("block")
@at_line
def block(context: Evaluation, name: Any, line: int) -> str:
    """`{% block name %}` where it stands, and `block(name)`."""
    del line
    return context.call_block(values.text_of(name, context.budget))


@_operator("body")
@at_line
def body(context: Evaluation, number: int, line: int) -> str:
    """Give the content of `{% filter %}`."""
    del line
    return context.enter(context.program.bodies[number], [*context.scopes, {}])


@_operator("raw")
def raw(context: Evaluation, text: str) -> str:
    """`{% raw %}`, `{% verbatim %}`."""
    return context.protect(text)
