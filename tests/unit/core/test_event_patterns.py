"""Event patterns, tried on the examples of EventBridge's own documentation and on their edges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.core.event_patterns import PatternError, check_pattern, matches

# -- AWS's examples (EventBridge user guide: event patterns, comparison operators) -------------------

EC2 = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
}
AUTO_SCALING = {
    "version": "0",
    "id": "3e3c153a-8339-4e30-8c35-687ebef853fe",
    "detail-type": "EC2 Instance Launch Successful",
    "source": "aws.autoscaling",
    "account": "123456789012",
    "time": "2015-11-11T21:31:47Z",
    "region": "us-east-1",
    "resources": [
        "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:eb56d16b-bbf0-401d-b893-d5978ed4a025:"
        "autoScalingGroupName/ASGTerminate",
        "arn:aws:ec2:us-east-1:123456789012:instance/i-b188560f",
    ],
    "detail": {"eventVersion": "", "responseElements": None},
}
COUNTS = {
    "time": "2017-10-02T12:00:00Z",
    "detail": {"state": "running", "c-count": 5, "d-count": 9, "x-limit": 301.8},
}
CASES: list[tuple[Any, Any, bool]] = [
    ({"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]}, EC2, True),
    ({"source": ["aws.ec2"], "detail": {"state": ["terminated"]}}, EC2, True),
    ({"source": ["aws.ec2"], "detail": {"state": ["running"]}}, EC2, False),
    ({"source": ["aws.ec2", "aws.fargate"]}, EC2, True),
    ({"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-b188560f", "arn:aws:none"]}, AUTO_SCALING, True),
    ({"resources": [{"prefix": "arn:aws:ec2"}]}, AUTO_SCALING, True),
    ({"resources": [{"prefix": "arn:aws:s3"}]}, AUTO_SCALING, False),
    ({"detail": {"eventVersion": [""]}}, AUTO_SCALING, True),
    ({"detail": {"responseElements": [None]}}, AUTO_SCALING, True),
    ({"detail": {"responseElements": [""]}}, AUTO_SCALING, False),
    ({"detail": {"eventVersion": [None]}}, AUTO_SCALING, False),
    ({"time": [{"prefix": "2017-10-02"}]}, COUNTS, True),
    ({"service": [{"prefix": {"equals-ignore-case": "EventB"}}]}, {"service": "eventbridge"}, True),
    ({"FileName": [{"suffix": ".png"}]}, {"FileName": "a.png"}, True),
    ({"FileName": [{"suffix": ".png"}]}, {"FileName": "a.PNG"}, False),
    ({"FileName": [{"suffix": {"equals-ignore-case": ".png"}}]}, {"FileName": "a.PNG"}, True),
    ({"detail": {"state": [{"anything-but": "initializing"}]}}, COUNTS, True),
    ({"detail": {"state": [{"anything-but": "running"}]}}, COUNTS, False),
    ({"detail": {"x-limit": [{"anything-but": [100, 200, 300]}]}}, COUNTS, True),
    ({"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}}, COUNTS, True),
    ({"detail": {"state": [{"anything-but": {"equals-ignore-case": "RUNNING"}}]}}, COUNTS, False),
    ({"detail": {"state": [{"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}]}}, COUNTS, True),
    ({"detail": {"state": [{"anything-but": {"prefix": "init"}}]}}, COUNTS, True),
    ({"detail": {"state": [{"anything-but": {"prefix": ["init", "run"]}}]}}, COUNTS, False),
    ({"FileName": [{"anything-but": {"suffix": ".txt"}}]}, {"FileName": "a.txt"}, False),
    ({"FileName": [{"anything-but": {"suffix": [".txt", ".rtf"]}}]}, {"FileName": "a.png"}, True),
    ({"FilePath": [{"anything-but": {"wildcard": "*/lib/*"}}]}, {"FilePath": "a/lib/b"}, False),
    ({"FilePath": [{"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}]}, {"FilePath": "a/src/b"}, True),
    ({"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}]}}, COUNTS, True),
    ({"detail": {"d-count": [{"numeric": ["<", 10]}]}}, COUNTS, True),
    ({"detail": {"x-limit": [{"numeric": ["=", 3.018e2]}]}}, COUNTS, True),
    ({"detail": {"c-count": [{"numeric": [">", 5]}]}}, COUNTS, False),
    ({"detail": {"ip": [{"cidr": "127.0.0.0/24"}]}}, {"detail": {"ip": "127.0.0.255"}}, True),
    ({"detail": {"ip": [{"cidr": "127.0.0.0/24"}]}}, {"detail": {"ip": "127.0.1.0"}}, False),
    ({"detail": {"ip": [{"cidr": "2001:db8::/32"}]}}, {"detail": {"ip": "2001:db8::1"}}, True),
    ({"detail": {"state": [{"exists": True}]}}, COUNTS, True),
    ({"detail": {"state": [{"exists": False}]}}, COUNTS, False),
    ({"detail": {"none": [{"exists": False}]}}, COUNTS, True),
    ({"detail-type": [{"equals-ignore-case": "ec2 instance state-change notification"}]}, EC2, True),
    ({"bus": [{"wildcard": "arn:aws:events:us-east-1:*:event-bus/*"}]}, {"bus": "arn:aws:events:us-east-1:1:event-bus/a"}, True),
    ({"bus": [{"wildcard": "arn:aws:events:us-east-1:*:event-bus/*"}]}, {"bus": "arn:aws:events:us-west-1:1:event-bus/a"}, False),
    (
        {
            "time": [{"prefix": "2017-10-02"}],
            "detail": {
                "state": [{"anything-but": "initializing"}],
                "c-count": [{"numeric": [">", 0, "<=", 5]}],
                "d-count": [{"numeric": ["<", 10]}],
                "x-limit": [{"anything-but": [100, 200, 300]}],
            },
        },
        COUNTS,
        True,
    ),
    (
        {"detail": {"$or": [{"c-count": [{"numeric": [">", 5]}]}, {"d-count": [{"numeric": ["<", 10]}]}]}},
        COUNTS,
        True,
    ),
    (
        {"detail": {"$or": [{"c-count": [{"numeric": [">", 5]}]}, {"d-count": [{"numeric": [">", 10]}]}]}},
        COUNTS,
        False,
    ),
    (
        {"source": ["aws.ec2"], "$or": [{"region": ["us-west-1"]}, {"detail": {"state": ["running"]}}]},
        EC2,
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "event", "expected"), CASES)
def test_the_examples_of_aws(pattern: Any, event: Any, expected: bool) -> None:
    check_pattern(pattern)
    assert matches(pattern, event) is expected


# -- Edges ------------------------------------------------------------------------------------------

EDGES: list[tuple[Any, Any, bool]] = [
    # Values are compared with their type.
    ({"a": [1]}, {"a": 1}, True),
    ({"a": [1]}, {"a": True}, False),
    ({"a": [True]}, {"a": 1}, False),
    ({"a": ["1"]}, {"a": 1}, False),
    ({"a": [300]}, {"a": 300.0}, False),
    ({"a": [{"numeric": ["=", 300]}]}, {"a": 300.0}, True),
    ({"a": [{"numeric": ["=", 1]}]}, {"a": True}, False),
    ({"a": [{"numeric": ["=", 1]}]}, {"a": "1"}, False),
    # What is not there matches nothing but its absence.
    ({"a": [None]}, {}, False),
    ({"a": [{"anything-but": "x"}]}, {}, False),
    ({"a": [{"anything-but": "x"}]}, {"a": None}, True),
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": 5}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"b": 1}}, False),
    ({"a": [{"exists": True}]}, {"a": None}, True),
    # `exists` is of leaves.
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
    ({"a": [{"exists": False}]}, {"a": {"b": 1}}, True),
    ({"a": [{"exists": False}]}, {"a": []}, True),
    # Lists.
    ({"a": ["x"]}, {"a": ["y", "x"]}, True),
    ({"a": ["x"]}, {"a": [["x"]]}, True),
    ({"a": [{"anything-but": "x"}]}, {"a": ["x", "y"]}, True),
    ({"a": [{"anything-but": "x"}]}, {"a": ["x", "x"]}, False),
    ({"a": {"b": ["x"], "c": ["y"]}}, {"a": [{"b": "x", "c": "n"}, {"b": "n", "c": "y"}]}, False),
    ({"a": {"b": ["x"], "c": ["y"]}}, {"a": [{"b": "n", "c": "n"}, {"b": "x", "c": "y"}]}, True),
    # Several, of which one is enough; several fields, all of which must.
    ({"a": ["x", {"prefix": "y"}]}, {"a": "yes"}, True),
    ({"a": ["x"], "b": ["y"]}, {"a": "x"}, False),
    # Wildcards.
    ({"a": [{"wildcard": "*"}]}, {"a": ""}, True),
    ({"a": [{"wildcard": "a*a"}]}, {"a": "a"}, False),
    ({"a": [{"wildcard": "a*a"}]}, {"a": "aa"}, True),
    ({"a": [{"wildcard": "*ab*ab*"}]}, {"a": "abb"}, False),
    ({"a": [{"wildcard": "*ab*ab*"}]}, {"a": "xabab"}, True),
    ({"a": [{"wildcard": "a\\*b"}]}, {"a": "a*b"}, True),
    ({"a": [{"wildcard": "a\\*b"}]}, {"a": "axb"}, False),
    ({"a": [{"wildcard": "plain"}]}, {"a": "plain"}, True),
    ({"a": [{"wildcard": "1*"}]}, {"a": 12}, False),
    # Addresses.
    ({"a": [{"cidr": "127.0.0.0/8"}]}, {"a": "2001:db8::1"}, False),
    ({"a": [{"cidr": "127.0.0.0/8"}]}, {"a": "127.0.0"}, False),
    ({"a": [{"cidr": "127.1.2.3/8"}]}, {"a": "127.255.0.1"}, True),
]


@pytest.mark.parametrize(("pattern", "event", "expected"), EDGES)
def test_edges(pattern: Any, event: Any, expected: bool) -> None:
    check_pattern(pattern)
    assert matches(pattern, event) is expected


NONE = [
    ({}, "an empty map"),
    ([], "a map of names"),
    ({"a": "x"}, "stand in a list"),
    ({"a": []}, "stand in a list"),
    ({"a": {}}, "a: an empty map"),
    ({"a": {"b": [["x"]]}}, "a.b: a list of values holds no lists"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "one operator"),
    ({"a": [{"perfix": "x"}]}, "there is no operator `perfix`"),
    ({"a": [{"prefix": 1}]}, "with a text"),
    ({"a": [{"suffix": {"prefix": "x"}}]}, "equals-ignore-case"),
    ({"a": [{"exists": "true"}]}, "true or false"),
    ({"a": [{"cidr": "127.0.0.0"}]}, "range of addresses"),
    ({"a": [{"cidr": "127.0.0.0/33"}]}, "range of addresses"),
    ({"a": [{"numeric": [">"]}]}, "such as"),
    ({"a": [{"numeric": [">", "1"]}]}, "such as"),
    ({"a": [{"numeric": ["!=", 1]}]}, "such as"),
    ({"a": [{"numeric": ["=", 6e9]}]}, "such as"),
    ({"a": [{"numeric": [1, 2]}]}, "such as"),
    ({"a": [{"numeric": ["<", 5, ">", 0]}]}, "lower end first"),
    ({"a": [{"numeric": [">", 5, "<", 5]}]}, "lower end first"),
    ({"a": [{"anything-but": []}]}, "empty"),
    ({"a": [{"anything-but": ["x", 1]}]}, "not both"),
    ({"a": [{"anything-but": True}]}, "not both"),
    ({"a": [{"anything-but": {"numeric": ["=", 1]}}]}, "one of prefix"),
    ({"a": [{"anything-but": {"prefix": 1}}]}, "with a text"),
    ({"a": [{"wildcard": "a**b"}]}, "side by side"),
    ({"a": [{"wildcard": "a\\b"}]}, "backslash"),
    ({"a": [{"wildcard": "a\\"}]}, "backslash"),
    ({"$or": [{"a": ["x"]}]}, "two or more"),
    ({"$or": ["x", "y"]}, "a map of names"),
]


@pytest.mark.parametrize(("pattern", "why"), NONE, ids=json.dumps)
def test_what_is_no_pattern(pattern: Any, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        check_pattern(pattern)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", "127.0.0.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("ab"), JSON, max_size=2), st.sampled_from([*CASES, *EDGES]))
def test_no_event_upsets_a_pattern(event: Any, case: tuple[Any, Any, bool]) -> None:
    assert matches(case[0], event) in (True, False)


@given(st.text("ab*", max_size=6), st.text("ab", max_size=10))
def test_wildcards_are_what_regular_expressions_say(wanted: str, value: str) -> None:
    import re

    pattern = {"x": [{"wildcard": re.sub(r"\*+", "*", wanted)}]}
    check_pattern(pattern)
    expected = re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), value) is not None
    assert matches(pattern, {"x": value}) is expected
