"""Who somebody is, by what they show: a name and its password, or a token.

Nothing tells a name that is not there from a wrong password: not the answer, not the time it takes, not how often it
may be tried. Whoever fails is counted, by name and address, before anything is checked, so guesses that come at the
same time are counted, too; a success is taken off again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Self

from headrace_engine.identity import EVERYWHERE, Grant, Kind, Principal, Role, is_within
from headrace_engine.passwords import FOR_PASSWORDS, LONGEST_PASSWORD, Cost, Successes, is_right, make_hash
from headrace_engine.ports import Clock, Identity, Token, User

USER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
TOKEN: Final = re.compile(r"hr_(?P<id>[0-9A-Za-z]{22})_(?P<secret>[\w-]{43})", re.ASCII)


class NotAuthenticatedError(Exception):
    """Nobody who is known showed who they are. The text says nothing of why: it may be shown."""

    def __init__(self, name: str = "", *, counted: bool = False) -> None:
        super().__init__("Unauthorized")
        self.name = name
        """Whose password it was not, if there is somebody of that name: for the audit, not for who asks."""
        self.counted = counted
        """Whether something was shown that could have been right, and is counted as a failure."""


class TooManyFailuresError(Exception):
    """Nothing was looked at: too many attempts have failed."""

    def __init__(self, again_in: timedelta) -> None:
        super().__init__("Too many failed attempts")
        self.again_in = again_in


@dataclass(frozen=True, slots=True)
class Limits:
    """How many failures there may be in a window."""

    window: timedelta = timedelta(minutes=15)
    of_name_and_address: int = 10
    """One person who forgot their password."""
    of_address: int = 100
    """One network, whatever names it tries."""
    of_name: int = 300
    """One name, from wherever; its tokens go on."""


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """Somebody who may everything without being stored: who has the server's command line, or its stack's secret."""

    name: str
    password: Callable[[], str]
    """Asked for at the first attempt under the name."""
    always: bool = False
    """Whether this password is right even if a user of the name is stored; otherwise only that user's is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody may now who showed something before."""

    grants: tuple[Grant, ...]
    secret: str
    """What is stored of the password or the token's secret that is right now: another one when that is changed."""


