from __future__ import annotations

from pathlib import Path

import click
import pytest

from headrace_cli import flow_files, inputs
from headrace_cli.errors import ProblemsError, UserError


def context() -> tuple[click.Context, click.Parameter]:
    option = click.Option(["--input"])
    return click.Context(click.Command("run")), option


def test_a_value_may_hold_anything_even_equals_signs_and_nothing() -> None:
    assert inputs.pairs(*context(), ["a=1=2", "b=", "c.d= x "]) == {"a": "1=2", "b": "", "c.d": " x "}


@pytest.mark.parametrize("given", [["novalue"], ["=value"], ["a=1", "a=2"]])
def test_what_is_no_pair_is_refused(given: list[str]) -> None:
    with pytest.raises(click.BadParameter):
        inputs.pairs(*context(), given)


def test_a_file_may_be_given_with_or_without_an_at_sign(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.touch()
    assert inputs.files(*context(), [f"a=@{file}", f"b={file}"]) == {"a": file, "b": file}
    with pytest.raises(click.BadParameter, match="there is no file"):
        inputs.files(*context(), [f"a=@{tmp_path}"])


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("i.json", '{"a": 1, "b": [true, null]}', {"a": 1, "b": [True, None]}),
        ("i.yaml", "a: 2024-01-31\non: yes\nn: 1.5\n", {"a": "2024-01-31", "on": "yes", "n": 1.5}),
        ("i.yml", "{}", {}),
    ],
)
def test_a_file_of_inputs_keeps_dates_and_words_as_text(
    tmp_path: Path, name: str, text: str, values: dict[str, object]
) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert inputs.values(file) == values


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.json", "[1]", r"a map of input names to values is expected"),
        ("i.json", "{", r"no JSON"),
        ("i.yaml", "a: 1\na: 2\n", r"i\.yaml:2:1: "),
        ("i.yaml", "just text", r"a map of input names to values is expected"),
        ("i.yaml", "", r"a map of input names to values is expected"),
    ],
)
def test_a_file_that_holds_no_inputs_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises((UserError, ProblemsError), match=message):
        inputs.values(file)


def test_a_name_the_flow_does_not_know_is_refused_with_the_nearest() -> None:
    inputs.check_names(["a"], ["a", "b"], "demo.hello")
    with pytest.raises(UserError) as refused:
        inputs.check_names(["mesage", "zzz"], ["message", "count"], "demo.hello")
    assert refused.value.message.splitlines() == [
        "demo.hello has no input `mesage`. Did you mean `message`?",
        "demo.hello has no input `zzz`. Its inputs are message, count.",
    ]
    with pytest.raises(UserError, match="It has no inputs"):
        inputs.check_names(["a"], [], "demo.hello")


def test_folders_are_searched_for_yaml_but_not_where_it_is_hidden(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/c.yml", "a/D.YAML", ".git/e.yaml", "a/.f.yaml", "g.json"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = flow_files.find([tmp_path, tmp_path / "b.yaml", flow_files.STDIN])
    assert [path.name for path in found] == ["D.YAML", "c.yml", "b.yaml", "-"]
    with pytest.raises(UserError, match=r"no \*\.yaml or \*\.yml file"):
        flow_files.find([_empty(tmp_path)])
    with pytest.raises(UserError, match="no such file or folder"):
        flow_files.find([tmp_path / "missing.yaml"])


def _empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir()
    return empty


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"id: a\nname: \xff\n")
    with pytest.raises(UserError, match="line 2 is not UTF-8"):
        flow_files.read(file)
    file.write_bytes(b"\xef\xbb\xbfid: a\n")
    assert flow_files.read(file) == "id: a\n"
