"""A stand-in for a Docker engine on a local socket: its API and framing, with processes of this machine as containers.

What lies under `/tmp/headrace-…` in a container lies there on this machine; nothing else of a container's filesystem
is there. Requests are kept, so that a test can say what was asked of the engine.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

IN_CONTAINERS = "/tmp/headrace-"  # noqa: S108 - what the runner calls its folders in containers
_CHUNK = 16 * 1024
_MISSING = "No such container: {}"


class RefusedError(Exception):
    """The engine's answer is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Container:
    """One container and, once it was started, its process."""

    id: str
    configuration: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when it has ended and all it wrote was handed over."""
    attached: list[Any] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> dict[str, Any]:
        return self.configuration.get("HostConfig", {})

    def paths(self) -> Iterator[Path]:
        """Yield what its mounts made on this machine."""
        for mount in self.host.get("Mounts", []):
            yield own_path(mount["Target"])

    def prepare(self) -> None:
        for mount, path in zip(self.host.get("Mounts", []), self.paths(), strict=True):
            if mount["Type"] == "volume":
                path.mkdir(mode=0o755, parents=True)
            else:
                path.parent.mkdir(parents=True)
                path.symlink_to(mount["Source"])

    def start(self, programs: str = "") -> None:
        if self.process is not None:
            raise RefusedError(304, "")
        entry = [each for each in self.configuration.get("Entrypoint") or [] if each]
        path = f"{programs}:{os.environ['PATH']}" if programs else os.environ["PATH"]
        environment = {"PATH": path, "HOME": "/", "PWD": self.configuration["WorkingDir"]}
        environment |= dict(each.split("=", 1) for each in self.configuration.get("Env") or [])
        argv = [*entry, *self.configuration["Cmd"]]
        if shutil.which(argv[0], path=environment["PATH"]) is None:
            if not self.host.get("Init"):
                raise RefusedError(400, f'exec: "{argv[0]}": executable file not found in $PATH: unknown')
            text = f"[FATAL tini (7)] exec {argv[0]} failed: No such file or directory"
            argv = ["/bin/sh", "-c", f"echo '{text}' >&2; exit 127"]
        self.process = subprocess.Popen(
            argv,
            cwd=self.configuration["WorkingDir"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._live, args=(self.process,), daemon=True).start()

    def _live(self, process: subprocess.Popen[bytes]) -> None:
        readers = [
            threading.Thread(target=self._pump, args=(number, pipe), daemon=True)
            for number, pipe in ((1, process.stdout), (2, process.stderr))
        ]
        for reader in readers:
            reader.start()
        # What its first process leaves running ends with the container, before the number of the group is free.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        for reader in readers:
            reader.join()
        self.code = 128 - code if code < 0 else code
        self.ended.set()

    def _pump(self, number: int, pipe: Any) -> None:
        with pipe:
            while chunk := pipe.read1(_CHUNK):
                with self.lock:
                    for each in self.attached:
                        with suppress(OSError):
                            each.write(bytes([number, 0, 0, 0]) + len(chunk).to_bytes(4, "big") + chunk)
                            each.flush()

    def kill(self, name: str) -> None:
        if self.process is None or self.ended.is_set():
            raise RefusedError(409, f"Container {self.id} is not running")
        number = getattr(signal, name)
        of_group = "TINI_KILL_PROCESS_GROUP=1" in self.configuration.get("Env", []) and self.host.get("Init")
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL or of_group:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def remove(self) -> None:
        if self.process is not None and not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.ended.wait()
        self.ended.set()
        for path in self.paths():
            if path.is_symlink():
                path.unlink()
                path.parent.rmdir()
            else:
                shutil.rmtree(path, ignore_errors=True)


def own_path(path: str) -> Path:
    """Return where a container's *path* lies on this machine."""
    if not path.startswith(IN_CONTAINERS) or ".." in path.split("/"):
        raise RefusedError(404, f"Could not find the file {path} in container")
    return Path(path)


