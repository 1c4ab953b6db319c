"""What tasks that deal with other executions may ask of the platform (plugin.Platform), each namespace by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace_engine.concurrency import SlotKeeper
from headrace_engine.core.codec import encode_message
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.messages import Kill, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.known import read_journal, started_by
from headrace_engine.language import FlowError
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State
from headrace_engine.model.trigger import DATED
from headrace_engine.operations import Operations
from headrace_engine.plugin import FoundExecution, FoundLine, Purged, TaskFailure
from headrace_engine.ports import ExecutionSummary, Level, Mailbox
from headrace_engine.run_stores import execution_folder, purge_files
from headrace_engine.trigger_switch import switch_trigger

if TYPE_CHECKING:
    from headrace_engine.engine import Engine

_PAGE = 1000


class PlatformServices:
    """The engine as tasks may use it; one for the process. `connect` it before a task sends anything."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stores = engine.stores
        self._mailbox: Mailbox | None = None
        self._slots: SlotKeeper | None = None
        self._forget: list[Callable[[str], None]] = []
        self._seen: Callable[[str], ExecutionState | None] | None = None

    def connect(
        self,
        mailbox: Mailbox,
        slots: SlotKeeper,
        forget: Callable[[str], None] = lambda _execution_id: None,
        seen: Callable[[str], ExecutionState | None] | None = None,
    ) -> None:
        """Send by *mailbox* from now on; *forget* is told of every execution that is purged.

        *seen* returns how an execution stands; None: only its journal tells.
        """
        self._mailbox = mailbox
        self._slots = slots
        self._forget.append(forget)
        self._seen = seen

    def of(self, namespace: str, execution_id: str = "") -> RunPlatform:
        """Return the platform as a task of *namespace* sees it, in the execution of that id."""
        return RunPlatform(self, namespace, execution_id)

    def send(self, execution_id: str, message: Message) -> None:
        """Send a message to an execution."""
        if self._mailbox is None:
            raise TaskFailure("Nothing can be sent to other executions from here")
        self._mailbox.send(execution_id, encode_message(message))

    def state(self, execution_id: str) -> ExecutionState | None:
        """Return an execution's state, from its journal or from who alone writes it."""
        if self._seen is not None:
            return self._seen(execution_id)

        known = read_journal(self.stores.journal, execution_id, self.engine.flow_for)
        return known.state if known is not None else None

    def give_back_slot(self, purged: ExecutionSummary) -> None:
        """Give the concurrency slot that a purged execution may have been left with to who waits for one."""
        if self._slots is not None:
            self._slots.forget(purged.namespace, purged.flow_id, purged.id)

    def forget(self, execution_id: str) -> None:
        """Have all executors drop what they hold of an execution."""
        for forget in self._forget:
            forget(execution_id)


