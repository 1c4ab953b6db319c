"""The http tasks against a server on 127.0.0.1."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import NetworkPolicy, TaskFailure
from headrace_tasks.http import Download, Request
from headrace_tasks.network import check_address, refusal
from unit.tasks.harness import Bench, outputs_of

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers as told by path; remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], Answer]] = {}
        self.hang = threading.Event()
        self.asked = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("transfer-encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
                outer.asked.set()
                path = urlsplit(self.path).path
                if path not in outer.answers and path == "/hang":
                    outer.hang.wait()
                    return
                status, extra, content = outer.answers.get(path, lambda _: (200, {}, b"ok"))(self)
                self.send_response(status)
                for name, value in extra.items():
                    for each in value.split("\n"):
                        self.send_header(name, each)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _answer  # noqa: N815 - the base's names

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.answers[path] = lambda _: (status, headers or {}, body)

    def use_tls(self, context: ssl.SSLContext) -> None:
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that hangs up is no news

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_request_gives_status_headers_and_body(bench: Bench, server: Server) -> None:
    server.answer("/x", 201, {"x-two": "a\nb", "content-type": "application/json"}, '{"k": "ä"}'.encode())
    outputs = bench.outputs(Request, {"uri": f"{server.url}/x", "headers": {"A": "1"}})
    assert outputs["uri"] == f"{server.url}/x"
    assert (outputs["code"], outputs["body"]) == (201, '{"k": "ä"}')
    assert outputs["headers"]["x-two"] == ["a", "b"]
    assert server.requests[0]["headers"]["a"] == "1"
    assert bench.points == [("counter", "response.length", 11.0)]


def test_parameters_are_added_to_the_query(bench: Bench, server: Server) -> None:
    bench.outputs(Request, {"uri": f"{server.url}/x?a=1", "params": {"b": "ä &", "c": ["1", "2"]}})
    assert parse_qs(urlsplit(server.requests[0]["path"]).query) == {"a": ["1"], "b": ["ä &"], "c": ["1", "2"]}


@pytest.mark.parametrize(
    ("properties", "kind", "body"),
    [
        ({"body": '{"a": 1}'}, "application/json", b'{"a": 1}'),
        ({"body": "text"}, "text/plain; charset=utf-8", b"text"),
        ({"body": "x", "contentType": "text/csv"}, "text/csv", b"x"),
        ({"body": "x", "headers": {"Content-Type": "text/xml"}}, "text/xml", b"x"),
        ({"formData": {"a": "1 2", "b": "ä"}}, "application/x-www-form-urlencoded", b"a=1+2&b=%C3%A4"),
    ],
)
def test_bodies(bench: Bench, server: Server, properties: dict[str, Any], kind: str, body: bytes) -> None:
    bench.outputs(Request, {"uri": f"{server.url}/x", "method": "POST", **properties})
    asked = server.requests[0]
    assert (asked["method"], asked["headers"]["content-type"], asked["body"]) == ("POST", kind, body)


def test_a_form_sends_stored_files(bench: Bench, server: Server) -> None:
    uri = bench.put("content of the file", "data.csv")
    form = {"user": "me", "plain": uri, "named": {"name": "other.txt", "content": uri, "contentType": "text/x"}}
    bench.outputs(
        Request,
        {"uri": f"{server.url}/x", "method": "POST", "contentType": "multipart/form-data", "formData": form},
    )
    asked = server.requests[0]
    body = asked["body"].decode()
    assert asked["headers"]["content-type"].startswith("multipart/form-data; boundary=")
    assert 'name="user"\r\n\r\nme\r\n' in body
    assert 'name="plain"; filename="data.csv"' in body
    assert 'name="named"; filename="other.txt"\r\nContent-Type: text/x\r\n\r\ncontent of the file' in body


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"auth": {"type": "BASIC", "username": "u", "password": "p"}}, "Basic dTpw"),
        ({"basicAuthUser": "u", "basicAuthPassword": "p"}, "Basic dTpw"),
        ({"auth": {"type": "BEARER", "token": "t"}}, "Bearer t"),
    ],
)
def test_authentication(bench: Bench, server: Server, options: dict[str, Any], header: str) -> None:
    bench.outputs(Request, {"uri": f"{server.url}/x", "options": options})
    assert server.requests[0]["headers"]["authorization"] == header


def test_digest_authentication(bench: Bench, server: Server) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        given = request.headers.get("authorization", "")
        if "response=" not in given:
            return 401, {"www-authenticate": 'Digest realm="r", nonce="n", algorithm=MD5'}, b""
        first, second = md5("u:r:p"), md5("GET:/x")
        return (200 if md5(f"{first}:n:{second}") in given else 403), {}, b""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what the protocol uses

    server.answers["/x"] = answer
    auth = {"type": "DIGEST", "username": "u", "password": "p"}
    assert bench.outputs(Request, {"uri": f"{server.url}/x", "options": {"auth": auth}})["code"] == 200


def test_a_status_of_failure_fails_and_keeps_the_response(bench: Bench, server: Server) -> None:
    server.answer("/x", 404, {}, b"not here")
    result = bench.run(Request, {"uri": f"{server.url}/x"})
    assert result.state is State.FAILED
    assert result.error == "Failed http request with response code '404' and body:\nnot here"
    assert outputs_of(result)["code"] == 404


@pytest.mark.parametrize(
    "properties",
    [{"options": {"allowFailed": True}}, {"allowFailed": True}, {"options": {"allowedResponseCodes": [404]}}],
)
def test_a_status_of_failure_can_be_allowed(bench: Bench, server: Server, properties: dict[str, Any]) -> None:
    server.answer("/x", 404)
    assert bench.outputs(Request, {"uri": f"{server.url}/x", **properties})["code"] == 404
    server.answer("/x", 500)
    if "allowedResponseCodes" in str(properties):
        assert bench.error(Request, {"uri": f"{server.url}/x", **properties}).endswith("'500'")


def test_redirects_are_followed_unless_told_otherwise(bench: Bench, server: Server) -> None:
    server.answer("/x", 302, {"location": "/y"})
    outputs = bench.outputs(Request, {"uri": f"{server.url}/x"})
    assert (outputs["uri"], outputs["body"]) == (f"{server.url}/y", "ok")
    assert bench.outputs(Request, {"uri": f"{server.url}/x", "options": {"followRedirects": False}})["code"] == 302


def test_a_credential_is_not_sent_on_to_another_host(bench: Bench, server: Server) -> None:
    server.answer("/x", 302, {"location": f"http://localhost:{server.port}/y"})
    auth = {"type": "BEARER", "token": "t"}
    bench.outputs(Request, {"uri": f"{server.url}/x", "options": {"auth": auth}})
    assert "authorization" not in server.requests[1]["headers"]


def test_a_compressed_body_is_opened_and_a_charset_respected(bench: Bench, server: Server) -> None:
    server.answer("/x", 200, {"content-encoding": "gzip"}, gzip.compress(b"text"))
    assert bench.outputs(Request, {"uri": f"{server.url}/x"})["body"] == "text"
    server.answer("/x", 200, {"content-type": "text/plain; charset=latin-1"}, "ä".encode("latin-1"))
    assert bench.outputs(Request, {"uri": f"{server.url}/x"})["body"] == "ä"
    server.answer("/x", 200, {}, "ä".encode("latin-1"))
    options = {"defaultCharset": "ISO-8859-1"}
    assert bench.outputs(Request, {"uri": f"{server.url}/x", "options": options})["body"] == "ä"


def test_a_large_response_is_refused_with_the_way_out(bench: Bench, server: Server) -> None:
    server.answer("/x", 200, {}, b"x" * 1_100_000)
    error = bench.error(Request, {"uri": f"{server.url}/x"})
    assert "is larger than 1048576 bytes. Set `options.maxContentLength` to more" in error
    options = {"maxContentLength": 2_000_000}
    assert bench.run(Request, {"uri": f"{server.url}/x", "options": options}).state is State.SUCCESS


def test_an_encrypted_body(bench: Bench, server: Server) -> None:
    outputs = bench.outputs(Request, {"uri": f"{server.url}/x", "encryptBody": True})
    assert "body" not in outputs
    assert outputs["encryptedBody"]["type"] == "io.kestra.datatype:aes_encrypted"
    assert bench.cipher.open(outputs["encryptedBody"]["value"]) == b"ok"
    error = bench.error(Request, {"uri": f"{server.url}/x", "encryptBody": True}, can_encrypt=False)
    assert "Nothing can be encrypted without a key" in error


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:1/x", "GET http://127.0.0.1:1/x: "),
        ("http://no-such-host.invalid/", "the name `no-such-host.invalid` could not be resolved"),
        ("ftp://127.0.0.1/", "ftp"),
        ("not a url", "not a url"),
    ],
)
def test_no_connection(bench: Bench, uri: str, words: str) -> None:
    assert words in bench.error(Request, {"uri": uri})


def test_a_server_that_does_not_answer(bench: Bench, server: Server) -> None:
    options = {"timeout": {"readIdleTimeout": "PT0.05S"}}
    assert bench.error(Request, {"uri": f"{server.url}/hang", "options": options}) == (
        f"GET {server.url}/hang: no answer within 0.05 s"
    )


def test_the_executors_time_ends_a_request(bench: Bench, server: Server) -> None:
    error = bench.error(Request, {"uri": f"{server.url}/hang"}, lease=timedelta(milliseconds=100))
    assert error.endswith("set `options.readTimeout` above PT10S to run the request on a worker")


def test_a_kill_ends_a_request(bench: Bench, server: Server) -> None:
    def stop_when_asked(context: Any) -> None:
        threading.Thread(target=lambda: (server.asked.wait(), context.stop())).start()

    assert bench.run(Request, {"uri": f"{server.url}/hang"}, on_context=stop_when_asked).state is State.KILLED


def test_tls_is_checked_unless_told_otherwise(bench: Bench, server: Server) -> None:
    certificate = bench.temporary / "server.pem"
    certificate.write_bytes(self_signed_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.use_tls(context)
    uri = f"https://127.0.0.1:{server.port}/x"
    assert "CERTIFICATE_VERIFY_FAILED" in bench.error(Request, {"uri": uri})
    options = {"ssl": {"insecureTrustAllCertificates": True}}
    assert bench.outputs(Request, {"uri": uri, "options": options})["body"] == "ok"

    def stop_when_asked(context: Any) -> None:
        threading.Thread(target=lambda: (server.asked.wait(), context.stop())).start()

    server.asked.clear()
    properties = {"uri": uri.replace("/x", "/hang"), "options": options}
    assert bench.run(Request, properties, on_context=stop_when_asked).state is State.KILLED


def self_signed_certificate() -> bytes:
    """Return a key and a certificate for nobody, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def test_the_exchange_can_be_logged(bench: Bench, server: Server) -> None:
    logs = ["REQUEST_HEADERS", "REQUEST_BODY", "RESPONSE_HEADERS", "RESPONSE_BODY"]
    bench.outputs(Request, {"uri": f"{server.url}/x", "method": "POST", "body": "b", "options": {"logs": logs}})
    assert [message.split(":")[0] for _, message in bench.log_lines] == [
        "Request headers",
        "Request body",
        "Response headers",
        "Response body",
    ]


