"""The local mailbox, timers and bus keep what every channel promises."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta

import pytest

from headrace_engine.adapters.local.bus import LocalBus
from headrace_engine.adapters.local.mailbox import LocalMailbox, Turn
from headrace_engine.adapters.local.timers import LocalTimers
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Message
from headrace_engine.ports import Bus, Mailbox, StateChange, Timers
from headrace_engine.testing.contract import BusContract, MailboxContract, TimersContract
from headrace_engine.testing.contract.channels import Delivered, Fired, Heard
from headrace_engine.testing.contract.support import START

SOON = 10.0
"""Seconds within which what must happen happens."""


class TestMailbox(MailboxContract):
    @pytest.fixture
    def handled(self) -> list[tuple[str, bytes]]:
        return []

    @pytest.fixture
    def mailbox(self, handled: list[tuple[str, bytes]]) -> Iterator[Mailbox]:
        def handle(execution_id: str, messages: Sequence[Message]) -> None:
            handled.extend((execution_id, encode_message(message)) for message in messages)

        with closing(LocalMailbox(handle)) as mailbox:
            yield mailbox

    @pytest.fixture
    def delivered(self, mailbox: LocalMailbox, handled: list[tuple[str, bytes]]) -> Delivered:
        def wait() -> Sequence[tuple[str, bytes]]:
            # A turn of each execution that may have mail comes after what was sent to it; a batch's messages after that.
            for _ in range(2):
                for execution_id in ("x", "y", *(f"x{number}" for number in range(7))):
                    mailbox.post(execution_id, Turn(lambda: None)).result(SOON)
            return list(handled)

        return wait


class TestTimers(TimersContract):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(START)

    @pytest.fixture
    def rung(self) -> list[tuple[str, str]]:
        return []

    @pytest.fixture
    def last(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def timers(self, clock: ManualClock, rung: list[tuple[str, str]], last: threading.Event) -> Iterator[Timers]:
        def fire(execution_id: str, key: str) -> None:
            if execution_id == "~":
                last.set()
            else:
                rung.append((execution_id, key))

        with closing(LocalTimers(clock, fire)) as timers:
            yield timers

    @pytest.fixture
    def fired(self, timers: Timers, clock: ManualClock, rung: list[tuple[str, str]], last: threading.Event) -> Fired:
        def wait() -> Sequence[tuple[str, str]]:
            # Timers fire by due and execution: all that are due now fire before this one.
            last.clear()
            timers.wake("~", "", clock.now())
            assert last.wait(SOON)
            return list(rung)

        return wait


def test_a_trigger_is_rung_for_when_it_is_due_once_for_each_time_it_was_set() -> None:
    clock, rung = ManualClock(START), queue.Queue[tuple[object, ...]]()
    with closing(LocalTimers(clock, lambda *_: None, lambda *told: rung.put(told))) as timers:
        for due in (START + timedelta(hours=2), START, START):
            timers.wake_trigger("company.team", "flow", "hourly", due)
        assert rung.get(timeout=SOON) == ("company.team", "flow", "hourly", START)
        clock.set(START + timedelta(hours=2))
        timers.wake("x", "key", START)  # the clock is looked at
        assert rung.get(timeout=SOON) == ("company.team", "flow", "hourly", START + timedelta(hours=2))
        assert rung.empty()


class TestBus(BusContract):
    @pytest.fixture
    def changes(self) -> list[StateChange]:
        return []

    @pytest.fixture
    def bus(self, changes: list[StateChange]) -> Bus:
        return LocalBus(changes.append)

    @pytest.fixture
    def heard(self, changes: list[StateChange]) -> Heard:
        return lambda: changes
