"""State changes on an EventBridge bus: source ``headrace``, detail type ``Execution State Change``.

Their detail is for everybody who writes a rule: `events/schemas/execution-state-change.json` describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.adapters.aws.events import SOURCE, STATE_CHANGE, state_change_detail
from headrace_engine.ports import PortError, StateChange

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

ENTRY_LIMIT = 256 * 1024
"""Bytes of an event. EventBridge takes four times as much, but not every target of a rule does."""
_TIME_BYTES = 14


class EventBridgeBus:
    """`Bus` on the bus of that name. Read what comes out with `events.state_change`."""

    def __init__(self, events: EventBridgeClient, bus: str) -> None:
        self._events = events
        self._bus = bus

    def publish(self, change: StateChange) -> None:
        """See `Bus.publish`."""
        detail = msgspec.json.encode(state_change_detail(change))
        if _TIME_BYTES + len(SOURCE) + len(STATE_CHANGE) + len(detail) > ENTRY_LIMIT:
            raise PortError(f"The state change of execution {change.execution_id} is too large for an event")
        with calling("EventBridge", "PutEvents"):
            answer = self._events.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": STATE_CHANGE,
                        "Detail": detail.decode(),
                        "Time": change.at,
                        "EventBusName": self._bus,
                    }
                ]
            )
        # An entry that was not taken is no error of the call.
        if answer["FailedEntryCount"]:
            raise AwsError("EventBridge", "PutEvents", answer["Entries"][0].get("ErrorCode", "Unknown"))
