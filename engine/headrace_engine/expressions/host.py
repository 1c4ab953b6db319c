"""What functions ask of the world outside, and the host that has no outside."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from .errors import ExpressionError


class Host(Protocol):
    """The outside as expressions see it; the executor implements it on its ports.

    Every method may raise `ExpressionError`, whose message the author of the flow reads.
    `encrypt()` and `decrypt()` need nothing from outside and are not here.
    """

    def now(self) -> datetime:
        """Return the instant of the step, aware, in UTC; the same at each call of one step."""

    def new_id(self) -> str:
        """Return a new id of 22 base-62 characters (`uuid()`, `id()`)."""

    def random(self) -> random.Random:
        """Return the step's source of random numbers."""

    def secret(self, key: str, namespace: str | None) -> str:
        """Return a secret; without one: "Cannot find secret for key 'X'."."""

    def opened(self, value: Mapping[str, Any]) -> Any:
        """Return what was sealed in *value*; a map that is nothing sealed as it is."""

    def kv(self, key: str, namespace: str | None, error_on_missing: bool) -> Any:  # noqa: FBT001 - agreed signature
        """Return a value of the KV store of *namespace* (None: the flow's), typed."""

    def read(self, uri_or_path: str) -> bytes:
        """Return the content of a file of the internal storage or of the namespace."""

    def file_size(self, uri_or_path: str) -> int:
        """Return the size of a file in bytes."""

    def file_exists(self, uri_or_path: str) -> bool:
        """Return whether a file is there."""

    def file_uri(self, path: str) -> str:
        """Return the `kestra:///` URI of a namespace file."""

    def error_logs(self) -> list[dict[str, Any]]:
        """Return `{taskId, message}` of the execution's ERROR logs."""

    def resume_url(self, asked: Mapping[str, Any]) -> str:
        """Return a new link by which a person decides what becomes of a Pause (task, decisions, …)."""

    def http(self, request: Mapping[str, Any]) -> Any:
        """Send a request (uri, method, query, body, contentType, accept, headers, options); return its body."""


class NoHost:
    """A host without an outside, for conditions and tests: time, ids and randomness come from the constructor."""

    def __init__(self, now: datetime | None = None, seed: int = 0) -> None:
        self._now = now or datetime(1970, 1, 1, tzinfo=UTC)
        self._random = random.Random(seed)  # noqa: S311 - a seed given by the caller, not a secret

    def now(self) -> datetime:
        """Return the instant given to the constructor."""
        return self._now

    def new_id(self) -> str:
        """Return an id drawn from the seed."""
        return "".join(self._random.choices(BASE62, k=22))

    def random(self) -> random.Random:
        """Return the seeded source."""
        return self._random

    def secret(self, key: str, namespace: str | None) -> str:
        """Refuse: there are no secrets here."""
        del namespace
        raise ExpressionError(f"Cannot find secret for key '{key}'.")

    def opened(self, value: Mapping[str, Any]) -> Any:
        """Return *value*: nothing was sealed here."""
        return value

    def kv(self, key: str, namespace: str | None, error_on_missing: bool) -> Any:  # noqa: FBT001 - agreed signature
        """Refuse: there is no KV store here."""
        del key, namespace, error_on_missing
        _refuse("kv")

    def read(self, uri_or_path: str) -> bytes:
        """Refuse: there are no files here."""
        del uri_or_path
        _refuse("read")

    def file_size(self, uri_or_path: str) -> int:
        """Refuse: there are no files here."""
        del uri_or_path
        _refuse("fileSize")

    def file_exists(self, uri_or_path: str) -> bool:
        """Refuse: there are no files here."""
        del uri_or_path
        _refuse("fileExists")

    def file_uri(self, path: str) -> str:
        """Refuse: there are no files here."""
        del path
        _refuse("fileURI")

    def error_logs(self) -> list[dict[str, Any]]:
        """Refuse: there are no logs here."""
        _refuse("errorLogs")

    def resume_url(self, asked: Mapping[str, Any]) -> str:
        """Refuse: nothing is paused here."""
        del asked
        _refuse("resumeUrl")

    def http(self, request: Mapping[str, Any]) -> Any:
        """Refuse: there is no network here."""
        del request
        _refuse("http")


BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _refuse(function: str) -> NoReturn:
    raise ExpressionError(f"The function {function}() is not available in this expression")
