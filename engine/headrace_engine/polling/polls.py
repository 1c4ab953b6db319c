"""Looks at polling triggers: when one is due it asks, and starts what the answer calls for (reference §8.5).

What is kept of one stands in its trigger's record, as a schedule's does: the instant it is due next, and the execution
it waits for, unless it may have several at a time. A look may be cut off at any point and come again, late, twice or
early; what is asked has a name, so that what an answer starts is started once.

Only an alarm that rang makes it ask. Whoever else looks (a person who saved the flow, an execution that ended, the
sweep) sets an alarm: they have no time for an answer that may take seconds. The alarm for the next time is set before
the record is stored; one whose time has been dealt with sets no other, so that one that was doubled dies out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.messages import Create
from headrace_engine.core.schedule.evaluate import no_longer_runs, set_disabled
from headrace_engine.core.schedule.trigger import Start, TriggerState
from headrace_engine.engine import Engine
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.model.trigger import HTTP, SQS_REALTIME, TriggerDefinition
from headrace_engine.polling import http, sqs
from headrace_engine.polling.asked import Poll, Polled, PollFailed, duration
from headrace_engine.ports import Queues, StateChange, TriggerRecord
from headrace_engine.schedule_records import state_in, with_state
from headrace_engine.services import Channels
from headrace_engine.trigger_events import Happened, TriggerEvent, id_for_event

_log = logging.getLogger(__name__)

_INTERVAL = timedelta(minutes=1)
_LEAST = timedelta(seconds=1)
_AFTER_ERROR = timedelta(seconds=10)
"""A trigger that asks without a pause has one after it failed."""
_BACKSTOP = timedelta(minutes=10)
"""After so long somebody looks whether the execution that is waited for has ended, should nobody have said so."""


@dataclass(frozen=True, slots=True)
class Look:
    """Why somebody looks."""

    rung: datetime | None = None
    """The due of the alarm that rang, if one did."""
    anew: bool = False
    """The alarms that were set before are lost."""
    ended: StateChange | None = None
    """An execution of the trigger that ended."""


class Polls:
    """Looks at polling triggers. Safe to call from many threads, and in many processes at once."""

    def __init__(
        self,
        engine: Engine,
        channels: Channels,
        queues: Queues | None = None,
        on_start: Callable[[str], None] = lambda _execution_id: None,
    ) -> None:
        """Take what it works with; without *queues* none can be read."""
        self._engine = engine
        self._stores = engine.stores
        self._channels = channels
        self._queues = queues
        self._on_start = on_start

    def decided(self, flow: FlowDefinition, trigger: TriggerDefinition, record: TriggerRecord, look: Look) -> None:
        """Do what *record* calls for. Raises TriggerChangedError when somebody else wrote it meanwhile; PortError."""
        now = self._stores.clock.now()
        kept = state_in(record, now)
        state = self._looked_after(trigger, _current(trigger, kept), look.ended, now)
        if state.disabled or trigger.disabled or flow.disabled or trigger.unsupported is not None:
            self._store(record, kept, replace(state, fingerprint="", next=None), None, now)
            return
        if state.started:
            self._store(record, kept, state, now + _BACKSTOP, now)
            return
        due = state.next or now
        if look.rung is not None and now >= due:
            self._poll(flow, trigger, record, replace(state, next=due))
            return
        state = replace(state, next=due)
        if look.anew or look.rung is None or look.rung >= due:
            self._arm(record, max(due, now))
        self._store(record, kept, state, due, now)

    def _poll(
        self, flow: FlowDefinition, trigger: TriggerDefinition, record: TriggerRecord, state: TriggerState
    ) -> None:
        """Ask, store that it was asked, and when it will be again."""
        clock = self._stores.clock
        begun, due = clock.now(), state.next
        assert due is not None  # noqa: S101 - its caller saw to it
        poll = Poll(flow, trigger, due.astimezone(UTC))
        polled, failed = Polled(), False
        pause = _INTERVAL
        try:
            pause = self._pause(poll)
            polled = self._asked(poll)
        except (PollFailed, ConditionFailed) as error:
            failed = True
            polled = self._failed(poll, str(error))
        for problem in polled.problems:
            _log.warning("The trigger %s: %s", _name(poll), problem)
        now = clock.now()
        following = now if polled.has_more else max(begun + pause, now + (_AFTER_ERROR if failed else timedelta(0)))
        state = replace(state, next=following, date=due)
        for execution_id in polled.started:
            self._on_start(execution_id)
        if polled.started and trigger.type != SQS_REALTIME and not trigger.allow_concurrent:
            waits = Start(polled.started[-1], poll.date, called=now)
            self._put(record, state=replace(state, started=(waits,)), due=now + _BACKSTOP, now=now)
            return
        self._arm(record, following)
        self._put(record, state=state, due=following, now=now)

    def _asked(self, poll: Poll) -> Polled:
        """Ask, unless the trigger's conditions do not hold. Raises PollFailed, ConditionFailed."""
        event = TriggerEvent(self._engine, Happened(poll.flow, poll.trigger, poll.variables), "")
        if not event.fires():
            return Polled()
        mailbox = self._channels.mailbox
        if poll.trigger.type == HTTP:
            return http.ask(self._engine, mailbox, poll)
        return sqs.take(self._engine, mailbox, self._queues, poll, self._engine.settings.queue_wait)

    def _failed(self, poll: Poll, why: str) -> Polled:
        """Tell why nobody could be asked; with `failOnTriggerError`, by an execution that fails."""
        _log.warning("The trigger %s failed: %s", _name(poll), why)
        if not poll.trigger.fail_on_error:
            return Polled()
        happened = Happened(poll.flow, poll.trigger, poll.variables)
        execution_id = id_for_event(happened, "poll", poll.date.isoformat())
        created = TriggerEvent(self._engine, happened, execution_id).failed(why)
        self._channels.mailbox.send(execution_id, encode_message(Create(created)))
        return Polled((execution_id,))

    def _pause(self, poll: Poll) -> timedelta:
        """Return the time between two polls. Raises ConditionFailed."""
        if poll.trigger.type == SQS_REALTIME:
            return self._engine.settings.realtime_pause
        given = poll.trigger.properties.get("interval")
        if isinstance(given, str) and "{" in given:
            event = TriggerEvent(self._engine, Happened(poll.flow, poll.trigger, poll.variables), "")
            given = event.render(given)
        return max(duration(given, "interval", _INTERVAL), _LEAST)

    # -- What it waits for --------------------------------------------------------------------------

    def _looked_after(
        self, trigger: TriggerDefinition, state: TriggerState, ended: StateChange | None, now: datetime
    ) -> TriggerState:
        """Return the state with what is known to have ended left out."""
        if ended is not None and self._is_ours(trigger, state, ended):
            waited = any(start.execution_id == ended.execution_id for start in state.started)
            state = no_longer_runs(state, ended.execution_id, ended.at)
            known = not waited and state.enabled_since is not None and ended.at <= state.enabled_since
            if ended.state in trigger.stop_after and not known and not state.disabled:
                state = set_disabled(state, now, disabled=True)
        for start in state.started:
            execution = self._engine.platform.state(start.execution_id)
            over = (
                execution.state.is_terminal
                if execution is not None and execution.exists
                else self._stores.journal.is_purged(start.execution_id)
            )
            if over:
                state = no_longer_runs(state, start.execution_id, now)
                if execution is not None and execution.exists and execution.state in trigger.stop_after:
                    state = set_disabled(state, now, disabled=True)
        return state

    def _is_ours(self, trigger: TriggerDefinition, state: TriggerState, ended: StateChange) -> bool:
        if any(start.execution_id == ended.execution_id for start in state.started):
            return True
        if ended.state not in trigger.stop_after:
            return False
        execution = self._engine.platform.state(ended.execution_id)
        created = execution.created if execution is not None else None
        # A Subflow task of another flow may have the trigger's id.
        return created is not None and (created.trigger or {}).get("type") == trigger.type

    # -- The record ---------------------------------------------------------------------------------

    def _arm(self, record: TriggerRecord, due: datetime) -> None:
        self._channels.timers.wake_trigger(record.namespace, record.flow_id, record.trigger_id, due)

    def _store(
        self, record: TriggerRecord, kept: TriggerState, state: TriggerState, due: datetime | None, now: datetime
    ) -> None:
        if state != kept or (due != record.due and not (state.started and record.due and record.due > now)):
            self._put(record, state=state, due=due, now=now)

    def _put(self, record: TriggerRecord, *, state: TriggerState, due: datetime | None, now: datetime) -> None:
        self._stores.triggers.put(with_state(record, state, due, now))


def _current(trigger: TriggerDefinition, state: TriggerState) -> TriggerState:
    """Return the state for the trigger as it is now: one that was changed is due at once."""
    fingerprint = derived_id("poll", trigger.type, repr(sorted(trigger.properties.items(), key=lambda item: item[0])))
    return state if state.fingerprint == fingerprint else replace(state, fingerprint=fingerprint, next=None)


def _name(poll: Poll) -> str:
    return f"{poll.flow.namespace}.{poll.flow.id}.{poll.trigger.id}"
