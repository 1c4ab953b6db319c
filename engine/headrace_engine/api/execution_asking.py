"""What requests ask of executions reaches them as messages; who deletes them, is told here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.deletion import Deletion, delete
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.operations import Operations
from headrace_engine.ports import Mailbox

BEGINS = timedelta(seconds=5)
"""How long an answer waits for what was asked to be on record."""


class Asking:
    """Sends executions what is asked of them."""

    def __init__(self, engine: Engine, mailbox: Mailbox) -> None:
        self._engine = engine
        self._mailbox = mailbox
        self.operations = Operations(engine)

    def state(self, execution_id: str) -> ExecutionState:
        """Return an execution as it stands. Raises NoSuchExecutionError."""
        state = self._engine.platform.state(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"Execution {execution_id}")
        return state

    def send(self, execution_id: str, message: Message) -> None:
        """Send a message; it is not lost once this returns."""
        self._mailbox.send(execution_id, encode_message(message))

    def ask(self, execution_id: str, operation: Callable[[ExecutionState], Message]) -> ExecutionState:
        """Send what *operation* makes of the execution as it stands, and return that. Raises what it refuses with."""
        state = self.state(execution_id)
        self.send(execution_id, operation(state))
        return state

    def delete(self, deletion: Deletion) -> Sequence[str] | None:
        """Have executions removed that have ended, and what goes with them; see `deletion.Deletes`."""
        deletes = self._engine.settings.deletes
        return delete(self._engine.platform, deletion) if deletes is None else deletes(deletion)
