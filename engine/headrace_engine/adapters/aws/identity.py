"""Users, tokens and counts of failed logins, in DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace_engine.adapters.aws.table import (
    ConditionFailedError,
    Item,
    Table,
    instant,
    key,
    number,
    optional_instant,
    optional_text,
    sort_text,
    text,
)
from headrace_engine.adapters.grants import read_grants, write_grants
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Token, User, UserChangedError

_USERS = "U#users"
_TOKENS = "U#tokens"

# Holds when there is no such user: this is the first write.
_FIRST = "attribute_not_exists(pk)"
# Holds unless somebody else wrote meanwhile, or deleted the user.
_UNCHANGED = "version = :version"


class DynamoIdentity:
    """`Identity` in *table*. A read of one costs a read unit, a write one write unit."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def user(self, name: str) -> User | None:
        """See `Identity.user`."""
        item = self._table.get(_USERS, name)
        return None if item is None else _user(item)

    def put_user(self, user: User) -> User:
        """See `Identity.put_user`."""
        written = replace(user, version=user.version + 1)
        writer = new_id()
        item: dict[str, Any] = {
            **key(_USERS, user.name),
            "id": text(user.id),
            "grants": text(write_grants(user.grants)),
            "password": text(user.password),
            "version": number(written.version),
            "writer": text(writer),
        }
        if user.disabled:
            item["disabled"] = {"BOOL": True}
        if user.created is not None:
            item["created"] = text(sort_text(user.created))
        condition, values = (_UNCHANGED, {":version": number(user.version)}) if user.version else (_FIRST, None)
        try:
            self._table.put(item, condition, values)
        except ConditionFailedError as refusal:
            # It is this call's own when its answer was lost and botocore sent it again.
            if refusal.stored is None or optional_text(refusal.stored, "writer") != writer:
                raise UserChangedError(user.name) from None
        return written

    def users(self) -> Sequence[User]:
        """See `Identity.users`."""
        return [_user(item) for item in self._table.query(_USERS)]

    def delete_user(self, name: str) -> bool:
        """See `Identity.delete_user`. False, too, for whom this call removed when its first answer was lost."""
        return self._table.delete(_USERS, name) is not None

    def token(self, token_id: str) -> Token | None:
        """See `Identity.token`."""
        item = self._table.get(_TOKENS, token_id)
        return None if item is None else _token(item)

    def put_token(self, token: Token) -> None:
        """See `Identity.put_token`. One that has expired goes by itself, some day."""
        item: dict[str, Any] = {
            **key(_TOKENS, token.id),
            "user": text(token.user),
            "userId": text(token.user_id),
            "secret": text(token.secret),
            "created": text(sort_text(token.created)),
            "about": text(token.about),
            "grants": text(write_grants(token.grants)),
        }
        if token.expires is not None:
            item |= {"expires": text(sort_text(token.expires)), "ttl": _ttl(token.expires)}
        self._table.put(item)

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """See `Identity.tokens`."""
        found = [_token(item) for item in self._table.query(_TOKENS)]
        return sorted(
            (token for token in found if user is None or token.user == user),
            key=lambda token: (token.created, token.id),
        )

    def delete_token(self, token_id: str) -> bool:
        """See `Identity.delete_token`. False, too, for what this call removed when its first answer was lost."""
        return self._table.delete(_TOKENS, token_id) is not None

    def tally(self, key: str, change: int, now: datetime, forget: datetime) -> int:
        """See `Identity.tally`. What botocore sends twice may count twice; DynamoDB removes a count some day."""
        values = {":change": number(change), ":now": text(sort_text(now))}
        names = {"#count": "count", "#ttl": "ttl"}
        new = {**values, ":forget": text(sort_text(forget)), ":ttl": _ttl(forget)}
        while True:
            try:
                item = self._table.update(
                    f"U#tally#{key}",
                    "T",
                    "ADD #count :change",
                    # Holds when somebody counted before, and it is not forgotten.
                    "forget >= :now",
                    values,
                    names={"#count": "count"},
                )
            except ConditionFailedError:
                try:
                    item = self._table.update(
                        f"U#tally#{key}",
                        "T",
                        "SET #count = :change, forget = :forget, #ttl = :ttl",
                        # Holds when nobody did, or it is.
                        "attribute_not_exists(pk) OR forget < :now",
                        new,
                        names=names,
                    )
                except ConditionFailedError:
                    continue  # somebody else began it in between
            return int(item["count"]["N"])


def _ttl(instant: datetime) -> dict[str, str]:
    return number(int(instant.timestamp()) + 1)


def _user(item: Item) -> User:
    return User(
        item["sk"]["S"],
        item["id"]["S"],
        read_grants(item["grants"]["S"]),
        item["password"]["S"],
        "disabled" in item,
        optional_instant(item, "created"),
        int(item["version"]["N"]),
    )


def _token(item: Item) -> Token:
    return Token(
        item["sk"]["S"],
        item["user"]["S"],
        item["userId"]["S"],
        item["secret"]["S"],
        instant(item["created"]["S"]),
        item["about"]["S"],
        optional_instant(item, "expires"),
        read_grants(item["grants"]["S"]),
    )
