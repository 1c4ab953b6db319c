"""Functions of reference §10.4, and JSON, YAML, Ion and jq of §10.5."""

from __future__ import annotations

import base64
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from headrace_engine.expressions import Expressions, NoHost

TASKS = {
    "ok": {"state": "SUCCESS"},
    "fail": {"state": "FAILED"},
    "each": {"a": {"state": "FAILED"}, "b": {"state": "SUCCESS"}, "c": {"x": {"state": "FAILED"}}},
}
LOOP = {
    "outputs": {"t": {"a": {"x": {"value": "ax"}, "y": {"value": "ay"}}, "1": {"x": {"value": "1x"}}}},
    "taskrun": {"value": "y", "iteration": 1},
    "task": {"id": "t"},
    "parents": [{"taskrun": {"value": "a"}}, {"outputs": {"only": 1}}],
}


@pytest.mark.parametrize(
    ("expression", "variables", "expected"),
    [
        ("max(20, 80, 5)", {}, 80),
        ("max(1, 2.5)", {}, 2.5),
        ("min(20, 80, 5)", {}, 5),
        ("range(0, 3)", {}, [0, 1, 2, 3]),
        ("range(0, 6, 2)", {}, [0, 2, 4, 6]),
        ("range(3, 0, -1)", {}, [3, 2, 1, 0]),
        ("range(3, 0)", {}, []),
        ("range('a', 'c')", {}, ["a", "b", "c"]),
        ("range(start=1, end=2)", {}, [1, 2]),
        ("fromJson('[1, 2, 3]')[0]", {}, 1),
        ("json('{\"foo\": [666, 1, 2]}').foo[0]", {}, 666),
        ("fromJson('1.5')", {}, 1.5),
        ("fromJson(null)", {}, None),
        ("yaml('foo: [666, 1, 2]').foo[0]", {}, 666),
        ("yaml('a: yes\nb: on\nc: 010\nd: 2020-01-01\ne: 1e3\nf: ~\ng: 0x1f\nh: .5\ni: True\nj: \"1\"')", {},
         {"a": "yes", "b": "on", "c": 10, "d": "2020-01-01", "e": 1000.0, "f": None, "g": 31, "h": 0.5, "i": True,
          "j": "1"}),
        ("yaml('a: &x [1]\nb: *x')", {}, {"a": [1], "b": [1]}),
        ("yaml('')", {}, None),
        ("yaml(null)", {}, None),
        ("fromIon('{a: 1, b: \"x\", c: [true, null, sym], d: 1.5, e: 1.5e0}')", {},
         {"a": 1, "b": "x", "c": [True, None, "sym"], "d": Decimal("1.5"), "e": 1.5}),
        ("fromIon('{a:1} {a:2}')", {}, {"a": 1}),
        ("fromIon('{a:1}\n{a:2}', allRows=true)", {}, [{"a": 1}, {"a": 2}]),
        ("fromIon('')", {}, None),
        ("fromIon(null)", {}, None),
        ("fromIon('ZonedDateTime::\"2013-09-08T16:19:12+01:00\"')", {},
         datetime(2013, 9, 8, 16, 19, 12, tzinfo=timezone(timedelta(hours=1)))),
        ("fromIon('LocalDate::\"2013-09-08\"')", {}, date(2013, 9, 8)),
        ("fromIon('2013-09-08T16:19:12Z')", {}, datetime(2013, 9, 8, 16, 19, 12, tzinfo=UTC)),
        ("fromIon(read('data.ion'), allRows=true)", {}, [{"a": 1}, {"a": 2}]),
        ("fromIon(read('binary.ion'))", {}, 7),
        ("printContext()", {"a": {"b": 1}}, '{"a":{"b":1}}'),
        ("fetchContext()", {}, "{}"),
        ("env('api_host')", {"envs": {"api_host": "h"}}, "h"),
        ("env('API_HOST')", {"envs": {"api_host": "h"}}, "h"),
        ("env('none', 'localhost')", {"envs": {}}, "localhost"),
        ("env('empty', 'd')", {"envs": {"empty": ""}}, "d"),
        ("env('none')", {}, None),
        ("tasksWithState('failed')", {"tasks": TASKS},
         [{"state": "FAILED", "taskId": "fail"}, {"state": "FAILED", "taskId": "each", "value": "a"},
          {"state": "FAILED", "taskId": "each", "value": "x"}]),
        ("tasksWithState('SUCCESS')", {}, []),
        ("currentEachOutput(outputs.t).value", LOOP, "ay"),
        ("currentEachOutput(outputs.t).value ~ currentEachOutput(outputs.t).value", LOOP, "ayay"),
        ("currentEachOutput(outputs.t).value", LOOP | {"parents": [{"taskrun": {"value": 1}}], "taskrun": {"value": "x"}},
         "1x"),
        ("currentEachOutput({'v': 1})", {}, {"v": 1}),
        ("iterationOutput(outputs.t).value", LOOP, "ax"),
        ("iterationOutput().value", LOOP, "ax"),
        ("iterationOutput('t', 1).value", LOOP, "ay"),
        ("iterationOutput(outputs.t, iteration=0).value", LOOP, "ax"),
        ("loopOutputs(outputs, 'r')", {"outputs": [{"outputs": {"r": 1}}, {"outputs": {}}, {}]}, [1, None, None]),
        ("secret('TOKEN')", {}, "s3cret"),
        ("secret('DB', subkey='port')", {}, "5432"),
        ("secret('TOKEN', full=true)", {}, {"value": "s3cret"}),
        ("kv('config').a[1]", {}, 2),
        ("kv('none', errorOnMissing=false)", {}, None),
        ("kv('none', 'other', false) ?? 'd'", {}, "d"),
        ("read('a.txt')", {}, "hello"),
        ("fileSize('a.txt')", {}, 5),
        ("fileExists('a.txt')", {}, True),
        ("fileExists('b.txt')", {}, False),
        ("isFileEmpty('empty.txt')", {}, True),
        ("fileEmpty('a.txt')", {}, False),
        ("fileURI('dir/a.txt')", {}, "kestra:///demo/_files/dir/a.txt"),
        ("errorLogs()", {}, [{"taskId": "fail", "message": "went wrong"}]),
        ("http(uri='https://example.com') | jq('.[].slug')", {}, ["beauty", "books"]),
    ],
)  # fmt: skip
def test_functions(value, expression, variables, expected):
    found = value(expression, **variables)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("max()", "The function 'max' needs at least one argument"),
        ("max(1, 'a')", "Cannot compare java.lang.String with java.lang.Integer"),
        ("range(1)", "The function 'range' needs the argument `end` (line 1, column 4)"),
        ("range(1, 2, 0)", "The step of a range cannot be 0"),
        ("fromJson('{')", "Not a JSON text: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("fromJson('NaN')", "Not a JSON text: NaN is no JSON"),
        ("fromJson(1)", "The function 'fromJson' needs a text, not java.lang.Integer; use `| string`"),
        ("yaml('a: [')", "Not a YAML text: while parsing a flow node expected the node content, but found "
         "'<stream end>' in \"<unicode string>\", line 1, column 5: a: [ ^"),
        ("yaml('!!python/object:os.system x')", "Not a YAML text: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/object:os.system' in \"<unicode string>\", line 1, column 1: "
         "!!python/object:os.system x ^"),
        ("yaml('&a [*a]')", "The YAML text has an alias inside of what it stands for"),
        ("fromIon(1)", "The function 'fromIon' needs a text, not java.lang.Integer"),
        ("secret('NONE')", "Cannot find secret for key 'NONE'."),
        ("secret('TOKEN', subkey='a')", "The secret 'TOKEN' is not JSON, so it has no subkey 'a'."),
        ("secret('DB', subkey='none')", "Cannot find subkey 'none' in secret 'DB'."),
        ("secret('DB', subkey='user', full=true)", "The function 'secret' takes either subkey or full, not both"),
        ("secret()", "The function 'secret' needs the argument `key` (line 1, column 4)"),
        ("kv('none')", "The key 'none' does not exist in the namespace 'demo'."),
        ("kv('none', 'x.y')", "The key 'none' does not exist in the namespace 'x.y'."),
        ("read('none')", "Unable to read the file 'none'"),
        ("read('image.png')", "The file 'image.png' is not a text in UTF-8"),
        ("fileURI('../x')", "The path '../x' leaves the namespace's files"),
        ("randomInt(5, 5)", "The function 'randomInt' needs an upper bound above 5, not 5"),
        ("randomInt(5, 1)", "The function 'randomInt' needs an upper bound above 5, not 1"),
        ("randomInt('a', 1)", "The function 'randomInt' needs an integer, not java.lang.String"),
        ("nanoId(0)", "The function 'nanoId' needs a length from 1 to 4096 and an alphabet"),
        ("iterationOutput({'a': 1})", "The function 'iterationOutput' without an iteration only works in a loop"),
        ("iterationOutput({'a': 1}, 3)", "There is no output of the iteration 3"),
        ("iterationOutput([1], 0)", "The function 'iterationOutput' needs the outputs of a task in a loop"),
        ("loopOutputs({}, 'a')", "The function 'loopOutputs' needs a list, not java.util.LinkedHashMap"),
        ("encrypt('short', 'x')", "The function 'encrypt' needs a key of 16, 24 or 32 bytes in base 64"),
        ("block('none')", "Block [none] does not exist."),
    ],
)  # fmt: skip
def test_function_errors(error, expression, message):
    assert error("{{ " + expression + " }}").message == message


