"""Forms: every type of input, what was typed is kept, what is wrong stands beside its field; all without JavaScript."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace_engine.sealing import open_sealed
from pages.browser import Browser

EVERY = """
id: every
namespace: demo
inputs:
  - {id: text, type: STRING, validator: "[a-z]+"}
  - {id: secret, type: SECRET, required: false}
  - {id: whole, type: INT, min: 1, max: 10, defaults: 3}
  - {id: real, type: FLOAT, required: false}
  - {id: truth, type: BOOLEAN, required: false}
  - {id: tick, type: BOOL, defaults: true}
  - {id: at, type: DATETIME, defaults: "2026-01-02T03:04:05Z"}
  - {id: day, type: DATE, required: false}
  - {id: clock, type: TIME, required: false}
  - {id: length, type: DURATION, required: false}
  - {id: file, type: FILE, required: false, allowedFileExtensions: [.csv]}
  - {id: json, type: JSON, defaults: {a: 1}}
  - {id: yaml, type: YAML, required: false}
  - {id: link, type: URI, required: false}
  - {id: mail, type: EMAIL, required: false}
  - {id: one, type: SELECT, values: [x, y], defaults: y}
  - {id: other, type: SELECT, values: [x, y], allowCustomValue: true, required: false}
  - {id: enum, type: ENUM, values: [p, q], required: false}
  - {id: several, type: MULTISELECT, values: [a, b, c], defaults: [b]}
  - {id: free, type: MULTISELECT, values: [a], allowCustomValue: true, required: false}
  - {id: numbers, type: ARRAY, itemType: INT, required: false}
  - {id: files, type: ARRAY, itemType: FILE, required: false}
  - {id: nested.part, type: STRING, required: false}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: hello}
"""
FORM = "/forms/demo/every"
FILLED = {
    "in.text": "abc",
    "in.secret": "hush",
    "in.whole": "7",
    "in.real": "2.5",
    "in.truth": "false",
    "in.tick": [],
    "in.at": "2026-03-04T05:06",
    "in.day": "2026-07-08",
    "in.clock": "09:10:11",
    "in.length": "PT5M",
    "in.json": "[1, 2]",
    "in.yaml": "a: {b: 1}",
    "in.link": "https://example.com/x",
    "in.mail": "ann@example.com",
    "in.one": "x",
    "in.other": "another",
    "in.enum": "q",
    "in.several": ["a", "c"],
    "in.free": ["a"],
    "other.free": "more\nmost",
    "in.numbers": "1\n2",
    "in.nested.part": " as it is ",
}


@pytest.fixture
def every(visitor: Browser) -> Browser:
    visitor.save(EVERY)
    return visitor


def log_flow(inputs: str, more: str = "") -> str:
    return f"""
id: flow
namespace: demo
inputs:
{inputs}
{more}
tasks:
  - {{id: log, type: io.kestra.plugin.core.log.Log, message: hello}}
