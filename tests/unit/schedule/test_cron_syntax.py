"""The cron expressions of a Schedule (reference §8.1)."""

from __future__ import annotations

import pytest

from headrace_engine.core.schedule.cron import parse_cron


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "*/5 0 1,15 * 1-5",
        "0 4 * JAN-MAR,dec mon",
        "0 0 * * 7",
        "0-30/10 * * * *",
        "5/10 * * * *",
        "@daily",
        "@Hourly",
        "  0  4  *  *  *  ",
    ],
)
def test_unix_cron_and_nicknames_are_taken(text: str) -> None:
    parse_cron(text)


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "* * L * *",
     "* * 1W * *", "* * * * 1#2", "? * * * *", "30-10 * * * *", "*/0 * * * *", "* * * foo *", "@reboot", "*-5 * * * *",
     "1,,2 * * * *", "٣ * * * *"],
)  # fmt: skip
def test_what_is_no_unix_cron_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        parse_cron(text)


def test_seconds_come_first_when_asked_for() -> None:
    parse_cron("30 0 4 * * *", with_seconds=True)
    with pytest.raises(ValueError, match="has 6 fields"):
        parse_cron("0 4 * * *", with_seconds=True)
