"""Calls of webhooks, answered without a host: who may call, what starts, and what counts once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.api import Response
from headrace_engine.expressions import ExpressionError
from headrace_engine.ports import PortError
from unit.webhooks.client import NOW, Client, flow, seen
from unit.webhooks.test_jwt import GOOD, RSA, jwk, token
from unit.webhooks.test_signatures import (
    GITHUB_SECRET,
    GITHUB_SIGNATURE,
    SLACK_BODY,
    SLACK_SECRET,
    SLACK_SIGNATURE,
    SLACK_TIME,
    STRIPE_BODY,
    STRIPE_SIGNATURE,
    STRIPE_TIME,
    signature,
)

GITHUB = """auth: {type: github, secret: "{{ secret('SIGNING') }}"}"""
TIMED = """auth: {type: hmac, secret: "{{ secret('SIGNING') }}", header: X-Sig, timestampHeader: X-Time}"""


def signed(body: bytes, secret: str = "s3cret") -> dict[str, str]:  # noqa: S107 - of a test
    return {"X-Hub-Signature-256": f"sha256={signature(secret, body).hex()}"}


def timed(client: Client, body: bytes) -> dict[str, str]:
    time = str(int(client.runtime.clock.now().timestamp()))
    return {"X-Sig": signature("s3cret", f"{time}.".encode() + body).hex(), "X-Time": time}


# -- What starts ------------------------------------------------------------------------------------


def test_a_call_starts_an_execution_and_hears_its_id(client: Client) -> None:
    client.runtime.save_flow(flow())
    response = client('{"text": "hi"}', {"X-Event": "push"}, path="demo/heard/k3y?a=1&a=2&b=")
    assert response.status == 200
    (found,) = client.executions()
    answer = seen(response)
    assert (answer["id"], answer["state"]["current"], answer["outputs"]) == (found.view["id"], "CREATED", None)
    assert (answer["namespace"], answer["flowId"], answer["flowRevision"]) == ("demo", "heard", 1)
    assert response.headers["location"] == f"/api/v1/main/executions/{found.view['id']}"
    assert found.state == "SUCCESS"
    assert found.view["trigger"] == {
        "id": "hook",
        "type": "io.kestra.plugin.core.trigger.Webhook",
        "variables": {
            "body": {"text": "hi"},
            "headers": {"x-event": ["push"]},
            "parameters": {"a": ["1", "2"], "b": [""]},
        },
    }
    assert found.view["labels"] == [
        {"key": "system.correlationId", "value": found.view["id"]},
        {"key": "system.from", "value": "trigger"},
    ]


BODIES = [
    (b"", None),
    (b'[1, {"a": 2.5}]', [1, {"a": 2.5}]),
    (b'{"a": null}', {"a": None}),
    (b"a=1&b=2", "a=1&b=2"),
    (b"5", "5"),
    (b'"x"', '"x"'),
    (b'{"a": NaN}', '{"a": NaN}'),
    (b"{broken", "{broken"),
    (b"\xff\x00", "/wA="),
    (b'{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
def test_the_body_is_json_or_text(client: Client, body: bytes, expected: Any) -> None:
    client.runtime.save_flow(flow())
    assert client(body).status == 200
    (found,) = client.executions()
    assert found.view["trigger"]["variables"]["body"] == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/main"])
def test_every_method_and_path(client: Client, method: str, prefix: str) -> None:
    client.runtime.save_flow(flow())
    assert client(method=method, prefix=prefix).status == 200
    assert len(client.executions()) == 1


def test_who_only_looks_starts_nothing(client: Client) -> None:
    client.runtime.save_flow(flow())
    assert client(method="HEAD").status == 405
    assert client(method="OPTIONS").status == 204
    assert client(method="DELETE").status == 405
    assert client.executions() == []


def test_a_large_body_leaves_the_state(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true"))
    text = "x" * 300_000
    answer = seen(client(json.dumps({"text": text})))
    (found,) = client.executions()
    state = client.runtime.state(found.view["id"])
    assert state.created is not None
    assert state.created.trigger is not None
    assert state.created.trigger["variables"] == {}
    assert answer["outputs"] == {"said": text}
    assert found.view["trigger"]["variables"]["body"] == {"text": text}


def test_conditions_choose(client: Client) -> None:
    condition = (
        """conditions: [{type: io.kestra.plugin.core.condition.Expression, expression: "{{ trigger.body.go }}"}]"""
    )
    client.runtime.save_flow(flow(condition, """when: "{{ trigger.headers['x-event'][0] == 'push' }}" """))
    assert client('{"go": false}', {"x-event": "push"}).status == 204
    assert client('{"go": true}', {"x-event": "pull"}).status == 204
    assert client.executions() == []
    response = client('{"go": true}', {"x-event": "push"})
    assert (response.status, len(client.executions())) == (200, 1)


def test_a_header_is_found_by_any_spelling(client: Client) -> None:
    task = """{{ trigger.headers['X-GitHub-Event'] | first }} {{ trigger.headers['x-github-event'][0] }}"""
    source = flow("""when: "{{ trigger.headers['X-GitHub-Event'] contains 'push' }}" """)
    client.runtime.save_flow(source.replace("{{ trigger.body ?? 'nothing' }}", task))
    assert client("{}", {"X-Github-Event": "push"}).status == 200
    (found,) = client.executions()
    assert [line.message for line in found.logs] == ["push push"]


def test_inputs_and_labels_come_from_the_call(client: Client) -> None:
    source = flow("""inputs: {name: "{{ trigger.body.who }}"}""", """labels: {by: "{{ trigger.body.who }}"}""")
    client.runtime.save_flow(source)
    client('{"who": "ada"}')
    (found,) = client.executions()
    assert found.view["inputs"] == {"name": "ada"}
    assert {"key": "by", "value": "ada"} in found.view["labels"]


def test_what_cannot_be_rendered_is_said_and_starts_nothing(client: Client) -> None:
    client.runtime.save_flow(flow("""inputs: {name: "{{ trigger.body.who }}"}"""))
    response = client("{}")
    assert response.status == 422
    assert "Unable to find `who`" in seen(response)["message"]
    assert client.executions() == []


def test_an_error_of_the_trigger_is_an_execution_when_it_says_so(client: Client) -> None:
    source = flow("""inputs: {name: "{{ trigger.body.who }}"}""", "failOnTriggerError: true")
    client.runtime.save_flow(source)
    assert client("{}").status == 200
    (found,) = client.executions()
    assert found.state == "FAILED"
    assert "Unable to find `who`" in found.view["error"]["message"]


# -- Whose it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["demo/heard/other", "demo/heard/k3", "demo/heard/k3y2", "demo/none/k3y", "no/heard/k3y"]
)
def test_who_does_not_know_the_key_learns_nothing(client: Client, path: str) -> None:
    client.runtime.save_flow(flow().replace("triggers:", "disabled: true\ntriggers:"))
    response = client(path=path)
    assert (response.status, seen(response)["message"]) == (404, "Not Found: there is no such webhook")


def test_a_key_may_be_a_secret(client: Client) -> None:
    client.runtime.save_flow(flow(key="{{ secret('SIGNING') }}"))
    assert client(path="demo/heard/s3cret").status == 200
    assert client().status == 404


@pytest.mark.parametrize("key", ["{{ secret('NONE') }}", "{{ secret('EMPTY') }}", "{{ trigger.body }}"])
def test_a_key_that_is_not_there_opens_nothing(client: Client, key: str) -> None:
    client.runtime.save_flow(flow(key=key))
    assert client(path="demo/heard/").status == 404
    assert client(path="demo/heard/null").status == 404


def test_each_webhook_of_a_flow_has_its_own_key(client: Client) -> None:
    more = "  - {id: second, type: io.kestra.plugin.core.trigger.Webhook, key: k2, labels: {by: second}}\n"
    client.runtime.save_flow(flow() + more)
    client(path="demo/heard/k2")
    (found,) = client.executions()
    assert found.view["trigger"]["id"] == "second"


@pytest.mark.parametrize("how", ["flow", "trigger", "switch"])
def test_what_is_switched_off_is_a_conflict(client: Client, how: str) -> None:
    source = flow("disabled: true" if how == "trigger" else "disabled: false")
    client.runtime.save_flow(source.replace("triggers:", "disabled: true\ntriggers:") if how == "flow" else source)
    if how == "switch":
        client.runtime.flow_triggers.set_disabled("demo", "heard", "hook", disabled=True)
    assert client().status == 409
    assert client.executions() == []


def test_a_flow_that_is_gone_has_no_webhook(client: Client) -> None:
    client.runtime.save_flow(flow())
    client.runtime.engine.delete_flow("demo", "heard")
    assert client().status == 404


# -- Proofs -----------------------------------------------------------------------------------------


def refused(client: Client, response: Response) -> None:
    assert response.status == 401
    assert seen(response)["message"] == "Unauthorized: the call's signature or token does not count"
    assert client.executions() == []
    assert client.runtime.world.letters == type(client.runtime.world.letters)()


def test_a_signature_counts(client: Client) -> None:
    client.runtime.save_flow(flow(GITHUB))
    refused(client, client("{}"))
    refused(client, client("{}", signed(b"{}", "other")))
    refused(client, client("{} ", signed(b"{}")))
    refused(client, client("{}", {"X-Hub-Signature-256": ""}))
    assert client("{}", signed(b"{}")).status == 200


def published() -> list[tuple[Any, str, str, bytes, dict[str, str]]]:
    slack = {"X-Slack-Signature": SLACK_SIGNATURE, "X-Slack-Request-Timestamp": "1531420618"}
    return [
        (NOW, "github", GITHUB_SECRET, b"Hello, World!", {"X-Hub-Signature-256": GITHUB_SIGNATURE}),
        (SLACK_TIME, "slack", SLACK_SECRET, SLACK_BODY, slack),
        (STRIPE_TIME, "stripe", "webhook_secret", STRIPE_BODY, {"Stripe-Signature": STRIPE_SIGNATURE}),
    ]


@pytest.mark.parametrize(("now", "kind", "secret", "body", "headers"), published(), ids=["github", "slack", "stripe"])
def test_published_examples(now: Any, kind: str, secret: str, body: bytes, headers: dict[str, str]) -> None:
    client = Client(now=now)
    with client.runtime:
        client.runtime.save_flow(flow(f'auth: {{type: {kind}, secret: "{secret}"}}'))
        refused(client, client(body + b"x", headers))
        assert client(body, headers).status == 200
        assert client(body, headers).status == 401  # again
        assert len(client.executions()) == 1


def test_why_a_call_is_refused_stands_in_the_log_and_not_in_the_answer(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.runtime.save_flow(flow(GITHUB))
    refused(client, client("{}", signed(b"{}", "other")))
    assert client("{}", signed(b"{}")).status == 200
    assert seen(client("{}", signed(b"{}")))["message"] == "Unauthorized: the call's signature or token does not count"
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "the signature is wrong",
        "the signature was used before",
    ]


def test_an_old_signature_is_refused(client: Client) -> None:
    client.runtime.save_flow(flow(TIMED))
    headers = timed(client, b"{}")
    client.pass_time(timedelta(minutes=6))
    refused(client, client("{}", headers))


def test_a_signature_is_taken_once(client: Client) -> None:
    client.runtime.save_flow(flow(TIMED))
    headers = timed(client, b"{}")
    assert client("{}", headers).status == 200
    client.pass_time(timedelta(minutes=4))
    assert client("{}", headers).status == 401
    assert client("{}", {**headers, "Idempotency-Key": "mine"}).status == 401
    assert client("{}", {**headers, "X-Sig": headers["X-Sig"].upper()}).status == 401
    assert len(client.executions()) == 1


def test_the_window_of_a_signature_without_a_time(client: Client) -> None:
    client.runtime.save_flow(flow("""auth: {type: github, secret: "{{ secret('SIGNING') }}", replayWindow: PT1H}"""))
    for minutes, status in ((0, 200), (59, 401), (2, 200)):
        client.pass_time(timedelta(minutes=minutes))
        assert client("{}", signed(b"{}")).status == status


def test_without_a_window_every_call_counts(client: Client) -> None:
    client.runtime.save_flow(flow("""auth: {type: github, secret: "{{ secret('SIGNING') }}", replayWindow: PT0S}"""))
    assert [client("{}", signed(b"{}")).status for _ in range(3)] == [200] * 3
    assert len(client.executions()) == 3


def test_a_call_whose_execution_could_not_be_stored_may_come_again(client: Client) -> None:
    client.runtime.save_flow(flow(TIMED))
    headers = timed(client, b"{}")
    client.lost = PortError("the queue is down")
    assert client("{}", headers).status == 503
    client.lost = None
    answer = seen(client("{}", headers))
    assert [each.view["id"] for each in client.executions()] == [answer["id"]]
    assert client("{}", headers).status == 401


def test_an_answer_that_was_lost_starts_nothing_twice(client: Client) -> None:
    """The execution was asked for, and the process died before that was noted: the sender comes again."""
    client.runtime.save_flow(flow(TIMED))
    headers = timed(client, b"{}")
    first = seen(client("{}", headers))["id"]
    kv = client.runtime.stores.kv
    (entry,) = kv.list("_webhooks")
    kv.put("_webhooks", entry.key, "STRING", f"begun:{first}", now=client.runtime.clock.now(), ttl=timedelta(minutes=9))
    assert seen(client("{}", {**headers, "Idempotency-Key": "another"}))["id"] == first
    assert len(client.executions()) == 1


def test_what_was_noted_is_forgotten_in_time(client: Client) -> None:
    client.runtime.save_flow(flow(TIMED))
    client("{}", timed(client, b"{}"))
    kv, clock = client.runtime.stores.kv, client.runtime.clock
    assert kv.forget("_webhooks", clock.now(), at_most=9) == 0
    client.pass_time(timedelta(minutes=6))
    assert kv.forget("_webhooks", clock.now(), at_most=9) == 1
    assert list(kv.list("_webhooks")) == []


@pytest.mark.parametrize("secret", ["{{ secret('NONE') }}", "{{ secret('EMPTY') }}", "{{ trigger.body }}"])
def test_a_secret_that_is_not_there_opens_nothing(client: Client, secret: str) -> None:
    client.runtime.save_flow(flow(f'auth: {{type: github, secret: "{secret}"}}'))
    refused(client, client("{}", signed(b"{}", "")))


def test_the_flow_does_not_see_what_proves_the_caller(client: Client) -> None:
    client.runtime.save_flow(
        flow("""auth: {type: bearer, secret: ["{{ secret('NEXT') }}", "{{ secret('SIGNING') }}"]}""")
    )
    assert client("{}", {"Authorization": "Bearer s3cret", "X-Other": "seen"}).status == 200
    (found,) = client.executions()
    assert found.view["trigger"]["variables"]["headers"] == {"x-other": ["seen"]}
    assert "s3cret" not in json.dumps(found.view)


def test_a_token_of_an_issuer() -> None:
    asked: list[Mapping[str, Any]] = []

    def http(request: Mapping[str, Any]) -> Any:
        asked.append(request)
        return {"keys": [jwk(RSA, kid="a")]}

    auth = "auth: {type: jwt, jwksUrl: 'https://issuer.invalid/keys', audience: us, singleUse: true}"
    client = Client(http)
    with client.runtime:
        client.runtime.save_flow(flow(auth))
        good = token("RS256", {**GOOD, "aud": "us", "sub": "ada"}, key_id="a")
        refused(client, client("{}", {"Authorization": f"Bearer {token('RS256', GOOD, key_id='a')}"}))
        refused(client, client("{}", {"Authorization": f"Bearer {token('RS256', GOOD, key_id='b')}"}))
        assert client("{}", {"Authorization": f"Bearer {good}"}).status == 200
        assert client("{}", {"Authorization": f"Bearer {good}"}).status == 401
        (found,) = client.executions()
        assert found.view["trigger"]["variables"]["claims"]["sub"] == "ada"
        assert [each["uri"] for each in asked] == ["https://issuer.invalid/keys"]


def test_an_issuer_that_does_not_answer_is_not_the_callers_fault() -> None:
    def http(_request: Mapping[str, Any]) -> Any:
        raise ExpressionError("no route")

    client = Client(http)
    with client.runtime:
        client.runtime.save_flow(flow("auth: {type: jwt, jwksUrl: 'https://issuer.invalid/keys'}"))
        assert client("{}", {"Authorization": f"Bearer {token('RS256', GOOD)}"}).status == 503


# -- One event, one execution -----------------------------------------------------------------------


def test_an_idempotency_key_makes_one_execution(client: Client) -> None:
    client.runtime.save_flow(flow())
    first, second = (seen(client("{}", {"Idempotency-Key": "order 1"})) for _ in range(2))
    assert first["id"] == second["id"]
    assert second["state"]["current"] == "SUCCESS"  # how it stands
    third = seen(client("{}", {"Idempotency-Key": "order 2"}))
    assert [each.view["id"] for each in client.executions()] in ([first["id"], third["id"]], [third["id"], first["id"]])


def test_the_trigger_says_what_names_an_event(client: Client) -> None:
    client.runtime.save_flow(flow(TIMED, """idempotencyKey: "{{ trigger.body.id ?? '' }}" """))
    ids = []
    for body in (b'{"id": 1}', b'{"id": 1, "try": 2}', b'{"id": 2}', b"{}", b'{"x": 1}'):
        ids.append(
            seen(client(body, {**timed(client, body), "Idempotency-Key": "ignored" if b"id" in body else ""}))["id"]
        )
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


def test_a_key_that_cannot_be_rendered_starts_nothing(client: Client) -> None:
    client.runtime.save_flow(flow("""idempotencyKey: "{{ trigger.body.id }}" """))
    assert client("{}").status == 422
    assert client.executions() == []


def test_a_key_has_its_length(client: Client) -> None:
    client.runtime.save_flow(flow())
    assert client("{}", {"Idempotency-Key": "x" * 256}).status == 400
    assert client("{}", {"Idempotency-Key": "x" * 255}).status == 200


# -- Waiting ----------------------------------------------------------------------------------------


def test_who_waits_hears_how_it_ended(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true"))
    answer = seen(client('{"text": "hi"}'))
    assert (answer["state"]["current"], answer["outputs"]) == ("SUCCESS", {"said": "hi"})
    assert "taskRunList" not in answer
    assert "inputs" not in answer


def test_the_outputs_alone(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true", "returnOutputs: true", "responseCode: 201"))
    response = client('{"text": "hi"}')
    assert (response.status, seen(response)) == (201, {"said": "hi"})


def test_an_answer_as_text(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true", "returnOutputs: true", "responseContentType: text/plain"))
    response = client('{"text": "validate me"}')
    assert (response.status, response.body) == (200, b"validate me")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_status_may_follow_from_the_outputs(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true", """responseCode: "{{ outputs.said == 'bad' ? 422 : 202 }}" """))
    assert [client(json.dumps({"text": text})).status for text in ("bad", "good")] == [422, 202]


@pytest.mark.parametrize("code", ['"{{ outputs.none }}"', '"soon"', '"99"'])
def test_a_status_that_is_none_is_200(client: Client, code: str) -> None:
    client.runtime.save_flow(flow("wait: true", f"responseCode: {code}"))
    assert client("{}").status == 200


def test_what_takes_longer_is_told_where_to_look(client: Client) -> None:
    client.runtime.save_flow(flow("wait: true", "responseCode: 418"))
    client.runs = False
    began = client.runtime.clock.now()
    response = client("{}")
    assert response.status == 202
    assert response.headers["location"].endswith(seen(response)["id"])
    assert timedelta(seconds=25) <= client.runtime.clock.now() - began < timedelta(seconds=26)
