"""What the functions of a platform do that has no process of its own: one method for each kind of invocation.

The Lambda handlers parse their events and call these; the simulator calls the same. Every one may be cut off at any
point and be called again: what has been done already is found done.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from headrace_engine.attempts import Attempts, Execute, Vet, accept
from headrace_engine.core.codec import NewerFormatError, decode_message, encode_message
from headrace_engine.core.messages import Abort, Create, Message, Poke, TimerFired
from headrace_engine.engine import Engine
from headrace_engine.executor import Executor
from headrace_engine.ports import AttemptId, Job, PortError, PurgedError, Queues, StateChange
from headrace_engine.prepare import job_of
from headrace_engine.services import Channels

if TYPE_CHECKING:
    from headrace_engine.flow_triggers import FlowTriggers
    from headrace_engine.retention import Retention
    from headrace_engine.schedules import Schedules

_log = logging.getLogger(__name__)

_DEATHS = 3
"""After so many processes that died of a dead letter its execution is ended without trying it again."""
_MARKS = "_headrace"
"""The namespace, which no flow can have, of the keys that say so."""
_MARK_KEPT = timedelta(days=14)


class Invocations:
    """An engine's work, an invocation at a time. One for each process."""

    def __init__(
        self,
        engine: Engine,
        channels: Channels,
        executor: Executor,
        vet: Vet = accept,
        queues: Queues | None = None,
    ) -> None:
        """Take the engine; vet is that of Attempts, and *queues* those whose messages start executions."""
        self._engine = engine
        self._stores = engine.stores
        self._channels = channels
        self._executor = executor
        self._attempts = Attempts(engine.stores.claims, engine.stores.clock, channels.mailbox, vet)
        self._queues = queues

    def advance(self, execution_id: str, messages: Sequence[bytes], *, yield_at: datetime | None = None) -> None:
        """Take an execution as far as its messages allow; they may be acknowledged when this returns.

        From *yield_at* on it only ends what it has begun; a message of its own has another invocation go on.

        Raises PortError, or FormatError for what a newer version wrote: then they must come again.
        """
        with suppress(PurgedError):  # what was purged meanwhile has no use for messages
            self._executor.handle(execution_id, [decode_message(message) for message in messages], yield_at=yield_at)

    def work(self, job: Job, owner: str, execute: Execute, deadline: datetime | None = None) -> None:
        """Run a dispatched attempt as *owner*, the name of this invocation alone, and report how it ended."""
        self._attempts.run(job, owner, execute, deadline)

    def lost(self, attempt: AttemptId, reason: str, owner: str | None = None) -> None:
        """Report that the worker of an attempt vanished: the platform says that invocation *owner* failed."""
        self._attempts.lost(attempt, reason, owner)

    def start_again(self, execution_id: str) -> None:
        """Have an execution send its attempts to workers again: one was turned away before it was claimed."""
        self._channels.mailbox.send(execution_id, encode_message(Poke()))

    def start_later(self, attempt: AttemptId) -> None:
        """Start an attempt that could not be when it was to be, if it is still to."""
        self._executor.forget(attempt.execution_id)
        state = self._executor.load(attempt.execution_id)
        task_run = state.task_runs.get(attempt.task_run_id) if state is not None else None
        found = task_run.open_attempt if task_run is not None else None
        if state is None or found is None or found.number != attempt.number or found.job is None:
            return
        payload = self._engine.payloads.load(found.job)
        self._channels.dispatch.start(job_of(state, attempt.task_run_id, attempt.number, payload))

    def ring(self, execution_id: str, key: str) -> None:
        """Tell an execution that a timer may be due."""
        self._channels.mailbox.send(execution_id, encode_message(TimerFired(key)))

    # What starts executions and what cleans up is imported where it is asked for: a process that only advances
    # executions, or works, starts sooner without.

    @cached_property
    def _flow_triggers(self) -> FlowTriggers:
        from headrace_engine.flow_triggers import FlowTriggers  # noqa: PLC0415  # as above

        return FlowTriggers(self._engine, self._executor, self._channels.mailbox)

    @cached_property
    def _schedules(self) -> Schedules:
        from headrace_engine.schedules import Schedules  # noqa: PLC0415  # as above

        return Schedules(self._engine, self._channels, queues=self._queues)

    @cached_property
    def _retention(self) -> Retention:
        from headrace_engine.retention import Retention  # noqa: PLC0415  # as above

        return Retention(self._engine)

    def hear(self, change: StateChange) -> None:
        """Start what a state change of an execution starts."""
        self._flow_triggers.hear(change)
        self._schedules.hear(change)

    def ring_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """Start what a trigger calls for, whose alarm for *due* rang."""
        self._schedules.look(namespace, flow_id, trigger_id, rung=due)

    def sweep(self, until: datetime | None = None) -> int:
        """Poke the executions that should have gone on by now, and look at the schedules; return how many.

        What is kept no longer is removed, as far as there is time *until* then.
        """
        count = 0
        for summary in self._stores.executions.due(self._stores.clock.now()):
            self._channels.mailbox.send(summary.id, encode_message(Poke()))
            count += 1
        count += self._schedules.sweep()
        clock = self._stores.clock
        try:
            self._retention.sweep(lambda: until is None or clock.now() < until)
        except PortError:
            _log.exception("What is kept no longer could not be removed; the next sweep goes on")
        return count

    def dead_letter(self, execution_id: str, message: bytes) -> None:
        """Try a message that could not be handled once more; when that fails too, end its execution, visibly.

        One that takes its process down with it is not tried for ever, either. Raises NewerFormatError for what a
        newer version wrote; PortError when the end cannot be recorded, either. Then it must come again.
        """
        mark = _mark(execution_id, message)
        begun = self._begun(mark)
        if begun >= _DEATHS:
            # Whoever tries it dies of it: it is out of memory, say, or of a bug below Python.
            self._end(execution_id, message, "a message took down whoever handled it")
            return
        self._note(mark, begun + 1)
        try:
            self._try_once_more(execution_id, message)
        finally:
            self._note(mark, 0)

    def _try_once_more(self, execution_id: str, message: bytes) -> None:
        self._executor.forget(execution_id)
        try:
            self.advance(execution_id, [message])
        except NewerFormatError:
            raise
        except Exception as error:  # whatever it is, it stopped this execution
            _log.exception("Execution %s: a message could not be handled", execution_id)
            if isinstance(error, PortError) and not self._exists(execution_id):
                raise  # nothing has begun that could end, and a store may answer next time
            self._end(execution_id, message, f"{type(error).__name__}: {error}")

    def _exists(self, execution_id: str) -> bool:
        self._executor.forget(execution_id)  # what is held may be of one that has no journal yet
        state = self._executor.load(execution_id)
        return state is not None and state.exists

    def _end(self, execution_id: str, message: bytes, why: str) -> None:
        reason = f"The engine could not go on with this execution: {why}"
        end: Message = Abort(reason)
        if not self._exists(execution_id) and isinstance(create := decode_message(message), Create):
            # Created to be ended: else nobody would ever hear of it.
            end = Create(replace(create.created, refused=reason))
        self._executor.handle(execution_id, [end])

    def _begun(self, mark: str) -> int:
        """Return how often a process began to try the dead letter and did not get to its end."""
        entry = self._stores.kv.get(_MARKS, mark)
        return int(entry.value) if entry is not None else 0

    def _note(self, mark: str, begun: int) -> None:
        if begun == 0:
            self._stores.kv.delete(_MARKS, mark)
            return
        now = self._stores.clock.now()
        self._stores.kv.put(_MARKS, mark, "NUMBER", begun, now=now, ttl=_MARK_KEPT)


def _mark(execution_id: str, message: bytes) -> str:
    """Return what names a dead letter: some, like a Poke, say the same to every execution."""
    return hashlib.sha256(execution_id.encode() + b"\0" + message).hexdigest()
