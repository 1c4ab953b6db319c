"""An API that asks who somebody is, with a namespace that is theirs and one that is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from headrace_engine.accounts import Accounts
from headrace_engine.adapters.memory import MemoryAudit, MemoryIdentity
from headrace_engine.api import Api, Request, Response
from headrace_engine.api.gates import login_gate
from headrace_engine.api.route import Route
from headrace_engine.authentication import Authenticator
from headrace_engine.core.codec import decode_message
from headrace_engine.identity import Grant
from headrace_engine.language import Registry
from headrace_engine.passwords import Cost
from headrace_engine.testing.runtime import VirtualRuntime

CHEAP = Cost(1, r=1)
MINE, THEIRS = "company.mine", "company.theirs"
WORD = "concealed"
"""Stands in all that is theirs, and nowhere else."""
_FLOW = """
id: {flow}
namespace: {namespace}
labels: {{of: {flow}}}
inputs:
  - {{id: text, type: STRING, defaults: {flow}}}
triggers:
  - {{id: {flow}-daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 * * *"}}
tasks:
  - {{id: {flow}-log, type: io.kestra.plugin.core.log.Log, message: "{flow} says hello"}}
  - {{id: {flow}-wait, type: io.kestra.plugin.core.flow.Pause}}
"""


_SECOND = timedelta(seconds=1)


@cache
def task_types() -> Registry:
    """Return the registry; loading it takes a second."""
    return Registry.load()


class House:
    """An API on stores in memory; each of the tokens in `tokens` is somebody's."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime(registry=task_types())
        self.stores = self.runtime.engine.stores
        self.identity, self.audit = MemoryIdentity(), MemoryAudit()
        clock = self.runtime.clock
        self.accounts = Accounts(self.identity, clock, cost=CHEAP)
        door = Authenticator(self.identity, clock, cost=CHEAP)
        self.api = Api(
            self.runtime.engine,
            self.runtime.executor,
            self,
            login_gate(self.identity, self.audit, clock, authenticator=door),
            wait=self._wait,
        )
        self._tokens: dict[tuple[str, ...], str] = {}
        self.executions: dict[str, str] = {}
        """By namespace, one that is paused."""

    def send(self, execution_id: str, message: bytes) -> None:
        """Pass a message on."""
        self.runtime.world.post(execution_id, decode_message(message))

    def _wait(self, seconds: float) -> None:
        del seconds
        self.runtime.settle(None)
        self.runtime.clock.set(self.runtime.clock.now().replace(microsecond=0) + _SECOND)

    def furnish(self) -> None:
        """Put the same into both namespaces: a flow, an execution of it, files, keys and triggers."""
        for namespace, flow in ((MINE, "shown"), (THEIRS, WORD)):
            self.ok("POST", "/flows", _FLOW.format(namespace=namespace, flow=flow))
            made = self.ok("POST", f"/executions/{namespace}/{flow}?labels=of:{flow}")
            self.runtime.settle(None)
            self.executions[namespace] = made["id"]
            self.ok("PUT", f"/namespaces/{namespace}/kv/{flow}-key", f'"{flow}"')
            file = (
                f'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="{flow}"\r\n\r\n{flow}\r\n--x--'
            )
            self.ok(
                "POST",
                f"/namespaces/{namespace}/files?path=/{flow}.txt",
                file,
                **{"content-type": "multipart/form-data; boundary=x"},
            )

    def ok(self, method: str, target: str, body: str = "", **headers: str) -> Any:
        """Do something as an admin of everything."""
        answer = self.ask(method, target, body, grants=("admin",), headers=headers)
        assert answer.status < 300, (method, target, answer.status, answer.body)
        return json.loads(answer.body) if answer.body else None

    def ask(
        self,
        method: str,
        target: str,
        body: str | bytes = b"",
        *,
        grants: tuple[str, ...] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask with the token of somebody who has *grants*; None asks without any."""
        path, _, query = target.partition("?")
        shown = {} if grants is None else {"authorization": f"Bearer {self.token(*grants)}"}
        answer = self.api(
            Request(
                method,
                f"/api/v1/main{path}",
                parse_qs(query, keep_blank_values=True),
                {"host": "headrace.test", **shown, **(headers or {})},
                body.encode() if isinstance(body, str) else body,
                client="2001:db8::1",
            )
        )
        assert isinstance(answer, Response)
        return answer

    def token(self, *grants: str) -> str:
        """Return a token of somebody with these grants."""
        if grants not in self._tokens:
            user = self.accounts.add(f"user{len(self._tokens)}", [Grant.parse(grant) for grant in grants])
            self._tokens[grants] = self.accounts.add_token(user.name).shown
        return self._tokens[grants]

    def path(self, route: Route, namespace: str) -> str:
        """Return a path of the route that names *namespace*, or an execution in it."""
        names = {"namespace": namespace, "execution_id": self.executions.get(namespace, "nobody")}
        return re.sub(r"\{(\w+)\}", lambda name: names.get(name[1], "nothing"), route.path)


@contextmanager
def house() -> Iterator[House]:
    """Yield a house with nothing in it."""
    made = House()
    with made.runtime:
        yield made
