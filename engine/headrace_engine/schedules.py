"""Starts executions at the dates of Schedule and ScheduleOnDates triggers (reference §8.1, §8.2).

What is kept of a schedule stands in its trigger's record; `core.schedule` says what follows from it. A schedule is
looked at when an alarm rings for it, when an execution of it has ended, when its flow was saved, when a person asked
for something, and by the sweep. A look may be cut off at any point and come again, late, twice or early:

1. What the stored state calls for is started again, unless it has begun; its id makes that harmless (DESIGN §3.4).
2. The state is evaluated. The alarm for the next date is set.
3. The new state is stored, only over the one that was read: of two looks at the same time, one gets on.
4. What it calls for is started.

Cut off before 3, nothing was decided: whoever looks next decides. After 3, the state calls for what has not begun, and
the next look starts it: the alarm that rang is not done with and rings again, and the record says when the sweep is to
look. An alarm whose date has been dealt with sets no other, so that one that was doubled dies out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Container
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.messages import Create
from headrace_engine.core.schedule.evaluate import (
    EFFORT,
    Decision,
    PassedOver,
    evaluate,
    execution_ended,
    neighbours,
    no_longer_runs,
)
from headrace_engine.core.schedule.trigger import Backfill, Start, TriggerState, execution_id
from headrace_engine.engine import CORRELATION_LABEL, CheckFailedError, Engine, UnsupportedError
from headrace_engine.flow_triggers import FROM_LABEL
from headrace_engine.inputs import InputError
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import id_for_key
from headrace_engine.model.state import State
from headrace_engine.model.trigger import DATED, POLLED, SCHEDULES
from headrace_engine.polling import Look, Polls
from headrace_engine.ports import PortError, Queues, StateChange, TriggerChangedError, TriggerRecord
from headrace_engine.run_stores import execution_folder
from headrace_engine.schedule_reading import (
    FlowSchedule,
    Renderer,
    UnreadableSchedule,
    found_trigger,
    iso,
    read_schedule,
)
from headrace_engine.schedule_records import is_schedules, state_in, with_state
from headrace_engine.services import Channels, Stores
from headrace_engine.trigger_switch import TRIES

_log = logging.getLogger(__name__)

_MENTIONS_ONE = re.compile(r"Schedule|\.http\.Trigger|\.sqs\.")
"""What the source of every flow with a trigger that must be looked at holds; the others need not be read."""
ASKED = 250
"""How many dates one look asks the store for, whether they have an execution; the rest is for the next look."""
_BACKSTOP = timedelta(minutes=10)
"""After so long somebody looks whether what was started has begun and ended, should nobody have said so."""
_LONGEST_BACKSTOP = timedelta(hours=6)
_SETTLES = timedelta(minutes=15)
"""Whoever saves a flow has done so, or never will, so long after they had its schedules marked."""
_PROMPT = timedelta(minutes=1)
"""What was due no longer ago is left to its alarm by the sweep."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which trigger."""

    namespace: str
    flow_id: str
    trigger_id: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.flow_id}.{self.trigger_id}"


