"""The packages that Python scripts ask for with ``dependencies:``, and the Python they ask for with ``pythonVersion:``.

Where the code runs on this machine, packages are installed into a folder that later attempts use again: one for each
list of packages and version of Python. The folder appears at once when it is complete, so that attempts may install the
same at the same time. Machines that share nothing else may share those folders as archives (`PackageShare`). In a
container the packages are installed inside it, before the commands.

``uv`` installs them where it is there, else ``pip``; both read their own variables (``UV_INDEX_URL``,
``PIP_INDEX_URL``, ``UV_FIND_LINKS`` …) from the worker's environment and the task's ``env``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headrace_engine.plugin import PackageShare, RunContext, TaskFailure
from headrace_runners.contract import Command, Site, Stream, TaskRunner

Manager = Literal["UV", "PIP"]
_PROGRAMS = ("python", "python3")
_LAST_LINES = 15
_ABOUT = "import sys, platform as p; print(sys.implementation.cache_tag, p.system().lower(), p.machine())"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a script asks for."""

    packages: tuple[str, ...] = ()
    """Lines as of a requirements.txt."""
    version: str = ""
    """Of Python, such as ``3.12``; that which is there when empty."""
    manager: Manager | None = None
    is_cached: bool = True

    @classmethod
    def of(cls, packages: Sequence[str], version: str, manager: Manager | None, *, is_cached: bool) -> Wanted:
        """Return what is wanted, the same for the same packages in any order."""
        return cls(tuple(sorted({each.strip() for each in packages if each.strip()})), version, manager, is_cached)

    @property
    def requirements(self) -> str:
        """The content of a requirements.txt."""
        return "".join(f"{each}\n" for each in self.packages)


@dataclass(frozen=True, slots=True)
class Provided:
    """What a script on this machine has besides what is installed here."""

    python: str = ""
    """How to call Python; as everywhere else when empty."""
    programs: tuple[str, ...] = ()
    """Folders that come first on the PATH."""
    modules: tuple[str, ...] = ()
    """Folders that come first where modules are looked for."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a shell that make it so."""
        if self.programs:
            yield f'export PATH={shlex.quote(os.pathsep.join(self.programs))}:"$PATH"'
        if self.modules:
            yield f'export PYTHONPATH={shlex.quote(os.pathsep.join(self.modules))}"${{PYTHONPATH:+:$PYTHONPATH}}"'


@dataclass
class Workshop:
    """Provides what scripts on this machine ask for, with the machine's own tools."""

    runner: TaskRunner
    context: RunContext
    site: Site
    env: Mapping[str, str] = field(default_factory=dict)
    """The task's own variables."""

    def provide(self, wanted: Wanted, own: str) -> Provided:
        """Return what the script is to have; it is there now. Raises TaskFailure when it cannot be had.

        *own* begins the names of files that are the attempt's.
        """
        python, programs = self._python(wanted.version)
        if not wanted.packages:
            return Provided(python, programs)
        folder = self._packages(wanted, python or self.site.executable(_PROGRAMS), own)
        return Provided(python, (str(folder / "bin"), *programs), (str(folder),))

    # -- Packages -----------------------------------------------------------------------------------

    def _packages(self, wanted: Wanted, python: str, own: str) -> Path:
        if not wanted.is_cached:
            folder = self.context.working_dir / f"{own}-packages"
            self._install(wanted, python, folder, own)
            return folder
        key = package_key(wanted.packages, self._said([python, "-c", _ABOUT]))
        cache = package_cache(self.context)
        folder = cache / key
        if folder.is_dir():
            self.context.log.debug(f"Using packages that were installed before: {folder}")
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
        try:
            share = self.context.code.share
            if share is None or not _fetched(share, key, making):
                self._install(wanted, python, making, own)
                if share is not None:
                    _keep(share, key, making)
            making.chmod(0o755)
            with suppress(OSError):  # somebody else was faster, and theirs is as good
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return folder

    def _install(self, wanted: Wanted, python: str, folder: Path, own: str) -> None:
        requirements = self.context.working_dir / f"{own}-requirements.txt"
        requirements.write_text(wanted.requirements, encoding="utf-8")
        installer = self._installer(wanted.manager, python)
        names = ", ".join(wanted.packages)
        self.context.log.debug(f"Installing {names} with {Path(installer[0]).name}")
        told: deque[str] = deque(maxlen=_LAST_LINES)
        code = self._run([*installer, "--target", str(folder), "-r", str(requirements)], told)
        if self.context.stopping:
            raise TaskFailure("The attempt was stopped while its packages were installed")
        if code != 0:
            raise TaskFailure(f"The packages {names} could not be installed:\n" + "\n".join(told))

    def _installer(self, manager: Manager | None, python: str) -> list[str]:
        uv = self._uv() if manager != "PIP" else None
        if uv is not None:
            # Compiled now, as pip does: else the first script that imports them writes bytecode into a folder of all.
            return [uv, "pip", "install", "--quiet", "--no-progress", "--compile-bytecode", "--python", python]
        if manager == "UV":
            raise TaskFailure("`packageManager: UV` asks for uv, which is not installed on this machine")
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action", "ignore"]
        return [python, "-m", "pip", "install", *options]

    def _uv(self) -> str | None:
        try:
            return self.site.executable(("uv",))
        except TaskFailure:
            return None

    # -- Python -------------------------------------------------------------------------------------

    def _python(self, version: str) -> tuple[str, tuple[str, ...]]:
        """Return how to call the version, and a folder with it under its plain names; nothing when none is named."""
        if not version:
            return "", ()
        found = self._installed(version)
        folder = package_cache(self.context) / f"python-{version}-{_digest(found)}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in _PROGRAMS:
            # A script, not a link: Python looks for its own files from where it lies.
            _write_program(folder / name, found)
        return str(folder / "python"), (str(folder),)

    def _installed(self, version: str) -> str:
        for name in (f"python{version}", *_PROGRAMS):
            with suppress(TaskFailure):
                found = self.site.executable((name,))
                if self._is_version(found, version):
                    return found
        uv = self._uv()
        if uv is not None:
            for words in (["find"], ["install"], ["find"]):
                told: deque[str] = deque(maxlen=_LAST_LINES)
                if words == ["install"]:
                    self.context.log.debug(f"Installing Python {version} with uv")
                code = self._run([uv, "python", *words, "--quiet", version], told)
                if words == ["find"] and code == 0 and told and self._is_version(told[-1], version):
                    return told[-1]
        raise TaskFailure(
            f"`pythonVersion` asks for Python {version}, which is not on this machine"
            + ("" if uv else ", and there is no uv to install it")
        )

    def _is_version(self, python: str, version: str) -> bool:
        wanted = version.split(".")
        said = self._said([python, "-c", "import platform; print(platform.python_version())"])
        return said.split(".")[: len(wanted)] == wanted

    # -- Running ------------------------------------------------------------------------------------

    def _said(self, argv: Sequence[str]) -> str:
        told: deque[str] = deque(maxlen=1)
        return told[-1] if self._run(argv, told) == 0 and told else ""

    def _run(self, argv: Sequence[str], told: deque[str]) -> int:
        """Run a program as the script itself is run; a stop of the attempt ends it."""

        def take(stream: Stream, line: str) -> None:
            del stream
            told.append(line)

        command = Command(argv, self.context.working_dir, {**self.env, "PYTHONDONTWRITEBYTECODE": "1"})
        return self.runner.run(command, self.context, take)


