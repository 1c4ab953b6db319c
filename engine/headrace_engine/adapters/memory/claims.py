"""Claims in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_engine.ports import AttemptId, Claim, ClaimTakenError, NotFoundError

_NOBODY = ""
"""The owner of a claim that only a stop request or a loss made."""


class MemoryClaims:
    """`Claims` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[AttemptId, Claim] = {}

    def claim(self, attempt: AttemptId, owner: str, now: datetime, deadline: datetime | None = None) -> Claim:
        """See `Claims.claim`."""
        if owner == _NOBODY:
            raise ValueError("A claim needs an owner")
        with self._lock:
            stored = self._claims.get(attempt, Claim(attempt, _NOBODY, now))
            if stored.owner != _NOBODY or stored.closed is not None:
                raise ClaimTakenError(stored)
            return self._store(replace(stored, owner=owner, claimed=now, deadline=deadline))

    def record_process(self, attempt: AttemptId, owner: str, process_group: int, process_started: str) -> bool:
        """See `Claims.record_process`."""
        with self._lock:
            stored = self._claims.get(attempt)
            if stored is None or not _is_open_of(stored, owner):
                return False
            self._store(replace(stored, process_group=process_group, process_started=process_started))
            return True

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Claim:
        """See `Claims.close`."""
        with self._lock:
            stored = self._claims.get(attempt)
            if stored is None:
                raise NotFoundError(f"Attempt {attempt.number} of task run {attempt.task_run_id} has no claim")
            if not _is_open_of(stored, owner):
                return stored
            return self._store(replace(stored, result=result, closed=now))

    def close_lost(self, attempt: AttemptId, result: bytes, now: datetime) -> Claim:
        """See `Claims.close_lost`."""
        with self._lock:
            stored = self._claims.get(attempt, Claim(attempt, _NOBODY, now))
            if stored.closed is not None:
                return stored
            return self._store(replace(stored, result=result, closed=now))

    def request_stop(self, attempt: AttemptId, now: datetime) -> Claim:
        """See `Claims.request_stop`."""
        with self._lock:
            stored = self._claims.get(attempt, Claim(attempt, _NOBODY, now))
            if stored.closed is not None:
                return stored
            return self._store(replace(stored, stop_requested=True))

    def get(self, attempt: AttemptId) -> Claim | None:
        """See `Claims.get`."""
        with self._lock:
            return self._claims.get(attempt)

    def of_execution(self, execution_id: str) -> Sequence[Claim]:
        """See `Claims.of_execution`."""
        with self._lock:
            found = [
                claim
                for claim in self._claims.values()
                if claim.attempt.execution_id == execution_id and (claim.closed is None or claim.result is not None)
            ]
        return sorted(found, key=lambda claim: (claim.attempt.task_run_id, claim.attempt.number))

    def open(self) -> Iterator[Claim]:
        """See `Claims.open`."""
        with self._lock:
            found = [claim for claim in self._claims.values() if claim.owner != _NOBODY and claim.closed is None]
        return iter(found)

    def delete(self, execution_id: str, now: datetime) -> None:
        """See `Claims.delete`."""
        with self._lock:
            for claim in [claim for claim in self._claims.values() if claim.attempt.execution_id == execution_id]:
                self._store(replace(claim, result=None, closed=claim.closed or now))

    def _store(self, claim: Claim) -> Claim:
        self._claims[claim.attempt] = claim
        return claim


def _is_open_of(claim: Claim, owner: str) -> bool:
    return owner != _NOBODY and claim.owner == owner and claim.closed is None
