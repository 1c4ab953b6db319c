"""The variables an expression sees (reference §10.3), looked up when asked for and never copied as a whole.

A root is absent when it has nothing to hold (`inputs` in a flow without inputs), as in Kestra, so that
`inputs.x ?? 1` works there. `outputs` is a view of the execution's state: an execution of ten thousand task runs
costs an expression what it reads, not what there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from typing import Any

from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.model.attempt import Payload
from headrace_engine.model.definition import Kind
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.headers import with_headers
from headrace_engine.model.state import State
from headrace_engine.model.trigger import WEBHOOK
from headrace_engine.plugin import OUTPUT_DIR_TOKEN, WORKING_DIR_TOKEN

Load = Callable[[Payload], Any]
"""Returns the value of a payload, from internal storage when it lies there."""
TENANT = "main"
LOOP = "io.kestra.plugin.core.flow.Loop"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every expression sees of the machine it runs on: configuration, not state."""

    envs: Mapping[str, str] = field(default_factory=dict)
    """Environment variables with the prefix ENV_ or KESTRA_, prefix stripped, lower case."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """`globals`."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """`files`: the files of a test's fixtures, name to URI; outside tests there are none, and no such root."""

    @classmethod
    def of(
        cls,
        environment: Mapping[str, str],
        variables: Mapping[str, Any] | None = None,
        prefixes: Sequence[str] = ("KESTRA_", "ENV_"),
    ) -> Surroundings:
        """Return the surroundings that a process environment gives; of two variables with one name the later counts."""
        envs = {
            name.removeprefix(prefix).lower(): value
            for prefix in prefixes
            for name, value in environment.items()
            if name.startswith(prefix)
        }
        return cls(envs, variables or {})


_Root = Callable[["Variables"], Any]
"""Returns what a root holds. Given the variables, so that none keeps hold of them: what a step leaves behind goes at
once, and no state of the execution lives on until the garbage collector comes by."""