def test_what_the_host_is_asked(render, host):
    render("{{ secret('TOKEN', namespace='other') }}{{ kv('config', namespace='n') }}{{ kv('config') }}")
    assert host.asked == [("secret", "TOKEN", "other"), ("kv", "config", "n", True), ("kv", "config", None, True)]
    render("{{ http(uri='u', method='post', body={'a': 1}, contentType='c', accept='x', headers={'h': '1'}, "
           "query={'q': 2}, options={'t': 3}) }}{{ http('u') }}")  # fmt: skip
    assert host.requests == [
        {"uri": "u", "method": "POST", "query": {"q": 2}, "body": {"a": 1}, "contentType": "c", "accept": "x",
         "headers": {"h": "1"}, "options": {"t": 3}},
        {"uri": "u", "method": "GET"},
    ]  # fmt: skip


def test_ids_and_randomness_come_from_the_host(expressions):
    template = "{{ id() }} {{ uuid() }} {{ randomInt(1, 10) }} {{ nanoId() }} {{ nanoId(length=5, alphabet='ab') }} {{ ksuid() }}"
    now = datetime(2024, 7, 9, tzinfo=UTC)
    first, second = (expressions.render(template, {}, NoHost(now, seed=3)) for _ in range(2))
    assert first == second
    assert first != expressions.render(template, {}, NoHost(now, seed=4))
    one, two, number, nano, short, ksuid = first.split(" ")
    assert re.fullmatch("[0-9A-Za-z]{22}", one)
    assert re.fullmatch("[0-9A-Za-z]{22}", two)
    assert 1 <= int(number) < 10
    assert re.fullmatch("[0-9A-Za-z_-]{21}", nano)
    assert re.fullmatch("[ab]{5}", short)
    assert re.fullmatch("[0-9A-Za-z]{27}", ksuid)
    later = expressions.render("{{ ksuid() }}", {}, NoHost(now + timedelta(days=1), seed=0))
    assert later > ksuid


