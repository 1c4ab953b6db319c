"""Messages to executions, in process: each execution is one thread's at a time, many executions side by side.

What a crash takes is recovered from the journal when the engine starts again (DESIGN §5); what one execution sends
another is kept in the database until it is handled, for its sender's journal will not tell it again. A message whose
handling fails is tried again; one that fails every time ends its own execution, visibly, and delays nobody else's.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from headrace_engine.adapters.local.database import Database
from headrace_engine.core.codec import decode_message
from headrace_engine.core.messages import Abort, Message
from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import PortError

_log = logging.getLogger(__name__)

_TRIES = 3

Handle = Callable[[str, Sequence[Message]], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something else than a message that must happen in an execution's turn."""

    call: Callable[[], None]
    insist: bool = False
    """Try it again as a message is tried; otherwise what it raises is for whoever asked for it, and for nobody else."""


Work = Message | Turn


class ClosingError(PortError):
    """The engine is being closed: what was asked for did not happen, or will when it is opened again."""

    def __init__(self) -> None:
        super().__init__("The engine is being closed")


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
        """Have *work* done in the execution's turn; the future ends when it was, or with why it could not be."""
        future: Future[None] = Future()
        with self._condition:
            if self._closed:
                future.set_exception(ClosingError())
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
        """Finish what threads have in hand; what waits stays undone, and its futures say so. Returns when all ended."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for waiting in self._waiting.values():
            for _, future in waiting:
                future.set_exception(ClosingError())
        self._waiting.clear()

    def _wake(self, free: int = 0) -> None:
        """See to it that the last turn is taken; *free* threads will come for one by themselves."""
        if free < len(self._turns):
            self._condition.notify()
        # A thread that was woken counts as idle until it runs: only those beyond the turns that wait are free.
        if self._idle + free < len(self._turns) and len(self._threads) < self._limit:
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
                    self._wake(free=1)

    def _deliver(self, execution_id: str, batch: Sequence[tuple[Work, Future[None]]]) -> None:
        """Do what was asked in the execution's turn, then hand over all messages together."""
        messages: list[Message] = []
        for_messages: list[Future[None]] = []
        for work, future in batch:
            if isinstance(work, Turn):
                call = partial(self._try, execution_id, work.call) if work.insist else work.call
                _settle([future], call)
            else:
                messages.append(work)
                for_messages.append(future)
        if messages:
            _settle(for_messages, partial(self._try, execution_id, partial(self._handle, execution_id, messages)))

    def _try(self, execution_id: str, work: Callable[[], None]) -> None:
        """Do *work*, a few times if need be. Raises what stopped it in the end, the execution having been ended."""
        for left in reversed(range(_TRIES)):
            try:
                work()
            except Exception as error:
                if self._closed:
                    raise
                _log.exception("Execution %s: a message could not be handled", execution_id)
                if not left:
                    reason = f"The engine could not go on with this execution: {type(error).__name__}: {error}"
                    self._handle(execution_id, [Abort(reason)])
                    raise
            else:
                return


def _settle(futures: Sequence[Future[None]], call: Callable[[], None]) -> None:
    """Call *call* and let the futures end as it ends."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
        for future in futures:
            future.set_exception(error)
    else:
        for future in futures:
            future.set_result(None)


class KeptMailbox:
    """What executions send each other: kept in *database* until *mailbox* has delivered it."""

    def __init__(self, database: Database, mailbox: LocalMailbox) -> None:
        self._database = database
        self._mailbox = mailbox

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        number = self._database.write(
            lambda writer: (
                writer.execute(
                    "INSERT INTO messages (execution_id, message) VALUES (?, ?)", (execution_id, message)
                ).lastrowid
            )
        )
        self._post(number, execution_id, message)

    def send_again(self) -> None:
        """Send what was kept and not handled when the last engine ended."""
        for row in self._database.rows("SELECT number, execution_id, message FROM messages ORDER BY number"):
            self._post(*row)

    def _post(self, number: int | None, execution_id: str, message: bytes) -> None:
        handled = self._mailbox.post(execution_id, decode_message(message))
        handled.add_done_callback(partial(self._drop, number))

    def _drop(self, number: int | None, handled: Future[None]) -> None:
        """Let go of a message that was handled. When that is lost, it comes again and changes nothing."""
        if handled.exception() is None:
            with suppress(PortError):
                self._database.later(lambda writer: writer.execute("DELETE FROM messages WHERE number = ?", (number,)))
