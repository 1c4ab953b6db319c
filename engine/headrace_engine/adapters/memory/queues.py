"""Queues of others, in memory: what is received and not deleted comes again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace_engine.ports import Clock, PortError, QueueAddress, QueueMessage


@dataclass(slots=True)
class _Stored:
    id: str
    body: str
    group: str | None
    visible: datetime
    receipt: str = ""


class MemoryQueues:
    """`Queues`, by their URLs. `send` is for whoever plays the sender."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._queues: dict[str, list[_Stored]] = {}
        self.asked: list[QueueAddress] = []
        """Where messages were asked for, in order."""

    def send(self, url: str, *bodies: str, group: str | None = None) -> None:
        """Put messages into a queue, which is made where it is missing."""
        queue = self._queues.setdefault(url, [])
        queue += [_Stored(f"m{next(self._numbers)}", body, group, self._clock.now()) for body in bodies]

    def left(self, url: str) -> list[str]:
        """Return what stands in a queue, whether somebody may receive it now or not."""
        return [each.body for each in self._queues.get(url, ())]

    def receive(
        self, queue: QueueAddress, *, at_most: int, wait: timedelta, hidden: timedelta
    ) -> Sequence[QueueMessage]:
        """See `Queues.receive`. Nothing comes while somebody waits."""
        del wait
        self.asked.append(queue)
        if queue.url not in self._queues:
            raise PortError(f"There is no queue {queue.url}")
        now = self._clock.now()
        found = [each for each in self._queues[queue.url] if each.visible <= now][: min(at_most, 10)]
        for each in found:
            each.visible, each.receipt = now + hidden, f"r{next(self._numbers)}"
        return [QueueMessage(each.id, each.body, each.receipt, each.group) for each in found]

    def delete(self, queue: QueueAddress, messages: Sequence[QueueMessage]) -> None:
        """See `Queues.delete`."""
        receipts = {message.receipt for message in messages}
        self._queues[queue.url] = [each for each in self._queues[queue.url] if each.receipt not in receipts]
