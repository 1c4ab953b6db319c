"""A Docker engine as its API over HTTP has it: the calls that running one container takes.

The engine is reached over its Unix socket, or over TCP with or without TLS. Every call may be cut short from another
thread by ``interrupt``. What the engine refuses is an EngineError with the engine's own words; an engine that is not
there, or goes away, is an EngineGoneError.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from headrace_engine.model.frozen import dataclass
from headrace_runners.contract import Stream

NEWEST_API = (1, 51)
"""The newest version of the API this speaks; an older engine's own is spoken to it."""
_SYSTEM_SOCKET = Path("/var/run/docker.sock")
_TIMEOUT = httpx.Timeout(60, connect=10)
_PATIENT = httpx.Timeout(None, connect=10)
"""For calls that last as long as what they wait for."""
_FRAME = 8
_STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}


class EngineError(Exception):
    """The engine refused a call."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineGoneError(Exception):
    """There is no engine where it should be, or it went away during a call."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens."""

    url: str
    """``unix:///path``, ``tcp://host:port``, ``http://…`` or ``https://…``."""
    certificates: Path | None = None
    """A folder with ca.pem, cert.pem and key.pem, for TLS."""

    @classmethod
    def of(cls, host: str | None, environment: Mapping[str, str]) -> Self:
        """Return the address that *host* names, else DOCKER_HOST, else where an engine of this machine listens.

        Raises ValueError for one that nobody can speak HTTP to.
        """
        url = host or environment.get("DOCKER_HOST") or f"unix://{_own_socket(environment)}"
        scheme = urlsplit(url).scheme
        if scheme == "ssh":
            raise ValueError(
                f"`{url}` is not where a Docker engine can be reached: no SSH is spoken here. Forward the engine's "
                f"socket (`ssh -NL /tmp/docker.sock:/var/run/docker.sock {urlsplit(url).netloc}`), and write "
                "`unix:///tmp/docker.sock`"
            )
        if scheme not in ("unix", "tcp", "http", "https"):
            raise ValueError(
                f"`{url}` is not where a Docker engine can be reached: write `unix:///path/of/docker.sock` or "
                "`tcp://host:port`"
            )
        with_tls = scheme == "https" or (scheme == "tcp" and environment.get("DOCKER_TLS_VERIFY"))
        folder = environment.get("DOCKER_CERT_PATH") or str(Path(environment.get("HOME", "/"), ".docker"))
        return cls(url, Path(folder) if with_tls else None)


def _own_socket(environment: Mapping[str, str]) -> Path:
    """Return the socket of this machine's engine: the system's, else one without root, or Docker Desktop's."""
    homes = (("XDG_RUNTIME_DIR", "docker.sock"), ("HOME", ".docker/run/docker.sock"))
    own = [Path(environment[name], path) for name, path in homes if environment.get(name)]
    return next((path for path in (_SYSTEM_SOCKET, *own) if path.exists()), _SYSTEM_SOCKET)


