"""What may stand in a Webhook, and what is said of what may not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from headrace_engine.language.parser import Validation, check

LOG = {"id": "log", "type": "io.kestra.plugin.core.log.Log", "message": "x"}
SECRET = "{{ secret('X') }}"
HOOK: dict[str, Any] = {
    "id": "t",
    "type": "io.kestra.plugin.core.trigger.Webhook",
    "key": SECRET,
    "wait": True,
    "returnOutputs": True,
    "responseContentType": "text/plain",
    "responseCode": 202,
    "auth": {"type": "github", "secret": SECRET},
    "idempotencyKey": "{{ trigger.body.id }}",
}


def read(**more: Any) -> Validation:
    return check(yaml.safe_dump({"id": "a", "namespace": "b", "tasks": [LOG], "triggers": [{**HOOK, **more}]}))


def of_auth(**auth: Any) -> list[str]:
    return [f"{each.path}: {each.message}" for each in read(auth=auth).errors]


def test_a_webhook_is_read_as_it_is_written() -> None:
    found = read()
    assert not found.errors
    assert not found.warnings
    (trigger,) = found.flows[0].triggers
    assert trigger.idempotency_key == "{{ trigger.body.id }}"
    assert trigger.properties == {
        name: value for name, value in HOOK.items() if name not in ("id", "type", "idempotencyKey")
    }


GOOD: list[dict[str, Any]] = [
    {"type": "stripe", "secret": [SECRET, SECRET], "tolerance": "PT1M"},
    {"type": "slack", "secret": SECRET},
    {"type": "gitlab", "secret": SECRET},
    {"type": "bearer", "secret": SECRET},
    {"type": "apiKey", "secret": SECRET, "header": "X-Own"},
    {
        "type": "hmac", "secret": SECRET, "header": "X-Sig", "algorithm": "sha512", "prefix": "v1=", "encoding": "base64",
        "timestampHeader": "X-Time", "signed": "{timestamp}:{body}", "tolerance": "PT1M",
    },
    {"type": "hmac", "secret": SECRET, "header": "X-Sig", "replayWindow": "PT0S"},
    {
        "type": "jwt", "jwksUrl": "https://issuer.invalid/keys", "algorithms": ["RS256", "EdDSA"], "issuer": "i",
        "audience": ["a", "b"], "leeway": "PT0S", "header": "X-Token", "singleUse": True,
    },
    {"type": "jwt", "secret": SECRET, "algorithms": ["HS512"]},
    {"type": "jwt", "publicKey": "{{ vars.key }}"},
]  # fmt: skip


@pytest.mark.parametrize("auth", GOOD, ids=lambda auth: str(auth["type"]))
def test_every_kind_of_proof(auth: dict[str, Any]) -> None:
    found = read(auth=auth)
    assert not found.errors
    assert found.flows[0].triggers[0].properties["auth"] == auth


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "triggers[0].auth.type: The property `type` is required."),
    ({"type": "gihub"}, "Did you mean `github`?"),
    ({"type": "github"}, "triggers[0].auth.secret: The property `secret` is required."),
    ({"type": "github", "secert": SECRET}, "Unknown property `secert`"),
    ({"type": "hmac", "secret": SECRET}, "triggers[0].auth.header: The property `header` is required."),
    ({"type": "hmac", "secret": SECRET, "header": "{{ vars.x }}"}, "An expression is not possible here"),
    ({"type": "hmac", "secret": SECRET, "header": "X", "algorithm": "md5"}, "Expected one of `sha256`"),
    ({"type": "hmac", "secret": SECRET, "header": "X", "signed": "{timestamp}"}, "`signed` must hold `{body}`"),
    ({"type": "hmac", "secret": SECRET, "header": "X", "signed": "{timestamp}.{body}"}, "go together"),
    ({"type": "hmac", "secret": SECRET, "header": "X", "replayWindow": "-PT1S"}, "Must not be shorter than zero"),
    ({"type": "stripe", "secret": SECRET, "tolerance": "PT0S"}, "Must be longer than zero"),
    ({"type": "jwt"}, "One of `secret`, `jwksUrl` and `publicKey` is needed"),
    ({"type": "jwt", "secret": SECRET, "jwksUrl": "https://issuer.invalid"}, "One of `secret`, `jwksUrl` and"),
    ({"type": "jwt", "secret": SECRET, "algorithms": ["RS256"]}, "`RS256` does not work with a `secret`."),
    ({"type": "jwt", "publicKey": "x", "algorithms": ["HS256"]}, "`HS256` does not work with a public key."),
    ({"type": "jwt", "secret": SECRET, "algorithms": ["none"]}, "got `none`"),
    ({"type": "jwt", "secret": SECRET, "algorithms": []}, "At least one algorithm is needed."),
]


@pytest.mark.parametrize(("auth", "why"), WRONG, ids=lambda case: case if isinstance(case, str) else "")
def test_what_is_refused(auth: dict[str, Any], why: str) -> None:
    assert any(why in said for said in of_auth(**auth)), of_auth(**auth)


def test_a_secret_in_the_flow_is_warned_of() -> None:
    (warning,) = read(auth={"type": "github", "secret": "in clear"}).warnings
    assert warning.message == "A secret stands in the flow; write it as `{{ secret('NAME') }}`."


@pytest.mark.parametrize(
    ("code", "is_right"), [(200, True), (599, True), ("{{ outputs.x }}", True), (99, False), (600, False)]
)
def test_a_status_is_one(code: Any, is_right: bool) -> None:
    assert (not read(responseCode=code).errors) is is_right


def test_only_two_kinds_of_content_are_answered() -> None:
    assert [each.path for each in read(responseContentType="text/html").errors] == ["triggers[0].responseContentType"]
