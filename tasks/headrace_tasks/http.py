"""io.kestra.plugin.core.http: calling an HTTP API, downloading a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import (
    IsoDuration,
    Properties,
    RunContext,
    RunnableTask,
    TaskOutputs,
    parse_duration,
)

LIGHT_SECONDS = 10
LIGHT_BYTES = 1024 * 1024
"""What a request that runs inside the executor may take (DESIGN §3.7)."""


class Timeout(Properties):
    """How long to wait."""

    connect_timeout: IsoDuration | None = Field(None, description="For a connection.")
    read_idle_timeout: IsoDuration | None = Field(None, description="For the next piece of the response.")


class Auth(Properties):
    """Who is calling."""

    type: Literal["BASIC", "BEARER", "DIGEST"] = Field(description="BASIC, BEARER or DIGEST.")
    username: str | None = None
    password: str | None = None
    token: str | None = None


class Proxy(Properties):
    """The way through a proxy."""

    type: Literal["DIRECT", "HTTP", "SOCKS"] = Field("DIRECT", description="HTTP, or DIRECT for none.")
    address: str | None = None
    port: int | None = None
    username: str | None = None
    password: str | None = None


class Ssl(Properties):
    """Settings of TLS."""

    insecure_trust_all_certificates: bool = Field(
        default=False, description="Whether any certificate is trusted. Only for tests."
    )


class Options(Properties):
    """How the call is made."""

    timeout: Timeout = Field(default_factory=Timeout)
    auth: Auth | None = None
    proxy: Proxy | None = None
    ssl: Ssl = Field(default_factory=Ssl)
    follow_redirects: bool = Field(default=True, description="Whether redirects are followed, at most 20.")
    allow_failed: bool = Field(default=False, description="Whether a status of 400 and above is no failure.")
    allowed_response_codes: list[int] | None = Field(None, description="Statuses that are no failure.")
    default_charset: str = Field("UTF-8", description="The encoding of a response that does not say its own.")
    max_content_length: int | None = Field(None, description="The most bytes of a response; 1 MiB if left out.")
    connect_timeout: IsoDuration | None = Field(None, description="Old place of `timeout.connectTimeout`.")
    read_timeout: IsoDuration | None = Field(None, description="Old place of `timeout.readIdleTimeout`.")
    read_idle_timeout: IsoDuration | None = Field(None, description="Old place of `timeout.readIdleTimeout`.")
    connection_pool_idle_timeout: IsoDuration | None = Field(None, description="Without effect.")
    proxy_address: str | None = Field(None, description="Old place of `proxy.address`.")
    proxy_port: int | None = Field(None, description="Old place of `proxy.port`.")
    proxy_type: Literal["DIRECT", "HTTP", "SOCKS"] | None = Field(None, description="Old place of `proxy.type`.")
    proxy_username: str | None = Field(None, description="Old place of `proxy.username`.")
    proxy_password: str | None = Field(None, description="Old place of `proxy.password`.")
    basic_auth_user: str | None = Field(None, description="Old place of `auth.username`.")
    basic_auth_password: str | None = Field(None, description="Old place of `auth.password`.")
    log_level: str | None = Field(None, description="Without effect.")
    logs: list[Literal["REQUEST_HEADERS", "REQUEST_BODY", "RESPONSE_HEADERS", "RESPONSE_BODY"]] = Field(
        default_factory=list, description="What of the exchange is logged, at DEBUG."
    )

    @property
    def connect_seconds(self) -> float:
        """How long a connection may take."""
        return _seconds(self.timeout.connect_timeout or self.connect_timeout, LIGHT_SECONDS)

    @property
    def read_seconds(self) -> float:
        """How long the next piece of a response may take."""
        return _seconds(self.timeout.read_idle_timeout or self.read_timeout or self.read_idle_timeout, 300)


def _seconds(length: timedelta | None, otherwise: float) -> float:
    return otherwise if length is None else length.total_seconds()


class FormFile(Properties):
    """A file of a form."""

    name: str = Field(description="The file name the server sees.")
    content: str = Field(description="URI of a stored file.")
    content_type: str | None = Field(None, description="The media type of the file.")


class HttpTask(RunnableTask):
    """Base of the http tasks: what a request consists of."""

    uri: str = Field(min_length=1, description="The URL.")
    method: str = Field("GET", description="GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, …")
    params: dict[str, str | list[str]] = Field(default_factory=dict, description="Query parameters to add.")
    headers: dict[str, str | list[str]] = Field(default_factory=dict, description="Headers by name.")
    body: str | None = Field(None, description="The body.")
    form_data: dict[str, str | FormFile] | None = Field(
        None,
        description="Fields of a form. With `contentType: multipart/form-data` a URI of a stored file sends the file; "
        "a map of `name` and `content` also names it.",
    )
    content_type: str | None = Field(None, description="The media type of the body.")
    options: Options = Field(default_factory=Options)
    ssl_options: Ssl | None = Field(None, description="Old place of `options.ssl`.")
    allow_failed: bool = Field(default=False, description="Old place of `options.allowFailed`.")


class RequestOutputs(TaskOutputs):
    """What Request gives."""

    uri: str
    code: int
    headers: dict[str, list[str]]
    body: str | None = None
    encrypted_body: dict[str, str] | None = None


class Request(HttpTask):
    """Make an HTTP request; the response is the output.

    A status of 400 and above fails the task unless ``options.allowFailed`` or ``options.allowedResponseCodes`` says
    otherwise. Metrics: the counter ``response.length``.

    A request runs inside the executor, with ten seconds and a response of 1 MiB at most. A longer timeout or a larger
    ``options.maxContentLength`` makes it run on a worker. For files, use Download.

        id: weather
        type: io.kestra.plugin.core.http.Request
        uri: https://api.example.com/weather
        params:
          city: "{{ inputs.city }}"
        options:
          auth:
            type: BEARER
            token: "{{ secret('WEATHER_TOKEN') }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.http.Request"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Request",)
    KIND: ClassVar[Kind] = Kind.LIGHT
    ASKS_FOR_WORKER: ClassVar[str] = "set `options.readTimeout` above PT10S to run the request on a worker"
    Outputs: ClassVar[type[TaskOutputs]] = RequestOutputs

    encrypt_body: bool = Field(
        default=False, description="Whether the body becomes the output `encryptedBody`, encrypted, instead of `body`."
    )

    def run(self, context: RunContext) -> RequestOutputs:
        """Send the request and read the response."""
        from headrace_tasks.http_exchange import Exchange  # noqa: PLC0415 - httpx is slow to import

        with Exchange(self, context) as exchange:
            content = exchange.read(self.options.max_content_length or LIGHT_BYTES)
            context.counter("response.length", len(content), exchange.tags)
            text = exchange.text(content)
            outputs = RequestOutputs(
                uri=context.mask(exchange.uri),
                code=exchange.code,
                headers=exchange.headers,
                body=None if self.encrypt_body else text,
                encrypted_body=context.encrypt(text) if self.encrypt_body else None,
            )
            exchange.check_status(text, outputs)
            return outputs

    @classmethod
    def kind_of(cls, properties: Mapping[str, Any]) -> Kind:
        """Return DISPATCHED for long timeouts, large responses and files."""
        options = properties.get("options")
        options = options if isinstance(options, Mapping) else {}
        timeout = options.get("timeout")
        waits = [options.get(name) for name in ("connectTimeout", "readTimeout", "readIdleTimeout")]
        if isinstance(timeout, Mapping):
            waits += timeout.values()
        if any(wait is not None and not _is_short(wait) for wait in waits):
            return Kind.DISPATCHED
        limit = options.get("maxContentLength")
        if limit is not None and not (str(limit).isdigit() and int(limit) <= LIGHT_BYTES):
            return Kind.DISPATCHED
        return Kind.DISPATCHED if _may_send_files(properties) else cls.KIND


