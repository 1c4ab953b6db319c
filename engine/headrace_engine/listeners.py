"""Which triggers listen to which flows, and to events: from the latest revisions, kept up to date as they change."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import EVENTBRIDGE, FLOW_TRIGGER, S3, ConditionDefinition, TriggerDefinition
from headrace_engine.ports import Clock, Flows, FlowSource

_log = logging.getLogger(__name__)

_HEARD = frozenset({FLOW_TRIGGER, EVENTBRIDGE, S3})
"""The types that hear of something."""
_MENTIONS_FLOW_TRIGGER = re.compile(r"\.(?:trigger|triggers\.types)\.Flow\b")
_MENTIONS_EVENT_TRIGGER = re.compile(r"\.(?:eventbridge|s3)\.Trigger\b")
"""What the source of every flow with such a trigger holds; the others need not be read."""


def mentions_flow_trigger(source: str) -> bool:
    """Return whether the source of a flow may hold a Flow trigger."""
    return _MENTIONS_FLOW_TRIGGER.search(source) is not None


def _mentions_one(source: str) -> bool:
    return mentions_flow_trigger(source) or _MENTIONS_EVENT_TRIGGER.search(source) is not None


Place = tuple[str | None, str | None]
"""A flow (namespace, id), all flows of a namespace (id None), or all there are (both None)."""
_EVERYWHERE: Place = (None, None)
_SETTLES = timedelta(seconds=30)
"""How long after a change its list of flows may lag behind, and clocks may differ."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A trigger of the latest revision of a flow, that hears of something."""

    flow: FlowDefinition
    trigger: TriggerDefinition


class Listeners:
    """The triggers of all flows that hear of something; Flow triggers by the flow they listen to.

    Safe to use from many threads.

    They are read from the store when somebody first asks; from then on whoever changes a flow says so, or, where
    other processes change flows, the store does.
    """

    def __init__(
        self,
        flows: Flows,
        compiled: Callable[[FlowSource], FlowDefinition],
        clock: Clock,
        *,
        others_change_flows: bool = False,
    ) -> None:
        self._clock = clock
        self._others_change_flows = others_change_flows
        self._changed: datetime | None = None
        """What the store said of its last change before the triggers were read."""
        self._settled = False
        """Whether that was long enough before."""
        self._flows = flows
        self._compiled = compiled
        self._lock = threading.RLock()
        self._by_flow: dict[tuple[str, str], tuple[Listener, ...]] = {}
        self._at: Mapping[Place, tuple[Listener, ...]] = {}
        self._of_events: Mapping[str, tuple[Listener, ...]] = {}
        self._is_read = False

    def of(self, namespace: str, flow_id: str) -> Iterator[Listener]:
        """Yield the triggers that may listen to a flow, never those of the flow itself."""
        self._refresh()
        at = self._at
        if not at:
            return
        for place in ((namespace, flow_id), (namespace, None), _EVERYWHERE):
            for listener in at.get(place, ()):
                if (listener.flow.namespace, listener.flow.id) != (namespace, flow_id):
                    yield listener

    def of_type(self, trigger_type: str) -> tuple[Listener, ...]:
        """Return the triggers of a type that hears of events, of all flows."""
        self._refresh()
        return self._of_events.get(trigger_type, ())

    def _refresh(self) -> None:
        if not self._is_read or (self._others_change_flows and not self._is_current()):
            self.read()

    def _is_current(self) -> bool:
        return self._settled and self._flows.changed() == self._changed

    def read(self) -> None:
        """Read the latest revisions of all flows: at first, and when another process may have changed them."""
        with self._lock:
            self._changed = self._flows.changed()
            self._settled = self._changed is None or self._clock.now() - self._changed > _SETTLES
            found: dict[tuple[str, str], tuple[Listener, ...]] = {}
            for source in self._flows.list():
                if _mentions_one(source.source):
                    try:
                        definition = self._compiled(source)
                    except (FlowError, ValueError):
                        _log.exception("The triggers of %s.%s cannot be read", source.namespace, source.id)
                        continue
                    found[source.namespace, source.id] = _listeners(definition)
            self._by_flow = found
            self._rebuild()
            self._is_read = True

    def put(self, definition: FlowDefinition) -> None:
        """Take note of the latest revision of a flow."""
        with self._lock:
            key, found = (definition.namespace, definition.id), _listeners(definition)
            if self._is_read and (found or key in self._by_flow):
                self._by_flow[key] = found
                self._rebuild()

    def remove(self, namespace: str, flow_id: str) -> None:
        """Take note that a flow is gone."""
        with self._lock:
            if self._by_flow.pop((namespace, flow_id), None):
                self._rebuild()

    def _rebuild(self) -> None:
        at: dict[Place, tuple[Listener, ...]] = {}
        of_events: dict[str, tuple[Listener, ...]] = {}
        for key in sorted(self._by_flow):
            for listener in self._by_flow[key]:
                if listener.trigger.type != FLOW_TRIGGER:
                    kind = listener.trigger.type
                    of_events[kind] = (*of_events.get(kind, ()), listener)
                    continue
                for place in sorted(_places(listener.trigger), key=str):
                    at[place] = (*at.get(place, ()), listener)
        self._at, self._of_events = at, of_events


def _listeners(definition: FlowDefinition) -> tuple[Listener, ...]:
    if definition.disabled:
        return ()
    return tuple(
        Listener(definition, trigger)
        for trigger in definition.triggers
        if trigger.type in _HEARD and not trigger.disabled and trigger.unsupported is None
    )


def _places(trigger: TriggerDefinition) -> frozenset[Place]:
    """Return the narrowest places in which everything lies that the trigger can listen to; no two overlap."""
    options = [_place(condition) for condition in trigger.conditions]
    if trigger.gathering is not None:
        options.append(_union(trigger.gathering.members.values()))
    return min(options, key=lambda places: (_EVERYWHERE in places, len(places)), default=frozenset({_EVERYWHERE}))


def _place(condition: ConditionDefinition) -> frozenset[Place]:
    """Return where the executions lie for which a condition may hold."""
    properties = condition.properties
    match condition.type:
        case "ExecutionFlow":
            return frozenset({(str(properties["namespace"]), str(properties["flowId"]))})
        case "ExecutionNamespace" if properties.get("comparison", "EQUALS") == "EQUALS" and "prefix" not in properties:
            return frozenset({(str(properties["namespace"]), None)})
        case "All":
            inner = [_place(each) for each in condition.conditions]
            return min(inner, key=lambda places: (_EVERYWHERE in places, len(places)), default=_union(()))
        case "Or":
            return _union(condition.conditions)
        case "MultipleCondition" if condition.gathering is not None:
            return _union(condition.gathering.members.values())
    return frozenset({_EVERYWHERE})


def _union(conditions: Iterable[ConditionDefinition]) -> frozenset[Place]:
    found: set[Place] = set()
    for condition in conditions:
        found |= _place(condition)
    if not found or _EVERYWHERE in found:
        return frozenset({_EVERYWHERE})
    namespaces = {namespace for namespace, flow_id in found if flow_id is None}
    return frozenset(place for place in found if place[1] is None or place[0] not in namespaces)
