"""Takes the steps of a case: what people do to its execution while it goes on (see README.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flows.corpus import ANYTHING, FlowCase
from headrace_engine.core.messages import Create, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import CheckFailedError, NoSuchFlowError, UnsupportedError
from headrace_engine.inputs import InputError
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.operations import IllegalStateError, Operations, UnprocessableError
from headrace_engine.services import Stores

REFUSALS = (
    UnsupportedError,
    InputError,
    CheckFailedError,
    NoSuchFlowError,
    IllegalStateError,
    UnprocessableError,
)
"""What says no to a person."""

IT = "it"

Asked = Callable[[Operations, ExecutionState, Mapping[str, Any]], Message]
Begun = Callable[[Operations, ExecutionState, Mapping[str, Any]], tuple[str, Create]]


class Runtime(Protocol):
    """What steps need of a runtime."""

    stores: Stores

    def save_flow(self, source: str) -> object: ...

    def save_template(self, source: str) -> object: ...

    def create(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> str: ...

    def ask(self, execution_id: str, operation: Callable[[Operations, ExecutionState], Message]) -> None: ...

    def begin(
        self, execution_id: str, operation: Callable[[Operations, ExecutionState], tuple[str, Create]]
    ) -> str: ...


class Course:
    """The executions of one case while its steps are taken."""

    def __init__(self, case: FlowCase, runtime: Runtime, namespace: str, flow_id: str, it: str) -> None:
        self._case = case
        self._runtime = runtime
        self._namespace = namespace
        self._flow_id = flow_id
        self._executed: dict[str, str] = {}
        self.it = it
        """The execution the case is about; after a replay, the one that came of it."""

    def take(self, step: Mapping[str, Any]) -> None:
        """Do what *step* says. Raises AssertionError when it is refused otherwise than it says."""
        said: str | None = None
        try:
            self._do(step)
        except REFUSALS as refusal:
            said = str(refusal)
        expected = step.get("refused")
        if expected is None or said is None:
            assert said == expected, f"{self._case.path}: {dict(step)} was refused: {said}"
        else:
            pattern = ".*".join(map(re.escape, expected.split(ANYTHING)))
            assert re.fullmatch(pattern, said, re.DOTALL), f"{self._case.path}: {dict(step)} was refused: {said}"

    def _do(self, step: Mapping[str, Any]) -> None:
        runtime = self._runtime
        if "save" in step:
            runtime.save_flow(step["save"])
        elif "save-template" in step:
            runtime.save_template(step["save-template"])
        elif "execute" in step:
            flow_id = self._flow_id if step["execute"] == IT else step["execute"]
            self._executed[flow_id] = runtime.create(
                self._namespace, flow_id, step.get("inputs"), labels=step.get("labels")
            )
        for verb, asked in _ASKED.items():
            if verb in step:
                runtime.ask(
                    self._named(step[verb]), lambda operations, state, asked=asked: asked(operations, state, step)
                )  # type: ignore[misc]
        for verb, begun in _BEGUN.items():
            if verb in step:
                self.it = runtime.begin(
                    self._named(step[verb]),
                    lambda operations, state, begun=begun: begun(operations, state, step),  # type: ignore[misc]
                )

    def _named(self, name: str) -> str:
        """Return the id of the execution *name* means: `it`, or the last one of the flow of that id.

        The last one that a step executed, if there is one, else the last that has not ended.
        """
        if name == IT:
            return self.it
        if name in self._executed:
            return self._executed[name]
        found = self._runtime.stores.executions.search(ExecutionQuery(flow_id=name), limit=1000).found
        return next((summary.id for summary in found if summary.end is None), found[0].id)


def _task_run(state: ExecutionState, step: Mapping[str, Any]) -> str | None:
    """Return the id of the last task run the step means; what is no task's id stands for itself."""
    if "task" not in step:
        return None
    found = [
        run.id
        for run in state.in_order()
        if run.task_id == step["task"] and ("value" not in step or run.value == step["value"])
    ]
    return found[-1] if found else str(step["task"])


def _state(step: Mapping[str, Any]) -> State:
    return State(step.get("to", "RUNNING"))


def _resume(operations: Operations, state: ExecutionState, step: Mapping[str, Any]) -> Message:
    return operations.resume(
        state, step.get("inputs"), task_run_id=_task_run(state, step), to=_state(step), by=step.get("by")
    )


def _change(operations: Operations, state: ExecutionState, step: Mapping[str, Any]) -> Message:
    task_run_id = _task_run(state, step)
    if task_run_id is None:
        return operations.change_status(state, _state(step))
    return operations.change_state(state, task_run_id, _state(step))


def _restart_on(operations: Operations, state: ExecutionState, step: Mapping[str, Any]) -> tuple[str, Create]:
    return operations.restart_on(state, step["revision"])


def _replay(operations: Operations, state: ExecutionState, step: Mapping[str, Any]) -> tuple[str, Create]:
    return operations.replay(state, _task_run(state, step), revision=step.get("revision"), inputs=step.get("inputs"))


_ASKED: Mapping[str, Asked] = {
    "kill": lambda operations, state, step: operations.kill(state, cascade=step.get("cascade", True)),
    "pause": lambda operations, state, _step: operations.pause(state),
    "resume": _resume,
    "restart": lambda operations, state, _step: operations.restart(state),
    "change": _change,
    "force-run": lambda operations, state, _step: operations.force_run(state),
    "unqueue": lambda operations, state, step: operations.unqueue(state, _state(step)),
}
_BEGUN: Mapping[str, Begun] = {"restart-on": _restart_on, "replay": _replay}
