"""Files of namespaces and their revisions (reference §12, §14.6). A folder is there as long as it holds something."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, BinaryIO, Literal, NotRequired, TypedDict

from headrace_engine.api import archives
from headrace_engine.api.downloads import ELSEWHERE, stored_file
from headrace_engine.api.execution_filters import revision_of
from headrace_engine.api.http import ApiError, Part, Request, Response, Stream, json_response, parts
from headrace_engine.api.names import namespace_of
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.api.saving import Saving
from headrace_engine.engine import Engine
from headrace_engine.file_versions import FileVersions
from headrace_engine.identity import Role
from headrace_engine.language import FlowError, Problem
from headrace_engine.ports import NotFoundError, StoredFile
from headrace_engine.run_stores import SCHEME, namespace_folder

_KEEP = ".keep"
"""An empty file that holds a folder which was made empty; lists leave it out."""
_FLOWS = "_flows"
"""A folder that is none: what is put there are flows."""
_LONGEST_PART = 200
_LONGEST = 700
"""Bytes of a path and of one of its parts: what S3 and file systems take, with room for what stands before."""
_PATH = Query("path", str, "The path of a file or folder, from the namespace's own.")
_NEEDED = Query("path", str, "The path of a file or folder, from the namespace's own.", required=True)


class FileView(TypedDict):
    """A file or folder; times are milliseconds since 1970, and a folder has none."""

    fileName: str
    type: Literal["File", "Directory"]
    size: int
    lastModifiedTime: NotRequired[int]
    creationTime: NotRequired[int]


class FileRevision(TypedDict):
    """A revision of a file; the first one is 1."""

    revision: int


class NamespaceFiles:
    """Answers requests about files of namespaces."""

    def __init__(self, engine: Engine, saving: Saving) -> None:
        self._flows = engine.stores.flows
        self._storage = engine.stores.storage
        self._versions = FileVersions(self._storage)
        self._saving = saving

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        files = "/namespaces/{namespace}/files"
        file = (Returns(200, bytes, "application/octet-stream"), ELSEWHERE)
        return (
            Route(
                "GET",
                files,
                self.get,
                role=Role.VIEWER,
                summary="Get a file",
                query=(_NEEDED, Query("revision", int, "Which revision of the file; the latest unless told.")),
                returns=file,
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{files}/revisions",
                self.revisions,
                role=Role.VIEWER,
                summary="List the revisions of a file",
                query=(_NEEDED,),
                returns=(Returns(200, list[FileRevision]),),
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{files}/search",
                self.search,
                role=Role.VIEWER,
                summary="List the paths that contain a text",
                query=(Query("q", str, "The text."),),
                returns=(Returns(200, list[str]),),
                refuses=(422,),
            ),
            Route(
                "GET",
                f"{files}/stats",
                self.stats,
                role=Role.VIEWER,
                summary="Get what is known of a file or folder",
                query=(_PATH,),
                returns=(Returns(200, FileView),),
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{files}/directory",
                self.directory,
                role=Role.VIEWER,
                summary="List what lies in a folder",
                query=(_PATH,),
                returns=(Returns(200, list[FileView]),),
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{files}/export",
                self.export,
                role=Role.VIEWER,
                summary="Get all files as a zip archive, with the flows of the namespace in the folder `_flows`",
                returns=(Returns(200, bytes, "application/zip"),),
                refuses=(422,),
            ),
            Route(
                "POST",
                files,
                self.put,
                role=Role.EDITOR,
                summary="Store a file; a zip archive whose name ends with .zip is unpacked in the namespace's folder",
                query=(_NEEDED,),
                bodies=(Body(dict[Literal["fileContent"], bytes], "multipart/form-data"),),
                returns=(Returns(200),),
                refuses=(409, 422),
            ),
            Route(
                "POST",
                f"{files}/directory",
                self.make_directory,
                role=Role.EDITOR,
                summary="Make a folder",
                query=(_NEEDED,),
                returns=(Returns(200),),
                refuses=(409, 422),
            ),
            Route(
                "PUT",
                files,
                self.move,
                role=Role.EDITOR,
                summary="Move a file or a folder to where there is none",
                query=(
                    Query("from", str, "The path it has.", required=True),
                    Query("to", str, "The path it shall have.", required=True),
                ),
                returns=(Returns(200),),
                refuses=(404, 409, 422),
            ),
            Route(
                "DELETE",
                files,
                self.delete,
                role=Role.EDITOR,
                summary="Delete a file, or a folder with all it holds",
                query=(_NEEDED,),
                returns=(Returns(204),),
                refuses=(404, 422),
            ),
        )

    # -- Reading ------------------------------------------------------------------------------------

    def get(self, request: Request, namespace: str) -> Response | Stream:
        """Return what a file holds."""
        path, revision = _path(request), revision_of(request)
        uri = _uri(namespace, path)
        if self._storage.stat(uri) is None:
            raise _missing(path)
        try:
            found = uri if revision is None else self._versions.at(uri, revision)
        except NotFoundError:
            raise ApiError(404, f"Not Found: {path} with revision {revision}") from None
        return stored_file(request, self._storage, found)

    def revisions(self, request: Request, namespace: str) -> Response:
        """Return the revisions of a file that can be read, the latest one last."""
        path = _path(request)
        try:
            found = self._versions.revisions(_uri(namespace, path))
        except NotFoundError:
            raise _missing(path) from None
        return json_response([{"revision": revision} for revision in found])

    def search(self, request: Request, namespace: str) -> Response:
        """Return paths, each with a slash before it."""
        wanted = (request.one("q") or "").casefold()
        return json_response([f"/{path}" for path, _ in self._files(namespace) if wanted in path.casefold()])

    def stats(self, request: Request, namespace: str) -> Response:
        """Return what is known of a file or folder; of the namespace's own folder without a path."""
        path = _path(request, needed=False)
        stored = self._storage.stat(_uri(namespace, path)) if path else None
        if stored is not None:
            return json_response(_file(stored))
        if path and not self._is_folder(namespace, path):
            raise _missing(path)
        return json_response(_folder(path.rpartition("/")[2] or "/"))

    def directory(self, request: Request, namespace: str) -> Response:
        """Return the folders and files directly in a folder, in the namespace's own without a path."""
        path = _path(request, needed=False)
        files, folders = self._storage.children(_uri(namespace, path))
        if path and not files and not folders:
            raise _missing(path)
        views = [_folder(name) for name in folders]
        return json_response(views + [_file(each) for each in files if not _is_marker(each)])

    def export(self, request: Request, namespace: str) -> Response | Stream:
        """Return all files of the namespace, and its flows."""
        namespace_of(namespace)

        def contents() -> Iterator[tuple[str, IO[bytes]]]:
            for path, stored in self._files(namespace):
                yield path, self._storage.open(stored.uri)
            names = [name for name in self._flows.names(namespace) if name[0] == namespace]
            for flow in self._flows.latest(names):
                yield f"{_FLOWS}/{flow.id}.yml", io.BytesIO(flow.source.encode())

        return archives.zipped(contents(), f"{namespace}_files.zip", request)

    # -- Changing -----------------------------------------------------------------------------------

    def put(self, request: Request, namespace: str) -> Response:
        """Store a file, or the files of an archive: all of them may be stored, or none is."""
        path = _path(request)
        request.note(path)
        namespace_of(namespace)
        sent = [part for part in parts(request) if part.name == "fileContent"]
        if len(sent) != 1:
            raise ApiError(422, "Illegal argument: one file is sent, as `fileContent`", [("is missing", "fileContent")])
        part = sent[0]
        if (part.filename or "").lower().endswith(".zip") and archives.is_archive(part):
            self._unpack(namespace, archives.opened(part.path or io.BytesIO(part.held)))
        elif path.startswith(f"{_FLOWS}/"):
            self._save_flows(namespace, {path: part.content})
        else:
            self._refuse_obstacles(namespace, [path])
            with _stream(part) as content:
                self._versions.put(_uri(namespace, path), content)
        return Response(200)

    def _unpack(self, namespace: str, archive: archives.Archive) -> None:
        names = [_checked(name) for name in archive.names()]
        self._refuse_obstacles(namespace, [name for name in names if not name.startswith(f"{_FLOWS}/")])
        archive.verify()
        flows: dict[str, bytes] = {}
        for name, content in archive.files():
            if name.startswith(f"{_FLOWS}/"):
                flows[name] = content.read()
        self._save_flows(namespace, flows)
        for name, content in archive.files():
            if name not in flows:
                self._versions.put(_uri(namespace, name), content)

    def _save_flows(self, namespace: str, files: dict[str, bytes]) -> None:
        sources = []
        for path, content in files.items():
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise FlowError([Problem("", "The file is not UTF-8 text.", 1, 1, path)]) from None
            for definition, source in self._saving.parsed_all(text):
                if definition.namespace != namespace:
                    message = f"The flow `{definition.id}` belongs to the namespace `{definition.namespace}`."
                    raise FlowError([Problem("namespace", message, 1, 1, path)])
                sources.append(source)
        for source in sources:
            self._saving.save(source)

    def make_directory(self, request: Request, namespace: str) -> Response:
        """Make a folder; one that is there stays as it is."""
        path = _path(request)
        request.note(path)
        marker = f"{path}/{_KEEP}"
        if not self._is_folder(namespace, path):
            self._refuse_obstacles(namespace, [marker])
            self._storage.put(_uri(namespace, marker), b"")
        return Response(200)

    def move(self, request: Request, namespace: str) -> Response:
        """Move a file, or what a folder holds, file by file: what is interrupted is finished by doing it again."""
        source, target = _path(request, "from"), _path(request, "to")
        request.note(f"{source} to {target}")
        stored = self._storage.stat(_uri(namespace, source))
        moved = {source: target} if stored is not None else {}
        for path, _ in self._files(namespace, source, markers=True) if stored is None else ():
            moved[path] = target + path[len(source) :]
        if not moved:
            raise _missing(source)
        if source == target:
            return Response(200)
        if target.startswith(f"{source}/"):
            raise ApiError(422, "Illegal argument: a folder cannot be moved into itself", [("is within `from`", "to")])
        for path in moved.values():
            if self._storage.stat(_uri(namespace, path)) is not None:
                raise ApiError(409, f"Illegal state: there is a file `{path}` already")
        self._refuse_obstacles(namespace, list(moved.values()))
        for old, new in moved.items():
            self._versions.move(_uri(namespace, old), _uri(namespace, new))
        return Response(200)

    def delete(self, request: Request, namespace: str) -> Response:
        """Delete a file, or all that a folder holds, and the revisions of it all."""
        path = _path(request)
        request.note(path)
        if not self._versions.delete(_uri(namespace, path)):
            found = self._files(namespace, path, markers=True)
            if not found:
                raise _missing(path)
            for _, stored in found:
                self._versions.delete(stored.uri)
        return Response(204)

    # -- Looking ------------------------------------------------------------------------------------

    def _files(self, namespace: str, folder: str = "", *, markers: bool = False) -> list[tuple[str, StoredFile]]:
        """Return path and file of what lies in a folder at any depth."""
        before = len(_uri(namespace)) + 1
        found = self._storage.list(_uri(namespace, folder))
        return [(each.uri[before:], each) for each in found if markers or not _is_marker(each)]

    def _is_folder(self, namespace: str, path: str) -> bool:
        files, folders = self._storage.children(_uri(namespace, path))
        return bool(files or folders)

    def _refuse_obstacles(self, namespace: str, paths: list[str]) -> None:
        """Raise ApiError 409 where a file would lie within a file, or be where a folder is."""
        wanted = set(paths)
        above = {path[:end] for path in paths for end in range(len(path)) if path[end] == "/"}
        for path in sorted(above):
            if path in wanted or self._storage.stat(_uri(namespace, path)) is not None:
                raise ApiError(409, f"Illegal state: `{path}` is a file, nothing can lie in it")
        for path in sorted(wanted):
            if self._is_folder(namespace, path):
                raise ApiError(409, f"Illegal state: `{path}` is a folder")


