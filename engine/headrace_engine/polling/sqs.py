"""Takes messages of an SQS queue (io.kestra.plugin.aws.sqs.Trigger and RealtimeTrigger).

A message is removed from its queue only when its execution is safe, and starts one execution however often it is
received. RealtimeTrigger's executions have ids that follow from their message. Trigger's are for several messages, and
another receive may bring others together: which execution each message is for is noted first, then the file of those
messages is stored, then the execution is created. Whoever finds a note and the file creates the execution; a note
without a file is that of somebody who got no further, and counts for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.messages import Create
from headrace_engine.engine import Engine, UnsupportedError
from headrace_engine.expressions import ExpressionError
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id, id_for_key
from headrace_engine.model.trigger import SQS_REALTIME
from headrace_engine.polling.asked import LONGEST, Poll, Polled, PollFailed, duration, flag, whole
from headrace_engine.ports import (
    KeyExistsError,
    Mailbox,
    PortError,
    QueueAddress,
    QueueMessage,
    Queues,
)
from headrace_engine.run_stores import execution_folder
from headrace_engine.trigger_events import Happened, TriggerEvent, id_for_event, idempotency_key

NOTES = "_queues"
"""The namespace, which no flow can have, of the keys that note which execution a message is for."""
NOTED = timedelta(days=14)
"""As long as a queue may keep a message."""
_AT_ONCE = 10
_MOST = 1_000
"""Messages that one poll takes at most, where the trigger names no number."""
_HIDDEN = 30
_LEAST_HIDDEN = timedelta(seconds=5)
_FILE = "messages.jsonl"


@dataclass(frozen=True, slots=True)
class _Read:
    """A message, and what it says."""

    message: QueueMessage
    data: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What `trigger` holds of it."""
        told = {"groupId": self.message.group, "deduplicationId": self.message.deduplication}
        return {
            "data": self.data,
            "messageId": self.message.id,
            **{name: value for name, value in told.items() if value is not None},
        }


def take(engine: Engine, mailbox: Mailbox, queues: Queues | None, poll: Poll, wait: timedelta) -> Polled:
    """Take the messages there are, and start what they start; the first are waited for. Raises PollFailed."""
    if queues is None:
        raise PollFailed("there is nothing here to read queues with")
    return _Taking(engine, mailbox, queues, poll).take(wait)


