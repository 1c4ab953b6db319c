"""How flows start each other: by the tasks that call others, and by the triggers that listen to others."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypedDict

from headrace_engine.engine import Engine
from headrace_engine.identity import is_within
from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition, Kind

_log = logging.getLogger(__name__)
_CALLS = re.compile(r"(?:Subflow|ForEachItem|\.Flow)\b")
"""What the source of every flow that calls another holds; the others need not be read."""

_SETTLES = timedelta(seconds=30)
"""How long after a change the list of flows may lag behind, and clocks may differ."""

Name = tuple[str, str]


class FlowNode(TypedDict):
    """A flow."""

    uid: str
    namespace: str
    id: str


class FlowEdge(TypedDict):
    """The flow *source* starts the flow *target*: by a task, or because that listens to it."""

    source: str
    target: str
    relation: Literal["FLOW_TASK", "FLOW_TRIGGER"]


class Topology(TypedDict):
    """Flows, and how they start each other."""

    nodes: list[FlowNode]
    edges: list[FlowEdge]


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """One flow starts another."""

    source: Name
    target: Name
    relation: Literal["FLOW_TASK", "FLOW_TRIGGER"]


class Dependencies:
    """Which flow starts which. Worked out from all flows when somebody asks and they have changed since."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: tuple[datetime | None, tuple[Link, ...]] | None = None

    def around(self, names: Iterable[Name], *, destination_only: bool, further: bool) -> list[Link]:
        """Return the links from these flows and, unless *destination_only*, to them; with *further* on and on."""
        names, links = list(names), self._links()
        found: dict[Link, None] = {}
        for reverse in (False,) if destination_only else (False, True):
            at: dict[Name, list[Link]] = {}
            for link in links:
                at.setdefault(link.target if reverse else link.source, []).append(link)
            waiting, seen = deque(names), set(names)
            while waiting:
                for link in at.get(waiting.popleft(), ()):
                    found[link] = None
                    other = link.source if reverse else link.target
                    if further and other not in seen:
                        seen.add(other)
                        waiting.append(other)
        return sorted(found)

    def topology(self, names: Iterable[Name], links: Sequence[Link], seen: Sequence[str]) -> Topology:
        """Return the links as a graph, with what lies in the namespaces *seen* alone."""

        def visible(name: Name) -> bool:
            return any(is_within(name[0], prefix) for prefix in seen)

        shown = [link for link in links if visible(link.source) and visible(link.target)]
        flows = {*filter(visible, names), *(end for link in shown for end in (link.source, link.target))}
        return {
            "nodes": [{"uid": _uid(name), "namespace": name[0], "id": name[1]} for name in sorted(flows)],
            "edges": [
                {"source": _uid(link.source), "target": _uid(link.target), "relation": link.relation} for link in shown
            ],
        }

    def _links(self) -> tuple[Link, ...]:
        stores = self._engine.stores
        changed = stores.flows.changed()
        known = self._known
        if known is not None and known[0] == changed:
            return known[1]
        with self._lock:
            links = self._read()
            if changed is None or stores.clock.now() - changed > _SETTLES:
                self._known = (changed, links)
            return links

    def _read(self) -> tuple[Link, ...]:
        found: set[Link] = set()
        for source in self._engine.stores.flows.list():
            name = (source.namespace, source.id)
            if _CALLS.search(source.source):
                try:
                    definition = self._engine.flow_of(*name, source.revision).definition
                except (FlowError, ValueError):
                    _log.warning("What %s.%s calls cannot be read", *name)
                else:
                    found |= {Link(name, called, "FLOW_TASK") for called in calls(definition)}
            found |= {
                Link(name, (listener.flow.namespace, listener.flow.id), "FLOW_TRIGGER")
                for listener in self._engine.listeners.of(*name)
            }
        return tuple(sorted(found))


def calls(flow: FlowDefinition) -> set[Name]:
    """Return the flows that the tasks of *flow* start, where they name them outright."""
    found = set()
    for task in flow.walk():
        if task.kind in (Kind.SUBFLOW, Kind.ITEMS):
            namespace, flow_id = task.properties.get("namespace"), task.properties.get("flowId")
            if isinstance(namespace, str) and isinstance(flow_id, str) and "{" not in namespace + flow_id:
                found.add((namespace, flow_id))
    return found


def _uid(name: Name) -> str:
    return f"main_{name[0]}_{name[1]}"
