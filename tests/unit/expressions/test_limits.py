"""Bounds: each is met inside the evaluator, ends in an error that names it, and does so quickly."""

from __future__ import annotations

import re
import time

import pytest

from headrace_engine.expressions import ExpressionError, Expressions, Limits, NoHost
from headrace_engine.expressions import jq as jq_process

SMALL = Limits(
    output_chars=10_000, loop_iterations=1_000, range_items=1_000, repeat_chars=1_000, steps=20_000, jq_seconds=0.3,
    jq_results=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def small():
    yield Expressions(limits=SMALL)
    jq_process.close()  # its bounds are not those of other tests


def grown(start: str, expression: str, rounds: int = 40, end: str = "x | length") -> str:
    """Return a template that applies *expression* again and again to x, and y beside it."""
    other = re.sub(r"\bx\b", "y", expression)
    return (
        f"{{% set x = {start} %}}{{% set y = {start} %}}"
        f"{{% for i in 1..{rounds} %}}{{% set x = {expression} %}}{{% set y = {other} %}}{{% endfor %}}{{{{ {end} }}}}"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for i in 1..100 %}{% for j in 1..100 %}{% endfor %}{% endfor %}", "The expression loops more than 1000 times"),
        ("{{ 1..1001 }}", "A list of 1001 items is longer than the 1000 allowed"),
        ("{{ 1..9223372036854775807 }}", "A list of 9223372036854775807 items is longer than the 1000 allowed"),
        ("{{ range(0, -9223372036854775807, -1) }}", "A list of 9223372036854775808 items is longer than the 1000 allowed"),
        ("{{ 'a' | indent(1) }}{{ 'a\nb' | indent(1001) }}", "The filter 'indent' adds more than 1000 characters"),
        ("{{ 'a' | nindent(999999999999999) }}", "The filter 'nindent' adds more than 1000 characters"),
        (grown("'a'", "x ~ x"), "The result is longer than the 10000 characters allowed"),
        (grown("'a'", "x + x"), "The result is longer than the 10000 characters allowed"),
        (grown("'a'", "x | replace({'a': 'aa'})"), "The result is longer than the 10000 characters allowed"),
        (grown("'a'", "[x, x] | join"), "The result is longer than the 10000 characters allowed"),
        (grown("[1]", "x | merge(x)"), "A list of 1024 items is longer than the 1000 allowed"),
        (grown("[1]", "x + x"), "A list of 1024 items is longer than the 1000 allowed"),
        (grown("[1, 1]", "[x, x] | flatten"), "A list of 1024 items is longer than the 1000 allowed"),
        (grown("'a'", "x | replace({'a': 'aa'}, regexp=true)"), "The expression takes more than 20000 steps"),
        (grown("1", "[x, x]", end="x"), "The result is longer than the 10000 characters allowed"),
        (grown("[]", "[x, x]", end="x == y"), "The expression takes more than 20000 steps"),
        (grown("[]", "[x, x]", end="x | distinct"), "The result is longer than the 10000 characters allowed"),
        (grown("[]", "[x, x]", end="x | toIon"), "The expression takes more than 20000 steps"),
        (grown("1", "[x]", 300, end="x"), "A value is nested deeper than the 200 levels allowed"),
        (grown("1", "[x]", 300, end="x == y"), "A value is nested deeper than the 200 levels allowed"),
        (grown("1", "{'a': x}", 300, end="x | yaml"), "A value is nested deeper than the 200 levels allowed"),
        (grown("1", "[x]", 300, end="x | toIon"), "A value is nested deeper than the 200 levels allowed"),
        (grown("1", "[x]", 300, end="render(x)"), "A value is nested deeper than the 200 levels allowed"),
        ("{% for i in 1..900 %}0123456789012345{% endfor %}", "The result is longer than the 10000 characters allowed"),
        ("{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(30) }}",
         "The expression takes more than 20000 steps"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "Macros call one another more than 40 levels deep"),
        ("{% block b %}{{ block('b') }}{% endblock %}", "Macros call one another more than 40 levels deep"),
        ("{% set x = '99' | number('BIGINTEGER') %}{% for i in 1..40 %}{% set x = x * x %}{% endfor %}",
         "A number of 13578 bits is larger than the 8192 allowed"),
        ("{{ '" + "9" * 1001 + "' | number }}", "A number of more than 1000 characters is too long"),
        ("{{ 'a' | regexMatch('" + "a" * 10001 + "') }}", "A regular expression is longer than 10000 characters"),
        ("{{ 1 | jq('range(infinite)') }}", "The jq program `range(infinite)` failed: it has too many or too long results"),
        ("{{ 1 | jq('range(1000)') }}", "The jq program `range(1000)` failed: it has too many or too long results"),
        ("{{ 1 | jq('[range(5000)]') }}", "The jq program `[range(5000)]` failed: it has too many or too long results"),
        ("{{ 1 | jq('last(range(infinite))') }}",
         "The jq program `last(range(infinite))` took more than 0.3 seconds or too much memory"),
        ("{{ 1 | jq('def f: f; f') }}", "The jq program `def f: f; f` took more than 0.3 seconds or too much memory"),
    ],
)  # fmt: skip
def test_bounds(small, template, message):
    started = time.perf_counter()
    with pytest.raises(ExpressionError) as caught:
        small.render(template, {}, NoHost())
    assert caught.value.message == message
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        "{{ " + "not " * 5000 + "true }}",
        "{{ " + "-" * 5000 + "1 }}",
        "{{ " + "{'a':" * 5000 + "1" + "}" * 5000 + " }}",
        "{{ 1" + " + 1" * 5000 + " }}",
        "{{ a" + "[0]" * 5000 + " }}",
        "{{ a" + " | upper" * 5000 + " }}",
        "{{ " + "true ? " * 5000 + "1" + " : 2" * 5000 + " }}",
        "{{ " + "max(" * 5000 + "1" + ")" * 5000 + " }}",
        '{{ "' + "#{" * 50 + "1" + "}" * 50 + '" }}',
    ],
    ids=lambda template: template[:12],
)
def test_deep_expressions_are_refused(expressions, template):
    with pytest.raises(
        ExpressionError, match=r"nested deeper than the 80 levels allowed|Expected|not closed|Unexpected"
    ):
        expressions.render(template, {"a": "x"}, NoHost())