def test_random_port_is_a_port(value):
    assert 1024 <= value("randomPort()") < 65536


def test_encrypt_and_decrypt_are_aes_gcm(value, error):
    key = base64.b64encode(b"k" * 32).decode()
    sealed = value("encrypt(key, 'größe')", key=key)
    assert sealed != value("encrypt(key, 'größe')", key=key)
    assert len(base64.b64decode(sealed)) == 12 + len("größe".encode()) + 16
    assert value("decrypt(key, sealed)", key=key, sealed=sealed) == "größe"
    assert value("encrypt(key, null)", key=key) is None
    other = base64.b64encode(b"x" * 32).decode()
    message = "The function 'decrypt' was given another key, or a text that is not encrypted"
    assert error("{{ decrypt(key, sealed) }}", key=other, sealed=sealed).message == message
    assert error("{{ decrypt(key, 'abcd') }}", key=key).message == message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("secret('X')", "Cannot find secret for key 'X'."),
        ("kv('x')", "The function kv() is not available in this expression"),
        ("read('x')", "The function read() is not available in this expression"),
        ("fileSize('x')", "The function fileSize() is not available in this expression"),
        ("fileExists('x')", "The function fileExists() is not available in this expression"),
        ("fileURI('x')", "The function fileURI() is not available in this expression"),
        ("errorLogs()", "The function errorLogs() is not available in this expression"),
        ("http('x')", "The function http() is not available in this expression"),
    ],
)
def test_without_a_host_what_is_outside_is_refused(expressions, expression, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared
        expressions.render("{{ " + expression + " }}", {}, NoHost())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "as_json", "as_ion", "as_yaml"),
    [
        ("string", '"string"', '"string"', "string\n"),
        (1, "1", "1", "1\n"),
        (1.5, "1.5", "1.5e0", "1.5\n"),
        (True, "true", "true", "true\n"),
        (None, "null", "null", "null\n"),
        ({}, "{}", "{}", "{}\n"),
        ([], "[]", "[]", "[]\n"),
        (["string", 1, 1.123], '["string",1,1.123]', '["string",1,1.123e0]', " - string\n - 1\n - 1.123\n"),
        ({"int": 1}, '{"int":1}', "{int:1}", "int: 1\n"),
        ({"empty_object": {}}, '{"empty_object":{}}', "{empty_object:{}}", "empty_object: {}\n"),
        ({"a": None}, '{"a":null}', "{a:null}", "a: null\n"),
        ({"a-b": "x", "null": 1}, '{"a-b":"x","null":1}', "{'a-b':\"x\",'null':1}", 'a-b: x\n"null": 1\n'),
        (Decimal("1.50"), "1.50", "1.50", "1.50\n"),
        (Decimal("1E+3"), "1000", "1d3", "1000\n"),
        (1e300, "1.0E300", "1.0e300", "1.0E300\n"),
        (float("nan"), '"NaN"', "nan", ".NaN\n"),
        (date(2013, 9, 8), '"2013-09-08"', 'LocalDate::"2013-09-08"', '"2013-09-08"\n'),
        (datetime(2013, 9, 8, 16, 19, tzinfo=timezone(timedelta(hours=1))), '"2013-09-08T16:19:00+01:00"',
         'ZonedDateTime::"2013-09-08T16:19:00+01:00"', '"2013-09-08T16:19:00+01:00"\n'),
        (datetime(2013, 9, 8, 16, 19, tzinfo=UTC), '"2013-09-08T16:19:00Z"', 'Instant::"2013-09-08T16:19:00Z"',
         '"2013-09-08T16:19:00Z"\n'),
        (timedelta(seconds=5), '"PT5S"', 'Duration::"PT5S"', "PT5S\n"),
    ],
)  # fmt: skip
def test_values_as_json_ion_and_yaml(render, value, as_json, as_ion, as_yaml):
    assert render("{{ v | toJson }}", v=value) == as_json
    assert render("{{ v | toIon }}", v=value) == as_ion
    assert render("{{ v | yaml }}", v=value) == as_yaml


