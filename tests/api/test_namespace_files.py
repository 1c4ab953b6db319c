"""Files of namespaces over HTTP (reference §12, §14.6)."""

from __future__ import annotations

import stat
import zipfile
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest

from api.client import ApiClient, log_flow, unzipped, zip_of
from headrace_engine.file_versions import KEPT

FILES = "/namespaces/company.team/files"


def put(api: ApiClient, path: str, content: bytes = b"content", filename: str = "file") -> None:
    api.ok(api.upload("POST", f"{FILES}?path={quote(path)}", "fileContent", filename, content))


def paths(api: ApiClient) -> list[str]:
    found = api.get(f"{FILES}/search?q=")
    assert isinstance(found, list)
    return found


def read(api: ApiClient, path: str) -> bytes:
    response = api.ask("GET", f"{FILES}?path={quote(path)}")
    assert response.status == 200
    return response.body


def listed(api: ApiClient, path: str = "") -> list[Any]:
    return [(each["fileName"], each["type"]) for each in api.get(f"{FILES}/directory?path={path}")]


def test_a_file_is_read_back_as_it_was_sent(api: ApiClient) -> None:
    put(api, "/scripts/größe 1.py", bytes(range(256)))
    response = api.ask("GET", f"{FILES}?path={quote('scripts/größe 1.py')}")
    assert response.body == bytes(range(256))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"gr__e_1.py\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.py"
    )
    assert api.stores.storage.open("kestra:///company/team/_files/scripts/größe 1.py").read() == bytes(range(256))
    put(api, "scripts/größe 1.py", b"new")
    assert read(api, "scripts/größe 1.py") == b"new"


def revisions(api: ApiClient, path: str) -> list[int]:
    return [each["revision"] for each in api.get(f"{FILES}/revisions?path={quote(path)}")]


def at(api: ApiClient, path: str, revision: int) -> bytes:
    response = api.ask("GET", f"{FILES}?path={quote(path)}&revision={revision}")
    assert response.status == 200
    return response.body


def test_what_is_written_over_is_an_earlier_revision(api: ApiClient) -> None:
    put(api, "a/größe.py", b"one")
    assert revisions(api, "a/größe.py") == [1]
    put(api, "/a/größe.py", b"two")
    put(api, "x.zip", filename="x.zip", content=zip_of({"a/größe.py": b"three"}))
    assert revisions(api, "a/größe.py") == [1, 2, 3]
    assert [at(api, "a/größe.py", revision) for revision in (1, 2, 3)] == [b"one", b"two", b"three"]
    assert read(api, "a/größe.py") == b"three"
    assert paths(api) == ["/a/größe.py"]
    assert unzipped(api.ask("GET", f"{FILES}/export").body) == {"a/größe.py": "three"}
    for wrong, status in (("a/größe.py&revision=4", 404), ("a/größe.py&revision=0", 400), ("b&revision=1", 404)):
        assert api.ask("GET", f"{FILES}?path={wrong}").status == status, wrong
    assert api.ask("GET", f"{FILES}/revisions?path=a").status == 404
    assert api.ask("GET", f"{FILES}/revisions").status == 400


def test_revisions_go_with_their_file(api: ApiClient) -> None:
    for content in (b"one", b"two"):
        put(api, "a/b.py", content)
    put(api, "a/c.py")
    api.ok(api.ask("PUT", f"{FILES}?from=a&to=d"))
    assert (revisions(api, "d/b.py"), at(api, "d/b.py", 1)) == ([1, 2], b"one")
    assert api.ask("DELETE", f"{FILES}?path=d/b.py").status == 204
    put(api, "d/b.py", b"another")
    assert revisions(api, "d/b.py") == [1]
    put(api, "d/b.py", b"more")
    assert api.ask("DELETE", f"{FILES}?path=d").status == 204
    assert api.stores.storage.list("kestra:///company") == []


def test_the_oldest_revisions_go_first(api: ApiClient) -> None:
    for number in range(1, KEPT + 4):
        put(api, "a.py", b"%d" % number)
    assert revisions(api, "a.py") == list(range(3, KEPT + 4))
    assert at(api, "a.py", 3) == b"3"
    assert api.ask("GET", f"{FILES}?path=a.py&revision=2").status == 404


