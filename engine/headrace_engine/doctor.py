"""Compares the triggers of flows with what exists outside for them, and puts right what can be.

What a trigger needs outside (a record and an alarm, a rule on a bus, a bucket's notifications) is made when its flow is
saved, and kept by whoever looks at it. It may be lost all the same: somebody removes a rule, a schedule, a table's
item. Nothing here changes a flow, and nothing that is as it should be is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial

from headrace_engine.engine import Engine, subscriptions_of
from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import DATED, S3, TriggerDefinition
from headrace_engine.ports import Alarms, Subscriptions, TriggerRecord
from headrace_engine.schedule_reading import found_trigger
from headrace_engine.schedule_records import is_schedules, state_in
from headrace_engine.trigger_switch import rewrite

LATE = timedelta(minutes=15)
"""The sweep comes every ten minutes: what was due so long ago, nobody looked at."""
_END = datetime.max.replace(tzinfo=UTC)


class Part(StrEnum):
    """What is not as it should be."""

    FLOW = "FLOW"
    TRIGGER = "TRIGGER"
    RECORD = "RECORD"
    """What is kept of a trigger."""
    ALARM = "ALARM"
    RULE = "RULE"
    """A rule on a bus."""
    BUCKET = "BUCKET"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    part: Part
    namespace: str
    flow_id: str
    trigger_id: str
    problem: str
    can_repair: bool
    """Whether it can be put right from here; otherwise *problem* says what somebody must do."""
    is_repaired: bool = False


class Doctor:
    """Examines one engine's triggers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stores = engine.stores

    def examine(self, *, repair: bool = False) -> Sequence[Finding]:
        """Return what is not as it should be; with *repair*, after it was put right where that can be.

        Raises PortError when it could not be told.
        """
        findings: list[Finding] = []
        flows: list[FlowDefinition] = []
        for source in self._stores.flows.list():
            try:
                flow = self._engine.flow_of(source.namespace, source.id, source.revision).definition
            except (FlowError, ValueError) as error:
                why = f"it cannot be read, and none of its triggers fires: {str(error).splitlines()[0]}"
                findings.append(Finding(Part.FLOW, source.namespace, source.id, "", why, can_repair=False))
                continue
            flows.append(flow)
            found = [*self._of_triggers(flow), *self._of_events(flow)]
            findings += self._repaired(flow, found) if repair else found
        findings += self._of_nobody(repair=repair)
        findings += self._rules_of_nobody(flows, repair=repair)
        return findings

    # -- Triggers that have dates, or poll ----------------------------------------------------------

    def _of_triggers(self, flow: FlowDefinition) -> Iterator[Finding]:
        for trigger in flow.triggers:
            if flow.disabled or trigger.disabled:
                continue
            if trigger.unsupported is not None:
                why = f"it cannot fire: {trigger.unsupported}; save its flow without it"
                yield _finding(Part.TRIGGER, flow, trigger, why, can_repair=False)
            elif trigger.type in DATED:
                yield from self._of_dated(flow, trigger)

    def _of_dated(self, flow: FlowDefinition, trigger: TriggerDefinition) -> Iterator[Finding]:
        now = self._stores.clock.now()
        record = self._stores.triggers.get(flow.namespace, flow.id, trigger.id)
        if record.disabled:
            return
        if not is_schedules(record):
            if record.due is None or record.due < now - LATE:
                yield _finding(Part.RECORD, flow, trigger, "nothing is kept of it: nobody has looked at it yet")
            return
        state = state_in(record, now)
        if record.due is None:
            if state.started or state.next is not None:
                yield _finding(Part.RECORD, flow, trigger, "its record does not say when somebody must look at it")
            return
        if record.due < now - LATE:
            yield _finding(Part.RECORD, flow, trigger, f"nobody looked at it, though it was due at {_text(record.due)}")
        elif record.due > now and not state.started and self._is_armed(record) is False:
            yield _finding(Part.ALARM, flow, trigger, f"no alarm is set for {_text(record.due)}, when it is due")

    def _is_armed(self, record: TriggerRecord) -> bool | None:
        alarms = self._engine.timers
        if record.due is None or not isinstance(alarms, Alarms):
            return None
        return alarms.is_set(record.namespace, record.flow_id, record.trigger_id, record.due)

    # -- Events -------------------------------------------------------------------------------------

    def _of_events(self, flow: FlowDefinition) -> Iterator[Finding]:
        subscriptions = self._engine.subscriptions
        if subscriptions is None:
            return
        buckets = {
            each.id: str(each.properties["bucket"])
            for each in flow.triggers
            if each.type == S3 and not (flow.disabled or each.disabled)
        }
        for drift in subscriptions.examine(flow.namespace, flow.id, subscriptions_of(flow), buckets):
            part = Part.RULE if drift.can_repair else Part.BUCKET
            yield Finding(part, flow.namespace, flow.id, drift.trigger_id, drift.problem, drift.can_repair)

    def _repaired(self, flow: FlowDefinition, found: Sequence[Finding]) -> list[Finding]:
        """Put right what was found of a flow; return it as it is then."""
        now = self._stores.clock.now()
        subscriptions = self._engine.subscriptions
        if subscriptions is not None and any(each.part is Part.RULE for each in found):
            wanted = subscriptions_of(flow)
            subscriptions.prepare(flow.namespace, flow.id, wanted, {})
            subscriptions.settle(flow.namespace, flow.id, wanted)
        for each in found:
            if each.part in (Part.RECORD, Part.ALARM):
                # Whoever looks at it now finds another due than the record has, and sets the alarm.
                due = partial(replace, due=now)
                rewrite(self._stores.triggers, flow.namespace, flow.id, each.trigger_id, due)
                self._engine.wake_trigger(flow.namespace, flow.id, each.trigger_id)
        return [replace(each, is_repaired=each.can_repair) for each in found]

    # -- What is left of others ---------------------------------------------------------------------

    def _of_nobody(self, *, repair: bool) -> Iterator[Finding]:
        """Yield the records that wait to be looked at, of triggers that are gone."""
        late = self._stores.clock.now() - LATE
        for record in list(self._stores.triggers.due(_END)):
            name = (record.namespace, record.flow_id, record.trigger_id)
            found = found_trigger(self._engine, *name)
            is_being_saved = record.due is not None and record.due > late and not is_schedules(record)
            if is_being_saved or (found is not None and found[1].type in DATED):
                continue
            if repair:
                self._stores.triggers.delete(*name)
            yield Finding(
                Part.RECORD, *name, "it is kept of a trigger that is gone", can_repair=True, is_repaired=repair
            )

    def _rules_of_nobody(self, flows: Sequence[FlowDefinition], *, repair: bool) -> Iterator[Finding]:
        """Yield the rules of flows that are gone."""
        subscriptions: Subscriptions | None = self._engine.subscriptions
        if subscriptions is None:
            return
        known = {(flow.namespace, flow.id) for flow in flows}
        for namespace, flow_id in subscriptions.flows():
            if (namespace, flow_id) in known or self._stores.flows.latest([(namespace, flow_id)]):
                continue
            if repair:
                subscriptions.settle(namespace, flow_id, ())
            why = "it brings events for a flow that is gone"
            yield Finding(Part.RULE, namespace, flow_id, "", why, can_repair=True, is_repaired=repair)


def _finding(
    part: Part, flow: FlowDefinition, trigger: TriggerDefinition, problem: str, *, can_repair: bool = True
) -> Finding:
    return Finding(part, flow.namespace, flow.id, trigger.id, problem, can_repair)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
