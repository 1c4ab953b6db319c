"""Rules of how long things are kept, over the API."""

from __future__ import annotations

import json

import pytest

from api.client import ApiClient

NOBODY = {"length": "FOREVER", "namespace": ""}


def test_a_namespace_says_how_long_and_those_below_it_inherit_that(api: ApiClient) -> None:
    api.ok(api.ask("PUT", "/retention", json.dumps({"logs": "P30D"})))
    said = api.ok(
        api.ask("PUT", "/namespaces/company/retention", json.dumps({"executions": "p90d", "files": "forever"}))
    )
    assert said["rule"] == {"executions": "P90D", "files": "FOREVER"}
    below = api.get("/namespaces/company.team/retention")
    assert below == {
        "namespace": "company.team",
        "rule": {},
        "holds": {
            "executions": {"length": "P90D", "namespace": "company"},
            "logs": {"length": "P30D", "namespace": ""},
            "files": {"length": "FOREVER", "namespace": "company"},
        },
    }
    api.ok(api.ask("DELETE", "/namespaces/company/retention"))
    assert api.get("/namespaces/company.team/retention")["holds"]["executions"] == NOBODY
    assert api.get("/retention")["rule"] == {"logs": "P30D"}


@pytest.mark.parametrize("rule", [{"executions": "a while"}, {"executions": "PT1M"}, {"logs": 7}, []])
def test_what_is_no_rule_is_refused(api: ApiClient, rule: object) -> None:
    assert api.ask("PUT", "/namespaces/company/retention", json.dumps(rule)).status == 422
    assert api.get("/namespaces/company/retention")["rule"] == {}


def test_only_an_admin_says_it(api: ApiClient) -> None:
    api.become("operator@company")
    assert api.ask("PUT", "/namespaces/company/retention", "{}").status == 403
    assert api.ask("GET", "/namespaces/company.team/retention").status == 200
    api.become("admin@company")
    assert api.ask("PUT", "/namespaces/company.team/retention", "{}").status == 200
    assert api.ask("PUT", "/retention", "{}").status == 403
