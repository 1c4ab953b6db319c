"""Persons who interfere at random: every operation there is, on executions as they happen to stand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.model.state import State
from headrace_engine.operations import Operations
from headrace_engine.testing.simulation.scenario import Person

if TYPE_CHECKING:
    from headrace_engine.testing.simulation.functions import Functions
    from headrace_engine.testing.simulation.world import World

_ENDS = (State.SUCCESS, State.WARNING, State.FAILED, State.KILLED, State.SKIPPED, State.CANCELLED)


def interfere(world: World, functions: Functions, number: int) -> None:
    """Do what comes to a person's mind; what the engine refuses is left undone."""
    generator = random.Random(f"operator {world.seed} {number}")  # noqa: S311 - seeded
    known = sorted(world.watch.states, key=lambda each: int(world.name_of(each)[1:]))
    if not known:
        return
    execution_id = generator.choice(known)
    state = functions.engine.platform.state(execution_id)
    if state is None:
        return
    operations = Operations(functions.engine, world.make_id)
    wish = generator.choice(_fitting(state))
    world.counts[f"operation {wish}"] += 1
    world.tell(f"a person asks of {world.name_of(execution_id)} ({state.state}): {wish}")
    if wish == "wait":
        return
    try:
        if wish == "replay":
            _replay(world, functions, operations, state, generator)
        elif wish == "purge":
            world.watch.purged.add(execution_id)
            functions.engine.platform.of(state.flow.definition.namespace).purge(execution_id)
        else:
            message = _message(operations, state, wish, generator)
            functions.channels.mailbox.send(execution_id, encode_message(message))
    except ValueError as refused:  # what an operation refuses with
        world.tell(f"  refused: {refused}")


def ask(world: World, functions: Functions, person: Person) -> None:
    """Do what *person* is there for. Raises ValueError when it is refused, or there is nothing to ask it of yet."""
    known = sorted(world.watch.states, key=lambda each: int(world.name_of(each)[1:]))
    found = [each for each in known if _is_meant(world.watch.states[each], person)]
    if len(found) <= person.number:
        raise ValueError("there is no such execution yet")
    execution_id = found[person.number]
    state = functions.engine.platform.state(execution_id)
    if state is None:
        raise ValueError("it has no journal")
    asked = person.wish(Operations(functions.engine, world.make_id), state)
    follower_id = asked[0] if isinstance(asked, tuple) and isinstance(asked[0], str) else None
    for message in asked:
        if isinstance(message, str):
            continue
        world.tell(f"a person sends {world.name_of(follower_id or execution_id)}: {type(message).__name__}")
        functions.channels.mailbox.send(follower_id or execution_id, encode_message(message))
    if follower_id is not None:  # and not before: who fails to send it asks for another one
        world.watch.roots.append(follower_id)


def _is_meant(state: ExecutionState, person: Person) -> bool:
    is_replayed = any(key == "system.replay" for key, _ in state.labels)
    return state.flow.definition.id == person.flow_id and is_replayed == person.replayed


def _fitting(state: ExecutionState) -> list[str]:
    """Return the wishes that may be granted in this state, the ones that fit it most often."""
    if state.closed:
        return ["restart", "restart", "replay", "replay", "change state", "change state", "change status", "purge"]
    if state.state is State.QUEUED:
        return ["unqueue", "force run", "kill", "kill", "cancel", "cancel"]
    if state.state is State.PAUSED and state.held:
        return ["resume", "resume", "restart", "replay", "replay", "change state", "kill", "wait", "wait", "wait"]
    if state.state is State.PAUSED:
        return ["resume", "resume", "resume otherwise", "restart", "change state", "replay", "kill", "force run"]
    return ["kill", "pause", "pause", "pause", "force run", "change state", "wait"]


def _message(operations: Operations, state: ExecutionState, wish: str, generator: random.Random) -> Message:
    runs = [run.id for run in state.in_order()]
    wishes: dict[str, Callable[[], Message]] = {
        "kill": lambda: operations.kill(state),
        "pause": lambda: operations.pause(state),
        "resume": lambda: operations.resume(state),
        "resume otherwise": lambda: operations.resume(
            state, to=generator.choice((State.WARNING, State.FAILED, State.CANCELLED, State.KILLED))
        ),
        "restart": lambda: operations.restart(state),
        "force run": lambda: operations.force_run(state),
        "unqueue": lambda: operations.unqueue(state),
        "cancel": lambda: operations.unqueue(state, generator.choice((State.CANCELLED, State.FAILED))),
        "change status": lambda: operations.change_status(state, generator.choice(_ENDS)),
        "change state": lambda: operations.change_state(
            state, generator.choice(runs) if runs else "", generator.choice(_ENDS)
        ),
    }
    return wishes[wish]()


def _replay(
    world: World,
    functions: Functions,
    operations: Operations,
    state: ExecutionState,
    generator: random.Random,
) -> None:
    runs = [run.id for run in state.in_order()]
    task_run_id = generator.choice(runs) if runs and generator.random() < 0.8 else None
    follower_id, create = operations.replay(state, task_run_id)
    functions.channels.mailbox.send(follower_id, encode_message(create))
    world.watch.roots.append(follower_id)
