"""Sealing with AES-256-GCM under data keys of KMS.

A process asks KMS for one data key and seals with it; the key travels, encrypted by KMS, with each text it sealed, so
that any process which may use the KMS key opens it. Opening asks KMS once for each data key it meets. A sealed text is
base64 of: a format byte, the length and the bytes of the encrypted data key, a nonce of 12 bytes, the encrypted text.
All before the nonce, and the context, is authenticated: nothing sealed in one stack opens in another.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.ports import ContentError

if TYPE_CHECKING:
    from mypy_boto3_kms.client import KMSClient

_FORMAT = b"\x01"
_LENGTH_BYTES = 2
_NONCE_BYTES = 12
_CACHED = 256
_REFUSAL = "A sealed value was changed, or sealed with another key"
# What KMS answers to a data key that it did not encrypt with this key in this context.
_REFUSED = ("InvalidCiphertextException", "IncorrectKeyException")


class KmsCipher:
    """`Cipher` with the KMS key *key_id*, bound to *context* (the stack's name, say)."""

    def __init__(self, kms: KMSClient, key_id: str, context: Mapping[str, str]) -> None:
        self._kms = kms
        self._key_id = key_id
        self._context = dict(context)
        self._lock = threading.Lock()
        self._own: tuple[bytes, bytes] | None = None
        """The data key this process seals with: in clear, and encrypted."""
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        """Data keys met while opening, by their encrypted form."""

    def seal(self, plain: bytes) -> str:
        """See `Cipher.seal`."""
        key, encrypted = self._sealing_key()
        header = _FORMAT + len(encrypted).to_bytes(_LENGTH_BYTES, "big") + encrypted
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(header + nonce + self._encrypt(key, nonce, plain, header)).decode()

    def open(self, sealed: str) -> bytes:
        """See `Cipher.open`."""
        header, encrypted, nonce, text = _parts(sealed)
        return self._decrypt(self._opening_key(encrypted), nonce, text, header)

    def _sealing_key(self) -> tuple[bytes, bytes]:
        with self._lock:
            if self._own is None:
                with calling("KMS", "GenerateDataKey"):
                    answer = self._kms.generate_data_key(
                        KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=self._context
                    )
                self._own = (answer["Plaintext"], answer["CiphertextBlob"])
                self._remember(answer["CiphertextBlob"], answer["Plaintext"])
            return self._own

    def _opening_key(self, encrypted: bytes) -> bytes:
        with self._lock:
            if encrypted in self._known:
                self._known.move_to_end(encrypted)
                return self._known[encrypted]
        try:
            with calling("KMS", "Decrypt"):
                # The key is named, so that nobody's own KMS key can stand in for it.
                key = self._kms.decrypt(CiphertextBlob=encrypted, KeyId=self._key_id, EncryptionContext=self._context)[
                    "Plaintext"
                ]
        except AwsError as error:
            if error.code in _REFUSED:
                raise ContentError(f"{_REFUSAL} ({error.code})") from None
            raise
        with self._lock:
            self._remember(encrypted, key)
        return key

    def _remember(self, encrypted: bytes, key: bytes) -> None:
        self._known[encrypted] = key
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)

    def _encrypt(self, key: bytes, nonce: bytes, plain: bytes, header: bytes) -> bytes:
        # Imported when the first value is sealed or opened: most flows have none, and it takes 20 ms.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # slow to import; few flows hold secrets

        return AESGCM(key).encrypt(nonce, plain, self._bound(header))

    def _decrypt(self, key: bytes, nonce: bytes, text: bytes, header: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # as in _encrypt
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # slow to import; few flows hold secrets

        try:
            return AESGCM(key).decrypt(nonce, text, self._bound(header))
        except (InvalidTag, ValueError):
            raise ContentError(_REFUSAL) from None

    def _bound(self, header: bytes) -> bytes:
        return header + msgspec.json.encode(self._context, order="sorted")


def _parts(sealed: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Return header, encrypted data key, nonce and encrypted text. Raises ContentError."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except ValueError:
        raise ContentError(_REFUSAL) from None
    length = int.from_bytes(raw[1 : 1 + _LENGTH_BYTES], "big")
    start = 1 + _LENGTH_BYTES
    header, rest = raw[: start + length], raw[start + length :]
    # Stray bits in the last character decode to the same bytes, but nobody sealed such a text.
    if raw[:1] != _FORMAT or not length or len(rest) <= _NONCE_BYTES or base64.b64encode(raw).decode() != sealed:
        raise ContentError(_REFUSAL)
    return header, header[start:], rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
