"""What the engine asks of the outside. Every adapter keeps these promises; the contract suites check them.

Rules for all of them: instants are aware UTC datetimes; bytes are opaque to the adapter; a method that
is not named otherwise is idempotent; any error of the store itself leaves as PortError, never as the
library's own exception. A write is durable when its method returns, except for snapshots, summaries, logs and
metrics: those are read back at once, but a crash in the next moment may lose them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO, Protocol, runtime_checkable

from headrace_engine.identity import Grant
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.search import EVERY, NEWEST, ExecutionQuery, Order, is_within
from headrace_engine.model.state import State


class PortError(Exception):
    """A store or service did not do what was asked; trying again may help."""


class ContentError(PortError):
    """The store works, and what it holds, or was given, stands against what was asked: trying again changes nothing."""


class NotFoundError(ContentError):
    """What was asked for is not there."""


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the instant, UTC."""


# -- Journal ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One step of an execution as stored: written once, never changed."""

    execution_id: str
    seq: int
    writer: str
    """Unique for each append that is tried, so that a writer whose answer was lost knows its own entry."""
    data: bytes


class SeqTakenError(ContentError):
    """Another entry stands under this seq; holds the one that does."""

    def __init__(self, stored: JournalEntry) -> None:
        super().__init__(f"Entry {stored.seq} of execution {stored.execution_id} is already written")
        self.stored = stored


class PurgedError(ContentError):
    """The execution was purged; its tombstone refuses entries."""


class Journal(Protocol):
    """Executions' entries and snapshots. All reads are strongly consistent."""

    def append(self, entry: JournalEntry) -> None:
        """Store *entry* if its seq is free; durable when this returns.

        Raises SeqTakenError (nothing changed) when the seq is taken, by whomever; PurgedError after purge.
        """

    def entries(self, execution_id: str, after: int = -1) -> Sequence[JournalEntry]:
        """Return the entries with seq > *after*, by seq; empty when there are none."""

    def entry(self, execution_id: str, seq: int) -> JournalEntry:
        """Return one entry. Raises NotFoundError."""

    def save_snapshot(self, execution_id: str, seq: int, data: bytes) -> None:
        """Store *data* as the snapshot that reflects entries 0…seq, unless a stored one reflects as much or more.

        After purge nothing is stored.
        """

    def snapshot(self, execution_id: str) -> tuple[int, bytes] | None:
        """Return (seq, data) of the newest snapshot, or None. It may vanish at any time."""

    def purge(self, execution_id: str) -> None:
        """Remove entries and snapshot and leave a tombstone that makes every later append fail."""

    def is_purged(self, execution_id: str) -> bool:
        """Return whether the execution was purged: nothing of it will ever be there again."""


# -- Flows ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlowSource:
    """One revision of a flow as its author wrote it."""

    namespace: str
    id: str
    revision: int
    source: str
    deleted: bool = False
    updated: datetime | None = None


class Flows(Protocol):
    """Flow revisions."""

    def save(self, namespace: str, flow_id: str, source: str, now: datetime) -> FlowSource:
        """Store *source* as the next revision, or return the latest when its source is the same and not deleted.

        Revisions count from 1 and go on after a delete.
        """

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """Return a revision (the latest when None), deleted ones included; None when there is none."""

    def revisions(self, namespace: str, flow_id: str) -> Sequence[FlowSource]:
        """Return all revisions, oldest first."""

    def list(self, namespace_prefix: str = "") -> Sequence[FlowSource]:
        """Return the latest revision of every flow not deleted, by namespace and id; the prefix is whole segments."""

    def names(self, namespace_prefix: str = "") -> Sequence[tuple[str, str]]:
        """Return namespace and id of every flow not deleted, sorted, without reading a source; the prefix as of `list`.

        As `list`, it may be a moment behind.
        """

    def latest(self, names: Sequence[tuple[str, str]]) -> Sequence[FlowSource]:
        """Return the latest revisions of these (namespace, id), in this order, without those deleted or unknown."""

    def delete(self, namespace: str, flow_id: str, now: datetime) -> bool:
        """Add a revision that is marked deleted; False when there was nothing to delete."""

    def changed(self) -> datetime | None:
        """Return the instant of the last save or delete, strongly consistent; None before the first.

        What `list` gives may be a moment behind it.
        """


