"""Attempts that are carried out on a machine of their own, which only speaks HTTP: in a container.

It asks what is to be done (`begin`), and has the attempt's claim with the answer; it passes on what the code says
while it runs (`said`), and says how it ended (`end`): here that becomes the attempt's result, which closes the claim
and is reported. All three may be asked again. What runs people's code has no part in this: it does not have the token.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec

from headrace_engine.attempts import Attempts
from headrace_engine.core.codec import encode_result
from headrace_engine.engine import Engine
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State
from headrace_engine.plugin import InlineContext, RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_engine.ports import AttemptId, Claim, ClaimTakenError, Job, NotFoundError, Upload
from headrace_engine.run_context import InlineTaskContext, WorkerContext, act_on_job, run_attempt
from headrace_engine.sealing import open_sealed
from headrace_engine.workspace_archive import archive_of

_VALID = timedelta(hours=1)
"""How long addresses of files that are to be fetched are good for."""
_FOLDER = "work"
"""Of the volume: the working directory."""
_LARGEST_PLAN = 4 * 1024 * 1024
_LARGEST_OUTPUTS = 16 * 1024 * 1024
_LINES = 2000
_PAGE = 200

T = TypeVar("T")


class RefusedError(Exception):
    """The attempt may not have what it asks for; the text says what, and holds nothing of it."""


class Addresses(Protocol):
    """Gives files of internal storage addresses that need no rights."""

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        """Return a URL to GET the file from."""

    def address_to_write(self, uri: str, valid: timedelta) -> str:
        """Return a URL to PUT the file to."""


class Uploads(Addresses, Protocol):
    """Takes large files, too."""

    def begin_upload(self, uri: str, size: int, valid: timedelta) -> Upload | None:
        """Begin an upload in parts; None for a file that goes up in one."""

    def complete_upload(self, uri: str, upload: str, tags: Sequence[str]) -> None:
        """Have the file of an upload stand whole; again is the same."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a container is to do."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    files: Sequence[tuple[str, bytes | str, str]] = field(repr=False)
    """Path, content or URI, and what happens when it is there already."""
    patterns: Sequence[tuple[str, str]]
    """Of files to store: as the flow has them, and as regular expressions."""
    output_directory: str


class Ended(msgspec.Struct, rename="camel"):
    """What the stager says of the end."""

    owner: str
    exit_code: int | None = None
    """None when the code was ended from outside, or never began."""
    started: bool = False
    timed_out: bool = False
    failure: str = ""
    """What kept the stager from its work."""
    outputs: dict[str, Any] = {}
    large: bool = False
    """Whether the outputs lie in a file."""
    counts: tuple[int, int] = (0, 0)
    """Lines of both streams."""
    files: dict[str, str] = {}
    unmatched: list[str] = []


class Carrier(Protocol):
    """Knows the tasks whose code containers run."""

    def errand(self, task: RunnableTask, context: RunContext, directory: str) -> Errand:
        """Return what is to be done, for a working directory of that name. Raises TaskFailure."""

    def take(self, context: InlineContext, lines: Sequence[tuple[str, str, int]]) -> None:
        """Have *context* take what the code said: stream, line, and when in milliseconds."""

    def outputs(self, task: RunnableTask, context: RunContext, ended: Ended) -> TaskOutputs | None:
        """Return the outputs of a task whose code has ended. Raises TaskFailure when it has failed."""


class _Begin(msgspec.Struct):
    owner: str
    volume: str


class _Said(msgspec.Struct):
    owner: str
    batch: int
    lines: list[tuple[str, str, int]]


class _File(msgspec.Struct):
    uri: str
    size: int


class _Places(msgspec.Struct):
    owner: str
    files: list[_File]


class _Complete(msgspec.Struct):
    owner: str
    uri: str
    upload: str
    tags: list[str]


