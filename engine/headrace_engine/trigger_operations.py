"""What a person may ask of a trigger, and when it is refused (reference §14.5).

Each operation changes the trigger's record, over what was read, and has the trigger looked at; what follows from that
is for whoever looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime
from functools import partial
from typing import Any

from headrace_engine.core.schedule.backfill import BackfillRefused, with_backfill, with_paused, without_backfill
from headrace_engine.core.schedule.evaluate import EFFORT, preview, unlocked
from headrace_engine.core.schedule.trigger import TriggerState
from headrace_engine.engine import Engine
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.model.trigger import DATED, SCHEDULES, TriggerDefinition
from headrace_engine.operations import IllegalStateError, UnprocessableError
from headrace_engine.ports import NotFoundError, TriggerRecord
from headrace_engine.schedule_reading import FlowSchedule, UnreadableSchedule, found_trigger, read_schedule
from headrace_engine.schedule_records import state_in, switched, with_state
from headrace_engine.schedules import ASKED, Existing
from headrace_engine.trigger_switch import rewrite

PREVIEWED = 1_000
"""How many dates a preview lists."""


@dataclass(frozen=True, slots=True, order=True)
class TriggerName:
    """Which trigger is meant."""

    namespace: str
    flow_id: str
    trigger_id: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.flow_id}.{self.trigger_id}"


@dataclass(frozen=True, slots=True)
class AskedBackfill:
    """The dates of the past that somebody wants run."""

    start: datetime
    end: datetime | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    missing_only: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backfill would run."""

    dates: tuple[datetime, ...]
    more: datetime | None
    """The date to go on from, when there are more than are listed."""