"""


def test_an_empty_form_shows_defaults_and_no_errors(every: Browser) -> None:
    page = every.get(FORM)
    assert page.status == 200
    shown = {name: page.value(f"in.{name}") for name in ("text", "whole", "at", "one", "several", "tick")}
    assert shown == {
        "text": "",
        "whole": "3",
        "at": "2026-01-02T03:04:05",
        "one": "y",
        "several": "b",
        "tick": "true",
    }
    assert page.value("in.json") == '{\n  "a": 1\n}'
    assert not [each for each in page.elements if "aria-invalid" in each[1]]


def test_every_type_of_input_is_taken(every: Browser) -> None:
    form = every.get(FORM).form(FORM)
    files = {"in.file": ("rows.csv", b"a,b\n"), "in.files": ("one.bin", b"\x00\xff")}
    execution = every.execution(every.send_form(form, FILLED, files=files))
    inputs = execution["inputs"]
    assert execution["state"]["current"] == "SUCCESS"
    stored = every.stores.storage
    with stored.open(inputs.pop("file")) as content:
        assert content.read() == b"a,b\n"
    (uri,) = inputs.pop("files")
    with stored.open(uri) as content:
        assert content.read() == b"\x00\xff"
    assert inputs.pop("secret")["type"] == "io.kestra.datatype:aes_encrypted"
    assert inputs == {
        "text": "abc",
        "whole": 7,
        "real": 2.5,
        "truth": False,
        "tick": False,
        "at": "2026-03-04T05:06:00Z",
        "day": "2026-07-08",
        "clock": "09:10:11",
        "length": "PT5M",
        "json": [1, 2],
        "yaml": {"a": {"b": 1}},
        "link": "https://example.com/x",
        "mail": "ann@example.com",
        "one": "x",
        "other": "another",
        "enum": "q",
        "several": ["a", "c"],
        "free": ["a", "more", "most"],
        "numbers": [1, 2],
        "nested.part": " as it is ",
    }


def test_what_is_left_empty_is_not_given(every: Browser) -> None:
    execution = every.execution(every.send_form(every.get(FORM).form(FORM), {"in.text": "abc"}))
    given = {name: value for name, value in execution["inputs"].items() if value is not None}
    assert given == {
        "text": "abc",
        "whole": 3,
        "tick": True,
        "at": "2026-01-02T03:04:05Z",
        "json": {"a": 1},
        "one": "y",
        "several": ["b"],
        "free": [],
    }


@pytest.mark.parametrize(
    ("name", "typed", "error"),
    [
        ("text", "ABC", "It must match the pattern `[a-z]+`."),
        ("text", "", "It is required."),
        ("whole", "11", "It must be at most `10`."),
        ("whole", "x", "It must be a whole number."),
        ("real", "x", "It must be a number."),
        ("at", "tomorrow", "It must be a date and time with a zone, such as `2042-04-02T04:20:42.000Z`."),
        ("day", "2026-13-01", "It must be a date such as `2042-12-03`."),
        ("clock", "25:00", "It must be a time such as `10:15:30`."),
        ("length", "5 minutes", "It must be an ISO-8601 duration such as `PT5M6S`."),
        ("json", "{", "It must be JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))."),
        ("link", "no uri", "It must be a URI such as `https://example.com/data.csv`."),
        ("mail", "nobody", "It must be an e-mail address."),
        ("one", "z", "It must be one of `x`, `y`."),
        ("several", "z", "Item 1: it must be one of `a`, `b`, `c`."),
        ("numbers", "1\ntwo", "Item 2: it must be a whole number."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    every: Browser, name: str, typed: str, error: str
) -> None:
    before = {"in.text": "abc", "in.mail": "ann@example.com", "in.several": ["a", "c"], "in.tick": []}
    page = every.send_form(every.get(FORM).form(FORM), before | {f"in.{name}": typed})
    assert page.status == 422
    control = page.by_id(f"field-{name}")
    assert control["aria-invalid"] == "true"
    assert f"field-{name}-error" in control["aria-describedby"].split()
    assert error in page.words, page.words
    if name not in ("one", "several"):  # what is no choice cannot be chosen
        assert page.value(f"in.{name}") == typed
    kept = [(key, value) for key, value in page.form(FORM).fields if key in before]
    expected = [("in.text", "abc"), ("in.mail", "ann@example.com"), ("in.several", "a"), ("in.several", "c")]
    assert [pair for pair in kept if pair[0] != f"in.{name}"] == [pair for pair in expected if pair[0] != f"in.{name}"]
    assert not every.runtime.world.letters, "nothing begins"
    # Put right, it goes.
    again = every.send_form(page.form(FORM), {f"in.{name}": FILLED[f"in.{name}"]})
    assert every.execution(again)["state"]["current"] == "SUCCESS"


def test_a_file_of_another_kind_is_refused(every: Browser) -> None:
    page = every.send_form(every.get(FORM).form(FORM), {"in.text": "abc"}, files={"in.file": ("a.exe", b"x")})
    assert page.status == 422
    assert "It must be a file with one of the extensions `.csv`." in page.words
    assert "Choose the file again." in page.words


def test_a_secret_is_never_in_a_page(every: Browser) -> None:
    page = every.send_form(every.get(FORM).form(FORM), {"in.text": "ABC", "in.secret": "hush-hush"})
    assert page.status == 422
    assert "hush-hush" not in page.text
    assert page.value("in.secret") == ""
    assert "Type it again" in page.words
    sent = every.send_form(page.form(FORM), {"in.text": "abc", "in.secret": "hush-hush"})
    execution = every.execution(sent)
    page = every.get(f"/executions/{execution['id']}")
    assert "hush-hush" not in page.text
    assert "aes_encrypted" not in page.text
    assert execution["inputs"]["secret"]["value"] not in page.text


def test_a_default_that_holds_a_secret_is_used_and_not_shown(visitor: Browser) -> None:
    visitor.save(
        log_flow("""  - {id: password, type: STRING, defaults: "{{ secret('TOKEN') }}"}
  - {id: choice, type: SELECT, expression: "{{ ['a', secret('TOKEN')] }}", required: false}""")
    )
    page = visitor.get("/forms/demo/flow")
    assert "s3cr3t" not in page.text
    assert "Its default holds a secret" in page.words
    assert page.value("in.password") == ""
    execution = visitor.execution(visitor.send_form(page.form("/forms/demo/flow")))
    assert "s3cr3t-text" not in str(execution["inputs"])
    assert open_sealed(execution["inputs"], visitor.stores.cipher)[0]["password"] == "s3cr3t-text"


def test_what_was_emptied_by_hand_is_empty(visitor: Browser) -> None:
    visitor.save(log_flow("  - {id: text, type: STRING, defaults: something, required: false}"))
    form = visitor.get("/forms/demo/flow").form("/forms/demo/flow")
    assert visitor.execution(visitor.send_form(form, {"in.text": ""}))["inputs"] == {"text": ""}


def test_what_a_flow_proposes_stands_in_the_form(visitor: Browser) -> None:
    visitor.save(log_flow("  - {id: text, type: STRING, prefill: something, required: false}"))
    page = visitor.get("/forms/demo/flow")
    assert page.value("in.text") == "something"


DEPENDING = log_flow("""  - {id: cloud, type: SELECT, values: [aws, other]}
  - {id: region, type: SELECT, expression: "{{ inputs.cloud == 'aws' ? ['eu', 'us'] : [] }}", dependsOn: {inputs: [cloud], condition: "{{ inputs.cloud == 'aws' }}"}}
  - {id: name, type: STRING, dependsOn: {inputs: [cloud], condition: "{{ inputs.cloud == 'other' }}"}}
  - {id: note, type: STRING, required: false}""")


def shown(page: Any) -> list[str]:
    return [value for form in page.forms for name, value in form.fields if name == "shown"]


def test_fields_come_and_go_with_what_they_depend_on(visitor: Browser) -> None:
    visitor.save(DEPENDING)
    page = visitor.get("/forms/demo/flow")
    assert shown(page) == ["cloud", "note"]
    page = visitor.press(page, "Update the form", {"in.cloud": "aws", "in.note": "kept"})
    assert page.status == 200
    assert shown(page) == ["cloud", "region", "note"]
    assert [each["value"] for each in page.all("option")] == ["", "aws", "other", "", "eu", "us"]
    assert page.value("in.note") == "kept"
    assert "It is required" not in page.words, "nobody has had the time to fill it in"
    page = visitor.press(page, "Update the form", {"in.cloud": "other"})
    assert shown(page) == ["cloud", "name", "note"]
    assert not visitor.runtime.world.letters
    execution = visitor.execution(visitor.press(page, "Execute", {"in.name": "mine"}))
    assert execution["inputs"] == {"cloud": "other", "name": "mine", "note": "kept"}


def test_nothing_begins_with_what_nobody_has_seen(visitor: Browser) -> None:
    visitor.save(
        log_flow("""  - {id: cloud, type: SELECT, values: [aws, other]}
  - {id: size, type: INT, defaults: 100, dependsOn: {inputs: [cloud]}}""")
    )
    page = visitor.press(visitor.get("/forms/demo/flow"), "Execute", {"in.cloud": "aws"})
    assert page.status == 422
    assert "asks for more" in page.words
    assert page.value("in.size") == "100"
    assert not visitor.runtime.world.letters
    assert visitor.execution(visitor.press(page, "Execute"))["inputs"] == {"cloud": "aws", "size": 100}


def test_what_a_check_of_the_flow_says_is_told(visitor: Browser) -> None:
    checks = """checks:
  - {condition: "{{ inputs.number < 5 }}", message: "Too <many>", behavior: BLOCK_EXECUTION}"""
    visitor.save(log_flow("  - {id: number, type: INT}", checks))
    page = visitor.press(visitor.get("/forms/demo/flow"), "Execute", {"in.number": "9"})
    assert page.status == 422
    assert "Too <many>" in page.words
    assert page.value("in.number") == "9"
    assert visitor.execution(visitor.press(page, "Execute", {"in.number": "1"}))["inputs"] == {"number": 1}


def test_a_disabled_flow_says_so(visitor: Browser) -> None:
    visitor.save(log_flow("  - {id: number, type: INT}", "disabled: true"))
    page = visitor.get("/forms/demo/flow")
    assert "Cannot execute a disabled flow" in page.words
    assert visitor.press(page, "Execute", {"in.number": "9"}).status == 422
    assert not visitor.runtime.world.letters


def test_a_flow_without_inputs_has_a_form_too(visitor: Browser) -> None:
    visitor.save("id: flow\nnamespace: demo\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: a}]")
    page = visitor.get("/forms/demo/flow")
    assert "no inputs" in page.words
    assert visitor.execution(visitor.press(page, "Execute"))["state"]["current"] == "SUCCESS"


def test_who_begins_it_is_recorded(every: Browser) -> None:
    every.become("editor@demo")
    page = every.send_form(every.get(FORM).form(FORM), {"in.text": "abc"})
    execution = every.execution(page) if page.status == 200 else None
    assert execution is not None
    records = every.records("POST /forms/{namespace}/{flow_id}")
    assert [(each.who, each.namespace, each.target) for each in records] == [("somebody", "demo", "/forms/demo/every")]
    assert records[0].notes == (f"execution {execution['id']}",)


def test_there_is_no_form_of_no_flow(visitor: Browser) -> None:
    page = visitor.get("/forms/demo/nothing")
    assert page.status == 404
    assert page.words.startswith("Not found")


def test_a_form_with_files_says_how_much_it_takes_and_where_more_goes(every: Browser) -> None:
    every.become("editor@demo")
    page = every.get(FORM)
    form = next(each for each in page.all("form") if each["action"] == FORM)
    assert form["data-uploads"] == "/api/v1/main/executions/demo/every/uploads"
    assert form["data-largest"] == "4000000"
    assert "All files together may have 4 MB." in page.words
    assert "connect-src 'self';" in page.headers["content-security-policy"], "here files go to this site"


def test_a_form_takes_what_went_ahead_of_it(every: Browser) -> None:
    def ahead(name: str, content: bytes) -> str:
        wish = json.dumps({"name": name, "size": len(content)}).encode()
        asked = every.ask("POST", "/api/v1/main/executions/demo/every/uploads", wish, "application/json")
        place = json.loads(asked[2])
        assert every.ask("PUT", place["url"], content)[0] == 200
        return str(place["uri"])

    every.become("editor@demo")
    given = {
        "in.text": "ABC",
        "other.file": ahead("a.csv", b"1"),
        "other.files": f"{ahead('b', b'2')}\n{ahead('b', b'3')}",
    }
    wrong = every.send_form(every.get(FORM).form(FORM), given)
    assert wrong.status == 422
    assert wrong.value("other.file") == given["other.file"], "it need not be sent again"
    execution = every.execution(every.send_form(wrong.form(FORM), {"in.text": "abc"}))
    contents = [
        every.stores.storage.open(uri).read() for uri in (execution["inputs"]["file"], *execution["inputs"]["files"])
    ]
    assert contents == [b"1", b"2", b"3"]
    assert "no such upload" in every.send_form(wrong.form(FORM), {"in.text": "abc"}).text


def test_who_has_only_a_link_asks_its_own_page_where_a_file_goes(visitor: Browser) -> None:
    visitor.save(
        """
id: asks
namespace: demo
tasks:
  - {id: send, type: io.kestra.plugin.core.debug.Return, format: "{{ resumeUrl() }}"}
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: proof, type: FILE}]}
"""
    )
    execution_id = visitor.start("demo", "asks")
    runs = {run.task_id: run for run in visitor.runtime.state(execution_id).task_runs.values()}
    link = visitor.engine.payloads.load(runs["send"].outputs)["value"].partition("/approve/")[2]
    for target, uploads in (
        (f"/approve/{link}", f"/approve/{link}/uploads"),
        (f"/executions/{execution_id}/resume/{runs['wait'].id}", "/api/v1/main/executions/demo/asks/uploads"),
    ):
        page = visitor.get(target)
        form = next(each for each in page.all("form") if each["action"] == target)
        assert form["data-uploads"] == uploads
        assert "All files together may have 4 MB." in page.words
