"""The OpenAPI document: made from the routes, valid, and true of them."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.client import ApiClient
from headrace_engine.api import Request
from headrace_engine.api.route import Returns
from headrace_engine.identity import Role


@pytest.fixture
def document(api: ApiClient) -> Any:
    return api.get("/openapi.json")


def test_the_document_is_valid(document: Any) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_it_is_served_with_and_without_the_api_path(api: ApiClient, document: Any) -> None:
    for path in ("/openapi.json", "/api/v1/openapi.json", "/api/v1/main/openapi.json"):
        response = api.api(Request("GET", path))
        assert json.loads(response.body) == document  # type: ignore[union-attr]  # no stream


def test_every_route_is_in_it_once(api: ApiClient, document: Any) -> None:
    there = [(route.path, route.method) for route in api.api.routes]
    assert len(there) == len(set(there))
    said = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert said == set(there)
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    for each in operations:
        assert each["summary"], each["operationId"]


def test_only_open_routes_need_no_credentials(api: ApiClient, document: Any) -> None:
    is_open = {(route.path, route.method.lower()): route.role is Role.OPEN for route in api.api.routes}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert (operation.get("security") == []) is is_open[path, method], path
    assert document["security"] == [{"basic": []}, {"token": []}]


def test_names_in_paths_are_those_that_answer(api: ApiClient) -> None:
    for route in api.api.routes:
        names = set(re.findall(r"\{(\w+)\}", route.path))
        parameters = list(inspect.signature(route.answer).parameters.values())[1:]
        assert names <= {each.name for each in parameters}, route.path
        assert {each.name for each in parameters if each.default is each.empty} <= names, route.path


def test_errors_are_documented_and_good_answers_have_a_type(api: ApiClient, document: Any) -> None:
    flow = document["paths"]["/flows/{namespace}/{flow_id}"]["get"]["responses"]
    assert set(flow) == {"200", "400", "401", "403", "404", "413", "415", "429", "503"}
    assert flow["404"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert flow["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/FlowView"}
    bulk = document["paths"]["/flows/delete/by-ids"]["delete"]["responses"]["400"]["content"]["application/json"]
    assert {each["$ref"].rpartition("/")[2] for each in bulk["schema"]["anyOf"]} == {"Invalids", "Error"}
    for path in ("/executions/{execution_id}/follow", "/logs/{execution_id}/follow"):
        events = document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        assert events["schema"] == {"$ref": "#/components/schemas/ServerEvent"}, path
    undocumented = [route.path for route in api.api.routes if route.returns == (Returns(200, Any),)]
    assert undocumented == []
