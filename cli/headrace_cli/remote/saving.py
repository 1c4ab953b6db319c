"""Saves flows one by one, in an order in which each finds what it starts."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

from headrace_cli.remote.client import RefusedError, Remote
from headrace_cli.remote.desired import Flow
from headrace_cli.remote.names import FlowName


def save_flow(remote: Remote, flow: Flow) -> int:
    """Have the server hold the flow; return its revision there. Doing it twice is doing it once."""
    try:
        saved = remote.send("PUT", f"/flows/{flow.name.path}", flow.source)
    except RefusedError as error:
        if error.status != 404:
            raise
        saved = remote.send("POST", "/flows", flow.source)
    return int(saved["revision"])


def in_order(flows: Iterable[Flow]) -> list[Flow]:
    """Return flows that triggers start behind all others, and among each kind what is called before what calls it."""
    by_name = {flow.name: flow for flow in sorted(flows, key=lambda flow: flow.name)}
    graph = {name: [called for called in _called(flow.said) if called in by_name] for name, flow in by_name.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError:  # flows that call each other: no order is better than another
        order = list(by_name)
    return sorted((by_name[name] for name in order), key=lambda flow: flow.has_triggers)


def _called(said: Any) -> list[FlowName]:
    """Return the flows that tasks name, at whatever depth."""
    found: list[FlowName] = []
    waiting = [said]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            namespace, flow_id = each.get("namespace"), each.get("flowId")
            if isinstance(namespace, str) and isinstance(flow_id, str):
                found.append(FlowName(namespace, flow_id))
            waiting += each.values()
    return sorted(set(found))