def test_a_folder_lists_what_lies_in_it(api: ApiClient) -> None:
    for path in ("b.txt", "a/1.txt", "a/deep/2.txt"):
        put(api, path)
    assert listed(api) == [("a", "Directory"), ("b.txt", "File")]
    assert listed(api, "/a/") == [("deep", "Directory"), ("1.txt", "File")]
    assert api.ask("GET", f"{FILES}/directory?path=b.txt").status == 404
    assert paths(api) == ["/a/1.txt", "/a/deep/2.txt", "/b.txt"]
    assert api.get(f"{FILES}/search?q=DEEP") == ["/a/deep/2.txt"]
    (file,) = [each for each in api.get(f"{FILES}/directory?path=a") if each["type"] == "File"]
    assert file["size"] == 7
    assert file["lastModifiedTime"] == int(api.runtime.clock.now().timestamp() * 1000)
    assert api.get(f"{FILES}/stats?path=a/1.txt") == file
    assert api.get(f"{FILES}/stats?path=a") == {"fileName": "a", "type": "Directory", "size": 0}
    assert api.get(f"{FILES}/stats")["type"] == "Directory"
    assert api.ask("GET", f"{FILES}/stats?path=c").status == 404
    assert api.get("/namespaces/empty/files/directory") == []


def test_an_empty_folder_stays_until_it_is_deleted(api: ApiClient) -> None:
    api.ok(api.ask("POST", f"{FILES}/directory?path=new/folder"))
    api.ok(api.ask("POST", f"{FILES}/directory?path=new/folder"))
    assert listed(api, "new") == [("folder", "Directory")]
    assert listed(api, "new/folder") == []
    assert paths(api) == []
    api.ok(api.ask("DELETE", f"{FILES}?path=new/folder"))
    assert listed(api) == []


def test_files_and_folders_are_moved(api: ApiClient) -> None:
    for path in ("a/1.txt", "a/deep/2.txt"):
        put(api, path, path.encode())
    api.ok(api.ask("PUT", f"{FILES}?from=/a&to=/b/c"))
    assert paths(api) == ["/b/c/1.txt", "/b/c/deep/2.txt"]
    api.ok(api.ask("PUT", f"{FILES}?from=b/c/1.txt&to=1.txt"))
    assert read(api, "1.txt") == b"a/1.txt"
    api.ok(api.ask("PUT", f"{FILES}?from=1.txt&to=1.txt"))
    put(api, "2.txt")
    for wrong, status in (
        ("from=1.txt&to=2.txt", 409),
        ("from=1.txt&to=b/c", 409),
        ("from=1.txt&to=2.txt/x", 409),
        ("from=b&to=b/d", 422),
        ("from=none&to=x", 404),
        ("from=1.txt", 400),
    ):
        assert api.ask("PUT", f"{FILES}?{wrong}").status == status, wrong
    assert paths(api) == ["/1.txt", "/2.txt", "/b/c/deep/2.txt"]
    assert read(api, "2.txt") == b"content"


def test_files_and_folders_are_deleted(api: ApiClient) -> None:
    for path in ("a/1.txt", "a/deep/2.txt", "ab.txt"):
        put(api, path)
    assert api.ask("DELETE", f"{FILES}?path=a/1.txt").status == 204
    assert api.ask("DELETE", f"{FILES}?path=a/1.txt").status == 404
    assert api.ask("DELETE", f"{FILES}?path=a").status == 204
    assert paths(api) == ["/ab.txt"]
    assert api.ask("DELETE", f"{FILES}?path=/").status == 422
    assert api.ask("DELETE", FILES).status == 400


def test_nothing_lies_in_a_file_and_no_file_takes_the_place_of_a_folder(api: ApiClient) -> None:
    put(api, "a/b", b"kept")
    for path in ("a/b/c", "a/b/c/d", "a"):
        response = api.upload("POST", f"{FILES}?path={path}", "fileContent", "file", b"x")
        assert api.refused(response, 409).startswith("Illegal state: ")
    assert api.ask("POST", f"{FILES}/directory?path=a/b").status == 409
    archive = zip_of({"n": b"x", "n/m": b"x"})
    assert api.upload("POST", f"{FILES}?path=x.zip", "fileContent", "x.zip", archive).status == 409
    assert paths(api) == ["/a/b"]
    assert read(api, "a/b") == b"kept"


