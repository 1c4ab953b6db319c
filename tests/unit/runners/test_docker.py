"""The Docker runner: the contract, and what is particular to containers. The engine is a stand-in on a local socket."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headrace_engine.plugin import AttemptLostError, CodePolicy, TaskFailure
from headrace_runners.archives import unpack
from headrace_runners.contract import Command, Stream, TaskRunner
from headrace_runners.docker import Docker, size
from headrace_runners.docker_credentials import HUB, registry_credentials
from headrace_runners.docker_engine import Address, DockerEngine, EngineGoneError, demultiplex, split_image
from headrace_runners.docker_runner import ATTEMPT_LABEL, OWNER_LABEL, ContainerOptions, DockerRunner, remove_left
from headrace_runners.docker_task import DockerTaskRunner, container_options
from headrace_runners.testing import RecordingContext, RunnerContract
from stand_in_docker import IN_CONTAINERS, StandInEngine


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


@pytest.fixture
def context() -> RecordingContext:
    return RecordingContext()


def task_runner(engine: StandInEngine, **properties: Any) -> DockerTaskRunner:
    return DockerTaskRunner(Docker.model_validate(properties), {"DOCKER_HOST": engine.url, "HOME": "/nowhere"})


class TestDockerContract(RunnerContract):
    @pytest.fixture
    def runner(self, engine: StandInEngine) -> TaskRunner:
        return task_runner(engine)


class TestDockerContractWithMounts(RunnerContract):
    @pytest.fixture
    def runner(self, engine: StandInEngine) -> TaskRunner:
        return task_runner(engine, fileHandlingStrategy="MOUNT")


def run(
    runner: TaskRunner,
    script: str,
    directory: Path,
    context: RecordingContext,
    on_line: Callable[[str], None] = lambda _line: None,
    *,
    image: str = "alpine",
) -> int:
    command = Command(["/bin/sh", "-c", script], directory, {}, image)
    return runner.run(command, context, lambda _stream, line: on_line(line))  # type: ignore[arg-type]


# -- The engine's API -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("docker") is None, reason="Docker's own client is not installed")
def test_dockers_own_client_runs_a_container_on_the_stand_in(engine: StandInEngine) -> None:
    """What the other tests rely on is no invention of ours: the stand-in speaks the API that Docker's client speaks."""
    folder = f"{IN_CONTAINERS}{os.getpid()}-cli"
    options = ["--init", "--workdir", folder, "--mount", f"type=volume,target={folder}", "alpine:latest"]
    script = "echo hi; echo err >&2; pwd; exit 3"
    done = subprocess.run(
        ["docker", "--host", engine.url, "run", *options, "sh", "-c", script], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.decode(), done.stderr) == (3, f"hi\n{folder}\n", b"err\n")


def test_pieces_are_told_apart_wherever_their_frames_are_cut() -> None:
    frames = b"\1\0\0\0\0\0\0\5hello\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\3bad"
    for length in (1, 3, 8, 100):
        pieces = list(demultiplex(frames[at : at + length] for at in range(0, len(frames), length)))
        written = {stream: b"".join(piece for name, piece in pieces if name is stream) for stream in Stream}
        assert written == {Stream.STDOUT: b"hello", Stream.STDERR: b"bad"}


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("alpine", "alpine", "latest"),
        ("python:3.13-slim", "python", "3.13-slim"),
        ("localhost:5000/team/app", "localhost:5000/team/app", "latest"),
        ("ghcr.io/team/app:v1", "ghcr.io/team/app", "v1"),
        ("alpine@sha256:abc", "alpine@sha256:abc", ""),
    ],
)
def test_an_image_has_a_name_and_a_tag(image: str, name: str, tag: str) -> None:
    assert split_image(image) == (name, tag)


