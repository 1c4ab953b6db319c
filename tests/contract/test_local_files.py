"""What the folder, the secrets and the key of the local adapters promise beyond the ports."""

from __future__ import annotations

import base64
import logging
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.adapters.local.secrets import EnvironmentSecrets
from headrace_engine.adapters.local.storage import FolderStorage
from headrace_engine.ports import NotFoundError, PortError


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# -- Storage ----------------------------------------------------------------------------------------


def test_files_lie_where_their_uri_says(tmp_path: Path) -> None:
    FolderStorage(tmp_path).put("kestra:///company/team/f/file.txt", b"data")
    assert (tmp_path / "files/company/team/f/file.txt").read_bytes() == b"data"


def test_nothing_temporary_is_left_behind(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("kestra:///a", b"data")
    with pytest.raises(PortError):
        storage.put("kestra:///a/b", b"the folder is a file")
    assert list((tmp_path / "partial").iterdir()) == []


def test_what_a_crash_left_half_written_is_removed_on_opening(tmp_path: Path) -> None:
    FolderStorage(tmp_path).put("kestra:///a", b"data")
    (tmp_path / "partial/half").write_bytes(b"ha")
    storage = FolderStorage(tmp_path)
    assert list((tmp_path / "partial").iterdir()) == []
    assert [file.uri for file in storage.list("kestra:///")] == ["kestra:///a"]


def test_folders_left_empty_are_removed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("kestra:///a/b/c", b"data")
    storage.put("kestra:///a/d", b"data")
    storage.move("kestra:///a/b/c", "kestra:///e/f")
    assert not (tmp_path / "files/a/b").exists()
    storage.delete("kestra:///a/d")
    storage.delete("kestra:///e/f")
    assert list((tmp_path / "files").iterdir()) == []


def test_a_put_outlasts_deletes_that_empty_its_folder_again_and_again(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path, durable=False)

    def put_and_delete(n: int) -> None:
        for _ in range(200):
            storage.put(f"kestra:///a/b/c/{n}", b"data")
            assert storage.delete(f"kestra:///a/b/c/{n}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put_and_delete, range(16)))
    assert list((tmp_path / "files").iterdir()) == []


def test_no_path_leads_through_a_symbolic_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    storage = FolderStorage(tmp_path / "storage")
    (tmp_path / "storage/files/link").symlink_to(outside)
    (tmp_path / "storage/files/file").symlink_to(outside / "secret")
    for uri in ("kestra:///link/secret", "kestra:///link/new", "kestra:///file", "kestra:///link"):
        with pytest.raises(ValueError, match="symbolic link"):
            storage.open(uri)
        with pytest.raises(ValueError, match="symbolic link"):
            storage.put(uri, b"overwritten")
        with pytest.raises(ValueError, match="symbolic link"):
            storage.stat(uri)
        with pytest.raises(ValueError, match="symbolic link"):
            storage.delete(uri)
        with pytest.raises(ValueError, match="symbolic link"):
            storage.list(uri)
    assert list(storage.list("kestra:///")) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    FolderStorage(tmp_path / "link").put("kestra:///a", b"data")
    assert (tmp_path / "real/files/a").read_bytes() == b"data"


@pytest.mark.parametrize("name", ["n" * 300, "raw \udcff byte", "lone \ud800 surrogate"])
def test_a_name_that_the_file_system_refuses_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    storage = FolderStorage(tmp_path)
    try:
        storage.put(f"kestra:///{name}", b"data")
    except (PortError, ValueError):
        return
    assert storage.stat(f"kestra:///{name}") is not None


def test_a_folder_that_cannot_be_made_is_a_port_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError):
        FolderStorage(tmp_path / "file" / "storage")


# -- Secrets ----------------------------------------------------------------------------------------


def test_base64_may_have_line_breaks_and_lack_its_padding() -> None:
    text = "a long secret " * 20
    broken = "\n".join(encoded(text)[n : n + 64] for n in range(0, len(encoded(text)), 64)) + "\r\n"
    secrets = EnvironmentSecrets({"SECRET_LONG": broken, "SECRET_SHORT": "YQ"})
    assert secrets.get("ns", "LONG") == text
    assert secrets.get("ns", "SHORT") == "a"


@pytest.mark.parametrize("value", ["not base64!", "AAAAA", "ÄÖÜ", base64.b64encode(b"\xff\xfe").decode()])
def test_a_value_that_is_not_base64_is_left_out_with_a_warning_that_does_not_show_it(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        secrets = EnvironmentSecrets({"SECRET_BAD": value, "SECRET_GOOD": encoded("good")})
    with pytest.raises(NotFoundError):
        secrets.get("ns", "BAD")
    assert secrets.get("ns", "GOOD") == "good"
    assert "SECRET_BAD" in caplog.text
    assert value not in caplog.text


def test_other_variables_are_no_secrets() -> None:
    secrets = EnvironmentSecrets({"PASSWORD": encoded("x"), "MY_SECRET_A": encoded("x")})
    for key in ("PASSWORD", "A", ""):
        with pytest.raises(NotFoundError):
            secrets.get("ns", key)


def test_a_missing_secret_reads_as_in_kestra() -> None:
    with pytest.raises(NotFoundError) as refusal:
        EnvironmentSecrets({}).get("ns", "api")
    assert str(refusal.value) == "Cannot find secret for key 'api'."


def test_a_dotenv_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    long = encoded("multi " * 20)
    dotenv.write_text(
        "\ufeff# comment\r\n"
        f"SECRET_BARE={encoded('bare')}   # the key\r\n"
        f"export SECRET_EXPORTED = '{encoded('exported')}'\n"
        "\n"
        f'SECRET_MULTI="{long[:40]}\n{long[40:]}"\n'
        f"secret_lower={encoded('lower')}\n"
        f"SECRET_BOTH={encoded('file')}\n"
        "OTHER=value\n"
        "no assignment\n",
        encoding="utf-8",
    )
    secrets = EnvironmentSecrets({"SECRET_both": encoded("environment")}, dotenv)
    found = {key: secrets.get("ns", key) for key in ("bare", "exported", "multi", "lower", "both")}
    assert found == {
        "bare": "bare",
        "exported": "exported",
        "multi": "multi " * 20,
        "lower": "lower",
        "both": "environment",
    }


def test_a_dotenv_file_need_not_be_there_but_must_be_readable(tmp_path: Path) -> None:
    EnvironmentSecrets({}, tmp_path / ".env")
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PortError, match=r"\.env"):
        EnvironmentSecrets({}, tmp_path / ".env")


def test_values_are_read_once() -> None:
    environment = {"SECRET_A": encoded("one")}
    secrets = EnvironmentSecrets(environment)
    environment["SECRET_A"] = encoded("two")
    assert secrets.get("ns", "A") == "one"


# -- Cipher -----------------------------------------------------------------------------------------


def test_a_key_file_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data/cipher.key"
    sealed = AesCipher.from_file(path).seal(b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_text())) == 32
    assert AesCipher.from_file(path).open(sealed) == b"secret"
    assert [each.name for each in path.parent.iterdir()] == ["cipher.key"]