class Apart:
    """Answers what containers ask."""

    def __init__(
        self,
        engine: Engine,
        addresses: Uploads,
        carrier: Carrier,
        attempts: Attempts,
        placement: Callable[[Job], Mapping[str, Any]] = lambda _job: {},
    ) -> None:
        """Take the engine; attempts report, *placement* tells what outputs say about where a job runs."""
        self._engine = engine
        self._stores = engine.stores
        self._addresses = addresses
        self._carrier = carrier
        self._attempts = attempts
        self._placement = placement

    def begin(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        """Return what is to be done, to who then has the attempt's claim; anybody else is refused."""
        given = decoded(body, _Begin)
        task_class = self._engine.task_class(job.type)
        if task_class is None or not task_class.RUNS_CODE or not given.owner:
            raise RefusedError("The attempt is none that a container runs")
        claim = self._claimed(job.attempt, given.owner)
        if claim.stop_requested:
            now = self._stores.clock.now()
            self._close(claim, AttemptResult(State.KILLED, claim.claimed, now, error="The attempt was stopped"))
            raise RefusedError("The attempt was stopped")
        directory = "/".join([given.volume.rstrip("/"), _FOLDER])
        found: list[Any] = []

        def act(task: RunnableTask) -> None:
            errand = self._carrier.errand(task, context, directory)
            plan = self._plan(job, errand, context)
            if len(msgspec.json.encode(plan)) > _LARGEST_PLAN:
                raise TaskFailure("The task's variables and input files are too large: give files by their URIs")
            found.append(plan)

        with self._context(job, "begin") as context:
            state, _, error = act_on_job(task_class, job, context, act)
        if state is not State.SUCCESS or not found:
            self._close(claim, AttemptResult(State.FAILED, claim.claimed, self._stores.clock.now(), error=error))
            raise RefusedError("The attempt has failed")
        return found[0]

    def _claimed(self, attempt: AttemptId, owner: str) -> Claim:
        try:
            return self._stores.claims.claim(attempt, owner, self._stores.clock.now())
        except ClaimTakenError as taken:
            if taken.claim.closed is None and taken.claim.owner == owner:
                return taken.claim  # its answer was lost
            self._attempts.report(taken.claim)
        raise RefusedError("Somebody else runs the attempt, or it has ended")

    def _plan(self, job: Job, errand: Errand, context: WorkerContext) -> dict[str, Any]:
        archive = archive_of(job)
        there = archive is not None and self._stores.storage.stat(archive) is not None
        return {
            "argv": list(errand.argv),
            "env": dict(errand.env),
            "files": [self._placed(*file) for file in errand.files],
            "archive": {"uri": archive, "address": self._addresses.address_to_read(archive, _VALID) if there else None}
            if archive is not None
            else None,
            "patterns": [{"text": text, "regex": regex} for text, regex in errand.patterns],
            "outputDirectory": errand.output_directory,
            "folder": context.files.folder,
            "large": context.files.engine_file,
            "timeout": None if job.timeout is None else max(1, math.ceil(job.timeout.total_seconds())),
        }

    def _placed(self, path: str, content: bytes | str, if_exists: str) -> dict[str, Any]:
        if isinstance(content, bytes):
            return {"path": path, "content": base64.b64encode(content).decode(), "ifExists": if_exists}
        if self._stores.storage.stat(content) is None:
            raise TaskFailure(f"The file '{content}' does not exist")
        address = self._addresses.address_to_read(content, _VALID)
        return {"path": path, "uri": content, "address": address, "ifExists": if_exists}

    def said(self, job: Job, claim: Claim | None, body: bytes) -> Any:
        """Keep what the code said; the same batch again is kept once. Say whether the attempt is to stop."""
        given = decoded(body, _Said)
        claim = _owned(claim, given.owner)
        if len(given.lines) > _LINES:
            raise RefusedError("These are too many lines at once")
        if given.lines:
            context = self._listener(job)
            self._carrier.take(context, given.lines)
            attempt = job.attempt
            batch = f"{attempt.task_run_id}/{attempt.number}/said/{given.batch}"
            if context.lines:
                self._stores.logs.append(attempt.execution_id, batch, context.lines)
            if context.points:
                self._stores.metrics.append(attempt.execution_id, batch, context.points)
        return {"stop": claim.stop_requested}

    def _listener(self, job: Job) -> InlineTaskContext:
        context = _Listening.of_job(job)
        _, secrets = open_sealed([job.properties, job.variables], self._stores.cipher)
        context.mask.add(secrets)
        return context

    def places(self, job: Job, claim: Claim | None, body: bytes) -> Any:
        """Return where files of the attempt go: an address each, or those of its parts."""
        given = decoded(body, _Places)
        _owned(claim, given.owner)
        if len(given.files) > _PAGE:
            raise RefusedError("These are too many files at once")
        return {"places": [self._place(job, each) for each in given.files]}

    def _place(self, job: Job, file: _File) -> dict[str, Any]:
        self._check_writable(job, file.uri)
        upload = self._addresses.begin_upload(file.uri, file.size, _VALID)
        if upload is not None:
            parts = {"upload": upload.id, "parts": list(upload.addresses), "part": upload.part}
            return {**parts, "size": file.size}
        return {"address": self._addresses.address_to_write(file.uri, _VALID), "size": file.size}

    def complete(self, job: Job, claim: Claim | None, body: bytes) -> Any:
        """Have a file that came in parts stand whole."""
        given = decoded(body, _Complete)
        _owned(claim, given.owner)
        self._check_writable(job, given.uri)
        self._addresses.complete_upload(given.uri, given.upload, given.tags)
        return {}

    def _check_writable(self, job: Job, uri: str) -> None:
        if uri != archive_of(job) and not self._engine.worker.files(job).is_writable(uri):
            raise RefusedError(f"The attempt may not write {uri}")

    def end(self, job: Job, claim: Claim | None, body: bytes) -> Any:
        """Close the claim with what came of the attempt, and report it; again, it is reported again."""
        given = decoded(body, Ended)
        if claim is None or not claim.owner or claim.owner != given.owner:
            raise RefusedError("The attempt is not run by who says that it has ended")
        if claim.closed is not None:
            self._attempts.report(claim)
            return {}
        folder = self._engine.worker.files(job)
        if not all(folder.is_writable(uri) for uri in given.files.values()):
            raise RefusedError("A file that is said to be the attempt's is not")
        task_class = self._engine.task_class(job.type)
        if task_class is None:
            raise RefusedError("The attempt is none that a container runs")
        context = self._context(job, "end")
        if claim.stop_requested:
            context.stop(State.KILLED)
        elif given.timed_out and job.timeout is not None:
            context.stop(State.FAILED)
        elif given.large:
            given.outputs = self._large(folder.engine_file)
        result = run_attempt(
            task_class,
            job,
            context,
            inline_limit=self._engine.settings.output_inline_limit,
            act=lambda task: self._carrier.outputs(task, context, given),
            started=claim.claimed,
        )
        self._close(claim, result)
        return {}

    def _large(self, uri: str) -> dict[str, Any]:
        try:
            with self._stores.storage.open(uri) as stream:
                data = stream.read(_LARGEST_OUTPUTS + 1)
        except NotFoundError:
            raise RefusedError("The outputs are not where they should be") from None
        if len(data) > _LARGEST_OUTPUTS:
            raise RefusedError("The outputs are too large: put them into a file")
        return decoded(data, dict[str, Any])

    def _context(self, job: Job, batch: str) -> WorkerContext:
        return self._engine.worker.context(job, batch=batch, placement=self._placement(job))

    def _close(self, claim: Claim, result: AttemptResult) -> None:
        now = self._stores.clock.now()
        self._attempts.report(self._stores.claims.close(claim.attempt, claim.owner, encode_result(result), now))


class _Listening(InlineTaskContext):
    """Takes lines that were said a moment ago."""

    def at(self, milliseconds: int) -> None:
        self.now = datetime.fromtimestamp(milliseconds / 1000, UTC)


def _owned(claim: Claim | None, owner: str) -> Claim:
    if claim is None or not claim.owner or claim.owner != owner:
        raise RefusedError("The attempt is run by somebody else, or by nobody")
    return claim


def decoded(body: bytes, kind: type[T]) -> T:
    """Return a request's body. Raises RefusedError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise RefusedError(f"The request cannot be read: {error}") from None
