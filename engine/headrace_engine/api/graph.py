"""A flow as a graph, in the shape of Kestra's: nodes, edges, and clusters that hold what lies within a flowable task.

Uids say where a node lies: ``root.<flowable>.<task>``; each cluster begins and ends with a node of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, NotRequired, TypedDict

from headrace_engine.model.definition import FlowDefinition, Kind, TaskDefinition
from headrace_engine.model.frozen import dataclass

_PACKAGE = "io.kestra.core.models.hierarchies."
_LISTS = frozenset({"tasks", "then", "else", "cases", "defaults", "errors", "finally", "onWait", "onApprove", "onDeny"})

RelationType = Literal["SEQUENTIAL", "CHOICE", "ERROR", "FINALLY", "AFTER_EXECUTION", "PARALLEL", "DYNAMIC"]


class Node(TypedDict):
    """A task, a trigger, or where a cluster begins or ends."""

    uid: str
    type: str
    task: NotRequired[dict[str, Any]]
    triggerDeclaration: NotRequired[dict[str, Any]]
    branchType: NotRequired[Literal["ERROR", "FINALLY", "AFTER_EXECUTION"]]


class Relation(TypedDict):
    """Why one node follows another; value names the branch that is chosen."""

    relationType: RelationType
    value: NotRequired[str]


class Edge(TypedDict):
    """From one node to another."""

    source: str
    target: str
    relation: Relation


class Cluster(TypedDict):
    """What lies together; nodes holds uids, parents those of the clusters around it, the outermost first."""

    cluster: Node
    nodes: list[str]
    parents: list[str]
    start: str
    end: str


class Graph(TypedDict):
    """The whole."""

    nodes: list[Node]
    edges: list[Edge]
    clusters: list[Cluster]
    flowables: list[str]


Subflow = Callable[[TaskDefinition], tuple[FlowDefinition, Mapping[str, Any]] | None]


def flow_graph(
    flow: FlowDefinition,
    written: Mapping[str, Any],
    *,
    expanded: Iterable[str] = (),
    subflow: Subflow = lambda _task: None,
) -> Graph:
    """Return the graph of a flow; *written* is what its author wrote (`headrace_engine.language.source.written`).

    The subflows whose nodes' uids are *expanded* are drawn as clusters, where *subflow* returns their flow.
    """
    drawing = _Drawing(frozenset(expanded), subflow)
    drawing.flow(flow, written, "root", ())
    return {
        "nodes": drawing.nodes,
        "edges": drawing.edges,
        "clusters": drawing.clusters,
        "flowables": [task.id for task in flow.walk() if task.branches],
    }


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something is drawn: in a cluster, below a uid, of a flow whose tasks its author wrote so."""

    cluster: Cluster
    uid: str
    own: Mapping[str, Any]

    @property
    def start(self) -> str:
        return self.cluster["start"]

    @property
    def end(self) -> str:
        return self.cluster["end"]