def test_of_many_that_make_the_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        ciphers = list(pool.map(AesCipher.from_file, [tmp_path / "cipher.key"] * 16))
    sealed = ciphers[0].seal(b"secret")
    assert {cipher.open(sealed) for cipher in ciphers} == {b"secret"}


def test_a_configured_key_is_base64_of_32_bytes() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    assert (
        AesCipher(bytes(range(32))).open(AesCipher.from_text(f"{key[:20]}\n{key[20:]}\n").seal(b"secret")) == b"secret"
    )
    with pytest.raises(PortError, match="has 5 bytes; it needs 32"):
        AesCipher.from_text(encoded("short"))
    with pytest.raises(PortError, match="not base64"):
        AesCipher.from_text("not base64!")


@pytest.mark.parametrize("content", [b"", b"nonsense!", b"\xff\xff", b"c2hvcnQ="])
def test_a_broken_key_file_is_an_error_that_names_it_and_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cipher.key"
    path.write_bytes(content)
    with pytest.raises(PortError, match=r"cipher\.key"):
        AesCipher.from_file(path)
    assert path.read_bytes() == content


def test_cryptography_is_loaded_only_when_something_is_sealed() -> None:
    code = (
        "import sys; from headrace_engine.adapters.local.cipher import AesCipher; c = AesCipher(bytes(32)); "
        "assert 'cryptography' not in sys.modules; c.seal(b''); assert 'cryptography' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