class _Taking:
    """One poll of a queue."""

    def __init__(self, engine: Engine, mailbox: Mailbox, queues: Queues, poll: Poll) -> None:
        self.engine = engine
        self.stores = engine.stores
        self.mailbox = mailbox
        self.queues = queues
        self.poll = poll
        self.event = TriggerEvent(engine, Happened(poll.flow, poll.trigger, poll.variables), "")
        properties = self.properties = self.event.rendered(dict(poll.trigger.properties))
        self.queue = _address(properties)
        self.hidden = timedelta(seconds=whole(properties.get("visibilityTimeout"), "visibilityTimeout", _HIDDEN))
        self.deletes = flag(properties.get("autoDelete"), otherwise=True)
        self.problems: list[str] = []

    def take(self, wait: timedelta) -> Polled:
        try:
            if self.poll.trigger.type == SQS_REALTIME:
                return self.each(wait)
            return self.together(wait)
        except PortError as error:
            raise PollFailed(self.event.mask(str(error))) from None

    # -- An execution for each ----------------------------------------------------------------------

    def each(self, wait: timedelta) -> Polled:
        """Start an execution for each message, ten at a time, until none is left or the time is up."""
        clock = self.stores.clock
        end = clock.now() + LONGEST
        started: list[str] = []
        while True:
            received = self.queues.receive(self.queue, at_most=_AT_ONCE, wait=wait, hidden=self.hidden)
            if not received:
                return Polled(tuple(started), problems=self.problems)
            for message in received:
                begun = self.begin(message)
                if begun is not None:
                    started.append(begun)
            if clock.now() >= end or len(started) >= _MOST:
                return Polled(tuple(started), has_more=True, problems=self.problems)
            if not self.deletes and not started:
                return Polled(problems=self.problems)  # all of them stay in the queue, and have come before
            wait = timedelta(0)

    def begin(self, message: QueueMessage) -> str | None:
        """Start the execution of a message and remove it; None when it was left, or has one already."""
        read = self.read(message)
        if read is None:
            return None
        flow, trigger = self.poll.flow, self.poll.trigger
        happened = Happened(flow, trigger, read.variables)
        try:
            key = idempotency_key(self.engine, happened)
            if key is not None:
                execution_id = id_for_key(flow.namespace, flow.id, trigger.id, key)
            else:
                execution_id = id_for_event(happened, "sqs", self.queue.url, message.id)
            is_new = self.engine.platform.state(execution_id) is None
            if is_new:
                self.create(happened, execution_id)
        except ConditionFailed as error:
            # It comes again, and goes where the queue sends what nobody could handle.
            self.problems.append(f"the message {message.id} is left: {error}")
            return None
        if self.deletes:
            self.queues.delete(self.queue, [message])
        return execution_id if is_new else None

    # -- An execution for all -----------------------------------------------------------------------

    def together(self, wait: timedelta) -> Polled:
        """Start an execution for the messages that come, as many as the trigger says and the time allows."""
        clock, given = self.stores.clock, self.properties
        most = min(whole(given.get("maxRecords"), "maxRecords", _MOST), _MOST)
        length = duration(given.get("maxDuration"), "maxDuration", LONGEST)
        # They must not come again while they are still being taken.
        length = min(length, LONGEST, max(self.hidden - _LEAST_HIDDEN, timedelta(0)))
        end = clock.now() + length
        latest = clock.now() + self.hidden - _LEAST_HIDDEN / 2
        received: dict[str, QueueMessage] = {}
        while len(received) < most:
            at_most = min(_AT_ONCE, most - len(received))
            found = self.queues.receive(self.queue, at_most=at_most, wait=wait, hidden=self.hidden)
            received |= {message.id: message for message in found}
            if not found or clock.now() >= end:
                break
            wait = timedelta(0)
        if not received:
            return Polled(problems=self.problems)
        owners = {message.id: self.owner(message) for message in received.values()}
        started = self.begun_before({owner for owner in owners.values() if owner is not None})
        read = [self.read(message) for message in received.values() if owners[message.id] is None]
        taken = self.begin_all([each for each in read if each is not None], latest)
        if taken is not None:
            execution_id, messages = taken
            started = (*started, execution_id)
            owners |= {message.id: execution_id for message in messages}
        done = [message for message in received.values() if owners[message.id] is not None]
        if done and self.deletes:
            self.queues.delete(self.queue, done)
        return Polled(started, problems=self.problems)

    def begun_before(self, owners: set[str]) -> tuple[str, ...]:
        """Create the executions that messages are for and that nobody has created; return their ids."""
        begun = []
        for execution_id in sorted(owners):
            if not self.exists(execution_id):
                self.create(self.of_file(execution_id), execution_id)
                begun.append(execution_id)
        return tuple(begun)

    def begin_all(self, read: Sequence[_Read], latest: datetime) -> tuple[str, list[QueueMessage]] | None:
        """Create an execution for messages; return its id and those that are its own, None when none is.

        After *latest* others may have received the messages.
        """
        if not read:
            return None
        named = Happened(self.poll.flow, self.poll.trigger, {})
        ids = sorted(each.message.id for each in read)
        execution_id = id_for_event(named, "sqs", self.queue.url, derived_id("messages", *ids))
        mine = [each for each in read if self.claim(each.message, execution_id)]
        if not mine:
            return None
        lines = [json.dumps(each.data, ensure_ascii=False, separators=(",", ":")) for each in mine]
        uri = self.uri(execution_id)
        self.stores.storage.put(uri, "".join(f"{line}\n" for line in lines).encode())
        if self.stores.clock.now() > latest and any(self.noted(each.message) != execution_id for each in mine):
            self.stores.storage.delete(uri)
            self.problems.append("it took so long to take its messages that others received them, too")
            return None
        self.create(self.of_file(execution_id), execution_id)
        return execution_id, [each.message for each in mine]

    def owner(self, message: QueueMessage) -> str | None:
        """Return the id of the execution that a message is for: one that exists, or that its file can create."""
        noted = self.noted(message)
        if noted is None:
            return None
        is_one = self.stores.storage.stat(self.uri(noted)) is not None or self.exists(noted)
        return noted if is_one else None  # whoever noted it got no further

    def noted(self, message: QueueMessage) -> str | None:
        entry = self.stores.kv.get(NOTES, self.key(message))
        return str(entry.value) if entry is not None else None

    def exists(self, execution_id: str) -> bool:
        state = self.engine.platform.state(execution_id)
        return state is not None or self.stores.journal.is_purged(execution_id)

    def claim(self, message: QueueMessage, execution_id: str) -> bool:
        """Note that a message is for an execution; False when it is for another one."""
        key, now, kv = self.key(message), self.stores.clock.now(), self.stores.kv
        try:
            kv.put(NOTES, key, "STRING", execution_id, now=now, ttl=NOTED, overwrite=False)
        except KeyExistsError:
            if self.owner(message) not in (None, execution_id):
                return False
            kv.put(NOTES, key, "STRING", execution_id, now=now, ttl=NOTED)
        return True

    def of_file(self, execution_id: str) -> Happened:
        """Return what happened, as the file of an execution's messages tells. Raises NotFoundError."""
        uri = self.uri(execution_id)
        with self.stores.storage.open(uri) as file:
            count = sum(1 for _ in file)
        return Happened(self.poll.flow, self.poll.trigger, {"uri": uri, "count": count})

    def uri(self, execution_id: str) -> str:
        flow = self.poll.flow
        return f"{execution_folder(flow.namespace, flow.id, execution_id)}/trigger/{self.poll.trigger.id}/{_FILE}"

    def key(self, message: QueueMessage) -> str:
        flow = self.poll.flow
        return f"{derived_id('queue', flow.namespace, flow.id, self.poll.trigger.id, self.queue.url)}/{message.id}"

    # -- What they share ----------------------------------------------------------------------------

    def read(self, message: QueueMessage) -> _Read | None:
        """Return a message with what it says; None for one that cannot be read, which is left."""
        if self.properties.get("serdeType") != "JSON":
            return _Read(message, message.body)
        try:
            return _Read(message, json.loads(message.body))
        except ValueError:
            self.problems.append(f"the message {message.id} is left: it is no JSON")
            return None

    def create(self, happened: Happened, execution_id: str) -> None:
        """Have an execution created; that is safe when this returns. Raises ConditionFailed when it cannot be made."""
        heard = TriggerEvent(self.engine, happened, execution_id)
        try:
            created = heard.created()
        except (ConditionFailed, ExpressionError, UnsupportedError) as error:
            if not happened.trigger.fail_on_error:
                raise ConditionFailed(heard.masked(error)) from None
            created = heard.failed(heard.masked(error))
        self.mailbox.send(execution_id, encode_message(Create(created)))


def _address(properties: Mapping[str, Any]) -> QueueAddress:
    def text(name: str) -> str:
        value = properties.get(name)
        return "" if value is None else str(value).strip()

    return QueueAddress(
        url=text("queueUrl"),
        region=text("region"),
        endpoint=text("endpointOverride"),
        access_key=text("accessKeyId"),
        secret_key=text("secretKeyId"),
        session_token=text("sessionToken"),
    )
