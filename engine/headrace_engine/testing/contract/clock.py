"""What a clock promises."""

from __future__ import annotations

from datetime import timedelta

from headrace_engine.ports import Clock
from headrace_engine.testing.contract.support import Contract


class ClockContract(Contract):
    """Needs the fixture ``clock: Clock``."""

    def test_now_is_aware_and_utc(self, clock: Clock) -> None:
        assert clock.now().utcoffset() == timedelta(0)

    def test_now_does_not_run_back(self, clock: Clock) -> None:
        instants = [clock.now() for _ in range(100)]
        assert instants == sorted(instants)