class StandInEngine:
    """The engine; leave its ``with`` block to end it and all of its containers."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "docker.sock"
        self.images = {"alpine:latest"}
        """Those that are there, with their tags."""
        self.registry = {"alpine:latest", "busybox:latest"}
        """Those that can be pulled."""
        self.login: tuple[str, str] | None = None
        """What the registry asks for."""
        self.requests: list[tuple[str, str]] = []
        self.credentials: list[dict[str, str]] = []
        self.created: list[dict[str, Any]] = []
        """How each container was to be made."""
        self.containers: dict[str, Container] = {}
        self.programs = ""
        """A folder of programs that every image has."""
        self.version = "1.51"
        self.hang_at = ""
        """A call that says it has come so far (`reached`), and goes on when it may (`go`) or its caller is gone."""
        self.reached = threading.Event()
        self.go = threading.Event()
        self._server = _Server(str(self.socket), self)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def running(self) -> list[Container]:
        return [each for each in self.containers.values() if each.process is not None and not each.ended.is_set()]

    def __enter__(self) -> StandInEngine:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.die()
        for each in list(self.containers.values()):
            each.remove()

    def die(self) -> None:
        """Go away as an engine that is killed does: the socket, and every connection."""
        self._server.shutdown()
        self._server.server_close()
        self.socket.unlink(missing_ok=True)
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def pause(self, name: str, connection: socket.socket) -> None:
        """Wait here when a test has asked for it. Raises ConnectionError when the caller has gone meanwhile."""
        if self.hang_at != name:
            return
        self.reached.set()
        connection.settimeout(0.02)
        try:
            while not self.go.is_set():
                with suppress(TimeoutError):
                    if connection.recv(1, socket.MSG_PEEK) == b"":
                        raise ConnectionError("the caller has gone")
        finally:
            connection.settimeout(None)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """As many as may come before one is accepted: a connection too many is refused at once, as an engine gone."""

    def __init__(self, path: str, engine: StandInEngine) -> None:
        self.engine = engine
        self.connections: set[socket.socket] = set()
        super().__init__(path, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that the server looks for

    def answer(self) -> None:
        engine = self.server.engine
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if path == "/_ping":
            return self.send(200, b"OK")
        version, _, path = path.lstrip("/").partition("/")
        engine.requests.append((self.command, path))
        try:
            if tuple(map(int, version.removeprefix("v").split("."))) > tuple(map(int, engine.version.split("."))):
                raise RefusedError(400, f"client version {version} is too new. Maximum supported is {engine.version}")
            self.route(path.split("/"))
        except RefusedError as refused:
            self.send(refused.status, json.dumps({"message": str(refused)}).encode())
        except OSError:  # whoever asked has gone
            self.close_connection = True
        return None

    def route(self, path: list[str]) -> None:
        match self.command, path:
            case "GET", ["images", *name, "json"]:
                self.image("/".join(name))
            case "POST", ["images", "create"]:
                self.pull()
            case "POST", ["containers", "create"]:
                self.create()
            case "GET", ["containers", "json"]:
                self.list()
            case "DELETE", ["containers", _]:
                self.container(path[1]).remove()
                del self.server.engine.containers[path[1]]
                self.send(204)
            case "POST", ["containers", _, "attach"]:
                self.attach(self.container(path[1]))
            case "POST", ["containers", _, "start"]:
                container = self.container(path[1])
                self.server.engine.pause("start", self.connection)
                container.start(self.server.engine.programs)
                self.send(204)
            case "POST", ["containers", _, "wait"]:
                self.wait(self.container(path[1]))
            case "POST", ["containers", _, "kill"]:
                self.container(path[1]).kill(self.query["signal"])
                self.send(204)
            case "PUT", ["containers", _, "archive"]:
                self.put(self.container(path[1]))
            case "GET", ["containers", _, "archive"]:
                self.get(self.container(path[1]))
            case _:
                raise RefusedError(404, "page not found")

    # -- What it answers ----------------------------------------------------------------------------

    def image(self, name: str) -> None:
        named = name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
        if named not in self.server.engine.images:
            raise RefusedError(404, f"No such image: {named}")
        self.send(200, json.dumps({"RepoTags": [named]}).encode())

    def pull(self) -> None:
        engine = self.server.engine
        name = self.query["fromImage"]
        image = f"{name}:{self.query['tag']}" if "tag" in self.query else name
        told = json.loads(base64.urlsafe_b64decode(self.headers.get("X-Registry-Auth") or "e30="))
        engine.credentials.append(told)
        self.begin_stream("application/json")
        self.chunk(b'{"status":"Pulling from library","id":"x"}\r\n')
        engine.pause("pull", self.connection)
        if engine.login not in (None, (told.get("username"), told.get("password"))):
            problem = f"pull access denied for {name}, repository does not exist or may require 'docker login'"
        elif image not in engine.registry:
            problem = f"manifest for {image} not found: manifest unknown"
        else:
            problem = ""
            engine.images.add(image)
        if problem:
            self.chunk(json.dumps({"errorDetail": {"message": problem}, "error": problem}).encode() + b"\r\n")
        self.chunk(b"")

    def create(self) -> None:
        engine = self.server.engine
        configuration = json.loads(b"".join(self.body()))
        engine.pause("create", self.connection)
        image = configuration["Image"]
        if (image if ":" in image.rpartition("/")[2] else f"{image}:latest") not in engine.images:
            raise RefusedError(404, f"No such image: {image}")
        container = Container(os.urandom(32).hex(), configuration)
        container.prepare()
        engine.created.append(configuration)
        engine.containers[container.id] = container
        self.send(201, json.dumps({"Id": container.id, "Warnings": []}).encode())

    def list(self) -> None:
        wanted = dict(each.split("=", 1) for each in json.loads(self.query.get("filters", "{}")).get("label", []))
        found = [
            {"Id": each.id}
            for each in self.server.engine.containers.values()
            if wanted.items() <= each.configuration.get("Labels", {}).items()
        ]
        self.send(200, json.dumps(found).encode())

    def attach(self, container: Container) -> None:
        # No length and no chunks: the bytes that follow are the container's until the connection ends.
        wants_upgrade = self.headers.get("Upgrade") == "tcp"
        begin = "101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp" if wants_upgrade else "200 OK"
        kind = "application/vnd.docker.raw-stream"
        self.wfile.write(f"HTTP/1.1 {begin}\r\nContent-Type: {kind}\r\n\r\n".encode())
        self.wfile.flush()
        with container.lock:
            container.attached.append(self.wfile)
        container.ended.wait()
        with container.lock:
            container.attached.remove(self.wfile)
        self.close_connection = True

    def wait(self, container: Container) -> None:
        self.begin_stream("application/json")
        self.wfile.flush()  # whoever waits for the next end is told that it has begun
        if container.process is not None or self.query.get("condition", "not-running") != "not-running":
            container.ended.wait()
        self.chunk(json.dumps({"StatusCode": container.code or 0}).encode())
        self.chunk(b"")

    def put(self, container: Container) -> None:
        del container
        target = own_path(self.query["path"])
        if not target.is_dir():
            raise RefusedError(404, f"Could not find the file {target} in container")
        self.server.engine.pause("put", self.connection)
        with tarfile.open(fileobj=io.BufferedReader(_Body(self.body())), mode="r|") as archive:
            for member in archive:
                archive.extract(member, target, filter="fully_trusted")
        for _ in self.body():
            pass
        self.send(200)

    def get(self, container: Container) -> None:
        del container
        path = own_path(self.query["path"])
        if not path.exists():
            raise RefusedError(404, f"Could not find the file {path} in container")
        self.begin_stream("application/x-tar")
        self.server.engine.pause("get", self.connection)
        with tarfile.open(fileobj=_Chunks(self.chunk), mode="w|", dereference=False) as archive:
            archive.add(path.resolve() if path.is_symlink() else path, arcname=path.name)
        self.chunk(b"")

    # -- HTTP ---------------------------------------------------------------------------------------

    def container(self, name: str) -> Container:
        found = self.server.engine.containers.get(name)
        if found is None:
            raise RefusedError(404, _MISSING.format(name))
        return found

    def body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline() or b"0", 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            self.headers.replace_header("Transfer-Encoding", "read")
        elif left := int(self.headers.get("Content-Length") or 0):
            yield self.rfile.read(left)
            self.headers.replace_header("Content-Length", "0")

    def send(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Api-Version", self.server.engine.version)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(content)

    def begin_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()


class _Body(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._held = self._held or next(self._chunks, b"")
        length = min(len(buffer), len(self._held))
        buffer[:length], self._held = self._held[:length], self._held[length:]
        return length


class _Chunks:
    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, content: bytes) -> int:
        if content:
            self._write(content)
        return len(content)
