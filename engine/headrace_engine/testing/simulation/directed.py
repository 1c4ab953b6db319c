"""Scenarios for moves that chance alone hardly ever makes: in most, persons do the right thing at the right time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from headrace_engine.core.messages import Hold, Kill, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.state import State
from headrace_engine.operations import Operations
from headrace_engine.testing.simulation.scenario import NAMESPACE, Person, Scenario, Start, Wish

CORE = "io.kestra.plugin.core"
Yaml = dict[str, Any]


def _flow(*tasks: Yaml, flow_id: str = "main", **others: Any) -> str:
    return json.dumps({"id": flow_id, "namespace": NAMESPACE, "tasks": tasks, **others})


def _parallel(*tasks: Yaml) -> Yaml:
    return {"id": "beside", "type": f"{CORE}.flow.Parallel", "tasks": tasks}


def _sequential(*tasks: Yaml) -> Yaml:
    return {"id": "after", "type": f"{CORE}.flow.Sequential", "tasks": tasks}


def _sleep(duration: str) -> Yaml:
    return {"id": "sleep", "type": f"{CORE}.flow.Sleep", "duration": duration}


def _exit(state: str) -> Yaml:
    return {"id": "exit", "type": f"{CORE}.execution.Exit", "state": state}


def _fails(task_id: str, **others: Any) -> Yaml:
    return {"id": task_id, "type": "sim.Count", "fails": True, **others}


def _each(task_id: str, **others: Any) -> Yaml:
    task = {
        "type": f"{CORE}.flow.ForEach",
        "values": "{{ nowhere.to.be.found }}",
        "tasks": [_work(f"{task_id}_inside", 0)],
    }
    return {"id": task_id, **task, **others}


def _work(task_id: str, seconds: float) -> Yaml:
    return {"id": task_id, "type": "sim.Work", "seconds": seconds}


def _retries(task_id: str, behavior: str) -> Yaml:
    retry = {"type": "constant", "interval": "PT20M", "maxAttempts": 2, "behavior": behavior}
    return _fails(task_id, retry=retry)


def _at(minutes: float, wish: Wish, flow_id: str = "main", number: int = 0, *, replayed: bool = False) -> Person:
    return Person(timedelta(minutes=minutes), wish, flow_id, number, replayed=replayed)


def _kill(operations: Operations, state: ExecutionState) -> Sequence[Message]:
    return [operations.kill(state)]


def _pause(operations: Operations, state: ExecutionState) -> Sequence[Message]:
    return [operations.pause(state)]


def _hold(_operations: Operations, _state: ExecutionState) -> Sequence[Message]:
    return [Hold()]  # it was running when the person asked


def _label(operations: Operations, state: ExecutionState) -> Sequence[Message]:
    return [operations.set_labels(state, {"by": "a person"})]


def _restart(operations: Operations, state: ExecutionState) -> Sequence[Message]:
    return [operations.restart(state)]


def _restart_and_kill(operations: Operations, state: ExecutionState) -> Sequence[Message]:
    return [operations.restart(state), Kill()]


def _set(task_id: str, to: State) -> Wish:
    return lambda operations, state: [operations.change_state(state, _run(state, task_id), to)]


def _replay(task_id: str) -> Wish:
    return lambda operations, state: operations.replay(state, _run(state, task_id))


def _replay_and_hold(task_id: str) -> Wish:
    return lambda operations, state: (*operations.replay(state, _run(state, task_id)), Hold())


def _restart_on(revision: int) -> Wish:
    return lambda operations, state: operations.restart_on(state, revision)


def _run(state: ExecutionState, task_id: str) -> str:
    found = [run.id for run in state.in_order() if run.task_id == task_id]
    if not found:
        raise ValueError(f"no task run of {task_id} yet")
    return found[-1]


def _scenario(
    name: str,
    flows: Sequence[str],
    *persons: Person,
    starts: int = 1,
    poison: bool = False,
    batch: int | None = None,
    revised: Sequence[str] = (),
) -> Scenario:
    return Scenario(
        f"directed: {name}",
        tuple(flows),
        (Start("main"),) * starts,
        persons=persons,
        compares=False,
        spoils=timedelta(minutes=2) if poison else None,
        batch=batch,
        revised=tuple(revised),
    )


_BY_HAND = (State.SUCCESS, State.WARNING, State.FAILED, State.KILLED)
_NOT_AT_FIRST = "{{ (labels.system.restarted ?? 'false') == 'true' ? 'SUCCESS' : nowhere.to.be.found }}"

SCENARIOS: Sequence[Scenario] = (
    _scenario(
        "a round of a loop that was left is set by hand",
        [
            _flow(
                _parallel(
                    {
                        "id": "until",
                        "type": f"{CORE}.flow.LoopUntil",
                        "condition": "{{ false }}",
                        "checkFrequency": {"interval": "PT20M", "maxIterations": 3},
                        "tasks": [_work("round", 1)],
                    },
                    _sequential(_sleep("PT30S"), _exit("SUCCESS")),
                )
            )
        ],
        _at(2, _set("round", State.FAILED)),
    ),
    _scenario(
        "what was cancelled is set by hand",
        [
            _flow(
                _parallel(
                    _sequential(_work("long", 90)), {**_sequential(_sleep("PT30S"), _exit("CANCELED")), "id": "b"}
                )
            )
        ],
        *(_at(5, _set("after", to), number=number) for number, to in enumerate(_BY_HAND)),
        starts=len(_BY_HAND),
    ),
    _scenario(
        "what another execution took over is set by hand in a replay",
        [_flow(_parallel(_retries("again", "CREATE_NEW_EXECUTION"), _work("beside_it", 0)))],
        *(_at(40 + number, _replay("beside_it")) for number in range(len(_BY_HAND))),
        *(_at(50, _set("again", to), number=number, replayed=True) for number, to in enumerate(_BY_HAND)),
    ),
    _scenario(
        "another execution takes over while an attempt waits",
        [
            _flow(
                _parallel(
                    _retries("late", "RETRY_FAILED_TASK"),
                    _sequential(_sleep("PT30S"), _retries("again", "CREATE_NEW_EXECUTION")),
                )
            )
        ],
    ),
    _scenario(
        "the execution of a Subflow is killed while its parent is held",
        [
            _flow(_work("long", 120), flow_id="child"),
            _flow({"id": "call", "type": f"{CORE}.flow.Subflow", "namespace": NAMESPACE, "flowId": "child"}),
        ],
        _at(0.5, _pause),
        _at(1, _kill, "child"),
    ),
    _scenario(
        "the engine cannot go on with what is being killed",
        [_flow(_work("long", 600))],
        _at(1, _kill),
        poison=True,
    ),
    _scenario(
        "what cannot open is restarted on a revision that allows it",
        [_flow(_parallel(_each("allowed"), _each("forgiven")))],
        _at(2, _restart_on(2)),
        revised=[
            _flow(
                _parallel(_each("allowed", allowFailure=True), _each("forgiven", allowFailure=True, allowWarning=True))
            )
        ],
    ),
    _scenario(
        "a restarted task leaves before another one begins",
        [_flow(_parallel(_exit(_NOT_AT_FIRST), _fails("fails")))],
        _at(1, _restart),
    ),
    _scenario(
        "kill comes right after a restart that needs a slot",
        [_flow(_fails("fails"), concurrency={"limit": 1, "behavior": "QUEUE"})],
        *(_at(2 + number, _restart_and_kill, number=number) for number in range(4)),
        starts=4,
        batch=10,
    ),
    _scenario(
        "replays from a flowable, of which one comes above the limit",
        [_flow(_sequential(_work("long", 90)), concurrency={"limit": 1, "behavior": "CANCEL"})],
        _at(4, _replay("after")),
        _at(4.2, _replay("after")),
    ),
    _scenario(
        "what waits for its next attempt is held, and taken along",
        [_flow(_parallel(_retries("late", "RETRY_FAILED_TASK"), _work("beside_it", 0)))],
        _at(1, _hold),
        _at(2, _replay("beside_it")),
    ),
    _scenario(
        "what an SLA cancelled is replayed, and labelled",
        [
            _flow(
                _work("long", 90),
                sla=[{"id": "late", "type": "MAX_DURATION", "duration": "PT30S", "behavior": "CANCEL"}],
            )
        ],
        _at(5, _replay("long")),
        _at(6, _label),
    ),
    _scenario(
        "a replay is held before the flowable opens at which it begins, and replayed",
        [_flow(_parallel(_sequential(_work("inside", 0)), _work("aside", 0)))],
        _at(1, _replay_and_hold("after")),
        _at(3, _replay("aside"), replayed=True),
        batch=10,
    ),
    _scenario(
        "kill reaches what nobody waits for, a few at a time",
        [
            _flow(_work("long", 600), flow_id="child"),
            _flow(
                {
                    "id": "each",
                    "type": f"{CORE}.flow.ForEach",
                    "values": ["a", "b", "c"],
                    "concurrencyLimit": 0,
                    "tasks": [
                        {
                            "id": "call",
                            "type": f"{CORE}.flow.Subflow",
                            "namespace": NAMESPACE,
                            "flowId": "child",
                            "wait": False,
                        }
                    ],
                },
                _work("longer", 600),
            ),
        ],
        _at(2, _kill),
    ),
)
"""In turn."""


def _alone(number: int) -> str:
    """Return a flow with a limit that its one execution fills."""
    turned_away = {"limit": 1, "behavior": ("FAIL", "CANCEL")[number % 2]}
    return _flow({"id": "count", "type": "sim.Count"}, flow_id=f"alone_{number}", concurrency=turned_away)


_ALONE = range(16)
HOLDERS = Scenario(
    "directed: executions that hold the only slot ask for it again",
    tuple(map(_alone, _ALONE)),
    tuple(Start(f"alone_{number}") for number in _ALONE),
)
"""Each takes its slot; an executor dies, or hears no answer, before that is written, and the next one asks once more.

That strikes one execution in some thirty, so there are many, and they are played more often than the scenarios above.
One that had to wait would be given its own slot: only those that would be turned away show that it was refused.
"""
