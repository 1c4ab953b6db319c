"""The examples of expressions.md: an expression for each operator, test, tag, filter and function.

The engine computes the results when the page is made, so a page that is current shows what the engine does.
VARIABLES and Outside are what the examples see.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from headrace_engine.expressions import ExpressionError, NoHost

VARIABLES: Mapping[str, Any] = {
    "vars": {
        "name": "Ada Lovelace",
        "cities": ["Bergen", "Lisbon", "Seattle"],
        "stock": {"bolt": 4, "nut": 3},
        "nothing": None,
        "greeting": "Hello, {{ vars.name }}",
    },
    "inputs": {"day": "2024-02-29T13:45:00Z"},
    "envs": {"region": "north"},
    "task": {"id": "measure"},
    "taskrun": {"value": "Lisbon", "iteration": 1},
    "outputs": {"measure": {"Bergen": {"rain": 12}, "Lisbon": {"rain": 3}}},
    "tasks": {"extract": {"state": "SUCCESS"}, "load": {"state": "FAILED"}},
}

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""A key for encrypt(), in base64."""


class Outside(NoHost):
    """Secrets, keys, files and errors for the examples; the time stands still."""

    FILES: Mapping[str, bytes] = {"notes.txt": b"first\nsecond\n", "empty.txt": b""}

    def __init__(self) -> None:
        super().__init__(datetime(2024, 7, 9, 6, 17, 1, 171193, tzinfo=UTC), seed=7)

    def secret(self, key: str, namespace: str | None) -> str:
        """Return the secret TOKEN."""
        if key != "TOKEN":
            return super().secret(key, namespace)
        return "s3cret"

    def kv(self, key: str, namespace: str | None, error_on_missing: bool) -> Any:  # noqa: FBT001 - the host's signature
        """Return the key `limit`."""
        del namespace
        if key != "limit" and error_on_missing:
            raise ExpressionError(f"The key '{key}' does not exist in the namespace 'demo'.")
        return 42 if key == "limit" else None

    def read(self, uri_or_path: str) -> bytes:
        """Return the content of one of FILES."""
        return self.FILES[uri_or_path]

    def file_size(self, uri_or_path: str) -> int:
        """Return the size of one of FILES."""
        return len(self.FILES[uri_or_path])

    def file_exists(self, uri_or_path: str) -> bool:
        """Return whether it is one of FILES."""
        return uri_or_path in self.FILES

    def file_uri(self, path: str) -> str:
        """Return a URI."""
        return f"kestra:///demo/_files/{path}"

    def error_logs(self) -> list[dict[str, Any]]:
        """Return one error."""
        return [{"taskId": "load", "message": "disk full"}]

    def resume_url(self, asked: Mapping[str, Any]) -> str:
        """Return a link."""
        del asked
        return "https://headrace.example.com/approve/wq4…"


OPERATORS: tuple[tuple[str, str], ...] = (
    ("a.b, a['b'], a[0]", "vars.cities[0] ~ ' ' ~ vars.stock['nut']"),
    ("+ - * / %", "7 + 3 * 2 - 10 / 4"),
    ("/", "7 / 2"),
    ("~", "'apple' ~ 'pear'"),
    ("..", "1..5"),
    ("== !=", "vars.stock.nut == 3"),
    ("equals", "vars.name equals 'Ada Lovelace'"),
    ("< > <= >=", "vars.stock.nut < vars.stock.bolt"),
    ("and or not", "not false and (1 > 2 or true)"),
    ("contains", "vars.cities contains 'Lisbon'"),
    ("isIn", "'Oslo' isIn vars.cities"),
    ("matches", "vars.name matches 'Ada .*'"),
    ("is, is not", "vars.name is not empty"),
    ("? :", "vars.stock.nut > 5 ? 'plenty' : 'few'"),
    ("??", "vars.missing ?? vars.nothing ?? 'neither'"),
    ("???", "vars.missing ??? 'not there'"),
    ("???", "vars.nothing ??? 'not there'"),
    ("|", "vars.name | upper"),
    ("[ ]", "[1, 2] + [3]"),
    ("{ }", "{'a': 1, 'b': [2]}"),
)
"""Operators with an example; the same operators may come twice."""

BINDING: tuple[tuple[str, str], ...] = (
    ("vars.missing ?? 'none' | upper", "(vars.missing ?? 'none') | upper"),
    ("'a' ~ vars.missing ?? 'b'", "'a' ~ (vars.missing ?? 'b')"),
    ("'a' ~ 'b' | upper", "('a' ~ 'b') | upper"),
    ("not vars.stock is empty", "not (vars.stock is empty)"),
    ("2 + 3 | string", "2 + (3 | string)"),
)
"""An expression, and the same with the parentheses it does not need."""

