"""The outputs of a flow, in their stored form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.expressions import NoHost
from headrace_engine.inputs import InputProblem, OutputError, read_outputs
from headrace_engine.model.definition import OutputDefinition
from headrace_engine.sealing import ENCRYPTED
from unit.inputs.support import EXPRESSIONS, NOW, seal, unseal

VARIABLES: Mapping[str, Any] = {
    "outputs": {"t": {"uri": "kestra:///demo/a.csv", "count": 3, "rows": [1, 2], "nothing": None, "empty": ""}}
}


def define(kind: str, value: Any, name: str = "x", *, required: bool = True, **options: Any) -> OutputDefinition:
    return OutputDefinition(id=name, type=kind, value=value, required=required, options=options)


def text(value: Any) -> Any:
    return EXPRESSIONS.render_value(value, VARIABLES, NoHost(now=NOW))


def typed(value: Any) -> Any:
    return EXPRESSIONS.render_value_typed(value, VARIABLES, NoHost(now=NOW))


def outputs(definitions: Sequence[OutputDefinition], *, key: bool = True, render_value: Any = typed) -> dict[str, Any]:
    return read_outputs(definitions, render_value=render_value, seal=seal if key else None)


def refusal(definitions: Sequence[OutputDefinition], *, key: bool = True) -> str:
    with pytest.raises(OutputError) as refused:
        outputs(definitions, key=key)
    return str(refused.value)


@pytest.mark.parametrize("render_value", [text, typed])
@pytest.mark.parametrize(
    ("kind", "options", "value", "stored"),
    [
        ("STRING", {}, "{{ outputs.t.count }}", "3"),
        ("STRING", {}, "{{ outputs.t.empty }}", ""),
        ("INT", {}, "{{ outputs.t.count }}", 3),
        ("FLOAT", {}, 1, 1.0),
        ("BOOL", {}, "{{ outputs.t.count == 3 }}", True),
        ("DATE", {}, "{{ now() | date('yyyy-MM-dd') }}", "2024-12-20"),
        ("DATETIME", {}, "{{ now() }}", "2024-12-20T10:11:12Z"),
        ("JSON", {}, "{{ outputs.t.rows }}", [1, 2]),
        ("YAML", {}, "{{ outputs.t.rows }}", [1, 2]),
        ("ARRAY", {"itemType": "INT"}, "{{ outputs.t.rows }}", [1, 2]),
        ("ARRAY", {"itemType": "STRING"}, ["{{ outputs.t.count }}", "b"], ["3", "b"]),
        ("FILE", {}, "{{ outputs.t.uri }}", "kestra:///demo/a.csv"),
        ("URI", {}, "{{ outputs.t.uri }}", "kestra:///demo/a.csv"),
        ("SELECT", {"values": ["3", "4"]}, "{{ outputs.t.count }}", "3"),
    ],
)
def test_an_output_of_each_kind(render_value: Any, kind: str, options: dict[str, Any], value: Any, stored: Any) -> None:
    assert outputs([define(kind, value, **options)], render_value=render_value) == {"x": stored}


@pytest.mark.parametrize("render_value", [text, typed])
def test_an_output_of_several_pieces_is_rendered_to_text(render_value: Any) -> None:
    definitions = [define("STRING", "{{ outputs.t.count }} rows"), define("YAML", "a: {{ outputs.t.count }}", "y")]
    assert outputs(definitions, render_value=render_value) == {"x": "3 rows", "y": {"a": 3}}


@pytest.mark.parametrize("kind", ["INT", "BOOL", "DATE", "FILE", "JSON", "YAML", "EMAIL"])
@pytest.mark.parametrize("render_value", [text, typed])
def test_a_null_is_dropped_however_it_is_rendered(kind: str, render_value: Any) -> None:
    assert outputs([define(kind, "{{ outputs.t.nothing }}")], render_value=render_value) == {}


def test_nulls_are_dropped_and_dotted_ids_nest() -> None:
    definitions = [
        define("STRING", "{{ outputs.t.nothing }}", "gone"),
        define("JSON", "null", "null"),
        define("INT", 1, "a.b"),
        define("INT", 2, "a.c"),
    ]
    assert outputs(definitions) == {"a": {"b": 1, "c": 2}}


def test_a_secret_output_is_sealed() -> None:
    stored = outputs([define("SECRET", "s3cr3t")])["x"]
    assert stored["type"] == ENCRYPTED
    assert unseal(stored) == "s3cr3t"
    assert refusal([define("SECRET", "s3cr3t")], key=False) == (
        "Invalid value for output `x`. Cause: a SECRET needs an encryption key: set `encryption.secretKey` (environment: "
        "HEADRACE_ENCRYPTION_SECRET_KEY), but received `********`"
    )


def test_trap_17_an_output_that_cannot_be_rendered_is_an_error() -> None:
    with pytest.raises(OutputError) as refused:
        outputs([define("STRING", "{{ outputs.gone }}", "a"), define("INT", "none", "b"), define("INT", 1, "c")])
    assert refused.value.problems == (
        InputProblem(
            "a",
            "Invalid value for output `a`. Cause: Unable to find `gone` used in the expression `{{ outputs.gone }}` at line 1",
        ),
        InputProblem("b", "Invalid value for output `b`. Cause: it must be a whole number, but received `none`"),
    )
    assert str(refused.value) == "\n".join(problem.message for problem in refused.value.problems)


def test_an_optional_output_that_is_missing_is_left_out() -> None:
    definitions = [
        define("STRING", "{{ outputs.gone }}", "a", required=False),
        define("INT", "{{ outputs.gone }}", "b", required=False),
        define("STRING", "{{ outputs.t.empty }}", "c", required=False),
    ]
    assert outputs(definitions) == {"c": ""}


def test_an_optional_output_of_another_type_is_an_error() -> None:
    assert refusal([define("INT", "none", required=False)]) == (
        "Invalid value for output `x`. Cause: it must be a whole number, but received `none`"
    )


@pytest.mark.parametrize("value", ["nsfile:///a.csv", "https://localhost/a.csv", "a.csv"])
def test_a_file_output_is_in_internal_storage(value: str) -> None:
    assert refusal([define("FILE", value)]) == (
        "Invalid value for output `x`. Cause: it must be the URI of a file in internal storage, which begins with "
        f"`kestra:///`, but received `{value}`"
    )


def test_a_file_output_is_never_a_file_of_the_machine(tmp_path: Path) -> None:
    upload = tmp_path / "a.csv"
    upload.touch()
    with pytest.raises(OutputError):
        read_outputs([define("FILE", "x")], render_value=lambda _: upload, seal=None)
