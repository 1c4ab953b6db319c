"""The JUnit XML is what both schemas that are about ask for."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

from headrace_engine.testing.flow_tests import junit_xml

FLOW = 'tasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: "<said> \\u0007"}]\n'
CASES = """\
- {id: passes, assertions: [{value: a, equalTo: a}]}
- {id: fails, assertions: [{value: a, equalTo: b, errorMessage: "not <b> & c"}, {value: a, equalTo: "c\\u0001"}]}
- {id: breaks, assertions: [{value: "{{ missing }}", equalTo: b}]}
- {id: off, disabled: true}
"""

# What Ant's JUnit.xsd requires of each element: attributes, and children in their order.
REQUIRED = {
    "testsuites": set(),
    "testsuite": {"id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors", "time"},
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type"},
    "error": {"type"},
}
ALLOWED = {"testsuite": {"skipped"}, "failure": {"message"}, "error": {"message"}}
ORDER = ["properties", "testcase", "system-out", "system-err"]


def test_the_document_is_as_the_schema_says(run: Any) -> None:
    root = ET.fromstring(junit_xml([run(FLOW, CASES)] * 2, hostname="here"))
    assert root.tag == "testsuites"
    assert [suite.get("id") for suite in root] == ["0", "1"]
    for element in root.iter():
        required = REQUIRED.get(element.tag, set())
        assert required <= set(element.attrib) <= required | ALLOWED.get(element.tag, set())
    for suite in root:
        tags = [child.tag for child in suite]
        assert tags == sorted(tags, key=ORDER.index)
        assert {tags.count(tag) for tag in ("properties", "system-out", "system-err")} == {1}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        for case in suite.iter("testcase"):
            assert len(case) <= 1
            assert float(case.get("time", "")) >= 0


def test_counts_verdicts_and_messages_are_there(run: Any) -> None:
    result = run(FLOW, CASES)
    suite = ET.fromstring(junit_xml([result], hostname="here"))[0]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "name", "package")}
    assert counts == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "name": "tests-of-x",
        "package": "demo",
    }
    passes, fails, breaks, off = suite.findall("testcase")
    assert list(passes) == []
    assert fails[0].tag == "failure"
    assert fails[0].get("message") == "not <b> & c (and 1 more)"
    assert (fails[0].text or "").splitlines() == [
        f"{result.file}:6: assertion",
        "  value:    a",
        '  expected: equalTo "b"',
        '  actual:   "a"',
        "  not <b> & c",
        f"{result.file}:6: assertion",
        "  value:    a",
        '  expected: equalTo "c\\u0001"',
        '  actual:   "a"',
    ]
    assert breaks[0].tag == "error"
    assert "Unable to find `missing`" in (breaks[0].get("message") or "")
    assert [child.tag for child in off] == ["skipped"]
    out = suite.findtext("system-out") or ""
    assert "passes: " in out
    assert "INFO a: <said> \ufffd" in out
