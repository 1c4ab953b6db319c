"""Who may say what to an execution (DESIGN §6): messages are signed, and what is not signed is refused.

The platform's functions share keys and sign any message with the newest. `script` and containers, where people's code
runs, have no key: each attempt gets a token, which signs the report of that attempt and nothing else. The token follows
from a key, the execution, the task run and the attempt, so nothing is stored and a re-issue hands out the same one.

To rotate, add a key under the next number; who meets a number it does not know reads the keys again. Drop the old one
when no message, job or container of its time is left (the queues keep messages 14 days).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, Self

import msgspec

from headrace_engine.core.codec import decode_message
from headrace_engine.core.messages import AttemptReported
from headrace_engine.model.attempt import Stored
from headrace_engine.ports import AttemptId, Clock, PortError

_KEY_BYTES = 32
_REPORT_LIMIT = 8 * 1024 * 1024
_PLATFORM, _ATTEMPT = "platform", "attempt"


class ForgedError(Exception):
    """A message was not signed by whom it says. Its text is for the audit: it shows what was tried, and no content."""

    def __init__(self, reason: str, execution_id: str, claimed: str = "") -> None:
        what = f" as {claimed}" if claimed else ""
        super().__init__(f"A message to execution {execution_id}, signed{what}, was refused: {reason}")
        self.reason = reason
        self.execution_id = execution_id
        self.claimed = claimed
        """Who the signature says it is of: the platform, or an attempt."""


class Keyring:
    """The platform's keys by number; the highest is the newest and signs, all are accepted."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys:
            raise PortError("There is no key to sign messages with")
        for number, key in keys.items():
            if len(key) < _KEY_BYTES:
                raise PortError(f"Signing key {number} has {len(key)} bytes; it needs {_KEY_BYTES}")
        self._keys = dict(keys)
        self.newest = max(keys)
        self.oldest = min(keys)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the keyring a secret holds: JSON, ``{"1": "<at least 32 characters>", "2": …}``.

        Raises PortError, which does not show the text.
        """
        try:
            keys = msgspec.json.decode(text, type=dict[str, str])
            return cls({int(number): key.encode() for number, key in keys.items()})
        except (msgspec.DecodeError, ValueError):
            raise PortError('The signing keys are not JSON of the form {"1": "key", "2": "newer key"}') from None

    def key(self, number: str) -> bytes | None:
        """Return the key of that number, if it is accepted."""
        return self._keys.get(int(number)) if number.isascii() and number.isdecimal() and len(number) < 10 else None


class StoredKeyring:
    """The keyring as *read* returns its text; read when first asked for, and later at most once in *pause*."""

    def __init__(self, read: Callable[[], str], clock: Clock, pause: timedelta = timedelta(minutes=1)) -> None:
        self._read = read
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._known: tuple[datetime, Keyring] | None = None

    def current(self) -> Keyring:
        """Return the keyring as it was last read."""
        with self._lock:
            return self._known[1] if self._known is not None else self._fresh()

    def again(self) -> Keyring:
        """Return the keyring, read again unless that was just done."""
        with self._lock:
            if self._known is not None and self._clock.now() - self._known[0] < self._pause:
                return self._known[1]
            return self._fresh()

    def _fresh(self) -> Keyring:
        self._known = (self._clock.now(), Keyring.from_text(self._read()))
        return self._known[1]


class Signer(Protocol):
    """Signs messages."""

    can_store: bool
    """Whether a message of this signer may be kept elsewhere, the queue holding only its digest."""

    def sign(self, execution_id: str, message: bytes) -> str:
        """Return the signature of *message* to the execution."""


class PlatformSigner:
    """Signs any message."""

    can_store = True

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sign(self, execution_id: str, message: bytes) -> str:
        """See `Signer.sign`."""
        number = str(self._keyring.newest)
        return f"{_PLATFORM}.{number}.{_platform_mac(self._keyring, number, execution_id, _digest(message))}"


class AttemptSigner:
    """Signs the report of the one attempt that *token* was made for."""

    can_store = False

    def __init__(self, attempt: AttemptId, token: str) -> None:
        self._attempt = attempt
        self._number, _, self._key = token.partition(".")

    def sign(self, execution_id: str, message: bytes) -> str:
        """See `Signer.sign`."""
        mac = _mac(_decoded(self._key), "report", execution_id, _digest(message))
        return f"{_ATTEMPT}.{self._number}.{self._attempt.task_run_id}.{self._attempt.number}.{mac}"


class Verifier:
    """Tells signed messages from forged ones. Keys it does not know it looks for in what *reload* returns."""

    def __init__(self, keyring: Keyring, reload: Callable[[], Keyring] | None = None) -> None:
        self._keyring = keyring
        self._reload = reload

    def verify(self, execution_id: str, message: bytes, signature: str) -> None:
        """Return when who signed *message* may send it to the execution. Raises ForgedError."""
        if signature.startswith(f"{_ATTEMPT}."):
            self._verify_report(execution_id, message, signature)
        else:
            self.verify_digest(execution_id, _digest(message), signature)

    def verify_digest(self, execution_id: str, digest: str, signature: str) -> None:
        """Return when the platform signed a message with this SHA-256 *digest*. Raises ForgedError."""
        match signature.split("."):
            case [by, number, mac] if by == _PLATFORM:
                self._find_key(number, execution_id, _PLATFORM)
                if not _same(mac, _platform_mac(self._keyring, number, execution_id, digest)):
                    raise ForgedError("the signature is not the platform's", execution_id, _PLATFORM)
            case _:
                raise ForgedError("it has no signature", execution_id)

    def _find_key(self, number: str, execution_id: str, claimed: str) -> None:
        """Know the key of that number from here on. Raises ForgedError when there is none."""
        if self._keyring.key(number) is None and self._reload is not None:
            self._keyring = self._reload()
        if self._keyring.key(number) is None:
            raise ForgedError(f"no key {number} is accepted", execution_id, claimed)

    def _verify_report(self, execution_id: str, message: bytes, signature: str) -> None:
        match signature.split("."):
            case [_, number, task_run_id, ordinal, mac] if ordinal.isascii() and ordinal.isdecimal():
                attempt = AttemptId(execution_id, task_run_id, int(ordinal[:9]))
            case _:
                raise ForgedError("it has no signature", execution_id)
        claimed = f"attempt {attempt.number} of task run {task_run_id}"
        self._find_key(number, execution_id, claimed)
        token = _attempt_key(self._keyring, number, attempt)
        # Before anything is decoded: only who holds a token gets its bytes looked at.
        if not _same(mac, _mac(_decoded(token), "report", execution_id, _digest(message))):
            raise ForgedError("the signature is not this attempt's", execution_id, claimed)
        refusal = beyond_report(attempt, message)
        if refusal:
            raise ForgedError(refusal, execution_id, claimed)


def attempt_token(keyring: Keyring, attempt: AttemptId) -> str:
    """Return what lets its holder report *attempt*, and nothing else."""
    number = str(keyring.newest)
    return f"{number}.{_attempt_key(keyring, number, attempt)}"


def is_token_of(keyring: Keyring, attempt: AttemptId, token: str) -> bool:
    """Return whether *token* was made for *attempt*, with a key that is still accepted."""
    number, _, given = token.partition(".")
    # With no such key, compared all the same: how long it takes tells nothing.
    right = _attempt_key(keyring, number, attempt)
    return _same(given, right) and keyring.key(number) is not None


def beyond_report(attempt: AttemptId, data: bytes) -> str:
    """Return what in an encoded message goes beyond a report of *attempt*; empty when nothing does."""
    if _expands(data):
        return "it is too large"
    try:
        message = decode_message(data)
    except Exception as error:  # noqa: BLE001 - bytes of somebody else's making: whatever is wrong with them
        return f"it is not a message of Headrace ({type(error).__name__})"
    if not isinstance(message, AttemptReported):
        return f"an attempt may not send {type(message).__name__}"
    if (message.task_run_id, message.number) != (attempt.task_run_id, attempt.number):
        return f"it reports attempt {message.number} of task run {message.task_run_id}"
    if message.finder is not None:
        return "an attempt may not speak as an executor"
    if message.result.change is not None:
        return "an attempt may not change its execution"
    outputs = message.result.outputs
    # The executor reads stored outputs with its own rights: they must be this execution's.
    if isinstance(outputs, Stored) and f"/executions/{attempt.execution_id}/" not in outputs.uri:
        return "its outputs are a file of another execution"
    return ""


def _expands(data: bytes) -> bool:
    """Return whether a compressed message would fill the memory of who reads it."""
    try:
        return len(zlib.decompressobj().decompress(data[1:], _REPORT_LIMIT + 1)) > _REPORT_LIMIT
    except zlib.error:
        return False  # not compressed: as large as it is


def _digest(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()


def _platform_mac(keyring: Keyring, number: str, execution_id: str, digest: str) -> str:
    return _mac(keyring.key(number) or b"", "message", execution_id, digest)


def _attempt_key(keyring: Keyring, number: str, attempt: AttemptId) -> str:
    key = keyring.key(number) or b""
    return _mac(key, "attempt", attempt.execution_id, attempt.task_run_id, str(attempt.number))


def _mac(key: bytes, *parts: str) -> str:
    """Return the HMAC-SHA256 of *parts*; each tells its length, so that no two lists of parts read the same."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        encoded = part.encode()
        mac.update(len(encoded).to_bytes(8, "big") + encoded)
    return base64.urlsafe_b64encode(mac.digest()).decode().rstrip("=")


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise PortError("The attempt's token is not one") from None