TESTS: Mapping[str, str] = {
    "defined": "vars.missing is defined",
    "null": "vars.nothing is null",
    "empty": "'' is empty",
    "even": "4 is even",
    "odd": "4 is odd",
    "iterable": "vars.cities is iterable",
    "map": "vars.stock is map",
    "equalTo": "3 is equalTo(vars.stock.nut)",
    "json": "'{\"a\": 1}' is json",
    "isIn": "'Lisbon' is isIn(vars.cities)",
}

METHODS: Mapping[str, str] = {
    "size": "vars.cities.size()",
    "length": "'abc'.length()",
    "isEmpty": "vars.cities.isEmpty()",
    "isBlank": "' '.isBlank()",
    "toString": "vars.stock.nut.toString() + '1'",
    "equals": "'a'.equals('b')",
    "equalsIgnoreCase": "'a'.equalsIgnoreCase('A')",
    "toUpperCase": "'a'.toUpperCase()",
    "toLowerCase": "'A'.toLowerCase()",
    "trim": "' a '.trim()",
    "startsWith": "'abc'.startsWith('a')",
    "endsWith": "'abc'.endsWith('a')",
    "contains": "'abc'.contains('b')",
    "indexOf": "'abc'.indexOf('b')",
    "lastIndexOf": "'abcb'.lastIndexOf('b')",
    "substring": "'2024-07-09'.substring(0, 7)",
    "replace": "'a-b'.replace('-', '_')",
    "replaceAll": r"'a1'.replaceAll('\\d', '')",
    "split": "'a,b'.split(',')",
    "matches": "'abc'.matches('a.*')",
    "get": "vars.stock.get('nut')",
    "getOrDefault": "vars.stock.getOrDefault('gear', 0)",
    "containsKey": "vars.stock.containsKey('gear')",
    "keySet": "vars.stock.keySet()",
    "values": "vars.stock.values()",
}
"""By the first name of each method."""

TAGS: tuple[tuple[str, str], ...] = (
    (
        "if, elseif, else",
        "{% if vars.stock.nut > 5 %}many{% elseif vars.stock.nut > 2 %}some{% else %}few{% endif %}",
    ),
    ("for, else", "{% for city in vars.cities %}{{ loop.index }} {{ city }}{{ loop.last ? '' : ', ' }}{% endfor %}"),
    ("for", "{% for item in vars.stock %}{{ item.key }}={{ item.value }} {% else %}nothing{% endfor %}"),
    ("set", "{% set total = vars.stock.nut + vars.stock.bolt %}{{ total }} pieces"),
    ("macro", "{% macro tag(name, kind='b') %}<{{ kind }}>{{ name }}</{{ kind }}>{% endmacro %}{{ tag('hi') }}"),
    ("block", "{% block x %}once{% endblock %} and {{ block('x') }}"),
    ("filter", "{% filter upper %}loud{% endfilter %}"),
    ("raw, verbatim", "{% raw %}{{ untouched }}{% endraw %}"),
    ("{# #}", "a{# a comment #}b"),
    ("{{- -}}", "a {{- 'b' -}} c"),
)

