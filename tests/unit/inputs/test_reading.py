"""Reading the inputs of an execution: defaults, conditions, order, and the traps of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace_engine.inputs import InputError, InputProblem
from unit.inputs.support import Store, define, read, refusal, typed, validate

# -- the traps


def test_trap_24_a_missing_optional_input_is_a_key_with_null() -> None:
    assert read([define("STRING", required=False)], {}) == {"x": None}
    assert read([define("STRING", required=False)], {"x": None}) == {"x": None}


@pytest.mark.parametrize("kind", ["BOOLEAN", "BOOL"])
@pytest.mark.parametrize("text", ["yes", "1", "on", "", "tru", "false", " true"])
def test_trap_24_a_boolean_of_any_other_text_is_false(kind: str, text: str) -> None:
    assert read([define(kind)], {"x": text}) == {"x": False}


def test_trap_24_dotted_ids_nest() -> None:
    definitions = [define("STRING", "nested.string"), define("INT", "nested.more.int"), define("BOOL", "flat")]
    stored = read(definitions, {"nested.string": "a", "nested.more.int": "1", "flat": "true"})
    assert stored == {"nested.string": "a", "nested.more.int": 1, "flat": True}
    seen = typed(definitions, stored)
    assert seen["nested"]["string"] == "a"
    assert seen["nested"]["more"]["int"] == 1
    assert list(seen) == ["nested", "flat"]


def test_trap_24_every_problem_has_its_line() -> None:
    definitions = [define("INT", "nr"), define("STRING", "name"), define("SELECT", "size", values=["S", "M"])]
    with pytest.raises(InputError) as refused:
        read(definitions, {"nr": "hello", "size": "L"})
    assert refused.value.problems == (
        InputProblem("nr", "Invalid input for `nr`, it must be a whole number, but received `hello`"),
        InputProblem("name", "Invalid input for `name`, it is required, but received `null`"),
        InputProblem("size", "Invalid input for `size`, it must be one of `S`, `M`, but received `L`"),
    )
    assert str(refused.value) == "\n".join(problem.message for problem in refused.value.problems)


def test_trap_2_a_default_sees_no_inputs_but_those_it_depends_on() -> None:
    definitions = [define("STRING", "a"), define("STRING", "b", defaults="{{ inputs.a ?? 'none' }}")]
    assert read(definitions, {"a": "1"}) == {"a": "1", "b": "none"}
    message = refusal([define("STRING", defaults="{{ inputs.a }}")], {})
    assert "Unable to find `inputs` used in the expression `{{ inputs.a }}` at line 1" in message


# -- given, required, defaults


def test_a_required_input_that_is_not_given_is_refused() -> None:
    for given in ({}, {"x": None}):
        assert refusal([define("STRING")], given) == "Invalid input for `x`, it is required, but received `null`"


def test_an_empty_text_is_a_value() -> None:
    assert read([define("STRING", defaults="default")], {"x": ""}) == {"x": ""}


def test_a_default_counts_as_given() -> None:
    assert read([define("INT", defaults="5")], {}) == {"x": 5}
    assert read([define("INT", defaults="5")], {"x": None}) == {"x": 5}
    assert read([define("INT", defaults=5)], {"x": 6}) == {"x": 6}
    assert read([define("INT", defaults=None)], {}) == {"x": None}


def test_a_default_is_checked_like_any_value() -> None:
    assert (
        refusal([define("INT", defaults=5, max=4)], {})
        == "Invalid input for `x`, it must be at most `4`, but received `5`"
    )


def test_a_bool_is_never_null() -> None:
    for definition in (define("BOOL"), define("BOOL", required=False), define("BOOL", defaults=None)):
        assert read([definition], {}) == {"x": False}
    assert read([define("BOOLEAN", required=False)], {}) == {"x": None}


def test_inputs_that_are_not_declared_are_ignored() -> None:
    assert read([define("INT")], {"x": 1, "y": 2}) == {"x": 1}


def test_a_dotted_input_may_be_given_in_a_map() -> None:
    definitions = [define("STRING", "a.b"), define("INT", "a.c", required=False)]
    assert read(definitions, {"a": {"b": "x"}}) == {"a.b": "x", "a.c": None}
    assert read(definitions, {"a": {"b": "y"}, "a.b": "x"}) == {"a.b": "x", "a.c": None}
    assert read(definitions, {"a.b": "x", "a": "no map"}) == {"a.b": "x", "a.c": None}


@pytest.mark.parametrize(
    ("kind", "options", "defaults", "stored"),
    [
        ("STRING", {}, "Hallo von Kestra", "Hallo von Kestra"),
        ("STRING", {}, "{{ now() | dateAdd(-1, 'DAYS') | date('yyyy-MM-dd') }}", "2024-12-19"),
        ("DATE", {}, "{{ now() | dateAdd(-1, 'DAYS') | date('yyyy-MM-dd') }}", "2024-12-19"),
        ("DATETIME", {}, "{{ now() }}", "2024-12-20T10:11:12Z"),
        ("STRING", {}, "{{ 5 }}", "5"),
        ("STRING", {}, "run {{ 5 }} of {{ flow.id }}", "run 5 of etl"),
        ("STRING", {}, "{{ 1 }}{{ 2 }}", "12"),
        ("STRING", {}, "\n{{ 1 }} {# no #}\n", "\n1 \n"),
        ("STRING", {}, "{% if true %}yes{% endif %}", "yes"),
        ("STRING", {}, "{ no template }", "{ no template }"),
        ("STRING", {}, "{{ null }}", None),
        ("INT", {}, "{{ 2 + 3 }}", 5),
        ("JSON", {}, '[{"flow": "{{ flow.id }}"}]', [{"flow": "etl"}]),
        ("JSON", {}, {"flow": "{{ flow.id }}", "list": ["{{ 1 + 1 }}", 3]}, {"flow": "etl", "list": [2, 3]}),
        ("YAML", {}, [{"user": "john"}], [{"user": "john"}]),
        ("ARRAY", {"itemType": "INT"}, "{{ [1, 2] }}", [1, 2]),
        ("ARRAY", {"itemType": "STRING"}, ["{{ flow.id }}", "b"], ["etl", "b"]),
        ("FILE", {"allowedFileExtensions": [".md"]}, "nsfile:///hello.txt", "nsfile:///hello.txt"),
        ("SELECT", {"values": ["etl", "elt"]}, "{{ flow.id }}", "etl"),
        ("MULTISELECT", {"values": ["a", "b"]}, ["b"], ["b"]),
    ],
)
def test_defaults_are_rendered(kind: str, options: dict[str, Any], defaults: Any, stored: Any) -> None:
    assert read([define(kind, defaults=defaults, **options)], {}, {"flow": {"id": "etl"}}) == {"x": stored}


def test_a_default_that_cannot_be_rendered_is_a_problem() -> None:
    assert refusal([define("STRING", defaults="{{ execution.id }}")], {}) == (
        "Invalid input for `x`, its default cannot be rendered (Unable to find `execution` used in the expression "
        "`{{ execution.id }}` at line 1), but received `null`"
    )


def test_what_is_given_is_never_rendered() -> None:
    definitions = [define("STRING"), define("JSON", "y")]
    stored = read(definitions, {"x": "{{ 1 + 1 }}", "y": '["{{ 1 + 1 }}"]'})
    assert stored == {"x": "{{ 1 + 1 }}", "y": ["{{ 1 + 1 }}"]}


def test_auto_select_first() -> None:
    select = define("SELECT", "one", expression="{{ ['a', 'b'] }}", autoSelectFirst=True)
    several = define("MULTISELECT", "many", values=["a", "b"], autoSelectFirst=True)
    assert read([select, several], {}) == {"one": "a", "many": ["a"]}
    assert read([select, several], {"one": "b", "many": []}) == {"one": "b", "many": []}
    nothing = define("SELECT", expression="{{ [] }}", autoSelectFirst=True)
    assert refusal([nothing], {}) == "Invalid input for `x`, it is required, but received `null`"


def test_choices_are_not_rendered_when_nothing_asks_for_them() -> None:
    assert read([define("SELECT", expression="{{ nothing }}", required=False)], {}) == {"x": None}


# -- dependsOn


RESOURCES = [
    define("SELECT", "cloud", values=["AWS", "GCP"], depends_on=["kind"], condition="{{ inputs.kind == 'VM' }}"),
    define("SELECT", "kind", values=["VM", "SaaS"]),
    define(
        "SELECT",
        "size",
        expression="{{ {'AWS': ['t2', 't3'], 'GCP': ['f1']}[inputs.cloud] }}",
        depends_on=["kind", "cloud"],
        condition="{{ inputs.kind == 'VM' }}",
    ),
    define("STRING", "app", depends_on=["kind"], condition="{{ inputs.kind == 'SaaS' }}"),
]


def test_inputs_are_read_in_the_order_they_depend_on_each_other() -> None:
    assert read(RESOURCES, {"kind": "VM", "cloud": "AWS", "size": "t3"}) == {"cloud": "AWS", "kind": "VM", "size": "t3"}
    assert refusal(RESOURCES, {"kind": "VM", "cloud": "GCP", "size": "t3"}) == (
        "Invalid input for `size`, it must be one of `f1`, but received `t3`"
    )


def test_an_input_whose_condition_is_false_is_skipped() -> None:
    assert read(RESOURCES, {"kind": "SaaS", "app": "Slack", "cloud": "no check"}) == {"kind": "SaaS", "app": "Slack"}


def test_an_input_whose_dependency_is_invalid_or_missing_is_skipped() -> None:
    assert (
        refusal(RESOURCES, {"kind": "none"})
        == "Invalid input for `kind`, it must be one of `VM`, `SaaS`, but received `none`"
    )
    assert refusal(RESOURCES, {}) == "Invalid input for `kind`, it is required, but received `null`"
    assert read([define("INT", depends_on=["nowhere"])], {}) == {}


def test_an_optional_dependency_may_be_null() -> None:
    definitions = [
        define("STRING", "a", required=False),
        define("STRING", "b", depends_on=["a"], defaults="{{ inputs.a ?? 'nothing' }}"),
    ]
    assert read(definitions, {}) == {"a": None, "b": "nothing"}


@pytest.mark.parametrize(
    ("condition", "enabled"),
    [
        ("{{ true }}", True),
        ("{{ inputs.a == '1' }}", True),
        ("{{ 'true' }}", False),
        ("true", False),
        ("{{ 1 }}", False),
    ],
)
def test_a_condition_must_be_true_itself(condition: str, enabled: bool) -> None:
    definitions = [define("STRING", "a"), define("STRING", "b", depends_on=["a"], condition=condition, defaults="x")]
    assert read(definitions, {"a": "1"}) == ({"a": "1", "b": "x"} if enabled else {"a": "1"})


def test_a_condition_that_cannot_be_rendered_is_a_problem() -> None:
    definitions = [define("STRING", "a"), define("STRING", "b", depends_on=["a"], condition="{{ inputs.c }}")]
    assert refusal(definitions, {"a": "1"}) == (
        "Invalid input for `b`, its condition cannot be rendered (Unable to find `c` used in the expression "
        "`{{ inputs.c }}` at line 1), but received `null`"
    )


def test_expressions_see_dependencies_typed_and_nested() -> None:
    definitions = [
        define("DATE", "from.day"),
        define("SECRET", "token"),
        define(
            "DATE",
            "to",
            depends_on=["from.day"],
            defaults="{{ inputs.from.day | dateAdd(1, 'DAYS') | date('yyyy-MM-dd') }}",
        ),
        define("STRING", "length", depends_on=["token"], defaults="{{ inputs.token | length }}"),
    ]
    stored = read(definitions, {"from.day": "2024-02-28", "token": "12345"})
    assert stored["to"] == "2024-02-29"
    assert stored["length"] == "5"


def test_a_file_that_another_input_depends_on_has_its_uri(tmp_path: Path) -> None:
    upload = tmp_path / "data.csv"
    upload.touch()
    store = Store()
    definitions = [define("FILE", "file"), define("STRING", "uri", depends_on=["file"], defaults="{{ inputs.file }}")]
    stored = read(definitions, {"file": upload}, store=store)
    assert stored["uri"] == stored["file"]
    assert list(store.files) == [stored["file"]]


def test_inputs_that_depend_on_each_other_in_a_circle_are_skipped() -> None:
    definitions = [define("INT", "a", depends_on=["b"]), define("INT", "b", depends_on=["a"]), define("INT", "c")]
    assert read(definitions, {"a": 1, "b": 2, "c": 3}) == {"c": 3}


# -- validate


def test_validate_tells_of_each_input() -> None:
    definitions = [
        define("INT", "nr", defaults=5),
        define("STRING", "name"),
        define("STRING", "later", depends_on=["name"]),
        define("SELECT", "size", expression="{{ ['S', 'M'] }}"),
        define("SECRET", "token"),
        define("STRING", "note", required=False),
    ]
    assert validate(definitions, {"size": "S", "token": "s3cr3t"}) == [
        {"id": "nr", "value": 5, "enabled": True, "isDefault": True, "errors": []},
        {
            "id": "name",
            "value": None,
            "enabled": True,
            "isDefault": False,
            "errors": [{"message": "Invalid input for `name`, it is required, but received `null`"}],
        },
        {"id": "later", "value": None, "enabled": False, "isDefault": False, "errors": []},
        {"id": "size", "value": "S", "enabled": True, "isDefault": False, "errors": [], "choices": ["S", "M"]},
        {"id": "token", "value": "********", "enabled": True, "isDefault": False, "errors": []},
        {"id": "note", "value": None, "enabled": True, "isDefault": False, "errors": []},
    ]


def test_validate_tells_what_there_is_to_choose_from_before_anything_is_chosen() -> None:
    [answer] = validate([define("SELECT", expression="{{ ['S', 'M'] }}")], {})
    assert answer["choices"] == ["S", "M"]
    [answer] = validate([define("SELECT", expression="{{ nothing }}", required=False)], {})
    assert "its expression cannot be rendered" in answer["errors"][0]["message"]


def test_validate_stores_nothing(tmp_path: Path) -> None:
    upload = tmp_path / "data.csv"
    upload.touch()
    store = Store()
    definitions = [define("FILE", "a"), define("STRING", "b", depends_on=["a"], defaults="{{ inputs.a }}")]
    answers = validate(definitions, {"a": upload}, store=store)
    assert [answer["value"] for answer in answers] == ["data.csv", "data.csv"]
    assert store.files == {}
