"""What the memory of triggers promises."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from headrace_engine.ports import TriggerChangedError, TriggerRecord, Triggers
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at

KEY = ("ns", "flow", "trigger")
NEW = TriggerRecord(*KEY)


class TriggersContract(Contract):
    """Needs the fixture ``triggers: Triggers``, empty."""

    def test_an_unknown_trigger_has_an_empty_record(self, triggers: Triggers) -> None:
        assert triggers.get(*KEY) == NEW
        assert list(triggers.list("ns", "flow")) == []

    def test_what_is_put_is_got(self, triggers: Triggers) -> None:
        written = triggers.put(replace(NEW, disabled=True, due=START, data=b"\x00\xff"))
        assert written == TriggerRecord(*KEY, version=1, disabled=True, due=START, data=b"\x00\xff")
        assert triggers.get(*KEY) == written

    def test_a_write_counts_versions(self, triggers: Triggers) -> None:
        second = triggers.put(replace(triggers.put(NEW), data=b"two"))
        assert second.version == 2
        assert triggers.get(*KEY) == second

    def test_what_is_remembered_may_be_large(self, triggers: Triggers) -> None:
        first = triggers.put(replace(NEW, data=bytes(500_000)))
        second = triggers.put(replace(first, data=b"\xff" * 500_000))
        with pytest.raises(TriggerChangedError) as refused:
            triggers.put(replace(first, data=b"late" * 100_000))
        assert refused.value.stored == second
        assert (triggers.get(*KEY), list(triggers.list("ns", "flow"))) == (second, [second])

    def test_a_disabled_trigger_is_due_again_when_it_is_enabled(self, triggers: Triggers) -> None:
        record = triggers.put(replace(NEW, due=START))
        record = triggers.put(replace(record, disabled=True))
        assert list(triggers.due(at(1))) == []
        record = triggers.put(replace(record, disabled=False))
        assert list(triggers.due(at(1))) == [record]
        triggers.put(replace(record, due=at(5)))
        assert list(triggers.due(at(1))) == []

    def test_a_write_on_an_old_version_is_refused(self, triggers: Triggers) -> None:
        first = triggers.put(replace(NEW, data=b"one"))
        second = triggers.put(replace(first, data=b"two"))
        for stale in (NEW, first):
            with pytest.raises(TriggerChangedError) as refused:
                triggers.put(replace(stale, data=b"three"))
            assert refused.value.stored == second
        assert triggers.get(*KEY) == second

    def test_a_deleted_trigger_is_not_written_by_who_read_it_before(self, triggers: Triggers) -> None:
        first = triggers.put(NEW)
        triggers.delete(*KEY)
        triggers.delete(*KEY)
        with pytest.raises(TriggerChangedError) as refused:
            triggers.put(first)
        assert refused.value.stored is None
        assert triggers.get(*KEY) == NEW
        assert triggers.put(NEW).version == 1

    def test_the_triggers_of_a_flow_are_listed_by_id(self, triggers: Triggers) -> None:
        for key in (("ns", "flow", "b"), ("ns", "flow", "a"), ("ns", "other", "c"), ("ns.flow", "flow", "d")):
            triggers.put(TriggerRecord(*key))
        assert [record.trigger_id for record in triggers.list("ns", "flow")] == ["a", "b"]

    def test_what_is_due_comes_by_time(self, triggers: Triggers) -> None:
        for name, due in (("late", at(2)), ("now", at(1)), ("early", at(-5)), ("never", None)):
            triggers.put(TriggerRecord("ns", "flow", name, due=due))
        triggers.put(TriggerRecord("ns", "flow", "off", due=at(0), disabled=True))
        assert [record.trigger_id for record in triggers.due(at(1))] == ["early", "now"]

    def test_of_many_that_race_one_writes(self, triggers: Triggers) -> None:
        first = triggers.put(NEW)
        contenders = [partial(triggers.put, replace(first, data=b"%d" % number)) for number in range(CONTENDERS)]
        won = [each for each in self.race(contenders) if isinstance(each, TriggerRecord)]
        assert len(won) == 1
        assert triggers.get(*KEY) == won[0]

    def test_of_many_that_race_to_write_first_one_does(self, triggers: Triggers) -> None:
        contenders = [partial(triggers.put, replace(NEW, data=b"%d" % number)) for number in range(CONTENDERS)]
        won = [each for each in self.race(contenders) if isinstance(each, TriggerRecord)]
        assert [triggers.get(*KEY)] == won

    def test_nothing_is_lost_when_all_try_again(self, triggers: Triggers) -> None:
        def add_one() -> None:
            while True:
                record = triggers.get(*KEY)
                try:
                    triggers.put(replace(record, data=record.data + b"+"))
                except TriggerChangedError:
                    continue
                return

        assert self.race([add_one] * CONTENDERS) == [None] * CONTENDERS
        assert triggers.get(*KEY).data == b"+" * CONTENDERS
