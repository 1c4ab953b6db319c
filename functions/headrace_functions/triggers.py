"""The `triggers` function: all that reaches the engine besides messages and HTTP.

Timers out of the delay queue, state changes of executions, invocations that failed, messages that could not be
handled, and the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from headrace_engine.adapters.aws.events import (
    BroughtEvent,
    EventError,
    ExecutionAlarm,
    FailedInvocation,
    JobChanged,
    ObjectCreated,
    ScheduledEvent,
    SqsBatch,
    SqsRecord,
    StartAlarm,
    TaskChanged,
    TriggerAlarm,
    decode_alarm,
    failed_invocation,
    read_event,
)
from headrace_engine.adapters.aws.signing import ForgedError
from headrace_engine.ports import BucketFile, StateChange
from headrace_functions.environment import ELSEWHERE
from headrace_functions.forgeries import refuse
from headrace_functions.observability import DEAD, LOST, count, logger
from headrace_functions.wiring import Wiring, remaining, wiring

_ASKING = timedelta(seconds=40)
"""What a trigger that asks others may take: an answer has 10 s, messages 20, and all that follows the rest."""

_SPARE = timedelta(seconds=20)
"""What the sweep leaves of its time: for what it has begun to remove."""


def handler(event: Mapping[str, Any], context: Any) -> Any:
    """Do what an event calls for."""
    return handle(wiring(), event, context)


def handle(wired: Wiring, event: Mapping[str, Any], context: Any) -> Any:
    """Do what `handler` does, on *wired*. Raises EventError for what is no event of this stack."""
    match read_event(event):
        case SqsBatch(records):
            # An execution's alarm must not wait for what a trigger asks of others.
            ordered = sorted(records, key=_is_of_trigger)
            left = [each for each in ordered if not _taken(wired, each, context)]
            return {"batchItemFailures": [{"itemIdentifier": each.message_id} for each in left]}
        case StateChange() as change:
            wired.invocations.hear(change)
        case FailedInvocation() as failed:
            _lost(wired, failed)
        case BroughtEvent(namespace, flow_id, trigger_id, brought):
            wired.event_triggers.hear_for(namespace, flow_id, trigger_id, brought)
        case ObjectCreated() as created:
            wired.event_triggers.file_came(_file(created))
        case TaskChanged() as task if wired.containers is not None:
            wired.containers.task_changed(task)
        case JobChanged() as job if wired.containers is not None:
            wired.containers.job_changed(job)
        case ScheduledEvent():
            poked = wired.invocations.sweep(remaining(context, wired.clock.now(), _SPARE))
            logger.info("Swept", extra={"poked": poked})
        case other:
            raise EventError(f"Nothing listens to {type(other).__name__} yet")
    return None


def _file(created: ObjectCreated) -> BucketFile:
    return BucketFile(
        created.bucket, created.key, created.size, created.etag, created.at, created.version or created.sequencer
    )


def _is_of_trigger(record: SqsRecord) -> bool:
    """Return whether a record is a trigger's alarm."""
    try:
        return record.group is None and isinstance(decode_alarm(record.body), TriggerAlarm)
    except EventError:
        return False


def _taken(wired: Wiring, record: SqsRecord, context: Any) -> bool:
    """Return whether a record of a queue is done with."""
    try:
        try:
            _take(wired, record, context)
        except ForgedError as forged:
            refuse(wired, forged, record.message_id)
    except EventError as error:
        logger.error("A message that nobody can read was dropped", extra={"queue": record.queue, "why": str(error)})
    except Exception:  # noqa: BLE001  # whatever it is, it must not stop the other records of the batch
        logger.exception("A message could not be handled", extra={"queue": record.queue})
        return False
    return True


def _take(wired: Wiring, record: SqsRecord, context: Any) -> None:
    if record.group is not None:  # out of the mailbox's dead-letter queue
        mail = wired.inbox.open(record)
        count(DEAD)
        wired.invocations.dead_letter(mail.execution_id, mail.message)
        return
    body = _object(record)
    if not isinstance(body.get("requestPayload"), dict):
        _ring(wired, record.body, context)
    elif "attempt" in body["requestPayload"]:
        _lost(wired, failed_invocation(body))
    elif wired.environment.delays_arn.endswith(f":{record.queue}"):
        # `script`, whose failures come through the delay queue, could write there what it likes.
        raise EventError("An event that failed does not come by the delay queue")
    else:  # an event that this function could not handle when it came
        handle(wired, body["requestPayload"], context)


def _ring(wired: Wiring, text: str, context: Any) -> None:
    alarm = decode_alarm(text)
    if not wired.timers.settle(alarm):
        return  # not due yet: its rest is set
    if isinstance(alarm, ExecutionAlarm):
        wired.invocations.ring(alarm.execution_id, alarm.key)
    elif isinstance(alarm, StartAlarm):
        wired.invocations.start_later(alarm.attempt)
    elif remaining(context, wired.clock.now(), _ASKING) <= wired.clock.now():
        wired.timers.set(alarm)  # others of this batch took the time: an invocation of its own has it
    else:
        wired.invocations.ring_trigger(alarm.namespace, alarm.flow_id, alarm.trigger_id, alarm.due)


def _lost(wired: Wiring, failed: FailedInvocation) -> None:
    extra = {"execution": failed.attempt.execution_id, "why": failed.reason}
    if failed.error.endswith(f"exit status {ELSEWHERE}"):
        logger.info("An attempt goes to another sandbox", extra=extra)
        wired.invocations.start_again(failed.attempt.execution_id)
        return
    logger.warning("An invocation failed", extra=extra)
    count(LOST)
    wired.invocations.lost(failed.attempt, failed.reason, failed.request_id)


def _object(record: SqsRecord) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(record.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise EventError("A message is a JSON object") from None
