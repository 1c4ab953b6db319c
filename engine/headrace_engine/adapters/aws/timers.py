"""Alarms that ring at the second: up to 15 minutes ahead as a delayed message, further ahead as a one-time schedule.

EventBridge Scheduler calls within the minute it was told, so the schedule is set for a minute early; it puts the alarm
into the delay queue, and whoever takes it out there sets the rest (`settle`). Setting the same alarm again makes the
same schedule, which is there already. An alarm more than a year ahead goes in stages.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.adapters.aws.events import Alarm, ExecutionAlarm, TriggerAlarm, encode_alarm
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient
    from mypy_boto3_scheduler.type_defs import TargetTypeDef
    from mypy_boto3_sqs.client import SQSClient

LONGEST_DELAY = timedelta(minutes=15)
"""What SQS takes as a message's delay."""
_MINUTE = timedelta(minutes=1)
# How far ahead Scheduler takes a date is documented nowhere; a year is common.
_STAGE = timedelta(days=183)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ScheduleTarget:
    """Where schedules stand, and what they need to reach the delay queue."""

    group: str
    queue_arn: str
    role_arn: str
    """Lets Scheduler send to the queue."""
    dead_letter_arn: str | None = None
    """The queue for what Scheduler could not deliver in a day."""


class SqsTimers:
    """`Timers` on a standard queue and EventBridge Scheduler."""

    def __init__(
        self,
        sqs: SQSClient,
        scheduler: EventBridgeSchedulerClient,
        clock: Clock,
        *,
        queue_url: str,
        target: ScheduleTarget,
    ) -> None:
        """Take the clients, and the delay queue: by its URL for messages, as *target* for schedules."""
        self._sqs = sqs
        self._scheduler = scheduler
        self._clock = clock
        self._queue_url = queue_url
        self._target = target

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """See `Timers.wake`."""
        self.set(ExecutionAlarm(execution_id, key, due))

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """Have the trigger looked at at or after *due*, at least once, with the promises of `Timers.wake`."""
        self.set(TriggerAlarm(namespace, flow_id, trigger_id, due))

    def is_set(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> bool | None:
        """See `Alarms.is_set`. What waits in the queue nobody can see, nor which stage a distant alarm is at."""
        ahead = due - self._clock.now()
        if not self._target.group or not LONGEST_DELAY < ahead <= _STAGE:
            return None
        text = encode_alarm(TriggerAlarm(namespace, flow_id, trigger_id, due))
        name = _name(text, _date(due, self._clock.now()))
        with calling("EventBridge Scheduler", "GetSchedule"):
            try:
                self._scheduler.get_schedule(Name=name, GroupName=self._target.group)
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                return False
        return True

    def set(self, alarm: Alarm) -> None:
        """Have *alarm* come out of the delay queue at or after it is due, or before then to be settled."""
        now = self._clock.now()
        if alarm.due - now <= LONGEST_DELAY:
            self._delay(alarm, alarm.due - now)
        else:
            self._schedule(alarm, _date(alarm.due, now))

    def settle(self, alarm: Alarm) -> bool:
        """Return whether an alarm that came out of the queue is due; if not, the rest of its time is set."""
        if alarm.due <= self._clock.now():
            return True
        self.set(alarm)
        return False

    def _delay(self, alarm: Alarm, wait: timedelta) -> None:
        # Whole seconds, rounded up: a message that came early would have to be set again.
        seconds = min(max(math.ceil(wait.total_seconds()), 0), int(LONGEST_DELAY.total_seconds()))
        with calling("SQS", "SendMessage"):
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=encode_alarm(alarm), DelaySeconds=seconds)

    def _schedule(self, alarm: Alarm, date: datetime) -> None:
        text = encode_alarm(alarm)
        with calling("EventBridge Scheduler", "CreateSchedule"):
            try:
                self._scheduler.create_schedule(
                    Name=_name(text, date),
                    GroupName=self._target.group,
                    ScheduleExpression=f"at({date:%Y-%m-%dT%H:%M:%S})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target=self._target_of(text),
                )
            except ClientError as error:
                # The name says all of the schedule: the one that is there is this one.
                if error_code(error) != "ConflictException":
                    raise

    def _target_of(self, text: str) -> TargetTypeDef:
        target: TargetTypeDef = {"Arn": self._target.queue_arn, "RoleArn": self._target.role_arn, "Input": text}
        if self._target.dead_letter_arn is not None:
            target["DeadLetterConfig"] = {"Arn": self._target.dead_letter_arn}
        return target


def _name(text: str, date: datetime) -> str:
    """Return the name of an alarm's schedule: no other alarm or stage has it, and no later one will."""
    return derived_id("alarm", text, date.isoformat())


def _date(due: datetime, now: datetime) -> datetime:
    """Return the whole minute a schedule is set for.

    Between 60 and 120 s before *due*; for one more than two stages ahead, the end of the stage after this one. The
    ends of stages are the same for all, so that an alarm set again meets itself.
    """
    if due - now > 2 * _STAGE:
        return _EPOCH + ((now - _EPOCH) // _STAGE + 2) * _STAGE
    early = due.astimezone(UTC) - _MINUTE
    return early.replace(second=0, microsecond=0)
