"""The next and the previous date of cron expressions: by hand around DST changes, and against a scan of every minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_engine.core.schedule.cron import Cron, parse_cron
from headrace_engine.core.schedule.wall_clock import UnknownTimeZone, in_zone, next_date, previous_date, time_zone

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def dates(text: str, zone: str, after: str, count: int) -> list[str]:
    """Return *count* dates; each has the one before it as its previous date."""
    cron = parse_cron(text, with_seconds=len(text.split()) == 6)
    instant = datetime.fromisoformat(after)
    found: list[datetime] = []
    for _ in range(count):
        following = next_date(cron, instant, time_zone(zone))
        assert following is not None
        if found:
            assert previous_date(cron, following, time_zone(zone)) == found[-1]
        found.append(instant := following)
    return [date.isoformat() for date in found]


BY_HAND = [
    # Nothing changes.
    ("*/15 * * * *", "UTC", "2025-01-01T00:00:00Z", "2025-01-01T00:15:00+00:00 2025-01-01T00:30:00+00:00"),
    ("*/15 * * * *", "UTC", "2025-01-01T00:07:31.5Z", "2025-01-01T00:15:00+00:00"),
    ("0 0 * * *", "Asia/Kathmandu", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00+05:45 2025-01-03T00:00:00+05:45"),
    ("0 0 29 2 *", "UTC", "2025-01-01T00:00:00Z", "2028-02-29T00:00:00+00:00 2032-02-29T00:00:00+00:00"),
    ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00+00:00"),
    ("0 0 31 * *", "UTC", "2025-03-31T00:00:00Z", "2025-05-31T00:00:00+00:00 2025-07-31T00:00:00+00:00"),
    ("0 12 13 * 5", "UTC", "2025-06-01T00:00:00Z", "2025-06-06T12:00:00+00:00 2025-06-13T12:00:00+00:00"),
    ("@yearly", "+02:00", "2025-06-01T00:00:00Z", "2026-01-01T00:00:00+02:00 2027-01-01T00:00:00+02:00"),
    ("@weekly", "UTC", "2025-06-01T00:00:00Z", "2025-06-08T00:00:00+00:00"),
    ("*/20 59 23 * * *", "UTC", "2025-12-31T23:59:20Z", "2025-12-31T23:59:40+00:00 2026-01-01T23:59:00+00:00"),
    # Berlin, 30 March 2025: 02:00 to 02:59 do not exist.
    ("30 2 * * *", "Europe/Berlin", "2025-03-29T03:00:00+01:00", "2025-03-30T03:00:00+02:00 2025-03-31T02:30:00+02:00"),
    ("0 3 * * *", "Europe/Berlin", "2025-03-29T04:00:00+01:00", "2025-03-30T03:00:00+02:00 2025-03-31T03:00:00+02:00"),
    (
        "30 2,3 30 3 *",
        "Europe/Berlin",
        "2025-03-30T00:00:00+01:00",
        "2025-03-30T03:00:00+02:00 2025-03-30T03:30:00+02:00",
    ),
    (
        "*/20 2 30 3 *",
        "Europe/Berlin",
        "2025-03-30T00:00:00+01:00",
        "2025-03-30T03:00:00+02:00 2026-03-30T02:00:00+02:00",
    ),
    (
        "0 * * * *",
        "Europe/Berlin",
        "2025-03-30T00:30:00+01:00",
        "2025-03-30T01:00:00+01:00 2025-03-30T03:00:00+02:00 2025-03-30T04:00:00+02:00",
    ),
    ("30 * * * *", "Europe/Berlin", "2025-03-30T01:00:00+01:00", "2025-03-30T01:30:00+01:00 2025-03-30T03:30:00+02:00"),
    (
        "*/30 * * * *",
        "Europe/Berlin",
        "2025-03-30T01:15:00+01:00",
        "2025-03-30T01:30:00+01:00 2025-03-30T03:00:00+02:00 2025-03-30T03:30:00+02:00",
    ),
    # Berlin, 26 October 2025: 02:00 to 02:59 exist twice.
    ("30 2 * * *", "Europe/Berlin", "2025-10-25T03:00:00+02:00", "2025-10-26T02:30:00+02:00 2025-10-27T02:30:00+01:00"),
    ("30 2 * * *", "Europe/Berlin", "2025-10-26T02:15:00+01:00", "2025-10-27T02:30:00+01:00"),
    (
        "0 */2 * * *",
        "Europe/Berlin",
        "2025-10-26T00:00:00+02:00",
        "2025-10-26T02:00:00+02:00 2025-10-26T04:00:00+01:00",
    ),
    (
        "0 * * * *",
        "Europe/Berlin",
        "2025-10-26T01:30:00+02:00",
        "2025-10-26T02:00:00+02:00 2025-10-26T02:00:00+01:00 2025-10-26T03:00:00+01:00",
    ),
    (
        "*/30 * * * *",
        "Europe/Berlin",
        "2025-10-26T02:15:00+02:00",
        "2025-10-26T02:30:00+02:00 2025-10-26T02:00:00+01:00 2025-10-26T02:30:00+01:00 2025-10-26T03:00:00+01:00",
    ),
    (
        "59 59 * * * *",
        "Europe/Berlin",
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:59:59+02:00 2025-10-26T02:59:59+01:00",
    ),
    # New York, 9 March and 2 November 2025.
    (
        "30 2 * * *",
        "America/New_York",
        "2025-03-08T12:00:00-05:00",
        "2025-03-09T03:00:00-04:00 2025-03-10T02:30:00-04:00",
    ),
    (
        "30 1 * * *",
        "America/New_York",
        "2025-11-01T12:00:00-04:00",
        "2025-11-02T01:30:00-04:00 2025-11-03T01:30:00-05:00",
    ),
    # Lord Howe Island, 6 April 2025: 01:30 to 01:59 exist twice; 5 October 2025: 02:00 to 02:29 do not exist.
    (
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2025-04-05T12:00:00+11:00",
        "2025-04-06T01:45:00+11:00 2025-04-07T01:45:00+10:30",
    ),
    (
        "*/30 * * * *",
        "Australia/Lord_Howe",
        "2025-04-06T01:15:00+11:00",
        "2025-04-06T01:30:00+11:00 2025-04-06T01:30:00+10:30 2025-04-06T02:00:00+10:30",
    ),
    (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2025-10-04T12:00:00+10:30",
        "2025-10-05T02:30:00+11:00 2025-10-06T02:15:00+11:00",
    ),
    (
        "0 * * * *",
        "Australia/Lord_Howe",
        "2025-10-05T00:30:00+10:30",
        "2025-10-05T01:00:00+10:30 2025-10-05T02:30:00+11:00 2025-10-05T03:00:00+11:00",
    ),
    (
        "45 * * * *",
        "Australia/Lord_Howe",
        "2025-10-05T01:00:00+10:30",
        "2025-10-05T01:45:00+10:30 2025-10-05T02:45:00+11:00",
    ),
    # Casablanca, 23 February 2025: back for Ramadan; 6 April 2025: forward again.
    (
        "30 2 * * *",
        "Africa/Casablanca",
        "2025-02-22T12:00:00+01:00",
        "2025-02-23T02:30:00+01:00 2025-02-24T02:30:00+00:00",
    ),
    (
        "30 2 * * *",
        "Africa/Casablanca",
        "2025-04-05T12:00:00+00:00",
        "2025-04-06T03:00:00+01:00 2025-04-07T02:30:00+01:00",
    ),
    # Asuncion, 24 March 2024: 23:00 to 23:59 of the day before exist twice. Havana, 10 March 2024: no midnight.
    (
        "30 23 * * *",
        "America/Asuncion",
        "2024-03-23T12:00:00-03:00",
        "2024-03-23T23:30:00-03:00 2024-03-24T23:30:00-04:00",
    ),
    (
        "30 * 23 3 *",
        "America/Asuncion",
        "2024-03-23T23:45:00-03:00",
        "2024-03-23T23:30:00-04:00 2025-03-23T00:30:00-03:00",
    ),
    ("@daily", "America/Havana", "2024-03-09T12:00:00-05:00", "2024-03-10T01:00:00-04:00 2024-03-11T00:00:00-04:00"),
    # Apia had no 30 December 2011.
    ("0 8 * * *", "Pacific/Apia", "2011-12-29T08:00:00-10:00", "2011-12-31T00:00:00+14:00 2011-12-31T08:00:00+14:00"),
    ("0 * * * *", "Pacific/Apia", "2011-12-29T22:30:00-10:00", "2011-12-29T23:00:00-10:00 2011-12-31T00:00:00+14:00"),
]


@pytest.mark.parametrize(("text", "zone", "after", "expected"), BY_HAND)
def test_dates_by_hand(text: str, zone: str, after: str, expected: str) -> None:
    wanted = expected.split()
    assert dates(text, zone, after, len(wanted)) == wanted


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"])
def test_an_expression_that_never_fits_has_no_date(text: str) -> None:
    instant = datetime(2025, 1, 1, tzinfo=UTC)
    assert next_date(parse_cron(text), instant, UTC) is None
    assert previous_date(parse_cron(text), instant, UTC) is None


def test_a_never_fitting_day_with_a_weekday_fits_the_weekday() -> None:
    found = next_date(parse_cron("0 0 30 2 1"), datetime(2025, 1, 1, tzinfo=UTC), UTC)
    assert found == datetime(2025, 2, 3, tzinfo=UTC)


def test_dates_have_fixed_offsets_and_compare_as_instants() -> None:
    berlin = time_zone("Europe/Berlin")
    first = in_zone(datetime(2025, 10, 26, 0, 45, tzinfo=UTC), berlin)
    second = in_zone(datetime(2025, 10, 26, 1, 15, tzinfo=UTC), berlin)
    assert (first.isoformat(), second.isoformat()) == ("2025-10-26T02:45:00+02:00", "2025-10-26T02:15:00+01:00")
    assert first < second
    assert second == datetime(2025, 10, 26, 1, 15, tzinfo=UTC)
    assert first in {datetime(2025, 10, 26, 0, 45, tzinfo=UTC)}


def test_a_date_without_an_offset_is_refused() -> None:
    for function in (next_date, previous_date):
        with pytest.raises(ValueError, match="has no offset"):
            function(parse_cron("@daily"), datetime(2025, 1, 1), UTC)  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="has no offset"):
        in_zone(datetime(2025, 1, 1), UTC)  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("Z", 0),
        ("+02:00", 120),
        ("-0330", -210),
        ("UTC+1", 60),
        ("GMT-05:30", -330),
        ("UTC", 0),
        ("Asia/Kathmandu", 345),
    ],
)
def test_time_zones_have_names_or_offsets(name: str, offset: int) -> None:
    assert datetime(2025, 1, 1, tzinfo=UTC).astimezone(time_zone(name)).utcoffset() == timedelta(minutes=offset)


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "Europe", "../etc/passwd", "+19:00", "2"])
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeZone):
        time_zone(name)


# Against a scan of every minute. The scan knows nothing of the search: it walks through instants, not wall clocks.

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]


@dataclass(frozen=True)
class Minute:
    """An instant and what the wall clock shows."""

    instant: datetime
    wall: datetime
    again: bool
    """Whether the wall clock showed the same an hour or less ago."""
    left_out: tuple[datetime, ...]
    """What the wall clock jumped over just before."""
    jump: timedelta


@lru_cache(maxsize=64)
def minutes(zone: str, start: datetime, days: int) -> tuple[Minute, ...]:
    place = time_zone(zone)
    seen: set[datetime] = set()
    result = []
    before: datetime | None = None
    for number in range(-120, days * 1440):
        instant = start + number * MINUTE
        wall = instant.astimezone(place).replace(tzinfo=None, fold=0)
        jump = timedelta(0) if before is None else wall - before - MINUTE
        skipped = tuple(wall - back * MINUTE for back in range(jump // MINUTE, 0, -1)) if jump > timedelta(0) else ()
        result.append(Minute(instant, wall, wall in seen, skipped, jump))
        seen.add(wall)
        before = wall
    return tuple(result[120:])


def changes(zone: str) -> list[datetime]:
    """Return a day before each change of the clock in 2025, or some day when there is none."""
    place = time_zone(zone)
    hours = [datetime(2025, 1, 1, tzinfo=UTC) + number * HOUR for number in range(365 * 24)]
    offsets = [hour.astimezone(place).utcoffset() for hour in hours]
    found = [
        hours[number] - timedelta(hours=30) for number in range(1, len(hours)) if offsets[number] != offsets[number - 1]
    ]
    return found or [datetime(2025, 3, 28, tzinfo=UTC)]


WINDOWS = [(zone, start) for zone in ZONES for start in changes(zone)]
DAYS = 3


def test_the_windows_hold_the_changes_they_are_for() -> None:
    held = [{minute.jump for minute in minutes(zone, start, DAYS)} - {timedelta(0)} for zone, start in WINDOWS]
    half = timedelta(minutes=30)
    assert sorted(jump for jumps in held for jump in jumps) == [-HOUR] * 3 + [-half, half] + [HOUR] * 3


@dataclass(frozen=True)
class Fields:
    """A cron expression as sets, made without the parser; None is `*`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int] | None
    weekdays: frozenset[int] | None

    @property
    def text(self) -> str:
        parts = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        return " ".join("*" if part is None else ",".join(map(str, sorted(part))) for part in parts)

    def fit(self, wall: datetime) -> bool:
        day = self.days is None or wall.day in self.days
        weekday = self.weekdays is None or wall.isoweekday() % 7 in self.weekdays
        restricted = self.days is not None and self.weekdays is not None
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and (self.months is None or wall.month in self.months)
            and ((day or weekday) if restricted else (day and weekday))
        )

    def fires(self, minute: Minute) -> bool:
        keeps_pace = len(self.hours) == 24
        if self.fit(minute.wall) and (keeps_pace or not minute.again):
            return True
        if keeps_pace and not minute.jump % HOUR:
            return False
        return any(self.fit(wall) for wall in minute.left_out)


