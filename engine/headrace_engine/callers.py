"""Which execution started another: by a task that calls its flow, or because a Flow trigger of it heard of a change."""

from __future__ import annotations

from typing import Literal

from headrace_engine.core.events import ExecutionCreated
from headrace_engine.model.trigger import FLOW_TRIGGER

Relation = Literal["FLOW_TASK", "FLOW_TRIGGER"]


def caller_of(created: ExecutionCreated) -> tuple[str, Relation] | None:
    """Return the id of the execution that started one, and how; None where something else did.

    A replay was started by what started the first one.
    """
    trigger = created.trigger or {}
    variables = trigger.get("variables") or {}
    caller = variables.get("executionId")
    if not isinstance(caller, str):
        return None
    if trigger.get("type") == FLOW_TRIGGER:
        return caller, "FLOW_TRIGGER"
    # What other triggers bring is somebody else's to name.
    return (caller, "FLOW_TASK") if {"taskRunId", "taskId"} <= variables.keys() else None