# -- Executions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """What lists, searches and the sweeper need of an execution."""

    id: str
    namespace: str
    flow_id: str
    flow_revision: int
    state: State
    seq: int
    """The entry this reflects."""
    start: datetime
    end: datetime | None = None
    wake_by: datetime | None = None
    """When the sweeper must poke the execution if nothing else did; None when it ended or waits for a person."""
    labels: Mapping[str, str] = field(default_factory=dict)
    parent_id: str | None = None
    """The execution that it replays or follows."""
    trigger_id: str | None = None
    caller_id: str | None = None
    """The execution that started it, or what it replays or follows; see `caller_of`."""
    original_id: str | None = None
    """The first of the executions that it replays or follows; None when it is a first one itself."""


COUNTED = 10_000
"""A search counts what it finds at least up to here."""


class SearchTooWideError(ValueError):
    """What a search asks for cannot be had from the store's indexes: it must be narrowed. The message says how."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """What a search found."""

    found: Sequence[ExecutionSummary]
    total: int
    """How many there are; at least so many where it is not exact."""
    is_exact: bool = True
    after: str = ""
    """Where the next page begins; empty when there is none, or the order is not the usual one."""


@dataclass(frozen=True, slots=True)
class DayTally:
    """How many executions of a flow began on a day (UTC) and are in a state now, and how long those took that ended."""

    day: date
    namespace: str
    flow_id: str
    state: State
    count: int
    seconds: float
    shortest: float
    longest: float


class Executions(Protocol):
    """Summaries of executions."""

    def put(self, summary: ExecutionSummary) -> None:
        """Store *summary* unless a stored one reflects the same or a higher seq."""

    def get(self, execution_id: str) -> ExecutionSummary | None: ...

    def open(self) -> Iterator[ExecutionSummary]:
        """Yield the executions that have not ended (without an end, or with a wake_by), oldest first."""

    def due(self, now: datetime) -> Iterator[ExecutionSummary]:
        """Yield the executions whose wake_by is not after *now*, the longest due first."""

    def search(
        self,
        query: ExecutionQuery = EVERY,
        *,
        order: Sequence[Order] = NEWEST,
        limit: int = 10,
        offset: int = 0,
        after: str = "",
    ) -> ExecutionPage:
        """Return one page of what *query* means, and the total: exact up to COUNTED.

        *after* is what a page before said, in the same order: the page begins there, before *offset* counts. A page may
        be shorter than *limit* although it says where the next one begins. Raises SearchTooWideError, and ValueError
        for an *after* that no page said.
        """

    def daily(self, query: ExecutionQuery) -> Sequence[DayTally]:
        """Return what there is of each day, flow and state, by day; the query says only namespaces, flow and dates.

        Raises SearchTooWideError.
        """

    def delete(self, execution_id: str) -> None: ...


# -- Triggers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TriggerRecord:
    """What is kept of a trigger from one time to the next. Its flow and id name it; its definition is the flow's."""

    namespace: str
    flow_id: str
    trigger_id: str
    version: int = 0
    """Counts the writes; 0 for a record that was never stored."""
    disabled: bool = False
    """Switched off by a person, or by `stopAfter`."""
    due: datetime | None = None
    """When somebody must look at it next."""
    data: bytes = b""
    """What the engine remembers, encoded."""


class TriggerChangedError(ContentError):
    """The record was written by somebody else meanwhile; holds what stands now (None: it was deleted)."""

    def __init__(self, given: TriggerRecord, stored: TriggerRecord | None) -> None:
        super().__init__(f"Trigger {given.trigger_id} of {given.namespace}.{given.flow_id} was changed meanwhile")
        self.stored = stored


class Triggers(Protocol):
    """What is remembered of triggers. Reads are strongly consistent; every write is conditional on what it read."""

    def get(self, namespace: str, flow_id: str, trigger_id: str) -> TriggerRecord:
        """Return the record; one of version 0 when there is none."""

    def put(self, record: TriggerRecord) -> TriggerRecord:
        """Store *record* if the stored one still has its version; return it with the next one.

        Raises TriggerChangedError (nothing changed) otherwise. Of many that race, one wins.
        """

    def list(self, namespace: str, flow_id: str) -> Sequence[TriggerRecord]:
        """Return the records of a flow's triggers, by id."""

    def due(self, now: datetime) -> Iterator[TriggerRecord]:
        """Yield the records whose due is not after *now*, disabled ones left out, the longest due first."""

    def delete(self, namespace: str, flow_id: str, trigger_id: str) -> None:
        """Forget the trigger; a write that read it before is refused."""


