"""Our cron arithmetic against croniter, an independent implementation, where both follow the same rules: in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.core.schedule.cron import parse_cron
from headrace_engine.core.schedule.wall_clock import next_date, previous_date, time_zone

ZONE = time_zone("UTC")


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Return fields: a star, a number, a range with or without a step, a list."""
    number = st.integers(low, high)
    # A range of one number means that number; croniter takes 0-0 for every weekday.
    pairs = st.lists(number, min_size=2, max_size=2, unique=True)
    span = pairs.map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(span, st.integers(1, 6)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    listed = st.lists(number, min_size=2, max_size=4, unique=True).map(
        lambda numbers: ",".join(map(str, sorted(numbers)))
    )
    return st.one_of(st.just("*"), number.map(str), span, stepped, listed)


# One of the two day fields is a star: what both together mean, the implementations see differently.
days = st.one_of(st.tuples(field(1, 28), st.just("*")), st.tuples(st.just("*"), field(0, 6)))
crons = st.tuples(field(0, 59), field(0, 23), days, field(1, 12)).map(
    lambda parts: f"{parts[0]} {parts[1]} {parts[2][0]} {parts[3]} {parts[2][1]}"
)
instants = st.integers(946_684_800, 2_208_988_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(crons, instants)
def test_the_next_date_is_croniters(text: str, after: datetime) -> None:
    expected = croniter(text, after, ret_type=datetime).get_next()
    assert next_date(parse_cron(text), after, ZONE) == expected


@given(crons, instants)
def test_the_previous_date_is_croniters(text: str, before: datetime) -> None:
    expected = croniter(text, before, ret_type=datetime).get_prev()
    assert previous_date(parse_cron(text), before, ZONE) == expected