def _path(request: Request, name: str = "path", *, needed: bool = True) -> str:
    """Return a path of the query, without slashes around it. Raises ApiError 400 and 422."""
    written = request.one(name)
    if written is None and needed:
        raise ApiError(400, f"Bad request: `{name}` is needed")
    path = (written or "").removeprefix("/").removesuffix("/")
    return _checked(path, name) if path or needed else ""


def _checked(path: str, name: str = "path") -> str:
    parts_ = path.split("/")
    too_long = len(path.encode("utf-8", "replace")) > _LONGEST
    if too_long or any(len(part.encode("utf-8", "replace")) > _LONGEST_PART for part in parts_):
        raise ApiError(422, "Illegal argument: the path is too long", [("is too long", name)])
    if not archives.is_inside(path):
        why = f"`{path[:100]}` is no path within the namespace's files"
        raise ApiError(422, f"Illegal argument: {why}", [(why, name)])
    return path


def _uri(namespace: str, path: str = "") -> str:
    root = f"{SCHEME}{namespace_folder(namespace_of(namespace))}/_files"
    return f"{root}/{path}" if path else root


def _is_marker(stored: StoredFile) -> bool:
    return stored.size == 0 and stored.uri.endswith(f"/{_KEEP}")


def _file(stored: StoredFile) -> FileView:
    at = int(stored.modified.timestamp() * 1000)
    name = stored.uri.rpartition("/")[2]
    return {"fileName": name, "type": "File", "size": stored.size, "lastModifiedTime": at, "creationTime": at}


def _folder(name: str) -> FileView:
    return {"fileName": name, "type": "Directory", "size": 0}


def _stream(part: Part) -> BinaryIO:
    return part.path.open("rb") if part.path is not None else io.BytesIO(part.held)


def _missing(path: str) -> ApiError:
    return ApiError(404, f"Not Found: {path}")
