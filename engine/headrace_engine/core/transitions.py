"""Which state may follow which: every transition of a task run and of an execution stands here, and nowhere else.

A move that is not in the table is a bug of ours and raises IllegalTransitionError. The diagrams in the docs
are drawn from these tables. Each row names the moment it happens.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace_engine.model.state import State


class IllegalTransitionError(Exception):
    """The tables have no such move: a bug in the engine, never a fault of the flow."""

    def __init__(self, what: str, source: State, target: State) -> None:
        super().__init__(f"{what} cannot go from {source} to {target}")


Table = Mapping[State, Mapping[State, str]]

TAKEN_BACK: Mapping[State, str] = {
    State.RESTARTED: "a person runs it again",
    State.RUNNING: "a flowable is opened again by a restart, or a replay begins at it",
    State.SUCCESS: "a person says so",
    State.WARNING: "a person says so",
    State.FAILED: "a person says so",
    State.KILLED: "a person says so",
}


def _ended(state: State) -> Mapping[State, str]:
    """What a person may make of an execution that has ended in *state*."""
    ends = (State.SUCCESS, State.WARNING, State.FAILED, State.KILLED, State.CANCELLED)
    return {State.RESTARTED: "a person restarts it"} | {end: "a person says so" for end in ends if end is not state}


TASK_RUN: Table = {
    State.CREATED: {
        State.RUNNING: "its attempt starts, or a flowable opens",
        State.RESTARTED: "a replay takes it along from an execution that was held",
        State.SKIPPED: "runIf is falsy, or the execution is leaving before it started",
        State.FAILED: "runIf or a flowable's expression cannot be evaluated, or an SLA fails the execution",
        State.WARNING: "as FAILED, with allowFailure",
        State.SUCCESS: "as FAILED, with allowFailure and allowWarning",
        State.KILLED: "kill came before it started",
        State.CANCELLED: "an SLA with behavior CANCEL was broken before it started",
    },
    State.RUNNING: {
        State.SUCCESS: "its attempt, or all its children, succeeded",
        State.WARNING: "it ended with a warning, or failed with allowFailure",
        State.FAILED: "its last attempt, or a child, failed",
        State.KILLED: "the execution was killed",
        State.KILLING: "kill came while its attempt ran",
        State.CANCELLED: "the execution exits CANCELLED while it was open",
        State.RETRIED: "a new execution takes over",
        State.PAUSED: "a Pause waits, or a LoopUntil for its next round",
        State.RESTARTED: "a replay takes it along from an execution that was held",
    },
    State.PAUSED: {
        State.RUNNING: "it is resumed, or the next round begins",
        State.FAILED: "its timeout is over",
        State.WARNING: "as FAILED, with allowFailure",
        State.SUCCESS: "as FAILED, with allowFailure and allowWarning",
        State.KILLED: "the execution was killed",
        State.SKIPPED: "the execution is leaving while it waited",
        State.RESTARTED: "a person restarts it",
        State.CANCELLED: "an SLA with behavior CANCEL was broken",
    },
    # FAILED is the end unless it is followed at once, in the same event, by RETRYING; or a person takes it back.
    State.FAILED: {
        State.RETRYING: "another attempt will be made",
        State.RESTARTED: "a person restarts it",
        State.RUNNING: "a flowable is opened again by a restart, or a replay begins at it",
        State.SUCCESS: "a person says so",
        State.WARNING: "a person says so",
        State.FAILED: "a person says so",
        State.KILLED: "a person says so",
    },
    State.RESTARTED: {
        State.RUNNING: "its next attempt starts, or a flowable opens",
        State.FAILED: "its expression cannot be evaluated, or the restart is called off",
        State.WARNING: "as FAILED, with allowFailure",
        State.SUCCESS: "as FAILED, with allowFailure and allowWarning",
        State.SKIPPED: "the execution is leaving before it started again",
        State.KILLED: "kill came before it started",
    },
    State.RETRYING: {
        State.CREATED: "the wait before the next attempt is over",
        State.KILLED: "kill came during the wait",
        State.SKIPPED: "the execution is leaving during the wait",
        State.FAILED: "the execution fails or is cancelled during the wait",
        State.RESTARTED: "a replay takes it along from an execution that was held",
    },
    State.KILLING: {
        State.KILLED: "its attempt ended, however it ended",
        State.FAILED: "its attempt ended, after an SLA with behavior FAIL was broken",
        State.CANCELLED: "its attempt ended, after an SLA with behavior CANCEL was broken",
    },
    # An end is the end for the engine. A person may take it back: restart, replay, change of state.
    State.SUCCESS: TAKEN_BACK,
    State.WARNING: TAKEN_BACK,
    State.SKIPPED: TAKEN_BACK,
    State.KILLED: TAKEN_BACK,
    State.CANCELLED: TAKEN_BACK,
    State.RETRIED: TAKEN_BACK,
}

EXECUTION: Table = {
    State.CREATED: {
        State.RUNNING: "it starts",
        State.RESTARTED: "it is a replay",
        State.QUEUED: "it waits for a concurrency slot",
        State.CANCELLED: "the concurrency limit is reached, with behavior CANCEL",
        State.KILLED: "kill came before it started",
        State.FAILED: "a check or the concurrency limit fails it, or the engine cannot go on with it",
    },
    State.QUEUED: {
        State.RUNNING: "a concurrency slot is its own, or it is forced to run",
        State.KILLED: "kill came before it started",
        State.KILLING: "kill came while a restart waited",
        State.CANCELLED: "a person takes it out of the queue so",
        State.FAILED: "a person takes it out of the queue so",
    },
    State.RUNNING: {
        State.RETRYING: "a task run waits for its next attempt",
        State.PAUSED: "nothing runs but a Pause, or somebody held it",
        State.KILLING: "kill was asked for",
        State.SUCCESS: "every task succeeded",
        State.WARNING: "a task ended with a warning",
        State.FAILED: "a task failed, or the outputs cannot be rendered",
        State.KILLED: "the execution of its Subflow was killed",
        State.CANCELLED: "an Exit task said so",
        State.RETRIED: "a new execution takes over",
    },
    State.PAUSED: {
        State.RESTARTED: "it is resumed",
        State.KILLING: "kill was asked for",
        State.SUCCESS: "its last task ended while it was held",
        State.WARNING: "as SUCCESS",
        State.FAILED: "as SUCCESS",
        State.CANCELLED: "as SUCCESS, by an Exit task",
        State.KILLED: "as SUCCESS, by a Subflow whose execution was killed",
        State.RETRIED: "a new execution takes over",
    },
    State.RESTARTED: {
        State.RUNNING: "at once, or when it holds a concurrency slot",
        State.QUEUED: "it waits for a concurrency slot",
        State.KILLING: "kill was asked for",
        State.CANCELLED: "the concurrency limit is reached, with behavior CANCEL",
        State.FAILED: "the concurrency limit is reached, with behavior FAIL",
    },
    State.RETRYING: {
        State.RUNNING: "the next attempt starts",
        State.QUEUED: "the next attempt is due, and no concurrency slot is free",
        State.PAUSED: "somebody held it",
        State.KILLING: "kill was asked for",
        State.SUCCESS: "an Exit task said so",
        State.WARNING: "an Exit task said so",
        State.FAILED: "an Exit task said so",
        State.CANCELLED: "an Exit task said so",
        State.RETRIED: "a new execution takes over",
    },
    State.KILLING: {
        State.KILLED: "nothing runs any more",
        State.FAILED: "the engine cannot go on with it",
    },
    State.SUCCESS: _ended(State.SUCCESS),
    State.WARNING: _ended(State.WARNING),
    State.FAILED: _ended(State.FAILED),
    State.KILLED: _ended(State.KILLED),
    State.CANCELLED: _ended(State.CANCELLED),
    State.RETRIED: {},
}


def check(table: Table, what: str, source: State, target: State) -> None:
    """Raise IllegalTransitionError unless *table* lets *source* become *target*."""
    if target not in table[source]:
        raise IllegalTransitionError(what, source, target)
