"""What an attempt that runs apart, without rights of its own, may have of the platform: what its job needs (DESIGN §6).

Whoever runs it proves by the attempt's token that it does; the host of this checks the token. What is asked for is
held against the job as the journal has it: the sealed values that stand in it, the files it may read, the folder it may
write, its own log lines. Bytes of files do not pass here: addresses are given, where they lie and for how long.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec

from headrace_engine.apart import Addresses, Apart, RefusedError, decoded
from headrace_engine.engine import Engine
from headrace_engine.packages import is_package_archive
from headrace_engine.plugin import TaskFailure
from headrace_engine.ports import AttemptId, Claim, Job, LogLine, MetricPoint
from headrace_engine.prepare import job_of
from headrace_engine.run_stores import RunFiles, run_files
from headrace_engine.workspace_archive import archive_of

_KNOWN = 256
_VALID = timedelta(minutes=15)
"""How long an address is good for: a transfer that has begun goes on."""


class _Uri(msgspec.Struct):
    uri: str


class _Sealed(msgspec.Struct):
    sealed: str


class _Lines(msgspec.Struct):
    batch: str
    lines: list[LogLine]


class _Points(msgspec.Struct):
    batch: str
    points: list[MetricPoint]


class AttemptAccess:
    """Answers what attempts ask for."""

    def __init__(
        self,
        engine: Engine,
        addresses: Addresses,
        apart: Callable[[], Apart] | None = None,
        grants: Callable[[Job], Mapping[str, str]] | None = None,
    ) -> None:
        """Take the engine; *apart*, called once it is needed, answers containers, where there are any.

        *grants* returns the variables with which a job's code uses the role it is given; it raises TaskFailure.
        """
        self._grants = grants
        self._engine = engine
        self._stores = engine.stores
        self._addresses = addresses
        self._jobs: OrderedDict[AttemptId, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._answers: dict[str, Callable[[Job, Claim | None, bytes], Any]] = {
            "open": self._open,
            "stat": self._stat,
            "list": self._list,
            "read": self._read,
            "write": self._write,
            "logs": self._logs,
            "metrics": self._metrics,
            "grant": self._grant,
        }
        if apart is not None:
            made = cache(apart)
            self._answers |= {
                "begin": lambda job, claim, body: made().begin(job, claim, body),
                "said": lambda job, claim, body: made().said(job, claim, body),
                "places": lambda job, claim, body: made().places(job, claim, body),
                "complete": lambda job, claim, body: made().complete(job, claim, body),
                "end": lambda job, claim, body: made().end(job, claim, body),
            }

    def answer(self, attempt: AttemptId, operation: str, body: bytes) -> Any:
        """Return what *operation* gives, as JSON values.

        Raises RefusedError for what the attempt may not have, and for an attempt that has ended; PortError.
        """
        find = self._answers.get(operation)
        if find is None:
            raise RefusedError(f"There is no operation `{operation}`; there are {', '.join(self._answers)}")
        job = self._job(attempt)
        claim = self._stores.claims.get(attempt)
        # Of one that has ended, the end may be told again: who told it may not have heard the answer.
        if claim is not None and claim.closed is not None and operation != "end":
            raise RefusedError("The attempt has ended")
        return find(job, claim, body)

    def _job(self, attempt: AttemptId) -> Job:
        with self._lock:
            if attempt in self._jobs:
                self._jobs.move_to_end(attempt)
                return self._jobs[attempt]
        state = self._engine.platform.state(attempt.execution_id)
        task_run = state.task_runs.get(attempt.task_run_id) if state is not None else None
        found = task_run.open_attempt if task_run is not None else None
        if state is None or found is None or found.number != attempt.number or found.job is None:
            raise RefusedError("No such attempt runs")
        job = job_of(state, attempt.task_run_id, attempt.number, self._engine.payloads.load(found.job))
        with self._lock:
            self._jobs[attempt] = job
            if len(self._jobs) > _KNOWN:
                self._jobs.popitem(last=False)
        return job

    # -- Secrets ------------------------------------------------------------------------------------

    def _open(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        sealed = decoded(body, _Sealed).sealed
        if not any(sealed in text for text in _texts([job.properties, job.variables])):
            raise RefusedError("The sealed value is not one of the attempt's job")
        return {"plain": self._stores.cipher.open(sealed)}

    def _grant(self, job: Job, claim: Claim | None, _body: bytes) -> Any:
        if claim is None or not claim.owner:
            raise RefusedError("The attempt has not begun")
        try:
            return {"environment": self._grants(job) if self._grants is not None else {}, "refusal": ""}
        except TaskFailure as failure:
            return {"environment": {}, "refusal": str(failure)}

    # -- Files --------------------------------------------------------------------------------------

    def _stat(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        stored = self._stores.storage.stat(self._readable(job, decoded(body, _Uri).uri))
        return {"file": stored}

    def _list(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        prefix = decoded(body, _Uri).uri.rstrip("/")
        # A folder is readable if a file in it would be.
        self._readable(job, f"{prefix}/file")
        return {"files": list(self._stores.storage.list(prefix))}

    def _read(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        uri = self._readable(job, decoded(body, _Uri).uri)
        if self._stores.storage.stat(uri) is None:
            return {"address": None}
        return {"address": self._addresses.address_to_read(uri, _VALID)}

    def _write(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        uri = decoded(body, _Uri).uri
        own = uri in (job.cache, archive_of(job)) or is_package_archive(job, uri)
        if not own and not self._files(job).is_writable(uri):
            raise RefusedError(f"The attempt may not write {uri}")
        return {"address": self._addresses.address_to_write(uri, _VALID)}

    def _readable(self, job: Job, uri: str) -> str:
        if uri == archive_of(job) or is_package_archive(job, uri):
            return uri
        try:
            return self._files(job).readable(uri)
        except TaskFailure as failure:
            raise RefusedError(str(failure)) from None

    def _files(self, job: Job) -> RunFiles:
        return run_files(self._stores, self._engine.settings, job)

    # -- Logs and metrics ---------------------------------------------------------------------------

    def _logs(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        given = decoded(body, _Lines)
        attempt = job.attempt
        lines = [
            replace(
                line,
                execution_id=attempt.execution_id,
                namespace=job.namespace,
                flow_id=job.flow_id,
                task_id=job.task_id,
                task_run_id=attempt.task_run_id,
                attempt=attempt.number,
            )
            for line in given.lines
        ]
        self._stores.logs.append(attempt.execution_id, _own_batch(attempt, given.batch), lines)
        return {}

    def _metrics(self, job: Job, _claim: Claim | None, body: bytes) -> Any:
        given = decoded(body, _Points)
        attempt = job.attempt
        points = [
            replace(
                point,
                execution_id=attempt.execution_id,
                namespace=job.namespace,
                flow_id=job.flow_id,
                task_id=job.task_id,
                task_run_id=attempt.task_run_id,
            )
            for point in given.points
        ]
        self._stores.metrics.append(attempt.execution_id, _own_batch(attempt, given.batch), points)
        return {}


def _own_batch(attempt: AttemptId, batch: str) -> str:
    own = f"{attempt.task_run_id}/{attempt.number}"
    if batch != own and not batch.startswith(f"{own}/"):
        raise RefusedError("The batch is not one of the attempt")
    return batch


def _texts(value: Any) -> list[str]:
    """Return all texts in *value*."""
    found, open_ = [], [value]
    while open_:
        each = open_.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, Mapping):
            open_ += each.values()
        elif isinstance(each, list | tuple):
            open_ += each
    return found