def test_where_an_engine_is_looked_for(tmp_path: Path) -> None:
    assert Address.of("tcp://engine:2375", {"DOCKER_HOST": "unix:///other"}) == Address("tcp://engine:2375")
    assert Address.of(None, {"DOCKER_HOST": "tcp://engine:2376"}) == Address("tcp://engine:2376")
    with_tls = {"DOCKER_HOST": "tcp://engine:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    assert Address.of(None, with_tls) == Address("tcp://engine:2376", Path("/certs"))
    assert Address.of("https://localhost", {"HOME": "/me"}).certificates == Path("/me/.docker")
    (tmp_path / "docker.sock").touch()
    if not Path("/var/run/docker.sock").exists():
        rootless = Address.of(None, {"XDG_RUNTIME_DIR": str(tmp_path)})
        assert rootless.url == f"unix://{tmp_path}/docker.sock"
        assert Address.of(None, {}).url == "unix:///var/run/docker.sock"
    with pytest.raises(TaskFailure, match=r"`ssh://me@there` is not where .*`ssh -NL .* me@there`\), and write `unix:"):
        DockerTaskRunner(Docker(host="ssh://me@there"), {})
    with pytest.raises(TaskFailure, match=r"`npipe:////./pipe/docker_engine` is not where a Docker engine can be"):
        DockerTaskRunner(Docker(host="npipe:////./pipe/docker_engine"), {})


# -- TLS --------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with what DOCKER_CERT_PATH has, signed by an authority of its own, and server.pem."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    authority = ec.generate_private_key(ec.SECP256R1())

    def make(name: str, file: str, key_file: str = "") -> None:
        key = ec.generate_private_key(ec.SECP256R1()) if key_file else authority
        made = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=start,
            not_valid_after=end,
        ).add_extension(x509.BasicConstraints(ca=not key_file, path_length=None), critical=True)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        signed = made.add_extension(address, critical=False).sign(authority, hashes.SHA256())
        (folder / file).write_bytes(signed.public_bytes(Encoding.PEM))
        if key_file:
            secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (folder / key_file).write_bytes(secret)

    make("authority", "ca.pem")
    make("server", "server.pem", "server-key.pem")
    make("client", "cert.pem", "key.pem")
    return folder