class RunPlatform:
    """The platform for one attempt; implements plugin.Platform."""

    def __init__(self, services: PlatformServices, namespace: str, execution_id: str) -> None:
        self._services = services
        self._execution_id = execution_id
        self._stores = services.stores
        self._namespace = namespace

    def executions(
        self,
        *,
        namespace: str | None = None,
        flow_id: str | None = None,
        states: Sequence[State] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[FoundExecution]:
        """See plugin.Platform."""
        if namespace is not None:
            self._check(namespace)
        query = ExecutionQuery((namespace or "",), flow_id, tuple(states), start, end)
        after = ""
        while True:
            page = self._stores.executions.search(query, limit=_PAGE, after=after)
            yield from (_found(summary) for summary in page.found if self._may_reach(summary.namespace))
            after = page.after
            if not after:
                return

    def resume(self, execution_id: str, inputs: Mapping[str, Any] | None = None, *, again: bool = False) -> None:
        """See plugin.Platform."""
        state = self._existing(execution_id)
        if again and state.state is not State.PAUSED:
            return
        try:
            message = Operations(self._services.engine).resume(state, inputs or {})
        except ValueError as error:
            raise TaskFailure(str(error)) from None
        self._services.send(execution_id, message)

    def kill(self, execution_id: str, *, cascade: bool = True, again: bool = False) -> None:
        """See plugin.Platform."""
        asked_for = self._asked_for(execution_id)
        if asked_for is not None:  # what creates it may come later than this
            self._check(asked_for.namespace)
            self._services.send(execution_id, Kill(asked_for, cascade))
            return
        state = self._existing(execution_id)
        if again and state.state in (State.KILLING, State.KILLED):
            return
        try:
            message = Operations(self._services.engine).kill(state, cascade=cascade)
        except ValueError as error:
            raise TaskFailure(str(error)) from None
        self._services.send(execution_id, message)

    def purge(
        self,
        execution_id: str,
        *,
        execution: bool = True,
        logs: bool = True,
        metrics: bool = True,
        storage: bool = True,
    ) -> Purged | None:
        """See plugin.Platform. The summary goes last: a purge that was interrupted finds it again."""
        stores = self._stores
        summary = stores.executions.get(execution_id)
        if summary is None:
            return None
        self._check(summary.namespace)
        if not _found(summary).is_over:
            return None
        files = log_count = metric_count = 0
        if storage:
            folder = execution_folder(summary.namespace, summary.flow_id, execution_id)
            files = len(purge_files(stores.storage, folder, everything=execution))
        if logs:
            log_count = len(stores.logs.fetch(execution_id))
            stores.logs.delete(execution_id)
        if metrics:
            metric_count = len(stores.metrics.fetch(execution_id))
            stores.metrics.delete(execution_id)
        if execution:
            stores.claims.delete(execution_id, stores.clock.now())
            stores.journal.purge(execution_id)
            self._services.give_back_slot(summary)
            stores.executions.delete(execution_id)
            self._services.forget(execution_id)
        return Purged(log_count, metric_count, files)

    def logs(self, execution_id: str, *, level: str = "TRACE", task_ids: Sequence[str] = ()) -> Iterator[FoundLine]:
        """See plugin.Platform."""
        summary = self._stores.executions.get(execution_id)
        if summary is None:
            raise TaskFailure(f"There is no execution `{execution_id}`")
        self._check(summary.namespace)
        for line in self._stores.logs.fetch(execution_id, min_level=Level(level)):
            if not task_ids or line.task_id in task_ids:
                yield FoundLine(
                    line.namespace,
                    line.flow_id,
                    line.execution_id,
                    line.task_id,
                    line.task_run_id,
                    line.attempt,
                    line.timestamp,
                    line.level.value,
                    line.message,
                )

    def purge_logs(
        self,
        execution_id: str,
        *,
        levels: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """See plugin.Platform."""
        summary = self._stores.executions.get(execution_id)
        if summary is None:
            return 0
        self._check(summary.namespace)
        return self._stores.logs.purge(execution_id, levels=[Level(level) for level in levels], start=start, end=end)

    def switch_trigger(self, namespace: str, flow_id: str, trigger_id: str, *, enabled: bool) -> None:
        """See plugin.Platform."""
        self._check(namespace, "flows")
        try:
            flow = self._services.engine.flow_of(namespace, flow_id).definition
        except (FlowError, ValueError) as error:
            raise TaskFailure(str(error)) from None
        trigger = next((each for each in flow.triggers if each.id == trigger_id), None)
        if trigger is None:
            raise TaskFailure(f"There is no trigger `{trigger_id}` in the flow `{flow_id}` of `{namespace}`")
        change = None
        if trigger.type in DATED:
            from headrace_engine.schedule_records import switched  # noqa: PLC0415  # few tasks switch a schedule

            change = partial(switched, now=self._stores.clock.now(), disabled=not enabled)
        switch_trigger(self._stores.triggers, namespace, flow_id, trigger_id, disabled=not enabled, change=change)
        if enabled:
            self._services.engine.wake_trigger(namespace, flow_id, trigger_id)

    def _asked_for(self, execution_id: str) -> ExecutionCreated | None:
        """Return what creates an execution that the task's own one has started and that has no journal yet."""
        if self._services.state(execution_id) is not None:
            return None
        started = started_by(self._stores.journal, self._execution_id)
        return next((event.created for event in started if event.child_id == execution_id), None)

    def _existing(self, execution_id: str) -> ExecutionState:
        state = self._services.state(execution_id)
        if state is None:
            raise TaskFailure(f"There is no execution `{execution_id}`")
        self._check(state.flow.definition.namespace)
        return state

    def _may_reach(self, namespace: str) -> bool:
        settings = self._services.engine.settings
        return namespace == self._namespace or settings.may_reach(self._namespace, namespace)

    def _check(self, namespace: str, what: str = "executions") -> None:
        if not self._may_reach(namespace):
            raise TaskFailure(
                f"The namespace '{self._namespace}' may not deal with {what} of the namespace '{namespace}'"
            )


def _found(summary: ExecutionSummary) -> FoundExecution:
    return FoundExecution(
        summary.id,
        summary.namespace,
        summary.flow_id,
        summary.state,
        summary.start,
        summary.end,
        # What has ended and is not looked after any more: its afterExecution is through, too.
        summary.end is not None and summary.wake_by is None,
    )
