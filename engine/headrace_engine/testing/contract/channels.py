"""What mailboxes, timers and buses promise. Each suite needs, beside the port, what shows what came out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

import pytest

from headrace_engine.adapters.memory import ManualClock
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import AttemptReported, Kill, Poke, TimerFired
from headrace_engine.model.attempt import AttemptResult, Inline
from headrace_engine.model.state import State
from headrace_engine.ports import Bus, Mailbox, StateChange, Timers
from headrace_engine.testing.contract.support import START, Contract, at

Delivered = Callable[[], Sequence[tuple[str, bytes]]]
"""Returns execution and message of all that was delivered so far, when nothing is under way any more."""

Fired = Callable[[], Sequence[tuple[str, str]]]
"""Returns execution and key of all timers that fired so far, by the clock's time."""

Heard = Callable[[], Sequence[StateChange]]
"""Returns the changes that a listener has heard of so far, when nothing is under way any more."""

POKE, KILL = encode_message(Poke()), encode_message(Kill())


class MailboxContract(Contract):
    """Needs the fixtures ``mailbox: Mailbox`` and ``delivered: Delivered``."""

    def test_a_message_is_delivered_to_its_execution_as_it_was_sent(
        self, mailbox: Mailbox, delivered: Delivered
    ) -> None:
        mailbox.send("x", POKE)
        mailbox.send("y", KILL)
        assert sorted(set(delivered())) == [("x", POKE), ("y", KILL)]

    def test_a_message_that_says_the_same_as_an_earlier_one_is_delivered_too(
        self, mailbox: Mailbox, delivered: Delivered
    ) -> None:
        mailbox.send("x", POKE)
        mailbox.send("x", POKE)
        first = len(delivered())
        assert first >= 2
        mailbox.send("x", POKE)
        assert len(delivered()) > first

    @pytest.mark.parametrize("size", [1, 100_000, 262_144, 3_000_000])
    def test_a_message_of_any_size_is_delivered_whole(self, mailbox: Mailbox, delivered: Delivered, size: int) -> None:
        text = Random(size).randbytes(size).hex()[:size]  # noqa: S311  # compresses to half, no further
        result = AttemptResult(State.SUCCESS, START, at(1), Inline(text))
        message = encode_message(AttemptReported("task-run", 0, result))
        mailbox.send("x", message)
        assert set(delivered()) == {("x", message)}

    def test_many_messages_are_all_delivered(self, mailbox: Mailbox, delivered: Delivered) -> None:
        sent = [(f"x{number % 7}", encode_message(TimerFired(str(number)))) for number in range(50)]
        for execution_id, message in sent:
            mailbox.send(execution_id, message)
        assert set(delivered()) == set(sent)


class TimersContract(Contract):
    """Needs the fixtures ``timers: Timers``, ``clock: ManualClock`` (theirs, at START) and ``fired: Fired``."""

    @pytest.mark.parametrize("seconds", [-1_000_000, -1, 0])
    def test_a_timer_that_is_due_fires(self, timers: Timers, fired: Fired, seconds: float) -> None:
        timers.wake("x", "key", at(seconds))
        assert set(fired()) == {("x", "key")}

    @pytest.mark.parametrize(
        "wait",
        [
            timedelta(milliseconds=1),
            timedelta(seconds=59),
            timedelta(minutes=15),
            timedelta(minutes=15, milliseconds=1),
            timedelta(hours=7, seconds=31),
            timedelta(days=90),
            timedelta(days=3000),
        ],
        ids=str,
    )
    def test_a_timer_fires_within_the_second_after_it_is_due(
        self, timers: Timers, clock: ManualClock, fired: Fired, wait: timedelta
    ) -> None:
        due = START + wait
        timers.wake("x", "key", due)
        # Not before: a timer may come early, but then it must come again.
        for instant in (START + wait / 2, due + timedelta(seconds=1)):
            clock.set(instant)
            fired()
        assert ("x", "key") in fired()

    def test_a_timer_set_again_and_others_at_the_same_time_all_fire(
        self, timers: Timers, clock: ManualClock, fired: Fired
    ) -> None:
        due: datetime = at(3600)
        for execution_id, key in (("x", "a"), ("x", "a"), ("x", "b"), ("y", "a")):
            timers.wake(execution_id, key, due)
        clock.set(due + timedelta(seconds=1))
        assert set(fired()) == {("x", "a"), ("x", "b"), ("y", "a")}

    def test_a_timer_that_has_fired_can_be_set_anew(self, timers: Timers, clock: ManualClock, fired: Fired) -> None:
        timers.wake("x", "key", at(1))
        clock.set(at(2))
        first = len(fired())
        assert first >= 1
        timers.wake("x", "key", at(1))
        timers.wake("x", "key", at(7200))
        clock.set(at(7201))
        assert len(fired()) > first


class BusContract(Contract):
    """Needs the fixtures ``bus: Bus`` and ``heard: Heard``."""

    def test_a_change_is_told_as_it_was_published(self, bus: Bus, heard: Heard) -> None:
        changes = [
            StateChange("x", "company.team", "flow", 3, 0, State.CREATED, START),
            StateChange("x", "company.team", "flow", 3, 1, State.RUNNING, at(1), "every-morning", 4),
            StateChange("y", "Größe", "ünïcode", 1, 12, State.KILLED, at(2), None, 0),
        ]
        bus.publish(*changes[:2])
        bus.publish(changes[2])
        assert {(change.execution_id, change.number): change for change in heard()} == {
            (change.execution_id, change.number): change for change in changes
        }

    @pytest.mark.parametrize("state", [state for state in State if state is not State.RESUBMITTED])
    def test_every_state_is_told(self, bus: Bus, heard: Heard, state: State) -> None:
        bus.publish(StateChange("x", "n", "f", 1, 0, state, START))
        assert {change.state for change in heard()} == {state}

    def test_many_changes_are_told_together(self, bus: Bus, heard: Heard) -> None:
        bus.publish(*(StateChange("x", "n", "f", 1, number, State.RUNNING, START) for number in range(25)))
        assert {change.number for change in heard()} == set(range(25))