@pytest.mark.parametrize(
    "template",
    [
        "{% if true %}" * 100 + "{% endif %}" * 100,
        "{% for x in [1] %}" * 100 + "{% endfor %}" * 100,
        "{% filter upper %}" * 100 + "{% endfilter %}" * 100,
        "".join(f"{{% block b{number} %}}" for number in range(100)) + "{% endblock %}" * 100,
    ],
    ids=lambda template: template[:12],
)
def test_deep_tags_are_refused(expressions, template):
    with pytest.raises(ExpressionError, match="Tags are nested deeper than the 15 levels allowed"):
        expressions.check(template)


def test_the_deepest_that_is_allowed_works(expressions):
    host = NoHost()
    assert expressions.render("{{ " + "[" * 75 + "1" + "]" * 75 + " }}", {}, host) == "[" * 75 + "1" + "]" * 75
    assert expressions.render("{{ 1" + " + 1" * 75 + " }}", {}, host) == "76"
    assert expressions.render("{{ " + "(not (" * 20 + "true" + "))" * 20 + " }}", {}, host) == "true"
    nested = "{% for x in [1] %}" * 15 + "x" + "{% endfor %}" * 15
    assert expressions.render(nested, {}, host) == "x"
    text = "{{ " + "max(1, " * 35 + "1" + ")" * 35 + " }}"
    assert expressions.render(text, {}, host) == "1"
    coalesced = "{{ " + "(a ?? " * 18 + "1" + ")" * 18 + " }}"
    assert expressions.render(coalesced, {}, host) == "1"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("fromJson('" + "[" * 100_000 + "')", "The JSON text is nested too deeply"),
        ("fromIon('" + "[" * 100_000 + "')", "The Ion text is nested too deeply"),
        ("yaml('" + "[" * 10_000 + "')", "The YAML text is nested too deeply"),
    ],
    ids=["json", "ion", "yaml"],
)
def test_deep_documents_are_refused(error, expression, message):
    assert error("{{ " + expression + " }}").message == message


def test_yaml_alias_bombs_are_refused(error):
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert error("{{ yaml(bomb) }}", bomb="\n".join(lines)).message == "The YAML text makes too much of its aliases"
    merges = ["a0: &a0 {k: [1, 1]}", *(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 40))]
    assert error("{{ yaml(bomb) }}", bomb="\n".join(merges)).message == "The YAML text makes too much of its aliases"


def test_values_of_the_caller_are_bounded_too(error):
    bomb = [1]
    for _ in range(100):
        bomb = [bomb, bomb]
    assert error("{{ bomb }}", bomb=bomb).message == "The expression takes more than 1000000 steps"
    circle: list = []
    circle.append(circle)
    assert error("{{ circle }}", circle=circle).message == "A value is nested deeper than the 200 levels allowed"
    huge = 10**5000
    assert error("{{ huge * huge }}", huge=huge).message.startswith("A number of ")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 5000 + "b"),
        ("(a|aa)*c", "a" * 5000),
        ("(.*)*x", "y" * 5000),
        ("((a{1,100}){1,10})b", "a" * 5000),
    ],
)
def test_regular_expressions_that_hang_elsewhere_do_not_here(value, pattern, text):
    started = time.process_time()
    assert value("text matches pattern", text=text, pattern=pattern) is False
    assert value("text | regexReplace(pattern, '') | length", text=text, pattern=pattern) >= 0
    assert time.process_time() - started < 2


def test_a_jq_program_that_eats_memory_is_stopped(error):
    message = error(
        "{{ 1 | jq('[limit(100000000; repeat(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" * 100))] | length') }}"
    ).message
    assert "took more than 2 seconds or too much memory" in message


def test_the_jq_process_is_reused_and_comes_back_after_it_was_stopped(small):
    host = NoHost()
    with pytest.raises(ExpressionError, match="took more than"):
        small.render("{{ 1 | jq('def f: f; f') }}", {}, host)
    assert small.render("{{ [1, 2] | jq('.[1]') }}", {}, host) == "[2]"
    first = jq_process._CHILDREN._child
    assert small.render("{{ [1, 2] | jq('.[0]') }}", {}, host) == "[1]"
    assert jq_process._CHILDREN._child is first
    jq_process.close()
    assert small.render("{{ [1, 2] | jq('length') }}", {}, host) == "[2]"


def test_a_jq_program_cannot_reach_files(value, error, tmp_path):
    (tmp_path / "data.json").write_text("[1]")
    program = f'def x: 1; import "data" as $d {{search: "{tmp_path}"}}; $d'
    assert "failed" in error("{{ 1 | jq(p) }}", p=program).message
    assert value("1 | jq('input_filename')") == [None]


def test_a_step_of_work_is_paid_once_for_the_outermost_render(small):
    inner = "{% for i in 1..100 %}{% endfor %}"
    with pytest.raises(ExpressionError, match="loops more than 1000 times"):
        small.render("{% for i in 1..20 %}{{ render(inner) }}{% endfor %}", {"inner": inner}, NoHost())