class Schedules:
    """Looks at schedules. Safe to call from many threads, and in many processes at once."""

    def __init__(
        self,
        engine: Engine,
        channels: Channels,
        on_start: Callable[[str], None] = lambda _execution_id: None,
        queues: Queues | None = None,
    ) -> None:
        """Take what it works with; on_start is told every execution it starts, again when it is started again.

        Triggers that poll are looked at, too; they read *queues*.
        """
        self._engine = engine
        self._stores = engine.stores
        self._channels = channels
        self._on_start = on_start
        self.polls = Polls(engine, channels, queues, on_start)

    def look(
        self, namespace: str, flow_id: str, trigger_id: str, *, rung: datetime | None = None, anew: bool = False
    ) -> None:
        """Start what a schedule calls for by now; done, and durable, when this returns.

        rung is the due of the alarm that rang, if one did. anew: alarms that were set before are lost. A trigger that
        is gone, or no schedule, starts nothing. Raises PortError, or NewerFormatError for what a newer version wrote:
        then look again.
        """
        _Look(self, Key(namespace, flow_id, trigger_id), rung=rung, anew=anew).take()

    def hear(self, change: StateChange) -> None:
        """Take note that an execution ended, and start what waited for that. Raises as `look`."""
        if change.trigger_id is not None and change.state.is_terminal:
            _Look(self, Key(change.namespace, change.flow_id, change.trigger_id), ended=change).take()

    def sweep(self) -> int:
        """Look at the schedules that somebody should have looked at by now; return how many there were."""
        count = 0
        for record in self._stores.triggers.due(self._stores.clock.now() - _PROMPT):
            self._look_kindly(Key(record.namespace, record.flow_id, record.trigger_id))
            count += 1
        return count

    def set_going(self) -> None:
        """Look at all schedules there are: the alarms that were set before were lost with the process."""
        for source in self._stores.flows.list():
            if not _MENTIONS_ONE.search(source.source):
                continue
            try:
                flow = self._engine.flow_of(source.namespace, source.id, source.revision).definition
            except ValueError:
                _log.exception("The triggers of %s.%s cannot be read", source.namespace, source.id)
                continue
            for trigger in flow.triggers:
                if trigger.type in DATED:
                    self._look_kindly(Key(flow.namespace, flow.id, trigger.id), anew=True)

    def _look_kindly(self, key: Key, *, anew: bool = False) -> None:
        """Look at one of many: if it fails, that must not keep anybody from the others."""
        try:
            _Look(self, key, anew=anew).take()
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("The trigger %s failed", key)

    # -- What a look needs --------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine whose schedules these are."""
        return self._engine

    def arm(self, key: Key, due: datetime) -> None:
        """Have a schedule looked at when it is due."""
        self._channels.timers.wake_trigger(key.namespace, key.flow_id, key.trigger_id, due)

    def start(self, schedule: FlowSchedule, backfill: Backfill | None, start: Start) -> None:
        """Start the execution of a date; starting it again changes nothing."""
        created = self._created(schedule, backfill if start.backfill else None, start)
        self._channels.mailbox.send(start.execution_id, encode_message(Create(created)))
        self._on_start(start.execution_id)

    def _created(self, schedule: FlowSchedule, backfill: Backfill | None, start: Start) -> ExecutionCreated:
        """Return the first event of an execution; one that cannot be as its trigger says is FAILED (reference §8.1)."""
        engine, flow, definition = self._engine, schedule.flow, schedule.definition
        variables = variables_at(schedule, start.date)
        host = engine.preparer.host_of(flow, start.execution_id, self._stores.clock.now())
        renderer = Renderer(engine, flow, host, variables)
        labels: dict[str, str] = {}
        try:
            labels |= {renderer.text(key): renderer.text(value) for key, value in definition.labels}
            labels |= dict(backfill.labels) if backfill is not None else {}
            labels[FROM_LABEL] = "trigger"
            if start.error is not None:
                raise ConditionFailed(start.error)
            inputs: dict[str, Any] = renderer.value(dict(definition.inputs)) if definition.inputs else {}
            inputs |= backfill.inputs if backfill is not None else {}
            _, created = engine.new_execution(
                flow.namespace,
                flow.id,
                inputs,
                labels=labels,
                execution_id=start.execution_id,
                revision=flow.revision,
                secrets=host.secrets_used,
            )
        except (ConditionFailed, InputError, CheckFailedError, UnsupportedError) as error:
            created = self._refused(schedule, start, labels, renderer.masked(str(error)))
        return replace(
            created,
            trigger={"id": definition.id, "type": definition.type, "variables": variables},
            start_at=start.date,
        )

    def _refused(self, schedule: FlowSchedule, start: Start, labels: dict[str, str], why: str) -> ExecutionCreated:
        flow = schedule.flow
        folder = f"{execution_folder(flow.namespace, flow.id, start.execution_id)}/_engine"
        none, _ = self._engine.payloads.make({}, folder, self._engine.settings.output_inline_limit)
        return ExecutionCreated(
            namespace=flow.namespace,
            flow_id=flow.id,
            flow_revision=flow.revision,
            inputs=none,
            labels=(*flow.labels, *labels.items(), (CORRELATION_LABEL, start.execution_id)),
            variables=dict(flow.variables),
            refused=why,
        )


