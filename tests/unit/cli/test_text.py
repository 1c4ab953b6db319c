from __future__ import annotations

from datetime import timedelta

import pytest

from headrace_cli import text


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (-5, "0ms"),
        (0, "0ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1.0s"),
        (59_999, "59.9s"),
        (60_000, "1m00s"),
        (65_400, "1m05s"),
        (3_600_000, "1h00m"),
        (90_061_000, "25h01m"),
    ],
)
def test_a_duration_is_as_exact_as_people_need_it(milliseconds: int, expected: str) -> None:
    assert text.duration(timedelta(milliseconds=milliseconds)) == expected


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("plain ümlaut 漢字", "plain ümlaut 漢字"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07shown", "shown"),
        ("bell\x07 back\x08 null\x00", "bell back null"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("tab\tstays", "tab\tstays"),
        ("\x9b31mC1", "31mC1"),
    ],
)
def test_nothing_in_a_message_steers_the_terminal(given: str, cleaned: str) -> None:
    assert text.clean(given) == cleaned


@pytest.mark.parametrize(
    ("given", "cells", "clipped"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("anything", 1, "…"),
        ("anything", 0, ""),
    ],
)
def test_text_is_cut_by_the_cells_it_takes(given: str, cells: int, clipped: str) -> None:
    assert text.clip(given, cells) == clipped


def test_the_ascii_ellipsis_never_takes_more_than_there_is() -> None:
    assert [text.clip("anything", cells, "...") for cells in range(6)] == ["", ".", "..", "...", "a...", "an..."]


def test_a_value_is_shown_on_one_line() -> None:
    assert text.one_line(' {"a":\n  1,\t"b": 2}\n') == '{"a": 1, "b": 2}'