@pytest.fixture
def tls(engine: StandInEngine, certificates: Path) -> Iterator[str]:
    """The address at which the engine is reached by TLS, with a certificate only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(ssl.SSLError),
                context.wrap_socket(self.request, server_side=True) as outer,
                socket.socket(socket.AF_UNIX) as inner,
            ):
                inner.connect(urlsplit(engine.url).path)
                back = threading.Thread(target=pump, args=(inner, outer))
                back.start()
                pump(outer, inner)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_engine_behind_tls_is_shown_a_certificate(
    tls: str, certificates: Path, context: RecordingContext, tmp_path: Path
) -> None:
    named = {"DOCKER_HOST": tls, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    assert run(DockerTaskRunner(Docker(), named), "exit 4", tmp_path, context) == 4


def test_an_engine_behind_tls_is_there_for_nobody_else(
    tls: str, certificates: Path, context: RecordingContext, tmp_path: Path
) -> None:
    named = {"DOCKER_HOST": tls, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    (certificates / "key.pem").unlink()
    with pytest.raises(TaskFailure, match=r"the certificates in .* cannot be used: .*No such file"):
        run(DockerTaskRunner(Docker(), named), "true", tmp_path, context)
    (certificates / "cert.pem").unlink()
    with pytest.raises(TaskFailure, match=r"There is no Docker engine at tcp://127\.0\.0\.1"):
        run(DockerTaskRunner(Docker(), named), "true", tmp_path, context)
    with pytest.raises(TaskFailure, match=r"There is no Docker engine at tcp://127\.0\.0\.1"):
        run(DockerTaskRunner(Docker(host=tls), {}), "true", tmp_path, context)  # in clear


def test_an_older_engine_is_spoken_to_in_its_own_version(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    engine.version = "1.44"  # which refuses what is newer
    assert run(task_runner(engine), "exit 4", tmp_path, context) == 4


def test_no_engine_is_told_with_both_ways_out(context: RecordingContext, tmp_path: Path) -> None:
    runner = DockerTaskRunner(Docker(host=f"unix://{tmp_path}/none.sock"), {})
    with pytest.raises(TaskFailure, match=r"There is no Docker engine at .*core\.runner\.Process.*--no-docker"):
        run(runner, "true", tmp_path, context)


def test_something_else_that_answers_is_no_engine(context: RecordingContext, tmp_path: Path) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        runner = DockerTaskRunner(Docker(host=f"tcp://127.0.0.1:{server.server_port}"), {})
        with pytest.raises(TaskFailure, match="is not a Docker engine"):
            run(runner, "true", tmp_path, context)


def test_a_container_needs_an_image(engine: StandInEngine, context: RecordingContext, tmp_path: Path) -> None:
    with pytest.raises(TaskFailure, match="`containerImage`"):
        run(task_runner(engine), "true", tmp_path, context, image="")
    assert engine.requests == []


# -- Images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "image", "pulls"),
    [
        ("IF_NOT_PRESENT", "alpine", 0),
        ("IF_NOT_PRESENT", "busybox", 1),
        ("ALWAYS", "alpine", 1),
        ("NEVER", "alpine", 0),
    ],
)
def test_when_an_image_is_pulled(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path, *, policy: str, image: str, pulls: int
) -> None:
    assert run(task_runner(engine, pullPolicy=policy), "true", tmp_path, context, image=image) == 0
    assert engine.requests.count(("POST", "images/create")) == pulls
    assert context.said == [("DEBUG", f"Pulling the image {image}")] * pulls


def test_an_image_that_is_never_pulled_must_be_there(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    with pytest.raises(TaskFailure, match="The Docker engine refuses: No such image: busybox"):
        run(task_runner(engine, pullPolicy="NEVER"), "true", tmp_path, context, image="busybox")


def test_an_image_that_cannot_be_pulled_says_why(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    with pytest.raises(TaskFailure, match="The image `nowhere:1` cannot be pulled: manifest for nowhere:1 not found"):
        run(task_runner(engine), "true", tmp_path, context, image="nowhere:1")
    assert engine.created == []


def test_a_registry_that_asks_for_a_login(engine: StandInEngine, context: RecordingContext, tmp_path: Path) -> None:
    engine.login = ("me", "word")
    with pytest.raises(TaskFailure, match="pull access denied"):
        run(task_runner(engine), "true", tmp_path, context, image="busybox")
    with_login = task_runner(engine, credentials={"username": "me", "password": "word"})
    assert run(with_login, "true", tmp_path, context, image="busybox") == 0
    assert engine.credentials[-1] == {
        "username": "me",
        "password": "word",
        "serveraddress": HUB,
    }


def test_where_a_registrys_credentials_come_from(tmp_path: Path) -> None:
    auth = base64.b64encode(b"ada:p:w").decode()
    config = {"auths": {"ghcr.io": {"auth": auth}, HUB: {"identitytoken": "t"}}}
    ada = {"serveraddress": "ghcr.io", "username": "ada", "password": "p:w"}
    assert registry_credentials(Docker(config=config), "ghcr.io/team/app", {}) == ada
    assert registry_credentials(Docker(config=json.dumps(config)), "ghcr.io/team/app:1", {}) == ada
    assert registry_credentials(Docker(config=config), "alpine", {})["identitytoken"] == "t"
    assert registry_credentials(Docker(config=config), "quay.io/team/app", {}) == {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert registry_credentials(Docker(), "ghcr.io/team/app", {"DOCKER_CONFIG": str(tmp_path)}) == ada
    given = Docker(credentials={"registry": "my.io", "auth": auth, "registryToken": "r"})  # type: ignore[arg-type]
    assert registry_credentials(given, "alpine", {}) == {
        "serveraddress": "my.io",
        "username": "ada",
        "password": "p:w",
        "registrytoken": "r",
    }
    with pytest.raises(TaskFailure, match="not JSON"):
        registry_credentials(Docker(config="auths:"), "alpine", {})


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """Make a credential helper; return an environment that has it on its path."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "DOCKER_CONFIG": str(folder)}


ECHOES = """test "$1" = get || exit 9; printf '{"Username":"%s","Secret":"s of %s"}' "$HELPED" "$(cat)\""""


def test_credential_helpers_are_asked_as_docker_asks_them(tmp_path: Path) -> None:
    environment = helper(tmp_path, "mine", ECHOES) | {"HELPED": "ada"}
    ghcr = {"serveraddress": "ghcr.io", "username": "ada", "password": "s of ghcr.io"}
    store = Docker(config={"credsStore": "mine"})
    assert registry_credentials(store, "ghcr.io/team/app", environment) == ghcr
    assert registry_credentials(store, "alpine", environment)["password"] == f"s of {HUB}"
    of_one = Docker(config={"credHelpers": {"ghcr.io": "mine"}, "auths": {"quay.io": {"identitytoken": "t"}}})
    assert registry_credentials(of_one, "ghcr.io/team/app", environment) == ghcr
    assert registry_credentials(of_one, "quay.io/team/app", environment)["identitytoken"] == "t"
    assert registry_credentials(of_one, "alpine", environment) == {}
    (tmp_path / "config.json").write_text('{"credsStore": "other", "credHelpers": {"ghcr.io": "mine"}}')
    assert registry_credentials(Docker(), "ghcr.io/team/app", environment) == ghcr
    as_token = registry_credentials(store, "ghcr.io/team/app", environment | {"HELPED": "<token>"})
    assert as_token == {"serveraddress": "ghcr.io", "identitytoken": "s of ghcr.io"}


