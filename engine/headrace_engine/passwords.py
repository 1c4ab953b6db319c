"""Hashes of passwords and of tokens' secrets, and how one is checked.

A hash is text that says how it was made: ``scrypt$<log2 n>$<r>$<p>$<salt>$<hash>``, so costs can be raised later and
hashes of before still be checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from headrace_engine.model.frozen import dataclass

_SALT_BYTES = 16
_KEY_BYTES = 32
_LARGEST_LOG_N = 20
_MOST_MEMORY = 64 * 1024 * 1024
LONGEST_PASSWORD = 1024
"""Bytes; what is longer is not even looked at."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What making one hash costs: 128 · r · 2^log_n bytes, and time that grows with p as well."""

    log_n: int
    r: int = 8
    p: int = 1


FOR_PASSWORDS = Cost(14, p=5)
"""What OWASP recommends with 16 MiB: about 0.2 seconds."""
FOR_TOKENS = Cost(14)
"""Their secrets are 256 random bits: nobody guesses one, however cheap a guess is."""


def make_hash(secret: str, cost: Cost) -> str:
    """Return the hash of *secret*, another one each time."""
    salt = os.urandom(_SALT_BYTES)
    return f"scrypt${cost.log_n}${cost.r}${cost.p}${_text(salt)}${_text(_key(secret, salt, cost))}"


def is_right(secret: str, stored: str) -> bool:
    """Return whether *stored* is the hash of *secret*; it takes as long either way. False for what is no hash."""
    match stored.split("$"):
        case ["scrypt", log_n, r, p, salt, key]:
            try:
                cost = Cost(int(log_n), int(r), int(p))
                if not 0 < cost.log_n <= _LARGEST_LOG_N:
                    return False
                found = _key(secret, _bytes(salt), cost)
                return hmac.compare_digest(found, _bytes(key))
            except (ValueError, OverflowError, binascii.Error):
                return False
        case _:
            return False


def _key(secret: str, salt: bytes, cost: Cost) -> bytes:
    return hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=2**cost.log_n,
        r=cost.r,
        p=cost.p,
        maxmem=_MOST_MEMORY,
        dklen=_KEY_BYTES,
    )


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Successes:
    """Secrets that were right a moment ago, so that a program's every request does not cost a hash.

    It holds no secret: only a MAC of secret and stored hash, with a key of this process. So a hash that was replaced
    is checked anew at once.
    """

    def __init__(
        self, now: Callable[[], datetime], lifetime: timedelta = timedelta(minutes=1), most: int = 1024
    ) -> None:
        self._now = now
        self._lifetime = lifetime
        self._most = most
        self._key = os.urandom(_KEY_BYTES)
        self._lock = threading.Lock()
        self._until: OrderedDict[bytes, datetime] = OrderedDict()

    def know(self, secret: str, stored: str) -> bool:
        """Return whether *secret* was found right for *stored* within the lifetime."""
        mac = self._mac(secret, stored)
        with self._lock:
            until = self._until.get(mac)
            if until is None:
                return False
            if until <= self._now():
                del self._until[mac]
                return False
            return True

    def keep(self, secret: str, stored: str) -> None:
        """Know this one for the lifetime; of too many the oldest is forgotten."""
        mac = self._mac(secret, stored)
        with self._lock:
            self._until[mac] = self._now() + self._lifetime
            self._until.move_to_end(mac)
            while len(self._until) > self._most:
                self._until.popitem(last=False)

    def _mac(self, secret: str, stored: str) -> bytes:
        both = f"{len(stored)}:{stored}{secret}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, both, hashlib.sha256).digest()