FILTERS: Mapping[str, str] = {
    "abs": "-3 | abs",
    "number": "'12' | number + 1",
    "numberFormat": "1234.567 | numberFormat('#,##0.0')",
    "className": "3 | className",
    "default": "vars.nothing | default('none')",
    "first": "vars.cities | first",
    "last": "vars.cities | last",
    "length": "vars.cities | length",
    "join": "vars.cities | join(', ')",
    "reverse": "vars.cities | reverse",
    "sort": "[3, 1, 2] | sort",
    "rsort": "[3, 1, 2] | rsort",
    "slice": "vars.name | slice(0, 3)",
    "merge": "[1, 2] | merge([3])",
    "chunk": "[1, 2, 3] | chunk(2)",
    "flatten": "[[1, 2], [3]] | flatten",
    "distinct": "[1, 2, 1] | distinct",
    "keys": "vars.stock | keys",
    "values": "vars.stock | values",
    "date": "inputs.day | date('yyyy-MM-dd HH:mm', timeZone='Europe/Paris')",
    "dateAdd": "inputs.day | dateAdd(-1, 'DAYS') | date('yyyy-MM-dd')",
    "timestamp": "inputs.day | timestamp",
    "timestampMilli": "inputs.day | timestampMilli",
    "timestampMicro": "inputs.day | timestampMicro",
    "timestampNano": "inputs.day | timestampNano",
    "toJson": "vars.stock | toJson",
    "toIon": "vars.stock | toIon",
    "yaml": "vars.stock | yaml",
    "jq": "vars.stock | jq('.bolt') | first",
    "lower": "vars.name | lower",
    "upper": "vars.name | upper",
    "capitalize": "'one two' | capitalize",
    "title": "'one two' | title",
    "trim": "'  x ' | trim",
    "abbreviate": "vars.name | abbreviate(8)",
    "string": "12 | string | length",
    "split": "'a,b' | split(',')",
    "replace": "vars.name | replace({'Ada': 'Lady'})",
    "regexMatch": "vars.name | regexMatch('Love')",
    "regexExtract": "vars.name | regexExtract('(\\w+) (\\w+)', 2)",
    "regexReplace": "vars.name | regexReplace('(\\w+) (\\w+)', '$2, $1')",
    "condenseString": "' a   b ' | condenseString",
    "startsWith": "vars.name | startsWith('Ada')",
    "endsWith": "vars.name | endsWith('ace')",
    "substringBefore": "'a.b.c' | substringBefore('.')",
    "substringBeforeLast": "'a.b.c' | substringBeforeLast('.')",
    "substringAfter": "'a.b.c' | substringAfter('.')",
    "substringAfterLast": "'a.b.c' | substringAfterLast('.')",
    "slugify": "'Élan vital!' | slugify",
    "escapeChar": "\"L'eau\" | escapeChar('single')",
    "indent": "'a\nb' | indent(2)",
    "nindent": "'a\nb' | nindent(2)",
    "base64encode": "'hello' | base64encode",
    "base64decode": "'aGVsbG8=' | base64decode",
    "md5": "'hello' | md5",
    "sha1": "'hello' | sha1",
    "sha256": "'hello' | sha256 | slice(0, 12)",
    "sha512": "'hello' | sha512 | slice(0, 12)",
    "urlencode": "'a b&c' | urlencode",
    "urldecode": "'a+b%26c' | urldecode",
}
"""By the first name of each filter; aliases share the example."""

FUNCTIONS: Mapping[str, str] = {
    "fromJson": "fromJson('{\"a\": [1, 2]}').a[1]",
    "yaml": "yaml('a: [1, 2]').a",
    "fromIon": "fromIon('{a: 1}').a",
    "render": "render(vars.greeting)",
    "renderOnce": "renderOnce(vars.greeting)",
    "printContext": "printContext() | length > 100",
    "max": "max(3, 7, 5)",
    "min": "min(3, 7, 5)",
    "range": "range(0, 10, 5)",
    "env": "env('region', 'south')",
    "tasksWithState": "tasksWithState('FAILED')",
    "currentEachOutput": "currentEachOutput(outputs.measure).rain",
    "iterationOutput": "iterationOutput(outputs.measure).rain",
    "loopOutputs": "loopOutputs([{'outputs': {'r': 1}}, {}], 'r')",
    "now": "now(format='yyyy-MM-dd')",
    "isWeekend": "isWeekend(inputs.day)",
    "dayOfWeek": "dayOfWeek(inputs.day)",
    "dayOfMonth": "dayOfMonth(inputs.day)",
    "monthOfYear": "monthOfYear(inputs.day)",
    "hourOfDay": "hourOfDay(inputs.day)",
    "isDayWeekInMonth": "isDayWeekInMonth('2024-02-05', 'MONDAY', 'FIRST')",
    "isLastWorkingDay": "isLastWorkingDay(inputs.day)",
    "isDateBetween": "isDateBetween(inputs.day, '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z')",
    "isPublicHoliday": "isPublicHoliday('2024-12-25', 'FR')",
    "secret": "secret('TOKEN')",
    "kv": "kv('limit') + 1",
    "read": "read('notes.txt')",
    "fileSize": "fileSize('notes.txt')",
    "fileExists": "fileExists('other.txt')",
    "isFileEmpty": "isFileEmpty('empty.txt')",
    "fileURI": "fileURI('notes.txt')",
    "errorLogs": "errorLogs()",
    "resumeUrl": "resumeUrl(expiresIn='P1D')",
    "http": "http(uri='https://example.com/data.json')",
    "id": "id() | length",
    "randomInt": "randomInt(5, 6)",
    "randomPort": "randomPort() > 1023",
    "nanoId": "nanoId(10) | length",
    "ksuid": "ksuid() | length",
    "encrypt": f"encrypt('{KEY}', 'x') | length > 20",
    "decrypt": f"decrypt('{KEY}', encrypt('{KEY}', 'x'))",
}
"""By the first name of each function; aliases share the example."""

CALLS_OUT = {"http": "what the address answers, within 10 s and 1 MiB"}
"""Functions whose result is the outside's, and what it is."""
