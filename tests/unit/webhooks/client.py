"""An API to call webhooks of, on an engine in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from headrace_engine.adapters.memory import MemoryAudit
from headrace_engine.api import Api, Request, Response
from headrace_engine.api.gate import Gate, unauthorized
from headrace_engine.core.codec import decode_message
from headrace_engine.identity import Principal
from headrace_engine.language import Registry
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime

TASKS = Registry.load()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRETS = {"SIGNING": "s3cret", "NEXT": "n3xt", "EMPTY": ""}
FLOW = """
id: heard
namespace: demo
inputs:
  - {id: name, type: STRING, required: false}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.body ?? 'nothing' }}"}
outputs:
  - {id: said, type: STRING, value: "{{ trigger.body.text ?? '' }}"}
triggers:
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
"""


def flow(*more: str, key: str = "k3y") -> str:
    """Return the source of a flow with a webhook; *more* are further lines of the trigger."""
    lines = [f'key: "{key}"', *more]
    return FLOW + "".join(f"    {line}\n" for line in lines)


def seen(response: Response) -> Any:
    """Return the JSON of an answer."""
    return json.loads(response.body)


def _nobody(_request: Request) -> Principal:
    raise unauthorized()


class Client:
    """Calls the API as somebody who has no credentials; the executor goes on while a call waits, and after it."""

    def __init__(self, http: Callable[[Mapping[str, Any]], Any] | None = None, now: datetime = NOW) -> None:
        self.runtime = VirtualRuntime(registry=TASKS, secrets=SECRETS, now=now, settings=Settings(http=http))
        self.lost: BaseException | None = None
        """What the mailbox fails with."""
        self.runs = True
        """Whether an executor is there."""
        gate = Gate(_nobody, MemoryAudit(), self.runtime.clock)
        self.api = Api(self.runtime.engine, self.runtime.executor, self, gate, wait=self._wait)

    def send(self, execution_id: str, message: bytes) -> None:
        """See Mailbox.send."""
        if self.lost is not None:
            raise self.lost
        self.runtime.world.post(execution_id, decode_message(message))

    def _wait(self, seconds: float) -> None:
        self._go_on()
        self.pass_time(timedelta(seconds=seconds))

    def _go_on(self) -> None:
        if self.runs:
            self.runtime.settle(None)

    def pass_time(self, length: timedelta) -> None:
        """Move the clock."""
        self.runtime.clock.set(self.runtime.clock.now() + length)

    def __call__(
        self,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "demo/heard/k3y",
        method: str = "POST",
        prefix: str = "/api/v1/main",
    ) -> Response:
        """Call a webhook, and let the execution go as far as it goes."""
        path, _, query = path.partition("?")
        content = body.encode() if isinstance(body, str) else body
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        target = f"{prefix}/executions/webhook/{path}"
        response = self.api(Request(method, target, parse_qs(query, keep_blank_values=True), lower, content))
        assert isinstance(response, Response)
        self._go_on()
        return response

    def executions(self) -> list[Any]:
        """Return all executions there are, newest first."""
        page = self.runtime.stores.executions.search(limit=100)
        return [self.runtime.outcome(each.id) for each in page.found]