class Authenticator:
    """Tells who asks by the ``Authorization`` header."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        *,
        first: FirstAdmin | None = None,
        limits: Limits = Limits(),
        cost: Cost = FOR_PASSWORDS,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._first = first
        self._limits = limits
        self._cost = cost
        self._first_hash: tuple[str, str] | None = None
        self._known = Successes(clock.now)

    def principal(self, authorization: str, client: str) -> Principal:
        """Return who shows this. Raises NotAuthenticatedError, TooManyFailuresError."""
        scheme, _, shown = authorization.strip().partition(" ")
        match scheme.lower():
            case "basic":
                return self.entering(*_basic(shown.strip()), client)
            case "bearer":
                return self._by_token(shown.strip(), client)
            case _:
                raise NotAuthenticatedError

    def entering(self, name: str, password: str, client: str) -> Principal:
        """Return who has this name and password. Raises NotAuthenticatedError, TooManyFailuresError."""
        if len(password.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
            raise NotAuthenticatedError
        # Where a program knows only basic auth, a token is taken as password, too.
        if TOKEN.fullmatch(password):
            return self._by_token(password, client)
        return self._by_password(name, password, client)

    def standing(self, name: str, token_id: str) -> Standing | None:
        """Return what somebody may who showed a password before, or a token; None when that counts no longer."""
        user = self._identity.user(name) if USER_NAME.fullmatch(name) else None
        if token_id:
            token = self._identity.token(token_id)
            if token is None or user is None or token.user != name or not self._is_valid(token, user):
                return None
            return Standing(narrowed(user.grants, token.grants), token.secret)
        first = self._first
        if first is not None and first.name == name and (first.always or user is None):
            password = first.password()
            return Standing((Grant(EVERYWHERE, Role.ADMIN),), f"first {password}") if password else None
        if user is None or user.disabled or not user.password:
            return None
        return Standing(user.grants, user.password)

    @cached_property
    def _nobody(self) -> str:
        """What is checked for a name that is not there; nothing is right for it."""
        return make_hash(secrets.token_urlsafe(), self._cost)

    # -- What is shown ------------------------------------------------------------------------------

    def _by_password(self, name: str, password: str, client: str) -> Principal:
        user = self._identity.user(name) if USER_NAME.fullmatch(name) else None
        stored, grants = self._right_password(name, user)
        if self._known.know(password, stored):
            return Principal(name, Kind.PASSWORD, grants)
        with self._counted(client, name) as attempt:
            if not is_right(password, stored):
                raise NotAuthenticatedError(name if stored is not self._nobody else "", counted=True)
            attempt.succeeded()
        self._known.keep(password, stored)
        return Principal(name, Kind.PASSWORD, grants)

    def _right_password(self, name: str, user: User | None) -> tuple[str, tuple[Grant, ...]]:
        """Return the hash of the password that is right for a name, and what comes with it."""
        first = self._first
        if first is not None and first.name == name and (first.always or user is None):
            return self._hash_of_first(first), (Grant(EVERYWHERE, Role.ADMIN),)
        if user is None or user.disabled or not user.password:
            return self._nobody, ()
        return user.password, user.grants

    def _hash_of_first(self, first: FirstAdmin) -> str:
        password = first.password()
        if not password:
            return self._nobody
        if self._first_hash is None or self._first_hash[0] != password:
            self._first_hash = password, make_hash(password, self._cost)
        return self._first_hash[1]

    def _by_token(self, shown: str, client: str) -> Principal:
        written = TOKEN.fullmatch(shown)
        token = self._identity.token(written["id"]) if written is not None else None
        user = self._identity.user(token.user) if token is not None else None
        # An id is random: whether there is a token with it may be told by the time it takes.
        if written is None or token is None or user is None or not self._is_valid(token, user):
            with self._counted(client):
                raise NotAuthenticatedError(counted=True)
        if not self._known.know(written["secret"], token.secret):
            with self._counted(client) as attempt:
                if not is_right(written["secret"], token.secret):
                    raise NotAuthenticatedError(user.name, counted=True)
                attempt.succeeded()
            self._known.keep(written["secret"], token.secret)
        return Principal(user.name, Kind.TOKEN, narrowed(user.grants, token.grants), token.id)

    def _is_valid(self, token: Token, user: User) -> bool:
        expired = token.expires is not None and token.expires <= self._clock.now()
        return not (expired or user.disabled or user.id != token.user_id)

    # -- How often it may fail ----------------------------------------------------------------------

    def _counted(self, client: str, name: str = "") -> _Attempt:
        limits = self._limits
        address = _network(client)
        counts = [(f"address {address}", limits.of_address)]
        if name:
            counts = [(f"both {address} {name}", limits.of_name_and_address), *counts, (f"name {name}", limits.of_name)]
        return _Attempt(self._identity, self._clock.now(), limits.window, counts)


class _Attempt:
    """One attempt to show who one is, counted as failed until it succeeds."""

    def __init__(self, identity: Identity, now: datetime, window: timedelta, counts: Sequence[tuple[str, int]]) -> None:
        self._identity = identity
        self._now = now
        self._began = datetime.fromtimestamp(now.timestamp() // window.total_seconds() * window.total_seconds(), UTC)
        self._end = self._began + window
        self._counts = counts

    def __enter__(self) -> Self:
        for name, limit in self._counts:
            if self._add(name, 1) > limit:
                raise TooManyFailuresError(self._end - self._now)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Leave the counts as they are."""

    def succeeded(self) -> None:
        """Count it no longer."""
        for name, _ in self._counts:
            self._add(name, -1)

    def _add(self, name: str, change: int) -> int:
        # Only a digest is kept: what was given as a name may be a password in the wrong field.
        key = hashlib.sha256(f"{self._began.isoformat()} {name}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._identity.tally(key, change, self._now, self._end)


def _basic(shown: str) -> tuple[str, str]:
    """Return the name and the password of basic credentials. Raises NotAuthenticatedError when they are none."""
    try:
        name, colon, password = base64.b64decode(shown, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise NotAuthenticatedError from None
    if not colon:
        raise NotAuthenticatedError
    return name, password


def _network(client: str) -> str:
    """Return what of an address one person has: of IPv6 the first 64 bits."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def narrowed(own: Sequence[Grant], to: Sequence[Grant]) -> tuple[Grant, ...]:
    """Return what both allow; all of *own* when *to* is empty."""
    if not to:
        return tuple(own)
    found: dict[Grant, None] = {}
    for mine in own:
        for theirs in to:
            if is_within(mine.namespace, theirs.namespace) or is_within(theirs.namespace, mine.namespace):
                namespace = max(mine.namespace, theirs.namespace, key=len)
                role = min(mine.role, theirs.role, key=lambda role: role.rank)
                found[Grant(namespace, role)] = None
    return tuple(found)
