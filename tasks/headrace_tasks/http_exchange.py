"""One request and its response, with all the options of the http tasks. Imported when a request is made."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote, urlencode

import httpx

from headrace_engine.plugin import RunContext, TaskFailure, TaskOutputs
from headrace_tasks.http import DownloadOutputs, FormFile, HttpTask
from headrace_tasks.http_client import CheckedBackend, CheckedTransport
from headrace_tasks.streams import IterableReader

_STORED = ("kestra:///", "nsfile://", "file:///")
_SHOWN = 2000
_FILE_NAME = re.compile(r"""filename\*=(?:UTF-8'[^']*')?([^;]+)|filename="([^"]*)"|filename=([^;]+)""", re.IGNORECASE)


class Exchange:
    """Sends the request of a task when entered; then the response can be read, once."""

    def __init__(self, task: HttpTask, context: RunContext) -> None:
        self._task = task
        self._context = context
        self._stack = ExitStack()
        self._response: httpx.Response

    def __enter__(self) -> Exchange:
        try:
            self._send()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if isinstance(error, httpx.HTTPError):
            raise _failure(self._task, error) from error

    @property
    def uri(self) -> str:
        """The URL that answered, after redirects."""
        return str(self._response.url)

    @property
    def code(self) -> int:
        """The status."""
        return self._response.status_code

    @property
    def headers(self) -> dict[str, list[str]]:
        """The response's headers, each a list."""
        headers: dict[str, list[str]] = {}
        for name, value in self._response.headers.multi_items():
            headers.setdefault(name, []).append(value)
        return headers

    @property
    def tags(self) -> dict[str, str]:
        """What metrics of the exchange are tagged with."""
        return {"request": self._task.uri[:200], "response": str(self.code)}

    def read(self, limit: int) -> bytes:
        """Return the body. Raises TaskFailure when it is larger than *limit*."""
        content = bytearray()
        for chunk in self._response.iter_bytes():
            content += chunk
            if len(content) > limit:
                raise TaskFailure(
                    f"The response of {self._task.uri} is larger than {limit} bytes. Set `options.maxContentLength` "
                    "to more, or use io.kestra.plugin.core.http.Download for a file"
                )
        return bytes(content)

    def text(self, content: bytes) -> str:
        """Return the body as text, by the response's encoding or the default one."""
        charset = self._response.charset_encoding or self._task.options.default_charset
        try:
            text = content.decode(charset, errors="replace")
        except LookupError:
            text = content.decode(errors="replace")
        if "RESPONSE_BODY" in self._task.options.logs:
            self._context.log.debug(f"Response body: {text[:_SHOWN]}")
        return text

    def check_status(self, body: str, outputs: TaskOutputs | None = None) -> None:
        """Raise TaskFailure unless the status is one of success or allowed."""
        options = self._task.options
        if self.code < 400 or options.allow_failed or self._task.allow_failed:
            return
        if options.allowed_response_codes and self.code in options.allowed_response_codes:
            return
        shown = f" and body:\n{body[:_SHOWN]}" if body else ""
        raise TaskFailure(f"Failed http request with response code '{self.code}'{shown}", outputs)

    def download(self, name: str | None, *, fail_on_empty: bool) -> DownloadOutputs:
        """Store the body as a file."""
        if self.code >= 400:
            self.check_status(self._response.read()[:_SHOWN].decode(errors="replace"))
        length = 0

        def pieces() -> Any:
            nonlocal length
            for chunk in self._response.iter_bytes(256 * 1024):
                length += len(chunk)
                yield chunk

        body = pieces()
        first = next(body, b"")
        if not first and fail_on_empty:
            raise TaskFailure("No response from server")

        def whole() -> Any:
            yield first
            yield from body

        uri = self._context.files.put(name or self._file_name(), cast("BinaryIO", IterableReader(whole())))
        self._context.counter("response.length", length, self.tags)
        return DownloadOutputs(uri=uri, code=self.code, length=length, headers=self.headers)

    def _file_name(self) -> str:
        match = _FILE_NAME.search(self._response.headers.get("content-disposition", ""))
        named = next((group for group in match.groups() if group), "") if match else ""
        return unquote(named or self._response.url.path).rstrip("/").rpartition("/")[2] or "download"

    def _send(self) -> None:
        task, options = self._task, self._task.options
        ssl = task.ssl_options or options.ssl
        backend = CheckedBackend(self._context.network)
        self._context.on_stop(backend.cut)
        transport = CheckedTransport(
            backend,
            self._context.network,
            insecure=ssl.insecure_trust_all_certificates,
            proxy=_proxy(task),
        )
        client = httpx.Client(
            transport=transport,
            auth=_auth(task),
            follow_redirects=options.follow_redirects,
            timeout=httpx.Timeout(options.read_seconds, connect=options.connect_seconds),
            trust_env=False,
            headers={"user-agent": "headrace"},
        )
        self._stack.enter_context(client)
        try:
            request = self._request(client)
            self._log(request)
            self._response = client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure(task, error) from error
        self._stack.callback(self._response.close)
        if "RESPONSE_HEADERS" in options.logs:
            self._context.log.debug(f"Response headers: {json.dumps(self.headers)}")

    def _request(self, client: httpx.Client) -> httpx.Request:
        task = self._task
        headers = [
            (name, value)
            for name, values in task.headers.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        names = {name.lower() for name, _ in headers}
        token = task.options.auth.token if task.options.auth and task.options.auth.type == "BEARER" else None
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        arguments: dict[str, Any] = {}
        if task.form_data is not None and self._is_multipart():
            arguments["files"] = [self._part(name, value) for name, value in task.form_data.items()]
            headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
        else:
            content, kind = self._content()
            arguments["content"] = content
            if kind is not None and "content-type" not in names:
                headers.append(("content-type", kind))
        url = httpx.URL(task.uri)
        if task.params:
            query = urlencode(task.params, doseq=True)
            url = url.copy_with(query=b"&".join(filter(None, [url.query, query.encode()])))
        return client.build_request(task.method.upper(), url, headers=headers, **arguments)

    def _content(self) -> tuple[bytes | None, str | None]:
        task = self._task
        if task.form_data is not None:
            fields = {
                name: value.content if isinstance(value, FormFile) else value for name, value in task.form_data.items()
            }
            return urlencode(fields).encode(), task.content_type or "application/x-www-form-urlencoded"
        if task.body is None:
            return None, task.content_type
        kind = "application/json" if task.body.lstrip().startswith(("{", "[")) else "text/plain; charset=utf-8"
        return task.body.encode(), task.content_type or kind

    def _is_multipart(self) -> bool:
        task = self._task
        if task.content_type is not None:
            return task.content_type.lower().startswith("multipart/")
        values = (task.form_data or {}).values()
        return any(isinstance(value, FormFile) or value.startswith(_STORED) for value in values)

    def _part(self, name: str, value: str | FormFile) -> tuple[str, tuple[str | None, Any, str | None]]:
        if isinstance(value, FormFile):
            return name, (value.name, self._open(value.content), value.content_type)
        if value.startswith(_STORED):
            return name, (value.rpartition("/")[2], self._open(value), None)
        return name, (None, value.encode(), None)

    def _open(self, uri: str) -> IO[bytes]:
        return self._stack.enter_context(self._context.files.open(uri))

    def _log(self, request: httpx.Request) -> None:
        logs = self._task.options.logs
        if "REQUEST_HEADERS" in logs:
            self._context.log.debug(f"Request headers: {json.dumps(dict(request.headers))}")
        if "REQUEST_BODY" in logs and self._task.body is not None:
            self._context.log.debug(f"Request body: {self._task.body[:_SHOWN]}")


def _auth(task: HttpTask) -> httpx.Auth | None:
    options = task.options
    if options.auth is not None and options.auth.type == "BASIC":
        return httpx.BasicAuth(options.auth.username or "", options.auth.password or "")
    if options.auth is not None and options.auth.type == "DIGEST":
        return httpx.DigestAuth(options.auth.username or "", options.auth.password or "")
    if options.basic_auth_user is not None:
        return httpx.BasicAuth(options.basic_auth_user, options.basic_auth_password or "")
    return None


def _proxy(task: HttpTask) -> httpx.Proxy | None:
    options = task.options
    kind = (
        options.proxy.type if options.proxy else options.proxy_type or ("HTTP" if options.proxy_address else "DIRECT")
    )
    if kind == "DIRECT":
        return None
    if kind == "SOCKS":
        raise TaskFailure("Proxies of type SOCKS are not supported by this version; use an HTTP proxy")
    address = options.proxy.address if options.proxy else options.proxy_address
    port = options.proxy.port if options.proxy else options.proxy_port
    user = options.proxy.username if options.proxy else options.proxy_username
    password = options.proxy.password if options.proxy else options.proxy_password
    if address is None or port is None:
        raise TaskFailure("A proxy needs `address` and `port`")
    return httpx.Proxy(f"http://{address}:{port}", auth=(user, password or "") if user else None)


def _failure(task: HttpTask, error: Exception) -> TaskFailure:
    target = f"{task.method.upper()} {task.uri}"
    if isinstance(error, httpx.ConnectTimeout):
        return TaskFailure(f"{target}: no connection within {task.options.connect_seconds:g} s")
    if isinstance(error, httpx.TimeoutException):
        return TaskFailure(f"{target}: no answer within {task.options.read_seconds:g} s")
    return TaskFailure(f"{target}: {error}" if str(error) else f"{target}: {type(error).__name__}")