class Variables(Mapping[str, Any]):
    """The roots of one task run's expressions (or, without a task run, of the execution's own)."""

    def __init__(
        self,
        state: ExecutionState,
        task_run: TaskRun | None,
        *,
        load: Load,
        inputs: Callable[[], Mapping[str, Any]],
        surroundings: Surroundings,
    ) -> None:
        self._state = state
        self._run = task_run
        self._load = load
        self._inputs = inputs
        self._surroundings = surroundings
        self._cache: dict[str, Any] = {}
        roots: dict[str, _Root] = {
            "flow": Variables._flow,
            "execution": Variables._execution,
            "envs": lambda _: surroundings.envs,
            "globals": lambda _: surroundings.variables,
            "kestra": lambda _: {"environment": surroundings.environment, "url": surroundings.url},
            "outputs": lambda _: OutputsView(state, load),
            "tasks": lambda _: TasksView(state),
        }
        if state.flow.definition.inputs:
            roots["inputs"] = lambda _: inputs()
        if state.variables:
            roots["vars"] = lambda _: state.variables
        if surroundings.files:
            roots["files"] = lambda _: surroundings.files
        if state.labels:
            roots["labels"] = Variables._labels
        created = state.created
        if (
            created is not None
            and created.trigger is not None
            and (created.trigger.get("variables") or created.trigger_variables is not None)
        ):
            trigger = created.trigger["variables"]
            roots["trigger"] = lambda _: trigger_variables(created, load)
            if "date" in trigger:
                roots["schedule"] = lambda _: {"date": trigger["date"]}
        if task_run is not None:
            self._add_task_run(roots, task_run)
        for name in state.variables:
            roots.setdefault(name, lambda _, name=name: state.variables[name])  # type: ignore[misc]
        self._roots = roots

    def __getitem__(self, name: str) -> Any:
        if name not in self._cache:
            self._cache[name] = self._roots[name](self)
        return self._cache[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roots)

    def __len__(self) -> int:
        return len(self._roots)

    def __contains__(self, name: object) -> bool:
        return name in self._roots

    def _add_task_run(self, roots: dict[str, _Root], task_run: TaskRun) -> None:
        task = self._state.flow.tasks[task_run.task_id]
        roots["task"] = lambda _: {"id": task.id, "type": task.type}
        roots["taskrun"] = Variables._taskrun
        rounds = [each for each in (task_run, *self._state.ancestors(task_run)) if self._is_round(each)]
        if rounds:
            roots["item"] = lambda _: _item(rounds)
            roots["outputs"] = lambda self: RoundOutputs(self._state, self._load, rounds[0].path)
        parents = self._parents(task_run)
        if parents:
            roots["parents"] = lambda _: parents
            roots["parent"] = lambda _: parents[0]
        if task.kind in (Kind.DISPATCHED, Kind.WORKING_DIRECTORY):
            roots["workingDir"] = lambda _: WORKING_DIR_TOKEN
            roots["outputDir"] = lambda _: OUTPUT_DIR_TOKEN
        files = task.properties.get("outputFiles")
        if isinstance(files, list):
            # Where the task's code writes a file it will hand over, as Kestra's examples name it.
            roots["outputFiles"] = lambda _: {str(name): f"{WORKING_DIR_TOKEN}/{name}" for name in files}
        workspace = enclosing_working_directory(self._state, task_run)
        if workspace is not None:
            roots["workerTaskrun"] = lambda _: _present(id=workspace.id, value=workspace.value)

    def _is_round(self, task_run: TaskRun) -> bool:
        """True for what stands directly in a Loop (of Kestra 2.0): it carries the value of its round."""
        if task_run.parent_id is None or task_run.value is None:
            return False
        return self._state.flow.tasks[self._state.task_runs[task_run.parent_id].task_id].type == LOOP

    def _flow(self) -> dict[str, Any]:
        definition = self._state.flow.definition
        return {
            "id": definition.id,
            "namespace": definition.namespace,
            "revision": definition.revision,
            "tenantId": TENANT,
        }

    def _execution(self) -> dict[str, Any]:
        state = self._state
        created = state.created
        values = {
            "id": state.id,
            "startDate": _to_milliseconds(state.histories[0][1]),
            "originalId": (created.original_id if created is not None else None) or state.id,
            "state": state.state.value,
        }
        if created is not None and created.start_at is not None:
            values["scheduleDate"] = _to_milliseconds(created.start_at)
        if state.outputs is not None:
            values["outputs"] = self._load(state.outputs)
        return values

    def _taskrun(self) -> dict[str, Any]:
        run = self._run
        assert run is not None, "only task runs have this root"  # noqa: S101 - for the type checker
        return {
            "id": run.id,
            "startDate": _to_milliseconds(run.histories[0][1]),
            "attemptsCount": sum(attempt.state is not State.RESUBMITTED for attempt in run.attempts),
            **_present(parentId=run.parent_id, value=run.value, iteration=run.iteration),
        }

    def _parents(self, task_run: TaskRun) -> list[dict[str, Any]]:
        """Nearest first; an ancestor with neither a value nor outputs is left out and not counted (reference §0.9)."""
        found = []
        for ancestor in self._state.ancestors(task_run):
            entry: dict[str, Any] = {}
            if ancestor.value is not None:
                entry["taskrun"] = _present(value=ancestor.value, iteration=ancestor.iteration)
            if ancestor.outputs is not None:
                entry["outputs"] = self._load(ancestor.outputs)
            if entry:
                found.append(entry)
        return found

    def _labels(self) -> dict[str, Any]:
        """Dotted system labels nest; of two with one key the first, the flow's, is the one seen (reference §10.3)."""
        nested: dict[str, Any] = {}
        for key, value in self._state.labels:
            place, parts = nested, key.split(".") if key.startswith("system.") else [key]
            for part in parts[:-1]:
                place = place.setdefault(part, {})
            place.setdefault(parts[-1], value)
        return nested


