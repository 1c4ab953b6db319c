"""What requests ask of executions reaches them as messages, and the purge by which one is deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.operations import Operations, UnprocessableError
from headrace_engine.ports import Mailbox


@dataclass(frozen=True, slots=True)
class Deleting:
    """What goes with an execution that is deleted."""

    logs: bool = True
    metrics: bool = True
    storage: bool = True


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

    def must_delete(self) -> None:
        """Raise UnprocessableError where the API has no right to delete executions."""
        if not self._engine.settings.api_deletes:
            raise UnprocessableError(
                "Illegal argument: the API deletes no executions here; "
                "a flow with the task io.kestra.plugin.core.execution.PurgeExecutions does"
            )

    def delete(self, state: ExecutionState, deleting: Deleting) -> bool:
        """Remove an execution that has ended, and what goes with it; False when the lists do not know its end yet."""
        purged = self._engine.platform.of(state.flow.definition.namespace).purge(
            state.id, logs=deleting.logs, metrics=deleting.metrics, storage=deleting.storage
        )
        return purged is not None
