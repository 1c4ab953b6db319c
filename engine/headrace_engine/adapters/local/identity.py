"""Users, tokens and counts of failed logins, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace_engine.adapters.grants import read_grants, write_grants
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.instants import (
    to_instant,
    to_number,
    to_optional_instant,
    to_optional_number,
)
from headrace_engine.ports import Token, User, UserChangedError

_USER = "name, id, grants, password, disabled, created, version"
_TOKEN = "id, user, user_id, secret, created, about, expires, grants"  # noqa: S105 - columns

_PUT_USER = f"""
INSERT INTO users ({_USER})
SELECT :name, :id, :grants, :password, :disabled, :created, :version + 1
-- Holds for the first write of a user, and when there is one to be replaced: a deleted one is not made anew.
WHERE :version = 0 OR EXISTS (SELECT 1 FROM users WHERE name = :name)
ON CONFLICT (name) DO UPDATE SET
    id = excluded.id,
    grants = excluded.grants,
    password = excluded.password,
    disabled = excluded.disabled,
    created = excluded.created,
    version = excluded.version
-- Holds unless somebody else wrote meanwhile.
WHERE users.version = :version
"""  # noqa: S608 - constants of this module

_TALLY = """
INSERT INTO tallies (key, count, forget) VALUES (:key, :change, :forget)
ON CONFLICT (key) DO UPDATE SET count = count + :change
RETURNING count
"""


class SqliteIdentity:
    """`Identity` in *database*. Every write is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def user(self, name: str) -> User | None:
        """See `Identity.user`."""
        row = self._database.row(f"SELECT {_USER} FROM users WHERE name = ?", (name,))  # noqa: S608 - as above
        return None if row is None else _user(row)

    def put_user(self, user: User) -> User:
        """See `Identity.put_user`."""
        values = {
            "name": user.name,
            "id": user.id,
            "grants": write_grants(user.grants),
            "password": user.password,
            "disabled": user.disabled,
            "created": to_optional_number(user.created),
            "version": user.version,
        }

        def write(writer: sqlite3.Connection) -> User:
            if writer.execute(_PUT_USER, values).rowcount != 1:
                raise UserChangedError(user.name)
            return replace(user, version=user.version + 1)

        return self._database.write(write)

    def users(self) -> Sequence[User]:
        """See `Identity.users`."""
        return [_user(row) for row in self._database.rows(f"SELECT {_USER} FROM users ORDER BY name")]  # noqa: S608 - as above

    def delete_user(self, name: str) -> bool:
        """See `Identity.delete_user`."""
        return self._database.write(
            lambda writer: writer.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount == 1
        )

    def token(self, token_id: str) -> Token | None:
        """See `Identity.token`."""
        row = self._database.row(f"SELECT {_TOKEN} FROM tokens WHERE id = ?", (token_id,))  # noqa: S608 - as above
        return None if row is None else _token(row)

    def put_token(self, token: Token) -> None:
        """See `Identity.put_token`."""
        values = (
            token.id,
            token.user,
            token.user_id,
            token.secret,
            to_number(token.created),
            token.about,
            to_optional_number(token.expires),
            write_grants(token.grants),
        )
        self._database.write(
            lambda writer: writer.execute(
                f"INSERT OR REPLACE INTO tokens ({_TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - as above
                values,
            )
        )

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """See `Identity.tokens`."""
        rows = self._database.rows(
            f"SELECT {_TOKEN} FROM tokens WHERE :user IS NULL OR user = :user ORDER BY created, id",  # noqa: S608 - as above
            {"user": user},
        )
        return [_token(row) for row in rows]

    def delete_token(self, token_id: str) -> bool:
        """See `Identity.delete_token`."""
        return self._database.write(
            lambda writer: writer.execute("DELETE FROM tokens WHERE id = ?", (token_id,)).rowcount == 1
        )

    def tally(self, key: str, change: int, now: datetime, forget: datetime) -> int:
        """See `Identity.tally`."""
        values = {"key": key, "change": change, "forget": to_number(forget)}

        def write(writer: sqlite3.Connection) -> int:
            writer.execute("DELETE FROM tallies WHERE forget < ?", (to_number(now),))
            count: int = writer.execute(_TALLY, values).fetchone()[0]
            return count

        return self._database.write(write)


def _user(row: tuple[Any, ...]) -> User:
    name, id_, grants, password, disabled, created, version = row
    return User(name, id_, read_grants(grants), password, bool(disabled), to_optional_instant(created), version)


def _token(row: tuple[Any, ...]) -> Token:
    id_, user, user_id, secret, created, about, expires, grants = row
    return Token(
        id_, user, user_id, secret, to_instant(created), about, to_optional_instant(expires), read_grants(grants)
    )
