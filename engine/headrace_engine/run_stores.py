"""What one attempt sees of internal storage and the key-value store: names, paths, access rules (reference §12)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from headrace_engine.file_versions import FileVersions
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import TaskFailure, format_duration, parse_duration
from headrace_engine.ports import KV, Clock, Job, KeyExistsError, KVEntry, NotFoundError, Storage
from headrace_engine.services import Settings, Stores

SCHEME = "kestra://"

_EXECUTION_PARTS = ("tasks", "inputs", "trigger")
"""The folders of an execution that hold people's files; others hold what the engine itself offloads."""


def slugify(text: str) -> str:
    """Return *text* as Kestra writes it into storage paths: lower case, runs of anything else one dash."""
    plain = unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w\s-]", "", plain)
    return re.sub(r"[\s_-]+", "-", plain).strip("-").lower()


def namespace_folder(namespace: str) -> str:
    """Return the folder of *namespace* in internal storage: ``/company/team``."""
    return "/" + namespace.replace(".", "/")


def execution_folder(namespace: str, flow_id: str, execution_id: str) -> str:
    """Return the URI of the folder with everything an execution stores."""
    return f"{SCHEME}{namespace_folder(namespace)}/{slugify(flow_id)}/executions/{execution_id}"


@dataclass(frozen=True, slots=True)
class FilePolicy:
    """What an attempt may read besides its own files."""

    may_read: Callable[[str], bool] = lambda _namespace: True
    """Whether files of executions, and namespace files, of this namespace may be read (Kestra's open version: all)."""
    may_write: Callable[[str], bool] = lambda _namespace: True
    """Whether namespace files of this namespace may be written and deleted."""
    local_paths: Sequence[Path] = ()
    """Folders whose files ``file:///`` URIs may name."""


def file_policy(settings: Settings, namespace: str) -> FilePolicy:
    """Return what *settings* let the flows of a namespace read and write."""
    reaches = partial(settings.may_reach, namespace)
    return FilePolicy(reaches, reaches)


def run_files(stores: Stores, settings: Settings, job: Job) -> RunFiles:
    """Return what the attempt that runs *job* sees of internal storage."""
    return RunFiles(
        stores.storage,
        stores.clock,
        namespace=job.namespace,
        flow_id=job.flow_id,
        execution_id=job.attempt.execution_id,
        task_id=job.task_id,
        task_run_id=job.attempt.task_run_id,
        attempt=job.attempt.number,
        policy=file_policy(settings, job.namespace),
    )


