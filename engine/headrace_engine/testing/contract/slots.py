"""What concurrency slots promise."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from headrace_engine.ports import Slots, SlotState
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract

FLOW, OTHER = "ns/flow", "ns/other"


class SlotsContract(Contract):
    """Needs the fixture ``slots: Slots``, empty."""

    def test_a_slot_is_given_while_there_is_room(self, slots: Slots) -> None:
        assert [slots.acquire(FLOW, name, 2, 0) for name in ("a", "b", "c")] == [True, True, False]
        assert slots.state(FLOW) == SlotState(frozenset({"a", "b"}), ())

    def test_a_holder_asks_again_and_keeps_its_slot(self, slots: Slots) -> None:
        assert slots.acquire(FLOW, "a", 1, 0)
        assert slots.acquire(FLOW, "a", 1, 0)
        assert slots.acquire(FLOW, "a", 0, 0)
        assert slots.state(FLOW).holders == {"a"}

    def test_without_a_limit_there_is_always_room(self, slots: Slots) -> None:
        slots.acquire(FLOW, "a", 1, 0)
        assert slots.acquire(FLOW, "b", None, 0)
        assert slots.state(FLOW).holders == {"a", "b"}

    def test_flows_do_not_share_slots(self, slots: Slots) -> None:
        slots.acquire(FLOW, "a", 1, 0)
        slots.enqueue(FLOW, "b", START, 0)
        assert slots.acquire(OTHER, "c", 1, 0)
        assert slots.state(OTHER) == SlotState(frozenset({"c"}), ())

    def test_the_queue_is_ordered_by_time_and_a_place_is_kept(self, slots: Slots) -> None:
        for name, seconds in (("late", 2), ("early", 1), ("early", 5)):
            slots.enqueue(FLOW, name, START + timedelta(seconds=seconds), 0)
        assert slots.state(FLOW).queue == (("early", 0), ("late", 0))
        slots.dequeue(FLOW, "early")
        slots.dequeue(FLOW, "early")
        assert slots.state(FLOW).queue == (("late", 0),)

    def test_release_leaves_neither_slot_nor_place(self, slots: Slots) -> None:
        slots.acquire(FLOW, "a", 1, 0)
        slots.enqueue(FLOW, "a", START, 0)
        slots.release(FLOW, "a", 0)
        slots.release(FLOW, "a", 0)
        assert slots.state(FLOW) == SlotState(frozenset(), ())
        assert slots.acquire(FLOW, "b", 1, 0)

    def test_release_makes_room_for_one(self, slots: Slots) -> None:
        for name in ("a", "b"):
            slots.acquire(FLOW, name, 2, 0)
        slots.release(FLOW, "a", 0)
        slots.release(FLOW, "stranger", 0)
        assert [slots.acquire(FLOW, name, 2, 0) for name in ("c", "d")] == [True, False]

    def test_who_waits_may_be_granted_a_slot_before_it_leaves_the_queue(self, slots: Slots) -> None:
        slots.enqueue(FLOW, "a", START, 0)
        assert slots.acquire(FLOW, "a", 1, 0)
        assert slots.state(FLOW) == SlotState(frozenset({"a"}), (("a", 0),))

    def test_of_many_that_wait_at_once_none_is_lost(self, slots: Slots) -> None:
        self.race([partial(slots.enqueue, FLOW, f"e{number:02}", START, 0) for number in range(CONTENDERS)])
        assert slots.state(FLOW).queue == tuple((f"e{number:02}", 0) for number in range(CONTENDERS))

    def test_of_many_that_race_for_the_last_slot_one_gets_it(self, slots: Slots) -> None:
        won = self.race([partial(slots.acquire, FLOW, f"e{number}", 3, 0) for number in range(CONTENDERS)])
        assert won.count(True) == 3
        assert len(slots.state(FLOW).holders) == 3

    def test_what_is_given_back_late_stays_with_who_took_it_again(self, slots: Slots) -> None:
        slots.acquire(FLOW, "a", 1, 3)
        slots.acquire(FLOW, "a", 1, 9)
        slots.release(FLOW, "a", 8)
        assert slots.state(FLOW).holders == {"a"}
        slots.release(FLOW, "a", 9)
        assert slots.state(FLOW).holders == frozenset()

    def test_who_comes_late_holds_what_a_later_entry_took(self, slots: Slots) -> None:
        for limit in (1, 0, None):
            slots.acquire(FLOW, "a", None, 9)
            assert slots.acquire(FLOW, "a", limit, 3)
            slots.release(FLOW, "a", 8)
            assert slots.state(FLOW).holders == {"a"}

    def test_a_late_release_leaves_the_place_that_a_later_entry_took(self, slots: Slots) -> None:
        slots.enqueue(FLOW, "a", START, 3)
        slots.enqueue(FLOW, "a", START, 9)
        slots.enqueue(FLOW, "a", START, 5)
        slots.release(FLOW, "a", 8)
        assert slots.state(FLOW).queue == (("a", 9),)
        slots.release(FLOW, "a", 9)
        assert slots.state(FLOW).queue == ()