class DockerEngine:
    """An engine at an address. Connections are made when they are needed; close it when done."""

    def __init__(self, address: Address) -> None:
        """Take where it listens; nothing is contacted yet. Raises EngineGoneError for certificates nobody can use."""
        self.address = address
        self._http, self._base = _client(address)
        self._prefix: str | None = None
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def interrupt(self) -> None:
        """Have every call that is under way, or comes after, fail with EngineGoneError; any thread may call."""
        with self._lock:
            self._interrupted = True
            sockets = list(self._sockets)
        for each in sockets:
            with suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)

    @property
    def has_answered(self) -> bool:
        """Whether there is one: it has answered as an engine does, whatever became of it since."""
        return self._prefix is not None

    # -- Images -------------------------------------------------------------------------------------

    def has_image(self, image: str) -> bool:
        """Tell whether the image is there."""
        try:
            self._call("GET", f"/images/{quote(image)}/json")
        except EngineError as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def pull(self, image: str, credentials: Mapping[str, str] | None = None) -> None:
        """Pull the image. Raises EngineError with what the registry says when it cannot be pulled."""
        name, tag = split_image(image)
        headers = {}
        if credentials:
            text = json.dumps(dict(credentials)).encode()
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(text).decode()
        query = {"fromImage": name, "tag": tag} if tag else {"fromImage": name}
        with self._stream("POST", "/images/create", params=query, headers=headers) as answer, self._speaking():
            for line in answer.iter_lines():
                problem = _problem(line)
                if problem:  # told in the stream, under a status that says all is well
                    raise EngineError(answer.status_code, problem)

    # -- Containers ---------------------------------------------------------------------------------

    def create(self, configuration: Mapping[str, Any]) -> str:
        """Create a container; return its id."""
        return str(self._call("POST", "/containers/create", json=configuration).json()["Id"])

    def put_files(self, container: str, folder: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar archive, which is streamed, into *folder* of the container."""
        self._call(
            "PUT",
            f"/containers/{container}/archive",
            params={"path": folder},
            content=archive,
            headers={"Content-Type": "application/x-tar"},
            timeout=_PATIENT,
        )

    @contextmanager
    def get_files(self, container: str, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the tar archive of *path*, whose entries begin with its last part, as it comes."""
        with self._stream("GET", f"/containers/{container}/archive", params={"path": path}) as answer:
            yield self._chunks(answer)

    @contextmanager
    def attached(self, container: str) -> Iterator[Iterator[tuple[Stream, bytes]]]:
        """Yield what the container writes, from its start on, until it has ended."""
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        with self._stream("POST", f"/containers/{container}/attach", params=query) as answer:
            yield demultiplex(self._chunks(answer))

    def start(self, container: str) -> None:
        """Start the container."""
        self._call("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> int:
        """Return the exit code of the container once it does not run any more."""
        answer = self._call("POST", f"/containers/{container}/wait", timeout=_PATIENT).json()
        return int(answer["StatusCode"])

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to the container's first process; nothing happens if it does not run."""
        with _ignoring(httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            self._call("POST", f"/containers/{container}/kill", params={"signal": signal})

    def remove(self, container: str) -> None:
        """End the container if it runs, and remove it with its own volumes, if it is there."""
        with _ignoring(httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):  # CONFLICT: somebody is removing it
            self._call("DELETE", f"/containers/{container}", params={"force": "true", "v": "true"}, timeout=_PATIENT)

    def containers_with(self, labels: Sequence[str]) -> list[str]:
        """Return the ids of all containers, running or not, that have these labels (``name=value``)."""
        query = {"all": "true", "filters": json.dumps({"label": list(labels)})}
        return [str(each["Id"]) for each in self._call("GET", "/containers/json", params=query).json()]

    # -- Calls --------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._stream(method, path, **{"timeout": _TIMEOUT, **options}) as answer, self._speaking():
            answer.read()
        return answer

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        with self._speaking():
            if self._prefix is None:
                self._prefix = self._agreed_version()
            options = {"timeout": _PATIENT, **options}
            request = self._http.build_request(method, f"{self._base}{self._prefix}{path}", **options)
            answer = self._send(request)
        try:
            if answer.is_error:
                with self._speaking():
                    answer.read()
                raise EngineError(answer.status_code, _problem(answer.text) or answer.text.strip())
            yield answer
        finally:
            answer.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if self._interrupted:
                raise EngineGoneError("The call was cut short")
        _knock(self.address)
        request.extensions["trace"] = self._note_socket
        return self._http.send(request, stream=True)

    def _agreed_version(self) -> str:
        answer = self._send(self._http.build_request("GET", f"{self._base}/_ping", timeout=_TIMEOUT))
        answer.close()
        major, _, minor = answer.headers.get("Api-Version", "").partition(".")
        if not (major.isdigit() and minor.isdigit()):
            raise EngineGoneError(f"What answers at {self.address.url} is not a Docker engine")
        agreed = min(NEWEST_API, (int(major), int(minor)))
        return f"/v{agreed[0]}.{agreed[1]}"

    def _note_socket(self, event: str, info: Mapping[str, Any]) -> None:
        if event not in ("connection.connect_unix_socket.complete", "connection.connect_tcp.complete"):
            return
        made = info["return_value"].get_extra_info("socket")
        with self._lock:
            self._sockets.append(made)
            too_late = self._interrupted
        if too_late:
            made.shutdown(socket.SHUT_RDWR)

    def _chunks(self, answer: httpx.Response) -> Iterator[bytes]:
        with self._speaking():
            yield from answer.iter_raw()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise EngineGoneError(str(error) or type(error).__name__) from error


def _knock(address: Address) -> None:
    """Raise EngineGoneError when nobody listens on the Unix socket: the HTTP library would leave its own one open."""
    if urlsplit(address.url).scheme != "unix":
        return
    with socket.socket(socket.AF_UNIX) as knocking:
        try:
            knocking.connect(urlsplit(address.url).path)
        except OSError as error:
            raise EngineGoneError(error.strerror or str(error)) from error


def split_image(image: str) -> tuple[str, str]:
    """Return the name of an image and its tag, ``latest`` if it has none; a digest stays with the name."""
    if "@" in image:
        return image, ""
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")


def demultiplex(chunks: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """Yield the pieces of both streams: each comes behind eight bytes that name its stream and length."""
    stream, missing, held = Stream.STDOUT, 0, b""
    for chunk in chunks:
        rest = memoryview(held + chunk)
        while len(rest) >= (1 if missing else _FRAME):
            if missing:
                piece = rest[:missing]
                yield stream, bytes(piece)
                missing -= len(piece)
                rest = rest[len(piece) :]
            else:
                stream = _STREAMS.get(rest[0], Stream.STDOUT)
                missing = int.from_bytes(rest[4:_FRAME], "big")
                rest = rest[_FRAME:]
        held = bytes(rest)


@contextmanager
def _ignoring(*statuses: int) -> Iterator[None]:
    try:
        yield
    except EngineError as refused:
        if refused.status not in statuses:
            raise


def _problem(line: str) -> str:
    """Return the message of an error that the engine wrote as JSON; "" when it is none."""
    try:
        told = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(told, Mapping):
        return ""
    detail = told.get("errorDetail")
    message = detail.get("message") if isinstance(detail, Mapping) else None
    return str(message or told.get("error") or told.get("message") or "")


def _client(address: Address) -> tuple[httpx.Client, str]:
    """Return a client for *address*, and what the paths of its calls begin with."""
    parts = urlsplit(address.url)
    verify: ssl.SSLContext | bool = True
    if address.certificates is not None:
        authority = address.certificates / "ca.pem"
        try:
            verify = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
            if (address.certificates / "cert.pem").exists():
                verify.load_cert_chain(address.certificates / "cert.pem", address.certificates / "key.pem")
        except OSError as error:
            raise EngineGoneError(f"the certificates in {address.certificates} cannot be used: {error}") from error
    if parts.scheme == "unix":
        transport = httpx.HTTPTransport(uds=parts.path)
        return httpx.Client(transport=transport, timeout=_TIMEOUT, trust_env=False), "http://docker"
    scheme = "https" if address.certificates is not None else "http"
    return httpx.Client(verify=verify, timeout=_TIMEOUT, trust_env=False), f"{scheme}://{parts.netloc}"
