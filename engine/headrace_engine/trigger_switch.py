"""Switches triggers off and on, whoever else writes their records at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from headrace_engine.ports import PortError, TriggerChangedError, TriggerRecord, Triggers

TRIES = 50
"""How often a write that lost a race is tried again; each time somebody else got on."""

Change = Callable[[TriggerRecord], TriggerRecord]


def switch_trigger(
    triggers: Triggers, namespace: str, flow_id: str, trigger_id: str, *, disabled: bool, change: Change | None = None
) -> None:
    """Switch a trigger off or on; returns when that is stored. Raises PortError when it could not be.

    change is what that makes of its record, where there is more to it.
    """

    def switched(record: TriggerRecord) -> TriggerRecord:
        if record.disabled is disabled:
            return record
        return replace(record, disabled=disabled) if change is None else change(record)

    rewrite(triggers, namespace, flow_id, trigger_id, switched)


def rewrite(triggers: Triggers, namespace: str, flow_id: str, trigger_id: str, change: Change) -> TriggerRecord:
    """Store what *change* makes of a trigger's record, unless that is the same; return the record as it stands then.

    change is asked again when somebody else wrote meanwhile; what it raises is raised. Raises PortError.
    """
    for _ in range(TRIES):
        record = triggers.get(namespace, flow_id, trigger_id)
        changed = change(record)
        if changed == record:
            return record
        try:
            return triggers.put(changed)
        except TriggerChangedError:
            continue
    raise PortError(f"The trigger {namespace}.{flow_id}.{trigger_id} is written too often to be switched")
