"""Packages that scripts have installed: shared by archives in storage, and kept where the next attempt finds them.

An archive's name follows from what the job itself asks to have installed, and from what it was installed for (the key,
of which its maker says the rest). Each namespace has its own; an attempt reads and writes those of its own job alone,
which the platform holds against the job it has. So nobody fills what another namespace installs from. Nor does people's
code fill what its own does: it never has the token with which archives are written, and a folder that it
changed is not used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace_engine.ports import Job, PortError, Storage
from headrace_engine.run_stores import SCHEME, namespace_folder

_MOST_KEPT = 1024**3
"""Bytes of packages that one place keeps."""
_ASKED = ("dependencies", "pythonVersion", "packageManager")
_KEY = re.compile(r"[a-z0-9]{8,64}")
_CHUNK = 1024 * 1024


def asked_key(properties: Mapping[str, Any]) -> str | None:
    """Return what names the packages that a task with these properties asks for; None when it asks for none."""
    if not properties.get("dependencies"):
        return None
    asked: dict[str, Any] = {name: properties.get(name) for name in _ASKED}
    if isinstance(asked["dependencies"], list):
        asked["dependencies"] = sorted(map(str, asked["dependencies"]))
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def package_archive(job: Job, key: str) -> str:
    """Return the URI of the archive of what *job* asks for, installed as *key* says. Raises ValueError."""
    asked = asked_key(job.properties)
    if asked is None or not _KEY.fullmatch(key):
        raise ValueError(f"`{key}` names no packages of this job")
    return f"{SCHEME}{namespace_folder(job.namespace)}/_packages/{asked}-{key}.tar.gz"


def is_package_archive(job: Job, uri: str) -> bool:
    """Tell whether *uri* is an archive of what *job* itself asks for."""
    key = uri.rpartition("-")[2].removesuffix(".tar.gz")
    try:
        return uri == package_archive(job, key)
    except ValueError:
        return False


class ArchiveShare:
    """`PackageShare` of one attempt, in internal storage."""

    def __init__(self, job: Job, storage: Storage) -> None:
        self._job = job
        self._storage = storage

    def fetch(self, key: str, archive: Path) -> bool:
        """See `PackageShare.fetch`."""
        try:
            with self._storage.open(package_archive(self._job, key)) as stored, archive.open("wb") as target:
                shutil.copyfileobj(stored, target, _CHUNK)
        except (PortError, ValueError):
            return False
        return True

    def keep(self, key: str, archive: Path) -> None:
        """See `PackageShare.keep`."""
        with suppress(PortError, ValueError), archive.open("rb") as file:
            self._storage.put(package_archive(self._job, key), file)


class KeptPackages:
    """The packages of one place, each set in a folder of *root*, which one namespace uses at a time.

    What a folder looked like before people's code began is remembered, where that cannot get at it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, str] = {}

    def note(self) -> None:
        """Remember what has been installed. To be called before people's code begins."""
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if folder.name not in self._known and _KEY.fullmatch(folder.name):
                _close(folder)  # or Python would add to it, and it would be a changed one
                self._known[folder.name] = fingerprint(folder)

    def tidy(self) -> None:
        """Leave only what is as it was when it was noted, and nothing when that is too much.

        To be called when nothing of people's code runs any more.
        """
        for name in list(self._known):
            if fingerprint(self.root / name) != self._known[name]:
                del self._known[name]
        if sum(_size(self.root / name) for name in self._known) > _MOST_KEPT:
            self._known.clear()
        if not self._known or self.root.is_symlink():
            self._known.clear()
            remove(self.root)
            return
        for path in self.root.iterdir():
            if path.name not in self._known:
                remove(path)


def fingerprint(folder: Path) -> str:
    """Return what changes whenever something in *folder* does: nobody sets back the time of a file's last change."""
    digest = hashlib.sha256()
    open_ = [folder]
    while open_:
        path = open_.pop()
        try:
            own = path.lstat()
            if not stat.S_ISDIR(own.st_mode):
                return ""
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            return ""
        digest.update(f"{path}\0{own.st_ino} {own.st_ctime_ns} {own.st_mode}\0".encode(errors="surrogateescape"))
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            told = f"{entry.name}\0{info.st_ino} {info.st_ctime_ns} {info.st_size} {info.st_mode}\0"
            digest.update(told.encode(errors="surrogateescape"))
            if stat.S_ISDIR(info.st_mode):
                open_.append(Path(entry.path))
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove what lies at *path*, whatever its owner's own permissions say; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        _set_modes(path, stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _close(folder: Path) -> None:
    """Have nobody add to *folder*, or to those in it, by accident."""
    _set_modes(folder, stat.S_IRUSR | stat.S_IXUSR)


def _set_modes(folder: Path, mode: int) -> None:
    with suppress(OSError):
        folder.chmod(mode)
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                _set_modes(Path(entry.path), mode)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
