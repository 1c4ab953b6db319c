"""Filters on texts, numbers, lists and maps: reference §10.2 and §10.5. One row is one promise."""

from __future__ import annotations

import pytest

from headrace_engine.expressions.registry import FILTERS

NULL_SAFE = sorted(set(FILTERS) - {"default", "toJson", "json", "toIon", "yaml", "jq", "length", "className"})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # abbreviate: the dots count
        ("'this is a long sentence.' | abbreviate(7)", "this..."),
        ("'If life gives you lemons' | upper | abbreviate(13)", "IF LIFE GI..."),
        ("'short' | abbreviate(5)", "short"),
        ("'abcdef' | abbreviate(2)", "ab"),
        # abs
        ("-7 | abs", 7),
        ("7 | abs", 7),
        ("-1.5 | abs", 1.5),
        # base64
        ("'test' | base64encode", "dGVzdA=="),
        ("'dGVzdA==' | base64decode", "test"),
        ("'ü' | base64encode | base64decode", "ü"),
        # capitalize, title, lower, upper, trim
        ("'article title' | capitalize", "Article title"),
        ("'aBC' | capitalize", "ABC"),
        ("'' | capitalize", ""),
        ("'article title' | title", "Article Title"),
        ("'LOUD' | lower", "loud"),
        ("'quiet' | upper", "QUIET"),
        ("'  padded  ' | trim", "padded"),
        # chunk
        ("[1..9] | chunk(2)", [[1, 2], [3, 4], [5, 6], [7, 8], [9]]),
        ("[] | chunk(2)", []),
        ("[1, 2] | chunk(size=5)", [[1, 2]]),
        # className
        ("'a' | className", "java.lang.String"),
        ("1 | className", "java.lang.Integer"),
        ("2147483648 | className", "java.lang.Long"),
        ("1.5 | className", "java.lang.Double"),
        ("true | className", "java.lang.Boolean"),
        ("[] | className", "java.util.ArrayList"),
        ("{} | className", "java.util.LinkedHashMap"),
        ("null | className", "null"),
        # condenseString
        ("'  a \n\t b  ' | condenseString", "a b"),
        # default
        ("missing | default('d')", "d"),
        ("missing.a.b | default('d')", "d"),
        ("null | default('d')", "d"),
        ("'' | default('d')", "d"),
        ("'  ' | default('d')", "d"),
        ("[] | default('d')", "d"),
        ("0 | default('d')", 0),
        ("false | default('d')", False),
        ("'x' | default('d') | upper", "X"),
        # distinct
        ("[1, 2, 2, 3, 1] | distinct", [1, 2, 3]),
        ("['1', '1', '2', '3'] | distinct", ["1", "2", "3"]),
        ("[1, 1.0, true, '1', {'a': 1}, {'a': 1}, null, null] | distinct", [1, True, "1", {"a": 1}, None]),
        # escapeChar
        ('"L\'eau" | escapeChar("single")', "L\\'eau"),
        ("'a\"b' | escapeChar('double')", 'a\\"b'),
        ('"L\'eau" | escapeChar("shell")', "L'\\''eau"),
        # first, last, length
        ("['apple', 'banana'] | first", "apple"),
        ("'Mitch' | first", "M"),
        ("[] | first", None),
        ("['apple', 'banana'] | last", "banana"),
        ("'Mitch' | last", "h"),
        ("'' | last", None),
        ("'Mitch' | length", 5),
        ("[1, 2] | length", 2),
        ("{'a': 1} | length", 1),
        ("null | length", 0),
        # flatten: one level
        ("[[1, 2], [3, [4]], 5] | flatten", [1, 2, 3, [4], 5]),
        # indent, nindent: the style of the line ends is kept
        ("'a\nb\nc' | indent(2)", "a\n  b\n  c"),
        ("'a\r\nb' | indent(1, '\t')", "a\r\n\tb"),
        ("'' | indent(2)", ""),
        ("'key: value' | nindent(2)", "\n  key: value"),
        ("'a\nb' | nindent(2, prefix='.')", "\n..a\n..b"),
        ("'a\r\nb' | nindent(1)", "\r\n a\r\n b"),
        ("'' | nindent(2)", ""),
        # join
        ("['a', 'b'] | join(', ')", "a, b"),
        ("[1, true, null, [2]] | join('-')", "1-true--[2]"),
        ("['a', 'b'] | join", "ab"),
        # keys, values
        ("['a', 'b', 'c'] | keys", [0, 1, 2]),
        ("{'foo': 'bar', 'baz': 'qux'} | keys", ["foo", "baz"]),
        ("{'foo': 'bar', 'baz': 'qux'} | values", ["bar", "qux"]),
        # merge
        ("[1, 2] | merge([3, 4])", [1, 2, 3, 4]),
        ("{'a': 1, 'b': 1} | merge({'b': 2})", {"a": 1, "b": 2}),
        # number
        ("'12.3' | number | className", "java.lang.Float"),
        ("'1.123456789' | number | className", "java.lang.Double"),
        ("'2147483647' | number | className", "java.lang.Integer"),
        ("'9223372036854775807' | number | className", "java.lang.Long"),
        ("'9223372036854775808' | number | className", "java.math.BigInteger"),
        ("'9223372036854775807' | number('BIGDECIMAL') | className", "java.math.BigDecimal"),
        ("'9223372036854775807' | number('BIGINTEGER') | className", "java.math.BigInteger"),
        ("'12.3' | number('DOUBLE') | className", "java.lang.Double"),
        ("'12' | number('INT') | className", "java.lang.Integer"),
        ("'12' | number('LONG') | className", "java.lang.Long"),
        ("'12.3' | number('FLOAT') | className", "java.lang.Float"),
        ("'12.3' | number | string", "12.3"),
        ("'12' | number + 1", 13),
        ("5 | number", 5),
        ("1.9 | number('INT')", 1),
        # numberFormat: DecimalFormat, half to even
        ("1.232654 | numberFormat('#.##')", "1.23"),
        ("3.141592653 | numberFormat('#.##')", "3.14"),
        ("1234567.5 | numberFormat('#,##0.00')", "1,234,567.50"),
        ("0.125 | numberFormat('0.00')", "0.12"),
        ("0.256 | numberFormat('0.0%')", "25.6%"),
        ("5 | numberFormat('000')", "005"),
        # replace
        ("'john doe is john doe' | replace({'john': 'jane'})", "jane doe is jane doe"),
        ("'I like %this% and %that%.' | replace({'%this%': 'foo', '%that%': 'bar'})", "I like foo and bar."),
        (r"'aa1bb2' | replace({'(\\d)': '-$1-'}, regexp=true)", "aa-1-bb-2-"),
        (r"'aa1' | replace({'(?P<d>\\d)': '<${d}>'}, true)", "aa<1>"),
        (r"'a' | replace({'a': '\\$'}, true)", "$"),
        ("'aaa' | replace({'': '-'})", "-a-a-a-"),
        ("['ab', ['b', 1], {'b': 'b', 'n': null}] | replace({'b': 'c'})", ["ac", ["c", "1"], {"b": "c", "n": None}]),
        (r"{'a': 'x1'} | replace({'(\\d)': '-$1'}, regexp=true)", {"a": "x-1"}),
        # regexMatch, regexExtract, regexReplace (kestra.io, String Filters)
        ("'hello world' | regexMatch('w[a-z]+')", True),
        ("'hello world' | regexMatch('^w')", False),
        (r"'2024-01-15' | regexReplace('(\\d{4})-(\\d{2})-(\\d{2})', '$3/$2/$1')", "15/01/2024"),
        (r"'Order12345' | regexReplace('\d+', '')", "Order"),
        (r"'order-12345-done' | regexExtract('\\d+')", "12345"),
        (r"'2024-01-15' | regexExtract('(\\d{4})-(\\d{2})-(\\d{2})', 1)", "2024"),
        ("'abc' | regexExtract('x')", None),
        # reverse, sort, rsort
        ("['apple', 'banana'] | reverse", ["banana", "apple"]),
        ("'abc' | reverse", "cba"),
        ("[3, 1, 2] | sort", [1, 2, 3]),
        ("['b', 'a'] | sort", ["a", "b"]),
        ("[3, 1.5, 2] | rsort", [3, 2, 1.5]),
        # sha, md5
        ("'test' | sha256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("'test' | sha1", "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"),
        ("'test' | md5", "098f6bcd4621d373cade4e832627b4f6"),
        ("('test' | sha512) | slice(0, 12)", "ee26b0dd4af7"),
        # slice
        ("['apple', 'banana', 'cherry'] | slice(1, 2)", ["banana"]),
        ("'Mitch' | slice(1, 3)", "it"),
        ("[1, 2, 3] | slice(1)", [2, 3]),
        ("[1, 2, 3] | slice(toIndex=1)", [1]),
        # slugify
        ("'Test\t\t\ntest*' | slugify", "test-test"),
        ("'Hello World!' | slugify", "hello-world"),
        ("'Ünï_cödé -- x' | slugify", "uni-code-x"),
        # split: Java's String.split
        ("'apple,banana,cherry' | split(',')", ["apple", "banana", "cherry"]),
        ("'apple,banana,cherry,grape' | split(',', 2)", ["apple", "banana,cherry,grape"]),
        (r"'a.b.c' | split('\\.')", ["a", "b", "c"]),
        ("'a,b,,' | split(',')", ["a", "b"]),
        ("'a,b,,' | split(',', -1)", ["a", "b", "", ""]),
        ("',a' | split(',')", ["", "a"]),
        ("'abc' | split('')", ["a", "b", "c"]),
        ("'' | split(',')", [""]),
        ("',,' | split(',')", []),
        ("'a.b' | split('.')", []),
        (r"'a1b22c' | split('\d+')", ["a", "b", "c"]),
        # startsWith, endsWith
        ("'kestra://file.csv' | startsWith('kestra://')", True),
        ("'report.csv' | endsWith('.csv')", True),
        ("'report.csv' | endsWith('.txt')", False),
        # string
        ("42 | string", "42"),
        ("[1] | string | className", "java.lang.String"),
        # substring…
        ("'a.b.c' | substringBefore('.')", "a"),
        ("'a.b.c' | substringAfter('.')", "b.c"),
        ("'a.b.c' | substringBeforeLast('.')", "a.b"),
        ("'a.b.c' | substringAfterLast('.')", "c"),
        ("'abc' | substringBefore('.')", "abc"),
        ("'abc' | substringAfter('.')", ""),
        ("'abc' | substringBeforeLast('.')", "abc"),
        ("'abc' | substringAfterLast('.')", ""),
        # urlencode, urldecode
        ("'The string ü@foo-bar' | urlencode", "The+string+%C3%BC%40foo-bar"),
        ("'The+string+%C3%BC%40foo-bar' | urldecode", "The string ü@foo-bar"),
        ("'a*b~c.d-e_f' | urlencode", "a*b%7Ec.d-e_f"),
    ],
)
def test_filters(value, expression, expected):
    found = value(expression)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("name", NULL_SAFE)