# -- KV ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KVEntry:
    """A value of the key-value store. value is what JSON holds; kind says how to read it."""

    namespace: str
    key: str
    kind: str
    """STRING NUMBER BOOLEAN DATETIME DATE DURATION JSON"""
    value: Any
    created: datetime
    updated: datetime
    expires: datetime | None = None


EXPIRED_KEYS_KEPT = timedelta(days=30)
"""How long who asks for an expired key of a flow's is told that it has expired; then there is none."""


class KeyExistsError(ContentError):
    """put with overwrite=False found the key."""


class KV(Protocol):
    """The key-value store. An entry past its expiry is still returned; the caller tells it is expired."""

    def put(
        self,
        namespace: str,
        key: str,
        kind: str,
        value: Any,
        *,
        now: datetime,
        ttl: timedelta | None = None,
        overwrite: bool = True,
        durable: bool = True,
    ) -> None:
        """Store a value, keeping the first creation date.

        With *durable* false a crash in the next moment may lose it: everybody sees it at once, nobody waits for it.

        Raises KeyExistsError when overwrite is false and the key exists. An entry expires at *now* + *ttl*, that
        instant included; for put an expired one does not exist: it neither refuses a new value nor lends it its
        creation date.
        """

    def get(self, namespace: str, key: str) -> KVEntry | None: ...
    def delete(self, namespace: str, key: str) -> bool:
        """Remove the key; True when it was there."""

    def list(self, namespace: str, prefix: str = "") -> Sequence[KVEntry]:
        """Return the entries of exactly this namespace whose key has *prefix*, by key."""

    def forget(self, namespace: str, now: datetime, *, at_most: int) -> int:
        """Remove entries of exactly this namespace that have expired, *at_most* so many; return how many.

        What removes them by itself may return 0.
        """


# -- Mailbox, timers, bus, dispatch -----------------------------------------------------------------


class Mailbox(Protocol):
    """Messages to executions: at least once, in any order, possibly late. Bytes are an encoded core message."""

    def send(self, execution_id: str, message: bytes) -> None:
        """Have *message* handled for the execution; it is not lost once this returns.

        Locally that holds while the process lives; what it leaves undone is recovered from the journal.
        """


@runtime_checkable
class Alarms(Protocol):
    """Timers that can tell what is set."""

    def is_set(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> bool | None:
        """Return whether a trigger will be woken when it is due; None when that cannot be told."""


class Timers(Protocol):
    """Wakes executions, and triggers."""

    def wake(self, execution_id: str, key: str, due: datetime) -> None:
        """Have a timer message with *key* sent at or after *due*, at least once.

        It cannot be cancelled; early, stale and repeated ones may come.
        """

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str, due: datetime) -> None:
        """Have the trigger looked at at or after *due*, at least once, with what holds for `wake`."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """An execution entered a state."""

    execution_id: str
    namespace: str
    flow_id: str
    flow_revision: int
    number: int
    """Its place in the execution's history: with the execution's id it names the change."""
    state: State
    at: datetime
    trigger_id: str | None = None
    """The trigger that started the execution, if one did."""
    chain: int = 0
    """How many flow triggers led to the execution, one after the other."""


class Bus(Protocol):
    """Tells who listens that executions changed their state."""

    def publish(self, *changes: StateChange) -> None:
        """Have *changes* told to all who listen, each at least once; none is lost once this returns.

        They may be told late, again, and in any order; publishing them again tells nothing new.
        """


@dataclass(frozen=True, slots=True)
class AttemptId:
    """One attempt of one task run; number counts from 0."""

    execution_id: str
    task_run_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs to run an attempt: properties rendered, secrets sealed. The same on every re-issue."""

    attempt: AttemptId
    type: str
    task_id: str
    namespace: str
    flow_id: str
    flow_revision: int
    started: datetime
    """The instant the step that started the attempt fixed."""
    properties: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What BY_TASK properties may refer to."""
    timeout: timedelta | None = None
    log_level: str | None = None
    workspace: str | None = None
    """The task run id of the WorkingDirectory the attempt shares its directory with."""
    cache: str | None = None
    """Where the outputs of a success are kept for later attempts like it."""
    repeats: bool = False
    """The attempt before this one was lost: what it did may be done already."""


class Dispatch(Protocol):
    """Sends attempts to workers."""

    def start(self, job: Job) -> None:
        """Have *job* run; calling it again with the same attempt starts nothing new.

        The result comes through the mailbox.
        """

    def stop(self, attempt: AttemptId) -> None:
        """Ask the attempt's worker to end it; an attempt nobody has started yet will not start.

        Its end comes through the mailbox.
        """


# -- Claims -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs an attempt, and what came of it."""

    attempt: AttemptId
    owner: str
    """Empty when nobody claimed the attempt: only a stop request or a loss stands."""
    claimed: datetime
    deadline: datetime | None = None
    """When the owner must be done; after it the attempt may be declared lost."""
    process_group: int | None = None
    """Locally: the operating system's process group the attempt runs in."""
    process_started: str | None = None
    """What tells this process group from a later one with the same number."""
    stop_requested: bool = False
    result: bytes | None = None
    """The encoded result; set by the one write that closes the claim."""
    closed: datetime | None = None


