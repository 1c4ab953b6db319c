"""Switches triggers off and on, whoever else writes their records at the same time."""

from __future__ import annotations

from dataclasses import replace

from headrace_engine.ports import PortError, TriggerChangedError, Triggers

TRIES = 50
"""How often a write that lost a race is tried again; each time somebody else got on."""


def switch_trigger(triggers: Triggers, namespace: str, flow_id: str, trigger_id: str, *, disabled: bool) -> None:
    """Switch a trigger off or on; returns when that is stored. Raises PortError when it could not be."""
    for _ in range(TRIES):
        record = triggers.get(namespace, flow_id, trigger_id)
        if record.disabled is disabled:
            return
        try:
            triggers.put(replace(record, disabled=disabled))
        except TriggerChangedError:
            continue
        return
    raise PortError(f"The trigger {namespace}.{flow_id}.{trigger_id} is written too often to be switched")
