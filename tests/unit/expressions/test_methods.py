"""Java's methods on texts, lists and maps. One row is one promise."""

from __future__ import annotations

import pytest

from headrace_engine.expressions.registry import METHODS

SCOPE = {"word": "Ada", "csv": "a,b,c", "items": [3, 1, 2], "map": {"b": 1, "a": None}, "nothing": None}
PROMISES = [
    ("items.size()", 3),
    ("map.size() + 1", 3),
    ("word.length()", 3),
    ("items.isEmpty()", False),
    ("{}.isEmpty()", True),
    ("''.isEmpty()", True),
    ("'  '.isBlank()", True),
    ("word.isBlank()", False),
    ("word.toUpperCase()", "ADA"),
    ("word.toLowerCase()", "ada"),
    ("'  x '.trim()", "x"),
    ("'  x '.strip()", "x"),
    ("word.startsWith('A')", True),
    ("word.endsWith('A')", False),
    ("word.contains('d')", True),
    ("items.contains(2)", True),
    ("items.contains('2')", False),
    ("word.indexOf('a')", 2),
    ("word.indexOf('z')", -1),
    ("items.indexOf(1)", 1),
    ("items.indexOf(9)", -1),
    ("'banana'.lastIndexOf('a')", 5),
    ("word.substring(1)", "da"),
    ("word.substring(0, 2)", "Ad"),
    ("csv.replace(',', ';')", "a;b;c"),
    (r"'a1b22'.replaceAll('(\\d+)', '<$1>')", "a<1>b<22>"),
    ("csv.split(',')", ["a", "b", "c"]),
    ("csv.split(',', 2)", ["a", "b,c"]),
    ("word.matches('A.*')", True),
    ("word.matches('d')", False),
    ("word.equals('Ada')", True),
    ("word.equalsIgnoreCase('ADA')", True),
    ("5.5.toString()", "5.5"),
    ("items.toString()", "[3,1,2]"),
    ("map.get('b')", 1),
    ("map.get('z')", None),
    ("items.get(1)", 1),
    ("map.getOrDefault('z', 7)", 7),
    ("map.getOrDefault('b', 7)", 1),
    ("map.containsKey('a')", True),
    ("map.keySet()", ["b", "a"]),
    ("map.values()", [1, None]),
    # behind each other, behind members, before filters, in operators
    ("csv.split(',')[1].toUpperCase()", "B"),
    ("{'in': {'list': [1, 2]}}.in.list.size() == 2 ? 'two' : 'other'", "two"),
    ("word.toUpperCase() | lower", "ada"),
    ("not items.isEmpty() and word.length() > 2", True),
    # what is missing, null included, is missing
    ("missing.size() ?? 0", 0),
    ("nothing.size() ?? 0", 0),
    ("map.a.size() is defined", False),
    ("map.get('z') ?? 'none'", "none"),
]


@pytest.mark.parametrize(("expression", "expected"), PROMISES)
def test_method(value, expression, expected):
    assert value(expression, **SCOPE) == expected


def test_every_method_is_shown():
    assert not [name for name in METHODS if not any(f".{name}(" in expression for expression, _ in PROMISES)]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("word.foo()", "Methods cannot be called: `foo(`; use a filter (line 1, column 12)"),
        ("word.__class__()", "Methods cannot be called: `__class__(`; use a filter (line 1, column 18)"),
        ("word.size()", "A java.lang.String has no method `size`; use a filter"),
        ("items.length()", "A java.util.ArrayList has no method `length`; use a filter"),
        ("items.get(9)", "Unable to find `9` used in the expression `{{ items.get(9) }}` at line 1"),
        ("nothing.size()", "Unable to find `size` used in the expression `{{ nothing.size() }}` at line 1"),
        ("word.substring(2, 1)", "begin 2, end 1, length 3"),
        ("word.substring(9)", "begin 9, end 3, length 3"),
        ("word.length(1)", "The method 'length' takes at most 0 arguments, not 1 (line 1, column 8)"),
        ("word.startsWith()", "The method 'startsWith' needs the argument `prefix` (line 1, column 8)"),
        ("word.startsWith(1)", "The method 'startsWith' needs a text, not java.lang.Integer; use `| string`"),
    ],
)
def test_method_errors(error, expression, message):
    assert error("{{ " + expression + " }}", **SCOPE).message == message
