"""The OpenAPI 3.1 document of the API, made from its routes: what is documented is what is there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Literal, NotRequired, TypedDict, get_args, get_origin

import msgspec

from headrace_engine.api.http import JSON, Request, Response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.identity import Role

Schema = dict[str, Any]

_ANY_REQUEST = (400, 401, 403, 413, 415, 429, 503)
"""Statuses of errors that any request may get."""
_NAME = re.compile(r"\{(\w+)\}")


class Problem(TypedDict):
    """One thing that is wrong, and where."""

    message: str
    path: NotRequired[str]


class Problems(TypedDict):
    """What is wrong."""

    errors: list[Problem]


class Error(TypedDict):
    """Why a request was refused."""

    message: str
    _links: NotRequired[dict[str, Any]]
    _embedded: NotRequired[Problems]


def document(routes: Iterable[Route]) -> Schema:
    """Return the document of these routes."""
    table = sorted(routes, key=lambda route: (route.path, route.method))
    types = _Types(table)
    paths: dict[str, Schema] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, types)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace",
            "version": version("headrace"),
            "description": "Kestra's REST API, as far as Headrace has it. A path may be asked for with and without "
            "its tenant, `main`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1/main"}, {"url": "/api/v1"}],
        "security": [{"basic": []}, {"token": []}],
        "tags": [{"name": name} for name in sorted({route.segments[0] for route in table})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(types.components.items())),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, or an issuer's JWT."},
            },
        },
    }


class _Types:
    """The schemas of all types that routes name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._types: list[Any] = [Error]
        for route in routes:
            for type_ in _named_by(route):
                if not _is_binary(type_) and type_ not in self._types:
                    self._types.append(type_)
        made, components = msgspec.json.schema_components(self._types, ref_template="#/components/schemas/{name}")
        self._schemas: Sequence[Schema] = made
        self.components: Mapping[str, Schema] = components

    def of(self, type_: Any) -> Schema:
        """Return the schema of a type, those of components by reference."""
        if type_ is bytes:
            return {"type": "string", "format": "binary"}
        return self._schemas[self._types.index(type_)]


def _named_by(route: Route) -> Iterator[Any]:
    yield from (query.type for query in (*route.query, *route.headers))
    yield from (body.type for body in route.bodies)
    yield from (returns.type for returns in route.returns if returns.type is not None)


def _is_binary(type_: Any) -> bool:
    """Return whether a type is a file, or a form of files: for these no schema is made."""
    return type_ is bytes or _form(type_) is not None


def _form(type_: Any) -> tuple[tuple[str, ...], Any] | None:
    """Return the names of the files that a form's type asks for; None for any other type."""
    if get_origin(type_) is not dict:
        return None
    names, value = get_args(type_)
    return (get_args(names), value) if get_origin(names) is Literal else None


def _operation(route: Route, types: _Types) -> Schema:
    about = inspect.getdoc(route.answer) or ""
    operation: Schema = {
        "tags": [route.segments[0]],
        "operationId": "_".join((route.method.lower(), *(segment.strip("{}") for segment in route.segments))),
        "summary": route.summary or about.partition("\n")[0],
        "description": about,
        "parameters": [*_names(route), *_parameters(route, types)],
        "responses": _responses(route, types),
        "x-headrace-role": str(route.role),
    }
    if route.bodies:
        operation["requestBody"] = {
            "required": all(body.required for body in route.bodies),
            "content": {body.media: {"schema": _body(body, types)} for body in route.bodies},
        }
    if route.role is Role.OPEN:
        operation["security"] = []
    return operation


def _names(route: Route) -> list[Schema]:
    found = _NAME.findall(route.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in found
    ]


def _parameters(route: Route, types: _Types) -> list[Schema]:
    queries = {query.name: query for query in reversed(route.query)}  # of two of a name the first is meant
    return [
        *(_parameter(queries[name], "query", types) for name in reversed(queries)),
        *(_parameter(header, "header", types) for header in route.headers),
    ]


def _parameter(query: Query, place: str, types: _Types) -> Schema:
    found: Schema = {"name": query.name, "in": place, "required": query.required, "schema": types.of(query.type)}
    if query.about:
        found["description"] = query.about
    if get_origin(query.type) is dict:
        found |= {"style": "deepObject", "explode": True}
    return found


def _body(body: Body, types: _Types) -> Schema:
    form = _form(body.type)
    if form is None:
        return types.of(body.type)
    names, value = form
    return {
        "type": "object",
        "properties": {name: types.of(value) for name in names},
        "required": list(names),
        "additionalProperties": False,
    }


def _responses(route: Route, types: _Types) -> Schema:
    said: dict[int, list[Returns]] = {}
    errors = () if route.role is Role.OPEN else _ANY_REQUEST
    for returns in (*route.returns, *(Returns(status, Error) for status in {*errors, *route.refuses})):
        said.setdefault(returns.status, []).append(returns)
    return {str(status): _response(status, said[status], types) for status in sorted(said)}


def _response(status: int, returns: Sequence[Returns], types: _Types) -> Schema:
    about = next((each.about for each in returns if each.about), HTTPStatus(status).phrase)
    content: dict[str, list[Schema]] = {}
    for each in returns:
        if each.type is not None:
            content.setdefault(each.media, []).append(types.of(each.type))
    if not content:
        return {"description": about}
    return {
        "description": about,
        "content": {
            media: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
            for media, schemas in content.items()
        },
    }


class OpenApi:
    """Answers with the document."""

    def __init__(self, routes: Callable[[], Iterable[Route]]) -> None:
        self._routes = routes
        self._made: bytes | None = None

    def routes(self) -> tuple[Route, ...]:
        """Return the route."""
        return (
            Route(
                "GET",
                "/openapi.json",
                self.get,
                role=Role.VIEWER,
                each=True,
                summary="Get this document",
                returns=(Returns(200, dict[str, Any]),),
                refuses=(),
            ),
        )

    def get(self, _request: Request) -> Response:
        """Return the document, made when it is first asked for."""
        if self._made is None:
            self._made = msgspec.json.encode(document(self._routes()))
        return Response(200, self._made, {"content-type": JSON})
