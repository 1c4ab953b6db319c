"""Users, tokens and the audit in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_engine.ports import AuditRecord, Token, User, UserChangedError


class MemoryIdentity:
    """`Identity` in dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._tallies: dict[str, tuple[int, datetime]] = {}

    def user(self, name: str) -> User | None:
        """See `Identity.user`."""
        return self._users.get(name)

    def put_user(self, user: User) -> User:
        """See `Identity.put_user`."""
        with self._lock:
            stored = self._users.get(user.name)
            if (stored.version if stored is not None else 0) != user.version:
                raise UserChangedError(user.name)
            self._users[user.name] = written = replace(user, version=user.version + 1)
            return written

    def users(self) -> Sequence[User]:
        """See `Identity.users`."""
        with self._lock:
            return [user for _, user in sorted(self._users.items())]

    def delete_user(self, name: str) -> bool:
        """See `Identity.delete_user`."""
        with self._lock:
            return self._users.pop(name, None) is not None

    def token(self, token_id: str) -> Token | None:
        """See `Identity.token`."""
        return self._tokens.get(token_id)

    def put_token(self, token: Token) -> None:
        """See `Identity.put_token`."""
        with self._lock:
            self._tokens[token.id] = token

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """See `Identity.tokens`."""
        with self._lock:
            found = [token for token in self._tokens.values() if user is None or token.user == user]
        return sorted(found, key=lambda token: (token.created, token.id))

    def delete_token(self, token_id: str) -> bool:
        """See `Identity.delete_token`."""
        with self._lock:
            return self._tokens.pop(token_id, None) is not None

    def tally(self, key: str, change: int, now: datetime, forget: datetime) -> int:
        """See `Identity.tally`."""
        with self._lock:
            self._tallies = {each: kept for each, kept in self._tallies.items() if kept[1] >= now}
            count, until = self._tallies.get(key, (0, forget))
            self._tallies[key] = count + change, until
            return count + change


class MemoryAudit:
    """`Audit` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[tuple[datetime, str], AuditRecord] = {}

    def write(self, record: AuditRecord) -> None:
        """See `Audit.write`."""
        with self._lock:
            self._records[record.place] = record

    def read(
        self, *, start: datetime, end: datetime, before: tuple[datetime, str] | None = None
    ) -> Iterator[AuditRecord]:
        """See `Audit.read`."""
        with self._lock:
            found = sorted(self._records.items(), reverse=True)
        for place, record in found:
            if start <= record.at < end and (before is None or place < before):
                yield record

    def forget(self, before: datetime) -> int:
        """See `Audit.forget`."""
        with self._lock:
            kept = {place: record for place, record in self._records.items() if record.at >= before}
            gone = len(self._records) - len(kept)
            self._records = kept
            return gone
