"""The events AWS calls the functions with, as data. `events/samples/` holds one of each, as AWS documents them.

Reading is lenient where AWS may add fields, and strict where we need one: EventError names what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, StateChange

SOURCE = "headrace"
STATE_CHANGE = "Execution State Change"
_INVOCATION_FAILED = "Lambda Function Invocation Result - Failure"
_STATES = frozenset(state.value for state in State)


class EventError(ValueError):
    """The event is not of the shape that AWS documents, or that Headrace sends."""


# -- SQS --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SqsRecord:
    """A message as a Lambda function receives it from a queue."""

    message_id: str
    """What a partial batch response names."""
    body: str
    queue: str
    """The queue's name."""
    group: str | None
    """The message group, in FIFO queues: for the mailbox, the execution."""
    sent: datetime
    receive_count: int
    """For people who look for trouble; nothing may depend on it."""


@dataclass(frozen=True, slots=True)
class SqsBatch:
    """The records of one invocation, in the order they came."""

    records: tuple[SqsRecord, ...]


def sqs_batch(event: Mapping[str, Any]) -> SqsBatch:
    """Read an invocation by a queue. Raises EventError."""
    return SqsBatch(tuple(_sqs_record(record) for record in _get(event, "Records", list)))


def _sqs_record(record: Mapping[str, Any]) -> SqsRecord:
    attributes = _get(record, "attributes", dict)
    return SqsRecord(
        message_id=_get(record, "messageId", str),
        body=_get(record, "body", str),
        queue=_get(record, "eventSourceARN", str).rpartition(":")[2],
        group=_optional(attributes, "MessageGroupId", str),
        sent=_from_milliseconds(_get(attributes, "SentTimestamp", str)),
        receive_count=_integer(_get(attributes, "ApproximateReceiveCount", str)),
    )


# -- Invocations that failed ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FailedInvocation:
    """An asynchronous invocation of `worker` or `script` that Lambda gave up: the attempt in it is lost, or ended."""

    attempt: AttemptId
    condition: str
    """RetriesExhausted or EventAgeExceeded."""
    function: str
    """The function's ARN."""
    request_id: str
    at: datetime
    error: str
    """What Lambda says of it; empty when the function never ran."""

    @property
    def reason(self) -> str:
        """Why the attempt was lost, for people."""
        if self.condition == "EventAgeExceeded":
            return "The invocation waited too long for a free function"
        return self.error or "The function did not end by itself"


def failed_invocation(record: Mapping[str, Any]) -> FailedInvocation:
    """Read the record that Lambda sends to an on-failure destination: a function or queue. Raises EventError."""
    context = _get(record, "requestContext", dict)
    payload = _get(record, "requestPayload", dict)
    response = record.get("responsePayload")
    error = ""
    if isinstance(response, Mapping) and response.get("errorMessage"):
        kind = response.get("errorType")
        error = f"{kind}: {response['errorMessage']}" if kind else str(response["errorMessage"])
    return FailedInvocation(
        attempt=attempt_of(_get(payload, "attempt", dict)),
        condition=_get(context, "condition", str),
        function=_get(context, "functionArn", str),
        request_id=_get(context, "requestId", str),
        at=_instant(_get(record, "timestamp", str)),
        error=error,
    )


def failed_invocation_event(event: Mapping[str, Any]) -> FailedInvocation:
    """Read the same record from an on-failure destination that is a bus. Raises EventError."""
    return failed_invocation(_detail(event, "lambda", _INVOCATION_FAILED))


# -- EventBridge ------------------------------------------------------------------------------------


def state_change_detail(change: StateChange, *, heard: bool = True) -> dict[str, Any]:
    """Return *change* as the detail of an event: what `events/schemas/execution-state-change.json` describes."""
    detail: dict[str, Any] = {
        "executionId": change.execution_id,
        "namespace": change.namespace,
        "flowId": change.flow_id,
        "flowRevision": change.flow_revision,
        "number": change.number,
        "state": change.state.value,
        "at": change.at.astimezone(UTC).isoformat(),
        "chain": change.chain,
        "heard": heard,
    }
    if change.trigger_id is not None:
        detail["triggerId"] = change.trigger_id
    return detail


