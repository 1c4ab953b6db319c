"""Results as JUnit XML, as CI servers read it.

Both schemas that are about (Ant's and Jenkins') take it: counts and times stand on `testsuite`, each case has one
verdict, and what they call a class is the flow.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from headrace_engine.testing.flow_tests.results import CaseResult, ResultState, SuiteResult

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[SuiteResult], hostname: str | None = None) -> str:
    """Return the document: a `testsuite` for each suite."""
    root = ET.Element("testsuites")
    for number, result in enumerate(results):
        root.append(_suite(result, number, hostname or socket.gethostname()))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(result: SuiteResult, number: int, hostname: str) -> ET.Element:
    counts = {state: str(result.count(state)) for state in ResultState}
    element = ET.Element(
        "testsuite",
        {
            "id": str(number),
            "name": _clean(result.id),
            "package": result.namespace,
            "timestamp": result.started.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": hostname,
            "tests": str(len(result.cases)),
            "failures": counts[ResultState.FAILED],
            "errors": counts[ResultState.ERROR],
            "skipped": counts[ResultState.SKIPPED],
            "time": f"{result.seconds:.3f}",
        },
    )
    properties = ET.SubElement(element, "properties")
    for name, value in (("file", result.file), ("flow", f"{result.namespace}.{result.flow_id}")):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for case in result.cases:
        element.append(_case(result, case))
    ET.SubElement(element, "system-out").text = _clean(
        "".join(
            f"{case.id}: {line.timestamp.isoformat()} {line.level.value} {line.task_id or '-'}: {line.message}\n"
            for case in result.cases
            for line in case.logs
        )
    )
    ET.SubElement(element, "system-err")
    return element


def _case(result: SuiteResult, case: CaseResult) -> ET.Element:
    element = ET.Element(
        "testcase",
        {
            "name": _clean(case.id),
            "classname": f"{result.namespace}.{_clean(result.id)}",
            "time": f"{case.seconds:.3f}",
        },
    )
    if case.state is ResultState.SKIPPED:
        ET.SubElement(element, "skipped")
    elif case.state is not ResultState.SUCCESS:
        tag, kind = ("error", "ERROR") if case.state is ResultState.ERROR else ("failure", "FAILED")
        verdict = ET.SubElement(element, tag, {"message": _clean(_headline(case)), "type": kind})
        verdict.text = _clean("\n".join(case.lines(result.file)))
    return element


def _headline(case: CaseResult) -> str:
    """Return the verdict in one line: the first thing that is wrong, and how many more there are."""
    wrong = [result for result in case.assertions if not result.is_success]
    told = [error.splitlines()[-1] for error in case.errors if error]
    for result in wrong:
        rows = [row.strip() for row in result.lines("")][1:]
        told.append(result.error_message or "; ".join(rows))
    first, more = (told or [case.state.value])[0], len(told) - 1
    return f"{first} (and {more} more)" if more > 0 else first


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
