"""Where a faulty expression stands inside its text."""

from __future__ import annotations

import pytest

from headrace_engine.language import Registry, validate

HEAD = "id: a\nnamespace: demo\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n"


@pytest.mark.parametrize(
    ("message", "line", "column"),
    [
        ('    message: "{{ a | }}"\n', 6, 22),
        ("    message: '{{ a | }}'\n", 6, 22),
        ("    message: x {{ a | }}\n", 6, 23),
        ("    message: |\n      one\n      {{ a | }}\n", 8, 14),
        ("    message: |-\n\n        one\n\n        two {{ a | }}\n", 10, 20),
        ("    message:\n      - ok\n      - '{{ a | }}'\n", 8, 17),
    ],
)
def test_the_place_is_exact_in_blocks_and_one_line_texts(
    message: str, line: int, column: int, registry: Registry
) -> None:
    (problem,) = validate(HEAD + message, registry=registry)
    assert (problem.line, problem.column) == (line, column)
    assert problem.message == "The expression cannot be read: Expected the name of a filter, found `}}`."


@pytest.mark.parametrize(
    "message", ['    message: "\\u00e9 {{ a | }}"\n', "    message: >\n      x\n      {{ a | }}\n"]
)
def test_elsewhere_the_place_is_the_text_and_the_message_says_where_in_it(message: str, registry: Registry) -> None:
    (problem,) = validate(HEAD + message, registry=registry)
    assert (problem.line, problem.column) == (6, 14)
    assert problem.message.endswith("of the text)")


@pytest.mark.parametrize(
    "body",
    [
        "description: '{{ not | }} checked'\ntasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]",
        "variables: {x: '{{ not | }} yet'}\ntasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]",
        "labels: {x: '{{'}\ntasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]",
        "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: 'a { b', description: '{{'}]",
    ],
)
def test_a_text_that_is_not_rendered_is_not_checked(body: str, registry: Registry) -> None:
    assert validate(f"id: a\nnamespace: demo\n{body}\n", registry=registry) == []


def test_a_key_is_checked_where_keys_are_rendered(registry: Registry) -> None:
    source = (
        "id: a\nnamespace: demo\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.http.Request\n    uri: x\n"
        "    headers:\n      '{{ a | }}': x\n"
    )
    (problem,) = validate(source, registry=registry)
    assert (problem.line, problem.column) == (8, 7)
