"""`dependencies:` of Python scripts on Lambda: installed once, then found on the warm machine, then in storage."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from headrace_functions.testing.cloud import Cloud


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what has uv install a package of this test's, and ask nobody."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # Lambda has it not, so scripts write bytecode there
    about = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "VERSION = '1.0'\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
    return {"UV_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_NO_CACHE": "1", "UV_LINK_MODE": "copy"}


def flow(env: dict[str, str], namespace: str = "flows", script: str = "") -> str:
    task = {
        "id": "script",
        "type": "io.kestra.plugin.scripts.python.Script",
        "dependencies": ["tiny"],
        "env": env,
        "script": f"import tiny; {script}\nprint('tiny', tiny.VERSION)",
    }
    return json.dumps({"id": "tiny", "namespace": namespace, "tasks": [task]})


def how(cloud: Cloud, source: str) -> str:
    """Run a flow; return how its script came by the package."""
    came = cloud.run(source)
    assert came.state == "SUCCESS", [line.message for line in came.logs]
    said = [line.message for line in came.logs]
    assert said[-1] == "tiny 1.0"
    if any(line.startswith("Using packages that were installed before") for line in said):
        return "kept"
    return "installed" if any(line.startswith("Installing tiny") for line in said) else "fetched"


def archives(cloud: Cloud, namespace: str = "flows") -> list[str]:
    return [file.uri for file in cloud.stores.storage.list(f"kestra:///{namespace}") if "/_packages/" in file.uri]


def test_packages_are_installed_once_kept_warm_and_shared_by_storage(env: dict[str, str]) -> None:
    with Cloud() as cloud:
        assert how(cloud, flow(env)) == "installed"
        assert len(archives(cloud)) == 1
        assert how(cloud, flow(env)) == "kept"
        cloud.restart()
        assert how(cloud, flow(env)) == "fetched"
        assert how(cloud, flow(env)) == "kept"


def test_what_a_script_did_to_its_packages_the_next_does_not_meet(env: dict[str, str]) -> None:
    spoil = (
        "import os; os.chmod(os.path.dirname(tiny.__file__), 0o700); "
        "os.chmod(tiny.__file__, 0o600); open(tiny.__file__, 'w').write('VERSION = 2')"
    )
    with Cloud() as cloud:
        assert how(cloud, flow(env, script=spoil)) == "installed"
        assert how(cloud, flow(env)) == "fetched"


def test_another_namespace_installs_its_own(env: dict[str, str]) -> None:
    with Cloud() as cloud:
        assert how(cloud, flow(env)) == "installed"
        assert how(cloud, flow(env, "others")) == "installed"
        assert len(archives(cloud)) == len(archives(cloud, "others")) == 1


def test_an_attempt_cannot_write_what_another_namespace_installs_from(env: dict[str, str]) -> None:
    """Neither an archive there, nor one of its own namespace that its job does not ask for."""
    with Cloud() as cloud:
        how(cloud, flow(env, "others"))
        (others,) = archives(cloud, "others")
        cloud.save_flow(flow(env))
        execution_id = cloud.create("flows", "tiny")
        while not cloud.pending:
            assert cloud.step()
        payload = cloud.pending[0].payload
        path = f"/api/v1/attempts/{execution_id}/{payload['attempt']['taskRun']}/0"
        headers = {"authorization": f"Bearer {payload['token']}"}

        def asked(operation: str, uri: str) -> int:
            return cloud.request("POST", f"{path}/{operation}", json.dumps({"uri": uri}).encode(), headers).status_code

        own = others.replace("kestra:///others/", "kestra:///flows/")
        name = own.rpartition("/")[2]
        assert [asked(each, own) for each in ("write", "read")] == [200, 200]
        for uri in (others, own.replace(name[:8], "0" * 8), f"{own}/../../../others/_packages/{name}"):
            assert [asked(each, uri) for each in ("write", "read")] == [403, 403], uri
