"""Asks the API: of a server, by HTTP; or of a data folder that no server holds, in this process and as its owner."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import click

from headrace_cli.errors import UserError
from headrace_cli.output import standard_output
from headrace_cli.submit import CREDENTIALS, TOKEN

SERVER = "HEADRACE_SERVER"
_DATA_DIR = Path(".headrace")


class ApiClient:
    """Asks for paths below ``/api/v1/main``."""

    def __init__(self, send: Callable[[str, str, bytes], tuple[int, bytes]]) -> None:
        self._send = send

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return what the answer's JSON says; None without any. Raises UserError, with the server's words."""
        given = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        status, content = self._send(method, target, b"" if body is None else json.dumps(body).encode())
        if status == 401:
            raise UserError(f"The server asks who you are: set {TOKEN}, or {CREDENTIALS} to user:password.")
        if status >= 400:
            try:
                message = json.loads(content)["message"]
            except (ValueError, KeyError, TypeError):
                message = f"status {status}"
            raise UserError(f"Refused: {message}")
        return json.loads(content) if content else None


def segment(text: str) -> str:
    """Return text as a part of a path."""
    return quote(text, safe="")


def of_server_or_folder(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say whom to ask."""
    for option in (
        click.option(
            "--data-dir",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            help="The data folder, or the one of the server to ask; .headrace when no server is named.",
        ),
        click.option("--server", metavar="URL", help=f"The server to ask; ${SERVER} when none is given."),
    ):
        command = option(command)
    return command


@contextmanager
def asking(server: str | None, data_dir: Path | None) -> Iterator[ApiClient]:
    """Give what asks the server at *server*, or the data folder: its server, if one holds it.

    Raises UserError when neither answers.
    """
    address = server or (os.environ.get(SERVER) if data_dir is None else None)
    if address:
        with _remote(address) as client:
            yield client
        return
    from headrace_cli.local import LocalRuntime  # noqa: PLC0415 - takes its time; not needed for a server
    from headrace_engine.adapters.local.lock import DataFolderLockedError  # noqa: PLC0415 - as above
    from headrace_engine.ports import PortError  # noqa: PLC0415 - as above

    folder = data_dir or _DATA_DIR
    try:
        runtime = LocalRuntime.open(folder, recover=False)
    except DataFolderLockedError as locked:
        if locked.address is None:
            raise UserError(f"{locked}.") from None
        with _remote(locked.address) as client:
            yield client
        return
    except PortError as error:
        raise UserError(str(error)) from None
    try:
        yield ApiClient(_own(runtime))
    finally:
        runtime.close()


@contextmanager
def _remote(address: str) -> Iterator[ApiClient]:
    import httpx  # noqa: PLC0415 - slow to import, and only needed here

    from headrace_cli.submit import shown  # noqa: PLC0415 - as above

    with httpx.Client(
        base_url=f"{address.rstrip('/')}/api/v1/main", timeout=30, trust_env=False, **shown(os.environ)
    ) as client:

        def send(method: str, target: str, body: bytes) -> tuple[int, bytes]:
            try:
                answer = client.request(method, target, content=body, headers={"content-type": "application/json"})
            except httpx.HTTPError as error:
                raise UserError(f"The server {address} does not answer: {error}") from None
            return answer.status_code, answer.content

        yield ApiClient(send)


def _own(runtime: Any) -> Callable[[str, str, bytes], tuple[int, bytes]]:
    """Return what asks a folder's API in the name of whoever may write its files."""
    from headrace_engine.api import Api, Request, Response  # noqa: PLC0415 - as above
    from headrace_engine.api.gates import owner_gate  # noqa: PLC0415 - as above

    gate = owner_gate(runtime.identity, runtime.audit, runtime.stores.clock, "localhost")
    api = Api(runtime.engine, runtime.executor, runtime.mailbox, gate, wait=time.sleep)

    def send(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        asked = parse_qs(query, keep_blank_values=True)
        answer = api(Request(method, f"/api/v1/main{path}", asked, {"host": "localhost"}, body))
        if not isinstance(answer, Response):
            raise UserError("The answer does not come at once.")
        return answer.status, answer.body

    return send


def print_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; nothing of it but its titles when it has no rows."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        standard_output().write_text("  ".join(cells).rstrip() + "\n")


def print_json(value: Any) -> None:
    """Print an answer as it came."""
    standard_output().write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def or_dash(value: Any) -> str:
    """Return a cell of a table."""
    if isinstance(value, Mapping) or value in (None, "", []):
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)
