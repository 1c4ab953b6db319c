"""The local server: the API, and the runtime on a data folder that it is about, in this process.

It listens at once, and is ready when what the folder holds goes on and the flows of its folder are saved. On SIGTERM
(or Ctrl-C) it takes nothing more, answers what it was asked, ends the answers that go on and on, and gives what runs
some time; what still runs then is ended, and runs again at the next start. A second signal takes that time away.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import uvicorn

from headrace_cli import flow_files
from headrace_cli.config import Configuration
from headrace_cli.errors import UserError
from headrace_cli.local import LocalRuntime
from headrace_cli.server_asgi import AsgiHost, Changes
from headrace_cli.server_flows import FlowFolder
from headrace_engine.api import Admission, Answer, ApiError, Request
from headrace_engine.api.gate import Gate
from headrace_engine.api.gates import CredentialsNeededError, local_gate
from headrace_engine.api.http import error_response, json_response
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.pages import Site
from headrace_engine.ports import FlowSource, PortError
from headrace_engine.sessions import StoredKey

_SWITCH = 0.001
"""Seconds that a thread may keep the interpreter while another wants it. With Python's own five milliseconds the event
loop waits for the executor's threads: a third fewer executions a second (``benchmarks/server.py``)."""
_ANSWERED = 10
"""Seconds that a stopping server gives the requests it has begun to answer."""
_IDLE = 65
"""Seconds that a connection may be silent between two requests."""
_BACKLOG = 2048

_STARTING = error_response(ApiError(503, "The server is starting", headers={"retry-after": "1"}))

_log = logging.getLogger(__name__)

Tell = Callable[[str], None]


class _Stage(StrEnum):
    """Where a server is in its life, in the words of Kestra's health answer."""

    STARTING = "STARTING"
    UP = "UP"
    STOPPING = "STOPPING"