def _is_short(written: Any) -> bool:
    try:
        return parse_duration(str(written)) <= timedelta(seconds=LIGHT_SECONDS)
    except ValueError:  # an expression: it may be any length
        return False


def _may_send_files(properties: Mapping[str, Any]) -> bool:
    form = properties.get("formData")
    if form is None:
        return False
    if not isinstance(form, Mapping) or str(properties.get("contentType", "")).startswith("multipart/"):
        return True
    return any(not isinstance(value, str) or value.startswith("kestra:///") for value in form.values())


class DownloadOutputs(TaskOutputs):
    """What Download gives."""

    uri: str
    code: int
    length: int
    headers: dict[str, list[str]]


class Download(HttpTask):
    """Download a file into internal storage, whatever its size.

    Metrics: the counter ``response.length``.

        id: orders
        type: io.kestra.plugin.core.http.Download
        uri: https://example.com/orders.csv
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.http.Download"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Download",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = DownloadOutputs

    fail_on_empty_response: bool = Field(default=True, description="Whether a response without a body is a failure.")
    save_as: str | None = Field(None, description="The name of the stored file; the server's if left out.")

    def run(self, context: RunContext) -> DownloadOutputs:
        """Stream the response into a file."""
        from headrace_tasks.http_exchange import Exchange  # noqa: PLC0415 - httpx is slow to import

        with Exchange(self, context) as exchange:
            return exchange.download(self.save_as, fail_on_empty=self.fail_on_empty_response)