def lines_in_container(wanted: Wanted, requirements: str) -> Iterator[str]:
    """Yield the lines of a shell that have the packages in a container; *requirements* is a file there."""
    if wanted.version:
        same = (
            f"import sys; v = '{wanted.version}'.split('.'); sys.exit(list(map(str, sys.version_info[:len(v)])) != v)"
        )
        problem = f"The image has no Python {wanted.version}: name one that has, such as python:{wanted.version}-slim"
        yield (
            f'"$(command -v python || command -v python3)" -c {shlex.quote(same)} || '
            f"{{ echo {shlex.quote(problem)} >&2; exit 1; }}"
        )
    if not wanted.packages:
        return
    file = shlex.quote(requirements)
    uv = f'uv pip install --quiet --python "$headrace_python" --target "$headrace_packages" -r {file}'
    pip = (
        '"$headrace_python" -m pip install --quiet --disable-pip-version-check --root-user-action ignore '
        f'--target "$headrace_packages" -r {file}'
    )
    yield 'headrace_python="$(command -v python || command -v python3)"; headrace_packages="$(mktemp -d)"'
    either = f"if command -v uv >/dev/null 2>&1; then {uv}; else {pip}; fi"
    yield {"UV": uv, "PIP": pip, None: either}[wanted.manager]
    yield 'export PATH="$headrace_packages/bin:$PATH" PYTHONPATH="$headrace_packages${PYTHONPATH:+:$PYTHONPATH}"'


def package_key(packages: Sequence[str], python: str) -> str:
    """Return the name of the folder that has these packages for that Python (version, system and processor)."""
    return _digest(json.dumps([sorted(packages), python]))


def package_cache(context: RunContext) -> Path:
    """Return the folder of folders of packages."""
    if context.code.packages is not None:
        return context.code.packages
    base = os.environ.get("XDG_CACHE_HOME") or str(Path(os.environ.get("HOME") or tempfile.gettempdir(), ".cache"))
    return Path(base, "headrace", "python")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _write_program(path: Path, python: str) -> None:
    making = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    making.write_text(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n', encoding="utf-8")
    making.chmod(0o755)
    making.replace(path)


def _fetched(share: PackageShare, key: str, folder: Path) -> bool:
    """Fill *folder* from what is shared; False when it is not, or cannot be used."""
    with tempfile.TemporaryDirectory() as apart:
        archive = Path(apart, "packages.tar.gz")
        if not share.fetch(key, archive):
            return False
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError):
            for each in folder.iterdir():
                shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink()
            return False
    return True


def _keep(share: PackageShare, key: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as apart:
        archive = Path(apart, "packages.tar.gz")
        with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
            for each in sorted(folder.iterdir()):
                packed.add(each, arcname=each.name)
        share.keep(key, archive)
