"""What is told at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from headrace_cli.report import outputs, report, shown
from headrace_cli.styled import texts
from headrace_cli.symbols import UNICODE
from headrace_engine.ports import LogLine
from unit.cli.views import at, ended, execution, run, said


def told(view: dict[str, Any], logs: Sequence[LogLine] = ()) -> list[str]:
    return texts(report(view, logs, UNICODE, at(99_000)))


def test_success_is_one_line() -> None:
    assert told(execution(*ended("SUCCESS", 0, 1250))) == ["✔ SUCCESS  demo.hello in 1.2s  3kXbT0aQ9mZ1cV7nR5sYwE"]


def test_a_failure_is_told_with_its_error_and_the_last_errors_of_its_log() -> None:
    view = execution(
        *ended("FAILED", 0, 3000),
        runs=[
            run("fine", *ended("SUCCESS", 0, 10)),
            run("each", *ended("FAILED", 10, 2900)),
            run(
                "load",
                *ended("FAILED", 10, 2900),
                parent="each",
                value="b",
                iteration=1,
                attempts=3,
                error="It is full",
            ),
        ],
    )
    logs = [
        said("Not this one", 5, "fine", "ERROR"),
        said("Nor this", 20, "load", "WARN"),
        said("Traceback\n  line 1", 30, "load", "ERROR"),
    ]
    assert told(view, logs) == [
        "✘ FAILED  demo.hello in 3.0s  3kXbT0aQ9mZ1cV7nR5sYwE",
        "",
        "✘ load[b]  FAILED (2.8s, 3 attempts)",
        "  Traceback",
        "    line 1",
        "  It is full",
    ]


def test_an_error_that_is_in_the_log_already_is_told_once() -> None:
    view = execution(*ended("FAILED", 0, 10), runs=[run("a", *ended("FAILED", 0, 9), error="No")])
    assert told(view, [said("No", 9, "a", "ERROR")])[2:] == ["✘ a  FAILED (9ms)", "  No"]


def test_of_many_errors_the_last_are_told_and_of_many_failures_the_first() -> None:
    runs = [run(f"t{number}", *ended("FAILED", 0, 9)) for number in range(13)]
    logs = [said(f"row {number}", number, "t0", "ERROR") for number in range(15)]
    rows = told(execution(*ended("FAILED", 0, 10), runs=runs), logs)
    assert rows[3:5] == ["  row 5", "  row 6"]
    assert rows[-1] == "… and 3 more failed task runs"


def test_of_a_long_error_the_first_row_and_the_last_are_told() -> None:
    runs = [run("ask", *ended("FAILED", 0, 9))]
    body = "\n".join(f"  <p>{number}</p>" for number in range(30))
    logs = [said("Once", 1, "ask", "ERROR"), said(f"It answered 503:\n{body}", 2, "ask", "ERROR")]
    rows = told(execution(*ended("FAILED", 0, 10), runs=runs), logs)[3:]
    assert rows[:3] == ["  It answered 503:", "  …", "    <p>22</p>"]
    assert rows[-1] == "    <p>29</p>"
    assert len(rows) == 10


def test_a_warning_names_what_was_allowed_to_fail() -> None:
    view = execution(*ended("WARNING", 0, 10), runs=[run("optional", *ended("WARNING", 0, 9), error="Task failure")])
    assert told(view)[2:] == ["▲ optional  WARNING (9ms)", "  Task failure"]


@pytest.mark.parametrize("end", ["SUCCESS", "KILLED"])
def test_task_runs_that_were_meant_to_end_so_are_not_told_as_failures(end: str) -> None:
    view = execution(*ended(end, 0, 10), runs=[run("a", *ended("KILLED", 0, 9), error="The attempt was stopped")])
    assert len(told(view)) == 1


def test_an_error_of_the_execution_itself_is_told() -> None:
    view = execution(*ended("FAILED", 0, 10), error="The output `x` cannot be rendered")
    assert told(view)[1:] == ["", "  The output `x` cannot be rendered"]


def test_outputs_are_aligned_text_as_it_is_and_everything_else_as_json() -> None:
    found = {"n": 42, "text": "as\nit is\n", "none": None, "flag": True, "map": {"ü": [1, 2.5]}, "名": "wide"}
    assert texts(outputs(execution(*ended("SUCCESS", 0, 1), outputs=found))) == [
        "",
        "Outputs",
        "  n     42",
        "  text  as",
        "        it is",
        "  none  null",
        "  flag  true",
        '  map   {"ü": [1, 2.5]}',
        "  名    wide",
    ]
    assert outputs(execution(*ended("FAILED", 0, 1))) == []


def test_a_long_structure_has_a_row_for_each_element_and_is_still_json() -> None:
    rows = [{"year": 2000 + number, "days": 366} for number in range(4)]
    assert shown(rows).split("\n") == [
        '[{"year": 2000, "days": 366},',
        ' {"year": 2001, "days": 366},',
        ' {"year": 2002, "days": 366},',
        ' {"year": 2003, "days": 366}]',
    ]
    assert shown({"a" * 60: 1, "b" * 60: [2]}).split("\n") == ['{"' + "a" * 60 + '": 1,', ' "' + "b" * 60 + '": [2]}']
