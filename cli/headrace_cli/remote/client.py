"""Asks a server, by HTTP. What it refuses is told in its own words."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.api_client import SERVER
from headrace_cli.errors import UserError
from headrace_cli.remote.whom import DEFAULT, Whom, whom
from headrace_cli.submit import CREDENTIALS, TOKEN, form, put_file, shown

if TYPE_CHECKING:
    import httpx

    from headrace_cli.remote.events import Event

YAML = "application/x-yaml"
_PATIENCE = 60
"""Seconds for an answer. Whoever is followed is heard of every fifteen."""
_PAUSE = 1
"""Seconds between two looks at what is followed, where the server answers at once, or not at all."""
_MOST_FAILURES = 10
_MOST_FAILURES_LATER = 60
"""Of a server that told of it before: one that is stopped gives what runs half a minute, and then starts again."""
_LARGE = 4_000_000
"""Bytes of files that everybody takes: API Gateway with Lambda behind it takes little more."""
_PAGE = 1000

Query = Mapping[str, Any]
"""Names to values: None is left out, a list is given several times."""


class RefusedError(UserError):
    """The server refused something; the message is its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Remote:
    """A server. Paths are those below ``/api/v1/main``; all methods raise UserError."""

    def __init__(self, http: httpx.Client, address: str, pause: float = _PAUSE) -> None:
        self._http = http
        self.address = address
        self._pause = pause

    def ask(self, method: str, path: str, /, *, body: Any = None, **query: Any) -> Any:
        """Return what the answer's JSON says; None without any. *body* is sent as JSON."""
        content = None if body is None else json.dumps(body).encode()
        return _json(self._sent(method, path, query, content=content, headers={"content-type": "application/json"}))

    def send(
        self, method: str, path: str, text: str, *, media: str = YAML, ttl: str | None = None, **query: Any
    ) -> Any:
        """Send a text, and return what the answer's JSON says."""
        headers = {"content-type": media, **({"ttl": ttl} if ttl else {})}
        return _json(self._sent(method, path, query, content=text.encode(), headers=headers))

    def submit(self, path: str, inputs: Mapping[str, Any], flow: Callable[[], str], **query: Any) -> Any:
        """Send inputs as a form does, files included, and return what the answer's JSON says.

        Files that are too large for that are uploaded first, for the flow that *flow* tells the path of: when the
        server says so, and large ones at once where uploads go past the server, and what it says may be another's word.
        """
        files = {name: value for name, value in inputs.items() if isinstance(value, Path)}
        size = sum(file.stat().st_size for file in files.values())
        if size <= _LARGE or not self._uploads_elsewhere(flow()):
            try:
                return self._submitted(path, inputs, query)
            except RefusedError as refused:
                if refused.status != 413 or not files:
                    raise
        uris = {name: self._ahead(flow(), file) for name, file in files.items()}
        return self._submitted(path, {**inputs, **uris}, query)

    def _uploads_elsewhere(self, flow: str) -> bool:
        """Return whether files of the flow are put to another address than the server's."""
        try:
            told = self.ask("POST", f"/executions/{flow}/uploads", body={"name": "file", "size": 0})
        except RefusedError:  # it knows no uploads, or has a reason that it will tell again
            return False
        return not told["url"].startswith("/")

    def _submitted(self, path: str, inputs: Mapping[str, Any], query: Query) -> Any:
        with ExitStack() as opened:
            return _json(self._sent("POST", path, query, files=form(inputs, opened)))

    def _ahead(self, flow: str, file: Path) -> str:
        """Upload a file for the flow, and return what it is then given as."""
        wish = {"name": file.name, "size": file.stat().st_size}
        return put_file(file, self.ask("POST", f"/executions/{flow}/uploads", body=wish), self.address)

    def upload(self, path: str, file: Path, /, **query: Any) -> None:
        """Send a file. It is stored as it is: no name has the server unpack it."""
        try:
            with file.open("rb") as content:
                self._sent("POST", path, query, files={"fileContent": ("file", content)})
        except OSError as error:
            raise UserError(f"{file}: {error.strerror or error}.") from None

    def content(self, path: str, /, **query: Any) -> bytes:
        """Return the content of a file, wherever the server says that it lies."""
        return self._sent("GET", path, query, follow_redirects=True).content

    def pages(self, path: str, *, limit: int | None = None, **query: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the results of a search, *limit* at most, and its last page."""
        found: list[Any] = []
        size = min(limit or _PAGE, _PAGE)
        page, cursor = 1, None
        while True:
            answer = self.ask("GET", path, page=page, size=size, cursor=cursor, **query)
            found += answer["results"]
            before, cursor = cursor, answer.get("next")
            page += cursor is None
            is_last = cursor is None and (before is not None or len(answer["results"]) < size)
            if is_last or not answer["results"] or (limit is not None and len(found) >= limit):
                return found[:limit], answer

    def follow(self, path: str, **query: Any) -> Iterator[Event]:
        """Yield what happens, through answers that end early and a server that starts again; the event `end` is last.

        What was told before may be told again after that.
        """
        import httpx  # noqa: PLC0415 - slow to import

        from headrace_cli.remote.events import events  # noqa: PLC0415 - as above

        last, failures, most = "", 0, _MOST_FAILURES
        while not self._http.is_closed:
            try:
                headers = {"last-event-id": last} if last else {}
                with self._http.stream("GET", path, params=_params(query), headers=headers) as answer:
                    if answer.status_code >= 400:
                        answer.read()
                    if answer.status_code < 500:
                        _checked(answer)
                        for event in events(answer.iter_bytes()):
                            yield event
                            if event.name == "end":
                                return
                            last, failures, most = event.id, 0, _MOST_FAILURES_LATER
                    else:
                        failures += 1
            except (httpx.HTTPError, RuntimeError) as error:
                if self._http.is_closed:  # by whoever has seen enough
                    return
                if isinstance(error, RuntimeError):
                    raise
                failures += 1
                if failures > most:
                    raise UserError(f"The server {self.address} does not answer: {error}") from None
            if failures > most:
                raise UserError(f"The server {self.address} fails to answer.")
            time.sleep(self._pause)

    def _sent(self, method: str, path: str, query: Query, **options: Any) -> httpx.Response:
        import httpx  # noqa: PLC0415 - slow to import

        try:
            answer = self._http.request(method, path, params=_params(query), **options)
        except httpx.ConnectError as error:
            raise UserError(
                f"No server answers at {self.address}: {error}. `headrace server` starts one on this machine;"
                " --server or HEADRACE_SERVER names another."
            ) from None
        except httpx.HTTPError as error:
            raise UserError(f"The server {self.address} does not answer: {error}") from None
        return _checked(answer)


def _params(query: Query) -> httpx.QueryParams:
    import httpx  # noqa: PLC0415 - slow to import

    return httpx.QueryParams([(name, each) for name, value in query.items() for each in _values(value)])


def _values(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return (str(value).lower(),)
    return [str(each) for each in value] if isinstance(value, list | tuple) else (str(value),)


def _json(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        raise UserError(f"{answer.url} does not answer as a Headrace server does.") from None


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == 401 and "authorization" in answer.request.headers:
        raise RefusedError("The server does not take the token, or the password, that it was shown.", 401)
    if answer.status_code == 401:
        raise RefusedError(
            f"The server asks who you are: give --token or --user, or set {TOKEN} or {CREDENTIALS}.", 401
        )
    if answer.status_code < 300:
        return answer
    try:
        said = answer.json()
        message = said["message"]
        problems = [each["message"] for each in said.get("_embedded", {}).get("errors", ()) if each.get("message")]
        invalids = [f"{each['value']}: {each['message']}" for each in said.get("invalids", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        told = f"{answer.url} answers with status {answer.status_code}, and not as a Headrace server."
        raise RefusedError(told, answer.status_code) from None
    rows = [message, *(each for each in [*problems, *invalids] if each not in message)]
    raise RefusedError("\n".join(rows), answer.status_code)


@contextmanager
def connected(to: Whom) -> Iterator[Remote]:
    """Give the server; nothing is asked of it yet."""
    import httpx  # noqa: PLC0415 - slow to import

    patience = httpx.Timeout(_PATIENCE, connect=10)
    with httpx.Client(
        base_url=f"{to.address}/api/v1/main", timeout=patience, trust_env=False, **shown(to.credentials)
    ) as http:
        yield Remote(http, to.address)


def of_server(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which server is asked, and call the command with it as *remote*."""

    @functools.wraps(command)
    def called(*, server: str | None, token: str | None, user: str | None, **options: Any) -> None:
        with connected(whom(server, token, user, os.environ)) as remote:
            command(remote=remote, **options)

    for option in (
        click.option("--user", metavar="USER:PASSWORD", help=f"What is shown to the server; better ${CREDENTIALS}."),
        click.option("--token", metavar="TOKEN", help=f"An API token that is shown to the server; better ${TOKEN}."),
        click.option("--server", metavar="URL", help=f"The server; ${SERVER} or {DEFAULT} when none is given."),
    ):
        called = option(called)
    return called
