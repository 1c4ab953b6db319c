"""Packages that Python scripts ask for: a wheel that is made here is installed from a folder, never from the network."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.model.state import State
from headrace_engine.plugin import CodePolicy
from headrace_tasks.python_dependencies import Wanted, lines_in_container, package_key
from headrace_tasks.scripts import PythonCommands, PythonScript
from stand_in_docker import StandInEngine
from unit.tasks.harness import Bench

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
DOCKER = "io.kestra.plugin.scripts.runner.docker.Docker"


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Write a wheel whose module says its version, and whose program says it, too."""
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = '{version}'\ndef main(): print('program', VERSION)\n",
        f"{about}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name}-say = {name}:main\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "tiny", "1.0")
    write_wheel(folder, "tiny", "2.0")
    write_wheel(folder, "leaning", "1.0", "tiny==1.0")
    return folder


@pytest.fixture
def env(wheels: Path, tmp_path: Path) -> dict[str, str]:
    """Return what keeps both installers from the network and from what other tests installed."""
    return {
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
    }


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "packages"


def run(bench: Bench, cache: Path, properties: dict[str, Any], **code: Any) -> list[str]:
    """Run a Python script; return what it printed."""
    before = len(bench.log_lines)
    bench.outputs(PythonScript, properties, code=CodePolicy(packages=cache, **code))
    return [line for level, line in bench.log_lines[before:] if level == "INFO"]


def kept(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if not path.name.startswith("python-")]


@pytest.mark.parametrize("manager", ["UV", "PIP", None])
def test_a_script_imports_what_it_asks_for(bench: Bench, cache: Path, env: dict[str, str], manager: str | None) -> None:
    properties = {
        "dependencies": ["leaning", "tiny<2"],
        "env": env,
        "script": "import leaning, tiny; print(leaning.VERSION, tiny.VERSION)",
        **({"packageManager": manager} if manager else {}),
    }
    assert run(bench, cache, properties) == ["1.0 1.0"]
    assert len(kept(cache)) == 1
    told = [line for _, line in bench.log_lines if line.startswith("Installing leaning, tiny<2 with ")]
    assert told[0].endswith("python" if manager == "PIP" else "uv")


def test_commands_call_the_programs_of_packages(bench: Bench, cache: Path, env: dict[str, str]) -> None:
    properties = {"dependencies": ["tiny==2.0"], "env": env, "commands": ["tiny-say", "python -c 'import tiny'"]}
    bench.outputs(PythonCommands, properties, code=CodePolicy(packages=cache))
    assert ("INFO", "program 2.0") in bench.log_lines


def test_the_same_packages_are_installed_once_in_whatever_order(bench: Bench, cache: Path, env: dict[str, str]) -> None:
    script = "import tiny; print(tiny.VERSION)"
    first = {"dependencies": ["tiny==1.0", "leaning"], "env": env, "script": script}
    nothing = {**env, "UV_FIND_LINKS": "", "PIP_FIND_LINKS": ""}
    again = {"dependencies": [" leaning", "tiny==1.0", ""], "env": nothing, "script": script}
    assert run(bench, cache, first) == run(bench, cache, again) == ["1.0"]
    assert len(kept(cache)) == 1


def test_other_packages_do_not_mix(bench: Bench, cache: Path, env: dict[str, str]) -> None:
    for version in ("1.0", "2.0"):
        properties = {"dependencies": [f"tiny=={version}"], "env": env, "script": "import tiny; print(tiny.VERSION)"}
        assert run(bench, cache, properties) == [version]
    assert len(kept(cache)) == 2


def test_packages_that_are_not_kept_go_with_the_attempt(bench: Bench, cache: Path, env: dict[str, str]) -> None:
    properties = {
        "dependencies": ["tiny"],
        "dependencyCacheEnabled": False,
        "env": env,
        "outputFiles": ["**"],
        "script": "import tiny; print(tiny.VERSION)",
    }
    outputs = bench.outputs(PythonScript, properties, code=CodePolicy(packages=cache))
    assert ("INFO", "2.0") in bench.log_lines
    assert outputs["outputFiles"] == {}
    assert not cache.exists()