class RunFiles:
    """Internal storage for one attempt; implements plugin.Files."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        namespace: str,
        flow_id: str,
        execution_id: str,
        task_id: str,
        task_run_id: str,
        attempt: int,
        policy: FilePolicy | None = None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._namespace = namespace
        self._policy = policy or FilePolicy()
        self._execution = execution_folder(namespace, flow_id, execution_id)
        self._folder = f"{self._execution}/tasks/{slugify(task_id)}/{task_run_id}"
        if attempt:
            self._folder += f"/{attempt}"  # an earlier attempt's files stay as they were
        self._cache_folder = f"{SCHEME}{namespace_folder(namespace)}/{slugify(flow_id)}/{slugify(task_id)}/cache"
        self._engine_file = f"{self._execution}/_outputs/{task_run_id}-{attempt}.json"
        self._names: dict[str, int] = {}
        """The names used, to the number that the next one like it gets."""

    @property
    def folder(self) -> str:
        """The URI of the folder with this attempt's own files."""
        return self._folder

    @property
    def engine_file(self) -> str:
        """The URI of the file for the attempt's outputs where they are large."""
        return self._engine_file

    def put(self, name: str, content: bytes | BinaryIO | Path) -> str:
        """Store a file of this attempt; a name used before gets a number."""
        uri = f"{self._folder}/{self._unique(_file_name(name))}"
        self._store(uri, content)
        return uri

    def put_outputs(self, content: bytes) -> str:
        """Store the attempt's outputs for the engine, where purging files does not reach them."""
        self._storage.put(self._engine_file, content)
        return self._engine_file

    def open(self, uri: str) -> BinaryIO:
        """Open for reading."""
        local = self._local(uri)
        try:
            return local.open("rb") if local else self._storage.open(self.readable(uri))
        except (NotFoundError, FileNotFoundError):
            raise TaskFailure(f"The file '{uri}' does not exist") from None

    def size(self, uri: str) -> int:
        """Return the bytes of a file."""
        local = self._local(uri)
        if local is not None:
            if not local.is_file():
                raise TaskFailure(f"The file '{uri}' does not exist")
            return local.stat().st_size
        stored = self._storage.stat(self.readable(uri))
        if stored is None:
            raise TaskFailure(f"The file '{uri}' does not exist")
        return stored.size

    def exists(self, uri: str) -> bool:
        """Tell whether there is such a file."""
        local = self._local(uri)
        return local.is_file() if local else self._storage.stat(self.readable(uri)) is not None

    def delete(self, uri: str) -> bool:
        """Remove a file of this execution, or a namespace file that may be written."""
        target = self.readable(uri)
        if not self._is_own(target):
            namespace, is_namespace_file = _owner(target)
            if not is_namespace_file or namespace is None or not self._policy.may_write(namespace):
                raise TaskFailure(f"Unable to delete the file '{uri}' as it didn't belong to the current execution")
            return FileVersions(self._storage).delete(target)
        return self._storage.delete(target)

    def purge_execution(self) -> list[str]:
        """Remove the execution's files: those of its tasks, inputs and trigger."""
        return purge_files(self._storage, self._execution)

    def namespace_files(self, namespace: str) -> list[str]:
        """Return the paths of a namespace's files, sorted."""
        self._check_namespace(namespace, self._policy.may_read, "read")
        root = f"{SCHEME}{namespace_folder(namespace)}/_files"
        return sorted(stored.uri[len(root) + 1 :] for stored in self._storage.list(root))

    def put_namespace_file(self, namespace: str, path: str, content: bytes | BinaryIO | Path) -> str:
        """Store a namespace file; what it replaces is an earlier revision then."""
        self._check_namespace(namespace, self._policy.may_write, "write")
        uri = _namespace_file(namespace, path)
        versions = FileVersions(self._storage)
        if isinstance(content, Path):
            with content.open("rb") as stream:
                versions.put(uri, stream)
        else:
            versions.put(uri, content)
        return uri

    def delete_namespace_file(self, namespace: str, path: str) -> bool:
        """Remove a namespace file with all its revisions."""
        self._check_namespace(namespace, self._policy.may_write, "write")
        return FileVersions(self._storage).delete(_namespace_file(namespace, path))

    def open_cache(self, key: str | None = None, max_age: timedelta | None = None) -> BinaryIO | None:
        """Open the task's cache unless it is older than *max_age*."""
        stored = self._storage.stat(self._cache(key))
        if stored is None or (max_age is not None and self._clock.now() - stored.modified > max_age):
            return None
        with suppress(NotFoundError):
            return self._storage.open(stored.uri)
        return None

    def put_cache(self, content: Path, key: str | None = None) -> str:
        """Replace the task's cache."""
        self._store(self._cache(key), content)
        return self._cache(key)

    def put_task_cache(self, uri: str, outputs: Any) -> None:
        """Keep the outputs of an attempt for a later one like it (``taskCache``)."""
        content = {"stored": self._clock.now().isoformat(), "outputs": outputs}
        self._storage.put(uri, json.dumps(content, ensure_ascii=False).encode())

    def _cache(self, key: str | None) -> str:
        return f"{self._cache_folder}/{key}/cache.zip" if key else f"{self._cache_folder}/cache.zip"

    def _store(self, uri: str, content: bytes | BinaryIO | Path) -> None:
        if isinstance(content, Path):
            with content.open("rb") as stream:
                self._storage.put(uri, stream)
        else:
            self._storage.put(uri, content)

    def _unique(self, name: str) -> str:
        stem, dot, extension = name.partition(".")
        number = self._names.get(name, 0)
        candidate = name if not number else f"{stem}-{number}{dot}{extension}"
        while candidate in self._names:
            number += 1
            candidate = f"{stem}-{number}{dot}{extension}"
        self._names[name] = number + 1
        self._names.setdefault(candidate, 1)
        return candidate

    def _check_namespace(self, namespace: str, allowed: Callable[[str], bool], verb: str) -> None:
        if namespace != self._namespace and not allowed(namespace):
            raise TaskFailure(f"The namespace '{self._namespace}' may not {verb} files of the namespace '{namespace}'")

    def _local(self, uri: str) -> Path | None:
        if not uri.startswith("file://"):
            return None
        path = Path(unquote(urlsplit(uri).path)).resolve()
        if not any(path.is_relative_to(folder.resolve()) for folder in self._policy.local_paths):
            raise TaskFailure(f"The file '{uri}' is not in one of the allowed local paths")
        return path

    def readable(self, uri: str) -> str:
        """Return the storage URI that *uri* names, if this attempt may read it."""
        target = self._resolve(uri)
        if self._is_own(target):
            return target
        namespace, _ = _owner(target)
        if namespace is None or (namespace != self._namespace and not self._policy.may_read(namespace)):
            raise TaskFailure(f"Unable to read the file '{uri}' as it didn't belong to the current execution")
        return target

    def is_writable(self, uri: str) -> bool:
        """Tell whether *uri* is where this attempt's own files lie, or its outputs for the engine."""
        plain = all(part not in ("", ".", "..") for part in uri.removeprefix(f"{SCHEME}/").split("/"))
        return plain and (uri == self._engine_file or uri.startswith(f"{self._folder}/"))

    def _is_own(self, uri: str) -> bool:
        own = uri.startswith(self._execution + "/")
        return own and uri[len(self._execution) + 1 :].partition("/")[0] in _EXECUTION_PARTS

    def _resolve(self, uri: str) -> str:
        if uri.startswith("nsfile://"):
            namespace, _, path = uri.removeprefix("nsfile://").partition("/")
            return _namespace_file(namespace or self._namespace, path)
        if not uri.startswith("kestra:///"):
            raise TaskFailure(f"'{uri}' is not the URI of a stored file: it should begin with kestra:/// or nsfile://")
        _check_path(uri, uri.removeprefix("kestra:///"))
        return uri


