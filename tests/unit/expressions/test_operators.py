"""Operators of reference §10.2: results, precedence, and Java's arithmetic."""

from __future__ import annotations

from decimal import Decimal

import pytest


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2", 3),
        ("7 - 10", -3),
        ("6 * 7", 42),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("7.0 / 2", 3.5),
        ("7.5 % 2", 1.5),
        ("-7.5 % 2", -1.5),
        ("1 / 0.0", float("inf")),
        ("-1 / 0.0", float("-inf")),
        ("100 + 10l * 2.5", 125.0),
        ("2 + 2 / (10 % 3) * (8 - 1)", 16),
        ("9223372036854775807 + 0", 9223372036854775807),
        ("-(3 - 5)", 2),
        ("+3", 3),
        ("'1' | number('BIGDECIMAL') + 2", Decimal(3)),
        ("('1' | number('BIGDECIMAL')) / 3", Decimal("0.3333333333333333333333333333333333")),
        ("0.1 + ('0.2' | number('BIGDECIMAL'))", Decimal("0.3")),
        ("'9223372036854775807' | number('BIGINTEGER') * 2", 18446744073709551614),
        ("'a' + 1", "a1"),
        ("[1] + 2", [1, 2]),
        ("[1] + [2, 3]", [1, 2, 3]),
        ("[1, 2, 1] - 1", [2, 1]),
        ("[1, 2, 1, 3] - [1, 3]", [2]),
        ("[1] - 'a'", [1]),
    ],
)
def test_arithmetic_is_javas(value, expression, expected):
    assert value(expression) == expected
    assert type(value(expression)).__mro__[-2] is type(expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "/ by zero"),
        ("1 % 0", "/ by zero"),
        ("9223372036854775807 + 1", "9223372036854775807 + 1 leaves the range of a 64-bit integer"),
        ("4611686018427387904 * 2", "4611686018427387904 * 2 leaves the range of a 64-bit integer"),
        ("null + 1", "The operator + needs numbers, not null and a number; `~` joins texts"),
        ("'a' - 1", "The operator - needs numbers, not a text and a number; `~` joins texts"),
        ("true * 2", "The operator * needs numbers, not a boolean and a number; `~` joins texts"),
        ("{'a': 1} * 2", "The operator * needs numbers, not an object and a number; `~` joins texts"),
        ("('1' | number('BIGDECIMAL')) / 0", "Cannot compute 1 / 0"),
    ],
)
def test_arithmetic_errors(error, expression, message):
    assert error("{{ " + expression + " }}").message == message


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'apple' ~ 'pear'", "applepear"),
        ("'a' ~ 1 ~ 1.5 ~ true ~ null ~ [1] ~ {'k': 'v'}", 'a11.5true[1]{"k":"v"}'),
        ("1 ~ 2", "12"),
        ("1 == 1.0", True),
        ("1 equals 1", True),
        ("'1' == 1", False),
        ("true == 1", False),
        ("null == null", True),
        ("null == 0", False),
        ("1 != 2", True),
        ("[1, {'a': [2]}] == [1.0, {'a': [2]}]", True),
        ("[1, 2] == [1]", False),
        ("{'a': 1} == {'a': 1, 'b': 2}", False),
        ("1 < 2", True),
        ("2 <= 2", True),
        ("3 > 2.5", True),
        ("2 >= 3", False),
        ("'a' < 'b'", True),
        ("null < 1", False),
        ("null > 1", False),
        ("true and false", False),
        ("true or false", True),
        ("not true", False),
        ("1 and 'x'", True),
        ("0 or ''", False),
        ("not []", True),
        ("null or {'a': 1}", True),
        ("['apple', 'pear'] contains 'apple'", True),
        ("['apple', 'pear', 'banana'] contains ['apple', 'banana']", True),
        ("['apple'] contains ['apple', 'kiwi']", False),
        ("'apple' contains 'ppl'", True),
        ("'a1b' contains 1", True),
        ("{'apple': 'red'} contains 'apple'", True),
        ("{'apple': 'red'} contains 'red'", False),
        ("[1, 2] contains 2.0", True),
        ("[true] contains 1", False),
        ("null contains 'a'", False),
        ("'abc' matches '[a-c]+'", True),
        ("'abcd' matches '[a-c]+'", False),
        ("null matches 'a'", False),
        ("'SUCCESS' isIn ['SUCCESS', 'KILLED']", True),
        ("'RUNNING' isIn ['SUCCESS', 'KILLED']", False),
        ("1 isIn ['1', 2]", True),
        ("null isIn [null, '']", False),
        ("'a' isIn {'a': 1}", True),
        ("1 isIn {'a': '1'}", True),
        ("'b' isIn {'a': 1}", False),
        ("1 isIn 'abc'", False),
        ("1..4", [1, 2, 3, 4]),
        ("[1..3]", [1, 2, 3]),
        ("'a'..'d'", ["a", "b", "c", "d"]),
        ("3..1", []),
        ("true ? 'yes' : 'no'", "yes"),
        ("0 ? 'yes' : 'no'", "no"),
        ("false ? 1 : true ? 2 : 3", 2),
        ("null ?? 'x'", "x"),
        ("missing ?? 'x'", "x"),
        ("missing.a.b ?? also['missing'] ?? 'x'", "x"),
        ("'' ?? 'x'", ""),
        ("false ?? 'x'", False),
        ("null ??? 'x'", None),
        ("missing ??? 'x'", "x"),
        ("(null ??? 'x') ?? 'y'", "y"),
    ],
)
def test_operators(value, expression, expected):
    found = value(expression)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "grouped"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("10 - 4 - 3", "(10 - 4) - 3"),
        ("100 / 10 / 5", "(100 / 10) / 5"),
        ("1 + 2 == 3", "(1 + 2) == 3"),
        ("1 == 1 and 2 == 2", "(1 == 1) and (2 == 2)"),
        ("true or true and false", "true or (true and false)"),
        ("not false and false", "(not false) and false"),
        ("not 2 is odd", "not (2 is odd)"),
        ("not 1 == 2", "not (1 == 2)"),
        ("-7 | abs", "(-7) | abs"),
        ("'a' ~ 'b' | upper", "('a' ~ 'b') | upper"),
        ("1..9 | length", "(1..9) | length"),
        ("null ?? 'b' | upper", "(null ?? 'b') | upper"),
        ("'a' ?? 'b' ~ 'c'", "('a' ?? 'b') ~ 'c'"),
        ("1 + 1 == 2 ? 'y' ~ 'z' : 'n'", "((1 + 1) == 2) ? ('y' ~ 'z') : 'n'"),
        ("[1, 2] contains 1 and 2 is even", "([1, 2] contains 1) and (2 is even)"),
        ("3 is odd and 2 is not odd", "(3 is odd) and (2 is not odd)"),
        ("'b' == 'a' ?? 'x'", "'b' == ('a' ?? 'x')"),
        ("1 < 2 is defined", "(1 < 2) is defined"),
    ],
)
def test_precedence_is_pebbles(value, expression, grouped):
    assert value(expression) == value(grouped)