@pytest.mark.parametrize("manager", ["UV", "PIP"])
def test_what_cannot_be_installed_says_why_and_leaves_nothing(
    bench: Bench, cache: Path, env: dict[str, str], manager: str
) -> None:
    properties = {"dependencies": ["no-such-package"], "packageManager": manager, "env": env, "script": "pass"}
    error = bench.error(PythonScript, properties, code=CodePolicy(packages=cache))
    assert error.startswith("The packages no-such-package could not be installed:\n")
    assert "no-such-package" in error.partition("\n")[2]
    assert kept(cache) == []


def test_two_attempts_may_install_the_same_at_the_same_time(tmp_path: Path, cache: Path, env: dict[str, str]) -> None:
    printed: list[list[str]] = []

    def work(name: str) -> None:
        (tmp_path / name).mkdir()
        properties = {"dependencies": ["tiny==1.0"], "env": env, "script": "import tiny; print(tiny.VERSION)"}
        printed.append(run(Bench(tmp_path / name), cache, properties))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert printed == [["1.0"]] * 3
    assert len(kept(cache)) == 1


def test_a_stop_while_packages_are_installed_ends_the_attempt(
    bench: Bench, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installer is a stand-in that never ends."""
    (tmp_path / "uv").write_text("#!/bin/sh\necho $$ >pid; exec sleep 1000\n")
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setenv("HEADRACE_PYTHON", str(tmp_path / "python"))  # whose folder comes first on the path
    (tmp_path / "shared").mkdir()
    os.mkfifo(tmp_path / "shared" / "pid")
    pids: list[int] = []

    def stop(context: Any) -> None:
        def wait() -> None:
            pids.append(int((tmp_path / "shared" / "pid").read_text()))
            context.stop()

        threading.Thread(target=wait, daemon=True).start()

    properties = {"dependencies": ["tiny"], "script": "pass"}
    code = CodePolicy(packages=cache)
    result = bench.run(PythonScript, properties, on_context=stop, workspace=tmp_path / "shared", code=code)
    assert result.state is State.KILLED
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()
    assert kept(cache) == []


# -- Shared by machines -----------------------------------------------------------------------------


class Shared:
    """What machines share, in a folder; says what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kept: list[str] = []
        self.fetched: list[str] = []

    def fetch(self, key: str, archive: Path) -> bool:
        if not (self._folder / key).exists():
            return False
        archive.write_bytes((self._folder / key).read_bytes())
        self.fetched.append(key)
        return True

    def keep(self, key: str, archive: Path) -> None:
        (self._folder / key).write_bytes(archive.read_bytes())
        self.kept.append(key)


def test_machines_share_what_they_have_installed(bench: Bench, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "shared").mkdir()
    shared = Shared(tmp_path / "shared")
    properties = {"dependencies": ["tiny"], "env": env, "script": "import tiny; print(tiny.VERSION)"}
    assert run(bench, tmp_path / "one", properties, share=shared) == ["2.0"]
    nothing = {**env, "UV_FIND_LINKS": "", "PIP_FIND_LINKS": ""}
    assert run(bench, tmp_path / "two", {**properties, "env": nothing}, share=shared) == ["2.0"]
    assert shared.kept == shared.fetched == kept(tmp_path / "one") == kept(tmp_path / "two")
    (tmp_path / "shared" / shared.kept[0]).write_bytes(b"broken")
    assert run(bench, tmp_path / "three", properties, share=shared) == ["2.0"]


# -- Versions of Python -----------------------------------------------------------------------------


def test_a_script_runs_in_the_version_it_asks_for(
    bench: Bench, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several that are installed: the first on the path is another one."""
    for name in ("python", "python3"):
        (tmp_path / name).write_text("#!/bin/sh\necho 2.7.18\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / f"python{VERSION}").symlink_to(sys.executable)
    monkeypatch.setenv("HEADRACE_PYTHON", str(tmp_path / "python"))
    properties = {"pythonVersion": VERSION, "script": "import platform; print(platform.python_version())"}
    assert run(bench, cache, properties) == [platform.python_version()]
    commands = {"pythonVersion": VERSION, "commands": ["python --version", "python3 --version"]}
    bench.outputs(PythonCommands, commands, code=CodePolicy(packages=cache))
    assert [line for _, line in bench.log_lines][-2:] == [f"Python {platform.python_version()}"] * 2


def test_a_version_that_cannot_be_had_is_told(bench: Bench, cache: Path) -> None:
    env = {"UV_PYTHON_DOWNLOADS": "never"}
    properties = {"pythonVersion": "3.1", "env": env, "script": "pass"}
    error = bench.error(PythonScript, properties, code=CodePolicy(packages=cache))
    assert error.startswith("`pythonVersion` asks for Python 3.1, which is not on this machine")


@pytest.mark.parametrize("version", ["3.x", "3; rm", "'", "3.12.1.x"])
def test_what_is_no_version_is_refused(bench: Bench, version: str) -> None:
    assert "pythonVersion" in bench.error(PythonScript, {"pythonVersion": version, "script": "pass"})


# -- Containers -------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        folder = tmp_path_factory.mktemp("image")
        (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / "python").chmod(0o755)
        engine.programs = str(folder)
        yield engine


def test_packages_are_installed_inside_a_container(bench: Bench, engine: StandInEngine, env: dict[str, str]) -> None:
    """The image's own Python and pip install them; nothing is installed on this machine."""
    properties = {
        "containerImage": "alpine",
        "taskRunner": {"type": DOCKER, "host": engine.url},
        "dependencies": ["leaning"],
        "packageManager": "PIP",
        "pythonVersion": VERSION,
        "env": env,
        "outputFiles": ["**"],
        "script": "import leaning, tiny; print(tiny.VERSION)",
    }
    outputs = bench.outputs(PythonScript, properties, code=CodePolicy(packages=Path("/nowhere")))
    assert [line for level, line in bench.log_lines if level == "INFO"] == ["1.0"]
    assert outputs["outputFiles"] == {}


def test_an_image_with_another_python_says_so(bench: Bench, engine: StandInEngine) -> None:
    properties = {"taskRunner": {"type": DOCKER, "host": engine.url}, "containerImage": "alpine", "script": "pass"}
    assert "exit code 1" in bench.error(PythonScript, {**properties, "pythonVersion": "3.1"})
    assert ("ERROR", "The image has no Python 3.1: name one that has, such as python:3.1-slim") in bench.log_lines


@pytest.mark.parametrize("has_uv", [True, False])
def test_a_container_uses_uv_where_the_image_has_it(tmp_path: Path, *, has_uv: bool) -> None:
    for name in ["python", *(["uv"] if has_uv else [])]:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\n')
        (tmp_path / name).chmod(0o755)
    script = "\n".join(["set -e", *lines_in_container(Wanted(("tiny",)), "r.txt")])
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    assert (tmp_path / "called").read_text().startswith("uv pip install" if has_uv else "python -m pip install")


def test_the_key_is_that_of_the_packages_and_the_python() -> None:
    assert package_key(["a", "b"], "3.11") == package_key(["b", "a"], "3.11")
    assert len({package_key(["a"], "3.11"), package_key(["a"], "3.12"), package_key(["b"], "3.11")}) == 3


def test_a_shell_is_needed(bench: Bench, cache: Path, env: dict[str, str]) -> None:
    properties = {
        "dependencies": ["tiny"],
        "env": env,
        "interpreter": [sys.executable, "-c"],
        "commands": ["import tiny"],
    }
    error = bench.error(PythonCommands, properties, code=CodePolicy(packages=cache))
    assert error == f"Packages are installed for a shell only, and `interpreter` names {Path(sys.executable).name}"
