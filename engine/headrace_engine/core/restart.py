"""Which task runs a restart, a replay or a changed state touches (reference §5.2 to §5.4). Decides nothing else.

A restart keeps what ended well, takes back what failed, and opens again every flowable around it; what ran because
of the failure (errors, finally, afterExecution) is dropped and will be decided anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from headrace_engine.core.evolve import evolve
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import Attempt, TaskRun
from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State

RESTARTABLE = frozenset({State.FAILED, State.PAUSED})


class NothingToRestartError(Exception):
    """No task run failed or is paused; or the one named does not exist."""


@dataclass(frozen=True, slots=True)
class Reopening:
    """Task run ids: those that run again, the flowables around them, and those that are gone."""

    restarted: tuple[str, ...]
    reopened: tuple[str, ...]
    removed: tuple[str, ...]


class _Tree:
    """The task runs of an execution by their parents."""

    def __init__(self, state: ExecutionState) -> None:
        self.state = state
        self.runs = state.in_order()
        self.below: dict[str | None, list[TaskRun]] = defaultdict(list)
        for run in self.runs:
            self.below[run.parent_id].append(run)

    def kind(self, run: TaskRun) -> Kind:
        return self.state.flow.tasks[run.task_id].kind

    def descendants(self, run: TaskRun) -> Iterable[TaskRun]:
        for child in self.below[run.id]:
            yield child
            yield from self.descendants(child)

    def is_after(self, sibling: TaskRun, run: TaskRun) -> bool:
        """True for what starts because *run* ended: in the same lane, or, in a Dag, by dependency.

        So do the later rounds of a ForEach that goes through its values one by one.
        """
        parent = self.state.task_runs.get(run.parent_id or "")
        task = self.state.flow.tasks[parent.task_id] if parent is not None else None
        in_turn = task is not None and task.kind is Kind.FOR_EACH and task.concurrency == 1
        if in_turn and run.phase == "tasks" and sibling.lane > run.lane:
            return True
        if task is None or task.kind is not Kind.DAG or run.phase != "tasks":
            return sibling.lane == run.lane and sibling.position > run.position
        waits, seen = [sibling.task_id], {sibling.task_id}
        while waits:
            names = task.depends_on.get(waits.pop(), ())
            if run.task_id in names:
                return True
            waits += [name for name in names if name not in seen]
            seen.update(names)
        return False

    def is_aside(self, run: TaskRun) -> bool:
        """True for what ran because of something else: errors, finally, afterExecution, onPause, at any depth."""
        return any(each.phase != "tasks" for each in (run, *self.state.ancestors(run)))

    def reopening(self, restarted: list[TaskRun], removed: set[str], opened: Iterable[str] = ()) -> Reopening:
        """Return the reopening that *restarted* and the flowables *opened* ask for; *removed* gains what must go."""
        reopened: dict[str, None] = dict.fromkeys(opened)
        for run in restarted:
            removed.update(each.id for each in self.descendants(run))
            for ancestor in self.state.ancestors(run):
                reopened[ancestor.id] = None
        for scope_id in (None, *reopened):
            for run in self.below[scope_id]:
                if run.phase != "tasks":
                    removed.add(run.id)
                    removed.update(each.id for each in self.descendants(run))
        return Reopening(
            tuple(run.id for run in restarted if run.id not in removed),
            tuple(run_id for run_id in reopened if run_id not in removed),
            tuple(run.id for run in self.runs if run.id in removed),
        )


def after_failure(state: ExecutionState) -> Reopening:
    """Return what a restart of the execution touches: what failed or is paused, unless its failure was allowed.

    An allowed failure is past, and what came after it in its lane has run. Raises NothingToRestartError.
    """
    tree = _Tree(state)
    restarted: dict[str, TaskRun] = {}
    finals: set[str | None] = set()  # flowables (None: the execution) whose finally failed: that alone runs again
    for run in reversed(tree.runs):  # children before parents
        if run.state not in RESTARTABLE or any(up.state.is_success for up in state.ancestors(run)):
            continue
        if tree.is_aside(run):
            if run.phase == "finally" and not any(map(tree.is_aside, state.ancestors(run))):
                finals.add(run.parent_id)
            continue
        if run.id in finals and tree.kind(run) is not Kind.WORKING_DIRECTORY:
            continue
        if any(each.id in restarted or each.id in finals for each in tree.descendants(run)):
            continue  # opened again for the sake of what failed in it
        directory = next((up for up in state.ancestors(run) if tree.kind(up) is Kind.WORKING_DIRECTORY), None)
        again = directory or run  # a WorkingDirectory restarts as a whole (reference §3.4)
        restarted[again.id] = again
    owners = [run for run in tree.runs if run.id in finals and run.id not in restarted]
    if not restarted and not owners and None not in finals:
        raise NothingToRestartError("No task found to restart")
    chosen = sorted(restarted.values(), key=lambda run: run.order)
    return tree.reopening(chosen, set(), [each.id for run in owners for each in (run, *state.ancestors(run))])


def can_restart(state: ExecutionState) -> bool:
    """Tell whether there is something that a restart runs again."""
    try:
        after_failure(state)
    except NothingToRestartError:
        return False
    return True


def from_task_run(state: ExecutionState, task_run_id: str, *, keep: bool = False) -> Reopening:
    """Return what running *task_run_id* again touches: it, and all that came after it in its own branches.

    With *keep* the task run itself is not run again: its state will be set by hand. Raises NothingToRestartError.
    """
    tree = _Tree(state)
    target = state.task_runs.get(task_run_id)
    if target is None:
        raise NothingToRestartError("No task found")
    if keep and not target.state.is_terminal and target.id not in state.paused:
        raise NothingToRestartError("The task run has not ended")
    removed: set[str] = set()
    for run in (target, *state.ancestors(target)):
        for sibling in tree.below[run.parent_id]:
            if sibling.phase == run.phase and tree.is_after(sibling, run):
                removed.add(sibling.id)
                removed.update(each.id for each in tree.descendants(sibling))
    found = tree.reopening([target], removed)
    if keep:
        # Its children stay with it, unless it goes too: what ran because of a failure is decided anew.
        kept = {each.id for each in tree.descendants(target)} if target.id not in found.removed else set()
        return Reopening((), found.reopened, tuple(run_id for run_id in found.removed if run_id not in kept))
    return found


def copies(
    state: ExecutionState, found: Reopening, execution_id: str, flow: FlowIndex
) -> tuple[tuple[TaskRun, ...], Reopening]:
    """Return the task runs that a replay of *state* takes along into *execution_id*, and *found* in their new ids.

    What waits elsewhere in *state*, which may be paused, runs again too.

    Raises NothingToRestartError when *flow* (another revision) has a task no longer, or elsewhere.
    """
    found = _with_what_waits(state, found)
    removed = set(found.removed)
    kept = [run for run in state.in_order() if run.id not in removed]
    new_ids = {run.id: copy_id(execution_id, run.id) for run in kept}
    moved = []
    for run in kept:
        lane, position = _place(state, run, flow)
        moved.append(
            evolve(
                run,
                id=new_ids[run.id],
                parent_id=new_ids[run.parent_id] if run.parent_id is not None else None,
                lane=lane,
                position=position,
                attempts=tuple(_closed(attempt) for attempt in run.attempts),
                ticket=None,
                retry_at=None,
            )
        )
    return tuple(moved), Reopening(
        tuple(new_ids[run_id] for run_id in found.restarted), tuple(new_ids[run_id] for run_id in found.reopened), ()
    )


def copy_id(execution_id: str, task_run_id: str) -> str:
    """Return the id that a task run's copy has in the replay *execution_id*."""
    return derived_id("replay", execution_id, task_run_id)


