"""Literals, access, tags, white space, comments: the grammar of reference §10 and §10.2."""

from __future__ import annotations

import pytest

from headrace_engine.expressions import is_template


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 'single' }}", "single"),
        ('{{ "double" }}', "double"),
        (r"{{ 'it\'s' }}", "it's"),
        (r'{{ "a\"b" }}', 'a"b'),
        (r"{{ 'a\\b' }}", r"a\b"),
        (r"{{ 'a\nb\tc' }}", "a\nb\tc"),
        (r"{{ '\d+' }}", r"\d+"),
        ("{{ 'two\nlines' }}", "two\nlines"),
        ("{{ '}}' }}", "}}"),
        ("{{ '{% if %}' }}", "{% if %}"),
        ("{{ 42 }} {{ 42l }} {{ 42L }} {{ 1.5 }}", "42 42 42 1.5"),
        ("{{ true }} {{ false }} {{ null }} {{ none }}|", "true false  |"),
        ("{{ [] }}{{ {} }}", "[]{}"),
        ("{{ [1, 'a', null, [true]] }}", '[1,"a",null,[true]]'),
        ("{{ [1, 2,] }}", "[1,2]"),
        ('{{ {"k": 1, "n": {"m": []}} }}', '{"k":1,"n":{"m":[]}}'),
        ("{{ {'a' ~ 1: 2, 3: 4} }}", '{"a1":2,"3":4}'),
        ("{{ {'a': {'b': 1}}}}", '{"a":{"b":1}}'),
        ('{{ "Hello #{who}!" }}', "Hello world!"),
        ('{{ "#{1 + 1}#{who}" }}', "2world"),
        (r'{{ "\#{who}" }}', "#{who}"),
        ("{{ '#{who}' }}", "#{who}"),
        ("{{ map.key }} {{ map['key'] }} {{ map['with-dash'] }}", "v v d"),
        ("{{ map.nested.list[1].x }}", "2"),
        ("{{ list[0] }} {{ list.1 }} {{ list.size }} {{ list.length }}", "a b 2 2"),
        ("{{ deep.0.1 }}", "2"),
        ("{{ ['x', 'y'][1] }} {{ {'a': 5}.a }}", "y 5"),
        ("{{ map[which] }}", "v"),
        ("{{ numbers[1] }} {{ numbers['1'] }}", "one one"),
        ("{{ map.items }} {{ map.values }} {{ map.keys }} {{ map.get }}", "i v2 k g"),
        ("{{ größe }}", "ü"),
        ("a{# comment {{ x }} #}b", "ab"),
        ("{# a\nb #}", ""),
        ("a  {{- who -}}  b", "aworldb"),
        ("a\n{%- if true -%}\n b \n{%- endif -%}\n c", "abc"),
        ("a {#- x -#} b", "ab"),
        ("a\n{{ who }}\nb\n", "a\nworld\nb\n"),
        ("{% set x = 1 %}\n{{ x }}", "\n1"),
        ("{%if true%}{{who}}{%endif%}", "world"),
        ("{ {x} {{ who }} } %} }} #}", "{ {x} world } %} }} #}"),
        ("{% raw %}{{ who }}{% if %}{% endraw %}", "{{ who }}{% if %}"),
        ("{% verbatim %}{{ who }}{% endverbatim %}", "{{ who }}"),
        ("a {%- raw -%} {{ x }} {%- endraw -%} b", "a{{ x }}b"),
    ],
)
def test_literals_access_and_text(render, template, expected):
    variables = {
        "who": "world",
        "map": {
            "key": "v", "with-dash": "d", "nested": {"list": [{"x": 1}, {"x": 2}]},
            "items": "i", "values": "v2", "keys": "k", "get": "g",
        },
        "list": ["a", "b"],
        "deep": [[1, 2]],
        "which": "key",
        "numbers": {"1": "one"},
        "größe": "ü",
    }  # fmt: skip
    assert render(template, **variables) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% if n == 1 %}one{% elseif n == 2 %}two{% else %}many{% endif %}", "two"),
        ("{% if false %}a{% elseif false %}b{% elseif true %}c{% endif %}", "c"),
        ("{% if missing ?? false %}a{% else %}b{% endif %}", "b"),
        ("{% if [] %}a{% else %}b{% endif %}", "b"),
        ("{% for x in list %}{{ x }}{% endfor %}", "abc"),
        ("{% for x in [] %}{{ x }}{% else %}none{% endfor %}", "none"),
        ("{% for x in null %}{{ x }}{% else %}none{% endfor %}", "none"),
        ("{% for x in list %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "0/3 1/3 2/3 "),
        ("{% for x in list %}{{ loop.first }} {{ loop.last }} {{ loop.revindex }};{% endfor %}",
         "true false 2;false false 1;false true 0;"),
        ("{% for e in map %}{{ e.key }}={{ e.value }} {% endfor %}", "p=1 q=2 "),
        ("{% for a in 1..2 %}{% for b in 1..2 %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{{ loop.index }};{% endfor %}",
         "110 121 0;210 221 1;"),
        ("{% for i in range(0, 6, 2) %}{{ i }},{% endfor %}", "0,2,4,6,"),
        ("{% for x in list %}{% if loop.last %}{{ x }}{% endif %}{% endfor %}", "c"),
        ("{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}", "12"),
        ("{% set n = 'own' %}{{ n }}", "own"),
        # Pebble's `set` changes a variable where it is, so loops can add up.
        ("{% set total = 0 %}{% for i in 1..4 %}{% set total = total + i %}{% endfor %}{{ total }}", "10"),
        ("{% for i in 1..2 %}{% set inner = i %}{% endfor %}{{ inner ?? 'gone' }}", "gone"),
        ("{% for n in list %}{% endfor %}{{ n }}", "2"),
        ("{% macro f(a, b='d') %}{{ a }}-{{ b }};{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}", "1-d;1-2;4-3;"),
        ("{{ f() }}{% macro f(type='text', name, value) %}{{ type }}{{ name }}{{ value }}{% endmacro %}", "text"),
        ("{% macro f(a) %}{{ a }}{% endmacro %}{{ f('x', 'extra', 'ignored') }}", "x"),
        ("{% macro f(_context) %}{{ _context.n }}{% endmacro %}{{ f(_context) }}", "2"),
        ("{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "321"),
        ("{% macro f() %}x{% endmacro f %}{{ f() | upper }}", "X"),
        ("{% block 'b' %}B{{ n }}{% endblock %}{{ block('b') }}", "B2B2"),
        ("{% block b %}B{% endblock b %}{{ block(\"b\") ~ '!' }}", "BB!"),
        ("{% filter upper %}a{{ 'b' }}{% endfilter %}", "AB"),
        ("{% filter lower | title %}HELLO WORLD{% endfilter %}", "Hello World"),
        ("{% filter replace({'a': 'b'}) %}aa{% endfilter %}", "bb"),
        ("{% for i in 1..2 %}{% filter upper %}x{{ i }}{% endfilter %}{% endfor %}", "X1X2"),
        ("{% filter upper %}{% filter trim %} a {% endfilter %}b{% endfilter %}", "AB"),
    ],
)  # fmt: skip
def test_tags(render, template, expected):
    assert render(template, n=2, list=["a", "b", "c"], map={"p": 1, "q": 2}) == expected


