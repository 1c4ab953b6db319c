"""Concurrency limits of flows: who may go on, who waits, who is next (DESIGN §3, reference §5.6)."""

from __future__ import annotations

from collections.abc import Callable

from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import SlotGranted
from headrace_engine.core.state import ExecutionState
from headrace_engine.known import FlowFor, read_journal
from headrace_engine.model.definition import Concurrency
from headrace_engine.ports import Clock, Executions, Journal, Mailbox, Slots
from headrace_engine.services import Stores

LimitOf = Callable[[str, str], Concurrency | None]
"""Returns the concurrency limit of a flow's latest revision; None when it has none."""
FOR_EVER = 2**53
"""No execution has so many entries."""


class SlotTaker:
    """Takes slots. One that an ended execution holds is nobody's.

    An executor that was too late with its entry may leave such a one, when it dies before it can give it back.
    """

    def __init__(self, stores: Stores, flow_for: FlowFor) -> None:
        self._slots: Slots = stores.slots
        self._executions: Executions = stores.executions
        self._journal: Journal = stores.journal
        self._flow_for = flow_for

    def take(self, state: ExecutionState, limit: int | None) -> bool:
        """Make the execution a holder if there is room, for the entry that is being made."""
        flow = flow_key(state)
        if self._slots.acquire(flow, state.id, limit, state.seq):
            return True
        return self.expel(flow) and self._slots.acquire(flow, state.id, limit, state.seq)

    def expel(self, flow: str) -> bool:
        """Take their slots from executions that have ended; False when none did.

        What one takes meanwhile, because it is restarted, is for a later entry, and stays.
        """
        found = False
        for holder in sorted(self._slots.state(flow).holders):
            ended = self._ended(holder)
            if ended is not None:
                self._slots.release(flow, holder, ended)
                found = True
        return found

    def _ended(self, execution_id: str) -> int | None:
        """Return the entry by which an execution has ended, however many come after it; None while it goes on."""
        summary = self._executions.get(execution_id)
        if summary is None:
            return FOR_EVER if self._journal.is_purged(execution_id) else None
        if not summary.state.is_terminal:
            return None
        known = read_journal(self._journal, execution_id, self._flow_for)
        return known.state.seq if known is not None and known.state.state.is_terminal else None


class SlotKeeper:
    """Gives slots to those that wait."""

    def __init__(self, slots: Slots, clock: Clock, mailbox: Mailbox, limit_of: LimitOf, taker: SlotTaker) -> None:
        self._slots = slots
        self._clock = clock
        self._mailbox = mailbox
        self._limit_of = limit_of
        self._taker = taker

    def join(self, state: ExecutionState) -> None:
        """Let the execution wait; a slot may have become free since it asked for one."""
        self._slots.enqueue(flow_key(state), state.id, self._clock.now(), state.seq)
        self.look_again(state)

    def look_again(self, state: ExecutionState) -> None:
        """Give out what slots there are, those of ended executions included."""
        self._taker.expel(flow_key(state))
        self.settle(state.flow.definition.namespace, state.flow.definition.id)

    def leave(self, state: ExecutionState) -> None:
        """Give back the execution's slot, and its place in the queue; who waits longest is next."""
        self._slots.release(flow_key(state), state.id, state.seq)
        self.settle(state.flow.definition.namespace, state.flow.definition.id)

    def forget(self, namespace: str, flow_id: str, execution_id: str) -> None:
        """Give back the slot of an execution that was purged."""
        if self._limit_of(namespace, flow_id) is not None:
            self._slots.release(f"{namespace}/{flow_id}", execution_id, FOR_EVER)
            self.settle(namespace, flow_id)

    def settle(self, namespace: str, flow_id: str) -> None:
        """Give free slots of a flow to who waits longest (DESIGN §3: add, send, remove; each idempotent).

        An id that holds a slot and waits too was granted one by somebody who died before it could tell.
        """
        flow = f"{namespace}/{flow_id}"
        latest = self._limit_of(namespace, flow_id)
        limit = latest.limit if latest is not None else None
        state = self._slots.state(flow)
        has_room = True
        for execution_id, seq in state.queue:
            if execution_id not in state.holders:
                has_room = has_room and self._slots.acquire(flow, execution_id, limit, seq)
                if not has_room:
                    continue
            self._mailbox.send(execution_id, encode_message(SlotGranted(seq)))
            self._slots.dequeue(flow, execution_id)


def flow_key(state: ExecutionState) -> str:
    """Return the name of the execution's flow among the slots."""
    return f"{state.flow.definition.namespace}/{state.flow.definition.id}"
