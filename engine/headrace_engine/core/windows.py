"""Several conditions that must be met within a time window (reference §8.4): preconditions, MultipleCondition.

What counts is when an execution entered its state, not when somebody looked: late, repeated and out-of-order news of
it make no difference to which window it falls into. Each change counts once, in the order in which the writes that
book them land; `Seen` remembers which did, and which of them fired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import Gathering, TimeWindow, WindowKind

_DAY = timedelta(days=1)
_MONDAY = date(1970, 1, 5)
"""Where windows longer than a day are counted from: those of a week begin on Monday."""
_LATE = timedelta(days=1)
"""How long after the end of its window news of a change may come and still count."""
_REMEMBERED = 1000
"""The most changes that are remembered one by one; older ones no longer count."""


# -- Windows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time; the start belongs to it, the end only when *closed*."""

    start: datetime
    end: datetime
    closed: bool = True

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end or (self.closed and instant == self.end)


def span_of(window: TimeWindow, instant: datetime) -> Span | None:
    """Return the stretch of time *instant* belongs to in *window*; None outside of it.

    Days are those of UTC, or of the offset that the window's times of day have. A sliding window ends at *instant*.
    """
    match window.kind:
        case WindowKind.SLIDING_WINDOW:
            return Span(instant - window.length, instant)
        case WindowKind.DURATION_WINDOW:
            return _duration(window, instant)
        case WindowKind.DAILY_TIME_DEADLINE:
            return _daily(time(0, tzinfo=window.end.tzinfo), window.end, instant)
        case WindowKind.DAILY_TIME_WINDOW:
            return _daily(window.start, window.end, instant)


def _duration(window: TimeWindow, instant: datetime) -> Span:
    """Windows follow each other without a gap; those of up to a day begin anew at midnight (and *advance*)."""
    length = max(window.length, timedelta.resolution)
    if length > _DAY:
        first = datetime.combine(_MONDAY, time(0), UTC) + window.advance
        start = first + (instant - first) // length * length
        return Span(start, start + length, closed=False)
    midnight = datetime.combine((instant - window.advance).astimezone(UTC), time(0), UTC) + window.advance
    start = midnight + (instant - midnight) // length * length
    return Span(start, min(start + length, midnight + _DAY), closed=False)


def _daily(start: time, end: time, instant: datetime) -> Span | None:
    """One window a day; one that ends before it starts goes over midnight."""
    zone = start.tzinfo or end.tzinfo or UTC
    start, end = (each if each.tzinfo is not None else each.replace(tzinfo=zone) for each in (start, end))
    today = instant.astimezone(zone).date()
    for day in (today - _DAY, today):
        opens = datetime.combine(day, start)
        closes = datetime.combine(day, end)
        span = Span(opens.astimezone(UTC), (closes if closes >= opens else closes + _DAY).astimezone(UTC))
        if instant in span:
            return span
    return None


# -- What was met -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an execution's state: its number in the execution's history, and when it happened."""

    execution_id: str
    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Met:
    """A member of a gathering was met then."""

    member: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was met of one gathering, by time."""

    id: str
    met: tuple[Met, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A change that was counted; *fired* when it completed what the trigger waits for."""

    change: Change
    fired: bool = False


@dataclass(frozen=True, slots=True)
class TriggerMemory:
    """What a Flow trigger remembers from one change to the next."""

    gathered: tuple[Gathered, ...] = ()
    seen: tuple[Seen, ...] = ()
    """By time."""
    since: datetime | None = None
    """Changes up to this instant no longer count."""

    def of(self, gathering_id: str) -> tuple[Met, ...]:
        """Return what was met of a gathering."""
        return next((each.met for each in self.gathered if each.id == gathering_id), ())

    def last_seen(self, change: Change) -> Seen | None:
        """Return what is remembered of *change*."""
        return next((each for each in self.seen if each.change == change), None)

    def is_too_late(self, change: Change) -> bool:
        """Return whether *change* no longer counts."""
        return self.since is not None and change.at <= self.since


def needs_memory(gatherings: Iterable[Gathering]) -> bool:
    """Return whether one change alone may not decide; it does when all it takes is one member of one gathering."""
    gatherings = tuple(gatherings)
    return len(gatherings) > 1 or any(_needed(each) > 1 for each in gatherings)


def _needed(gathering: Gathering) -> int:
    needed = len(gathering.members) if gathering.needed is None else gathering.needed
    return min(needed, len(gathering.members))


@dataclass(frozen=True, slots=True)
class Look:
    """One gathering after a change: what is met now, in which stretch of time."""

    gathering: Gathering
    met: tuple[Met, ...]
    span: Span | None
    counts: bool
    """Whether the change meets a member within the window."""

    @property
    def complete(self) -> bool:
        """True when enough is met, in the window that the change falls into."""
        span = self.span
        if span is None:
            return False
        return len({each.member for each in self.met if each.at in span}) >= _needed(self.gathering)


def look(gathering: Gathering, memory: TriggerMemory, change: Change, members: Collection[str]) -> Look:
    """Return the gathering after *change*, which meets *members*."""
    met = tuple(each for each in memory.of(gathering.id) if each.member in gathering.members)
    at = change.at
    if gathering.window.kind is WindowKind.SLIDING_WINDOW:
        # News that come out of order are looked at together, as if the last had come last.
        at = max([at, *(each.at for each in met)])
    span = span_of(gathering.window, at)
    if span is None or change.at not in span:
        return Look(gathering, met, span, counts=False)
    for member in members:
        # The last time within a window is enough.
        before = [each for each in met if each.member == member and each.at in span]
        last = max([change.at, *(each.at for each in before)])
        met = (*(each for each in met if each not in before), Met(member, last))
    return Look(gathering, met, span, counts=bool(members))


def booked(memory: TriggerMemory, change: Change, looks: Iterable[Look], *, fired: bool) -> TriggerMemory:
    """Return what is remembered after *change*. When it fired, gatherings that reset begin anew."""
    looks = tuple(looks)
    gathered = tuple(Gathered(each.gathering.id, _left(each, change, fired=fired)) for each in looks)
    kept = max((_horizon(each.gathering.window) for each in looks), default=_LATE)
    seen = sorted((*memory.seen, Seen(change, fired)), key=lambda each: each.change.at)
    since = max(filter(None, (memory.since, seen[-1].change.at - kept)))
    if len(seen) > _REMEMBERED:
        since = max(since, seen[-_REMEMBERED - 1].change.at)
    return TriggerMemory(gathered, tuple(each for each in seen if each.change.at > since), since)


def _left(after: Look, change: Change, *, fired: bool) -> tuple[Met, ...]:
    met, span = after.met, after.span
    if fired and after.gathering.reset and after.complete and span is not None:
        met = tuple(each for each in met if each.at not in span)
    last = max((each.at for each in met), default=change.at)
    return tuple(each for each in met if each.at > last - _horizon(after.gathering.window))


def _horizon(window: TimeWindow) -> timedelta:
    daily = window.kind in (WindowKind.DAILY_TIME_DEADLINE, WindowKind.DAILY_TIME_WINDOW)
    return (_DAY if daily else window.length) + _LATE
