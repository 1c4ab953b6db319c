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

TASK_RUN: Table = {
    State.CREATED: {
        State.RUNNING: "its attempt starts, or a flowable opens",
        State.SKIPPED: "runIf is falsy, or the execution is leaving before it started",
        State.FAILED: "runIf or a flowable's expression cannot be evaluated",
        State.WARNING: "as FAILED, with allowFailure",
        State.SUCCESS: "as FAILED, with allowFailure and allowWarning",
        State.KILLED: "kill came before it started",
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
    },
    State.PAUSED: {
        State.RUNNING: "it is resumed, or the next round begins",
        State.FAILED: "its timeout is over",
        State.WARNING: "as FAILED, with allowFailure",
        State.SUCCESS: "as FAILED, with allowFailure and allowWarning",
        State.KILLED: "the execution was killed",
        State.SKIPPED: "the execution is leaving while it waited",
    },
    # FAILED is the end unless it is followed at once, in the same event, by RETRYING.
    State.FAILED: {State.RETRYING: "another attempt will be made"},
    State.RETRYING: {
        State.CREATED: "the wait before the next attempt is over",
        State.KILLED: "kill came during the wait",
        State.SKIPPED: "the execution is leaving during the wait",
    },
    State.KILLING: {
        State.KILLED: "its attempt ended, however it ended",
    },
    State.SUCCESS: {},
    State.WARNING: {},
    State.SKIPPED: {},
    State.KILLED: {},
    State.CANCELLED: {},
    State.RETRIED: {},
}

EXECUTION: Table = {
    State.CREATED: {
        State.RUNNING: "it starts",
        State.KILLED: "kill came before it started",
        State.FAILED: "the engine cannot go on with it",
    },
    State.RUNNING: {
        State.RETRYING: "a task run waits for its next attempt",
        State.PAUSED: "nothing runs but a Pause, or somebody held it",
        State.KILLING: "kill was asked for",
        State.SUCCESS: "every task succeeded",
        State.WARNING: "a task ended with a warning",
        State.FAILED: "a task failed, or the outputs cannot be rendered",
        State.KILLED: "an Exit task said so",
        State.CANCELLED: "an Exit task said so",
        State.RETRIED: "a new execution takes over",
    },
    State.PAUSED: {
        State.RESTARTED: "it is resumed",
        State.KILLING: "kill was asked for",
        State.RUNNING: "the next attempt starts, in an execution that was held",
        State.SUCCESS: "its last task ended while it was held",
        State.WARNING: "as SUCCESS",
        State.FAILED: "as SUCCESS",
        State.CANCELLED: "as SUCCESS, by an Exit task",
        State.KILLED: "as SUCCESS, by an Exit task",
        State.RETRIED: "a new execution takes over",
    },
    State.RESTARTED: {State.RUNNING: "at once"},
    State.RETRYING: {
        State.RUNNING: "the next attempt starts",
        State.KILLING: "kill was asked for",
        State.SUCCESS: "an Exit task said so",
        State.WARNING: "an Exit task said so",
        State.FAILED: "an Exit task said so",
        State.KILLED: "an Exit task said so",
        State.CANCELLED: "an Exit task said so",
        State.RETRIED: "a new execution takes over",
    },
    State.KILLING: {
        State.KILLED: "nothing runs any more",
        State.FAILED: "the engine cannot go on with it",
    },
    State.SUCCESS: {},
    State.WARNING: {},
    State.FAILED: {},
    State.KILLED: {},
    State.CANCELLED: {},
    State.RETRIED: {},
}


def check(table: Table, what: str, source: State, target: State) -> None:
    """Raise IllegalTransitionError unless *table* lets *source* become *target*."""
    if target not in table[source]:
        raise IllegalTransitionError(what, source, target)
