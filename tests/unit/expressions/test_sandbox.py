"""No template leaves the sandbox, hangs, or ends in anything but a text or an ExpressionError."""

from __future__ import annotations

import ast
import time
from collections import UserDict, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_engine.expressions import ExpressionError, Expressions, Limits, NoHost
from headrace_engine.expressions.engine import UNEXPECTED
from headrace_engine.expressions.registry import FILTERS, FUNCTIONS, TESTS
from headrace_engine.expressions.sandbox import Sandbox

Pair = namedtuple("Pair", "left right")


class Thing:
    """An object a caller should not have passed, and that must stay out of reach all the same."""

    secret = "leaked"

    def method(self) -> str:
        return self.secret


OBJECTS = {
    "text": "abc",
    "integer": 1,
    "double": 1.5,
    "decimal": Decimal("1.5"),
    "boolean": True,
    "nothing": None,
    "list": [1],
    "tuple": (1, 2),
    "pair": Pair("l", "r"),
    "set": {1},
    "map": {"key": 1},
    "lazy": UserDict({"key": 1}),
    "bytes": b"abc",
    "instant": datetime(2024, 1, 1, tzinfo=UTC),
    "day": date(2024, 1, 1),
    "duration": timedelta(1),
    "thing": Thing(),
    "function": len,
    "module": time,
    "type": str,
}


@pytest.mark.parametrize("name", OBJECTS)
def test_no_attribute_of_python_is_reachable(expressions, name):
    host = NoHost()
    for attribute in {*dir(OBJECTS[name]), "__class__", "__dict__", "__globals__", "__subclasses__", "mro", "_x"}:
        for template in (f"{{{{ {name}.{attribute} }}}}", f"{{{{ {name}['{attribute}'] }}}}"):
            with pytest.raises(ExpressionError, match="Unable to find"):
                expressions.render(template, OBJECTS, host)


ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ dict.mro() }}",
    "{{ range.__class__ }}",
    "{{ environment }}",
    "{{ environment.filters }}",
    "{{ context }}",
    "{{ context.engine }}",
    "{{ resolve('x') }}",
    "{{ missing.__class__ }}",
    "{{ undefined }}",
    "{{ concat }}",
    "{{ caller() }}",
    "{{ super() }}",
    "{{ varargs }}",
    "{{ kwargs }}",
    "{{ l_0_x }}",
    "{{ t_1 }}",
    "{{ _loop_vars }}",
    "{{ __builtins__ }}",
    "{{ __import__('os') }}",
    "{{ '' | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') }}",
    "{{ {} | items }}",
    "{{ 'a' | format('x') }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '%s' % 1 }}",
    "{{ '{0.__class__.__init__.__globals__}' | replace({'0': 'x'}) | format }}",
    "{{ 'x' | @var }}",
    "{{ 'x' | filter:upper }}",
    "{{ @var('x') }}",
    "{{ function:now() }}",
    "{{ _context.__class__ }}",
    "{{ _context.variables }}",
    "{{ _context['_layers'] }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{% set x = cycler %}{{ x }}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% from 'os' import system %}",
    "{% call x() %}{% endcall %}",
    "{% do x %}",
    "{% with a=1 %}{% endwith %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for e in {'a': 1} %}{{ e._map }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{{ render('{{ cycler }}') }}",
    "{{ yaml('!!python/object/apply:os.system [id]') }}",
    "{{ fromIon('{{aGk=}}').__class__ }}",
    "{{ now.__globals__ }}",
    "{{ now().__class__ }}",
    "{{ 'x'.encode('utf-8') }}",
    "{{ 1.__class__ }}",
    "{{ \"#{''.__class__}\" }}",
    "{{ x.__class__ ??? ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
]


@pytest.mark.parametrize("template", ATTACKS)
def test_attacks_end_in_an_error(expressions, template):
    with pytest.raises(ExpressionError) as caught:
        expressions.render(template, OBJECTS, NoHost())
    assert not caught.value.message.startswith(UNEXPECTED)


def test_what_a_template_may_read_of_odd_values(expressions):
    host = NoHost()
    assert expressions.render("{{ pair[0] }}{{ pair }}{{ tuple[1] }}", OBJECTS, host) == 'l["l","r"]2'
    for name in ("thing", "function", "module", "type"):
        with pytest.raises(ExpressionError, match=r"A value of type java\.lang\.Object has no text"):
            expressions.render(f"{{{{ {name} }}}}", OBJECTS, host)
        with pytest.raises(ExpressionError, match=r"A value of type java\.lang\.Object has no text"):
            expressions.render(f"{{{{ [{name}] | toJson }}}}", OBJECTS, host)


def test_jinjas_own_sandbox_refuses_everything_besides():
    sandbox = Sandbox()
    for attempt in (
        lambda: sandbox.getattr("", "upper"),
        lambda: sandbox.getitem({"a": 1}, "a"),
        lambda: sandbox.call(None, len, ""),
    ):
        with pytest.raises(Exception, match=r"upper|a|call") as caught:
            attempt()
        assert type(caught.value).__name__ == "SecurityError"
    assert not sandbox.is_safe_attribute("", "upper", "".upper)
    assert not sandbox.is_safe_callable(len)
    assert sandbox.globals == {}


