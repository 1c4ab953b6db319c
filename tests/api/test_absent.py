"""What Kestra's clients may ask for and is not there is refused by its name."""

from __future__ import annotations

import pytest

from api.client import ApiClient
from headrace_engine.api import Request, Response


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GET", "/dashboards", "there are no dashboards: /stats counts executions and log lines by day"),
        ("POST", "/dashboards/x/charts/y", "there are no dashboards: /stats counts executions and log lines by day"),
        ("GET", "/blueprints/community/flow", "there is no catalogue of blueprints"),
        ("GET", "/blueprints/community/flow/1/source", "there is no catalogue of blueprints"),
        ("POST", "/namespaces", "a namespace is there as long as it has flows: it is neither made nor deleted"),
        ("GET", "/tests", "suites of flow tests are files, and run with `headrace test`"),
    ],
)
def test_what_is_not_there_is_refused_by_name(api: ApiClient, method: str, path: str, why: str) -> None:
    assert api.refused(api.ask(method, path), 404) == f"Not Found: /api/v1/main{path}: {why}"


@pytest.mark.parametrize("path", ["/api/v1/release/triggers/search", "/api/v1/main/my-team/executions/search"])
def test_another_tenant_is_told_where_to_ask(api: ApiClient, path: str) -> None:
    answer = api.api(Request("GET", path))
    assert isinstance(answer, Response)
    rest = "/".join(path.split("/")[-2:])
    assert api.refused(answer, 404) == f"Not Found: {path}: there is one tenant, `main`: ask for /api/v1/main/{rest}"


def test_what_nobody_has_is_just_not_there(api: ApiClient) -> None:
    assert api.refused(api.ask("GET", "/nothing/at/all"), 404) == "Not Found: /api/v1/main/nothing/at/all"