class LocalServer:
    """A server as *configuration* says; *tell* is told in lines what a person should know."""

    def __init__(self, configuration: Configuration, environment: Mapping[str, str], tell: Tell) -> None:
        """Listen, and open the data folder. Raises UserError when either cannot be."""
        self._tell = tell
        self._listener = _bound(configuration["server.host"], configuration["server.port"])
        self.address = _address(self._listener)
        """Where it answers."""
        self._patience = configuration["server.drain"].total_seconds()
        self._stage = _Stage.STARTING
        self._hurries = threading.Event()
        self._failure: str | None = None
        changes = Changes()
        self._host = AsgiHost(
            self._answer,
            changes,
            admit=self._admit,
            largest_body=configuration["server.largestBody"],
            threads=configuration["server.threads"],
        )
        try:
            self._runtime = LocalRuntime.open(
                configuration["dataDir"],
                environment=environment,
                options=configuration.options(environment, self.address),
                recover=False,
            )
            self._runtime.serves_at(self.address)
        except PortError as error:  # among them the folder that another engine holds
            self._listener.close()
            raise UserError(str(error)) from error
        self._runtime.hear(changes.tell)
        try:
            gate = _gate(self._runtime, configuration)
        except CredentialsNeededError as error:
            self._listener.close()
            self._runtime.close()
            raise UserError(str(error)) from None
        # Not before: an address that others reach is not theirs to reach without credentials, not for a moment.
        with _told(configuration["server.host"], configuration["server.port"], self._listener):
            self._listener.listen(_BACKLOG)
        self._site = Site(
            self._runtime.engine,
            self._runtime.executor,
            self._runtime.mailbox,
            gate,
            wait=time.sleep,
            # The rest is for what else is in a form.
            largest_files=configuration["server.largestBody"] * 7 // 8,
        )
        folder = configuration["flows"]
        self._flows = FlowFolder(folder, self._save, tell) if folder is not None else None
        config = uvicorn.Config(
            self._host,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            backlog=_BACKLOG,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_ANSWERED,
        )
        self._server = _Server(config)

    def run(self) -> None:
        """Serve until a signal asks to stop. Raises UserError when the data folder could not be taken up."""
        sys.setswitchinterval(_SWITCH)
        # What is uploaded may be larger than what a system keeps for temporary files, and is tidied up after a crash.
        tempfile.tempdir = str(self._runtime.temporary)
        try:
            asyncio.run(self._serve())
        finally:
            self._host.end()
            if self._flows is not None:
                self._flows.close()
            self._runtime.close()
        if self._failure is not None:
            raise UserError(self._failure)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        beginning = loop.run_in_executor(None, self._begin)
        beginning.add_done_callback(lambda _: self._begun())
        await self._server.serve(sockets=[self._listener])
        await beginning
        # While this waits, signals are heard.
        await loop.run_in_executor(None, self._drain)

    def _begin(self) -> None:
        """Take up what the data folder holds, and the flows."""
        try:
            self._runtime.recover()
            if self._flows is not None:
                self._flows.look()
                self._flows.watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, there will be no server
            _log.exception("The server could not begin")
            self._failure = f"The server could not begin: {error}"

    def _drain(self) -> None:
        """Give what runs its time."""
        if self._flows is not None:
            self._flows.close()
        if not self._runtime.drain(self._patience, self._hurries.is_set):
            self._tell("What still runs is ended; it runs again at the next start.")

    def _begun(self) -> None:
        """Answer from now on; or stop, when that cannot be."""
        if self._failure is not None:
            self._stop()
        elif self._stage is _Stage.STARTING:
            self._stage = _Stage.UP
            self._tell(f"Headrace serves {self.address}")

    def _stop(self) -> None:
        """Take nothing more; a second time, wait for nothing any more."""
        if self._stage is _Stage.STOPPING:
            self._hurries.set()
            self._server.force_exit = True
            return
        self._stage = _Stage.STOPPING
        self._tell("Stopping: what runs goes on for a while.")
        self._host.close()
        self._server.should_exit = True

    def _save(self, source: str, file: str) -> FlowDefinition | FlowSource:
        if flow_files.is_template(Path(file)):
            return self._runtime.save_template(source, file=file)
        return self._runtime.save_flow(source, file=file)

    def _answer(self, request: Request) -> Answer:
        if request.path == "/health":
            is_up = self._stage is _Stage.UP
            return json_response({"status": self._stage}, 200 if is_up else 503, {"cache-control": "no-store"})
        return _STARTING if self._stage is _Stage.STARTING else self._site(request)

    def _admit(self, request: Request) -> Admission:
        if self._stage is _Stage.STARTING:
            return Admission(refusal=_STARTING)
        return Admission() if request.path == "/health" else self._site.admit(request)


def _gate(runtime: LocalRuntime, configuration: Configuration) -> Gate:
    """Return who may ask. Raises CredentialsNeededError."""
    stores = runtime.stores
    return local_gate(
        runtime.identity,
        runtime.audit,
        stores.clock,
        listens_on=configuration["server.host"],
        credentials=configuration["server.auth"],
        origins=frozenset(configuration["server.origins"]),
        session_key=StoredKey(stores.kv, stores.cipher, stores.clock),
    )


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to whoever runs it: it would send them to this process again at its end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that has the address, and does not listen yet. Raises UserError."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise UserError(f"{host} is no address of this machine.") from None
    listener = socket.socket(family, kind, protocol)
    with _told(host, port, listener):
        # A port whose connections of before are still being forgotten is free; one that somebody serves is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    return listener


@contextmanager
def _told(host: str, port: int, listener: socket.socket) -> Iterator[None]:
    """Tell why an address cannot be had, and close the socket. Raises UserError."""
    try:
        yield
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            wanted = f"Port {port} of {host} is in use"
            raise UserError(f"{wanted}; name another with --port, or take any: --port 0.") from None
        raise UserError(f"{host}:{port} cannot be served: {error.strerror or error}.") from None


def _address(listener: socket.socket) -> str:
    """Return the address of a server, as this machine reaches it."""
    host, port = listener.getsockname()[:2]
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{own}]:{port}" if ":" in own else f"http://{own}:{port}"