def test_a_registry_that_a_helper_does_not_know_is_looked_for_in_the_configuration(tmp_path: Path) -> None:
    environment = helper(tmp_path, "mine", "echo credentials not found in native keychain; exit 1")
    config = {"credsStore": "mine", "auths": {"ghcr.io": {"identitytoken": "t"}}}
    assert registry_credentials(Docker(config=config), "ghcr.io/a", environment)["identitytoken"] == "t"
    assert registry_credentials(Docker(config=config), "alpine", environment) == {}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no session; exit 1", "no session"),
        ("echo no agent >&2; exit 2", "no agent"),
        ("echo Secret: open-sesame", "no JSON with a Secret"),
    ],
)
def test_a_helper_that_fails_is_told_and_no_secret_with_it(tmp_path: Path, script: str, why: str) -> None:
    environment = helper(tmp_path, "mine", script)
    with pytest.raises(TaskFailure) as failed:
        registry_credentials(Docker(config={"credsStore": "mine"}), "ghcr.io/a", environment)
    assert str(failed.value) == f"`docker-credential-mine` gave no credentials of ghcr.io: {why}"


@pytest.mark.parametrize("name", ["none", "../docker-credential-mine", "mine get;"])
def test_a_helper_that_is_not_there_is_told_with_the_ways_out(tmp_path: Path, name: str) -> None:
    environment = helper(tmp_path, "mine", ECHOES)
    with pytest.raises(TaskFailure, match=r"there is no such program: install it .* or give `credentials`"):
        registry_credentials(Docker(config={"credsStore": name}), "ghcr.io/a", environment)


