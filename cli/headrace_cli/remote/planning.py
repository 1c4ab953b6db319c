"""Compares a folder with a server, and says what is to be done there; reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from headrace_cli.remote.changes import Changes, Difference, Edges, Parts, Schedule, changes, edges
from headrace_cli.remote.checking import check
from headrace_cli.remote.client import RefusedError, Remote
from headrace_cli.remote.desired import Flow, of_server
from headrace_cli.remote.names import FlowName
from headrace_cli.remote.next_dates import next_dates
from headrace_cli.remote.saving import in_order
from headrace_engine.model.state import TERMINAL, State

Action = Literal["create", "change", "rewrite", "delete"]
"""What becomes of a flow. To rewrite is to change its text (comments, layout), and nothing of what it means."""

_SHOWN = 5
_OPEN = [state.value for state in State if state not in TERMINAL]


class Open(msgspec.Struct, frozen=True):
    """The executions of a flow that have not ended: they keep the revision that they began with."""

    total: int
    ids: tuple[str, ...]
    """Some of them."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be done to a flow, and what that means."""

    action: Action
    namespace: str
    id: str
    file: str = ""
    revision: int = 0
    """The one that the server has."""
    properties: tuple[Difference, ...] = ()
    tasks: Parts = Parts()
    triggers: Parts = Parts()
    edges: Edges = Edges()
    schedules: tuple[Schedule, ...] = ()
    executions: Open = Open(0, ())

    @property
    def name(self) -> FlowName:
        """The flow's name."""
        return FlowName(self.namespace, self.id)


class Plan(msgspec.Struct, frozen=True):
    """What is to be done on a server to have it hold a folder's flows, in order."""

    server: str
    steps: tuple[Step, ...]
    unchanged: int
    others: tuple[str, ...]
    """Flows of the same namespaces that only the server has, and that are left alone."""
    warnings: tuple[str, ...]

    def count(self, action: Action) -> int:
        """Return how many flows this is to be done to."""
        return sum(step.action == action for step in self.steps)


def make_plan(
    remote: Remote, wanted: Mapping[FlowName, Flow], *, deletes: bool, namespaces: Sequence[str], now: datetime
) -> Plan:
    """Return what is to be done. Raises ProblemsError when any flow is not valid, in the eyes of the server.

    Other flows in the namespaces of *wanted*, and in *namespaces* and below those, are deleted when it *deletes*.
    """
    stored = of_server(remote, {name.namespace for name in wanted}, namespaces)
    changed = [flow for flow in wanted.values() if flow.name not in stored or stored[flow.name].source != flow.source]
    warnings = check(remote, changed)
    others = [flow for name, flow in stored.items() if name not in wanted]
    steps = [_saved(remote, flow, stored.get(flow.name), now) for flow in in_order(changed)]
    if deletes:
        # What starts others goes before what it starts.
        steps += [_deleted(remote, flow) for flow in reversed(in_order(others))]
        others = []
    return Plan(
        remote.address,
        tuple(steps),
        len(wanted) - len(changed),
        tuple(sorted(str(flow.name) for flow in others)),
        tuple(warnings),
    )


def _saved(remote: Remote, flow: Flow, before: Flow | None, now: datetime) -> Step:
    namespace, flow_id = flow.name
    if before is None:
        coming = changes({}, flow.said)
        return Step(
            "create",
            namespace,
            flow_id,
            flow.file,
            tasks=coming.tasks,
            triggers=coming.triggers,
            schedules=next_dates(remote, flow, now),
        )
    found = changes(before.said, flow.said)
    drawn = _drawn(remote, before, flow) if found.tasks or _order(before) != _order(flow) else Edges()
    action: Action = "change" if _means_something(found, drawn) else "rewrite"
    return Step(
        action,
        namespace,
        flow_id,
        flow.file,
        before.revision,
        found.properties,
        found.tasks,
        found.triggers,
        drawn,
        next_dates(remote, flow, now) if action == "change" else (),
        _open(remote, flow.name),
    )


def _means_something(found: Changes, drawn: Edges) -> bool:
    return bool(found.properties or found.tasks or found.triggers or drawn)


def _order(flow: Flow) -> bytes:
    """Return what the order of tasks hangs on, as bytes that are others when it may be another."""
    return msgspec.json.encode({key: value for key, value in flow.said.items() if isinstance(value, list)})


def _drawn(remote: Remote, before: Flow, after: Flow) -> Edges:
    try:
        old = remote.send("POST", "/flows/graph", before.source)
    except RefusedError:  # what is stored is valid no longer, so it has no order
        old = {"nodes": [], "edges": []}
    return edges(old, remote.send("POST", "/flows/graph", after.source))


def _deleted(remote: Remote, flow: Flow) -> Step:
    gone = changes(flow.said, {})
    return Step(
        "delete",
        flow.name.namespace,
        flow.name.id,
        revision=flow.revision,
        triggers=gone.triggers,
        executions=_open(remote, flow.name),
    )


def _open(remote: Remote, name: FlowName) -> Open:
    wanted = {"filters[namespace][EQUALS]": name.namespace, "filters[flowId][EQUALS]": name.id, "state": _OPEN}
    answer = remote.ask("GET", "/executions/search", size=_SHOWN, **wanted)
    return Open(answer["total"], tuple(each["id"] for each in answer["results"]))
