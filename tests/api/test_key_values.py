"""The key-value store over HTTP (reference §12, §14.6)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from api.client import ApiClient, log_flow

KV = "/namespaces/company.team/kv"


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ("hello world", "STRING", "hello world"),
        ('"hello"', "STRING", "hello"),
        ('"2024-05-17"', "STRING", "2024-05-17"),
        ("", "STRING", ""),
        ("12", "NUMBER", 12),
        ("-1.5e3", "NUMBER", -1500.0),
        (str(10**30), "NUMBER", 1e30),
        ("true", "BOOLEAN", True),
        ("2024-05-17", "DATE", "2024-05-17"),
        ("2024-05-17T08:30:00Z", "DATETIME", "2024-05-17T08:30:00+00:00"),
        ("PT1H30M", "DURATION", "PT1H30M"),
        ("Paris", "STRING", "Paris"),
        ('{"a": [1, null]}', "JSON", {"a": [1, None]}),
        ("null", "JSON", None),
    ],
)
def test_what_is_put_has_the_type_it_looks_like(api: ApiClient, body: str, kind: str, value: object) -> None:
    assert api.ask("PUT", f"{KV}/key", body, content_type="text/plain").status == 200
    found = api.get(f"{KV}/key")
    assert (found["type"], found["value"]) == (kind, value)


def test_json_that_is_announced_must_be_json(api: ApiClient) -> None:
    response = api.ask("PUT", f"{KV}/key", "hello", content_type="application/json; charset=utf-8")
    assert api.refused(response, 422).startswith("Invalid json: ")
    assert api.ask("GET", f"{KV}/key").status == 404


def test_a_value_that_has_expired_is_gone_and_one_that_never_was_is_not_found(api: ApiClient) -> None:
    api.ok(api.ask("PUT", f"{KV}/short", "1", ttl="PT1M"))
    api.ok(api.ask("PUT", f"{KV}/long", "1"))
    listed = {each["key"]: each for each in api.get(KV)}
    assert set(listed) == {"short", "long"}
    assert "expirationDate" in listed["short"]
    assert "expirationDate" not in listed["long"]
    api.runtime.clock.set(api.runtime.clock.now() + timedelta(minutes=1))
    assert "has expired" in api.refused(api.ask("GET", f"{KV}/short"), 410)
    assert api.refused(api.ask("GET", f"{KV}/never"), 404).startswith("Not Found: No value found for key 'never'")
    assert [each["key"] for each in api.get(KV)] == ["long"]


def test_keys_are_deleted(api: ApiClient) -> None:
    for key in ("a", "b", "c"):
        api.ok(api.ask("PUT", f"{KV}/{key}", "1"))
    assert api.ok(api.ask("DELETE", f"{KV}/a")) is True
    assert api.ok(api.ask("DELETE", f"{KV}/a")) is False
    assert api.ok(api.ask("DELETE", KV, json.dumps({"keys": ["a", "b", "b"]}))) == {"keys": ["b"]}
    assert [each["key"] for each in api.get(KV)] == ["c"]


def test_keys_of_the_namespaces_above_are_inherited_the_nearest_first(api: ApiClient) -> None:
    for namespace, key in (("company", "a"), ("company", "b"), ("company.team", "b"), ("company.team.x", "c")):
        api.ok(api.ask("PUT", f"/namespaces/{namespace}/kv/{key}", "1"))
    found = api.get("/namespaces/company.team.x/kv/inheritance")
    assert [(each["namespace"], each["key"]) for each in found] == [("company", "a"), ("company.team", "b")]
    api.become("viewer@company.team")
    found = api.get("/namespaces/company.team.x/kv/inheritance")
    assert [(each["namespace"], each["key"]) for each in found] == [("company.team", "b")]


def test_keys_are_searched_in_the_namespaces_there_are(api: ApiClient) -> None:
    api.save(log_flow("company.team.f"), log_flow("other.f"))
    for namespace, key in (("company", "top"), ("company.team", "one"), ("company.team", "two"), ("other", "one")):
        api.ok(api.ask("PUT", f"/namespaces/{namespace}/kv/{key}", "1"))

    def found(query: str) -> list[str]:
        return [f"{each['namespace']}/{each['key']}" for each in api.get(f"/kv?{query}")["results"]]

    assert found("") == ["company/top", "company.team/one", "company.team/two", "other/one"]
    assert found("namespace=company&sort=key:desc") == ["company.team/two", "company/top", "company.team/one"]
    assert found("filters[namespace][EQUALS]=company.team&filters[q][EQUALS]=ON") == ["company.team/one"]
    assert found("size=1&page=2") == ["company.team/one"]
    assert api.get("/kv?size=1")["total"] == 4
    api.become("viewer@other")
    assert found("") == ["other/one"]
    assert api.ask("GET", KV).status == 403
    assert api.ask("PUT", "/namespaces/other/kv/x", "1").status == 403


@pytest.mark.parametrize(
    ("target", "headers", "why"),
    [
        (f"{KV}/.hidden", {}, "is not a valid key"),
        (f"{KV}/a%2Fb", {}, "is not a valid key"),
        (f"{KV}/a%0Ab", {}, "is not a valid key"),
        (f"{KV}/{'k' * 257}", {}, "at most 256 characters"),
        ("/namespaces/a%2Fb/kv/key", {}, "no valid namespace"),
        ("/namespaces/a..b/kv/key", {}, "one of its parts is empty"),
        ("/namespaces/a._files/kv/key", {}, "the name of a folder of ours"),
        (f"/namespaces/{'n' * 151}/kv/key", {}, "at most 150 characters"),
        (f"{KV}/key", {"ttl": "soon"}, "is not an ISO-8601 duration"),
        (f"{KV}/key", {"ttl": "-PT1S"}, "longer than nothing"),
        (f"{KV}/key", {"ttl": "P999999999D"}, "longer than a thousand years"),
    ],
)
def test_what_cannot_be_put_is_refused(api: ApiClient, target: str, headers: dict[str, str], why: str) -> None:
    assert why in api.refused(api.ask("PUT", target, "1", **headers), 422)


def test_a_flow_reads_what_was_put(api: ApiClient) -> None:
    api.ok(api.ask("PUT", f"{KV}/greeting", "hello"))
    api.save(log_flow("company.team.f").replace("message: hello", "message: \"{{ kv('greeting') }}\""))
    execution = api.ok(api.ask("POST", "/executions/company.team/f"))
    api.runtime.settle(None)
    assert [line.message for line in api.stores.logs.fetch(execution["id"])] == ["hello"]