def test_a_request_through_a_proxy(bench: Bench, server: Server) -> None:
    proxy = {"type": "HTTP", "address": "127.0.0.1", "port": server.port, "username": "u", "password": "p"}
    outputs = bench.outputs(Request, {"uri": "http://example.invalid/x", "options": {"proxy": proxy}})
    assert outputs["code"] == 200
    assert server.requests[0]["path"] == "http://example.invalid/x"
    assert server.requests[0]["headers"]["proxy-authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
    error = bench.error(Request, {"uri": server.url, "options": {"proxy": {"type": "SOCKS"}}})
    assert "SOCKS are not supported" in error
    assert bench.error(Request, {"uri": server.url, "options": {"proxy": {"type": "HTTP"}}}).startswith("A proxy needs")


# -- Download ---------------------------------------------------------------------------------------


def test_a_download_is_stored(bench: Bench, server: Server) -> None:
    server.answer("/files/big.csv", 200, {"content-type": "text/csv"}, b"a,b\n" * 500_000)
    outputs = bench.outputs(Download, {"uri": f"{server.url}/files/big.csv"})
    assert (outputs["code"], outputs["length"]) == (200, 2_000_000)
    assert outputs["uri"].endswith("/big.csv")
    assert bench.storage.stat(outputs["uri"]).size == 2_000_000
    assert bench.points == [("counter", "response.length", 2_000_000.0)]


@pytest.mark.parametrize(
    ("headers", "properties", "name"),
    [
        ({"content-disposition": 'attachment; filename="a b.csv"'}, {}, "a_b.csv"),
        ({"content-disposition": "attachment; filename*=UTF-8''%C3%A4.csv"}, {}, "ä.csv"),
        ({"content-disposition": "attachment; filename=../../c.csv"}, {}, "c.csv"),
        ({}, {"saveAs": "mine.txt"}, "mine.txt"),
        ({}, {}, "x"),
    ],
)
def test_the_name_of_a_download(
    bench: Bench, server: Server, headers: dict[str, str], properties: dict[str, str], name: str
) -> None:
    server.answer("/x", 200, headers, b"1")
    outputs = bench.outputs(Download, {"uri": f"{server.url}/x", **properties})
    assert outputs["uri"].rpartition("/")[2] == name


def test_an_empty_download_fails_unless_allowed(bench: Bench, server: Server) -> None:
    server.answer("/x")
    assert bench.error(Download, {"uri": f"{server.url}/x"}) == "No response from server"
    assert bench.outputs(Download, {"uri": f"{server.url}/x", "failOnEmptyResponse": False})["length"] == 0


def test_a_download_with_a_status_of_failure(bench: Bench, server: Server) -> None:
    server.answer("/x", 500, {}, b"oh")
    assert bench.error(Download, {"uri": f"{server.url}/x"}).startswith("Failed http request with response code '500'")


# -- Where it runs, and what it may reach -----------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, Kind.LIGHT),
        ({"options": {"readTimeout": "PT10S"}}, Kind.LIGHT),
        ({"options": {"readTimeout": "PT11S"}}, Kind.DISPATCHED),
        ({"options": {"timeout": {"readIdleTimeout": "{{ x }}"}}}, Kind.DISPATCHED),
        ({"options": {"connectTimeout": "PT1M"}}, Kind.DISPATCHED),
        ({"options": {"maxContentLength": 1024}}, Kind.LIGHT),
        ({"options": {"maxContentLength": 10_000_000}}, Kind.DISPATCHED),
        ({"formData": {"a": "{{ b }}"}}, Kind.LIGHT),
        ({"formData": {"a": "b"}, "contentType": "multipart/form-data"}, Kind.DISPATCHED),
        ({"formData": {"a": {"name": "n", "content": "c"}}}, Kind.DISPATCHED),
        ({"formData": "{{ form }}"}, Kind.DISPATCHED),
    ],
)
def test_a_request_that_asks_for_more_is_dispatched(properties: dict[str, Any], kind: Kind) -> None:
    assert Request.kind_of({"uri": "http://x.example", **properties}) is kind
    assert Download.kind_of({"uri": "http://x.example", **properties}) is Kind.DISPATCHED