def _with_what_waits(state: ExecutionState, found: Reopening) -> Reopening:
    """Return *found* with what else has not ended: what waits begins anew in the copy, an errors branch as a whole."""
    tree = _Tree(state)
    settled = {*found.restarted, *found.reopened, *found.removed}
    waiting = [run for run in tree.runs if not run.state.is_terminal and run.id not in settled]
    if not waiting:
        return found
    again = {run_id: state.task_runs[run_id] for run_id in found.restarted}
    opened = dict.fromkeys(found.reopened)
    above = {up.id for run in waiting for up in state.ancestors(run)}
    for run in waiting:
        if run.id in above:
            continue
        chain = [run, *state.ancestors(run)]
        aside = next((place for place in reversed(range(len(chain))) if chain[place].phase != "tasks"), None)
        if aside is None:
            again[run.id] = run
        opened.update(dict.fromkeys(up.id for up in chain[1 if aside is None else aside + 1 :]))
    chosen = sorted(again.values(), key=lambda run: run.order)
    return tree.reopening(chosen, set(found.removed), opened)


def _closed(attempt: Attempt) -> Attempt:
    return evolve(attempt, job=None)


def _place(state: ExecutionState, run: TaskRun, flow: FlowIndex) -> tuple[int, int]:
    """Return lane and position of *run* in *flow*."""
    if flow is state.flow:
        return run.lane, run.position
    parent = state.task_runs[run.parent_id] if run.parent_id is not None else None
    owner = parent.task_id if parent is not None else ""
    branch = parent.branch or "tasks" if parent is not None and run.phase == "tasks" else run.phase
    names = [task.id for task in flow.branch(owner, branch)]
    if run.task_id not in names:
        raise NothingToRestartError(f"The task `{run.task_id}` is not in that place in the other revision")
    place = names.index(run.task_id)
    kind = flow.tasks[owner].kind if owner else Kind.SEQUENTIAL
    if run.phase == "tasks" and kind in (Kind.PARALLEL, Kind.DAG):
        return place, 0
    if run.phase == "tasks" and kind is Kind.EACH_PARALLEL:
        return (run.iteration or 0) * len(names) + place, 0
    return run.lane, place
