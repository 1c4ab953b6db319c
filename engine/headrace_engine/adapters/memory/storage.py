"""Internal storage in memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from headrace_engine.adapters.paths import SCHEME, file_parts, folder_parts
from headrace_engine.ports import Clock, NotFoundError, StoredFile


class MemoryStorage:
    """`Storage` in a dictionary; *clock* dates the files."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, tuple[StoredFile, bytes]] = {}

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """See `Storage.put`."""
        file_parts(uri)
        data = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else content.read()
        with self._lock:
            self._files[uri] = (StoredFile(uri, len(data), self._clock.now()), data)

    def open(self, uri: str) -> BinaryIO:
        """See `Storage.open`."""
        file_parts(uri)
        with self._lock:
            if uri not in self._files:
                raise NotFoundError(f"{uri} is not in internal storage")
            return io.BytesIO(self._files[uri][1])

    def stat(self, uri: str) -> StoredFile | None:
        """See `Storage.stat`."""
        file_parts(uri)
        with self._lock:
            return self._files[uri][0] if uri in self._files else None

    def list(self, prefix: str) -> Sequence[StoredFile]:
        """See `Storage.list`."""
        folder = SCHEME + "".join(f"{part}/" for part in folder_parts(prefix))
        with self._lock:
            return [self._files[uri][0] for uri in sorted(self._files) if uri.startswith(folder)]

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        """See `Storage.children`."""
        root = SCHEME + "".join(f"{part}/" for part in folder_parts(folder))
        below = self.list(folder)
        names = {file.uri[len(root) :].partition("/")[::2] for file in below}
        return (
            [file for file in below if "/" not in file.uri[len(root) :]],
            sorted({name for name, rest in names if rest}),
        )

    def delete(self, uri: str) -> bool:
        """See `Storage.delete`."""
        file_parts(uri)
        with self._lock:
            return self._files.pop(uri, None) is not None

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`."""
        file_parts(source)
        file_parts(target)
        with self._lock:
            if source not in self._files:
                raise NotFoundError(f"{source} is not in internal storage")
            file, data = self._files.pop(source)
            self._files[target] = (replace(file, uri=target), data)
