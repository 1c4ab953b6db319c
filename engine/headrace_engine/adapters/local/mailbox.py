"""Messages to executions, in process: each execution is one thread's at a time, many executions side by side.

What a crash takes is recovered from the journal when the engine starts again (DESIGN §5). A message whose handling
fails is tried again; one that fails every time ends its own execution, visibly, and delays nobody else's.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from headrace_engine.core.codec import decode_message
from headrace_engine.core.messages import Abort, Message

_log = logging.getLogger(__name__)

_TRIES = 3

Handle = Callable[[str, Sequence[Message]], None]
Work = Message | Callable[[], None]
"""A message, or something else that must happen in the execution's turn."""


class LocalMailbox:
    """Delivers messages to *handle*, in the order they came for each execution, with up to *threads* threads."""

    def __init__(self, handle: Handle, threads: int = 8) -> None:
        self._handle = handle
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._condition = threading.Condition()
        self._waiting: dict[str, deque[tuple[Work, Future[None]]]] = {}
        """Executions with work that no thread has; one that a thread has may get an entry again meanwhile."""
        self._turns: deque[str] = deque()
        self._busy: set[str] = set()
        self._closed = False

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        self.post(execution_id, decode_message(message))

    def post(self, execution_id: str, work: Work) -> Future[None]:
        """Have *work* done in the execution's turn; the future ends when it was (or could not be)."""
        future: Future[None] = Future()
        with self._condition:
            if self._closed:
                future.cancel()
                return future
            waiting = self._waiting.get(execution_id)
            if waiting is None:
                waiting = self._waiting[execution_id] = deque()
                if execution_id not in self._busy:
                    self._turns.append(execution_id)
                    self._wake()
            waiting.append((work, future))
        return future

    def close(self) -> None:
        """Finish what threads have in hand; what waits stays undone. Returns when all threads ended."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _wake(self) -> None:
        if self._idle:
            self._condition.notify()
        elif len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name="headrace-executor", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._turns and not self._closed:
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                if self._closed:
                    return
                execution_id = self._turns.popleft()
                self._busy.add(execution_id)
                batch = list(self._waiting.pop(execution_id))
            self._deliver(execution_id, batch)
            with self._condition:
                self._busy.discard(execution_id)
                if execution_id in self._waiting:
                    self._turns.append(execution_id)
                    self._wake()

    def _deliver(self, execution_id: str, batch: Sequence[tuple[Work, Future[None]]]) -> None:
        messages = [work for work, _ in batch if not callable(work)]
        try:
            for work, _ in batch:
                if callable(work):
                    work()
            if messages:
                self._try(execution_id, messages)
        except Exception as error:  # noqa: BLE001 - whoever waits for the message must hear of it
            for _, future in batch:
                future.set_exception(error)
        else:
            for _, future in batch:
                future.set_result(None)

    def _try(self, execution_id: str, messages: Sequence[Message]) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._handle(execution_id, messages)
            except Exception as error:
                if self._closed:
                    raise
                _log.exception("Execution %s: a message could not be handled", execution_id)
                if not left:
                    reason = f"The engine could not go on with this execution: {type(error).__name__}: {error}"
                    self._handle(execution_id, [Abort(reason)])
            else:
                return
