"""Payloads: values that stand in the journal when small, and in internal storage when large (DESIGN §3.10)."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

from headrace_engine.model.attempt import Inline, Payload, Stored
from headrace_engine.ports import Storage

_CACHED = 64


class Payloads:
    """Writes and reads payloads; the last few that were read from storage are kept."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._cache: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, payload: Payload) -> Any:
        """Return the value of *payload*. Raises ports.NotFoundError when its file was purged."""
        if isinstance(payload, Inline):
            return payload.value
        with self._lock:
            if payload.uri in self._cache:
                self._cache.move_to_end(payload.uri)
                return self._cache[payload.uri]
        with self._storage.open(payload.uri) as file:
            value = msgspec.json.decode(file.read())
        with self._lock:
            self._cache[payload.uri] = value
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return value

    def make(self, value: Any, folder: str, limit: int) -> tuple[Payload, int]:
        """Return the payload for *value* and the bytes it puts into the journal.

        Above *limit* bytes of JSON it is stored in *folder* under a name that follows from its content, so that
        storing it again changes nothing.
        """
        encoded = msgspec.json.encode(value, enc_hook=_plain)
        if len(encoded) <= limit:
            # Decoded again, so that what the state holds now is what the journal gives back later.
            return Inline(msgspec.json.decode(encoded)), len(encoded)
        uri = f"{folder}/{hashlib.blake2b(encoded, digest_size=16).hexdigest()}.json"
        self._storage.put(uri, encoded)
        return Stored(uri, len(encoded)), len(uri)


def _plain(value: Any) -> Any:
    """Return what JSON can hold for a value it has no type for: lazy maps and lists, and texts of anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | Set):
        return list(value)
    return str(value)
