"""Calls the platform with the token of one attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, BinaryIO

import httpx
import msgspec

from headrace_engine.ports import AttemptId, NotFoundError, PortError

_TRIES = 4
_SECONDS = 30.0
_CHUNK = 1024 * 1024


class AttemptClient:
    """What is asked with one attempt's token. Repeats what failed on the way; everything may be asked again."""

    def __init__(
        self,
        base_url: str,
        attempt: AttemptId,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        path = f"/api/v1/attempts/{attempt.execution_id}/{attempt.task_run_id}/{attempt.number}/"
        self._url = base_url.rstrip("/") + path
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._wait = wait
        # No proxies or credentials of the environment: where this runs, that is people's.
        self._http = httpx.Client(transport=transport, timeout=_SECONDS, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, operation: str, **values: Any) -> Any:
        """Return what the platform answers. Raises PortError."""
        body = msgspec.json.encode(values)
        response = self._tried(lambda: self._http.post(self._url + operation, content=body, headers=self._headers))
        if response.status_code != 200:
            raise PortError(f"The platform refused `{operation}`: {_message(response)}")
        return msgspec.json.decode(response.content)

    def fetch(self, address: str, target: BinaryIO) -> None:
        """Copy what lies at *address*. Raises NotFoundError, PortError."""

        def get() -> httpx.Response:
            target.seek(0)
            target.truncate()
            with self._http.stream("GET", address) as response:
                if response.status_code == 200:
                    for chunk in response.iter_bytes(_CHUNK):
                        target.write(chunk)
                else:
                    response.read()
                return response

        response = self._tried(get)
        if response.status_code == 404:
            raise NotFoundError("The file is not there any more")
        if response.status_code != 200:
            raise PortError(f"A file could not be fetched: status {response.status_code}")
        target.seek(0)

    def store(self, address: str, content: BinaryIO, size: int) -> None:
        """Copy *size* bytes to *address*. Raises PortError."""

        def put() -> httpx.Response:
            content.seek(0)
            chunks = iter(lambda: content.read(_CHUNK), b"")
            return self._http.put(address, content=chunks, headers={"content-length": str(size)})

        response = self._tried(put)
        if response.status_code not in (200, 201, 204):
            raise PortError(f"A file could not be stored: status {response.status_code}")

    def _tried(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        for left in reversed(range(_TRIES)):
            try:
                response = call()
            except httpx.HTTPError as error:
                if not left:
                    raise PortError(f"The platform cannot be reached: {type(error).__name__}") from None
            else:
                if (response.status_code < 500 and response.status_code != 429) or not left:
                    return response
            self._wait(0.5 * 2 ** (_TRIES - 1 - left))
        raise AssertionError("the last try returns or raises")


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