CLOUD = NetworkPolicy(allow_loopback=False, allow_link_local=False, refused_hosts=frozenset({"internal.example"}))


METADATA = "169.254.169.254"  # never contacted: the test is that it is refused


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.0.1", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("0.0.0.0", "169.254.170.2", "224.0.0.1"),  # noqa: S104 - never contacted: they must be refused
        *(METADATA, f"::ffff:{METADATA}", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
    ],
)
def test_addresses_refused_in_the_cloud(address: str) -> None:
    assert refusal(address, CLOUD) is not None
    with pytest.raises(TaskFailure, match="must not be called"):
        check_address(address.partition("%")[0], 80, CLOUD)


PUBLIC = ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2606:2800:220:1::1"]  # never contacted


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_allowed_in_the_cloud(address: str) -> None:
    assert refusal(address, CLOUD) is None


def test_the_platforms_own_names_are_refused() -> None:
    for name in ("internal.example", "API.internal.example."):
        with pytest.raises(TaskFailure, match="belongs to the platform itself"):
            check_address(name, 443, CLOUD)


def test_a_refused_address_is_refused_by_name_and_after_a_redirect(bench: Bench, server: Server) -> None:
    error = bench.error(Request, {"uri": f"http://localhost:{server.port}/x"}, network=CLOUD)
    assert "`localhost` must not be called from a task" in error
    assert server.requests == []
    server.answer("/x", 302, {"location": f"http://{METADATA}/latest/meta-data/"})
    laptop = NetworkPolicy(allow_link_local=False)
    error = bench.error(Request, {"uri": f"{server.url}/x"}, network=laptop)
    assert error == f"`{METADATA}` must not be called from a task: {METADATA} is a link-local address"


def test_a_proxy_is_no_way_around(bench: Bench, server: Server) -> None:
    proxy = {"type": "HTTP", "address": "127.0.0.1", "port": server.port}
    laptop = NetworkPolicy(allow_link_local=False)
    error = bench.error(Request, {"uri": f"http://{METADATA}/", "options": {"proxy": proxy}}, network=laptop)
    assert "is a link-local address" in error
    assert server.requests == []


def test_json_bodies_from_maps_are_texts(bench: Bench, server: Server) -> None:
    bench.outputs(Request, {"uri": f"{server.url}/x", "method": "PUT", "body": json.dumps({"a": [1]})})
    assert json.loads(server.requests[0]["body"]) == {"a": [1]}
