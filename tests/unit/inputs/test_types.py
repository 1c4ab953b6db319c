"""Every type of input: what it takes, how that is stored, what expressions see, and the exact text of each refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.inputs import InputError
from headrace_engine.sealing import ENCRYPTED
from unit.inputs.support import Store, define, read, refusal, typed

SAME: Any = object()
PARIS = timezone(timedelta(hours=2))

TAKEN: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    # type, options, given, stored, typed
    ("STRING", {}, "Hallo", "Hallo", SAME),
    ("STRING", {}, "", "", SAME),
    ("STRING", {}, " spaces stay ", " spaces stay ", SAME),
    ("STRING", {}, "{{ not.rendered }}", "{{ not.rendered }}", SAME),
    ("STRING", {}, 5, "5", SAME),
    ("STRING", {}, 1.5, "1.5", SAME),
    ("STRING", {}, True, "true", SAME),
    ("STRING", {}, {"a": [1, None]}, '{"a":[1,null]}', SAME),
    ("STRING", {}, date(2024, 2, 29), "2024-02-29", SAME),
    ("STRING", {"validator": r"^student(\d+)?$"}, "student12", "student12", SAME),
    ("STRING", {"validator": "a|ab"}, "ab", "ab", SAME),
    ("INT", {}, "42", 42, SAME),
    ("INT", {}, "-7", -7, SAME),
    ("INT", {}, "+7", 7, SAME),
    ("INT", {}, 42, 42, SAME),
    ("INT", {}, 42.0, 42, SAME),
    ("INT", {}, Decimal(42), 42, SAME),
    ("INT", {}, 2**63 - 1, 2**63 - 1, SAME),
    ("INT", {"min": 18, "max": 64}, "18", 18, SAME),
    ("INT", {"min": 18, "max": 64}, "64", 64, SAME),
    ("INT", {"min": "18"}, 20, 20, SAME),
    ("FLOAT", {}, "1.255", 1.255, SAME),
    ("FLOAT", {}, "100", 100.0, SAME),
    ("FLOAT", {}, "-1e3", -1000.0, SAME),
    ("FLOAT", {}, ".5", 0.5, SAME),
    ("FLOAT", {}, 100, 100.0, SAME),
    ("FLOAT", {}, Decimal("3.2"), 3.2, SAME),
    ("FLOAT", {"min": 0.2, "max": 5.3}, 5.3, 5.3, SAME),
    ("BOOLEAN", {}, "true", True, SAME),
    ("BOOLEAN", {}, "TRUE", True, SAME),
    ("BOOLEAN", {}, False, False, SAME),
    ("BOOL", {}, "True", True, SAME),
    ("BOOL", {}, "off", False, SAME),
    ("DATETIME", {}, "2013-08-09T14:19:00Z", "2013-08-09T14:19:00Z", datetime(2013, 8, 9, 14, 19, tzinfo=UTC)),
    ("DATETIME", {}, "2013-08-09T14:19Z", "2013-08-09T14:19:00Z", datetime(2013, 8, 9, 14, 19, tzinfo=UTC)),
    (
        "DATETIME",
        {},
        "2042-04-02T04:20:42.500Z",
        "2042-04-02T04:20:42.500Z",
        datetime(2042, 4, 2, 4, 20, 42, 500_000, tzinfo=UTC),
    ),
    (
        "DATETIME",
        {},
        "2042-04-02T04:20:42.123456789Z",
        "2042-04-02T04:20:42.123456Z",
        datetime(2042, 4, 2, 4, 20, 42, 123_456, tzinfo=UTC),
    ),
    (
        "DATETIME",
        {},
        "2013-09-08T16:19+02:00[Europe/Paris]",
        "2013-09-08T14:19:00Z",
        datetime(2013, 9, 8, 14, 19, tzinfo=UTC),
    ),
    (
        "DATETIME",
        {},
        datetime(2013, 9, 8, 16, 19, tzinfo=PARIS),
        "2013-09-08T14:19:00Z",
        datetime(2013, 9, 8, 14, 19, tzinfo=UTC),
    ),
    (
        "DATETIME",
        {"after": "2024-04-10T14:19:00Z", "before": datetime(2024, 4, 15, 14, 19)},  # noqa: DTZ001 - a bound as YAML has it
        "2024-04-15T14:19:00Z",
        "2024-04-15T14:19:00Z",
        datetime(2024, 4, 15, 14, 19, tzinfo=UTC),
    ),
    ("DATE", {}, "2042-12-03", "2042-12-03", date(2042, 12, 3)),
    ("DATE", {}, date(2042, 12, 3), "2042-12-03", date(2042, 12, 3)),
    ("DATE", {"after": date(2024, 4, 10), "before": "2024-04-15"}, "2024-04-10", "2024-04-10", date(2024, 4, 10)),
    ("TIME", {}, "10:15:30", "10:15:30", time(10, 15, 30)),
    ("TIME", {}, "10:15", "10:15:00", time(10, 15)),
    ("TIME", {}, "10:15:30.25", "10:15:30.250", time(10, 15, 30, 250_000)),
    ("TIME", {"after": "11:01:01", "before": time(11, 4, 1)}, "11:04:01", "11:04:01", time(11, 4, 1)),
    ("DURATION", {}, "PT5M6S", "PT5M6S", timedelta(minutes=5, seconds=6)),
    ("DURATION", {}, "P1DT2H", "PT26H", timedelta(hours=26)),
    ("DURATION", {}, "PT0.5S", "PT0.5S", timedelta(milliseconds=500)),
    ("DURATION", {}, "-PT5M6S", "PT-5M-6S", -timedelta(minutes=5, seconds=6)),
    ("DURATION", {}, "PT-5M-6S", "PT-5M-6S", -timedelta(minutes=5, seconds=6)),
    ("DURATION", {}, timedelta(hours=1), "PT1H", timedelta(hours=1)),
    (
        "DURATION",
        {"min": "PT5M6S", "max": timedelta(hours=12)},
        "PT12H",
        "PT12H",
        timedelta(hours=12),
    ),
    ("FILE", {}, "kestra:///demo/a.csv", "kestra:///demo/a.csv", SAME),
    ("FILE", {}, "nsfile:///dir/hello.txt", "nsfile:///dir/hello.txt", SAME),
    ("FILE", {}, "nsfile://other.ns/hello.txt", "nsfile://other.ns/hello.txt", SAME),
    ("JSON", {}, '[{"name": "kestra"}]', [{"name": "kestra"}], SAME),
    ("JSON", {}, "5", 5, SAME),
    ("JSON", {}, {"a": (1, 2.5, None, True)}, {"a": [1, 2.5, None, True]}, SAME),
    ("JSON", {}, {"day": date(2024, 1, 2), "at": time(1, 2)}, {"day": "2024-01-02", "at": "01:02:00"}, SAME),
    ("JSON", {"jsonSchema": {"type": "object", "required": ["a"]}}, '{"a": 1}', {"a": 1}, SAME),
    ("YAML", {}, "- user: john\n- on", [{"user": "john"}, "on"], SAME),
    ("YAML", {}, "a: &x [1]\nb: *x", {"a": [1], "b": [1]}, SAME),
    ("YAML", {}, [{"user": "john"}], [{"user": "john"}], SAME),
    ("URI", {}, "https://example.com:8080/data.csv?q=%20#f", "https://example.com:8080/data.csv?q=%20#f", SAME),
    ("URI", {}, "kestra:///demo/a.csv", "kestra:///demo/a.csv", SAME),
    ("URI", {}, "mailto:a@example.com", "mailto:a@example.com", SAME),
    ("URI", {}, "jdbc:postgresql://localhost/db", "jdbc:postgresql://localhost/db", SAME),
    ("ENUM", {"values": ["A", "B"]}, "B", "B", SAME),
    ("SELECT", {"values": ["A", "B"]}, "A", "A", SAME),
    ("SELECT", {"values": ["1", "2"]}, 2, "2", SAME),
    ("SELECT", {"values": ["A"], "allowCustomValue": True}, "other", "other", SAME),
    ("SELECT", {"expression": "{{ ['x', 'y'] }}"}, "y", "y", SAME),
    ("SELECT", {"expression": '["x", "y"]'}, "x", "x", SAME),
    ("SELECT", {"expression": "{{ [1, 2] }}"}, "1", "1", SAME),
    ("MULTISELECT", {"values": ["A", "B", "C"]}, ["A", "C"], ["A", "C"], SAME),
    ("MULTISELECT", {"values": ["A", "B"]}, '["B"]', ["B"], SAME),
    ("MULTISELECT", {"values": ["A"], "allowCustomValue": True}, ["A", "other"], ["A", "other"], SAME),
    ("MULTISELECT", {"values": ["1", "2"], "itemType": "INT"}, ["2"], [2], SAME),
    ("MULTISELECT", {"values": ["A"]}, [], [], SAME),
    ("ARRAY", {"itemType": "INT"}, "[1, 2, 3]", [1, 2, 3], SAME),
    ("ARRAY", {"itemType": "INT"}, ["1", 2], [1, 2], SAME),
    ("ARRAY", {"itemType": "STRING"}, ("a", 1), ["a", "1"], SAME),
    ("ARRAY", {"itemType": "DATE"}, ["2024-01-02"], ["2024-01-02"], [date(2024, 1, 2)]),
    ("ARRAY", {"itemType": "DURATION"}, ["PT1M"], ["PT1M"], [timedelta(minutes=1)]),
    ("ARRAY", {"itemType": "JSON"}, [{"a": 1}, "[2]"], [{"a": 1}, [2]], SAME),
    ("ARRAY", {"itemType": "MULTISELECT"}, [["a"], ["b"]], [["a"], ["b"]], SAME),
    ("EMAIL", {}, "first.last+tag@mail.example.com", "first.last+tag@mail.example.com", SAME),
]


@pytest.mark.parametrize(("kind", "options", "given", "stored", "seen"), TAKEN)
def test_a_value_that_is_taken(kind: str, options: dict[str, Any], given: Any, stored: Any, seen: Any) -> None:
    definitions = (define(kind, **options),)
    kept = read(definitions, {"x": given})
    assert kept == {"x": stored}
    assert type(kept["x"]) is type(stored)
    value = typed(definitions, json.loads(json.dumps(kept)))["x"]
    expected = stored if seen is SAME else seen
    assert value == expected
    assert type(value) is type(expected)


REFUSED: list[tuple[str, dict[str, Any], Any, str, str]] = [
    # type, options, given, reason, received
    ("STRING", {"validator": "a+"}, "aab", "it must match the pattern `a+`", "aab"),
    ("STRING", {"validator": r"^student(\d+)?$"}, "studentabc", r"it must match the pattern `^student(\d+)?$`", "studentabc"),
    ("STRING", {"validator": "a"}, "", "it must match the pattern `a`", ""),
    ("STRING", {"validator": "(?=a)"}, "a", "its pattern `(?=a)` is no valid regular expression", "a"),
    ("STRING", {}, "\ud800", "it must be Unicode text", "?"),
    ("STRING", {}, b"abc", "it must be a text", "abc"),
    ("STRING", {}, Path("/tmp/a.txt"), "only an input of type `FILE` takes a file", "a.txt"),  # noqa: S108 - never opened
    ("INT", {}, "hello", "it must be a whole number", "hello"),
    ("INT", {}, "1.5", "it must be a whole number", "1.5"),
    ("INT", {}, "1_000", "it must be a whole number", "1_000"),
    ("INT", {}, " 5", "it must be a whole number", " 5"),
    ("INT", {}, "٣", "it must be a whole number", "٣"),
    ("INT", {}, "", "it must be a whole number", ""),
    ("INT", {}, True, "it must be a whole number", "true"),
    ("INT", {}, 1.5, "it must be a whole number", "1.5"),
    ("INT", {}, [1], "it must be a whole number", "[1]"),
    ("INT", {}, 2**63, "it must be a whole number of at most 64 bits", "9223372036854775808"),
    ("INT", {}, "9223372036854775808", "it must be a whole number of at most 64 bits", "9223372036854775808"),
    ("INT", {"min": 18, "max": 64}, 17, "it must be at least `18`", "17"),
    ("INT", {"min": 18, "max": 64}, "65", "it must be at most `64`", "65"),
    ("FLOAT", {}, "1,5", "it must be a number", "1,5"),
    ("FLOAT", {}, "NaN", "it must be a number", "NaN"),
    ("FLOAT", {}, "1e999", "it must be a number", "1e999"),
    ("FLOAT", {}, float("inf"), "it must be a number", "Infinity"),
    ("FLOAT", {}, 10**400, "it must be a number", "1" + "0" * 400),
    ("FLOAT", {}, False, "it must be a number", "false"),
    ("FLOAT", {"min": 0.2, "max": 5.3}, "0.1", "it must be at least `0.2`", "0.1"),
    ("FLOAT", {"min": 0.2, "max": 5.3}, 5.4, "it must be at most `5.3`", "5.4"),
    ("BOOLEAN", {}, ["true"], "it must be `true` or `false`", '["true"]'),
    ("BOOL", {}, {"a": 1}, "it must be `true` or `false`", '{"a":1}'),
    *[
        ("DATETIME", {}, given, "it must be a date and time with a zone, such as `2042-04-02T04:20:42.000Z`", shown)
        for given, shown in [
            ("2042-04-02T04:20:42", "2042-04-02T04:20:42"),
            ("2042-04-02", "2042-04-02"),
            ("2042-13-02T04:20:42Z", "2042-13-02T04:20:42Z"),
            ("20420402T042042Z", "20420402T042042Z"),
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
            ("now", "now"),
            (1_700_000_000, "1700000000"),
            (datetime(2024, 1, 2, 3, 4), "2024-01-02T03:04"),  # noqa: DTZ001 - what is refused
            (date(2024, 1, 2), "2024-01-02"),
        ]
    ],
    (
        "DATETIME",
        {"after": "2024-04-10T14:19:00Z"},
        "2024-04-10T14:18:59Z",
        "it must not be before `2024-04-10T14:19:00Z`",
        "2024-04-10T14:18:59Z",
    ),
    (
        "DATETIME",
        {"before": "2024-04-15T14:19:00"},
        "2024-04-15T16:20:00+02:00",
        "it must not be after `2024-04-15T14:19:00Z`",
        "2024-04-15T16:20:00+02:00",
    ),
    ("DATE", {}, "02/03/2024", "it must be a date such as `2042-12-03`", "02/03/2024"),
    ("DATE", {}, "2023-02-29", "it must be a date such as `2042-12-03`", "2023-02-29"),
    ("DATE", {}, "2024-W01-1", "it must be a date such as `2042-12-03`", "2024-W01-1"),
    ("DATE", {}, datetime(2024, 1, 2, tzinfo=UTC), "it must be a date such as `2042-12-03`", "2024-01-02T00:00:00Z"),
    ("DATE", {"after": "2024-04-10"}, "2024-04-09", "it must not be before `2024-04-10`", "2024-04-09"),
    ("DATE", {"before": date(2024, 4, 15)}, "2024-04-16", "it must not be after `2024-04-15`", "2024-04-16"),
    ("TIME", {}, "25:00", "it must be a time such as `10:15:30`", "25:00"),
    ("TIME", {}, "10:15:30Z", "it must be a time such as `10:15:30`", "10:15:30Z"),
    ("TIME", {}, 10, "it must be a time such as `10:15:30`", "10"),
    ("TIME", {"after": "11:01:01"}, "11:01:00", "it must not be before `11:01:01`", "11:01:00"),
    ("TIME", {"before": "11:04:01"}, "11:05", "it must not be after `11:04:01`", "11:05"),
    ("DURATION", {}, "5m", "it must be an ISO-8601 duration such as `PT5M6S`", "5m"),
    ("DURATION", {}, "P1M", "it must be an ISO-8601 duration such as `PT5M6S`", "P1M"),
    ("DURATION", {}, "P9999999999999W", "it must be an ISO-8601 duration such as `PT5M6S`", "P9999999999999W"),
    ("DURATION", {}, 5, "it must be an ISO-8601 duration such as `PT5M6S`", "5"),
    ("DURATION", {"min": "PT5M6S"}, "PT5M5S", "it must be at least `PT5M6S`", "PT5M5S"),
    ("DURATION", {"max": "PT1H"}, "PT61M", "it must be at most `PT1H`", "PT61M"),
    *[
        ("FILE", {}, given, "it must be an uploaded file, or a URI that begins with `kestra:///` or `nsfile:///`", given)
        for given in ("a.csv", "file:///etc/passwd", "https://example.com/a.csv", "kestra://host/a", "nsfile://UP/a", "")
    ],
    *[
        ("FILE", {}, given, "its path must not be empty or hold `..`, `.`, `//` or `\\`", given)
        for given in ("kestra:///", "kestra:///a/../b", "nsfile:///..", "kestra:///a//b", "kestra:///a\\b", "nsfile:///./a")
    ],
    ("FILE", {}, Path("nowhere/a.csv"), "there is no such file", "a.csv"),
    ("JSON", {}, "{'a': 1}", "it must be JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))", "{'a': 1}"),
    ("JSON", {}, "", "it must be JSON (Expecting value: line 1 column 1 (char 0))", ""),
    ("JSON", {}, "[NaN]", "it must be JSON (NaN is no JSON)", "[NaN]"),
    ("JSON", {}, "1e999", "a number in it is not finite", "1e999"),
    ("JSON", {}, '"\\ud800"', "it must be Unicode text", '"\\ud800"'),
    ("JSON", {}, {"a": float("nan")}, "a number in it is not finite", '{"a":"NaN"}'),
    ("JSON", {}, {"a": {1, 2} - {2}, (1, 2): 3}, "the keys of a map must be texts", "dict"),
    ("JSON", {}, {"a": object()}, "it must be JSON data", "dict"),
    ("JSON", {"jsonSchema": {"required": ["b"]}}, '{"a":1}', "it must satisfy its JSON Schema (the value must have `b`)", '{"a":1}'),
    ("YAML", {}, "a: 1\na: 2", "it must be YAML (line 2, column 1: The key `a` is here a second time; it is already on line 1, column 1)", "a: 1\na: 2"),
    ("YAML", {}, "a\n---\nb", "it must be one YAML document", "a\n---\nb"),
    ("YAML", {}, "a: .nan", "a number in it is not finite", "a: .nan"),
    *[
        ("URI", {}, given, "it must be a URI such as `https://example.com/data.csv`", given)
        for given in (
            "hello",
            "/tmp/a",  # noqa: S108 - never opened
            "https://example.com/a b",
            "https:///path",
            "http:/bla",
            "https://example.com:port/",
            "https://example.com/%zz",
            "C:\\a",
            "https://[::1/",
            "",
        )
    ],
    ("ENUM", {"values": ["A", "B"]}, "C", "it must be one of `A`, `B`", "C"),
    ("SELECT", {"values": ["A", "B"]}, "a", "it must be one of `A`, `B`", "a"),
    ("SELECT", {"values": ["A", "B"]}, ["A"], "it must be a text", '["A"]'),
    ("SELECT", {"expression": "{{ [] }}"}, "A", "there is nothing to choose from", "A"),
    ("SELECT", {"expression": "{{ 'no list' }}"}, "A", "its expression does not give a list", "A"),
    (
        "SELECT",
        {"expression": "{{ nothing }}"},
        "A",
        "its expression cannot be rendered (Unable to find `nothing` used in the expression `{{ nothing }}` at line 1)",
        "A",
    ),
    ("MULTISELECT", {"values": ["A", "B"]}, ["A", "C"], "item 2: it must be one of `A`, `B`", "C"),
    ("MULTISELECT", {"values": ["A", "B"]}, "A", 'it must be a list such as `["a", "b"]`', "A"),
    ("MULTISELECT", {"values": ["A", "B"]}, {"A": 1}, 'it must be a list such as `["a", "b"]`', '{"A":1}'),
    ("ARRAY", {"itemType": "INT"}, "1, 2", 'it must be a list such as `["a", "b"]`', "1, 2"),
    ("ARRAY", {"itemType": "INT"}, "[1, \"x\"]", "item 2: it must be a whole number", "x"),
    ("ARRAY", {"itemType": "INT"}, [1, None], "item 2: it must not be null", "null"),
    ("ARRAY", {"itemType": "MULTISELECT"}, [["a"], "b"], 'item 2: it must be a list such as `["a", "b"]`', "b"),
    ("ARRAY", {"itemType": "MULTISELECT"}, [["a", None]], "item 1, item 2: it must not be null", "null"),
    *[
        ("EMAIL", {}, given, "it must be an e-mail address", given)
        for given in ("a", "a@b", "@example.com", "a b@example.com", "a@-x.com", "a@example..com", "a@example.com ", "a@b@c.com", "")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "given", "reason", "received"), REFUSED)
def test_a_value_that_is_refused(kind: str, options: Mapping[str, Any], given: Any, reason: str, received: str) -> None:
    assert (
        refusal((define(kind, **options),), {"x": given})
        == f"Invalid input for `x`, {reason}, but received `{received}`"
    )


# -- SECRET


def test_a_secret_is_stored_sealed_and_opened_only_when_asked_for() -> None:
    definitions = (define("SECRET", "token"), define("STRING", "name"))
    stored = read(definitions, {"token": "s3cr3t", "name": "x"})
    assert stored["token"]["type"] == ENCRYPTED
    assert "s3cr3t" not in json.dumps(stored)
    broken = {**stored, "token": {"type": ENCRYPTED, "value": "bm90IHNlYWxlZA=="}}
    assert typed(definitions, broken)["name"] == "x"
    assert typed(definitions, stored)["token"] == "s3cr3t"
    assert "s3cr3t" not in repr(typed(definitions, stored))


def test_secrets_in_an_array_are_sealed_one_by_one() -> None:
    definitions = (define("ARRAY", itemType="SECRET"),)
    stored = read(definitions, {"x": ["one", "two"]})
    assert [item["type"] for item in stored["x"]] == [ENCRYPTED, ENCRYPTED]
    assert typed(definitions, stored)["x"] == ["one", "two"]


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        ({"validator": "[a-z]+"}, "s3cr3t", "it must match the pattern `[a-z]+`"),
        ({}, ["s3cr3t"], "it must be a text"),
        ({}, {"type": ENCRYPTED, "value": "somebody else's"}, "it must be a text"),
    ],
)
def test_a_secret_is_masked_in_messages(options: dict[str, Any], given: Any, reason: str) -> None:
    message = refusal((define("SECRET", "token", **options),), {"token": given})
    assert message == f"Invalid input for `token`, {reason}, but received `********`"


def test_a_secret_in_an_array_is_masked_in_messages() -> None:
    message = refusal((define("ARRAY", itemType="SECRET"),), {"x": ["a", ["s3cr3t"]]})
    assert message == "Invalid input for `x`, item 2: it must be a text, but received `********`"


def test_a_secret_without_an_encryption_key_is_refused() -> None:
    definitions = (define("SECRET", "token", required=False),)
    assert read(definitions, {}, key=False) == {"token": None}
    with pytest.raises(InputError) as refused:
        read(definitions, {"token": "s3cr3t"}, key=False)
    assert str(refused.value) == (
        "Invalid input for `token`, a SECRET needs an encryption key: set `encryption.secretKey` (environment: "
        "HEADRACE_ENCRYPTION_SECRET_KEY), but received `********`"
    )


@pytest.mark.parametrize("kind", ["JSON", "YAML"])
@pytest.mark.parametrize("wrapper", [ENCRYPTED, "io.headrace.sealed"])
def test_nobody_can_pass_a_sealed_value_off_as_their_own(kind: str, wrapper: str) -> None:
    """The worker opens every sealed value it finds, so a stolen one must not get in as data."""
    text = json.dumps({"a": [{"type": wrapper, "value": "stolen"}]})
    for given in (text, json.loads(text)):
        assert ", an encrypted value cannot be given, but received `" in refusal((define(kind),), {"x": given})


# -- FILE


def test_an_uploaded_file_is_stored_under_its_name(tmp_path: Path) -> None:
    upload = tmp_path / "data.csv"
    upload.write_bytes(b"a,b\n")
    store = Store()
    stored = read((define("FILE"),), {"x": upload}, store=store)
    assert stored == {"x": "kestra:///demo/flow/executions/1/inputs/x/data.csv"}
    assert store.files == {stored["x"]: b"a,b\n"}


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("upload", {}, "upload.upl"),
        ("upload", {"extension": ".csv"}, "upload.csv"),
        ("upload", {"extension": "csv"}, "upload.csv"),
        ("upload.txt", {"extension": ".csv"}, "upload.txt"),
        ("a\\b\n.csv", {}, "a_b_.csv"),
        ("A.CSV", {"allowedFileExtensions": [".csv", "txt"]}, "A.CSV"),
        ("a.txt", {"allowedFileExtensions": [".csv", "txt"]}, "a.txt"),
    ],
)
def test_the_name_of_a_stored_file(tmp_path: Path, name: str, options: dict[str, Any], kept: str) -> None:
    upload = tmp_path / name
    upload.touch()
    assert read((define("FILE", **options),), {"x": upload})["x"].endswith(f"/x/{kept}")


@pytest.mark.parametrize("name", ["a.pdf", "csv", "a.csv.pdf"])
def test_an_uploaded_file_with_another_extension_is_refused(tmp_path: Path, name: str) -> None:
    upload = tmp_path / name
    upload.touch()
    message = refusal((define("FILE", allowedFileExtensions=[".csv", "txt"]),), {"x": upload})
    assert message == (
        f"Invalid input for `x`, it must be a file with one of the extensions `.csv`, `.txt`, but received `{name}`"
    )


def test_several_files_of_one_array_have_names_of_their_own(tmp_path: Path) -> None:
    uploads = [tmp_path / folder / "a.csv" for folder in "123"]
    for number, upload in enumerate(uploads):
        upload.parent.mkdir()
        upload.write_text(str(number))
    store = Store()
    stored = read((define("ARRAY", itemType="FILE"),), {"x": uploads}, store=store)
    assert [uri.rsplit("/", 1)[1] for uri in stored["x"]] == ["a.csv", "2-a.csv", "3-a.csv"]
    assert [store.files[uri] for uri in stored["x"]] == [b"0", b"1", b"2"]


def test_no_file_is_stored_when_another_input_is_refused(tmp_path: Path) -> None:
    upload = tmp_path / "data.csv"
    upload.touch()
    store = Store()
    with pytest.raises(InputError):
        read(
            (define("FILE", "a"), define("INT", "b"), define("FILE", "c")),
            {"a": upload, "b": "x", "c": upload},
            store=store,
        )
    assert store.files == {}


# -- limits


def test_a_long_value_is_cut_in_the_message() -> None:
    assert refusal((define("INT"),), {"x": "a" * 5000}).endswith(f"but received `{'a' * 1000}…`")


def test_json_nested_too_deeply_is_refused() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    nested: Any = None
    for _ in range(150):
        nested = [nested]
    for given in (deep, nested):
        assert ", lists and maps must not be nested more than 100 deep, but received" in refusal(
            (define("JSON"),), {"x": given}
        )


def test_a_yaml_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert ", it must be YAML (" in refusal((define("YAML"),), {"x": "\n".join(lines)})


def test_a_pattern_that_would_hang_a_backtracking_engine_does_not() -> None:
    definitions = (define("STRING", validator="(a+)+"),)
    assert "it must match the pattern `(a+)+`" in refusal(definitions, {"x": "a" * 5000 + "!"})