def subset(low: int, high: int) -> st.SearchStrategy[frozenset[int]]:
    values = st.integers(low, high)
    return st.one_of(
        st.frozensets(values, min_size=1, max_size=3),
        st.integers(1, 20).map(lambda step: frozenset(range(low, high + 1, step))),
    )


FIELDS = st.builds(
    Fields,
    minutes=subset(0, 59),
    hours=st.one_of(subset(0, 5), subset(0, 23), st.just(frozenset(range(24)))),
    days=st.none() | subset(1, 31),
    months=st.none() | subset(1, 12),
    weekdays=st.none() | subset(0, 6),
)


def all_between(cron: Cron, zone: tzinfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the dates from *start* on, before *end*, one by one."""
    found: list[datetime] = []
    instant = start - timedelta.resolution
    while (following := next_date(cron, instant, zone)) is not None and following < end:
        assert following > instant
        found.append(instant := following)
    return found


@settings(max_examples=200, deadline=None)
@given(fields=FIELDS, window=st.sampled_from(WINDOWS))
def test_the_next_dates_are_the_minutes_that_fit_and_no_other(fields: Fields, window: tuple[str, datetime]) -> None:
    zone, start = window
    cron = parse_cron(fields.text)
    expected = [minute.instant for minute in minutes(zone, start, DAYS) if fields.fires(minute)]
    found = all_between(cron, time_zone(zone), start, start + timedelta(days=DAYS))
    assert found == expected
    for date in found:
        assert date.utcoffset() == date.astimezone(time_zone(zone)).utcoffset()


@settings(max_examples=200, deadline=None)
@given(fields=FIELDS, window=st.sampled_from(WINDOWS))
def test_the_previous_date_undoes_the_next(fields: Fields, window: tuple[str, datetime]) -> None:
    zone, start = window
    cron, place, end = parse_cron(fields.text), time_zone(zone), start + timedelta(days=DAYS)
    found = []
    instant = end
    while (earlier := previous_date(cron, instant, place)) is not None and earlier >= start:
        assert earlier < instant
        found.append(instant := earlier)
    assert found[::-1] == all_between(cron, place, start, end)


@settings(max_examples=200, deadline=None)
@given(fields=FIELDS, window=st.sampled_from(WINDOWS), at=st.integers(0, DAYS * 86400 * 4))
def test_from_any_instant_both_neighbours_are_the_nearest(
    fields: Fields, window: tuple[str, datetime], at: int
) -> None:
    zone, start = window
    cron, place = parse_cron(fields.text), time_zone(zone)
    instant = start + timedelta(seconds=at / 4)
    fired = [minute.instant for minute in minutes(zone, start, DAYS) if fields.fires(minute)]
    later = next((date for date in fired if date > instant), None)
    earlier = next((date for date in reversed(fired) if date < instant), None)
    if later is not None:
        assert next_date(cron, instant, place) == later
    if earlier is not None:
        assert previous_date(cron, instant, place) == earlier


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("text", ["*/10 * * * * *", "7 */5 1,2 * * *"])
def test_seconds_hold_through_changes_too(zone: str, text: str) -> None:
    cron, place = parse_cron(text, with_seconds=True), time_zone(zone)
    for start in changes(zone):
        low, high = start + timedelta(hours=28), start + timedelta(hours=32)
        forward = all_between(cron, place, low, high)
        assert forward
        backward = []
        instant = high
        while (earlier := previous_date(cron, instant, place)) is not None and earlier >= low:
            backward.append(instant := earlier)
        assert backward[::-1] == forward
        if cron.every_hour:
            assert forward == [low + number * timedelta(seconds=10) for number in range(4 * 360)]
