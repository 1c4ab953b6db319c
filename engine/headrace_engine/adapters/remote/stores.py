"""Storage, logs, metrics and the cipher of an attempt that runs apart."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, NoReturn

import msgspec

from headrace_engine.adapters.remote.client import AttemptClient
from headrace_engine.ports import Level, LogLine, LogPage, LogQuery, MetricPoint, NotFoundError, PortError, StoredFile

_IN_MEMORY = 8 * 1024 * 1024


class RemoteStorage:
    """`Storage`, as far as the attempt may use it."""

    def __init__(self, client: AttemptClient) -> None:
        self._client = client

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """See `Storage.put`."""
        address = self._client.ask("write", uri=uri)["address"]
        if isinstance(content, bytes):
            self._client.store(address, io.BytesIO(content), len(content))
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:  # a stream may not be sent twice
            while chunk := content.read(1024 * 1024):
                copy.write(chunk)
            self._client.store(address, copy, copy.tell())  # type: ignore[arg-type]  # it is a binary file

    def open(self, uri: str) -> BinaryIO:
        """See `Storage.open`."""
        address = self._client.ask("read", uri=uri)["address"]
        if address is None:
            raise NotFoundError(f"There is no file {uri}")
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            self._client.fetch(address, file)  # type: ignore[arg-type]  # it is a binary file
        except BaseException:
            file.close()
            raise
        return file  # type: ignore[return-value]  # it is a binary file

    def stat(self, uri: str) -> StoredFile | None:
        """See `Storage.stat`."""
        found = self._client.ask("stat", uri=uri)["file"]
        return msgspec.convert(found, StoredFile) if found is not None else None

    def list(self, prefix: str) -> Sequence[StoredFile]:
        """See `Storage.list`."""
        return msgspec.convert(self._client.ask("list", uri=prefix)["files"], list[StoredFile])

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        """See `Storage.children`; refused here."""
        _refuse("look into folders")

    def delete(self, uri: str) -> bool:
        """See `Storage.delete`; refused here."""
        _refuse("delete files")

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`; refused here."""
        _refuse("move files")


class RemoteLogs:
    """`Logs`, to append to."""

    def __init__(self, client: AttemptClient) -> None:
        self._client = client

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        """See `Logs.append`."""
        self._client.ask("logs", batch=batch, lines=list(lines))

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[LogLine]]) -> None:
        """See `Logs.append_all`."""
        for batch, lines in batches.items():
            self.append(execution_id, batch, lines)

    def fetch(
        self,
        execution_id: str,
        *,
        min_level: Level = Level.TRACE,
        task_id: str | None = None,
        task_run_id: str | None = None,
    ) -> Sequence[LogLine]:
        """See `Logs.fetch`; refused here."""
        _refuse("read logs")

    def search(self, query: LogQuery, *, limit: int = 10, offset: int = 0, descending: bool = True) -> LogPage:
        """See `Logs.search`; refused here."""
        _refuse("read logs")

    def purge(
        self,
        execution_id: str,
        *,
        levels: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        task_id: str | None = None,
        task_run_id: str | None = None,
        attempt: int | None = None,
    ) -> int:
        """See `Logs.purge`; refused here."""
        _refuse("purge logs")

    def delete(self, execution_id: str) -> None:
        """See `Logs.delete`; refused here."""
        _refuse("delete logs")


class RemoteMetrics:
    """`Metrics`, to append to."""

    def __init__(self, client: AttemptClient) -> None:
        self._client = client

    def append(self, execution_id: str, batch: str, points: Sequence[MetricPoint]) -> None:
        """See `Metrics.append`."""
        self._client.ask("metrics", batch=batch, points=list(points))

    def append_all(self, execution_id: str, batches: Mapping[str, Sequence[MetricPoint]]) -> None:
        """See `Metrics.append_all`."""
        for batch, points in batches.items():
            self.append(execution_id, batch, points)

    def fetch(self, execution_id: str) -> Sequence[MetricPoint]:
        """See `Metrics.fetch`; refused here."""
        _refuse("read metrics")

    def of_flow(self, namespace: str, flow_id: str, *, since: datetime, until: datetime) -> Sequence[MetricPoint]:
        """See `Metrics.of_flow`; refused here."""
        _refuse("read metrics")

    def delete(self, execution_id: str) -> None:
        """See `Metrics.delete`; refused here."""
        _refuse("delete metrics")


class RemoteCipher:
    """`Cipher`, to open what the attempt's job holds sealed."""

    def __init__(self, client: AttemptClient) -> None:
        self._client = client

    def seal(self, plain: bytes) -> str:
        """See `Cipher.seal`; refused here."""
        _refuse("seal values")

    def open(self, sealed: str) -> bytes:
        """See `Cipher.open`."""
        return base64.b64decode(self._client.ask("open", sealed=sealed)["plain"])


class Absent:
    """A port that an attempt which runs apart has no access to: every use of it is refused."""

    def __getattr__(self, name: str) -> Any:
        _refuse(f"use {name}")


def _refuse(what: str) -> NoReturn:
    raise PortError(f"An attempt that runs apart from the platform may not {what}")