def state_change(event: Mapping[str, Any]) -> StateChange:
    """Read an event of our own bus. Raises EventError."""
    detail = _detail(event, SOURCE, STATE_CHANGE)
    name = _get(detail, "state", str)
    if name not in _STATES:
        raise EventError(f"There is no state {name!r}")
    return StateChange(
        execution_id=_get(detail, "executionId", str),
        namespace=_get(detail, "namespace", str),
        flow_id=_get(detail, "flowId", str),
        flow_revision=_get(detail, "flowRevision", int),
        number=_get(detail, "number", int),
        state=State(name),
        at=_instant(_get(detail, "at", str)),
        trigger_id=_optional(detail, "triggerId", str),
        chain=_get(detail, "chain", int),
    )


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """A file arrived in a bucket."""

    bucket: str
    key: str
    """As it is: EventBridge, unlike S3's own notifications, does not encode it."""
    size: int
    etag: str
    version: str | None
    sequencer: str
    """Orders the events of one key; with bucket and key, it names the event."""
    reason: str
    at: datetime


def object_created(event: Mapping[str, Any]) -> ObjectCreated:
    """Read S3's *Object Created*. Raises EventError."""
    detail = _detail(event, "aws.s3", "Object Created")
    stored = _get(detail, "object", dict)
    return ObjectCreated(
        bucket=_get(_get(detail, "bucket", dict), "name", str),
        key=_get(stored, "key", str),
        size=_get(stored, "size", int),
        etag=_get(stored, "etag", str),
        version=_optional(stored, "version-id", str),
        sequencer=_get(stored, "sequencer", str),
        reason=_get(detail, "reason", str),
        at=_instant(_get(event, "time", str)),
    )


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """What became of one container of an ECS task."""

    name: str
    exit_code: int | None
    """None when it never ran, or was taken away."""
    reason: str


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """An ECS task changed its state; they come in any order, a higher version is the later one."""

    task: str
    """The task's ARN."""
    cluster: str
    status: str
    """PROVISIONING … RUNNING … STOPPED"""
    started_by: str
    version: int
    stop_code: str
    """EssentialContainerExited, TaskFailedToStart, UserInitiated, SpotInterruption, …; empty while it runs."""
    stopped_reason: str
    containers: tuple[ContainerEnd, ...]

    @property
    def attempt(self) -> AttemptId | None:
        """The attempt the task runs; None when somebody else started it."""
        return attempt_named(self.started_by)


def task_changed(event: Mapping[str, Any]) -> TaskChanged:
    """Read *ECS Task State Change*. Raises EventError."""
    return task_described(_detail(event, "aws.ecs", "ECS Task State Change"))


def task_described(detail: Mapping[str, Any]) -> TaskChanged:
    """Read a task as its events, RunTask and DescribeTasks show it. Raises EventError."""
    return TaskChanged(
        task=_get(detail, "taskArn", str),
        cluster=_get(detail, "clusterArn", str),
        status=_get(detail, "lastStatus", str),
        started_by=_optional(detail, "startedBy", str) or "",
        version=_get(detail, "version", int),
        stop_code=_optional(detail, "stopCode", str) or "",
        stopped_reason=_optional(detail, "stoppedReason", str) or "",
        containers=tuple(map(_container, _get(detail, "containers", list))),
    )


def _container(container: Mapping[str, Any]) -> ContainerEnd:
    return ContainerEnd(
        _get(container, "name", str),
        _optional(container, "exitCode", int),
        _optional(container, "reason", str) or "",
    )


@dataclass(frozen=True, slots=True)
class JobChanged:
    """An AWS Batch job changed its state."""

    job_id: str
    name: str
    queue: str
    status: str
    """SUBMITTED PENDING RUNNABLE STARTING RUNNING SUCCEEDED FAILED"""
    reason: str
    exit_code: int | None
    log_stream: str | None
    containers: tuple[ContainerEnd, ...] = ()
    """Those of a job that has several."""

    @property
    def attempt(self) -> AttemptId | None:
        """The attempt the job runs; None when somebody else submitted it."""
        return attempt_named(self.name)


def job_changed(event: Mapping[str, Any]) -> JobChanged:
    """Read *Batch Job State Change*. Raises EventError."""
    return job_described(_detail(event, "aws.batch", "Batch Job State Change"))


