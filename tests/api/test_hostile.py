"""Hostile input is refused, clearly, and nothing is lost."""

from __future__ import annotations

import io
import struct
import zipfile
from urllib.parse import quote

import pytest

from api.client import ApiClient, log_flow, zip_of
from headrace_engine.api.downloads import attachment

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("target", "status"),
    [("/flows", 422), ("/flows/a", 422), ("/flows/bulk", 422), ("/flows/graph", 422), ("/flows/validate", 200)],
)
@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        "[" * 100_000,
        "a: " * 50_000,
        "{" * 50_000 + "}" * 50_000,
        "- " * 50_000,
        "x" * 2_000_000,
        "---\n" * 20_000 + "x",
        "--- x\n" * 2000,
        log_flow("a.f") + "\0",
        "!!python/object/apply:os.system [id]",
        "id: ../../etc\nnamespace: ../..\ntasks: []",
    ],
    ids=["bomb", "brackets", "keys", "braces", "dashes", "long", "marks", "documents", "nul", "python", "traversal"],
)
def test_hostile_yaml_is_refused_and_leaves_what_is_there(api: ApiClient, target: str, status: int, body: str) -> None:
    api.save(log_flow("a.f"))
    response = api.ask("POST", target, body)
    assert response.status == status
    if status == 200:
        assert b"constraints" in response.body
    assert api.get("/flows/a/f")["revision"] == 1
    assert api.get("/flows/search")["total"] == 1


@pytest.mark.parametrize("part", ["task", "trigger"])
def test_hostile_parts_are_told_to_be_wrong(api: ApiClient, part: str) -> None:
    for body in (BOMB, "[" * 100_000, "", "\0", "{}\n---\n{}", "42"):
        assert "constraints" in api.ok(api.ask("POST", f"/flows/validate/{part}", body))


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 50_000, '"\\ud800"', "nul", "\x00", "[1e999]", ""])
def test_hostile_json_is_refused(api: ApiClient, body: str) -> None:
    api.save(log_flow("a.f"))
    for method, target in (
        ("DELETE", "/flows/delete/by-ids"),
        ("PATCH", "/flows/a/f/log"),
        ("POST", "/namespaces/autocomplete"),
        ("DELETE", "/namespaces/a/kv"),
        ("PUT", "/concurrency-limit/a/f"),
    ):
        assert api.ask(method, target, body, content_type="application/json").status == 422, target
    put = api.ask("PUT", "/namespaces/a/kv/key", body, content_type="application/json")
    assert put.status == 422
    assert api.get("/flows/a/f")["revision"] == 1


NAMES = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc",
    "a%00b",
    "%ff%fe",
    "{{ secret('X') }}",
    "<script>",
    "' OR 1=1 --",
    "a%0d%0aset-cookie: x",
    "%F0%9F%92%A9",
    "x" * 5000,
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_find_nothing(api: ApiClient, name: str) -> None:
    api.save(log_flow("a.f"))
    segment = name if "%" in name else quote(name, safe="")
    for method, target in (
        ("GET", f"/flows/{segment}"),
        ("GET", f"/flows/{segment}/f"),
        ("GET", f"/flows/a/{segment}"),
        ("GET", f"/flows/a/{segment}/graph"),
        ("GET", f"/flows/a/f/tasks/{segment}"),
        ("GET", f"/flows/a/{segment}/dependencies"),
        ("DELETE", f"/flows/a/{segment}"),
        ("GET", f"/namespaces/{segment}"),
        ("GET", f"/namespaces/{segment}/kv"),
        ("GET", f"/namespaces/{segment}/kv/{segment}"),
        ("GET", f"/namespaces/{segment}/files?path={segment}"),
        ("GET", f"/namespaces/{segment}/files/export"),
        ("GET", f"/namespaces/{segment}/secrets"),
        ("GET", f"/plugins/{segment}"),
        ("GET", f"/flows/search?q={segment}&namespace={segment}&labels={segment}%3Ax"),
        ("GET", f"/flows/source?q={segment}"),
    ):
        response = api.ask(method, target)
        assert response.status in (200, 400, 404, 422), (target, response.status, response.body)
        if response.status == 200:
            assert response.body in (b"[]", b'{"results":[],"total":0}'), target
        for header in response.headers.values():
            assert not set(header) & {"\r", "\n"}
    assert api.get("/flows/a/f")["revision"] == 1


def test_a_file_name_cannot_make_a_header(api: ApiClient) -> None:
    said = attachment('x"\r\nset-cookie: a=b; \\ é 💩\ud800')
    assert said.isascii()
    assert not set(said) & {"\r", "\n"}
    assert said.count('"') == 2


def test_an_archive_that_grows_without_end_is_refused(api: ApiClient) -> None:
    many = zip_of({f"{n}.yml": b"" for n in range(10_001)})
    assert "more than 10000 files" in api.refused(api.upload("POST", "/flows/import", "fileUpload", "x.zip", many), 422)
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.yml", b"0" * 70_000_000)
    assert len(found.getvalue()) < 100_000
    bomb = api.upload("POST", "/flows/import", "fileUpload", "x.zip", found.getvalue())
    assert "unpacked it is larger" in api.refused(bomb, 422)
    assert api.get("/flows/search")["total"] == 0


def test_an_archive_that_lies_about_its_sizes_is_refused(api: ApiClient) -> None:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"0" * 1_000_000)
    content = bytearray(found.getvalue())
    place = content.rindex(b"PK\x01\x02") + 24  # the size that the directory tells
    content[place : place + 4] = struct.pack("<I", 10)
    path = "/namespaces/a/files?path=x.zip"
    response = api.upload("POST", path, "fileContent", "x.zip", bytes(content))
    assert "cannot be unpacked" in api.refused(response, 422)


def test_ten_megabytes_are_answered(api: ApiClient) -> None:
    large = "x" * 10_000_000
    assert "longer than" in api.refused(api.ask("POST", "/flows", large), 422)
    assert api.ask("PUT", "/namespaces/a/kv/key", large).status == 200
    assert api.upload("POST", "/namespaces/a/files?path=x", "fileContent", "x", large.encode()).status == 200
    assert len(api.ask("GET", "/namespaces/a/files?path=x").body) == len(large)


def test_an_expression_in_a_request_is_never_rendered(api: ApiClient) -> None:
    payload = "{{ 7 * 7 }}{% for x in range(10**9) %}{% endfor %}"
    api.ok(api.ask("PUT", "/namespaces/a/kv/key", payload))
    assert api.get("/namespaces/a/kv/key")["value"] == payload
    described = log_flow("a.f", f'description: "{payload}"\n')
    assert api.ok(api.ask("POST", "/flows", described))["description"] == payload
    assert api.get(f"/flows/source?q={quote(payload)}")["total"] == 1