def test_a_helper_is_asked_only_for_an_image_that_is_pulled(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    runner = task_runner(engine, config={"credsStore": "none"})
    assert run(runner, "true", tmp_path, context, image="alpine") == 0
    with pytest.raises(TaskFailure, match="docker-credential-none"):
        run(runner, "true", tmp_path, context, image="busybox")


# -- How a container is made ------------------------------------------------------------------------


def test_all_properties_reach_the_engine(engine: StandInEngine, tmp_path: Path) -> None:
    context = RecordingContext(code=CodePolicy(volumes=True, owner="me"))
    runner = task_runner(
        engine,
        entryPoint=["/usr/bin/env"],
        extraHosts=["db:127.0.0.1"],
        networkMode="host",
        portBindings=["8080:80", "127.0.0.1:53:53/udp", "9000"],
        user="1000:1000",
        volumes=["/data:/data:ro"],
        deviceRequests=[{"driver": "nvidia", "count": -1, "deviceIds": ["0"], "capabilities": [["gpu"]]}],
        cpu={"cpus": 1.5},
        memory={"memory": "512MB", "memorySwap": "-1", "memoryReservation": "256Mb", "memorySwappiness": 10},
        shmSize="64m",
        privileged=True,
    )
    assert run(runner, "true", tmp_path, context) == 0
    made = engine.created[0]
    host = made["HostConfig"]
    folder = host["Mounts"][0]["Target"]
    assert made["Entrypoint"] == ["/usr/bin/env"]
    assert (made["User"], made["WorkingDir"]) == ("1000:1000", f"{folder}/wd")
    assert made["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}}
    assert made["Labels"] == {OWNER_LABEL: "me", ATTEMPT_LABEL: "exec1/run1/0"}
    assert host == {
        "Init": True,
        "Binds": ["/data:/data:ro"],
        "DeviceRequests": [{"Driver": "nvidia", "Count": -1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}],
        "ExtraHosts": ["db:127.0.0.1"],
        "Memory": 512 * 1024**2,
        "MemoryReservation": 256 * 1024**2,
        "MemorySwap": -1,
        "MemorySwappiness": 10,
        "NanoCpus": 1_500_000_000,
        "NetworkMode": "host",
        "PortBindings": {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
            "9000/tcp": [{"HostIp": "", "HostPort": ""}],
        },
        "Privileged": True,
        "ShmSize": 64 * 1024**2,
        "Mounts": [{"Type": "volume", "Target": folder}],
    }


def test_an_images_own_entry_point_is_not_used() -> None:
    assert container_options(Docker(), "alpine", {}).configuration == {"Entrypoint": [""]}


def test_folders_of_the_machine_are_mounted_only_where_that_is_switched_on(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    with pytest.raises(TaskFailure, match="HEADRACE_DOCKER_VOLUMES"):
        run(task_runner(engine, volumes=["/:/host"]), "true", tmp_path, context)
    assert engine.requests == []


@pytest.mark.parametrize(
    ("text", "expected"), [("1048576", 1048576), ("512Mb", 512 * 1024**2), ("1.5 GiB", 1610612736), ("2k", 2048)]
)
def test_amounts(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    "properties", [{"memory": {"memory": "much"}}, {"portBindings": ["http:80"]}], ids=["memory", "port"]
)
def test_values_that_say_nothing_are_told(properties: dict[str, Any]) -> None:
    with pytest.raises(TaskFailure, match=r"`much` is not an amount|`http:80` of portBindings"):
        container_options(Docker.model_validate(properties), "alpine", {})


# -- Files ------------------------------------------------------------------------------------------


def test_the_folder_comes_back_as_the_code_left_it(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    (tmp_path / "gone").write_text("x")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "run.sh").write_text("echo ran")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "old").mkdir()
    (tmp_path / "link").symlink_to("kept")
    script = """
./run.sh >ran; rm gone; rmdir old; mkdir -p deep/er; echo new >deep/er/file; ln kept second
ln -s deep/er/file inner; ln -s /etc/hostname out; ln -s .. up; mkfifo pipe; chmod 600 kept
"""
    assert run(task_runner(engine), script, tmp_path, context) == 0
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"kept", "run.sh", "link", "ran", "deep", "deep/er", "deep/er/file", "second", "inner"}
    assert (tmp_path / "inner").read_text() == "new\n"
    assert (tmp_path / "second").read_text() == (tmp_path / "link").read_text() == "kept"
    assert os.access(tmp_path / "run.sh", os.X_OK)


def test_an_archive_cannot_write_outside_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        link = tarfile.TarInfo("wd/door")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        for name in ("wd/door/x", "wd/../../outside/y", "/etc/z", "wd/fine"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"1"))
        hard = tarfile.TarInfo("wd/hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "wd/../../outside/secret"
        (outside / "secret").write_text("s")
        archive.addfile(hard)
    unpack([content.getvalue()], folder)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {"fine", "door", "door/x"}
    assert not (folder / "door").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_large_file_goes_in_and_out_without_being_in_memory(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    length = 200 * 1024 * 1024
    with (tmp_path / "large").open("wb") as file:
        file.truncate(length)
    tracemalloc.start()
    try:
        assert run(task_runner(engine), "mv large larger; echo end >>larger", tmp_path, context) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "larger").stat().st_size == length + 4
    assert peak < 20 * 1024 * 1024


def test_mounted_files_are_not_copied(engine: StandInEngine, context: RecordingContext, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    runner = task_runner(engine, fileHandlingStrategy="MOUNT")
    assert run(runner, "cat in in >out", tmp_path, context) == 0
    assert (tmp_path / "out").read_text() == "xx"
    assert not [path for _, path in engine.requests if path.endswith("archive")]


# -- Ends -------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_container(engine: StandInEngine, context: RecordingContext, tmp_path: Path) -> None:
    run(task_runner(engine), "sleep 1000 & exit 3", tmp_path, context)
    assert engine.containers == {}


def test_code_that_ignores_the_first_signal_is_ended_by_force(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    runner = DockerRunner(Address(engine.url), ContainerOptions(), "stubborn", grace=0.05)
    script = "trap '' TERM; echo started; while true; do sleep 0.01; done"
    assert run(runner, script, tmp_path, context, lambda _line: threading.Thread(target=context.stop).start()) == 137
    assert engine.containers == {}


def test_a_container_that_is_not_waited_for(engine: StandInEngine, tmp_path: Path) -> None:
    context = RecordingContext(code=CodePolicy(owner="me"))
    assert run(task_runner(engine, wait=False), "sleep 1000", tmp_path, context) == 0
    assert len(engine.running) == 1
    assert engine.created[0]["HostConfig"]["AutoRemove"] is True
    # It is meant to outlive its attempt, and does not count as left behind.
    assert remove_left([Address(engine.url)], "me") == 0


def interrupted(
    engine: StandInEngine, context: RecordingContext, directory: Path, state: str, interrupt: Callable[[], object]
) -> None:
    """Run a container that is interrupted when a call is under way, or its code. Raises what the run raises."""
    engine.hang_at = state
    (directory / "in").write_text("x")
    raised: list[Exception] = []

    def work() -> None:
        script = "true" if state == "get" else "echo started; exec sleep 1000"
        image = "busybox" if state == "pull" else "alpine"
        try:
            run(task_runner(engine), script, directory, context, lambda _line: engine.reached.set(), image=image)
        except (AttemptLostError, TaskFailure) as error:
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert engine.reached.wait(60)
    interrupt()
    engine.go.set()
    worker.join(60)
    assert not worker.is_alive()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("state", ["pull", "create", "put", "start", "running", "get"])
def test_an_engine_that_goes_away_loses_the_attempt_whenever_it_does(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path, state: str
) -> None:
    with pytest.raises(AttemptLostError, match="went away"):
        interrupted(engine, context, tmp_path, state, engine.die)


@pytest.mark.parametrize("state", ["put", "start", "running", "get"])
def test_a_container_that_somebody_removes_loses_the_attempt_whenever_it_happens(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path, state: str
) -> None:
    def remove() -> None:
        with DockerEngine(Address(engine.url)) as other:
            other.remove(next(iter(engine.containers)))

    with pytest.raises(AttemptLostError, match="went away"):
        interrupted(engine, context, tmp_path, state, remove)
    assert engine.containers == {}


def test_what_a_dead_engine_left_is_removed_and_nothing_else(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    with DockerEngine(Address(engine.url)) as client:
        mine, others, strange = (
            client.create(
                {
                    "Image": "alpine",
                    "Cmd": ["sleep", "1000"],
                    "Labels": labels,
                    "WorkingDir": f"{IN_CONTAINERS}left-{name}",
                    "HostConfig": {"Mounts": [{"Type": "volume", "Target": f"{IN_CONTAINERS}left-{name}"}]},
                }
            )
            for name, labels in (("a", {OWNER_LABEL: "me"}), ("b", {OWNER_LABEL: "you"}), ("c", {}))
        )
        client.start(mine)
    nobody = Address(f"unix://{tmp_path}/none.sock")
    assert remove_left([nobody, Address(engine.url)], "me") == 1
    assert set(engine.containers) == {others, strange}


# -- A stop in every state --------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pull", "create", "put", "start", "running", "get"])
def test_a_stop_ends_the_run_in_every_state(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path, state: str
) -> None:
    """In each the call is under way when the stop comes; then nothing runs, nothing is left, and the run returns."""
    engine.hang_at = state
    (tmp_path / "in").write_text("x")
    codes: list[int] = []
    script = "echo started; exec sleep 1000" if state != "get" else "true"

    def work() -> None:
        image = "busybox" if state == "pull" else "alpine"
        codes.append(
            run(task_runner(engine), script, tmp_path, context, lambda _line: engine.reached.set(), image=image)
        )

    worker = threading.Thread(target=work)
    worker.start()
    assert engine.reached.wait(60)
    context.stop()
    if state in ("create", "start"):
        engine.go.set()  # such a call is not cut short: what it made would be left behind
    worker.join(60)
    assert not worker.is_alive()
    assert len(codes) == 1
    assert codes[0] != 0
    assert engine.containers == {}


def test_a_creation_whose_answer_is_lost_leaves_no_container(
    engine: StandInEngine, context: RecordingContext, tmp_path: Path
) -> None:
    class Deaf(DockerEngine):
        def create(self, configuration: Any) -> str:
            super().create(configuration)
            raise EngineGoneError("The answer was lost")

    with pytest.raises(AttemptLostError, match="The answer was lost"):
        run(DockerRunner(Address(engine.url), ContainerOptions(), "deaf", connect=Deaf), "true", tmp_path, context)
    assert len(engine.created) == 1
    assert engine.containers == {}