def test_a_macro_sees_only_its_arguments(error):
    message = error("{% macro f() %}{{ secret_thing }}{% endmacro %}{{ f() }}", secret_thing=1).message
    assert message.startswith("Unable to find `secret_thing` used in the expression")


def test_the_scope_of_a_loop_is_removed_when_its_body_was_left_by_a_missing_value(render):
    template = "{% block b %}{% for x in 1..2 %}{{ gone }}{% endfor %}{% endblock %}"
    assert render("{% set r = (f() ?? 'caught') %}{{ r }}{{ x ?? '' }}{% macro f() %}{% for x in 1..2 %}{{ gone }}"
                  "{% endfor %}{% endmacro %}") == "caught"  # fmt: skip
    assert render("{{ (block('b') ?? 'caught') ~ (x ?? '') }}{% if false %}" + template + "{% endif %}") == "caught"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("plain", False),
        ("{", False),
        ("{x}", False),
        ("{{ x }}", True),
        ("{% x %}", True),
        ("{# x #}", True),
    ],
)
def test_is_template(text, expected):
    assert is_template(text) is expected


@pytest.mark.parametrize(
    ("template", "message", "line", "column"),  # the place stands in the message and in attributes
    [
        ("{{ a", "`}}` is missing (line 1, column 1)", 1, 1),
        ("x\n  {{ 'a }}", "A text is not closed (line 2, column 6)", 2, 6),
        ("{{ }}", "Expected a value, found `}}` (line 1, column 4)", 1, 4),
        ("{{ a b }}", "Unexpected `b` (line 1, column 6)", 1, 6),
        ("{{ a. }}", "Expected a name after `.`, found `}}` (line 1, column 7)", 1, 7),
        ("{{ a[1 }}", "Expected `]`, found `}` (line 1, column 8)", 1, 8),
        ("{{ (1 ] }}", "Expected `)`, found `]` (line 1, column 7)", 1, 7),
        ("{{ 1 ] }}", "`]` closes nothing (line 1, column 6)", 1, 6),
        ("{{ a ? b }}", "Expected `:`, found `}}` (line 1, column 10)", 1, 10),
        ("{{ 1 + }}", "Expected a value, found `}}` (line 1, column 8)", 1, 8),
        ("{{ a @ b }}", "Unexpected character `@` (line 1, column 6)", 1, 6),
        ("{{ and }}", "Expected a value, found `and` (line 1, column 4)", 1, 4),
        ("{{ a.b() }}", "Methods cannot be called: `b(`; use a filter (line 1, column 7)", 1, 7),
        ("{{ 99999999999999999999 }}", "The number 99999999999999999999 leaves the range of a 64-bit integer "
         "(line 1, column 4)", 1, 4),
        ("{{ 1.5L }}", "`1.5L` is not a number (line 1, column 4)", 1, 4),
        ("{# a", "A comment is not closed: `#}` is missing (line 1, column 1)", 1, 1),
        ("{% raw %}a", "`raw` has no `endraw` (line 1, column 1)", 1, 1),
        ("a\n{% if x %}b", "The tag `if` is not closed: `endif` is missing (line 2, column 4)", 2, 4),
        ("{% for x in y %}", "The tag `for` is not closed: `endfor` is missing (line 1, column 4)", 1, 4),
        ("{% for x y %}{% endfor %}", "Expected `in`, found `y` (line 1, column 10)", 1, 10),
        ("{% endif %}", "Unexpected tag `endif` (line 1, column 4)", 1, 4),
        ("{% if a %}{% endfor %}", "Unexpected tag `endfor` (line 1, column 14)", 1, 14),
        ("{% %}", "Expected the name of a tag, found `%}` (line 1, column 4)", 1, 4),
        ("{% fro x in y %}", "Unexpected tag name `fro`. Did you mean `for`? (line 1, column 4)", 1, 4),
        ("{% set x %}", "Expected `=`, found `%}` (line 1, column 10)", 1, 10),
        ("{% macro f() %}{% endmacro %}{% macro f() %}{% endmacro %}", "The macro `f` is declared twice "
         "(line 1, column 39)", 1, 39),
        ("{% block b %}{% endblock %}{% block b %}{% endblock %}", "The block `b` is declared twice "
         "(line 1, column 37)", 1, 37),
        ("{{ a | uper }}", "Filter [uper] does not exist. Did you mean `upper`? (line 1, column 8)", 1, 8),
        ("{{ a | xyzzy }}", "Filter [xyzzy] does not exist. (line 1, column 8)", 1, 8),
        ("{{ a | }}", "Expected the name of a filter, found `}}` (line 1, column 8)", 1, 8),
        ("{{ a | escape }}", "Filter [escape] does not exist. Did you mean `escapeChar`? (line 1, column 8)", 1, 8),
        ("{{ nwo() }}", "Function or Macro [nwo] does not exist. Did you mean `now`? (line 1, column 4)", 1, 4),
        ("{{ upper('a') }}", "Function or Macro [upper] does not exist. There is a filter of that name: "
         "`value | upper`. (line 1, column 4)", 1, 4),
        ("{{ a is evn }}", "Test [evn] does not exist. Did you mean `even`? (line 1, column 9)", 1, 9),
        ("{{ a | date(existing='x') }}", "The filter 'date' has no argument `existing`. Did you mean "
         "`existingFormat`? (line 1, column 8)", 1, 8),
        ("{{ a | upper(1) }}", "The filter 'upper' takes at most 0 arguments, not 1 (line 1, column 8)", 1, 8),
        ("{{ a | chunk }}", "The filter 'chunk' needs the argument `size` (line 1, column 8)", 1, 8),
        ("{{ a | date('x', format='y') }}", "The argument `format` is given twice (line 1, column 8)", 1, 8),
        ("{{ a | date(format='x', 'y') }}", "A positional argument cannot follow a named one (line 1, column 25)", 1, 25),
        ("{{ f(a=1, a=2) }}", "The argument `a` is given twice (line 1, column 11)", 1, 11),
        ("{{ \"#{a\" }}", "`#{` is not closed (line 1, column 4)", 1, 4),
        *((f"{{% {tag} x %}}", f"The tag `{tag}` is not part of Kestra's expressions (line 1, column 4)", 1, 4)
          for tag in ("autoescape", "cache", "embed", "extends", "flush", "import", "include", "from", "parallel")),
    ],
)  # fmt: skip
def test_syntax_errors_name_the_place_and_the_nearest_name(  # noqa: PLR0917 - four columns and two fixtures
    expressions, error, template, message, line, column
):
    caught = error(template)
    assert (caught.message, caught.line, caught.column) == (message, line, column)
    with pytest.raises(type(caught)) as checked:
        expressions.check(template)
    assert checked.value.message == message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("credential", "managed credentials are a feature of Kestra's Enterprise Edition; use secret()"),
        ("appLink", "Apps are a feature of Kestra's Enterprise Edition"),
        ("assets", "Assets are a feature of Kestra's Enterprise Edition"),
        ("subflow", "start the other flow with a Subflow task"),
        ("i18n", "there are no resource bundles"),
        ("parent", "template inheritance is not part of Kestra's expressions"),
    ],
)
def test_what_cannot_be_supported_says_why_when_checked(expressions, name, reason):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared
        expressions.check("{{ " + name + "('x') }}")
    assert str(caught.value) == f"{name}() is not supported: {reason} (line 1, column 4)"


def test_check_evaluates_nothing(expressions):
    expressions.check("{{ missing.a | upper }}{{ 1 / 0 }}{{ secret('X') }}")
    expressions.check("no template")
