"""State changes on an EventBridge bus: source ``headrace``, detail type ``Execution State Change``.

Every change is put there, for whoever writes a rule. Our own rule takes those that are marked ``heard``: in most
deployments few executions start others, and a function is not called to find that out.

Their detail is for everybody who writes a rule: `events/schemas/execution-state-change.json` describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.adapters.aws.events import SOURCE, STATE_CHANGE, state_change_detail
from headrace_engine.ports import PortError, StateChange

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

ENTRY_LIMIT = 256 * 1024
"""Bytes of an event. EventBridge takes four times as much, but not every target of a rule does."""
_TIME_BYTES = 14
_TOGETHER = 10
"""Events that one request takes."""


class EventBridgeBus:
    """`Bus` on the bus of that name. Read what comes out with `events.state_change`."""

    def __init__(self, events: EventBridgeClient, bus: str, is_heard: Callable[[], bool] = lambda: True) -> None:
        """Take the bus; is_heard tells whether any flow listens to others, as it stands when it is asked."""
        self._events = events
        self._bus = bus
        self._is_heard = is_heard

    def publish(self, *changes: StateChange) -> None:
        """See `Bus.publish`. One request for ten."""
        # What a trigger started may switch it off when it has ended (`stopAfter`).
        is_heard = not all(_ends_what_a_trigger_started(change) for change in changes) and self._is_heard()
        entries = [self._entry(change, heard=is_heard or _ends_what_a_trigger_started(change)) for change in changes]
        for begin in range(0, len(entries), _TOGETHER):
            self._put(entries[begin : begin + _TOGETHER])

    def _entry(self, change: StateChange, *, heard: bool) -> dict[str, Any]:
        detail = msgspec.json.encode(state_change_detail(change, heard=heard))
        if _TIME_BYTES + len(SOURCE) + len(STATE_CHANGE) + len(detail) > ENTRY_LIMIT:
            raise PortError(f"The state change of execution {change.execution_id} is too large for an event")
        return {
            "Source": SOURCE,
            "DetailType": STATE_CHANGE,
            "Detail": detail.decode(),
            "Time": change.at,
            "EventBusName": self._bus,
        }

    def _put(self, entries: Sequence[Any]) -> None:
        with calling("EventBridge", "PutEvents"):
            answer = self._events.put_events(Entries=entries)
        # An entry that was not taken is no error of the call. The others come again with it.
        failed = [entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry]
        if answer["FailedEntryCount"]:
            raise AwsError("EventBridge", "PutEvents", next(iter(failed), "Unknown"))


def _ends_what_a_trigger_started(change: StateChange) -> bool:
    return change.trigger_id is not None and change.state.is_terminal
