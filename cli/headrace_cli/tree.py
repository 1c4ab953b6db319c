"""An execution's view as a tree: task runs below their flowables, those of one iteration together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from headrace_cli.view import View, full_name, starts_iteration, state_of, task_runs, value_text
from headrace_engine.model.state import State


class Urgency(IntEnum):
    """How much a person watching wants to see a node, most first."""

    ACTIVE = 0
    BAD = 1
    QUIET = 2


@dataclass(slots=True, eq=False)
class Node:
    """The execution, a task run, an iteration with the task runs of its tasks, or a task still to come."""

    label: str
    state: State
    item: View | None = None
    """The execution or task run it shows; None for an iteration and for a task still to come."""
    value: str = ""
    """The iteration's value, in brackets."""
    is_iteration: bool = False
    children: list[Node] = field(default_factory=list)
    urgency: Urgency = Urgency.QUIET
    """That of the most urgent node in the subtree."""

    @property
    def is_planned(self) -> bool:
        """True for a task still to come."""
        return self.item is None and not self.is_iteration

    def size(self) -> int:
        """Return how many nodes the subtree has."""
        return 1 + sum(child.size() for child in self.children)


def tree(execution: View, planned: Sequence[str] = ()) -> Node:
    """Return the execution's tree. *planned* names the flow's top-level tasks: those without a task run come last.

    Nothing is still to come once the execution has ended, is being killed, or a top-level task has failed.
    """
    root = Node(full_name(execution), state_of(execution), execution)
    below: dict[str | None, list[View]] = {}
    for run in task_runs(execution):
        below.setdefault(run.get("parentTaskRunId"), []).append(run)
    root.children = _children(below.pop(None, []), below)
    if not root.state.is_terminal and root.state is not State.KILLING:
        seen = {child.label for child in root.children}
        if not any(_is_bad(child.state) for child in root.children):
            root.children += [Node(task, State.CREATED) for task in planned if task not in seen]
    root.urgency = min(_own_urgency(root), _urgency(root.children))
    return root


def _children(runs: Sequence[View], below: dict[str | None, list[View]]) -> list[Node]:
    loops = any(starts_iteration(run) for run in runs)
    nodes = [_node(run, below) for run in runs]
    return _iterations(nodes) if loops else nodes


def _node(run: View, below: dict[str | None, list[View]]) -> Node:
    node = Node(run["taskId"], state_of(run), run)
    if runs := below.pop(run["id"], None):
        node.children = _children(runs, below)
    node.urgency = min(_own_urgency(node), _urgency(node.children))
    return node


def _iterations(nodes: Iterable[Node]) -> list[Node]:
    """Gather the nodes of each iteration; where every iteration has but one, it bears the value itself."""
    groups: dict[tuple[object, object] | None, list[Node]] = {}
    for node in nodes:
        run = node.item or {}
        key = (run.get("iteration"), run["value"]) if starts_iteration(run) else None
        groups.setdefault(key, []).append(node)
    single = all(len(group) == 1 for group in groups.values())
    gathered: list[Node] = []
    for key, group in groups.items():
        if key is None:
            gathered += group
        elif single:
            group[0].value = value_text(str(key[1]))
            group[0].is_iteration = True
            gathered += group
        else:
            state = _together([node.state for node in group])
            node = Node("", state, None, value_text(str(key[1])), is_iteration=True, children=group)
            node.urgency = min(_own_urgency(node), _urgency(group))
            gathered.append(node)
    return gathered


_WORST_FIRST = (State.KILLED, State.CANCELLED, State.FAILED, State.WARNING, State.RETRIED, State.SUCCESS, State.SKIPPED)


def _together(states: Sequence[State]) -> State:
    """Return the state of an iteration whose task runs are in *states*."""
    for state in states:
        if is_active(state):
            return state
    if State.CREATED in states:
        return State.CREATED if all(state is State.CREATED for state in states) else State.RUNNING
    return min(states, key=_WORST_FIRST.index)


def is_active(state: State) -> bool:
    """Tell whether something is under way, or waits for a time or a person."""
    return not state.is_terminal and state is not State.CREATED


def _is_bad(state: State) -> bool:
    return state.is_terminal and not state.is_success


def _own_urgency(node: Node) -> Urgency:
    if is_active(node.state):
        return Urgency.ACTIVE
    return Urgency.BAD if _is_bad(node.state) or node.state is State.WARNING else Urgency.QUIET


def _urgency(nodes: Iterable[Node]) -> Urgency:
    return min((node.urgency for node in nodes), default=Urgency.QUIET)
