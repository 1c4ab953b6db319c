"""A flow's source as text."""

from __future__ import annotations

import pytest

from headrace_engine.language import FlowError, check_part
from headrace_engine.language.source import MAX_DOCUMENTS, dump, find_task, split, with_task, with_value, written


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ("", []),
        ("# nothing\n---\n\n---\n...\n", []),
        ("a: 1", [(0, "a: 1")]),
        ("---\na: 1\n", [(1, "a: 1\n")]),
        ("# its comment\na: 1\n---\n# and its\nb: 2\n", [(0, "# its comment\na: 1\n"), (3, "# and its\nb: 2\n")]),
        ("--- {a: 1}\n--- # two\nb: 2", [(0, "{a: 1}\n"), (1, "# two\nb: 2")]),
        ("%YAML 1.2\n---\r\na: 1\r\n---\r\nb: 2\r\n", [(2, "a: 1\r\n"), (4, "b: 2\r\n")]),
        ("a: |\n  ---\n  x\nb: ---x\n", [(0, "a: |\n  ---\n  x\nb: ---x\n")]),
    ],
)
def test_a_source_is_taken_apart_where_yaml_does(source: str, pieces: list[tuple[int, str]]) -> None:
    assert split(source) == pieces


def test_there_are_not_too_many_documents() -> None:
    assert len(split("--- x\n" * MAX_DOCUMENTS)) == MAX_DOCUMENTS
    with pytest.raises(FlowError, match=f"more than {MAX_DOCUMENTS} documents"):
        split("--- x\n" * (MAX_DOCUMENTS + 1))


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("id: a # why\nb: 1\n", "id: a # why\nb: 1\ndisabled: true\n"),
        ("id: a", "id: a\ndisabled: true\n"),
        ("disabled: false # why\nid: a\n", "disabled: true # why\nid: a\n"),
        ('disabled: "false"\nid: a\n', "disabled: true\nid: a\n"),
        ("disabled: ~\n", "disabled: true\n"),
        ("{id: a}", "id: a\ndisabled: true\n"),
        ("id: a\n...\n", "id: a\ndisabled: true\n"),
        ("text: |\n  disabled: false", "text: 'disabled: false'\ndisabled: true\n"),
        ("text: |+\n  x\n\n", "text: |+\n  x\n\ndisabled: true\n"),
    ],
)
def test_a_flag_is_set_and_the_rest_stays_as_it_is(source: str, changed: str) -> None:
    assert with_value(source, "disabled", True) == changed
    assert written(changed) == {**written(source), "disabled": True}


@pytest.mark.parametrize(
    "data",
    [
        {
            "a": [
                "1e3",
                "0o17",
                "~",
                "null",
                "true",
                "on",
                "2024-01-01",
                "",
                " ",
                "a: b",
                "#",
                "- x",
                "1",
                "é",
                "x\ny\n",
            ]
        },
        {"a": [1, -2.5, True, None, float("inf"), {"b": []}, {}]},
        {"{{ x }}": "{{ y }}"},
    ],
)
def test_what_is_dumped_is_read_back_as_the_same(data: dict[str, object]) -> None:
    assert written(dump(data)) == data


def test_a_task_is_found_and_replaced_in_any_branch() -> None:
    source = "tasks:\n- {id: a, type: t, tasks: [{id: b, type: u, inputs: [{id: c, type: STRING}]}]}\nerrors: [{id: d, type: v}]\n"
    assert find_task(written(source), "d") == {"id": "d", "type": "v"}
    assert find_task(written(source), "e") is None
    changed = with_task(source, "b", {"id": "b", "type": "w"})
    assert changed is not None
    assert written(changed)["tasks"] == [{"id": "a", "type": "t", "tasks": [{"id": "b", "type": "w"}]}]
    assert with_task(source, "e", {}) is None


@pytest.mark.parametrize("source", ["", "- a", "a", "a: 1\n---\nb: 2"])
def test_what_is_no_map_is_refused(source: str) -> None:
    with pytest.raises(FlowError, match="map is expected"):
        written(source)


@pytest.mark.parametrize(
    ("part", "source", "problems"),
    [
        ("task", "id: a\ntype: io.kestra.plugin.core.log.Log\nmessage: x", []),
        (
            "task",
            "id: a\ntype: io.kestra.plugin.core.log.Log",
            ["<flow>:1:1: message: The property `message` is required."],
        ),
        ("task", "a\n---\nb", ["<flow>:3:1: One task is expected here."]),
        ("trigger", "id: a\ntype: io.kestra.plugin.core.trigger.Schedule\ncron: '@daily'", []),
        ("trigger", "[]", ["<flow>:1:1: Expected a trigger, a map with a `type`, got a list."]),
    ],
)
def test_a_part_is_checked_by_itself(part: str, source: str, problems: list[str]) -> None:
    assert [str(error) for error in check_part(source, part).errors] == problems  # type: ignore[arg-type]  # one of two
