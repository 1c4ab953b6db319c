"""Calling a Lambda function: against an endpoint of this machine, which sees what AWS would be sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from headrace_engine.adapters.aws.task_roles import role_named
from headrace_engine.model.state import State
from headrace_engine.plugin import NetworkPolicy
from headrace_engine.run_context import WorkerContext
from headrace_runners.aws_invoke import Invoke
from unit.tasks.harness import Bench

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:price"
KEYS = {"accessKeyId": "AKIAMINE", "secretKeyId": "mine"}
GRANTED = {
    "AWS_ACCESS_KEY_ID": "ASIAROLE",
    "AWS_SECRET_ACCESS_KEY": "of the role",
    "AWS_SESSION_TOKEN": "session",
    "AWS_REGION": "eu-west-1",
}
IN_CLOUD = NetworkPolicy(allow_loopback=True, allow_link_local=False)
_NAMES = "https://sts.amazonaws.com/doc/2011-06-15/"  # never contacted: it names what is below
ASSUMED = f"""<AssumeRoleResponse xmlns="{_NAMES}"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIATAKEN</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>taken</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@dataclass
class Endpoint:
    """What AWS would be."""

    url: str = ""
    asked: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"price": 12}'
    status: int = 200
    hold: threading.Event = field(default_factory=threading.Event)
    called: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    made.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            made.called.set()
            made.hold.wait()
            content, headers = made.body, {"content-type": "application/json", **made.headers}
            if b"AssumeRole" in body:
                content, headers = ASSUMED.encode(), {"content-type": "text/xml"}
            self.send_response(made.status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    made.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def properties(endpoint: Endpoint, **others: Any) -> dict[str, Any]:
    return {"functionArn": FUNCTION, "endpointOverride": endpoint.url, **others}


def signed_by(headers: Mapping[str, str]) -> str:
    """Return the key and the scope of a signature."""
    return headers["authorization"].partition("Credential=")[2].partition(",")[0]


def test_the_answer_is_a_file(bench: Bench, endpoint: Endpoint) -> None:
    outputs = bench.outputs(Invoke, properties(endpoint, **KEYS, functionPayload={"sku": 7, "tags": ["a"]}))
    assert (outputs["contentLength"], outputs["contentType"]) == (13, "application/json")
    assert bench.storage.open(outputs["uri"]).read() == b'{"price": 12}'
    ((path, headers, body),) = endpoint.asked
    assert (
        path == "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Aprice/invocations"
    )
    assert json.loads(body) == {"sku": 7, "tags": ["a"]}
    key, _, region, service, _ = signed_by(headers).split("/")
    assert (key, region, service) == ("AKIAMINE", "eu-central-1", "lambda")
    assert [(point.name, point.value) for point in bench.metrics.fetch("exec1")] == [("file.size", 13.0)]


def test_without_a_payload_it_is_called_with_an_empty_object(bench: Bench, endpoint: Endpoint) -> None:
    bench.outputs(Invoke, properties(endpoint, **KEYS, region="us-east-1"))
    ((_, headers, body),) = endpoint.asked
    assert body == b"{}"
    assert "/us-east-1/lambda/" in signed_by(headers)


def test_a_function_that_fails_fails_the_task_with_what_it_says(bench: Bench, endpoint: Endpoint) -> None:
    endpoint.headers = {"x-amz-function-error": "Unhandled"}
    endpoint.body = b'{"errorType": "KeyError", "errorMessage": "sku", "stackTrace": []}'
    assert bench.error(Invoke, properties(endpoint, **KEYS)) == (
        f"The function {FUNCTION} failed (Unhandled): KeyError: sku"
    )


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_call_is_made_once_whatever_comes_of_it(bench: Bench, endpoint: Endpoint, status: int) -> None:
    endpoint.status, endpoint.body = status, b'{"message": "no"}'
    assert bench.error(Invoke, properties(endpoint, **KEYS)).startswith("AWS did not take the call: ")
    assert len(endpoint.asked) == 1


def test_on_a_machine_of_ones_own_its_credentials_count(
    bench: Bench, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machine")
    bench.outputs(Invoke, properties(endpoint))
    assert signed_by(endpoint.asked[0][1]).startswith("AKIAMACHINE/")


def test_a_role_is_taken_on_with_the_keys_that_are_given(bench: Bench, endpoint: Endpoint) -> None:
    role = {
        "stsRoleArn": "arn:aws:iam::123456789012:role/r",
        "stsRoleExternalId": "mine",
        "stsEndpointOverride": endpoint.url,
    }
    bench.outputs(Invoke, properties(endpoint, **KEYS, **role, stsRoleSessionDuration="PT20M"))
    (_, first, body), (_, second, _) = endpoint.asked
    assert signed_by(first).startswith("AKIAMINE/")
    asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assert (asked["RoleArn"], asked["ExternalId"], asked["DurationSeconds"]) == (
        "arn:aws:iam::123456789012:role/r",
        "mine",
        "1200",
    )
    assert signed_by(second).startswith("ASIATAKEN/")
    assert second["x-amz-security-token"] == "taken"


def test_on_aws_the_platform_s_rights_are_never_used(
    bench: Bench, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLATFORM")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "platform")
    assert bench.error(Invoke, properties(endpoint), network=IN_CLOUD) == (
        "There are no credentials to call the function with: name a role in `stsRoleArn`, or give `accessKeyId` and "
        "`secretKeyId`"
    )
    assert not endpoint.asked


def test_on_aws_the_role_is_the_one_that_the_platform_takes_on(bench: Bench, endpoint: Endpoint) -> None:
    given = properties(endpoint, stsRoleArn="arn:aws:iam::123456789012:role/r")
    bench.outputs(Invoke, given, network=IN_CLOUD, environment=lambda: GRANTED)
    ((_, headers, _),) = endpoint.asked
    assert signed_by(headers).startswith("ASIAROLE/")
    assert headers["x-amz-security-token"] == "session"
    assert role_named(given) == "arn:aws:iam::123456789012:role/r"
    assert role_named({**given, **KEYS}) == ""


def test_on_aws_nobody_chooses_the_external_id_the_platform_shows(bench: Bench, endpoint: Endpoint) -> None:
    given = properties(endpoint, stsRoleArn="arn:aws:iam::123456789012:role/r", stsRoleExternalId="headrace/other.team")
    error = bench.error(Invoke, given, network=IN_CLOUD, environment=lambda: GRANTED)
    assert "nothing of its session can be chosen" in error
    assert not endpoint.asked


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9001", "The endpoint 127.0.0.1 may not be called from here: only AWS's own, with https"),
        ("https://evil.example.com", "The endpoint evil.example.com may not be called from here"),
        ("http://lambda.eu-central-1.amazonaws.com", "may not be called from here"),  # never contacted
        ("ftp://127.0.0.1", "is not the address of an endpoint"),
    ],
)
def test_on_aws_an_endpoint_is_one_of_aws(bench: Bench, url: str, message: str) -> None:
    policy = NetworkPolicy(allow_loopback=False, allow_link_local=False)
    given = {"functionArn": FUNCTION, "endpointOverride": url, **KEYS}
    assert message in bench.error(Invoke, given, network=policy)


def test_half_of_a_key_is_refused(bench: Bench, endpoint: Endpoint) -> None:
    error = bench.error(Invoke, properties(endpoint, accessKeyId="AKIAMINE"))
    assert error == "`accessKeyId` and `secretKeyId` are given together, or neither"


def test_a_kill_ends_the_waiting(bench: Bench, endpoint: Endpoint) -> None:
    endpoint.hold.clear()
    running: list[WorkerContext] = []

    def stop() -> None:
        endpoint.called.wait()
        running[0].stop()

    threading.Thread(target=stop, daemon=True).start()
    result = bench.run(Invoke, properties(endpoint, **KEYS), on_context=running.append)
    assert result.state is State.KILLED
