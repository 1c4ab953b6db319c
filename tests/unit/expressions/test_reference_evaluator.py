"""Operators, precedence and coalescing against a second, smaller evaluator that shares no code with the first.

Hypothesis makes a tree; the model below computes what it means; the tree is written with as few parentheses as
Pebble's precedence allows; the engine must find the same value, or fail where the model fails.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_engine.expressions import ExpressionError, Expressions, NoHost

VARIABLES = {"one": 1, "nothing": None, "word": "ab", "yes": True, "deep": {"x": {"y": 2}}, "list": [1, "ab", None]}
POWER = {
    "or": 10, "and": 15, "not": 18, "contains": 20, "==": 30, "!=": 30, "<": 30, ">=": 30,
    "+": 40, "-": 40, "*": 60, "/": 60, "%": 60, "~": 110, "??": 120, "???": 120,
}  # fmt: skip


class Failed(Exception):  # noqa: N818 - an outcome of the model
    """The model's error."""


class Absent(Failed):
    """The model's error for what is missing."""


def text(value: Any) -> str:
    return {None: "", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def truth(value: Any) -> bool:
    return bool(value)


def kind(value: Any) -> str:
    return type(value).__name__


def number(value: Any) -> int:
    if kind(value) != "int":
        raise Failed
    return value


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    if operator == "+" and "str" in (kind(left), kind(right)):
        return text(left) + text(right)
    a, b = number(left), number(right)
    if operator in "/%":
        if b == 0:
            raise Failed
        quotient = abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)
        result = quotient if operator == "/" else a - quotient * b
    else:
        result = a + b if operator == "+" else a - b if operator == "-" else a * b
    if not -(2**63) <= result < 2**63:
        raise Failed
    return result


def same(left: Any, right: Any) -> bool:
    return kind(left) == kind(right) and left == right


def order(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if kind(left) != kind(right) or kind(left) == "list":
        raise Failed
    return left < right if operator == "<" else left >= right


def contains(holder: Any, wanted: Any) -> bool:
    if isinstance(wanted, list) and not isinstance(holder, str):
        return all(contains(holder, each) for each in wanted)
    if holder is None:
        return False
    if isinstance(holder, str):
        if isinstance(wanted, list):
            raise Failed  # a list as text is JSON, which the model does not write
        return wanted is not None and text(wanted) in holder
    if isinstance(holder, list):
        return any(same(each, wanted) for each in holder)
    raise Failed


def model(tree: tuple) -> Any:
    match tree:
        case ("literal", value):
            return value
        case ("variable", name):
            if name not in VARIABLES:
                raise Absent
            return VARIABLES[name]
        case ("path", *keys):
            found: Any = VARIABLES
            for key in keys:
                if not isinstance(found, dict) or key not in found:
                    raise Absent
                found = found[key]
            return found
        case ("not", inner):
            return not truth(model(inner))
        case ("negate", inner):
            return arithmetic("-", 0, number(model(inner)))
        case ("choose", condition, then, otherwise):
            return model(then) if truth(model(condition)) else model(otherwise)
        case ("binary", operator, left, right):
            return binary(operator, left, right)
    raise AssertionError(tree)


def binary(operator: str, left: tuple, right: tuple) -> Any:
    if operator in {"??", "???"}:
        try:
            found = model(left)
        except Absent:
            return model(right)
        return model(right) if found is None and operator == "??" else found
    if operator in {"and", "or"}:
        first = truth(model(left))
        return truth(model(right)) if first == (operator == "and") else first
    a, b = model(left), model(right)
    match operator:
        case "~":
            if "list" in (kind(a), kind(b)):
                raise Failed
            return text(a) + text(b)
        case "==" | "!=":
            return same(a, b) == (operator == "==")
        case "<" | ">=":
            return order(operator, a, b)
        case "contains":
            return contains(a, b)
    if "list" in (kind(a), kind(b)):
        raise Failed  # `+` appends to lists, which the model leaves out
    return arithmetic(operator, a, b)


def written(tree: tuple, power: int = 0) -> str:
    """Return *tree* as an expression, in parentheses if it binds less than *power*."""
    match tree:
        case ("literal", value):
            if isinstance(value, str):
                return f"'{value}'"
            return {None: "null", True: "true", False: "false"}[value] if kind(value) != "int" else str(value)
        case ("variable", name):
            return name
        case ("path", first, *rest):
            return first + "".join(f".{key}" for key in rest)
        case ("negate", inner):
            return "-" + written(inner, 200)
        case ("not", inner):
            return wrapped("not " + written(inner, POWER["not"]), power > POWER["not"])
        case ("choose", condition, then, otherwise):
            return wrapped(f"{written(condition, 1)} ? {written(then)} : {written(otherwise)}", power > 0)
        case ("binary", operator, left, right):
            own = POWER[operator]
            return wrapped(f"{written(left, own)} {operator} {written(right, own + 1)}", power > own)
    raise AssertionError(tree)


def wrapped(expression: str, needed: bool) -> str:
    return f"({expression})" if needed else expression


LEAVES = st.one_of(
    st.integers(0, 9).map(lambda value: ("literal", value)),
    st.sampled_from([None, True, False, "", "a", "ab", "7"]).map(lambda value: ("literal", value)),
    st.sampled_from(["one", "nothing", "word", "yes", "list", "missing"]).map(lambda name: ("variable", name)),
    st.sampled_from([("deep", "x", "y"), ("deep", "x", "z"), ("deep", "q", "y"), ("gone", "x")]).map(
        lambda keys: ("path", *keys)
    ),
    st.just(("literal", 2**62)),
)


def branches(inner: st.SearchStrategy) -> st.SearchStrategy:
    operators = st.sampled_from([each for each in POWER if each != "not"])
    return st.one_of(
        st.tuples(st.just("binary"), operators, inner, inner),
        st.tuples(st.just("binary"), st.sampled_from(["??", "???", "and", "or", "~"]), inner, inner),
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("negate"), inner),
        st.tuples(st.just("choose"), inner, inner, inner),
    )


