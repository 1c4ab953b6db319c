"""The local runtime: the whole engine in one process on a data folder (DESIGN §1, §5).

    <data>/headrace.db      journal, flows, summaries, claims, KV, logs, metrics (SQLite)
    <data>/storage/         internal storage
    <data>/buckets/         folders that play buckets: a file in one starts what waits for it
    <data>/workspaces/      directories that the tasks of a WorkingDirectory share
    <data>/tmp/             working directories of attempts
    <data>/docker.json      which Docker engines were used, if any was
    <data>/cipher.key       the key that seals secrets, unless one is configured
    <data>/engine.lock      who runs on the folder

Opening a folder recovers it: processes of people's code that outlived a killed engine are ended, their attempts are
closed as lost, and every execution that is not done goes on from its journal.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from headrace_cli.local_places import LocalPlaces
from headrace_cli.polling import PollThreads, SqsWhenAsked
from headrace_engine import resume_links, sessions
from headrace_engine.adapters.local.audit import SqliteAudit
from headrace_engine.adapters.local.buckets import BucketWatch, FolderBuckets
from headrace_engine.adapters.local.bus import LocalBus
from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.adapters.local.claims import SqliteClaims
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.dispatch import LocalDispatch
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.adapters.local.flows import SqliteFlows, SqliteTemplates
from headrace_engine.adapters.local.identity import SqliteIdentity
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.adapters.local.kv import SqliteKV
from headrace_engine.adapters.local.lock import DataFolderLock
from headrace_engine.adapters.local.logs import SqliteLogs, SqliteMetrics
from headrace_engine.adapters.local.mailbox import KeptMailbox, LocalMailbox, Turn
from headrace_engine.adapters.local.secrets import EnvironmentSecrets
from headrace_engine.adapters.local.slots import SqliteSlots
from headrace_engine.adapters.local.storage import FolderStorage
from headrace_engine.adapters.local.timers import LocalTimers
from headrace_engine.adapters.local.triggers import SqliteTriggers
from headrace_engine.context import Surroundings
from headrace_engine.core.codec import encode_result
from headrace_engine.core.events import Entry
from headrace_engine.core.messages import Create, Kill, Message, TimerFired
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine, NoSuchExecutionError
from headrace_engine.event_triggers import EventTriggers
from headrace_engine.executor import Executor, ended_with_engine
from headrace_engine.flow_triggers import FlowTriggers
from headrace_engine.language import Registry
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import new_id
from headrace_engine.model.state import State
from headrace_engine.model.trigger import POLLED, S3, SQS_REALTIME
from headrace_engine.operations import Operations
from headrace_engine.plugin import CodePolicy, NetworkPolicy
from headrace_engine.polling.sqs import NOTES
from headrace_engine.ports import (
    AUDIT_KEPT,
    EXPIRED_KEYS_KEPT,
    FlowSource,
    LogLine,
    Logs,
    Mailbox,
    PortError,
    Queues,
    StateChange,
    Storage,
)
from headrace_engine.retention import Retention
from headrace_engine.schedule_reading import found_trigger
from headrace_engine.schedules import Schedules
from headrace_engine.services import Channels, Settings, Stores
from headrace_engine.webhooks import once
from headrace_runners.docker_left import UsedEngines
from headrace_runners.process_groups import end_group, process_identity
from headrace_tasks.http_function import http_function

ENCRYPTION_KEY = "HEADRACE_ENCRYPTION_SECRET_KEY"

_SWEEP = timedelta(minutes=10)
_NOTED = (once.NAMESPACE, resume_links.NAMESPACE, NOTES, "_headrace")
"""The namespaces of the engine's own keys that count for a while."""
_AT_ONCE = 1_000
"""How many of them are removed in one write, which others wait for."""
_LOOK = timedelta(seconds=1)
"""Between two looks at the folders that play buckets."""
_LONGEST_WAIT = timedelta(seconds=20)
"""Of one request for messages."""
_TRIES = 3
_THE_END = datetime.max.replace(tzinfo=UTC)

