"""Sessions: what a browser shows after somebody signed in, instead of a password with every request.

A session is signed, so nobody makes one up; and stored, as a token that opens nothing by itself, so it can be ended:
by whoever signed in, and by what ends a token. It counts no longer than what it was begun with: a password that is
changed, a token that is deleted, or a user who is disabled ends it, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from headrace_engine.authentication import Authenticator
from headrace_engine.identity import Kind, Principal
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.ports import KV, Cipher, Clock, Identity, KeyExistsError, PortError, Token

LASTS = timedelta(hours=8)
"""Until somebody has to sign in again, whatever they do."""
SESSION = "session"
"""In place of a secret's hash: no secret is right for it."""
NAMESPACE = "_sessions"
"""Where the key lies; no flow can have this namespace."""
_KEY = "=key"
_KEY_BYTES = 32
_SEALED = b"\xffsessions\x00"
"""What is sealed begins so, and no text that somebody had sealed does: this is not UTF-8."""
_LONGEST = 1000


class _Said(msgspec.Struct, frozen=True, array_like=True):
    """What a session says of itself."""

    id: str
    user: str
    token: str
    """The token that it was begun with; empty for a password."""
    mark: str
    """Of the password, or the token's secret, that was right."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session, as a browser shows it."""

    text: str
    expires: datetime


class Sessions:
    """The sessions of people whom *knows* knows, signed with *key*."""

    def __init__(self, identity: Identity, clock: Clock, knows: Authenticator, key: Callable[[], bytes]) -> None:
        self._identity = identity
        self._clock = clock
        self._knows = knows
        self._key = key

    def begin(self, principal: Principal, client: str) -> Begun:
        """Begin a session of somebody who has just shown a password or a token."""
        standing = self._knows.standing(principal.name, principal.token)
        if standing is None:
            raise ValueError(f"{principal.name} showed nothing that a session can be begun with")
        now = self._clock.now()
        user = self._identity.user(principal.name)
        record = Token(
            id=new_id(),
            user=principal.name,
            user_id=user.id if user is not None else "",
            secret=SESSION,
            created=now,
            about=f"Signed in from {client}"[:200],
            expires=now + LASTS,
        )
        self._identity.put_token(record)
        said = msgspec.json.encode(_Said(record.id, principal.name, principal.token, self._mark(standing.secret)))
        return Begun(f"{_text(said)}.{_text(self._mac(b'session', said))}", now + LASTS)

    def principal(self, text: str) -> Principal | None:
        """Return whose session this is; None when it is none, or none any more."""
        said = self._read(text)
        record = self._identity.token(said.id) if said is not None else None
        if said is None or record is None or record.expires is None or record.expires <= self._clock.now():
            return None
        standing = self._knows.standing(said.user, said.token)
        if standing is None or not hmac.compare_digest(self._mark(standing.secret), said.mark):
            return None
        return Principal(said.user, Kind.SESSION, standing.grants, said.token)

    def end(self, text: str) -> str:
        """End a session; return whose it was, if it was one."""
        said = self._read(text)
        return said.user if said is not None and self._identity.delete_token(said.id) else ""

    def _read(self, text: str) -> _Said | None:
        """Return what a session says that we signed."""
        said, dot, mac = text.partition(".")
        if not dot or len(text) > _LONGEST:
            return None
        try:
            plain = _bytes(said)
            if not hmac.compare_digest(_bytes(mac), self._mac(b"session", plain)):
                return None
            return msgspec.json.decode(plain, type=_Said)
        except (ValueError, binascii.Error):
            return None

    def _mark(self, secret: str) -> str:
        return _text(self._mac(b"mark", secret.encode("utf-8", "surrogatepass"))[:16])

    def _mac(self, what: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key(), what + b"\x00" + data, hashlib.sha256)


def forget_expired(identity: Identity, now: datetime) -> None:
    """Remove the sessions that are over, where no store does by itself."""
    for token in identity.tokens():
        if token.secret == SESSION and token.expires is not None and token.expires <= now:
            identity.delete_token(token.id)


def passing_key() -> Callable[[], bytes]:
    """Return a key that lasts as long as this process."""
    key = os.urandom(_KEY_BYTES)
    return lambda: key


class StoredKey:
    """A key that all processes of a stack share: sealed in the store, made when it is first asked for.

    Whoever can write the store can end all sessions by removing it, and begin none.
    """

    def __init__(self, kv: KV, cipher: Cipher, clock: Clock) -> None:
        self._kv = kv
        self._cipher = cipher
        self._clock = clock
        self._lock = threading.Lock()
        self._known: bytes | None = None

    def __call__(self) -> bytes:
        """Return the key. Raises PortError."""
        with self._lock:
            if self._known is None:
                self._known = self._stored() or self._made()
            return self._known

    def _stored(self) -> bytes | None:
        entry = self._kv.get(NAMESPACE, _KEY)
        if entry is None:
            return None
        opened = self._cipher.open(str(entry.value))
        if not opened.startswith(_SEALED) or len(opened) != len(_SEALED) + _KEY_BYTES:
            raise PortError("The key of the sessions is not one that was made for them")
        return opened[len(_SEALED) :]

    def _made(self) -> bytes:
        key = os.urandom(_KEY_BYTES)
        sealed = self._cipher.seal(_SEALED + key)
        try:
            self._kv.put(NAMESPACE, _KEY, "STRING", sealed, now=self._clock.now(), overwrite=False)
        except KeyExistsError:  # by another process, at the same time
            return self._stored() or key
        return key


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