def job_described(detail: Mapping[str, Any]) -> JobChanged:
    """Read a job as its events and DescribeJobs show it. Raises EventError."""
    container = _optional(detail, "container", dict) or {}
    tasks = _optional(_optional(detail, "ecsProperties", dict) or {}, "taskProperties", list) or []
    reason = _optional(container, "reason", str) or _optional(detail, "statusReason", str) or ""
    return JobChanged(
        job_id=_get(detail, "jobId", str),
        name=_get(detail, "jobName", str),
        queue=_get(detail, "jobQueue", str),
        status=_get(detail, "status", str),
        reason=reason,
        exit_code=_optional(container, "exitCode", int),
        log_stream=_optional(container, "logStreamName", str),
        containers=tuple(
            _container(each) for task in tasks for each in _optional(task, "containers", list) or [] if each.get("name")
        ),
    )


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """A rule's schedule came round: the sweep."""

    rule: str
    """The rule's name."""
    at: datetime


def scheduled_event(event: Mapping[str, Any]) -> ScheduledEvent:
    """Read the event of a rule with a schedule. Raises EventError."""
    _detail(event, "aws.events", "Scheduled Event")
    resources = _get(event, "resources", list)
    if not resources:
        raise EventError("The event names no rule")
    return ScheduledEvent(str(resources[0]).rpartition("/")[2], _instant(_get(event, "time", str)))


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """Any other event of a bus: what people's event triggers look at."""

    id: str
    source: str
    detail_type: str
    at: datetime
    resources: Sequence[str]
    detail: Mapping[str, Any]


def other_event(event: Mapping[str, Any]) -> OtherEvent:
    """Read an event of EventBridge as it is. Raises EventError."""
    return OtherEvent(
        id=_get(event, "id", str),
        source=_get(event, "source", str),
        detail_type=_get(event, "detail-type", str),
        at=_instant(_get(event, "time", str)),
        resources=tuple(_get(event, "resources", list)),
        detail=_get(event, "detail", dict),
    )


@dataclass(frozen=True, slots=True)
class BroughtEvent:
    """An event that a rule of one trigger brought."""

    namespace: str
    flow_id: str
    trigger_id: str
    event: Mapping[str, Any]
    """As EventBridge has it."""


def brought_event(event: Mapping[str, Any]) -> BroughtEvent:
    """Read what a rule made of an event (`rules`). Raises EventError."""
    wanted, inner = _get(event, "headrace", dict), _get(event, "event", dict)
    _get(inner, "id", str)
    return BroughtEvent(_get(wanted, "namespace", str), _get(wanted, "flow", str), _get(wanted, "trigger", str), inner)


# -- Alarms -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutionAlarm:
    """A timer of an execution."""

    execution_id: str
    key: str
    due: datetime


@dataclass(frozen=True, slots=True)
class TriggerAlarm:
    """A trigger's next date."""

    namespace: str
    flow_id: str
    trigger_id: str
    due: datetime


@dataclass(frozen=True, slots=True)
class StartAlarm:
    """An attempt that could not be started when it was to be."""

    attempt: AttemptId
    due: datetime


Alarm = ExecutionAlarm | TriggerAlarm | StartAlarm


class AlarmKind(StrEnum):
    """What an alarm is for, as its text says."""

    EXECUTION = "execution"
    TRIGGER = "trigger"
    START = "start"


def encode_alarm(alarm: Alarm) -> str:
    """Return *alarm* as the text of a message or of a schedule's input; the same alarm, the same text."""
    due = alarm.due.astimezone(UTC).isoformat()
    body: dict[str, Any]
    match alarm:
        case ExecutionAlarm(execution_id, key):
            body = {"alarm": AlarmKind.EXECUTION.value, "execution": execution_id, "key": key, "due": due}
        case TriggerAlarm(namespace, flow_id, trigger_id):
            body = {
                "alarm": AlarmKind.TRIGGER.value,
                "namespace": namespace,
                "flow": flow_id,
                "trigger": trigger_id,
                "due": due,
            }
        case StartAlarm(attempt):
            body = {"alarm": AlarmKind.START.value, "attempt": attempt_body(attempt), "due": due}
    return msgspec.json.encode(body).decode()