def of(operators: list[str], inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.tuples(st.just("binary"), st.sampled_from(operators), inner, inner)


ANYTHING = st.recursive(LEAVES, branches, max_leaves=12)
# Trees whose operands fit, so that most have a value: only a value shows a wrong precedence.
NUMBERS = st.recursive(
    st.integers(1, 9).map(lambda value: ("literal", value)),
    lambda inner: st.one_of(of(["+", "-", "*", "/", "%"], inner), st.tuples(st.just("negate"), inner)),
    max_leaves=6,
)
BOOLEANS = st.recursive(
    st.one_of(st.booleans().map(lambda value: ("literal", value)), of(["<", ">=", "==", "!="], NUMBERS)),
    lambda inner: st.one_of(
        of(["and", "or", "==", "!="], inner),
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("choose"), inner, inner, inner),
    ),
    max_leaves=6,
)
TEXTS = st.recursive(
    st.one_of(
        st.sampled_from(["a", "b"]).map(lambda value: ("literal", value)),
        st.sampled_from([("variable", "missing"), ("variable", "nothing"), ("literal", 1)]),
        NUMBERS,
    ),
    lambda inner: of(["~", "??", "???", "+", "contains", "=="], inner),
    max_leaves=6,
)
TREES = st.one_of(ANYTHING, NUMBERS, BOOLEANS, TEXTS)
ENGINE = Expressions()


def lists_meet_text(tree: tuple) -> bool:
    """Return whether *tree* does with a list what the model leaves out."""
    try:
        model(tree)
    except Absent:
        return False
    except Failed:
        return "list" in written(tree)
    return False


@settings(max_examples=1500, deadline=None)
@given(TREES)
def test_the_engine_agrees_with_the_model(tree):
    expression = written(tree)
    if lists_meet_text(tree):
        return
    try:
        expected: Any = ("value", model(tree))
    except Absent:
        expected = ("absent",)
    except Failed:
        expected = ("failed",)
    try:
        found: Any = ("value", ENGINE.render_typed("{{ " + expression + " }}", VARIABLES, NoHost()))
    except ExpressionError as error:
        found = ("absent",) if error.message.startswith("Unable to find") else ("failed",)
    assert found == expected, expression
    assert kind(found[-1]) == kind(expected[-1]), expression


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_parentheses_that_change_nothing_change_nothing(tree):
    def everywhere(each: tuple) -> str:
        match each:
            case ("not", inner):
                return f"(not {everywhere(inner)})"
            case ("negate", inner):
                return f"(-{everywhere(inner)})"
            case ("choose", condition, then, otherwise):
                return f"({everywhere(condition)} ? {everywhere(then)} : {everywhere(otherwise)})"
            case ("binary", operator, left, right):
                return f"({everywhere(left)} {operator} {everywhere(right)})"
        return written(each)

    def outcome(expression: str) -> Any:
        try:
            return ENGINE.render_typed("{{ " + expression + " }}", VARIABLES, NoHost())
        except ExpressionError as error:
            return error.message.partition(" used in the expression")[0]

    assert outcome(written(tree)) == outcome(everywhere(tree))
