"""Rendering rules of reference §10.1, the facts of §10.6, and the traps of §0 that concern expressions."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from headrace_engine.expressions import ExpressionError, Expressions, Limits, NoHost, condition_truthy, to_text, truthy

VARIABLES = {"first": "1", "second": "{{first}}", "third": "{{second}}"}


def test_trap_01_expressions_are_not_recursive(render):
    assert render("{{ third }}", **VARIABLES) == "{{second}}"


def test_trap_01_a_text_without_a_brace_is_never_parsed(expressions):
    text = "}} %} #} " * 3
    assert expressions.render(text, {}, NoHost()) is text


def test_trap_02_roots_are_absent_when_empty(render, error):
    assert render("{{ inputs.x ?? 1 }}") == "1"
    assert (
        error("{{ inputs.x }}").message == "Unable to find `inputs` used in the expression `{{ inputs.x }}` at line 1"
    )


@pytest.mark.parametrize(
    ("text", "flow_truth", "condition_truth"),
    [
        (None, False, False),
        ("", False, False),
        ("false", False, False),
        ("0", False, True),
        ("-0", False, True),
        ("  ", True, False),
        (" false ", True, False),
        ("0.0", True, True),
        ("False", True, True),
        ("true", True, True),
        ("no", True, True),
        (False, False, False),
        (0, False, True),
        ([], True, True),
    ],
)
def test_trap_03_two_truth_rules(text, flow_truth, condition_truth):
    assert truthy(text) is flow_truth
    assert condition_truthy(text) is condition_truth


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a", "a"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (-5, "-5"),
        (1.123, "1.123"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (9999999.0, "9999999.0"),
        (10000000.0, "1.0E7"),
        (123456789.125, "1.23456789125E8"),
        (1e300, "1.0E300"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("1E+2"), "100"),
        (Decimal("1.50"), "1.50"),
        ({"a": 1, "b": [True, None, "x\n\"ü\""], "c": {}}, '{"a":1,"b":[true,null,"x\\n\\"ü\\""],"c":{}}'),
        ((1, 2), "[1,2]"),
        ({"only"}, '["only"]'),
        ({1: "x", None: 2, False: 3}, '{"1":"x","null":2,"false":3}'),
        ([1.5, float("nan"), Decimal("2.50")], '[1.5,"NaN",2.50]'),
        (b"bytes", "bytes"),
        ([b"\x00"], '["AA=="]'),
        (datetime(2024, 12, 20, 10, 11, 12, 345000, tzinfo=UTC), "2024-12-20T10:11:12.345Z"),
        (datetime(2024, 12, 20, 10, 11, 12, 345678, tzinfo=UTC), "2024-12-20T10:11:12.345678Z"),
        (datetime(2024, 12, 20, 10, 0, 0, tzinfo=UTC), "2024-12-20T10:00:00Z"),
        (datetime(2013, 9, 8, 16, 19, tzinfo=timezone(timedelta(hours=2))), "2013-09-08T16:19+02:00"),
        (datetime(2013, 9, 8, 16, 19, 12, 123456, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
         "2013-09-08T16:19:12.123456-03:30"),
        (datetime(2013, 9, 8, 16, 19), "2013-09-08T16:19"),  # noqa: DTZ001 - a local date-time is meant
        (date(2013, 9, 8), "2013-09-08"),
        (time(16, 0), "16:00"),
        (time(16, 0, 5, 1000), "16:00:05.001"),
        (timedelta(seconds=5), "PT5S"),
        (timedelta(0), "PT0S"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500000), "PT26H3M4.5S"),
        (timedelta(minutes=-1), "PT-1M"),
        ([datetime(2013, 9, 8, 16, 19, tzinfo=UTC), timedelta(seconds=5)], '["2013-09-08T16:19:00Z","PT5S"]'),
    ],
)  # fmt: skip
def test_trap_22_values_as_text(render, value, text):
    assert to_text(value) == text
    assert render("{{ value }}", value=value) == text


def test_trap_23_jq_is_a_list_json_adds_quotes_and_float32_is_a_double_in_ion(render):
    assert render("{{ {'test': [1,2,3]} | jq('.test[0]') }}") == "[1]"
    assert render("{{ 'a' | toJson }}{{ 'a' | json }}") == '"a""a"'
    assert render("{{ '1.123' | number('FLOAT') | toIon }}") == "1.1230000257492065e0"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ third }}", "{{second}}"),
        ("{{ render(third, recursive=false) }}", "{{first}}"),
        ("{{ render(third, false) }}", "{{first}}"),
        ("{{ renderOnce(third) }}", "{{first}}"),
        ("{{ render(third) }}", "1"),
        ("{{ map }}", '{"third":"{{third}}"}'),
        ("{{ render(map) }}", '{"third":"1"}'),
        ("{{ render(list) }}", '["1"]'),
        ("{{ render(set) }}", '["1"]'),
        ("{{ render(keyed) }}", '{"1":[1,true,null]}'),
        ("{{ render(map).third + 1 }}", "11"),
        ("{{ render(12) }}", "12"),
        ("{{ render(true) }}", "true"),
        ("{{ render(null) }}", ""),
        ("{{ block[missing].child ?? block['test'].child }}", "right"),
        ("{{ empty ?? 'U' }}", "{}"),
        ("{{ null ??? 'x' }}", ""),
        ("{{ undefined ??? 'x' }}", "x"),
        ("{{ list[3] is defined ? bla : null }}", ""),
        ('{{ "apple" ~ "pear" }}', "applepear"),
        ("{% set own = 'set' %}{{ render('{{ own }}') }}", "set"),
        ("{{ render('{% raw %}{{ first }}{% endraw %} {{ second }}') }}", "{{ first }} 1"),
        ("{{ render(\"{{ missing ?? 'd' }}\") }}", "d"),
    ],
)
def test_coalescing_and_recursion_facts(render, template, expected):
    variables = VARIABLES | {
        "map": {"third": "{{third}}"},
        "list": ["{{third}}"],
        "set": {"{{third}}"},
        "keyed": {"{{first}}": [1, True, None]},
        "block": {"test": {"child": "right"}},
        "empty": {},
    }
    assert render(template, **variables) == expected


def test_render_of_a_loop_of_variables_ends(error):
    variables = {"first": "{{second}}", "second": "{{first}}"}
    assert error("{{ render(first) }}", **variables).message == "Too many rendering attempts"
    assert error("{{ render(x) }}", x="{{ render(x) }}").message == "Too many rendering attempts"


@pytest.mark.parametrize(
    ("template", "name", "line"),
    [
        ("{{ missing }}", "missing", 1),
        ("{{ a.missing }}", "missing", 1),
        ("{{ a['missing'] }}", "missing", 1),
        ("{{ a.b.c.d }}", "c", 1),
        ("{{ nothing.x }}", "x", 1),
        ("{{ list[7] }}", "7", 1),
        ("{{ list[-1] }}", "-1", 1),
        ("{{ list['a'] }}", "a", 1),
        ("{{ text.x }}", "x", 1),
        ("one\ntwo {{ a.missing }}", "missing", 2),
        ("{{ 'a'\n~ missing }}", "missing", 2),
        ("{{ missing | upper }}", "missing", 1),
        ("{{ missing is empty }}", "missing", 1),
        ("{% if missing %}x{% endif %}", "missing", 1),
        ("{% for x in missing %}x{% endfor %}", "missing", 1),
        ("{{ missing ?? missing2 }}", "missing2", 1),
        ("{{ {'k': missing} }}", "missing", 1),
        ("{{ max(1, missing) }}", "missing", 1),
    ],
)
def test_missing_is_an_error_that_names_the_variable(error, template, name, line):
    caught = error(template, a={"b": {}}, nothing=None, list=[1], text="t")
    assert caught.message == f"Unable to find `{name}` used in the expression `{template}` at line {line}"
    assert caught.line == line


class Lazy(Mapping):
    """A map that counts what is asked of it, and cannot be listed."""

    def __init__(self, entries: dict) -> None:
        self.entries = entries
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> object:
        self.asked.append(key)
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("listed")

    def __len__(self) -> int:
        raise AssertionError("counted")


def test_lazy_maps_are_asked_for_what_is_needed_only(expressions):
    outputs = Lazy({f"t{number}": {"value": number} for number in range(100)})
    variables = Lazy({"outputs": outputs, "other": 1})
    assert expressions.render("{{ outputs.t7.value }} {{ outputs['t8'].value }}", variables, NoHost()) == "7 8"
    assert outputs.asked == ["t7", "t8"]
    assert variables.asked == ["outputs", "outputs"]
    assert expressions.render("{{ render('{{ outputs.t9.value }}') }}", variables, NoHost()) == "9"
    assert (
        expressions.render("{% set x = 1 %}{{ render('{{ outputs.t9.value }}{{ x }}') }}", variables, NoHost()) == "91"
    )


def test_a_loop_over_a_lazy_map_loads_only_the_values_it_uses(expressions):
    class Counting(Lazy):
        def __iter__(self) -> Iterator[str]:
            return iter(self.entries)

        def __len__(self) -> int:
            return len(self.entries)

    outputs = Counting({"a": 1, "b": 2})
    assert expressions.render("{% for e in outputs %}{{ e.key }}{% endfor %}", {"outputs": outputs}, NoHost()) == "ab"
    assert outputs.asked == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{ 1 }}", 1),
        ("{{ text }}", "5"),
        ("{{ null }}", None),
        ("{{ [1, 2] }}", [1, 2]),
        ("{{ map }}", {"a": 1}),
        ("{{ missing ?? true }}", True),
        ("{{ 1 }}{{ 2 }}", 3),
        ("{{ 1 }}{{ 2.5 }}", 3.5),
        ("a{{ 'b' }}", "ab"),
        ("{{ [1] }}{{ [2] }}", [1, 2]),
        ("{# nothing #}", ""),
        ("{# nothing #}{{ 1 }}", 1),
        ("{% if true %}{{ 1 }}{% endif %}", "1"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_typed_render(expressions, template, expected):
    found = expressions.render_typed(template, {"text": "5", "map": {"a": 1}}, NoHost())
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("template", ["a{{ 1 }}", " {{ 1 }}", "{{ true }}{{ true }}", "{{ null }}{{ null }}"])
def test_a_typed_render_of_parts_that_do_not_fit_is_an_error(expressions, template):
    with pytest.raises(ExpressionError, match="needs parts of one type"):
        expressions.render_typed(template, {}, NoHost())


def test_values_are_rendered_deep_keys_included(expressions):
    given = {
        "{{ k }}": ["{{ n }}", 5, True, None, {"x": "{{ null }}"}],
        "plain": "{{ list }}",
        7: 1.5,
        "inner": Lazyless({"{{ k }}": "{{ n }}"}),
    }
    variables = {"k": "key", "n": 3, "list": [1]}
    assert expressions.render_value(given, variables, NoHost()) == {
        "key": ["3", 5, True, None, {"x": ""}], "plain": "[1]", 7: 1.5, "inner": {"key": "3"}
    }  # fmt: skip
    assert list(expressions.render_value(given, variables, NoHost())) == ["key", "plain", 7, "inner"]
    assert expressions.render_value_typed(given, variables, NoHost()) == {
        "key": [3, 5, True, None, {"x": None}], "plain": [1], 7: 1.5, "inner": {"key": 3}
    }  # fmt: skip
    assert expressions.render_value("{{ n }}", variables, NoHost()) == "3"
    assert expressions.render_value(5, variables, NoHost()) == 5


class Lazyless(Mapping):
    """A map that is no dict."""

    def __init__(self, entries: dict) -> None:
        self.entries = entries

    def __getitem__(self, key: str) -> object:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def test_the_recursive_mode_renders_until_stable_and_has_no_render_function():
    engine = Expressions(recursive=True)
    assert engine.render("{{ third }}", VARIABLES, NoHost()) == "1"
    assert engine.render("{% raw %}{{ third }}{% endraw %} {{ third }}", VARIABLES, NoHost()) == "{{ third }} 1"
    assert (
        engine.render("{{ x }}", {"x": "{% raw %}{{ y }}{% endraw %}{{ first }}", "first": 1}, NoHost()) == "{{ y }}1"
    )
    assert engine.render_typed("{{ third }}", VARIABLES, NoHost()) == "1"
    with pytest.raises(ExpressionError, match="Too many rendering attempts"):
        engine.render("{{ a }}", {"a": "{{ b }}", "b": "{{ a }}"}, NoHost())
    with pytest.raises(ExpressionError, match=r"Function or Macro \[render\] does not exist"):
        engine.check("{{ render('x') }}")


def test_compiled_templates_are_kept_and_errors_are_not():
    engine = Expressions(cache_size=2)
    for _ in range(3):
        assert engine.render("{{ 1 }}", {}, NoHost()) == "1"
        with pytest.raises(ExpressionError):
            engine.check("{{ 1")
    info = engine._program.cache_info()
    assert (info.hits, info.currsize) == (2, 1)


def test_engines_have_limits_of_their_own():
    small = Expressions(limits=Limits(output_chars=10))
    assert small.render("{{ x }}", {"x": "a" * 10}, NoHost()) == "a" * 10
    with pytest.raises(ExpressionError, match="longer than the 10 characters allowed"):
        small.render("{{ x }}", {"x": "a" * 11}, NoHost())


def test_a_map_that_fails_to_load_is_an_expression_error(expressions):
    class Broken(Lazy):
        def __getitem__(self, key: str) -> object:
            raise ValueError("not JSON")

    with pytest.raises(ExpressionError, match="The expression cannot be evaluated: ValueError: not JSON"):
        expressions.render("{{ outputs.a }}", {"outputs": Broken({})}, NoHost())


def test_a_cached_expression_renders_in_microseconds(expressions):
    """The goal is 15 µs; about 2 are measured, so a busy machine does not fail this."""
    host, variables = NoHost(), {"inputs": {"message": "Hello"}}
    timer = timeit.Timer(lambda: expressions.render("{{ inputs.message }}", variables, host))
    assert min(timer.repeat(repeat=20, number=200)) / 200 < 15e-6


def test_importing_the_package_loads_no_library_that_few_templates_need():
    """On Lambda each of these would be paid for at every cold start."""
    script = "import sys, headrace_engine.expressions; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"babel", "amazon", "jq", "cryptography", "dateutil", "yaml", "re2", "boto3", "sqlite3", "holidays"}
    assert heavy.isdisjoint(loaded)
    others = {name for name in loaded if name.startswith("headrace_") and "expressions" not in name}
    assert others == {"headrace_engine"}


def test_threads_share_an_engine(expressions):
    def work(number: int) -> str:
        return expressions.render(
            f"{{{{ n + {number % 7} }}}}{{% for i in 1..n %}}{{{{ i }}}}{{% endfor %}}", {"n": number}, NoHost()
        )

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(1, 200)))
    assert found == [f"{n + n % 7}{''.join(map(str, range(1, n + 1)))}" for n in range(1, 200)]
