"""Namespaces, and the names of their secrets (reference §14.6)."""

from __future__ import annotations

import json

from api.client import ApiClient, log_flow


def ids(page: object) -> list[str]:
    assert isinstance(page, dict)
    return [each["id"] for each in page["results"]]


def test_namespaces_are_those_of_flows_and_those_above_them(api: ApiClient) -> None:
    api.save(log_flow("a.b.c.f"), log_flow("a.b.c.g"), log_flow("x.f"))
    page = api.get("/namespaces/search")
    assert (ids(page), page["total"]) == (["a", "a.b", "a.b.c", "x"], 4)
    assert ids(api.get("/namespaces/search?existing=true")) == ["a.b.c", "x"]
    assert ids(api.get("/namespaces/search?q=B&size=1&sort=id:desc")) == ["a.b.c"]
    assert api.get("/namespaces/a.b") == {"id": "a.b", "deleted": False}
    assert api.refused(api.ask("GET", "/namespaces/b"), 404) == "Not Found: Namespace b"
    api.ok(api.ask("DELETE", "/flows/x/f"))
    assert ids(api.get("/namespaces/search")) == ["a", "a.b", "a.b.c"]


def test_namespaces_are_suggested(api: ApiClient) -> None:
    api.save(log_flow("a.b.f"), log_flow("x.f"))

    def suggested(**wanted: object) -> object:
        return api.ok(api.ask("POST", "/namespaces/autocomplete", json.dumps(wanted)))

    assert suggested() == ["a", "a.b", "x"]
    assert suggested(q="B") == ["a.b"]
    assert suggested(q="B", ids=["x", "nowhere"]) == ["a.b", "x"]
    assert suggested(q=None, existingOnly=True) == ["a.b", "x"]
    assert api.ask("POST", "/namespaces/autocomplete", '{"q": 1}').status == 422


def test_nobody_sees_namespaces_that_are_not_theirs(api: ApiClient) -> None:
    api.save(log_flow("a.b.f"), log_flow("x.f"))
    api.become("viewer@a.b")
    assert ids(api.get("/namespaces/search")) == ["a.b"]
    assert api.ok(api.ask("POST", "/namespaces/autocomplete", '{"ids": ["x"]}')) == ["a.b"]
    assert api.ask("GET", "/namespaces/x").status == 403


def test_secrets_are_listed_by_name_to_admins_alone(api: ApiClient) -> None:
    page = api.get("/namespaces/company.team/secrets?q=a&size=1000")
    assert page["readOnly"] is True
    names = [each["key"] for each in page["results"]]
    assert names == [name for name in api.stores.secrets.names("company.team") if "A" in name]
    inherited = api.get("/namespaces/company.team/inherited-secrets")
    assert list(inherited) == ["company.team", "company"]
    api.become("operator@company")
    assert api.ask("GET", "/namespaces/company.team/secrets").status == 403
    api.become("admin@company.team")
    assert list(api.get("/namespaces/company.team/inherited-secrets")) == ["company.team"]