def test_an_archive_is_unpacked_and_all_files_come_back_in_one(api: ApiClient) -> None:
    flow = log_flow("company.team.hello")
    archive = zip_of({"a/1.txt": b"one", "2.txt": b"two", "dir/": b"", "_flows/hello.yml": flow})
    put(api, "all.zip", archive, "all.zip")
    assert paths(api) == ["/2.txt", "/a/1.txt"]
    assert api.get("/flows/company.team/hello")["revision"] == 1
    exported = api.ask("GET", f"{FILES}/export")
    assert exported.headers["content-type"] == "application/zip"
    assert unzipped(exported.body) == {"2.txt": "two", "a/1.txt": "one", "_flows/hello.yml": flow}
    put(api, "kept.zip", archive, "file")
    assert read(api, "kept.zip") == archive


def test_what_is_put_among_the_flows_is_a_flow(api: ApiClient) -> None:
    put(api, "_flows/hello.yml", log_flow("company.team.hello").encode())
    assert api.get("/flows/company.team/hello")["revision"] == 1
    for wrong in (log_flow("other.hello").encode(), b"nothing", b"\xff"):
        response = api.upload("POST", f"{FILES}?path=_flows/x.yml", "fileContent", "file", wrong)
        assert response.status == 422
    assert api.get("/flows/other") == []
    assert paths(api) == []


def zip_with(name: str, attributes: int = 0, flags: int = 0) -> bytes:
    """Return an archive with a harmless file and this one."""
    found = BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr("harmless.txt", b"x")
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.external_attr = attributes << 16
        archive.writestr(info, b"/etc/passwd")
    content = bytearray(found.getvalue())
    if flags:
        place = content.rindex(b"PK\x01\x02")
        content[place + 8] |= flags
    return bytes(content)


@pytest.mark.parametrize(
    "archive",
    [
        zip_with("../outside.txt"),
        zip_with("a/../../outside.txt"),
        zip_with("/etc/passwd"),
        zip_with("a//b"),
        zip_with("..\\outside.txt"),
        zip_with("C:/outside.txt"),
        zip_with("a\nb"),
        zip_with("link", stat.S_IFLNK | 0o777),
        zip_with("secret", flags=1),
        zip_with("n" * 300),
        b"PK\x03\x04 and then nothing",
        zip_of({"a": b"x" * 1000})[:-40],
    ],
)
def test_an_archive_that_leads_out_or_is_none_leaves_nothing(api: ApiClient, archive: bytes) -> None:
    put(api, "there.txt", b"kept")
    response = api.upload("POST", f"{FILES}?path=x.zip", "fileContent", "x.zip", archive)
    assert api.refused(response, 422).startswith("Illegal argument: ")
    response = api.upload("POST", "/flows/import", "fileUpload", "x.zip", archive)
    assert response.status == 422 or b"n" * 300 in archive
    assert [file.uri for file in api.stores.storage.list("kestra:///")] == ["kestra:///company/team/_files/there.txt"]


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../../x",
        "a/./b",
        "/a//b",
        "//etc/passwd",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "x" * 201,
        "a/" * 400 + "b",
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("GET", "/stats"),
        ("GET", "/directory"),
        ("POST", "/directory"),
    ],
)
def test_no_path_leads_out(api: ApiClient, method: str, target: str, path: str) -> None:
    api.stores.storage.put("kestra:///company/team/secret", b"x")
    response = api.upload(method, f"{FILES}{target}?path={quote(path, safe='')}", "fileContent", "file", b"x")
    assert api.refused(response, 422).startswith("Illegal argument: ")
    api.refused(api.ask("PUT", f"{FILES}?from={quote(path, safe='')}&to=x"), 422)
    api.refused(api.ask("PUT", f"{FILES}?from=x&to={quote(path, safe='')}"), 422)
    assert [file.uri for file in api.stores.storage.list("kestra:///")] == ["kestra:///company/team/secret"]


def test_files_belong_to_who_may_see_the_namespace(api: ApiClient) -> None:
    put(api, "a.txt")
    api.become("viewer@company.team", "editor@other")
    assert read(api, "a.txt") == b"content"
    assert api.ask("DELETE", f"{FILES}?path=a.txt").status == 403
    assert api.upload("POST", f"{FILES}?path=b.txt", "fileContent", "file", b"x").status == 403
    api.become("editor@other")
    for target in (f"?path={quote('a.txt')}", "/search?q=", "/directory", "/stats", "/export"):
        assert api.ask("GET", FILES + target).status == 403, target


def test_a_file_comes_as_a_form(api: ApiClient) -> None:
    assert api.ask("POST", f"{FILES}?path=a.txt", "{}", content_type="application/json").status == 415
    assert "is sent, as `fileContent`" in api.refused(api.ask("POST", f"{FILES}?path=a.txt"), 422)
