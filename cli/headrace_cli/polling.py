"""What polling triggers need on this machine: threads to ask others on, and a way to SQS."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property

from headrace_engine.ports import PortError, QueueAddress, QueueMessage, Queues

Poll = Callable[[], None]
"""Asks, and sets what comes next."""

_log = logging.getLogger(__name__)

_AT_ONCE = 64
"""How many triggers ask at a time; those that wait for messages are not counted."""


class PollThreads:
    """Threads that ask others: one for a trigger at a time, so that nobody else's work waits for an answer."""

    def __init__(self) -> None:
        self._asking: dict[str, Poll | None] = {}
        """Who is at it, and what comes after that."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def begin(self, name: str, poll: Poll, *, waits: bool) -> None:
        """Call *poll* on a thread; after the one of that name that is at it, if one is.

        waits: it waits for messages most of the time.
        """
        with self._lock:
            if self._closed.is_set():
                return
            if name in self._asking:
                self._asking[name] = poll
                return
            self._asking[name] = None
        places = contextlib.nullcontext() if waits else self._places
        thread = threading.Thread(target=self._run, args=(name, poll, places), name="headrace-poll", daemon=True)
        thread.start()

    def close(self) -> None:
        """Begin no more. What somebody still waits for is not taken any more: it comes again at the next start."""
        self._closed.set()

    def _run(self, name: str, poll: Poll, place: AbstractContextManager[object]) -> None:
        following: Poll | None = poll
        while following is not None:
            try:
                with place:
                    following()
            except Exception:  # noqa: BLE001 - the sweep has it looked at again; this thread has nobody to tell
                if not self._closed.is_set():
                    _log.exception("The trigger %s failed", name)
            with self._lock:
                following = None if self._closed.is_set() else self._asking[name]
                if following is None:
                    del self._asking[name]
                else:
                    self._asking[name] = None


class SqsWhenAsked:
    """`Queues` by SQS, with boto3 loaded when a flow wants one."""

    def __init__(self, is_closed: Callable[[], bool] = lambda: False) -> None:
        """Take what says whether nothing is to be taken any more."""
        self._is_closed = is_closed

    @cached_property
    def _queues(self) -> Queues:
        if importlib.util.find_spec("boto3") is None:
            raise PortError("Reading SQS queues needs boto3: pip install 'headrace[aws]'")
        # By its name: the command knows no AWS before a flow does.
        aws = importlib.import_module("headrace_engine.adapters.aws.queues")
        queues: Queues = aws.SqsQueues(aws.make_client)
        return queues

    def receive(
        self, queue: QueueAddress, *, at_most: int, wait: timedelta, hidden: timedelta
    ) -> Sequence[QueueMessage]:
        """See `Queues.receive`."""
        found = self._queues.receive(queue, at_most=at_most, wait=wait, hidden=hidden)
        if self._is_closed():
            raise PortError("The engine is being closed")
        return found

    def delete(self, queue: QueueAddress, messages: Sequence[QueueMessage]) -> None:
        """See `Queues.delete`."""
        self._queues.delete(queue, messages)
