"""Claims in SQLite. Every change is one conditional statement; what it did not change, it reports as it stands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import (
    to_instant,
    to_number,
    to_optional_instant,
    to_optional_number,
)
from headrace_engine.ports import AttemptId, Claim, ClaimTakenError, NotFoundError

_COLUMNS = """
execution_id, task_run_id, number, owner, claimed, deadline, process_group, process_started, stop_requested, result,
closed
"""

_SELECT = f"SELECT {_COLUMNS} FROM claims"  # noqa: S608  # the columns above, nothing from outside

_OF_ATTEMPT = "execution_id = :execution_id AND task_run_id = :task_run_id AND number = :number"

_CLAIM = """
INSERT INTO claims (execution_id, task_run_id, number, owner, claimed, deadline)
VALUES (:execution_id, :task_run_id, :number, :owner, :now, :deadline)
ON CONFLICT (execution_id, task_run_id, number) DO UPDATE SET
    owner = excluded.owner, claimed = excluded.claimed, deadline = excluded.deadline
WHERE
    -- Holds when nobody claimed the attempt: only a stop request stands there.
    claims.owner = ''
    -- Holds unless the attempt was declared lost before anybody claimed it.
    AND claims.closed IS NULL
"""

_RECORD_PROCESS = f"""
UPDATE claims SET process_group = :process_group, process_started = :process_started
WHERE {_OF_ATTEMPT}
-- Holds when the caller is the one who claimed the attempt.
AND owner = :owner
-- Holds until the claim has its result.
AND closed IS NULL
"""  # noqa: S608  # as above

_CLOSE = f"""
UPDATE claims SET result = :result, closed = :now
WHERE {_OF_ATTEMPT}
-- Holds when the caller is the one who claimed the attempt.
AND owner = :owner
-- Holds until the claim has its result: the first one stands.
AND closed IS NULL
"""  # noqa: S608  # as above

_CLOSE_LOST = """
INSERT INTO claims (execution_id, task_run_id, number, owner, claimed, result, closed)
VALUES (:execution_id, :task_run_id, :number, '', :now, :result, :now)
ON CONFLICT (execution_id, task_run_id, number) DO UPDATE SET result = excluded.result, closed = excluded.closed
-- Holds until the claim has its result: the first one stands.
WHERE claims.closed IS NULL
"""

_REQUEST_STOP = """
INSERT INTO claims (execution_id, task_run_id, number, owner, claimed, stop_requested)
VALUES (:execution_id, :task_run_id, :number, '', :now, TRUE)
ON CONFLICT (execution_id, task_run_id, number) DO UPDATE SET stop_requested = TRUE
-- Holds until the claim has its result: what has ended cannot be stopped.
WHERE claims.closed IS NULL
"""


_FORGET = """
UPDATE claims SET result = NULL, closed = coalesce(closed, :now) WHERE execution_id = :execution_id
"""

_REMOVE = "DELETE FROM claims WHERE closed < :before AND closed IS NOT NULL AND result IS NULL"
_KEPT = timedelta(days=14)


class SqliteClaims:
    """`Claims` in *database*; every change is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, attempt: AttemptId, owner: str, now: datetime, deadline: datetime | None = None) -> Claim:
        """See `Claims.claim`."""
        if not owner:
            raise ValueError("A claim needs an owner")
        parameters = {
            **_key(attempt),
            "owner": owner,
            "now": to_number(now),
            "deadline": to_optional_number(deadline),
        }

        def change(writer: sqlite3.Connection) -> Claim:
            changed = writer.execute(_CLAIM, parameters).rowcount == 1
            claim = _require(writer, attempt)
            if not changed:
                raise ClaimTakenError(claim)
            return claim

        return self._database.write(change)

    def record_process(self, attempt: AttemptId, owner: str, process_group: int, process_started: str) -> bool:
        """See `Claims.record_process`."""
        parameters = {
            **_key(attempt),
            "owner": owner or None,  # no owner owns nothing
            "process_group": process_group,
            "process_started": process_started,
        }
        return self._database.write(lambda writer: writer.execute(_RECORD_PROCESS, parameters).rowcount == 1)

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Claim:
        """See `Claims.close`."""
        return self._change(attempt, _CLOSE, owner=owner or None, result=result, now=to_number(now))

    def close_lost(self, attempt: AttemptId, result: bytes, now: datetime) -> Claim:
        """See `Claims.close_lost`."""
        return self._change(attempt, _CLOSE_LOST, result=result, now=to_number(now))

    def request_stop(self, attempt: AttemptId, now: datetime) -> Claim:
        """See `Claims.request_stop`."""
        return self._change(attempt, _REQUEST_STOP, now=to_number(now))

    def _change(self, attempt: AttemptId, sql: str, **parameters: Any) -> Claim:
        """Run a conditional change and return the claim as it stands afterwards."""

        def change(writer: sqlite3.Connection) -> Claim:
            writer.execute(sql, {**_key(attempt), **parameters})
            return _require(writer, attempt)

        return self._database.write(change)

    def get(self, attempt: AttemptId) -> Claim | None:
        """See `Claims.get`."""
        return self._database.read(lambda reader: _find(reader, attempt))

    def of_execution(self, execution_id: str) -> Sequence[Claim]:
        """See `Claims.of_execution`."""
        rows = self._database.rows(
            f"{_SELECT} WHERE execution_id = ? AND (closed IS NULL OR result IS NOT NULL) ORDER BY task_run_id, number",
            (execution_id,),
        )
        return [_claim(row) for row in rows]

    def open(self) -> Iterator[Claim]:
        """See `Claims.open`."""
        rows = self._database.rows(f"{_SELECT} WHERE owner <> '' AND closed IS NULL ORDER BY claimed")
        return iter([_claim(row) for row in rows])

    def delete(self, execution_id: str, now: datetime) -> None:
        """See `Claims.delete`. Removes what was forgotten more than two weeks ago."""

        def change(writer: sqlite3.Connection) -> None:
            writer.execute(_FORGET, {"execution_id": execution_id, "now": to_number(now)})
            writer.execute(_REMOVE, {"before": to_number(now - _KEPT)})

        self._database.write(change)


def _key(attempt: AttemptId) -> dict[str, Any]:
    return {"execution_id": attempt.execution_id, "task_run_id": attempt.task_run_id, "number": attempt.number}


def _find(connection: sqlite3.Connection, attempt: AttemptId) -> Claim | None:
    rows = connection.execute(f"{_SELECT} WHERE {_OF_ATTEMPT}", _key(attempt)).fetchall()
    return _claim(rows[0]) if rows else None


def _require(connection: sqlite3.Connection, attempt: AttemptId) -> Claim:
    claim = _find(connection, attempt)
    if claim is None:
        raise NotFoundError(f"Attempt {attempt.number} of task run {attempt.task_run_id} has no claim")
    return claim


def _claim(row: tuple[Any, ...]) -> Claim:
    (execution_id, task_run_id, number, owner, claimed, deadline, group, started, stop, result, closed) = row
    return Claim(
        attempt=AttemptId(execution_id, task_run_id, number),
        owner=owner,
        claimed=to_instant(claimed),
        deadline=to_optional_instant(deadline),
        process_group=group,
        process_started=started,
        stop_requested=bool(stop),
        result=result,
        closed=to_optional_instant(closed),
    )