NESTED = {
    "list": [{"a": 1, "b": [1, "two"]}, ["x", ["y"]], {}, []],
    "map": {"deep": {"deeper": None}},
    "texts": ["true", "1.5", "", " x", "a: b", "#c", "- d", "it's", '"q"', "1_000", "2024-01-01", "multi\nline\n", "a\nb",
              "~", "yes", "[x]", "{y}", "&z", "*w", "!v", "%u", "@t", "`s", "tab\there", "a #b", "x:", "?", "-", "\x07",
              " lead\ning", "end\n\n"],
    "unicode ü": "ö",
}  # fmt: skip


def test_what_yaml_writes_yaml_reads_back(value):
    assert value("yaml(v | yaml)", v=NESTED) == NESTED


def test_yaml_lists_are_indented_by_one_space(render):
    assert render("{{ {'l': [1, {'a': 1, 'b': [2]}], 'm': {'o': 1}} | yaml }}") == (
        "l:\n - 1\n - a: 1\n   b:\n    - 2\nm:\n  o: 1\n"
    )


def test_what_ion_writes_ion_reads_back(value):
    assert value("fromIon(v | toIon)", v=NESTED) == NESTED


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{'test': [1,2,3]} | jq('.test[0]')", [1]),
        ("{'test': [1,2,3]} | jq('.test[0]') | first", 1),
        ("[1, 2, 3] | jq('.')", [[1, 2, 3]]),
        ("[1, 2.5, true, null, 'a'] | jq('.[]')", [1, 2.5, True, None, "a"]),
        ("[1, 2] | jq('.[] | select(. > 5)')", []),
        ("[72, 88, 95] | jq('reduce .[] as $n (0; . + $n)') | first", 255),
        ("['a'] | jq('.[0] | ascii_upcase')", ["A"]),
        ("null | jq('.')", None),
        # a text is read as JSON first
        ("""'{"title": "Success", "params": {"example": "test"}}' | jq('.params.example') | first""", "test"),
        ("""'"a"' | jq('ascii_upcase')""", ["A"]),
        ("'[1, 2.5, null]' | jq('.[]')", [1, 2.5, None]),
        ("'null' | jq('.')", [None]),
        ("[1.0, 2.5] | jq('.[]')", [1, 2.5]),
        ("day | jq('.')", ["2013-09-08"]),
        ("""{'ü': 'ö'} | jq('."ü"')""", ["ö"]),
        ("1 | jq('env, $ENV | length')", [0, 0]),
    ],
)
def test_jq(value, expression, expected):
    found = value(expression, day=date(2013, 9, 8))
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected] if isinstance(found, list) else True


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (".a[", "The jq program `.a[` failed: jq: error: syntax error, unexpected end of file"),
        (".a.b.c", 'The jq program `.a.b.c` failed: Cannot index number with string ("a")'),
        ('import "a" as a; .', "A jq program cannot load modules"),
        ('# c\n include "a"; .', "A jq program cannot load modules"),
        ('"a" | modulemeta', "A jq program cannot load modules"),
        ("x" * 100_001, "A jq program is longer than 100000 characters"),
    ],
)
def test_jq_errors(error, program, message):
    assert error("{{ 1 | jq(p) }}", p=program).message.startswith(message)