def task_cache_file(namespace: str, flow_id: str, task_id: str, key: str) -> str:
    """Return where the outputs of a task are kept under *key*."""
    return f"{SCHEME}{namespace_folder(namespace)}/{slugify(flow_id)}/{slugify(task_id)}/_cache/{key}.json"


def is_file_of(folder: str, uri: str) -> bool:
    """Tell whether *uri* names a file of people's in the *folder* of an execution."""
    plain = all(part not in ("", ".", "..") for part in uri.removeprefix(f"{SCHEME}/").split("/"))
    part, slash, name = uri.removeprefix(f"{folder}/").partition("/")
    return plain and uri.startswith(f"{folder}/") and part in _EXECUTION_PARTS and bool(slash and name)


def purge_files(storage: Storage, folder: str, *, everything: bool = False) -> list[str]:
    """Remove people's files in the *folder* of an execution, or all that is there; return their URIs."""
    parts = [folder] if everything else [f"{folder}/{part}" for part in _EXECUTION_PARTS]
    return [stored.uri for part in parts for stored in storage.list(part) if storage.delete(stored.uri)]


def _owner(uri: str) -> tuple[str | None, bool]:
    """Return the namespace a storage URI belongs to and whether it is a namespace file; (None, False) if neither.

    An upload that no execution has yet (`headrace_engine.uploads`) is neither.
    """
    parts = uri.removeprefix("kestra:///").split("/")
    if "_files" in parts[1:-1]:
        return ".".join(parts[: parts.index("_files")]), True
    for index in range(2, len(parts) - 1):
        if parts[index] == "executions" and index + 2 < len(parts) and parts[index + 2] in _EXECUTION_PARTS:
            return ".".join(parts[: index - 1]), False
    return None, False


