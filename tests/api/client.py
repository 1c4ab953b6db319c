"""An API without a host: a request in, an answer out. Its stores are those of a virtual runtime, its caller is told."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from headrace_engine.adapters.memory import MemoryAudit
from headrace_engine.api import Api, Request, Response
from headrace_engine.api.gate import Gate
from headrace_engine.core.codec import decode_message
from headrace_engine.engine import Engine
from headrace_engine.identity import OWNER, Grant, Kind, Principal
from headrace_engine.language import Registry
from headrace_engine.testing.runtime import VirtualRuntime

TASKS = Registry.load()


class ApiClient:
    """Asks an API, in the name of somebody."""

    def __init__(self, make_engine: Callable[..., Engine] = Engine) -> None:
        self.runtime = VirtualRuntime(registry=TASKS, make_engine=make_engine)
        self.principal = OWNER
        self.stores = self.runtime.engine.stores
        self.api = Api(
            self.runtime.engine,
            self.runtime.executor,
            self,
            Gate(lambda _: self.principal, MemoryAudit(), self.runtime.clock),
            wait=self._wait,
        )

    def send(self, execution_id: str, message: bytes) -> None:
        """Pass a message on."""
        self.runtime.world.post(execution_id, decode_message(message))

    def _wait(self, seconds: float) -> None:
        self.runtime.settle(None)
        self.runtime.clock.set(self.runtime.clock.now() + timedelta(seconds=seconds))

    def become(self, *grants: str) -> None:
        """Ask as somebody with these grants from now on."""
        self.principal = Principal("somebody", Kind.TOKEN, tuple(map(Grant.parse, grants)))

    def ask(self, method: str, target: str, body: str | bytes = b"", **headers: str) -> Response:
        """Return the answer to a request for what lies below the API's path."""
        path, _, query = target.partition("?")
        content = body.encode() if isinstance(body, str) else body
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.api(
            Request(method, f"/api/v1/main{path}", parse_qs(query, keep_blank_values=True), names, content)
        )
        assert isinstance(answer, Response)
        return answer

    def upload(self, method: str, target: str, name: str, filename: str, content: bytes) -> Response:
        """Send a file as a form's part."""
        head = f'--x\r\ncontent-disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode()
        body = head + content + b"\r\n--x--\r\n"
        return self.ask(method, target, body, content_type="multipart/form-data; boundary=x")

    def get(self, target: str) -> Any:
        """Return what a GET answers."""
        return self.ok(self.ask("GET", target))

    def ok(self, response: Response) -> Any:
        """Return what a good answer says."""
        assert response.status < 300, (response.status, response.body)
        return json.loads(response.body) if response.body else None

    def refused(self, response: Response, status: int) -> str:
        """Return why a request was refused."""
        assert response.status == status, (response.status, response.body)
        message = json.loads(response.body)["message"]
        assert isinstance(message, str)
        return message

    def save(self, *sources: str) -> None:
        """Create flows."""
        for source in sources:
            self.ok(self.ask("POST", "/flows", source))


@contextmanager
def api_client(make_engine: Callable[..., Engine] = Engine) -> Iterator[ApiClient]:
    """Yield a client of an API with empty stores, or with those that *make_engine* gives its engine."""
    client = ApiClient(make_engine)
    with client.runtime:
        yield client


def log_flow(name: str, more: str = "") -> str:
    """Return a flow that logs something; *name* is ``namespace.id``."""
    namespace, _, flow_id = name.rpartition(".")
    task = "{id: log, type: io.kestra.plugin.core.log.Log, message: hello}"
    return f"id: {flow_id}\nnamespace: {namespace}\n{more}tasks:\n  - {task}\n"


def zip_of(files: Mapping[str, bytes | str]) -> bytes:
    """Return an archive."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return found.getvalue()


def unzipped(content: bytes) -> dict[str, str]:
    """Return what an archive holds."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}
