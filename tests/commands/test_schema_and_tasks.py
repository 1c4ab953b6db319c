from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result
from jsonschema import Draft202012Validator

from headrace_engine.language import Registry

Headrace = Callable[..., Result]


def test_the_schema_is_a_json_schema_on_standard_output_or_in_a_file(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("schema")
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    Draft202012Validator.check_schema(schema)
    file = tmp_path / "flow.schema.json"
    assert headrace("schema", "--output", file).stdout == ""
    assert json.loads(file.read_text()) == schema
    nowhere = headrace("schema", "--output", tmp_path / "no" / "folder.json")
    assert (nowhere.exit_code, nowhere.stderr.count("\n")) == (2, 1)


def test_every_type_is_listed_with_its_first_sentence(headrace: Headrace) -> None:
    rows = headrace("tasks").stdout.splitlines()
    assert [row.split()[0] for row in rows] == [cls.TYPE for cls in Registry.load().tasks()]
    assert all(len(row.split()) > 1 for row in rows)
    assert not [row for row in rows if "``" in row]


def test_every_type_is_explained(headrace: Headrace) -> None:
    for cls in Registry.load().tasks():
        result = headrace("tasks", cls.TYPE)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"{cls.TYPE}\n")
        assert "``" not in result.stdout


def test_a_type_is_explained_by_its_properties_outputs_and_older_names(headrace: Headrace) -> None:
    rows = headrace("tasks", "debug.return").stdout.splitlines()
    assert rows[0] == "io.kestra.plugin.core.debug.Return"
    assert "Properties (and those every task has)" in rows
    assert any(row.startswith("  format") for row in rows)
    outputs = rows[rows.index("Outputs") + 1]
    assert outputs.startswith("  value")
    assert "  io.kestra.core.tasks.debugs.Return" in rows[rows.index("Older names") :]


def test_an_end_that_is_not_clear_or_not_known_is_refused(headrace: Headrace) -> None:
    unclear = headrace("tasks", "Script")
    assert unclear.exit_code == 2
    assert "io.kestra.plugin.scripts.python.Script" in unclear.stderr
    unknown = headrace("tasks", "io.kestra.plugin.core.log.Lg")
    assert unknown.stderr.endswith("Did you mean `io.kestra.plugin.core.log.Log`?\n")