def decode_alarm(text: str) -> Alarm:
    """Return the alarm that encode_alarm made *text* of. Raises EventError."""
    try:
        body = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise EventError("An alarm is a JSON object") from None
    due = _instant(_get(body, "due", str))
    match _get(body, "alarm", str):
        case AlarmKind.EXECUTION:
            return ExecutionAlarm(_get(body, "execution", str), _get(body, "key", str), due)
        case AlarmKind.TRIGGER:
            return TriggerAlarm(_get(body, "namespace", str), _get(body, "flow", str), _get(body, "trigger", str), due)
        case AlarmKind.START:
            return StartAlarm(attempt_of(_get(body, "attempt", dict)), due)
        case other:
            raise EventError(f"There is no alarm of the kind {other!r}")


# -- Attempts ---------------------------------------------------------------------------------------


def attempt_body(attempt: AttemptId) -> dict[str, Any]:
    """Return *attempt* as it stands in an invocation."""
    return {"execution": attempt.execution_id, "taskRun": attempt.task_run_id, "number": attempt.number}


def attempt_of(body: Mapping[str, Any]) -> AttemptId:
    """Return the attempt that attempt_body made *body* of. Raises EventError."""
    return AttemptId(_get(body, "execution", str), _get(body, "taskRun", str), _get(body, "number", int))


def attempt_name(attempt: AttemptId) -> str:
    """Return *attempt* as the ``startedBy`` of an ECS task or the name of a Batch job: ids have no hyphen."""
    return f"{attempt.execution_id}-{attempt.task_run_id}-{attempt.number}"


def attempt_named(name: str) -> AttemptId | None:
    """Return the attempt that attempt_name made *name* of; None when it is no such name."""
    match name.split("-"):
        case [execution_id, task_run_id, number] if execution_id and task_run_id and number.isdecimal():
            return AttemptId(execution_id, task_run_id, int(number))
        case _:
            return None


# -- Any of them ------------------------------------------------------------------------------------

Event = (
    SqsBatch
    | FailedInvocation
    | StateChange
    | ObjectCreated
    | TaskChanged
    | JobChanged
    | ScheduledEvent
    | BroughtEvent
    | OtherEvent
)

_BRIDGE: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Event]] = {
    (SOURCE, STATE_CHANGE): state_change,
    ("aws.s3", "Object Created"): object_created,
    ("aws.ecs", "ECS Task State Change"): task_changed,
    ("aws.batch", "Batch Job State Change"): job_changed,
    ("aws.events", "Scheduled Event"): scheduled_event,
    ("lambda", _INVOCATION_FAILED): failed_invocation_event,
}


def read_event(event: Mapping[str, Any]) -> Event:
    """Read whatever the `triggers` function was called with. Raises EventError."""
    if "Records" in event:
        return sqs_batch(event)
    if "requestContext" in event and "requestPayload" in event:
        return failed_invocation(event)
    if "headrace" in event:
        return brought_event(event)
    if "detail-type" in event:
        return _BRIDGE.get((str(event.get("source")), str(event["detail-type"])), other_event)(event)
    raise EventError(f"No event of AWS that Headrace expects has the fields {', '.join(sorted(event)) or '(none)'}")


def _detail(event: Mapping[str, Any], source: str, kind: str) -> Mapping[str, Any]:
    if (event.get("source"), event.get("detail-type")) != (source, kind):
        raise EventError(f"The event is {event.get('detail-type')!r} of {event.get('source')!r}, not {kind!r}")
    detail: Mapping[str, Any] = _get(event, "detail", dict)
    return detail


def _get(data: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a field that must be there. Raises EventError."""
    value = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "is missing" if value is None else f"is no {kind.__name__}"
        raise EventError(f"The field {name!r} of the event {found}")
    return value


def _optional(data: Mapping[str, Any], name: str, kind: type) -> Any:
    return None if data.get(name) is None else _get(data, name, kind)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise EventError(f"{text!r} is no instant") from None
    if instant.tzinfo is None:
        raise EventError(f"{text!r} has no time zone")
    return instant.astimezone(UTC)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise EventError(f"{text!r} is no number") from None


def _from_milliseconds(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(_integer(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise EventError(f"{text!r} is no instant") from None