class ClaimTakenError(ContentError):
    """The attempt has a claim already; holds it."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(
            f"Attempt {claim.attempt.number} of task run {claim.attempt.task_run_id} is claimed by {claim.owner}"
        )
        self.claim = claim


class Claims(Protocol):
    """Who runs which attempt. Every change is conditional on what it changes."""

    def claim(self, attempt: AttemptId, owner: str, now: datetime, deadline: datetime | None = None) -> Claim:
        """Make *owner* the one who runs the attempt.

        Raises ClaimTakenError when anybody claimed it before, *owner* too.

        The claim returned may have stop_requested set: a stop that came first. Then nothing may be started.
        """

    def record_process(self, attempt: AttemptId, owner: str, process_group: int, process_started: str) -> bool:
        """Note the process group on an open claim of *owner*; False (nothing changed) otherwise."""

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Claim:
        """Write the result if the claim is open and *owner*'s; return the claim as it stands afterwards.

        Closed before (by the owner or as lost): nothing changes, the first result stands and is returned.
        Raises NotFoundError without a claim.
        """

    def close_lost(self, attempt: AttemptId, result: bytes, now: datetime) -> Claim:
        """Close the attempt with *result* whoever owns it, or nobody yet (then nobody can claim it any more).

        Returns the claim as it stands afterwards; a result that was there first stands.
        """

    def request_stop(self, attempt: AttemptId, now: datetime) -> Claim:
        """Set stop_requested, making an unowned claim when there is none; return the claim. A closed one stays."""

    def get(self, attempt: AttemptId) -> Claim | None: ...

    def of_execution(self, execution_id: str) -> Sequence[Claim]:
        """Return all claims of an execution, by task run and number."""

    def open(self) -> Iterator[Claim]:
        """Yield the claims that are owned and not closed."""

    def delete(self, execution_id: str, now: datetime) -> None:
        """Forget what came of an execution's attempts, but not that they were claimed.

        Each is closed, and without a result; `of_execution` leaves them out. For two weeks at least nobody can claim
        one: a dispatch that is still under way then runs nothing again.
        """


# -- Slots ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotState:
    """Who holds a slot of a flow, and who waits for one, longest first. An id may be in both for a moment."""

    holders: frozenset[str]
    queue: tuple[tuple[str, int], ...]
    """Execution ids, each with the entry that let it wait."""


class Slots(Protocol):
    """Concurrency limits: sets of execution ids, never counters (DESIGN §3). *flow* is ``namespace/id``.

    *seq* is the entry of the execution's journal that takes, waits or gives back: what comes late does not undo
    what a later entry did.
    """

    def acquire(self, flow: str, execution_id: str, limit: int | None, seq: int) -> bool:
        """Make the execution a holder if fewer than *limit* others are (None: whatever); True when it is one now.

        Of many that race for the last slot, one gets it. Who holds one already holds it for the later entry.
        """

    def enqueue(self, flow: str, execution_id: str, now: datetime, seq: int) -> None:
        """Let the execution wait; it keeps its place when it waits already, for the later entry."""

    def dequeue(self, flow: str, execution_id: str) -> None:
        """Let the execution wait no longer."""

    def release(self, flow: str, execution_id: str, seq: int) -> None:
        """Take the execution out of the holders and out of the queue, unless it is there for a later entry."""

    def state(self, flow: str) -> SlotState:
        """Return holders and queue, strongly consistent."""


# -- Storage ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of internal storage."""

    uri: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a large file goes, in parts: PUT each to its address, then complete the upload with their tags."""

    id: str
    addresses: Sequence[str]
    part: int
    """Bytes of each part but the last."""


class Storage(Protocol):
    """Internal storage. URIs are ``kestra:///<path>``.

    Paths with ``.``, ``..``, empty or absolute parts, backslashes or NUL raise ValueError in every method
    (``headrace_engine.adapters.paths`` is the rule).
    """

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """Store or replace a file; readers see the old or the new one whole. Streams are copied by chunks."""

    def open(self, uri: str) -> BinaryIO:
        """Open for reading. Raises NotFoundError."""

    def stat(self, uri: str) -> StoredFile | None: ...
    def list(self, prefix: str) -> Sequence[StoredFile]:
        """Return the files below the folder *prefix* (a URI, ``kestra:///`` for all), at any depth, by URI."""

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        """Return the files directly in *folder*, by URI, and the names of the folders there that hold any, sorted."""

    def delete(self, uri: str) -> bool:
        """Remove a file; True when it was there."""

    def move(self, source: str, target: str) -> None:
        """Rename a file, replacing *target*. Raises NotFoundError."""


# -- Logs and metrics -------------------------------------------------------------------------------


class Level(StrEnum):
    """Log levels, least first."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"

    @property
    def rank(self) -> int:
        """0 for TRACE up to 4 for ERROR."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a task run's log (or of the execution's own, when task_run_id is None)."""

    execution_id: str
    namespace: str
    flow_id: str
    timestamp: datetime
    level: Level
    message: str
    task_id: str | None = None
    task_run_id: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One metric of a task run; a timer's value is in seconds."""

    execution_id: str
    namespace: str
    flow_id: str
    task_id: str
    task_run_id: str
    kind: str
    """counter or timer"""
    name: str
    value: float
    timestamp: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are meant: those for which all of this holds."""

    namespaces: tuple[str, ...] = ("",)
    """One of these, or below it; everything is below the empty one."""
    flow_id: str | None = None
    execution_id: str | None = None
    task_id: str | None = None
    task_run_id: str | None = None
    attempt: int | None = None
    levels: tuple[Level, ...] = ()
    """Of one of these; of any when there are none."""
    since: datetime | None = None
    """Then or later."""
    until: datetime | None = None
    """Then or earlier."""
    words: tuple[str, ...] = ()
    """Each is contained in the message, whatever the case."""

    def matches(self, line: LogLine) -> bool:
        """Return whether a line is meant."""
        message = line.message.lower() if self.words else ""
        return (
            any(is_within(line.namespace, each) for each in self.namespaces)
            and self.flow_id in (None, line.flow_id)
            and self.execution_id in (None, line.execution_id)
            and self.task_id in (None, line.task_id)
            and self.task_run_id in (None, line.task_run_id)
            and self.attempt in (None, line.attempt)
            and (not self.levels or line.level in self.levels)
            and (self.since is None or line.timestamp >= self.since)
            and (self.until is None or line.timestamp <= self.until)
            and all(word.lower() in message for word in self.words)
        )


@dataclass(frozen=True, slots=True)
class LogPage:
    """What a search of log lines found."""

    found: Sequence[LogLine]
    total: int
    """How many there are; at least so many where it is not exact."""
    is_exact: bool = True


class Logs(Protocol):
    """Log lines. A batch has a key within its execution; appending the same key again changes nothing."""

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None: ...

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        """Append several batches, by their keys; those that are there already change nothing."""

    def fetch(
        self,
        execution_id: str,
        *,
        min_level: Level = Level.TRACE,
        task_id: str | None = None,
        task_run_id: str | None = None,
    ) -> Sequence[LogLine]:
        """Return the lines by timestamp; lines of a batch that have the same one, in its order."""

    def search(self, query: LogQuery, *, limit: int = 10, offset: int = 0, descending: bool = True) -> LogPage:
        """Return one page of the lines of all executions by timestamp, and the total.

        Where lines can only be had by execution, it looks at the newest ones (or oldest) that *query* means and stops
        when it has read enough: the total is not exact then.
        """

    def purge(
        self,
        execution_id: str,
        *,
        levels: Sequence[Level] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        task_id: str | None = None,
        task_run_id: str | None = None,
        attempt: int | None = None,
    ) -> int:
        """Remove the lines of these levels (of all when none are named) from *start* to *end*; return how many.

        Only those of a task, a task run, an attempt where one is named.
        """

    def delete(self, execution_id: str) -> None: ...


class Metrics(Protocol):
    """Metrics of task runs. A batch has a key within its execution; appending the same key again changes nothing."""

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None: ...

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[MetricPoint]]) -> None:
        """Append several batches, by their keys; those that are there already change nothing."""

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """Return the points, ordered as log lines are."""

    def of_flow(self, namespace: str, flow_id: str, *, since: datetime, until: datetime) -> Sequence[MetricPoint]:
        """Return the points of a flow's executions of that time, by timestamp; those of the newest thousand at most."""

    def delete(self, execution_id: str) -> None: ...


# -- Secrets ----------------------------------------------------------------------------------------


class Secrets(Protocol):
    """Secrets by namespace and key."""

    def get(self, namespace: str, key: str) -> str:
        """Return the secret; keys are not case-sensitive. Raises NotFoundError."""

    def names(self, namespace: str) -> Sequence[str]:
        """Return the keys, in capitals and sorted, of the secrets that are the namespace's own."""


class Cipher(Protocol):
    """Seals values so that stores, queues and logs never hold them in clear."""

    def seal(self, plain: bytes) -> str:
        """Return text from which only this cipher's key gets *plain* back; authenticated."""

    def open(self, sealed: str) -> bytes:
        """Return what was sealed. Raises PortError when it was changed or sealed with another key.

        ContentError where that is certain: what keeps the key may only say that it is out of reach.
        """


# -- Identity and audit -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in, or a machine that has tokens."""

    name: str
    id: str
    """Given once; another user who gets the name later has another one."""
    grants: tuple[Grant, ...]
    password: str = ""
    """Its hash (`headrace_engine.passwords`); empty when none is set, and then none is right."""
    disabled: bool = False
    created: datetime | None = None
    version: int = 0
    """Counts the writes; 0 for a user who was never stored."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a program shows in a user's name."""

    id: str
    user: str
    user_id: str
    secret: str
    """The hash of what only its holder knows."""
    created: datetime
    about: str = ""
    expires: datetime | None = None
    grants: tuple[Grant, ...] = ()
    """What it is narrowed to; empty: whatever its user may."""


class UserChangedError(ContentError):
    """The user was written by somebody else meanwhile, or deleted, or was there before; nothing changed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"User {name} was changed meanwhile")


class Identity(Protocol):
    """Users, tokens, and how often somebody failed to log in. All reads are strongly consistent."""

    def user(self, name: str) -> User | None: ...
    def put_user(self, user: User) -> User:
        """Store *user* if the stored one still has its version (0: if there is none); return it with the next one.

        Raises UserChangedError (nothing changed) otherwise. Of many that race, one wins.
        """

    def users(self) -> Sequence[User]:
        """Return all users, by name."""

    def delete_user(self, name: str) -> bool:
        """Remove the user; True when there was one. Tokens stay, and are nobody's."""

    def token(self, token_id: str) -> Token | None: ...
    def put_token(self, token: Token) -> None:
        """Store *token*, over one with the same id."""

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """Return the tokens of a user, or all, by creation."""

    def delete_token(self, token_id: str) -> bool:
        """Remove the token; True when there was one."""

    def tally(self, key: str, change: int, now: datetime, forget: datetime) -> int:
        """Add *change* to the count *key*, which begins at 0 and is forgotten after *forget*; return it.

        Nothing is lost under concurrency. A count lives until the *forget* that it was first given.
        """


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Somebody changed something, or was refused to. It never holds a secret: no body, no query, no header."""

    at: datetime
    id: str
    """Tells records of the same instant apart."""
    who: str
    kind: str
    """How they showed who they are: a `headrace_engine.identity.Kind`."""
    client: str
    """The address they came from."""
    action: str
    """The method and the path's pattern, or a word: ``DELETE /flows/{namespace}/{flow_id}``."""
    target: str = ""
    """The path."""
    namespace: str = ""
    token: str = ""
    """The id of the token that was shown, if one was."""
    status: int = 0
    """The HTTP status of what came of it; 0 when nothing else is known than that it was begun."""
    notes: tuple[str, ...] = ()
    """What it was about, where the path does not say it: the flow, the execution."""

    @property
    def place(self) -> tuple[datetime, str]:
        """Where it stands among the others."""
        return self.at, self.id


AUDIT_KEPT = timedelta(days=400)
"""How long a record is kept."""


class Audit(Protocol):
    """Who did what, when, from where."""

    def write(self, record: AuditRecord) -> None:
        """Keep *record*, instead of the one at the same place; durable no later than what is written after it."""

    def read(
        self, *, start: datetime, end: datetime, before: tuple[datetime, str] | None = None
    ) -> Iterator[AuditRecord]:
        """Yield the records from *start* to before *end*, the newest first; only those before the place *before*.

        It reads as far as the caller takes.
        """

    def forget(self, before: datetime) -> int:
        """Remove the records before an instant; return how many. What removes them by itself may return 0."""


# -- Events from outside ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscription:
    """The events that a trigger wants: those of a bus that match a pattern."""

    trigger_id: str
    bus: str
    pattern: Mapping[str, Any]


class SubscriptionRefusedError(ValueError):
    """The events that a trigger wants cannot be had; the message tells its author why, and what can be done."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Something about the events of a trigger that is not as its flow wants it."""

    trigger_id: str
    problem: str
    can_repair: bool = True
    """Whether `prepare` and `settle` put it right."""


class Subscriptions(Protocol):
    """Which events are brought here. A flow's are changed in two steps, so that none is missed between them."""

    def prepare(self, namespace: str, flow_id: str, wanted: Sequence[Subscription], buckets: Mapping[str, str]) -> None:
        """Have the flow's *wanted* events brought, besides those that are; and files of *buckets*, by trigger.

        Raises SubscriptionRefusedError.
        """

    def settle(self, namespace: str, flow_id: str, wanted: Sequence[Subscription]) -> None:
        """Have no other events brought for the flow than *wanted*."""

    def examine(
        self, namespace: str, flow_id: str, wanted: Sequence[Subscription], buckets: Mapping[str, str]
    ) -> Sequence[Drift]:
        """Return what is not as the flow wants it; nothing is changed."""

    def flows(self) -> Sequence[tuple[str, str]]:
        """Return namespace and id of the flows that events are brought for."""


@dataclass(frozen=True, slots=True)
class BucketFile:
    """A version of a file that came into a bucket."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    version: str
    """With bucket and key it names the version."""


class Buckets(Protocol):
    """Files of others, which start executions."""

    def take(self, file: BucketFile, uri: str) -> None:
        """Copy a file to internal storage, replacing what is there. Raises NotFoundError when it is gone."""

    def move(self, file: BucketFile, bucket: str, key: str) -> None:
        """Move a file, replacing what is there; nothing happens when it is gone."""

    def delete(self, file: BucketFile) -> None:
        """Remove a file; nothing happens when it is gone."""


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue of somebody else, and what opens it; what is empty is this process's own."""

    url: str
    region: str = ""
    endpoint: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message that was received and not deleted yet."""

    id: str
    body: str
    receipt: str
    """What deletes it, for as long as it is hidden from others."""
    group: str | None = None
    deduplication: str | None = None


class Queues(Protocol):
    """Queues of others, whose messages start executions."""

    def receive(
        self, queue: QueueAddress, *, at_most: int, wait: timedelta, hidden: timedelta
    ) -> Sequence[QueueMessage]:
        """Return up to *at_most* messages (ten at most), none when none comes within *wait*.

        Nobody else receives them while they are *hidden*; what is not deleted by then comes again.
        """

    def delete(self, queue: QueueAddress, messages: Sequence[QueueMessage]) -> None:
        """Remove messages that were received; one that could not be removed comes again."""