def test_a_filter_binds_tighter_than_arithmetic(error):
    assert error("{{ 2 * 3 | string }}").message.startswith("The operator * needs numbers, not a number and a text")


def test_operands_not_needed_are_not_evaluated(value):
    assert value("true ? 1 : missing") == 1
    assert value("false and missing") is False
    assert value("true or missing") is True
    assert value("1 ?? missing") == 1


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 < 'a'", "Cannot compare java.lang.Integer with java.lang.String"),
        ("1 contains 1", "`contains` needs a list, a text or a map, not java.lang.Integer"),
        ("1..'b'", "A range needs two integers or two characters, and an integer as step"),
        (
            "'a' matches '(?=a)'",
            "The regular expression `(?=a)` is not valid: invalid perl operator: (?=; "
            "look-around, back-references and possessive quantifiers are not supported",
        ),
        (
            "missing ?? missing2",
            "Unable to find `missing2` used in the expression `{{ missing ?? missing2 }}` at line 1",
        ),
    ],
)
def test_operator_errors(error, expression, message):
    assert error("{{ " + expression + " }}").message == message


def test_long_chains_are_one_operation(value):
    assert value(" ~ ".join(["'a'"] * 500)) == "a" * 500
    assert value(" or ".join(["false"] * 500)) is False
    assert value(" and ".join(["true"] * 500)) is True
    assert value(" ?? ".join(["missing"] * 500 + ["1"])) == 1
