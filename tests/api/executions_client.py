"""An API whose executor goes on while a request waits, and after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from api.client import ApiClient
from headrace_engine.adapters.memory import MemoryAudit
from headrace_engine.api import Answer, Api, Request, Response
from headrace_engine.api.gate import Gate

RETURN = "io.kestra.plugin.core.debug.Return"
HELLO = """
id: hello
namespace: company.team
labels: {kind: greeting}
inputs:
  - {id: message, type: STRING, defaults: Hello}
  - {id: data, type: FILE, required: false}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.message }}"}
outputs:
  - {id: said, type: STRING, value: "{{ inputs.message }}"}
"""
PAUSED = """
id: paused
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{id: by, type: STRING}]
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ outputs.wait.onResume.by }}"}
"""
FAILING = """
id: failing
namespace: company.ops
inputs:
  - {id: mode, type: STRING, defaults: bad}
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.mode }}"}
  - id: check
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ inputs.mode == 'bad' }}"
  - {id: last, type: io.kestra.plugin.core.debug.Return, format: end}
"""
LIMITED = """
id: limited
namespace: company.ops
concurrency: {limit: 1, behavior: QUEUE}
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
"""


class ExecutionsClient(ApiClient):
    """Asks an API, and lets its executor work."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = False
        """While this is true, no executor is there."""
        self.api = Api(
            self.runtime.engine,
            self.runtime.executor,
            self,
            Gate(lambda _: self.principal, MemoryAudit(), self.runtime.clock),
            wait=self._wait,
        )

    def _wait(self, _seconds: float) -> None:
        self._work()
        self.runtime.clock.set(self.runtime.clock.now().replace(microsecond=0) + timedelta(seconds=1))

    def _work(self) -> None:
        if not self.asleep:
            self.runtime.settle(None)

    def ask(self, method: str, target: str, body: str | bytes = b"", **headers: str) -> Response:
        """Return the answer, once all that follows from it is done."""
        response = super().ask(method, target, body, **headers)
        self._work()
        return response

    def stream(self, method: str, target: str, **headers: str) -> Answer:
        """Return what a host that streams would be given."""
        path, _, query = target.partition("?")
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api(Request(method, f"/api/v1/main{path}", parse_qs(query), names, streams=True))

    def form(self, target: str, **inputs: str) -> Response:
        """Send inputs as a form."""
        parts = (
            f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in inputs.items()
        )
        body = "".join(parts) + "--x--\r\n"
        return self.ask("POST", target, body, content_type="multipart/form-data; boundary=x")

    def started(self, name: str, query: str = "", **inputs: str) -> str:
        """Start an execution of ``namespace.flow``; return its id."""
        namespace, _, flow_id = name.rpartition(".")
        self.runtime.clock.set(self.runtime.clock.now() + timedelta(seconds=1))
        return str(self.ok(self.form(f"/executions/{namespace}/{flow_id}{query}", **inputs))["id"])

    def current(self, execution_id: str) -> str:
        """Return the state of an execution."""
        return str(self.get(f"/executions/{execution_id}")["state"]["current"])

    def found(self, query: str = "") -> list[str]:
        """Return the ids that a search finds, and check that it counted them."""
        page = self.get(f"/executions/search?size=100&{query}")
        assert page["total"] == len(page["results"])
        return [each["id"] for each in page["results"]]


@contextmanager
def executions_client(*flows: str) -> Iterator[ExecutionsClient]:
    """Yield a client of an API that has these flows."""
    client = ExecutionsClient()
    with client.runtime:
        client.save(*flows)
        yield client


def events(answer: bytes) -> list[dict[str, Any]]:
    """Return server-sent events, field by field."""
    blocks = answer.decode().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in blocks if block]
