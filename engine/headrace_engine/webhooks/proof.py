"""What shows that a call comes from whom its trigger expects: a signature, a token. Pure; compared in constant time.

Everything is checked on the raw bytes of the body and before anything exists. Whatever is wrong, the caller hears
the same; what it was is for the log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from headrace_engine.model.frozen import dataclass

_MILLISECONDS_FROM = 100_000_000_000
"""A timestamp of this many seconds would be of the year 5138: it counts milliseconds."""
_SIGNATURES = 10
"""How many signatures of a header are looked at; a sender has two while it changes its secret."""


class UnauthorizedError(Exception):
    """The call does not show that it comes from whom the trigger expects; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a call brings, as it came."""

    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    def header(self, name: str) -> str:
        """Return a header. Raises UnauthorizedError without it."""
        value = self.headers.get(name.lower(), "").strip()
        if not value:
            raise UnauthorizedError(f"there is no header `{name}`")
        return value


@dataclass(frozen=True, slots=True)
class Proof:
    """How a call was proved to be right."""

    once: bytes = b""
    """What must not be taken a second time; empty when the same proof may serve many calls."""
    keep: timedelta = timedelta(0)
    """How long it must be remembered."""
    claims: Mapping[str, Any] | None = None
    """What a JWT says."""


class Check(Protocol):
    """Checks calls."""

    @property
    def hidden(self) -> frozenset[str]:
        """The headers, by lower-case name, that hold a secret: the flow is not given them."""

    def __call__(self, sent: Sent, now: datetime) -> Proof:
        """Return the proof. Raises UnauthorizedError."""


# -- Signatures -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signed:
    """A header holds the HMAC of the body, or of something around it."""

    secrets: tuple[bytes, ...]
    """Any of them will do: two while a secret is being changed."""
    header: str
    algorithm: str = "sha256"
    prefix: str = ""
    encoding: str = "hex"
    timestamp_header: str | None = None
    signed: str = "{body}"
    """What is signed, with `{timestamp}` and `{body}`."""
    tolerance: timedelta = timedelta(minutes=5)
    """How far the timestamp may be from now."""
    replay_window: timedelta = timedelta(days=1)
    """How long a signature without a timestamp is taken once only."""

    @property
    def hidden(self) -> frozenset[str]:
        """See Check: a signature is no secret."""
        return frozenset()

    def __call__(self, sent: Sent, now: datetime) -> Proof:
        """See Check."""
        given = sent.header(self.header)
        if not given.startswith(self.prefix):
            raise UnauthorizedError(f"the signature does not begin with `{self.prefix}`")
        keep, timestamp = self.replay_window, ""
        if self.timestamp_header is not None:
            timestamp = sent.header(self.timestamp_header)
            keep = remembered(timestamp, self.tolerance, now)
        signatures = [_decoded(given.removeprefix(self.prefix), self.encoding)]
        return Proof(_signature(self, signatures, timestamp, sent.body), keep)


@dataclass(frozen=True, slots=True)
class StripeSigned:
    """Stripe's header: ``t=<seconds>,v1=<hex>``, `v1` perhaps twice; signed is ``<t>.<body>``."""

    secrets: tuple[bytes, ...]
    tolerance: timedelta = timedelta(minutes=5)

    header = "stripe-signature"
    signed = "{timestamp}.{body}"
    algorithm = "sha256"

    @property
    def hidden(self) -> frozenset[str]:
        """See Check."""
        return frozenset()

    def __call__(self, sent: Sent, now: datetime) -> Proof:
        """See Check."""
        parts = [part.strip().partition("=") for part in sent.header(self.header).split(",")]
        timestamps = [value for name, _, value in parts if name == "t"]
        found = [_decoded(value, "hex") for name, _, value in parts if name == "v1"][:_SIGNATURES]
        if len(timestamps) != 1 or not found:
            raise UnauthorizedError("the header `Stripe-Signature` holds no `t` and `v1`")
        keep = remembered(timestamps[0], self.tolerance, now)
        return Proof(_signature(self, found, timestamps[0], sent.body), keep)


class _Recipe(Protocol):
    """How something is signed."""

    @property
    def secrets(self) -> tuple[bytes, ...]: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def signed(self) -> str: ...


def _signature(recipe: _Recipe, given: Sequence[bytes], timestamp: str, body: bytes) -> bytes:
    """Return the right signature, if one of *given* is it. Raises UnauthorizedError."""
    text = message(recipe.signed, timestamp, body)
    right = b""
    for secret in recipe.secrets:
        expected = hmac.digest(secret, text, recipe.algorithm)
        for signature in given:  # all of them, so that the time taken says nothing
            if hmac.compare_digest(signature, expected):
                right = expected
    if not right:
        raise UnauthorizedError("the signature is wrong")
    return right


def message(signed: str, timestamp: str, body: bytes) -> bytes:
    """Return what is signed: *signed* with `{timestamp}` and `{body}` filled in."""
    values = {"{timestamp}": timestamp.encode(), "{body}": body}
    pieces = re.split(r"(\{timestamp\}|\{body\})", signed)
    return b"".join(values.get(piece, piece.encode()) for piece in pieces)


def _decoded(text: str, encoding: str) -> bytes:
    """Return the bytes of a signature; of one that is none, bytes that are no signature."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def remembered(timestamp: str, tolerance: timedelta, now: datetime) -> timedelta:
    """Return how long a call of that time would still be taken. Raises UnauthorizedError when it is not now."""
    sent = _instant(timestamp)
    if sent is None:
        raise UnauthorizedError(f"`{timestamp[:40]}` is no timestamp")
    if abs(now - sent) > tolerance:
        raise UnauthorizedError(f"the timestamp is of {sent.isoformat()}, more than {tolerance} from now")
    return sent + tolerance - now + timedelta(seconds=1)


def _instant(text: str) -> datetime | None:
    """Return the instant of seconds or milliseconds since 1970, or of ISO-8601 with an offset."""
    try:
        if text.isascii() and text.isdecimal():
            number = int(text[:18])
            return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo is not None else None


# -- Tokens -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """A header holds a secret that both sides know: a bearer token, an API key, GitLab's token."""

    secrets: tuple[bytes, ...]
    header: str
    scheme: str = ""
    """What stands before it: ``Bearer``."""

    @property
    def hidden(self) -> frozenset[str]:
        """See Check."""
        return frozenset({self.header.lower()})

    def __call__(self, sent: Sent, now: datetime) -> Proof:  # noqa: ARG002 - Check's own
        """See Check."""
        given = sent.header(self.header)
        if self.scheme:
            given = without_scheme(given, self.scheme)
        if not is_one_of(given.encode(), self.secrets):
            raise UnauthorizedError("the token is wrong")
        return Proof()


def without_scheme(given: str, scheme: str) -> str:
    """Return what follows *scheme* in a header. Raises UnauthorizedError when it is another."""
    found, _, token = given.partition(" ")
    if found.lower() != scheme.lower() or not token.strip():
        raise UnauthorizedError(f"the header holds no `{scheme}` token")
    return token.strip()


def is_one_of(given: bytes, secrets: Iterable[bytes]) -> bool:
    """Return whether *given* is one of *secrets*, in a time that says nothing of them, not even their length."""
    digest = hashlib.sha256(given).digest()
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(digest, hashlib.sha256(secret).digest())
    return found
