"""Webhooks that ask for a JWT, before an issuer that publishes its keys: rotated, withdrawn, and what forgers try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.plugin import NetworkPolicy
from headrace_tasks.http_function import http_function
from issuer import Issuer, issuer
from unit.webhooks.client import NOW, Client, flow

CLAIMS = {"aud": "headrace", "sub": "ada", "exp": NOW.timestamp() + 86400}


@pytest.fixture
def keys() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


@pytest.fixture
def hooked(keys: Issuer) -> Iterator[Client]:
    auth = f"auth: {{type: jwt, jwksUrl: '{keys.jwks_url}', issuer: '{keys.address}', audience: headrace}}"
    client = Client(http_function(NetworkPolicy()))
    with client.runtime:
        client.runtime.save_flow(flow(auth))
        yield client


def status(client: Client, token: str) -> int:
    return client("{}", {"authorization": f"Bearer {token}"}).status


def test_a_token_of_the_issuer_starts_an_execution(keys: Issuer, hooked: Client) -> None:
    assert status(hooked, keys.token(CLAIMS)) == 200
    (found,) = hooked.executions()
    assert found.view["trigger"]["variables"]["claims"]["sub"] == "ada"
    assert keys.asked == ["/keys"]


def test_what_is_not_for_us_or_not_valid_now_starts_nothing(keys: Issuer, hooked: Client) -> None:
    at = NOW.timestamp()
    wrong: tuple[Mapping[str, Any], ...] = (
        {**CLAIMS, "aud": "others"},
        {**CLAIMS, "aud": ["others", "more"]},
        {key: value for key, value in CLAIMS.items() if key != "aud"},
        {**CLAIMS, "iss": "https://others.example.com"},
        {**CLAIMS, "iss": f"{keys.address}/"},
        {**CLAIMS, "exp": at - 60},
        {key: value for key, value in CLAIMS.items() if key != "exp"},
        {**CLAIMS, "nbf": at + 3600},
        {**CLAIMS, "iat": at + 3600},
    )
    for claims in wrong:
        assert status(hooked, keys.token(claims)) == 401, claims
    assert hooked.executions() == []
    assert status(hooked, keys.token({**CLAIMS, "aud": ["others", "headrace"]})) == 200


def test_what_is_not_signed_by_the_issuer_starts_nothing(keys: Issuer, hooked: Client) -> None:
    good = keys.token(CLAIMS)
    head, claims, signature = good.split(".")
    other = Issuer()
    other.address = keys.address
    forged = [
        *(keys.unsigned(CLAIMS, algorithm) for algorithm in ("none", "None", "NONE", "nOnE", "")),
        *keys.confused(CLAIMS),
        other.token(CLAIMS),
        keys.token(CLAIMS, alg="RS512"),
        keys.token(CLAIMS, jku=f"{keys.address}/keys", crit=["b64"]),
        f"{head}.{claims}.",
        f"{head}.{claims}.{'A' * len(signature)}",
        f"{head}.{keys.token({**CLAIMS, 'sub': 'eve'}).split('.')[1]}.{signature}",
    ]
    for token in forged:
        assert status(hooked, token) == 401, token
    assert hooked.executions() == []
    # A key that a token brings along is nobody's.
    brought = other.published("/keys")["keys"][0]
    assert status(hooked, other.token(CLAIMS, jwk=brought, kid="key-9")) == 401


def test_the_issuer_rotates_its_keys(keys: Issuer, hooked: Client) -> None:
    before = keys.token(CLAIMS)
    assert status(hooked, before) == 200
    keys.rotate()
    after = keys.token(CLAIMS)
    # A key that is not known is looked for again, but not with every call: anybody can name one.
    assert [status(hooked, after) for _ in range(3)] == [401] * 3
    assert len(keys.asked) == 1
    hooked.pass_time(timedelta(minutes=1, seconds=1))
    assert [status(hooked, token) for token in (after, before, after)] == [200] * 3
    assert len(keys.asked) == 2
    # One that is withdrawn counts for ten minutes more, at most.
    keys.withdraw("key-1")
    hooked.pass_time(timedelta(minutes=10, seconds=1))
    assert [status(hooked, token) for token in (before, after)] == [401, 200]
    assert len(keys.asked) == 3
