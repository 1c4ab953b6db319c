"""Folders that play buckets: ``<root>/<bucket>/<key>``.

A file counts as there when two looks, one after the other, see it alike: one that is being written is left alone. What
an engine heard of before it was ended it hears of again when it starts; that changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from headrace_engine.adapters.paths import SCHEME, file_parts
from headrace_engine.ports import BucketFile, NotFoundError, PortError, Storage

_log = logging.getLogger(__name__)


class FolderBuckets:
    """`Buckets` below *root*, whose files are copied into *storage*."""

    def __init__(self, root: Path, storage: Storage) -> None:
        self._root = root
        self._storage = storage

    def take(self, file: BucketFile, uri: str) -> None:
        """See `Buckets.take`."""
        path = self._path(file.bucket, file.key)
        try:
            source = path.open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"{file.bucket}/{file.key} is gone") from None
        except OSError as error:
            raise PortError(f"{path} cannot be read: {error}") from error
        with source:
            self._storage.put(uri, source)

    def move(self, file: BucketFile, bucket: str, key: str) -> None:
        """See `Buckets.move`."""
        target = self._path(bucket, key)
        try:
            if self._is_there(file):
                target.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    shutil.move(self._path(file.bucket, file.key), target)
        except OSError as error:
            raise PortError(f"{file.bucket}/{file.key} cannot be moved: {error}") from error

    def delete(self, file: BucketFile) -> None:
        """See `Buckets.delete`."""
        try:
            if self._is_there(file):
                self._path(file.bucket, file.key).unlink(missing_ok=True)
        except OSError as error:
            raise PortError(f"{file.bucket}/{file.key} cannot be removed: {error}") from error

    def files(self) -> Iterator[BucketFile]:
        """Yield all files of all buckets; links are not followed."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder) / name
                bucket, *key = path.relative_to(self._root).parts
                if key and not path.is_symlink() and path.is_file():
                    with contextlib.suppress(FileNotFoundError):
                        yield _file(bucket, "/".join(key), path)

    def _is_there(self, file: BucketFile) -> bool:
        """Return whether that version of a file still is: a newer one of its name has an event of its own."""
        try:
            return _file(file.bucket, file.key, self._path(file.bucket, file.key)).version == file.version
        except FileNotFoundError:
            return False

    def _path(self, bucket: str, key: str) -> Path:
        return self._root.joinpath(*file_parts(f"{SCHEME}{bucket}/{key}"))


def _file(bucket: str, key: str, path: Path) -> BucketFile:
    status = path.stat()
    version = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return BucketFile(bucket, key, status.st_size, version, datetime.fromtimestamp(status.st_mtime, UTC), version)


class BucketWatch:
    """Tells *hear* of every file that comes, once it is whole; of one for which that failed, again."""

    def __init__(self, buckets: FolderBuckets, hear: Callable[[BucketFile], object]) -> None:
        self._buckets = buckets
        self._hear = hear
        self._seen: dict[tuple[str, str], str] = {}
        self._heard: dict[tuple[str, str], str] = {}

    def look(self) -> None:
        """Look at all buckets, and tell what came since the last look but one."""
        there = {(file.bucket, file.key): file for file in self._buckets.files()}
        for place, file in sorted(there.items()):
            if self._seen.get(place) != file.version or self._heard.get(place) == file.version:
                continue
            try:
                self._hear(file)
            except PortError:
                _log.exception("The file %s/%s is looked at again", *place)
            else:
                self._heard[place] = file.version
        self._seen = {place: file.version for place, file in there.items()}
        self._heard = {place: version for place, version in self._heard.items() if place in there}
