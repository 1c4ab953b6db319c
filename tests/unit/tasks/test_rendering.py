"""Which properties are rendered how, by the class of a task."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from headrace_engine.plugin import IsoDuration, Properties, Rendering, Task, format_duration, parse_duration
from headrace_engine.rendering import coerce_properties, render_properties


class Inner(Properties):
    name: str
    raw: Annotated[str, Rendering.STATIC] = ""
    numbers: list[int] = Field(default_factory=list)


class Left(Properties):
    TYPE: ClassVar[str] = "left"
    type: Literal["left"]
    kept: Annotated[str, Rendering.BY_TASK]


class Right(Properties):
    TYPE: ClassVar[str] = "right"
    type: Literal["right"]
    kept: str


class Sample(Task):
    text: str = ""
    number: int = 0
    flag: bool = False
    anything: Any = None
    words: list[str] = Field(default_factory=list)
    table: dict[str, str] = Field(default_factory=dict)
    inner: Inner | None = None
    inners: list[Inner] = Field(default_factory=list)
    either: str | list[str] = ""
    labels: dict[str, Any] | list[Inner] | None = None
    choice: Left | Right | None = None
    wait: IsoDuration | None = None
    static: Annotated[str, Rendering.STATIC] = ""
    typed: Annotated[Any, Rendering.TYPED] = None
    by_task: Annotated[str | None, Rendering.BY_TASK] = None
    from_: str | None = None


def text(template: str) -> Any:
    if template == "{{ sealed }}":
        return {"type": "io.headrace.sealed", "value": "…"}
    return (
        template.replace("{{ x }}", "X")
        .replace("{{ five }}", "5")
        .replace("{{ list }}", '["a","b"]')
        .replace("{{ maps }}", '[{"name":"n","numbers":[1]}]')
    )


def typed(template: str) -> Any:
    return {"object": 1} if template == "{{ x }}" else text(template)


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        ({"text": "a {{ x }}"}, {"text": "a X"}),
        ({"text": "{{ list }}"}, {"text": '["a","b"]'}),
        ({"text": True}, {"text": "true"}),
        ({"number": "{{ five }}"}, {"number": "5"}),
        ({"flag": True}, {"flag": True}),
        ({"anything": {"{{ x }}": ["{{ x }}", 1, True, None]}}, {"anything": {"X": ["X", 1, True, None]}}),
        ({"anything": "{{ list }}"}, {"anything": '["a","b"]'}),
        ({"words": ["{{ x }}", "b"]}, {"words": ["X", "b"]}),
        ({"words": "{{ list }}"}, {"words": ["a", "b"]}),
        ({"words": '["a"]'}, {"words": ["a"]}),
        ({"words": "no list {{ x }}"}, {"words": "no list X"}),
        ({"table": {"{{ x }}": "{{ x }}", "b": True}}, {"table": {"X": "X", "b": "true"}}),
        ({"inner": {"name": "{{ x }}", "raw": "{{ x }}"}}, {"inner": {"name": "X", "raw": "{{ x }}"}}),
        ({"inners": [{"name": "{{ x }}", "numbers": "[1]"}]}, {"inners": [{"name": "X", "numbers": [1]}]}),
        ({"inners": "{{ maps }}"}, {"inners": [{"name": "n", "numbers": [1]}]}),
        ({"either": "{{ list }}"}, {"either": '["a","b"]'}),
        ({"either": ["{{ x }}"]}, {"either": ["X"]}),
        ({"labels": '{"a": 1}'}, {"labels": {"a": 1}}),
        ({"labels": {"{{ x }}": 1}}, {"labels": {"X": 1}}),
        ({"choice": {"type": "left", "kept": "{{ x }}"}}, {"choice": {"type": "left", "kept": "{{ x }}"}}),
        ({"choice": {"type": "right", "kept": "{{ x }}"}}, {"choice": {"type": "right", "kept": "X"}}),
        ({"static": "{{ x }}"}, {"static": "{{ x }}"}),
        ({"typed": "{{ x }}"}, {"typed": {"object": 1}}),
        ({"typed": {"{{ x }}": ["{{ x }}"]}}, {"typed": {"X": [{"object": 1}]}}),
        ({"byTask": "{{ x }}"}, {"byTask": "{{ x }}"}),
        ({"unknown": "{{ x }}"}, {"unknown": "X"}),
        ({"text": "{{ sealed }}"}, {"text": {"type": "io.headrace.sealed", "value": "…"}}),
    ],
)
def test_rendering(given: dict[str, Any], rendered: dict[str, Any]) -> None:
    result = render_properties(Sample, given, text, typed)
    assert result == rendered
    assert coerce_properties(Sample, result) == result


def test_a_key_cannot_be_a_secret() -> None:
    with pytest.raises(ValueError, match="a secret can only stand in a value"):
        render_properties(Sample, {"table": {"{{ sealed }}": "x"}}, text, typed)


def test_what_was_rendered_is_not_rendered_again() -> None:
    assert render_properties(Sample, {"words": "{{ x }}"}, lambda _: '["{{ x }}"]', typed) == {"words": ["{{ x }}"]}


def test_rendered_texts_become_the_fields_types() -> None:
    rendered = render_properties(Sample, {"number": "{{ five }}", "wait": "PT{{ five }}S"}, text, typed)
    sample = Sample.model_validate(rendered)
    assert (sample.number, sample.wait) == (5, timedelta(seconds=5))


@pytest.mark.parametrize(
    ("text", "length", "again"),
    [
        ("PT5S", timedelta(seconds=5), "PT5S"),
        ("P1DT2H", timedelta(hours=26), "PT26H"),
        ("PT1M30.5S", timedelta(seconds=90.5), "PT1M30.5S"),
        ("pt0s", timedelta(0), "PT0S"),
        ("P2W", timedelta(weeks=2), "PT336H"),
        ("-PT1M1.25S", timedelta(seconds=-61.25), "PT-1M-1.25S"),
    ],
)
def test_durations(text: str, length: timedelta, again: str) -> None:
    assert parse_duration(text) == length
    assert format_duration(length) == again


@pytest.mark.parametrize("text", ["", "P", "PT", "5", "5s", "PT5", "P1Y", "P1M", "P1DT", "00:00:05", "PT1S2M"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ISO-8601 duration"):
        parse_duration(text)


def test_a_duration_is_written_as_text_only() -> None:
    with pytest.raises(ValidationError, match="ISO-8601"):
        Sample.model_validate({"wait": 5})
    assert Sample.model_validate({"wait": "PT5S"}).model_dump(mode="json")["wait"] == "PT5S"
