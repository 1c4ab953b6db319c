"""Packages of scripts: whose archive is whose, and folders that are never used again when somebody changed them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.adapters.memory.clock import ManualClock
from headrace_engine.adapters.memory.storage import MemoryStorage
from headrace_engine.packages import (
    ArchiveShare,
    KeptPackages,
    asked_key,
    fingerprint,
    is_package_archive,
    package_archive,
)
from headrace_engine.ports import AttemptId, Job

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "0123456789abcdef01234567"


def job(namespace: str = "company.team", **properties: Any) -> Job:
    asked = {"dependencies": ["pandas", "requests==2.32"], **properties}
    return Job(AttemptId("x", "r", 0), "python", "task", namespace, "flow", 1, START, asked)


# -- Archives ------------------------------------------------------------------------------------------


def test_what_one_keeps_another_that_asks_for_the_same_fetches(tmp_path: Path) -> None:
    storage = MemoryStorage(ManualClock(START))
    (tmp_path / "made").write_bytes(b"packages")
    ArchiveShare(job(), storage).keep(KEY, tmp_path / "made")
    again = job(dependencies=["requests==2.32", "pandas"])
    assert ArchiveShare(again, storage).fetch(KEY, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"packages"


@pytest.mark.parametrize(
    "other",
    [
        job(dependencies=["pandas"]),
        job(pythonVersion="3.12"),
        job(packageManager="PIP"),
        job(namespace="company.other"),
    ],
)
def test_who_asks_for_something_else_or_elsewhere_finds_nothing(tmp_path: Path, other: Job) -> None:
    storage = MemoryStorage(ManualClock(START))
    (tmp_path / "made").write_bytes(b"packages")
    ArchiveShare(job(), storage).keep(KEY, tmp_path / "made")
    assert not ArchiveShare(other, storage).fetch(KEY, tmp_path / "got")
    assert not ArchiveShare(job(), storage).fetch(KEY.replace("0", "f"), tmp_path / "got")


def test_an_attempt_may_have_the_archives_of_what_it_asks_for() -> None:
    assert is_package_archive(job(), package_archive(job(), KEY))


@pytest.mark.parametrize(
    "uri",
    [
        package_archive(job("company.other"), KEY),
        package_archive(job(dependencies=["numpy"]), KEY),
        f"kestra:///company/team/_packages/{asked_key(job().properties)}-../../other.tar.gz",
        f"kestra:///company/team/_packages/{asked_key(job().properties)}-a/b.tar.gz",
        f"kestra:///company/team/_packages/../../other/_packages/{asked_key(job().properties)}-{KEY}.tar.gz",
        f"kestra:///company/team/_packages/{asked_key(job().properties)}-{KEY}.zip",
        f"kestra:///company/team/_files/{asked_key(job().properties)}-{KEY}.tar.gz",
    ],
)
def test_and_no_other(uri: str) -> None:
    assert not is_package_archive(job(), uri)


def test_a_task_without_dependencies_has_no_archive(tmp_path: Path) -> None:
    assert not is_package_archive(job(dependencies=[]), package_archive(job(), KEY))
    assert not ArchiveShare(job(dependencies=None), MemoryStorage(ManualClock(START))).fetch(KEY, tmp_path / "got")


# -- Folders -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with packages, as it is when people's code begins."""
    made = tmp_path / "packages" / KEY
    (made / "pandas").mkdir(parents=True)
    (made / "pandas" / "__init__.py").write_text("x = 1\n")
    return made


@pytest.fixture
def kept(folder: Path) -> KeptPackages:
    kept = KeptPackages(folder.parent)
    kept.note()
    return kept


def test_what_nobody_changed_stays(kept: KeptPackages, folder: Path) -> None:
    before = fingerprint(folder)
    for _ in range(3):
        kept.note()
        kept.tidy()
    assert fingerprint(folder) == before


def write_file(folder: Path) -> None:
    (folder / "pandas" / "__init__.py").write_text("x = 2\n")


def write_file_and_set_its_time_back(folder: Path) -> None:
    path = folder / "pandas" / "__init__.py"
    info = path.stat()
    path.write_text("x = 2\n")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def add_module(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "sitecustomize.py").write_text("raise SystemExit\n")
    folder.chmod(0o500)


def open_folder(folder: Path) -> None:
    (folder / "pandas").chmod(0o700)


def put_another_in_its_place(folder: Path) -> None:
    folder.chmod(0o700)
    folder.rename(folder.with_name("moved"))
    (folder / "pandas").mkdir(parents=True)
    (folder / "pandas" / "__init__.py").write_text("x = 2\n")


def put_a_link_in_its_place(folder: Path) -> None:
    folder.chmod(0o700)
    folder.symlink_to(folder.rename(folder.parent.parent / "moved"))


def put_a_link_in_the_place_of_all(folder: Path) -> None:
    root = folder.parent
    root.symlink_to(root.rename(root.with_name("moved")))


def put_a_file_in_its_place(folder: Path) -> None:
    folder.chmod(0o700)
    folder.rename(folder.with_name("moved"))
    folder.write_text("")


@pytest.mark.parametrize(
    "change",
    [
        write_file,
        write_file_and_set_its_time_back,
        add_module,
        open_folder,
        put_another_in_its_place,
        put_a_link_in_its_place,
        put_a_link_in_the_place_of_all,
        put_a_file_in_its_place,
    ],
)
def test_what_somebody_changed_is_not_used_again(
    kept: KeptPackages, folder: Path, change: Callable[[Path], None]
) -> None:
    change(folder)
    kept.tidy()
    assert not folder.exists()


def test_nothing_else_is_left_in_the_place(kept: KeptPackages, folder: Path) -> None:
    (folder.parent / "note").write_text("from an earlier attempt")
    later = folder.with_name("f" * 24)
    for name in ("closed", later.name):
        (folder.parent / name).mkdir()
        (folder.parent / name / "note").write_text("too")
        (folder.parent / name).chmod(0)
    kept.tidy()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_too_much_is_not_kept(kept: KeptPackages, folder: Path) -> None:
    large = folder.with_name("a" * 24)
    large.mkdir()
    with (large / "data").open("wb") as file:
        file.truncate(1024**3)
    kept.note()
    kept.tidy()
    assert not folder.parent.exists()


def test_what_is_being_made_or_is_no_set_of_packages_is_not_noted(kept: KeptPackages, folder: Path) -> None:
    for name in (".making-abc", "python-3.13-0123456789abcdef01234567"):
        (folder.parent / name).mkdir()
    kept.note()
    kept.tidy()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
