"""Sealing with AES-256-GCM, in Kestra's format: base64 of a nonce of 12 bytes and the encrypted, authenticated text."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from headrace_engine.ports import ContentError, PortError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_REFUSAL = "A sealed value was changed, or sealed with another key"


class AesCipher:
    """`Cipher` with one *key* of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise PortError(f"The encryption key has {len(key)} bytes; it needs {_KEY_BYTES}")
        self._key = key

    @classmethod
    def from_text(cls, key: str) -> Self:
        """Return the cipher of a key as configuration holds it, in base64. Raises PortError when it is none."""
        try:
            return cls(base64.b64decode("".join(key.split()), validate=True))
        except binascii.Error as error:
            raise PortError(f"The encryption key is not base64: {error}") from error

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the cipher of the key in *path*, a new key where there is none, readable by its owner only."""
        try:
            if not path.exists():
                _write_key(path)
            return cls.from_text(path.read_text(encoding="ascii"))
        except PortError as error:
            raise PortError(f"{path}: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise PortError(f"{path}: {error}") from error

    def seal(self, plain: bytes) -> str:
        """See `Cipher.seal`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._aead.encrypt(nonce, plain, None)).decode()

    def open(self, sealed: str) -> bytes:
        """See `Cipher.open`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # as in _aead

        try:
            raw = base64.b64decode(sealed, validate=True)
            # Stray bits in the last character decode to the same bytes, but nobody sealed such a text.
            if base64.b64encode(raw).decode() == sealed:
                return self._aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise ContentError(_REFUSAL) from error
        raise ContentError(_REFUSAL)

    @cached_property
    def _aead(self) -> AESGCM:
        # Imported when the first value is sealed or opened: most flows have none, and it takes 20 ms.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # slow to import; few flows hold secrets

        return AESGCM(self._key)


def _write_key(path: Path) -> None:
    """Create *path* with a fresh key, whole and durable, unless somebody else does so first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(partial)  # unlike a rename, never replaces a key that values are sealed with
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink()
