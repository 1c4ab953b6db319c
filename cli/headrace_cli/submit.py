"""Runs a flow on the server that holds the data folder, over Kestra's HTTP API (reference §14)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from headrace_cli import flow_files
from headrace_cli.errors import UserError
from headrace_cli.view import View


def submit(address: str, flow: Path, others: Path | None, inputs: Mapping[str, Any], labels: Mapping[str, str]) -> View:
    """Save the flow (and before it those of the folder *others*), execute it, and return the execution as it ended.

    Raises UserError, with the server's words, when it refuses or does not answer.
    """
    import httpx  # noqa: PLC0415 - slow to import, and only needed here

    from headrace_engine.language import parse_flow  # noqa: PLC0415 - as above

    try:
        # No limit on an answer: the execution takes as long as it takes.
        patience = httpx.Timeout(10, read=None)
        with httpx.Client(base_url=f"{address.rstrip('/')}/api/v1/main", timeout=patience, trust_env=False) as client:
            for path in [*(flow_files.find([others]) if others is not None else ()), flow]:
                source = flow_files.read(path)
                definition = parse_flow(source, file=flow_files.label(path))
                _save(client, source, f"{definition.namespace}/{definition.id}")
            return _execute(client, f"{definition.namespace}/{definition.id}", inputs, labels)
    except httpx.HTTPError as error:
        raise UserError(f"The server {address}, which holds the data folder, does not answer: {error}") from None


def _save(client: Any, source: str, name: str) -> None:
    headers = {"content-type": "application/x-yaml"}
    found = client.get(f"/flows/{name}")
    if found.status_code == 404:
        _checked(client.post("/flows", content=source, headers=headers))
    else:
        _checked(client.put(f"/flows/{name}", content=source, headers=headers))


def _execute(client: Any, name: str, inputs: Mapping[str, Any], labels: Mapping[str, str]) -> View:
    parts: list[tuple[str, Any]] = []
    with ExitStack() as opened:
        for key, value in inputs.items():
            if isinstance(value, Path):
                parts.append((key, (value.name, opened.enter_context(value.open("rb")))))
            else:
                parts.append((key, (None, str(value).encode())))
        query = [("wait", "true"), *(("labels", f"{key}:{value}") for key, value in labels.items())]
        # A part without content keeps the body multipart when there are no inputs.
        answer = client.post(f"/executions/{name}", params=query, files=parts or [("", (None, b""))])
        return dict(_checked(answer).json())


def _checked(answer: Any) -> Any:
    if answer.status_code >= 400:
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text.strip() or f"status {answer.status_code}"
        raise UserError(f"The server refuses it: {message}")
    return answer
