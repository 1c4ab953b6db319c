"""The live picture: an execution's view, a frame and an instant in; lines of text out."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_cli.progress import Frame, progress
from headrace_cli.styled import texts
from headrace_cli.symbols import ASCII, UNICODE, Symbols
from headrace_cli.text import width
from unit.cli.views import at, created, ended, execution, run, running

RUNNING = (("CREATED", 0.0), ("RUNNING", 0.0))


def picture(
    view: dict[str, Any],
    now: float,
    *,
    rows: int = 24,
    columns: int = 100,
    planned: tuple[str, ...] = (),
    symbols: Symbols = UNICODE,
) -> list[str]:
    return texts(progress(view, Frame(columns, rows, symbols), at(now), planned))


def loop(values: int, done: int, at_once: int, failed: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """A ForEach over 0…values-1: *done* have ended, *at_once* are under way, the others wait."""
    runs = [run("each", *running(0))]
    for number in range(values):
        if number < done:
            histories = ended("FAILED" if number in failed else "SUCCESS", number, number + 5)
        elif number < done + at_once:
            histories = running(number)
        else:
            histories = created(0)
        runs.append(run(f"work#{number}", *histories, parent="each", value=str(number), iteration=number))
    return runs


def test_task_runs_stand_in_order_with_state_and_duration_and_what_is_still_to_come_last() -> None:
    view = execution(*RUNNING, runs=[run("extract", *ended("SUCCESS", 0, 412)), run("transform", *running(412))])
    assert picture(view, 1912, planned=("extract", "transform", "load")) == [
        "● demo.hello    RUNNING     1.9s",
        "├─ ✔ extract    SUCCESS    412ms",
        "├─ ● transform  RUNNING     1.5s",
        "└─ ○ load",
    ]


def test_where_the_encoding_lacks_the_signs_ascii_stands_in() -> None:
    view = execution(
        *RUNNING,
        runs=[
            run("all", *running(0)),
            run("one", *ended("SUCCESS", 0, 10), parent="all"),
            run("two", *ended("FAILED", 0, 20), parent="all"),
            run("three", ("CREATED", 0), ("SKIPPED", 1)),
        ],
    )
    assert picture(view, 30, symbols=ASCII, planned=("all", "three", "four")) == [
        "* demo.hello  RUNNING     30ms",
        "|- * all      RUNNING     30ms",
        "|  |- + one   SUCCESS     10ms",
        "|  `- x two   FAILED      20ms",
        "|- - three    SKIPPED",
        "`- . four",
    ]


def test_retries_show_which_attempt_it_is() -> None:
    view = execution(
        *RUNNING,
        runs=[
            run("flaky", ("CREATED", 0), ("RUNNING", 0), ("RETRYING", 5), ("RUNNING", 25)),
            run("later", ("CREATED", 0), ("RUNNING", 0), ("RETRYING", 5)),
            run("waits", ("CREATED", 0), ("RUNNING", 0), ("PAUSED", 5)),
        ],
    )
    assert picture(view, 100) == [
        "● demo.hello  RUNNING    100ms",
        "├─ ● flaky    RUNNING    100ms  attempt 2",
        "├─ ↻ later    RETRYING   100ms",
        "└─ ‖ waits    PAUSED     100ms",
    ]


def test_iterations_of_one_task_bear_their_values() -> None:
    view = execution(
        *RUNNING,
        runs=[
            run("each", *running(0)),
            run("greet#b", *ended("SUCCESS", 0, 10), parent="each", value="Bergen", iteration=0),
            run("greet#l", *running(10), parent="each", value='{"city":\n"Lisbon"}', iteration=1),
        ],
    )
    assert picture(view, 50) == [
        "● demo.hello                       RUNNING     50ms",
        "└─ ● each                          RUNNING     50ms",
        "   ├─ ✔ greet[Bergen]              SUCCESS     10ms",
        '   └─ ● greet[{"city": "Lisbon"}]  RUNNING     40ms',
    ]


def test_iterations_of_several_tasks_are_rows_of_their_own() -> None:
    view = execution(
        *RUNNING,
        runs=[
            run("each", *running(0)),
            run("greet#b", *ended("SUCCESS", 0, 10), parent="each", value="Bergen", iteration=0),
            run("greet#l", *ended("SUCCESS", 0, 12), parent="each", value="Lisbon", iteration=1),
            run("shout#b", *running(10), parent="each", value="Bergen", iteration=0),
            run("shout#l", *ended("FAILED", 12, 15), parent="each", value="Lisbon", iteration=1),
            run("greet#s", *created(15), parent="each", value="Seattle", iteration=2),
        ],
    )
    assert picture(view, 50) == [
        "● demo.hello       RUNNING     50ms",
        "└─ ● each          RUNNING     50ms",
        "   ├─ ● [Bergen]   RUNNING",
        "   │  ├─ ✔ greet   SUCCESS     10ms",
        "   │  └─ ● shout   RUNNING     40ms",
        "   ├─ ✘ [Lisbon]   FAILED",
        "   │  ├─ ✔ greet   SUCCESS     12ms",
        "   │  └─ ✘ shout   FAILED       3ms",
        "   └─ ○ [Seattle]  CREATED",
        "      └─ ○ greet   CREATED",
    ]


def test_tasks_of_a_working_directory_do_not_repeat_the_value_they_inherit() -> None:
    view = execution(
        *RUNNING,
        runs=[
            run("each", *running(0)),
            run("directory", *running(0), parent="each", value="a", iteration=0),
            run("script", *running(0), parent="directory", value="a"),
        ],
    )
    assert picture(view, 7) == [
        "● demo.hello          RUNNING      7ms",
        "└─ ● each             RUNNING      7ms",
        "   └─ ● directory[a]  RUNNING      7ms",
        "      └─ ● script     RUNNING      7ms",
    ]


def test_what_does_not_fit_is_counted_and_what_is_under_way_is_shown() -> None:
    view = execution(*RUNNING, runs=loop(1000, done=931, at_once=4))
    assert picture(view, 1000, rows=8, planned=("each", "report")) == [
        "● demo.hello       RUNNING     1.0s",
        "├─ ● each          RUNNING     1.0s",
        "│  ├─ ✔ 931 iterations done, 65 waiting",
        "│  ├─ ● work[931]  RUNNING     69ms",
        "│  ├─ ● work[932]  RUNNING     68ms",
        "│  ├─ ● work[933]  RUNNING     67ms",
        "│  └─ ● work[934]  RUNNING     66ms",
        "└─ ○ report",
    ]


def test_failures_are_shown_before_successes() -> None:
    view = execution(*RUNNING, runs=loop(50, done=40, at_once=2, failed=(3, 17)))
    assert picture(view, 100, rows=8) == [
        "● demo.hello      RUNNING    100ms",
        "└─ ● each         RUNNING    100ms",
        "   ├─ ✔ 38 iterations done, 8 waiting",
        "   ├─ ✘ work[3]   FAILED       5ms",
        "   ├─ ✘ work[17]  FAILED       5ms",
        "   ├─ ● work[40]  RUNNING     60ms",
        "   └─ ● work[41]  RUNNING     59ms",
    ]


def test_a_counter_tells_failures_and_running_ones_that_did_not_fit() -> None:
    view = execution(*RUNNING, runs=loop(60, done=40, at_once=10, failed=tuple(range(9))))
    lines = picture(view, 100, rows=5)
    assert lines[2].strip() == "├─ ✔ 31 iterations done, 9 failed, 8 running, 10 waiting"
    assert len(lines) == 5


def test_a_long_flow_shows_the_tasks_around_the_one_that_runs() -> None:
    runs = [run(f"t{number}", *ended("SUCCESS", number, number + 1)) for number in range(20)]
    view = execution(*RUNNING, runs=[*runs, run("t20", *running(20))])
    planned = tuple(f"t{number}" for number in range(40))
    assert picture(view, 30, rows=7, planned=planned) == [
        "● demo.hello  RUNNING     30ms",
        "├─ ✔ 18 tasks done, 17 waiting",
        "├─ ✔ t18      SUCCESS      1ms",
        "├─ ✔ t19      SUCCESS      1ms",
        "├─ ● t20      RUNNING     10ms",
        "├─ ○ t21",
        "└─ ○ t22",
    ]


@pytest.mark.parametrize("how", ["FAILED", "KILLING"])
def test_nothing_is_still_to_come_after_a_failure_or_a_kill(how: str) -> None:
    failed = how == "FAILED"
    view = execution(
        ("CREATED", 0),
        ("RUNNING", 0),
        *(() if failed else (("KILLING", 5.0),)),
        runs=[run("one", *(ended("FAILED", 0, 1) if failed else running(0)))],
    )
    assert not any("two" in row for row in picture(view, 10, planned=("one", "two")))


def test_long_names_are_cut_so_that_states_still_stand_in_their_column() -> None:
    view = execution(*RUNNING, runs=[run("a" * 90, *running(0)), run("b", *running(0))])
    assert picture(view, 5, columns=50) == [
        "● demo.hello                    RUNNING      5ms",
        "├─ ● aaaaaaaaaaaaaaaaaaaaaaaa…  RUNNING      5ms",
        "└─ ● b                          RUNNING      5ms",
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10, 40])
@pytest.mark.parametrize("columns", [1, 12, 30, 80])
@pytest.mark.parametrize("symbols", [UNICODE, ASCII])
def test_the_picture_never_leaves_its_frame(rows: int, columns: int, symbols: Symbols) -> None:
    runs = loop(200, done=70, at_once=20, failed=(5,))
    runs += [run(f"deep#{number}", *running(0), parent=f"work#{70 + number}") for number in range(10)]
    runs += [run("漢字" * 20, *running(0))]
    lines = picture(execution(*RUNNING, runs=runs), 500, rows=rows, columns=columns, symbols=symbols)
    assert len(lines) <= rows
    assert all(width(row) <= columns for row in lines)


def test_one_row_too_few_is_enough_to_count_what_there_is_nothing_to_see_in() -> None:
    view = execution(*RUNNING, runs=loop(10, done=4, at_once=2))
    assert picture(view, 10, rows=12)[-1].strip().startswith("└─ ○ work[9]")
    assert picture(view, 10, rows=11) == [
        "● demo.hello     RUNNING     10ms",
        "└─ ● each        RUNNING     10ms",
        "   ├─ ✔ 4 iterations done, 4 waiting",
        "   ├─ ● work[4]  RUNNING      6ms",
        "   └─ ● work[5]  RUNNING      5ms",
    ]


def test_when_a_long_loop_has_ended_one_line_says_so() -> None:
    view = execution(*ended("SUCCESS", 0, 90), runs=[*loop(1000, done=1000, at_once=0)])
    view["taskRunList"][0] = run("each", *ended("SUCCESS", 0, 80))
    assert picture(view, 500) == [
        "✔ demo.hello  SUCCESS     90ms",
        "└─ ✔ each     SUCCESS     80ms",
        "   └─ ✔ 1000 iterations done",
    ]
