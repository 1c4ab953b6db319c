"""The HTTP client behind the http tasks: httpx over connections whose addresses were checked, and that can be cut.

Imported when a request is made: httpx is slow to import.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache

import httpcore
import httpx

from headrace_engine.plugin import NetworkPolicy, TaskFailure
from headrace_tasks.network import check_address


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, and cuts every connection when told to."""

    def __init__(self, policy: NetworkPolicy) -> None:
        self._policy = policy
        self._backend = httpcore.SyncBackend()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of *host* that answers."""
        try:
            addresses = check_address(host, port, self._policy)
        except OSError as error:
            raise httpcore.ConnectError(f"the name `{host}` could not be resolved: {error.strerror}") from error
        problem: Exception = httpcore.ConnectError(f"`{host}` has no address")
        for address in addresses:
            try:
                stream = self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
                continue
            self._keep(stream)
            return stream
        raise problem

    def cut(self) -> None:
        """End every connection, whatever waits on it; any thread may call."""
        with self._lock:
            self._cut = True
            for connection in self._sockets:
                _shut(connection)

    def close(self) -> None:
        """Forget the connections."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets = []

    def _keep(self, stream: httpcore.NetworkStream) -> None:
        original = stream.get_extra_info("socket")
        with self._lock:
            # A second handle on the connection: TLS takes the first one over, and closing alone wakes no reader.
            duplicate = original.dup()
            self._sockets.append(duplicate)
            if self._cut:
                _shut(duplicate)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed by the other side


@cache
def ssl_context(*, insecure: bool) -> ssl.SSLContext:
    """Return the settings for TLS connections; made once, because reading the authorities takes long."""
    return httpx.create_ssl_context(verify=not insecure)


class CheckedTransport(httpx.BaseTransport):
    """httpx's transport over a CheckedBackend. TLS is set up only for requests that use it."""

    def __init__(
        self, backend: CheckedBackend, policy: NetworkPolicy, *, insecure: bool, proxy: httpx.Proxy | None
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._insecure = insecure
        self._proxy = proxy
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request of a chain of redirects."""
        url = request.url
        if self._proxy is not None:
            with suppress(OSError):  # only the proxy may know the name
                check_address(url.host, url.port or 0, self._policy)
        core_request = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = self._pool(url.scheme).handle_request(core_request)
        except Exception as error:
            raise _translated(error) from error
        if not isinstance(response.stream, Iterable):
            raise TypeError("the response of a synchronous pool is read synchronously")
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_ResponseStream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()
        self._backend.close()

    def _pool(self, scheme: str) -> httpcore.ConnectionPool:
        if scheme not in self._pools:
            context = ssl_context(insecure=self._insecure) if scheme == "https" else None
            if self._proxy is None:
                self._pools[scheme] = httpcore.ConnectionPool(ssl_context=context, network_backend=self._backend)
            else:
                self._pools[scheme] = httpcore.HTTPProxy(
                    proxy_url=str(self._proxy.url),
                    proxy_auth=self._proxy.raw_auth,
                    ssl_context=context,
                    network_backend=self._backend,
                )
        return self._pools[scheme]


class _ResponseStream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_stream()
        except Exception as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._response.close()


def _translated(error: Exception) -> Exception:
    """Return httpx's exception of the same name; anything else (TaskFailure) as it is."""
    counterpart = getattr(httpx, type(error).__name__, None)
    if isinstance(error, TaskFailure) or counterpart is None or not issubclass(counterpart, httpx.TransportError):
        return error
    return counterpart(str(error) or type(error).__name__)  # type: ignore[no-any-return] # found by name
