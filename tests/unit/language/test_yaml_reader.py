"""What YAML means here: 1.2's core schema, positions, bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from headrace_engine.language.nodes import Entries, Items, Node, Scalar, plain
from headrace_engine.language.problems import FlowError
from headrace_engine.language.yaml_reader import MAX_DEPTH, read_documents


def read(source: str) -> Any:
    (document,) = read_documents(source)
    return plain(document)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".", "."),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("2024-12-31", "2024-12-31"),
        ("2024-12-31T10:00:00Z", "2024-12-31T10:00:00Z"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!float 3", 3.0),
        ("=", "="),
        ("0" * 500, "0" * 500),
    ],
)
def test_an_unquoted_word_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    assert read(f"x: {written}\n") == {"x": meant}


def test_on_stays_a_key() -> None:
    assert read("on: push\nyes: no\n") == {"on": "push", "yes": "no"}


def test_keys_are_text_as_written() -> None:
    assert read("1.10: a\ntrue: b\nnull: c\n0x1F: d\n'': e\n") == {
        "1.10": "a",
        "true": "b",
        "null": "c",
        "0x1F": "d",
        "": "e",
    }


def test_every_key_and_value_knows_where_it_stands() -> None:
    (document,) = read_documents("a: é\nlist:\n  - 'x'\n  - b: |\n      text\n")
    assert isinstance(document, Entries)
    assert document.keys == {"a": (1, 1), "list": (2, 1)}
    items = document.entries["list"]
    assert isinstance(items, Items)
    first, second = items.items
    assert (first.line, first.column, first.path) == (3, 5, ("list", 0))
    assert isinstance(second, Entries)
    block = second.entries["b"]
    assert isinstance(block, Scalar)
    assert (block.line, block.column, block.style, block.path) == (4, 8, "|", ("list", 1, "b"))


def test_anchors_aliases_and_merge_keys_are_written_out() -> None:
    source = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nx:\n  <<: *base\n  b: 9\ny:\n  <<: [*base, *other]\nz: *base\n"
    assert read(source) == {
        "base": {"a": 1, "b": 2},
        "other": {"b": 3, "c": 4},
        "x": {"b": 9, "a": 1},
        "y": {"a": 1, "b": 2, "c": 4},
        "z": {"a": 1, "b": 2},
    }


def test_an_alias_points_to_where_its_value_is_written() -> None:
    (document,) = read_documents("a: &a\n  x: 1\nb: *a\n")
    assert isinstance(document, Entries)
    alias = document.entries["b"]
    assert isinstance(alias, Entries)
    assert alias.entries["x"].line == 2


def test_an_alias_can_be_a_key() -> None:
    assert read("a: &a name\nb:\n  *a : 1\n") == {"a": "name", "b": {"name": 1}}


def test_anchors_end_with_their_document() -> None:
    with pytest.raises(FlowError, match="has no anchor"):
        read_documents("a: &a 1\n---\nb: *a\n")


def test_aliases_cannot_hide_depth() -> None:
    deep = "[" * 60 + "]" * 60
    chain = f"a: &a {deep}\nb: &b {'[' * 60}*a{']' * 60}\n"
    with pytest.raises(FlowError, match=f"more than {MAX_DEPTH} deep"):
        read_documents(chain)


def test_all_duplicate_keys_are_told() -> None:
    with pytest.raises(FlowError) as caught:
        read_documents("a: 1\nb: 2\na: 3\nb: 4\n")
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [(3, "a"), (4, "b")]


def test_a_file_too_long_is_refused_unread() -> None:
    with pytest.raises(FlowError, match="longer than 1048576 characters"):
        read_documents("#" * 1_048_577)


def test_a_million_brackets_are_refused_quickly() -> None:
    with pytest.raises(FlowError, match="deep"):
        read_documents("[" * 1_000_000)


def test_documents_come_in_order_and_empty_ones_are_nothing() -> None:
    documents: list[Node] = read_documents("a: 1\n---\n---\nb: 2\n...\n")
    assert [plain(document) for document in documents] == [{"a": 1}, None, {"b": 2}]


def test_a_byte_order_mark_is_no_matter() -> None:
    assert read("\ufeffid: a\n") == {"id": "a"}


def test_line_ends_of_every_kind_count_as_one_line() -> None:
    (document,) = read_documents("a: 1\r\nb: 2\r\nc: 3\n")
    assert isinstance(document, Entries)
    assert document.keys["c"] == (3, 1)
