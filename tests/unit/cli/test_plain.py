"""Plain lines: views and log lines in; what has happened, in order, out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from headrace_cli.output import Output
from headrace_cli.plain import PlainDisplay
from headrace_cli.symbols import UNICODE
from headrace_engine.ports import LogLine
from unit.cli.views import created, ended, execution, run, running, said


class Told:
    """A display and what it has written."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        output = Output(self._stream, is_terminal=False, has_color=False, symbols=UNICODE)
        self._display = PlainDisplay(output, output)

    def __call__(self, view: dict[str, Any] | None = None, lines: Sequence[LogLine] = ()) -> list[str]:
        """Return the lines written for *view* and *lines*, without the date and hour."""
        self._stream.seek(0)
        self._stream.truncate()
        self._display.draw(view, lines)
        return [row.removeprefix("2024-11-21T12:00:") for row in self._stream.getvalue().splitlines()]


def test_each_change_of_state_and_each_log_line_is_a_line() -> None:
    told = Told()
    view = execution(("CREATED", 0), ("RUNNING", 1), ("SUCCESS", 500), runs=[run("log", *ended("SUCCESS", 1, 413))])
    assert told(view, [said("Hello", 20, "log"), said("Careful", 30, "log", "WARN")]) == [
        "00.000Z CREATED  demo.hello 3kXbT0aQ9mZ1cV7nR5sYwE",
        "00.001Z RUNNING  demo.hello",
        "00.001Z RUNNING  log",
        "00.020Z INFO     log: Hello",
        "00.030Z WARN     log: Careful",
        "00.413Z SUCCESS  log (412ms)",
        "00.500Z SUCCESS  demo.hello (500ms)",
    ]


def test_nothing_is_told_twice_and_nothing_is_lost_when_views_are_skipped() -> None:
    told = Told()
    begun = execution(("CREATED", 0), ("RUNNING", 0), runs=[run("one", *running(0))])
    assert len(told(begun)) == 3
    assert told(begun) == []
    later = execution(
        ("CREATED", 0),
        ("RUNNING", 0),
        runs=[
            run("one", *ended("SUCCESS", 0, 10)),
            run("two", *ended("SUCCESS", 10, 20)),
            run("three", *created(20)),
        ],
    )
    assert told(later) == [
        "00.010Z SUCCESS  one (10ms)",
        "00.010Z RUNNING  two",
        "00.020Z SUCCESS  two (10ms)",
    ]
    assert told(begun) == []


def test_what_one_step_did_in_one_instant_is_told_from_the_outside_in_and_back() -> None:
    view = execution(
        ("CREATED", 0),
        ("RUNNING", 0),
        ("SUCCESS", 0),
        runs=[
            run("each", *ended("SUCCESS", 0, 0)),
            run("log#a", *ended("SUCCESS", 0, 0), parent="each", value="a", iteration=0),
            run("inner", *ended("SUCCESS", 0, 0), parent="each", value="b", iteration=1),
            run("deep", *ended("SUCCESS", 0, 0), parent="inner"),
            run("last", ("CREATED", 0), ("SKIPPED", 0)),
        ],
    )
    assert [row.split(" ", 1)[1] for row in Told()(view, [said("b!", 0, "deep"), said("a!", 0, "log#a")])] == [
        "CREATED  demo.hello 3kXbT0aQ9mZ1cV7nR5sYwE",
        "RUNNING  demo.hello",
        "RUNNING  each",
        "RUNNING  log[a]",
        "INFO     log[a]: a!",
        "SUCCESS  log[a] (0ms)",
        "RUNNING  inner[b]",
        "RUNNING  deep[b]",
        "INFO     deep[b]: b!",
        "SUCCESS  deep[b] (0ms)",
        "SUCCESS  inner[b] (0ms)",
        "SUCCESS  each (0ms)",
        "SKIPPED  last",
        "SUCCESS  demo.hello (0ms)",
    ]


def test_a_loop_that_waits_does_so_after_its_round() -> None:
    view = execution(
        ("CREATED", 0),
        ("RUNNING", 0),
        runs=[
            run("until", ("CREATED", 0), ("RUNNING", 0), ("PAUSED", 5)),
            run("tick", *ended("SUCCESS", 5, 5), parent="until"),
        ],
    )
    assert Told()(view)[2:] == [
        "00.000Z RUNNING  until",
        "00.005Z RUNNING  tick",
        "00.005Z SUCCESS  tick (0ms)",
        "00.005Z PAUSED   until",
    ]


def test_a_retried_task_run_tells_its_attempts() -> None:
    flaky = run(
        "flaky",
        ("CREATED", 0),
        ("RUNNING", 0),
        ("FAILED", 5),
        ("RETRYING", 5),
        ("RUNNING", 105),
        ("FAILED", 120),
    )
    view = execution(("CREATED", 0), ("RUNNING", 0), ("RETRYING", 5), ("RUNNING", 105), ("FAILED", 121), runs=[flaky])
    assert Told()(view, [said("no", 5, "flaky", "ERROR"), said("never", 119, "flaky", "ERROR")])[2:] == [
        "00.000Z RUNNING  flaky",
        "00.005Z ERROR    flaky: no",
        "00.005Z FAILED   flaky",
        "00.005Z RETRYING flaky",
        "00.005Z RETRYING demo.hello",
        "00.105Z RUNNING  demo.hello",
        "00.105Z RUNNING  flaky (attempt 2)",
        "00.119Z ERROR    flaky: never",
        "00.120Z FAILED   flaky (120ms, attempt 2)",
        "00.121Z FAILED   demo.hello (121ms)",
    ]


def test_every_row_of_a_message_can_be_found_by_its_task_and_none_steers_the_terminal() -> None:
    assert Told()(None, [said("one\r\n\x1b[31mtwo\x1b[0m\x07", 7, "log"), said("", 8, "log")]) == [
        "00.007Z INFO     log: one",
        "00.007Z INFO     log: two",
        "00.008Z INFO     log:",
    ]


def test_a_line_of_the_execution_itself_bears_the_flows_name() -> None:
    assert Told()(None, [said("No outputs", 7, level="ERROR")]) == ["00.007Z ERROR    demo.hello: No outputs"]
