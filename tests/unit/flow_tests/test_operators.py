from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from headrace_engine.testing.flow_tests import suite
from headrace_engine.testing.flow_tests.operators import OPERATORS, OperandError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("actual", "operator", "expected", "holds"),
    [
        (200, "equalTo", 200, True),
        ("200", "equalTo", 200, True),
        (200, "equalTo", "200", True),
        (200.0, "equalTo", 200, True),
        (0.1, "equalTo", "0.10", True),
        ("1.0", "equalTo", "1", False),
        ("a", "equalTo", "a ", False),
        (True, "equalTo", True, True),
        ("true", "equalTo", True, True),
        (True, "equalTo", "true", True),
        (True, "equalTo", 1, False),
        (None, "equalTo", None, True),
        (None, "equalTo", "", False),
        ("", "equalTo", None, False),
        (["brand", "price"], "equalTo", ["brand", "price"], True),
        (["price", "brand"], "equalTo", ["brand", "price"], False),
        ('["brand", "price"]', "equalTo", ["brand", "price"], True),
        (["brand", "price"], "equalTo", '["brand","price"]', True),
        ([1, 2], "equalTo", "not a list", False),
        ([1, 2], "equalTo", ["1", 2.0], True),
        ({"a": {"b": 1}}, "equalTo", {"a": {"b": "1"}}, True),
        ({"a": 1}, "equalTo", {"a": 1, "b": 2}, False),
        ("{}", "equalTo", {}, True),
        (date(2026, 1, 1), "equalTo", "2026-01-01", True),
        (NOON, "equalTo", "2026-01-01T13:00:00+01:00", True),
        ("[BOWLER HAT, TRILBY HAT]", "equalTo", "[BOWLER HAT, TRILBY HAT]", True),
        (404, "notEqualTo", 200, True),
        ("200", "notEqualTo", 200, False),
        (11, "greaterThan", 10, True),
        ("11", "greaterThan", 9, True),
        ("11", "greaterThan", "9", True),
        (10, "greaterThan", 10, False),
        (10, "greaterThanOrEqualTo", 10, True),
        (9, "greaterThanOrEqualTo", "10", False),
        (9.5, "lessThan", 10, True),
        (10, "lessThan", 10, False),
        (10, "lessThanOrEqualTo", 10, True),
        (NOON, "lessThan", "2026-01-02", True),
        ("2026-01-03", "greaterThan", NOON, True),
        (timedelta(minutes=2), "greaterThan", "PT90S", True),
        ("12:30", "lessThan", "12:31", True),
        (200, "in", [200, 201], True),
        ("201", "in", [200, 201], True),
        (404, "in", [200, 201], False),
        ("a", "in", '["a", "b"]', True),
        (404, "notIn", [200, 201], True),
        (200, "notIn", [200, 201], False),
        ("all is success", "contains", "success", True),
        ("all is well", "contains", "success", False),
        (["a", "b"], "contains", "b", True),
        ([1, 2], "contains", "2", True),
        ({"key": 1}, "contains", "key", True),
        (12345, "contains", 234, True),
        ("prod-eu", "startsWith", "prod-", True),
        ("test-eu", "startsWith", "prod-", False),
        (2026, "startsWith", "20", True),
        ("data.json", "endsWith", ".json", True),
        ("data.csv", "endsWith", ".json", False),
        (None, "isNull", True, True),
        ("", "isNull", True, False),
        ("", "isNull", False, True),
        (0, "isNotNull", True, True),
        (None, "isNotNull", True, False),
        (None, "isNotNull", False, True),
    ],
)
def test_an_operator_looks_at_what_is_meant(actual: Any, operator: str, expected: Any, holds: bool) -> None:
    assert OPERATORS[operator](actual, expected) is holds


@pytest.mark.parametrize(
    ("actual", "operator", "expected", "error"),
    [
        (
            "many",
            "greaterThan",
            10,
            '"many" and 10 cannot be compared: two numbers, dates, times or durations are expected',
        ),
        (None, "lessThan", 1, "null and 1 cannot be compared: two numbers, dates, times or durations are expected"),
        (1, "in", "text", 'a list is expected, not "text"'),
        (1, "notIn", {"a": 1}, 'a list is expected, not {"a":1}'),
        (None, "contains", "x", "null has no text"),
        (None, "startsWith", "x", "null has no text"),
        (None, "endsWith", "x", "null has no text"),
    ],
)
def test_an_operator_says_when_there_is_nothing_to_look_at(
    actual: Any, operator: str, expected: Any, error: str
) -> None:
    with pytest.raises(OperandError) as raised:
        OPERATORS[operator](actual, expected)
    assert str(raised.value) == error


def test_every_operator_of_the_language_is_there() -> None:
    assert set(suite.OPERATORS.values()) == set(OPERATORS)