class _Look:
    """One look at one schedule."""

    def __init__(
        self,
        schedules: Schedules,
        key: Key,
        *,
        rung: datetime | None = None,
        anew: bool = False,
        ended: StateChange | None = None,
    ) -> None:
        self.schedules = schedules
        self.stores = schedules.engine.stores
        self.key = key
        self.rung = rung
        self.anew = anew
        self.ended = ended

    def take(self) -> None:
        """Look until nobody else wrote meanwhile."""
        for _ in range(TRIES):
            # The record first: what it says of a flow that is being saved is seen, or the flow is.
            record = self.stores.triggers.get(self.key.namespace, self.key.flow_id, self.key.trigger_id)
            try:
                if self.decided(record):
                    return
            except TriggerChangedError:
                continue
        raise PortError(f"The trigger {self.key} is written too often to be looked at")

    def decided(self, record: TriggerRecord) -> bool:
        """Do what *record* calls for; False when it is to be read again. Raises TriggerChangedError."""
        now = self.stores.clock.now()
        found = found_trigger(self.schedules.engine, self.key.namespace, self.key.flow_id, self.key.trigger_id)
        if found is None or (found[1].type not in DATED and is_schedules(record)):
            self.forget(record, now)
            return True
        if found[1].type in POLLED:
            self.schedules.polls.decided(*found, record, Look(self.rung, self.anew, self.ended))
            return True
        if found[1].type not in SCHEDULES:
            return True
        try:
            schedule = read_schedule(self.schedules.engine, *found)
        except UnreadableSchedule as why:
            _log.error("The dates of the trigger %s cannot be told: %s", self.key, why)
            self.put(record, replace(record, due=now + _BACKSTOP))
            return True
        state = self.looked_after(schedule, state_in(record, now), now)
        self.store(schedule, record, self.evaluated(schedule, state, now), now)
        return True

    def evaluated(self, schedule: FlowSchedule, state: TriggerState, now: datetime) -> Decision:
        """Return what a schedule calls for; a date whose key has had its execution calls for none."""
        existing = Existing(self.schedules.engine, schedule)
        asks = state.backfill is not None and state.backfill.missing_only
        decision = evaluate(schedule.trigger, state, now, existing=existing, effort=ASKED if asks else EFFORT)
        if schedule.definition.idempotency_key is None:
            return decision
        for _ in range(ASKED):
            starts = self.keyed(schedule, decision.starts)
            if starts or not decision.starts:
                started = decision.state.started if not decision.starts else starts
                return replace(decision, state=replace(decision.state, started=started), starts=starts)
            state = decision.state
            for start in decision.starts:
                state = no_longer_runs(state, start.execution_id, now)
            decision = evaluate(schedule.trigger, state, now, existing=existing, effort=ASKED)
        for start in decision.starts:
            state = no_longer_runs(state, start.execution_id, now)
        return Decision(state, wake=now)

    def keyed(self, schedule: FlowSchedule, starts: tuple[Start, ...]) -> tuple[Start, ...]:
        """Return the executions to start, by the ids that follow from their keys; those that have begun left out."""
        kept: dict[str, Start] = {}
        for start in starts:
            try:
                made = id_by_key(self.schedules.engine, schedule, start.date)
            except ConditionFailed as error:
                kept[start.execution_id] = replace(start, error=start.error or str(error))
                continue
            if made is None:
                kept[start.execution_id] = start
            elif made not in kept and not has_begun(self.stores, made):
                kept[made] = replace(start, execution_id=made)
        return tuple(kept.values())

    def store(self, schedule: FlowSchedule, record: TriggerRecord, decision: Decision, now: datetime) -> None:
        """Set the alarm, store the decision and start what it calls for. Raises TriggerChangedError."""
        due = decision.wake if decision.wake is not None else self.backstop(decision.state, now)
        same = decision.state == state_in(record, now) and due == record.due and record.version
        wake = decision.wake
        if wake is not None and (not same or self.anew or (self.rung is not None and self.rung >= wake)):
            self.schedules.arm(self.key, wake)
        if not same:
            self.put(record, with_state(record, decision.state, due, now))
        for passed in decision.passed_over:
            self.tell(schedule, passed)
        for start in decision.starts:
            self.schedules.start(schedule, decision.state.backfill, start)

    def put(self, record: TriggerRecord, changed: TriggerRecord) -> None:
        if changed != record:
            self.stores.triggers.put(changed)

    def looked_after(self, schedule: FlowSchedule, state: TriggerState, now: datetime) -> TriggerState:
        """Return the state with what is known to have ended left out; what has not begun is started again."""
        if self.ended is not None and self.concerns(schedule, state, self.ended):
            state = execution_ended(schedule.trigger, state, self.ended.execution_id, self.ended.state, self.ended.at)
        for start in state.started:
            state = self.followed(schedule, state, start, now)
        return state

    def followed(self, schedule: FlowSchedule, state: TriggerState, start: Start, now: datetime) -> TriggerState:
        """Return the state with what is known of an execution that was called for; start it unless it has begun."""
        summary = self.stores.executions.get(start.execution_id)
        if summary is not None:
            return self.seen(schedule, state, start, summary.state, summary.end or now)
        # What it says of itself may be lost with a crash, or not be written yet.
        execution = self.schedules.engine.platform.state(start.execution_id)
        if execution is not None and execution.exists:
            return self.seen(schedule, state, start, execution.state, execution.histories[-1][1])
        if self.stores.journal.is_purged(start.execution_id):
            return no_longer_runs(state, start.execution_id, now)
        self.schedules.start(schedule, state.backfill, start)
        return state

    def seen(
        self, schedule: FlowSchedule, state: TriggerState, start: Start, stands: State, at: datetime
    ) -> TriggerState:
        if stands.is_terminal:
            return execution_ended(schedule.trigger, state, start.execution_id, stands, at)
        if schedule.trigger.allow_concurrent:  # it is no lock, and it has begun: nothing is left to see to
            return no_longer_runs(state, start.execution_id, at)
        return state

    def concerns(self, schedule: FlowSchedule, state: TriggerState, ended: StateChange) -> bool:
        """Return whether an execution was one of this schedule, as far as that matters."""
        if any(start.execution_id == ended.execution_id for start in state.started):
            return True
        if ended.state not in schedule.trigger.stop_after:
            return False
        execution = self.schedules.engine.platform.state(ended.execution_id)
        created = execution.created if execution is not None else None
        # A Subflow task of another flow may have the trigger's id.
        return created is not None and (created.trigger or {}).get("type") == schedule.definition.type

    def backstop(self, state: TriggerState, now: datetime) -> datetime | None:
        """Return when to look whether what was started has ended; the longer it takes, the less often."""
        if not state.started or state.disabled:
            return None
        since = min((start.called for start in state.started if start.called is not None), default=now)
        return now + min(max(_BACKSTOP, now - since), _LONGEST_BACKSTOP)

    def forget(self, record: TriggerRecord, now: datetime) -> None:
        """Forget a trigger that its flow has no more, unless somebody may be about to save a flow that has it."""
        is_marked = record.due is not None and timedelta(0) <= now - record.due <= _SETTLES
        if record.version and not is_marked and self.ended is None:
            empty = TriggerRecord(record.namespace, record.flow_id, record.trigger_id, record.version)
            self.put(record, empty)

    def tell(self, schedule: FlowSchedule, passed: PassedOver) -> None:
        _log.warning(
            "The trigger %s passes over its dates from %s on, before %s: %s",
            self.key,
            iso(schedule.local(passed.first)),
            iso(schedule.local(passed.until)),
            "they were missed" if passed.reason == "MISSED" else "they are too late",
        )


