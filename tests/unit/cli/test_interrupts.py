"""Real signals, sent to this very process while it waits."""

from __future__ import annotations

import os
import signal
from threading import Event

import pytest

from headrace_cli.interrupts import Interrupts

PATIENCE = 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_and_the_second_do_different_things(number: signal.Signals) -> None:
    first, second = Event(), Event()
    with Interrupts(first.set, second.set):
        os.kill(os.getpid(), number)
        assert first.wait(PATIENCE)
        assert not second.is_set()
        os.kill(os.getpid(), number)
        assert second.wait(PATIENCE)
        os.kill(os.getpid(), number)


def test_the_second_signal_does_not_wait_for_what_the_first_began() -> None:
    release, begun, second = Event(), Event(), Event()

    def first() -> None:
        begun.set()
        release.wait(PATIENCE)

    with Interrupts(first, second.set):
        os.kill(os.getpid(), signal.SIGINT)
        assert begun.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)
        assert second.wait(PATIENCE)
        release.set()


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts(lambda: None, lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