def _to_milliseconds(date: datetime) -> datetime:
    """Kestra's instants have milliseconds and print so (reference §10.1)."""
    return date.replace(microsecond=date.microsecond // 1000 * 1000)


def enclosing_working_directory(state: ExecutionState, task_run: TaskRun) -> TaskRun | None:
    """Return the WorkingDirectory task run that *task_run* lies in, or None."""
    for ancestor in state.ancestors(task_run):
        if state.flow.tasks[ancestor.task_id].kind is Kind.WORKING_DIRECTORY:
            return ancestor
    return None


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def trigger_variables(created: ExecutionCreated, load: Load) -> dict[str, Any]:
    """Return what an execution knows of the trigger that started it."""
    variables = dict((created.trigger or {}).get("variables") or {})
    if created.trigger_variables is not None:
        variables |= load(created.trigger_variables)
    if created.trigger is not None and created.trigger.get("type") == WEBHOOK:
        variables = with_headers(variables)
    if created.trigger_outputs is not None:
        variables["outputs"] = load(created.trigger_outputs)
    return variables


def _item(rounds: Sequence[TaskRun]) -> dict[str, Any]:
    """Return Kestra 2.0's `item`: the value of the nearest round, and those of the rounds around it."""
    found = [_round_item(each) for each in rounds]
    return found[0] | _present(parent=found[1] if len(found) > 1 else None, parents=found[1:] or None)


def _round_item(task_run: TaskRun) -> dict[str, Any]:
    """Structures and whole numbers are themselves again; every other value is its text."""
    text = task_run.value or ""
    item: dict[str, Any] = {"index": task_run.iteration, "value": text}
    if text.startswith(("{", "[")) or text.removeprefix("-").isdecimal():
        with suppress(ValueError):
            value = json.loads(text)
            item["value"] = value
            if isinstance(value, dict) and value.keys() == {"key", "value"}:
                item |= value
    return item


class _ByTask(Mapping[str, Any]):
    """Task id, then the values of the loops around it, outermost first (reference §7)."""

    def __init__(self, state: ExecutionState, prefix: tuple[str, ...] | None = None) -> None:
        self._state = state
        self._prefix = prefix
        """None at the root; else the task id and the values given so far."""

    def _leaf(self, task_run: TaskRun) -> Any:
        raise NotImplementedError

    def _shows(self, task_run: TaskRun) -> bool:
        raise NotImplementedError

    def _deeper(self, prefix: tuple[str, ...]) -> _ByTask:
        raise NotImplementedError

    def _find(self, key: object) -> Any:
        if not isinstance(key, str):
            raise KeyError(key)
        prefix = (key,) if self._prefix is None else (*self._prefix, key)
        run_id = self._state.index[prefix[0], prefix[1:]]
        if run_id == "":
            return self._deeper(prefix)
        task_run = self._state.task_runs[run_id]
        if not self._shows(task_run):
            raise KeyError(key)
        return self._leaf(task_run)

    def __getitem__(self, key: str) -> Any:
        return self._find(key)

    def __contains__(self, key: object) -> bool:
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """O(task runs): only for those who ask for all of it."""
        seen: set[str] = set()
        depth = 0 if self._prefix is None else len(self._prefix)
        for task_run in self._state.in_order():
            place = (task_run.task_id, *task_run.path)
            if place[:depth] == (self._prefix or ()) and len(place) > depth and self._shows(task_run):
                name = place[depth]
                if name not in seen:
                    seen.add(name)
                    yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


class OutputsView(_ByTask):
    """`outputs`: those of every task run that has some; `{}` for one that ended without."""

    def __init__(self, state: ExecutionState, load: Load, prefix: tuple[str, ...] | None = None) -> None:
        super().__init__(state, prefix)
        self._load = load

    def _leaf(self, task_run: TaskRun) -> Any:
        return {} if task_run.outputs is None else self._load(task_run.outputs)

    def _shows(self, task_run: TaskRun) -> bool:
        return task_run.outputs is not None or task_run.state.is_terminal

    def _deeper(self, prefix: tuple[str, ...]) -> _ByTask:
        return OutputsView(self._state, self._load, prefix)


class RoundOutputs(OutputsView):
    """`outputs` inside a Loop: those of the same round stand under the task's id alone."""

    def __init__(self, state: ExecutionState, load: Load, path: tuple[str, ...]) -> None:
        super().__init__(state, load)
        self._path = path

    def _find(self, key: object) -> Any:
        if isinstance(key, str):
            for depth in range(len(self._path), 0, -1):
                task_run = self._state.task_runs.get(self._state.index.get((key, self._path[:depth]), ""))
                if task_run is not None and self._shows(task_run):
                    return self._leaf(task_run)
        return super()._find(key)


class TasksView(_ByTask):
    """`tasks`: the state of every task run."""

    def _leaf(self, task_run: TaskRun) -> Any:
        return {"state": task_run.state.value}

    def _shows(self, task_run: TaskRun) -> bool:
        del task_run
        return True

    def _deeper(self, prefix: tuple[str, ...]) -> _ByTask:
        return TasksView(self._state, prefix)
