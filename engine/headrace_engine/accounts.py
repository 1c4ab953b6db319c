"""Users and their tokens, as admins and people themselves change them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from headrace_engine.authentication import USER_NAME
from headrace_engine.identity import EVERYWHERE, Grant, Role
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.passwords import FOR_PASSWORDS, FOR_TOKENS, LONGEST_PASSWORD, Cost, is_right, make_hash
from headrace_engine.ports import Clock, Identity, NotFoundError, Token, User, UserChangedError

_LEAST_PASSWORD = 10
_LONGEST_ABOUT = 200


class AccountError(ValueError):
    """What is asked for cannot be; the text says why, and what can."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token, and what its holder shows: this is never to be had again."""

    token: Token
    shown: str


class Accounts:
    """Changes users and tokens. *first* is the name of an admin who is not stored, and stands in no user's way.

    Of a server that *is_open* until there is a user, the first one is an admin: there must be one afterwards.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        *,
        first: str = "",
        cost: Cost = FOR_PASSWORDS,
        is_open: Callable[[], bool] = lambda: False,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._first = first
        self._cost = cost
        self._is_open = is_open

    def all(self) -> Sequence[User]:
        """Return the users, by name."""
        return self._identity.users()

    def get(self, name: str) -> User:
        """Return a user. Raises NotFoundError."""
        user = self._identity.user(name)
        if user is None:
            raise NotFoundError(f"User {name}")
        return user

    def add(self, name: str, grants: Sequence[Grant], password: str = "") -> User:
        """Make a user; without a password only tokens let them in. Raises AccountError."""
        if not USER_NAME.fullmatch(name):
            raise AccountError(
                f"`{name}` is no name for a user: letters, digits and . _ @ + -, the first one a letter or digit, "
                "128 at most"
            )
        if self._is_open() and not (password and Grant(EVERYWHERE, Role.ADMIN) in grants):
            raise AccountError(
                "The first user of a server that is open is an admin everywhere, with a password: "
                "from then on it asks everybody who they are"
            )
        user = User(name, new_id(), tuple(grants), self._hash(password) if password else "", created=self._clock.now())
        try:
            return self._identity.put_user(user)
        except UserChangedError:
            raise AccountError(f"There is a user {name} already") from None

    def change(
        self,
        name: str,
        *,
        grants: Sequence[Grant] | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change what is given. Raises NotFoundError, AccountError, UserChangedError (somebody else did meanwhile)."""
        user = self.get(name)
        if grants is not None:
            user = replace(user, grants=tuple(grants))
        if password is not None:
            user = replace(user, password=self._hash(password) if password else "")
        if disabled is not None:
            user = replace(user, disabled=disabled)
        return self._identity.put_user(user)

    def change_own_password(self, name: str, old: str, new: str) -> User:
        """Set a password for who knows the one before. Raises NotFoundError, AccountError, UserChangedError."""
        if not is_right(old, self.get(name).password):
            raise AccountError("The password you have is not the one you gave")
        if not new:
            raise AccountError("The new password is empty")
        return self.change(name, password=new)

    def delete(self, name: str) -> None:
        """Remove a user and their tokens. Raises NotFoundError, AccountError."""
        if name == self._first:
            # Without this one in the store, the password that the server was given would count again.
            raise AccountError(f"{name} is the server's first admin: disable the user instead")
        for token in self._identity.tokens(name):
            self._identity.delete_token(token.id)
        if not self._identity.delete_user(name):
            raise NotFoundError(f"User {name}")

    def tokens(self, name: str) -> Sequence[Token]:
        """Return a user's tokens, the oldest first. Raises NotFoundError."""
        user = self.get(name)
        return [token for token in self._identity.tokens(name) if token.user_id == user.id]

    def add_token(
        self, name: str, *, about: str = "", lifetime: timedelta | None = None, grants: Sequence[Grant] = ()
    ) -> NewToken:
        """Make a token of a user, narrowed to *grants* if there are any. Raises NotFoundError, AccountError."""
        user = self.get(name)
        if len(about) > _LONGEST_ABOUT:
            raise AccountError(f"What a token is for is said in {_LONGEST_ABOUT} characters at most")
        if lifetime is not None and lifetime <= timedelta():
            raise AccountError("A token lives longer than no time")
        now = self._clock.now()
        try:
            expires = now + lifetime if lifetime is not None else None
        except OverflowError:
            raise AccountError("A token that lives so long needs no end") from None
        secret = secrets.token_urlsafe(32)
        hashed = make_hash(secret, replace(FOR_TOKENS, log_n=min(FOR_TOKENS.log_n, self._cost.log_n)))
        token = Token(new_id(), name, user.id, hashed, now, about, expires, tuple(grants))
        self._identity.put_token(token)
        return NewToken(token, f"hr_{token.id}_{secret}")

    def delete_token(self, name: str, token_id: str) -> None:
        """Remove a user's token; it is worth nothing from now on. Raises NotFoundError."""
        token = self._identity.token(token_id)
        if token is None or token.user != name:
            raise NotFoundError(f"Token {token_id} of user {name}")
        self._identity.delete_token(token_id)

    def _hash(self, password: str) -> str:
        if len(password) < _LEAST_PASSWORD or len(password.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
            raise AccountError(
                f"A password has {_LEAST_PASSWORD} characters at least and {LONGEST_PASSWORD} bytes at most"
            )
        return make_hash(password, self._cost)
