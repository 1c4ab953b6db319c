"""states.md, from the tables in headrace_engine.core.transitions."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import generated_by, table

from headrace_engine.core.transitions import EXECUTION, TASK_RUN, Table
from headrace_engine.model.state import SUCCESSFUL, State

MEANING: dict[State, str] = {
    State.CREATED: "It is there and has not started. A task run that waits for its next attempt comes back to it.",
    State.QUEUED: "An execution waits for a slot of its flow's `concurrency`.",
    State.RUNNING: "It has started and not ended.",
    State.PAUSED: "It waits for a person or a timer and holds nothing else.",
    State.RESTARTED: "An execution is about to go on; RUNNING follows.",
    State.RETRYING: "An attempt failed, and another one will be made.",
    State.RETRIED: "It failed, and a new execution has taken over.",
    State.KILLING: "Somebody asked for its end; what runs is being stopped.",
    State.KILLED: "It was ended before it was done.",
    State.SUCCESS: "It did what it should.",
    State.WARNING: "It ended with something to look at. The flow goes on.",
    State.FAILED: "It failed for good.",
    State.CANCELLED: "A task of the flow (Exit, Pause) ended the execution so.",
    State.SKIPPED: "Its `runIf` was false, or the execution was leaving. It counts as a success.",
    State.BREAKPOINT: "An execution is held for debugging.",
    State.RESUBMITTED: "The end of an attempt whose worker vanished. The task run gets another one.",
}
"""What each state means, in a sentence."""

INTRODUCTION = """\
# States

Executions, task runs and attempts have states, by Kestra's names. Every change of a state stands in one of two tables
in [`core/transitions.py`](../engine/headrace_engine/core/transitions.py). A change that is not in them is refused as
a bug of the engine. This page is drawn from those tables.
"""

ATTEMPTS = """\
## Attempts

An attempt is RUNNING from its start to its end, and ends SUCCESS, WARNING, FAILED, KILLED or RESUBMITTED. RESUBMITTED
means that its worker vanished before it could report: see [lost is not failed](concepts.md#lost-is-not-failed).
`retry` does not count such an attempt.
"""

ENDS = """\
## How the end of a parent follows from its children

1. Of the children in `tasks` the worst end counts: KILLED before FAILED before WARNING before SUCCESS. SKIPPED counts
   as SUCCESS.
2. A failure first runs the `errors` tasks of the flowable that holds it, then fails that flowable, and so on outwards.
   Errors tasks that succeed rescue nothing; the parent stays FAILED.
3. `finally` tasks run last. One that fails makes a success FAILED.
4. `allowFailure` turns FAILED into WARNING; `allowWarning` turns WARNING into SUCCESS. To make a failure a SUCCESS,
   both are needed.
5. `afterExecution` tasks run after the end of the execution and cannot change it.
"""


def page() -> str:
    """Return the text of states.md."""
    used = [state for state in State if _is_used(state)]
    parts = [
        generated_by("make_states.py"),
        INTRODUCTION,
        table(("state", "meaning", "ends it"), (_row(state) for state in used)),
        f"{_names(state for state in State if state not in used)} are Kestra's too and not in use in this version.\n",
        *_section("Task runs", TASK_RUN),
        "FAILED is the end of a task run, unless RETRYING follows at once.\n",
        *_section("Executions", EXECUTION),
        ATTEMPTS,
        ENDS,
    ]
    return "\n".join(parts)


def _is_used(state: State) -> bool:
    return state is State.RESUBMITTED or any(
        state in at or any(state in targets for targets in at.values()) for at in (TASK_RUN, EXECUTION)
    )


def _row(state: State) -> tuple[str, str, str]:
    end = "" if not state.is_terminal else "yes, as a success" if state in SUCCESSFUL else "yes"
    return state.value, MEANING[state], end


def _section(title: str, transitions: Table) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"```mermaid\n{diagram(transitions)}```\n"
    rows = [(source, target, why) for source, targets in transitions.items() for target, why in targets.items()]
    yield table(("from", "to", "when"), rows)


def diagram(transitions: Table) -> str:
    """Return the Mermaid diagram of a table."""
    lines = ["stateDiagram-v2", "    [*] --> CREATED"]
    for source, targets in transitions.items():
        lines += [f"    {source} --> {target}" for target in targets]
        if source.is_terminal:
            lines.append(f"    {source} --> [*]")
    return "\n".join(lines) + "\n"


def _names(states: Iterator[State]) -> str:
    *most, last = [state.value for state in states]
    return f"{', '.join(most)} and {last}" if most else last
