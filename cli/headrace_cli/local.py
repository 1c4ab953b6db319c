"""The local runtime: the whole engine in one process on a data folder (DESIGN §1, §5).

    <data>/headrace.db      journal, flows, summaries, claims, KV, logs, metrics (SQLite)
    <data>/storage/         internal storage
    <data>/workspaces/      directories that the tasks of a WorkingDirectory share
    <data>/tmp/             working directories of attempts
    <data>/cipher.key       the key that seals secrets, unless one is configured
    <data>/engine.lock      who runs on the folder

Opening a folder recovers it: processes of people's code that outlived a killed engine are ended, their attempts are
closed as lost, and every execution that is not done goes on from its journal.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.adapters.local.claims import SqliteClaims
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.dispatch import LocalDispatch
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.adapters.local.flows import SqliteFlows
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.adapters.local.kv import SqliteKV
from headrace_engine.adapters.local.lock import DataFolderLock
from headrace_engine.adapters.local.logs import SqliteLogs, SqliteMetrics
from headrace_engine.adapters.local.mailbox import LocalMailbox
from headrace_engine.adapters.local.secrets import EnvironmentSecrets
from headrace_engine.adapters.local.storage import FolderStorage
from headrace_engine.adapters.local.timers import LocalTimers
from headrace_engine.context import Surroundings
from headrace_engine.core.codec import encode_result
from headrace_engine.core.events import Entry, ExecutionCreated
from headrace_engine.core.flow import FlowIndex, index
from headrace_engine.core.messages import Create, Kill, TimerFired
from headrace_engine.core.state import ExecutionState
from headrace_engine.executor import Executor, lost_result
from headrace_engine.expressions import Expressions
from headrace_engine.inputs import read_inputs
from headrace_engine.language import Registry, parse_flow
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import new_id
from headrace_engine.payloads import Payloads
from headrace_engine.plugin import RunnableTask
from headrace_engine.ports import LogLine, Logs
from headrace_engine.prepare import Preparer
from headrace_engine.run_stores import execution_folder
from headrace_engine.services import Channels, Settings, Stores
from headrace_engine.view import execution_view
from headrace_engine.worker import Worker
from headrace_runners.process_groups import end_group, process_identity

ENCRYPTION_KEY = "HEADRACE_ENCRYPTION_SECRET_KEY"

OnChange = Callable[[dict[str, Any]], None]
OnLog = Callable[[LogLine], None]


class UnsupportedError(ValueError):
    """The flow is valid, but uses what this version of Headrace does not run; one line a property."""


class NoSuchFlowError(ValueError):
    """There is no flow of that namespace and id."""


class LocalRuntime:
    """An engine on a data folder. Open one with `open`, and close it."""

    @classmethod
    def open(
        cls, data_dir: Path, *, environment: Mapping[str, str] | None = None, recover: bool = True
    ) -> LocalRuntime:
        """Lock *data_dir*, make it where it is missing, and go on with what it holds.

        Raises DataFolderLockedError when another engine runs on it.
        """
        lock = DataFolderLock(data_dir)
        try:
            runtime = cls(data_dir, lock, os.environ if environment is None else environment)
        except BaseException:
            lock.release()
            raise
        if recover:
            runtime.recover()
        return runtime

    def __init__(self, data_dir: Path, lock: DataFolderLock, environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self._lock = lock
        self._database = Database(data_dir / "headrace.db")
        self._listeners: dict[str, list[tuple[OnChange, OnLog]]] = {}
        self._created: dict[str, Future[None]] = {}
        self._ended = threading.Condition()
        self._flows: dict[tuple[str, str, int], FlowIndex] = {}
        self._registry = Registry.load()
        database = self._database
        key = environment.get(ENCRYPTION_KEY)
        self.stores = Stores(
            clock=SystemClock(),
            journal=SqliteJournal(database),
            flows=SqliteFlows(database),
            executions=SqliteExecutions(database),
            kv=SqliteKV(database),
            claims=SqliteClaims(database),
            storage=FolderStorage(data_dir / "storage"),
            logs=_WatchedLogs(SqliteLogs(database), self._tell_logs),
            metrics=SqliteMetrics(database),
            secrets=EnvironmentSecrets(environment, Path(".env")),
            cipher=AesCipher.from_text(key) if key else AesCipher.from_file(data_dir / "cipher.key"),
        )
        self._settings = Settings(surroundings=Surroundings.of(environment))
        expressions = Expressions()
        self._expressions = expressions
        self._payloads = Payloads(self.stores.storage)
        temporary = data_dir / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)  # left behind by an engine that was killed
        temporary.mkdir(parents=True, exist_ok=True)
        self._worker = Worker(
            self.stores,
            self._settings,
            expressions,
            self._task_class,
            temporary_root=temporary,
            workspaces=data_dir / "workspaces",
        )
        self._mailbox = LocalMailbox(self._handle)
        self._timers = LocalTimers(self.stores.clock, self._fire)
        self._owner = new_id()
        self._dispatch = LocalDispatch(
            self.stores.claims,
            self.stores.clock,
            self._mailbox,
            self._worker,
            owner=self._owner,
            identify=process_identity,
        )
        self._preparer = Preparer(self.stores, self._settings, expressions, self._payloads, self._task_class)
        self._executor = Executor(
            self.stores,
            Channels(self._mailbox, self._timers, self._dispatch),
            self._settings,
            flow_of=self._flow_of,
            preparer=self._preparer,
            payloads=self._payloads,
            run_light=self._worker.run,
            # The folder's lock is ours: whoever else held a lease on it is dead.
            is_gone=lambda _owner: True,
            on_step=self._stepped,
            on_workspace=self._release_workspace,
        )

    # -- Flows and executions -----------------------------------------------------------------------

    def save_flow(self, source: str, *, file: str | None = None) -> FlowDefinition:
        """Check and store a flow; return it with its revision. Raises FlowError with all that is wrong."""
        definition = parse_flow(source, file=file, registry=self._registry)
        saved = self.stores.flows.save(definition.namespace, definition.id, source, self.stores.clock.now())
        definition = replace(definition, revision=saved.revision)
        self._flows[saved.namespace, saved.id, saved.revision] = index(definition)
        return definition

    def create(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Start an execution of the flow's latest revision and return its id once it is durable.

        FILE inputs are given as paths. Raises NoSuchFlowError, UnsupportedError, InputError.
        """
        source = self.stores.flows.get(namespace, flow_id)
        if source is None or source.deleted:
            raise NoSuchFlowError(f"There is no flow `{flow_id}` in the namespace `{namespace}`")
        definition = self._flow_of(namespace, flow_id, source.revision).definition
        refuse_unsupported(definition)
        execution_id = new_id()
        created = ExecutionCreated(
            namespace=namespace,
            flow_id=flow_id,
            flow_revision=source.revision,
            inputs=self._inputs(definition, execution_id, inputs or {}),
            labels=(
                *definition.labels,
                *(labels or {}).items(),
                *((("system.correlationId", execution_id),) if "system.correlationId" not in (labels or {}) else ()),
            ),
            variables=dict(definition.variables),
        )
        first: Future[None] = Future()
        self._created[execution_id] = first
        handled = self._mailbox.post(execution_id, Create(created))
        handled.add_done_callback(lambda done: _pass_on(done, first))
        try:
            first.result()
        finally:
            del self._created[execution_id]
        return execution_id

    def _inputs(self, definition: FlowDefinition, execution_id: str, given: Mapping[str, Any]) -> Any:
        folder = execution_folder(definition.namespace, definition.id, execution_id)

        def store_file(input_id: str, filename: str, content: bytes | BinaryIO | Path) -> str:
            uri = f"{folder}/inputs/{input_id}/{filename}"
            if isinstance(content, Path):
                with content.open("rb") as file:
                    self.stores.storage.put(uri, file)
            else:
                self.stores.storage.put(uri, content)
            return uri

        host = self._preparer.host_of(definition, execution_id, self.stores.clock.now())
        variables: dict[str, Any] = {
            "flow": {"id": definition.id, "namespace": definition.namespace, "revision": definition.revision},
            "envs": self._settings.surroundings.envs,
            "globals": self._settings.surroundings.variables,
        }
        if definition.variables:
            variables["vars"] = definition.variables
        stored = read_inputs(
            definition.inputs,
            given,
            render=lambda template, more: self._expressions.render_typed(template, {**variables, **more}, host),
            store_file=store_file,
            seal=lambda text: self.stores.cipher.seal(text.encode()),
        )
        payload, _ = self._payloads.make(stored, f"{folder}/_engine", self._settings.output_inline_limit)
        return payload

    def kill(self, execution_id: str) -> None:
        """Ask the execution to stop; returns when that is on record."""
        self._mailbox.post(execution_id, Kill()).result()

    def wait(self, execution_id: str, timeout: float | None = None) -> bool:
        """Return True when the execution has ended, afterExecution included; False after *timeout* seconds."""
        with self._ended:
            return self._ended.wait_for(lambda: self._is_closed(execution_id), timeout)

    def _is_closed(self, execution_id: str) -> bool:
        state = self._executor.load(execution_id)
        return state is not None and state.closed

    def view(self, execution_id: str) -> dict[str, Any]:
        """Return the execution in the shape of Kestra's API."""
        state = self._executor.load(execution_id)
        if state is None:
            raise NoSuchFlowError(f"There is no execution `{execution_id}`")
        return execution_view(state, self._payloads.load, self.stores.clock.now())

    def logs(self, execution_id: str) -> Sequence[LogLine]:
        """Return the execution's log lines by time."""
        return self.stores.logs.fetch(execution_id)

    def subscribe(self, execution_id: str, on_change: OnChange, on_log: OnLog) -> None:
        """Call *on_change* with the view after every step and *on_log* with every log line, from other threads."""
        self._listeners.setdefault(execution_id, []).append((on_change, on_log))

    def close(self) -> None:
        """Stop working and let the folder go. What has not ended goes on when it is opened again."""
        self._timers.close()
        self._dispatch.close()
        self._mailbox.close()
        self._executor.close()
        self._database.close()
        self._lock.release()

    # -- Recovery -----------------------------------------------------------------------------------

    def recover(self) -> None:
        """Close the attempts of a dead engine as lost, ending their processes, and set every open execution going."""
        stores = self.stores
        for claim in stores.claims.open():
            if claim.owner == self._owner:
                continue
            if claim.process_group is not None and claim.process_started is not None:
                end_group(claim.process_group, claim.process_started)
            now = stores.clock.now()
            reason = "The engine that ran the attempt was killed"
            stores.claims.close_lost(claim.attempt, encode_result(lost_result(claim.claimed, now, reason)), now)
        open_ids = [summary.id for summary in stores.executions.due(datetime.max.replace(tzinfo=UTC))]
        journal = stores.journal
        if isinstance(journal, SqliteJournal):
            open_ids += journal.behind()
        for execution_id in dict.fromkeys(open_ids):
            self._mailbox.post(execution_id, lambda execution_id=execution_id: self._executor.recover(execution_id))  # type: ignore[misc]

    def open_executions(self) -> list[str]:
        """Return the ids of the executions that have not ended."""
        return [summary.id for summary in self.stores.executions.open()]

    # -- Wiring -------------------------------------------------------------------------------------

    def _handle(self, execution_id: str, messages: Sequence[Any]) -> None:
        self._executor.handle(execution_id, messages)

    def _fire(self, execution_id: str, key: str) -> None:
        self._mailbox.post(execution_id, TimerFired(key))

    def _task_class(self, name: str) -> type[RunnableTask] | None:
        found = self._registry.task(name)
        return found if found is not None and issubclass(found, RunnableTask) else None

    def _flow_of(self, namespace: str, flow_id: str, revision: int) -> FlowIndex:
        key = (namespace, flow_id, revision)
        if key not in self._flows:
            source = self.stores.flows.get(namespace, flow_id, revision)
            if source is None:
                raise NoSuchFlowError(f"There is no revision {revision} of the flow `{flow_id}` in `{namespace}`")
            self._flows[key] = index(parse_flow(source.source, revision=revision, registry=self._registry))
        return self._flows[key]

    def _stepped(self, state: ExecutionState, entry: Entry) -> None:
        first = self._created.get(state.id)
        if first is not None and not first.done():
            first.set_result(None)
        listeners = self._listeners.get(state.id)
        if listeners:
            view = execution_view(state, self._payloads.load, self.stores.clock.now())
            for on_change, _ in listeners:
                on_change(view)
        if state.closed:
            shutil.rmtree(self.data_dir / "workspaces" / state.id, ignore_errors=True)
            with self._ended:
                self._ended.notify_all()

    def _tell_logs(self, execution_id: str, lines: Sequence[LogLine]) -> None:
        for _, on_log in self._listeners.get(execution_id, ()):
            for line in lines:
                on_log(line)

    def _release_workspace(self, execution_id: str, task_run_id: str) -> None:
        shutil.rmtree(self._worker.workspace(execution_id, task_run_id), ignore_errors=True)


class _WatchedLogs:
    """Logs, with those who follow an execution told of every line as it is written."""

    def __init__(self, logs: Logs, tell: Callable[[str, Sequence[LogLine]], None]) -> None:
        self._logs = logs
        self._tell = tell
        self.fetch = logs.fetch
        self.delete = logs.delete

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        self._logs.append(execution_id, batch, lines)
        self._tell(execution_id, lines)


def refuse_unsupported(definition: FlowDefinition) -> None:
    """Raise UnsupportedError when running *definition* would silently leave out something it says."""
    if definition.disabled:
        raise UnsupportedError("Cannot execute a disabled flow")
    reasons = [*definition.unsupported]
    reasons += [
        f"task `{task.id}`: {task.unsupported}"
        for task in definition.walk()
        if task.unsupported is not None and not task.disabled
    ]
    if reasons:
        raise UnsupportedError("\n".join(reasons))


def _pass_on(done: Future[None], first: Future[None]) -> None:
    """Tell *first* of a failure that came before the first entry."""
    if first.done():
        return
    error = done.exception()
    if error is not None:
        first.set_exception(error)
    else:
        first.set_result(None)


__all__ = ["LocalRuntime", "NoSuchFlowError", "UnsupportedError", "refuse_unsupported"]