_log = logging.getLogger(__name__)

OnChange = Callable[[str], None]
"""Is told the execution's id after each of its steps; `view` says what has changed."""
OnLog = Callable[[LogLine], None]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What an operator may choose for a data folder's engine, beside what its environment says."""

    settings: Settings | None = None
    """None: what the environment gives."""
    encryption_key: str | None = None
    """32 bytes in base64; None: the environment's, or the data folder's own."""
    storage: Path | Storage | None = None
    """A folder, or whatever keeps files; None: a folder below the data folder."""
    dotenv: Path = Path(".env")
    workers: int = 32
    """How many dispatched attempts run at a time."""
    docker: bool = True
    """False: what asks for a container runs as a process."""
    schedules: bool = False
    """Whether schedules fire, triggers poll, and files that come into `<data>/buckets` start what waits for them."""
    queues: Queues | None = None
    """The queues that triggers read; SQS when None."""


class LocalRuntime:
    """An engine on a data folder. Open one with `open`, and close it."""

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        options: LocalOptions | None = None,
        recover: bool = True,
    ) -> LocalRuntime:
        """Lock *data_dir*, made where it is missing, and go on with what it holds.

        environment gives secrets, `envs` and the encryption key; the process's own when None. Raises
        DataFolderLockedError when another engine runs on the folder.
        """
        data_dir = data_dir.resolve()  # scripts are told paths below it, and run in folders of their own
        lock = DataFolderLock(data_dir)
        try:
            runtime = cls(data_dir, lock, os.environ if environment is None else environment, options or LocalOptions())
        except BaseException:
            lock.release()
            raise
        if recover:
            try:
                runtime.recover()
            except BaseException:
                runtime.close()
                raise
        return runtime

    def __init__(
        self, data_dir: Path, lock: DataFolderLock, environment: Mapping[str, str], options: LocalOptions
    ) -> None:
        self.data_dir = data_dir
        self._lock = lock
        self._database = database = Database(data_dir / "headrace.db")
        self._listeners: dict[str, list[tuple[OnChange, OnLog]]] = {}
        self._hears: OnChange = lambda _execution_id: None
        self._waiting_for_first: dict[str, Future[None]] = {}
        self._ended = threading.Condition()
        self._closed = threading.Event()
        self._journal = SqliteJournal(database)
        key = options.encryption_key or environment.get(ENCRYPTION_KEY)
        self.stores = Stores(
            clock=SystemClock(),
            journal=self._journal,
            flows=SqliteFlows(database),
            templates=SqliteTemplates(database),
            executions=SqliteExecutions(database),
            kv=SqliteKV(database),
            slots=SqliteSlots(database),
            triggers=SqliteTriggers(database),
            claims=SqliteClaims(database),
            storage=_storage(options.storage or data_dir / "storage"),
            logs=_WatchedLogs(SqliteLogs(database), self._tell_logs),
            metrics=SqliteMetrics(database),
            secrets=EnvironmentSecrets(environment, options.dotenv),
            cipher=AesCipher.from_text(key) if key else AesCipher.from_file(data_dir / "cipher.key"),
        )
        self.identity = SqliteIdentity(database)
        self.audit = SqliteAudit(database)
        self._temporary = data_dir / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._workspaces = data_dir / "workspaces"
        self._environment = environment
        self._docker = UsedEngines(data_dir / "docker.json")
        settings = options.settings or Settings(
            surroundings=Surroundings.of(environment), code=CodePolicy.of(environment)
        )
        registry = Registry.load()
        places = LocalPlaces(registry)
        self._engine = Engine(
            self.stores,
            replace(
                settings,
                code=replace(
                    settings.code,
                    docker=options.docker and settings.code.docker,
                    owner=self._docker.owner,
                    note_engine=self._docker.note,
                ),
                http=http_function(NetworkPolicy()),
                # A thread may wait here for as long as SQS lets it.
                realtime_pause=timedelta(0),
                queue_wait=_LONGEST_WAIT,
            ),
            registry,
            temporary_root=self._temporary,
            workspaces=self._workspaces,
            refuse=places.refuse,
            refuse_saving=places.refuse_places,
        )
        self._mailbox = LocalMailbox(self._handle)
        self._letters = KeptMailbox(database, self._mailbox)
        self._sweeper = threading.Thread(target=self._keep_sweeping, name="headrace-sweeper", daemon=True)
        self._timers = LocalTimers(self.stores.clock, self._fire, self._ring)
        self._owner = new_id()
        self._dispatch = LocalDispatch(
            self.stores.claims,
            self.stores.clock,
            self._mailbox,
            self._engine.worker,
            owner=self._owner,
            identify=process_identity,
            threads=options.workers,
        )
        channels = Channels(self._letters, self._timers, self._dispatch, LocalBus(self._hear))
        self._executor = self._engine.executor(
            channels,
            # The folder's lock is ours: whoever else held a lease on it is dead.
            is_gone=lambda _owner: True,
            on_step=self._stepped,
            on_workspace=self._release_workspace,
            is_only=True,
        )
        self._triggered: dict[str, bool] | None = None
        """What Flow triggers started, and whether it rests; kept when somebody means to wait for it."""
        self._flow_triggers = FlowTriggers(self._engine, self._executor, self._letters, self._note_triggered)
        queues = options.queues or SqsWhenAsked(self._closed.is_set)
        self._schedules = Schedules(self._engine, channels, queues=queues) if options.schedules else None
        self._polls = PollThreads()
        self._retention = Retention(self._engine)
        buckets = FolderBuckets(data_dir / "buckets", self.stores.storage)
        self._watch = BucketWatch(buckets, EventTriggers(self._engine, self._letters, buckets).file_came)
        self._watcher = threading.Thread(target=self._keep_watching, name="headrace-buckets", daemon=True)

    @property
    def engine(self) -> Engine:
        """What answers about flows and executions."""
        return self._engine

    @property
    def executor(self) -> Executor:
        """What takes executions further."""
        return self._executor

    @property
    def temporary(self) -> Path:
        """A folder for what need not stay; it is emptied whenever the data folder is opened."""
        return self._temporary

    @property
    def mailbox(self) -> Mailbox:
        """Keeps what is sent to it until it is handled, also when this process is killed."""
        return self._letters

    # -- Flows and executions -----------------------------------------------------------------------

    def save_flow(self, source: str, *, file: str | None = None) -> FlowDefinition:
        """Check and store a flow; return it with its revision. Raises FlowError with all that is wrong.

        With a higher concurrency limit, executions that wait for a slot get one.
        """
        definition = self._engine.save_flow(source, file=file)
        self._executor.settle_slots(definition.namespace, definition.id)
        return definition

    def save_template(self, source: str, *, file: str | None = None) -> FlowSource:
        """Check and store a template. Raises FlowError with all that is wrong."""
        return self._engine.save_template(source, file=file)

    def create(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        execution_id: str | None = None,
    ) -> str:
        """Start an execution of the flow's latest revision and return its id once it is durable.

        FILE inputs are given as paths. Raises NoSuchFlowError, UnsupportedError, InputError; PortError when nothing
        could be stored.
        """
        execution_id, created = self._engine.new_execution(
            namespace, flow_id, inputs, labels=labels, execution_id=execution_id
        )
        self._post_first(execution_id, Create(created))
        return execution_id

    def _post_first(self, execution_id: str, create: Create) -> None:
        """Have the execution created; return when its first entry is durable, whatever is left to do in it."""
        first = self._waiting_for_first[execution_id] = Future()
        handled = self._mailbox.post(execution_id, create)
        handled.add_done_callback(partial(_pass_on, first))
        try:
            first.result()
        finally:
            self._waiting_for_first.pop(execution_id, None)

    def kill(self, execution_id: str) -> None:
        """Ask the execution to stop; returns when that is on record. Raises PortError when it cannot be recorded."""
        self._mailbox.post(execution_id, Kill()).result()

    def ask(self, execution_id: str, operation: Callable[[Operations, ExecutionState], Message]) -> None:
        """Send the message that *operation* returns for the execution as it stands; returns when it is on record.

        Raises what the operation refuses with, and NoSuchExecutionError.
        """

        def turn() -> None:
            state = self._executor.load(execution_id)
            if state is None:
                raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
            self._handle(execution_id, [operation(Operations(self._engine), state)])

        self._mailbox.post(execution_id, Turn(turn)).result()

    def begin(self, execution_id: str, operation: Callable[[Operations, ExecutionState], tuple[str, Create]]) -> str:
        """Create the execution that *operation* (a replay) makes of this one; return its id once it is durable."""
        state = self._executor.load(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
        follower_id, create = operation(Operations(self._engine), state)
        self._post_first(follower_id, create)
        return follower_id

    def wait(self, execution_id: str, timeout: float | None = None) -> bool:
        """Return True when the execution has ended, afterExecution included.

        False after *timeout* seconds, or when the runtime is closed before.
        """
        with self._ended:
            self._ended.wait_for(lambda: self._closed.is_set() or self._is_over(execution_id), timeout)
        return not self._closed.is_set() and self._is_over(execution_id)

    def keep_triggered(self) -> None:
        """From now on keep in mind what Flow triggers start, for `wait_for_triggered`."""
        self._triggered = {}

    def wait_for_triggered(self, execution_id: str) -> list[str]:
        """Return what Flow triggers started because of an execution that has ended, and because of that, and so on.

        Each has ended when this returns, or waits for a person.
        """
        triggered = self._triggered
        if triggered is None:
            return []
        self._mailbox.post(execution_id, Turn(lambda: None)).result()  # its last change has been heard of then
        with self._ended:
            self._ended.wait_for(lambda: self._closed.is_set() or all(triggered.values()))
        return list(triggered)

    def _is_over(self, execution_id: str) -> bool:
        state = self._executor.load(execution_id)
        return state is not None and state.closed

    def view(self, execution_id: str) -> dict[str, Any]:
        """Return the execution in the shape of Kestra's API. Raises NoSuchExecutionError."""
        state = self._executor.load(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
        return self._engine.view(state)

    def logs(self, execution_id: str) -> Sequence[LogLine]:
        """Return the execution's log lines by time."""
        return self.stores.logs.fetch(execution_id)

    def subscribe(self, execution_id: str, on_change: OnChange, on_log: OnLog) -> None:
        """Call *on_change* after every step and *on_log* with every log line, from other threads."""
        self._listeners.setdefault(execution_id, []).append((on_change, on_log))

    def hear(self, on_change: OnChange) -> None:
        """Call *on_change* after every step and with every log line of any execution, from other threads."""
        self._hears = on_change

    def serves_at(self, address: str) -> None:
        """Let others read on the folder's lock where this engine's server answers."""
        self._lock.set_address(address)

    def drain(self, patience: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Begin nothing more, and wait for the attempts that run; `close` comes next. Return whether all have ended.

        No longer than *patience* seconds, nor when *is_over*. Those still running then, `close` ends: the next start
        finds them lost, and runs them again.
        """
        self._polls.close()
        self._timers.close()
        return self._dispatch.drain(patience, is_over)

    def open_executions(self) -> list[str]:
        """Return the ids of the executions that have not ended."""
        return [summary.id for summary in self.stores.executions.open()]

    def close(self) -> None:
        """Stop working and let the folder go. What has not ended goes on when it is opened again."""
        with self._ended:
            self._closed.set()
            self._ended.notify_all()
        for thread in (self._sweeper, self._watcher):
            if thread.ident is not None:
                thread.join()
        self._polls.close()
        self._timers.close()
        self._dispatch.close()
        self._mailbox.close()
        self._executor.close()
        self._database.close()
        self._lock.release()

    def end_code(self) -> None:
        """End all of people's code that runs, at once: for a process that leaves without closing its runtime."""
        for claim in self.stores.claims.open():
            if claim.process_group is not None and claim.process_started is not None:
                end_group(claim.process_group, claim.process_started, timedelta(0))
        self._docker.remove_left(self._environment)

    # -- Recovery -----------------------------------------------------------------------------------

    def recover(self) -> None:
        """Close the attempts of a dead engine as lost, ending their code, and set every open execution going."""
        self._docker.remove_left(self._environment)
        claims, clock = self.stores.claims, self.stores.clock
        for claim in claims.open():
            if claim.owner == self._owner:
                continue
            if claim.process_group is not None and claim.process_started is not None:
                end_group(claim.process_group, claim.process_started)
            now = clock.now()
            result = ended_with_engine(claim, now, "The engine that ran the attempt was killed")
            claims.close_lost(claim.attempt, encode_result(result), now)
        unfinished = {summary.id for summary in self.stores.executions.due(_THE_END)} | {*self._journal.behind()}
        self._tidy(unfinished)
        self._letters.send_again()
        self._set_going(unfinished)
        if self._schedules is not None:
            self._mailbox.post("schedules", Turn(self._schedules.set_going))
            self._watcher.start()
        self._sweeper.start()

    def _tidy(self, unfinished: Set[str]) -> None:
        """Remove the directories that a killed engine left, now that nobody writes there any more."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        if self._workspaces.is_dir():
            for folder in self._workspaces.iterdir():
                if folder.name not in unfinished:
                    shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, now: datetime) -> None:
        """Look at what should have gone on before *now*; what goes on by itself is not disturbed (DESIGN §3.12)."""
        self._set_going({summary.id for summary in self.stores.executions.due(now)})
        for namespace in _NOTED:
            self._forget_keys(namespace, now)
        for namespace in {name for name, _ in self.stores.flows.names()}:
            self._forget_keys(namespace, now - EXPIRED_KEYS_KEPT)
        self.audit.forget(now - AUDIT_KEPT)
        self._engine.uploads.forget()
        sessions.forget_expired(self.identity, now)
        if self._schedules is not None:
            self._schedules.sweep()
            self._retention.sweep(lambda: not self._closed.is_set())

    def _forget_keys(self, namespace: str, expired: datetime) -> None:
        while self.stores.kv.forget(namespace, expired, at_most=_AT_ONCE) == _AT_ONCE and not self._closed.is_set():
            pass

    def _keep_watching(self) -> None:
        """Look at the folders that play buckets, as long as anything waits for files."""
        while not self._closed.wait(_LOOK.total_seconds()):
            if self._engine.listeners.of_type(S3):
                try:
                    self._watch.look()
                except Exception:  # noqa: BLE001 - the next look must come, whatever was wrong with this one
                    _log.exception("The buckets could not be looked at; the next look comes in %s", _LOOK)

    def _keep_sweeping(self) -> None:
        while not self._closed.wait(_SWEEP.total_seconds()):
            try:
                self.sweep(self.stores.clock.now())
            except PortError:
                _log.exception("The sweep failed; the next one comes in %s", _SWEEP)

    def _set_going(self, execution_ids: Set[str]) -> None:
        for execution_id in sorted(execution_ids):
            self._mailbox.post(execution_id, Turn(partial(self._recover, execution_id), insist=True))

    def _recover(self, execution_id: str) -> None:
        self._executor.recover(execution_id)
        self._tell_if_over(execution_id)

    # -- Wiring -------------------------------------------------------------------------------------

    def _handle(self, execution_id: str, messages: Sequence[Message]) -> None:
        self._executor.handle(execution_id, messages)
        self._hears(execution_id)  # also of the last entry, when its writer has not learned that it was written
        self._tell_if_over(execution_id)
        self._note_rest(execution_id)

    def _tell_if_over(self, execution_id: str) -> None:
        """Wake those who wait for an execution's end, and remove what it had on disk.

        After every message, not with the last entry: the writer of that may not have learned that it was written.
        """
        if self._is_over(execution_id):
            shutil.rmtree(self._workspaces / execution_id, ignore_errors=True)
            with self._ended:
                self._ended.notify_all()

    def _hear(self, change: StateChange) -> None:
        self._flow_triggers.hear(change)
        if self._schedules is not None:
            self._schedules.hear(change)

    def _note_triggered(self, execution_id: str, _change: StateChange) -> None:
        if self._triggered is not None:
            self._triggered.setdefault(execution_id, False)

    def _note_rest(self, execution_id: str) -> None:
        """After the messages of an execution were handled: whoever hears of them has been told by then."""
        if self._triggered is not None and execution_id in self._triggered:
            state = self._executor.load(execution_id)
            waits = state is not None and state.state is State.PAUSED and not state.timers
            with self._ended:
                self._triggered[execution_id] = self._is_over(execution_id) or waits
                self._ended.notify_all()

    def _fire(self, execution_id: str, key: str) -> None:
        self._mailbox.post(execution_id, TimerFired(key))

    def _ring(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        if self._schedules is None:
            return
        name = f"{namespace}/{flow_id}/{trigger_id}"
        look = partial(self._look, self._schedules, namespace, flow_id, trigger_id, due)
        found = found_trigger(self._engine, namespace, flow_id, trigger_id)
        if found is not None and found[1].type in POLLED:
            self._polls.begin(name, look, waits=found[1].type == SQS_REALTIME)
        else:
            self._mailbox.post(name, Turn(look))

    def _look(self, schedules: Schedules, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """Look at a schedule; if that fails a few times the sweep does, for its record says that it is due."""
        for left in reversed(range(_TRIES)):
            try:
                schedules.look(namespace, flow_id, trigger_id, rung=due)
            except Exception:
                if self._closed.is_set():
                    return  # the next start looks
                _log.exception("The trigger %s.%s.%s failed", namespace, flow_id, trigger_id)
                if not left:
                    raise
            else:
                return

    def _stepped(self, state: ExecutionState, _entry: Entry) -> None:
        first = self._waiting_for_first.get(state.id)
        if first is not None and not first.done():
            first.set_result(None)
        with _harmless():
            self._hears(state.id)
        for on_change, _ in self._listeners.get(state.id, ()):
            with _harmless():
                on_change(state.id)

    def _tell_logs(self, execution_id: str, lines: Sequence[LogLine]) -> None:
        with _harmless():
            self._hears(execution_id)
        for _, on_log in self._listeners.get(execution_id, ()):
            with _harmless():
                for line in lines:
                    on_log(line)

    def _release_workspace(self, execution_id: str, task_run_id: str) -> None:
        shutil.rmtree(self._engine.worker.workspace(execution_id, task_run_id), ignore_errors=True)


def _storage(where: Path | Storage) -> Storage:
    return FolderStorage(where) if isinstance(where, Path) else where


class _WatchedLogs:
    """Logs, with those who follow an execution told of every line as it is written."""

    def __init__(self, logs: Logs, tell: Callable[[str, Sequence[LogLine]], None]) -> None:
        self._logs = logs
        self._tell = tell
        self.fetch = logs.fetch
        self.search = logs.search
        self.purge = logs.purge
        self.delete = logs.delete

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        self._logs.append(execution_id, batch, lines)
        self._tell(execution_id, lines)

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        for batch, lines in batches.items():
            self.append(execution_id, batch, lines)


@contextmanager
def _harmless() -> Iterator[None]:
    """Let what a listener raises stop neither the execution nor the attempt it listens to."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever a listener does is its own affair
        _log.exception("A listener failed")


def _pass_on(first: Future[None], done: Future[None]) -> None:
    """Tell *first* of a failure that came before the first entry."""
    if first.done():
        return
    error = done.exception()
    if error is not None:
        first.set_exception(error)
    else:
        first.set_result(None)
