"""A trigger is switched whoever else writes its record meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace_engine.adapters.memory.triggers import MemoryTriggers
from headrace_engine.ports import PortError, TriggerRecord
from headrace_engine.trigger_switch import switch_trigger


class Busy(MemoryTriggers):
    """A store to which somebody else writes just before, the first *times*."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.puts = 0

    def put(self, record: TriggerRecord) -> TriggerRecord:
        self.puts += 1
        if self.times:
            self.times -= 1
            stored = self.get(record.namespace, record.flow_id, record.trigger_id)
            super().put(replace(stored, data=stored.data + b"x"))
        return super().put(record)


@pytest.mark.parametrize("times", [0, 3])
def test_it_is_switched_off_and_on_and_loses_nothing_of_what_others_wrote(times: int) -> None:
    triggers = Busy(times)
    switch_trigger(triggers, "demo", "f", "t", disabled=True)
    record = triggers.get("demo", "f", "t")
    assert (record.disabled, record.data) == (True, b"x" * times)
    switch_trigger(triggers, "demo", "f", "t", disabled=False)
    assert not triggers.get("demo", "f", "t").disabled


def test_what_is_switched_already_is_not_written() -> None:
    triggers = Busy(0)
    switch_trigger(triggers, "demo", "f", "t", disabled=False)
    assert triggers.puts == 0


def test_a_record_that_is_never_left_alone_is_an_error() -> None:
    with pytest.raises(PortError, match=r"The trigger demo\.f\.t is written too often to be switched"):
        switch_trigger(Busy(1000), "demo", "f", "t", disabled=True)
