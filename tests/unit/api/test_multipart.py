"""Multipart bodies taken apart: what clients write, and what nobody should."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.api.multipart import MultipartError, find_parts

TYPE = "multipart/form-data; boundary=x"
Seen = list[tuple[str, str | None, bytes]]

NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\'), min_size=1, max_size=20)


def taken_apart(content_type: str, body: bytes) -> Seen:
    return [(found.name, found.filename, body[found.start : found.end]) for found in find_parts(content_type, body)]


def part(head: str, content: bytes = b"v") -> bytes:
    return b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


@given(st.lists(st.tuples(NAMES, st.none() | NAMES, st.binary(max_size=100)), min_size=1, max_size=5))
def test_what_a_client_writes_is_what_is_found(parts: Seen) -> None:
    files = [(name, (filename, content)) for name, filename, content in parts]
    request = httpx.Request("POST", "http://127.0.0.1/", files=files)
    assert taken_apart(request.headers["content-type"], request.read()) == parts


@pytest.mark.parametrize(
    ("head", "name", "filename"),
    [
        ('Content-Disposition: form-data; name="a"', "a", None),
        ("content-disposition: form-data; name=a; filename=b.txt", "a", "b.txt"),
        ('CONTENT-DISPOSITION: form-data;name="a";filename="b c"\r\nContent-Type: text/plain', "a", "b c"),
        ('content-type: text/plain\r\ncontent-disposition: form-data; filename="b"; name="a"', "a", "b"),
        (r'content-disposition: form-data; name="a\"b"', 'a"b', None),
        ("content-disposition: form-data; name=\"a\"; filename*=UTF-8''%e2%82%ac.txt", "a", "€.txt"),
        ('content-disposition: form-data; name="a"; filename="../../etc/passwd"', "a", "../../etc/passwd"),
        ('content-disposition: form-data; name="ä"; filename=""', "ä", ""),
        ('content-disposition: form-data; name="a"\r\ncontent-type: message/rfc822', "a", None),
        ('content-disposition: form-data; name="a"\r\ncontent-type: multipart/mixed; boundary=y', "a", None),
    ],
)
def test_the_head_of_a_part(head: str, name: str, filename: str | None) -> None:
    assert taken_apart(TYPE, part(head)) == [(name, filename, b"v")]


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="x"', "multipart/form-data;charset=utf-8;boundary=x", "Multipart/Form-Data; Boundary=x"],
)  # fmt: skip
def test_the_boundary_however_it_is_named(content_type: str) -> None:
    assert len(taken_apart(content_type, part('content-disposition: form-data; name="a"'))) == 1


def test_what_looks_like_a_boundary_within_content_is_content() -> None:
    content = b"a--x\r\n\r\n-x--\n--x--\r\r\n--"
    assert taken_apart(TYPE, part('content-disposition: form-data; name="a"', content)) == [("a", None, content)]


def test_what_stands_before_and_after_the_parts_is_nothing() -> None:
    body = b"a preamble\r\n" + part('content-disposition: form-data; name="a"') + b"an epilogue"
    assert taken_apart(TYPE, body) == [("a", None, b"v")]
    assert taken_apart(TYPE, b"--x--") == []


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("multipart/form-data", b"--x--", "its type names no boundary"),
        (f"multipart/form-data; boundary={'y' * 71}", b"--x--", "its type names no boundary"),
        (TYPE, b"--y--", "the boundary that its type names is not in the body"),
        (TYPE, b"--xyz\r\n", "a boundary is followed by something else"),
        (TYPE, b"--x", "a boundary is followed by something else"),
        (TYPE, b"--x\r\ncontent-disposition: form-data", "the head of a part does not end"),
        (TYPE, b"--x\r\na: " + b"b" * 20_000 + b"\r\n\r\n\r\n--x--", "the head of a part does not end"),
        (TYPE, b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nv', "its last part does not end"),
        (TYPE, part("content-disposition: form-data"), "a part of the body has no name"),
        (
            TYPE,
            b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n' * 1001 + b"--x--",
            "more than 1000 parts",
        ),
    ],
)
def test_what_cannot_be_read_is_told(content_type: str, body: bytes, told: str) -> None:
    with pytest.raises(MultipartError, match=told):
        taken_apart(content_type, body)
