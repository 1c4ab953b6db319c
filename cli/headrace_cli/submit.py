"""Runs a flow on the server that holds the data folder, over Kestra's HTTP API (reference §14)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from headrace_cli import flow_files
from headrace_cli.errors import UserError
from headrace_cli.view import View

TOKEN = "HEADRACE_TOKEN"  # noqa: S105 - the name of a variable
CREDENTIALS = "HEADRACE_SERVER_AUTH"
_PATIENCE = 60
"""Seconds that a file may stand still on its way."""


def submit(
    address: str,
    flow: Path,
    others: Path | None,
    inputs: Mapping[str, Any],
    labels: Mapping[str, str],
    *,
    environment: Mapping[str, str],
) -> View:
    """Save the flow, execute it, and return the execution as it ended.

    Before it, those of the folder *others* are saved, and the templates beside it and in the folder.

    *environment* holds the token or the credentials that are shown to a server that asks for some. Raises UserError,
    with the server's words, when it refuses or does not answer.
    """
    import httpx  # noqa: PLC0415 - slow to import, and only needed here

    from headrace_engine.language import parse_flow, parse_template  # noqa: PLC0415 - as above

    try:
        # No limit on an answer: the execution takes as long as it takes.
        patience = httpx.Timeout(10, read=None)
        base = f"{address.rstrip('/')}/api/v1/main"
        with httpx.Client(base_url=base, timeout=patience, trust_env=False, **shown(environment)) as client:
            for path in flow_files.templates_for(flow, others):
                source = flow_files.read(path)
                template = parse_template(source, file=flow_files.label(path))
                _save(client, source, f"{template.namespace}/{template.id}", "templates")
            for path in [*(flow_files.find([others]) if others is not None else ()), flow]:
                source = flow_files.read(path)
                definition = parse_flow(source, file=flow_files.label(path))
                _save(client, source, f"{definition.namespace}/{definition.id}")
            return _execute(client, f"{definition.namespace}/{definition.id}", inputs, labels)
    except httpx.HTTPError as error:
        raise UserError(f"The server {address}, which holds the data folder, does not answer: {error}") from None


def _save(client: Any, source: str, name: str, kind: str = "flows") -> None:
    headers = {"content-type": "application/x-yaml"}
    found = client.get(f"/{kind}/{name}")
    if found.status_code == 404:
        _checked(client.post(f"/{kind}", content=source, headers=headers))
    else:
        _checked(client.put(f"/{kind}/{name}", content=source, headers=headers))


def _execute(client: Any, name: str, inputs: Mapping[str, Any], labels: Mapping[str, str]) -> View:
    query = [("wait", "true"), *(("labels", f"{key}:{value}") for key, value in labels.items())]

    def ask(given: Mapping[str, Any]) -> Any:
        with ExitStack() as opened:
            return client.post(f"/executions/{name}", params=query, files=form(given, opened))

    answer = ask(inputs)
    files = {key: value for key, value in inputs.items() if isinstance(value, Path)}
    if answer.status_code == 413 and files:
        answer = ask({**inputs, **{key: _uploaded(client, name, file) for key, file in files.items()}})
    execution = _checked(answer).json()
    # A server may answer before the end, with 202.
    return _followed(client, execution["id"]) if answer.status_code == 202 else dict(execution)


def _uploaded(client: Any, name: str, file: Path) -> str:
    wish = {"name": file.name, "size": file.stat().st_size}
    return put_file(file, _checked(client.post(f"/executions/{name}/uploads", json=wish)).json(), str(client.base_url))


def put_file(file: Path, place: Mapping[str, Any], address: str) -> str:
    """Put a file where a server said that it goes; return what it is then given as. Raises UserError."""
    import httpx  # noqa: PLC0415 - slow to import, and only needed here

    url = urljoin(address, place["url"])
    try:
        # The address is all that there is to be shown: whoever else it belongs to gets no credentials of ours.
        with file.open("rb") as content:
            answer = httpx.request(place["method"], url, content=content, timeout=_PATIENCE, trust_env=False)
    except httpx.HTTPError as error:
        raise UserError(f"{file} could not be uploaded to {urlsplit(url).netloc}: {error}") from None
    if answer.status_code >= 300:
        raise UserError(f"{file} could not be uploaded: {urlsplit(url).netloc} answers {answer.status_code}.")
    return str(place["uri"])


def _followed(client: Any, execution_id: str) -> View:
    """Follow the execution, as often as the server ends its answer before that; return it as it ended."""
    from headrace_cli.remote.events import events  # noqa: PLC0415 - only needed here

    while True:
        with client.stream("GET", f"/executions/{execution_id}/follow") as answer:
            if answer.status_code >= 400:
                answer.read()
                _checked(answer)
            for event in events(answer.iter_bytes()):
                if event.name == "end":
                    return dict(event.data)


def form(inputs: Mapping[str, Any], opened: ExitStack) -> list[tuple[str, Any]]:
    """Return inputs as the parts of a form, as httpx takes them; files are opened until *opened* is closed."""
    parts: list[tuple[str, Any]] = []
    for key, value in inputs.items():
        if isinstance(value, Path):
            parts.append((key, (value.name, opened.enter_context(value.open("rb")))))
        elif value is not None:  # a part cannot say that it is nothing
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            parts.append((key, (None, text.encode())))
    # A part without content keeps the body a form when there are no inputs.
    return parts or [("", (None, b""))]


def shown(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the credentials for a server, as httpx takes them."""
    if environment.get(TOKEN):
        return {"headers": {"authorization": f"Bearer {environment[TOKEN]}"}}
    if environment.get(CREDENTIALS):
        user, _, password = environment[CREDENTIALS].partition(":")
        return {"auth": (user, password)}
    return {}


def _checked(answer: Any) -> Any:
    if answer.status_code == 401:
        raise UserError(f"The server asks who you are: set {TOKEN}, or {CREDENTIALS} to user:password.")
    if answer.status_code >= 400:
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text.strip() or f"status {answer.status_code}"
        raise UserError(f"The server refuses it: {message}")
    return answer
