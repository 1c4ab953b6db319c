"""Speaks to a deployed API as people do: over HTTP, with the first admin's password."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from emulator.deployment import Deployment
from emulator.waiting import until
from headrace_engine.adapters.aws.signing import Keyring
from headrace_functions.callers import FIRST_ADMIN, first_password

NAMESPACE = "emulator"


class Client:
    """The first admin."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        secrets = deployment.account.client("secretsmanager")
        kept = secrets.get_secret_value(SecretId=deployment.outputs["SigningSecret"])["SecretString"]
        self.shown = shown = (FIRST_ADMIN, first_password(Keyring.from_text(kept)))
        self._http = httpx.Client(base_url=deployment.api_url, timeout=60, auth=shown)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> httpx.Response:
        """Return the answer to a request below ``/api/v1/main``."""
        url = f"{self._http.base_url}api/v1/main{path}" + (f"?{urlencode(query)}" if query else "")
        return self._http.request(method, url, content=content, headers=dict(headers or {}))

    def save(self, flow: str) -> None:
        """Create a flow out of the rest of its YAML, behind namespace."""
        answer = self.ask("POST", "/flows", f"namespace: {NAMESPACE}\n{flow}".encode(), _YAML)
        assert answer.status_code == 200, "\n".join([answer.text, *self._errors()])

    def start(self, flow_id: str, **inputs: str | bytes) -> str:
        """Start an execution, and return its id. Inputs that are bytes are files."""
        parts: Mapping[str, Any] = {
            name: (name, value) if isinstance(value, bytes) else (None, value) for name, value in inputs.items()
        }
        form = httpx.Request("POST", self._http.base_url, files=parts or {"none": (None, "")})
        answer = self.ask(
            "POST",
            f"/executions/{NAMESPACE}/{flow_id}",
            form.read() if parts else b"",
            {"content-type": form.headers["content-type"]} if parts else {},
        )
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def run(self, flow: str, **inputs: str | bytes) -> Any:
        """Create a flow, run it, and return its execution when that has ended."""
        self.save(flow)
        return self.end(self.start(flow.partition("\n")[0].removeprefix("id: "), **inputs))

    def get(self, execution_id: str) -> Any:
        """Return an execution as it stands; None when it has not begun."""
        answer = self.ask("GET", f"/executions/{execution_id}")
        if answer.status_code == 303:
            answer = httpx.get(answer.headers["location"])
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def fetch(self, address: str) -> bytes:
        """Return what lies at an address that an answer named."""
        return httpx.get(address).raise_for_status().content

    def end(self, execution_id: str) -> Any:
        """Return an execution when it has ended."""
        return self.when(execution_id, lambda execution: state(execution) in _ENDED, "end")

    def when(self, execution_id: str, holds: Callable[[Any], bool], what: str) -> Any:
        """Return an execution when something holds of it."""

        def look() -> Any:
            execution = self.get(execution_id)
            return execution if execution is not None and holds(execution) else None

        return until(look, f"{what} of {execution_id}", then=lambda: self._found(execution_id))

    def _found(self, execution_id: str) -> str:
        """Return all that is known of an execution that is not as it should be."""
        return "\n".join([json.dumps(self.get(execution_id), indent=1), *self._errors()])

    def _errors(self) -> list[str]:
        """Return the latest errors that functions logged."""
        errors = [line for name in self._deployment.functions for line in self._deployment.logged(name, '"ERROR"')]
        return errors[-10:]

    def messages(self, execution_id: str) -> list[str]:
        """Return what an execution's tasks logged; nothing when it has not begun."""
        answer = self.ask("GET", f"/logs/{execution_id}")
        assert answer.status_code in (200, 404), answer.text
        return [line["message"] for line in answer.json()] if answer.status_code == 200 else []

    def of_flow(self, flow_id: str) -> list[Any]:
        """Return the executions of a flow, in short."""
        answer = self.ask("GET", "/executions", namespace=NAMESPACE, flowId=flow_id)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])


_YAML = {"content-type": "application/x-yaml"}
_ENDED = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED")


def state(thing: Any) -> str:
    """Return the state of an execution, or of a task run."""
    return str(thing["state"]["current"])


def runs(execution: Any) -> dict[str, list[str]]:
    """Return the states of each task's task runs."""
    found: dict[str, list[str]] = {}
    for run in execution["taskRunList"]:
        found.setdefault(run["taskId"], []).append(state(run))
    return found
