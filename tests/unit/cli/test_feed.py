"""The thread that draws: it keeps its own pace, and loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from headrace_cli.feed import Drawing, Feed
from headrace_cli.view import View
from headrace_engine.ports import LogLine
from unit.cli.views import execution, said

PATIENCE = 10
VIEW = execution(("CREATED", 0), ("RUNNING", 0))


class Recorder:
    """Writes down what it is asked to draw."""

    def __init__(self, *, ticks: bool = False) -> None:
        self.ticks = ticks
        self.drawn: list[tuple[View | None, list[str]]] = []
        self.closed: list[tuple[View, list[str]]] = []
        self.abandoned = False
        self.was_drawn = Event()

    def draw(self, execution: View | None, lines: Sequence[LogLine]) -> None:
        self.drawn.append((execution, [line.message for line in lines]))
        self.was_drawn.set()

    def close(self, execution: View, lines: Sequence[LogLine]) -> None:
        self.closed.append((execution, [line.message for line in lines]))

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def abandon(self) -> None:
        self.abandoned = True


def test_what_was_told_before_drawing_began_is_drawn_first() -> None:
    feed, display = Feed(), Recorder()
    feed.log(said("early", 1))
    feed.changed(None)
    with Drawing(feed, display, lambda: VIEW) as drawing:
        assert display.was_drawn.wait(PATIENCE)
        drawing.close(VIEW)
    assert display.drawn == [(VIEW, ["early"])]
    assert display.closed == [(VIEW, [])]
    assert not display.abandoned


def test_the_execution_is_looked_up_only_when_it_has_changed() -> None:
    feed, display = Feed(), Recorder()

    def look() -> Any:
        raise AssertionError

    feed.log(said("only a line", 1))
    with Drawing(feed, display, look) as drawing:
        assert display.was_drawn.wait(PATIENCE)
        drawing.close(VIEW)
    assert display.drawn == [(None, ["only a line"])]


def test_a_thousand_steps_during_one_drawing_make_one_more_and_no_line_is_lost() -> None:
    feed = Feed()
    looks = 0

    def look() -> View:
        nonlocal looks
        looks += 1
        if looks == 1:
            for number in range(1000):
                feed.changed(None)
                feed.log(said(str(number), number))
        return VIEW

    display = Recorder()
    feed.changed(None)
    with Drawing(feed, display, look) as drawing:
        assert display.was_drawn.wait(PATIENCE)
        drawing.close(VIEW)
    told = [message for _, messages in (*display.drawn, *display.closed) for message in messages]
    assert told == [str(number) for number in range(1000)]
    assert looks <= 2


def test_a_display_that_shows_the_time_is_drawn_without_news() -> None:
    display = Recorder(ticks=True)
    with Drawing(Feed(), display, lambda: VIEW) as drawing:
        assert display.was_drawn.wait(PATIENCE)
        drawing.close(VIEW)
    assert display.drawn[0] == (None, [])


def test_an_error_leaves_the_terminal_in_order() -> None:
    display = Recorder()
    with pytest.raises(RuntimeError), Drawing(Feed(), display, lambda: VIEW):
        raise RuntimeError
    assert display.abandoned


def test_what_is_told_after_drawing_has_stopped_is_shown_at_the_end() -> None:
    feed, display = Feed(), Recorder()
    with Drawing(feed, display, lambda: VIEW) as drawing:
        drawing.stop()
        feed.log(said("late", 1))
        drawing.close(VIEW)
    assert (display.drawn, display.closed, display.abandoned) == ([], [(VIEW, ["late"])], False)


def test_an_error_after_drawing_has_stopped_leaves_the_terminal_in_order_too() -> None:
    display = Recorder()

    def break_off() -> None:
        with Drawing(Feed(), display, lambda: VIEW) as drawing:
            drawing.stop()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert display.abandoned