class Recording(Sandbox):
    """Keeps the Python that Jinja makes of a template."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def compile(self, source: Any, **options: Any) -> Any:
        self.sources.append(super().compile(source, raw=True))
        return super().compile(source, **options)


# All that generated code may name: Jinja's frame, and the operators and filters it has bound to t_1, t_2, …
ALLOWED_NAMES = {
    "root", "context", "missing", "environment", "resolve", "undefined", "concat", "cond_expr_undefined", "Undefined",
    "name", "blocks", "debug_info", "KeyError", "t_", "l_", "_loop_vars", "internalcode", "TemplateRuntimeError", "str",
    "_", "identity", "Markup",
}  # fmt: skip
ALLOWED_ATTRIBUTES = {"resolve_or_missing", "undefined", "concat", "filters", "out"}


def test_generated_code_names_nothing_that_a_template_chose():
    engine = Expressions()
    engine._sandbox = recording = Recording()
    names = ["environment", "context", "self", "cycler", "__import__", "l_0_x", "t_1", "os", "root", "lambda_"]
    everything = "".join(
        f"{{{{ {name}.{name}['{name}'] ?? {name} ~ '{name}' }}}}{{% set {name} = [{name}] %}}"
        f"{{% for {name} in {name} %}}{{{{ {name} is defined ? {name} : -1 }}}}{{% else %}}x{{% endfor %}}"
        f"{{% if not {name} and {name} == 1 %}}{{{{ {{{name}: {name}}} | default({name}) }}}}{{% endif %}}"
        f"{{% macro m{number}({name}={name}) %}}{{{{ {name} }}}}{{% endmacro %}}{{{{ m{number}({name}={name}) }}}}"
        f"{{% block {name} %}}{{% filter upper %}}{name}{{% endfilter %}}{{% endblock %}}"
        f"{{% raw %}}{{{{ {name} }}}}{{% endraw %}}{{{{ now(format={name}) }}}}"
        for number, name in enumerate(names)
    )
    engine.check(everything)
    assert recording.sources
    for source in recording.sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name):
                assert node.id.rstrip("0123456789") in ALLOWED_NAMES or node.id.startswith("l_"), node.id
                assert not node.id.startswith("l_") or node.id.endswith("_round"), node.id
            elif isinstance(node, ast.Attribute):
                assert node.attr in ALLOWED_ATTRIBUTES, node.attr
            elif isinstance(node, ast.Import | ast.ImportFrom):
                assert node.module == "jinja2.runtime"


SMALL = Limits(output_chars=20_000, loop_iterations=500, range_items=500, steps=5_000, jq_seconds=0.2)
ENGINE = Expressions(limits=SMALL, cache_size=1)
VARIABLES = {"a": 1, "b": None, "c": "text", "d": {"k": [1, 2, {"x": "y"}]}, "e": [], "f": 1.5, "g": True,
             "v": "{{ a }}", "w": "{{ render(w) }}", "h": OBJECTS["instant"]}  # fmt: skip

NAMES = [*VARIABLES, "missing", "loop", "_context", "k", "x", "__class__", "items", "self"]
FRAGMENTS = [
    "{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-}}", "{%-", "-%}", " ", "\n", "text",
    *NAMES, "1", "0", "2.5", "9223372036854775807", "'s'", '"q#{a}"', "'(a+)+$'", "'\\\\d'", "true", "null",
    "(", ")", "[", "]", "{", "}", ",", ":", ".", "..", "|", "~", "+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", "=",
    "?", "??", "???", "and", "or", "not", "is", "contains", "matches", "isIn",
    "if ", "elseif ", "else", "endif", "for x in ", "endfor", "set y = ", "macro m(p)", "endmacro", "m(1)", "block b",
    "endblock", "block('b')", "filter upper", "endfilter", "raw", "endraw", "verbatim", "endverbatim",
    *(f"| {name}" for name in FILTERS), *(f"{name}(" for name in FUNCTIONS if name not in {"randomPort"}),
    *(f"is {name}" for name in TESTS), "'DAYS'", "'yyyy'",
]  # fmt: skip


def outcome(template: str) -> None:
    started = time.process_time()
    try:
        found = ENGINE.render(template, VARIABLES, NoHost())
    except ExpressionError as error:
        found = error.message
    assert isinstance(found, str)
    assert not found.startswith(UNEXPECTED), found
    assert time.process_time() - started < 3, template


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_fuzz_of_fragments(fragments):
    outcome(" ".join(fragments))
    outcome("{{ " + " ".join(fragments) + " }}")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_fuzz_of_characters(text):
    outcome(text)
    outcome("{{" + text + "}}")
    outcome("{% if " + text + " %}{% endif %}")


VALUES = st.sampled_from([
    *VARIABLES, "missing", "1", "-1", "0", "2.5", "1e", "'s'", "''", "' '", "true", "null", "[]", "[1, 'a']", "{'a': 1}",
    "'2024-01-01'", "'[1'", "'DAYS'", "'.'", "'('", "1..5", "9223372036854775807", "[[1], [2]]", "'INT'", "'iso'",
])  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(sorted(FILTERS)), VALUES, st.lists(VALUES, max_size=4), st.sampled_from(sorted(FILTERS)),
)  # fmt: skip
def test_fuzz_of_filters(name, value, arguments, other):
    call = f"({', '.join(arguments)})" if arguments else ""
    outcome(f"{{{{ {value} | {name}{call} | {other} }}}}")


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(sorted(set(FUNCTIONS) - {"randomPort"})), st.lists(VALUES, max_size=4))
def test_fuzz_of_functions(name, arguments):
    outcome(f"{{{{ {name}({', '.join(arguments)}) }}}}")


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(["+", "-", "*", "/", "%", "~", "==", "<", ">=", "contains", "matches", "isIn", "..", "??", "and"]),
       VALUES, VALUES)  # fmt: skip
def test_fuzz_of_operators(operator, left, right):
    outcome(f"{{{{ {left} {operator} {right} }}}}")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TESTS)), VALUES, st.lists(VALUES, max_size=2))
def test_fuzz_of_tests(name, value, arguments):
    call = f"({', '.join(arguments)})" if arguments else ""
    outcome(f"{{{{ {value} is {name}{call} }}}}")