class Existing(Container[datetime]):
    """The dates of a trigger that have an execution, or had one."""

    def __init__(self, engine: Engine, schedule: FlowSchedule) -> None:
        self._engine = engine
        self._schedule = schedule

    def __contains__(self, date: object) -> bool:
        if not isinstance(date, datetime):
            return False
        trigger = self._schedule.trigger
        try:
            made = id_by_key(self._engine, self._schedule, date)
        except ConditionFailed:
            made = None
        return has_begun(
            self._engine.stores, made or execution_id(trigger.namespace, trigger.flow_id, trigger.id, date)
        )


def has_begun(stores: Stores, made: str) -> bool:
    """Return whether there is an execution of that id, or was one."""
    return stores.executions.get(made) is not None or stores.journal.is_purged(made)


def variables_at(schedule: FlowSchedule, date: datetime) -> dict[str, str]:
    """Return `trigger` in expressions, for a date."""
    local = schedule.local(date)
    near = neighbours(schedule.trigger, local)
    variables = {"date": iso(local)}
    for name, other in (("next", near.next), ("previous", near.previous)):
        if other is not None:
            variables[name] = iso(schedule.local(other))
    return variables


def id_by_key(engine: Engine, schedule: FlowSchedule, date: datetime) -> str | None:
    """Return the id that the trigger's `idempotencyKey` gives a date; None without one, or a blank one.

    Raises ConditionFailed when it cannot be rendered.
    """
    template = schedule.definition.idempotency_key
    if template is None:
        return None
    flow = schedule.flow
    host = engine.preparer.host_of(flow, "", engine.stores.clock.now())
    key = Renderer(engine, flow, host, variables_at(schedule, date)).text(template).strip()
    return id_for_key(flow.namespace, flow.id, schedule.definition.id, key) if key else None
