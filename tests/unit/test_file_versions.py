"""Revisions of namespace files, whatever dies while one is written."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, BinaryIO

import pytest

from headrace_engine.adapters.memory import ManualClock, MemoryStorage
from headrace_engine.file_versions import FileVersions
from headrace_engine.ports import NotFoundError, Storage, StoredFile
from headrace_engine.testing.runtime import START

URI = "kestra:///a/b/_files/scripts/x.py"


class DiedError(Exception):
    """The process died."""


class Mortal:
    """A storage whose caller dies at the *last* of its calls that change something; before it is done, or after."""

    def __init__(self, storage: Storage, last: int, *, after: bool) -> None:
        self._storage = storage
        self._left = last
        self._after = after

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        self._change(self._storage.put, uri, content)

    def move(self, source: str, target: str) -> None:
        self._change(self._storage.move, source, target)

    def delete(self, uri: str) -> bool:
        self._change(self._storage.delete, uri)
        return True

    def open(self, uri: str) -> BinaryIO:
        return self._storage.open(uri)

    def stat(self, uri: str) -> StoredFile | None:
        return self._storage.stat(uri)

    def list(self, prefix: str) -> Sequence[StoredFile]:
        return self._storage.list(prefix)

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        return self._storage.children(folder)

    def _change(self, change: Any, *arguments: Any) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise DiedError
        change(*arguments)
        if self._left == 0:
            raise DiedError


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(ManualClock(START))


def read(storage: Storage, uri: str) -> bytes:
    with storage.open(uri) as content:
        return content.read()


def contents(storage: Storage, uri: str = URI) -> list[bytes]:
    """Return what each revision holds."""
    versions = FileVersions(storage)
    return [read(storage, versions.at(uri, revision)) for revision in versions.revisions(uri)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("last", [1, 2])
def test_whoever_dies_while_writing_leaves_the_old_file_or_the_new_one(
    storage: MemoryStorage, last: int, after: bool
) -> None:
    for content in (b"one", b"two"):
        FileVersions(storage).put(URI, content)
    with pytest.raises(DiedError):
        FileVersions(Mortal(storage, last, after=after)).put(URI, b"three")
    left = contents(storage)
    assert left[-1] == (b"three" if (last, after) == (2, True) else b"two")
    assert left[0] == b"one"
    FileVersions(storage).put(URI, BytesIO(b"four"))
    assert [each for number, each in enumerate(contents(storage)) if each not in contents(storage)[:number]] in (
        [b"one", b"two", b"four"],
        [b"one", b"two", b"three", b"four"],
    )


@pytest.mark.parametrize("last", [1, 2, 3])
def test_moving_a_file_that_was_interrupted_is_finished_by_moving_it_again(storage: MemoryStorage, last: int) -> None:
    for content in (b"one", b"two", b"three"):
        FileVersions(storage).put(URI, content)
    target = "kestra:///a/b/_files/y.py"
    with pytest.raises(DiedError):
        FileVersions(Mortal(storage, last, after=False)).move(URI, target)
    assert read(storage, URI) == b"three"
    FileVersions(storage).move(URI, target)
    assert contents(storage, target) == [b"one", b"two", b"three"]
    with pytest.raises(NotFoundError):
        FileVersions(storage).revisions(URI)
    assert len(storage.list("kestra:///a")) == 3


def test_files_named_as_revisions_are_none(storage: MemoryStorage) -> None:
    versions = FileVersions(storage)
    for uri in ("kestra:///a/_files/x/2", "kestra:///a/_files/_files/x"):
        for content in (b"one", b"two"):
            versions.put(uri, content)
        assert contents(storage, uri) == [b"one", b"two"]
    with pytest.raises(NotFoundError):
        versions.at("kestra:///a/_files/x/2", 3)
