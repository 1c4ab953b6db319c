"""Earlier revisions of namespace files (reference §12): what is written over is kept.

The latest lies under the file's own name, and is found there by whoever knows nothing of revisions. Beside the folder
``_files`` of a namespace lies ``_file_versions``, with what a file held before: ``<path>/<revision>/<name>``. A file
that was written once takes no more room than without revisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from headrace_engine.ports import NotFoundError, Storage

KEPT = 20
"""Earlier revisions that are kept of a file."""
VERSIONS = "_file_versions"
_FILES = "_files"


class FileVersions:
    """Namespace files in *storage*, by their URIs.

    Of two that write a file at the same time one is the latest; of the other one a revision is not always kept.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """Store or replace a file; what was there is an earlier revision then. Readers see the old or the new one."""
        if self._storage.stat(uri) is not None:
            earlier = self._earlier(uri)
            # Copied, not moved: at no time is there no file, whoever reads and whatever dies.
            with self._storage.open(uri) as replaced:
                self._storage.put(_version(uri, _next(earlier)), replaced)
            for revision in earlier[: max(0, len(earlier) + 1 - KEPT)]:
                self._storage.delete(_version(uri, revision))
        self._storage.put(uri, content)

    def revisions(self, uri: str) -> Sequence[int]:
        """Return the revisions of a file that can be read, the latest one last. Raises NotFoundError without a file."""
        if self._storage.stat(uri) is None:
            raise NotFoundError(uri)
        earlier = self._earlier(uri)
        return [*earlier, _next(earlier)]

    def at(self, uri: str, revision: int) -> str:
        """Return where a revision of a file can be read. Raises NotFoundError when it is not kept, or never was."""
        revisions = self.revisions(uri)
        if revision not in revisions:
            raise NotFoundError(f"{uri} with revision {revision}")
        return uri if revision == revisions[-1] else _version(uri, revision)

    def delete(self, uri: str) -> bool:
        """Remove a file with all its revisions; True when it was there."""
        for revision in self._earlier(uri):
            self._storage.delete(_version(uri, revision))
        return self._storage.delete(uri)

    def move(self, source: str, target: str) -> None:
        """Rename a file; its revisions go with it. Raises NotFoundError."""
        for revision in self._earlier(source):
            self._storage.move(_version(source, revision), _version(target, revision))
        self._storage.move(source, target)

    def _earlier(self, uri: str) -> list[int]:
        _, folders = self._storage.children(_folder(uri))
        return sorted(_numbers(folders))


def _numbers(names: Iterable[str]) -> Iterable[int]:
    return (int(name) for name in names if name.isascii() and name.isdecimal())


def _next(earlier: Sequence[int]) -> int:
    return earlier[-1] + 1 if earlier else 1


def _folder(uri: str) -> str:
    # No part of a namespace is `_files`: the first one is the folder's.
    return uri.replace(f"/{_FILES}/", f"/{VERSIONS}/", 1)


def _version(uri: str, revision: int) -> str:
    return f"{_folder(uri)}/{revision}/{uri.rpartition('/')[2]}"