@dataclass(slots=True)
class _Drawing:
    expanded: frozenset[str]
    subflow: Subflow
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)

    def flow(self, flow: FlowDefinition, written: Mapping[str, Any], uid: str, parents: tuple[str, ...]) -> Cluster:
        """Draw a flow as a cluster."""
        node: Node = {"uid": f"cluster_{uid}", "type": f"{_PACKAGE}GraphCluster"}
        root = _Place(self._cluster(uid, node, parents), uid, written_tasks(written))
        triggers = {each.get("id"): each for each in written.get("triggers") or () if isinstance(each, dict)}
        for trigger in flow.triggers:
            node = {
                "uid": f"{uid}.triggers.{trigger.id}",
                "type": f"{_PACKAGE}GraphTrigger",
                "triggerDeclaration": {**triggers.get(trigger.id, {}), "id": trigger.id, "type": trigger.type},
            }
            self._add(root.cluster, node)
            self._edge(node["uid"], root.start, "SEQUENTIAL")
        lists = {"errors": flow.errors, "finally": flow.finally_, "afterExecution": flow.after_execution}
        end = self._after(root, lists)
        self._edge(self._chain(root, flow.tasks, root.start, "SEQUENTIAL"), end, "SEQUENTIAL")
        self._errors(root, lists["errors"], root.start, end)
        return root.cluster

    def _cluster(self, uid: str, node: Node, parents: tuple[str, ...]) -> Cluster:
        start, end = f"{uid}.start", f"{uid}.end"
        cluster: Cluster = {"cluster": node, "nodes": [], "parents": list(parents), "start": start, "end": end}
        self.clusters.append(cluster)
        self._add(cluster, {"uid": start, "type": f"{_PACKAGE}GraphClusterRoot"})
        self._add(cluster, {"uid": end, "type": f"{_PACKAGE}GraphClusterEnd"})
        return cluster

    def _add(self, cluster: Cluster, node: Node) -> None:
        self.nodes.append(node)
        cluster["nodes"].append(node["uid"])

    def _edge(self, source: str, target: str, relation: RelationType, value: str | None = None) -> None:
        said: Relation = {"relationType": relation}
        if value is not None:
            said["value"] = value
        self.edges.append({"source": source, "target": target, "relation": said})

    def _after(self, at: _Place, lists: Mapping[str, Sequence[TaskDefinition]]) -> str:
        """Draw what comes after the tasks; return the node that they lead to."""
        target = at.end
        branches: tuple[tuple[str, str, Literal["FINALLY", "AFTER_EXECUTION"]], ...] = (
            ("afterExecution", "GraphClusterAfterExecution", "AFTER_EXECUTION"),
            ("finally", "GraphClusterFinally", "FINALLY"),
        )
        for name, kind, relation in branches:
            if not lists.get(name):
                continue
            begin = f"{at.uid}.{name}"
            self._add(at.cluster, {"uid": begin, "type": f"{_PACKAGE}{kind}", "branchType": relation})
            self._edge(self._chain(at, lists[name], begin, relation), target, "SEQUENTIAL")
            target = begin
        return target

    def _errors(self, at: _Place, tasks: Sequence[TaskDefinition], source: str, target: str) -> None:
        if tasks:
            self._edge(self._chain(at, tasks, source, "ERROR"), target, "SEQUENTIAL")

    def _chain(
        self,
        at: _Place,
        tasks: Sequence[TaskDefinition],
        source: str,
        relation: RelationType,
        value: str | None = None,
    ) -> str:
        """Draw tasks one after the other, the first after *source*; return the last node."""
        for task in tasks:
            begin, end = self._task(at, task)
            self._edge(source, begin, relation, value)
            source, relation, value = end, "SEQUENTIAL", None
        return source

    def _task(self, at: _Place, task: TaskDefinition) -> tuple[str, str]:
        """Draw a task; return the nodes by which one comes to it and goes on."""
        uid = f"{at.uid}.{task.id}"
        properties = {name: value for name, value in at.own.get(task.id, {}).items() if name not in _LISTS}
        node: Node = {
            "uid": uid,
            "type": f"{_PACKAGE}{'SubflowGraphTask' if task.kind is Kind.SUBFLOW else 'GraphTask'}",
            "task": {**properties, "id": task.id, "type": task.type},
        }
        called = self.subflow(task) if task.kind is Kind.SUBFLOW and uid in self.expanded else None
        parents = (*at.cluster["parents"], at.cluster["cluster"]["uid"])
        if called is not None:
            cluster = self.flow(*called, uid, parents)
            cluster["cluster"] = {**node, "uid": f"cluster_{uid}", "type": f"{_PACKAGE}SubflowGraphCluster"}
            return cluster["start"], cluster["end"]
        if not task.branches:
            self._add(at.cluster, node)
            return uid, uid
        cluster = self._cluster(uid, {**node, "uid": f"cluster_{uid}", "type": f"{_PACKAGE}GraphCluster"}, parents)
        inner = _Place(cluster, uid, at.own)
        self._add(cluster, node)
        self._edge(inner.start, uid, "SEQUENTIAL")
        end = self._after(inner, task.branches)
        self._branches(inner, task, end)
        self._errors(inner, task.branches.get("errors", ()), uid, end)
        return inner.start, inner.end

    def _branches(self, at: _Place, task: TaskDefinition, end: str) -> None:
        """Draw the task lists among which a flowable task chooses, from its node to *end*."""
        lists = {name: tasks for name, tasks in task.branches.items() if name not in ("errors", "finally")}
        match task.kind:
            case Kind.DAG:
                self._dag(at, task, end)
            case Kind.PARALLEL | Kind.EACH_PARALLEL:
                for each in lists.get("tasks", ()):
                    self._edge(self._chain(at, (each,), at.uid, "PARALLEL"), end, "SEQUENTIAL")
            case Kind.IF | Kind.SWITCH:
                for name, tasks in lists.items():
                    last = self._chain(at, tasks, at.uid, "CHOICE", name.removeprefix("cases."))
                    self._edge(last, end, "SEQUENTIAL")
            case _:
                relation: RelationType = "DYNAMIC" if task.kind in (Kind.FOR_EACH, Kind.LOOP_UNTIL) else "SEQUENTIAL"
                for tasks in lists.values():
                    self._edge(self._chain(at, tasks, at.uid, relation), end, "SEQUENTIAL")

    def _dag(self, at: _Place, task: TaskDefinition, end: str) -> None:
        children = task.branches.get("tasks", ())
        ends = {child.id: self._task(at, child) for child in children}
        waited_for = set()
        for child in children:
            before = [each for each in task.depends_on.get(child.id, ()) if each in ends]
            waited_for.update(before)
            for source in [ends[each][1] for each in before] or [at.uid]:
                self._edge(source, ends[child.id][0], "PARALLEL" if source == at.uid else "SEQUENTIAL")
        for child_id, (_, last) in ends.items():
            if child_id not in waited_for:
                self._edge(last, end, "SEQUENTIAL")


def written_tasks(written: Any) -> dict[str, dict[str, Any]]:
    """Return the tasks of what `written` returned, at any depth, by id."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [written.get(name) for name in ("tasks", "errors", "finally", "afterExecution")]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            if isinstance(each.get("id"), str) and "type" in each:
                found.setdefault(each["id"], each)
            waiting += [value for value in each.values() if isinstance(value, list | dict)]
    return found
