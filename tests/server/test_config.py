"""Configuration: what counts, what is refused and how, and what a file of Kestra's means."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace_cli.config import KEYS, load
from headrace_cli.config_values import plain
from headrace_cli.errors import UserError

KEY = base64.b64encode(b"k" * 32).decode()

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "headrace.yaml"
        file.write_text(text)
        return file

    return write


@pytest.fixture(autouse=True)
def in_a_folder_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def test_an_option_counts_before_the_environment_and_that_before_the_file(write: Write) -> None:
    file = write("server:\n  port: 1\n  host: localhost\n  threads: 3\n")
    environment = {"HEADRACE_SERVER_PORT": "2", "HEADRACE_SERVER_HOST": "::1"}
    found = load(file, environment, {"server.port": "3", "server.host": None})
    assert (found["server.port"], found["server.host"], found["server.threads"]) == (3, "::1", 3)
    sources = {key.name: source for key, _, source in found.shown()}
    assert sources["server.port"] == "command line"
    assert sources["server.host"] == "HEADRACE_SERVER_HOST"
    assert sources["server.threads"] == f"{file}:4"
    assert sources["dataDir"] == "default"


def test_the_file_is_the_one_named_or_the_environments_or_the_current_folders(write: Write) -> None:
    named = write("server: {port: 1}")
    assert load(None, {}, {})["server.port"] == 8080
    assert load(None, {"HEADRACE_CONFIG": str(named)}, {})["server.port"] == 1
    Path("headrace.yaml").write_text("server: {port: 2}")
    assert load(None, {}, {})["server.port"] == 2
    assert load(named, {}, {})["server.port"] == 1
    with pytest.raises(UserError, match=r"other\.yaml: No such file or directory"):
        load(Path("other.yaml"), {}, {})


def test_every_value_is_read_as_what_it_is(write: Write) -> None:
    file = write(
        f"""
        server: {{drain: PT2M, largestBody: 8MB, auth: "me:se:cret"}}
        data-dir: data
        variables:
          globals: {{region: eu, deep: {{list: [1, 2]}}}}
          envVarsPrefix: MY_
        encryption.secretKey: {KEY}
        plugins:
          defaults:
            - {{type: io.kestra.plugin.core.log.Log, forced: true, values: {{level: WARN}}}}
        limits: {{lease: 20}}
        """
    )
    found = load(file, {}, {})
    assert found["server.drain"] == timedelta(minutes=2)
    assert found["server.largestBody"] == 8 * 1024**2
    assert found["server.auth"] == ("me", "se:cret")
    assert found["dataDir"] == file.parent / "data", "a path in a file is below the file's folder"
    settings = found.settings({"MY_NAME": "x", "ENV_OTHER": "y"}, "http://127.0.0.1:1")
    assert settings.surroundings.envs == {"name": "x"}
    assert settings.surroundings.variables == {"region": "eu", "deep": {"list": [1, 2]}}
    assert settings.surroundings.url == "http://127.0.0.1:1"
    assert settings.plugin_defaults[0]["values"] == {"level": "WARN"}
    assert settings.lease_seconds == 20
    assert found.options({}, "").encryption_key == KEY


def test_a_variable_holds_maps_and_lists_as_yaml() -> None:
    environment = {
        "HEADRACE_VARIABLES_GLOBALS": '{"region": "eu"}',
        "HEADRACE_VARIABLES_ENV_VARS_PREFIX": "A_, B_",
        "HEADRACE_ENCRYPTION_SECRET_KEY": KEY,
        "HEADRACE_PYTHON": "python3",
    }
    found = load(None, environment, {})
    assert found["variables.globals"] == {"region": "eu"}
    assert found["variables.envVarsPrefix"] == ("A_", "B_")
    assert found["encryption.secretKey"] == KEY
    assert not found.notes


def test_a_file_of_kestras_counts_where_it_means_the_same(write: Write) -> None:
    file = write(
        f"""
        datasources: {{postgres: {{url: x}}}}
        kestra:
          url: http://localhost:8080/
          environment: {{name: production, color: "#ff0000"}}
          variables: {{env-vars-prefix: ENV_, globals: {{a: 1}}}}
          encryption: {{secret-key: {KEY}}}
          plugins: {{defaults: [{{type: io.kestra.plugin.core.log.Log, values: {{level: WARN}}}}]}}
          server: {{basic-auth: {{enabled: true, username: me@x.org, password: Secret1}}}}
          storage: {{type: local, local: {{base-path: /tmp/storage}}}}
          queue: {{type: postgres}}
        """
    )
    found = load(file, {}, {})
    assert found["server.auth"] == ("me@x.org", "Secret1")
    assert found["storage.path"] == Path("/tmp/storage")  # noqa: S108 - never made
    assert found["variables.globals"] == {"a": 1}
    assert found.settings({}, "").surroundings.url == "http://localhost:8080"
    assert found.settings({}, "").surroundings.environment == {"name": "production", "color": "#ff0000"}
    assert found["encryption.secretKey"] == KEY
    assert found["plugins.defaults"][0]["values"] == {"level": "WARN"}
    assert [note.removeprefix(f"{file}:") for note in found.notes] == [
        "2: `datasources` has no meaning here and is left out.",
        "11: `kestra.queue` has no meaning here and is left out.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server:\n  prot: 1", "2: there is no key `server.prot`; did you mean `server.port`?"),
        ("sever: {port: 1}", "1: there is no key `sever`; did you mean `server.port`?"),
        ("kestra:\n  encryption: {key: x}", "2: there is no key `kestra.encryption.key`; did you mean "
         "`kestra.encryption.secret-key`?"),
        ("kestra: {variables: {recursive-rendering: true}}", "1: there is no key "
         "`kestra.variables.recursive-rendering`; did you mean `kestra.variables.env-vars-prefix`?"),
        ("qqq: 1", "1: there is no key `qqq`."),
        ("server: 1", "1: `server` is a map of keys."),
        ("- 1", "1: it is a map of keys."),
        ("server: {port: 70000}", "1: `server.port` is a whole number from 0 to 65535, not `70000`."),
        ("server: {port: true}", "1: `server.port` is a whole number from 0 to 65535, not `True`."),
        ("server: {drain: soon}", "1: `server.drain` is a length of time, such as PT30S, or a number of seconds, not `soon`."),
        ("server: {largestBody: 0}", "1: `server.largestBody` is a number of bytes, such as 64MB or 65536, not `0`."),
        ("server: {auth: topsecret}", "1: `server.auth` is user:password, not what is given."),
        ("encryption: {secretKey: topsecret}", "1: `encryption.secretKey` is 32 bytes in base64 "
         "(openssl rand -base64 32), not what is given."),
        ("storage: {type: s3}", "1: `storage.type` is local, not `s3`."),
        ("variables: {globals: [1]}", "1: `variables.globals` is a map of names to values, not `[1]`."),
        ("plugins: {defaults: [{typ: x}]}", "1: `plugins.defaults` is a list of maps with `type`, `values` and perhaps "
         "`forced`, not `[{'typ': 'x'}]`."),
        ("url: here", "1: `url` is an address such as https://flows.example.org, not `here`."),
        ("url: http://a.test\nkestra: {url: http://b.test}", "2: `url` is given a second time; first in {file}:1."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(write: Write, text: str, told: str) -> None:
    file = write(text)
    with pytest.raises(UserError) as refused:
        load(file, {}, {})
    assert refused.value.message == f"{file}:{told.replace('{file}', str(file))}"


def test_text_that_is_no_yaml_is_told(write: Write) -> None:
    with pytest.raises(UserError, match=r"headrace\.yaml: it is not YAML: .*line 1"):
        load(write("a: [1"), {}, {})


def test_a_variable_or_an_option_that_is_wrong_is_told() -> None:
    with pytest.raises(UserError, match=r"^HEADRACE_SERVER_PORT: `server\.port` is a whole number"):
        load(None, {"HEADRACE_SERVER_PORT": "x"}, {})
    with pytest.raises(UserError, match=r"^the command line: `server\.port` is a whole number"):
        load(None, {}, {"server.port": "x"})
    assert load(None, {"HEADRACE_SERVER_PROT": "1", "HEADRACE_TABLE": "t"}, {}).notes == [
        "There is no variable HEADRACE_SERVER_PROT; did you mean HEADRACE_SERVER_PORT?"
    ]


def test_secrets_are_masked_where_the_configuration_is_shown(write: Write) -> None:
    file = write(
        f"server: {{auth: 'me:topsecret'}}\nencryption: {{secretKey: {KEY}}}\n"
        "variables: {globals: {db: {password: topsecret, host: db1}}}\n"
        "plugins: {defaults: [{type: x.Y, values: {apiToken: topsecret, url: u}}]}\n"
    )
    shown: dict[str, Any] = {key.name: value for key, value, _ in load(file, {}, {}).shown()}
    assert list(shown) == list(KEYS)
    assert shown["server.auth"] == shown["encryption.secretKey"] == "********"
    assert shown["variables.globals"] == {"db": {"password": "********", "host": "db1"}}
    assert shown["plugins.defaults"] == [{"type": "x.Y", "values": {"apiToken": "********", "url": "u"}}]
    assert shown["server.drain"] == "PT30S"
    assert "topsecret" not in str(shown)
    assert KEY not in str(shown)


def test_the_documentation_names_every_key() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "server.md").read_text()
    for key in KEYS.values():
        value = plain(key.default)
        default = "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"
        assert f"| `{key.name}` | `{key.variable}` | {default} | {key.about} |" in page
        assert key.kestra is None or f"`{key.kestra}`" in page
