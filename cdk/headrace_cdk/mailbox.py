"""The queues: the mailbox of executions, the delays, and where their messages end that could not be handled."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from headrace_cdk.props import HeadraceProps
from headrace_cdk.timeouts import EXECUTOR_TIMEOUT, TRIGGERS_TIMEOUT

_VISIBILITY = 6
"""Visibility by time-outs of the function: as AWS asks for, so that a message in a batch that is retried inside
Lambda does not come a second time meanwhile."""
_RECEIVES = 5
_KEPT = Duration.days(14)


class Mailbox(Construct):
    """A FIFO queue whose groups are executions, a standard queue for delays, and a dead-letter queue for each.

    Whatever the mailbox's dead letters hold, `triggers` tries once more and then ends the execution. Those of the delay
    queue hold also the events that `triggers` could not handle.
    """

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self._props = props
        self.mailbox_dead = self._queue("MailboxDead", TRIGGERS_TIMEOUT, fifo=True)
        self.mailbox = self._queue("Mailbox", EXECUTOR_TIMEOUT, fifo=True, dead=self.mailbox_dead)
        self.delays_dead = self._queue("DelaysDead", TRIGGERS_TIMEOUT)
        self.delays = self._queue("Delays", TRIGGERS_TIMEOUT, dead=self.delays_dead)

    def _queue(self, id_: str, timeout: Duration, *, fifo: bool = False, dead: sqs.Queue | None = None) -> sqs.Queue:
        key = self._props.encryption_key
        return sqs.Queue(
            self,
            id_,
            fifo=True if fifo else None,
            # Every message has a deduplication id of its own; groups share no limit.
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP if fifo else None,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID if fifo else None,
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            data_key_reuse=Duration.hours(1) if key else None,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(timeout.to_seconds() * _VISIBILITY),
            retention_period=_KEPT,
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=_RECEIVES) if dead else None,
        )
