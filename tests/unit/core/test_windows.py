"""Time windows, and what is gathered in them (reference §8.4)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.core.codec import decode_memory, encode_memory
from headrace_engine.core.windows import Change, TriggerMemory, booked, look, needs_memory, span_of
from headrace_engine.model.trigger import ConditionDefinition, Gathering, TimeWindow, WindowKind

H = timedelta(hours=1)
DURATION, SLIDING = WindowKind.DURATION_WINDOW, WindowKind.SLIDING_WINDOW
DEADLINE, DAILY = WindowKind.DAILY_TIME_DEADLINE, WindowKind.DAILY_TIME_WINDOW
PARIS = timezone(timedelta(hours=1))


def on(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SPANS = [
    (TimeWindow(), "2026-01-01T13:00", "2026-01-01T00:00", "2026-01-02T00:00"),
    (TimeWindow(), "2026-01-02T00:00", "2026-01-02T00:00", "2026-01-03T00:00"),
    (TimeWindow(DURATION, advance=6 * H), "2026-01-01T05:59", "2025-12-31T06:00", "2026-01-01T06:00"),
    (TimeWindow(DURATION, advance=-6 * H), "2026-01-01T18:00", "2026-01-01T18:00", "2026-01-02T18:00"),
    (TimeWindow(DURATION, 6 * H, 6 * H), "2026-01-01T00:00", "2026-01-01T00:00", "2026-01-01T06:00"),
    (TimeWindow(DURATION, 6 * H, 3 * H), "2026-01-01T22:00", "2026-01-01T21:00", "2026-01-02T03:00"),
    (TimeWindow(DURATION, H / 6), "2026-01-01T00:19", "2026-01-01T00:10", "2026-01-01T00:20"),
    (TimeWindow(DURATION, 7 * H), "2026-01-01T23:00", "2026-01-01T21:00", "2026-01-02T00:00"),
    (TimeWindow(DURATION, 168 * H), "2026-01-01T00:00", "2025-12-29T00:00", "2026-01-05T00:00"),
    (TimeWindow(SLIDING, H), "2026-01-01T00:30", "2025-12-31T23:30", "2026-01-01T00:30"),
    (TimeWindow(DEADLINE, end=time(9)), "2026-01-01T09:00", "2026-01-01T00:00", "2026-01-01T09:00"),
    (TimeWindow(DEADLINE, end=time(9, tzinfo=PARIS)), "2026-01-01T07:59", "2025-12-31T23:00", "2026-01-01T08:00"),
    (TimeWindow(DAILY, start=time(6), end=time(9)), "2026-01-01T06:00", "2026-01-01T06:00", "2026-01-01T09:00"),
    (TimeWindow(DAILY, start=time(22), end=time(2)), "2026-01-01T01:00", "2025-12-31T22:00", "2026-01-01T02:00"),
    (TimeWindow(DAILY, start=time(22), end=time(2)), "2026-01-01T23:00", "2026-01-01T22:00", "2026-01-02T02:00"),
]


@pytest.mark.parametrize(("window", "instant", "start", "end"), SPANS)
def test_an_instant_belongs_to_a_window(window: TimeWindow, instant: str, start: str, end: str) -> None:
    span = span_of(window, on(instant))
    assert span is not None
    assert (span.start, span.end) == (on(start), on(end))


@pytest.mark.parametrize(
    ("window", "instant"),
    [
        (TimeWindow(DEADLINE, end=time(9)), "2026-01-01T09:01"),
        (TimeWindow(DEADLINE, end=time(9, tzinfo=PARIS)), "2026-01-01T08:01"),
        (TimeWindow(DAILY, start=time(6), end=time(9)), "2026-01-01T05:59"),
        (TimeWindow(DAILY, start=time(22), end=time(2)), "2026-01-01T12:00"),
    ],
)
def test_an_instant_outside_of_a_daily_window_belongs_to_none(window: TimeWindow, instant: str) -> None:
    assert span_of(window, on(instant)) is None


def test_a_daily_window_in_a_time_zone_follows_its_clock_changes() -> None:
    window = TimeWindow(DEADLINE, end=time(9, tzinfo=ZoneInfo("Europe/Paris")))
    winter, summer = span_of(window, on("2026-01-01T07:00")), span_of(window, on("2026-07-01T07:00"))
    assert winter is not None
    assert winter.end == on("2026-01-01T08:00")
    assert summer is not None
    assert summer.end == on("2026-07-01T07:00")


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(1, 200_000),
    st.integers(-100_000, 100_000),
)
def test_windows_follow_each_other_without_gap_or_overlap(instant: datetime, minutes: int, advance: int) -> None:
    window = TimeWindow(DURATION, timedelta(minutes=minutes), timedelta(minutes=advance))
    span = span_of(window, instant.replace(tzinfo=UTC))
    assert span is not None
    assert instant.replace(tzinfo=UTC) in span
    assert span.end - span.start <= window.length
    following, before = span_of(window, span.end), span_of(window, span.start - timedelta.resolution)
    assert following is not None
    assert following.start == span.end
    assert before is not None
    assert before.end == span.start
    last = span_of(window, span.end - timedelta.resolution)
    assert last == span


# -- Gathering --------------------------------------------------------------------------------------

START = on("2026-01-01T12:00")
ANY = ConditionDefinition("All")


class Trigger:
    """A trigger with one gathering of a and b, told of one change after the other."""

    def __init__(
        self, window: TimeWindow | None = None, *, reset: bool = True, names: str = "ab", needed: int | None = None
    ) -> None:
        self.gathering = Gathering("g", dict.fromkeys(names, ANY), window or TimeWindow(), reset, needed)
        self.memory = TriggerMemory()
        self.fired: list[str] = []

    def hear(self, member: str, minutes: float = 0, execution: str | None = None) -> bool:
        change = Change(execution or f"{member}{minutes}", 2, START + timedelta(minutes=minutes))
        memory = self.memory
        if memory.last_seen(change) is not None or memory.is_too_late(change):
            return False
        after = look(self.gathering, memory, change, [member])
        if not after.counts:
            return False
        if after.complete:
            self.fired.append(change.execution_id)
        self.memory = booked(memory, change, [after], fired=after.complete)
        return after.complete


def test_it_fires_when_all_are_met_and_begins_anew() -> None:
    trigger = Trigger()
    assert [trigger.hear(*each) for each in (("a", 1), ("a", 2), ("b", 3), ("b", 4), ("a", 5))] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_without_reset_every_later_change_fires() -> None:
    trigger = Trigger(reset=False)
    assert [trigger.hear(*each) for each in (("a", 1), ("b", 2), ("b", 3), ("a", 4))] == [False, True, True, True]


def test_a_window_that_is_over_is_forgotten() -> None:
    trigger = Trigger(TimeWindow(DURATION, H))
    assert [trigger.hear(*each) for each in (("a", 59), ("b", 60), ("a", 119))] == [False, False, True]


def test_a_sliding_window_looks_back() -> None:
    trigger = Trigger(TimeWindow(SLIDING, H))
    assert [trigger.hear(*each) for each in (("a", 0), ("b", 61), ("a", 62))] == [False, False, True]
    assert [trigger.hear(*each) for each in (("b", 100), ("a", 160))] == [False, True]


def test_what_happens_after_the_deadline_does_not_count() -> None:
    trigger = Trigger(TimeWindow(DEADLINE, end=time(12, 10)))
    assert [trigger.hear(*each) for each in (("a", 1), ("b", 11), ("b", 9))] == [False, False, True]


def test_what_happens_outside_of_a_daily_window_does_not_count() -> None:
    trigger = Trigger(TimeWindow(DAILY, start=time(12, 5), end=time(12, 10)))
    assert [trigger.hear(*each) for each in (("a", 4), ("b", 6), ("a", 7))] == [False, False, True]


def test_a_number_of_members_may_be_enough() -> None:
    trigger = Trigger(names="abc", needed=2)
    assert [trigger.hear(*each) for each in (("a", 1), ("c", 2), ("b", 3))] == [False, True, False]


def test_news_of_the_last_window_still_complete_it() -> None:
    trigger = Trigger(TimeWindow(DURATION, H))
    assert [trigger.hear(*each) for each in (("a", 58), ("a", 61), ("b", 59), ("b", 62))] == [False, False, True, True]


def test_a_change_that_is_heard_again_counts_once() -> None:
    trigger = Trigger()
    for each in (("a", 1), ("b", 2), ("b", 2), ("a", 1), ("a", 3)):
        trigger.hear(*each)
    assert trigger.fired == ["b2"]


def test_what_a_change_fired_is_remembered() -> None:
    trigger = Trigger()
    trigger.hear("a", 1)
    trigger.hear("b", 2)
    seen = [(each.change.execution_id, each.fired) for each in trigger.memory.seen]
    assert seen == [("a1", False), ("b2", True)]


@pytest.mark.parametrize("kind", [DURATION, SLIDING], ids=str)
@pytest.mark.parametrize("reset", [True, False])
def test_the_order_of_news_within_a_window_does_not_change_how_often_it_fires(kind: WindowKind, reset: bool) -> None:
    changes = [("a", 1), ("b", 2), ("b", 3), ("a", 4)]
    counts = set()
    for order in permutations(changes):
        if reset and {order[0][0], order[1][0]} != {"a", "b"}:
            continue  # two of one kind in a row are one: what completes the pair decides then
        trigger = Trigger(TimeWindow(kind, 2 * H), reset=reset)
        for each in order:
            trigger.hear(*each)
        counts.add(len(trigger.fired) if reset else len(trigger.fired) > 0)
    assert counts == ({2} if reset else {True})


def test_what_is_remembered_comes_back_from_its_bytes() -> None:
    trigger = Trigger()
    for each in (("a", 1), ("b", 2), ("a", 3)):
        trigger.hear(*each)
        assert decode_memory(encode_memory(trigger.memory)) == trigger.memory


def test_what_is_remembered_is_bounded() -> None:
    trigger = Trigger()
    for number in range(2500):
        trigger.hear("a", number / 100)
    assert len(trigger.memory.seen) == 1000
    assert len(trigger.memory.gathered[0].met) == 1
    assert not trigger.hear("b", 1)  # too late: nobody knows any more whether it counted
    assert trigger.hear("b", 26)


def test_what_is_long_over_is_forgotten() -> None:
    trigger = Trigger(TimeWindow(DURATION, H))
    trigger.hear("a", 0)
    trigger.hear("a", 60 * 24 * 7)
    assert [each.change.execution_id for each in trigger.memory.seen] == ["a10080"]
    assert len(trigger.memory.gathered[0].met) == 1


def test_a_member_that_is_gone_from_the_flow_is_forgotten() -> None:
    trigger = Trigger(names="abc")
    trigger.hear("c", 1)
    trigger.gathering = Gathering("g", {"a": ANY, "b": ANY})
    trigger.hear("a", 2)
    assert [each.member for each in trigger.memory.gathered[0].met] == ["a"]


def test_one_member_needs_no_memory() -> None:
    one, two = Gathering("1", {"a": ANY}), Gathering("2", {"a": ANY, "b": ANY})
    assert not needs_memory([one])
    assert not needs_memory([Gathering("2", two.members, needed=1)])
    assert needs_memory([two])
    assert needs_memory([one, one])