def test_null_passes_through(value, name):
    arguments = {
        "abbreviate": "(1)", "chunk": "(1)", "date": "('yyyy')", "dateAdd": "(1, 'DAYS')", "endsWith": "('a')",
        "escapeChar": "('single')", "indent": "(1)", "merge": "([])", "nindent": "(1)", "regexExtract": "('a')",
        "regexMatch": "('a')", "regexReplace": "('a', 'b')", "replace": "({})", "split": "('a')", "startsWith": "('a')",
        "substringAfter": "('a')", "substringAfterLast": "('a')", "substringBefore": "('a')",
        "substringBeforeLast": "('a')",
    }  # fmt: skip
    assert value(f"null | {name}{arguments.get(name, '')}") is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 | upper", "The filter 'upper' needs a text, not java.lang.Integer; use `| string`"),
        ("[] | trim", "The filter 'trim' needs a text, not java.util.ArrayList; use `| string`"),
        ("'a' | abs", "The filter 'abs' needs a number, not java.lang.String"),
        ("'a' | chunk(1)", "The filter 'chunk' needs a list, not java.lang.String"),
        ("[1] | chunk(0)", "The filter 'chunk' needs a size of at least 1"),
        ("[1] | chunk('x')", "The filter 'chunk' needs an integer, not java.lang.String"),
        ("1 | escapeChar('single')", "The filter 'escapeChar' needs a text, not java.lang.Integer; use `| string`"),
        ("'a' | escapeChar('x')", "The filter 'escapeChar' needs the type single, double or shell, not `x`"),
        ("'!' | base64decode", "The filter 'base64decode' needs a text in base 64"),
        ("'a' | join", "The filter 'join' needs a list, not java.lang.String"),
        ("1 | length", "The filter 'length' needs a list, a map or a text, not java.lang.Integer"),
        ("1 | first", "The filter 'first' needs a list or a text, not java.lang.Integer"),
        ("1 | keys", "The filter 'keys' needs a list, not java.lang.Integer"),
        ("[] | values", "The filter 'values' needs a map, not java.util.ArrayList"),
        ("[] | merge({})", "The filter 'merge' needs two lists or two maps, not java.util.ArrayList and "
         "java.util.LinkedHashMap"),
        ("'x' | number", "`x` is not a number"),
        ("'1_000' | number", "`1_000` is not a number"),
        ("'NaN' | number", "`NaN` is not a number"),
        ("'NaN' | number('BIGDECIMAL')", "`NaN` is not a number of type BIGDECIMAL"),
        ("'99999999999' | number('INT')", "`99999999999` is not a number of type INT"),
        ("'1' | number('SHORT')", "Unknown number type `SHORT`: use INT, LONG, FLOAT, DOUBLE, BIGINTEGER, BIGDECIMAL"),
        ("[] | number", "The filter 'number' needs a text, not java.util.ArrayList"),
        ("'a' | numberFormat('#')", "The filter 'numberFormat' needs a number, not java.lang.String"),
        ("'a' | replace('b')", "The filter 'replace' needs a map, not java.lang.String"),
        ("'a' | replace({'(a)': '$2'}, true)", "The replacement `$2` names no group of the regular expression"),
        ("'a' | replace({'a': '$'}, true)", "`$` in the replacement `$` must be followed by a group, or be written `\\$`"),
        ("'a' | replace({'a': '${x}'}, true)", "The replacement `${x}` names no group of the regular expression"),
        ("'a' | regexExtract('a', 1)", "The regular expression `a` has no group 1"),
        ("'a' | regexMatch('(')", "The regular expression `(` is not valid: missing ): ("),
        (r"'a' | regexMatch('(a)\\1')", "The regular expression `(a)\\1` is not valid: invalid escape sequence: \\1; "
         "look-around, back-references and possessive quantifiers are not supported"),
        ("'a' | regexMatch(1)", "A regular expression must be a text"),
        ("[1, 'a'] | sort", "Cannot compare java.lang.String with java.lang.Integer"),
        ("[1] | slice(0, 2)", "The filter 'slice' has no part from 0 to 2 in 1 items"),
        ("'a' | abbreviate(-1)", "The filter 'abbreviate' needs a length of at least 0"),
        ("'a' | indent(-1)", "The filter 'indent' needs an amount of at least 0"),
        ("'a' | startsWith(1)", "The filter 'startsWith' needs a text, not java.lang.Integer; use `| string`"),
    ],
)  # fmt: skip
def test_filter_errors(error, expression, message):
    caught = error("\n{{ " + expression + " }}")
    assert (caught.message, caught.line) == (message, 2)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("here is defined", True),
        ("nothing is defined", False),
        ("nothing is not defined", True),
        ("missing is defined", False),
        ("missing.a['b'] is not defined", True),
        ("[1][3] is defined", False),
        ("nothing is null", True),
        ("here is not null", True),
        ("'' is empty", True),
        ("null is empty", True),
        ("[] is empty", True),
        ("{} is empty", True),
        ("' \t' is empty", True),
        ("' a' is empty", False),
        ("0 is empty", False),
        ("2 is even", True),
        ("3 is even", False),
        ("3 is odd", True),
        ("-3 is odd", True),
        ("3 is not odd", False),
        ("[] is iterable", True),
        ("{} is iterable", False),
        ("'a' is iterable", False),
        ("{} is map", True),
        ("[] is map", False),
        ("1 is equalTo(1.0)", True),
        ("'a' is not equalTo('b')", True),
        ("'{\"test\": 1}' is json", True),
        ("'1' is json", True),
        ("'true' is json", True),
        ("'{test: 1}' is json", False),
        ("'NaN' is json", False),
        ("'' is json", False),
        ("'a' is isIn(['a', 'b'])", True),
        ("'c' is not isIn(['a', 'b'])", True),
    ],
)
def test_tests(value, expression, expected):
    assert value(expression, here=1, nothing=None) is expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 is json", "The test 'json' needs a text, not java.lang.Integer"),
        ("null is even", "The test 'even' needs an integer, not null"),
        ("'2' is even", "The test 'even' needs an integer, not java.lang.String"),
        ("true is odd", "The test 'odd' needs an integer, not java.lang.Boolean"),
    ],
)
def test_test_errors(error, expression, message):
    assert error("{{ " + expression + " }}").message == message