class TriggerOperations:
    """The operations on triggers of one engine. Each returns the record as it stands then; all raise NotFoundError."""

    def __init__(self, engine: Engine, make_id: Callable[[], str] = new_id) -> None:
        """Take the engine; make_id names backfills."""
        self._engine = engine
        self._make_id = make_id

    def found(self, name: TriggerName) -> tuple[FlowDefinition, TriggerDefinition]:
        """Return a trigger of a flow's latest revision."""
        found = found_trigger(self._engine, name.namespace, name.flow_id, name.trigger_id)
        if found is None:
            raise NotFoundError(f"Trigger {name}")
        return found

    def set_disabled(self, name: TriggerName, *, disabled: bool) -> TriggerRecord:
        """Switch a trigger off, or on."""
        change: Callable[[TriggerRecord], TriggerRecord]
        if self.found(name)[1].type in DATED:
            change = partial(switched, now=self._engine.stores.clock.now(), disabled=disabled)
        else:
            change = partial(replace, disabled=disabled)
        return self._changed(name, lambda record: record if record.disabled is disabled else change(record))

    def start_backfill(self, name: TriggerName, asked: AskedBackfill) -> TriggerRecord:
        """Have dates of the past run, one after the other. Raises UnprocessableError."""
        schedule = self._schedule(name)
        backfill_id = self._make_id()

        def begun(state: TriggerState, now: datetime) -> TriggerState:
            return with_backfill(
                schedule.trigger,
                state,
                now,
                backfill_id=backfill_id,
                start=asked.start,
                end=asked.end,
                inputs=asked.inputs,
                labels=asked.labels,
                missing_only=asked.missing_only,
            )

        return self._moved(name, begun)

    def preview(self, name: TriggerName, asked: AskedBackfill) -> Preview:
        """Return the dates that such a backfill would run now. Raises UnprocessableError."""
        schedule = self._schedule(name)
        stores = self._engine.stores
        now = stores.clock.now()
        state = state_in(stores.triggers.get(name.namespace, name.flow_id, name.trigger_id), now)
        try:
            begun = with_backfill(schedule.trigger, state, now, backfill_id="", start=asked.start, end=asked.end)
        except BackfillRefused as refused:
            raise UnprocessableError(f"Illegal argument: {refused}") from None
        backfill = begun.backfill
        if backfill is None or backfill.next is None or backfill.next > backfill.end:
            return Preview((), None)
        existing = Existing(self._engine, schedule) if asked.missing_only else frozenset[datetime]()
        dates, more = preview(
            schedule.trigger,
            backfill.next,
            backfill.end,
            existing=existing,
            at_most=PREVIEWED,
            effort=2 * ASKED if asked.missing_only else EFFORT,
        )
        return Preview(tuple(schedule.local(date) for date in dates), None if more is None else schedule.local(more))

    def pause_backfill(self, name: TriggerName, *, paused: bool) -> TriggerRecord:
        """Have a backfill pause, or go on. Raises UnprocessableError when there is none."""
        self._schedule(name)
        return self._moved(name, lambda state, _now: with_paused(state, paused=paused))

    def delete_backfill(self, name: TriggerName) -> TriggerRecord:
        """End a backfill; what it started goes on. Raises UnprocessableError when there is none."""
        self._schedule(name)

        def ended(state: TriggerState, _now: datetime) -> TriggerState:
            if state.backfill is None:
                raise BackfillRefused("The trigger has no backfill.")
            return without_backfill(state)

        return self._moved(name, ended)

    def unlock(self, name: TriggerName) -> TriggerRecord:
        """Have a trigger wait no longer for the execution that it waits for. Raises IllegalStateError."""

        def freed(state: TriggerState, now: datetime) -> TriggerState:
            if not state.started:
                raise IllegalStateError(f"Illegal state: the trigger {name} is not locked")
            return unlocked(state, now)

        if self.found(name)[1].type not in DATED:
            raise IllegalStateError(f"Illegal state: the trigger {name} is not locked")
        return self._moved(name, freed)

    def restart(self, name: TriggerName) -> TriggerRecord:
        """Have a trigger looked at anew, waiting for nothing."""
        if self.found(name)[1].type in DATED:
            return self._moved(name, unlocked)
        self._engine.wake_trigger(name.namespace, name.flow_id, name.trigger_id)
        return self._engine.stores.triggers.get(name.namespace, name.flow_id, name.trigger_id)

    def delete(self, name: TriggerName) -> None:
        """Forget what is kept of a trigger; a flow that has it goes on with it as if it were new."""
        triggers = self._engine.stores.triggers
        record = triggers.get(name.namespace, name.flow_id, name.trigger_id)
        found = found_trigger(self._engine, name.namespace, name.flow_id, name.trigger_id)
        if found is None and not record.version:
            raise NotFoundError(f"Trigger {name}")
        if found is not None and found[1].type in DATED:
            # Not removed and made again: whoever is cut off between the two would leave a schedule without dates.
            now = self._engine.stores.clock.now()
            self._changed(name, lambda kept: with_state(kept, TriggerState(), now, now))
            return
        triggers.delete(name.namespace, name.flow_id, name.trigger_id)
        self._engine.wake_trigger(name.namespace, name.flow_id, name.trigger_id)

    def _schedule(self, name: TriggerName) -> FlowSchedule:
        flow, definition = self.found(name)
        if definition.type not in SCHEDULES:
            raise UnprocessableError(f"Illegal argument: the trigger {name} is no schedule: it has no dates")
        try:
            return read_schedule(self._engine, flow, definition)
        except UnreadableSchedule as error:
            raise UnprocessableError(f"Illegal argument: the dates of the trigger {name}: {error}") from None

    def _moved(self, name: TriggerName, move: Callable[[TriggerState, datetime], TriggerState]) -> TriggerRecord:
        now = self._engine.stores.clock.now()

        def change(record: TriggerRecord) -> TriggerRecord:
            state = state_in(record, now)
            try:
                moved = move(state, now)
            except BackfillRefused as refused:
                raise UnprocessableError(f"Illegal argument: {refused}") from None
            return record if moved == state else with_state(record, moved, None if moved.disabled else now, now)

        return self._changed(name, change)

    def _changed(self, name: TriggerName, change: Callable[[TriggerRecord], TriggerRecord]) -> TriggerRecord:
        triggers = self._engine.stores.triggers
        record = rewrite(triggers, name.namespace, name.flow_id, name.trigger_id, change)
        self._engine.wake_trigger(name.namespace, name.flow_id, name.trigger_id)
        return record