def _namespace_file(namespace: str, path: str) -> str:
    path = path.lstrip("/")
    _check_path(path, path)
    return f"{SCHEME}{namespace_folder(namespace)}/_files/{path}"


def _check_path(uri: str, path: str) -> None:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise TaskFailure(f"'{uri}' is not a path inside the storage: it has an empty part, `.` or `..`")


def _file_name(name: str) -> str:
    """Return *name* as one path part without anything that a URI or a shell would take for more."""
    plain = unicodedata.normalize("NFC", name).strip("/")
    safe = re.sub(r"[^\w.~@=+-]", "_", plain).lstrip(".")
    return safe[-200:] or "file"


_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")


class RunKV:
    """The key-value store of one namespace at one instant; implements plugin.NamespaceStore."""

    def __init__(self, kv: KV, clock: Clock, namespace: str) -> None:
        self._kv = kv
        self._clock = clock
        self._namespace = namespace

    def get(self, key: str) -> Any:
        """Return the value."""
        entry = self._kv.get(self._namespace, key)
        if entry is None or self._expired(entry):
            raise KeyError(key)
        return entry.value

    def set(
        self, key: str, value: Any, *, kind: str | None = None, ttl: timedelta | None = None, overwrite: bool = True
    ) -> None:
        """Store *value*."""
        if not _KEY.fullmatch(key):
            raise TaskFailure(
                f"`{key}` is not a valid key: it must begin with a letter or digit, "
                "and may go on with letters, digits, `.`, `_` and `-`"
            )
        kind = kind or kind_of_value(value)
        try:
            self._kv.put(
                self._namespace,
                key,
                kind,
                convert(value, kind),
                now=self._clock.now(),
                ttl=ttl,
                overwrite=overwrite,
            )
        except KeyExistsError:
            raise KeyError(key) from None

    def delete(self, key: str) -> bool:
        """Remove the key."""
        return self._kv.delete(self._namespace, key)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the live keys with *prefix*, sorted."""
        return sorted(entry.key for entry in self._kv.list(self._namespace, prefix) if not self._expired(entry))

    def _expired(self, entry: KVEntry) -> bool:
        return entry.expires is not None and entry.expires <= self._clock.now()


def kind_of_value(value: Any) -> str:
    """Return the kind under which a value is stored when its task does not say one."""
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int | float):
        return "NUMBER"
    if isinstance(value, datetime):
        return "DATETIME"
    if isinstance(value, date):
        return "DATE"
    if isinstance(value, timedelta):
        return "DURATION"
    return "STRING" if isinstance(value, str) else "JSON"


def convert(value: Any, kind: str) -> Any:
    """Return *value* as JSON holds a value of *kind*. Raises TaskFailure when it is none."""
    try:
        return _CONVERTERS[kind](value)
    except (ValueError, TypeError) as error:
        raise TaskFailure(f"`{value}` is not a {kind}: {error}") from None


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value if isinstance(value, str) else _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).strip().lower() in ("true", "false"):
        return str(value).strip().lower() == "true"
    raise ValueError("expected true or false")


def _datetime(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    datetime.fromisoformat(str(value))
    return str(value)


def _date(value: Any) -> str:
    return date.fromisoformat(value.isoformat() if isinstance(value, date) else str(value)).isoformat()


def _duration(value: Any) -> str:
    return format_duration(value if isinstance(value, timedelta) else parse_duration(str(value)))


def _json(value: Any) -> Any:
    if isinstance(value, str):
        return json.loads(value)
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "STRING": _text,
    "NUMBER": _number,
    "BOOLEAN": _boolean,
    "DATETIME": _datetime,
    "DATE": _date,
    "DURATION": _duration,
    "JSON": _json,
}
