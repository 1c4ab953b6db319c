"""Secrets and a cipher in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from headrace_engine.model.ids import new_id
from headrace_engine.ports import ContentError, NotFoundError


class MemorySecrets:
    """`Secrets` of a mapping from key to value, for every namespace."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {key.upper(): value for key, value in values.items()}

    def get(self, namespace: str, key: str) -> str:  # noqa: ARG002  # these secrets are those of every namespace
        """See `Secrets.get`."""
        try:
            return self._values[key.upper()]
        except KeyError:
            raise NotFoundError(f"Cannot find secret for key '{key}'.") from None

    def names(self, namespace: str) -> Sequence[str]:  # noqa: ARG002  # as above
        """See `Secrets.names`."""
        return sorted(self._values)


class MemoryCipher:
    """`Cipher` that keeps what it seals and hands out tickets; *name* is its key.

    Tickets count up, so that the same run gives the same ones.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or new_id()
        self._lock = threading.Lock()
        self._sealed: list[bytes] = []

    def seal(self, plain: bytes) -> str:
        """See `Cipher.seal`."""
        with self._lock:
            self._sealed.append(plain)
            return f"sealed-{self._name}-{len(self._sealed) - 1}"

    def open(self, sealed: str) -> bytes:
        """See `Cipher.open`."""
        name, _, ticket = sealed.removeprefix("sealed-").rpartition("-")
        with self._lock:
            if name != self._name or not ticket.isdecimal() or int(ticket) >= len(self._sealed):
                raise ContentError("A sealed value was changed, or sealed with another key")
            return self._sealed[int(ticket)]
