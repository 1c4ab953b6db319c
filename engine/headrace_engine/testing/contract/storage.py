"""What internal storage promises."""

from __future__ import annotations

import io
from datetime import timedelta
from functools import partial

import pytest

from headrace_engine.ports import NotFoundError, Storage
from headrace_engine.testing.contract.support import CONTENDERS, Contract

URI = "kestra:///company/team/flow/executions/x/file.txt"

BAD = [
    "",
    "file.txt",
    "/etc/passwd",
    "file:///etc/passwd",
    "kestra://host/file",
    "kestra:/file",
    "kestra:////etc/passwd",
    "kestra:///a//b",
    "kestra:///..",
    "kestra:///../b",
    "kestra:///a/../../b",
    "kestra:///a/..",
    "kestra:///./a",
    "kestra:///a/.",
    "kestra:///a\\..\\b",
    "kestra:///a/..\\b",
    "kestra:///a\0b",
]


def content(storage: Storage, uri: str) -> bytes:
    """Return all of a file."""
    with storage.open(uri) as file:
        return file.read()


def uris(storage: Storage, prefix: str) -> list[str]:
    """Return the URIs below a folder."""
    return [file.uri for file in storage.list(prefix)]


class StorageContract(Contract):
    """Needs the fixture ``storage: Storage``, empty."""

    @pytest.mark.parametrize("data", [b"", b"text\r\n", bytes(range(256)) * 12_000])
    def test_a_file_is_read_back_as_written(self, storage: Storage, data: bytes) -> None:
        storage.put(URI, data)
        assert content(storage, URI) == data

    @pytest.mark.parametrize("data", [b"", b"text\r\n", bytes(range(256)) * 12_000])
    def test_a_stream_is_read_back_as_written(self, storage: Storage, data: bytes) -> None:
        storage.put(URI, io.BytesIO(data))
        assert content(storage, URI) == data

    def test_an_open_file_can_be_read_in_pieces_and_by_lines(self, storage: Storage) -> None:
        storage.put(URI, b"one\ntwo\nthree")
        with storage.open(URI) as file:
            assert file.read(2) == b"on"
            assert file.readline() == b"e\n"
            assert list(file) == [b"two\n", b"three"]

    @pytest.mark.parametrize("name", ["with space.csv", "größe.txt", "100%.txt", "%2e%2e", "a?b#c", "-", "..."])
    def test_names_are_taken_literally(self, storage: Storage, name: str) -> None:
        uri = f"kestra:///ns/{name}"
        storage.put(uri, b"data")
        assert content(storage, uri) == b"data"
        assert uris(storage, "kestra:///ns") == [uri]

    def test_put_replaces_a_file(self, storage: Storage) -> None:
        storage.put(URI, b"a longer first content")
        storage.put(URI, b"second")
        assert content(storage, URI) == b"second"
        assert uris(storage, "kestra:///") == [URI]

    def test_a_reader_sees_the_file_it_opened_whole(self, storage: Storage) -> None:
        storage.put(URI, b"old" * 100_000)
        with storage.open(URI) as file:
            start = file.read(3)
            storage.put(URI, b"new")
            assert start + file.read() == b"old" * 100_000

    def test_a_stream_that_fails_leaves_the_old_file(self, storage: Storage) -> None:
        class Failing(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, _buffer: object) -> int:
                raise RuntimeError("the source broke off")

        storage.put(URI, b"old")
        with pytest.raises(RuntimeError, match="broke off"):
            storage.put(URI, io.BufferedReader(Failing()))
        assert content(storage, URI) == b"old"
        assert uris(storage, "kestra:///") == [URI]

    def test_stat_tells_size_and_date(self, storage: Storage) -> None:
        storage.put(URI, b"12345")
        file = storage.stat(URI)
        assert file is not None
        assert (file.uri, file.size) == (URI, 5)
        assert file.modified.utcoffset() == timedelta(0)

    def test_what_is_not_there(self, storage: Storage) -> None:
        storage.put(URI, b"data")
        for missing in ("kestra:///nothing", URI + ".old", "kestra:///company/team", "kestra:///company/x/y"):
            assert storage.stat(missing) is None
            assert storage.delete(missing) is False
            with pytest.raises(NotFoundError):
                storage.open(missing)
            with pytest.raises(NotFoundError):
                storage.move(missing, "kestra:///target")
        assert uris(storage, "kestra:///") == [URI]

    def test_list_gives_what_is_below_a_folder_at_any_depth_by_uri(self, storage: Storage) -> None:
        for path in ("a/b/2.txt", "a/b/1.txt", "a/b/c/d/3.txt", "a/bc/4.txt", "a/b.txt", "z"):
            storage.put(f"kestra:///{path}", path.encode())
        expected = ["kestra:///a/b/1.txt", "kestra:///a/b/2.txt", "kestra:///a/b/c/d/3.txt"]
        assert uris(storage, "kestra:///a/b") == expected
        assert uris(storage, "kestra:///a/b/") == expected
        assert len(uris(storage, "kestra:///")) == 6
        assert uris(storage, "kestra:///nothing") == []
        assert [file.size for file in storage.list("kestra:///a/b")] == [9, 9, 13]

    def test_children_are_what_lies_directly_in_a_folder(self, storage: Storage) -> None:
        for path in ("a/b/2.txt", "a/b/1.txt", "a/b/c/d/3.txt", "a/b/c.txt", "a/bc/4.txt", "a/b.txt", "z"):
            storage.put(f"kestra:///{path}", path.encode())
        for folder in ("kestra:///a/b", "kestra:///a/b/"):
            files, folders = storage.children(folder)
            assert [(file.uri, file.size) for file in files] == [
                ("kestra:///a/b/1.txt", 9),
                ("kestra:///a/b/2.txt", 9),
                ("kestra:///a/b/c.txt", 9),
            ]
            assert list(folders) == ["c"]
        files, folders = storage.children("kestra:///a")
        assert [file.uri for file in files] == ["kestra:///a/b.txt"]
        assert list(folders) == ["b", "bc"]
        files, folders = storage.children("kestra:///")
        assert [file.uri for file in files] == ["kestra:///z"]
        assert list(folders) == ["a"]
        for nothing in ("kestra:///nothing", "kestra:///z", "kestra:///z/y"):
            files, folders = storage.children(nothing)
            assert (list(files), list(folders)) == ([], [])

    def test_delete_says_whether_the_file_was_there(self, storage: Storage) -> None:
        other = "kestra:///company/team/other"
        storage.put(URI, b"data")
        storage.put(other, b"data")
        assert storage.delete(URI) is True
        assert storage.delete(URI) is False
        assert uris(storage, "kestra:///") == [other]

    def test_a_file_comes_back_after_its_folder_was_emptied(self, storage: Storage) -> None:
        storage.put(URI, b"one")
        storage.delete(URI)
        storage.put(URI, b"two")
        assert content(storage, URI) == b"two"

    def test_move_renames_and_replaces(self, storage: Storage) -> None:
        target = "kestra:///elsewhere/new/name"
        storage.put(URI, b"data")
        storage.put(target, b"replaced")
        storage.move(URI, target)
        assert content(storage, target) == b"data"
        assert storage.stat(URI) is None
        moved = storage.stat(target)
        assert moved is not None
        assert (moved.uri, moved.size) == (target, 4)

    def test_move_onto_itself_keeps_the_file(self, storage: Storage) -> None:
        storage.put(URI, b"data")
        storage.move(URI, URI)
        assert content(storage, URI) == b"data"

    @pytest.mark.parametrize("uri", BAD)
    def test_no_path_leads_out(self, storage: Storage, uri: str) -> None:
        storage.put(URI, b"data")
        with pytest.raises(ValueError, match="internal storage"):
            storage.put(uri, b"data")
        with pytest.raises(ValueError, match="internal storage"):
            storage.open(uri)
        with pytest.raises(ValueError, match="internal storage"):
            storage.stat(uri)
        with pytest.raises(ValueError, match="internal storage"):
            storage.list(uri)
        with pytest.raises(ValueError, match="internal storage"):
            storage.children(uri)
        with pytest.raises(ValueError, match="internal storage"):
            storage.delete(uri)
        with pytest.raises(ValueError, match="internal storage"):
            storage.move(uri, URI)
        with pytest.raises(ValueError, match="internal storage"):
            storage.move(URI, uri)
        assert content(storage, URI) == b"data"

    @pytest.mark.parametrize("uri", ["kestra:///", "kestra:///a/"])
    def test_a_folder_is_no_file(self, storage: Storage, uri: str) -> None:
        with pytest.raises(ValueError, match="internal storage"):
            storage.put(uri, b"data")

    def test_of_many_puts_at_once_one_whole_file_stays(self, storage: Storage) -> None:
        contents = [bytes([n]) * 300_000 for n in range(CONTENDERS)]
        outcomes = self.race([partial(storage.put, URI, each) for each in contents])
        assert outcomes == [None] * CONTENDERS
        assert content(storage, URI) in contents

    def test_files_put_and_removed_at_once_do_not_disturb_each_other(self, storage: Storage) -> None:
        def put_and_delete(n: int) -> None:
            for _ in range(10):
                storage.put(f"kestra:///a/b/c/{n}", b"data")
                assert storage.delete(f"kestra:///a/b/c/{n}")
            storage.put(f"kestra:///a/b/c/{n:02}", b"data")

        outcomes = self.race([partial(put_and_delete, n) for n in range(100, 100 + CONTENDERS)])
        assert outcomes == [None] * CONTENDERS
        assert uris(storage, "kestra:///") == [f"kestra:///a/b/c/{n}" for n in range(100, 100 + CONTENDERS)]