def test_all_names_of_the_reference_exist():
    engine = Expressions()
    filters = (
        "abbreviate abs base64decode base64encode capitalize default first join last length lower merge reverse rsort "
        "sha256 slice sort split title trim upper urlencode numberFormat replace chunk date dateAdd timestamp "
        "timestampMilli timestampMicro timestampNano escapeChar flatten indent nindent jq keys values number slugify "
        "substringBefore substringAfter substringBeforeLast substringAfterLast toJson json toIon yaml startsWith endsWith "
        "urldecode sha1 sha512 md5 className distinct string regexMatch regexExtract regexReplace condenseString"
    )
    functions = (
        "now render renderOnce json fromJson yaml fromIon secret kv read fileSize fileExists isFileEmpty fileURI "
        "currentEachOutput errorLogs encrypt decrypt uuid id randomInt printContext fetchContext http tasksWithState "
        "randomPort nanoId ksuid iterationOutput loopOutputs env max min range isWeekend isPublicHoliday isDayWeekInMonth "
        "isLastWorkingDay dayOfWeek dayOfMonth monthOfYear hourOfDay isDateBetween"
    )
    from headrace_engine.expressions.registry import FILTERS, FUNCTIONS, TESTS

    assert engine
    assert set(filters.split()) - set(FILTERS) == set()
    assert set(functions.split()) - set(FUNCTIONS) == set()
    assert {"defined", "empty", "even", "odd", "iterable", "map", "null", "equalTo", "json", "isIn"} == set(TESTS)
